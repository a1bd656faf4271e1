"""`AsyncCalls`: what calls of a function lead to that tasks share."""
# pyright: reportPrivateUsage=false
# Whether a resource is closed is looked at where it is stored: on the way to a lease, a property would be felt.

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from functools import partial
from types import AsyncGeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import WeakSet

from refcount._core.async_family import AsyncFamily, AsyncMember
from refcount._core.async_openers import async_life_of
from refcount._core.loops import here
from refcount._faces.calls import Call, Calls
from refcount._support.naming import name_of
from refcount._support.reporting import raise_all
from refcount._support.weak import NOBODY

if TYPE_CHECKING:
    from refcount._core.async_lease import AsyncLease
    from refcount._core.async_openers import AsyncLife, AsyncOptions
    from refcount._core.keeper import Keeper
    from refcount._faces.arguments import Args, Arguments, Kwargs
    from refcount._faces.sources import AsyncSource
    from refcount._faces.terms import Terms

T = TypeVar("T")


class AsyncCalls(Calls[AsyncMember[T]], AsyncFamily[T], Generic[T]):
    """The resources that the calls of one function lead to, or those of the method of one instance.

    Args:
        source: The function, or the method, which is not bound.
        arguments: Make the keys.
        terms: What was said of the resources.
        options: What of that each resource is told.
        keep: Whether the resource stays once it is made, with its observers and the numbers of its generations.
    """

    __slots__ = ("_arguments", "_keep", "_kept", "_source", "_told", "recall", "terms")

    def __init__(
        self,
        source: AsyncSource[T],
        arguments: Arguments,
        terms: Terms[T],
        options: AsyncOptions[T],
        *,
        keep: bool = False,
    ) -> None:
        super().__init__(arguments.name, options, terms.limits)
        self._begin(source, arguments, terms, keep=keep)

    def lease(self, /, *args: object, **kwargs: object) -> AsyncLease[T]:
        """Return a new lease, not held yet, of the resource of a call; what a function is when it is called."""
        member = None
        if not kwargs:
            try:
                member = self.recall(args, NOBODY)()
            except TypeError:  # which argument has no hash, `resource` tells
                member = None
        if member is None or member._machine.closed:
            member = self.resource(args, kwargs)
        return member()

    async def flush(self) -> bool:
        """Stop those that linger, all at once; say whether there were any."""
        found, errors = self._each(self.resources(), _order_flush)
        keepers = [keeper for keeper in found if keeper is not None]
        for keeper in keepers:
            keeper.expect()
        try:
            for keeper in keepers:
                await keeper.ended()
        except BaseException:
            for keeper in keepers:
                keeper.forgo()
            raise
        errors += self._each(keepers, lambda keeper: keeper.settle())[1]
        try:
            raise_all(errors, f"flushing {self.name}")
        finally:
            del errors  # they refer to this frame
        return bool(keepers)

    def shut(self, *, force: bool) -> None:
        """Refuse newcomers for good, and have what is up stopped in its event loop, from another one."""
        self._refuse_newcomers()
        for member in self._known():
            member._shut_from_outside(force=force)

    def _called(self, args: Args, kwargs: Kwargs, key: Hashable, instance: object, weight: float) -> AsyncMember[T]:
        source: Callable[..., Any] = self._source if instance is None else MethodType(self._source, instance)
        call: AsyncCall[T] = AsyncCall(source, self._arguments, args, kwargs, key)
        return self.make(key, call, call.__str__, weight=weight)


def _order_flush(member: AsyncMember[T]) -> Keeper[T] | None:
    with member._visit():
        return member._flush_now()


class LoopsCalls(AsyncCalls[T]):
    """The same of a function of which each event loop has resources of its own: those of the loop that runs here."""

    __slots__ = ("_each_loops",)

    def __init__(
        self,
        source: AsyncSource[T],
        arguments: Arguments,
        terms: Terms[T],
        options: AsyncOptions[T],
        *,
        keep: bool = False,
    ) -> None:
        super().__init__(source, arguments, terms, options, keep=keep)
        self.recall = _KNOWN_TO_NONE.get
        self._each_loops: WeakSet[AsyncCalls[T]] = WeakSet()

    def lease(self, /, *args: object, **kwargs: object) -> AsyncLease[T]:
        """Return a new lease, not held yet, of the resource of a call."""
        return self._own().lease(*args, **kwargs)

    def resource(self, args: Args, kwargs: Kwargs, instance: object = None) -> AsyncMember[T]:
        """Return the resource of a call in this event loop.

        Raises:
            RefcountError: None runs here.
        """
        return self._own().resource(args, kwargs, instance)

    def resources(self) -> tuple[AsyncMember[T], ...]:
        """Return those that are not idle, of all event loops."""
        return tuple(member for calls in self._each_loops for member in calls.resources())

    async def flush(self) -> bool:
        """Stop those of this event loop that linger."""
        return await self._own().flush()

    def invalidate(self) -> None:
        """Detach what runs of each of them in this event loop."""
        self._own().invalidate()

    def abandon(self) -> None:
        """Forget what runs of each of them in this event loop."""
        self._own().abandon()

    async def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse newcomers in all event loops for good; wait for the holders in this one, and see all stopped here."""
        self._closed = True
        mine: AsyncCalls[T] | None = here().owned.get(self)
        for calls in self._each_loops:
            if calls is not mine:
                calls.shut(force=force)
        if mine is not None:
            await mine.close(timeout, force=force)

    def _own(self) -> AsyncCalls[T]:
        owned = here().owned
        own: AsyncCalls[T] | None = owned.get(self)
        if own is None:
            options = self.options.for_one_loop()
            own = AsyncCalls(self._source, self._arguments, self.terms, options, keep=self._keep)
            own._closed = self._closed
            owned[self] = own
            self._each_loops.add(own)
        return own


_KNOWN_TO_NONE: dict[Hashable, Any] = {}


def async_calls_of(source: AsyncSource[T], arguments: Arguments, terms: Terms[T]) -> Callable[..., AsyncCalls[T]]:
    """Return what makes the `AsyncCalls` of a function, or those of each instance of a method.

    Raises:
        TypeError: An option has no effect on it.
    """
    options = terms.for_tasks(name_of(source))
    return partial(LoopsCalls if options.per_loop else AsyncCalls, source, arguments, terms, options)


class AsyncCall(Call, Generic[T]):
    """One call: the opener of the resource that it is for."""

    __slots__ = ()

    def __call__(self) -> AsyncLife[T]:
        """Make the call, and return the life that it begins."""
        opened: object = self._source(*self._args, **self._kwargs)  # whatever the annotations say
        kind = type(opened)
        if kind is AsyncGeneratorType:
            return cast("AsyncLife[T]", opened)
        if hasattr(kind, "__aexit__") or not isinstance(opened, AsyncIterator):
            return async_life_of(opened, self.__str__)  # or it is something else, which is refused there
        return (value async for value in cast("AsyncIterator[T]", opened))
