"""`Terms`: all that can be said of the resources of a function or a method, each option written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from refcount._core.capacity import Limits
from refcount._core.openers import Options
from refcount._support.checks import check_function, check_name

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Terms(Options[T]):
    """The options of `refcounted_resource` and `refcounted_method`, which their docstrings explain.

    Raises:
        TypeError: One of them has the wrong type.
        ValueError: One of them has no meaning, or contradicts another.
    """

    name: str | Callable[..., str] | None = None
    key: Callable[..., Hashable] | None = None
    capacity: float | None = None
    weight: Callable[..., float] | None = None
    when_full: Literal["wait", "raise"] = "wait"
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, function in (("key", self.key), ("weight", self.weight)):
            if function is not None:
                check_function(what, function)
        object.__setattr__(self, "limits", Limits(self.capacity, self.when_full, weighed=self.weight is not None))

    def given(self) -> dict[str, Any]:
        """Return the options that are not what they are by default, as they are written."""
        return {name: value for name, value in self._all().items() if value != DEFAULTS[name]}

    def refuse_for_class(self, what: str) -> None:
        """Raise `TypeError`, naming `what`, if there are options that mean nothing for a class."""
        if not self.given().keys().isdisjoint(FAMILY):
            raise TypeError(f"{what}: a class takes no {', '.join(FAMILY[:-1])} or {FAMILY[-1]}")

    def _all(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in DEFAULTS}


_PARAMETERS = {
    name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    for name, parameter in inspect.signature(Terms).parameters.items()
}
DEFAULTS: dict[str, Any] = {name: parameter.default for name, parameter in _PARAMETERS.items()}
FAMILY = ("key", "capacity", "weight", "when_full")
"""The options of those that have many resources."""


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
