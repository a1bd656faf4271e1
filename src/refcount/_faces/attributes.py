"""`refcounted_attribute`: a descriptor that is a shared resource for each instance."""

# mypy: disable-error-code="valid-type"
# mypy takes a default that stands on another type variable for an error, and binds it all the same.

from __future__ import annotations

import copy
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, Self, TypeVar, Unpack, overload

from refcount._faces.own_resources import OwnResources, kind_of
from refcount._faces.recipes import INSTANCE, Recipe
from refcount._faces.terms import Terms
from refcount._support.checks import check_name, no_name
from refcount._support.naming import name_of, one_line, public, short

if TYPE_CHECKING:
    import typing_extensions

    from refcount._core.async_shared import AsyncSharedResource
    from refcount._core.shared import SharedResource
    from refcount._faces.decorators import (
        AsyncAttributeOptions,
        AsyncMethodGiving,
        AttributeOptions,
        CheckFor,
        Either,
        LaterAttributeOptions,
        MethodGiving,
        Tasks,
        Threads,
        Unknown,
    )

    D = typing_extensions.TypeVar("D", default=object)
    T_co = TypeVar("T_co", covariant=True)
    R_co = typing_extensions.TypeVar("R_co", covariant=True, default=SharedResource[T_co])
else:
    D = TypeVar("D")
    T_co = TypeVar("T_co", covariant=True)
    R_co = TypeVar("R_co", covariant=True)

T = TypeVar("T")
V = TypeVar("V")
W = TypeVar("W")

# Elsewhere `Any` is the instance, of which no type can be known while its class is being made, and what a source or a
# hook is handed.


