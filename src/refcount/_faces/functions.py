"""`refcounted_resource`: functions whose calls give leases, one resource for each distinct set of arguments."""
# A class is a callable as well, so that mypy sees two overloads overlap where one is made for classes.
# mypy: disable-error-code="overload-overlap"
# pyright: reportPrivateUsage=false
# Whether a resource is closed is looked at where it is stored: on the way to a lease, a property would be felt.

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, Unpack, overload

from refcount._core.family import Family, Limits, Member
from refcount._core.lease import Lease
from refcount._core.openers import Options
from refcount._core.shared import SharedResource
from refcount._faces.arguments import Args, Arguments, Call, Kwargs, Source, check_source, signature_of
from refcount._faces.signatures import SupportsEnter
from refcount._support.checks import check_callable, check_name
from refcount._support.naming import plain_name, public
from refcount._support.weak import NOBODY, WeakValue
from refcount._support.wrapping import Decorated, Wrapping

if TYPE_CHECKING:
    from refcount._faces.signatures import (
        CheckAndKeyOptions,
        CheckedDecorator,
        CheckedKeyedDecorator,
        CheckOptions,
        ClassOptions,
        Decorator,
        FunctionOptions,
        KeyedDecorator,
        KeyOptions,
        PlainOptions,
    )

P = ParamSpec("P")
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
        options: What the resources have in common.
        limits: How many of them may be up at once.
        keep: Whether the resource stays once it is made, with its observers and the numbers of its generations.

    Attributes:
        recall: Called as `recall(args, NOBODY)`, returns a reference to the resource of a call whose arguments all come
            by position, if it has one and the arguments as they are tell which. It is C code and takes no lock.
    """

    __slots__ = ("_arguments", "_keep", "_kept", "_source", "recall")

    recall: Callable[[Hashable, WeakValue[Any]], WeakValue[Member[T]]]

    def __init__(
        self, source: Source[T], arguments: Arguments, options: Options[T], limits: Limits, *, keep: bool = False
    ) -> None:
        super().__init__(arguments.name, options, limits)
        self.recall = (self.members if arguments.are_keys else _NOTHING).get
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
        return self.new_lease(member)

    def resource(self, args: Args, kwargs: Kwargs, instance: object = None) -> Member[T]:
        """Return the resource of a call, which is made if there is none.

        Args:
            args: By position.
            kwargs: By keyword.
            instance: What the method is called on.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
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
            if not arguments.checked:
                arguments.check(args, kwargs)
            source: Source[T] = self._source if instance is None else MethodType(self._source, instance)
            call = Call(source, arguments, args, kwargs)
            member = self.make(key, call, call.__str__, anchored=instance is None)
            if self._keep:
                self._kept = member
        return member


_NOTHING: dict[Hashable, WeakValue[Any]] = {}


