"""What a callable is called, and what it really is: behind `functools.partial`, `__call__`, and `contextlib`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import cast


def name_of(thing: object) -> str:
    """Return what a reader would call `thing`."""
    name = getattr(thing, "__qualname__", None)
    return name if isinstance(name, str) else repr(thing)


def plain_name(function: object) -> str:
    """Return the function's name as its calls are written; `camera`, or `Producer.feed`."""
    return name_of(function).rpartition("<locals>.")[2]


def code_of(function: object) -> object:
    """Return the code object of a Python function; None if it is none."""
    return getattr(function, "__code__", None)


# All functions that one of these two has wrapped share one code object, which no other function has.


@code_of
@contextmanager
def manager_code() -> Generator[None, None, None]:
    """Stand for every function that `contextmanager` has wrapped."""
    yield


@code_of
@asynccontextmanager
async def async_manager_code() -> AsyncGenerator[None, None]:
    """Stand for every function that `asynccontextmanager` has wrapped."""
    yield


def function_of(source: object) -> Callable[..., object]:
    """Return what has the code and the annotations of `source`."""
    while isinstance(source, functools.partial):
        source = source.func
    function = source if inspect.isroutine(source) else type(source).__call__
    return cast("Callable[..., object]", function)
