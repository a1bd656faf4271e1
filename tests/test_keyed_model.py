"""A keyed family against a simple model of it, through random histories on a clock that the test moves."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from refcount import CapacityError, ClosedError, Lease, SharedResource, State
from refcount._keyed import Family, Terms
from refcount._openers import Yielding
from refcount.testing import ManualClock

KEYS = st.integers(0, 4)


class RefusedStart(Exception):
    """What a start raises that was told to."""


@dataclass
class Up:
    """A key that is not idle, as the model sees it; the model keeps them in the order in which their linger began.

    Attributes:
        number: Which start of its key made it.
        leases: The leases that hold it.
        deadline: When its linger is over, if it lingers.
        closed: Whether it refuses newcomers, so that the next one of its key gets another resource.
    """

    number: int
    leases: list[Lease[str]] = field(default_factory=list[Lease[str]])
    deadline: float = math.inf
    closed: bool = False

    @property
    def lingers(self) -> bool:
        """Whether nobody holds it."""
        return not self.leases


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
        linger=st.sampled_from([0.0, 5.0, math.inf]),
        capacity=st.sampled_from([None, 1, 2, 3]),
        when_full=st.sampled_from(["wait", "raise"]),
    )
    def begin(self, linger: float, capacity: int | None, when_full: Literal["wait", "raise"]) -> None:
        """Make the family."""
        self.linger = linger
        self.limit = math.inf if capacity is None else capacity
        self.full: type[Exception] = TimeoutError if when_full == "wait" else CapacityError
        self.family: Family[str] = Family("thing", Terms(linger=linger, capacity=capacity, when_full=when_full))

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
        return self.family.find(key) or self.family.make(key, lambda: Yielding(self.open(key), name), name)

    # What happens

    @rule(key=KEYS)
    @precondition(lambda self: not self.closed)
    def acquire(self, key: int) -> None:
        """Be one more consumer, who has no time to wait."""
        if key in self.up:
            self.enter(key)
        elif not self.make_room():
            with pytest.raises(self.full):
                self.resource(key).acquire(timeout=0)
        else:
            number = self.starts.get(key, 0) + 1
            self.up[key] = Up(number)
            self.expected.append(f"+{key}.{number}")
            self.enter(key)

    def make_room(self) -> bool:
        """Say whether another key may start; the one that has lingered longest is stopped for it."""
        if len(self.up) < self.limit:
            return True
        oldest = next((key for key, up in self.up.items() if up.lingers), None)
        if oldest is not None:
            self.stop(oldest)
        return oldest is not None

    def enter(self, key: int) -> None:
        """Take a lease, which the model says is to be had."""
        up = self.up[key]
        lease = self.resource(key).acquire(timeout=0)
        assert lease.value == f"{key}.{up.number}"
        up.leases.append(lease)
        up.deadline = math.inf

    def stop(self, key: int) -> None:
        """Expect that a key is stopped."""
        self.expected.append(f"-{key}.{self.up.pop(key).number}")

    @rule(key=KEYS)
    @precondition(lambda self: not self.closed)
    def acquire_in_vain(self, key: int) -> None:
        """Be a consumer whose start fails: that costs no slot, but makes room before."""
        if key in self.up:
            return
        error: type[Exception] = RefusedStart if self.make_room() else self.full
        self.refuse = True
        with pytest.raises(error):
            self.resource(key).acquire(timeout=0)
        self.refuse = False

    @rule(key=KEYS, data=st.data())
    def release(self, key: int, data: st.DataObject) -> None:
        """Give back any of the leases, and give it back once more."""
        up = self.up.get(key)
        if up is None or not up.leases:
            return
        lease = up.leases.pop(data.draw(st.integers(0, len(up.leases) - 1)))
        assert lease.release()
        assert not lease.release()
        if up.lingers:
            if self.linger == 0 or self.closed:
                self.stop(key)
            else:
                self.begin_linger(key)

    def begin_linger(self, key: int) -> None:
        """Expect that a key lingers from now on."""
        up = self.up[key] = self.up.pop(key)
        up.deadline = self.clock.now() + self.linger

    @rule(key=KEYS)
    @precondition(lambda self: not self.closed)
    def try_acquire(self, key: int) -> None:
        """Take what is up, and give it back at once."""
        lease = self.resource(key).try_acquire()
        assert (lease is not None) == (key in self.up)
        if lease is not None:
            up = self.up[key]
            up.leases.append(lease)
            lease.release()
            up.leases.pop()
            if up.lingers:
                self.begin_linger(key)

    @rule(seconds=st.sampled_from([0.0, 1.0, 2.0, 5.0]))
    def advance(self, seconds: float) -> None:
        """Let time go by."""
        end = self.clock.now() + seconds
        self.clock.advance(seconds)
        due = sorted((up.deadline, place, key) for place, (key, up) in enumerate(self.up.items()) if up.deadline <= end)
        for _, _, key in due:
            self.stop(key)

    @rule(key=KEYS)
    @precondition(lambda self: not self.closed)
    def touch(self, key: int) -> None:
        """Let a linger begin anew; nothing else is touched by it."""
        self.resource(key).touch()
        if key in self.up and self.up[key].lingers:
            self.begin_linger(key)

    @rule(key=KEYS)
    @precondition(lambda self: not self.closed)
    def flush(self, key: int) -> None:
        """Stop what lingers."""
        self.resource(key).flush()
        if key in self.up and self.up[key].lingers:
            self.stop(key)

    @rule(key=KEYS)
    @precondition(lambda self: not self.closed)
    def close_one(self, key: int) -> None:
        """Close a key that nobody holds; the next call with it makes a new resource."""
        if key in self.up and not self.up[key].lingers:
            return
        resource = self.resource(key)
        resource.close(timeout=0)
        if key in self.up:
            self.stop(key)
        assert resource.state is State.CLOSED
        assert self.resource(key) is not resource

    @rule(force=st.booleans())
    @precondition(lambda self: sum(self.starts.values()) > 4)
    def close(self, force: bool) -> None:
        """Close the family, with what is held or under it."""
        before = len(self.expected)
        held = [key for key, up in self.up.items() if not up.lingers]
        if held and not force:
            with pytest.raises(TimeoutError):
                self.family.close(timeout=0)
        else:
            self.family.close(timeout=0, force=force)
        for key, up in list(self.up.items()):
            if force or up.lingers:
                assert all(lease.release() for lease in up.leases)
                self.stop(key)
        self.closed = True
        assert sorted(self.log[before:]) == sorted(self.expected[before:])
        self.expected[before:] = self.log[before:]  # in no particular order

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
            assert shown == {f"thing({key})": len(up.leases) for key, up in self.up.items()}
            assert len(shown) <= self.limit

    def teardown(self) -> None:
        """Give everything back."""
        for up in self.up.values():
            for lease in up.leases:
                lease.release()
        if hasattr(self, "family"):
            self.family.close(timeout=0)
        self.clock.__exit__(None, None, None)
        assert len([entry for entry in self.log if entry[0] == "+"]) * 2 == len(self.log)


TestFamilyAgreesWithItsModel = FamilyMachine.TestCase
TestFamilyAgreesWithItsModel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
