"""`Calls`: the resources that calls of one function lead to, whoever drives them; and `Call`, one of these calls."""
# pyright: reportPrivateUsage=false
# What makes the lives of a resource is the resource's own, and here a `Call`.

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from refcount._core.claim import DEBUG
from refcount._core.keyed import Keyed, KeyedMember
from refcount._support.reporting import raise_all
from refcount._support.weak import WeakValue

if TYPE_CHECKING:
    from refcount._faces.arguments import Args, Arguments, Kwargs
    from refcount._faces.terms import Terms

R = TypeVar("R")


class CalledMember(KeyedMember, Protocol):
    """The resource of one call."""

    _lives: Any
    """What makes its lives: the call."""

    @property
    def name(self) -> str: ...

    @property
    def usecount(self) -> int: ...

    def invalidate(self) -> None: ...

    def abandon(self) -> None: ...


M = TypeVar("M", bound=CalledMember)


class Calls(Keyed[M], Generic[M]):
    """The resources that the calls of one function lead to, or those of the method of one instance.

    What they have in common, and how many of them may be up at once, their drivers' families are told, with which
    those who derive from this make it complete.

    Attributes:
        terms: What was said of them.
        recall: Called as `recall(args, NOBODY)`, returns a reference to the resource of a call whose arguments all come
            by position, if it has one and the arguments as they are tell which. It is C code and takes no lock.
    """

    # The slots are those of the classes that complete it: two bases with slots cannot be one class's.

    if not TYPE_CHECKING:
        __slots__ = ()

    _arguments: Arguments
    _keep: bool
    _kept: M | None
    _source: Callable[..., Any]
    _told: WeakSet[M] | None
    recall: Callable[[Hashable, WeakValue[Any]], WeakValue[M]]
    terms: Terms[Any]

    def _begin(self, source: Callable[..., Any], arguments: Arguments, terms: Terms[Any], *, keep: bool) -> None:
        """Make it ready.

        Args:
            source: The function, or the method, which is not bound.
            arguments: Make the keys.
            terms: What was said of the resources.
            keep: Whether the resource stays once it is made, with its observers and the numbers of its generations.
        """
        self.recall = (self.members if arguments.are_keys else _NOTHING).get
        self.terms = terms
        self._source = source
        self._arguments = arguments
        self._keep = keep
        self._kept = None
        # In debug mode, where different arguments have one key: of which keys it was told that they are misunderstood.
        self._told = WeakSet() if DEBUG and terms.key is not None and not arguments.none else None

    def resource(self, args: Args, kwargs: Kwargs, instance: object = None) -> M:
        """Return the resource of a call, which is made if there is none; of a method, it is called on `instance`.

        `ResourceFunction.resource` says what it raises.
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
            weight = arguments.weight(args, kwargs) if arguments.weighs else 1
            member = self._called(args, kwargs, key, instance, weight)
            if self._keep:
                self._kept = member
        if self._told is not None:
            self._tell_of_misunderstood(member, self._told, args, kwargs)
        return member

    def _called(self, args: Args, kwargs: Kwargs, key: Hashable, instance: object, weight: float) -> M:
        """Make the resource of a call."""
        raise NotImplementedError

    def _tell_of_misunderstood(self, member: M, told: WeakSet[M], args: Args, kwargs: Kwargs) -> None:
        """Warn, once of each resource, if it was made for other arguments than these."""
        first: Call = member._lives
        differing = [] if member in told else first.differing(args, kwargs)
        if differing:
            told.add(member)
            asked = self._arguments
            text = (
                f"{asked.spelled(args, kwargs)} shares the resource of {first.spelled()}"
                if asked.open
                else f"{member.name} is asked for with another {' and '.join(differing)} than it was made with"
            )
            warnings.warn(f"{text}, since their keys are equal", RuntimeWarning, stacklevel=4)

    # All of them at once

    @property
    def usecount(self) -> int:
        """How many leases are held."""
        return sum(member.usecount for member in self.resources())

    def invalidate(self) -> None:
        """Detach what runs of each of them."""
        self._all(lambda member: member.invalidate(), "invalidating")

    def abandon(self) -> None:
        """Forget what runs of each of them."""
        self._all(lambda member: member.abandon(), "abandoning")

    def _all(self, act: Callable[[M], R], doing: str) -> list[R]:
        results, errors = self._each(self.resources(), act)
        raise_all(errors, f"{doing} {self.name}")
        return results


_NOTHING: dict[Hashable, WeakValue[Any]] = {}


class Call:
    """One call, and what the resource is called that it is for; those who derive from it open that."""

    __slots__ = ("_args", "_arguments", "_key", "_kwargs", "_source")

    def __init__(
        self, source: Callable[..., Any], arguments: Arguments, args: Args, kwargs: Kwargs, key: Hashable
    ) -> None:
        self._source = source
        self._arguments = arguments
        self._args = args
        self._kwargs = kwargs
        self._key = key

    def __str__(self) -> str:
        return self._arguments.called(self._args, self._kwargs, self._key)

    def spelled(self) -> str:
        """Return the call as it is written."""
        return self._arguments.spelled(self._args, self._kwargs)

    def differing(self, args: Args, kwargs: Kwargs) -> list[str]:
        """Return which of these arguments are others, as far as that can be told: not of data frames."""
        names: list[str] = []
        others = self._arguments.all_values(args, kwargs)
        for name, mine in self._arguments.all_values(self._args, self._kwargs).items():
            with suppress(Exception):  # what cannot be compared is not told of
                if mine is not others[name] and bool(mine != others[name]):
                    names.append(name)
        return names
