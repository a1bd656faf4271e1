"""The clock that lingers are measured on, its alarms, and the one thread that rings them.

Anybody sets and cancels alarms, at any moment: a finalizer inside the garbage collector, a signal handler, a thread
that is interrupted. So neither takes a lock: a dict has the jobs, a `SimpleQueue` what is new, and both are changed by
single calls of C code, which nothing cuts in two. Only those who take what is due take a lock, and touch the heap.

One thread leads: it waits for the earliest alarm. It runs no job itself but starts a runner, which takes one job after
the other until nothing is due any more. When a runner has taken no job for `PATIENCE` seconds and others are due,
another runner goes on with those, so that a stop hook that hangs delays no other resource.

Who sets an alarm does two things, in this order: put it into the schedule, then look whether a thread leads, that is,
has the lock `_leading`; if none does, start one. A thread that ends does the same in reverse: it lets go of the lock,
then looks at the schedule once more. So one of the two always sees the other.
"""

from __future__ import annotations

import _thread
import contextlib
import heapq
import importlib.machinery
import importlib.util
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from refcount._support.reporting import report

T = TypeVar("T")

Job = Callable[[], object]

THREAD_NAME = "refcount-timer"

PATIENCE = 0.1
"""Seconds that a job may take before another thread goes on with the jobs that are due."""

ARRIVAL = 1.0
"""Seconds after which a thread that was started is no longer relied on: it may have died of a lack of memory."""

LITTER = 64
"""How many cancelled alarms are not worth looking for."""


def _system_clock() -> Callable[[], float]:
    """Return the `monotonic` of a fresh copy of the module `time`, which no test has patched or will ever find."""
    spec = importlib.machinery.BuiltinImporter.find_spec("time")
    assert spec is not None  # `time` is built into every CPython from 3.11 on
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    clock: Callable[[], float] = fresh.monotonic
    return clock


monotonic: Callable[[], float] = _system_clock()
"""The system's monotonic clock, in seconds, whatever a test has patched over `time`."""


_daemons_allowed = True
try:
    threading.Thread(daemon=True)
except RuntimeError:  # an isolated sub-interpreter, which crashes when a raw one is left
    _daemons_allowed = False


class Alarm:
    """A job that is to run once, when its time has come.

    Attributes:
        fired: Whether its job has begun, or is about to.
    """

    __slots__ = ("_schedule", "fired")

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self.fired: bool = False

    def cancel(self) -> None:
        """Let it do nothing when it is due, and keep nothing alive until then. Harmless at any time, in any thread."""
        self._schedule.discard(self)


class Schedule:
    """Alarms that wait for their time.

    An alarm is alive as long as the dict has its job. What was cancelled stays in the heap, as an empty shell, until it
    comes to the top or until there are too many such shells and all are dropped at once: to find one takes as long.

    Args:
        tell_littered: Called when more alarms are cancelled than alive, for somebody to call `next_due`, which drops
            them. It may be called inside the garbage collector.
    """

    def __init__(self, tell_littered: Callable[[], object] = lambda: None) -> None:
        self._tell_littered = tell_littered
        self._jobs: dict[Alarm, Job] = {}
        self._added: SimpleQueue[tuple[float, int, Alarm]] = SimpleQueue()
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._taking = threading.RLock()  # reentrant for a finalizer that moves a `ManualClock`

    def __len__(self) -> int:
        """Return how many alarms wait for their time, cancelled ones included."""
        return len(self._heap) + self._added.qsize()

    def add(self, alarm: Alarm, due: float, job: Job) -> None:
        """Let `alarm` wait until `due` to run `job`; if that is infinite, it only keeps `job` alive."""
        self._jobs[alarm] = job
        if due < math.inf:
            self._added.put((due, next(self._numbers), alarm))

    def discard(self, alarm: Alarm) -> None:
        """Forget an alarm, if it still waits."""
        if self._jobs.pop(alarm, None) is not None and self._littered:
            self._tell_littered()

    def next_due(self) -> float:
        """Return when the earliest alarm is due; `math.inf` when none ever is."""
        with self._taking:
            self._collect()
            self._drop_dead()
            return self._heap[0][0] if self._heap else math.inf

    def take(self, now: float) -> Job | None:
        """Take out the earliest alarm that is due at `now`, and return its job, for the caller to run."""
        with self._taking:
            return self._take_due(now)

    # Loops of their own: CPython 3.13 delivers an interrupt at the end of a loop outside of the block around it.

    def _drop_dead(self) -> None:
        while self._heap and self._heap[0][2] not in self._jobs:
            heapq.heappop(self._heap)

    def _take_due(self, now: float) -> Job | None:
        while (due := self.next_due()) <= now and due < math.inf:
            job = self._take(heapq.heappop(self._heap)[2])
            if job is not None:
                return job
        return None

    def take_all(self) -> Iterator[Job]:
        """Take out all alarms one after the other, those that are never due as well, until none is left."""
        while self._jobs:
            for alarm in list(self._jobs):
                job = self._take(alarm)
                if job is not None:
                    yield job

    def _take(self, alarm: Alarm) -> Job | None:
        job = self._jobs.pop(alarm, None)  # None when it was cancelled
        if job is not None:
            alarm.fired = True
        return job

    def _collect(self) -> None:
        """Move what is new into the heap, and drop what was cancelled if that is too much."""
        for _ in range(self._added.qsize()):
            try:
                heapq.heappush(self._heap, self._added.get_nowait())
            except Empty:  # a finalizer in the middle of this loop has collected the rest
                break
        if self._littered:
            heap = [entry for entry in self._heap if entry[2] in self._jobs]
            heapq.heapify(heap)
            self._heap = heap

    @property
    def _littered(self) -> bool:
        return len(self) > 2 * len(self._jobs) + LITTER


