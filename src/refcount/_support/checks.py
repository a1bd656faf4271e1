"""What users hand in, looked at where it is handed in: each check names the thing and the value."""

from __future__ import annotations

import math
from collections.abc import Generator
from operator import index
from typing import SupportsFloat, SupportsIndex


def check_callable(what: str, thing: object) -> None:
    """Raise `TypeError`, naming `what` and `thing`, unless it can be called."""
    if isinstance(thing, Generator):
        raise TypeError(f"{what} must be callable, not the generator {thing!r}: pass the function that makes it")
    if not callable(thing):
        raise TypeError(f"{what} must be callable, not {thing!r}")


def check_hooks(what: str, factory: object, start: object, stop: object) -> None:
    """Raise `TypeError` unless the factory, which `what` names, and the hooks that are given can be called."""
    check_callable(what, factory)
    for name, hook in (("start", start), ("stop", stop)):
        if hook is not None:
            check_callable(name, hook)


def check_name(what: str, name: object) -> None:
    """Raise `TypeError` unless `name`, the name of `what`, is a string or None."""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"the name of {what} must be a string, not {name!r}")


def check_integer(what: str, number: object, *, least: int = 0) -> int:
    """Return `number` as an exact int (it may be numpy's), or raise an error that names `what` and the value.

    Raises:
        TypeError: It is no integer, or a truth value.
        ValueError: It is less than `least`.
    """
    if type(number) is int:  # nearly always, and the protocol below is slow to ask
        exact = number
    elif isinstance(number, bool) or not isinstance(number, SupportsIndex):
        raise TypeError(f"{what} must be an integer, not {number!r}")
    else:
        exact = index(number)
    if exact < least:
        raise ValueError(f"{what} must be {least} or more, not {exact}")
    return exact


def check_seconds(what: str, seconds: object) -> float:
    """Return `seconds` as a float, or raise an error that names `what` and the value.

    Raises:
        TypeError: It is no number, or a truth value.
        ValueError: It is negative, NaN, or beyond all floats.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, SupportsFloat | SupportsIndex):
        raise TypeError(f"{what} must be a number of seconds, not {seconds!r}")
    try:
        number = float(seconds)
    except OverflowError:
        raise ValueError(f"{what} must be a number of seconds that a float can say, not {seconds!r}") from None
    if math.isnan(number) or number < 0:
        raise ValueError(f"{what} must be 0 seconds or more, not {seconds!r}")
    return number


def check_timeout(timeout: object) -> float | None:
    """Return `timeout` as seconds, or None for as long as it takes; raises like `check_seconds`."""
    return None if timeout is None else check_seconds("timeout", timeout)
