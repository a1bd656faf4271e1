"""Helpers for tests of code that uses shared resources: a clock that the test moves."""

import math
from types import TracebackType
from typing import Self

from refcount._core.clock import Alarm, Clock, Job, Schedule, clocks
from refcount._support.numbers import check_seconds

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
        self._now = 0.0
        self._schedule = Schedule()
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
        """Stop what still lingers on it, be it for ever, and put the clock before it back in force."""
        try:
            self.advance(math.inf)
            self._end()
        finally:
            clocks.clock = self._before.pop()

    def now(self) -> float:
        """Return the seconds by which it has been moved."""
        return self._now

    def at(self, due: float, job: Job) -> Alarm:
        """Run `job` when the clock is moved to `due` or beyond; it is how resources set their alarms."""
        alarm = Alarm(self._schedule)
        self._schedule.add(alarm, due, job)
        return alarm

    def advance(self, seconds: float) -> None:
        """Move the clock, and run what becomes due, each at its own time; returns when all of it has ended.

        Args:
            seconds: By how much, 0 or more. `math.inf` moves it to where nothing is due any more that ever will be.

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
        while (due := self._schedule.next_due()) <= end and due < math.inf:
            self._move_to(due)
            job = self._schedule.take(due)
            if job is not None:
                job()
        if end < math.inf:
            self._move_to(end)

    def _move_to(self, time: float) -> None:
        """Move forward only: a job may have moved the clock further than the call that ran it."""
        self._now = max(self._now, time)

    def _end(self) -> None:
        """Run what would never be due, at the end of all time."""
        last, self._now = self._now, math.inf
        try:
            for job in self._schedule.take_all():
                job()
        finally:
            self._now = last
