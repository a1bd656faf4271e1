"""Calls of a decorated function: what their `Arguments` say about which resource is meant, and what a `Call` opens."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping
from inspect import Parameter, Signature
from types import GeneratorType
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from refcount._core.openers import life_of
from refcount._faces.signatures import SupportsEnter
from refcount._support.reporting import note

if TYPE_CHECKING:
    from refcount._core.openers import Life


import typing
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from refcount._support.checks import check_callable, code_of, function_of, is_asynchronous, is_manager_function
from refcount._support.naming import cut, name_of, short
from refcount._support.wrapping import Decorated

T = TypeVar("T")

Args = tuple[object, ...]
Kwargs = Mapping[str, object]
Source = Callable[..., Iterator[T] | SupportsEnter[T]]

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

    __slots__ = (
        "_defaults",
        "_extra",
        "_key",
        "_keywords",
        "_left_out",
        "_names",
        "_positions",
        "_signature",
        "are_keys",
        "checked",
        "name",
        "none",
    )

    def __init__(self, name: str, signature: Signature, key: Callable[..., Hashable] | None = None) -> None:
        self.name: str = name
        self.none: bool = not signature.parameters
        """Whether the function takes no arguments at all."""
        self.checked: bool = key is None
        """Whether arguments of which a key was made are good for the function as well."""
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
        self.are_keys: bool = key is None and not named(Parameter.VAR_POSITIONAL)
        """Whether arguments by position, if they are a key as they are, are the key of this very call."""
        self._left_out = self._defaults_by_number() if self.are_keys else {}

    def key(self, args: Args, kwargs: Kwargs) -> Hashable:
        """Return the key, which may turn out not to be hashable.

        Raises:
            TypeError: The function takes no such arguments.
            Exception: What the user's `key` raised.
        """
        if self._key is not None:
            return self._ask(self._key, args, kwargs)
        if not kwargs:
            try:
                return args + self._left_out[len(args)]
            except KeyError:
                pass
        values = self._fill(args, kwargs)
        if values is not None:
            return values
        named, extra = self._bind(args, kwargs)
        return (*named.values(), *sorted(extra.items()))

    def check(self, args: Args, kwargs: Kwargs) -> None:
        """Raise `TypeError` if the function takes no such arguments."""
        self._bind(args, kwargs)

    def spelled(self, args: Args, kwargs: Kwargs) -> str:
        """Return the call as it is written, `camera(0, size=3)`, say: on one line and short, whatever the arguments."""
        shown = ", ".join([*map(short, args), *(f"{name}={short(value)}" for name, value in kwargs.items())])
        return f"{self.name}({cut(shown)})"

    def refuse_unhashable(self, args: Args, kwargs: Kwargs) -> None:
        """Raise `TypeError`, naming the function, the parameter and the value, if an argument has no hash."""
        if self._key is None:
            named, extra = self._bind(args, kwargs)
            for name, value in (named | extra).items():
                try:
                    hash(value)
                except TypeError as error:
                    raise TypeError(f"{self.name}() has no resource for {name}={short(value)}: {error}") from error

    def _defaults_by_number(self) -> dict[int, Args]:
        """Return, for each number of arguments by position that may be all of a call, the defaults of the others."""
        names = [name for name in self._names if name != self._extra]
        return {
            number: tuple([self._defaults[name] for name in names[number:]])
            for number in range(len(self._positions) + 1)
            if self._defaults.keys() >= {*names[number:]}
        }

    def _ask(self, key: Callable[..., Hashable], args: Args, kwargs: Kwargs) -> Hashable:
        try:
            result = key(*args, **kwargs)
        except Exception as error:
            note(error, f"while asking for the key of {self.name}()")
            raise
        try:
            hash(result)
        except TypeError as error:
            raise TypeError(f"{self.name}() has no resource for the key {short(result)}: {error}") from error
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


class Call(Generic[T]):
    """One call: the opener of the resource that it is for, and what that is called.

    Args:
        source: What is decorated.
        arguments: Those of the source.
        args: By position.
        kwargs: By keyword.
    """

    __slots__ = ("_args", "_arguments", "_kwargs", "_source")

    def __init__(self, source: Source[T], arguments: Arguments, args: Args, kwargs: Kwargs) -> None:
        self._source = source
        self._arguments = arguments
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> Life[T]:
        """Make the call, and return the life that it begins."""
        opened: object = self._source(*self._args, **self._kwargs)  # whatever the annotations say
        kind = type(opened)
        if kind is GeneratorType:
            return cast("Life[T]", opened)
        if hasattr(kind, "__exit__") or not isinstance(opened, Iterator):
            return life_of(opened, self.__str__)  # or it is something else, which is refused there
        return cast("Life[T]", (value for value in opened))  # only generators can tell where they stand

    def __str__(self) -> str:
        return self._arguments.spelled(self._args, self._kwargs)


def signature_of(function: Callable[..., object]) -> Signature:
    """Return the signature of `function`, or one that takes anything if nobody can tell."""
    try:
        return inspect.signature(function)
    except ValueError:  # some builtins
        return _ANY


_SHARED: tuple[type, ...] = (Iterator, AbstractContextManager)
_ASYNC: tuple[type, ...] = (AsyncIterator, Awaitable, AbstractAsyncContextManager)


def check_source(decorator: str, source: object) -> None:
    """Raise `TypeError`, naming `decorator` and `source`, unless a call of it may give what can be shared."""
    kind = type(source)
    if kind is staticmethod or kind is classmethod:
        raise TypeError(f"@{kind.__name__} must stand above {decorator}, not below it: `{name_of(source)}`")
    if inspect.isclass(source):
        raise TypeError(f"{decorator} needs a function; `{name_of(source)}` is a class")
    if isinstance(source, Decorated):
        raise TypeError(f"{decorator} needs a function that is not shared already; `{source.__qualname__}` is")
    check_callable(f"what {decorator} decorates", source)
    function = function_of(source)
    returned = None if _yields(function) else _returned(function)
    if is_asynchronous(function) or (returned is not None and issubclass(returned, _ASYNC)):
        raise TypeError(f"{decorator} cannot share asynchronous functions yet: `{name_of(function)}` is one")
    if returned is not None and not issubclass(returned, _SHARED):
        raise TypeError(
            f"{decorator} needs a generator function, or one whose annotation says that it returns a context manager; "
            f"`{name_of(function)}` is neither"
        )


def _yields(function: Callable[..., object]) -> bool:
    return inspect.isgeneratorfunction(function) or is_manager_function(function)


def _returned(function: Callable[..., object]) -> type | None:
    """Return the class of what `function` returns by its annotation; `object` without one, None if it cannot say."""
    unwrapped = inspect.unwrap(function)
    if inspect.isgeneratorfunction(unwrapped) or code_of(function) is None or name_of(unwrapped).endswith("<lambda>"):
        return None
    try:
        hint = typing.get_type_hints(function).get("return", object)
    except Exception:  # a name that is not there yet, or only for checkers
        return None
    returned = typing.get_origin(hint) or hint
    return returned if isinstance(returned, type) and returned is not Any else None  # `Any` is a class of its own
