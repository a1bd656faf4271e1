"""The room of a bounded family against a simple model of it, and in every order of steps that hypothesis thinks of.

No threads: whoever waits is a place in line and the loop that its thread would run, one step at a time.
"""
# pyright: reportPrivateUsage=false
# What the room knows is compared with what it should know.

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal
from weakref import ref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from refcount._core.evictions import Key, Place
from refcount._core.parking import Parker
from refcount._core.room import Room, Step
from tests.helpers.interrupting import Every

WEIGHTS = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3, "f": 5, "nothing": 0}
NAMES = st.sampled_from([*WEIGHTS])


@dataclass(eq=False)
class Life:
    """A generation."""

    name: str
    held: bool = True
    left: float = 0.0
    armed: bool = False


@dataclass(eq=False)
class Thing:
    """A resource: its key in the room, what newcomers get of it, and what else of it is inside."""

    key: Key[Life]
    current: Life | None = None
    older: list[Life] = field(default_factory=list[Life])


@dataclass(eq=False)
class Waiter:
    """A thread that wants a generation in, and how far it is."""

    place: Place[Life]
    parker: Parker
    life: Life
    hurried: bool
    step: Step | None = None
    seen: list[float | None] | None = None


class LoggedRoom(Room[Life]):
    """A room that logs which keys come in, in the order in which it lets them."""

    log: list[str]
    names: dict[Key[Life], str]

    def _let_in(self, key: Key[Life], ticket: int) -> None:
        if not key.count:
            self.log.append(f"+{self.names[key]}")
        super()._let_in(key, ticket)


