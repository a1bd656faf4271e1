"""`Keyed`: resources, one for each key, whoever drives them.

A key has a resource only while that is not idle, or while somebody refers to it: the family knows its members weakly,
so that nothing of it keeps a resource alive. A member that was closed has a successor, from the next call with its key
on; those that have had one are remembered, weakly as well, for `resources` and `close`.

Locks. To find a member takes none, nor does making one: whoever puts its own into the dict first, in one step of C
code, has made the member of that key, and all others find it there and drop theirs, which nobody has seen. A dead
member takes itself out, in one step that looks whether it still stands there. While a closed one has a successor, that
keeps it, and so its place in the dict, in which the successor is agreed upon: by a comparison and a store, under a lock
under which nothing else ever runs, no `__eq__` of a key and no finalizer.
"""
# pyright: reportPrivateUsage=false
# What a family has of its members is private because users have those in their hands.

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from operator import methodcaller
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import ReferenceType, ref

from refcount._errors import ClosedError
from refcount._support.naming import text_of
from refcount._support.weak import NOBODY, WeakValue

if TYPE_CHECKING:
    from fractions import Fraction

    from refcount._core.admission import Admission
    from refcount._core.machine import Machine
    from refcount._core.openers import Limits
    from refcount._support.naming import Name


class KeyedMember(Protocol):
    """The resource of one key."""

    first: Any
    """The first one of its key, if that was closed and this one came after it: it keeps their place."""

    _machine: Machine[Any]

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember of it."""
        ...

    def _shut(self, *, force: bool) -> object:
        """Refuse newcomers for good, and wait for nobody."""
        ...


M = TypeVar("M", bound=KeyedMember)
R = TypeVar("R")
S = TypeVar("S")


class Place(WeakValue[M]):
    """The place of one key, which is there as long as its first member.

    Attributes:
        successor: A reference to the member that came last, if the first one was closed.
    """

    __slots__ = ("successor",)

    successor: ReferenceType[M]

    def find(self) -> M | None:
        """Return the member of the key, if there is one that is not closed."""
        member = self()
        if member is not None and member._machine.closed:
            member = self.successor()
        return None if member is None or member._machine.closed else member


class Keyed(Generic[M]):
    """Resources, one for each key. Thread-safe.

    Args:
        name: Names the family in errors.
        limits: How many of them may be up at once.

    Attributes:
        members: The first resource of each key that has one, weakly, be it dead or closed; to be looked at.
    """

    __slots__ = ("__weakref__", "_closed", "_former", "limits", "members", "name")

    def __init__(self, name: str, limits: Limits) -> None:
        self.name: str = name
        self.limits: Limits = limits
        self.members: dict[Hashable, Place[M]] = {}
        self._former: dict[int, WeakValue[M]] = {}
        self._closed = False

    def find(self, key: Hashable) -> M | None:
        """Return the resource of `key` if it has one that is not closed.

        Raises:
            TypeError: The key is not hashable.
        """
        place = self.members.get(key)
        return None if place is None else place.find()

    def resources(self) -> tuple[M, ...]:
        """Return those that are not idle, in no particular order."""
        return tuple(member for member in self._known() if not member.idle)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClosedError(f"{self.name} is closed")

    def _add(self, key: Hashable, fresh: M) -> M:
        members = self.members
        mine: Place[M] = Place(fresh, methodcaller("discard", members, key))
        mine.successor = NOBODY
        while (member := (place := members.setdefault(key, mine)).find()) is None:
            first = place()
            if first is None:
                Place.discard(members, key)
            else:
                self._succeed(first, place, fresh)
        if self._closed:  # just now, by somebody who may not have seen the fresh one
            fresh._shut(force=False)
            self._refuse_if_closed()
        return member

    def _succeed(self, first: M, place: Place[M], fresh: M) -> None:
        """Let `fresh` come after the `first` of its key and all that came after that, unless another one is faster."""
        before = place.successor
        old = before()
        if old is not None:
            if not old._machine.closed:
                return
            self._former[id(old)] = WeakValue(old, methodcaller("discard", self._former, id(old)))
        fresh.first = first
        successor = ref(fresh)
        with _lock.succession:
            if place.successor is before:
                place.successor = successor

    def _each(self, members: Iterable[S], act: Callable[[S], R]) -> tuple[list[R], list[Exception]]:
        """Do something with each member, whichever raises; return what came of it, and what was raised."""
        results: list[R] = []
        errors: list[Exception] = []
        try:
            for member in members:
                try:
                    results.append(act(member))
                except Exception as error:
                    errors.append(error)
            return results, errors
        finally:
            del errors  # they refer to this frame

    def _known(self) -> list[M]:
        """Return the members that are alive."""
        places = [*self.members.copy().values()]
        known = (*places, *(place.successor for place in places), *self._former.copy().values())
        return [member for member in dict.fromkeys(reference() for reference in known) if member is not None]


def weigh(capacity: Admission[Any], name: Name, weight: float) -> int | Fraction:
    """Return a weight that may be inside.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, infinite or NaN, or more than the capacity.
    """
    try:
        return capacity.exact_weight(weight)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{text_of(name)} cannot be: {error}") from None


class _Lock:
    """The one lock of all families."""

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, where another thread's copy of it may be held for ever."""
        self.succession = Lock()


_lock = _Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lock.reset_after_fork)
