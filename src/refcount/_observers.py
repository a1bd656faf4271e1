"""`Observers`: those who are told of every change of a usecount, outside every lock and in order."""

import threading
from collections import deque
from collections.abc import Callable

from refcount._report import report

Observer = Callable[[int], object]


class Observers:
    """The observers of one resource and the changes that they are still to be told of.

    Changes are noted under the resource's lock, which gives their order. One thread at a time tells them, for all
    threads; whoever comes meanwhile leaves its changes to that one, so that an observer which uses the resource does
    not call itself.

    Args:
        name: names the resource in reports.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._observers: tuple[Observer, ...] = ()
        self._changes: deque[tuple[int, tuple[Observer, ...]]] = deque()
        self._telling = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, observer: Observer) -> None:
        """Tell `observer` of what is noted from now on; under the resource's lock."""
        self._observers = (*self._observers, observer)

    def remove(self, observer: Observer) -> None:
        """Tell `observer` of nothing any more; under the resource's lock, harmless when repeated."""
        self._observers = tuple(other for other in self._observers if other is not observer)

    def note(self, usecount: int) -> None:
        """Note a change; under the resource's lock."""
        self._changes.append((usecount, self._observers))

    def tell(self) -> None:
        """Tell what has been noted; outside every lock of the resource."""
        while self._changes and self._telling.acquire(blocking=False):
            try:
                while self._changes:
                    usecount, observers = self._changes.popleft()
                    for observer in observers:
                        self._tell_one(observer, usecount)
            finally:
                self._telling.release()

    def renew(self) -> None:
        """Begin anew in a forked child: what the parent has noted is the parent's."""
        self._changes.clear()
        self._telling = threading.Lock()

    def _tell_one(self, observer: Observer, usecount: int) -> None:
        if observer in self._observers:
            try:
                observer(usecount)
            except Exception as error:
                report(error, f"an observer of {self._name}")
