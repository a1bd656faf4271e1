"""`refcounted_resource` on functions for tasks: the same bodies on every event loop."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import math
import pickle
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, cast

import pytest

import refcount
from refcount import (
    AsyncLease,
    AsyncResourceFunction,
    AsyncSharedResource,
    CapacityError,
    ClosedError,
    RefcountError,
    ResourceFunction,
    State,
    refcounted_resource,
)
from tests.helpers.loops import Job, Run, checkpoint, error_of, leaves, run, run_asyncio, settled, until
from tests.helpers.programs import run_program

__all__ = ["run", "run_asyncio"]

untyped = cast("Callable[..., Any]", refcounted_resource)
"""For what the type checkers refuse and the run time has to refuse as well."""


class Diary:
    """What was started and stopped, in order, and a function that does so."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @property
    def balanced(self) -> bool:
        """Whether all has stopped that was started."""
        return sum(line.startswith("start") for line in self.lines) * 2 == len(self.lines)

    async def camera(self, index: int, size: int = 1) -> AsyncGenerator[str]:
        """Write when it starts and stops."""
        await checkpoint()
        self.lines.append(f"start {index}")
        yield f"camera {index}"
        await checkpoint()
        self.lines.append(f"stop {index}")

    def __call__(self, **options: Any) -> AsyncResourceFunction[..., str]:
        """Return it, shared; it takes `index` and `size`."""
        shared: AsyncResourceFunction[..., str] = untyped(functools.partial(self.camera), **options)
        return shared


@pytest.fixture
def diary() -> Diary:
    """What a test looks into."""
    return Diary()


# --- Calls and keys -------------------------------------------------------------------------------------------------


def test_calls_with_equal_arguments_share(run: Run, diary: Diary) -> None:
    """However they are spelled; others have a resource of their own, and nothing is left of what is idle."""
    camera = diary()

    async def body() -> None:
        async with camera(0) as first, camera(index=0, size=1) as second, camera(1) as other:
            assert (first, second, other) == ("camera 0", "camera 0", "camera 1")
            assert camera.resource(0) is camera.resource(0, 1)
            assert {resource.name for resource in camera.resources()} == {"Diary.camera(0)", "Diary.camera(1)"}
            assert camera.usecount == 3
        assert diary.lines == ["start 0", "start 1", "stop 1", "stop 0"]
        assert camera.resources() == ()

    run(body)
    gc.collect()
    assert not camera._self_calls.members  # pyright: ignore[reportPrivateUsage]


def test_concurrent_calls_share_one_start(run: Run, diary: Diary) -> None:
    """The first calls of many tasks at once start it once."""
    camera = diary()

    async def consumer() -> str:
        async with camera(0) as value:
            await settled()
            return value

    async def body() -> None:
        jobs = [Job(consumer) for _ in range(10)]
        assert [await job.result() for job in jobs] == ["camera 0"] * 10
        assert diary.lines == ["start 0", "stop 0"]

    run(body)


def test_a_call_is_a_lease(run: Run, diary: Diary) -> None:
    """It is not held before it is entered or acquired; then it has the value, and is used once."""
    camera = diary()

    async def body() -> None:
        lease = camera(0)
        assert type(lease) is AsyncLease
        assert not lease.held
        assert lease.resource is camera.resource(0)
        await lease.acquire()
        assert lease.value == "camera 0"
        assert "entered before" not in str(lease)
        assert await lease.release()
        assert isinstance(await error_of(lease.acquire()), RefcountError)

    run(body)


@asynccontextmanager
async def managed(index: int) -> AsyncGenerator[int]:
    """Be wrapped already."""
    await checkpoint()
    yield index


class Opened:
    """An asynchronous context manager of a user's."""

    def __init__(self, index: int) -> None:
        self.index = index

    async def __aenter__(self) -> int:
        return self.index

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


def annotated(index: int) -> AbstractAsyncContextManager[int]:
    """Say what it returns."""
    return managed(index)


def gives_opened(index: int) -> Opened:
    """Say so by a class."""
    return Opened(index)


def gives_generator(index: int) -> AsyncGenerator[int]:
    """Say that it returns a generator."""
    return managed.__wrapped__(index)  # type: ignore[attr-defined, no-any-return]


class Values:
    """An asynchronous iterator that is no generator."""

    def __init__(self, index: int) -> None:
        self.left = [index]

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


def gives_iterator(index: int) -> AsyncIterator[int]:
    """Say that it returns one."""
    return Values(index)


