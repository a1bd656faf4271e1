"""Callables: what they are called, what they really are (behind `functools.partial`, say), and what is public."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar, cast


def name_of(thing: object) -> str:
    """Return what a reader would call `thing`."""
    name = getattr(thing, "__qualname__", None)
    return name if isinstance(name, str) else repr(thing)


def plain_name(function: object) -> str:
    """Return the function's name as its calls are written; `camera`, or `Producer.feed`."""
    return name_of(function).rpartition("<locals>.")[2]


def code_of(function: object) -> object:
    """Return the code object of a Python function, or None for anything else."""
    return getattr(function, "__code__", None)


def _never_called() -> Generator[None, None, None]:
    yield


async def _never_called_either() -> AsyncGenerator[None, None]:
    yield


MANAGER_CODE = code_of(contextmanager(_never_called))
"""The code object that all functions which `contextmanager` has wrapped share, and no others have."""

ASYNC_MANAGER_CODE = code_of(asynccontextmanager(_never_called_either))
"""The same of `asynccontextmanager`."""


def function_of(source: object) -> Callable[..., object]:
    """Return the function behind partials and callable instances, which has the code and the annotations."""
    while isinstance(source, functools.partial):
        source = source.func
    function = source if inspect.isroutine(source) else type(source).__call__
    return cast("Callable[..., object]", function)


_Public = TypeVar("_Public", bound=Callable[..., object])


def public(obj: _Public) -> _Public:
    """Make a class or function report `refcount` as its module, in reprs, tracebacks, documentation and pickles.

    Pickle finds an object again by module and qualified name, so whatever is decorated must be importable from
    `refcount` under that name; what was pickled then survives that a private module is renamed.

    Two tools look a class up by its module and find the package: `doctest` (and `pytest --doctest-modules`) collects a
    public class from `refcount/__init__.py`, not from the file that holds it, and `inspect.getsource` does not find it.

    Args:
        obj: A class or a function at the top level of a module.

    Returns:
        The same object.
    """
    obj.__module__ = "refcount"
    return obj
