"""The one thread that ends lingers, and the clock they are measured on.

Jobs wait in a heap under a lock; no job ever runs under it. One thread waits for the earliest. When it begins a job
while others are pending, a second thread stands by: if the job turns out to be slow (longer than `PATIENCE`), the
standby goes on with what is due, so that a stop hook that hangs delays no other resource. In the ordinary case it
finds nothing to do and ends.

`lost` is the one way in that takes no lock, for finalizers, which the garbage collector may run between any two lines
of a thread that holds the lock already: it puts into a `SimpleQueue`, whose `put` is made for that, and the thread
sleeps on that same queue.
"""

import _thread
import contextlib
import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

from refcount._core.locks import Guard
from refcount._core.timer_heap import Job, Timer, TimerHeap
from refcount._support.reporting import report

THREAD_NAME = "refcount-timer"
PATIENCE = 0.1
"""Seconds that a job may take before another thread goes on with the jobs that are due."""

SPARE = 1.0
"""Seconds that a second thread stands by before it ends, so that quick jobs in a row do not start one each."""


class Clock(Protocol):
    """What a linger is measured on and ended by."""

    def now(self) -> float:
        """Return the time in seconds; only differences mean anything."""
        ...

    def at(self, deadline: float, job: Job) -> Timer:
        """Run `job` once `now()` has reached `deadline`.

        Raises:
            RuntimeError: No thread can be started, as at the end of the process.
        """
        ...


