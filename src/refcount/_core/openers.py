"""Openers: callables that return a context manager, which starts a resource when entered and stops it when left.

Whatever starts a resource is made into a `Life`: a generator that has run up to its only `yield` when the resource is
up, and to its end when it has stopped. The generator is the memory of what has been done, fresh, suspended or over,
and the interpreter's own: no interrupt falls between a hook and the note that it has run, as with a flag of ours.

`Options` are what is said of what an opener opens, `Limits` of how many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, ParamSpec, TypeAlias, TypeVar, cast

from refcount._core.clock import clocks
from refcount._support.checks import check_function
from refcount._support.choices import check_flag, check_modes
from refcount._support.naming import Name, short, text_of
from refcount._support.numbers import check_amount, check_integer, check_seconds
from refcount._support.reporting import report

if TYPE_CHECKING:
    from types import CodeType, GeneratorType

Q = ParamSpec("Q")
R = TypeVar("R")
T = TypeVar("T")

OVER = object()
"""What `next` returns of a life that has run to its end."""

Opener = Callable[[], AbstractContextManager[T]]
if TYPE_CHECKING:  # at run time no generator is generic
    Life: TypeAlias = GeneratorType[T, None, object]


class LivesOfOpener(Generic[T]):
    """Makes a new life of each context manager that `opener` returns; `name` is for errors."""

    __slots__ = ("_name", "_opener")  # a `partial` takes three times the memory

    def __init__(self, opener: Opener[T], name: Name) -> None:
        self._opener = opener
        self._name = name

    def __call__(self) -> Life[T]:
        """Return a life that is not begun."""
        manager = self._opener()
        if type(manager) is not _GENERATOR_MANAGER and hasattr(manager, "__exit__"):
            return _entered(manager)  # type: ignore[return-value]  # a generator function returns just that
        return life_of(manager, self._name)


def lives_of_hooks(
    factory: Callable[[], T], start: Callable[[T], object] | None, stop: Callable[[T], object] | None, name: Name
) -> Callable[[], Life[T]]:
    """Return what makes a new life of a thing that `factory` makes and two hooks begin and end."""
    return cast("Callable[[], Life[T]]", partial(_made, factory, start, stop, name))


def runner_for_later() -> Callable[[Callable[[], object]], object]:
    """Return what can run a stop that the garbage collector asks for; called by a life that runs it, as it begins.

    That is the thread of its own that begins it, if there is one.
    """
    return runners.pop(get_ident(), clocks.thread.lost)


runners: dict[int, Callable[[Callable[[], object]], object]] = {}
"""What gives something to do to a thread that is about to begin a life, by its number."""

ASKS_FOR_RUNNER: set[CodeType] = set()
"""The code of the generators that call `runner_for_later`, before they call anything else."""


def asks_for_runner(make: Callable[Q, R]) -> Callable[Q, R]:
    """Take note that the generators of this function call `runner_for_later`, before they call anything else."""
    ASKS_FOR_RUNNER.add(make.__code__)
    return make


def begin(life: Life[T], name: Name) -> T:
    """Start the resource of a new life, and return its value.

    Raises:
        Exception: What its start raised, or `RuntimeError` if it yields nothing.
    """
    try:
        for value in life:
            return value
    except Exception as error:
        _raise_own(error)
    raise RuntimeError(f"{text_of(name)} yielded no value: a resource yields exactly once")


def finish(life: Life[object], name: Name) -> None:
    """Stop the resource of a life that was begun.

    Raises:
        Exception: What its stop raised, or `RuntimeError` if it yields again.
        RecursionError: The same, or that the stack is full; then the life is still suspended.
    """
    try:
        value = next(life, OVER)
    except Exception as error:
        _raise_own(error)
    if value is not OVER:
        refuse_second_value(life, value, name)


def refuse_second_value(life: Life[object], value: object, name: Name) -> Never:
    """Raise `RuntimeError`: the life has yielded again instead of stopping."""
    life.close()
    raise RuntimeError(f"{text_of(name)} yielded a second value, {short(value)}: a resource yields exactly once")


def own_error(error: Exception) -> Exception:
    """Return what a hook raised: a `StopIteration` comes out of a generator as the cause of another error.

    If that generator is a user's, the error is his.
    """
    cause = error.__cause__
    if not isinstance(cause, StopIteration) or type(error) is not RuntimeError:
        return error
    trace = cause.__traceback__  # which ends in the frame of the generator that it came out of
    return error if trace is None or trace.tb_frame.f_code not in OUR_CODE else cause


def _raise_own(error: Exception) -> Never:
    own = own_error(error)
    try:
        if own is error:
            raise error
        raise own from None
    finally:
        del error, own  # they refer to this frame


def life_of(manager: object, name: Name) -> Life[Any]:
    """Return the life of a context manager, which must be a new one each time; `name` is for errors.

    Raises:
        TypeError: It is no context manager.
        RuntimeError: It was used before.
    """
    if type(manager) is _GENERATOR_MANAGER:
        # The generator is driven as one of ours: what goes wrong is named then, and nothing is in between that an
        # interrupt could hit. A subclass may have an `__enter__` of its own.
        life: Life[Any] = vars(manager)["gen"]
        if life.gi_suspended or life.gi_frame is None:
            raise RuntimeError(
                f"the opener of {text_of(name)} has returned {short(manager)} before: it must return a new "
                "context manager each time"
            )
        return life
    if getattr(manager, "__exit__", None) is None:
        shown = short(manager)
        hint = ""
        if hasattr(manager, "__aexit__"):
            hint = ": that is for tasks, so share it with AsyncSharedResource, or annotate what the function returns"
        elif isinstance(manager, Generator):
            hint = "; wrap the function with contextlib.contextmanager"
        raise TypeError(f"the opener of {text_of(name)} must return a context manager, not {shown}{hint}")
    return _entered(manager)  # type: ignore[return-value,arg-type]  # a generator function returns just that


def _entered(manager: AbstractContextManager[T]) -> Generator[T, None, None]:
    # CPython delivers no signal between the entry of a `with` and its body, nor on resuming a `yield from`: so none is
    # thrown into the manager, which is told of nobody's error.
    with manager as value:
        yield from (value,)


@asks_for_runner
def _made(
    factory: Callable[[], T],
    start: Callable[[T], object] | None,
    stop: Callable[[T], object] | None,
    name: Name,
) -> Generator[T, None, None]:
    run_later = runner_for_later()
    thing = factory()
    if start is not None:
        try:
            start(thing)
        except BaseException:
            _discard(thing, stop, name)
            raise
    try:
        yield from (thing,)
    except GeneratorExit:
        # The garbage collector closes it, with all that it belongs to: a hook is not run inside of the collector.
        if stop is not None:
            run_later(partial(stop, thing))
        raise
    if stop is not None:
        stop(thing)


def _discard(thing: T, stop: Callable[[T], object] | None, name: Name) -> None:
    """Stop what was made but not started, so that half of it is not left behind."""
    if stop is not None:
        try:
            stop(thing)
        except Exception as error:
            report(error, f"the stop of {text_of(name)}, whose start has failed")


_GENERATOR_MANAGER: type[object] = type(contextmanager(_entered)(nullcontext()))

OUR_CODE: set[CodeType] = {_entered.__code__, _made.__code__}
"""The code of the generators that are ours, and no user's: what they raise was raised by what they call."""


