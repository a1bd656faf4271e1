"""The clock that lingers are measured on, and the one thread that ends them.

One thread leads: it waits for the earliest alarm. It runs no job itself but starts a runner, which takes one job after
the other until nothing is due any more. When a runner has taken no job for `PATIENCE` seconds and others are due,
another runner goes on with those, so that a stop hook that hangs delays no other resource.

Setting an alarm and `lost` take no lock and wait for nobody, so that finalizers can call them inside the garbage
collector. They do two things, in this order: put the alarm into the schedule, then look whether a thread leads, that
is, has the lock `_leading`; if none does, they start one. A thread that ends does the same in reverse: it lets go of
the lock, then looks at the schedule once more. So one of the two always sees the other.
"""

import _thread
import contextlib
import importlib.machinery
import importlib.util
import math
import threading
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from refcount._core.schedule import Alarm, Job, Schedule
from refcount._support.reporting import report

__all__ = ["PATIENCE", "THREAD_NAME", "Alarm", "Clock", "TimerThread", "clocks", "monotonic"]

T = TypeVar("T")

THREAD_NAME = "refcount-timer"

PATIENCE = 0.1
"""Seconds that a job may take before another thread goes on with the jobs that are due."""

ARRIVAL = 1.0
"""Seconds after which a thread that was started is no longer relied on: it may have died of a lack of memory."""


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


def _daemons_allowed() -> bool:
    """Return whether there may be daemon threads here: an isolated sub-interpreter crashes when a raw one is left."""
    try:
        threading.Thread(daemon=True)
    except RuntimeError:
        return False
    return True


_DAEMONS_ALLOWED = _daemons_allowed()


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

    @property
    def awaited(self) -> bool:
        """Whether the thread has yet to look at the schedule, as far as one can rely on that."""
        return monotonic() < self.awaited_until and not self.arrived


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
        elif not self._launch.awaited:
            self._start()

    def _start(self) -> None:
        # `Thread.start` is written in Python: an interrupt can cut it in two, and a finalizer may come while its very
        # thread has the lock that it takes. So a raw thread does it, which is started by one call of C code.
        if not _DAEMONS_ALLOWED:
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
            self._start_runner()

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

    def _start_runner(self) -> None:
        self._turn = turn = _Turn(self.now())
        _run_in_thread(self._work, turn)

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