@public
class refcounted_attribute(Generic[T_co, R_co]):  # read like `property`, which it resembles
    """An attribute that is a shared resource, one for each instance: the instance's first consumer starts it.

    On a generator method it reads like `contextmanager`: what stands before the `yield` starts the resource, what
    stands after it stops it, and the method sees its instance. From a factory it is made with `start` and `stop`. What
    needs an argument is given the instance: a factory that cannot be called without one gets it, as a method of the
    class does; so does a hook that cannot be called with the value alone, and then gets the value second.

    On the class it is the descriptor itself. The resources are kept beside the instances, found by identity: an idle
    one keeps nothing alive, a copy or an unpickled instance has one of its own, and a class with `__slots__` needs
    `__weakref__` among them. One that is given its instance keeps it alive, and so is kept only while it is not idle or
    somebody refers to it; its observers and its generations' numbers go with it. A lease on it that the instance itself
    keeps goes with the instance and is reported; then a generator is closed, as any that is lost, so that only what
    stands in a `finally` is done.

    If the method is an asynchronous generator's, or the factory, `start` or `stop` a coroutine function (which a lambda
    never is, whatever it returns), it is an `AsyncSharedResource`. A lease that an instance itself keeps is then found
    at the end of the event loop, for the task that is to stop the resource has the instance too.

    Args:
        source: A generator method; or a factory, which makes the value, once for each start. Left out, it decorates
            a generator method with the options that were given.
        start: Called with the value of a factory; if it raises, `stop` is called with it, so that nothing half-started
            is left behind.
        stop: Called with the value of a factory to stop it.
        linger: How many seconds the resource stays up after the last lease is gone.
        check, overlap, exclusive, own_thread, at_exit: As in `SharedResource`.
        stop_timeout, on_failure, per_loop: As in `AsyncSharedResource`, for tasks only, who take no `own_thread`.
        name: Names the resources in errors, warnings and reprs: a text, or a function of the instance that is called
            when the name is needed. By default the class and the attribute.

    Raises:
        TypeError: The method, the factory or a hook cannot be called as it will be, or an option has the wrong type.
        ValueError: An option has no meaning, or `exclusive` is asked for together with `overlap`.

    The idea is `functools.cached_property`'s, for something that has an end as well as a beginning.

    Example:
        >>> from collections.abc import Generator
        >>> from refcount import StoppableThread, refcounted_attribute
        >>> class Producer:
        ...     def produce(self, stopping) -> None:
        ...         stopping.wait()
        ...
        ...     @refcounted_attribute
        ...     def thread(self) -> Generator[StoppableThread]:
        ...         thread = StoppableThread(self.produce)
        ...         thread.start()
        ...         yield thread
        ...         thread.stop()
        ...
        ...     ticker = refcounted_attribute(StoppableThread, start=StoppableThread.start, stop=StoppableThread.stop)
        >>> producer = Producer()
        >>> with producer.thread() as first, producer.thread() as second:
        ...     first is second, producer.thread.usecount
        (True, 2)
        >>> producer.thread
        <SharedResource Producer.thread, idle, usecount=0>
    """

    @overload
    def __init__(
        self: refcounted_attribute[CheckFor[D], Either],
        source: None = None,
        /,
        *,
        check: Callable[[Any], bool] | Callable[[D], bool] | None = None,
        **options: Unpack[LaterAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[CheckFor[D], Threads],
        source: None = None,
        /,
        *,
        check: Callable[[Any], bool] | Callable[[D], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[CheckFor[D], Tasks],
        source: None = None,
        /,
        *,
        check: Callable[[Any], Awaitable[bool] | bool] | Callable[[D], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload  # of what gives nobody knows what, which would be something to be awaited as well
    def __init__(
        self: refcounted_attribute[Any, SharedResource[Any]],
        source: Callable[[], Unknown] | Callable[[Any], Unknown],
        /,
        *,
        start: Callable[..., object] | None = None,
        stop: Callable[..., object] | None = None,
        check: Callable[[Any], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[T, AsyncSharedResource[T]],
        source: Callable[[Any], AsyncIterator[T]],
        /,
        *,
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[T, AsyncSharedResource[T]],
        source: Callable[[], Awaitable[T]],
        /,
        *,
        start: Callable[[T], object] | None = None,
        stop: Callable[[T], object] | None = None,
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[T, AsyncSharedResource[T]],
        source: Callable[[Any], Awaitable[T]],
        /,
        *,
        start: Callable[[Any, T], object] | Callable[[T], object] | None = None,
        stop: Callable[[Any, T], object] | Callable[[T], object] | None = None,
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[T, AsyncSharedResource[T]],
        source: Callable[[], T],
        /,
        *,
        start: Callable[[T], object] | None = None,
        stop: Callable[[T], Awaitable[object]],
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[T, AsyncSharedResource[T]],
        source: Callable[[], T],
        /,
        *,
        start: Callable[[T], Awaitable[object]],
        stop: Callable[[T], object] | None = None,
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[T, AsyncSharedResource[T]],
        source: Callable[[Any], T],
        /,
        *,
        start: Callable[[T], object] | None = None,
        stop: Callable[[T], Awaitable[object]],
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[T, AsyncSharedResource[T]],
        source: Callable[[Any], T],
        /,
        *,
        start: Callable[[T], Awaitable[object]],
        stop: Callable[[T], object] | None = None,
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[T, AsyncSharedResource[T]],
        source: Callable[[Any], T],
        /,
        *,
        start: Callable[[Any, T], object] | Callable[[T], object] | None = None,
        stop: Callable[[Any, T], Awaitable[object]],
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: refcounted_attribute[T, AsyncSharedResource[T]],
        source: Callable[[Any], T],
        /,
        *,
        start: Callable[[Any, T], Awaitable[object]],
        stop: Callable[[Any, T], object] | Callable[[T], object] | None = None,
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        **options: Unpack[AsyncAttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[], T_co],
        /,
        *,
        start: Callable[[T_co], object] | None = None,
        stop: Callable[[T_co], object] | None = None,
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[Any], Iterator[T_co]],
        /,
        *,
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[Any], T_co],
        /,
        *,
        start: Callable[[T_co], object] | None = None,
        stop: Callable[[T_co], object] | None = None,
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[Any], T_co],
        /,
        *,
        start: Callable[[Any, T_co], object] | Callable[[T_co], object] | None = None,
        stop: Callable[[Any, T_co], object],
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[Any], T_co],
        /,
        *,
        start: Callable[[Any, T_co], object],
        stop: Callable[[T_co], object] | None = None,
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    def __init__(
        self,
        source: Callable[..., Any] | None = None,
        /,
        *,
        start: Callable[..., object] | None = None,
        stop: Callable[..., object] | None = None,
        linger: float = 0.0,
        check: Callable[[Any], Awaitable[bool] | bool] | None = None,
        overlap: bool = False,
        exclusive: bool = False,
        own_thread: bool = False,
        at_exit: Literal["stop", "leave"] = "stop",
        stop_timeout: float = math.inf,
        on_failure: Literal["finish", "cancel"] = "finish",
        per_loop: bool = False,
        name: str | Callable[[Any], str] | None = None,
    ) -> None:
        check_name("refcounted_attribute", name, INSTANCE)
        options = (linger, check, overlap, exclusive, own_thread, at_exit, stop_timeout, on_failure, per_loop)
        self._terms: Terms[Any] = Terms(*options)
        self._name = one_line(name) if isinstance(name, str) else name
        self._places: OwnResources | None = None
        self._recipe: Recipe | None = None
        if source is not None:
            self._follow(Recipe(source, start, stop))
        elif start is not None or stop is not None:
            raise TypeError("start and stop go with a factory, and this refcounted_attribute has none")

    def _follow(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._kind = kind_of(recipe, self._terms)
        self.__doc__ = recipe.doc

    @overload
    def __call__(
        self: refcounted_attribute[CheckFor[object], Threads], source: Callable[[Any], Iterator[V]], /
    ) -> refcounted_attribute[V]: ...
    @overload
    def __call__(
        self: refcounted_attribute[CheckFor[object], Tasks], source: Callable[[Any], AsyncIterator[V]], /
    ) -> refcounted_attribute[V, AsyncSharedResource[V]]: ...
    @overload
    def __call__(
        self: refcounted_attribute[CheckFor[W], Threads], source: MethodGiving[W, V], /
    ) -> refcounted_attribute[V]: ...
    @overload
    def __call__(
        self: refcounted_attribute[CheckFor[W], Tasks], source: AsyncMethodGiving[W, V], /
    ) -> refcounted_attribute[V, AsyncSharedResource[V]]: ...
    def __call__(self: Any, source: Callable[[Any], Any], /) -> Any:
        if self._recipe is not None:
            raise TypeError(f"{self!r} cannot be called: get it from an instance, and call that")
        made = copy.copy(self)
        made._follow(Recipe(source, None, None))
        return made

    def __set_name__(self, owner: type[object], name: str) -> None:
        if self._recipe is None:
            raise TypeError(
                f"{name_of(owner)}.{name} has nothing to start: write `@refcounted_attribute(...)` above a "
                "generator method, or hand a factory in"
            )
        if self._places is None:  # a second name is another one for the same thing
            self._places = OwnResources(f"{name_of(owner)}.{name}", self._name, self._recipe, self._kind)

    @overload
    def __get__(self, instance: None, owner: type[object], /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> R_co: ...
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> Any:
        if instance is None:
            return self
        if self._places is None:
            raise no_name(self)
        return self._places.resource(instance)

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)  # its second parameter need not be given

    @property
    def __isabstractmethod__(self) -> bool:
        return self._recipe is not None and getattr(self._recipe.source, "__isabstractmethod__", False)

    # Being a data descriptor, it cannot be hidden by what is in the instance's `__dict__`.

    def __set__(self, instance: object, value: Never, /) -> Never:
        if value is self:  # which a dataclass takes for the default of the field
            raise AttributeError(f"{self!r} cannot be a field: leave out its annotation, or make that a ClassVar")
        raise AttributeError(f"{self!r} of {short(instance)} cannot be set to {short(value)}: it is a shared resource")

    def __delete__(self, instance: object, /) -> Never:
        raise AttributeError(f"{self!r} of {short(instance)} cannot be deleted: it is a shared resource")

    def __repr__(self) -> str:
        name = "" if self._places is None else f" {self._places.name}"
        source = "nothing yet" if self._recipe is None else name_of(self._recipe.source)
        return f"<{type(self).__name__}{name} of {source}>"
