"""What checkers see of the decorators: the options that each takes, and what it makes of what it decorates."""
# A class is a callable as well, so that mypy sees two overloads overlap where one is made for classes.
# mypy: disable-error-code="overload-overlap"

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, Never, ParamSpec, Protocol, final, overload

if TYPE_CHECKING:
    from typing import TypeAlias

    from typing_extensions import TypedDict, TypeVar

    from refcount._faces.async_resource_function import AsyncResourceFunction
    from refcount._faces.methods import (
        AsyncResourceClassMethod,
        AsyncResourceMethod,
        ResourceClassMethod,
        ResourceMethod,
    )
    from refcount._faces.resource_function import ResourceFunction
else:
    from typing import TypeVar

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)
V_contra = TypeVar("V_contra", contravariant=True)


class SupportsEnter(Protocol[T_co]):
    """What a with-statement asks for; entering it gives a `T_co`."""

    # Three parameters and no `*exc`: a protocol with `*exc` is not met by the usual `__exit__` of three.

    def __enter__(self) -> T_co: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> object: ...


class SupportsAsyncEnter(Protocol[T_co]):
    """What an asynchronous with-statement asks for."""

    async def __aenter__(self) -> T_co: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> object: ...


A = TypeVar("A", bound=SupportsAsyncEnter[Any])
C = TypeVar("C", bound=SupportsEnter[Any])  # with `object`, pyright would see two overloads overlap

