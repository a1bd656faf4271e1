"""`TrioLoop`: a run of trio.

How it ends: when its main task is over, and so are all others, the system tasks are cancelled, which a generation's own
task is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

import trio

from refcount._core.loop import Job, Loop, OwnTask, Sleeper, Timer
from refcount._support.naming import text_of
from refcount._support.reporting import report

if TYPE_CHECKING:
    from refcount._support.naming import Name


class _TrioTask:
    """A system task with a scope around all that it does."""

    def __init__(self, scope: trio.CancelScope, now: Callable[[], float], known_as: object) -> None:
        self._scope = scope
        self._now = now
        self.known_as = known_as

    def interrupt(self) -> None:
        self._scope.cancel()

    def cancelled_by_loop(self) -> bool:
        self._scope.shield = True
        inside = trio.current_effective_deadline() == -math.inf
        self._scope.shield = False
        return not inside

    def shield(self, seconds: float) -> Timer:
        self._scope.shield = True
        self._scope.deadline = self._now() + seconds
        return _Deadline(self._scope)

    def ran_out(self) -> bool:
        return self._now() >= self._scope.deadline

    def expose(self) -> None:
        self._scope.shield = False

    def calm(self) -> None:
        pass


class _Deadline:
    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope

    def cancel(self) -> None:
        self._scope.deadline = math.inf


class _Sleep:
    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope

    def cancel(self) -> None:
        self._scope.cancel()


class _TrioSleeper(Sleeper):
    __slots__ = ("_event",)

    def __init__(self, loop: TrioLoop) -> None:
        super().__init__(loop)
        self._event = trio.Event()

    async def sleep(self, deadline: float | None = None) -> bool:
        if not self._woken:
            self._event = event = trio.Event()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await event.wait()
        woken, self._woken = self._woken, False
        return woken

    def _ring(self) -> None:
        self._event.set()


class TrioLoop(Loop):
    """A run of trio."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        super().__init__()
        self._token = token
        self.now = trio.current_time
        self._over = False

    @property
    def token(self) -> object:
        return self

    @property
    def closed(self) -> bool:
        if not self._over:
            try:
                self._token.run_sync_soon(_nothing)
            except trio.RunFinishedError:
                self._over = True
        return self._over

    @property
    def runs_here(self) -> bool:
        return _token() is self._token

    def sleeper(self) -> Sleeper:
        return _TrioSleeper(self)

    def current_task(self) -> object:
        return trio.lowlevel.current_task()

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: Name, context: Context) -> OwnTask:
        scope = trio.CancelScope()

        async def live() -> None:
            with scope:
                await run()

        task = trio.lowlevel.spawn_system_task(live, name=text_of(name), context=context)
        return _TrioTask(scope, self.now, task)

    def detach(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> Job:
        scope = trio.CancelScope()

        async def live() -> None:
            with scope:
                await run()

        trio.lowlevel.spawn_system_task(live, name=name, context=copy_context())
        return scope.cancel

    def call_later(self, seconds: float, job: Job) -> Timer:
        scope = trio.CancelScope()

        async def wait() -> None:
            with scope:
                await trio.sleep(max(seconds, 0))
                job()

        trio.lowlevel.spawn_system_task(wait)
        return _Sleep(scope)

    def call_soon(self, job: Job) -> None:
        try:
            self._token.run_sync_soon(job)
        except trio.RunFinishedError:
            self._over = True

    def is_cancellation(self, error: BaseException) -> bool:
        return isinstance(error, trio.Cancelled)

    def report(self, error: BaseException, where: str) -> None:
        report(error, where)

    def watch_end(self, ends: Job) -> Timer:
        scope = trio.CancelScope()

        async def watch() -> None:
            with scope:
                try:
                    await trio.sleep_forever()
                finally:
                    if not scope.cancel_called:
                        ends()

        trio.lowlevel.spawn_system_task(watch)
        return _Sleep(scope)


def _nothing() -> None:
    pass


_loops: trio.lowlevel.RunVar[TrioLoop | None] = trio.lowlevel.RunVar("refcount")


def trio_loop() -> TrioLoop | None:
    """Return the run of trio whose task runs in this thread, if one does."""
    if not in_trio_task():
        return None
    loop = _loops.get(None)
    if loop is None:
        loop = TrioLoop(trio.lowlevel.current_trio_token())
        _loops.set(loop)
    return loop


def _token() -> trio.lowlevel.TrioToken | None:
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None


def _in_trio_task() -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


in_trio_task: Callable[[], bool] = getattr(trio.lowlevel, "in_trio_task", _in_trio_task)  # since trio 0.30
"""Says whether a task of trio runs: in guest mode, those of the host run in the same thread."""
