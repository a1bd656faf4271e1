"""What `refcounted_resource` and `refcounted_method` are when their options come first: types of decorators.

Where the options hold a function of the user's, the decorator is bound to its types: a `check` to what it takes, a
`key` to its parameters. A `check` that takes more than the function yields widens what the leases give; written as
`refcounted_resource(function, check=...)` it does not.
"""
# A class is a callable as well, so that mypy sees two overloads overlap where one is made for classes.
# mypy: disable-error-code="overload-overlap"

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from refcount._faces.protocols import SupportsEnter

if TYPE_CHECKING:
    from refcount._faces.methods import ResourceMethod
    from refcount._faces.resource_function import Resource

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
C = TypeVar("C", bound=SupportsEnter[Any])  # with `object`, pyright would see two overloads overlap


class Decorator(Protocol):
    """Decorates classes that can be entered, generator functions, and functions that return context managers."""

    @overload
    def __call__(self, source: type[C], /) -> type[C]: ...
    @overload
    def __call__(self, source: Callable[P, SupportsEnter[T]], /) -> Resource[P, T]: ...
    @overload
    def __call__(self, source: Callable[P, Iterator[T]], /) -> Resource[P, T]: ...


class CheckedDecorator(Protocol[T]):
    """Decorates what gives a `T`."""

    @overload
    def __call__(self, source: type[C], /) -> type[C]: ...
    @overload
    def __call__(self, source: Callable[P, SupportsEnter[T]], /) -> Resource[P, T]: ...
    @overload
    def __call__(self, source: Callable[P, Iterator[T]], /) -> Resource[P, T]: ...


class KeyedDecorator(Protocol[P]):
    """Decorates functions that take a `P`."""

    @overload
    def __call__(self, source: Callable[P, SupportsEnter[T]], /) -> Resource[P, T]: ...
    @overload
    def __call__(self, source: Callable[P, Iterator[T]], /) -> Resource[P, T]: ...


class CheckedKeyedDecorator(Protocol[P, T]):
    """Decorates functions that take a `P` and give a `T`."""

    @overload
    def __call__(self, source: Callable[P, SupportsEnter[T]], /) -> Resource[P, T]: ...
    @overload
    def __call__(self, source: Callable[P, Iterator[T]], /) -> Resource[P, T]: ...


class MethodDecorator(Protocol):
    """Decorates methods."""

    @overload
    def __call__(self, source: Callable[Concatenate[S, P], SupportsEnter[T]], /) -> ResourceMethod[P, T]: ...
    @overload
    def __call__(self, source: Callable[Concatenate[S, P], Iterator[T]], /) -> ResourceMethod[P, T]: ...


class CheckedMethodDecorator(Protocol[T]):
    """Decorates methods that give a `T`."""

    @overload
    def __call__(self, source: Callable[Concatenate[S, P], SupportsEnter[T]], /) -> ResourceMethod[P, T]: ...
    @overload
    def __call__(self, source: Callable[Concatenate[S, P], Iterator[T]], /) -> ResourceMethod[P, T]: ...


class KeyedMethodDecorator(Protocol[P]):
    """Decorates methods that take a `P`."""

    @overload
    def __call__(self, source: Callable[Concatenate[S, P], SupportsEnter[T]], /) -> ResourceMethod[P, T]: ...
    @overload
    def __call__(self, source: Callable[Concatenate[S, P], Iterator[T]], /) -> ResourceMethod[P, T]: ...


class CheckedKeyedMethodDecorator(Protocol[P, T]):
    """Decorates methods that take a `P` and give a `T`."""

    @overload
    def __call__(self, source: Callable[Concatenate[S, P], SupportsEnter[T]], /) -> ResourceMethod[P, T]: ...
    @overload
    def __call__(self, source: Callable[Concatenate[S, P], Iterator[T]], /) -> ResourceMethod[P, T]: ...
