"""`BoundMethod`: a shared method of one instance, made anew at each access, as methods are; and whose it is."""
# pyright: reportPrivateUsage=false
# As in `thread_calls`: whether a resource is closed is looked at where it is stored.

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast

from refcount._faces.async_resource_function import AsyncResourceFunction
from refcount._faces.resource_function import ResourceFunction
from refcount._support.binding import Bound
from refcount._support.naming import name_of
from refcount._support.weak import NOBODY, PerInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from refcount._core.async_lease import AsyncLease
    from refcount._core.lease import Lease
    from refcount._faces.async_calls import AsyncCalls
    from refcount._faces.thread_calls import ThreadCalls

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class Unbound(Protocol):
    """What is bound."""

    __name__: str
    __qualname__: str
    _self_attribute: str

    @property
    def __wrapped__(self) -> Callable[..., object]: ...

    @property
    def _self_calls(self) -> PerInstance[Any]: ...  # of threads, or of tasks

    def _self_gives(self) -> object: ...


class BoundMethod(Bound):
    """The method of one instance, whoever drives its resources."""

    __slots__ = ("__func__", "__self__", "__weakref__", "_self_calls")

    if TYPE_CHECKING:
        __func__: Unbound
        _self_calls: Any

    def __init__(self, function: Unbound, instance: object, /) -> None:
        self.__func__ = function
        self.__self__ = instance
        self._self_calls = function._self_calls.get(instance)

    def _self_instance(self) -> object:
        return self.__self__

    def _self_gives(self) -> object:
        return self.__func__._self_gives()

    def _self_help(self) -> str | None:
        return self.__func__.__doc__


# The `__call__` of each says again what `lease` of its calls does, for the instance: a call less on the way to a lease.


class BoundThreadMethod(BoundMethod, ResourceFunction[P, T_co], Generic[P, T_co]):
    """The method of one instance, whose resources threads share."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Lease[T_co]:
        calls: ThreadCalls[T_co] = self._self_calls
        member = None
        if not kwargs:
            try:
                member = calls.recall(args, NOBODY)()
            except TypeError:  # which argument has no hash, `resource` tells
                member = None
        if member is None or member._machine.closed:
            member = calls.resource(args, kwargs, self.__self__)
        return member._new_lease(member)


class BoundTaskMethod(BoundMethod, AsyncResourceFunction[P, T_co], Generic[P, T_co]):
    """The method of one instance, whose resources tasks share."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncLease[T_co]:
        calls: AsyncCalls[T_co] = self._self_calls
        member = None
        if not kwargs:
            try:
                member = calls.recall(args, NOBODY)()
            except TypeError:  # which argument has no hash, `resource` tells
                member = None
        if member is None or member._machine.closed:
            member = calls.resource(args, kwargs, self.__self__)
        return member()


def binder(
    kind: type[BoundMethod], calls_of: Callable[[Any], PerInstance[Any]]
) -> Callable[[Any, object, type[object] | None], object]:
    """Return the `__get__` of methods that are bound as `kind`; `calls_of` finds what belongs to each instance."""
    new: Callable[[type[Any]], Any] = object.__new__

    def __get__(self: Unbound, instance: object, owner: type[object] | None = None, /) -> object:
        if instance is None:
            return self
        # What `kind(self, instance)` comes to, in one call instead of three: this is on the way to every lease.
        store = calls_of(self)
        entry = store.entries.get(id(instance))
        bound = new(kind)
        bound.__func__ = self
        bound.__self__ = instance
        bound._self_calls = entry.value if entry is not None and entry() is instance else store.get(instance)
        return bound

    return __get__


def belongs(method: Unbound, instance: object) -> bool:
    """Return whether the class of `instance` has the method: by its name, or below decorators that show it."""
    name: str = method._self_attribute or method.__name__
    kinds = (*type(instance).__mro__, *(instance.__mro__ if isinstance(instance, type) else ()))
    return any(name in vars(kind) for kind in kinds) or any(
        _leads_to(attribute, method) for kind in kinds for attribute in vars(kind).values()
    )


def _leads_to(attribute: object, method: Unbound) -> bool:
    """Return whether an attribute of a class wraps the method."""
    function: Any = cast("Any", attribute).fget if isinstance(attribute, property) else attribute

    def found(below: object) -> bool:
        return below is method

    try:
        return found(inspect.unwrap(function, stop=found))
    except ValueError:  # it wraps itself
        return False


def misplaced(method: Unbound, *instance: object) -> TypeError:
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
