"""`Options`: good ones are kept as they are, bad ones are refused by name."""

import math
from dataclasses import FrozenInstanceError
from fractions import Fraction
from typing import Any

import pytest

from refcount._core.openers import Options


def test_defaults() -> None:
    """Without a word a resource stops at once, asks nothing, and lets nothing overlap."""
    options: Options[int] = Options()
    assert (options.linger, options.check, options.overlap, options.exclusive) == (0.0, None, False, False)


@pytest.mark.parametrize("linger", [3, Fraction(3), 3.0])
def test_a_linger_is_a_float(linger: Any) -> None:
    """Whatever kind of number was handed in."""
    options: Options[int] = Options(linger=linger)
    assert type(options.linger) is float
    assert options.linger == 3.0


def test_they_stay_what_they_are() -> None:
    """They are frozen: who has looked at them need not look again."""
    options: Options[int] = Options(linger=math.inf, check=bool, exclusive=True)
    with pytest.raises(FrozenInstanceError):
        options.linger = -1.0  # type: ignore[misc]  # that is the point
    assert options == Options(linger=math.inf, check=bool, exclusive=True)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"linger": -1.0}, ValueError, "linger must be 0 seconds or more, not -1.0"),
        ({"linger": math.nan}, ValueError, "linger must be 0 seconds or more, not nan"),
        ({"linger": "1"}, TypeError, "linger must be a number of seconds, not '1'"),
        ({"linger": None}, TypeError, "linger must be a number of seconds, not None"),
        ({"check": 3}, TypeError, "check must be callable, not 3"),
        ({"overlap": None}, TypeError, "overlap must be True or False, not None"),
        ({"exclusive": "false"}, TypeError, "exclusive must be True or False, not 'false'"),
        ({"own_thread": "no"}, TypeError, "own_thread must be True or False, not 'no'"),
        ({"at_exit": "none"}, ValueError, "at_exit must be 'stop' or 'leave', not 'none'"),
        ({"exclusive": True, "overlap": True}, ValueError, "exclusive and overlap contradict each other"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Each error names the option and the value."""
    with pytest.raises(error, match=text):
        Options(**options)
