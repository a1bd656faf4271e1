"""`Bridge`: a lease on a resource for threads, held by a task whose event loop is never kept waiting for it.

Joining what runs and leaving it while others stay is done at once, in the task. Everything else may take long, and is
done in a worker thread of anyio. Each call brings the right to a thread of its own: if all of them stood in one line
for a few threads, those who wait for a slot of a bounded family would keep out those who are to free it.

A task that is cancelled leaves at once. The thread goes on, for a start cannot be cut short, and gives back what it
gets; if it merely waits it is called off, since nobody may be left to wake it. A release is never called off.
"""
# pyright: reportPrivateUsage=false
# A lease and its driver are one thing; what they have of each other is private, since users have leases in their hands.

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import ref

from refcount._core.claim import ACQUIRED, FRESH, USED
from refcount._core.clock import clocks
from refcount._core.loop import CancelScope
from refcount._core.loops import here, here_or_none
from refcount._core.parking import Errand, Parker
from refcount._support.reporting import report

if TYPE_CHECKING:
    from refcount._core.generation import Generation
    from refcount._core.lease import Lease

T_co = TypeVar("T_co", covariant=True)


class Bridge(Generic[T_co]):
    """An asynchronous context manager that holds `lease`, whose resource threads drive; made by `Lease.aio`."""

    __slots__ = ("_lease",)

    def __init__(self, lease: Lease[T_co]) -> None:
        self._lease = lease

    def __repr__(self) -> str:
        return f"<{self._lease!r}, for a task>"

    async def __aenter__(self) -> T_co:
        """Hold the resource, starting it in a worker thread if this is its first lease, and return its value."""
        lease = self._lease
        if not (_join(lease) or _is_acquired(lease)):
            await self._wait(lease)
        entered = lease._resource._entered
        if entered is not None:  # whoever this task, or this thread, keeps waiting in the with-block waits for itself
            entered[id(lease)] = [here().current_task(), get_ident()], ref(lease)
        generation = lease._generation
        return lease.value if generation is None else generation.value

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Give the lease back; the last one stops the resource in a worker thread, whatever is cancelled."""
        lease = self._lease
        generation = lease._generation
        if generation is not None and not _leave(lease, generation):
            await self._release(lease)

    async def _wait(self, lease: Lease[T_co]) -> None:
        lease._for_use()
        lease._parker = bench = Bench()
        crossing = Crossing(partial(_admit, lease), partial(_undo, lease), here().current_task())
        try:
            await crossing.cross()
        except BaseException:
            bench.call_off()
            raise

    async def _release(self, lease: Lease[T_co]) -> None:
        loop = here_or_none()
        if loop is None:  # a coroutine is closed late, where nothing can be awaited
            crossing = Crossing(lease.release, partial(_tell, lease), None)
            crossing.leave()
            clocks.thread.lost(crossing)
            return
        crossing = Crossing(lease.release, partial(_tell, lease), loop.current_task())
        try:
            with CancelScope(shield=True):
                await crossing.cross()
        except BaseException:  # asyncio's `Task.cancel` knows no shield
            clocks.thread.lost(crossing)  # unless a thread has begun it
            raise


async def in_thread(job: Callable[[], object]) -> None:
    """Have `job` done in a worker thread, for which it waits in no line; a task that is cancelled waits no longer."""
    from anyio import CapacityLimiter, to_thread  # not above: it would not say what is to be installed

    await to_thread.run_sync(job, abandon_on_cancel=True, limiter=CapacityLimiter(1))


class Crossing(Errand[object]):
    """Something that a worker thread does for a task, which may leave before it is over.

    Args:
        function: What is to be done.
        alone: Called with its error, or None, if the task has left: in the thread that has done it.
        task: The task. In waiting for oneself, the thread counts as the task.
    """

    def __init__(self, function: Callable[[], object], alone: Callable[[BaseException | None], object], task: object):
        super().__init__(function)
        self.caller = task
        self._alone = alone
        self._begun: dict[None, object] = {}
        self._left: dict[None, bool] = {}
        """Whether the task had left when it was over: the first to say so is right. One step, as for `_begun`."""

    def __call__(self) -> None:
        """Do it, in this thread, unless another one has begun."""
        mine = object()
        if self._begun.setdefault(None, mine) is mine:
            super().__call__()
            if self._left.setdefault(None, False):
                self._end_alone()

    async def cross(self) -> None:
        """Have a worker thread do it, and wait for that.

        Raises:
            BaseException: What it has raised, or the cancellation of the task, which has left then.
        """
        try:
            await in_thread(self)
        except BaseException:
            self.leave()
            raise
        finally:
            self.caller = None  # else a task that has failed would be in a cycle with its error
        self.wait()

    def leave(self) -> None:
        """Wait for it no more: what comes of it is its thread's to see to, or the timer thread's if that has gone."""
        if not self._left.setdefault(None, True):
            clocks.thread.lost(self._end_alone)

    def _end_alone(self) -> None:
        error, self._error = self._error, None
        try:
            self._alone(error)
        finally:
            del error  # it may refer to this frame


class CalledOff(BaseException):
    """Nobody wants any more what a thread waits for."""


class Bench(Parker):
    """What a thread sleeps on for a task; it gets up when it is called off."""

    __slots__ = ("off",)

    def __init__(self) -> None:
        super().__init__()
        self.off = False

    def park(self, deadline: float | None) -> bool:
        """Sleep as on any other.

        Raises:
            CalledOff: It was called off, before or meanwhile.
        """
        woken = super().park(deadline)
        if self.off:
            raise CalledOff
        return woken

    def call_off(self) -> None:
        """Let nobody sleep here any more; from whichever thread."""
        self.off = True
        self.wake()


# What is done at once, in the task. It is what a lease does of itself in a thread.


def _join(lease: Lease[object]) -> bool:
    """Hold what runs, if that takes no more than to count; say whether it is held."""
    machine = lease._machine
    generation = machine.hot
    if generation is None:
        return False
    try:
        with machine.lock:
            if generation is machine.hot and lease._use is FRESH:
                lease._use = USED
                generation.count += 1
                lease._generation = generation
                return True
    except BaseException:
        lease._resource._retract(lease)
        raise
    return False


def _is_acquired(lease: Lease[object]) -> bool:
    """Begin the with-block of a lease that is held already; say whether it was acquired."""
    with lease._machine.lock:
        acquired = lease._use is ACQUIRED
        if acquired:
            lease._use = USED
    return acquired


def _leave(lease: Lease[object], generation: Generation[object]) -> bool:
    """Give `lease` back, if that takes no more than to count; say whether it is given back."""
    machine = lease._machine
    now = clocks.clock.now() if machine.linger else 0.0
    try:
        with machine.lock:
            if generation.quick and generation.count > 1 and generation is lease._generation:
                generation.count -= 1
                if now > generation.left:
                    generation.left = now
                lease._generation = None
                return True
    except BaseException:
        lease._resource._retract(lease, generation)
        raise
    return False


# What is done in a worker thread.


def _admit(lease: Lease[object]) -> None:
    """Let `lease` hold its resource, whatever it takes."""
    resource = lease._resource
    try:
        resource._admit(lease, None)
    except BaseException:
        resource._retract(lease)
        raise


def _undo(lease: Lease[object], error: BaseException | None) -> None:
    """Give back what was got for a task that has left, or tell of the error."""
    resource, generation = lease._resource, lease._generation
    if generation is not None:
        resource._give_back(lease, generation, report_errors=True)
    if error is not None and not isinstance(error, CalledOff):
        report(error, f"a start of {resource.name} for a task that was cancelled")


def _tell(lease: Lease[object], error: BaseException | None) -> None:
    """Tell of what a stop has raised that no task waits for."""
    if error is not None:
        report(error, f"the stop of {lease._resource.name} for a task that was cancelled")
