"""`refcounted_resource`: functions whose calls give leases, one resource for each distinct set of arguments."""
# A class is a callable as well, so that mypy sees two overloads overlap where one is made for classes.
# mypy: disable-error-code="overload-overlap"

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, overload

from refcount._faces.arguments import Arguments
from refcount._faces.async_resource_function import AsyncResourceFunction
from refcount._faces.decorators import SupportsAsyncEnter, SupportsEnter
from refcount._faces.resource_function import ResourceFunction
from refcount._faces.sources import check_source, refuse_method, signature_of
from refcount._faces.terms import Terms, takes_terms, terms_of
from refcount._faces.thread_calls import ThreadCalls, thread_calls_of
from refcount._support.naming import name_of, public
from refcount._support.wrapping import Wrapping

if TYPE_CHECKING:
    from refcount._faces.async_calls import AsyncCalls
    from refcount._faces.decorators import (
        AsyncClassOptions,
        AsyncFunctionOptions,
        Checked_co,
        ClassOptions,
        Decorator,
        Either,
        FunctionOptions,
        LaterOptions,
        LaterTaskOptions,
        LaterThreadOptions,
        Tasks,
        Threads,
    )

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A", bound=SupportsAsyncEnter[Any])
C = TypeVar("C", bound=SupportsEnter[Any])  # with `object`, pyright would see two overloads overlap

# Elsewhere `Any` is what the overloads say exactly, and the one implementation of all of them cannot.

WHAT = "@refcounted_resource"


class _Shared(Wrapping[P], Generic[P]):
    """What functions have in common whose calls give leases: they look like what they are made of."""

    # A `__call__` in a slot leads past wrapt, whose way to what a proxy has of its own is longer than all the rest.

    __slots__ = ("__call__", "_self_calls")

    if TYPE_CHECKING:
        _self_calls: Any  # of threads, or of tasks

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...

    def __init__(self, function: Callable[..., Any], calls: ThreadCalls[Any] | AsyncCalls[Any]) -> None:
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


class SharedFunction(_Shared[P], ResourceFunction[P, T_co], Generic[P, T_co]):
    """The kind that `refcounted_resource` makes of functions for threads."""

    __slots__ = ()


class AsyncSharedFunction(_Shared[P], AsyncResourceFunction[P, T_co], Generic[P, T_co]):
    """The kind that `refcounted_resource` makes of functions for tasks."""

    __slots__ = ()


_KINDS: dict[bool, type[_Shared[...]]] = {False: SharedFunction, True: AsyncSharedFunction}


