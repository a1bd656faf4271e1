"""`AsyncioLoop`: an event loop of asyncio, or one that stands in for it, such as uvloop's.

How such a loop ends: `asyncio.run` cancels all tasks when its main task is over, waits for them, and then has the loop
close all asynchronous generators. A generation's own task is not among those tasks, nor is it for others who cancel all
that `asyncio.all_tasks` gives: its consumers are, and a stop is not to be cancelled. It is ended by a generator of this
loop's own, the sentinel, which is closed when all consumers are gone.
"""

from __future__ import annotations

import asyncio
import math
import sys
from asyncio import events
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
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


TURNS = 10
"""How often others who are closed as well get their turn first, to give back what they hold."""


class _AsyncioTask(asyncio.Task[None]):
    called: Name
    _ran_out = False

    def get_name(self) -> str:
        return text_of(self.called)

    @property
    def known_as(self) -> object:
        return self

    def cancelled_by_loop(self) -> bool:
        return False

    def interrupt(self) -> object:
        return super().cancel()

    def shield(self, seconds: float) -> Timer:
        self.calm()
        loop = self.get_loop()
        return _NO_TIMER if seconds == math.inf else loop.call_later(seconds, self._run_out)

    def _run_out(self) -> None:
        self._ran_out = True
        self.interrupt()

    def ran_out(self) -> bool:
        return self._ran_out

    def expose(self) -> None:
        pass

    def calm(self) -> None:
        while self.cancelling():
            self.uncancel()


class _NoTimer:
    def cancel(self) -> None:
        """Do nothing."""


_NO_TIMER = _NoTimer()


class _AsyncioSleeper(Sleeper):
    __slots__ = ("_future",)

    def __init__(self, loop: AsyncioLoop) -> None:
        super().__init__(loop)
        self._future: asyncio.Future[None] | None = None

    async def sleep(self, deadline: float | None = None) -> bool:
        if not self._woken:
            self._future = future = asyncio.get_running_loop().create_future()
            if deadline is None:
                await future
            else:
                await self._wait(future, deadline)
        woken, self._woken = self._woken, False
        return woken

    async def _wait(self, future: asyncio.Future[None], deadline: float) -> None:
        timer = future.get_loop().call_later(deadline - self._loop.now(), _end, future)
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
        self._sentinel: AsyncGenerator[None, None] | None = None

    @property
    def token(self) -> object:
        """The loop itself."""
        return self._loop()

    @property
    def closed(self) -> bool:
        loop = self._loop()
        return loop is None or loop.is_closed()

    @property
    def runs_here(self) -> bool:
        running = running_asyncio_loop()
        return running is not None and running is self._loop()

    def sleeper(self) -> Sleeper:
        return _AsyncioSleeper(self)

    def current_task(self) -> object:
        return asyncio.current_task()

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: Name, context: Context) -> OwnTask:
        if self._sentinel is None:
            self._post_sentinel()
        # Not by the loop's own factory, which may run a task at once.
        task = _AsyncioTask(run(), loop=self._loop(), context=context)
        task.called = name
        asyncio._unregister_task(task)
        return task

    def _post_sentinel(self) -> None:
        self._sentinel = sentinel = _until_closed(ref(self))
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(hooks.firstiter, None)  # the finalizer would keep the loop, which leads to this
        try:
            step = sentinel.__anext__()
        finally:
            sys.set_asyncgen_hooks(*hooks)
        with suppress(StopIteration):  # it does not wait
            step.send(None)

    async def end_keepers(self) -> None:
        """Have all keepers end, the youngest first."""
        self.ending = True
        for _ in range(TURNS):
            await asyncio.sleep(0)
        given_up: set[Keeper[Any]] = set()
        while left := [keeper for keeper in self.keepers if keeper not in given_up]:
            left[-1].ends()
            await left[-1].ended()
            if left[-1].up:
                given_up.add(left[-1])

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

    def report(self, error: BaseException, where: str) -> None:
        loop = self._loop()
        if loop is None or loop.is_closed():
            report(error, where)
            return
        logger.error("error in %s", where, exc_info=error)
        if isinstance(error, KeyboardInterrupt | SystemExit) and not self.ending:  # else others would not be stopped
            loop.call_soon(_let_out, error)
            return
        loop.call_exception_handler({"message": f"error in {where}", "exception": error})


def _let_out(error: BaseException) -> None:
    """Raise what ends the loop, as asyncio lets it out of each task."""
    try:
        raise error
    finally:
        del error


async def _until_closed(reference: ref[AsyncioLoop]) -> AsyncGenerator[None, None]:
    """Do nothing until the loop closes its generators, and then have all keepers end: the sentinel."""
    try:
        yield
    finally:
        loop = reference()
        if loop is not None and loop.runs_here:  # else it is dropped with a loop that nobody has let it close
            await loop.end_keepers()
