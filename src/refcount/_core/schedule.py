"""`Schedule`: the alarms of one clock, the earliest first.

Anybody sets and cancels alarms, at any moment: a finalizer inside the garbage collector, a signal handler, a thread
that is interrupted. So neither takes a lock: a dict has the jobs, a `SimpleQueue` what is new, and both are changed by
single calls of C code, which nothing cuts in two. Only those who take what is due take a lock, and touch the heap.

An alarm is alive as long as the dict has its job. What was cancelled stays in the heap, as an empty shell, until it
comes to the top or until there are too many such shells and all are dropped at once: to find one takes as long.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

LITTER = 64
"""How many cancelled alarms are not worth looking for."""

Job = Callable[[], object]


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
