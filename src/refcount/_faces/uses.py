"""`uses`: a function that holds leases while it runs, and gets their values as its first arguments."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, suppress
from functools import wraps
from inspect import Parameter, Signature
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Never, ParamSpec, Protocol, TypeVar, cast, overload

from refcount._core.lease import Lease, is_lease
from refcount._core.shared import SharedResource
from refcount._support.checks import (
    GivesLeases,
    Member,
    check_callable,
    function_of,
    is_decorated,
    is_manager_function,
    is_member,
    misfit,
    refuse_undecorated,
)
from refcount._support.naming import name_of, public, short

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

MOST = 5
"""How many resources `uses` takes: each number needs a signature of its own."""

OWNERS = ("self", "cls", "_self", "_cls", "mcs", "mcls")
"""What the first parameter of a method is called; the values come after it."""

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)

# `Any`, since it depends on the kind of the function, which only `inspect` tells, how what its call gives is used; and
# since nobody can tell what a descriptor gives.
Function = Callable[..., Any]

if TYPE_CHECKING:
    from refcount._faces.attributes import refcounted_attribute
    from refcount._faces.methods import ResourceMethod

    Source = Callable[[], Lease[A]] | refcounted_attribute[A] | ResourceMethod[[], A]

    P = ParamSpec("P")
    R = TypeVar("R")
    S = TypeVar("S")
    A_co = TypeVar("A_co", covariant=True)
    B_co = TypeVar("B_co", covariant=True)
    C_co = TypeVar("C_co", covariant=True)
    D_co = TypeVar("D_co", covariant=True)
    E_co = TypeVar("E_co", covariant=True)

    # What `uses` gives: one class for each number of resources, as no signature says "as many". They only remove the
    # parameters that are filled in, so that one pair serves functions, generators, coroutines and their kin.

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
        def __call__(
            self, function: Callable[Concatenate[S, A_co, B_co, P], R], /
        ) -> Callable[Concatenate[S, P], R]: ...

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
        def __call__(
            self, function: Callable[Concatenate[A_co, B_co, C_co, D_co, E_co, P], R], /
        ) -> Callable[P, R]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[S, A_co, B_co, C_co, D_co, E_co, P], R], /
        ) -> Callable[Concatenate[S, P], R]: ...


@overload
def uses(a: Source[A], /) -> Uses1[A]: ...
@overload
def uses(a: Source[A], b: Source[B], /) -> Uses2[A, B]: ...
@overload
def uses(a: Source[A], b: Source[B], c: Source[C], /) -> Uses3[A, B, C]: ...
@overload
def uses(a: Source[A], b: Source[B], c: Source[C], d: Source[D], /) -> Uses4[A, B, C, D]: ...
@overload
def uses(a: Source[A], b: Source[B], c: Source[C], d: Source[D], e: Source[E], /) -> Uses5[A, B, C, D, E]: ...
@public
def uses(*resources: Source[Any], **misplaced: Never) -> Callable[[Function], Function]:
    """Decorate a function so that it holds leases while it runs, and gets their values as its first arguments.

    Callers do not pass these arguments, and the function's signature does not show them. What they do pass is looked at
    before anything starts. The leases are taken in order and given back in reverse order when the function ends,
    however it ends.

    - A method gets the values after its first parameter, which is what makes it one: it is called `self` or `cls`
      (or `_self`, `_cls`, `mcs`, `mcls`). Whatever else the first parameter is called, it gets the first value. Types
      cannot tell one from the other: checkers let the values come second in a function as well.
    - A method may use a `refcounted_attribute` or a `refcounted_method` of its class, written above it: by name, on the
      instance that it is called on, so that a subclass may override that.
    - `@staticmethod` and `@classmethod` go above `@uses(...)`, as do `@contextmanager` and `@refcounted_resource`.
    - A generator holds its leases from the first `next()` until it ends, raises or is closed, and takes none if it is
      never started. So does an asynchronous one; if it is left early, close it with `aclose()`, as any other.
    - A coroutine holds its leases from the first `await` to its end.
    - Taking a lease waits for the start or the stop that it needs. In a coroutine or an asynchronous generator that
      blocks the event loop meanwhile.
    - Of a function with `**kwargs`, mypy wants to be told that the values come by position: write `conn, /, **kwargs`.

    Args:
        *resources: One to five shared resources, decorated functions that need no arguments, attributes or methods of
            the same class, or anything else that gives a lease when called. Of a function that needs some, give the
            resource behind a call, as in `camera.resource(0)`, or a call to be made each time, as in
            `functools.partial(camera, 0)`.
        **misplaced: Nothing comes by keyword, since the values come by position.

    Raises:
        TypeError: There are no resources, or more than five; one of them is no resource, or cannot be called without
            arguments; or, when it decorates, the function cannot take that many positional arguments.

    The idea is that of dependency injection, as in pytest's fixtures.

    Example:
        >>> from refcount import SharedResource, uses
        >>> basket = SharedResource.of(list, name="basket")
        >>> @uses(basket)
        ... def fill(content: list[str], fruit: str) -> int:
        ...     content.append(fruit)
        ...     return len(content)
        >>> fill("apple")
        1
    """
    if misplaced:
        raise TypeError(
            f"uses takes resources by position, not {', '.join(misplaced)}=: their values come by position too"
        )
    if not 1 <= len(resources) <= MOST:
        raise TypeError(f"uses takes one to {MOST} resources, not {len(resources)}")
    for resource in resources:
        _refuse_unfit(resource)

    def decorate(function: Function) -> Function:
        return _inject(function, resources)

    return decorate


class Injection:
    """What calls of one function are given.

    Args:
        function: The function.
        resources: What it uses.

    Attributes:
        signature: The function's, less the parameters that are filled in.
    """

    def __init__(self, function: Function, resources: tuple[Source[Any], ...]) -> None:
        signature = _signature(function)
        parameters = [*signature.parameters.values()]
        self._place = int(bool(parameters) and parameters[0].name in OWNERS)
        filled = _filled(function, parameters, self._place, resources)
        self.signature: Signature = signature.replace(parameters=[it for it in parameters if it.name not in filled])
        self._fits = _numbers(self.signature)
        self._function = function
        self._resources = resources
        self._members = {id(it): Member(it, name_of(function)) for it in resources if is_member(it)}
        for resource in resources:
            if id(resource) in self._members and not self._place:
                raise TypeError(
                    f"{name_of(function)} cannot use {_name(resource)}, which only an instance has: "
                    "a method can, whose first parameter is called self"
                )

    def leases(self, args: tuple[object, ...], kwargs: dict[str, object]) -> list[Lease[object]]:
        """Return the leases of a call, none of which is held yet.

        Raises:
            TypeError: The function takes no such arguments, or one of the resources gives no lease.
        """
        if kwargs or len(args) not in self._fits:
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{name_of(self._function)}() {error}") from None
        return [self._lease(resource, args) for resource in self._resources]

    def filled(self, values: list[object], args: tuple[object, ...]) -> tuple[object, ...]:
        """Return the arguments by position with the values among them."""
        return (*args[: self._place], *values, *args[self._place :])

    def _lease(self, resource: object, args: tuple[object, ...]) -> Lease[object]:
        member = self._members.get(id(resource))
        found: Callable[[], object] = cast("Any", resource) if member is None else member.on(args[0])
        lease = found()
        if not is_lease(lease):
            raise TypeError(f"{name_of(self._function)} uses {_name(resource)}, which gave no lease but {short(lease)}")
        return lease


class Holding:
    """Leases on several resources: all of them or none, given back in reverse order.

    Args:
        leases: Not held yet; all are made before any is held, so that whatever happens is answered by releasing all.
    """

    __slots__ = ("_leases",)

    def __init__(self, leases: list[Lease[object]]) -> None:
        self._leases = leases

    def __enter__(self) -> list[object]:
        try:
            return [lease.__enter__() for lease in self._leases]
        except BaseException:
            _release(self._leases)
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        _release(self._leases)


def _release(leases: list[Lease[object]]) -> None:
    """Give back all `leases`, the last one first, even if the stops of some raise."""
    if leases:
        try:
            leases[-1].release()
        finally:
            _release(leases[:-1])


def _inject(function: Function, resources: tuple[Source[Any], ...]) -> Function:
    """Return what calls `function` with the values of `resources`, and looks like it but for their parameters."""
    _refuse_no_function(function)
    injection = Injection(function, resources)
    injected = wraps(function)(_wrapper(function, injection))
    vars(injected)["__signature__"] = injection.signature
    hints: dict[str, object] = getattr(function, "__annotations__", {})
    shown = {"return", *injection.signature.parameters}
    injected.__annotations__ = {name: hint for name, hint in hints.items() if name in shown}
    return injected


def _refuse_no_function(thing: object) -> None:
    kind = type(thing)
    if kind is staticmethod or kind is classmethod:
        raise TypeError(f"@{kind.__name__} must stand above @uses(...), not below it: {name_of(thing)}")
    if isinstance(thing, type):
        raise TypeError(f"what uses decorates must be a function, not {short(thing)}")
    check_callable("what uses decorates", thing)
    if is_manager_function(function_of(thing)):
        raise TypeError(
            f"@contextmanager must stand above @uses(...), not below it, since the leases would be over before the "
            f"with-body: {name_of(thing)}"
        )
    if is_decorated(thing):
        raise TypeError(
            f"@refcounted_resource or @refcounted_method must stand above @uses(...), not below it: {thing!r}"
        )


def _wrapper(function: Function, injection: Injection) -> Function:
    """Return a function of the same kind as `function`, so that `inspect` tells the truth about it."""
    leases, filled = injection.leases, injection.filled

    def call(*args: object, **kwargs: object) -> object:
        with Holding(leases(args, kwargs)) as values:
            return function(*filled(values, args), **kwargs)

    def generate(*args: object, **kwargs: object) -> Generator[object, object, object]:
        with Holding(leases(args, kwargs)) as values:
            source: Generator[object, object, object] = function(*filled(values, args), **kwargs)
            return (yield from source)

    async def run(*args: object, **kwargs: object) -> object:
        with Holding(leases(args, kwargs)) as values:
            return await function(*filled(values, args), **kwargs)

    async def generate_async(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        with Holding(leases(args, kwargs)) as values:
            generator: AsyncGenerator[object, object] = function(*filled(values, args), **kwargs)
            async with aclosing(generator) as source:
                with suppress(StopAsyncIteration):
                    item = await anext(source)
                    while True:  # what `yield from` does for the others
                        try:
                            sent = yield item
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            item = await source.athrow(error)
                        else:
                            item = await source.asend(sent)

    kind = function_of(function)
    if inspect.isasyncgenfunction(kind):
        return generate_async
    if inspect.iscoroutinefunction(kind):
        return run
    return generate if inspect.isgeneratorfunction(kind) else call


def _signature(function: Function) -> Signature:
    try:
        return inspect.signature(function)
    except ValueError:
        raise TypeError(
            f"uses cannot see the parameters of {name_of(function)}: decorate a function that calls it"
        ) from None


def _numbers(signature: Signature) -> range:
    """Return how many arguments by position are good, whatever they are, for a call without any by keyword."""
    parameters = signature.parameters.values()
    needed = [it for it in parameters if it.default is Parameter.empty and it.kind is not Parameter.VAR_KEYWORD]
    if any(it.kind is Parameter.KEYWORD_ONLY for it in needed):
        return range(0)
    least = sum(it.kind in POSITIONAL for it in needed)
    if any(it.kind is Parameter.VAR_POSITIONAL for it in parameters):
        return range(least, sys.maxsize)
    return range(least, 1 + sum(it.kind in POSITIONAL for it in parameters))


def _filled(
    function: Function, parameters: list[Parameter], place: int, resources: tuple[Source[Any], ...]
) -> set[str]:
    """Return the names of the parameters that get the values; raise `TypeError` if there are not enough."""
    positional = [parameter.name for parameter in parameters if parameter.kind in POSITIONAL][place:]
    missing = resources[len(positional) :]
    if missing and all(parameter.kind is not Parameter.VAR_POSITIONAL for parameter in parameters):
        names = ", ".join(_name(resource) for resource in missing)
        raise TypeError(f"{name_of(function)} has no positional parameter for the value of {names}")
    return set(positional[: len(resources)])


def _refuse_unfit(resource: object) -> None:
    """Raise `TypeError` unless `resource` can be called for a lease, as far as that can be seen without calling it."""
    if isinstance(resource, SharedResource):
        return
    if is_lease(resource):
        called = resource.resource.name.replace("(", ".resource(", 1)
        raise TypeError(f"uses takes resources, not {short(resource)}, which is used once: write `{called}`")
    of_instance = is_member(resource)
    if isinstance(resource, type) or not (callable(resource) or of_instance):
        raise TypeError(f"uses takes resources, not {short(resource)}")
    if not of_instance and not isinstance(resource, GivesLeases):
        refuse_undecorated(resource)
    unfit = misfit(resource, ("self",) if of_instance else ())
    if unfit:
        raise TypeError(f"uses cannot call {name_of(resource)} without arguments: it takes {unfit}")


def _name(resource: object) -> str:
    if isinstance(resource, SharedResource):
        return resource.name
    return repr(resource) if is_member(resource) else name_of(resource)