class Opener:
    """A callable object."""

    async def __call__(self, index: int) -> AsyncGenerator[int]:
        yield index


def through(function: Callable[[int], Any]) -> Callable[[int], Any]:
    """Wrap a function without saying what it returns."""

    @functools.wraps(function)
    def wrapper(index: int) -> Any:
        return function(index)

    return wrapper


KINDS: dict[str, Callable[[int], Any]] = {
    "asynccontextmanager": managed,
    "annotated": annotated,
    "class": gives_opened,
    "generator": gives_generator,
    "iterator": gives_iterator,
    "object": Opener(),
    "partial": functools.partial(managed),
    "wrapped": through(cast("Any", Opener().__call__)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_asynchronous(run: Run, kind: str) -> None:
    """Whatever is seen to give an asynchronous context manager, or a generator."""
    shared: Any = untyped(KINDS[kind])
    assert type(shared).__mro__[1:].count(AsyncResourceFunction) == 1

    async def body() -> None:
        function: AsyncResourceFunction[[int], int] = shared
        async with function(3) as first, function(3) as second:
            assert (first, second) == (3, 3)
            assert function.usecount == 2
        assert function.resources() == ()

    run(body)


class Both(AbstractContextManager[str], AbstractAsyncContextManager[str]):
    """What can be entered both ways."""

    def __enter__(self) -> str:
        return "plain"

    def __exit__(self, *exc: object) -> None: ...

    async def __aenter__(self) -> str:
        return "asynchronous"

    async def __aexit__(self, *exc: object) -> None: ...


def gives_both() -> Both:
    """Say so."""
    return Both()


def test_what_is_for_both_is_for_threads() -> None:
    """A plain with-statement does for it."""
    shared = refcounted_resource(gives_both)
    assert isinstance(shared, ResourceFunction)
    with shared() as value:
        assert value == "plain"


@pytest.mark.parametrize("opened", [lambda: 3, asynccontextmanager(Opener())])
def test_what_gives_something_else(run: Run, opened: Any) -> None:
    """An annotation that is not true is found out when the call is made."""

    def lies() -> AbstractAsyncContextManager[int]:
        return cast("AbstractAsyncContextManager[int]", opened)

    shared = refcounted_resource(lies)

    async def body() -> None:
        error = await error_of(shared().acquire())
        assert isinstance(error, TypeError)
        assert "must return an asynchronous context manager, not" in str(error)

    run(body)


def test_a_function_for_threads_that_gives_one_for_tasks() -> None:
    """Nobody can see what a lambda returns: it is taken for one of threads, and the error says what it gave."""
    shared = untyped(lambda: managed(0))
    with pytest.raises(TypeError, match=r"must return a context manager, not <.*: that is for tasks, .*annotate"):
        shared().acquire()


def test_errors_name_the_argument(diary: Diary) -> None:
    """As of functions for threads."""
    camera = diary()
    with pytest.raises(TypeError, match=r"Diary\.camera\(\) has no resource for index=\[0\].*unhashable"):
        camera([0])
    with pytest.raises(TypeError, match=r"Diary\.camera\(\) missing a required argument: 'index'"):
        camera()


def test_a_start_that_fails_is_everybodys(run: Run) -> None:
    """All who wait for it see that same error, and the next consumer tries anew."""
    attempts: list[int] = []

    @refcounted_resource
    async def camera(index: int) -> AsyncGenerator[int]:
        attempts.append(index)
        await checkpoint()
        if len(attempts) == 1:
            raise OSError("no camera")
        yield index

    async def consumer() -> BaseException:
        return await error_of(camera(0).acquire())

    async def body() -> None:
        jobs = [Job(consumer) for _ in range(3)]
        errors = [await job.result() for job in jobs]
        assert len({id(error) for error in errors}) == 1
        assert isinstance(errors[0], OSError)
        async with camera(0) as value:
            assert value == 0

    run(body)


# --- All of them at once --------------------------------------------------------------------------------------------


def test_flush_stops_all_that_linger(run: Run, diary: Diary) -> None:
    """All at once, and says whether there were any; what is held stays."""
    camera = diary(linger=math.inf)

    async def body() -> None:
        async with camera(0):
            async with camera(1), camera(2):
                pass
            assert await camera.flush()
            assert not await camera.flush()
            assert diary.lines[3:] == ["stop 1", "stop 2"] or diary.lines[3:] == ["stop 2", "stop 1"]
            assert [resource.name for resource in camera.resources()] == ["Diary.camera(0)"]
        assert await camera.flush()

    run(body)


def test_flush_raises_what_stops_raise(run: Run) -> None:
    """The one error, or a group of several; all are stopped."""
    stopped: list[int] = []

    @refcounted_resource(linger=math.inf)
    async def camera(index: int) -> AsyncGenerator[int]:
        yield index
        stopped.append(index)
        await checkpoint()
        if index:
            raise OSError(f"{index} does not stop")

    async def body() -> None:
        async with camera(0), camera(1):
            pass
        error = await error_of(camera.flush())
        assert str(error) == "1 does not stop"
        async with camera(1), camera(2), camera(0):
            pass
        error = await error_of(camera.flush())
        assert sorted(map(str, leaves(error))) == ["1 does not stop", "2 does not stop"]
        assert sorted(stopped) == [0, 0, 1, 1, 2]
        del error  # the frames of what it consists of lead to this one

    run(body)


def test_a_flush_that_is_cancelled_reports_what_it_would_have_raised(run_asyncio: Run) -> None:
    """The stops go on; their errors go to whoever else hears of them."""
    let: list[bool] = []

    @refcounted_resource(linger=math.inf)
    async def camera(index: int) -> AsyncGenerator[int]:
        yield index
        await until(lambda: let)
        raise OSError(f"{index} does not stop")

    async def body() -> None:
        async with camera(0), camera(1):
            pass
        flush = Job(camera.flush)
        await settled()
        flush.cancel()
        await flush.wait()
        let.append(True)
        await until(lambda: not camera.resources())
        assert sorted(map(str, run_asyncio.told())) == ["0 does not stop", "1 does not stop"]

    run_asyncio(body)


def test_invalidate_and_abandon(run: Run, diary: Diary) -> None:
    """Each of them gets a fresh generation; what was abandoned is left as it is."""
    camera = diary()

    async def body() -> None:
        async with camera(0) as _, camera(1) as _:
            camera.invalidate()
            async with camera(0):
                assert diary.lines == ["start 0", "start 1", "start 0"]
        lease = await camera(2).acquire()
        camera.abandon()
        assert not lease.held
        assert camera.resources() == ()
        assert "stop 2" not in diary.lines

    run(body, kept=2)


def test_close(run: Run, diary: Diary) -> None:
    """It refuses all, waits for the holders, and stops under them if that is wanted."""
    camera = diary(linger=math.inf)

    async def body() -> None:
        lease = await camera(0).acquire()
        async with camera(1):
            pass
        error = await error_of(camera.close(timeout=0.01))
        assert isinstance(error, TimeoutError)
        assert "Diary.camera was still running after 0.01 s: Diary.camera(0)" in str(error)
        with pytest.raises(ClosedError, match=r"Diary\.camera is closed"):
            camera(3)
        with pytest.raises(ClosedError):
            camera(0)
        await camera.close(force=True)
        assert diary.balanced
        await lease.release()
        assert camera.resources() == ()
        await camera.close()

    run(body)


def test_a_closed_key_makes_a_new_one(run: Run, diary: Diary) -> None:
    """Of a family, only the family's own close is final."""
    camera = diary()

    async def body() -> None:
        old = camera.resource(0)
        await old.close()
        assert camera.resource(0) is not old
        async with camera(0) as value:
            assert value == "camera 0"

    run(body)


def test_a_function_without_arguments_keeps_its_resource(run: Run) -> None:
    """With its observers, and the numbers of its generations."""

    @refcounted_resource
    async def camera() -> AsyncGenerator[str]:
        yield "camera"

    seen: list[int] = []
    camera.resource().observe(seen.append)

    async def body() -> None:
        for number in (1, 2):
            async with camera():
                assert camera.resource().generation == number
        assert seen == [1, 0, 1, 0]

    run(body)


# --- Options --------------------------------------------------------------------------------------------------------


def test_a_full_family_lets_tasks_wait_in_order(run: Run, diary: Diary) -> None:
    """Of more keys than there is room for; who lingers longest makes room first."""
    camera = diary(capacity=2, linger=math.inf)
    order: list[int] = []

    async def consumer(index: int) -> None:
        async with camera(index):
            order.append(index)
            await settled()

    async def body() -> None:
        async with camera(0):
            async with camera(1):
                jobs: list[Job[None]] = []
                for index in (2, 3, 4):
                    jobs.append(Job(functools.partial(consumer, index)))
                    await settled()
                assert order == []
                assert {resource.state for resource in camera.resources()} == {State.RUNNING, State.STARTING}
            for job in jobs:
                await job.result()
            assert order == [2, 3, 4]
        assert diary.lines.count("stop 0") == 0
        await camera.flush()
        assert diary.balanced

    run(body)


def size_of(index: int, size: int) -> int:
    """Weigh a camera."""
    return size


def parity_of(index: int, size: int) -> int:
    """Make a key."""
    return index % 2


def name_of(index: int, size: int) -> str:
    """Name a camera."""
    return f"at {index}"


def test_weights_and_refusals(run: Run, diary: Diary) -> None:
    """A key weighs what is said, and a full family refuses at once if it shall."""
    camera = diary(capacity=3.5, weight=size_of, when_full="raise")
    assert camera.capacity == 3.5

    async def body() -> None:
        async with camera(0, size=2):
            assert isinstance(await error_of(camera(1, size=2).acquire()), CapacityError)
            async with camera(2, size=1.5):
                pass
        with pytest.raises(ValueError, match="more than the capacity"):
            camera(3, size=4)

    run(body)


def test_keys_and_names(run: Run, diary: Diary) -> None:
    """The user's own functions of the arguments."""
    camera = diary(key=parity_of, name=name_of)

    async def body() -> None:
        async with camera(1) as first, camera(3) as second:
            assert first == second == "camera 1"
            assert [resource.name for resource in camera.resources()] == ["at 1"]

    run(body)


@pytest.mark.parametrize("later", [False, True])
def test_checks(run: Run, later: bool) -> None:
    """A check may be a function or a coroutine function."""
    good = [True]

    async def check(value: object) -> bool:
        await checkpoint()
        return good[0]

    made: list[int] = []

    def check_at_once(value: object) -> bool:
        return good[0]

    async def make() -> AsyncGenerator[int]:
        made.append(0)
        yield len(made)

    camera = refcounted_resource(make, check=check if later else check_at_once, linger=math.inf)

    async def body() -> None:
        async with camera() as first:
            pass
        async with camera() as second:
            assert second == first
        good[0] = False
        async with camera() as third:
            assert third == 2
        await camera.flush()

    run(body)


def test_options_reach_the_resources(run: Run) -> None:
    """A failure inside cancels the holders, and a stop that takes too long is cut short."""
    import anyio

    @refcounted_resource(stop_timeout=0.01)
    async def stuck() -> AsyncGenerator[None]:
        yield
        await anyio.sleep_forever()

    async def use() -> None:
        async with stuck():
            pass

    @refcounted_resource(on_failure="cancel", exclusive=True)
    async def camera() -> AsyncGenerator[anyio.Event]:
        async with anyio.create_task_group() as group:
            failing = anyio.Event()

            async def fail() -> None:
                await failing.wait()
                raise OSError("unplugged")

            group.start_soon(fail)
            yield failing

    async def hold() -> None:
        async with camera() as failing:
            failing.set()
            await anyio.sleep_forever()

    async def body() -> None:
        error = await error_of(hold())
        assert [str(leaf) for leaf in leaves(error)] == ["unplugged"]
        assert "did not end within 0.01 s" in str(await error_of(use()))

    run(body, cycles=True)


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (managed, {"own_thread": True}, "own_thread has no effect on `managed`, which is asynchronous"),
    (gives_both, {"stop_timeout": 3.0}, "stop_timeout has no effect on `gives_both`, which is not asynchronous"),
    (gives_both, {"on_failure": "cancel"}, "on_failure has no effect on `gives_both`"),
    (gives_both, {"per_loop": True}, "per_loop has no effect on `gives_both`"),
    (gives_both, {"check": Opener.__call__}, "check"),
]


@pytest.mark.parametrize(("source", "options", "text"), REFUSED)
@pytest.mark.parametrize("parentheses", [False, True])
def test_options_without_effect_are_refused(source: Any, options: dict[str, Any], text: str, parentheses: bool) -> None:
    """The error names the option and the function."""
    with pytest.raises(TypeError, match=text):
        untyped(**options)(source) if parentheses else untyped(source, **options)


def test_a_coroutine_function_checks_nothing_for_threads() -> None:
    """It is seen when it is known what is decorated."""

    async def check(value: str) -> bool:
        return True

    decorate = untyped(check=check)
    assert isinstance(decorate(managed), AsyncResourceFunction)
    with pytest.raises(TypeError, match=r"check must not be asynchronous, .*: `.*check` is"):
        decorate(gives_both)


MEANINGLESS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"stop_timeout": -1}, ValueError, "stop_timeout"),
    ({"stop_timeout": "1"}, TypeError, "stop_timeout"),
    ({"on_failure": "run"}, ValueError, "on_failure must be 'finish' or 'cancel', not 'run'"),
    ({"per_loop": 1}, TypeError, "per_loop must be True or False, not 1"),
]


