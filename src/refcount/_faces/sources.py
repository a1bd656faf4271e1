"""Sources: the functions that users decorate, looked at where they are handed in."""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from inspect import Parameter, Signature
from typing import Any, TypeVar

from refcount._faces.signatures import SupportsEnter
from refcount._support.checks import check_callable, code_of, function_of, is_asynchronous, is_manager_function
from refcount._support.naming import name_of
from refcount._support.wrapping import Decorated

T = TypeVar("T")

Source = Callable[..., Iterator[T] | SupportsEnter[T]]

ANY = Signature([Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)])
"""The signature of what will not tell it."""


def signature_of(function: Callable[..., object]) -> Signature:
    """Return the signature of `function`, or one that takes anything if nobody can tell."""
    try:
        return inspect.signature(function)
    except ValueError:  # some builtins
        return ANY


_SHARED: tuple[type, ...] = (Iterator, AbstractContextManager)
_ASYNC: tuple[type, ...] = (AsyncIterator, Awaitable, AbstractAsyncContextManager)


def check_source(decorator: str, source: object) -> None:
    """Raise `TypeError`, naming `decorator` and `source`, unless a call of it may give what can be shared."""
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
    if isinstance(source, Decorated):
        raise TypeError(f"{decorator} needs a function that is not shared already; `{source.__qualname__}` is")
    check_callable(f"what {decorator} decorates", source)
    function = function_of(source)
    abstract = getattr(source, "__isabstractmethod__", False)
    returned = None if abstract or _yields(function) else _returned(function)
    if is_asynchronous(function) or (returned is not None and issubclass(returned, _ASYNC)):
        raise TypeError(f"{decorator} cannot share asynchronous functions yet: `{name_of(function)}` is one")
    if returned is not None and not issubclass(returned, _SHARED):
        raise TypeError(
            f"{decorator} needs a generator function, or one whose annotation says that it returns a context manager; "
            f"`{name_of(function)}` is neither"
        )


def refuse_method(function: Callable[..., object], owner: type[object]) -> None:
    """Raise `TypeError` if `function`, which was decorated as a function, is a method of `owner`.

    What a class holds that was written elsewhere is none, and what takes nothing by position cannot be one.
    """
    written = function_of(inspect.unwrap(function))
    first = next(iter(signature_of(written).parameters.values()), None)
    if first is None or first.kind not in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
        return
    place, _, name = name_of(written).rpartition(".")
    in_body = written.__module__ == owner.__module__ and place == owner.__qualname__ and name != "<lambda>"
    if in_body or first.name == "self":
        raise TypeError(
            f"@refcounted_resource would take the instance of `{name_of(written)}` for an argument: write "
            "@refcounted_method instead; or @staticmethod above it, if it takes no instance"
        )


def _yields(function: Callable[..., object]) -> bool:
    return inspect.isgeneratorfunction(function) or is_manager_function(function)


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
