"""The timer thread: one for all, in order, gone when nothing is pending, and deaf to nothing."""

import _thread
import gc
import heapq
import itertools
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest

from refcount._core import timers
from refcount._core.locks import Guard
from refcount._core.timer_heap import LITTER, Timer, TimerHeap
from refcount._core.timers import PATIENCE, THREAD_NAME, Clock, TimerThread
from refcount.testing import ManualClock
from tests.core.test_interrupts import Interruption, Points
from tests.helpers.shaking import run_threads
from tests.helpers.tracing import Tracer
from tests.helpers.watched import WAIT, unraisable_errors, until

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


def test_patience_returns_when_the_slow_job_is_over(sandbox: Sandbox) -> None:
    """After a job so slow that another thread went on, a job that begins is given its time again."""
    slow, overtaken = threading.Event(), threading.Event()
    sandbox.at(0.0, lambda: slow.wait(WAIT))
    sandbox.at(0.0, overtaken.set)
    assert overtaken.wait(WAIT)
    slow.set()
    sandbox.gone()

    began: list[float] = []
    second = threading.Event()

    def first() -> None:
        since = sandbox.timers._busy_since  # pyright: ignore[reportPrivateUsage]  # exactly when this job has begun
        assert since is not None
        began.extend(since)
        assert second.wait(WAIT)

    went_on: list[float] = []

    def go_on() -> None:
        went_on.append(sandbox.timers.now())
        second.set()

    now = sandbox.timers.now()
    sandbox.timers.at(now, first)
    sandbox.timers.at(now, go_on)
    assert second.wait(WAIT)
    assert went_on[0] >= began[0] + PATIENCE


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
    file = timers.__file__

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


# --- What is cancelled ------------------------------------------------------------------------------------------------


def waiting_in(clock: Clock) -> int:
    """How many timers wait in the clock's heap, cancelled or not; nothing public shows it."""
    heap: TimerHeap = vars(clock)["_heap"]
    return len(heap)


def set_scrambled(clock: Clock, count: int, job: Callable[[int], object]) -> list[Timer]:
    """Set timers for 0, 1, 2 ... from `NEVER` on, in a random order; return them in that order."""
    deadlines = random.Random(count).sample(range(count), count)
    return [clock.at(clock.now() + NEVER + deadline, partial(job, deadline)) for deadline in deadlines]


@pytest.fixture(params=["thread", "manual"])
def clock(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Clock]:
    """Each kind of clock, one of them served by a thread; nothing of it is left."""
    yield sandbox.timers if request.param == "thread" else ManualClock()
    sandbox.timers._heap.clear()  # pyright: ignore[reportPrivateUsage]  # nothing takes a timer back
    sandbox.at(0.0, lambda: None)


def test_cancelled_timers_never_fill_the_heap(clock: Clock) -> None:
    """At no moment are they more than half of it and a few; when all are cancelled, only the few are left."""
    timers = set_scrambled(clock, 2000, lambda _: None)
    for pending in range(len(timers) - 1, -1, -1):
        timers[pending].cancel()
        waiting = waiting_in(clock)
        assert pending <= waiting
        assert waiting - pending <= (waiting + LITTER) / 2


def test_timers_that_come_and_go_leave_nothing(clock: Clock) -> None:
    """As keys do that are used and flushed again and again, each with a long linger."""
    for number in range(5000):
        clock.at(clock.now() + NEVER, lambda: None).cancel()
        assert waiting_in(clock) <= LITTER, number


