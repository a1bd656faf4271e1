"""`Recipe`: what makes the value of an attribute, starts it and stops it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

from refcount._core.async_openers import lives_of_async_hooks
from refcount._core.openers import lives_of_hooks
from refcount._support.checks import (
    check_call,
    check_factory,
    check_function,
    check_taken,
    function_of,
    is_asynchronous,
    is_manager_function,
    is_member,
    misfit,
)
from refcount._support.naming import Name, name_of, short

# `Any` is the instance, of which no type can be known while its class is being made, and what a source or a hook is
# handed.

INSTANCE, VALUE = ("the instance",), ("the value",)
"""What the user's functions are handed, as errors call it."""

Part = tuple[Callable[..., Any] | None, bool]
"""What makes, starts or stops a value, and whether it is given the instance."""


class Recipe:
    """What makes the value of an instance, starts it and stops it.

    Attributes:
        source: The generator method, or the factory.
        doc: What the attribute says of itself.
        sees_instance: Whether any of the three is given the instance.
        for_tasks: Whether tasks share it: the method is an asynchronous generator's, or the factory or one of its hooks
            is a coroutine function.
    """

    __slots__ = ("_generates", "_parts", "doc", "for_tasks", "sees_instance", "source")

    def __init__(
        self,
        source: Callable[..., Any],
        start: Callable[..., Any] | None,
        stop: Callable[..., Any] | None,
    ) -> None:
        _refuse_unfit(source)
        self.source: Callable[..., Any] = source
        function = function_of(source)
        generates_later = inspect.isasyncgenfunction(function)
        self._generates = generates_later or inspect.isgeneratorfunction(function)
        if self._generates and (start is not None or stop is not None):
            raise TypeError(
                f"start and stop go with a factory, and `{name_of(source)}` is a generator function: "
                "what stands before its yield starts the resource, what stands after it stops it"
            )
        self.for_tasks: bool = generates_later
        if not self._generates:
            self.for_tasks = any(map(_is_awaited, (source, start, stop)))
        of_instance = self._generates or bool(misfit(source, ()))
        given = INSTANCE if of_instance else ()
        if generates_later:
            check_taken("the method of a refcounted_attribute", source, given)
        elif self._generates:
            check_call("the method of a refcounted_attribute", source, given)
        else:
            hooked = start is not None or stop is not None
            check_factory("the factory of a refcounted_attribute", source, given, awaits=self.for_tasks, hooked=hooked)
        hooks = [_hook(what, hook, awaits=self.for_tasks) for what, hook in (("start", start), ("stop", stop))]
        self._parts: list[Part] = [(source, of_instance), *hooks]
        self.sees_instance: bool = any(sees for _, sees in self._parts)
        written = source.__doc__ if of_instance and inspect.isroutine(source) else None
        self.doc: str = written or f"A shared resource, each instance's own, made by `{name_of(source)}`."

    def lives(self, instance: object, name: Name) -> Callable[[], Any]:
        """Return what makes the lives of the resource of `instance`, which is called `name`."""
        make, start, stop = [
            MethodType(function, instance) if sees and function is not None else function
            for function, sees in self._parts
        ]
        assert make is not None
        if self._generates:
            return make
        if not self.for_tasks:
            return lives_of_hooks(make, start, stop, name)
        return lives_of_async_hooks(make, start, stop, name)


def _refuse_unfit(source: object) -> None:
    """Raise `TypeError` if no resource can be made of `source`, whatever it takes."""
    kind = type(source)
    if kind is staticmethod or kind is classmethod:
        raise TypeError(f"refcounted_attribute needs the function itself, not a {kind.__name__}: `{name_of(source)}`")
    if is_member(source):
        raise TypeError(
            f"the factory of a refcounted_attribute must make the value: {short(source)} is an attribute already"
        )
    if callable(source) and is_manager_function(function_of(source)):
        manager = "asynccontextmanager" if is_asynchronous(function_of(source)) else "contextmanager"
        raise TypeError(f"refcounted_attribute takes the place of @{manager}, so leave that out: `{name_of(source)}`")


def _is_awaited(function: Callable[..., Any] | None) -> bool:
    return function is not None and not inspect.isclass(function) and inspect.iscoroutinefunction(function_of(function))


def _hook(what: str, function: Callable[..., Any] | None, *, awaits: bool) -> Part:
    """Return a hook, and whether it is given the instance."""
    if function is None:
        return None, False
    of_instance = bool(misfit(function, VALUE)) and not misfit(function, INSTANCE + VALUE)
    check_function(what, function, INSTANCE + VALUE if of_instance else VALUE, awaits=awaits)
    return function, of_instance
