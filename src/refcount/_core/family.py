"""`Family`: shared resources, one for each key.

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
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import ReferenceType, ref

from refcount._core.capacity import Capacity, Slot
from refcount._core.generation import Generation
from refcount._core.openers import Limits, Options
from refcount._core.parking import deadline_after
from refcount._core.registry import registry
from refcount._core.shared import SharedResource
from refcount._errors import ClosedError
from refcount._support.checks import check_timeout
from refcount._support.naming import Name, text_of
from refcount._support.reporting import raise_all
from refcount._support.weak import NOBODY, WeakValue

if TYPE_CHECKING:
    from refcount._core.openers import Life

R = TypeVar("R")
T = TypeVar("T")


class Place(WeakValue["Member[T]"]):
    """The place of one key, which is there as long as its first member.

    Attributes:
        successor: A reference to the member that came last, if the first one was closed.
    """

    __slots__ = ("successor",)

    successor: ReferenceType[Member[T]]

    def find(self) -> Member[T] | None:
        """Return the member of the key, if there is one that is not closed."""
        member = self()
        if member is not None and member._machine.closed:
            member = self.successor()
        return None if member is None or member._machine.closed else member


class Member(SharedResource[T]):
    """The resource of one key.

    Attributes:
        first: The first one of its key, if that was closed and this one came after it: it keeps their place.
    """

    __slots__ = ("first",)

    first: Member[T]

    # Where its last lease is lost in a cycle, the garbage collector clears all weak references before it tells anybody:
    # the family would find nothing, and make a second one of a key that is still up.
    _found_weakly = True


class Family(Generic[T]):
    """Shared resources, one for each key. Thread-safe.

    Args:
        name: Names the family in errors.
        options: What its resources have in common.
        limits: How many of them may be up at once.

    Attributes:
        members: The first resource of each key that has one, weakly, be it dead or closed; to be looked at.
    """

    __slots__ = ("__weakref__", "_capacity", "_closed", "_former", "limits", "members", "name", "options")

    def __init__(self, name: str, options: Options[T], limits: Limits) -> None:
        self.name: str = name
        self.options: Options[T] = options
        self.limits: Limits = limits
        self.members: dict[Hashable, Place[T]] = {}
        self._former: dict[int, WeakValue[Member[T]]] = {}
        self._closed = False
        self._capacity: Capacity[Generation[object]] | None = None
        if limits.capacity is not None:
            self._capacity = Capacity(name, limits.capacity, limits.when_full)
            registry.forkables.add(self)

    def find(self, key: Hashable) -> Member[T] | None:
        """Return the resource of `key` if it has one that is not closed.

        Raises:
            TypeError: The key is not hashable.
        """
        place = self.members.get(key)
        return None if place is None else place.find()

    def make(
        self,
        key: Hashable,
        lives: Callable[[], Life[T]],
        name: Name,
        *,
        anchored: bool = True,
        weight: float = 1,
    ) -> Member[T]:
        """Return the resource of `key`, which is made if it has none that is not closed.

        Args:
            key: That of which `find` has found none.
            lives: Makes what starts and stops the resource.
            name: Names the resource, or makes its name when somebody asks for it.
            anchored: As for any driver; not where the lives refer to the object that the resource belongs to.
            weight: How much of the capacity it takes.

        Raises:
            ClosedError: The family was closed.
            TypeError: The weight is no number.
            ValueError: It is negative, infinite or NaN, or more than the capacity.
        """
        if self._closed:
            raise ClosedError(f"{self.name} is closed")
        return self._add(key, self._new(lives, name, anchored, weight))

    def resources(self) -> tuple[Member[T], ...]:
        """Return those that are not idle, in no particular order."""
        return tuple(member for member in self._known() if not member.idle)

    def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse newcomers for good, wait for all holders to leave, and see everything stopped.

        `ResourceFunction.close` says the rest.
        """
        deadline = deadline_after(timeout)
        for member in self._known():
            member._refuse_reentry(f"close of {self.name}, and with it", get_ident())
        self._closed = True
        if self._capacity is not None:
            self._capacity.close()
        members = self._known()
        errors = self._each(members, lambda member: member._shut(force=force))[1]
        late = ", ".join(member.name for member in members if not member._wait_quiet(deadline))
        if late:
            errors.append(TimeoutError(f"{self.name} was still running after {check_timeout(timeout)} s: {late}"))
        raise_all(errors, f"closing {self.name}")

    def reset_after_fork(self) -> tuple[()]:
        """Begin anew in a forked child, where another thread's copy of a lock may be held for ever."""
        if self._capacity is not None:
            self._capacity.reset_after_fork()
        return ()

    def _add(self, key: Hashable, fresh: Member[T]) -> Member[T]:
        members = self.members
        mine: Place[T] = Place(fresh, methodcaller("discard", members, key))
        mine.successor = NOBODY
        while (member := (place := members.setdefault(key, mine)).find()) is None:
            first = place()
            if first is None:
                Place.discard(members, key)
            else:
                self._succeed(first, place, fresh)
        if self._closed:  # just now, by somebody who may not have seen the fresh one
            fresh._shut(force=False)
            raise ClosedError(f"{self.name} is closed")
        return member

    def _succeed(self, first: Member[T], place: Place[T], fresh: Member[T]) -> None:
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

    def _each(self, members: Iterable[Member[T]], act: Callable[[Member[T]], R]) -> tuple[list[R], list[Exception]]:
        """Do something with each member, whichever raises; return what came of it, and what was raised."""
        results: list[R] = []
        errors: list[Exception] = []
        for member in members:
            try:
                results.append(act(member))
            except Exception as error:
                errors.append(error)
        return results, errors

    def _known(self) -> list[Member[T]]:
        """Return the members that are alive."""
        places = [*self.members.copy().values()]
        known = (*places, *(place.successor for place in places), *self._former.copy().values())
        return [member for member in dict.fromkeys(reference() for reference in known) if member is not None]

    def _new(self, lives: Callable[[], Life[T]], name: Name, anchored: bool, weight: float) -> Member[T]:
        slot = None if self._capacity is None else _slot(self._capacity, name, weight)
        member: Member[T] = _new_member(Member)
        member._setup(lives, name, self.options, slot, anchored=anchored)
        if slot is not None:
            slot.attach(member)
        return member


_new_member: Callable[[type[Any]], Any] = object.__new__


def _slot(capacity: Capacity[Generation[object]], name: Name, weight: float) -> Slot[Generation[object]]:
    try:
        return capacity.slot(weight)
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
