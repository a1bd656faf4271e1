"""`uses`: a function that holds leases while it runs, and gets their values as its first arguments."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, suppress
from functools import wraps
from inspect import Parameter
from types import FunctionType, TracebackType
from typing import Any, TypeVar, overload

from refcount._core.lease import Lease
from refcount._core.shared import SharedResource
from refcount._faces.signatures import Uses1, Uses2, Uses3, Uses4, Uses5
from refcount._support.checks import check_callable, function_of, is_manager_function
from refcount._support.naming import name_of, public

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

Source = Callable[[], Lease[object]]

# `Any`, since it depends on the kind of the function, which only `inspect` tells, how what its call gives is used.
Function = Callable[..., Any]


@overload
def uses(a: Callable[[], Lease[A]], /) -> Uses1[A]: ...
@overload
def uses(a: Callable[[], Lease[A]], b: Callable[[], Lease[B]], /) -> Uses2[A, B]: ...
@overload
def uses(a: Callable[[], Lease[A]], b: Callable[[], Lease[B]], c: Callable[[], Lease[C]], /) -> Uses3[A, B, C]: ...
@overload
def uses(
    a: Callable[[], Lease[A]],
    b: Callable[[], Lease[B]],
    c: Callable[[], Lease[C]],
    d: Callable[[], Lease[D]],
    /,
) -> Uses4[A, B, C, D]: ...
@overload
def uses(
    a: Callable[[], Lease[A]],
    b: Callable[[], Lease[B]],
    c: Callable[[], Lease[C]],
    d: Callable[[], Lease[D]],
    e: Callable[[], Lease[E]],
    /,
) -> Uses5[A, B, C, D, E]: ...
@public
def uses(*resources: Source) -> Callable[[Function], Function]:
    """Decorate a function so that it holds leases while it runs, and gets their values as its first arguments.

    Callers do not pass these arguments, and the function's signature does not show them. The leases are taken in order
    and given back in reverse order when the function ends, however it ends.

    - A method gets the values after its first parameter, which is what makes it one: it is called `self` or `cls`
      (or `_self`, `_cls`, `mcs`, `mcls`). Whatever else the first parameter is called, it gets the first value. Types
      cannot tell one from the other: checkers let the values come second in a function as well.
    - `@staticmethod` and `@classmethod` go above `@uses(...)`, as do `@contextmanager` and `@refcounted_resource`.
    - A generator holds its leases from the first `next()` until it ends, raises or is closed, and takes none if it is
      never started. So does an asynchronous one; if it is left early, close it with `aclose()`, as any other.
    - A coroutine holds its leases from the first `await` to its end.
    - Taking a lease waits for the start or the stop that it needs. In a coroutine or an asynchronous generator that
      blocks the event loop meanwhile.
    - Of a function with `**kwargs`, mypy wants to be told that the values come by position: write `conn, /, **kwargs`.

    Args:
        *resources: One to five shared resources, decorated functions that need no arguments, or anything else that
            gives a lease when called. Of a function that needs some, give the resource behind a call, as in
            `camera.resource(0)`, or a call to be made each time, as in `functools.partial(camera, 0)`.

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
    if not 1 <= len(resources) <= MOST:
        raise TypeError(f"uses takes one to {MOST} resources, not {len(resources)}")
    for resource in resources:
        _refuse_unfit(resource)

    def decorate(function: Function) -> Function:
        return _inject(function, resources)

    return decorate


class Holding:
    """Leases on several resources: all of them or none, given back in reverse order."""

    __slots__ = ("_leases",)

    def __init__(self, resources: tuple[Source, ...], function: Function) -> None:
        # All are made before any is held, so that whatever happens is answered by releasing all.
        self._leases = [_lease(resource, function) for resource in resources]

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


def _lease(resource: Source, function: Function) -> Lease[object]:
    lease = resource()
    if not _is_lease(lease):
        raise TypeError(f"{name_of(function)} uses {_name(resource)}, which gave no lease but {lease!r}")
    return lease


def _is_lease(thing: object) -> bool:
    return isinstance(thing, Lease)


def _release(leases: list[Lease[object]]) -> None:
    """Give back all `leases`, the last one first, even if the stops of some raise."""
    if leases:
        try:
            leases[-1].release()
        finally:
            _release(leases[:-1])


