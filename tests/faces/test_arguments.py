"""The short ways of making keys come to what `inspect.Signature.bind` says."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refcount import refcounted_attribute, refcounted_method, refcounted_resource
from refcount._faces.arguments import Arguments
from refcount._faces.sources import signature_of
from refcount._faces.terms import Terms
from refcount._support.naming import LENGTH, short


def none() -> None:
    """Take nothing."""


def plain(a: object, b: object = 1, c: object = 2) -> None:
    """Take what can be spelled either way."""


def strict(a: object, b: object = 1, /, c: object = 2, *, d: object, e: object = 3) -> None:
    """Take some by position only, some by keyword only."""


def loose(a: object, /, *rest: object, d: object = 3) -> None:
    """Take any number by position."""


def open_ended(a: object, b: object = 1, /, c: object = 2, **more: object) -> None:
    """Take anything by keyword, even what is called like a parameter."""


FUNCTIONS: list[Callable[..., None]] = [none, plain, strict, loose, open_ended]

CALLS = st.tuples(st.lists(st.integers(1, 3), max_size=4), st.dictionaries(st.sampled_from("abcde"), st.integers(1, 3)))


def bound(signature: inspect.Signature, args: list[int], kwargs: dict[str, int]) -> object:
    """Return what the call means, by the book; None if it is wrong."""
    try:
        arguments = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    arguments.apply_defaults()
    return arguments.arguments


@pytest.mark.parametrize("function", FUNCTIONS)
@given(one=CALLS, other=CALLS)
def test_keys_are_equal_when_calls_mean_the_same(function: Callable[..., None], one: Any, other: Any) -> None:
    """And differ when they do not; a call is refused exactly when Python would refuse it."""
    signature = signature_of(function)
    arguments = Arguments("f", signature, Terms())
    means = [bound(signature, *call) for call in (one, other)]
    keys: list[Any] = []
    for meaning, (args, kwargs) in zip(means, (one, other), strict=True):
        if meaning is None:
            with pytest.raises(TypeError, match=r"f\(\) "):
                arguments.key(tuple(args), kwargs)
        else:
            keys.append(arguments.key(tuple(args), kwargs))
            hash(keys[-1])
    if len(keys) == 2:
        assert (keys[0] == keys[1]) == (means[0] == means[1])


def test_values_are_not_compared() -> None:
    """An argument whose `==` gives no plain answer, as an array's does, is no obstacle."""

    class Array:
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value of an array is ambiguous")

    array = Array()
    arguments = Arguments("f", signature_of(strict), Terms())
    assert arguments.key((array,), {"d": 1})[0] is array  # type: ignore[index]  # a tuple, so far


def test_a_builtin_without_signature_takes_anything() -> None:
    """Then the arguments are told apart as they are spelled."""
    signature = signature_of(max)
    arguments = Arguments("max", signature, Terms())
    assert arguments.key((1, 2), {"default": 3}) == arguments.key((1, 2), {"default": 3})
    assert arguments.key((1, 2), {}) != arguments.key((2, 1), {})


@pytest.mark.parametrize("function", FUNCTIONS)
@given(args=st.lists(st.integers(1, 3), max_size=4), other=CALLS)
def test_arguments_that_are_keys(function: Callable[..., None], args: list[int], other: Any) -> None:
    """Where they may be taken for the key as they are, they are that of their own call, or of none."""
    arguments = Arguments("f", signature_of(function), Terms())
    try:
        key = arguments.key(tuple(other[0]), other[1])
    except TypeError:
        return
    if arguments.are_keys and key == tuple(args):
        assert arguments.key(tuple(args), {}) == key


# --- How calls are written ------------------------------------------------------------------------------------------


class Shown:
    """Is shown as it is told to be."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        if not self.text:
            raise RuntimeError("not ready yet")
        return self.text


class list_(list[int]):
    """Is called like a builtin."""


list_.__name__ = "list"


class Deque:
    """Is called like a collection, and is none."""


Deque.__name__ = "deque"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("front", "'front'"),
        ([1, "a", None], "[1, 'a', None]"),
        (Shown("   a b\n0  1 2\n1  3 4"), "a b 0 1 2 1 3 4"),
        (Shown("one\u2028two"), "one two"),
        (Shown("with  space"), "with  space"),
        (Deque(), "<deque object>"),
        (10**10_000, "<int object>"),
        (list_([1]), "[1]"),
    ],
    ids=range(9),
)
def test_short(value: object, text: str) -> None:
    """As `repr` shows it, on one line."""
    assert short(value) == text


@pytest.mark.parametrize("value", ["x" * 10_000_000, Shown("y" * 1000), [[["z" * 99] * 99] * 99] * 99], ids=range(3))
def test_long_is_short(value: object) -> None:
    """Whatever it is, a call is short."""
    arguments = Arguments("f", signature_of(plain), Terms())
    spelled = arguments.spelled((value, value), {"c": value})
    assert spelled.startswith("f(")
    assert spelled.endswith("...)")
    assert len(spelled) == LENGTH + len("f()")


def test_an_argument_that_cannot_be_shown() -> None:
    """Its own error is none of the name's."""
    assert (
        Arguments("f", signature_of(plain), Terms())
        .spelled((Shown(""),), {"b": 1})
        .startswith("f(<Shown instance at 0x")
    )


@pytest.mark.parametrize("decorator", [refcounted_resource, refcounted_method, partial(refcounted_attribute, list)])
def test_names_are_texts(decorator: Callable[..., object]) -> None:
    """Anything else is refused at once, by the decorator and the value."""
    with pytest.raises(
        TypeError, match=r"the name of @?refcounted_\w+ must be a string, or a function that returns one, not 5"
    ):
        decorator(name=5)
