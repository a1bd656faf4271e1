"""Helpers for tests of code that uses shared resources: a clock that the test moves."""

import math
from functools import partial
from types import TracebackType
from typing import Self

from refcount._core.locks import Guard
from refcount._core.timer_heap import Job, Timer, TimerHeap
from refcount._core.timers import Clock, clocks
from refcount._support.checks import check_seconds

__all__ = ["ManualClock"]


class ManualClock:
    """A clock for lingers that stands still until it is told to move. A context manager: it is in force inside.

    What lingers while it is in force is stopped by `advance`, in the calling thread, in the order of the deadlines.
    On leaving, what still lingers on it is stopped. Use it from before the first lease that shall linger on it, and
    one at a time.

    Example:
        >>> from refcount import SharedResource
        >>> from refcount.testing import ManualClock
        >>> with ManualClock() as clock:
        ...     resource = SharedResource.of(list, stop=lambda value: print("stop"), linger=5.0)
        ...     with resource():
        ...         pass
        ...     clock.advance(4.9)
        ...     print(resource.state.value)
        ...     clock.advance(0.1)
        lingering
        stop
    """

    def __init__(self) -> None:
        self._guard = Guard()
        self._now = 0.0
        self._heap = TimerHeap(self._guard)
        self._before: list[Clock] = []

    def __enter__(self) -> Self:
        """Put it in force, at 0."""
        self._now = 0.0
        self._before.append(clocks.clock)
        clocks.clock = self
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Stop what still lingers on it, and put the clock before it back in force."""
        try:
            self.advance(math.inf)
        finally:
            clocks.clock = self._before.pop()

    def now(self) -> float:
        """Return the seconds by which it has been moved."""
        return self._now

    def at(self, deadline: float, job: Job) -> Timer:
        """Run `job` when the clock is moved to `deadline` or beyond; it is how resources set their timers."""
        timer = Timer(job, self._heap)
        push = partial(self._heap.push, deadline, timer)
        if self._guard.mine():  # in a finalizer or a signal handler, in the middle of one of our steps
            clocks.thread.lost(lambda: self._guard.run(push))
        else:
            self._guard.run(push)
        return timer

    def advance(self, seconds: float) -> None:
        """Move the clock, and run what becomes due, each at its own time; returns when all of it has ended.

        Args:
            seconds: By how much, 0 or more.

        Raises:
            TypeError: That is no number.
            ValueError: It is negative or NaN.

        Example:
            >>> clock = ManualClock()
            >>> clock.advance(2.5)
            >>> clock.now()
            2.5
        """
        end = self._now + check_seconds("seconds", seconds)
        while (timer := self._guard.run(partial(self._take_due, end))) is not None:
            timer()
        self._now = end

    def _take_due(self, end: float) -> Timer | None:
        self._heap.tidy()
        due = self._heap.due
        if due is None or due > end:
            return None
        self._now = max(self._now, due)
        return self._heap.pop()
