"""A keyed family against a simple model of it, through random histories on a clock that the test moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

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

from refcount import CapacityError, ClosedError, Lease, SharedResource, State
from refcount._core.family import Family
from refcount._core.openers import Limits, Options
from refcount.testing import ManualClock
from tests.helpers.interrupting import Every

if TYPE_CHECKING:
    from refcount._core.openers import Life

KEYS = st.integers(0, 2)

TICK = 2.0**-10
"""Seconds that go by whenever a key begins to linger."""


class RefusedStart(Exception):
    """What a start raises that was told to."""


@dataclass
class Up:
    """A key that is not idle, as the model sees it.

    Attributes:
        current: Which start of its key made what newcomers get, if there is such a thing.
        leases: Those that hold something of it, by the start that made that.
        since: When the current one was left, or touched while it lingered.
        deadline: When the linger of the current one is over, if it lingers.
    """

    current: int | None
    leases: dict[int, list[Lease[str]]] = field(default_factory=dict[int, list[Lease[str]]])
    since: float = 0.0
    deadline: float = math.inf

    @property
    def held(self) -> list[Lease[str]]:
        """All leases."""
        return [lease for leases in self.leases.values() for lease in leases]

    @property
    def lingers(self) -> bool:
        """Whether nobody holds the current one."""
        return self.current is not None and self.current not in self.leases

    @property
    def makes_room(self) -> bool:
        """Whether it is idle when what lingers is stopped."""
        return self.lingers and not self.leases


class FamilyMachine(RuleBasedStateMachine):
    """One thread that does everything there is to do to a family, and knows what should come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.clock.__enter__()
        self.log: list[str] = []
        self.expected: list[str] = []
        self.refuse = False
        self.starts: dict[int, int] = {}
        self.up: dict[int, Up] = {}
        self.closed = False

    @initialize(
        linger=st.sampled_from([5.0, math.inf, 0.0]),
        capacity=st.sampled_from([None, 1, 1, 2]),
        when_full=st.sampled_from(["wait", "raise"]),
    )
    def begin(self, linger: float, capacity: int | None, when_full: Literal["wait", "raise"]) -> None:
        """Make the family."""
        self.linger = linger
        self.limit = math.inf if capacity is None else capacity
        self.full: type[Exception] = TimeoutError if when_full == "wait" else CapacityError
        limits = Limits(capacity, when_full if capacity else "wait")
        self.family: Family[str] = Family("thing", Options(linger), limits)

    def open(self, key: int) -> Generator[str, None, None]:
        """Start and stop."""
        if self.refuse:
            raise RefusedStart
        number = self.starts[key] = self.starts.get(key, 0) + 1
        self.log.append(f"+{key}.{number}")
        yield f"{key}.{number}"
        self.log.append(f"-{key}.{number}")

    def resource(self, key: int) -> SharedResource[str]:
        """What a call with this key gives."""
        name = f"thing({key})"
        lives = cast("Callable[[], Life[str]]", partial(self.open, key))
        return self.family.find(key) or self.family.make(key, lives, name)

    # What happens

    # Few rules, since hypothesis leaves some of them out of each history: else hardly anything is ever given back.

    @rule(key=KEYS, how=st.sampled_from(["stay", "stay", "go", "go", "fail"]))
    @precondition(lambda self: not self.closed)
    def come(self, key: int, how: str) -> None:
        """Be one more consumer, who has no time to wait, and may go at once, or whose start fails."""
        if how == "fail":
            self.acquire_in_vain(key)
            return
        self.acquire(key)
        up = self.up.get(key)
        if up is not None and up.current in up.leases and how == "go":
            self.release(key, up.current)

    def acquire(self, key: int) -> None:
        """Take a lease, if the model says that it is to be had."""
        up = self.up.get(key)
        if up is not None and up.current is not None:
            self.enter(key)
        elif up is None and not self.make_room():
            with pytest.raises(self.full):
                self.resource(key).acquire(timeout=0)
        else:
            number = self.starts.get(key, 0) + 1
            self.up.setdefault(key, Up(None)).current = number
            self.expected.append(f"+{key}.{number}")
            self.enter(key)

    def make_room(self) -> bool:
        """Say whether another key may start; the one that has lingered longest is stopped for it."""
        if len(self.up) < self.limit:
            return True
        idle = [key for key, up in self.up.items() if up.makes_room]
        if idle:
            self.stop_current(min(idle, key=lambda key: self.up[key].since))
        return bool(idle)

    def enter(self, key: int) -> None:
        """Take a lease, which the model says is to be had."""
        up = self.up[key]
        assert up.current is not None
        lease = self.resource(key).acquire(timeout=0)
        assert lease.value == f"{key}.{up.current}"
        up.leases.setdefault(up.current, []).append(lease)
        up.deadline = math.inf

    def stop_current(self, key: int) -> None:
        """Expect that what newcomers would get is stopped."""
        up = self.up[key]
        self.expected.append(f"-{key}.{up.current}")
        up.current, up.deadline = None, math.inf
        self.forget_idle(key)

    def forget_idle(self, key: int) -> None:
        """A key of which nothing is up and nothing is held is idle."""
        if self.up[key].current is None and not self.up[key].leases:
            del self.up[key]

    def acquire_in_vain(self, key: int) -> None:
        """Be a consumer whose start fails: that costs no slot, but makes room before."""
        up = self.up.get(key)
        if up is not None and up.current is not None:
            return
        error: type[Exception] = RefusedStart if up is not None or self.make_room() else self.full
        self.refuse = True
        with pytest.raises(error):
            self.resource(key).acquire(timeout=0)
        self.refuse = False

    @rule(data=st.data())
    @precondition(lambda self: any(up.leases for up in self.up.values()))
    def go(self, data: st.DataObject) -> None:
        """Give back any of the leases."""
        held = [(key, number) for key, up in self.up.items() for number in up.leases]
        self.release(*data.draw(st.sampled_from(held)))

    def release(self, key: int, number: int) -> None:
        """Give back a lease on what that start made, and give it back once more."""
        leases = self.up[key].leases[number]
        lease = leases.pop()
        assert lease.release()
        assert not lease.release()
        if not leases:
            self.left(key, number)

    def left(self, key: int, number: int) -> None:
        """The last lease on what that start made is gone."""
        up = self.up[key]
        del up.leases[number]
        if number != up.current:
            self.expected.append(f"-{key}.{number}")
            self.forget_idle(key)
        elif self.linger == 0 or self.closed:
            self.stop_current(key)
        else:
            self.begin_linger(key)

    def begin_linger(self, key: int) -> None:
        """Expect that a key lingers from now on, and let no other one do so since the same moment."""
        up = self.up[key]
        up.since = self.clock.now()
        up.deadline = up.since + self.linger
        self.pass_time(TICK)

    @rule(key=KEYS, what=st.sampled_from([*["try", "touch", "flush", "invalidate"] * 2, "close", "force"]))
    @precondition(lambda self: not self.closed)
    def disturb(self, key: int, what: str) -> None:
        """Do something that starts nothing."""
        acts: dict[str, Callable[[int], None]] = {
            "try": self.try_acquire,
            "touch": self.touch,
            "flush": self.flush,
            "invalidate": self.invalidate,
            "close": partial(self.close_one, force=False),
            "force": partial(self.close_one, force=True),
        }
        acts[what](key)

    def try_acquire(self, key: int) -> None:
        """Take what is up, and give it back at once."""
        up = self.up.get(key)
        lease = self.resource(key).try_acquire()
        assert (lease is not None) == (up is not None and up.current is not None)
        if lease is not None:
            assert up is not None
            assert lease.value == f"{key}.{up.current}"
            lease.release()
            if up.lingers:
                self.begin_linger(key)

    @rule(seconds=st.sampled_from([0.0, 1.0, 2.0, 5.0]))
    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        """Let time go by, and expect that lingers end."""
        end = self.clock.now() + seconds
        self.clock.advance(seconds)
        for _, key in sorted((up.deadline, key) for key, up in self.up.items() if up.deadline <= end):
            self.stop_current(key)

    def touch(self, key: int) -> None:
        """Let a linger begin anew; nothing else is touched by it."""
        self.resource(key).touch()
        if key in self.up and self.up[key].lingers:
            self.begin_linger(key)

    def flush(self, key: int) -> None:
        """Stop what lingers."""
        self.resource(key).flush()
        if key in self.up and self.up[key].lingers:
            self.stop_current(key)

    def invalidate(self, key: int) -> None:
        """Stop what lingers, and let nobody else have what is held; that takes no other slot."""
        self.resource(key).invalidate()
        up = self.up.get(key)
        if up is not None and up.lingers:
            self.stop_current(key)
        elif up is not None:
            up.current = None

    def close_one(self, key: int, force: bool) -> None:
        """Close a key that nobody holds, or under its holders; the next call with it makes a new resource."""
        if key in self.up and self.up[key].leases and not force:
            return
        before = len(self.expected)
        resource = self.resource(key)
        resource.close(timeout=0, force=force)
        if key in self.up:
            self.stop_all(key)
        self.in_any_order(before)
        assert resource.state is State.CLOSED
        assert self.resource(key) is not resource

    def stop_all(self, key: int) -> None:
        """Expect that everything of a key is stopped, and let its holders give it back."""
        up = self.up.pop(key)
        self.expected += [f"-{key}.{number}" for number in {*up.leases, up.current} if number is not None]
        assert all([lease.release() for lease in up.held])  # noqa: C419  # each of them

    def in_any_order(self, before: int) -> None:
        """What is expected since then may have happened in any order."""
        assert sorted(self.log[before:]) == sorted(self.expected[before:])
        self.expected[before:] = self.log[before:]

    @rule(force=st.booleans())
    @precondition(lambda self: sum(self.starts.values()) > 6)
    def close(self, force: bool) -> None:
        """Close the family, with what is held or under it."""
        before = len(self.expected)
        if any(up.leases for up in self.up.values()) and not force:
            with pytest.raises(TimeoutError):
                self.family.close(timeout=0)
        else:
            self.family.close(timeout=0, force=force)
        for key, up in list(self.up.items()):
            if force:
                self.stop_all(key)
            elif up.lingers:
                self.stop_current(key)
        self.closed = True
        self.in_any_order(before)

    @rule(key=KEYS)
    @precondition(lambda self: self.closed)
    def refused(self, key: int) -> None:
        """A closed family stays closed."""
        with pytest.raises(ClosedError):
            self.resource(key)

    # What holds

    @invariant()
    def agrees(self) -> None:
        """The same starts and stops in the same order, the same keys up, as often held, and never too many."""
        assert self.log == self.expected
        if hasattr(self, "family"):
            shown = {resource.name: resource.usecount for resource in self.family.resources()}
            assert shown == {f"thing({key})": len(up.held) for key, up in self.up.items()}
            assert len(shown) <= self.limit

    def teardown(self) -> None:
        """Give everything back."""
        for up in self.up.values():
            for lease in up.held:
                lease.release()
        if hasattr(self, "family"):
            self.family.close(timeout=0)
        self.clock.__exit__(None, None, None)
        assert len([entry for entry in self.log if entry[0] == "+"]) * 2 == len(self.log)


def test_a_family_does_what_its_model_does(every: Every) -> None:
    """They agree about all that can be seen."""
    examples = 200 // every(2)
    run_state_machine_as_test(FamilyMachine, settings=settings(max_examples=examples, stateful_step_count=40))
