"""The helpers of this suite do what they say: a broken thing is caught, a sound one is not."""

import inspect
import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from tests.helpers.shaking import run_threads, shaken

HERE = Path(__file__)


class Counter(Protocol):
    value: int

    def inc(self) -> None: ...


class LocklessCounter:
    """Loses an update when another thread comes in between the two lines of `inc`."""

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        value = self.value
        self.value = value + 1


class LockedCounter:
    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def inc(self) -> None:
        with self._lock:
            self.value += 1


def count_in_threads(counter: Counter, *, threads: int = 4, times: int = 200) -> int:
    """Let several threads raise the counter, and return what it says in the end."""

    def work() -> None:
        for _ in range(times):
            counter.inc()

    run_threads(*[work] * threads)
    return counter.value


@pytest.mark.parametrize("seed", range(3))
def test_shaken_threads_lose_updates_without_a_lock(seed: int) -> None:
    """A counter without a lock, which passes unshaken, loses updates."""
    with shaken(seed, also=[LocklessCounter.inc.__code__]):
        assert count_in_threads(LocklessCounter()) < 800


@pytest.mark.parametrize("seed", range(3))
def test_shaken_threads_count_right_with_a_lock(seed: int) -> None:
    """A counter with a lock stays right: shaking breaks only what is broken."""
    with shaken(seed, also=[HERE]):
        assert count_in_threads(LockedCounter()) == 800


def test_shaken_follows_only_what_it_was_told() -> None:
    """Frames of other code are not traced; those of the given code are traced from the first call, by bytecode."""

    def inside() -> tuple[bool, bool]:
        frame = inspect.currentframe()
        assert frame
        return frame.f_trace is not None, frame.f_trace_opcodes

    def outside() -> tuple[bool, bool]:
        frame = inspect.currentframe()
        assert frame
        return frame.f_trace is not None, frame.f_trace_opcodes

    with shaken(0, also=[inside.__code__]):
        assert inside() == (True, True)
        assert outside() == (False, False)
        assert run_threads(inside, outside) == [(True, True), (False, False)]


def test_shaken_gives_up_the_processor_in_the_first_call_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """With probability 1 there is a pause at every bytecode, also in a function that never ran before."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)

    def work(number: int) -> int:
        return number * 2 + 1

    with shaken(0, probability=1.0, also=[work.__code__]):
        work(3)
    assert len(pauses) >= 5
    with shaken(0, probability=0.0, also=[work.__code__]):
        work(3)
        seen = len(pauses)
    assert len(pauses) == seen


def test_shaken_draws_the_same_for_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed gives one sequence of pauses in a thread of the same name; another seed gives another."""
    steps: list[bool] = []

    def note(seconds: float) -> None:
        steps.append(seconds > 0)

    def work() -> int:
        return sum(number * number for number in range(20))

    monkeypatch.setattr("time.sleep", note)

    def paused(seed: int) -> list[bool]:
        steps.clear()
        with shaken(seed, probability=0.5, also=[work.__code__, HERE]):
            run_threads(work)
        return list(steps)

    assert paused(1) == paused(1)
    assert paused(1) != paused(2)


def test_shaken_restores_everything() -> None:
    """Tracers and the switch interval are those from before, also after an error."""
    before = sys.gettrace(), threading.gettrace(), sys.getswitchinterval()
    with pytest.raises(ZeroDivisionError), shaken(0):
        assert sys.getswitchinterval() < before[2]
        assert threading.gettrace() is not before[1]
        raise ZeroDivisionError
    assert (sys.gettrace(), threading.gettrace(), sys.getswitchinterval()) == before


def test_shaken_ends_while_a_thread_is_still_shaken() -> None:
    """Code that goes on after the block is not traced, though a thread is: CPython 3.12 would crash there."""
    begun, leave = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert leave.wait(10)

    with shaken(0, also=[work.__code__]):
        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(10)
    leave.set()
    thread.join()


def test_run_threads_returns_results_in_order() -> None:
    """Results come in the order of the callables, whichever thread ends first."""
    last_done = threading.Event()

    def first() -> str:
        assert last_done.wait(10)
        return "first"

    def last() -> str:
        last_done.set()
        return "last"

    assert run_threads(first, last) == ["first", "last"]


def test_run_threads_runs_them_at_once() -> None:
    """All threads are alive together: each waits for all others."""
    meeting = threading.Barrier(5, timeout=10)
    assert sorted(run_threads(*[meeting.wait] * 5)) == [0, 1, 2, 3, 4]


def test_run_threads_raises_the_first_error() -> None:
    """The error that came first comes out, as the same object."""
    failed = threading.Event()
    errors = [ValueError("first"), KeyError("second")]

    def fail_first() -> None:
        try:
            raise errors[0]
        finally:
            failed.set()

    def fail_second(thread: threading.Thread) -> None:
        assert failed.wait(10)
        raise errors[1]

    with pytest.raises(ValueError, match="first") as caught:
        run_threads(partial(fail_second, threading.current_thread()), fail_first)
    assert caught.value is errors[0]


def test_run_threads_shows_who_is_stuck() -> None:
    """A thread that does not end is a TimeoutError with its name and stack."""
    release = threading.Event()

    def wait_for_release() -> None:
        release.wait(10)

    try:
        with pytest.raises(TimeoutError, match=r"(?s)shaken-1.*wait_for_release"):
            run_threads(lambda: None, wait_for_release, timeout=0.1)
    finally:
        release.set()


LEAVING = """
import threading

def leave(name):
    threading.Thread(target=threading.Event().wait, name=name, daemon=True).start()

def test_leaves_one():
    leave("forgotten")

def test_leaves_timer():
    leave("refcount-timer")

def test_joins():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
"""


@pytest.fixture
def conftest(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the suite's own conftest, which another suite may use: it finds our helpers."""
    monkeypatch.setenv("PYTHONPATH", str(HERE.parents[2]), prepend=os.pathsep)
    return HERE.parents[1].joinpath("conftest.py").read_text(encoding="utf-8")


def test_thread_left_behind_fails_the_test(pytester: pytest.Pytester, conftest: str) -> None:
    """A test that leaves a thread fails and names it; one that joins its thread, or leaves the timer, passes."""
    pytester.makeconftest(conftest.replace("GRACE = 2.0", "GRACE = 0.1"))
    pytester.path.joinpath("test_leaving.py").write_text(LEAVING, encoding="utf-8")
    result = pytester.runpytest_subprocess("-p", "no:asyncio")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR*test_leaves_one*", "*left threads running*forgotten*"])


SLOW = """
import pytest

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_step(n, every):
    print("step", every(5))
"""


@pytest.mark.parametrize(("options", "step"), [((), 5), (("--slow",), 1)])
def test_what_is_slow_runs_only_when_asked_for(
    pytester: pytest.Pytester, conftest: str, options: tuple[str, ...], step: int
) -> None:
    """Tests so marked are left out, not skipped, and sweeps take fewer points, unless `--slow` is given."""
    pytester.makeconftest(conftest)
    pytester.makeini("[pytest]\nmarkers = slow")
    pytester.path.joinpath("test_slow.py").write_text(SLOW, encoding="utf-8")
    result = pytester.runpytest_subprocess("-s", "-p", "no:asyncio", *options)
    if options:
        result.assert_outcomes(passed=3)
    else:
        result.assert_outcomes(passed=1, deselected=2)
    result.stdout.fnmatch_lines([f"*step {step}*"])
