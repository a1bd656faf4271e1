"""Numbers that users hand in, looked at where they are handed in: each check names the thing and the value."""

import math
from collections.abc import Callable
from operator import index
from typing import Any, SupportsFloat, SupportsIndex, TypeVar

from refcount._support.naming import short

_N = TypeVar("_N", int, float)


def check_integer(what: str, number: object, *, least: int = 0) -> int:
    """Return `number` as an exact int (it may be numpy's), or raise an error that names `what` and the value.

    Raises:
        TypeError: It is no integer, or a truth value.
        ValueError: It is less than `least`.
    """
    if type(number) is int:  # nearly always, and the protocol below is slow to ask
        exact = number
    elif isinstance(number, bool) or not isinstance(number, SupportsIndex):
        raise TypeError(f"{what} must be an integer, not {short(number)}")
    else:
        exact = _converted(what, number, "an integer", index)
    if exact < least:
        raise ValueError(f"{what} must be {least} or more, not {short(exact)}")
    return exact


def check_number(what: str, number: object) -> int | float:
    """Return `number` as an int if it is one, or else as a float, or raise an error that names `what` and the value.

    Raises:
        TypeError: It is no number, or a truth value.
        ValueError: It is beyond all floats.
    """
    _refuse_no_number(what, number, "a number")
    convert: Callable[[Any], int | float] = index if isinstance(number, SupportsIndex) else float
    return _converted(what, number, "a number", convert)


def check_amount(what: str, amount: object) -> None:
    """Raise an error that names `what` and the value unless it is a number above 0.

    Raises:
        TypeError: It is no number, or a truth value.
        ValueError: It is 0 or less, infinite or NaN.
    """
    if not 0 < check_number(what, amount) < math.inf:
        raise ValueError(f"{what} must be finite and more than 0, not {short(amount)}")


def check_seconds(what: str, seconds: object) -> float:
    """Return `seconds` as a float, or raise an error that names `what` and the value.

    Raises:
        TypeError: It is no number, or a truth value.
        ValueError: It is negative, NaN, or beyond all floats.
    """
    _refuse_no_number(what, seconds, "a number of seconds")
    number: float = _converted(what, seconds, "a number of seconds", float)
    if math.isnan(number) or number < 0:
        raise ValueError(f"{what} must be 0 seconds or more, not {short(seconds)}")
    return number


def is_number(thing: object) -> bool:
    """Return whether `thing` looks like a number: truth values are none."""
    return isinstance(thing, SupportsFloat | SupportsIndex) and not isinstance(thing, bool)


def _refuse_no_number(what: str, number: object, expected: str) -> None:
    if not is_number(number):
        raise TypeError(f"{what} must be {expected}, not {short(number)}")


def _converted(what: str, number: object, expected: str, convert: Callable[[Any], _N]) -> _N:
    """Return what `convert` makes of a number, or raise an error that names `what` and it."""
    try:
        return convert(number)
    except OverflowError:
        raise ValueError(f"{what} must be {expected} that a float can say, not {short(number)}") from None
    except Exception as error:  # of a type that only looks like one
        raise TypeError(f"{what} must be {expected}, and {short(number)} does not tell which") from error


def check_timeout(timeout: object) -> float | None:
    """Return `timeout` as seconds, or None for as long as it takes; raises like `check_seconds`."""
    return None if timeout is None else check_seconds("timeout", timeout)
