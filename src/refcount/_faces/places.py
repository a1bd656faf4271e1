"""`Place`: where the resource of one instance is found that refers to the instance."""

from __future__ import annotations

from operator import methodcaller
from typing import Generic, TypeVar

from refcount._support.weak import NOBODY, WeakValue

R = TypeVar("R")


class Place(Generic[R]):
    """Where the resource of one instance is found that refers to it: the instance would never go if it were kept.

    Attributes:
        closed: Whether it was closed, so that whatever comes in its place is to be closed as well.
    """

    __slots__ = ("__weakref__", "_found", "closed")

    def __init__(self) -> None:
        self._found: dict[int, WeakValue[R]] = {}
        self.closed: bool = False

    def find(self, number: int = 0) -> R | None:
        """Return the resource, if there is one: the only one, or that of an event loop, by whose number it is found."""
        return self._found.get(number, NOBODY)()

    def keep(self, fresh: R, number: int = 0) -> R:
        """Keep a resource weakly, and return it, or that of a thread which was faster."""
        reference = WeakValue(fresh, methodcaller("discard", self._found, number))
        while (found := self._found.setdefault(number, reference)()) is None:
            WeakValue.discard(self._found, number)
        return found
