"""What can be shared of functions: a `Source`, for threads, or an `AsyncSource`, for tasks."""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from inspect import Parameter, Signature
from typing import Any, TypeVar

from refcount._faces.decorators import SupportsAsyncEnter, SupportsEnter
from refcount._support.checks import (
    check_callable,
    code_of,
    function_of,
    is_asynchronous,
    is_decorated,
    is_manager_function,
)
from refcount._support.naming import name_of

T = TypeVar("T")

Source = Callable[..., Iterator[T] | SupportsEnter[T]]
AsyncSource = Callable[..., AsyncIterator[T] | SupportsAsyncEnter[T]]

_SHARED: tuple[type, ...] = (Iterator, AbstractContextManager)
_ASYNC: tuple[type, ...] = (AsyncIterator, AbstractAsyncContextManager)
"""What a function may return, for threads and for tasks."""

ANY = Signature([Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)])
"""The signature of what will not tell it."""


def signature_of(function: Callable[..., object]) -> Signature:
    """Return the signature of `function`, or one that takes anything if nobody can tell."""
    try:
        return inspect.signature(function)
    except ValueError:  # some builtins
        return ANY


def check_source(decorator: str, source: object) -> bool:
    """Look whether a call of `source` may give what can be shared; say whether that is for tasks.

    What is for both threads and tasks is shared by threads.

    Raises:
        TypeError: It gives something else, says what names `decorator` and `source`.
    """
    _refuse_decorated(decorator, source)
    check_callable(f"what {decorator} decorates", source)
    function = function_of(source)
    if inspect.isgeneratorfunction(function):
        return False
    coroutine = inspect.iscoroutinefunction(function)
    if not coroutine and (is_asynchronous(function) or is_manager_function(function)):
        return is_asynchronous(function)
    returned = _returned(function)
    if coroutine or (returned is not None and issubclass(returned, Awaitable)):
        raise TypeError(
            f"{decorator} needs an asynchronous generator function, which yields what is shared: "
            f"`{name_of(function)}` has no yield, and is awaited"
        )
    if returned is None or issubclass(returned, _SHARED):
        return False
    if not issubclass(returned, _ASYNC) and not getattr(source, "__isabstractmethod__", False):
        raise TypeError(
            f"{decorator} needs a generator function, or one whose annotation says that it returns a context manager; "
            f"`{name_of(function)}` is neither"
        )
    return issubclass(returned, _ASYNC)


def _refuse_decorated(decorator: str, source: object) -> None:
    """Raise `TypeError` if `source` is no function any more, but what something else has made of one."""
    kind = type(source)
    if kind is staticmethod or kind is classmethod:
        instead = "; @refcounted_method may" if kind is classmethod else ""
        raise TypeError(f"@{kind.__name__} must stand above {decorator}, not below it: `{name_of(source)}`{instead}")
    if kind.__module__ == "_pytest.fixtures":
        raise TypeError(
            f"{decorator} cannot share a fixture: share the function, and write a fixture that enters it: "
            f"`{name_of(source)}`"
        )
    if inspect.isclass(source):
        raise TypeError(f"{decorator} needs a function; `{name_of(source)}` is a class")
    if is_decorated(source):
        raise TypeError(f"{decorator} needs a function that is not shared already; `{name_of(source)}` is")


def refuse_method(function: Callable[..., object], owner: type[object]) -> None:
    """Raise `TypeError` if `function`, which was decorated as a function, is a method of `owner`.

    What a class holds that was written elsewhere is none, and what takes nothing by position cannot be one.
    """
    written = function_of(inspect.unwrap(function))
    first = next(iter(signature_of(written).parameters.values()), None)
    if first is None or first.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        return
    place, _, name = str(getattr(written, "__qualname__", "")).rpartition(".")
    in_body = written.__module__ == owner.__module__ and place == owner.__qualname__ and name != "<lambda>"
    if in_body or first.name == "self":
        raise TypeError(
            f"@refcounted_resource would take the instance of `{name_of(written)}` for an argument: write "
            "@refcounted_method instead; or @staticmethod above it, if it takes no instance"
        )


def _returned(function: Callable[..., object]) -> type | None:
    """Return the class of what `function` returns by its annotation; `object` without one, None if it cannot say."""
    unwrapped = inspect.unwrap(function)
    if inspect.isasyncgenfunction(unwrapped):
        return AsyncIterator
    if inspect.isgeneratorfunction(unwrapped) or code_of(function) is None or name_of(unwrapped).endswith("<lambda>"):
        return None
    try:
        hint = typing.get_type_hints(function).get("return", object)
    except Exception:  # a name that is not there yet, or only for checkers
        return None
    returned = typing.get_origin(hint) or hint
    return returned if isinstance(returned, type) and returned is not Any else None  # `Any` is a class of its own
