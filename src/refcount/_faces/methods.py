"""`refcounted_method`: methods whose calls give leases, with resources of its own for each instance.

The instances know nothing of it: what belongs to each is kept in a `PerInstance`, by identity and weakly, and refers
neither to the instance nor, but weakly, to the resources. A resource refers to the instance, by the method that is to
run on to stop it; so a lease on it keeps the instance, and one that the instance itself keeps goes with it.
"""
# pyright: reportPrivateUsage=false
# As in `functions`: whether a resource is closed is looked at where it is stored.

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from refcount._core.family import Limits
from refcount._core.lease import Lease
from refcount._core.openers import Options
from refcount._faces.arguments import Arguments, Source, check_source, signature_of
from refcount._faces.functions import Calls, ResourceFunction
from refcount._support.checks import check_callable, check_name, function_of
from refcount._support.naming import name_of, plain_name, public
from refcount._support.weak import NOBODY, PerInstance
from refcount._support.wrapping import Wrapping

if TYPE_CHECKING:
    from refcount._faces.signatures import (
        CheckAndKeyOptions,
        CheckedKeyedMethodDecorator,
        CheckedMethodDecorator,
        CheckOptions,
        FunctionOptions,
        KeyedMethodDecorator,
        KeyOptions,
        MethodDecorator,
        PlainOptions,
        SupportsEnter,
    )

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

WHAT = "@refcounted_method"


@public
class ResourceMethod(Wrapping[P], Generic[P, T_co]):
    """A method whose calls give leases; made by `refcounted_method`. On an instance it reads as a `ResourceFunction`.

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

    __slots__ = ("_self_calls",)

    def __init__(self, source: Source[T_co], arguments: Arguments, options: Options[T_co], limits: Limits) -> None:
        super().__init__(source)
        make: Callable[[], Calls[T_co]] = partial(Calls, source, arguments, options, limits)
        self._self_calls: PerInstance[Calls[T_co]] = PerInstance(arguments.name, make)
        self._self_attribute = ""

    def __repr__(self) -> str:
        return f"<ResourceMethod {_calls_of(self).name}>"

    def __set_name__(self, owner: type[object], name: str) -> None:
        # A second name, or a second class (`@dataclass(slots=True)` makes one), is another way to the same method.
        self._self_attribute = self._self_attribute or name

    @overload
    def __get__(self, instance: None, owner: type[object], /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> ResourceFunction[P, T_co]: ...
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> Self | ResourceFunction[P, T_co]:
        if instance is None:
            return self
        # What `_BoundMethod(self, instance)` comes to, in one call instead of three: this is on the way to every lease.
        store: PerInstance[Calls[T_co]] = _calls_of(self)
        entry = store.entries.get(id(instance))
        bound: _BoundMethod[P, T_co] = _new(_BoundMethod)
        bound.__func__ = self
        bound.__self__ = instance
        bound._self_calls = entry.value if entry is not None and entry() is instance else store.get(instance)
        return bound


if TYPE_CHECKING:

    class _Bound:
        """What any bound method has, besides all that its function has."""

else:

    class _Bound:
        """What any bound method has, besides all that its function has."""

        __slots__ = ()

        __class__ = property(lambda self: MethodType)
        __wrapped__ = property(lambda self: MethodType(self.__func__, self.__self__))

        def __getattr__(self, name):
            if name == "__func__":
                raise AttributeError(name)  # it is not made yet
            try:
                return getattr(self.__func__, name)
            except AttributeError:
                if name.startswith("_"):
                    raise  # the repr would ask for the same, while it is being made
                raise AttributeError(f"{self!r} has no attribute {name!r}", name=name, obj=self) from None

        def __dir__(self):
            own = (name for name in dir(type(self)) if not name.startswith("_"))
            return sorted({*dir(self.__func__), "__func__", "__self__", "__wrapped__", *own})

        def __eq__(self, other, /):
            if not isinstance(other, _Bound):
                return NotImplemented
            return self.__self__ is other.__self__ and self.__func__ is other.__func__

        def __hash__(self):
            return hash((id(self.__self__), self.__func__))

        def __deepcopy__(self, memo):
            return type(self)(self.__func__, copy.deepcopy(self.__self__, memo))

        def __reduce_ex__(self, protocol):
            return getattr, (self.__self__, self.__func__._self_attribute or self.__name__)


class _BoundMethod(_Bound, ResourceFunction[P, T_co]):
    """The method of one instance; made anew at each access, as methods are."""

    __slots__ = ("__func__", "__self__", "__weakref__", "_self_calls")

    def __init__(self, function: ResourceMethod[P, T_co], instance: object, /) -> None:
        self.__func__ = function
        self.__self__ = instance
        self._self_calls = _calls_of(function).get(instance)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Lease[T_co]:
        calls = self._self_calls
        member = None
        if not kwargs:
            try:
                member = calls.recall(args, NOBODY)()
            except TypeError:  # which argument has no hash, `resource` tells
                member = None
        if member is None or member._machine.closed:
            member = calls.resource(args, kwargs, self.__self__)
        return calls.new_lease(member)

    def _self_instance(self) -> object:
        return self.__self__


class _Text(str):
    """A text that is an attribute of a class, while its instances show that of their function under the same name."""

    attribute = ""

    def __get__(self, bound: _BoundMethod[..., object] | None, owner: type) -> str:
        text: str = self if bound is None else getattr(bound.__func__, self.attribute)
        return text


def _show_text_of_function(attribute: str) -> None:
    text = _Text(getattr(_BoundMethod, attribute) or "")
    text.attribute = attribute
    setattr(_BoundMethod, attribute, text)


_show_text_of_function("__doc__")
_show_text_of_function("__module__")

_new: Callable[[type[Any]], Any] = object.__new__

# wrapt's way to what a proxy has of its own is long, and the slot itself knows a shorter one.
_calls_of: Callable[[Any], PerInstance[Calls[Any]]] = vars(ResourceMethod)["_self_calls"].__get__


@overload
def refcounted_method(
    source: Callable[Concatenate[S, P], SupportsEnter[T]], /, **options: Unpack[FunctionOptions[P, T]]
) -> ResourceMethod[P, T]: ...
@overload
def refcounted_method(
    source: Callable[Concatenate[S, P], Iterator[T]], /, **options: Unpack[FunctionOptions[P, T]]
) -> ResourceMethod[P, T]: ...
@overload
def refcounted_method(source: None = None, /, **options: Unpack[PlainOptions]) -> MethodDecorator: ...
@overload
def refcounted_method(source: None = None, /, **options: Unpack[CheckOptions[T]]) -> CheckedMethodDecorator[T]: ...
@overload
def refcounted_method(source: None = None, /, **options: Unpack[KeyOptions[P]]) -> KeyedMethodDecorator[P]: ...
@overload
def refcounted_method(
    source: None = None, /, **options: Unpack[CheckAndKeyOptions[P, T]]
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
    so that `producer.feed` has all that a `ResourceFunction` has. Nothing is kept in the instances, which may be
    unhashable, and be copied and pickled: a copy has resources of its own. An instance is kept alive while one of its
    resources is not idle, and not otherwise. In a subclass, the method that overrides and the one that is overridden
    are two.

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
    options: Options[Any] = Options(linger, check, overlap)
    limits = Limits(capacity, when_full)
    check_name(WHAT, name)
    if key is not None:
        check_callable("key", key)

    def decorate(source: Callable[..., Any]) -> object:
        check_source(WHAT, source)
        full_name = plain_name(source) if name is None else name
        return ResourceMethod(source, Arguments(full_name, _without_instance(source), key), options, limits)

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