def test_cancelled_timers_that_outlive_the_others_are_dropped(
    clock: Clock, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the others come due, those that were cancelled are too many, though no more are cancelled or set."""
    soon = clock.now() + NEVER / 2
    for timer in set_scrambled(clock, 500, lambda _: None):
        timer.cancel()
        clock.at(soon, lambda: None)
    assert waiting_in(clock) > 500
    if isinstance(clock, ManualClock):
        clock.advance(soon)
    else:
        monkeypatch.setattr(clock, "now", lambda: soon)
        sandbox.timers.run_due()
    until(lambda: waiting_in(clock) <= LITTER, "the dropping of those that were cancelled")


def test_they_are_dropped_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among many that are not cancelled, and as these go, there are only a few looks at all of them."""
    looks: list[int] = []
    heapify = heapq.heapify

    def look(entries: list[tuple[float, int, Timer]]) -> None:
        looks.append(len(entries))
        heapify(entries)

    monkeypatch.setattr(heapq, "heapify", look)
    clock = ManualClock()
    for timer in set_scrambled(clock, 10_000, lambda _: None):
        timer.cancel()
    assert 5 < len(looks) < 10
    assert sum(looks) < 10_000


def test_what_is_not_cancelled_keeps_its_order() -> None:
    """However many are dropped in between, the others run, in the order of their deadlines."""
    ran: list[int] = []
    clock = ManualClock()
    timers = set_scrambled(clock, 1000, ran.append)
    kept = random.Random(0).sample(timers, 100)
    for timer in timers:
        if timer not in kept:
            timer.cancel()
    assert waiting_in(clock) < 500
    clock.advance(NEVER + 1000)
    assert len(ran) == 100
    assert ran == sorted(ran)


def test_a_timer_that_has_fired_is_not_counted() -> None:
    """Cancelling it afterwards, as each stop does, neither looks for it nor takes the clock's lock."""
    clock = ManualClock()
    timers = [clock.at(1.0, lambda: None) for _ in range(1000)]
    clock.advance(1.0)
    set_scrambled(clock, 10, lambda _: None)
    for timer in timers:
        timer.cancel()
    heap: TimerHeap = vars(clock)["_heap"]
    assert vars(heap)["_cancelled"] == 0


def test_cancelled_by_many_threads_at_once(clock: Clock) -> None:
    """Threads that set and cancel side by side leave hardly more than one would: each may go uncounted once."""
    threads = 4

    def come_and_go() -> None:
        for _ in range(1000):
            clock.at(clock.now() + NEVER, lambda: None).cancel()

    run_threads(*[come_and_go] * threads)
    assert waiting_in(clock) <= LITTER + 2 * threads


def test_cancelled_in_the_middle_of_a_step(clock: Clock) -> None:
    """A finalizer there must not wait for the clock, which another thread has; the next that comes drops them."""
    timers = set_scrambled(clock, 500, lambda _: None)
    guard: Guard = vars(clock)["_guard"]

    def cancel_all() -> None:
        for timer in timers:
            timer.cancel()

    with guard.lock:
        run_threads(partial(Guard().run, cancel_all), timeout=WAIT)
        assert waiting_in(clock) == 500
    clock.at(clock.now() + NEVER, lambda: None)
    assert waiting_in(clock) == 1


def test_cancelled_in_the_middle_of_a_step_of_its_own_clock(clock: Clock) -> None:
    """A finalizer there changes nothing of the heap under the hands of that step."""
    timers = set_scrambled(clock, 500, lambda _: None)
    guard: Guard = vars(clock)["_guard"]

    def step() -> int:
        before = waiting_in(clock)
        for timer in timers:
            timer.cancel()
        return before - waiting_in(clock)

    assert guard.run(step) == 0


@pytest.mark.parametrize("points", ["lines", "signals"])
def test_an_interrupt_while_they_are_dropped(points: Points) -> None:
    """Wherever it comes, no timer that was not cancelled is lost, and the order is right."""
    for number in itertools.count(1):
        ran: list[int] = []
        clock = ManualClock()
        timers = set_scrambled(clock, 200, ran.append)
        for timer in timers[:132]:
            timer.cancel()
        assert waiting_in(clock) == 200
        interruption = Interruption(number, points)
        interruption.run(timers[132].cancel)
        timers[132].cancel()  # as whoever was interrupted does once more
        clock.advance(NEVER + 200)
        assert len(ran) == 67, interruption.place
        assert ran == sorted(ran), interruption.place
        if not interruption.place:
            assert number > 5
            return
