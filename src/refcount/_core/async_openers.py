"""Openers for tasks: callables that return an asynchronous context manager.

Whatever starts a resource is made into an `AsyncLife`: an asynchronous generator that has run up to its only `yield`
when the resource is up, and to its end when it has stopped. One task runs both halves.

The event loop is not told of the generators that are begun in that task, be they ours or inside of an opener, as those
of `asynccontextmanager` are: see `Unseen`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from inspect import isawaitable
from typing import Any, Generic, Literal, TypeVar, cast

from refcount._support.checks import check_function
from refcount._support.choices import check_flag, check_modes
from refcount._support.naming import Name, short, text_of
from refcount._support.numbers import check_seconds
from refcount._support.reporting import report

T = TypeVar("T")

OVER = object()
"""What `anext` returns of a life that has run to its end."""

AsyncOpener = Callable[[], AbstractAsyncContextManager[T]]
AsyncLife = AsyncGenerator[T, None]


class LivesOfAsyncOpener(Generic[T]):
    """Makes a new life of each context manager that `opener` returns; `name` is for errors."""

    __slots__ = ("_name", "_opener")

    def __init__(self, opener: AsyncOpener[T], name: Name) -> None:
        self._opener = opener
        self._name = name

    def __call__(self) -> AsyncLife[T]:
        """Return a life that is not begun."""
        return async_life_of(self._opener(), self._name)


def lives_of_async_hooks(
    factory: Callable[[], Awaitable[T] | T],
    start: Callable[[T], object] | None,
    stop: Callable[[T], object] | None,
    name: Name,
) -> Callable[[], AsyncLife[T]]:
    """Return what makes a new life of a thing that `factory` makes and two hooks begin and end; any may be async."""
    return partial(_made, factory, start, stop, name)


def async_life_of(manager: object, name: Name) -> AsyncLife[Any]:
    """Return the life of an asynchronous context manager, a new one each time; `name` is for errors.

    Raises:
        TypeError: It is none.
        RuntimeError: It was used before.
    """
    if type(manager) is _GENERATOR_MANAGER:
        life: AsyncGenerator[Any, None] | None = vars(manager).pop("gen", None)
        if life is None:
            raise RuntimeError(
                f"the opener of {text_of(name)} has returned {short(manager)} before: it must return a new "
                "context manager each time"
            )
        return life
    if not (hasattr(manager, "__aenter__") and hasattr(manager, "__aexit__")):
        shown = short(manager)
        hint = "; wrap the function with contextlib.asynccontextmanager" if isinstance(manager, AsyncGenerator) else ""
        raise TypeError(f"the opener of {text_of(name)} must return an asynchronous context manager, not {shown}{hint}")
    return _entered(cast("AbstractAsyncContextManager[Any]", manager))


async def begin(life: AsyncLife[T], name: Name) -> T:
    """Start the resource of a new life, and return its value.

    Raises:
        BaseException: What its start raised, or `RuntimeError` if it yields nothing.
    """
    value = cast("T", await anext(life, OVER))
    if value is OVER:
        raise RuntimeError(f"{text_of(name)} yielded no value: a resource yields exactly once")
    return value


async def finish(life: AsyncLife[object], name: Name) -> None:
    """Stop the resource of a life that was begun.

    Raises:
        BaseException: What its stop raised, or `RuntimeError` if it yields again.
    """
    value = await anext(life, OVER)
    if value is not OVER:
        await life.aclose()
        raise RuntimeError(f"{text_of(name)} yielded a second value, {short(value)}: a resource yields exactly once")


class Unseen(Generic[T]):
    """Runs a coroutine, and keeps from the event loop which asynchronous generators it begins; awaited once.

    The loop would close them when it ends, in tasks of its own, though their own task sees to them: what is to be left
    (`at_exit="leave"`), or was given up, would be stopped by that, and of other stops only what stands in a `finally`
    would run. What is dropped without having been closed is the loop's to close, as always.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[], object] = partial(self._coroutine.send, None)
        while True:
            hooks = sys.get_asyncgen_hooks()
            sys.set_asyncgen_hooks(None, hooks.finalizer)
            try:
                waits_for = step()
            except StopIteration as result:
                return cast("T", result.value)
            finally:
                sys.set_asyncgen_hooks(*hooks)
                del step  # it may have an error that refers to this frame
            try:
                step = partial(self._coroutine.send, (yield waits_for))
            except BaseException as error:
                step = partial(self._coroutine.throw, error)


async def awaited(result: Awaitable[T] | T) -> T:
    """Return what a hook gave, or what that gave when it was awaited."""
    if isawaitable(result):
        given: T = await result
        return given
    return result


async def _entered(manager: AbstractAsyncContextManager[T]) -> AsyncGenerator[T, None]:
    async with manager as value:
        yield value


async def _made(
    factory: Callable[[], Awaitable[T] | T],
    start: Callable[[T], object] | None,
    stop: Callable[[T], object] | None,
    name: Name,
) -> AsyncGenerator[T, None]:
    thing = await awaited(factory())
    if start is not None:
        try:
            await awaited(start(thing))
        except BaseException:
            await _discard(thing, stop, name)
            raise
    yield thing
    if stop is not None:
        await awaited(stop(thing))


async def _discard(thing: T, stop: Callable[[T], object] | None, name: Name) -> None:
    """Stop what was made but not started, so that half of it is not left behind."""
    if stop is not None:
        try:
            await awaited(stop(thing))
        except Exception as error:
            report(error, f"the stop of {text_of(name)}, whose start has failed")


@dataclass(frozen=True, slots=True)
class AsyncOptions(Generic[T]):
    """What every face that makes resources for tasks takes, and hands down to them.

    Whoever has one has good options: nobody need look at them again. `AsyncSharedResource` says what each means.

    Raises:
        TypeError: One of them has the wrong type.
        ValueError: One of them has no meaning, or contradicts another.
    """

    linger: float = 0.0
    check: Callable[[T], Awaitable[bool] | bool] | None = None
    overlap: bool = False
    exclusive: bool = False
    at_exit: Literal["stop", "leave"] = "stop"
    stop_timeout: float = math.inf
    on_failure: Literal["finish", "cancel"] = "finish"
    per_loop: bool = False

    def for_one_loop(self) -> AsyncOptions[T]:
        """Return the options of the resource that one loop has of those that are `per_loop`."""
        return replace(self, per_loop=False)

    def __post_init__(self) -> None:
        # As a float, whatever number it was: the hot paths compare it.
        object.__setattr__(self, "linger", check_seconds("linger", self.linger))
        if self.check is not None:
            check_function("check", self.check, ("the value",), awaits=True)
        for what, value in (("overlap", self.overlap), ("exclusive", self.exclusive), ("per_loop", self.per_loop)):
            check_flag(what, value)
        check_modes(overlap=self.overlap, exclusive=self.exclusive, at_exit=self.at_exit)
        object.__setattr__(self, "stop_timeout", check_seconds("stop_timeout", self.stop_timeout))
        if self.on_failure not in ("finish", "cancel"):
            raise ValueError(f"on_failure must be 'finish' or 'cancel', not {short(self.on_failure)}")


@asynccontextmanager
async def _never_called() -> AsyncGenerator[None, None]:
    yield


_GENERATOR_MANAGER: type[object] = type(_never_called())
