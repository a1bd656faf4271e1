"""What holds for every test: no thread is left behind, and what is slow runs only when asked for."""

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from zlib import crc32

import hypothesis
import pytest

from tests.helpers.loops import run as run
from tests.helpers.loops import run_asyncio as run_asyncio
from tests.helpers.loops import run_trio as run_trio

GRACE = 2.0
"""Seconds that a thread which is already on its way out gets to end."""

LASTING = ("refcount-timer", "Trio thread ")
"""How threads are called that may outlive a test: the timer thread ends when its last deadline is due, and trio keeps
its worker threads for ten seconds after they have done something."""

# Threads make the time of one example vary far more than hypothesis allows by default.
hypothesis.settings.register_profile("refcount", deadline=None)
hypothesis.settings.load_profile("refcount")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that asks for everything."""
    parser.addoption("--slow", action="store_true", help="run slow tests too, and sweeps at all of their points")


def pytest_sessionstart() -> None:
    """Listen to Ctrl-C, which tests press, also where a shell has started the run in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked as slow unless it was asked for."""
    if not config.getoption("--slow"):
        slow = {item for item in items if item.get_closest_marker("slow") or loop_is_for_slow_runs(item)}
        config.hook.pytest_deselected(items=[*slow])
        items[:] = [item for item in items if item not in slow]


def loop_is_for_slow_runs(item: pytest.Item) -> bool:
    """Return whether a test is left out on its event loop: on asyncio and trio all are run, on the others one in three.

    Which one, its name decides.
    """
    call: object = getattr(item, "callspec", None)
    loops = {name: value for name, value in getattr(call, "params", {}).items() if name in ("run", "run_asyncio")}
    turn = crc32(item.name.partition("[")[0].encode()) % 3
    return any((loop, turn) in THINNED for loop in loops.values())


THINNED = {("asyncio debug", 0), ("asyncio debug", 1), ("uvloop", 1), ("uvloop", 2)}


def pytest_collection_finish() -> None:
    """Let no collection go through what was imported: a sixth of the time of all tests, for many collect."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def every(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """Return a function from `n` to the step of a sweep that takes every n-th point, and with ``--slow`` each one."""
    slow = request.config.getoption("--slow")
    return lambda n: 1 if slow else n


@pytest.fixture(autouse=True)
def no_thread_left_behind() -> Iterator[None]:
    """Fail the test if a thread that it started still runs at its end."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + GRACE
    started = [it for it in threading.enumerate() if it not in before and not it.name.startswith(LASTING)]
    for thread in started:
        with suppress(RuntimeError):  # it is being started by another thread
            thread.join(max(0.0, deadline - time.monotonic()))
    left = [thread for thread in started if thread.is_alive()]
    if left:
        pytest.fail(f"the test left threads running: {', '.join(map(str, left))}", pytrace=False)
