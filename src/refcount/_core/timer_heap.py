"""`Timer` and `TimerHeap`: jobs that wait for their time, the earliest first.

What is cancelled stays in the heap until there is too much of it and all of it is dropped at once: to find a single one
would take as long.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from refcount._core.locks import Guard, in_a_step

LITTER = 64
"""How many timers that were cancelled are not worth looking for."""

Job = Callable[[], object]


class Timer:
    """One job that is to run once.

    Args:
        job: What to run; it takes no arguments.
        heap: Where it is to wait.
    """

    __slots__ = ("_heap", "_job", "fired")

    def __init__(self, job: Job, heap: TimerHeap) -> None:
        self._job: Job | None = job
        self._heap = heap
        self.fired: bool = False
        """Whether it has begun to run."""

    def __call__(self) -> None:
        self.fired = True
        job = self._job
        if job is not None:
            job()

    @property
    def cancelled(self) -> bool:
        """Whether it will do nothing."""
        return self._job is None

    def cancel(self) -> None:
        """Let it do nothing when it is due, and keep nothing alive until then. Called anywhere, by any thread."""
        self._job = None
        if not self.fired:
            self._heap.note_cancelled()


class TimerHeap:
    """The timers of one clock, the earliest first. Those that were cancelled are hardly ever more than half of it.

    Except for `note_cancelled` and `clear` all runs in steps under `guard`, none of them in the middle of another.

    Args:
        guard: The clock's.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._entries: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        """How many were cancelled since those were last dropped; a bound, since some may have come due meanwhile."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def due(self) -> float | None:
        """When the earliest is due; None when there is none."""
        return self._entries[0][0] if self._entries else None

    def push(self, deadline: float, timer: Timer) -> bool:
        """Let `timer` wait for `deadline`, and say whether it is the earliest now."""
        self.tidy()
        heapq.heappush(self._entries, (deadline, next(self._order), timer))
        return self._entries[0][2] is timer

    def pop(self) -> Timer:
        """Take out the earliest; there must be one."""
        return heapq.heappop(self._entries)[2]

    def tidy(self) -> None:
        """Drop those that were cancelled, if they are too many."""
        if self._littered:
            entries = [entry for entry in self._entries if not entry[2].cancelled]
            heapq.heapify(entries)
            self._entries, self._cancelled = entries, 0  # at once: an interrupt must not leave half a heap

    def note_cancelled(self) -> None:
        """One of them was cancelled: drop all that were, if they are too many. Called anywhere, by any thread."""
        self._cancelled += 1  # without the lock: if another thread's count is lost by it, they are dropped later
        if self._littered and not in_a_step():  # a finalizer in a step must not wait for this lock
            self._guard.run(self.tidy)

    def clear(self) -> None:
        """Forget them all, for a test whose clock is to have nothing to wait for. Called anywhere, by any thread."""
        self._guard.run(lambda: self._entries.clear())  # of the list that is in force then

    @property
    def _littered(self) -> bool:
        return 2 * self._cancelled > len(self._entries) + LITTER
