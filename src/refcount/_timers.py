"""The one thread that ends lingers, and the clock they are measured on.

Jobs wait in a heap under `_lock`; no job ever runs under it. One thread waits for the earliest. When it begins a job
while others are pending, a second thread stands by: if the job turns out to be slow (longer than `PATIENCE`), the
standby goes on with what is due, so that a stop hook that hangs delays no other resource. In the ordinary case it
finds nothing to do and ends.

`lost` is the one way in that takes no lock, for finalizers, which the garbage collector may run between any two lines
of a thread that holds `_lock` already: it puts into a `SimpleQueue`, whose `put` is made for that, and the thread
sleeps on that same queue.
"""

import _thread
import contextlib
import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

from refcount._report import report

THREAD_NAME = "refcount-timer"
PATIENCE = 0.1
"""Seconds that a job may take before another thread goes on with the jobs that are due."""

Job = Callable[[], object]


class Timer:
    """One job that is to run once.

    Args:
        job: what to run; it takes no arguments.
    """

    __slots__ = ("_job", "fired")

    def __init__(self, job: Job) -> None:
        self._job = job
        self.fired = False
        """Whether it has begun to run."""

    def __call__(self) -> None:
        self.fired = True
        self._job()


class Clock(Protocol):
    """What a linger is measured on and ended by."""

    def now(self) -> float:
        """Return the time in seconds; only differences mean anything."""
        ...

    def at(self, deadline: float, job: Job) -> Timer:
        """Run `job` once `now()` has reached `deadline`.

        Raises:
            RuntimeError: no thread can be started, as at the end of the process.
        """
        ...


class TimerThread:
    """A clock that runs its jobs in a thread of its own, which lives only while a job is pending."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._inbox: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting: threading.Thread | None = None
        self._busy_since: list[float] | None = None

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return time.monotonic()

    def at(self, deadline: float, job: Job) -> Timer:
        """Run `job` in the timer thread once `deadline` has come."""
        timer = Timer(job)
        # One line: on the way out of a `with` of several lines a tracer could raise while the lock is still held.
        with self._lock: self._push(deadline, timer)  # fmt: skip # noqa: E701
        return timer

    def _push(self, deadline: float, timer: Timer) -> None:
        heapq.heappush(self._heap, (deadline, next(self._order), timer))
        if self._waiting is None:
            self._start_waiting()
        elif self._heap[0][2] is timer:
            self._inbox.put(None)  # it is the earliest now: wake the thread, to sleep less long

    def lost(self, job: Job) -> None:
        """Run `job` soon in the timer thread; for finalizers, since it takes no lock."""
        self._inbox.put(job)
        if self._waiting is None:
            with contextlib.suppress(RuntimeError):  # the process is ending, and what ends it calls `run_lost`
                _thread.start_new_thread(self._wake, ())

    def run_lost(self) -> None:
        """Run, in this thread, what finalizers have left."""
        while True:
            try:
                job = self._inbox.get_nowait()
            except Empty:
                return
            if job is not None:
                _run(job)

    def run_due(self) -> None:
        """Run, in this thread, what is due, one after the other; the timer thread steps in where a job takes long."""
        while (job := self._take_due()) is not None:
            self._run_watched(job)

    def _wake(self) -> None:
        with self._lock:
            if self._waiting is None:
                self._start_waiting()

    def _start_waiting(self) -> None:
        # A daemon, since a pending linger must not delay the end of the process.
        thread = threading.Thread(target=self._serve, name=THREAD_NAME, daemon=True)
        self._waiting = thread
        try:
            thread.start()
        except BaseException:
            self._waiting = None
            raise

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            self._run_watched(job)
            self.run_due()
            with self._lock:
                if self._waiting is not None:
                    self._inbox.put(None)  # it slept with an eye on this thread: let it look again
                    return
                self._waiting = threading.current_thread()

    def _next(self) -> Job | None:
        """Sleep until a job is due or a finalizer leaves one; None when nothing is pending any more."""
        while True:
            with self._lock:
                delay = self._delay()
                if delay is None:
                    # `lost` first puts and then looks at `_waiting`; this thread first lets go and then looks.
                    self._waiting = None
                    if self._inbox.empty():
                        return None
                    self._waiting, delay = threading.current_thread(), 0.0
            try:
                job = self._inbox.get(timeout=min(delay, threading.TIMEOUT_MAX))
            except Empty:
                job = None
            if job is None:
                job = self._take_due()
            else:
                with self._lock:
                    self._hand_over_waiting()
            if job is not None:
                return job

    def _delay(self) -> float | None:
        """Return how many seconds to sleep, or None when nothing is pending."""
        if not self._heap:
            return None
        due = self._heap[0][0]
        if self._busy_since is not None:
            due = max(due, self._busy_since[0] + PATIENCE)
        return max(due - self.now(), 0.0)

    def _take_due(self) -> Job | None:
        with self._lock:
            if self._delay() != 0.0:
                return None
            job = heapq.heappop(self._heap)[2]
            self._hand_over_waiting()
            return job

    def _hand_over_waiting(self) -> None:
        """This thread is about to run a job: see that another one waits for the rest, if there is any."""
        if self._waiting is threading.current_thread():
            self._waiting = None
        if self._heap and self._waiting is None:
            with contextlib.suppress(RuntimeError):  # at the end of the process this thread does what it can alone
                self._start_waiting()

    def _run_watched(self, job: Job) -> None:
        """Run `job` and let the standby see since when, so that it goes on with the rest if that takes long."""
        began = [self.now()]
        self._busy_since = began
        _run(job)
        with self._lock:
            if self._busy_since is began:  # else another thread has gone on, and is busy itself
                self._busy_since = None


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

    def renew(self) -> None:
        """Begin anew in a forked child, where the thread is gone and its lock may be held for ever."""
        fresh = TimerThread()
        if self.clock is self.thread:
            self.clock = fresh
        self.thread = fresh


clocks = Clocks()


def check_seconds(what: str, seconds: object) -> float:
    """Return `seconds` as a float, or raise `TypeError` / `ValueError` naming `what` and the value."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{what} must be a number of seconds, not {seconds!r}")
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{what} must be 0 seconds or more, not {seconds!r}")
    return float(seconds)
