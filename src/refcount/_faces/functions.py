"""`refcounted_resource`: functions whose calls give leases, one resource for each distinct set of arguments.

`Calls` are the resources that calls lead to, a `Call` is what opens one of them.
"""
# A class is a callable as well, so that mypy sees two overloads overlap where one is made for classes.
# mypy: disable-error-code="overload-overlap"
# pyright: reportPrivateUsage=false
# Whether a resource is closed is looked at where it is stored: on the way to a lease, a property would be felt.

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from functools import partial
from types import GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, cast, overload
from weakref import WeakSet

from refcount._core.claim import DEBUG
from refcount._core.family import Family, Member
from refcount._core.lease import Lease
from refcount._core.openers import life_of
from refcount._faces.arguments import Args, Arguments, Kwargs
from refcount._faces.decorators import (
    Source,
    SupportsEnter,
    Terms,
    check_source,
    refuse_method,
    signature_of,
    takes_terms,
    terms_of,
)
from refcount._faces.resource_function import ResourceFunction
from refcount._support.naming import name_of, public
from refcount._support.reporting import raise_all
from refcount._support.weak import NOBODY, WeakValue
from refcount._support.wrapping import Wrapping

if TYPE_CHECKING:
    from refcount._core.openers import Life
    from refcount._faces.decorators import Checked_co, ClassOptions, Decorator, FunctionOptions, LaterOptions

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
C = TypeVar("C", bound=SupportsEnter[Any])  # with `object`, pyright would see two overloads overlap

# Elsewhere `Any` is what the overloads say exactly, and the one implementation of all of them cannot.

WHAT = "@refcounted_resource"


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
        return any(self._all(lambda member: member.flush(), "flushing"))

    def invalidate(self) -> None:
        """Detach what runs of each of them."""
        self._all(lambda member: member.invalidate(), "invalidating")

    def abandon(self) -> None:
        """Forget what runs of each of them."""
        self._all(lambda member: member.abandon(), "abandoning")

    def _all(self, act: Callable[[Member[T]], R], doing: str) -> list[R]:
        results, errors = self._each(self.resources(), act)
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
        differing = [] if member in self._told else first.differing(args, kwargs)
        if differing:
            self._told.add(member)
            asked = self._arguments
            text = (
                f"{asked.spelled(args, kwargs)} shares the resource of {first.spelled()}"
                if asked.open
                else f"{member.name} is asked for with another {' and '.join(differing)} than it was made with"
            )
            warnings.warn(f"{text}, since their keys are equal", RuntimeWarning, stacklevel=3)
        return member


def calls_of(arguments: Arguments, terms: Terms[Any]) -> type[Calls[Any]]:
    """Return the kind of `Calls` to make."""
    return WatchedCalls if DEBUG and terms.key is not None and not arguments.none else Calls


class Call(Generic[T]):
    """One call: the opener of the resource that it is for, and what that is called."""

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

    def differing(self, args: Args, kwargs: Kwargs) -> list[str]:
        """Return which of these arguments are others, as far as that can be told: not of data frames."""
        names: list[str] = []
        others = self._arguments.all_values(args, kwargs)
        for name, mine in self._arguments.all_values(self._args, self._kwargs).items():
            with suppress(Exception):  # what cannot be compared is not told of
                if mine is not others[name] and bool(mine != others[name]):
                    names.append(name)
        return names


class SharedFunction(Wrapping[P], ResourceFunction[P, T_co]):
    """The kind that `refcounted_resource` makes: it looks like the function itself."""

    # A `__call__` in a slot leads past wrapt, whose way to what a proxy has of its own is longer than all the rest.

    __slots__ = ("__call__", "_self_calls")

    def __init__(self, function: Source[T_co], calls: Calls[T_co]) -> None:
        super().__init__(function)
        self._self_calls = calls
        if not TYPE_CHECKING:
            self.__call__ = calls.lease

    def __get__(self, instance: object, owner: type[object] | None = None, /) -> object:
        # It binds to nothing. But that there is a `__get__` makes it a routine for `inspect`, `help()` and Sphinx; and
        # up to 3.12 `classmethod` asks for it, with the class as the instance.
        return self if instance is None or instance is not owner else MethodType(self, instance)

    def __set_name__(self, owner: type[object], name: str) -> None:
        refuse_method(self, owner)

    def _self_made_by(self) -> Callable[..., object]:
        return partial(refcounted_resource, **self._self_calls.terms.given())


