"""`refcounted_method`: methods whose calls give leases, with resources of its own for each instance.

The instances know nothing of it: a family for each is kept in a `PerInstance`, by identity and weakly. A family does
not keep its instance alive, and neither does an idle resource that nobody refers to; one that is not idle does, by the
method that would have to run on to stop it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar, cast, overload

from refcount._core.family import Family, Terms
from refcount._core.per_instance import PerInstance
from refcount._faces.arguments import Arguments, signature_of
from refcount._faces.decoratable import Source, check_source
from refcount._faces.protocols import SupportsEnter
from refcount._faces.resource_function import Resource
from refcount._support.callables import function_of, name_of, plain_name
from refcount._support.checks import check_callable, check_name
from refcount._support.public import public
from refcount._support.wrapping import Wrapping

if TYPE_CHECKING:
    from refcount._faces.signatures import (
        CheckedKeyedMethodDecorator,
        CheckedMethodDecorator,
        KeyedMethodDecorator,
        MethodDecorator,
    )

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

WHAT = "@refcounted_method"


@public
class ResourceMethod(Wrapping[P], Generic[P, T_co]):
    """A method whose calls give leases; made by `refcounted_method`. On an instance it reads as a `Resource`.

    Example:
        >>> from collections.abc import Generator
        >>> from refcount import refcounted_method
        >>> class Producer:
        ...     @refcounted_method
        ...     def feed(self, topic: str) -> Generator[str]:
        ...         yield f"feed of {topic}"
        >>> producer = Producer()
        >>> with producer.feed("news") as feed:
        ...     print(feed, producer.feed.resources())
        feed of news (<SharedResource Producer.feed('news'), running, usecount=1>,)
        >>> producer.feed.resources(), Producer.feed
        ((), <ResourceMethod Producer.feed>)
    """

    def __init__(self, source: Source[T_co], arguments: Arguments, terms: Terms[T_co]) -> None:
        super().__init__(source)
        self._self_arguments = arguments
        self._self_source = source
        self._self_new_family = partial(Family[T_co], arguments.name, terms)
        self._self_families = PerInstance[Family[T_co]](arguments.name)
        self._self_attribute = ""

    def __repr__(self) -> str:
        return f"<ResourceMethod {self._self_arguments.name}>"

    def __set_name__(self, owner: type[object], name: str) -> None:
        # A second name, or a second class (`@dataclass(slots=True)` makes one), is another way to the same method.
        self._self_attribute = self._self_attribute or name

    @overload
    def __get__(self, instance: None, owner: type[object], /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> Resource[P, T_co]: ...
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> Self | Resource[P, T_co]:
        if instance is None:
            return self
        return _Bound(
            MethodType(cast("Callable[P, T_co]", self), instance),  # checkers see no `__call__` on it, on purpose
            self._self_arguments,
            self._self_families.get(instance, self._self_new_family),
            MethodType(self._self_source, instance),
        )


class _Bound(Resource[P, T_co]):
    """The method of one instance; made anew at each access, as methods are."""

    if not TYPE_CHECKING:

        def __eq__(self, other, /):
            return isinstance(other, _Bound) and self.__wrapped__ == other.__wrapped__

        def __hash__(self):
            return hash(self.__wrapped__)

        def __reduce_ex__(self, protocol):
            return getattr, (self.__self__, self.__func__._self_attribute or self.__name__)


# The options and their types are those of `refcounted_resource` in `_decorators`: keep the two lists alike. `Any` is
# what the overloads say exactly, and the one implementation of all of them cannot.


@overload
def refcounted_method(
    source: Callable[Concatenate[S, P], SupportsEnter[T]],
    /,
    *,
    linger: float = 0.0,
    check: Callable[[T], bool] | None = None,
    overlap: bool = False,
    name: str | None = None,
    key: Callable[P, Hashable] | None = None,
    capacity: int | None = None,
    when_full: Literal["wait", "raise"] = "wait",
) -> ResourceMethod[P, T]: ...
@overload
def refcounted_method(
    source: Callable[Concatenate[S, P], Iterator[T]],
    /,
    *,
    linger: float = 0.0,
    check: Callable[[T], bool] | None = None,
    overlap: bool = False,
    name: str | None = None,
    key: Callable[P, Hashable] | None = None,
    capacity: int | None = None,
    when_full: Literal["wait", "raise"] = "wait",
) -> ResourceMethod[P, T]: ...
@overload
def refcounted_method(
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
) -> MethodDecorator: ...
@overload
def refcounted_method(
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
) -> CheckedMethodDecorator[T]: ...
@overload
def refcounted_method(
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
) -> KeyedMethodDecorator[P]: ...
@overload
def refcounted_method(
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
) -> CheckedKeyedMethodDecorator[P, T]: ...
@public
def refcounted_method(
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
    """Share what a generator method yields: `refcounted_resource` for methods.

    Each instance has resources of its own, one for each distinct set of arguments. They are found by attribute access,
    so that `producer.feed` has all that a `Resource` has. Nothing is kept in the instances, which may be unhashable,
    and be copied and pickled: a copy has resources of its own. An instance is kept alive while one of its resources is
    not idle, and not otherwise. In a subclass, the method that overrides and the one that is overridden are two.

    Instances must allow weak references: a class with `__slots__` needs `__weakref__` among them.

    Write `@refcounted_method` above `@override`, which pyright refuses to see above it. For mypy, a method with
    `**kwargs` must say that it takes its instance by position: `self, /, **kwargs`.

    Args:
        source: The method; left out, a decorator with the options that were given is returned.
        linger: Seconds, as for `refcounted_resource`.
        check: As for `refcounted_resource`.
        overlap: As for `refcounted_resource`.
        name: Names the resources, as in `name('news')`; by default the method's name, with its class.
        key: As for `refcounted_resource`; it does not get the instance.
        capacity: As for `refcounted_resource`, for each instance.
        when_full: As for `refcounted_resource`.

    Returns:
        A `ResourceMethod`.

    Raises:
        TypeError: It cannot be shared, or an option has the wrong type.
        ValueError: An option has no meaning.

    Example:
        >>> from collections.abc import Generator
        >>> from refcount import refcounted_method
        >>> class Producer:
        ...     @refcounted_method
        ...     def feed(self) -> Generator[list[int]]:
        ...         print("start")
        ...         yield [1, 2, 3]
        ...         print("stop")
        >>> producer = Producer()
        >>> with producer.feed() as feed, producer.feed() as same:
        ...     feed is same
        start
        True
        stop
    """
    terms = Terms(linger, check, overlap, capacity, when_full)
    check_name(WHAT, name)
    if key is not None:
        check_callable("key", key)

    def decorate(source: Callable[..., Any]) -> object:
        check_source(WHAT, source)
        full_name = plain_name(source) if name is None else name
        return ResourceMethod(source, Arguments(full_name, _without_instance(source), key), terms)

    return decorate if source is None else decorate(source)


def _without_instance(source: Callable[..., object]) -> inspect.Signature:
    """Return the method's signature as it is on an instance."""
    signature = signature_of(source)
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        raise TypeError(
            f"{WHAT} needs a method, which takes its instance first; `{name_of(function_of(source))}` does not"
        )
    if parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]
    return signature.replace(parameters=parameters)
