"""What only checkers look at: what is asked of the things that users bring, and what the decorators make of them."""
# A class is a callable as well, so that mypy sees two overloads overlap where one is made for classes.
# mypy: disable-error-code="overload-overlap"

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, Never, ParamSpec, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Required

    from typing_extensions import TypedDict

    from refcount._faces.functions import ResourceFunction
    from refcount._faces.methods import ResourceMethod

K = ParamSpec("K")
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
V = TypeVar("V")
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

# Options. Where they hold a function of the user's, what comes of them is bound to its types: a `check` to the value
# that it takes, a `key` to its parameters.

if TYPE_CHECKING:  # no Python yet can close a `TypedDict`, and one that is open lets every typo through in ty

    class _Options(TypedDict, total=False):
        """What all have."""

        linger: float
        overlap: bool
        name: str | None

    class ClassOptions(_Options, total=False, closed=True):
        """The options for a class."""

        check: Callable[[Any], bool] | None  # no type says what the `__enter__` of a class gives

    class _KeyedOptions(_Options, total=False):
        """What all have that make several resources."""

        capacity: int | None
        when_full: Literal["wait", "raise"]

    class FunctionOptions(_KeyedOptions, Generic[P, T], total=False, closed=True):
        """The options for a function or a method that is there already."""

        check: Callable[[T], bool] | None
        key: Callable[P, Hashable] | None

    class AttributeOptions(TypedDict, total=False, closed=True):
        """The options for an attribute, less its check."""

        linger: float
        overlap: bool
        exclusive: bool
        own_thread: bool
        at_exit: Literal["stop", "leave"]
        name: str | Callable[[Any], str] | None

    class PlainOptions(_KeyedOptions, total=False, closed=True):
        """Options that come before what is decorated, without a check and a key."""

        check: None
        key: None

    class CheckOptions(_KeyedOptions, Generic[T], total=False, closed=True):
        """The same with a check."""

        check: Required[Callable[[T], bool]]
        key: None

    class KeyOptions(_KeyedOptions, Generic[P], total=False, closed=True):
        """The same with a key."""

        check: None
        key: Required[Callable[P, Hashable]]

    class CheckAndKeyOptions(_KeyedOptions, Generic[P, T], total=False, closed=True):
        """The same with both."""

        check: Required[Callable[[T], bool]]
        key: Required[Callable[P, Hashable]]


# What `refcounted_resource` and `refcounted_method` are when their options come first: one class for each kind of
# options and of result, since no type variable stands for a generic class. `K` and `V` are known from a key and a
# check, `P` and `T` from what is decorated. A check that takes more than a function yields widens what the leases give;
# written as `refcounted_resource(function, check=...)` it does not.


class Decorator(Protocol):
    """Decorates classes that can be entered, generator functions, and functions that return context managers."""

    @overload
    def __call__(self, source: type[C], /) -> type[C]: ...
    @overload
    def __call__(self, source: Callable[P, SupportsEnter[T]], /) -> ResourceFunction[P, T]: ...
    @overload
    def __call__(self, source: Callable[P, Iterator[T]], /) -> ResourceFunction[P, T]: ...


class CheckedDecorator(Protocol[V]):
    """Decorates what gives a `V`."""

    @overload
    def __call__(self, source: type[C], /) -> type[C]: ...
    @overload
    def __call__(self, source: Callable[P, SupportsEnter[V]], /) -> ResourceFunction[P, V]: ...
    @overload
    def __call__(self, source: Callable[P, Iterator[V]], /) -> ResourceFunction[P, V]: ...


class KeyedDecorator(Protocol[K]):
    """Decorates functions that take a `K`."""

    @overload
    def __call__(self, source: Callable[K, SupportsEnter[T]], /) -> ResourceFunction[K, T]: ...
    @overload
    def __call__(self, source: Callable[K, Iterator[T]], /) -> ResourceFunction[K, T]: ...


class CheckedKeyedDecorator(Protocol[K, V]):
    """Decorates functions that take a `K` and give a `V`."""

    @overload
    def __call__(self, source: Callable[K, SupportsEnter[V]], /) -> ResourceFunction[K, V]: ...
    @overload
    def __call__(self, source: Callable[K, Iterator[V]], /) -> ResourceFunction[K, V]: ...


class MethodDecorator(Protocol):
    """Decorates methods."""

    @overload
    def __call__(self, source: Callable[Concatenate[S, P], SupportsEnter[T]], /) -> ResourceMethod[P, T]: ...
    @overload
    def __call__(self, source: Callable[Concatenate[S, P], Iterator[T]], /) -> ResourceMethod[P, T]: ...


class CheckedMethodDecorator(Protocol[V]):
    """Decorates methods that give a `V`."""

    @overload
    def __call__(self, source: Callable[Concatenate[S, P], SupportsEnter[V]], /) -> ResourceMethod[P, V]: ...
    @overload
    def __call__(self, source: Callable[Concatenate[S, P], Iterator[V]], /) -> ResourceMethod[P, V]: ...


class KeyedMethodDecorator(Protocol[K]):
    """Decorates methods that take a `K`."""

    @overload
    def __call__(self, source: Callable[Concatenate[S, K], SupportsEnter[T]], /) -> ResourceMethod[K, T]: ...
    @overload
    def __call__(self, source: Callable[Concatenate[S, K], Iterator[T]], /) -> ResourceMethod[K, T]: ...


class CheckedKeyedMethodDecorator(Protocol[K, V]):
    """Decorates methods that take a `K` and give a `V`."""

    @overload
    def __call__(self, source: Callable[Concatenate[S, K], SupportsEnter[V]], /) -> ResourceMethod[K, V]: ...
    @overload
    def __call__(self, source: Callable[Concatenate[S, K], Iterator[V]], /) -> ResourceMethod[K, V]: ...


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
