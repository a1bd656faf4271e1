"""`Injection`: what calls of one function are given; `Holding`: the leases that a call holds meanwhile."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from inspect import Parameter, Signature
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from refcount._core.lease import Lease, is_lease
from refcount._core.resource import Resource
from refcount._support.checks import Member, function_of, is_asynchronous, is_for_tasks, is_lease_for_tasks, is_member
from refcount._support.naming import name_of, short

if TYPE_CHECKING:
    from refcount._core.async_lease import AsyncLease

OWNERS = ("self", "cls", "_self", "_cls", "mcs", "mcls")
"""What the first parameter of a method is called; the values come after it."""

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)

# `Any`, since it depends on the kind of the function, which only `inspect` tells, how what its call gives is used.
Function = Callable[..., Any]


class Injection:
    """What calls of one function are given.

    Args:
        function: The function.
        resources: What it uses.

    Attributes:
        signature: The function's, less the parameters that are filled in.

    Raises:
        TypeError: It has no parameters for the values, or a resource that only an instance has, or only tasks can hold.
        ImportError: It is asynchronous, and anyio is not installed.
    """

    def __init__(self, function: Function, resources: tuple[object, ...]) -> None:
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
                    f"{name_of(function)} cannot use {display_name(resource)}, which only an instance has: "
                    "a method can, whose first parameter is called self"
                )
        self._for_tasks = is_asynchronous(function_of(function))
        if self._for_tasks:
            from refcount._core.bridge import Bridge  # here, so that who lacks anyio is told so where he decorates

            self._bridge = Bridge
        for resource in resources:
            if is_for_tasks(resource):
                self._refuse_if_plain(f"{display_name(resource)} is entered by `async with`")

    def leases(self, args: tuple[object, ...], kwargs: dict[str, object]) -> list[Lease[object]]:
        """Return the leases of a call of a plain function or generator, none of which is held yet.

        Raises:
            TypeError: The function takes no such arguments, or one of the resources gives no lease for threads.
        """
        return [lease for lease in self._leases(args, kwargs) if isinstance(lease, Lease)]

    def managers(
        self, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> list[AbstractAsyncContextManager[object, None]]:
        """Return what holds the leases of a call of an asynchronous function, and keeps no event loop waiting.

        Raises:
            TypeError: The function takes no such arguments, or one of the resources gives no lease.
        """
        return [self._bridge(lease) if isinstance(lease, Lease) else lease for lease in self._leases(args, kwargs)]

    def _leases(self, args: tuple[object, ...], kwargs: dict[str, object]) -> list[Lease[object] | AsyncLease[object]]:
        if kwargs or len(args) not in self._fits:
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{name_of(self._function)}() {error}") from None
        return [self._lease(resource, args) for resource in self._resources]

    def _refuse_if_plain(self, why: str) -> None:
        if not self._for_tasks:
            name = name_of(self._function)
            raise TypeError(
                f"{name} is no coroutine function, nor an asynchronous generator function, and {why}: "
                f"write `async def {name.rpartition('.')[2]}`"
            )

    def filled(self, values: list[object], args: tuple[object, ...]) -> tuple[object, ...]:
        """Return the arguments by position with the values among them."""
        return (*args[: self._place], *values, *args[self._place :])

    def _lease(self, resource: object, args: tuple[object, ...]) -> Lease[object] | AsyncLease[object]:
        member = self._members.get(id(resource))
        found: Callable[[], object] = cast("Any", resource) if member is None else member.on(args[0])
        lease = found()
        if is_lease(lease):
            return lease
        shown = display_name(resource)
        if not is_lease_for_tasks(lease):
            raise TypeError(f"{name_of(self._function)} uses {shown}, which gave no lease but {short(lease)}")
        self._refuse_if_plain(f"what {shown} gave is entered by `async with`")
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


class AsyncHolding:
    """The same for a task: all of them or none, given back in reverse order, wherever it is cancelled.

    Args:
        managers: Each holds a lease; all are made before any is entered.
    """

    __slots__ = ("_managers",)

    def __init__(self, managers: list[AbstractAsyncContextManager[object, None]]) -> None:
        self._managers = managers

    async def __aenter__(self) -> list[object]:
        managers, values = self._managers, list[object]()
        try:
            for manager in managers:
                values.append(await manager.__aenter__())
        except BaseException as error:
            await _leave(managers[: len(values)], type(error), error, error.__traceback__)
            raise
        return values

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await _leave(self._managers, exc_type, exc, traceback)


async def _leave(
    managers: list[AbstractAsyncContextManager[object, None]],
    exc_type: type[BaseException] | None,
    exc: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    """Leave all `managers`, the last one first, even if some raise; each is told what has been raised so far.

    An `AsyncExitStack` would do that, and leave the errors in reference cycles.
    """
    if managers:
        try:
            await managers[-1].__aexit__(exc_type, exc, traceback)
        except BaseException as error:
            await _leave(managers[:-1], type(error), error, error.__traceback__)
            raise
        await _leave(managers[:-1], exc_type, exc, traceback)


def _release(leases: list[Lease[object]]) -> None:
    """Give back all `leases`, the last one first, even if the stops of some raise."""
    if leases:
        try:
            leases[-1].release()
        finally:
            _release(leases[:-1])


def wrapper(function: Function, injection: Injection) -> Function:
    """Return a function of the same kind as `function`, so that `inspect` tells the truth about it."""
    leases, managers, filled = injection.leases, injection.managers, injection.filled

    def call(*args: object, **kwargs: object) -> object:
        with Holding(leases(args, kwargs)) as values:
            return function(*filled(values, args), **kwargs)

    def generate(*args: object, **kwargs: object) -> Generator[object, object, object]:
        with Holding(leases(args, kwargs)) as values:
            source: Generator[object, object, object] = function(*filled(values, args), **kwargs)
            return (yield from source)

    async def run(*args: object, **kwargs: object) -> object:
        async with AsyncHolding(managers(args, kwargs)) as values:
            return await function(*filled(values, args), **kwargs)

    async def generate_async(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        async with AsyncHolding(managers(args, kwargs)) as values:
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


def _filled(function: Function, parameters: list[Parameter], place: int, resources: tuple[object, ...]) -> set[str]:
    """Return the names of the parameters that get the values; raise `TypeError` if there are not enough."""
    positional = [parameter.name for parameter in parameters if parameter.kind in POSITIONAL][place:]
    missing = resources[len(positional) :]
    if missing and all(parameter.kind is not Parameter.VAR_POSITIONAL for parameter in parameters):
        names = ", ".join(display_name(resource) for resource in missing)
        raise TypeError(f"{name_of(function)} has no positional parameter for the value of {names}")
    return set(positional[: len(resources)])


def display_name(resource: object) -> str:
    """Return what `resource` is called in errors."""
    if isinstance(resource, Resource):
        return resource.name
    return repr(resource) if is_member(resource) else name_of(resource)
