"""`Bell`: wakes one thread, and survives an interrupt anywhere.

`threading.Event` and `Condition` are written in Python: an interrupt inside them leaves their inner lock held, and all
who ring hang. A `SimpleQueue` is written in C, and each of its calls happens whole or not at all.
"""

import threading
from queue import Empty, SimpleQueue
from time import monotonic


class Bell:
    """Something for one thread to sleep on and for any thread to ring; a ring before the sleep is not missed."""

    __slots__ = ("_rings",)

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """Wake the thread that sleeps, or the next one; never waits, so that it may be called under a lock."""
        self._rings.put(None)

    def sleep(self, deadline: float | None) -> bool:
        """Sleep until it rings, and say whether it did before `monotonic()` reached `deadline`."""
        try:
            self._rings.get(timeout=None if deadline is None else _seconds_until(deadline))
        except Empty:
            return False
        return True


def _seconds_until(deadline: float) -> float:
    """The time left as a lock takes it, which has limits of its own."""
    return max(min(deadline - monotonic(), threading.TIMEOUT_MAX), 0.0)
