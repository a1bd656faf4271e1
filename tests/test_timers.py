"""The timer thread: one for all, in order, gone when nothing is pending, and deaf to nothing."""

import _thread
import gc
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest

from refcount import _timers
from refcount._timers import THREAD_NAME, TimerThread
from tests.test_interrupts import Interruption, Points
from tests.tracing import Tracer
from tests.watched import WAIT, unraisable_errors, until

SOON = 0.01
LATER = 0.05
NEVER = 1000.0


def timer_threads() -> list[threading.Thread]:
    """The timer threads that live now; those of other tests may still wait for a stale deadline."""
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


class Sandbox:
    """A `TimerThread` of its own, and who serves it."""

    def __init__(self) -> None:
        self.before = set(timer_threads())
        self.timers = TimerThread()

    @property
    def threads(self) -> list[threading.Thread]:
        return [thread for thread in timer_threads() if thread not in self.before]

    def at(self, delay: float, job: Callable[[], object]) -> None:
        self.timers.at(self.timers.now() + delay, job)

    def gone(self) -> None:
        """Wait until no thread serves it."""
        until(lambda: not self.threads, "the end of the timer thread")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A timer thread that no other test knows; gone at the end of the test."""
    box = Sandbox()
    yield box
    box.gone()


def test_jobs_run_in_the_order_of_their_deadlines(sandbox: Sandbox) -> None:
    """Whatever the order in which they were set; those of the same deadline in that order. All in one thread."""
    ran: list[tuple[str, str]] = []
    done = threading.Event()
    now = sandbox.timers.now()

    def note(name: str) -> Callable[[], None]:
        return lambda: ran.append((name, threading.current_thread().name))

    sandbox.timers.at(now + 3 * SOON, note("c"))
    sandbox.timers.at(now + 4 * SOON, done.set)
    sandbox.timers.at(now + SOON, note("a"))
    sandbox.timers.at(now + 2 * SOON, note("b1"))
    sandbox.timers.at(now + 2 * SOON, note("b2"))
    assert len(sandbox.threads) == 1
    assert done.wait(WAIT)
    assert ran == [(name, THREAD_NAME) for name in ("a", "b1", "b2", "c")]


def test_no_job_runs_before_its_deadline(sandbox: Sandbox) -> None:
    """The time at which it runs is at or after the deadline, and `fired` says that it has begun."""
    ran: list[float] = []
    deadline = sandbox.timers.now() + LATER
    timer = sandbox.timers.at(deadline, lambda: ran.append(sandbox.timers.now()))
    before = timer.fired
    until(lambda: ran)
    assert (before, timer.fired) == (False, True)
    assert ran[0] >= deadline


def test_an_earlier_deadline_wakes_it(sandbox: Sandbox) -> None:
    """A thread that sleeps for a far deadline does an earlier one in time."""
    done = threading.Event()
    far = sandbox.timers.at(sandbox.timers.now() + NEVER, lambda: None)
    sandbox.at(0.0, done.set)
    assert done.wait(WAIT)
    assert len(sandbox.threads) <= 2  # one waits, and one that ran a job may stand by
    assert not far.fired
    sandbox.timers._heap.clear()  # pyright: ignore[reportPrivateUsage]  # nothing takes a timer back
    sandbox.at(0.0, lambda: None)


def test_the_thread_is_gone_when_nothing_is_pending(sandbox: Sandbox) -> None:
    """After the last job it ends, and the next job gets a new one."""
    assert sandbox.threads == []
    for _ in range(3):
        done = threading.Event()
        sandbox.at(SOON, done.set)
        (thread,) = sandbox.threads
        assert thread.daemon
        assert done.wait(WAIT)
        thread.join(WAIT)
        assert not thread.is_alive()
        assert sandbox.threads == []


def test_a_hundred_thousand_deadlines_cost_one_thread(sandbox: Sandbox) -> None:
    """Each costs an entry in a heap, and no thread, wake-up or work until it is due."""
    now = sandbox.timers.now()
    timers = [sandbox.timers.at(now + NEVER + number, lambda: None) for number in range(100_000)]
    assert len(sandbox.threads) == 1
    spent = time.thread_time() - time.process_time()
    time.sleep(LATER)
    assert time.thread_time() - time.process_time() >= spent - LATER / 2, "the thread works though nothing is due"
    assert not any(timer.fired for timer in timers)
    sandbox.timers._heap.clear()  # pyright: ignore[reportPrivateUsage]  # nothing takes a timer back
    sandbox.at(0.0, lambda: None)


def test_a_job_that_hangs_delays_no_other(sandbox: Sandbox) -> None:
    """While one hangs, another thread goes on with what is due, one hanging job after the other."""
    go, done = threading.Event(), threading.Event()
    for _ in range(3):
        sandbox.at(0.0, lambda: go.wait(WAIT))
    sandbox.at(SOON, done.set)
    assert done.wait(WAIT), "the job behind three that hang did not run"
    assert not go.is_set()
    go.set()


def test_jobs_that_are_set_by_jobs_run(sandbox: Sandbox) -> None:
    """A job may set the next one; the chain ends where it ends."""
    ran: list[int] = []
    done = threading.Event()

    def chain(number: int) -> None:
        ran.append(number)
        if number == 20:
            done.set()
        else:
            sandbox.at(0.0, lambda: chain(number + 1))

    chain(0)
    assert done.wait(WAIT)
    assert ran == list(range(21))


def test_a_job_that_raises_is_reported_and_the_next_one_runs(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even one that raises `SystemExit` ends nothing; the error goes to the logger and `sys.unraisablehook`."""
    unraisable = unraisable_errors(monkeypatch)
    done = threading.Event()
    error = ValueError("broken job")

    def fail() -> None:
        raise error

    def leave() -> None:
        raise SystemExit(3)

    sandbox.at(0.0, fail)
    sandbox.at(0.0, leave)
    sandbox.at(0.0, done.set)
    assert done.wait(WAIT)
    assert unraisable[0] is error
    assert isinstance(unraisable[1], SystemExit)
    assert [record.name for record in caplog.records] == ["refcount", "refcount"]


