"""The timer thread: one for all, in order, gone when nothing is pending, and deaf to nothing."""

import _thread
import gc
import heapq
import itertools
import random
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from types import FrameType
from typing import Any

import pytest

from refcount._core import clock as clock_module
from refcount._core.clock import LITTER, THREAD_NAME, Alarm, Clock, Clocks, Job, Schedule, TimerThread
from refcount.testing import ManualClock
from tests.helpers.interrupting import Interruptions
from tests.helpers.programs import run_program
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.tracing import Tracer
from tests.helpers.watched import WAIT, unraisable_errors, until

SOON = 0.01
LATER = 0.05
NEVER = 1000.0


def timer_threads() -> list[threading.Thread]:
    """The timer threads that live now; those of other tests may still wait for a stale deadline."""
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def schedule_of(clock: Clock) -> Schedule:
    """What waits on a clock; nothing public shows it."""
    schedule: Schedule = vars(clock)["_schedule"]
    return schedule


def drop_all(clock: Clock) -> None:
    """Cancel every alarm."""
    for _ in schedule_of(clock).take_all():
        pass


class Sandbox:
    """A `TimerThread` of its own, and who serves it."""

    def __init__(self, timers: TimerThread | None = None) -> None:
        self.before = set(timer_threads())
        self.timers = timers or TimerThread()

    @property
    def threads(self) -> list[threading.Thread]:
        return [thread for thread in timer_threads() if thread not in self.before]

    def at(self, delay: float, job: Job) -> Alarm:
        return self.timers.at(self.timers.now() + delay, job)

    @property
    def forgotten(self) -> bool:
        """Whether something is pending that no thread will ever look at."""
        launch = vars(self.timers)["_launch"]
        awaited = not launch.arrived and launch.awaited_until > self.timers.now()
        served = self.timers.alive or awaited or self.threads
        return schedule_of(self.timers).next_due() < inf and not served

    def gone(self) -> None:
        """Wait until no thread serves it."""
        until(lambda: not self.timers.alive and not self.threads, "the end of the timer threads")

    def end(self) -> None:
        """Cancel what is pending, and wait until no thread serves it."""
        drop_all(self.timers)
        self.timers.lost(lambda: None)  # it looks again, and finds nothing
        self.gone()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A timer thread that no other test knows; gone at the end of the test."""
    box = Sandbox()
    yield box
    box.end()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No job is overtaken because this machine is slow."""
    monkeypatch.setattr(clock_module, "PATIENCE", WAIT)


# --- When, where, in which order --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_jobs_run_in_the_order_of_their_deadlines(sandbox: Sandbox) -> None:
    """Whatever the order in which they were set; those of the same deadline in that order. Each in a named thread."""
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
    assert done.wait(WAIT)
    assert ran == [(name, THREAD_NAME) for name in ("a", "b1", "b2", "c")]


def test_no_job_runs_before_its_deadline(sandbox: Sandbox) -> None:
    """The time at which it runs is at or after the deadline, and `fired` says that it has begun."""
    ran: list[tuple[float, bool]] = []
    deadline = sandbox.timers.now() + LATER
    alarms: list[Alarm] = []
    alarms.append(sandbox.timers.at(deadline, lambda: ran.append((sandbox.timers.now(), alarms[0].fired))))
    before = alarms[0].fired
    until(lambda: ran)
    ((when, fired),) = ran
    assert (before, fired) == (False, True)
    assert when >= deadline


def test_an_earlier_deadline_wakes_it(sandbox: Sandbox) -> None:
    """A thread that sleeps for a far deadline does an earlier one in time."""
    done = threading.Event()
    far = sandbox.at(NEVER, lambda: None)
    sandbox.at(0.0, done.set)
    assert done.wait(WAIT)
    assert not far.fired
    assert sandbox.timers.alive
    assert len(sandbox.threads) <= 2  # one leads, and the one that ran the job may not quite have ended


