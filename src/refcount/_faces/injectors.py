"""What `uses` gives, as type checkers see it: one class for each number of resources, as no signature says "as many".

They only remove the parameters that are filled in, so that one pair of signatures serves functions, generators,
coroutines and their kin; the asynchronous ones refuse what is neither awaited nor iterated by `async for`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")
R_async = TypeVar("R_async", bound=Awaitable[object] | AsyncIterator[object])
S = TypeVar("S")
A_co = TypeVar("A_co", covariant=True)
B_co = TypeVar("B_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)
D_co = TypeVar("D_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)


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


class AsyncUses1(Protocol[A_co]):
    """Decorates asynchronous functions, and methods, that get the value of `a`."""

    @overload
    def __call__(self, function: Callable[Concatenate[A_co, P], R_async], /) -> Callable[P, R_async]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, A_co, P], R_async], /
    ) -> Callable[Concatenate[S, P], R_async]: ...


class AsyncUses2(Protocol[A_co, B_co]):
    """Decorates asynchronous functions, and methods, that get the values of `a, b`."""

    @overload
    def __call__(self, function: Callable[Concatenate[A_co, B_co, P], R_async], /) -> Callable[P, R_async]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, A_co, B_co, P], R_async], /
    ) -> Callable[Concatenate[S, P], R_async]: ...


class AsyncUses3(Protocol[A_co, B_co, C_co]):
    """Decorates asynchronous functions, and methods, that get the values of `a, b, c`."""

    @overload
    def __call__(self, function: Callable[Concatenate[A_co, B_co, C_co, P], R_async], /) -> Callable[P, R_async]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, A_co, B_co, C_co, P], R_async], /
    ) -> Callable[Concatenate[S, P], R_async]: ...


class AsyncUses4(Protocol[A_co, B_co, C_co, D_co]):
    """Decorates asynchronous functions, and methods, that get the values of `a, b, c, d`."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[A_co, B_co, C_co, D_co, P], R_async], /
    ) -> Callable[P, R_async]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, A_co, B_co, C_co, D_co, P], R_async], /
    ) -> Callable[Concatenate[S, P], R_async]: ...


class AsyncUses5(Protocol[A_co, B_co, C_co, D_co, E_co]):
    """Decorates asynchronous functions, and methods, that get the values of `a, b, c, d, e`."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[A_co, B_co, C_co, D_co, E_co, P], R_async], /
    ) -> Callable[P, R_async]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, A_co, B_co, C_co, D_co, E_co, P], R_async], /
    ) -> Callable[Concatenate[S, P], R_async]: ...