def test_lost_runs_soon_and_starts_the_thread(sandbox: Sandbox) -> None:
    """`lost` needs no deadline and no thread that runs already; the thread is gone afterwards."""
    names: list[str] = []
    sandbox.timers.lost(lambda: names.append(threading.current_thread().name))
    until(lambda: names)
    assert names == [THREAD_NAME]


def test_lost_is_served_by_a_thread_that_sleeps(sandbox: Sandbox) -> None:
    """It does not wait for the deadline that the thread sleeps for."""
    done = threading.Event()
    sandbox.at(NEVER, lambda: None)
    sandbox.timers.lost(done.set)
    assert done.wait(WAIT)
    assert len(sandbox.threads) <= 2  # one waits, and one that ran a job may stand by
    sandbox.timers._heap.clear()  # pyright: ignore[reportPrivateUsage]  # nothing takes a timer back
    sandbox.at(0.0, lambda: None)


def test_lost_under_the_timers_own_lock(sandbox: Sandbox) -> None:
    """A finalizer may run while its very thread holds that lock: `lost` returns, and the job runs later."""
    done = threading.Event()
    with sandbox.timers._guard.lock:  # pyright: ignore[reportPrivateUsage]  # the point of the test
        sandbox.timers.lost(done.set)
        assert not done.is_set()
    assert done.wait(WAIT)


class Finalized:
    """Garbage with a finalizer that calls `lost`, in a cycle, so that only the collector finds it."""

    def __init__(self, timers: TimerThread, job: Callable[[], object]) -> None:
        self.myself = self
        self._timers = timers
        self._job = job

    def __del__(self) -> None:
        self._timers.lost(self._job)


