"""`Member`: an attribute or a method that a class has for its instances, as others refer to it in that class."""

from __future__ import annotations

from typing import Any

from refcount._support.checks import GivesLeases

# `Any` is what stands on an instance, which nobody can tell of a descriptor.


class Member:
    """An attribute or a method of a class, as it is used in the body of that class.

    It is looked up by its name, so that a subclass may override it.

    Args:
        thing: What the class has.
        user: Who uses it, in errors.
    """

    __slots__ = ("_name", "_thing", "_user")

    def __init__(self, thing: object, user: str) -> None:
        self._name: str | None = None
        self._thing = thing
        self._user = user

    def on(self, instance: object) -> Any:
        """Return what stands on `instance`.

        Raises:
            TypeError: The class of the instance, and all its bases, have it not.
        """
        if self._name is None:
            self._name = self._find(type(instance))
        return getattr(instance, self._name)

    def _find(self, cls: type) -> str:
        for base in cls.__mro__:
            for name, value in vars(base).items():
                if value is self._thing:
                    return name
        raise TypeError(f"{self._user} uses {self._thing!r}, which {cls!r} has not")


def is_member(thing: object) -> bool:
    """Return whether `thing` was made for a class, whose instances have something in its place."""
    kind = type(thing)
    if isinstance(thing, GivesLeases):  # a decorated function stays what it is, wherever it stands
        return False
    return kind is property or (hasattr(kind, "__get__") and hasattr(kind, "__set_name__"))
