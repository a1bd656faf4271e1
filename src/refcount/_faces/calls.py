"""Calls of a decorated function: `Calls` are the resources that they lead to, a `Call` is what opens one of them."""
# pyright: reportPrivateUsage=false
# Whether a resource is closed is looked at where it is stored: on the way to a lease, a property would be felt.

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from types import GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import WeakSet

from refcount._core.family import Family, Member
from refcount._core.lease import DEBUG, Lease
from refcount._core.openers import life_of
from refcount._faces.arguments import Args, Arguments, Kwargs
from refcount._faces.decorators import Source, Terms
from refcount._support.reporting import raise_all
from refcount._support.weak import NOBODY, WeakValue

if TYPE_CHECKING:
    from refcount._core.openers import Life

T = TypeVar("T")


class Calls(Family[T]):
    """The resources that the calls of one function lead to, or those of the method of one instance.

    Args:
        source: The function, or the method, which is not bound.
        arguments: Make the keys.
        terms: What the resources have in common, and how many of them may be up at once.
        keep: Whether the resource stays once it is made, with its observers and the numbers of its generations.

    Attributes:
        terms: As they were given.
        recall: Called as `recall(args, NOBODY)`, returns a reference to the resource of a call whose arguments all come
            by position, if it has one and the arguments as they are tell which. It is C code and takes no lock.
    """

    __slots__ = ("_arguments", "_keep", "_kept", "_source", "recall", "terms")

    recall: Callable[[Hashable, WeakValue[Any]], WeakValue[Member[T]]]

    def __init__(self, source: Source[T], arguments: Arguments, terms: Terms[T], *, keep: bool = False) -> None:
        super().__init__(arguments.name, terms, terms.limits)
        self.recall = (self.members if arguments.are_keys else _NOTHING).get
        self.terms: Terms[T] = terms
        self._source = source
        self._arguments = arguments
        self._keep = keep
        self._kept: Member[T] | None = None

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

    def resource(self, args: Args, kwargs: Kwargs, instance: object = None) -> Member[T]:
        """Return the resource of a call, which is made if there is none.

        Args:
            args: By position.
            kwargs: By keyword.
            instance: What the method is called on.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
            ValueError: They weigh more than the capacity.
            ClosedError: It was closed.
        """
        arguments = self._arguments
        key = arguments.key(args, kwargs)
        try:
            place = self.members.get(key)
        except TypeError:
            arguments.refuse_unhashable(args, kwargs)
            raise
        member = None if place is None else place.find()
        if member is None:
            source: Source[T] = self._source if instance is None else MethodType(self._source, instance)
            call = Call(source, arguments, args, kwargs, key)
            weight = arguments.weight(args, kwargs) if arguments.weighs else 1
            member = self.make(key, call, call.__str__, anchored=instance is None, weight=weight)
            if self._keep:
                self._kept = member
        return member

    # All of them at once

    @property
    def usecount(self) -> int:
        """How many leases are held."""
        return sum(member.usecount for member in self.resources())

    def flush(self) -> bool:
        """Stop those that linger; say whether there were any."""
        return any(self._each(lambda member: member.flush(), "flushing"))

    def invalidate(self) -> None:
        """Detach what runs of each of them."""
        self._each(lambda member: member.invalidate(), "invalidating")

    def abandon(self) -> None:
        """Forget what runs of each of them."""
        self._each(lambda member: member.abandon(), "abandoning")

    def _each(self, act: Callable[[Member[T]], object], doing: str) -> list[object]:
        results: list[object] = []
        errors: list[Exception] = []
        for member in self.resources():
            try:
                results.append(act(member))
            except Exception as error:
                errors.append(error)
        raise_all(errors, f"{doing} {self.name}")
        return results


_NOTHING: dict[Hashable, WeakValue[Any]] = {}


class WatchedCalls(Calls[T]):
    """The same in debug mode, where different arguments have one key: tells once of each key that was misunderstood."""

    __slots__ = ("_told",)

    def __init__(self, source: Source[T], arguments: Arguments, terms: Terms[T], *, keep: bool = False) -> None:
        super().__init__(source, arguments, terms, keep=keep)
        self._told: WeakSet[Member[T]] = WeakSet()

    def resource(self, args: Args, kwargs: Kwargs, instance: object = None) -> Member[T]:
        """Return the resource of a call, as `Calls` does, and warn if it was made for other arguments."""
        member = super().resource(args, kwargs, instance)
        first = cast("Call[T]", member._lives)
        if member not in self._told and first.differs(args, kwargs):
            self._told.add(member)
            asked = self._arguments
            text = (
                f"{asked.spelled(args, kwargs)} shares the resource of {first.spelled()}"
                if asked.open
                else (f"{member.name} is asked for with other arguments than it was made with")
            )
            warnings.warn(f"{text}, since their keys are equal", RuntimeWarning, stacklevel=3)
        return member


def calls_of(arguments: Arguments, terms: Terms[Any]) -> type[Calls[Any]]:
    """Return the kind of `Calls` to make."""
    return WatchedCalls if DEBUG and terms.key is not None and not arguments.none else Calls


class Call(Generic[T]):
    """One call: the opener of the resource that it is for, and what that is called.

    Args:
        source: What is decorated.
        arguments: Those of the source.
        args: By position.
        kwargs: By keyword.
        key: What they lead to.
    """

    __slots__ = ("_args", "_arguments", "_key", "_kwargs", "_source")

    def __init__(self, source: Source[T], arguments: Arguments, args: Args, kwargs: Kwargs, key: Hashable) -> None:
        self._source = source
        self._arguments = arguments
        self._args = args
        self._kwargs = kwargs
        self._key = key

    def __call__(self) -> Life[T]:
        """Make the call, and return the life that it begins."""
        opened: object = self._source(*self._args, **self._kwargs)  # whatever the annotations say
        kind = type(opened)
        if kind is GeneratorType:
            return cast("Life[T]", opened)
        if hasattr(kind, "__exit__") or not isinstance(opened, Iterator):
            return life_of(opened, self.__str__)  # or it is something else, which is refused there
        return cast("Life[T]", (value for value in opened))  # only generators can tell where they stand

    def __str__(self) -> str:
        return self._arguments.called(self._args, self._kwargs, self._key)

    def spelled(self) -> str:
        """Return the call as it is written."""
        return self._arguments.spelled(self._args, self._kwargs)

    def differs(self, args: Args, kwargs: Kwargs) -> bool:
        """Return whether these arguments are others; not if that cannot be told, as of data frames."""
        mine = self._arguments.all_values(self._args, self._kwargs)
        for one, other in zip(mine, self._arguments.all_values(args, kwargs), strict=True):
            with suppress(Exception):
                if one is not other and bool(one != other):
                    return True
        return False