@dataclass(frozen=True, slots=True)
class Options(Generic[T]):
    """What every face that makes resources takes, and hands down to them.

    Whoever has one has good options: nobody need look at them again. `SharedResource` says what each of them means.

    Raises:
        TypeError: One of them has the wrong type.
        ValueError: One of them has no meaning, or `exclusive` is asked for together with `overlap`.
    """

    linger: float = 0.0
    check: Callable[[T], bool] | None = None
    overlap: bool = False
    exclusive: bool = False
    own_thread: bool = False
    at_exit: Literal["stop", "leave"] = "stop"

    # On 3.11 a frozen class with slots cannot be called as `Options[int](...)`: say the type on the left-hand side.

    def __post_init__(self) -> None:
        # As a float, whatever number it was: the hot paths compare it.
        object.__setattr__(self, "linger", check_seconds("linger", self.linger))
        if self.check is not None:
            check_function("check", self.check, ("the value",))
        for what, value in (("overlap", self.overlap), ("exclusive", self.exclusive), ("own_thread", self.own_thread)):
            check_flag(what, value)
        check_modes(overlap=self.overlap, exclusive=self.exclusive, at_exit=self.at_exit)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a family may be up at once.

    Args:
        capacity: How many keys may be not idle at once, 1 or more, or how much they may weigh together; None for any.
        when_full: Whether a newcomer waits or gets `CapacityError` when those in use leave no room.
        weighed: Whether the keys have weights, so that the capacity need not be a whole number.

    Raises:
        TypeError: The capacity is no number, or no integer though nothing is weighed.
        ValueError: One of them has no meaning, or no effect without a capacity.
    """

    capacity: float | None = None
    when_full: Literal["wait", "raise"] = "wait"
    weighed: bool = False

    def __post_init__(self) -> None:
        if self.when_full not in ("wait", "raise"):
            raise ValueError(f"when_full must be 'wait' or 'raise', not {short(self.when_full)}")
        if self.capacity is None:
            for option, given in (("weight", self.weighed), ("when_full", self.when_full != "wait")):
                if given:
                    raise ValueError(f"{option} has no effect without capacity: give both, or neither")
        elif self.weighed:
            check_amount("capacity", self.capacity)
        else:
            check_integer("capacity", self.capacity, least=1)