class World(RuleBasedStateMachine):
    """Resources, the room, and the threads that wait; what happens is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.things = {name: Thing(Key(weight)) for name, weight in WEIGHTS.items()}
        self.names = {thing.key: name for name, thing in self.things.items()}
        self.waiters: list[Waiter] = []
        self.log: list[str] = []
        self.threads: Iterator[int] = itertools.count()
        self.clock: Iterator[float] = itertools.count(1.0)

    @initialize(limit=st.sampled_from([5, 6, 8]), when_full=st.sampled_from(["wait", "wait", "raise"]))
    def begin(self, limit: int, when_full: Literal["wait", "raise"]) -> None:
        """Make the room."""
        self.limit = limit
        self.patient = when_full == "wait"
        self.room = LoggedRoom(limit, patient=self.patient)
        self.room.log, self.room.names = self.log, self.names

    # What drivers do

    def resting_since(self, life: Life) -> float | None:
        """Return since when it lingers, else see that it is told of again."""
        if life is self.things[life.name].current and not life.held and life.armed:
            return life.left
        life.armed = False
        return None

    def stop(self, life: Life) -> None:
        """Stop a generation, which has left then."""
        thing = self.things[life.name]
        self.log.append(f"-{life.name}")
        if life is thing.current:
            thing.current = None
        else:
            thing.older.remove(life)
        self.room.leave(thing.key, id(life))

    def leave(self, life: Life) -> None:
        """The last lease on a generation is given back: it lingers if newcomers may have it."""
        thing = self.things[life.name]
        life.held = False
        if life is not thing.current:
            self.stop(life)
            return
        life.left = next(self.clock)
        if not life.armed:
            life.armed = True
            self.room.rests(thing.key, id(life), life.left, ref(life))

    # What threads do

    def come(self, name: str, hurried: bool) -> Waiter | None:
        """Have a thread come for a key; return it if it has to wait."""
        thing = self.things[name]
        if thing.current is not None:
            thing.current.held = True
            return None
        life = Life(name)
        if self.room.admit(thing.key, id(life)):
            self.enter(life)
            return None
        parker = Parker()
        place = Place(thing.key, id(life), [next(self.threads)], parker)
        waiter = Waiter(place, parker, life, hurried)
        self.waiters.append(waiter)
        return waiter

    def enter(self, life: Life) -> None:
        """A generation is inside and starts."""
        thing = self.things[life.name]
        if thing.current is not None:
            thing.older.append(life)  # two came at once; nobody finds this one
        else:
            thing.current = life

    def go_on(self, waiter: Waiter) -> None:
        """Let a thread do one step."""
        place, step = waiter.place, waiter.step
        if step is Step.LOOK and waiter.seen is None:
            waiter.seen = [self.resting_since(life) if (life := idle.generation()) else None for idle in place.unseen]
        elif step is Step.LOOK:
            assert waiter.seen is not None
            self.room.sort_out(place, [*zip(place.unseen, waiter.seen, strict=True)])
            waiter.step = waiter.seen = None
        elif step is Step.STOP:
            life = place.victims[-1].generation()
            if life is not None and self.resting_since(life) is not None:
                self.stop(life)
            self.room.stopped(place)
            waiter.step = None
        elif step is Step.CHECK:
            assert self.room.could_enter(place, dict.fromkeys(self.room._keys, False), len(WEIGHTS))[0]
            place.checked = True
            waiter.step = None
        else:
            waiter.step = self.room.advance(place, hurried=waiter.hurried)
            if waiter.step is Step.STOP:
                self.check_choice(place)
            self.finish(waiter)

    def finish(self, waiter: Waiter) -> None:
        """See what has become of a thread."""
        if waiter.step is Step.GO:
            self.enter(waiter.life)
            self.waiters.remove(waiter)
        elif waiter.step is Step.FULL or (waiter.step is Step.SLEEP and waiter.hurried):
            self.log.append(f"!{waiter.life.name}")
            self.waiters.remove(waiter)
            self.room.retire(waiter.place)
            self.room.leave(waiter.place.key, waiter.place.ticket)

    def check_choice(self, place: Place[Life]) -> None:
        """Of those that a thread is about to stop none is superfluous, unless all are not enough."""
        room = self.room
        lacks = room._load + room._wanted - room._evictions.freeing - room._limit
        assert lacks + place.victims[-1].key.weight > 0

    def can_go_on(self, waiter: Waiter) -> bool:
        """Return whether a thread is awake."""
        return waiter.step is not Step.SLEEP or waiter.parker.park(monotonic() - 1)

    # What holds

    def recount(self) -> None:
        """What the room has counted is what there is."""
        room = self.room
        keys = [thing.key for thing in self.things.values()]
        inside = [key for key in keys if key.count]
        assert room._load == sum(key.weight for key in inside) <= self.limit
        assert {*room._keys} == {key for key in inside if key.weight}
        assert room._wanted == sum(key.weight for key in keys if key.places and not key.count)
        assert room._evictions.freeing == sum(key.weight for key in keys if key.evicted_for is not None)
        for key in keys:
            assert key.count == sum(other is key for other in room._inside.values())
            assert key.evicted_for is None or any(idle.key is key for idle in key.evicted_for.victims)
            assert [*key.places] == [ticket for ticket, place in room._queue.items() if place.key is key]

    def nobody_is_overlooked(self) -> None:
        """Whatever lingers and was told of can be found by those who need room; if all of them sleep, nothing does."""
        found = {idle.key for idle in self.room._evictions.heap if idle.key.idle is idle}
        for waiter in self.waiters:
            found |= {idle.key for idle in waiter.place.unseen} | {*waiter.place.hand}
            found |= {idle.key for idle in waiter.place.victims}
        asleep = [waiter.place for waiter in self.waiters if waiter.step is Step.SLEEP]
        assert not any(place.unseen or place.hand or place.victims for place in asleep)
        all_sleep = bool(asleep) and len(asleep) == len(self.waiters) and {*self.room._asleep.values()} == {*asleep}
        for thing in self.things.values():
            life = thing.current
            if life is not None and not life.held and life.armed and thing.key.weight and thing.key.count == 1:
                assert thing.key in found
                assert not all_sleep


class Interleaved(World):
    """Threads that go on one step at a time, in any order."""

    @rule(name=NAMES, hurried=st.booleans())
    def comes(self, name: str, hurried: bool) -> None:
        """A thread comes."""
        self.come(name, hurried)

    @rule(data=st.data())
    @precondition(lambda self: self.waiters)
    def goes_on(self, data: st.DataObject) -> None:
        """A thread does a step, or sees that it is to sleep on."""
        waiter = data.draw(st.sampled_from(self.waiters))
        if self.can_go_on(waiter):
            self.go_on(waiter)

    @rule(name=NAMES)
    def leaves(self, name: str) -> None:
        """The last lease on a key is given back."""
        life = self.things[name].current
        if life is not None and life.held:
            self.leave(life)

    @rule(name=NAMES)
    def detaches(self, name: str) -> None:
        """Newcomers get a fresh generation of a key; what lingers stops."""
        thing = self.things[name]
        life, thing.current = thing.current, None
        if life is not None:
            thing.older.append(life)
            if not life.held:
                self.stop(life)

    @rule(name=NAMES)
    def leaves_an_older_one(self, name: str) -> None:
        """The last lease on what was detached is given back."""
        if self.things[name].older:
            self.leave(self.things[name].older[0])

    @rule(data=st.data())
    @precondition(lambda self: self.waiters)
    def is_given_up(self, data: st.DataObject) -> None:
        """A generation leaves while it waits: it comes again at the end of the line."""
        waiter = data.draw(st.sampled_from(self.waiters))
        if waiter.step is Step.SLEEP:
            self.room.leave(waiter.place.key, waiter.place.ticket)

    @rule(data=st.data())
    @precondition(lambda self: self.waiters)
    def gives_up(self, data: st.DataObject) -> None:
        """A thread that sleeps is interrupted, and its generation leaves."""
        waiter = data.draw(st.sampled_from(self.waiters))
        if waiter.step is Step.SLEEP:
            self.waiters.remove(waiter)
            self.room.retire(waiter.place)
            self.room.leave(waiter.place.key, waiter.place.ticket)

    @invariant()
    def is_right(self) -> None:
        """Hold the room against what there is."""
        if hasattr(self, "room"):
            self.recount()
            self.nobody_is_overlooked()

    def teardown(self) -> None:
        """When all that is held is given back, everybody gets in, one after the other."""
        if hasattr(self, "room"):
            for _ in range(500):
                self.run_down()
                if not self.waiters:
                    break
            assert not self.waiters, [(waiter.life.name, waiter.step) for waiter in self.waiters]
            self.run_down()
            assert not self.room._queue
            assert not self.room._entering

    def run_down(self) -> None:
        """Let every thread go on, and every lease be given back."""
        for waiter in [*self.waiters]:
            if waiter in self.waiters and self.can_go_on(waiter):
                self.go_on(waiter)
        for thing in self.things.values():
            for life in [*thing.older]:
                self.leave(life)
            if thing.current is not None and thing.current.held:
                self.leave(thing.current)


class Modelled(World):
    """Threads that go on as far as they can before anything else happens, and a model that says what comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: list[str] = []
        self.up: dict[str, bool] = {}
        """The keys inside, and whether they are held; those that linger in the order in which they began to."""
        self.line: list[str] = []

    def settle(self) -> None:
        """Let all threads go on as far as they can."""
        while any(self.can_go_on(waiter) and self.go_on_until_it_sleeps(waiter) for waiter in [*self.waiters]):
            pass

    def go_on_until_it_sleeps(self, waiter: Waiter) -> bool:
        """Let a thread do all that it can do."""
        self.go_on(waiter)
        while waiter in self.waiters and waiter.step is not Step.SLEEP:
            self.go_on(waiter)
        return True

    @rule(name=NAMES, hurried=st.booleans())
    def comes(self, name: str, hurried: bool) -> None:
        """A consumer comes, unless its key stands in line already."""
        if name in self.line:
            return
        self.come(name, hurried)
        self.settle()
        if name in self.up:
            self.up[name] = True
        else:
            self.expect(name, hurried)

    @rule(name=NAMES, hurried=st.booleans())
    def visits(self, name: str, hurried: bool) -> None:
        """A consumer comes, and goes as soon as it is in, so that more keys linger."""
        self.comes(name, hurried)
        self.leaves(name)

    def expect(self, name: str, hurried: bool) -> None:
        """Expect what comes of a newcomer."""
        idle = [] if self.line else [other for other, held in self.up.items() if not held and WEIGHTS[other]]
        lacks = sum(WEIGHTS[other] for other in (*self.up, *self.line, name)) - self.limit
        if not WEIGHTS[name] or (not self.line and lacks <= 0):
            self.expect_start(name)
            return
        enough = not self.line and sum(WEIGHTS[other] for other in idle) >= lacks
        if enough or (self.patient and not hurried):
            for other in self.chosen(idle, lacks) if enough else idle:
                self.expect_stop(other)
            self.line.append(name)
            self.expect_those_in_line()
        else:
            self.expected.append(f"!{name}")

    def chosen(self, idle: list[str], lacks: int) -> list[str]:
        """Return whom the rule says to stop."""
        chosen: list[str] = []
        for name in idle:
            if sum(WEIGHTS[other] for other in chosen) < lacks:
                chosen.append(name)
        for name in chosen[::-1]:
            if sum(WEIGHTS[other] for other in chosen if other != name) >= lacks:
                chosen.remove(name)
        return chosen

    def expect_start(self, name: str) -> None:
        """Expect that a key starts."""
        self.expected.append(f"+{name}")
        self.up[name] = True

    def expect_stop(self, name: str) -> None:
        """Expect that a key stops."""
        self.expected.append(f"-{name}")
        del self.up[name]

    def expect_those_in_line(self) -> None:
        """Expect that as many start as fit, in order."""
        while self.line and sum(WEIGHTS[name] for name in (*self.up, self.line[0])) <= self.limit:
            self.expect_start(self.line.pop(0))

    @rule(name=NAMES)
    def leaves(self, name: str) -> None:
        """The last lease on a key is given back: it is stopped at once if anybody is in line."""
        life = self.things[name].current
        if life is None or not life.held:
            return
        self.leave(life)
        self.settle()
        self.up[name] = self.up.pop(name) and False
        if self.line and WEIGHTS[name]:
            self.expect_stop(name)
            self.expect_those_in_line()

    @rule(name=NAMES)
    def is_flushed(self, name: str) -> None:
        """What lingers stops."""
        life = self.things[name].current
        if life is not None and not life.held:
            self.stop(life)
            self.settle()
            self.expect_stop(name)

    @rule(name=NAMES)
    def gives_up(self, name: str) -> None:
        """A thread in line is interrupted: those behind it may fit."""
        for waiter in [*self.waiters]:
            if waiter.life.name == name:
                self.waiters.remove(waiter)
                self.room.retire(waiter.place)
                self.room.leave(waiter.place.key, waiter.place.ticket)
                self.settle()
                self.line.remove(name)
                self.expect_those_in_line()

    @invariant()
    def agrees(self) -> None:
        """The same starts and stops in the same order, and the same line."""
        if hasattr(self, "room"):
            assert self.log == self.expected
            assert [self.names[place.key] for place in self.room._queue.values()] == self.line
            self.recount()
            self.nobody_is_overlooked()


@pytest.mark.parametrize(("machine", "steps"), [(Interleaved, 50), (Modelled, 30)])
def test_a_room_does_what_its_model_does(machine: type[World], steps: int, every: Every) -> None:
    """In every order of steps of its threads, and where one thread's steps are done at once."""
    run_state_machine_as_test(machine, settings=settings(max_examples=80 // every(2), stateful_step_count=steps))
