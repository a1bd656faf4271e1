"""`refcounted_resource`: functions whose calls give leases, one resource for each distinct set of arguments."""
# A class is a callable as well, so that mypy sees two overloads overlap where one is made for classes.
# mypy: disable-error-code="overload-overlap"

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from refcount._core.family import Family, Terms
from refcount._faces.arguments import Arguments, signature_of
from refcount._faces.decoratable import check_source
from refcount._faces.protocols import SupportsEnter
from refcount._faces.resource_function import Resource
from refcount._support.callables import plain_name
from refcount._support.checks import check_callable, check_name
from refcount._support.public import public

if TYPE_CHECKING:
    from refcount._faces.signatures import CheckedDecorator, CheckedKeyedDecorator, Decorator, KeyedDecorator

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=SupportsEnter[Any])  # with `object`, pyright would see two overloads overlap

# Elsewhere `Any` is what the overloads say exactly, and the one implementation of all of them cannot.

WHAT = "@refcounted_resource"


# The options and their types are those of `refcounted_method` in `_methods`: keep the two lists alike.


@overload
def refcounted_resource(
    source: type[C],
    /,
    *,
    linger: float = 0.0,
    check: Callable[[Any], bool] | None = None,  # no type says what the `__enter__` of a `C` gives
    overlap: bool = False,
    name: str | None = None,
) -> type[C]: ...
@overload
def refcounted_resource(
    source: Callable[P, SupportsEnter[T]],
    /,
    *,
    linger: float = 0.0,
    check: Callable[[T], bool] | None = None,
    overlap: bool = False,
    name: str | None = None,
    key: Callable[P, Hashable] | None = None,
    capacity: int | None = None,
    when_full: Literal["wait", "raise"] = "wait",
) -> Resource[P, T]: ...
@overload
def refcounted_resource(
    source: Callable[P, Iterator[T]],
    /,
    *,
    linger: float = 0.0,
    check: Callable[[T], bool] | None = None,
    overlap: bool = False,
    name: str | None = None,
    key: Callable[P, Hashable] | None = None,
    capacity: int | None = None,
    when_full: Literal["wait", "raise"] = "wait",
) -> Resource[P, T]: ...
@overload
def refcounted_resource(
    source: None = None,
    /,
    *,
    linger: float = 0.0,
    check: None = None,
    overlap: bool = False,
    name: str | None = None,
    key: None = None,
    capacity: int | None = None,
    when_full: Literal["wait", "raise"] = "wait",
) -> Decorator: ...
@overload
def refcounted_resource(
    source: None = None,
    /,
    *,
    linger: float = 0.0,
    check: Callable[[T], bool],
    overlap: bool = False,
    name: str | None = None,
    key: None = None,
    capacity: int | None = None,
    when_full: Literal["wait", "raise"] = "wait",
) -> CheckedDecorator[T]: ...
@overload
def refcounted_resource(
    source: None = None,
    /,
    *,
    linger: float = 0.0,
    check: None = None,
    overlap: bool = False,
    name: str | None = None,
    key: Callable[P, Hashable],
    capacity: int | None = None,
    when_full: Literal["wait", "raise"] = "wait",
) -> KeyedDecorator[P]: ...
@overload
def refcounted_resource(
    source: None = None,
    /,
    *,
    linger: float = 0.0,
    check: Callable[[T], bool],
    overlap: bool = False,
    name: str | None = None,
    key: Callable[P, Hashable],
    capacity: int | None = None,
    when_full: Literal["wait", "raise"] = "wait",
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
        A `Resource`; of a class, the same class.

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
    terms = Terms(linger, check, overlap, capacity, when_full)
    check_name(WHAT, name)
    if key is not None:
        check_callable("key", key)

    def decorate(source: Callable[..., Any]) -> object:
        if inspect.isclass(source):
            if key is not None or capacity is not None or when_full != "wait":
                raise TypeError(f"{WHAT} on {source!r}: a class takes no key, capacity or when_full")
            return _shared_class(source, terms, name)
        check_source(WHAT, source)
        arguments = Arguments(plain_name(source) if name is None else name, signature_of(source), key)
        return Resource(source, arguments, Family(arguments.name, terms), source)

    return decorate if source is None else decorate(source)


def _shared_class(cls: type[Any], terms: Terms[Any], name: str | None) -> object:
    from refcount._faces.classes import shared_class  # not before it is needed: most users decorate functions

    return shared_class(cls, linger=terms.linger, check=terms.check, overlap=terms.overlap, name=name)
