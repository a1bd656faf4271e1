"""What only checkers look at: what is asked of the things that users bring, and what the decorators make of them."""
# A class is a callable as well, so that mypy sees two overloads overlap where one is made for classes.
# mypy: disable-error-code="overload-overlap"

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Never, ParamSpec, Protocol, overload

if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Literal, TypeAlias

    from typing_extensions import TypedDict, TypeVar

    from refcount._faces.methods import ResourceClassMethod, ResourceMethod
    from refcount._faces.resource_function import ResourceFunction
else:
    from typing import TypeVar

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)
V_contra = TypeVar("V_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)
B_co = TypeVar("B_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)
D_co = TypeVar("D_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)


class SupportsEnter(Protocol[T_co]):
    """What a with-statement asks for; entering it gives a `T_co`."""

    # Three parameters and no `*exc`: a protocol with `*exc` is not met by the usual `__exit__` of three.

    def __enter__(self) -> T_co: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> object: ...


C = TypeVar("C", bound=SupportsEnter[Any])  # with `object`, pyright would see two overloads overlap

if TYPE_CHECKING:
    V = TypeVar("V")
    Checked_co = TypeVar("Checked_co", covariant=True, default=Never)
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
        """What all have, less what depends on what they are for."""

        linger: float
        overlap: bool
        exclusive: bool
        own_thread: bool
        at_exit: Literal["stop", "leave"]

    class ClassOptions(_Options, total=False, closed=True):
        """The options for a class."""

        name: str | OfArguments[str] | None
        check: Callable[[Any], bool] | None  # no type says what the `__enter__` of a class gives

    class _KeyedOptions(_Options, total=False):
        """What all have that make several resources."""

        name: str | OfArguments[str] | None
        key: OfArguments[Hashable] | None
        capacity: float | None
        weight: OfArguments[float] | None
        when_full: Literal["wait", "raise"]

    class FunctionOptions(_KeyedOptions, Generic[T], total=False, closed=True):
        """The options for a function or a method that is there already."""

        check: Callable[[T], bool] | None

    class AttributeOptions(_Options, total=False, closed=True):
        """The options for an attribute, less its check."""

        name: str | Callable[[Any], str] | None

    class LaterOptions(_KeyedOptions, Generic[Checked_co], total=False, closed=True):
        """Options that come before what is decorated.

        A check is bound to the value that it takes. A lambda has no types here: the other arm is for it, and mypy takes
        that for a function as well, so that only the others see where one does not fit.
        """

        check: Callable[[Any], bool] | Callable[[Checked_co], bool] | None

    # What the decorators are when their options come first. `V` is what the check takes, and `Never` without one.

    class Decorator(Protocol[Checked_co]):
        """Decorates classes that can be entered, generator functions, and functions that return context managers."""

        @overload
        def __call__(self, source: type[C], /) -> type[C]: ...
        @overload
        def __call__(self: Decorator[Never], source: Callable[P, SupportsEnter[T]], /) -> ResourceFunction[P, T]: ...
        @overload
        def __call__(self: Decorator[Never], source: Callable[P, Iterator[T]], /) -> ResourceFunction[P, T]: ...
        @overload
        def __call__(self: Decorator[V], source: Callable[P, SupportsEnter[V]], /) -> ResourceFunction[P, V]: ...
        @overload
        def __call__(self: Decorator[V], source: Callable[P, Iterator[V]], /) -> ResourceFunction[P, V]: ...

    class MethodDecorator(Protocol[Checked_co]):
        """Decorates methods, and class methods."""

        @overload
        def __call__(
            self: MethodDecorator[Never], source: Callable[Concatenate[type[S], P], SupportsEnter[T]], /
        ) -> ResourceClassMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never], source: Callable[Concatenate[type[S], P], Iterator[T]], /
        ) -> ResourceClassMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never], source: Callable[Concatenate[S, P], SupportsEnter[T]], /
        ) -> ResourceMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never], source: Callable[Concatenate[S, P], Iterator[T]], /
        ) -> ResourceMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[V], source: Callable[Concatenate[type[S], P], SupportsEnter[V]], /
        ) -> ResourceClassMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V], source: Callable[Concatenate[type[S], P], Iterator[V]], /
        ) -> ResourceClassMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V], source: Callable[Concatenate[S, P], SupportsEnter[V]], /
        ) -> ResourceMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V], source: Callable[Concatenate[S, P], Iterator[V]], /
        ) -> ResourceMethod[P, V]: ...


# What `refcounted_attribute` is when its options come first. A check is bound to what the method gives by a pair of
# signatures, both of which a method must have: the one is held against the check, the other says what it gives. A
# lambda checks whatever comes.


class CheckFor(Generic[V_contra]):
    """Stands for the value of an attribute that has no method yet, but a check of a `V`, or none."""


class MethodGiving(Protocol[V_co, T_co]):
    """A generator method whose value is a `V` as well as a `T`."""

    @overload
    def __call__(self, instance: Never, /) -> Iterator[V_co]: ...
    @overload
    def __call__(self, instance: Any, /) -> Iterator[T_co]: ...


# What `uses` gives: one class for each number of resources, as no signature says "as many". They only remove the
# parameters that are filled in, so that one pair serves functions, generators, coroutines and asynchronous generators.


class Uses1(Protocol[A_co]):
    """Decorates functions, and methods, that get the value of `a`."""

    @overload
    def __call__(self, function: Callable[Concatenate[A_co, P], R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[S, A_co, P], R], /) -> Callable[Concatenate[S, P], R]: ...


class Uses2(Protocol[A_co, B_co]):
    """Decorates functions, and methods, that get the values of `a, b`."""

    @overload
    def __call__(self, function: Callable[Concatenate[A_co, B_co, P], R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[S, A_co, B_co, P], R], /) -> Callable[Concatenate[S, P], R]: ...


class Uses3(Protocol[A_co, B_co, C_co]):
    """Decorates functions, and methods, that get the values of `a, b, c`."""

    @overload
    def __call__(self, function: Callable[Concatenate[A_co, B_co, C_co, P], R], /) -> Callable[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, A_co, B_co, C_co, P], R], /
    ) -> Callable[Concatenate[S, P], R]: ...


class Uses4(Protocol[A_co, B_co, C_co, D_co]):
    """Decorates functions, and methods, that get the values of `a, b, c, d`."""

    @overload
    def __call__(self, function: Callable[Concatenate[A_co, B_co, C_co, D_co, P], R], /) -> Callable[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, A_co, B_co, C_co, D_co, P], R], /
    ) -> Callable[Concatenate[S, P], R]: ...


class Uses5(Protocol[A_co, B_co, C_co, D_co, E_co]):
    """Decorates functions, and methods, that get the values of `a, b, c, d, e`."""

    @overload
    def __call__(self, function: Callable[Concatenate[A_co, B_co, C_co, D_co, E_co, P], R], /) -> Callable[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, A_co, B_co, C_co, D_co, E_co, P], R], /
    ) -> Callable[Concatenate[S, P], R]: ...
