"""`refcounted_method`: methods whose calls give leases, with resources of its own for each instance.

The instances know nothing of it: what belongs to each is kept in a `PerInstance`, by identity and weakly, and refers
neither to the instance nor, but weakly, to the resources. A resource refers to the instance, by the method that is to
run on to stop it; so a lease on it keeps the instance, and one that the instance itself keeps goes with it.
"""
# A class method is a method as well, so that mypy sees two overloads overlap where one is made for them.
# mypy: disable-error-code="overload-overlap"
# pyright: reportPrivateUsage=false
# As in `functions`: whether a resource is closed is looked at where it is stored.

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Never, ParamSpec, Self, TypeVar, Unpack, cast, overload

from refcount._core.lease import Lease
from refcount._faces.arguments import Arguments
from refcount._faces.decorators import Source, Terms, check_source, signature_of, takes_terms, terms_of
from refcount._faces.functions import Calls, calls_of
from refcount._faces.resource_function import ResourceFunction, Shared
from refcount._support.checks import function_of
from refcount._support.naming import name_of, public
from refcount._support.weak import NOBODY, PerInstance, made_once
from refcount._support.wrapping import Wrapping

if TYPE_CHECKING:
    from refcount._faces.decorators import Checked_co, FunctionOptions, LaterOptions, MethodDecorator, SupportsEnter

MYPY = False  # what mypy takes for true, and others do not

P = ParamSpec("P")
Owner = TypeVar("Owner")
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

WHAT = "@refcounted_method"


class _Method(Shared[P], Wrapping[P], Generic[P, T_co]):
    """What methods and class methods have in common."""

    __slots__ = ("_self_calls", "_self_terms")

    # There is no `__init__`, which `help()` would show to users, who do not make these; so `_made` does what it would.

    if TYPE_CHECKING:
        _self_calls: PerInstance[Calls[T_co]]
        _self_terms: Terms[T_co]
        _self_attribute: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {_calls_of(self).name}>"

    def __set_name__(self, owner: type[object], name: str) -> None:
        # A second name, or a second class (`@dataclass(slots=True)` makes one), is another way to the same method.
        self._self_attribute = self._self_attribute or name

    if TYPE_CHECKING:
        if not MYPY:  # which binds a method before it compares it with a protocol's; pyright looks for a `__call__`

            def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Lease[T_co]: ...

    else:

        def __call__(self, /, *args, **kwargs):
            # As of any method: `Base.feed(self)`, and what decorators above it call.
            if not args or not _belongs(self, args[0]):
                raise _misplaced(self, *args[:1])
            return _BoundMethod(self, args[0])(*args[1:], **kwargs)

    def _self_made_by(self) -> Callable[..., object]:
        return made_once(self, partial(refcounted_method, **self._self_terms.given()))


@public
class ResourceMethod(_Method[P, T_co], Generic[P, T_co]):
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

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[object], /) -> Self: ...
    @overload  # of a method that gives `Self`, mypy does not know it before there is an instance
    def __get__(
        self: ResourceMethod[P, Never], instance: Owner, owner: type[object] | None = None, /
    ) -> ResourceFunction[P, Owner]: ...
    @overload
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> ResourceFunction[P, T_co]: ...
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> object:
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


class ResourceClassMethod(_Method[P, T_co], Generic[P, T_co]):
    """The same of a class method: each class has resources of its own, subclasses too."""

    __slots__ = ()

    @overload
    def __get__(
        self: ResourceClassMethod[P, Never], instance: object, owner: type[Owner], /
    ) -> ResourceFunction[P, Owner]: ...
    @overload
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> ResourceFunction[P, T_co]: ...
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> object:
        return _BoundMethod(self, type(instance) if owner is None else owner)

    def _self_source(self) -> object:
        function: Any = self.__wrapped__
        return cast("object", classmethod(function))


def _made(kind: type[_Method[..., T]], source: Source[T], arguments: Arguments, terms: Terms[T]) -> object:
    method = kind(source)
    make: Callable[[], Calls[T]] = partial(calls_of(arguments, terms), source, arguments, terms)
    method._self_calls = PerInstance(arguments.name, make)
    method._self_terms = terms
    method._self_attribute = ""
    return method


def _belongs(method: _Method[..., object], instance: object) -> bool:
    """Return whether the class of `instance` has the method: by its name, or below decorators that show it."""
    name: str = method._self_attribute or method.__name__
    kinds = (*type(instance).__mro__, *(instance.__mro__ if isinstance(instance, type) else ()))
    return any(name in vars(kind) for kind in kinds) or any(
        _leads_to(attribute, method) for kind in kinds for attribute in vars(kind).values()
    )


def _leads_to(attribute: object, method: _Method[..., object]) -> bool:
    """Return whether an attribute of a class wraps the method."""
    function: Any = cast("Any", attribute).fget if isinstance(attribute, property) else attribute

    def found(below: object) -> bool:
        return below is method

    try:
        return found(inspect.unwrap(function, stop=found))
    except ValueError:  # it wraps itself
        return False