if TYPE_CHECKING:
    V = TypeVar("V")
    Checked_co = TypeVar("Checked_co", covariant=True, default=Never)
    Driver_co = TypeVar("Driver_co", covariant=True, default=Any)
    Made_co = TypeVar("Made_co", covariant=True)

    # Functions of the arguments. What they take is the decorated function's to say, and nobody knows it where they come
    # first, so that any callable will do. One arm for each number of parameters gives pyright the types of a lambda's,
    # which it refuses to leave open; it takes the first arm that fits. The last arm is for everything else.

    class _Named(Protocol[Made_co]):
        """Takes the first argument, and leaves out the others by name."""

        def __call__(self, first: Any, /, **more: Any) -> Made_co: ...

    class _Any(Protocol[Made_co]):
        """Takes whatever it takes."""

        @property
        def __call__(self) -> Callable[..., Made_co]: ...

    OfArguments: TypeAlias = (
        Callable[[Any], Made_co]
        | Callable[[Any, Any], Made_co]
        | Callable[[Any, Any, Any], Made_co]
        | Callable[[Any, Any, Any, Any], Made_co]
        | _Any[Made_co]
        | _Named[Made_co]
    )

    # Options, each written once. No Python yet can close a `TypedDict`, and one that is open lets every typo through in
    # ty; so they are for checkers only.

    class _Options(TypedDict, total=False):
        """What all have, less what depends on what they are for, and on who drives that."""

        linger: float
        overlap: bool
        exclusive: bool
        at_exit: Literal["stop", "leave"]

    class _ThreadOptions(TypedDict, total=False):
        """What threads have besides."""

        own_thread: bool

    class _TaskOptions(TypedDict, total=False):
        """What tasks have besides."""

        stop_timeout: float
        on_failure: Literal["finish", "cancel"]
        per_loop: bool

    class ClassOptions(_Options, _ThreadOptions, total=False, closed=True):
        """The options for a class."""

        name: str | OfArguments[str] | None
        check: Callable[[Any], bool] | None  # no type says what the `__enter__` of a class gives

    class AsyncClassOptions(_Options, _TaskOptions, total=False, closed=True):
        """The options for a class that is entered by `async with`."""

        name: str | OfArguments[str] | None
        check: Callable[[Any], Awaitable[bool] | bool] | None

    class _KeyedOptions(_Options, total=False):
        """What all have that make several resources."""

        name: str | OfArguments[str] | None
        key: OfArguments[Hashable] | None
        capacity: float | None
        weight: OfArguments[float] | None
        when_full: Literal["wait", "raise"]

    class FunctionOptions(_KeyedOptions, _ThreadOptions, Generic[T], total=False, closed=True):
        """The options for a function or a method that is there already."""

        check: Callable[[T], bool] | None

    class AsyncFunctionOptions(_KeyedOptions, _TaskOptions, Generic[T], total=False, closed=True):
        """The options for an asynchronous one."""

        check: Callable[[T], Awaitable[bool] | bool] | None

    # Options that come before what is decorated: those that do for everything, and those that say who drives it.
    #
    # A check is bound to the value that it takes. A lambda has no types here: the other arm is for it, and mypy takes
    # that for a function as well, so that only the others see where one does not fit.

    class LaterOptions(_KeyedOptions, Generic[Checked_co], total=False, closed=True):
        """The options that do for everything."""

        check: Callable[[Any], bool] | Callable[[Checked_co], bool] | None

    class LaterThreadOptions(_KeyedOptions, _ThreadOptions, Generic[Checked_co], total=False, closed=True):
        """Those for threads."""

        check: Callable[[Any], bool] | Callable[[Checked_co], bool] | None

    class LaterTaskOptions(_KeyedOptions, _TaskOptions, Generic[Checked_co], total=False, closed=True):
        """Those for tasks."""

        check: Callable[[Any], Awaitable[bool] | bool] | Callable[[Checked_co], Awaitable[bool] | bool] | None

    class Threads:
        """Stands for what threads drive."""

    class Tasks:
        """Stands for what tasks drive."""

    class Either(Threads, Tasks):
        """Stands for what has no option that says which."""

    # What the decorators are when their options come first. `V` is what the check takes, and `Never` without one. They
    # are no protocols, since mypy would compare those with themselves, signature by signature, for minutes.

    class Decorator(Generic[Checked_co, Driver_co]):
        """Decorates classes that can be entered, generator functions, and functions that return context managers."""

        @overload
        def __call__(self: Decorator[Any, Threads], source: type[C], /) -> type[C]: ...
        @overload
        def __call__(self: Decorator[Any, Tasks], source: type[A], /) -> type[A]: ...
        @overload
        def __call__(
            self: Decorator[Never, Threads], source: Callable[P, SupportsEnter[T]], /
        ) -> ResourceFunction[P, T]: ...
        @overload
        def __call__(
            self: Decorator[Never, Threads], source: Callable[P, Iterator[T]], /
        ) -> ResourceFunction[P, T]: ...
        @overload
        def __call__(
            self: Decorator[Never, Tasks], source: Callable[P, SupportsAsyncEnter[T]], /
        ) -> AsyncResourceFunction[P, T]: ...
        @overload
        def __call__(
            self: Decorator[Never, Tasks], source: Callable[P, AsyncIterator[T]], /
        ) -> AsyncResourceFunction[P, T]: ...
        @overload
        def __call__(
            self: Decorator[V, Threads], source: Callable[P, SupportsEnter[V]], /
        ) -> ResourceFunction[P, V]: ...
        @overload
        def __call__(self: Decorator[V, Threads], source: Callable[P, Iterator[V]], /) -> ResourceFunction[P, V]: ...
        @overload
        def __call__(
            self: Decorator[V, Tasks], source: Callable[P, SupportsAsyncEnter[V]], /
        ) -> AsyncResourceFunction[P, V]: ...
        @overload
        def __call__(
            self: Decorator[V, Tasks], source: Callable[P, AsyncIterator[V]], /
        ) -> AsyncResourceFunction[P, V]: ...
        def __call__(self, source: Any, /) -> Any: ...

    class MethodDecorator(Generic[Checked_co, Driver_co]):
        """Decorates methods, and class methods."""

        @overload
        def __call__(
            self: MethodDecorator[Never, Threads], source: Callable[Concatenate[type[S], P], SupportsEnter[T]], /
        ) -> ResourceClassMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never, Threads], source: Callable[Concatenate[type[S], P], Iterator[T]], /
        ) -> ResourceClassMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never, Tasks], source: Callable[Concatenate[type[S], P], SupportsAsyncEnter[T]], /
        ) -> AsyncResourceClassMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never, Tasks], source: Callable[Concatenate[type[S], P], AsyncIterator[T]], /
        ) -> AsyncResourceClassMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never, Threads], source: Callable[Concatenate[S, P], SupportsEnter[T]], /
        ) -> ResourceMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never, Threads], source: Callable[Concatenate[S, P], Iterator[T]], /
        ) -> ResourceMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never, Tasks], source: Callable[Concatenate[S, P], SupportsAsyncEnter[T]], /
        ) -> AsyncResourceMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never, Tasks], source: Callable[Concatenate[S, P], AsyncIterator[T]], /
        ) -> AsyncResourceMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[V, Threads], source: Callable[Concatenate[type[S], P], SupportsEnter[V]], /
        ) -> ResourceClassMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V, Threads], source: Callable[Concatenate[type[S], P], Iterator[V]], /
        ) -> ResourceClassMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V, Tasks], source: Callable[Concatenate[type[S], P], SupportsAsyncEnter[V]], /
        ) -> AsyncResourceClassMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V, Tasks], source: Callable[Concatenate[type[S], P], AsyncIterator[V]], /
        ) -> AsyncResourceClassMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V, Threads], source: Callable[Concatenate[S, P], SupportsEnter[V]], /
        ) -> ResourceMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V, Threads], source: Callable[Concatenate[S, P], Iterator[V]], /
        ) -> ResourceMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V, Tasks], source: Callable[Concatenate[S, P], SupportsAsyncEnter[V]], /
        ) -> AsyncResourceMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V, Tasks], source: Callable[Concatenate[S, P], AsyncIterator[V]], /
        ) -> AsyncResourceMethod[P, V]: ...
        def __call__(self, source: Any, /) -> Any: ...

    class _AttributeOptions(_Options, total=False):
        """The options for an attribute, less its check, and less those that say who drives it."""

        name: str | Callable[[Any], str] | None

    class LaterAttributeOptions(_AttributeOptions, total=False, closed=True):
        """The same, where there is nothing yet that says so either."""

    class AttributeOptions(_AttributeOptions, _ThreadOptions, total=False, closed=True):
        """Those for an attribute that threads share."""

    class AsyncAttributeOptions(_AttributeOptions, _TaskOptions, total=False, closed=True):
        """Those for an attribute that tasks share."""

    # What `refcounted_attribute` is when its options come first. A check is bound to what the method gives by a pair of
    # signatures, both of which a method must have: the one is held against the check, the other says what it gives. A
    # lambda checks whatever comes.

    @final
    class Unknown:
        """Nothing is one, so that only what is `Any` fits."""

    class CheckFor(Generic[V_contra]):
        """Stands for the value of an attribute that has no method yet, but a check of a `V`, or none."""

    class MethodGiving(Protocol[V_co, T_co]):
        """A generator method whose value is a `V` as well as a `T`."""

        @overload
        def __call__(self, instance: Never, /) -> Iterator[V_co]: ...
        @overload
        def __call__(self, instance: Any, /) -> Iterator[T_co]: ...

    class AsyncMethodGiving(Protocol[V_co, T_co]):
        """The same of an asynchronous generator method."""

        @overload
        def __call__(self, instance: Never, /) -> AsyncIterator[V_co]: ...
        @overload
        def __call__(self, instance: Any, /) -> AsyncIterator[T_co]: ...
