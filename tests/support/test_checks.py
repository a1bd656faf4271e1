"""What the checks of arguments let through, and what their errors say."""

import inspect
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from refcount._support.checks import advises
from refcount._support.numbers import check_integer, check_seconds, check_timeout


class Whole:
    """An integer of another library."""

    def __index__(self) -> int:
        return 2


@pytest.mark.parametrize("value", [1.0, "1", None, True, 1j])
def test_no_integer(value: object) -> None:
    """The error names what it was for and the value."""
    with pytest.raises(TypeError, match=re.escape(f"capacity must be an integer, not {value!r}")):
        check_integer("capacity", value)


def test_an_integer_that_is_too_small() -> None:
    """The error names what it was for, the least and the value."""
    assert check_integer("amount", 0) == 0
    with pytest.raises(ValueError, match="amount must be 0 or more, not -1"):
        check_integer("amount", -1)
    with pytest.raises(ValueError, match="capacity must be 1 or more, not 0"):
        check_integer("capacity", 0, least=1)


def test_integers_of_other_libraries() -> None:
    """They come back as an int."""
    assert type(check_integer("capacity", Whole())) is int


@pytest.mark.parametrize("value", ["5", None, True, 1j])
def test_seconds_of_the_wrong_type(value: object) -> None:
    """The error names what it was for and the value."""
    with pytest.raises(
        TypeError,
        match="linger must be a number of seconds, not " + repr(value).replace("(", r"\(").replace(")", r"\)"),
    ):
        check_seconds("linger", value)


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), float("-inf")])
def test_seconds_out_of_range(value: float) -> None:
    """The error names what it was for and the value."""
    with pytest.raises(ValueError, match="timeout must be 0 seconds or more, not " + repr(value)):
        check_seconds("timeout", value)


def test_seconds_beyond_all_floats() -> None:
    """They are refused by name and value."""
    with pytest.raises(ValueError, match=r"linger must be a number of seconds that a float can say, not 1000.*000$"):
        check_seconds("linger", 10**400)


@pytest.mark.parametrize("value", [0, 3, 2.5, float("inf"), Decimal("0.5"), Fraction(1, 2)])
def test_seconds_in_range(value: object) -> None:
    """They come back as a float."""
    assert check_seconds("linger", value) == value
    assert isinstance(check_seconds("linger", value), float)


def test_a_timeout_may_be_none() -> None:
    """None is for as long as it takes; all else is seconds."""
    assert check_timeout(None) is None
    assert check_timeout(1) == 1.0
    with pytest.raises(ValueError, match="timeout must be 0 seconds or more, not -1"):
        check_timeout(-1)


class Threads:
    """Made with one keyword, while others are known from elsewhere."""

    @advises(max_workers="write workers=4")
    def __init__(self, workers: int, *, name: str = "threads") -> None:
        """Keep them."""
        self.made = (workers, name)


def test_keywords_that_are_known_from_elsewhere() -> None:
    """They are refused with what to write instead; all else is as without, signature and other errors included."""
    make: Any = Threads
    with pytest.raises(TypeError, match=re.escape("Threads takes no max_workers: write workers=4")):
        make(max_workers=4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'mxworkers'"):
        make(mxworkers=4)
    assert Threads(4, name="pool").made == (4, "pool")
    assert list(inspect.signature(Threads).parameters) == ["workers", "name"]
