"""What can be decorated: functions whose call gives a generator, or another iterator, or a context manager.

A generator function and a function that `contextlib.contextmanager` has wrapped are known when the decorator sees them;
any other `def` is taken at its word, the annotation of what it returns, and refused without one: most often it forgot
to yield. Let through is what cannot say what it returns (a lambda, a builtin), and what says nothing by it (`Any`, a
union, a name that cannot be evaluated yet); then the first start finds out.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import GeneratorType
from typing import Any, TypeVar, cast

from refcount._core.openers import Opener, Yielding
from refcount._faces.protocols import SupportsEnter
from refcount._support.callables import ASYNC_MANAGER_CODE, MANAGER_CODE, code_of, function_of, name_of
from refcount._support.checks import check_callable
from refcount._support.wrapping import Wrapping

T = TypeVar("T")

Source = Callable[..., Iterator[T] | SupportsEnter[T]]

_SHARED: tuple[type, ...] = (Iterator, AbstractContextManager)
_ASYNC: tuple[type, ...] = (AsyncIterator, Awaitable, AbstractAsyncContextManager)


def opener_of(source: Source[T], args: tuple[object, ...], kwargs: Mapping[str, object], name: str) -> Opener[T]:
    """Return the opener of the resource for these arguments; `name` names it in errors."""

    def opener() -> AbstractContextManager[T]:
        opened = source(*args, **kwargs)
        if isinstance(opened, AbstractContextManager) or not isinstance(opened, Iterator):
            return cast("AbstractContextManager[T]", opened)  # `open_checked` looks what it really is
        return Yielding(_generator(opened), name)

    return opener


def _generator(iterator: Iterator[T]) -> Generator[T, None, object]:
    """Return `iterator`, as a generator if it is none: what a `Yielding` is made of can tell where it stands."""
    if isinstance(iterator, GeneratorType):
        return cast("Generator[T, None, object]", iterator)
    return (value for value in iterator)


def check_source(decorator: str, source: object) -> None:
    """Raise `TypeError`, naming `decorator` and `source`, unless a call of it may give what can be shared."""
    kind = type(source)
    if kind is staticmethod or kind is classmethod:
        raise TypeError(f"@{kind.__name__} must stand above {decorator}, not below it: `{name_of(source)}`")
    if inspect.isclass(source):
        raise TypeError(f"{decorator} needs a function; `{name_of(source)}` is a class")
    if isinstance(source, Wrapping):
        raise TypeError(f"{decorator} needs a function that is not shared already; `{source.__qualname__}` is")
    check_callable(f"what {decorator} decorates", source)
    function = function_of(source)
    returned = None if _yields(function) else _returned(function)
    if _is_asynchronous(function) or (returned is not None and issubclass(returned, _ASYNC)):
        raise TypeError(f"{decorator} cannot share asynchronous functions yet: `{name_of(function)}` is one")
    if returned is not None and not issubclass(returned, _SHARED):
        raise TypeError(
            f"{decorator} needs a generator function, or one whose annotation says that it returns a context manager; "
            f"`{name_of(function)}` is neither"
        )


def _yields(function: Callable[..., object]) -> bool:
    return inspect.isgeneratorfunction(function) or code_of(function) is MANAGER_CODE


def _is_asynchronous(function: Callable[..., object]) -> bool:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return True
    return code_of(function) is ASYNC_MANAGER_CODE


def _returned(function: Callable[..., object]) -> type | None:
    """Return the class of what `function` returns by its annotation; `object` without one, None if it cannot say."""
    unwrapped = inspect.unwrap(function)
    if inspect.isgeneratorfunction(unwrapped) or code_of(function) is None or name_of(unwrapped).endswith("<lambda>"):
        return None
    try:
        hint = typing.get_type_hints(function).get("return", object)
    except Exception:  # a name that is not there yet, or only for checkers
        return None
    returned = typing.get_origin(hint) or hint
    return returned if isinstance(returned, type) and returned is not Any else None  # `Any` is a class of its own
