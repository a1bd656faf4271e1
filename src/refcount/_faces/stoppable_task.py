"""`StoppableTask`: a task that can be asked to end, on asyncio and trio; what `StoppableThread` is for threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from refcount._core.loop import CancelScope, Event, Job, Loop, move_on_after
from refcount._core.loops import here
from refcount._errors import WrongLoopError
from refcount._support.checks import advises, check_function
from refcount._support.naming import name_of, public, short
from refcount._support.numbers import check_seconds

PARTIAL = "hand in functools.partial(target, ...), which is called with `stopping` after all else"

GRACE = 10.0
"""How many seconds a task has to end when it is asked to, unless it is said otherwise."""


@public
class StoppableTask:
    """A task that ends when asked to. It belongs to no task group, and outlives who has started it.

    Either a target is given, a coroutine function, which is handed `stopping` and comes back when that is set; or a
    subclass overrides `run()` and looks at `self.stopping`. `await stopping.wait()` sleeps until the task is to end,
    and `with anyio.move_on_after(seconds):` around it wakes up before. A task that does not look at `stopping` is
    cancelled some seconds after it was asked to end.

    What the target raises when nobody has asked it to end is told at once: to the logger, and to asyncio's exception
    handler or, on trio, `sys.unraisablehook`. What it raises afterwards goes to the caller of `stop`. A task that still
    runs when its event loop ends is cancelled by that, as any other.

    Args:
        target: Called in the task with the event `stopping`; without one the task has nothing to do.
        name: The task's name; by default the target's.
        grace: How many seconds it has to end by itself when it is asked to; 0 cancels it at once, `math.inf` never.

    Attributes:
        stopping: Set when the task is to end.

    Raises:
        TypeError: The target cannot be called with an event, or the grace is no number. What else it is to be called
            with is told by `functools.partial`: there are no `args` and `kwargs`.
        ValueError: The grace is negative or NaN.
        ImportError: anyio is not installed; the extra `async` brings it.

    Example:
        >>> import anyio, asyncio
        >>> from refcount import AsyncSharedResource, StoppableTask
        >>> async def produce(stopping: anyio.Event) -> None:
        ...     while not stopping.is_set():
        ...         await anyio.sleep(0.01)
        >>> producer = AsyncSharedResource.of(
        ...     lambda: StoppableTask(produce), start=StoppableTask.start, stop=StoppableTask.stop
        ... )
        >>> async def main():
        ...     async with producer() as task:
        ...         print(task.is_alive())
        ...     print(task.is_alive())
        >>> asyncio.run(main())
        True
        False
    """

    @advises(args=PARTIAL, kwargs=PARTIAL)
    def __init__(
        self,
        target: Callable[[Event], Awaitable[object]] | None = None,
        *,
        name: str | None = None,
        grace: float = GRACE,
    ) -> None:
        if target is not None:
            check_function("the target of a StoppableTask", target, ("stopping",), awaits=True)
        self.stopping: Event = Event()
        self.name: str = name or name_of(type(self) if target is None else target)
        self._grace = check_seconds("grace", grace)
        self._target = target
        self._cancel: Job | None = None
        self._error: BaseException | None = None
        self._loop: Loop | None = None
        self._over = Event()
        self._task: object = None

    def __repr__(self) -> str:
        what = "not started" if self._cancel is None else "running" if self.is_alive() else "over"
        return f"<{name_of(type(self))} {short(self.name)}, {what}>"

    async def start(self) -> None:
        """Start the task, in a copy of the caller's context.

        Raises:
            RuntimeError: It was started before.
            RefcountError: No event loop runs here.

        Example:
            >>> import anyio, asyncio
            >>> async def produce(stopping: anyio.Event) -> None:
            ...     await stopping.wait()
            >>> async def main():
            ...     task = StoppableTask(produce)
            ...     await task.start()
            ...     print(task.is_alive())
            ...     await task.stop()
            >>> asyncio.run(main())
            True
        """
        if self._cancel is not None:
            raise RuntimeError(f"{self!r} was started before: a task runs once, make another one")
        self._loop = loop = here()
        self._cancel = loop.detach(self._live, self.name)

    async def run(self) -> None:
        """Call the target with `stopping`; override it to do something else.

        Example:
            >>> import anyio, asyncio
            >>> class Ticker(StoppableTask):
            ...     async def run(self) -> None:
            ...         while not self.stopping.is_set():
            ...             await anyio.sleep(0.01)
            >>> async def main():
            ...     ticker = Ticker()
            ...     await ticker.start()
            ...     await ticker.stop()
            ...     print(ticker)
            >>> asyncio.run(main())
            <Ticker 'Ticker', over>
        """
        if self._target is not None:
            await self._target(self.stopping)

    async def stop(self) -> None:
        """Ask the task to end, and wait until it has; when its grace is over, cancel it.

        It does not wait for a task that was never started (which will find `stopping` set when it is), nor inside the
        task itself. It is harmless when repeated. If the waiting is cancelled, so is the task.

        Raises:
            BaseException: What the task has raised since it was asked to end.
            WrongLoopError: It is in another event loop.

        Example:
            >>> import anyio, asyncio
            >>> async def stubborn(stopping: anyio.Event) -> None:
            ...     await anyio.sleep_forever()
            >>> async def main():
            ...     task = StoppableTask(stubborn, grace=0.01)
            ...     await task.start()
            ...     await task.stop()
            ...     print(task)
            >>> asyncio.run(main())
            <StoppableTask 'stubborn', over>
        """
        loop, cancel = self._loop, self._cancel
        if loop is not None and not (loop.runs_here or loop.closed):
            raise WrongLoopError(f"{self!r} is in another event loop, and cannot be stopped from this one")
        self.stopping.set()
        if loop is None or cancel is None or loop.closed or self._task is loop.current_task():
            return
        try:
            with move_on_after(self._grace):
                await self._over.wait()
        finally:
            if not self._over.is_set():
                cancel()
        with CancelScope(shield=True):
            await self._over.wait()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # it refers to this frame

    def is_alive(self) -> bool:
        """Return whether it was started and is not over.

        Example:
            >>> StoppableTask().is_alive()
            False
        """
        return self._loop is not None and not (self._over.is_set() or self._loop.closed)

    async def _live(self) -> None:
        loop = here()
        self._task = loop.current_task()
        try:
            await self.run()
        except BaseExceptionGroup as group:
            rest = group.split(lambda error: loop.is_cancellation(error))[1]  # it takes functions alone
            if rest is not None:  # trio's cancellations come in groups
                self._fail(rest, loop)
        except BaseException as error:
            if isinstance(error, Exception):
                self._fail(error, loop)
            elif not loop.is_cancellation(error):  # which nobody awaits; the task would keep it, and that this frame
                raise
        finally:
            self._target = None  # it may refer to the task
            self._task = None
            self._over.set()

    def _fail(self, error: BaseException, loop: Loop) -> None:
        """Keep an error for who waits for the end, or tell of it if nobody does."""
        if self.stopping.is_set():
            self._error = error
        else:
            loop.report(error, f"the task {self.name}")
