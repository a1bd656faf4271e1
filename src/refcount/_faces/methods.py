"""`refcounted_method`: methods whose calls give leases, with resources of its own for each instance.

The instances know nothing of it: what belongs to each is kept in a `PerInstance`, by identity and weakly, and refers
neither to the instance nor, but weakly, to the resources. A resource refers to the instance, by the method that is to
run on to stop it; so a lease on it keeps the instance, and one that the instance itself keeps goes with it.
"""
# A class method is a method as well, so that mypy sees two overloads overlap where one is made for them.
# mypy: disable-error-code="overload-overlap"
# pyright: reportPrivateUsage=false
# As in `thread_calls`: whether a resource is closed is looked at where it is stored.

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Never, ParamSpec, Self, TypeVar, Unpack, cast, overload

from refcount._faces.arguments import Arguments
from refcount._faces.async_resource_function import AsyncResourceFunction, TaskShared
from refcount._faces.bound_methods import BoundMethod, BoundTaskMethod, BoundThreadMethod, belongs, binder, misplaced
from refcount._faces.decorators import SupportsAsyncEnter, SupportsEnter
from refcount._faces.resource_function import ResourceFunction, ThreadShared
from refcount._faces.sources import check_source, signature_of
from refcount._faces.terms import Terms, takes_terms, terms_of
from refcount._faces.thread_calls import thread_calls_of
from refcount._support.checks import function_of
from refcount._support.naming import name_of, public
from refcount._support.weak import PerInstance, made_once
from refcount._support.wrapping import Wrapping

if TYPE_CHECKING:
    from refcount._core.async_lease import AsyncLease
    from refcount._core.lease import Lease
    from refcount._faces.decorators import (
        AsyncFunctionOptions,
        Checked_co,
        Either,
        FunctionOptions,
        LaterOptions,
        LaterTaskOptions,
        LaterThreadOptions,
        MethodDecorator,
        Tasks,
        Threads,
    )

MYPY = False  # what mypy takes for true, and others do not

P = ParamSpec("P")
Owner = TypeVar("Owner")
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

WHAT = "@refcounted_method"


class Method(Wrapping[P], Generic[P]):
    """What methods and class methods have in common."""

    __slots__ = ("_self_calls", "_self_terms")

    # There is no `__init__`, which `help()` would show to users, who do not make these; so `_made` does what it would.

    if TYPE_CHECKING:
        _self_calls: PerInstance[Any]
        _self_terms: Terms[Any]
        _self_attribute: str
        _self_bound: type[BoundMethod]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {_calls_of(self).name}>"

    def __set_name__(self, owner: type[object], name: str) -> None:
        # A second name, or a second class (`@dataclass(slots=True)` makes one), is another way to the same method.
        self._self_attribute = self._self_attribute or name

    if not TYPE_CHECKING:

        def __call__(self, /, *args, **kwargs):
            # As of any method: `Base.feed(self)`, and what decorators above it call.
            if not args or not belongs(self, args[0]):
                raise misplaced(self, *args[:1])
            return self._self_bound(self, args[0])(*args[1:], **kwargs)

    def _self_made_by(self) -> Callable[..., object]:
        return made_once(self, partial(refcounted_method, **self._self_terms.given()))


# wrapt's way to what a proxy has of its own is long, and the slot itself knows a shorter one.
_calls_of: Callable[[Any], PerInstance[Any]] = vars(Method)["_self_calls"].__get__


class ThreadMethod(Method[P], ThreadShared[P], Generic[P, T_co]):
    """A method whose resources threads share, of instances or of classes."""

    __slots__ = ()
    _self_bound = BoundThreadMethod

    if TYPE_CHECKING and not MYPY:  # which binds a method before it compares it with a protocol's

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Lease[T_co]: ...  # pyright looks for it


class TaskMethod(Method[P], TaskShared[P], Generic[P, T_co]):
    """A method whose resources tasks share, of instances or of classes."""

    __slots__ = ()
    _self_bound = BoundTaskMethod

    if TYPE_CHECKING and not MYPY:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncLease[T_co]: ...


@public
class ResourceMethod(ThreadMethod[P, T_co], Generic[P, T_co]):
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

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type[object], /) -> Self: ...
        @overload  # of a method that gives `Self`, mypy does not know it before there is an instance
        def __get__(
            self: ResourceMethod[P, Never], instance: Owner, owner: type[object] | None = None, /
        ) -> ResourceFunction[P, Owner]: ...
        @overload
        def __get__(self, instance: object, owner: type[object] | None = None, /) -> ResourceFunction[P, T_co]: ...
        def __get__(self, instance: object, owner: type[object] | None = None, /) -> object: ...

    else:
        __get__ = binder(BoundThreadMethod, _calls_of)