def _inject(function: Function, resources: tuple[Source, ...]) -> Function:
    """Return what calls `function` with the values of `resources`, and looks like it but for their parameters."""
    _refuse_no_function(function)
    parameters = _parameters(function)
    place = int(bool(parameters) and parameters[0].name in OWNERS)
    filled = _filled(function, parameters, place, resources)
    injected = wraps(function)(_wrapper(function, resources, place))
    vars(injected)["__signature__"] = inspect.signature(function).replace(
        parameters=[parameter for parameter in parameters if parameter.name not in filled]
    )
    hints: dict[str, object] = getattr(function, "__annotations__", {})
    injected.__annotations__ = {name: hint for name, hint in hints.items() if name not in filled}
    return injected


def _refuse_no_function(thing: object) -> None:
    kind = type(thing)
    if kind is staticmethod or kind is classmethod:
        raise TypeError(f"@{kind.__name__} must stand above @uses(...), not below it: {name_of(thing)}")
    if isinstance(thing, type):
        raise TypeError(f"what uses decorates must be a function, not {thing!r}")
    check_callable("what uses decorates", thing)
    if is_manager_function(function_of(thing)):
        raise TypeError(
            f"@contextmanager must stand above @uses(...), not below it, since the leases would be over before the "
            f"with-body: {name_of(thing)}"
        )
    # Without an import of it (and of wrapt, which is heavy) there can be none.
    wrapping = sys.modules.get("refcount._support.wrapping")
    if wrapping is not None and isinstance(thing, wrapping.Decorated):
        raise TypeError(
            f"@refcounted_resource or @refcounted_method must stand above @uses(...), not below it: {thing!r}"
        )


def _wrapper(function: Function, resources: tuple[Source, ...], place: int) -> Function:
    """Return a function of the same kind as `function`, so that `inspect` tells the truth about it."""

    def filled(values: list[object], args: tuple[object, ...]) -> tuple[object, ...]:
        return (*args[:place], *values, *args[place:])

    def call(*args: object, **kwargs: object) -> object:
        with Holding(resources, function) as values:
            return function(*filled(values, args), **kwargs)

    def generate(*args: object, **kwargs: object) -> Generator[object, object, object]:
        with Holding(resources, function) as values:
            source: Generator[object, object, object] = function(*filled(values, args), **kwargs)
            return (yield from source)

    async def run(*args: object, **kwargs: object) -> object:
        with Holding(resources, function) as values:
            return await function(*filled(values, args), **kwargs)

    async def generate_async(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        with Holding(resources, function) as values:
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


def _parameters(function: Function) -> list[Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except ValueError:
        raise TypeError(
            f"uses cannot see the parameters of {name_of(function)}: decorate a function that calls it"
        ) from None


def _filled(function: Function, parameters: list[Parameter], place: int, resources: tuple[Source, ...]) -> set[str]:
    """Return the names of the parameters that get the values; raise `TypeError` if there are not enough."""
    positional = [parameter.name for parameter in parameters if parameter.kind in POSITIONAL][place:]
    missing = resources[len(positional) :]
    if missing and all(parameter.kind is not Parameter.VAR_POSITIONAL for parameter in parameters):
        names = ", ".join(_name(resource) for resource in missing)
        raise TypeError(f"{name_of(function)} has no positional parameter for the value of {names}")
    return set(positional[: len(resources)])


def _refuse_unfit(resource: Source) -> None:
    """Raise `TypeError` unless `resource` can be called for a lease, as far as that can be seen without calling it."""
    if isinstance(resource, SharedResource):
        return
    if type(resource) is FunctionType and (
        inspect.isgeneratorfunction(resource)
        or inspect.iscoroutinefunction(resource)
        or inspect.isasyncgenfunction(resource)
    ):
        raise TypeError(f"{name_of(resource)} is no resource: decorate it with @refcounted_resource")
    if isinstance(resource, type) or not callable(resource):
        raise TypeError(f"uses takes resources, not {resource!r}")
    try:
        inspect.signature(resource).bind()
    except ValueError:  # it shows no signature
        pass
    except TypeError as error:
        raise TypeError(f"uses cannot call {name_of(resource)} without arguments: {error}") from None


def _name(resource: Source) -> str:
    return resource.name if isinstance(resource, SharedResource) else name_of(resource)
