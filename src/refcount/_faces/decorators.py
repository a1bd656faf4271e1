"""What decorators of functions and methods are given: a function, a `Source`, and options, its `Terms`.

First, what only checkers look at: the same as types, and what the decorators make of that.
"""
# A class is a callable as well, so that mypy sees two overloads overlap where one is made for classes.
# mypy: disable-error-code="overload-overlap"

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, Never, ParamSpec, Protocol, overload

from refcount._core.openers import Limits, Options
from refcount._support.checks import (
    check_callable,
    check_function,
    check_name,
    code_of,
    function_of,
    is_asynchronous,
    is_decorated,
    is_manager_function,
)
from refcount._support.naming import name_of, one_line

if TYPE_CHECKING:
    from typing import TypeAlias

    from typing_extensions import TypedDict, TypeVar

    from refcount._faces.methods import ResourceClassMethod, ResourceMethod
    from refcount._faces.resource_function import ResourceFunction
else:
    from typing import TypeVar

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., object])
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)
V_contra = TypeVar("V_contra", contravariant=True)


class SupportsEnter(Protocol[T_co]):
    """What a with-statement asks for; entering it gives a `T_co`."""

    # Three parameters and no `*exc`: a protocol with `*exc` is not met by the usual `__exit__` of three.

    def __enter__(self) -> T_co: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> object: ...


C = TypeVar("C", bound=SupportsEnter[Any])  # with `object`, pyright would see two overloads overlap

if TYPE_CHECKING:
    V = TypeVar("V")
    Checked_co = TypeVar("Checked_co", covariant=True, default=Never)
    Made_co = TypeVar("Made_co", covariant=True)

    # Functions of the arguments. What they take is the decorated function's to say, and nobody knows it where they come
    # first, so that any callable will do. One arm for each number of parameters gives pyright the types of a lambda's,
    # which it refuses to leave open; it takes the first arm that fits. The last arm is for everything else.

    class _Named(Protocol[Made_co]):
        """Takes the first argument, and leaves out the others by name."""

        def __call__(self, first: Any, /, **more: Any) -> Made_co: ...

    class _Any(Protocol[Made_co]):
        """Takes whatever it takes."""

        @property
        def __call__(self) -> Callable[..., Made_co]: ...

    OfArguments: TypeAlias = (
        Callable[[Any], Made_co]
        | Callable[[Any, Any], Made_co]
        | Callable[[Any, Any, Any], Made_co]
        | Callable[[Any, Any, Any, Any], Made_co]
        | _Any[Made_co]
        | _Named[Made_co]
    )

    # Options, each written once. No Python yet can close a `TypedDict`, and one that is open lets every typo through in
    # ty; so they are for checkers only.

    class _Options(TypedDict, total=False):
        """What all have, less what depends on what they are for."""

        linger: float
        overlap: bool
        exclusive: bool
        own_thread: bool
        at_exit: Literal["stop", "leave"]

    class ClassOptions(_Options, total=False, closed=True):
        """The options for a class."""

        name: str | OfArguments[str] | None
        check: Callable[[Any], bool] | None  # no type says what the `__enter__` of a class gives

    class _KeyedOptions(_Options, total=False):
        """What all have that make several resources."""

        name: str | OfArguments[str] | None
        key: OfArguments[Hashable] | None
        capacity: float | None
        weight: OfArguments[float] | None
        when_full: Literal["wait", "raise"]

    class FunctionOptions(_KeyedOptions, Generic[T], total=False, closed=True):
        """The options for a function or a method that is there already."""

        check: Callable[[T], bool] | None

    class AttributeOptions(_Options, total=False, closed=True):
        """The options for an attribute, less its check."""

        name: str | Callable[[Any], str] | None

    class LaterOptions(_KeyedOptions, Generic[Checked_co], total=False, closed=True):
        """Options that come before what is decorated.

        A check is bound to the value that it takes. A lambda has no types here: the other arm is for it, and mypy takes
        that for a function as well, so that only the others see where one does not fit.
        """

        check: Callable[[Any], bool] | Callable[[Checked_co], bool] | None

    # What the decorators are when their options come first. `V` is what the check takes, and `Never` without one.

    class Decorator(Protocol[Checked_co]):
        """Decorates classes that can be entered, generator functions, and functions that return context managers."""

        @overload
        def __call__(self, source: type[C], /) -> type[C]: ...
        @overload
        def __call__(self: Decorator[Never], source: Callable[P, SupportsEnter[T]], /) -> ResourceFunction[P, T]: ...
        @overload
        def __call__(self: Decorator[Never], source: Callable[P, Iterator[T]], /) -> ResourceFunction[P, T]: ...
        @overload
        def __call__(self: Decorator[V], source: Callable[P, SupportsEnter[V]], /) -> ResourceFunction[P, V]: ...
        @overload
        def __call__(self: Decorator[V], source: Callable[P, Iterator[V]], /) -> ResourceFunction[P, V]: ...

    class MethodDecorator(Protocol[Checked_co]):
        """Decorates methods, and class methods."""

        @overload
        def __call__(
            self: MethodDecorator[Never], source: Callable[Concatenate[type[S], P], SupportsEnter[T]], /
        ) -> ResourceClassMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never], source: Callable[Concatenate[type[S], P], Iterator[T]], /
        ) -> ResourceClassMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never], source: Callable[Concatenate[S, P], SupportsEnter[T]], /
        ) -> ResourceMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[Never], source: Callable[Concatenate[S, P], Iterator[T]], /
        ) -> ResourceMethod[P, T]: ...
        @overload
        def __call__(
            self: MethodDecorator[V], source: Callable[Concatenate[type[S], P], SupportsEnter[V]], /
        ) -> ResourceClassMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V], source: Callable[Concatenate[type[S], P], Iterator[V]], /
        ) -> ResourceClassMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V], source: Callable[Concatenate[S, P], SupportsEnter[V]], /
        ) -> ResourceMethod[P, V]: ...
        @overload
        def __call__(
            self: MethodDecorator[V], source: Callable[Concatenate[S, P], Iterator[V]], /
        ) -> ResourceMethod[P, V]: ...

    # What `refcounted_attribute` is when its options come first. A check is bound to what the method gives by a pair of
    # signatures, both of which a method must have: the one is held against the check, the other says what it gives. A
    # lambda checks whatever comes.

    class CheckFor(Generic[V_contra]):
        """Stands for the value of an attribute that has no method yet, but a check of a `V`, or none."""

    class MethodGiving(Protocol[V_co, T_co]):
        """A generator method whose value is a `V` as well as a `T`."""

        @overload
        def __call__(self, instance: Never, /) -> Iterator[V_co]: ...
        @overload
        def __call__(self, instance: Any, /) -> Iterator[T_co]: ...


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
        if isinstance(self.name, str):
            object.__setattr__(self, "name", one_line(self.name))
        for what, function in (("key", self.key), ("weight", self.weight)):
            if function is not None:
                check_function(what, function)
        object.__setattr__(self, "limits", Limits(self.capacity, self.when_full, weighed=self.weight is not None))

    def given(self) -> dict[str, Any]:
        """Return the options that are not what they are by default, as they are written."""
        return {name: value for name in DEFAULTS if (value := getattr(self, name)) != DEFAULTS[name]}

    def refuse_for_class(self, what: str) -> None:
        """Raise `TypeError`, naming `what`, if there are options that mean nothing for a class."""
        if not self.given().keys().isdisjoint(FAMILY):
            raise TypeError(f"{what}: a class takes no {', '.join(FAMILY[:-1])} or {FAMILY[-1]}")


