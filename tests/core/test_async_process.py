"""The end of event loops and processes with resources for tasks: programs of their own, and others' fixtures."""

from __future__ import annotations

import pytest

from tests.helpers.programs import Ended, run_program

HOOKS = """
import asyncio, gc, math, os, sys, threading
from contextlib import asynccontextmanager
from refcount import AsyncSharedResource

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def make(name, slow=True, **options):
    @asynccontextmanager
    async def opener():
        say("start", name)
        yield name
        if slow:
            await sleep(0.01)
        say("stop", name)
    return AsyncSharedResource(opener, name=name, **options)

async def touch(resource):
    async with resource():
        pass

async def sleep(seconds):
    import anyio
    await anyio.sleep(seconds)

def start(main):
    if sys.argv[1] == "trio":
        import trio
        trio.run(main)
    elif sys.argv[1] == "uvloop":
        import uvloop
        uvloop.run(main())
    else:
        asyncio.run(main())
"""

LOOPS = ("asyncio", "uvloop", "trio")


def run(source: str, loop: str = "asyncio", options: tuple[str, ...] = ()) -> Ended:
    """Run a program that begins with the hooks above."""
    return run_program(HOOKS + source, loop, options=options)


def assert_quiet(ended: Ended, *lines: str) -> None:
    """It has printed these, complained of nothing, and ended well."""
    assert (ended.lines, complaints(ended), ended.returncode) == ([*lines], [], 0)


def complaints(ended: Ended) -> list[str]:
    """Return what a program complained of, but for what asyncio says in debug mode when the machine is busy."""
    return [line for line in ended.stderr.splitlines() if not line.startswith("Executing <")]


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    """Return on which event loop."""
    name: str = request.param
    pytest.importorskip(name)
    return name


@pytest.mark.parametrize("options", [(), ("-X", "dev")])
def test_what_lingers_is_stopped_in_silence(loop: str, options: tuple[str, ...]) -> None:
    """Before the loop is gone, also with a slow stop, in debug mode too; the process ends at once."""
    ended = run(
        """
camera, disk = make("camera", linger=3600), make("disk", linger=math.inf, slow=False)
async def main():
    await touch(camera)
    await touch(disk)
    say("end of main")
start(main)
say("after")
""",
        loop,
        options,
    )
    assert (sorted(ended.lines[:3]), ended.lines[-1]) == (["end of main", "start camera", "start disk"], "after")
    assert sorted(ended.lines[3:-1]) == ["stop camera", "stop disk"]
    assert (complaints(ended), ended.returncode) == ([], 0)


def test_what_is_held_is_stopped_with_a_warning(loop: str) -> None:
    """By a global lease, say; nothing else is printed."""
    ended = run(
        """
camera = make("camera")
async def main():
    global lease
    lease = await camera.acquire()
start(main)
say("after", camera.state.value)
""",
        loop,
        ("-W", "always"),
    )
    assert ended.lines == ["start camera", "stop camera", "after idle"]
    assert ended.stderr.count("ResourceWarning") == 1
    assert "camera is still held at the end of its event loop, by 1 lease" in ended.stderr


def test_what_was_lost_is_stopped_with_a_warning(loop: str) -> None:
    """In the last moment before the loop ends, and by nobody but the collector."""
    ended = run(
        """
camera = make("camera")
async def main():
    cycle = [await camera.acquire()]
    cycle.append(cycle)
start(main)
gc.collect()
say("after", camera.state.value)
""",
        loop,
        ("-W", "always"),
    )
    assert ended.lines == ["start camera", "stop camera", "after idle"]
    assert "Traceback" not in ended.stderr
    assert "never retrieved" not in ended.stderr


def test_tasks_that_hold_it_at_the_end_leave_in_silence() -> None:
    """`asyncio.run` cancels them; each sees its value alive until it has unwound."""
    ended = run(
        """
camera = make("camera", linger=5)
async def use(number):
    async with camera():
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            say("left")
async def main():
    global tasks
    tasks = [asyncio.create_task(use(number)) for number in range(3)]
    await asyncio.sleep(0.01)
start(main)
say("after", camera.state.value)
"""
    )
    assert_quiet(ended, "start camera", "left", "left", "left", "stop camera", "after idle")


def test_a_start_that_runs_at_the_end_is_cancelled_in_silence(loop: str) -> None:
    """With those who wait for it."""
    ended = run(
        """
@asynccontextmanager
async def opener():
    say("start")
    try:
        await sleep(3600)
    finally:
        say("unwound")
    yield
camera = AsyncSharedResource(opener)
async def main():
    global task
    if sys.argv[1] == "trio":
        import trio
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(touch, camera)
            await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    else:
        task = [asyncio.create_task(touch(camera)) for _ in range(2)]
        await asyncio.sleep(0.01)
start(main)
say("after", camera.state.value)
""",
        loop,
    )
    assert_quiet(ended, "start", "unwound", "after idle")


def test_a_main_that_raises_ends_like_any_other(loop: str) -> None:
    """Its error comes out; what was held and what lingered is stopped."""
    ended = run(
        """
camera, disk = make("camera"), make("disk", linger=math.inf)
async def main():
    await touch(disk)
    async with camera():
        raise KeyError("mine")
try:
    start(main)
except BaseException as error:
    say(type(error).__name__)
""",
        loop,
    )
    assert_quiet(ended, "start disk", "start camera", "stop camera", "stop disk", "KeyError")


