"""`Family`: shared resources for threads, one for each key."""
# pyright: reportPrivateUsage=false
# What a family has of its members is private because users have those in their hands.

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from refcount._core.capacity import Capacity, Slot
from refcount._core.generation import Generation
from refcount._core.keyed import Keyed, weigh
from refcount._core.openers import Limits, Options
from refcount._core.parking import deadline_after
from refcount._core.registry import registry
from refcount._core.shared import SharedResource
from refcount._support.naming import Name
from refcount._support.numbers import check_timeout
from refcount._support.reporting import raise_all

if TYPE_CHECKING:
    from refcount._core.openers import Life

T = TypeVar("T")


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


class Family(Keyed[Member[T]], Generic[T]):
    """Shared resources, one for each key. Thread-safe.

    Args:
        name: Names the family in errors.
        options: What its resources have in common.
        limits: How many of them may be up at once.
    """

    __slots__ = ("_capacity", "options")

    def __init__(self, name: str, options: Options[T], limits: Limits) -> None:
        super().__init__(name, limits)
        self.options: Options[T] = options
        self._capacity: Capacity[Generation[object]] | None = None
        if limits.capacity is not None:
            self._capacity = Capacity(name, limits.capacity, limits.when_full)
            registry.forkables.add(self)

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
        self._refuse_if_closed()
        return self._add(key, self._new(lives, name, anchored, weight))

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

    def _new(self, lives: Callable[[], Life[T]], name: Name, anchored: bool, weight: float) -> Member[T]:
        slot = None if self._capacity is None else Slot(self._capacity, weigh(self._capacity, name, weight))
        member: Member[T] = _new_member(Member)
        member._setup(lives, name, self.options, slot, anchored=anchored)
        if slot is not None:
            slot.attach(member)
        return member


_new_member: Callable[[type[Any]], Any] = object.__new__
