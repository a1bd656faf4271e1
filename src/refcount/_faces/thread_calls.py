"""`ThreadCalls`: what calls of a function lead to that threads share."""
# pyright: reportPrivateUsage=false
# Whether a resource is closed is looked at where it is stored: on the way to a lease, a property would be felt.

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from types import GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from refcount._core.family import Family, Member
from refcount._core.openers import life_of
from refcount._faces.calls import Call, Calls
from refcount._support.naming import name_of
from refcount._support.weak import NOBODY

if TYPE_CHECKING:
    from refcount._core.lease import Lease
    from refcount._core.openers import Life, Options
    from refcount._faces.arguments import Args, Arguments, Kwargs
    from refcount._faces.sources import Source
    from refcount._faces.terms import Terms

T = TypeVar("T")


class ThreadCalls(Calls[Member[T]], Family[T], Generic[T]):
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
        self, source: Source[T], arguments: Arguments, terms: Terms[T], options: Options[T], *, keep: bool = False
    ) -> None:
        super().__init__(arguments.name, options, terms.limits)
        self._begin(source, arguments, terms, keep=keep)

    def lease(self, /, *args: object, **kwargs: object) -> Lease[T]:
        """Return a new lease, not held yet, of the resource of a call; what a function is when it is called."""
        member = None
        if not kwargs:
            try:
                member = self.recall(args, NOBODY)()
            except TypeError:  # which argument has no hash, `resource` tells
                member = None
        if member is None or member._machine.closed:
            member = self.resource(args, kwargs)
        return member._new_lease(member)

    def flush(self) -> bool:
        """Stop those that linger; say whether there were any."""
        return any(self._all(lambda member: member.flush(), "flushing"))

    def _called(self, args: Args, kwargs: Kwargs, key: Hashable, instance: object, weight: float) -> Member[T]:
        source: Callable[..., Any] = self._source if instance is None else MethodType(self._source, instance)
        call: ThreadCall[T] = ThreadCall(source, self._arguments, args, kwargs, key)
        return self.make(key, call, call.__str__, anchored=instance is None, weight=weight)


def thread_calls_of(source: Source[T], arguments: Arguments, terms: Terms[T]) -> Callable[..., ThreadCalls[T]]:
    """Return what makes the `ThreadCalls` of a function, or those of each instance of a method.

    Raises:
        TypeError: An option has no effect on it.
    """
    return partial(ThreadCalls, source, arguments, terms, terms.for_threads(name_of(source)))


class ThreadCall(Call, Generic[T]):
    """One call: the opener of the resource that it is for."""

    __slots__ = ()

    def __call__(self) -> Life[T]:
        """Make the call, and return the life that it begins."""
        opened: object = self._source(*self._args, **self._kwargs)  # whatever the annotations say
        kind = type(opened)
        if kind is GeneratorType:
            return cast("Life[T]", opened)
        if hasattr(kind, "__exit__") or not isinstance(opened, Iterator):
            return life_of(opened, self.__str__)  # or it is something else, which is refused there
        generator = (value for value in cast("Iterator[T]", opened))  # only generators can tell where they stand
        return cast("Life[T]", generator)
