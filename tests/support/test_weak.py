"""`WeakValue`: what stands in a dict goes with what it refers to, and takes nothing else with it."""

from operator import methodcaller

from refcount._support.weak import NOBODY, WeakValue


class Thing:
    """What is referred to."""


def put(values: dict[str, WeakValue[Thing]], key: str, thing: Thing) -> None:
    """Let `key` stand for `thing` as long as there is one."""
    values[key] = WeakValue(thing, methodcaller("discard", values, key))


def test_it_goes_with_its_thing() -> None:
    """And the others stay."""
    values: dict[str, WeakValue[Thing]] = {}
    one, other = Thing(), Thing()
    put(values, "one", one)
    put(values, "other", other)
    assert values["one"]() is one
    del one
    assert [*values] == ["other"]


def test_another_one_in_its_place_stays() -> None:
    """However late it is told that its own thing is gone: here, by another dict that still has it."""
    values: dict[str, WeakValue[Thing]] = {}
    one, other = Thing(), Thing()
    put(values, "key", one)
    late = values["key"]
    put(values, "key", other)
    del one
    assert late() is None
    assert values["key"]() is other


def test_only_what_is_dead_is_discarded() -> None:
    """Where nothing is, or something is alive, nothing happens."""
    thing = Thing()
    values = {"dead": NOBODY, "alive": WeakValue(thing)}
    for key in ("dead", "alive", "none"):
        WeakValue.discard(values, key)
    assert [*values] == ["alive"]


def test_nobody_is_nobody() -> None:
    """It is dead from the beginning."""
    assert NOBODY() is None