def _misplaced(method: _Method[..., object], *instance: object) -> TypeError:
    """Return the error of a call on nothing, or on what has no such method."""
    name = method.__qualname__
    if "." not in name_of(method.__wrapped__):
        return TypeError(f"{name} is no method: decorate functions with @refcounted_resource")
    if not instance:
        return TypeError(f"{name} is a method: get it from an instance, and call that")
    return TypeError(
        f"{name} is a method, and what it is called with first, of the type {name_of(type(instance[0]))}, is "
        "no instance of its class; under @staticmethod, write @refcounted_resource"
    )


if TYPE_CHECKING:

    class _Bound:
        """What any bound method has, besides all that its function has."""

else:

    class _Module(str):
        """The module of a class, while its instances show that of their function."""

        def __get__(self, instance, owner):
            return self if instance is None else instance.__func__.__module__

    class _Bound:
        """What any bound method has, besides all that its function has."""

        __slots__ = ()

        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.__module__ = _Module(cls.__module__)

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
                raise self._self_missing(name) from None

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

    def __init__(self, function: _Method[P, T_co], instance: object, /) -> None:
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
        return member._new_lease(member)

    def _self_instance(self) -> object:
        return self.__self__

    def _self_gives(self) -> object:
        return self.__func__._self_gives()

    def _self_help(self) -> str | None:
        return self.__func__.__doc__


_new: Callable[[type[Any]], Any] = object.__new__

# wrapt's way to what a proxy has of its own is long, and the slot itself knows a shorter one.
_calls_of: Callable[[Any], PerInstance[Calls[Any]]] = vars(_Method)["_self_calls"].__get__


@overload
def refcounted_method(
    source: Callable[Concatenate[type[S], P], SupportsEnter[T]], /, **options: Unpack[FunctionOptions[T]]
) -> ResourceClassMethod[P, T]: ...
@overload
def refcounted_method(
    source: Callable[Concatenate[type[S], P], Iterator[T]], /, **options: Unpack[FunctionOptions[T]]
) -> ResourceClassMethod[P, T]: ...
@overload
def refcounted_method(
    source: Callable[Concatenate[S, P], SupportsEnter[T]], /, **options: Unpack[FunctionOptions[T]]
) -> ResourceMethod[P, T]: ...
@overload
def refcounted_method(
    source: Callable[Concatenate[S, P], Iterator[T]], /, **options: Unpack[FunctionOptions[T]]
) -> ResourceMethod[P, T]: ...
@overload
def refcounted_method(
    source: None = None, /, **options: Unpack[LaterOptions[Checked_co]]
) -> MethodDecorator[Checked_co]: ...
@public
@takes_terms
def refcounted_method(source: Callable[..., Any] | None = None, /, **options: Any) -> object:
    """Share what a generator method yields: `refcounted_resource` for methods.

    Each instance has resources of its own, one for each distinct set of arguments. They are found by attribute access,
    so that `producer.feed` has all that a `ResourceFunction` has. Nothing is kept in the instances, which may be
    unhashable, and be copied and pickled: a copy has resources of its own. An instance is kept alive while one of its
    resources is not idle, and not otherwise. In a subclass, the method that overrides and the one that is overridden
    are two. A lease that an instance itself keeps goes with it and is reported; then the method is closed, as any
    generator that is lost, so that of what would stop the resource only what stands in a `finally` is done.

    Instances must allow weak references: a class with `__slots__` needs `__weakref__` among them.

    It may stand above `@classmethod`; each class has resources of its own then. For mypy, a method with `**kwargs` must
    say that it takes its instance by position: `self, /, **kwargs`.

    Args:
        source: The method; left out, a decorator with the options that were given is returned.
        **options: The following.
        linger: Seconds, as for `refcounted_resource`.
        check: As for `refcounted_resource`.
        overlap: As for `refcounted_resource`.
        exclusive: As for `refcounted_resource`.
        own_thread: As for `refcounted_resource`.
        at_exit: As for `refcounted_resource`.
        name: As for `refcounted_resource`; by default the method's name, with its class. No function that is an option
            gets the instance.
        key: As for `refcounted_resource`.
        capacity: As for `refcounted_resource`, for each instance.
        weight: As for `refcounted_resource`.
        when_full: As for `refcounted_resource`.

    Returns:
        A `ResourceMethod`.

    Raises:
        TypeError: It cannot be shared, or an option has the wrong type, or can never take the arguments.
        ValueError: An option has no meaning, or no effect.

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
    terms = terms_of(WHAT, options)

    def decorate(source: Any) -> object:
        function: Any = source
        kind: type[_Method[..., Any]] = ResourceMethod
        if isinstance(source, classmethod):
            kind, function = ResourceClassMethod, function.__func__
        check_source(WHAT, function)
        name = terms.name if isinstance(terms.name, str) else name_of(function)
        return _made(kind, function, Arguments(name, _without_instance(function), terms), terms)

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