_PARAMETERS = {
    name: parameter.replace(kind=Parameter.KEYWORD_ONLY)
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


Source = Callable[..., Iterator[T] | SupportsEnter[T]]

ANY = Signature([Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)])
"""The signature of what will not tell it."""


def signature_of(function: Callable[..., object]) -> Signature:
    """Return the signature of `function`, or one that takes anything if nobody can tell."""
    try:
        return inspect.signature(function)
    except ValueError:  # some builtins
        return ANY


_SHARED: tuple[type, ...] = (Iterator, AbstractContextManager)
_ASYNC: tuple[type, ...] = (AsyncIterator, Awaitable, AbstractAsyncContextManager)


def check_source(decorator: str, source: object) -> None:
    """Raise `TypeError`, naming `decorator` and `source`, unless a call of it may give what can be shared."""
    kind = type(source)
    if kind is staticmethod or kind is classmethod:
        instead = "; @refcounted_method may" if kind is classmethod else ""
        raise TypeError(f"@{kind.__name__} must stand above {decorator}, not below it: `{name_of(source)}`{instead}")
    if kind.__module__ == "_pytest.fixtures":
        raise TypeError(
            f"{decorator} cannot share a fixture: share the function, and write a fixture that enters it: "
            f"`{name_of(source)}`"
        )
    if inspect.isclass(source):
        raise TypeError(f"{decorator} needs a function; `{name_of(source)}` is a class")
    if is_decorated(source):
        raise TypeError(f"{decorator} needs a function that is not shared already; `{name_of(source)}` is")
    check_callable(f"what {decorator} decorates", source)
    function = function_of(source)
    abstract = getattr(source, "__isabstractmethod__", False)
    yields = inspect.isgeneratorfunction(function) or is_manager_function(function)
    returned = None if abstract or yields else _returned(function)
    if is_asynchronous(function) or (returned is not None and issubclass(returned, _ASYNC)):
        raise TypeError(f"{decorator} cannot share asynchronous functions yet: `{name_of(function)}` is one")
    if returned is not None and not issubclass(returned, _SHARED):
        raise TypeError(
            f"{decorator} needs a generator function, or one whose annotation says that it returns a context manager; "
            f"`{name_of(function)}` is neither"
        )


def refuse_method(function: Callable[..., object], owner: type[object]) -> None:
    """Raise `TypeError` if `function`, which was decorated as a function, is a method of `owner`.

    What a class holds that was written elsewhere is none, and what takes nothing by position cannot be one.
    """
    written = function_of(inspect.unwrap(function))
    first = next(iter(signature_of(written).parameters.values()), None)
    if first is None or first.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        return
    place, _, name = str(getattr(written, "__qualname__", "")).rpartition(".")
    in_body = written.__module__ == owner.__module__ and place == owner.__qualname__ and name != "<lambda>"
    if in_body or first.name == "self":
        raise TypeError(
            f"@refcounted_resource would take the instance of `{name_of(written)}` for an argument: write "
            "@refcounted_method instead; or @staticmethod above it, if it takes no instance"
        )


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
