"""Waiting: a `Parker` is what one thread sleeps on until another one wakes it, a `Watcher` one that waits for a change.

`threading.Event` and `Condition` are written in Python: an interrupt inside them leaves their inner lock held, and all
who wake hang. A raw lock is C: each of its calls happens whole or not at all. It is taken as long as nobody has woken
the thread; to wake is to free it, and to free it again changes nothing, so that wakes do not pile up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from refcount._core.clock import monotonic
from refcount._core.generation import Hold
from refcount._support.checks import check_timeout

if TYPE_CHECKING:
    from refcount._core.machine import Machine

T_co = TypeVar("T_co", covariant=True)


class Parker:
    """Sleeps one thread. Woken before it sleeps, it does not sleep; however often it is woken, it wakes once."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def park(self, deadline: float | None) -> bool:
        """Sleep until woken, and say whether that came before `monotonic()` reached `deadline`."""
        if deadline is None:
            return self._lock.acquire()
        while True:
            seconds = deadline - monotonic()
            # A lock takes no more than `TIMEOUT_MAX` at once, which is 49 days on some systems.
            if self._lock.acquire(timeout=max(0.0, min(seconds, threading.TIMEOUT_MAX))):
                return True
            if seconds <= threading.TIMEOUT_MAX:
                return False

    def unpark(self) -> None:
        """Wake the thread that sleeps, or let its next sleep return at once; never waits."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # it has been woken and has not seen it yet


class Watcher(Hold[T_co]):
    """A thread that wants to see something become true of a resource, and no lease."""

    __slots__ = ("_parker",)

    def __init__(self) -> None:
        super().__init__()
        self._parker = Parker()

    def _wake(self) -> None:
        self._parker.unpark()

    def watch(self, machine: Machine[T_co], reached: Callable[[], bool], deadline: float | None) -> bool:
        """Sleep until `reached()`, and say whether that came before `deadline`."""
        machine.sleepers[self] = None
        while not reached():
            if not self._parker.park(deadline):
                return reached()
        return True


def deadline_after(timeout: object) -> float | None:
    """Return when `timeout` seconds from now are over, or None for as long as it takes; raises like `check_timeout`."""
    seconds = check_timeout(timeout)
    return None if seconds is None else monotonic() + seconds
