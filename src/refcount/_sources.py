"""What can be decorated: functions whose call gives a generator, or another iterator, or a context manager.

A generator function and a function that `contextlib.contextmanager` has wrapped are known when the decorator sees them;
any other Python function is taken at its word, the annotation of what it returns. Only what has no annotations, such as
a builtin, or one that cannot be evaluated yet, is let through; then the first start finds out.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import GeneratorType
from typing import TypeVar, cast

from refcount._checks import check_callable
from refcount._functions import async_manager_code, code_of, function_of, manager_code
from refcount._openers import Opener, Yielding
from refcount._protocols import SupportsEnter
from refcount._wrapping import Wrapping

T = TypeVar("T")

Source = Callable[..., Iterator[T] | SupportsEnter[T]]

_SHARED: tuple[type, ...] = (Iterator, AbstractContextManager)
_ASYNC: tuple[type, ...] = (AsyncIterator, Awaitable, AbstractAsyncContextManager)


def opener_of(source: Source[T], args: tuple[object, ...], kwargs: Mapping[str, object], name: str) -> Opener[T]:
    """Return the opener of the resource for these arguments; `name` names it in errors."""

    def opener() -> AbstractContextManager[T]:
        opened = source(*args, **kwargs)
        if isinstance(opened, AbstractContextManager) or not isinstance(opened, Iterator):
            return cast("AbstractContextManager[T]", opened)  # whoever opens it looks what it really is
        return Yielding(_generator(opened), name)

    return opener


def _generator(iterator: Iterator[T]) -> Generator[T, None, object]:
    """Return `iterator`, as a generator if it is none: what a `Yielding` is made of can tell where it stands."""
    if isinstance(iterator, GeneratorType):
        return cast("Generator[T, None, object]", iterator)
    return (value for value in iterator)


def check_source(decorator: str, source: object) -> None:
    """Raise `TypeError`, naming `decorator` and `source`, unless a call of it may give what can be shared."""
    what = f"what {decorator} decorates"
    if isinstance(source, staticmethod | classmethod):
        raise TypeError(f"{what} must be the function itself, not {source!r}: write the other decorator above")
    if inspect.isclass(source):
        raise TypeError(f"{what} must be a function, not {source!r}")
    if isinstance(source, Wrapping):
        raise TypeError(f"{what} must not be decorated so already: {source.__qualname__}")
    check_callable(what, source)
    function = function_of(source)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise _asynchronous(what, source)
    if code_of(function) is async_manager_code:
        raise _asynchronous(what, source)
    if not inspect.isgeneratorfunction(function) and code_of(function) is not manager_code:
        _check_annotation(what, source, function)


def _check_annotation(what: str, source: object, function: Callable[..., object]) -> None:
    """Look at what `function` says that it returns."""
    returned = _returned(function)
    if not isinstance(returned, type) or issubclass(returned, _SHARED):
        return
    if issubclass(returned, _ASYNC):
        raise _asynchronous(what, source)
    raise TypeError(
        f"{what} must be a generator function, or return a context manager and say so in its annotation: "
        f"{source!r} does not"
    )


def _returned(function: Callable[..., object]) -> object:
    """Return the class of what `function` returns by its annotation; `object` without one, None if it is unknown."""
    if inspect.isgeneratorfunction(inspect.unwrap(function)) or code_of(function) is None:
        return None
    try:
        hint = typing.get_type_hints(function).get("return", object)
    except Exception:  # a name that is not there yet, or only for checkers
        return None
    return typing.get_origin(hint) or hint


def _asynchronous(what: str, source: object) -> TypeError:
    return TypeError(f"{what} must not be asynchronous, there are only resources for threads so far: {source!r}")
