"""`run`: one test body, an async function, on each event loop; and what such bodies are made of.

After each body it is looked at what the library has left: no task but the main one, no async generator and no coroutine
that is suspended, no reference cycle with anything of ours in it, no error that nobody has asked for.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from types import AsyncGeneratorType, CoroutineType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import WeakSet

import pytest

if TYPE_CHECKING:
    from trio.abc import Clock
    from trio.lowlevel import Task as TrioTask

T = TypeVar("T")

WAIT = 20.0
"""Seconds after which something that should have happened counts as never happening."""

TURNS = 50
"""How often a loop is let turn for what is on its way out already."""

ASYNCIO = ("asyncio", "asyncio debug", "uvloop")
LOOPS = (*ASYNCIO, "trio")


async def checkpoint(times: int = 1) -> None:
    """Let all others that can run do so, once or more often."""
    from anyio.lowlevel import checkpoint as turn

    for _ in range(times):
        await turn()


async def until(reached: Callable[[], object], what: str = "what was waited for") -> None:
    """Return when `reached()` is true, letting the loop turn; raise `TimeoutError` naming `what` if that is never."""
    deadline = time.monotonic() + WAIT
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"never: {what}")
        await checkpoint()


async def settled(turns: int = 10) -> None:
    """Let the loop turn some times, so that whatever could happen without anybody's doing has happened."""
    await checkpoint(turns)


async def error_of(awaitable: Awaitable[object]) -> BaseException:
    """Return what an awaitable raises, without the frames, which would keep alive what they have seen."""
    try:
        await awaitable
    except BaseException as error:
        return error.with_traceback(None)
    raise AssertionError("it raised nothing")


def leaves(error: BaseException) -> list[BaseException]:
    """Return what an error, which may be a group of groups, consists of."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return [leaf for each in group.exceptions for leaf in leaves(each)]
    return [error]


async def stubborn(function: Callable[[], Awaitable[T]]) -> T:
    """Run a function to its end, whoever cancels that."""
    import anyio

    job = Job(function)
    while True:
        with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
            return await job.result()


def on_trio() -> bool:
    """Return whether trio runs here."""
    return "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_run()


class Job(Generic[T]):
    """A function in a task of its own; whoever wants to know how it ends asks for that."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        import anyio

        _jobs.add(self)
        self._function = function
        self._done = anyio.Event()
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        if on_trio():
            import trio

            self._scope = trio.CancelScope()
            self._task: Any = trio.lowlevel.spawn_system_task(self._run_on_trio, context=copy_context())
        else:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)  # it may never begin

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether that was by a cancellation."""
        return self.over and not self._results and not self._errors

    @property
    def errors(self) -> tuple[BaseException, ...]:
        """What it has raised, if it has."""
        return (*self._errors,)

    @property
    def failed(self) -> bool:
        """Whether it has raised something."""
        return bool(self._errors)

    @property
    def task(self) -> Any:
        """The task, as the event loop knows it."""
        return self._task

    def cancel(self) -> None:
        """Cancel it: on asyncio once, on trio for good."""
        if on_trio():
            self._scope.cancel()
        else:
            self._task.cancel()

    async def wait(self) -> None:
        """Return when it has ended."""
        import anyio

        with anyio.fail_after(WAIT):
            await self._done.wait()

    async def result(self) -> T:
        """Return what it returns, or raise what it raises."""
        await self.wait()
        if self._errors:
            raise self._errors.pop()
        assert self._results, "it was cancelled"
        return self._results[0]

    async def error(self) -> BaseException:
        """Return what it raises, without the frames."""
        await self.wait()
        assert self._errors, f"it raised nothing, but returned {self._results}, or was cancelled: {self.cancelled}"
        return self._errors[0].with_traceback(None)

    async def _run(self) -> None:
        try:
            self._results.append(await self._function())
        except asyncio.CancelledError:
            pass  # the task would keep it, with the frame of this very function
        except BaseException as error:
            self._errors.append(error)

    async def _run_on_trio(self) -> None:
        import trio

        try:
            with self._scope:
                try:
                    self._results.append(await self._function())
                except trio.Cancelled:
                    raise
                except BaseException as error:
                    self._errors.append(error)
        finally:
            self._done.set()

    def _ended(self, _: object) -> None:
        self._done.set()

    def forget(self) -> None:
        """Keep no error any more, whose frames have this very object."""
        self._errors.clear()


_jobs: WeakSet[Job[Any]] = WeakSet()


class Gate:
    """A place where a task stops until it is let on, and that says when one has come. It is open until `shut`."""

    def __init__(self) -> None:
        self._shut = False
        self.waiting = 0
        self.passed = 0

    def shut(self) -> None:
        self._shut = True

    def open(self) -> None:
        self._shut = False

    async def wait_reached(self) -> None:
        await until(lambda: self.waiting, "somebody at the gate")

    async def pass_through(self) -> None:
        self.waiting += 1
        try:
            while self._shut:
                await checkpoint()
        finally:
            self.waiting -= 1
        self.passed += 1


class Run:
    """Runs test bodies on one kind of event loop.

    Attributes:
        kind: Which; one of `LOOPS`.
        reported: What was told of errors that went to nobody else: to the loop's handler, or the hook.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.trio = kind == "trio"
        self.reported: list[BaseException] = []

    def told(self) -> list[BaseException]:
        """Return what went to nobody else so far, and forget it; what is left at the end fails the test."""
        told, self.reported = self.reported, []
        return told

    def __call__(
        self,
        body: Callable[[], Coroutine[Any, Any, T]],
        *,
        clock: Clock | None = None,
        kept: int = 0,
        up: bool = False,
        cycles: bool = False,
    ) -> T:
        """Run a body in a fresh event loop to its end, and look at what is left.

        Args:
            body: The test.
            clock: For trio, instead of the real one.
            kept: How many generators and coroutines are kept for good, since what they stood for was abandoned.
            up: Whether something is up at the end of the body, for the loop's end to see to.
            cycles: Whether asyncio itself leaves cycles, with frames of ours in them.
        """
        while gc.collect():  # what one finalizer lets go of, the next round finds: hypothesis leaves such things
            pass
        before = _suspended()
        with self._hooks(), _cycles() as found:
            result = self._run(lambda: self._main(body, up), clock)
            for job in _jobs:
                job.forget()
        assert not self.reported, f"told to nobody: {self.reported!r}"
        assert cycles or not found, f"in reference cycles: {found}"
        left = [thing for thing in _suspended() if not any(thing is other for other in before)]
        assert len(left) <= kept, f"suspended: {left}"
        return result

    def _run(self, main: Callable[[], Coroutine[Any, Any, T]], clock: Clock | None) -> T:
        if self.kind == "trio":
            import trio

            return trio.run(main, clock=clock)
        factory = None
        if self.kind == "uvloop":
            factory = pytest.importorskip("uvloop").new_event_loop
        with asyncio.Runner(debug=self.kind == "asyncio debug", loop_factory=factory) as runner:
            return runner.run(main())

    async def _main(self, body: Callable[[], Coroutine[Any, Any, T]], up: bool) -> T:
        if not self.trio:
            asyncio.get_running_loop().set_exception_handler(self._handle)
        before = _tasks()
        result = await body()
        if not up:
            for _ in range(TURNS):
                if _tasks() <= before:
                    break
                await checkpoint()
            left = _tasks() - before
            assert not left, f"tasks left: {left}"
        return result

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.reported.append(error if isinstance(error, BaseException) else RuntimeError(context["message"]))

    @contextmanager
    def _hooks(self) -> Generator[None]:
        def collect(unraisable: sys.UnraisableHookArgs) -> None:
            assert unraisable.exc_value is not None
            self.reported.append(unraisable.exc_value)

        hook, sys.unraisablehook = sys.unraisablehook, collect
        try:
            yield
        finally:
            sys.unraisablehook = hook


