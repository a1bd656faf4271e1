"""Shapes: what is asked of the things that users bring, and what some faces make of them."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Protocol, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T_co = TypeVar("T_co", covariant=True)
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