def test_ctrl_c_ends_it_well(loop: str) -> None:
    """`KeyboardInterrupt` while it is held: stopped, and raised."""
    ended = run(
        """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
camera, disk = make("camera"), make("disk", linger=math.inf)
async def main():
    await touch(disk)
    async with camera():
        os.kill(os.getpid(), signal.SIGINT)
        await sleep(30)
try:
    start(main)
except KeyboardInterrupt:
    say("interrupted")
""",
        loop,
    )
    assert_quiet(ended, "start disk", "start camera", "stop camera", "stop disk", "interrupted")


def test_what_is_to_be_left_is_left_in_silence(loop: str) -> None:
    """Lingering or held: no `finally` runs, not even at the end of the process."""
    ended = run(
        """
@asynccontextmanager
async def opener():
    try:
        yield
    finally:
        say("stopped")
camera = AsyncSharedResource(opener, at_exit="leave", linger=math.inf)
disk = AsyncSharedResource(opener, at_exit="leave")
async def main():
    global lease
    await touch(camera)
    lease = await disk.acquire()
start(main)
say("after", camera.state.value, disk.state.value, lease.held)
""",
        loop,
    )
    assert_quiet(ended, "after idle idle False")


def test_a_loop_that_is_closed_by_hand_is_left_in_silence() -> None:
    """Without cancelling its tasks, with what lingers; at the end of the process nothing is printed."""
    ended = run(
        """
camera = make("camera", linger=math.inf)
loop = asyncio.new_event_loop()
loop.run_until_complete(touch(camera))
loop.close()
say("closed", camera.state.value)
"""
    )
    assert_quiet(ended, "start camera", "closed lingering")


def test_run_after_run(loop: str) -> None:
    """Many of them with one resource, as a test suite or a server's reload has it."""
    ended = run(
        """
camera = make("camera", linger=math.inf, slow=False)
for _ in range(3):
    start(lambda: touch(camera))
""",
        loop,
        ("-X", "dev"),
    )
    assert_quiet(ended, *["start camera", "stop camera"] * 3)


def test_a_loop_in_another_thread_when_the_process_ends() -> None:
    """Of a daemon thread that goes on: the process ends all the same, at once, without a word."""
    ended = run(
        """
camera = make("camera")
held = threading.Event()
async def main():
    async with camera():
        held.set()
        await asyncio.sleep(3600)
threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
held.wait()
say("end of main")
"""
    )
    assert ended.lines[:2] == ["start camera", "end of main"]
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ended.seconds < 20


def test_in_a_forked_child_it_is_idle() -> None:
    """Rule 13: inherited leases are inert, nothing of the parent's is stopped, and the child starts its own."""
    ended = run(
        """
camera = make("camera", slow=False)
async def main():
    lease = await camera.acquire()
    child = os.fork()
    if child == 0:
        try:
            say("child", camera.state.value, lease.held, camera.usecount)
            asyncio.events._set_running_loop(None)
            asyncio.run(touch(camera))
            del lease
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    say("parent", camera.state.value, lease.held)
    await lease.release()
start(main)
"""
    )
    assert_quiet(
        ended,
        "start camera",
        "child idle False 0",
        "start camera",
        "stop camera",
        "parent running True",
        "stop camera",
    )


# Fixtures

MODULE = """
import math
from contextlib import asynccontextmanager
from refcount import AsyncSharedResource

DIARY = []

@asynccontextmanager
async def opener():
    DIARY.append("start")
    yield DIARY
    DIARY.append("stop")

plain = AsyncSharedResource(opener)
lingers = AsyncSharedResource(opener, linger=math.inf)
"""

TESTS = """
import pytest
from resources import DIARY, lingers, plain

{mark}

{fixture}
async def held():
    async with plain() as value:
        yield value

@pytest.mark.parametrize("number", range(3))
async def test_use(number):
    async with plain() as value, lingers() as same:
        assert value is same

async def test_fixture(held):
    assert held is DIARY
    async with plain():
        assert plain.usecount == 2

async def test_together(held):
    async with lingers():
        assert plain.usecount == 1

def test_between():
    assert plain.usecount == 0
"""


@pytest.fixture(name="others")
def other_peoples_suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with resources in a module of its own."""
    pytester.makepyfile(resources=MODULE)
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


@pytest.mark.parametrize("scope", ["function", pytest.param("module", marks=pytest.mark.slow)])
def test_with_pytest_asyncio(others: pytest.Pytester, scope: str) -> None:
    """A loop for each test, or one for all; warnings are errors there."""
    others.makepyfile(
        TESTS.format(
            mark=f"pytestmark = pytest.mark.asyncio(loop_scope={scope!r})",
            fixture=f"import pytest_asyncio\n@pytest_asyncio.fixture(loop_scope={scope!r})",
        ).replace("def test_between", "@pytest.mark.filterwarnings('ignore')\ndef test_between")
    )
    others.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    result = others.runpytest_subprocess("-p", "pytest_asyncio", "-p", "no:cacheprovider", "-p", "no:xdist", timeout=50)
    result.assert_outcomes(passed=6)


@pytest.mark.parametrize("scope", [pytest.param("function", marks=pytest.mark.slow), "module"])
def test_with_anyios_plugin(others: pytest.Pytester, scope: str) -> None:
    """On both of its backends, one after the other, with a loop for each test or for all."""
    others.makepyfile(
        TESTS.format(
            mark=f"""
pytestmark = pytest.mark.anyio

@pytest.fixture(scope={scope!r}, params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
""",
            fixture="@pytest.fixture",
        )
    )
    others.makeini("[pytest]\nfilterwarnings = error\n")
    result = others.runpytest_subprocess("-p", "no:asyncio", "-p", "no:cacheprovider", "-p", "no:xdist", timeout=50)
    result.assert_outcomes(passed=11)
