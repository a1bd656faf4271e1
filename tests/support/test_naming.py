"""Names and values in texts: short, printable, on one line, and whatever a `__repr__` does."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from typing import Any, cast

import pytest

from refcount import (
    InstanceManager,
    RefcountedExecutor,
    RefcountedValue,
    Refcounter,
    SharedResource,
    StoppableThread,
    WorkerGroup,
    demand,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
    uses,
)
from refcount._support.naming import named, one_line, short, text_of

NASTY = "red \x1b[31m\n\r\x00\u202e\ud800 text"
TIDY = r"red \x1b[31m \x00\u202e\ud800 text"


attribute: Any = refcounted_attribute


def one_of(_hub: object) -> str:
    """Name the attribute of an instance."""
    return NASTY


class Broken:
    """Fails whatever it is asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __float__ = __index__ = __repr__


class Long:
    """Says too much, on many lines, and in red."""

    def __repr__(self) -> str:
        return "\x1b[31m0 1\n" * 1000


def test_one_line() -> None:
    """What is printable stays; what is not is escaped as Python does; white space is one space."""
    assert one_line("caméra 0") == "caméra 0"
    assert one_line(NASTY) == TIDY


@pytest.mark.parametrize("value", [Broken(), Long(), [Long()] * 100, 10**10000, {Long(): NASTY}], ids=type)
def test_short(value: object) -> None:
    """Of anything."""
    assert len(short(value)) < 500
    assert short(value).isprintable()


def test_names_are_printable() -> None:
    """Whoever made them."""

    class Hub:
        called: Any = attribute(list, name=NASTY)
        function: Any = attribute(list, name=one_of)

        @refcounted_method(name=NASTY)
        def feed(self) -> Any:
            yield self

    def feed() -> Any:
        yield

    hub = Hub()
    names = [
        SharedResource.of(list, name=NASTY).name,
        SharedResource.of(list, name=lambda: NASTY).name,
        WorkerGroup(print, name=NASTY).name,
        hub.called.name,
        hub.function.name,
        refcounted_resource(feed, name=lambda: NASTY).resource().name,
        text_of(named(NASTY, "")),
    ]
    assert names == [TIDY] * len(names)
    assert [hub.feed.resource().name, refcounted_resource(feed, name=NASTY).resource().name] == [f"{TIDY}()"] * 2


def test_names_say_nothing_of_where_a_thing_was_defined() -> None:
    """So they are alike, whatever it is."""

    class A:
        at = refcounted_attribute(list[int])

        @refcounted_method
        def feed(self) -> Any:
            yield self

    class M(InstanceManager[A]):
        needing = demand("a")

    def feed() -> Any:
        yield

    names = [
        A().at.name,
        A().feed.resource().name,
        refcounted_resource(feed).resource().name,
        repr(M.needing),
        repr(A.at),
    ]
    assert names == ["A.at", "A.feed()", "feed()", "<demand M.needing>", "<refcounted_attribute A.at of list>"]
    assert repr(M()) == "<M of 0 instances>"
    assert SharedResource(lambda: nullcontext(1)).name == "<lambda>"


class Mute(InstanceManager[object]):
    """A manager that cannot say what it is."""

    a = demand("a")

    __repr__ = cast("Any", Broken).__repr__


class MuteResource(SharedResource[object]):
    """The same of a resource."""

    __repr__ = cast("Any", Broken).__repr__


def assign(owner: object, name: str) -> Callable[[Any], object]:
    """Return what sets an attribute."""
    return lambda value: setattr(owner, name, value)


untyped: Any = refcounted_resource
of: Any = SharedResource.of
DOORS: dict[str, Callable[[Any], object]] = {
    "linger": lambda value: of(list, linger=value),
    "check": lambda value: of(list, check=value),
    "at_exit": lambda value: of(list, at_exit=value),
    "name": lambda value: of(list, name=value),
    "timeout": lambda value: of(list).acquire(timeout=value),
    "capacity": lambda value: untyped(capacity=value),
    "heavy capacity": lambda value: untyped(capacity=value, weight=len),
    "when_full": lambda value: untyped(capacity=1, when_full=value),
    "capacity of keys": lambda value: untyped(capacity=value, key=len),
    "key": lambda value: untyped(key=value),
    "workers": RefcountedExecutor,
    "target": WorkerGroup,
    "thread": StoppableThread,
    "stop": lambda value: StoppableThread().stop(value),
    "demand": demand,
    "hook": lambda value: demand("a", acquire=value),
    "resource": lambda value: demand("a", resource=value),
    "uses": uses,
    "used": lambda value: cast("Any", uses(of(list)))(value),
    "attribute": refcounted_attribute,
    "usecount": Refcounter,
    "amount": Refcounter(1).add,
    "callback": lambda value: Refcounter(1, acquire=value),
    "lock": Refcounter(1).dec_and_lock,
    "set": assign(RefcountedValue(1), "usecount"),
    "not managed": InstanceManager[object]().remove_instance,
    "set demand": assign(Mute(), "a"),
    "opener": lambda value: SharedResource(lambda: value).acquire(),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("value", [Broken(), Long()], ids=type)
def test_whatever_is_handed_in_an_error_tells(door: str, value: object) -> None:
    """One of ours, short, and on one line."""
    with pytest.raises((TypeError, ValueError, AttributeError)) as raised:
        DOORS[door](value)
    assert "<Broken" in str(raised.value) or "0 1" in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("door", ["linger", "timeout", "capacity", "heavy capacity", "usecount", "amount"])
@pytest.mark.parametrize(
    "value", [10**10000, -(10**10000), Fraction(10**10000), math.nan], ids=["long", "less", "fraction", "nan"]
)
def test_numbers_that_cannot_be_used_are_named_shortly(door: str, value: Any) -> None:
    """Though Python refuses to write some of them."""
    text = ""
    try:
        DOORS[door](value)
    except (TypeError, ValueError, OverflowError) as error:
        text = str(error)
    assert len(text) < 200
    assert "4300" not in text


def test_those_that_cannot_say_what_they_are() -> None:
    """Their errors are what they would be."""
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        Mute().__reduce__()
    with pytest.raises(TypeError, match="cannot be pickled"):
        MuteResource(nullcontext).__reduce__()
