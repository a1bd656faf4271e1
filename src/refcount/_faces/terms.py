"""`Terms`: the options that decorators of functions, methods and classes are given."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any, Generic, Literal, TypeVar

from refcount._core.async_openers import AsyncOptions
from refcount._core.openers import Limits, Options
from refcount._support.checks import check_function, check_name
from refcount._support.choices import check_flag
from refcount._support.naming import name_of, one_line

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")

FAMILY = ("key", "capacity", "weight", "when_full")
"""The options of those that have many resources."""

THREADS = ("own_thread",)
"""The options of what threads drive, and tasks do not."""

TASKS = ("stop_timeout", "on_failure", "per_loop")
"""And the other way round."""


@dataclass(frozen=True)
class Terms(Generic[T]):
    """The options of `refcounted_resource` and `refcounted_method`, which their docstrings explain.

    Some are for threads and some for tasks; which of them are in their place shows when it is known what is decorated.

    Raises:
        TypeError: One of them has the wrong type.
        ValueError: One of them has no meaning, or contradicts another.
    """

    linger: float = 0.0
    check: Callable[[T], Awaitable[bool] | bool] | None = None
    overlap: bool = False
    exclusive: bool = False
    own_thread: bool = False
    at_exit: Literal["stop", "leave"] = "stop"
    stop_timeout: float = math.inf
    on_failure: Literal["finish", "cancel"] = "finish"
    per_loop: bool = False
    name: str | Callable[..., str] | None = None
    key: Callable[..., Hashable] | None = None
    capacity: float | None = None
    weight: Callable[..., float] | None = None
    when_full: Literal["wait", "raise"] = "wait"
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        self._for_tasks()
        check_flag("own_thread", self.own_thread)
        if isinstance(self.name, str):
            object.__setattr__(self, "name", one_line(self.name))
        for what, function in (("key", self.key), ("weight", self.weight)):
            if function is not None:
                check_function(what, function)
        object.__setattr__(self, "limits", Limits(self.capacity, self.when_full, weighed=self.weight is not None))

    def given(self) -> dict[str, Any]:
        """Return the options that are not what they are by default, as they are written."""
        return {name: value for name in DEFAULTS if (value := getattr(self, name)) != DEFAULTS[name]}

    def name_of(self, source: object) -> str:
        """Return what stands before the arguments in the names of the resources of `source`."""
        return self.name if isinstance(self.name, str) else name_of(source)

    def for_threads(self, name: str, *, alone: bool = True) -> Options[T]:
        """Return those of what `name` is the name of, and which threads drive, `alone` or tasks as well.

        Raises:
            TypeError: One of them has no effect there, or the check would have to be awaited.
        """
        if alone:
            self._refuse(TASKS, f"`{name}`, which is not asynchronous: it is for what tasks share")
        check: Any = self.check  # that it is no coroutine function, `Options` sees
        return Options(self.linger, check, self.overlap, self.exclusive, self.own_thread, self.at_exit)

    def for_tasks(self, name: str, *, alone: bool = True) -> AsyncOptions[T]:
        """Return those of what `name` is the name of, and which tasks drive, `alone` or threads as well.

        Raises:
            TypeError: One of them has no effect there.
        """
        if alone:
            self._refuse(THREADS, f"`{name}`, which is asynchronous: start and stop run in a task of their own")
        return self._for_tasks()

    def _for_tasks(self) -> AsyncOptions[T]:
        # What threads take but for a check, which may be a coroutine function here.
        mode = (self.overlap, self.exclusive, self.at_exit)
        return AsyncOptions(self.linger, self.check, *mode, self.stop_timeout, self.on_failure, self.per_loop)

    def refuse_for_class(self, what: str) -> None:
        """Raise `TypeError`, naming `what`, if there are options that mean nothing for a class."""
        if not self.given().keys().isdisjoint(FAMILY):
            raise TypeError(f"{what}: a class takes no {', '.join(FAMILY[:-1])} or {FAMILY[-1]}")

    def _refuse(self, options: tuple[str, ...], where: str) -> None:
        for option in options:
            if getattr(self, option) != DEFAULTS[option]:
                raise TypeError(f"{option} has no effect on {where}")


_PARAMETERS = {
    name: parameter.replace(kind=Parameter.KEYWORD_ONLY)
    for name, parameter in inspect.signature(Terms).parameters.items()
}
DEFAULTS: dict[str, Any] = {name: parameter.default for name, parameter in _PARAMETERS.items()}


def terms_of(decorator: str, options: dict[str, Any]) -> Terms[Any]:
    """Return the terms that the options of a decorator come to.

    Raises:
        TypeError: There is no such option, or one of them has the wrong type.
        ValueError: One of them has no meaning, or contradicts another.
    """
    for name in options.keys() - DEFAULTS:
        raise TypeError(f"{decorator} got an unexpected option {name!r}; there are {', '.join(DEFAULTS)}")
    check_name(decorator, options.get("name"))
    return Terms(**options)


def takes_terms(decorator: F) -> F:
    """Let a decorator that takes any keywords show which options there are, with their defaults."""
    signature = inspect.signature(decorator)
    shown = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    vars(decorator)["__signature__"] = signature.replace(parameters=[*shown, *_PARAMETERS.values()])
    return decorator
