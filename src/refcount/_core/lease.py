"""`Lease`: one consumer's hold on one generation of a resource, and the two hot paths.

Joining what runs and leaving it while others stay touch nothing but the generation's count, under the machine's lock.
Whatever else may be the matter (nothing runs, the last one leaves, somebody observes), the driver sees to.
"""

# pyright: reportPrivateUsage=false
# A lease and its driver are one thing; what they have of each other is private, since users have leases in their hands.

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from inspect import Signature
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeGuard, TypeVar
from weakref import ref

from refcount._core.claim import ACQUIRED, DEBUG, FRESH, USED, Claim
from refcount._core.clock import clocks
from refcount._core.generation import UP, Mark
from refcount._core.parking import Parker, callers_of, deadline_after
from refcount._core.registry import registry
from refcount._errors import RefcountError
from refcount._support.blocking import warn_of_blocking
from refcount._support.naming import public

if TYPE_CHECKING:
    from refcount._core.machine import Machine
    from refcount._core.shared import SharedResource

T_co = TypeVar("T_co", covariant=True)


@public
class Lease(Claim[T_co], Generic[T_co]):
    """One consumer's hold on a resource, used once; made by calling a `SharedResource`, or by its `acquire`.

    A lease that is garbage-collected while held is given back from the timer thread, with a `ResourceWarning`. With
    `-X dev`, or `REFCOUNT_DEBUG=1` in the environment, the warning says where the lease was made.

    Example:
        >>> from refcount import SharedResource
        >>> resource = SharedResource.of(list, name="basket")
        >>> lease = resource.acquire()
        >>> lease.held, lease.value
        (True, [])
        >>> lease.release(), lease.release()
        (True, False)
    """

    __slots__ = ("_machine", "_parker", "_resource")

    _kind = "Lease"

    if not TYPE_CHECKING:
        __signature__ = Signature()  # nobody makes one but its resource

        def __aenter__(self):
            raise TypeError(
                f"{self!r} is entered by a plain `with`; where that would block the event loop, write "
                "`async with lease.aio() as value:`"
            )

        __aexit__ = None  # so that `isinstance` says no to `AbstractAsyncContextManager`

    _parker: Parker | None

    def __init__(self, resource: SharedResource[T_co]) -> None:
        self._generation = None
        self._promised = None
        self._parker = None
        self._use = FRESH
        self._resource = resource
        self._machine = resource._machine
        if DEBUG:
            self._remember_site()

    def __enter__(self) -> T_co:
        """Hold the resource, starting it if this is its first lease, and return its value.

        Raises:
            RefcountError: The lease was entered before; take a new one.
            ReleasedError: It came from `acquire` and was released already.
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of the same resource.
        """
        machine = self._machine
        generation = machine.hot
        try:
            if generation is not None:
                with machine.lock:
                    if generation is machine.hot and self._use is FRESH:
                        self._use = USED
                        generation.count += 1
                        self._generation = generation
                        return generation.value
            with machine.lock:
                use = self._use
                self._use = USED
            if use is FRESH:
                if DEBUG:
                    self._warn_if_on_loop()
                return self._resource._admit(self, None)
        except BaseException:
            self._resource._retract(self)
            raise
        if use is USED:
            raise RefcountError(f"{self!r} was entered before: a lease is used once, take a new one")
        return self.value

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Give the lease back; the last one stops the resource. An exception of the body stays the consumer's own."""
        generation = self._generation
        if generation is None:
            return  # released by hand
        try:
            machine = self._machine
            now = clocks.clock.now() if machine.linger else 0.0
            with machine.lock:
                if generation.quick and generation.count > 1 and generation is self._generation:
                    generation.count -= 1
                    if now > generation.left:  # another one may have looked at the clock later, and left before
                        generation.left = now
                    self._generation = None
                    return
            self._resource._give_back(self, generation)
        except BaseException:
            self._resource._retract(self, generation)
            raise

    def acquire(self, timeout: float | None = None) -> Self:
        """Hold the resource, starting it if this is its first lease, and return the lease itself.

        For consumers that are no with-block; one `with` may follow all the same, and gives it back at its end.

        Args:
            timeout: How many seconds to wait for a start or stop of another thread, or for a slot of a bounded family.
                What this very call does takes as long as it takes: a start, or the stop of a key that makes room.

        Raises:
            TimeoutError: That took longer; it may be tried again.
            RefcountError: The lease was acquired or entered before; take a new one.
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of the same resource.
            ValueError: The timeout is negative or NaN.
            TypeError: The timeout is no number.

        Example:
            >>> lease = SharedResource.of(list)().acquire(timeout=1.0)
            >>> lease.value
            []
            >>> lease.release()
            True
        """
        deadline = deadline_after(timeout)
        self._for_use()
        try:
            if DEBUG:
                self._warn_if_on_loop()
            self._resource._admit(self, deadline)
            self._use = ACQUIRED
            return self
        except BaseException:
            try:
                self._resource._retract(self)
            finally:
                self._use = FRESH  # not before: another thread may try it then
            raise

    def aio(self) -> AbstractAsyncContextManager[T_co, None]:
        """Return what holds this lease for a task: `async with camera(0).aio() as device:`, on asyncio and trio.

        It keeps no event loop waiting: joining what runs, and leaving it while others stay, is done at once; whatever
        may take longer, a start, a stop, waiting for others, in a worker thread. Hooks run in that thread, which is
        another one each time, unless the resource has its `own_thread`; they see a copy of the task's context.

        A task that is cancelled leaves at once. A start that runs for it alone goes on to its end, and is then undone,
        in the same thread; errors of that are reported. A release is never lost: cancel scopes, of anyio or trio, wait
        for the stop that it makes necessary; `Task.cancel` of asyncio ends the waiting, and the stop goes on.

        Raises:
            ImportError: anyio is not installed; the extra `async` brings it.

        Example:
            >>> import asyncio
            >>> basket = SharedResource.of(list, stop=lambda value: print("stop"))
            >>> async def main():
            ...     lease = basket()
            ...     async with lease.aio() as value:
            ...         print(value, lease.valid)
            >>> asyncio.run(main())
            [] True
            stop
        """
        return self._resource._bridge(self)

    def release(self) -> bool:
        """Give the lease back; the last one stops the resource, in this thread unless it lingers.

        Returns:
            Whether this call released it; calling it again is harmless.

        Raises:
            Exception: What the resource's stop raised; the lease is released all the same.

        Example:
            >>> lease = SharedResource.of(list).acquire()
            >>> lease.release(), lease.release()
            (True, False)
        """
        generation = self._generation
        if generation is None:
            return False
        try:
            return self._resource._give_back(self, generation)
        except BaseException:
            self._resource._retract(self, generation)
            raise

    def __del__(self) -> None:
        # Runs inside the garbage collector, in a thread that may hold any lock: look, queue, and nothing else.
        try:
            if self._generation is not None or self._promised is not None:
                self._resource._lose(self)
        except AttributeError:
            pass  # an interrupt came inside `__init__`
        except RecursionError:
            # The stack is full: there is room for a store, and whoever comes next does the rest.
            registry.strays[self] = self._resource._lose

    def _wake(self) -> None:
        """Let the consumer who waits for this lease look again."""
        parker = self._parker
        if parker is not None:  # else it looks once more when it has made one
            parker.wake()

    def _warn_if_on_loop(self) -> None:
        """Tell whoever may wait for a start or a stop where an event loop does as well."""
        current = self._machine.current
        if current is None or current.phase is not UP or current.condemned:
            warn_of_blocking(f"to start {self._resource.name}", "write `async with resource.aio()` in place of `with`")

    def _name(self) -> str:
        return self._resource.name

    def _seen(self) -> Machine[T_co]:
        return self._machine

    @property
    def resource(self) -> SharedResource[T_co]:
        """The resource it belongs to.

        Example:
            >>> basket = SharedResource.of(list)
            >>> basket().resource is basket
            True
        """
        return self._resource

    def invalidate(self) -> None:
        """Detach the generation that this lease holds, if newcomers would still get it, as the resource's does.

        So ten holders who all find their value broken cost one restart. The lease stays held.

        Raises:
            ReleasedError: It is not held.

        Example:
            >>> resource = SharedResource.of(object)
            >>> first, second = resource.acquire(), resource.acquire()
            >>> first.invalidate()
            >>> second.invalidate()
            >>> with resource() as fresh:
            ...     resource.generation
            2
            >>> first.release(), second.release()
            (True, True)
        """
        generation = self._to_invalidate()
        self._resource._condemn(generation, self._resource._by(), report_errors=False)


def is_lease(thing: object) -> TypeGuard[Lease[Any]]:
    """Say whether `thing` is a lease, of whatever."""
    return isinstance(thing, Lease)


class EnteredLease(Lease[T_co]):
    """A lease that tells which thread is inside its with-block, where one may wait for what it holds itself."""

    __slots__ = ()

    def __enter__(self) -> T_co:
        inside, first = self._inside, id(self) not in self._inside
        if first:
            inside[id(self)] = callers_of(get_ident()), ref(self)
        try:
            return super().__enter__()
        except BaseException:
            if first:
                inside.pop(id(self), None)
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        try:
            self._inside.pop(id(self), None)
        finally:
            super().__exit__(exc_type, exc, trace)

    def release(self) -> bool:
        self._inside.pop(id(self), None)
        return super().release()

    def __del__(self) -> None:
        with suppress(AttributeError):  # an interrupt came inside `__init__`
            self._inside.pop(id(self), None)
        super().__del__()

    @property
    def _inside(self) -> dict[int, Mark]:
        entered = self._resource._entered
        assert entered is not None  # else it would be a plain lease
        return entered
