"""`Arguments`: what the arguments of a call say about the resource that is meant: its key, its weight and its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from inspect import BoundArguments, Parameter, Signature
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from refcount._support.naming import cut, name_of, named, short, text_of
from refcount._support.reporting import note

if TYPE_CHECKING:
    from refcount._faces.terms import Terms

R = TypeVar("R")

Args = tuple[object, ...]
Kwargs = Mapping[str, object]


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
        self.only_by_position = _names_of(signature, Parameter.POSITIONAL_ONLY)
        self.by_either = _names_of(signature, Parameter.POSITIONAL_OR_KEYWORD)
        self.by_keyword = _names_of(signature, Parameter.KEYWORD_ONLY)
        self.any_position = bool(_names_of(signature, Parameter.VAR_POSITIONAL))
        self.any_keyword = bool(_names_of(signature, Parameter.VAR_KEYWORD))

    def failure_by_position(self, own: Signature) -> TypeError | None:
        """Return why no such call can be one of `own`; None if one can."""
        by_position = [*self.only_by_position, *self.by_either]
        more = len(own.parameters) if self.any_position else 0
        failure: TypeError | None = None
        for number in range(more + 1):
            error = self._failure(own, [*by_position, *[""] * number], self.by_keyword)
            if error is None:
                return None
            failure = failure or error
        return failure

    def fits_by_name(self, own: Signature) -> bool:
        """Return whether `own` takes by keyword what may be given so."""
        names = [*self.by_either, *self.by_keyword]
        return not self.any_position and self._failure(own, self.only_by_position, names) is None

    def _failure(self, own: Signature, by_position: list[str], by_keyword: list[str]) -> TypeError | None:
        names = {*by_keyword}
        if self.any_keyword:  # then whatever it wants by keyword may come
            names |= {p.name for p in own.parameters.values() if p.kind is Parameter.KEYWORD_ONLY}
        try:
            own.bind(*by_position, **dict.fromkeys(names))
        except TypeError as error:
            return error
        return None


def _names_of(signature: Signature, kind: object) -> list[str]:
    return [parameter.name for parameter in signature.parameters.values() if parameter.kind is kind]


def _plain(signature: Signature) -> str:
    """Return the parameters without their annotations, which may be long."""
    plain = [parameter.replace(annotation=Parameter.empty) for parameter in signature.parameters.values()]
    return str(Signature(plain))


class Arguments:
    """Makes keys, weights and names of the arguments that one function is called with.

    However the arguments are spelled (by position, by keyword in any order, a default left out or written out), equal
    ones make equal keys. Equal means `==`, as for `functools.lru_cache`: 1, 1.0 and True are the same.

    Args:
        name: Names the function, in errors and in the names of its resources.
        signature: The function's.
        terms: What the user said of its resources.

    Raises:
        TypeError: A function of the user's can never take the arguments.
        ValueError: There is a capacity, but no arguments that could make several resources.
    """

    __slots__ = (
        "_by_keyword",
        "_defaults",
        "_extra",
        "_key",
        "_keywords",
        "_left_out",
        "_name",
        "_names",
        "_positions",
        "_signature",
        "_unnamed",
        "_weight",
        "are_keys",
        "name",
        "none",
        "open",
        "weighs",
    )

    def __init__(self, name: str, signature: Signature, terms: Terms[Any]) -> None:
        self.name: str = name
        self.none: bool = not signature.parameters
        """Whether the function takes no arguments at all."""
        self._signature = signature

        def hook(what: str, function: Callable[..., R] | None) -> Hook[R] | None:
            return None if function is None else Hook(what, function, name, signature)

        self._key = hook("key", terms.key)
        self._weight = hook("weight", terms.weight)
        self._name = hook("name", None if isinstance(terms.name, str) else terms.name)
        self.weighs: bool = terms.weight is not None
        """Whether they weigh something else than 1."""
        self.open: bool = self._name is None
        """Whether arguments may be shown."""
        if self.none and terms.capacity is not None:
            raise ValueError(f"capacity has no effect on {name}, which takes no arguments: it has one resource")
        call = _Call(signature)
        self._extra = next(iter(_names_of(signature, Parameter.VAR_KEYWORD)), None)
        self._unnamed = len(call.only_by_position)
        self._positions = [*call.only_by_position, *call.by_either]
        self._by_keyword = call.by_keyword
        self._keywords = {*call.by_either, *call.by_keyword}
        self._names = [*signature.parameters]
        parameters = signature.parameters.values()
        self._defaults = {p.name: p.default for p in parameters if p.default is not Parameter.empty}
        whole = not call.any_position
        self._left_out = self._defaults_by_number() if whole else {}
        self.are_keys: bool = self._key is None and whole
        """Whether arguments by position, if they are a key as they are, are the key of this very call."""

    def key(self, args: Args, kwargs: Kwargs) -> Hashable:
        """Return the key, which may turn out not to be hashable.

        Raises:
            TypeError: The function takes no such arguments, or the user's `key` returned what is not hashable.
            Exception: What the user's `key` raised.
        """
        if self._key is not None:
            return self._checked(self._ask(self._key, args, kwargs))
        if not kwargs:
            try:
                return args + self._left_out[len(args)]
            except KeyError:
                pass  # so few, or so many, need a look at each parameter
        values = self._fill(args, kwargs)
        if values is not None:
            return values
        by_name, extra = self._by_name(args, kwargs)
        return (*by_name.values(), *sorted(extra.items()))

    def weight(self, args: Args, kwargs: Kwargs) -> float:
        """Return how much of the capacity the resource takes.

        Raises:
            Exception: What the user's `weight` raised.
        """
        assert self._weight is not None  # `weighs` says so
        return self._ask(self._weight, args, kwargs)

    def called(self, args: Args, kwargs: Kwargs, key: Hashable) -> str:
        """Return what the resource of a call is called: never fails, and on one line and short, whatever it is.

        That is what the user's `name` makes of the arguments; or the call as it is written, with the key in place of
        the arguments if the user's `key` made that.
        """
        if self._name is not None:
            return text_of(named(self._name.function, self.name, *self._given(self._name, args, kwargs)))
        return self.spelled(args, kwargs) if self._key is None else f"{self.name}({cut(short(key))})"

    def spelled(self, args: Args, kwargs: Kwargs) -> str:
        """Return the call as it is written, `camera(0, size=3)`, say: on one line and short, whatever the arguments."""
        shown = ", ".join([*map(short, args), *(f"{name}={short(value)}" for name, value in kwargs.items())])
        return f"{self.name}({cut(shown)})"

    def all_values(self, args: Args, kwargs: Kwargs) -> dict[str, object]:
        """Return the values of all parameters, by name."""
        return self._bind(args, kwargs).arguments

    def refuse_unhashable(self, args: Args, kwargs: Kwargs) -> None:
        """Raise `TypeError`, naming the function, the parameter and the value, if an argument has no hash."""
        by_name, extra = self._by_name(args, kwargs)
        for name, value in (by_name | extra).items():
            try:
                hash(value)
            except TypeError as error:
                raise self._unhashable(f"{name}=", value, error, "pass a tuple, or give key=") from error

    def _checked(self, key: Hashable) -> Hashable:
        try:
            hash(key)
        except TypeError as error:
            raise self._unhashable("the key ", key, error, "return a tuple, say") from error
        return key

    def _unhashable(self, what: str, value: object, error: TypeError, hint: str) -> TypeError:
        shown = f"{what}{short(value)}" if self.open else what.rstrip(" =")
        return TypeError(f"{self.name}() has no resource for {shown}: {error}; {hint}")

    def _defaults_by_number(self) -> dict[int, Args]:
        """Return, for each number of arguments by position that may be all of a call, the defaults of the others."""
        names = [name for name in self._names if name != self._extra]
        return {
            number: tuple([self._defaults[name] for name in names[number:]])
            for number in range(len(self._positions) + 1)
            if self._defaults.keys() >= {*names[number:]}
        }

    def _fill(self, args: Args, kwargs: Kwargs) -> Args | None:
        """Return the values in the order of the signature; None if there may be any number, or something is wrong."""
        names = self._positions[: len(args)]
        given = kwargs.keys()
        if len(names) < len(args) or not given <= self._keywords or not given.isdisjoint(names):
            return None
        values = {**self._defaults, **dict(zip(names, args, strict=True)), **kwargs}
        return tuple([values[name] for name in self._names]) if len(values) == len(self._names) else None

    def _ask(self, hook: Hook[R], args: Args, kwargs: Kwargs) -> R:
        by_position, by_keyword = self._given(hook, args, kwargs)
        try:
            return hook.function(*by_position, **by_keyword)
        except Exception as error:
            note(error, f"while asking for the {hook.what} of {self.name}()")
            raise

    def _given(self, hook: Hook[Any], args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """Return what a function of the user's is called with for these arguments."""
        left_out = None if kwargs else self._left_out.get(len(args))
        values = self._fill(args, kwargs) if left_out is None else args + left_out
        if values is None:
            bound = self._bind(args, kwargs)
            by_position, by_keyword = bound.args, bound.kwargs
        else:
            number = len(self._positions)
            by_position, by_keyword = values[:number], dict(zip(self._by_keyword, values[number:], strict=True))
        if hook.by_name:
            names, number = self._positions, self._unnamed
            by_keyword |= zip(names[number:], by_position[number:], strict=True)
            by_position = by_position[:number]
        return by_position, by_keyword

    def _bind(self, args: Args, kwargs: Kwargs) -> BoundArguments:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}{self._hint()}") from None
        bound.apply_defaults()
        return bound

    def _by_name(self, args: Args, kwargs: Kwargs) -> tuple[dict[str, object], dict[str, object]]:
        """Return the arguments by name, defaults included, in the order of the signature; and those of `**kwargs`."""
        by_name: dict[str, object] = self._bind(args, kwargs).arguments
        extra = {} if self._extra is None else cast("dict[str, object]", by_name.pop(self._extra))
        return by_name, extra

    def _hint(self) -> str:
        first = next(iter(self._signature.parameters), None)
        return "; decorate methods with refcounted_method" if first == "self" else ""