class Clock(Protocol):
    """What a linger is measured on and ended by."""

    def now(self) -> float:
        """Return the time in seconds; only differences mean anything."""
        ...

    def at(self, due: float, job: Job) -> Alarm:
        """Run `job` once `now()` has reached `due`; if that is infinite, only keep it alive.

        Raises:
            RuntimeError: No thread can be had, as at the end of the process.
        """
        ...


class _Launch:
    """A thread that was started to lead, or is about to be."""

    __slots__ = ("arrived", "awaited_until")

    def __init__(self) -> None:
        self.awaited_until = -math.inf
        """Until when others rely on it; set when it was started without an error."""
        self.arrived = False
        """Whether it runs; set before it tries to lead, and looked at after an alarm was put."""


class _Turn:
    """The work of one runner, from its first job to its last."""

    __slots__ = ("over", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        """When it last took a job."""
        self.over = False


class TimerThread:
    """A clock that runs its jobs in threads of its own, which live only while an alarm is pending."""

    def __init__(self) -> None:
        self._schedule = Schedule(tell_littered=self._ring)
        self._leading = threading.Lock()
        self._launch = _Launch()
        self._turn = _Turn(-math.inf)
        self._turn.over = True
        self._sleeps_until = math.inf
        """Who sets an earlier alarm wakes the thread that leads."""
        self._silence = threading.Lock()
        """Locked unless somebody has rung and the thread that leads has not heard it yet."""
        self._silence.acquire()

    @property
    def alive(self) -> bool:
        """Whether a thread leads."""
        return self._leading.locked()

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return monotonic()

    def at(self, due: float, job: Job) -> Alarm:
        """Run `job` in a timer thread once `due` has come; if that is infinite, only keep it alive."""
        alarm = Alarm(self._schedule)
        try:
            self._schedule.add(alarm, due, job)
            if due < math.inf:
                self._call_thread(due)
        except BaseException:
            alarm.cancel()
            raise
        return alarm

    def lost(self, job: Job) -> None:
        """Run `job` soon in a timer thread; for finalizers, since it takes no lock.

        Where no thread can be had it waits for `run_lost`, or for the next thread.

        Raises:
            RecursionError: The stack is full; a caller of the caller is to do it again.
        """
        self._schedule.add(Alarm(self._schedule), -math.inf, job)
        try:
            self._call_thread(-math.inf)
        except RecursionError:
            raise
        except RuntimeError:
            return

    def run_lost(self) -> None:
        """Run, in this thread, what finalizers have left."""
        while (job := self._schedule.take(-math.inf)) is not None:
            _run(job)

    def run_in_turn(self, jobs: Iterable[Job]) -> None:
        """Run `jobs` in this thread, one after the other; where one takes long, a timer thread that there is goes on.

        For the end of the process, when it is better to start no thread, and from CPython 3.12 on often impossible.
        Returns when none is left to begin; one that takes long may still run elsewhere.
        """
        self._turn = turn = _Turn(math.inf)  # which nobody overtakes as long as it has not begun
        try:
            for job in jobs:
                self._schedule.add(Alarm(self._schedule), -math.inf, job)
        finally:
            turn.since = self.now()
            self._ring()
            self._work(turn)

    # Whoever sets an alarm

    def _call_thread(self, due: float) -> None:
        """See that a thread looks at the schedule when `due` has come.

        Raises:
            RuntimeError: No thread can be had.
        """
        if self._leading.locked():
            if due < self._sleeps_until:
                self._ring()
        elif self._launch.arrived or monotonic() >= self._launch.awaited_until:
            self._start()

    def _start(self) -> None:
        # `Thread.start` is written in Python: an interrupt can cut it in two, and a finalizer may come while its very
        # thread has the lock that it takes. So a raw thread does it, which is started by one call of C code.
        if not _daemons_allowed:
            raise RuntimeError("no timer thread can be had: daemon threads are not allowed in this interpreter")
        self._launch = launch = _Launch()
        try:
            _thread.start_new_thread(_run_in_thread, (self._lead, launch))
        except Exception as error:
            raise RuntimeError(f"no timer thread can be had: {error}") from error
        launch.awaited_until = monotonic() + ARRIVAL

    def _ring(self) -> None:
        """Let the thread that leads look at the schedule; the next one, if there is none."""
        with contextlib.suppress(RuntimeError):  # somebody else has rung, and it was not heard yet
            self._silence.release()

    # The thread that leads

    def _lead(self, launch: _Launch) -> None:
        launch.arrived = True
        while self._leading.acquire(blocking=False):
            try:
                self._start_runners()
            finally:
                self._leading.release()
            if self._schedule.next_due() == math.inf:
                return

    def _start_runners(self) -> None:
        # A loop of its own, as in `Schedule`.
        while self._sleep():
            self._turn = turn = _Turn(self.now())
            _run_in_thread(self._work, turn)

    def _sleep(self) -> bool:
        """Sleep until a job is due that nobody takes; False when no alarm is pending any more."""
        while True:
            self._sleeps_until = math.inf  # whatever is set after the next look at the schedule rings
            due = self._schedule.next_due()
            if due == math.inf:
                return False
            turn = self._turn
            if not turn.over:
                due = max(due, turn.since + PATIENCE)
            self._sleeps_until = due
            delay = due - self.now()
            if delay <= 0:
                return True
            self._silence.acquire(timeout=min(delay, threading.TIMEOUT_MAX))

    # A runner

    def _work(self, turn: _Turn) -> None:
        try:
            self._run_due(turn)
        finally:
            turn.over = True
            self._ring()  # something may have become due since the last look

    def _run_due(self, turn: _Turn) -> None:
        while (job := self._schedule.take(self.now())) is not None:
            turn.since = self.now()
            _run(job)


def _run_in_thread(work: Callable[[T], object], argument: T) -> None:
    """Call `work` in a thread of its own, or in this one if there is none to be had."""
    with contextlib.suppress(Exception):  # there are too many, or the process is ending
        threading.Thread(target=work, args=(argument,), name=THREAD_NAME, daemon=True).start()
        return
    work(argument)


def _run(job: Job) -> None:
    try:
        job()
    except BaseException as error:  # nobody is there to catch it, and the thread serves everybody
        report(error, "a timer")


class Clocks:
    """The timer thread of this process, and the clock in force: the same, unless a test has put in its own."""

    def __init__(self) -> None:
        self.thread = TimerThread()
        self.clock: Clock = self.thread
        self._inherited: TimerThread | None = None
        """The parent's, in a forked child: its alarms may be all that keeps what the parent has started."""

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, where the threads are gone and a lock may be held for ever."""
        self._inherited, self.thread = self.thread, TimerThread()
        if self.clock is self._inherited:
            self.clock = self.thread


clocks = Clocks()