@contextmanager
def _cycles() -> Generator[list[str]]:
    """Give a list, which in the end has what of ours only the garbage collector would have found."""
    found: list[str] = []
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += [f"{type(thing).__name__} {thing!r:.100}" for thing in gc.garbage if _is_ours(thing)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _is_ours(thing: object) -> bool:
    if isinstance(thing, BaseException):
        trace = thing.__traceback__
        while trace is not None:
            if trace.tb_frame.f_globals.get("__name__", "").startswith("refcount."):
                return True
            trace = trace.tb_next
        return False
    return type(thing).__module__.partition(".")[0] == "refcount" and type(thing).__name__ != "TrioLoop"  # trio's own


def _suspended() -> list[object]:
    return [
        thing
        for thing in gc.get_objects()
        if type(thing) in _SUSPENDABLE and (thing.ag_frame if type(thing) is AsyncGeneratorType else thing.cr_frame)
    ]


_SUSPENDABLE = frozenset({AsyncGeneratorType, CoroutineType})


def _tasks() -> set[object]:
    """Return all tasks of the event loop that runs here, the running one included."""
    if not on_trio():
        return {*asyncio.all_tasks()}
    import trio

    root = trio.lowlevel.current_root_task()
    found: set[object] = set()
    pending: list[TrioTask] = [] if root is None else [root]
    while pending:
        task = pending.pop()
        found.add(task)
        for nursery in task.child_nurseries:
            pending += nursery.child_tasks
    return found


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """What runs a body on one event loop after the other."""
    return Run(request.param)


@pytest.fixture(params=ASYNCIO)
def run_asyncio(request: pytest.FixtureRequest) -> Run:
    """What runs a body on those of asyncio."""
    return Run(request.param)


@pytest.fixture
def run_trio() -> Run:
    """What runs a body on trio."""
    return Run("trio")