@pytest.mark.parametrize(("options", "error", "text"), MEANINGLESS)
def test_options_without_meaning_are_refused_at_once(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Before it is known what is decorated."""
    with pytest.raises(error, match=text):
        untyped(**options)


# --- Event loops ----------------------------------------------------------------------------------------------------


def test_a_fresh_loop_just_works(run: Run, diary: Diary) -> None:
    """What lingers at the end of one is stopped, and the next one starts anew."""
    camera = diary(linger=math.inf)

    async def body() -> None:
        async with camera(0):
            pass

    for _ in range(2):
        run(body, up=True)
    assert diary.lines == ["start 0", "stop 0"] * 2


def test_each_loop_may_have_its_own(run: Run, diary: Diary) -> None:
    """With `per_loop`: a family of its own, with its own capacity; all of them are seen, and closed at once."""
    camera = diary(per_loop=True, linger=math.inf, capacity=1)
    with pytest.raises(RefcountError, match="no event loop runs here"):
        camera(0)
    assert repr(camera) == "<AsyncResourceFunction Diary.camera, 0 up, 0 held>"
    up, seen = threading.Event(), threading.Event()
    found: list[Any] = []

    async def elsewhere() -> None:
        async with camera(0) as _, camera(0):
            found.append(camera.resource(0))
            up.set()
            await until(seen.is_set)

    async def body() -> None:
        thread = threading.Thread(target=lambda: Run(run.kind)._run(elsewhere, None))  # pyright: ignore[reportPrivateUsage]
        thread.start()
        await until(up.is_set)
        async with camera(0):
            assert camera.usecount == 3
            assert len(camera.resources()) == 2
            assert camera.resource(0) in camera.resources()
            assert diary.lines == ["start 0", "start 0"]
            assert camera.resource(0) is not found.pop()
        assert await camera.flush()
        async with camera(1):
            camera.invalidate()
        camera.abandon()
        assert [it.usecount for it in camera.resources()] == [2]
        await camera.close()
        with pytest.raises(ClosedError):
            camera(0)
        seen.set()
        await until(lambda: not thread.is_alive())
        thread.join()
        assert diary.balanced

    run(body, cycles=True)  # those of the capacity, which goes with its loop


def test_what_is_closed_in_all_loops(run: Run, diary: Diary) -> None:
    """Nobody new gets anything in any, be it idle or waited for; what still runs can be told all that it could."""
    camera = diary(per_loop=True, capacity=1)
    up, closed = threading.Event(), threading.Event()
    refused: list[BaseException] = []

    async def elsewhere() -> None:
        idle = camera(0)
        async with camera(1):
            waiter = Job(camera(2).acquire)
            await settled()
            up.set()
            refused.append(await waiter.error())
            await until(closed.is_set)
            refused.append(await error_of(idle.acquire()))
        with pytest.raises(ClosedError):
            camera(0)

    async def body() -> None:
        thread = threading.Thread(target=lambda: Run(run.kind)._run(elsewhere, None))  # pyright: ignore[reportPrivateUsage]
        thread.start()
        await until(up.is_set)
        async with camera(0):
            with pytest.raises(TimeoutError):
                await camera.close(timeout=0.0)
            closed.set()
            assert not await camera.flush()
            camera.invalidate()
            camera.abandon()
        await until(lambda: not thread.is_alive())
        thread.join()
        assert [type(error) for error in refused] == [ClosedError] * 2

    run(body, cycles=True, kept=1)  # those of the capacity, which goes with its loop; and what was abandoned


# --- What the decorated function is ---------------------------------------------------------------------------------


@refcounted_resource(linger=1.0)
async def documented(index: int, *, size: int = 1) -> AsyncGenerator[str]:
    """Take pictures later."""
    yield f"{index} {size}"


@refcounted_resource
@asynccontextmanager
async def documented_manager(index: int) -> AsyncGenerator[str]:
    """Take pictures later."""
    yield f"{index}"


@pytest.mark.parametrize("function", [documented, documented_manager])
def test_it_tells_the_truth_about_itself(function: AsyncResourceFunction[..., str]) -> None:
    """Name, documentation, signature and annotations; it is no generator function, and no coroutine function."""
    assert function.__name__ in ("documented", "documented_manager")
    assert function.__module__ == __name__
    assert function.__doc__ == "Take pictures later."
    assert inspect.signature(function).parameters["index"].name == "index"
    assert inspect.signature(function).return_annotation in ("AsyncLease[str]", AsyncLease[str])
    assert function.__annotations__["return"] == AsyncLease[str]
    for kind in (inspect.isasyncgenfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction):
        assert not kind(function)
    assert not isinstance(function, AbstractAsyncContextManager | AbstractContextManager)
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.copy(function) is copy.deepcopy(function) is function
    assert repr(function) == f"<AsyncResourceFunction {function.__name__}, 0 up, 0 held>"


def test_help_says_how_it_is_entered(capsys: pytest.CaptureFixture[str]) -> None:
    """By `async with`."""
    help(documented)
    assert "Shared: `async with documented(...) as value:`" in capsys.readouterr().out


def test_wrong_attributes_and_entries() -> None:
    """Errors say what to write."""
    with pytest.raises(AttributeError, match=r"each of its resources has, write `documented\.resource"):
        _ = cast("Any", documented).acquire
    with pytest.raises(AttributeError, match="no attribute 'lingr'"):
        _ = cast("Any", documented).lingr
    with pytest.raises(TypeError, match=r"by `async with`, not by a plain `with`"), cast("Any", documented(0)):
        pass


def test_a_method_is_refused() -> None:
    """As of functions for threads."""
    with pytest.raises((TypeError, RuntimeError)) as caught:

        class Owner:  # pyright: ignore[reportUnusedClass]
            @refcounted_resource
            async def camera(self) -> AsyncGenerator[int]:
                yield 3

    error = caught.value.__cause__ or caught.value
    assert "@refcounted_method instead" in str(error)


def test_it_needs_anyio_only_when_something_is_asynchronous() -> None:
    """Threads alone do without, and the error says what to install."""
    program = """
import sys
sys.modules["anyio"] = None
from collections.abc import AsyncGenerator, Generator
from refcount import AsyncResourceFunction, AsyncResourceMethod, refcounted_attribute, refcounted_method
from refcount import refcounted_resource
@refcounted_resource(linger=1)
def camera() -> Generator[int]:
    yield 3
class Owner:
    @refcounted_method
    def feed(self):
        yield 3
    @refcounted_attribute
    def lens(self):
        yield 3
with camera() as value, Owner().feed() as _, Owner().lens() as _:
    print(value)
for decorate in refcounted_resource, refcounted_method, refcounted_attribute:
    try:
        @decorate
        async def later(self) -> AsyncGenerator[int]:
            yield 3
    except ImportError as error:
        print(error)
"""
    lines = run_program(program).lines
    assert lines == [
        "3",
        *["resources for tasks need anyio, which is not installed: pip install 'refcounted[async]'"] * 3,
    ]


def test_public_names() -> None:
    """It is exported under the package's own name."""
    assert refcount.AsyncResourceFunction.__module__ == "refcount"
    assert refcount.AsyncResourceMethod.__module__ == "refcount"


def test_a_lost_lease_is_given_back(run: Run, diary: Diary) -> None:
    """With a warning that names the resource."""
    camera = diary()

    async def body() -> None:
        lease = await camera(0).acquire()
        assert lease.held
        del lease
        gc.collect()
        with pytest.warns(ResourceWarning, match=r"a lease of Diary\.camera\(0\) was never released"):
            await until(lambda: not camera.resources())
        assert diary.balanced

    run(body)


def test_a_function_that_is_dropped_leaves_nothing(run: Run) -> None:
    """While it is held its lease keeps what is up."""

    async def body() -> None:
        diary = Diary()
        camera = diary()
        lease = await camera(0).acquire()
        weak = weakref.ref(camera)
        del camera
        gc.collect()
        assert weak() is None
        assert lease.value == "camera 0"
        await lease.release()
        assert diary.balanced

    run(body)


def kept_by_types(function: AsyncResourceFunction[[int], str]) -> Awaitable[AsyncLease[str]]:
    """What checkers know of it."""
    resource: AsyncSharedResource[str] = function.resource(0)
    return resource.acquire()


async def generator_for_threads() -> Generator[int]:
    """Be awaited, and give a generator then: no resource."""
    return (number for number in (1,))


def test_coroutine_functions_are_refused() -> None:
    """They give what is awaited, not what is entered."""
    with pytest.raises(
        TypeError, match=r"needs an asynchronous generator function, .*`generator_for_threads` has no yield"
    ):
        untyped(generator_for_threads)
