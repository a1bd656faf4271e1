"""`SharedCallable`: how functions and methods look that give leases."""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ParamSpec

from refcount._support.wrapping import Decorated

P = ParamSpec("P")


class SharedCallable(Decorated[P]):
    """A function or a method whose calls give leases."""

    __slots__ = ()

    def _self_lease(self) -> object:
        """Return the class of what a call gives."""
        raise NotImplementedError

    def _self_gives(self) -> object:
        return annotation_of_call(self.__wrapped__, self._self_lease())

    def _self_help(self) -> str | None:
        name = self.__name__
        note = (
            f"Shared: `{self._self_with()} {name}(...) as value:` holds a lease on `{name}.resource(...)`. "
            f"Of all of them there are\n"
            f"`{name}.resources()`, `.usecount`, `.flush()`, `.invalidate()`, `.abandon()` and `.close()`."
        )
        doc = self.__wrapped__.__doc__
        return f"{inspect.cleandoc(doc)}\n\n{note}" if doc else note

    def _self_with(self) -> str:
        """Return how a lease is entered."""
        raise NotImplementedError

    def _self_resource(self) -> type[object]:
        """Return the class of what is behind a call."""
        raise NotImplementedError

    def _self_hint(self, name: str) -> str:
        if name.startswith("_") or not hasattr(self._self_resource(), name):
            return ""
        return f": each of its resources has, write `{self.__qualname__}.resource(...).{name}`"

    def _self_instance(self) -> object:
        """Return what it is a method of."""
        return None


_GIVERS = (
    Generator,
    Iterator,
    Iterable,
    AbstractContextManager,
    AsyncGenerator,
    AsyncIterator,
    AsyncIterable,
    AbstractAsyncContextManager,
)


def annotation_of_call(source: Callable[..., object], kind: object) -> object:
    """Return what a call of the shared function gives, a lease of this `kind`, as an annotation.

    That is `Lease[str]` where it yields strings.
    """
    try:
        returned = typing.get_type_hints(source).get("return")
    except Exception:  # a name that is not there yet, or only for checkers
        returned = getattr(source, "__annotations__", {}).get("return")
    value = _value_in_text(returned) if isinstance(returned, str) else _value_in(returned)
    lease: Any = kind  # of what, no checker need know
    try:
        return kind if value is None else lease[value]
    except TypeError:
        return kind


def _value_in(returned: object) -> Any:
    """Return what a function gives by what it returns; None if that does not say."""
    arguments = typing.get_args(returned)
    return arguments[0] if arguments and typing.get_origin(returned) in _GIVERS else None


def _value_in_text(returned: str) -> str | None:
    """Return the same, where nobody can evaluate the annotation."""
    node = ast.parse(returned, mode="eval").body
    if not isinstance(node, ast.Subscript):
        return None
    name = ast.unparse(node.value).rpartition(".")[2]
    if name not in {giver.__name__ for giver in _GIVERS}:
        return None
    inner = node.slice
    return ast.unparse(inner.elts[0] if isinstance(inner, ast.Tuple) and inner.elts else inner)
