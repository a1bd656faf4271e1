"""`Loop`: an event loop, asyncio's or trio's, and what the driver for tasks asks of it.

What anyio offers for both is taken from anyio: scopes that cancel and shield, and events. It does not offer a task that
belongs to nobody's task group, nor something to sleep on that another thread may wake, nor a look at which loop runs
here that is quick enough for every lease; these are in `asyncio_loop` and `trio_loop`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

try:
    from anyio import CancelScope as CancelScope
    from anyio import Event as Event
    from anyio import move_on_after as move_on_after
except ImportError as error:
    raise ImportError(
        "resources for tasks need anyio, which is not installed: pip install 'refcounted[async]'"
    ) from error

if TYPE_CHECKING:
    from refcount._core.keeper import Keeper
    from refcount._support.naming import Name

Job = Callable[[], object]


class Timer(Protocol):
    """Something that will be done later, unless it is cancelled."""

    def cancel(self) -> object:
        """Do not do it; harmless when repeated."""
        ...


class OwnTask(Protocol):
    """The task of one generation.

    Attributes:
        known_as: What `current_task` returns in it.
    """

    @property
    def known_as(self) -> object: ...

    def interrupt(self) -> object:
        """Cancel what it does."""
        ...

    def cancelled_by_loop(self) -> bool:
        """Return whether it was cancelled since the loop ends, and not from inside of what it does."""
        ...

    def shield(self, seconds: float) -> Timer:
        """Let nobody else cancel what it does from now on; after so many seconds it is interrupted."""
        ...

    def ran_out(self) -> bool:
        """Return whether these seconds are over; asked before the timer is cancelled."""
        ...

    def expose(self) -> None:
        """Let the end of the loop cancel it again."""
        ...

    def calm(self) -> None:
        """Take a cancellation that has come for done."""
        ...


class Loop:
    """One event loop.

    Attributes:
        keepers: The tasks of the generations that live in it, the oldest first.
        ending: Whether it is about to end, so that nothing lingers any more.
        owned: What it has of resources that each event loop has one of.
        now: Its clock, in seconds; of asyncio the system's, which its loops measure by.
    """

    now: Callable[[], float]

    def __init__(self) -> None:
        self.keepers: dict[Keeper[Any], None] = {}
        self.ending = False
        self.owned: WeakKeyDictionary[object, Any] = WeakKeyDictionary()

    def reset_after_fork(self) -> tuple[object, ...]:
        """Say what must never be left in a forked child: the parent's tasks, and all that they have opened."""
        return (self,)

    @property
    def token(self) -> object:
        """What `running_asyncio_loop` returns in its thread while it runs; of trio, what that never returns."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether it is over for good."""
        raise NotImplementedError

    @property
    def runs_here(self) -> bool:
        """Whether this thread is inside of it."""
        raise NotImplementedError

    def sleeper(self) -> Sleeper:
        """Return what a task of this loop sleeps on."""
        raise NotImplementedError

    def current_task(self) -> object:
        """Return the task that runs."""
        raise NotImplementedError

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: Name, context: Context) -> OwnTask:
        """Start a task of nobody's group for a keeper, which sees to it itself when the loop ends.

        Raises:
            RuntimeError: It is too late for that.
        """
        raise NotImplementedError

    def detach(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> Job:
        """Start a task of nobody's group, which the end of the loop cancels, and return what cancels it before."""
        raise NotImplementedError

    def call_later(self, seconds: float, job: Job) -> Timer:
        """Call `job` in the loop."""
        raise NotImplementedError

    def call_soon(self, job: Job) -> None:
        """Call `job` in the loop; from anywhere, finalizers included. Does nothing if the loop is over."""
        raise NotImplementedError

    def watch_end(self, ends: Job) -> Timer | None:
        """Call `ends` when the loop is about to end, where a keeper could not be told of that any more."""
        return None

    def awaits_others(self, keeper: Keeper[Any], wake: Job) -> bool:
        """Say whether younger keepers may hold what `keeper` keeps; `wake` is called when that may have changed.

        When the loop ends, nobody else is left.
        """
        younger = False
        for other in self.keepers:
            if younger and other.up:
                other.then.append(wake)
                return True
            younger = younger or other is keeper
        return False

    def is_cancellation(self, error: BaseException) -> bool:
        """Return whether `error` is what a task gets that is cancelled."""
        raise NotImplementedError

    def report(self, error: BaseException, where: str) -> None:
        """Tell of an error that nobody will catch."""
        raise NotImplementedError


class Sleeper:
    """What one task sleeps on until it is woken, from whichever thread.

    Woken before it sleeps, it does not sleep; however often it is woken, it wakes once.

    Args:
        loop: Where the task is.
    """

    __slots__ = ("_loop", "_woken")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._woken = False

    async def sleep(self, deadline: float | None = None) -> bool:
        """Sleep until woken, and say whether that came before `deadline` on the loop's clock."""
        raise NotImplementedError

    def wake(self) -> None:
        """Wake the task, or let its next sleep return at once."""
        if self._loop.runs_here:
            self._wake()
        else:
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._woken = True
        self._ring()

    def _ring(self) -> None:
        """End the sleep, if there is one."""
        raise NotImplementedError