@overload
def refcounted_resource(source: type[C], /, **options: Unpack[ClassOptions]) -> type[C]: ...
@overload
def refcounted_resource(
    source: Callable[P, SupportsEnter[T]], /, **options: Unpack[FunctionOptions[T]]
) -> ResourceFunction[P, T]: ...
@overload
def refcounted_resource(
    source: Callable[P, Iterator[T]], /, **options: Unpack[FunctionOptions[T]]
) -> ResourceFunction[P, T]: ...
@overload
def refcounted_resource(
    source: None = None, /, **options: Unpack[LaterOptions[Checked_co]]
) -> Decorator[Checked_co]: ...
@public
@takes_terms
def refcounted_resource(source: Callable[..., Any] | None = None, /, **options: Any) -> object:
    """Share what a generator function yields, or what the instances of a class are.

    Of a function, each call gives a lease instead of running it. The first lease for some arguments runs the function
    up to its `yield`, everyone meanwhile shares the value that it yielded, and after the last lease it runs on to its
    end. It reads like `contextlib.contextmanager`: swap the one for the other, and the with-statements stay as they
    are. But what a with-body raises is not thrown into the function: others may still be using the resource.

    Calls share a resource when their arguments are equal, however they are spelled: by position, by keyword, a default
    left out or written out. Equal means `==`, as for `functools.lru_cache`: 1, 1.0 and True are the same. The function
    is called with the arguments as they were spelled first.

    A function that `contextmanager` has wrapped, or whose annotation says that it returns a context manager, may be
    decorated as well, but nothing asynchronous. For methods there is `refcounted_method`.

    A class stays the class, and the with-statement of each of its instances becomes shared: the first entry runs its
    own `__enter__`, the last exit its own `__exit__`. That always gets (None, None, None), whatever a with-body raised,
    and what it returns is ignored: one consumer's error is not the others'. So a class that rolls back when the body
    raises, or swallows what it raised, is not one to share. A class takes none of the options that are for many
    resources: `key`, `capacity`, `weight` and `when_full`. It must be a new one: a class that its module has already is
    refused, but one that a function or `type(...)` has made a while ago looks like a new one, and is changed.

    The functions given as `name`, `key` and `weight` are called with all arguments of a call, defaults included: by
    position as the function itself takes them, or by keyword if they can take them only so, as `lambda host, **_: host`
    can. The type of `check`, `key` and their kin follows from the function, so that lambdas will do.

    Args:
        source: What is decorated; left out, a decorator with the options that were given is returned.
        **options: The following.
        linger: How many seconds a resource stays up after its last lease, as in `SharedResource`.
        check: Asked before a value that is up is handed to a newcomer, as in `SharedResource`.
        overlap: Start anew at once while the old generation still stops, as in `SharedResource`.
        exclusive: Never have two generations of one resource at once, as in `SharedResource`.
        own_thread: Run start and stop of each generation in a thread of its own, as in `SharedResource`.
        at_exit: Whether what is up when the process ends is stopped, "stop", or left, "leave".
        name: Names the resources: a text, which the arguments follow, as in `name(0)`; or a function of the arguments
            that returns the whole name. Only a function keeps out what must not stand in a log. It is asked when
            somebody wants to know; if it fails, the function's name is used. By default the function's name, with the
            arguments, or with what `key` made of them. Of a class, its resources' name.
        key: Returns what the resource of a call is found by, instead of the arguments. In debug mode (`-X dev` or
            REFCOUNT_DEBUG=1) a call whose key is that of a resource with other arguments gets a warning.
        capacity: How many resources may be not idle at once, 1 or more; or with `weight`, how much they may weigh
            together. When there is no room, those that have lingered longest are stopped first.
        weight: Returns how much of the capacity a resource takes: 0 or more, and not more than the capacity.
        when_full: What a newcomer does if that is not enough: "wait", in order of coming, or "raise" `CapacityError`.
            A thread that would wait for a lease that it has itself entered gets `ReentrantError`; one that came from
            `acquire` it may wait for in vain: give it a timeout.

    Returns:
        A `ResourceFunction`; of a class, the same class.

    Raises:
        TypeError: It cannot be shared, or an option has the wrong type, or can never take the arguments.
        ValueError: An option has no meaning, or no effect.

    Example:
        >>> from collections.abc import Generator
        >>> from refcount import refcounted_resource
        >>> @refcounted_resource
        ... def camera(index: int) -> Generator[str]:
        ...     print(f"start {index}")
        ...     yield f"camera {index}"
        ...     print(f"stop {index}")
        >>> with camera(0) as first, camera(index=0) as second:
        ...     print(first, "and", second)
        start 0
        camera 0 and camera 0
        stop 0
        >>> @refcounted_resource(capacity=20.0, weight=lambda name, size: size, linger=60.0)
        ... def model(name: str, size: float) -> Generator[str]:
        ...     yield name
        ...     print("unload", name)
        >>> with model("small", 8.0):
        ...     pass
        >>> with model("large", 15.0):
        ...     print("loaded")
        unload small
        loaded
        >>> model.flush()
        unload large
        True
    """
    terms = terms_of(WHAT, options)

    def decorate(source: Callable[..., Any]) -> object:
        if inspect.isclass(source):
            terms.refuse_for_class(f"{WHAT} on {name_of(source)}")
            return _shared_class(source, terms)
        check_source(WHAT, source)
        name = terms.name if isinstance(terms.name, str) else name_of(source)
        arguments = Arguments(name, signature_of(source), terms)
        return SharedFunction(source, calls_of(arguments, terms)(source, arguments, terms, keep=arguments.none))

    return decorate if source is None else decorate(source)


def _shared_class(cls: type[Any], terms: Terms[Any]) -> object:
    from refcount._faces.classes import shared_class  # not before it is needed: most users decorate functions

    return shared_class(cls, terms, terms.name)