@pytest.mark.usefixtures("patient")
def test_the_threads_are_gone_when_nothing_is_pending(sandbox: Sandbox) -> None:
    """After the last job they end, and the next job gets new ones, daemons all."""
    assert not sandbox.timers.alive
    ran: list[threading.Thread] = []
    done = threading.Semaphore(0)
    for _ in range(3):
        sandbox.at(SOON, lambda: ran.append(threading.current_thread()))
        sandbox.at(SOON, done.release)
        assert done.acquire(timeout=WAIT)
        sandbox.gone()
    for thread in ran:
        thread.join(WAIT)
    assert [(thread.daemon, thread.is_alive()) for thread in ran] == [(True, False)] * 3


def test_a_hundred_thousand_deadlines_cost_one_thread(sandbox: Sandbox) -> None:
    """Each costs an entry in a heap, and no thread, wake-up or work until it is due."""
    now = sandbox.timers.now()
    alarms = [sandbox.timers.at(now + NEVER + number, lambda: None) for number in range(100_000)]
    until(lambda: sandbox.timers.alive)
    assert len(sandbox.threads) == 1
    assert schedule_of(sandbox.timers).next_due() == now + NEVER
    spent = time.thread_time() - time.process_time()
    time.sleep(LATER)
    assert time.thread_time() - time.process_time() >= spent - LATER / 2, "the thread works though nothing is due"
    assert not any(alarm.fired for alarm in alarms)


def test_what_is_never_due_is_kept_and_costs_no_thread(sandbox: Sandbox) -> None:
    """An infinite deadline keeps its job alive until it is cancelled; nothing waits for it."""
    kept = Kept()
    alarm = sandbox.timers.at(inf, kept.job)
    seen = weakref.ref(kept)
    del kept
    assert seen() is not None
    assert not sandbox.timers.alive
    done = threading.Event()
    sandbox.at(0.0, done.set)
    assert done.wait(WAIT)
    sandbox.gone()
    assert seen() is not None
    alarm.cancel()
    assert seen() is None


@pytest.mark.usefixtures("patient")
def test_one_job_begins_when_the_one_before_has_ended(sandbox: Sandbox) -> None:
    """As long as none takes long, nothing is stopped beside what it was started after."""
    log: list[str] = []
    go, done = threading.Event(), threading.Event()

    def first() -> None:
        log.append("first begins")
        assert go.wait(WAIT)
        log.append("first ends")

    now = sandbox.timers.now()
    sandbox.timers.at(now, first)
    sandbox.timers.at(now, lambda: log.append("second"))
    until(lambda: log)
    sandbox.timers.at(now, done.set)  # set while the first runs
    go.set()
    assert done.wait(WAIT)
    assert log == ["first begins", "first ends", "second"]


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


# --- From finalizers, at the worst of times ---------------------------------------------------------------------------


def test_lost_runs_soon_and_starts_the_thread(sandbox: Sandbox) -> None:
    """`lost` needs no deadline and no thread that runs already; the thread is gone afterwards."""
    names: list[str] = []
    sandbox.timers.lost(lambda: names.append(threading.current_thread().name))
    until(lambda: names)
    assert names == [THREAD_NAME]
    sandbox.gone()


def test_lost_is_served_by_a_thread_that_sleeps(sandbox: Sandbox) -> None:
    """It does not wait for the deadline that the thread sleeps for."""
    done = threading.Event()
    sandbox.at(NEVER, lambda: None)
    sandbox.timers.lost(done.set)
    assert done.wait(WAIT)


def test_nothing_waits_for_a_lock_that_somebody_holds(sandbox: Sandbox) -> None:
    """Another thread is stopped with the only lock in its hands: alarms are set, cancelled and lost all the same."""
    held, go, done = threading.Event(), threading.Event(), threading.Event()
    far = sandbox.at(NEVER, lambda: None)

    def hold() -> None:
        with vars(schedule_of(sandbox.timers))["_taking"]:
            held.set()
            assert go.wait(WAIT)

    def use() -> None:
        assert held.wait(WAIT)
        for _ in range(5 * LITTER):
            sandbox.at(NEVER, lambda: None).cancel()
        far.cancel()
        sandbox.at(0.0, lambda: None)
        sandbox.timers.lost(done.set)
        go.set()

    run_threads(hold, use, timeout=WAIT)
    assert done.wait(WAIT)