@public
class AsyncResourceMethod(TaskMethod[P, T_co], Generic[P, T_co]):
    """A method whose calls give leases for tasks; on an instance it reads as an `AsyncResourceFunction`.

    It is made by `refcounted_method`, of an asynchronous generator method.

    Example:
        >>> import asyncio
        >>> from collections.abc import AsyncGenerator
        >>> from refcount import refcounted_method
        >>> class Producer:
        ...     @refcounted_method
        ...     async def feed(self, topic: str) -> AsyncGenerator[str]:
        ...         yield f"feed of {topic}"
        >>> async def main(producer):
        ...     async with producer.feed("news") as feed:
        ...         print(feed, producer.feed.resources())
        >>> asyncio.run(main(Producer()))
        feed of news (<AsyncSharedResource Producer.feed('news'), running, usecount=1>,)
        >>> Producer.feed
        <AsyncResourceMethod Producer.feed>
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type[object], /) -> Self: ...
        @overload
        def __get__(
            self: AsyncResourceMethod[P, Never], instance: Owner, owner: type[object] | None = None, /
        ) -> AsyncResourceFunction[P, Owner]: ...
        @overload
        def __get__(self, instance: object, owner: type[object] | None = None, /) -> AsyncResourceFunction[P, T_co]: ...
        def __get__(self, instance: object, owner: type[object] | None = None, /) -> object: ...

    else:
        __get__ = binder(BoundTaskMethod, _calls_of)


class ClassMethod(Method[P]):
    """What class methods have in common: each class has resources of its own, subclasses too."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __get__(self, instance, owner=None, /):
            return self._self_bound(self, type(instance) if owner is None else owner)

    def _self_source(self) -> object:
        function: Any = self.__wrapped__
        return cast("object", classmethod(function))


class ResourceClassMethod(ClassMethod[P], ThreadMethod[P, T_co], Generic[P, T_co]):
    """The same as a `ResourceMethod`, of a class method."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def __get__(
            self: ResourceClassMethod[P, Never], instance: object, owner: type[Owner], /
        ) -> ResourceFunction[P, Owner]: ...
        @overload
        def __get__(self, instance: object, owner: type[object] | None = None, /) -> ResourceFunction[P, T_co]: ...
        def __get__(self, instance: object, owner: type[object] | None = None, /) -> object: ...


class AsyncResourceClassMethod(ClassMethod[P], TaskMethod[P, T_co], Generic[P, T_co]):
    """The same as an `AsyncResourceMethod`, of a class method."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def __get__(
            self: AsyncResourceClassMethod[P, Never], instance: object, owner: type[Owner], /
        ) -> AsyncResourceFunction[P, Owner]: ...
        @overload
        def __get__(self, instance: object, owner: type[object] | None = None, /) -> AsyncResourceFunction[P, T_co]: ...
        def __get__(self, instance: object, owner: type[object] | None = None, /) -> object: ...


_KINDS: dict[tuple[bool, bool], type[Method[...]]] = {
    (False, False): ResourceMethod,
    (False, True): ResourceClassMethod,
    (True, False): AsyncResourceMethod,
    (True, True): AsyncResourceClassMethod,
}
"""What is made, by whether tasks share it, and whether it is of the class."""


def _made(function: Callable[..., Any], terms: Terms[Any], *, of_class: bool) -> object:
    for_tasks = check_source(WHAT, function)
    arguments = Arguments(terms.name_of(function), _without_instance(function), terms)
    method = _KINDS[for_tasks, of_class](function)
    make: Callable[[], object]
    if for_tasks:
        from refcount._faces.async_calls import async_calls_of  # not before it is needed: it stands on anyio

        make = async_calls_of(function, arguments, terms)
    else:
        make = thread_calls_of(function, arguments, terms)
    method._self_calls = PerInstance(arguments.name, make)
    method._self_terms = terms
    method._self_attribute = ""
    return method


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
    source: Callable[Concatenate[type[S], P], SupportsAsyncEnter[T]], /, **options: Unpack[AsyncFunctionOptions[T]]
) -> AsyncResourceClassMethod[P, T]: ...
@overload
def refcounted_method(
    source: Callable[Concatenate[type[S], P], AsyncIterator[T]], /, **options: Unpack[AsyncFunctionOptions[T]]
) -> AsyncResourceClassMethod[P, T]: ...
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
    source: Callable[Concatenate[S, P], SupportsAsyncEnter[T]], /, **options: Unpack[AsyncFunctionOptions[T]]
) -> AsyncResourceMethod[P, T]: ...
@overload
def refcounted_method(
    source: Callable[Concatenate[S, P], AsyncIterator[T]], /, **options: Unpack[AsyncFunctionOptions[T]]
) -> AsyncResourceMethod[P, T]: ...
@overload
def refcounted_method(
    source: None = None, /, **options: Unpack[LaterOptions[Checked_co]]
) -> MethodDecorator[Checked_co, Either]: ...
@overload
def refcounted_method(
    source: None = None, /, **options: Unpack[LaterThreadOptions[Checked_co]]
) -> MethodDecorator[Checked_co, Threads]: ...
@overload
def refcounted_method(
    source: None = None, /, **options: Unpack[LaterTaskOptions[Checked_co]]
) -> MethodDecorator[Checked_co, Tasks]: ...
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

    Of an asynchronous generator method, the leases are for tasks. A lease that an instance itself keeps is found at the
    end of the event loop then, for the task that is to stop the resource has the instance as well.

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
        stop_timeout: As for `refcounted_resource`.
        on_failure: As for `refcounted_resource`.
        per_loop: As for `refcounted_resource`.
        name: As for `refcounted_resource`; by default the method's name, with its class. No function that is an option
            gets the instance.
        key: As for `refcounted_resource`.
        capacity: As for `refcounted_resource`, for each instance.
        weight: As for `refcounted_resource`.
        when_full: As for `refcounted_resource`.

    Returns:
        A `ResourceMethod`, or an `AsyncResourceMethod` of what is asynchronous.

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
        of_class = isinstance(source, classmethod)
        function: Any = source
        return _made(function.__func__ if of_class else function, terms, of_class=of_class)

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