def test_lost_from_finalizers_at_every_line(sandbox: Sandbox) -> None:
    """Whatever line of the timers a collection falls into, under the lock or not, the finalizer's job runs once."""
    counts = itertools.count(1)
    ran: list[int] = []
    file = _timers.__file__

    def collect(frame: FrameType, event: str, _argument: Any) -> Tracer | None:
        if frame.f_code.co_filename != file:
            return None
        if event == "line" and sys.gettrace() is collect:
            sys.settrace(None)
            number = next(counts)
            Finalized(sandbox.timers, lambda: ran.append(number))
            gc.collect(0)
            sys.settrace(collect)
        return collect

    before = sys.gettrace()
    gc.collect()
    sys.settrace(collect)
    try:
        sandbox.at(0.0, lambda: None)
        sandbox.timers.run_due()
        sandbox.timers.lost(lambda: None)
    finally:
        sys.settrace(before)
    number = next(counts)
    assert number > 20
    until(lambda: len(ran) == number - 1, "the jobs of the finalizers")
    assert sorted(ran) == list(range(1, number))


def test_a_thousand_lost_at_once_cost_few_threads(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """One collection that finds a thousand does not start a thousand threads."""
    started: list[object] = []
    start = _thread.start_new_thread

    def count(function: Callable[..., object], arguments: tuple[object, ...]) -> int:
        started.append(function)
        return start(function, arguments)

    monkeypatch.setattr(_thread, "start_new_thread", count)
    ran: list[int] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10.0)
    try:
        for number in range(1000):
            sandbox.timers.lost(partial(ran.append, number))
    finally:
        sys.setswitchinterval(interval)
    until(lambda: len(ran) == 1000)
    assert sorted(ran) == list(range(1000))
    assert len(started) < 10


def test_at_without_a_thread_to_be_had(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """`at` says so with a `RuntimeError`; `run_due` runs it all the same, and the next `at` tries anew."""

    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ran: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            sandbox.at(0.0, lambda: ran.append("first"))
        with pytest.raises(RuntimeError, match="can't start new thread"):
            sandbox.at(0.0, lambda: ran.append("second"))
        sandbox.timers.lost(lambda: ran.append("lost"))
        sandbox.timers.run_due()
        sandbox.timers.run_lost()
        assert ran == ["first", "second", "lost"]
    done = threading.Event()
    sandbox.at(0.0, done.set)
    assert done.wait(WAIT)
    assert ran == ["first", "second", "lost"]


def ask(verb: str, sandbox: Sandbox, job: Callable[[], object]) -> None:
    """Have `job` run at once, one way or the other."""
    if verb == "at":
        sandbox.at(0.0, job)
    else:
        sandbox.timers.lost(job)


@pytest.mark.parametrize("verb", ["at", "lost"])
@pytest.mark.parametrize("points", ["lines", "signals"])
def test_interrupted_anywhere(points: Points, verb: str) -> None:
    """Wherever it is interrupted, its job runs at most once, and later ones run in any case."""
    number = 0
    while True:
        number += 1
        sandbox, ran, done = Sandbox(), list[str](), threading.Event()
        interruption = Interruption(number, points)
        interruption.run(partial(ask, verb, sandbox, partial(ran.append, "job")))
        sandbox.timers.lost(done.set)
        assert done.wait(5.0), f"nothing lost is found any more after an interrupt at {interruption.place}"
        sandbox.gone()
        done.clear()
        sandbox.at(0.0, done.set)
        assert done.wait(5.0), f"no job runs any more after an interrupt at {interruption.place}"
        sandbox.gone()
        assert ran in ([], ["job"]), f"{ran} after an interrupt at {interruption.place}"
        if not interruption.place:
            break
    assert ran == ["job"]
    assert number >= (14 if verb == "at" else 4), "the sweep interrupted hardly anything"
