"""`Hold` and `HoldCounter`: a count and the mark on who is counted, which change in one step."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from refcount._counter import Refcounter

C_co = TypeVar("C_co", bound="HoldCounter", covariant=True)


class Hold(Generic[C_co]):
    """One count on one counter, which knows the counter: what a lease is made of.

    The counter sets the mark in the step in which it changes its number, so that a hold which was given up half-way (by
    an interrupt, say) shows whether it was counted. Only its counter and the owner of that counter's lifecycle write
    it.

    Attributes:
        counter: The counter that this hold is counted on, or None while it is not held.
    """

    __slots__ = ("__weakref__", "counter")

    counter: C_co | None

    def __init__(self) -> None:
        self.counter = None


class HoldCounter(Refcounter):
    """A counter without callbacks whose number and holds change in one step.

    `inc_not_zero_by` and `dec_not_one_by` are the two hot paths of a lease. While `hot` is off they say no, so that
    every change goes through `take` and `give`, whose caller has a lock of its own.

    Each critical section is one line without a call. Without a call, no signal and no finalizer can come in between. On
    one line, not even a tracer that raises can: it would be called once more, with the lock held, on the way out of a
    `with` of several lines.

    Args:
        usecount: The number at first.
    """

    def __init__(self, usecount: int = 1) -> None:
        super().__init__(usecount)
        self._hot = True

    # fmt: off
    def inc_not_zero_by(self, hold: Hold[Self]) -> bool:
        """Count the hold unless the usecount is 0, and say whether that was done."""
        with self._lock: up = self._hot and self._usecount > 0; self._usecount, hold.counter = (  # noqa: E701, E702
            self._usecount + up, self if up else hold.counter)
        return up

    def dec_not_one_by(self, hold: Hold[Self]) -> bool:
        """Give the hold back unless it is the last or not held on this counter, and say whether that was done."""
        with self._lock: down = self._hot and self._usecount > 1 and hold.counter is self; self._usecount, hold.counter = (  # noqa: E501, E701, E702
            self._usecount - down, None if down else hold.counter)
        return down

    def take(self, hold: Hold[Self]) -> None:
        """Count the hold, be the usecount 0 or not; nothing happens when it is counted already."""
        with self._lock: new = hold.counter is None; self._usecount, hold.counter = (  # noqa: E701, E702
            self._usecount + new, self if new else hold.counter)

    def give(self, hold: Hold[Self]) -> bool:
        """Give the hold back, be it the last or not, and say whether it was counted here."""
        with self._lock: mine = self._usecount > 0 and hold.counter is self; self._usecount, hold.counter = (  # noqa: E701, E702
            self._usecount - mine, None if mine else hold.counter)
        return mine

    def set_hot(self, hot: bool) -> None:
        """Let the hot paths say yes, or not any more; on return none of them is under way."""
        with self._lock: self._hot = hot  # noqa: E701
    # fmt: on

    def disown(self) -> None:
        """Forget all holds, in a forked child, where another thread's copy of the lock may be held for ever."""
        self._rest()
        self._usecount = 0
