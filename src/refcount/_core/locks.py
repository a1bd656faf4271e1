"""`Guard`: a lock whose steps are seen by what runs in the middle of them.

A finalizer or a signal handler runs in the middle of whatever its thread does. Where that is a step under one of our
locks, it must not wait for that lock, since it would wait for itself; nor may it run a hook there, which would then run
under the lock. So each step leaves a mark in its thread, which holds as long as the thread has the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def _never() -> bool:
    return False


class _Here(threading.local):
    """What this thread is in the middle of."""

    mark: Callable[[], bool] = staticmethod(_never)
    """Tells whether this thread has the lock of its outermost step."""


_here = _Here()


def in_a_step() -> bool:
    """Whether the calling thread is in the middle of a step under one of our locks."""
    return _here.mark()


class Guard:
    """A reentrant lock for short steps. It is reentrant for finalizers, which may come in the middle of a step.

    Attributes:
        lock: The lock itself.
        mine: Tells whether the calling thread has the lock.
    """

    __slots__ = ("lock", "mine")

    lock: threading.RLock
    mine: Callable[[], bool]

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # Private, but what `threading.Condition` asks too; from the type's dict, since its stub does not show it.
        self.mine = vars(type(self.lock))["_is_owned"].__get__(self.lock)

    def run(self, step: Callable[[], R]) -> R:
        """Run `step` under the lock and return what it returns."""
        # The outermost step has its lock longest, so its mark stays. It is found before the lock is taken: between
        # taking the lock and leaving the mark nothing is called, so that no finalizer finds the one without the other.
        mark = _here.mark if _here.mark() else self.mine
        with self.lock: _here.mark = mark; return step()  # fmt: skip # noqa: E701, E702 # see "Tracers" in concurrency.md
