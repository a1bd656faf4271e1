"""`AsyncFamily`: shared resources for tasks, one for each key."""
# pyright: reportPrivateUsage=false
# What a family has of its members is private because users have those in their hands.

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from refcount._core.async_capacity import AsyncCapacity, AsyncSlot
from refcount._core.async_openers import AsyncOptions
from refcount._core.async_shared import AsyncSharedResource
from refcount._core.generation import Generation
from refcount._core.keyed import Keyed, weigh
from refcount._core.loops import here
from refcount._core.openers import Limits
from refcount._core.registry import registry
from refcount._support.naming import Name
from refcount._support.numbers import check_timeout
from refcount._support.reporting import raise_all

if TYPE_CHECKING:
    from refcount._core.async_openers import AsyncLife

T = TypeVar("T")


class AsyncMember(AsyncSharedResource[T]):
    """The resource of one key.

    Attributes:
        first: The first one of its key, if that was closed and this one came after it: it keeps their place.
    """

    __slots__ = ("first",)

    first: AsyncMember[T]


class AsyncFamily(Keyed[AsyncMember[T]], Generic[T]):
    """Shared resources for tasks, one for each key. What they have of event loops is the resources' own business.

    Args:
        name: Names the family in errors.
        options: What its resources have in common.
        limits: How many of them may be up at once.
    """

    __slots__ = ("_capacity", "options")

    def __init__(self, name: str, options: AsyncOptions[T], limits: Limits) -> None:
        super().__init__(name, limits)
        self.options: AsyncOptions[T] = options
        self._capacity: AsyncCapacity[Generation[object]] | None = None
        if limits.capacity is not None:
            self._capacity = AsyncCapacity(name, limits.capacity, limits.when_full)
            registry.forkables.add(self)

    def make(
        self, key: Hashable, lives: Callable[[], AsyncLife[T]], name: Name, *, weight: float = 1
    ) -> AsyncMember[T]:
        """Return the resource of `key`, which is made if it has none that is not closed.

        Args:
            key: That of which `find` has found none.
            lives: Makes what starts and stops the resource.
            name: Names the resource, or makes its name when somebody asks for it.
            weight: How much of the capacity it takes.

        Raises:
            ClosedError: The family was closed.
            TypeError: The weight is no number.
            ValueError: It is negative, infinite or NaN, or more than the capacity.
        """
        self._refuse_if_closed()
        return self._add(key, self._new(lives, name, weight))

    async def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse newcomers for good, wait for all holders to leave, and see everything stopped.

        `AsyncResourceFunction.close` says the rest.
        """
        seconds = check_timeout(timeout)
        deadline = None if seconds is None else here().now() + seconds
        for member in self._known():
            with member._visit() as by:
                member._refuse_reentry(f"close of {self.name}, and with it", by)
        self._refuse_newcomers()
        members = self._known()
        keepers = [keeper for member in members if (keeper := member._shut(force=force)) is not None]
        for keeper in keepers:
            keeper.expect()
        try:
            late = [member.name for member in members if not await member._wait_quiet(deadline)]
        except BaseException:
            for keeper in keepers:
                keeper.forgo()
            raise
        errors = self._each(keepers, lambda keeper: keeper.settle())[1]
        if late:
            errors.append(TimeoutError(f"{self.name} was still running after {seconds} s: {', '.join(late)}"))
        try:
            raise_all(errors, f"closing {self.name}")
        finally:
            del errors

    def _refuse_newcomers(self) -> None:
        self._closed = True
        if self._capacity is not None:
            self._capacity.close()

    def reset_after_fork(self) -> tuple[()]:
        """Begin anew in a forked child, where another thread's copy of a lock may be held for ever."""
        if self._capacity is not None:
            self._capacity.reset_after_fork()
        return ()

    def _new(self, lives: Callable[[], AsyncLife[T]], name: Name, weight: float) -> AsyncMember[T]:
        slot = None if self._capacity is None else AsyncSlot(self._capacity, weigh(self._capacity, name, weight))
        member: AsyncMember[T] = _new_member(AsyncMember)
        member._setup(lives, name, self.options, slot)
        if slot is not None:
            slot.attach(member)
        return member


_new_member: Callable[[type[Any]], Any] = object.__new__
