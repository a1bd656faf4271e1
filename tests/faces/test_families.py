"""All resources of a function or a method at once, how much of them may be up, and the options of each of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import pytest

from refcount import (
    CapacityError,
    ClosedError,
    ResourceFunction,
    SharedResource,
    State,
    refcounted_method,
    refcounted_resource,
)
from refcount.testing import ManualClock
from tests.helpers.programs import run_program
from tests.helpers.watched import WAIT, until

share: Any = refcounted_resource


def by_size(key: object, size: float) -> float:
    """Weigh it."""
    return size


def as_fraction(key: object, size: int) -> Any:
    """Weigh it exactly."""
    return Fraction(size)


def by_keyword(key: object, *, size: float) -> float:
    """Weigh what is given by keyword."""
    return size


class World:
    """What some decorated things did, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def open(self, key: object, size: float = 1) -> Generator[str]:
        """Start and stop."""
        self.log.append(f"+{key}")
        yield f"{key}"
        self.log.append(f"-{key}")
        if key == "bad":
            raise OSError(key)

    def taken(self) -> list[str]:
        """Return what happened since this was asked last."""
        log, self.log = self.log, []
        return log


class Station:
    """Has a method that is shared."""

    def __init__(self, world: World) -> None:
        self.world = world

    @refcounted_method(linger=math.inf)
    def feed(self, key: object, size: float = 1) -> Generator[str]:
        yield from self.world.open(key, size)


def as_function(world: World) -> ResourceFunction[..., str]:
    """Return a function whose resources linger."""
    return refcounted_resource(world.open, linger=math.inf)


def as_method(world: World) -> ResourceFunction[..., str]:
    """Return the same, as a method; the station lives as long as what is bound to it."""
    return Station(world).feed


both = pytest.mark.parametrize("make", [as_function, as_method])


def held_and_lingering(family: ResourceFunction[..., str]) -> Any:
    """Let "a" be held twice and "b" linger; return what holds them."""
    with family("b"):
        pass
    return family.resource("a").acquire(), family.resource("a").acquire()


# --- All of them at once --------------------------------------------------------------------------------------------


@both
def test_usecount_is_over_all_keys(make: Callable[[World], ResourceFunction[..., str]]) -> None:
    """Those of detached generations and closed resources included."""
    family = make(World())
    assert family.usecount == 0
    leases = held_and_lingering(family)
    assert family.usecount == 2
    family.resource("a").invalidate()
    with family("a"), family("c"):
        assert family.usecount == 4
        with pytest.raises(TimeoutError):
            family.resource("c").close(timeout=0)
        assert family.usecount == 4
    for lease in leases:
        lease.release()
    assert family.usecount == 0
    family.close()


@both
def test_flush_stops_what_lingers(make: Callable[[World], ResourceFunction[..., str]]) -> None:
    """It says whether there was any."""
    world = World()
    family = make(world)
    assert family.flush() is False
    leases = held_and_lingering(family)
    assert world.taken() == ["+b", "+a"]
    assert family.flush() is True
    assert world.taken() == ["-b"]
    assert family.flush() is False
    for lease in leases:
        lease.release()
    assert family.flush() is True
    assert world.taken() == ["-a"]


@both
def test_invalidate_detaches_all(make: Callable[[World], ResourceFunction[..., str]]) -> None:
    """Holders keep what they have, newcomers get a fresh one, what lingers is stopped."""
    world = World()
    family = make(world)
    leases = held_and_lingering(family)
    family.invalidate()
    assert world.taken() == ["+b", "+a", "-b"]
    assert [lease.held for lease in leases] == [True, True]
    assert [lease.valid for lease in leases] == [False, False]
    with family("a"):
        assert world.taken() == ["+a"]
    for lease in leases:
        lease.release()
    assert world.taken() == ["-a"]
    family.close()


@both
def test_abandon_forgets_all(make: Callable[[World], ResourceFunction[..., str]]) -> None:
    """Nothing is stopped, leases become inert, and newcomers start anew."""
    world = World()
    family = make(world)
    leases = held_and_lingering(family)
    family.abandon()
    assert world.taken() == ["+b", "+a"]
    assert [lease.release() for lease in leases] == [False, False]
    assert (family.usecount, family.resources()) == (0, ())
    with family("a"), family("b"):
        assert world.taken() == ["+a", "+b"]
    family.close()
    assert sorted(world.taken()) == ["-a", "-b"]


