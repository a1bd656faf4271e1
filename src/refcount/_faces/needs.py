"""What tells whether an instance needs something by an attribute: one that exists and is true, and no method."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property, partialmethod

from refcount._faces.tracked import how_to_track, tracked

WHO = "what tells whether an instance demands"
"""What a name of an attribute is to the user, and a predicate."""

MISSING = object()
FAILING = property, cached_property
"""What raises an `AttributeError` of its own making, where others have no attribute."""


def needs_attribute(name: str) -> Callable[[object], bool]:
    """Return what tells whether an instance has an attribute of that name, and it is true."""
    if not name.isidentifier():
        raise ValueError(f"{WHO} must be the name of an attribute, not {name!r}")

    def needs(instance: object) -> bool:
        value: object = getattr(instance, name, MISSING)
        if value is MISSING:
            # Of what computes it, the error is wanted that it has hidden.
            return isinstance(getattr(type(instance), name, None), FAILING) and bool(getattr(instance, name))
        if isinstance(value, tracked):
            cls = type(instance)
            raise TypeError(
                f"{value!r} of {cls.__qualname__} is no value, but the default of a field: {how_to_track(cls)}"
            )
        if callable(value) and name not in getattr(instance, "__dict__", ()):
            refuse_method(type(instance), name)
        return bool(value)

    return needs


def refuse_method(cls: type, name: str) -> None:
    """Raise `TypeError` if what a class has under a name is a method."""
    found = inspect.getattr_static(cls, name, None)
    if isinstance(found, classmethod | partialmethod) or (inspect.isroutine(found) and callable(found)):
        raise TypeError(
            f"{cls.__qualname__}.{name} is a method, which would always be true: "
            f"write `demand(lambda instance: instance.{name}())`"
        )
