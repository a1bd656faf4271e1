"""`Arguments`: what the arguments of a call say about which resource is meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from inspect import Parameter, Signature

Args = tuple[object, ...]
Kwargs = Mapping[str, object]

_ANY = Signature([Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)])


class Arguments:
    """Makes keys and names of the arguments that one function is called with.

    However the arguments are spelled (by position, by keyword in any order, a default left out or written out), equal
    ones make equal keys. Equal means `==`, as for `functools.lru_cache`: 1, 1.0 and True are the same.

    Args:
        name: Names the function, in errors and in the names of its resources.
        signature: The function's.
        key: Makes the key instead, of the arguments as they are spelled.
    """

    def __init__(self, name: str, signature: Signature, key: Callable[..., Hashable] | None = None) -> None:
        self.name = name
        self.none: bool = not signature.parameters
        """Whether the function takes no arguments at all."""
        self._signature = signature
        self._key = key
        parameters = signature.parameters.values()

        def named(*kinds: object) -> list[str]:
            return [parameter.name for parameter in parameters if parameter.kind in kinds]

        self._extra = next(iter(named(Parameter.VAR_KEYWORD)), None)
        self._positions = named(Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        self._keywords = {*named(Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)}
        self._names = [*signature.parameters]
        self._defaults = {p.name: p.default for p in parameters if p.default is not Parameter.empty}
        self._plain = len(self._names) if len(self._names) == len(self._positions) else -1
        """How many arguments there are if all can be given by position."""

    def key(self, args: Args, kwargs: Kwargs) -> Hashable:
        """Return the key, which may turn out not to be hashable.

        Raises:
            TypeError: The function takes no such arguments.
            Exception: What the user's `key` raised.
        """
        if self._key is not None:
            return self._ask(self._key, args, kwargs)
        if not kwargs and len(args) == self._plain:
            return args
        values = self._fill(args, kwargs)
        if values is not None:
            return values
        named, extra = self._bind(args, kwargs)
        return (*named.values(), *sorted(extra.items()))

    def spelled(self, args: Args, kwargs: Kwargs) -> str:
        """Return the call as it is written; `camera(0, size=3)`, say.

        Raises:
            TypeError: The function takes no such arguments.
        """
        if self._key is not None:  # else the key has been made of them
            self._bind(args, kwargs)
        shown = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
        return f"{self.name}({', '.join(shown)})"

    def refuse_unhashable(self, args: Args, kwargs: Kwargs) -> None:
        """Raise `TypeError`, naming the function, the parameter and the value, if an argument has no hash."""
        if self._key is None:
            named, extra = self._bind(args, kwargs)
            for name, value in (named | extra).items():
                try:
                    hash(value)
                except TypeError as error:
                    raise TypeError(f"{self.name}() has no resource for {name}={value!r}: {error}") from error

    def _ask(self, key: Callable[..., Hashable], args: Args, kwargs: Kwargs) -> Hashable:
        try:
            result = key(*args, **kwargs)
        except Exception as error:
            error.add_note(f"while asking for the key of {self.name}()")
            raise
        try:
            hash(result)
        except TypeError as error:
            raise TypeError(f"{self.name}() has no resource for the key {result!r}: {error}") from error
        return result

    def _fill(self, args: Args, kwargs: Kwargs) -> Args | None:
        """Return the values in the order of the signature; None if there may be any number, or something is wrong."""
        names = self._positions[: len(args)]
        given = kwargs.keys()
        if len(names) < len(args) or not given <= self._keywords or not given.isdisjoint(names):
            return None
        values = {**self._defaults, **dict(zip(names, args, strict=True)), **kwargs}
        return tuple([values[name] for name in self._names]) if len(values) == len(self._names) else None

    def _bind(self, args: Args, kwargs: Kwargs) -> tuple[dict[str, object], dict[str, object]]:
        """Return the arguments by name, defaults included, in the order of the signature; and those of `**kwargs`."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}{self._hint()}") from None
        bound.apply_defaults()
        named: dict[str, object] = bound.arguments
        extra: dict[str, object] = {} if self._extra is None else bound.arguments.pop(self._extra)
        return named, extra

    def _hint(self) -> str:
        first = next(iter(self._signature.parameters), None)
        return "; decorate methods with refcounted_method" if first == "self" else ""


def signature_of(function: Callable[..., object]) -> Signature:
    """Return the signature of `function`, or one that takes anything if nobody can tell."""
    try:
        return inspect.signature(function)
    except ValueError:  # some builtins
        return _ANY
