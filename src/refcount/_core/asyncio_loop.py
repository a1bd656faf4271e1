"""`AsyncioLoop`: an event loop of asyncio, or one that stands in for it, such as uvloop's.

How such a loop ends: `asyncio.run` cancels all tasks when its main task is over, and waits for them; it does so while
the loop does not run, which nobody else can. A generation's own task is not cancelled by that: it is told of the end.
"""

from __future__ import annotations

import asyncio
import math
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any
from weakref import ref

from refcount._core.loop import Job, Loop, OwnTask, Sleeper, Timer
from refcount._support.naming import text_of
from refcount._support.reporting import logger, report

if TYPE_CHECKING:
    from refcount._core.keeper import Keeper
    from refcount._support.naming import Name

running_asyncio_loop: Callable[[], asyncio.AbstractEventLoop | None] = events._get_running_loop
"""Returns asyncio's loop that runs in this thread, or None; the public one raises where there is none, as on trio."""


class _AsyncioTask(asyncio.Task[None]):
    """A task that the end of its loop does not cancel: it is told of that instead."""

    called: Name
    ends: Job

    def get_name(self) -> str:
        return text_of(self.called)

    @property
    def known_as(self) -> object:
        return self

    def cancel(self, msg: Any | None = None) -> bool:
        if self.get_loop().is_running():
            return super().cancel(msg)
        self.ends()
        return False

    @property
    def cancelled_by_loop(self) -> bool:
        return False  # that has called `ends`

    def interrupt(self) -> object:
        return super().cancel()

    def shield(self, seconds: float) -> Timer:
        self.calm()
        loop = self.get_loop()
        return _NO_TIMER if seconds == math.inf else loop.call_later(seconds, self.interrupt)

    def expose(self) -> None:
        pass  # who is told of the end interrupts it

    def calm(self) -> None:
        while self.cancelling():
            self.uncancel()

    def let_go(self) -> None:
        self.ends = _nothing


def _nothing() -> None:
    pass


class _NoTimer:
    def cancel(self) -> None:
        """Do nothing."""


_NO_TIMER = _NoTimer()


class _AsyncioSleeper(Sleeper):
    __slots__ = ("_future",)

    def __init__(self, loop: AsyncioLoop) -> None:
        super().__init__(loop)
        self._future: asyncio.Future[None] | None = None

    async def _sleep(self, deadline: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._future = future = loop.create_future()
        if deadline is None:
            await future
            return
        timer = loop.call_later(deadline - self._loop.now(), _end, future)
        try:
            await future
        finally:
            timer.cancel()

    def _ring(self) -> None:
        if self._future is not None:
            _end(self._future)


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class AsyncioLoop(Loop):
    """An event loop of asyncio, or one that stands in for it, such as uvloop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float]) -> None:
        super().__init__()
        self.now = now
        self._detached: set[asyncio.Task[None]] = set()
        self._loop = ref(loop)

    @property
    def token(self) -> object:
        """The loop itself."""
        return self._loop()

    @property
    def closed(self) -> bool:
        loop = self._loop()
        return loop is None or loop.is_closed()

    @property
    def ending(self) -> bool:
        # Where there was nothing to be told of it, it can be seen: every task was cancelled that is not one of ours.
        loop = self._loop()
        tasks = () if self.told_of_end or loop is None else asyncio.all_tasks(loop)
        return self.told_of_end or all(task.cancelling() or isinstance(task, _AsyncioTask) for task in tasks)

    @property
    def runs_here(self) -> bool:
        return running_asyncio_loop() is self._loop()

    def sleeper(self) -> Sleeper:
        return _AsyncioSleeper(self)

    def current_task(self) -> object:
        return asyncio.current_task()

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], ends: Job, name: Name, context: Context) -> OwnTask:
        # Not by the loop's own factory, which may run a task at once, or make one that the end of the loop cancels.
        task = _AsyncioTask(run(), loop=self._loop(), context=context)
        task.ends = ends
        task.called = name
        return task

    def detach(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> Job:
        task = asyncio.get_running_loop().create_task(run(), name=name)
        self._detached.add(task)  # of which the loop itself has weak references alone
        task.add_done_callback(self._detached.discard)
        return task.cancel

    def call_later(self, seconds: float, job: Job) -> Timer:
        loop = self._loop()
        assert loop is not None  # it runs
        return loop.call_later(seconds, job)

    def call_soon(self, job: Job) -> None:
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(job)

    def is_cancellation(self, error: BaseException) -> bool:
        return isinstance(error, asyncio.CancelledError)

    def awaits_others(self, keeper: Keeper[Any], wake: Job) -> bool:
        loop = self._loop()
        if loop is not None:
            for task in asyncio.all_tasks(loop):
                if not isinstance(task, _AsyncioTask):
                    task.add_done_callback(lambda _: wake())
                    return True
        return super().awaits_others(keeper, wake)

    def report(self, error: BaseException, where: str) -> None:
        loop = self._loop()
        if loop is None or loop.is_closed():
            report(error, where)
            return
        logger.error("error in %s", where, exc_info=error)
        loop.call_exception_handler({"message": f"error in {where}", "exception": error})