class TimerThread:
    """A clock that runs its jobs in a thread of its own, which lives only while a job is pending."""

    def __init__(self) -> None:
        self._guard = Guard()
        self._heap = TimerHeap(self._guard)
        self._inbox: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting: threading.Thread | None = None
        self._recruit: threading.Thread | None = None
        """The thread that waits, as long as nobody has started it."""
        self._waking = False
        self._spare: tuple[threading.Thread, SimpleQueue[bool]] | None = None
        self._busy_since: list[float] | None = None
        self._overtaken = 0
        """How many threads are in a job so slow that another one went on; while any is, nobody is patient."""

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return time.monotonic()

    def at(self, deadline: float, job: Job) -> Timer:
        """Run `job` in the timer thread once `deadline` has come."""
        timer = Timer(job, self._heap)
        if self._guard.mine():  # in a finalizer or a signal handler, in the middle of one of our steps
            self.lost(lambda: self._set(deadline, timer))
        else:
            self._set(deadline, timer)
        return timer

    def _set(self, deadline: float, timer: Timer) -> None:
        self._guard.run(partial(self._push, deadline, timer))
        if self._waiting is None:
            started: SimpleQueue[RuntimeError | None] = SimpleQueue()
            self._call_thread(started)
            error = started.get()  # so that the thread can be seen from now on
            if error is not None:
                raise error

    def _push(self, deadline: float, timer: Timer) -> None:
        earliest = self._heap.push(deadline, timer)
        if earliest and self._waiting is not None:
            self._inbox.put(None)  # wake the thread, to sleep less long

    def lost(self, job: Job) -> None:
        """Run `job` soon in the timer thread; for finalizers, since it takes no lock."""
        self._inbox.put(job)
        if self._waiting is None and not self._waking:
            with contextlib.suppress(RuntimeError):  # the process is ending, and what ends it calls `run_lost`
                self._call_thread(SimpleQueue())

    def _call_thread(self, started: SimpleQueue[RuntimeError | None]) -> None:
        """Have a thread started that waits, and what came of that put into `started`.

        Not started here: an interrupt inside `Thread.start`, which is written in Python, can leave a thread that never
        runs. A raw thread cannot be interrupted, neither while it is started nor while it starts the other.
        """
        try:
            self._waking = True  # one thread is enough for all that a collection finds
            _thread.start_new_thread(self._wake, (started,))
        except BaseException:
            self._waking = False
            raise

    def run_lost(self) -> None:
        """Run, in this thread, what finalizers have left."""
        while True:
            try:
                job = self._inbox.get_nowait()
            except Empty:
                return
            if job is not None:
                _run(job)

    def hold_back(self) -> None:
        """Leave what becomes due to the caller, who runs it with `run_due`, for as long as a job may take."""
        self._busy_since = [self.now()]

    def run_due(self) -> None:
        """Run, in this thread, what is due, one after the other; the timer thread steps in where a job takes long."""
        while (job := self._take_due(patient=False)) is not None:
            self._run_watched(job)
        self._busy_since = None

    def _wake(self, started: SimpleQueue[RuntimeError | None]) -> None:
        self._guard.run(self._woken)
        try:
            self._start_recruit()
        except RuntimeError as error:
            started.put(error)
        else:
            started.put(None)

    def _woken(self) -> None:
        self._waking = False  # first, so that whoever saw it set is served by the thread that is started now
        if self._waiting is None:
            self._recruit_waiting()

    def _recruit_waiting(self) -> None:
        """Name a thread that waits; under the lock, so it is started by `_start_recruit` when that is free again.

        For a start waits until the thread runs; and the first thing that it runs may be a finalizer that comes here.
        """
        # A daemon, since a pending linger must not delay the end of the process.
        self._waiting = self._recruit = threading.Thread(target=self._serve, name=THREAD_NAME, daemon=True)

    def _start_recruit(self) -> None:
        try:
            recruit = self._guard.run(self._take_recruit)
            if recruit is not None:
                recruit.start()
        except BaseException:
            self._guard.run(self._forget_recruit)
            raise

    def _take_recruit(self) -> threading.Thread | None:
        recruit, self._recruit = self._recruit, None
        return recruit

    def _forget_recruit(self) -> None:
        if self._waiting is not None and self._waiting.ident is None:
            self._waiting = None  # it does not run: the next one that comes tries again

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            while job is not None:
                self._run_watched(job)
                job = self._take_due()
            if not self._wait_again():
                return

    def _wait_again(self) -> bool:
        """Be the one that waits, or stand by until needed; say whether there is need of this thread."""
        needed = self._guard.run(self._stand_by)
        try:
            return needed.get(timeout=SPARE)
        except Empty:
            self._guard.run(partial(self._stand_down, needed))
            return needed.get()

    def _stand_by(self) -> SimpleQueue[bool]:
        """Return what tells, sooner or later, whether there is need of this thread."""
        needed: SimpleQueue[bool] = SimpleQueue()
        if self._waiting is None:
            self._waiting = threading.current_thread()
            needed.put(True)
            return needed
        self._inbox.put(None)  # the one that waits has timed its sleep by this thread's job: let it look again
        if self._spare is None:
            self._spare = threading.current_thread(), needed
        else:
            needed.put(False)
        return needed

    def _stand_down(self, needed: SimpleQueue[bool]) -> None:
        """Stand by no longer, unless the call has come at the last moment."""
        if self._spare is not None and self._spare[1] is needed:
            self._dismiss_spare()

    def _next(self) -> Job | None:
        """Sleep until a job is due or a finalizer leaves one; None when nothing is pending any more."""
        while True:
            delay = self._guard.run(self._wait)
            if delay is None:
                return None
            try:
                job = self._inbox.get(timeout=min(delay, threading.TIMEOUT_MAX))
            except Empty:
                job = None
            if job is None:
                job = self._take_due()
            else:
                self._guard.run(self._hand_over_waiting)
                with contextlib.suppress(RuntimeError):  # as in `_take_due`
                    self._start_recruit()
            if job is not None:
                return job

    def _wait(self) -> float | None:
        """Be the one that waits: return how many seconds to sleep, or None if this thread has nothing to wait for."""
        if self._waiting is None:
            self._waiting = threading.current_thread()
        elif self._waiting is not threading.current_thread():
            return None  # started twice, for an interrupt came in between; one is enough
        delay = self._delay()
        if delay is None:
            # `lost` first puts and then looks at `_waiting`; this thread first lets go and then looks.
            self._waiting = None
            if self._inbox.empty():
                self._dismiss_spare()
                return None
            self._waiting, delay = threading.current_thread(), 0.0
        return delay

    def _delay(self, *, patient: bool = True) -> float | None:
        """Return how many seconds to sleep, or None when nothing is pending.

        Args:
            patient: Leave what is due to the thread that runs a job now, unless that takes long.
        """
        due = self._heap.due
        if due is None:
            return None
        if patient and self._busy_since is not None and not self._overtaken:
            due = max(due, self._busy_since[0] + PATIENCE)
        return max(due - self.now(), 0.0)

    def _take_due(self, *, patient: bool = True) -> Job | None:
        job = self._guard.run(partial(self._pop_due, patient))
        if job is not None:
            with contextlib.suppress(RuntimeError):  # at the end of the process this thread does what it can alone
                self._start_recruit()
        return job

    def _pop_due(self, patient: bool) -> Job | None:
        self._heap.tidy()
        if self._delay(patient=patient) != 0.0:
            return None
        job = self._heap.pop()
        if self._busy_since is not None and patient:
            self._overtaken += 1
        self._hand_over_waiting()
        return job

    def _hand_over_waiting(self) -> None:
        """This thread is about to run a job: see that another one waits for the rest, if there is any."""
        if self._waiting is threading.current_thread():
            self._waiting = None
        if self._heap and self._waiting is None and self._spare is not None:
            self._waiting, bell = self._spare
            self._spare = None
            bell.put(True)
        elif self._heap and self._waiting is None:
            self._recruit_waiting()

    def _run_watched(self, job: Job) -> None:
        """Run `job` and let the standby see since when, so that it goes on with the rest if that takes long."""
        began = [self.now()]
        self._busy_since = began
        _run(job)
        self._guard.run(partial(self._watched, began))

    def _watched(self, began: list[float]) -> None:
        if self._busy_since is began:
            self._busy_since = None
        elif self._overtaken:  # another thread has gone on
            self._overtaken -= 1

    def _dismiss_spare(self) -> None:
        if self._spare is not None:
            self._spare[1].put(False)
            self._spare = None


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
