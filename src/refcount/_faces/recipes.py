"""`Recipe`: what makes, starts and stops the values of an attribute; and where the resource of an instance is kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from operator import methodcaller
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from refcount._core.openers import Options, lives_of_hooks
from refcount._core.shared import SharedResource
from refcount._support.checks import (
    check_callable,
    check_function,
    check_hooks,
    function_of,
    is_manager_function,
    is_member,
    misfit,
)
from refcount._support.naming import Name, name_of, short
from refcount._support.weak import NOBODY, WeakValue

if TYPE_CHECKING:
    from refcount._core.openers import Life

T = TypeVar("T")

# `Any` is what no type can tell here: the instance, and what a source or a hook is handed.

INSTANCE, VALUE = ("the instance",), ("the value",)
"""What the user's functions are handed, as errors call it."""

Part = tuple[Callable[..., Any] | None, bool]
"""What makes, starts or stops a value, and whether it is given the instance."""


class Recipe(Generic[T]):
    """What makes the value of an instance, starts it and stops it.

    Args:
        source: A generator method, or a factory.
        start: The factory's.
        stop: The factory's.

    Attributes:
        doc: What the attribute says of itself.
        sees_instance: Whether any of the three is given the instance.
    """

    __slots__ = ("_generates", "_parts", "doc", "sees_instance", "source")

    def __init__(
        self,
        source: Callable[..., Any],
        start: Callable[..., Any] | None,
        stop: Callable[..., Any] | None,
    ) -> None:
        _refuse_unfit(source, hooked=start is not None or stop is not None)
        self.source: Callable[..., Any] = source
        self._generates = _generates(source)
        of_instance = self._generates or bool(misfit(source, ()))
        what = "method" if self._generates else "factory"
        check_hooks(f"the {what} of a refcounted_attribute", source, None, None, INSTANCE if of_instance else ())
        self._parts: list[Part] = [(source, of_instance), _hook("start", start), _hook("stop", stop)]
        self.sees_instance: bool = any(sees for _, sees in self._parts)
        written = source.__doc__ if of_instance and inspect.isroutine(source) else None
        self.doc: str = written or f"A shared resource, each instance's own, made by `{name_of(source)}`."

    def lives(self, instance: object, name: Name) -> Callable[[], Life[T]]:
        """Return what makes the lives of the resource of `instance`, which is called `name`."""
        make, start, stop = [
            MethodType(function, instance) if sees and function is not None else function
            for function, sees in self._parts
        ]
        assert make is not None
        return cast("Callable[[], Life[T]]", make) if self._generates else lives_of_hooks(make, start, stop, name)


def _generates(source: object) -> bool:
    return inspect.isgeneratorfunction(function_of(source))


def _refuse_unfit(source: object, *, hooked: bool) -> None:
    """Raise `TypeError` if no resource can be made of `source`, whatever it takes."""
    kind = type(source)
    if kind is staticmethod or kind is classmethod:
        raise TypeError(f"refcounted_attribute needs the function itself, not a {kind.__name__}: `{name_of(source)}`")
    if is_member(source):
        raise TypeError(
            f"the factory of a refcounted_attribute must make the value: {short(source)} is an attribute already"
        )
    if callable(source) and is_manager_function(function_of(source)):
        raise TypeError(
            f"refcounted_attribute takes the place of @contextmanager, so leave that out: `{name_of(source)}`"
        )
    if hooked and callable(source) and _generates(source):
        raise TypeError(
            f"start and stop go with a factory, and `{name_of(source)}` is a generator function: "
            "what stands before its yield starts the resource, what stands after it stops it"
        )


def _hook(what: str, function: Callable[..., Any] | None) -> Part:
    """Return a hook, and whether it is given the instance."""
    if function is None:
        return None, False
    check_callable(what, function)
    of_instance = bool(misfit(function, VALUE)) and not misfit(function, INSTANCE + VALUE)
    check_function(what, function, INSTANCE + VALUE if of_instance else VALUE)
    return function, of_instance


class Place(Generic[T]):
    """Where the resource of one instance is found that refers to it: the instance would never go if it were kept.

    Attributes:
        closed: Whether it was closed, so that whatever comes in its place is to be closed as well.
    """

    __slots__ = ("_found", "closed")

    def __init__(self) -> None:
        self._found: dict[int, WeakValue[SharedResource[T]]] = {}
        self.closed: bool = False

    def find(self) -> SharedResource[T] | None:
        """Return the resource, if there is one."""
        return self._found.get(0, NOBODY)()

    def keep(self, fresh: SharedResource[T]) -> SharedResource[T]:
        """Keep a resource weakly, and return it, or that of a thread which was faster."""
        reference = WeakValue(fresh, methodcaller("discard", self._found, 0))
        while (found := self._found.setdefault(0, reference)()) is None:
            WeakValue.discard(self._found, 0)
        return found


class Own(SharedResource[T]):
    """A resource that refers to its instance, and so is forgotten while it is idle; but not that it was closed.

    Args:
        place: Where it is found.
        lives: Makes what starts and stops it.
        name: Its name.
        options: What else was said of it.
    """

    __slots__ = ("_place",)

    def __init__(self, place: Place[T], lives: Callable[[], Life[T]], name: Name, options: Options[T]) -> None:
        self._setup(lives, name, options, anchored=False)
        self._place = place
        if place.closed:
            super().close()

    def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Close it, and whatever comes in its place."""
        try:
            super().close(timeout, force=force)
        finally:
            self._place.closed = self._place.closed or self.closed