@overload
def refcounted_resource(source: type[C], /, **options: Unpack[ClassOptions]) -> type[C]: ...
@overload
def refcounted_resource(source: type[A], /, **options: Unpack[AsyncClassOptions]) -> type[A]: ...
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
    source: Callable[P, SupportsAsyncEnter[T]], /, **options: Unpack[AsyncFunctionOptions[T]]
) -> AsyncResourceFunction[P, T]: ...
@overload
def refcounted_resource(
    source: Callable[P, AsyncIterator[T]], /, **options: Unpack[AsyncFunctionOptions[T]]
) -> AsyncResourceFunction[P, T]: ...
@overload
def refcounted_resource(
    source: None = None, /, **options: Unpack[LaterOptions[Checked_co]]
) -> Decorator[Checked_co, Either]: ...
@overload
def refcounted_resource(
    source: None = None, /, **options: Unpack[LaterThreadOptions[Checked_co]]
) -> Decorator[Checked_co, Threads]: ...
@overload
def refcounted_resource(
    source: None = None, /, **options: Unpack[LaterTaskOptions[Checked_co]]
) -> Decorator[Checked_co, Tasks]: ...
@public
@takes_terms
def refcounted_resource(source: Callable[..., Any] | None = None, /, **options: Any) -> object:
    """Share what a generator function yields, or what the instances of a class are, among threads or tasks.

    Of a function, each call gives a lease instead of running it. The first lease for some arguments runs the function
    up to its `yield`, everyone meanwhile shares the value that it yielded, and after the last lease it runs on to its
    end. It reads like `contextlib.contextmanager`: swap the one for the other, and the with-statements stay as they
    are. But what a with-body raises is not thrown into the function: others may still be using the resource.

    Calls share a resource when their arguments are equal, however they are spelled: by position, by keyword, a default
    left out or written out. Equal means `==`, as for `functools.lru_cache`: 1, 1.0 and True are the same. The function
    is called with the arguments as they were spelled first.

    A function that `contextmanager` has wrapped, or whose annotation says that it returns a context manager, may be
    decorated as well. For methods there is `refcounted_method`.

    Of an asynchronous generator function, or one for `async with`, the leases are for tasks, on asyncio and trio:
    `async with camera(0) as device:`. Nobody can see what an unannotated function or a lambda returns: it is taken for
    one of threads. What could be entered both ways is shared by threads.

    A class stays the class, and the with-statement of each of its instances becomes shared: the first entry runs its
    own `__enter__`, the last exit its own `__exit__`. That always gets (None, None, None), whatever a with-body raised,
    and what it returns is ignored: one consumer's error is not the others'. So a class that rolls back when the body
    raises, or swallows what it raised, is not one to share. What has `__aenter__` and `__aexit__` is shared among tasks
    in the same way; what has both pairs has a resource for each. A class takes none of the options that are for many
    resources: `key`, `capacity`, `weight` and `when_full`. It must be a new one: a class that its module has already is
    refused, but one that a function or `type(...)` has made a while ago looks like a new one, and is changed.

    The functions given as `name`, `key` and `weight` are called with all arguments of a call, defaults included: by
    position as the function itself takes them, or by keyword if they can take them only so, as `lambda host, **_: host`
    can. The type of `check`, `key` and their kin follows from the function, so that lambdas will do.

    Args:
        source: What is decorated; left out, a decorator with the options that were given is returned.
        **options: The following.
        linger: How many seconds a resource stays up after its last lease, as in `SharedResource`.
        check: Asked before a value that is up is handed to a newcomer, as in `SharedResource`. Of what tasks share, it
            may be a coroutine function.
        overlap: Start anew at once while the old generation still stops, as in `SharedResource`.
        exclusive: Never have two generations of one resource at once, as in `SharedResource`.
        own_thread: Run start and stop of each generation in a thread of its own, as in `SharedResource`. Not for tasks,
            where they run in a task of their own.
        at_exit: Whether what is up when the process, or the event loop, ends is stopped, "stop", or left, "leave".
        stop_timeout: For tasks only: how many seconds a stop may take, as in `AsyncSharedResource`.
        on_failure: For tasks only: what becomes of the holders when something fails inside of what is up, as in
            `AsyncSharedResource`.
        per_loop: For tasks only: have resources, and a capacity, for each event loop, as in `AsyncSharedResource`.
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
        ImportError: It is for tasks, and anyio is not installed; the extra `async` brings it.

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
        return _shared_function(source, terms, for_tasks=check_source(WHAT, source))

    return decorate if source is None else decorate(source)


def _shared_function(source: Callable[..., Any], terms: Terms[Any], *, for_tasks: bool) -> object:
    arguments = Arguments(terms.name_of(source), signature_of(source), terms)
    make: Callable[..., Any] = thread_calls_of
    if for_tasks:
        from refcount._faces.async_calls import async_calls_of  # not before it is needed: it stands on anyio

        make = async_calls_of
    return _KINDS[for_tasks](source, make(source, arguments, terms)(keep=arguments.none))


def _shared_class(cls: type[Any], terms: Terms[Any]) -> object:
    from refcount._faces.classes import shared_class  # not before it is needed: most users decorate functions

    return shared_class(cls, terms)