@both
@pytest.mark.parametrize("verb", ["flush", "invalidate"])
def test_one_that_fails_keeps_none_from_it(make: Callable[[World], ResourceFunction[..., str]], verb: str) -> None:
    """All are stopped; one error goes to the caller as it is, several as a group."""
    world = World()
    family = make(world)
    for key in ("bad", "a", "b"):
        with family(key):
            pass
    with pytest.raises(OSError, match="bad"):
        getattr(family, verb)()
    assert {*world.taken()[3:]} == {"-bad", "-a", "-b"}
    assert family.resources() == ()
    for size in (1, 2):
        with family("bad", size):
            pass
    with pytest.raises(ExceptionGroup, match=r"2 errors while (flushing|invalidating) ") as raised:
        getattr(family, verb)()
    assert [type(error) for error in raised.value.exceptions] == [OSError, OSError]


def test_each_instance_has_its_own() -> None:
    """What is told to one instance's method is not told to another's."""
    world = World()
    one, other = Station(world), Station(world)
    with one.feed("a"), other.feed("b"):
        assert (one.feed.usecount, other.feed.usecount) == (1, 1)
    assert one.feed.flush() is True
    assert world.taken() == ["+a", "+b", "-a"]
    assert other.feed.flush() is True


# --- Weights --------------------------------------------------------------------------------------------------------


def test_no_more_is_stopped_than_needed() -> None:
    """Of idle ones of 2, 8 and 17, a newcomer of 15 takes the place of the one of 17 alone."""
    world = World()
    models = share(world.open, linger=math.inf, capacity=27, weight=by_size)
    assert models.capacity == 27
    for name, size in (("small", 2), ("speech", 8), ("large", 17)):
        with models(name, size):
            pass
    assert world.taken() == ["+small", "+speech", "+large"]
    with models("new", size=15):
        assert world.taken() == ["-large", "+new"]
    models.close()


def test_a_heavy_one_waits_its_turn() -> None:
    """What is held is never stopped; who finds no room waits, or is refused."""
    world = World()
    models = share(world.open, capacity=2.5, weight=by_size, when_full="raise")
    with models("a", 1.5), models("b", 1), pytest.raises(CapacityError, match=r"c', 0\.5\).* capacity of 2\.5"):
        models.resource("c", 0.5).acquire()
    waiting = share(world.open, capacity=Fraction(5, 2), weight=as_fraction)
    with ThreadPoolExecutor() as pool:
        with waiting("a", 2):
            entered = pool.submit(waiting.resource("b", 1).acquire, WAIT)
            until(lambda: waiting.resource("b", 1).state is State.STARTING)
        assert entered.result(WAIT).release()


def test_nothing_weighs_nothing() -> None:
    """What weighs nothing is always let in."""
    world = World()
    models = share(world.open, capacity=1, weight=by_size, when_full="raise")
    with models("a", 1), models("b", 0), models("c", 0):
        assert world.taken() == ["+a", "+b", "+c"]


@pytest.mark.parametrize(
    ("weight", "error", "text"),
    [
        (3, ValueError, r"open\('x', 3\) cannot be: a weight of 3 is more than the capacity of World\.open, 2"),
        (-1, ValueError, r"open\('x', -1\) cannot be: a weight must be finite and 0 or more, not -1"),
        (math.nan, ValueError, r"open\('x', nan\) cannot be: a weight must be finite and 0 or more, not nan"),
        (math.inf, ValueError, r"open\('x', inf\) cannot be: a weight must be finite and 0 or more, not inf"),
        ("1", TypeError, r"open\('x', '1'\) cannot be: a weight must be a number, and is of the type str"),
        (None, TypeError, r"open\('x', None\) cannot be: a weight must be a number, and is of the type NoneType"),
        (True, TypeError, r"open\('x', True\) cannot be: a weight must be a number, and is of the type bool"),
    ],
)
def test_a_bad_weight_is_refused_at_the_call(weight: Any, error: type[Exception], text: str) -> None:
    """The error names the call, and nothing is left of it."""
    models = share(World().open, capacity=2, weight=by_size)
    for call in (models, models.resource):
        with pytest.raises(error, match=text):
            call("x", weight)
    assert models.resources() == ()
    with models("x", 2):
        pass


