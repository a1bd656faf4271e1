"""What a callable really is: behind `functools.partial`, instances with `__call__`, and `contextlib`'s decorators."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import cast


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
