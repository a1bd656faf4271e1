"""`Hook`: a function of the user's that is called with the arguments of a call, to make a key, a weight or a name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Generic, TypeVar

from refcount._support.naming import name_of

R = TypeVar("R")


class Hook(Generic[R]):
    """A function of the user's, and how it takes the arguments of another one.

    It gets all of them, defaults included: by position as the other one takes them, or by keyword if only so it can
    take them, as `lambda host, **_: host` can.

    Args:
        what: What it is to the user; `key`, say.
        function: What was handed in.
        name: Names the other one.
        signature: The other one's.

    Raises:
        TypeError: It can never take them.
    """

    __slots__ = ("by_name", "function", "what")

    def __init__(self, what: str, function: Callable[..., R], name: str, signature: Signature) -> None:
        self.what = what
        self.function = function
        self.by_name = False
        try:
            own = inspect.signature(function)
        except (ValueError, TypeError):  # of some builtins nobody knows it
            return
        call = _Call(signature)
        failure = call.failure_by_position(own)
        if failure is not None:
            self.by_name = call.fits_by_name(own)
            if not self.by_name:
                raise TypeError(
                    f"{what} is called as {name}{_plain(signature)} is, and `{name_of(function)}` takes {_plain(own)}: "
                    f"{failure}"
                )


class _Call:
    """What a call of a function looks like, as far as its signature tells."""

    def __init__(self, signature: Signature) -> None:
        def named(*kinds: object) -> list[str]:
            return [parameter.name for parameter in signature.parameters.values() if parameter.kind in kinds]

        self._only_by_position = named(Parameter.POSITIONAL_ONLY)
        self._by_either = named(Parameter.POSITIONAL_OR_KEYWORD)
        self._by_keyword = named(Parameter.KEYWORD_ONLY)
        self._any_position = bool(named(Parameter.VAR_POSITIONAL))
        self._any_keyword = bool(named(Parameter.VAR_KEYWORD))

    def failure_by_position(self, own: Signature) -> TypeError | None:
        """Return why no such call can be one of `own`; None if one can."""
        by_position = [*self._only_by_position, *self._by_either]
        more = len(own.parameters) if self._any_position else 0
        failure: TypeError | None = None
        for number in range(more + 1):
            error = self._failure(own, [*by_position, *[""] * number], self._by_keyword)
            if error is None:
                return None
            failure = failure or error
        return failure

    def fits_by_name(self, own: Signature) -> bool:
        """Return whether `own` takes by keyword what may be given so."""
        names = [*self._by_either, *self._by_keyword]
        return not self._any_position and self._failure(own, self._only_by_position, names) is None

    def _failure(self, own: Signature, by_position: list[str], by_keyword: list[str]) -> TypeError | None:
        names = {*by_keyword}
        if self._any_keyword:  # then whatever it wants by keyword may come
            names |= {p.name for p in own.parameters.values() if p.kind is Parameter.KEYWORD_ONLY}
        try:
            own.bind(*by_position, **dict.fromkeys(names))
        except TypeError as error:
            return error
        return None


def _plain(signature: Signature) -> str:
    """Return the parameters without their annotations, which may be long."""
    plain = [parameter.replace(annotation=Parameter.empty) for parameter in signature.parameters.values()]
    return str(Signature(plain))