def test_a_weight_that_raises() -> None:
    """Its error is the caller's, with a note that says where it comes from."""

    def weight(key: str, size: int) -> float:
        raise LookupError("no such model")

    models = share(World().open, capacity=2, weight=weight)
    with pytest.raises(LookupError, match="no such model") as raised:
        models("x")
    assert raised.value.__notes__ == ["while asking for the weight of World.open()"]


def test_weights_of_a_method() -> None:
    """It gets the arguments without the instance, defaults included; each instance has a capacity of its own."""

    class Rack:
        @refcounted_method(capacity=2, weight=by_keyword, when_full="raise")
        def model(self, key: str, *, size: int = 2) -> Generator[str]:
            yield key

    one, other = Rack(), Rack()
    with one.model("a"), other.model("a", size=1), other.model("b", size=1):
        for rack in (one, other):
            with pytest.raises(CapacityError):
                rack.model.resource("c", size=1).acquire()


def test_a_capacity_without_arguments_has_no_effect() -> None:
    """There is one resource, so that nothing is bounded: refused where it is decorated."""

    def only() -> Generator[int]:
        yield 3

    with pytest.raises(ValueError, match="capacity has no effect on only, which takes no arguments"):
        refcounted_resource(only, capacity=2)
    with pytest.raises(ValueError, match=r"capacity has no effect on .*feed, which takes no arguments"):

        class Hub:
            @refcounted_method(capacity=2)
            def feed(self) -> Generator[int]:
                yield 3

        Hub()


# --- Options of each ------------------------------------------------------------------------------------------------


def test_exclusive() -> None:
    """After an `invalidate`, whoever comes next waits until the holders have left."""

    class Bus:
        @refcounted_method(exclusive=True)
        def port(self, number: int) -> Generator[object]:
            yield object()

    shared: list[Any] = [refcounted_resource(port, exclusive=True), Bus().port]
    for family in shared:
        with family(1):
            family.invalidate()
            with pytest.raises(TimeoutError):
                family.resource(1).acquire(timeout=0)
        with family(1):
            pass


def port(number: int) -> Generator[object]:
    """Open something."""
    yield object()


def test_own_thread() -> None:
    """Start and stop run in one thread, which is none of the consumers'."""
    threads: list[threading.Thread] = []

    def opened(number: int) -> Generator[int]:
        threads.append(threading.current_thread())
        yield number
        threads.append(threading.current_thread())

    class Owner:
        @refcounted_method(own_thread=True)
        def opened(self, number: int) -> Generator[int]:
            yield from opened(number)

    shared: list[Any] = [refcounted_resource(opened, own_thread=True), Owner().opened]
    for family in shared:
        threads.clear()
        with family(1):
            pass
        start, stop = threads
        assert start is stop is not threading.current_thread()


EXIT = """
from refcount import refcounted_method, refcounted_resource

@refcounted_resource(at_exit="leave")
def mount(point):
    yield point
    print("unmount", point)

class Host:
    @refcounted_method(at_exit="leave")
    def mount(self, point):
        yield point
        print("unmount", point)

host = Host()
leases = mount.resource("/a").acquire(), host.mount.resource("/b").acquire()
print("end")
"""


def test_at_exit() -> None:
    """What is to be left is left."""
    ended = run_program(EXIT)
    assert (ended.lines, ended.returncode) == (["end"], 0), ended.stderr


def test_closing_ends_who_waits_for_room() -> None:
    """Also where keys have weights."""
    models = share(World().open, capacity=2, weight=by_size)
    with ThreadPoolExecutor() as pool, models("a", 2):
        entered = pool.submit(models.resource("b", 1).acquire, WAIT)
        until(lambda: models.resource("b", 1).state is State.STARTING)
        models.close(force=True)
        with pytest.raises(ClosedError):
            entered.result(WAIT)


def test_a_lingering_family_is_flushed_on_any_clock() -> None:
    """A linger that has run out is none to flush."""
    with ManualClock() as clock:
        family = refcounted_resource(World().open, linger=5.0)
        with family("a"):
            pass
        clock.advance(5.0)
        assert family.flush() is False
        assert isinstance(family.resource("a"), SharedResource)