class Finalized:
    """Garbage with a finalizer that calls `lost`, in a cycle, so that only the collector finds it."""

    def __init__(self, timers: TimerThread, job: Job) -> None:
        self.myself = self
        self._timers = timers
        self._job = job

    def __del__(self) -> None:
        self._timers.lost(self._job)


def test_lost_from_finalizers_at_every_line(sandbox: Sandbox) -> None:
    """Whatever line of the timers a collection falls into, under the lock or not, the finalizer's job runs once.

    Not into one line for ever: each collection adds a job, and a loop over what was added would never end.
    """
    counts = itertools.count(1)
    ran: list[int] = []
    files = {clock_module.__file__}
    visits: Counter[tuple[str, int]] = Counter()

    def collect(frame: FrameType, event: str, _argument: Any) -> Tracer | None:
        if frame.f_code.co_filename not in files:
            return None
        line = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and sys.gettrace() is collect and visits[line] < 20:
            visits[line] += 1
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
        sandbox.at(NEVER, lambda: None).cancel()
        sandbox.timers.lost(lambda: None)
        sandbox.timers.run_in_turn([lambda: None])
    finally:
        sys.settrace(before)
    number = next(counts)
    assert len(visits) > 50
    until(lambda: len(ran) == number - 1, "the jobs of the finalizers")
    assert sorted(ran) == list(range(1, number))


def test_lost_from_finalizers_at_random_moments(sandbox: Sandbox) -> None:
    """In threads that collect at any allocation, in the middle of the timers' own steps as well: each job runs once."""
    ran: list[tuple[int, int]] = []
    threshold = gc.get_threshold()

    def work(thread: int) -> None:
        for number in range(300):
            Finalized(sandbox.timers, partial(ran.append, (thread, number)))
            sandbox.at(NEVER if number % 3 else 0.0, lambda: None).cancel()

    gc.set_threshold(5, 2, 2)
    try:
        run_threads(*[partial(work, thread) for thread in range(4)], timeout=40.0)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    until(lambda: len(ran) == 1200, "the jobs of the finalizers")
    assert sorted(ran) == list(itertools.product(range(4), range(300)))


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


# --- No thread to be had ----------------------------------------------------------------------------------------------