@public
class ResourceFunction(Decorated[P], Generic[P, T_co]):
    """A function whose calls give leases; made by `refcounted_resource`. Also a method, as an instance has it.

    There is one `SharedResource` for each distinct set of arguments. It is made when it is first asked for, and kept
    only while it is not idle or somebody refers to it.

    Example:
        >>> from collections.abc import Generator
        >>> from refcount import refcounted_resource
        >>> @refcounted_resource
        ... def camera(index: int, size: int = 1) -> Generator[str]:
        ...     yield f"camera {index}"
        >>> with camera(0) as first, camera(index=0, size=1) as second, camera(1) as other:
        ...     print(first is second, other)
        ...     [resource.name for resource in camera.resources()]
        True camera 1
        ['camera(0)', 'camera(1)']
    """

    __slots__ = ()

    # What a proxy has of its own, and a decorated function is one, must begin with `_self_`.

    def __init__(self, calls: Calls[T_co]) -> None:
        self._self_calls = calls

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Lease[T_co]:
        """Return a new lease, not held yet, of the resource for these arguments: `with camera(0) as device:`.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
            ClosedError: It was closed.
        """
        return self.resource(*args, **kwargs)()

    def __repr__(self) -> str:
        return f"<ResourceFunction {self._self_calls.name}>"

    @property
    def capacity(self) -> int | None:
        """How many of its resources may be not idle at once; None for any number."""
        return self._self_calls.limits.capacity

    def resource(self, /, *args: P.args, **kwargs: P.kwargs) -> SharedResource[T_co]:
        """Return the resource for these arguments, however they are spelled.

        It is made if there is none, or if there is one that was closed.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
            ClosedError: It was closed.

        Example:
            >>> from collections.abc import Generator
            >>> from refcount import refcounted_resource
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> camera.resource(0)
            <SharedResource camera(0), idle, usecount=0>
        """
        return self._self_calls.resource(args, kwargs, self._self_instance())

    def resources(self) -> tuple[SharedResource[T_co], ...]:
        """Return the resources that are not idle, in no particular order.

        A key that waits for a slot is starting, and so is not idle. One whose `state` is idle may be among them, while
        a generation of it that was invalidated is still held.

        Example:
            >>> from collections.abc import Generator
            >>> from refcount import refcounted_resource
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> with camera(0):
            ...     camera.resources()
            (<SharedResource camera(0), running, usecount=1>,)
        """
        return self._self_calls.resources()

    def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse all calls from now on, wait for all holders to leave, and see every resource stopped.

        Harmless when called again. Starts in flight are finished for the consumers who wait on them; those who wait
        because of the capacity get `ClosedError`.

        Args:
            timeout: How many seconds to wait for all of it.
            force: Do not wait for the holders, stop under them.

        Raises:
            TimeoutError: Something was still held, or had not stopped, after `timeout` seconds.
            ReentrantError: Called inside a hook of one of the resources.
            Exception: What a stop raised, if this call made it.
            ExceptionGroup: Several of these.

        Example:
            >>> from collections.abc import Generator
            >>> from refcount import refcounted_resource
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> camera.close()
            >>> camera(0)
            Traceback (most recent call last):
            refcount.ClosedError: camera is closed
        """
        self._self_calls.close(timeout, force=force)

    def _self_instance(self) -> object:
        """Return what it is a method of."""
        return None


class SharedFunction(Wrapping[P], ResourceFunction[P, T_co]):
    """The kind that `refcounted_resource` makes: it looks like the function itself."""

    # A `__call__` in a slot leads past wrapt, whose way to what a proxy has of its own is longer than all the rest.

    __slots__ = ("__call__", "_self_calls")

    def __init__(self, function: Source[T_co], calls: Calls[T_co]) -> None:
        super().__init__(function)
        self._self_calls = calls
        if not TYPE_CHECKING:
            self.__call__ = calls.lease


@overload
def refcounted_resource(source: type[C], /, **options: Unpack[ClassOptions]) -> type[C]: ...
@overload
def refcounted_resource(
    source: Callable[P, SupportsEnter[T]], /, **options: Unpack[FunctionOptions[P, T]]
) -> ResourceFunction[P, T]: ...
@overload
def refcounted_resource(
    source: Callable[P, Iterator[T]], /, **options: Unpack[FunctionOptions[P, T]]
) -> ResourceFunction[P, T]: ...
@overload
def refcounted_resource(source: None = None, /, **options: Unpack[PlainOptions]) -> Decorator: ...
@overload
def refcounted_resource(source: None = None, /, **options: Unpack[CheckOptions[T]]) -> CheckedDecorator[T]: ...
@overload
def refcounted_resource(source: None = None, /, **options: Unpack[KeyOptions[P]]) -> KeyedDecorator[P]: ...
@overload
def refcounted_resource(
    source: None = None, /, **options: Unpack[CheckAndKeyOptions[P, T]]
) -> CheckedKeyedDecorator[P, T]: ...
@public
def refcounted_resource(
    source: Callable[..., Any] | None = None,
    /,
    *,
    linger: float = 0.0,
    check: Callable[[Any], bool] | None = None,
    overlap: bool = False,
    name: str | None = None,
    key: Callable[..., Hashable] | None = None,
    capacity: int | None = None,
    when_full: Literal["wait", "raise"] = "wait",
) -> object:
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
    raises, or swallows what it raised, is not one to share. A class takes neither `key`, `capacity` nor `when_full`.

    Args:
        source: What is decorated; left out, a decorator with the options that were given is returned.
        linger: How many seconds a resource stays up after its last lease, as in `SharedResource`.
        check: Asked before a value that is up is handed to a newcomer, as in `SharedResource`.
        overlap: Start anew at once while the old generation still stops, as in `SharedResource`.
        name: Names the resources, as in `name(0)`; by default the function's name. Of a class, its resources' name.
        key: Called with the arguments of a call; returns what its resource is found by, instead of the arguments.
            Written before the function, a `def` keeps its types exact; a lambda has none.
        capacity: How many resources may be not idle at once, 1 or more. When as many are up, the one that has lingered
            longest is stopped first.
        when_full: What a newcomer does if none lingers: "wait", in order of coming, or "raise" `CapacityError`. Whoever
            takes a lease for one key while it holds another may wait for itself: give `acquire` a timeout.

    Returns:
        A `ResourceFunction`; of a class, the same class.

    Raises:
        TypeError: It cannot be shared, or an option has the wrong type.
        ValueError: An option has no meaning.

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
    """
    options: Options[Any] = Options(linger, check, overlap)
    limits = Limits(capacity, when_full)
    check_name(WHAT, name)
    if key is not None:
        check_callable("key", key)

    def decorate(source: Callable[..., Any]) -> object:
        if inspect.isclass(source):
            if key is not None or capacity is not None or when_full != "wait":
                raise TypeError(f"{WHAT} on {source!r}: a class takes no key, capacity or when_full")
            return _shared_class(source, options, name)
        check_source(WHAT, source)
        arguments = Arguments(plain_name(source) if name is None else name, signature_of(source), key)
        return SharedFunction(source, Calls(source, arguments, options, limits, keep=arguments.none))

    return decorate if source is None else decorate(source)


def _shared_class(cls: type[Any], options: Options[Any], name: str | None) -> object:
    from refcount._faces.classes import shared_class  # not before it is needed: most users decorate functions

    return shared_class(cls, options, name)
