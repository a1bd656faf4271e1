"""Steps under locks, seen by what runs in the middle of them.

A finalizer or a signal handler runs in the middle of whatever its thread does. Where that is a step under one of our
locks, it must not wait for that lock, since it would wait for itself; nor may it run a hook there, which would then run
under the lock. So each step leaves a mark in its thread, which holds as long as the thread has the lock.
"""

import threading
from collections.abc import Callable


def _never() -> bool:
    return False


class _Here(threading.local):
    def __init__(self) -> None:
        self.owned: Callable[[], bool] = _never
        """Tells whether this thread has the lock of its latest step."""


here = _Here()
"""What a step marks, right after it has got its lock: `here.owned = owned_by_me(lock)`."""


def in_a_step() -> bool:
    """Whether the calling thread is in the middle of a step under one of our locks."""
    return here.owned()


def owned_by_me(lock: threading.RLock) -> Callable[[], bool]:
    """Return what tells whether the calling thread has `lock`."""
    owned: Callable[[], bool] = vars(type(lock))["_is_owned"].__get__(lock)  # what `threading.Condition` asks, too
    return owned