class Kept:
    """Something that a job keeps alive."""

    def job(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_at_without_a_thread_to_be_had(
    error: type[Exception], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`at` says so with a `RuntimeError` and forgets the job; what is lost waits for `run_lost`; the next one tries."""

    def no_thread(_function: object, _arguments: object) -> int:
        raise error("there are too many")

    def refused(job: Job) -> str:
        try:
            sandbox.at(0.0, job)
        except RuntimeError as refusal:
            return str(refusal)
        return ""

    ran: list[str] = []
    kept = Kept()
    seen = weakref.ref(kept)
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", no_thread)
        assert refused(kept.job) == "no timer thread can be had: there are too many"
        del kept
        assert seen() is None
        sandbox.timers.lost(lambda: ran.append("lost"))
        assert ran == []
        sandbox.timers.run_lost()
        assert ran == ["lost"]
        sandbox.timers.lost(lambda: ran.append("lost again"))
    done = threading.Event()
    sandbox.at(0.0, done.set)
    assert done.wait(WAIT)
    assert ran == ["lost", "lost again"]


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError("no stack")])
def test_where_one_thread_is_all_that_can_be_had(
    error: Exception, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs the jobs itself, one after the other; nobody waits for anything."""

    def no_thread(*_arguments: object, **_options: object) -> None:
        raise error

    ran: list[str] = []
    done = threading.Event()
    monkeypatch.setattr(threading.Thread, "__init__", no_thread)
    sandbox.at(SOON, lambda: ran.append("first"))
    sandbox.at(SOON, done.set)
    sandbox.timers.lost(lambda: ran.append("lost"))
    assert done.wait(WAIT)
    assert ran == ["lost", "first"]


ISOLATED = """
import sys
try:
    import _interpreters as interpreters  # from CPython 3.13 on
except ImportError:
    import _xxsubinterpreters as interpreters
print(interpreters.run_string(interpreters.create(), '''
import os
from refcount import SharedResource
from refcount._core.clock import clocks
try:
    clocks.thread.at(clocks.thread.now() + 5, print)
except RuntimeError as error:
    os.write(1, b"refused\\\\n")
clocks.thread.lost(lambda: os.write(1, b"lost\\\\n"))
clocks.thread.run_lost()
resource = SharedResource.of(object, stop=lambda _: os.write(1, b"stopped\\\\n"), linger=5.0)
with resource():
    os.write(1, b"held\\\\n")
os.write(1, resource.state.value.encode() + b"\\\\n")
'''), flush=True)
"""


def test_in_an_isolated_sub_interpreter() -> None:
    """Where daemon threads are not allowed, or none at all, nobody waits: what would linger is stopped at once."""
    ended = run_program(ISOLATED)
    assert ended.lines == ["refused", "lost", "held", "stopped", "idle", "None"]
    assert ended.returncode == 0


# --- A thread that ends, and one that comes ---------------------------------------------------------------------------


class Staged(TimerThread):
    """A timer thread that is stopped by a test while it ends, before and after it has let go of the lead."""

    def __init__(self) -> None:
        super().__init__()
        self._stage = schedule_of(self)
        self._next_due = self._stage.next_due
        vars(self._stage)["next_due"] = self._look
        self._leaders = threading.local()
        self.before_it_lets_go = Stop()
        self.after_it_let_go = Stop()

    def _lead(self, launch: Any) -> None:
        self._leaders.is_one = True
        super()._lead(launch)

    def _look(self) -> float:
        if not hasattr(self._leaders, "is_one"):
            return self._next_due()
        if not self.alive:
            self.after_it_let_go.pass_through()
        due = self._next_due()
        if due == inf and self.alive:
            self.before_it_lets_go.pass_through()
        return due


class Stop:
    """A place where a thread stops until it is let go; the first one that comes, if the test wants that."""

    def __init__(self) -> None:
        self.wanted = False
        self.reached = threading.Event()
        self.go = threading.Event()

    def pass_through(self) -> None:
        if self.wanted:
            self.wanted = False
            self.reached.set()
            assert self.go.wait(WAIT)

    @contextmanager
    def stopped(self, act: Callable[[], object]) -> Generator[None]:
        """Act, and run the block while the thread stands here."""
        self.wanted = True
        act()
        assert self.reached.wait(WAIT)
        yield
        self.go.set()


class Heedless(Staged):
    """A broken variant: it ends without looking once more."""

    def _lead(self, launch: Any) -> None:
        self._leaders.is_one = True
        launch.arrived = True
        if self._leading.acquire(blocking=False):
            self._start_runners()
            self._leading.release()


def come_before_it_lets_go(sandbox: Sandbox, timers: Staged) -> bool:
    """Set an alarm while the thread has seen that nothing is pending; say whether it ran."""
    ran: list[int] = []
    with timers.before_it_lets_go.stopped(lambda: sandbox.at(0.0, lambda: None)):
        sandbox.at(0.0, lambda: ran.append(1))
    until(lambda: ran or sandbox.forgotten)
    return bool(ran)


def test_an_alarm_that_comes_before_the_thread_lets_go() -> None:
    """Who sets it sees a thread that leads, and this one looks again after it has let go."""
    timers = Staged()
    sandbox = Sandbox(timers)
    assert come_before_it_lets_go(sandbox, timers)
    sandbox.end()


def test_a_thread_that_does_not_look_again_is_found() -> None:
    """The broken variant forgets what the test above sets."""
    timers = Heedless()
    sandbox = Sandbox(timers)
    assert not come_before_it_lets_go(sandbox, timers)
    sandbox.end()


def test_an_alarm_that_comes_after_the_thread_let_go() -> None:
    """Who sets it sees that none leads, and starts another; the old one goes on and does no harm."""
    timers = Staged()
    sandbox = Sandbox(timers)
    ran: list[int] = []
    with timers.after_it_let_go.stopped(lambda: sandbox.at(0.0, lambda: None)):
        sandbox.at(0.0, lambda: ran.append(1))
        until(lambda: ran)
    sandbox.gone()
    assert ran == [1]
    sandbox.end()


def test_alarms_that_come_while_a_thread_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """They rely on it and start no other, though the thread before it ends meanwhile, having looked too early."""
    timers = Staged()
    sandbox = Sandbox(timers)
    ran: list[str] = []
    waiting: list[Callable[[], object]] = []
    start = _thread.start_new_thread

    def start_later(function: Callable[..., object], arguments: tuple[object, ...]) -> int:
        waiting.append(partial(start, function, arguments))
        return 0

    with timers.after_it_let_go.stopped(lambda: sandbox.at(0.0, lambda: None)):
        monkeypatch.setattr(_thread, "start_new_thread", start_later)
        sandbox.at(0.0, lambda: ran.append("one"))
    until(lambda: ran)  # the old thread has found it, and ends for good
    sandbox.gone()
    sandbox.at(0.0, lambda: ran.append("two"))
    sandbox.at(0.0, lambda: ran.append("three"))
    assert (ran, len(waiting), timers.alive) == (["one"], 1, False)
    waiting[0]()
    until(lambda: len(ran) == 3)
    assert ran == ["one", "two", "three"]
    monkeypatch.undo()
    sandbox.end()


@pytest.mark.parametrize("seed", range(3))
def test_shaken_threads_lose_no_job(seed: int, sandbox: Sandbox) -> None:
    """Several threads set, cancel and lose, and the timer threads come and go, all at the mercy of the scheduler."""
    ran: list[tuple[int, int]] = []
    cancelled: set[tuple[int, int]] = set()

    def work(thread: int) -> None:
        dice = random.Random(f"{seed}/{thread}")
        for number in range(40):
            job = partial(ran.append, (thread, number))
            draw = dice.random()
            if draw < 0.3:
                sandbox.timers.lost(job)
            elif draw < 0.5:
                sandbox.at(NEVER, job).cancel()
                cancelled.add((thread, number))
            else:
                sandbox.at(dice.choice([0.0, 0.0, 0.001]), job)
            if dice.random() < 0.3:
                time.sleep(0.002)  # so that the threads end now and then

    with shaken(seed):
        run_threads(*[partial(work, thread) for thread in range(4)])
        wanted = set(itertools.product(range(4), range(40))) - cancelled
        until(lambda: len(ran) >= len(wanted) or sandbox.forgotten, "the jobs")
        sandbox.gone()
    assert sorted(ran) == sorted(wanted)


def ask(verb: str, sandbox: Sandbox, job: Job) -> None:
    """Have `job` run at once, one way or the other."""
    if verb == "at":
        sandbox.at(0.0, job)
    else:
        sandbox.timers.lost(job)


@pytest.mark.parametrize("verb", ["at", "lost"])
def test_interrupted_anywhere(verb: str) -> None:
    """Wherever it is interrupted, its job runs at most once, and later ones run in any case."""
    ran: list[str] = []
    sweep = Interruptions()
    for interruption in sweep:
        sandbox, ran, done = Sandbox(), [], threading.Event()
        interruption.run(partial(ask, verb, sandbox, partial(ran.append, "job")))
        sandbox.timers.lost(done.set)
        assert done.wait(5.0), f"nothing lost is found any more after {interruption}"
        sandbox.gone()
        done.clear()
        sandbox.at(0.0, done.set)
        assert done.wait(5.0), f"no job runs any more after {interruption}"
        sandbox.gone()
        assert ran in ([], ["job"]), f"{ran} after {interruption}"
    assert ran == ["job"]
    assert sweep.points >= 10, "the sweep interrupted hardly anything"


# --- The end of the process, and a fork -------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_run_in_turn(sandbox: Sandbox) -> None:
    """In this thread, one after the other; no thread is started for it, and one that there is does not interfere."""
    ran: list[tuple[str, int]] = []

    def job(name: str) -> Job:
        return lambda: ran.append((name, threading.get_ident()))

    me = threading.get_ident()
    sandbox.timers.run_in_turn([job("a"), job("b")])
    assert ran == [("a", me), ("b", me)]
    assert not sandbox.timers.alive
    sandbox.at(NEVER, lambda: None)  # now there is a thread that might do it
    sandbox.timers.run_in_turn(map(job, "cd"))
    assert ran == [(name, me) for name in "abcd"]
    done = threading.Event()
    sandbox.at(0.0, done.set)
    assert done.wait(WAIT)


@pytest.mark.parametrize("runners_to_be_had", [True, False])
def test_run_in_turn_where_one_takes_long(
    runners_to_be_had: bool, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are run meanwhile by a timer thread, be it by the one that waits for alarms."""

    def no_thread(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    others = threading.Semaphore(0)
    sandbox.at(NEVER, lambda: None)
    if not runners_to_be_had:
        monkeypatch.setattr(threading.Thread, "__init__", no_thread)

    def wait_for_others() -> None:
        assert others.acquire(timeout=WAIT)
        assert others.acquire(timeout=WAIT)

    sandbox.timers.run_in_turn([wait_for_others, others.release, others.release])


def test_run_in_turn_interrupted_while_it_collects(sandbox: Sandbox) -> None:
    """What it has got by then is run, and the timers work as before."""
    ran: list[int] = []

    def jobs() -> Generator[Job]:
        yield partial(ran.append, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sandbox.timers.run_in_turn(jobs())
    assert ran == [1]
    done = threading.Event()
    sandbox.at(0.0, done.set)
    assert done.wait(WAIT)


def test_a_child_begins_anew() -> None:
    """After a fork nothing is pending, and what the parent's alarms keep alive is not dropped."""
    clocks = Clocks()
    parent = clocks.thread
    kept = Kept()
    clocks.clock.at(inf, kept.job)
    seen = weakref.ref(kept)
    del kept
    clocks.reset_after_fork()
    assert clocks.thread is clocks.clock is not parent
    assert seen() is not None
    clocks.clock = manual = ManualClock()
    clocks.reset_after_fork()
    assert clocks.clock is manual


# --- The clock of the system, whatever a test has patched -------------------------------------------------------------

FROZEN = """
import sys, threading, time
from freezegun import freeze_time

def run(linger):
    from refcount import SharedResource
    stopped = threading.Event()
    with SharedResource.of(list, stop=lambda value: stopped.set(), linger=linger)():
        pass
    return stopped

def check_clock():
    from refcount._core.clock import monotonic
    began = monotonic()
    lock = threading.Lock()
    lock.acquire()
    frozen = time.monotonic()
    assert not lock.acquire(timeout=0.02)  # the timeouts of locks are measured in C
    assert 0.02 <= monotonic() - began < 15.0
    assert time.monotonic() == frozen

if {early}:
    import refcount
with freeze_time("2020-01-01"):
    check_clock()
    assert run(0.01).wait(15)  # begins and ends while time stands still
    begun = run(0.2)
assert begun.wait(15)  # begins while time stands still and ends afterwards
stopped = run(0.2)
with freeze_time("2020-01-01"):
    assert stopped.wait(15)  # the other way round
print("ok")
"""


@pytest.mark.parametrize("early", [True, False])
def test_a_frozen_time_freezes_no_linger(early: bool) -> None:
    """With freezegun, whether refcount was imported before the time was frozen or while it was."""
    ended = run_program(FROZEN.format(early=early))
    assert (ended.stdout, ended.stderr, ended.returncode) == ("ok\n", "", 0)


# --- What is cancelled ------------------------------------------------------------------------------------------------


def set_scrambled(clock: Clock, count: int, job: Callable[[int], object]) -> list[Alarm]:
    """Set alarms for 0, 1, 2 ... from `NEVER` on, in a random order; return them in that order."""
    deadlines = random.Random(count).sample(range(count), count)
    return [clock.at(clock.now() + NEVER + deadline, partial(job, deadline)) for deadline in deadlines]


@pytest.fixture(params=["thread", "manual"])
def clock(request: pytest.FixtureRequest, sandbox: Sandbox) -> Clock:
    """Each kind of clock, one of them served by a thread; nothing of it is left."""
    return sandbox.timers if request.param == "thread" else ManualClock()


def test_what_is_cancelled_keeps_nothing_alive(clock: Clock) -> None:
    """Neither does what has fired; and cancelling again is harmless."""
    kept, fired = Kept(), Kept()
    refs = weakref.ref(kept), weakref.ref(fired)
    alarm = clock.at(clock.now() + NEVER, kept.job)
    over = clock.at(clock.now(), fired.job)
    del kept, fired
    alarm.cancel()
    alarm.cancel()
    assert refs[0]() is None
    assert not alarm.fired
    if isinstance(clock, ManualClock):
        clock.advance(0.0)
    until(lambda: over.fired)
    until(lambda: refs[1]() is None)
    over.cancel()


def test_cancelled_alarms_never_fill_the_heap(clock: Clock) -> None:
    """Hardly ever are they more than half of it and a few; when all are cancelled, only the few are left."""
    alarms = set_scrambled(clock, 2000, lambda _: None)
    schedule = schedule_of(clock)

    def few(alive: int) -> bool:
        return alive <= len(schedule) <= 2 * alive + LITTER

    for alive in range(len(alarms) - 1, -1, -1):
        alarms[alive].cancel()
        if alive % 100 == 0:
            if isinstance(clock, ManualClock):
                clock.advance(0.0)
            until(partial(few, alive))


def test_alarms_that_come_and_go_leave_nothing(clock: Clock) -> None:
    """As keys do that are used and flushed again and again, each with a long linger."""
    for _ in range(5000):
        clock.at(clock.now() + NEVER, lambda: None).cancel()
    if isinstance(clock, ManualClock):
        clock.advance(0.0)
    until(lambda: len(schedule_of(clock)) <= LITTER)


def test_cancelled_alarms_that_outlive_the_others_are_dropped(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the others come due, those that were cancelled are too many, though no more are cancelled or set."""
    soon = clock.now() + NEVER / 2
    for alarm in set_scrambled(clock, 500, lambda _: None):
        alarm.cancel()
        clock.at(soon, lambda: None)
    assert len(schedule_of(clock)) > 500
    if isinstance(clock, ManualClock):
        clock.advance(soon)
    else:
        monkeypatch.setattr(clock, "now", lambda: soon)
        clock.at(soon - 1, lambda: None)  # wakes it
    until(lambda: len(schedule_of(clock)) <= LITTER, "the dropping of those that were cancelled")


def test_they_are_dropped_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among many that are not cancelled, and as these go, there are only a few looks at all of them."""
    looks: list[int] = []
    heapify = heapq.heapify

    def look(entries: list[tuple[float, int, Alarm]]) -> None:
        looks.append(len(entries))
        heapify(entries)

    monkeypatch.setattr(heapq, "heapify", look)
    clock = ManualClock()
    for alarm in set_scrambled(clock, 10_000, lambda _: None):
        alarm.cancel()
        clock.advance(0.0)
    assert 5 < len(looks) < 10
    assert sum(looks) < 10_000


def test_what_is_not_cancelled_keeps_its_order() -> None:
    """However many are dropped in between, the others run, in the order of their deadlines."""
    ran: list[int] = []
    clock = ManualClock()
    alarms = set_scrambled(clock, 1000, ran.append)
    kept = random.Random(0).sample(alarms, 100)
    for alarm in alarms:
        if alarm not in kept:
            alarm.cancel()
    clock.advance(NEVER + 1000)
    assert len(ran) == 100
    assert ran == sorted(ran)


def test_set_and_cancelled_by_many_threads_at_once(clock: Clock) -> None:
    """Threads that set and cancel side by side leave no more than one would."""

    def come_and_go() -> None:
        for _ in range(1000):
            clock.at(clock.now() + NEVER, lambda: None).cancel()

    run_threads(*[come_and_go] * 4)
    if isinstance(clock, ManualClock):
        clock.advance(0.0)
    until(lambda: len(schedule_of(clock)) <= LITTER)


def test_an_interrupt_while_one_is_cancelled() -> None:
    """Wherever it comes, no alarm that was not cancelled is lost, and the order is right."""
    sweep = Interruptions()
    for interruption in sweep:
        ran: list[int] = []
        clock = ManualClock()
        alarms = set_scrambled(clock, 200, ran.append)
        for alarm in alarms[:132]:
            alarm.cancel()
        interruption.run(alarms[132].cancel)
        alarms[132].cancel()  # as whoever was interrupted does once more
        clock.advance(NEVER + 200)
        assert len(ran) == 67, interruption
        assert ran == sorted(ran), interruption
    assert sweep.points > 2
