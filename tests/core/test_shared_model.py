"""`SharedResource` against a model: hypothesis makes up what happens, on a clock that it moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

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

from refcount import ClosedError, Lease, SharedResource, State
from refcount.testing import ManualClock
from tests.helpers.interrupting import Every

LINGERS = (0.0, 4.0, math.inf)


@dataclass(eq=False)
class Life:
    """One generation, as the model sees it.

    Attributes:
        number: What the resource should call it.
        holders: How many leases hold it.
        good: What a check says of it.
        ends: When its linger is over; None while it is held.
    """

    number: int
    holders: int = 1
    good: bool = True
    ends: float | None = None


@dataclass
class Model:
    """What a shared resource should be, in one thread, where every start and stop is over when its cause returns.

    Attributes:
        linger: Seconds.
        current: What newcomers get.
        detached: What only its holders know.
        starts: How many starts were tried.
        stopped: The numbers of what was stopped, in order.
    """

    linger: float
    now: float = 0.0
    current: Life | None = None
    detached: list[Life] = field(default_factory=list[Life])
    starts: int = 0
    stopped: list[int] = field(default_factory=list[int])
    closed: bool = False

    @property
    def usecount(self) -> int:
        return sum(life.holders for life in (*self.detached, self.current) if life is not None)

    @property
    def state(self) -> State:
        if self.closed:
            return State.CLOSED
        if self.current is None:
            return State.IDLE
        return State.RUNNING if self.current.holders else State.LINGERING

    def newcomer(self, *, checked: bool, fails: bool, starts: bool = True) -> Life | None:
        """Somebody comes; return what it gets."""
        if checked and self.current is not None and not self.current.good:
            self.invalidate()
        if self.current is not None:
            self.current.holders, self.current.ends = self.current.holders + 1, None
        elif starts:
            self.starts += 1
            if not fails:
                self.current = Life(self.starts)
        return self.current

    def leave(self, life: Life) -> bool:
        """A holder leaves; say whether that stops it."""
        life.holders -= 1
        if life.holders:
            return False
        if life is self.current and self.linger and not self.closed:
            life.ends = self.now + self.linger
            return False
        self.stop(life)
        return True

    def stop(self, life: Life) -> None:
        self.stopped.append(life.number)
        if life is self.current:
            self.current = None
        else:
            self.detached.remove(life)

    def invalidate(self) -> bool:
        """Say whether that stops something."""
        if self.current is None:
            return False
        if self.current.holders:
            self.detached.append(self.current)
            self.current = None
            return False
        self.stop(self.current)
        return True

    def flush(self) -> bool:
        """Say whether that stops something."""
        if self.current is None or self.current.holders:
            return False
        self.stop(self.current)
        return True

    def advance(self, seconds: float) -> None:
        self.now += seconds
        if self.current is not None and self.current.ends is not None and self.current.ends <= self.now:
            self.stop(self.current)


class Jammed(Exception):
    """What a stop raises."""


Held = tuple[Lease[int], Life]


class SharedMachine(RuleBasedStateMachine):
    """One resource and its model, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.clock.__enter__()
        self.stopped: list[int] = []
        self.told: list[int] = []
        self.starts = 0
        self.start_fails = False
        self.stop_fails = False
        self.checked = False
        self.held: list[Held] = []
        self.bad: set[int] = set()
        self.numbers: dict[int, int] = {}

    @initialize(linger=st.sampled_from(LINGERS), checked=st.booleans(), overlap=st.booleans())
    def begin(self, linger: float, checked: bool, overlap: bool) -> None:
        self.model = Model(linger)
        self.checked = checked
        self.resource: SharedResource[int] = SharedResource(
            self.open, name="it", linger=linger, check=self.check if checked else None, overlap=overlap
        )
        self.end: Callable[[], None] | None = None

    @contextmanager
    def open(self) -> Generator[int]:
        self.starts += 1
        if self.start_fails:
            raise OSError(self.starts)
        number = self.starts
        yield number
        self.stopped.append(number)
        if self.stop_fails:
            raise Jammed(number)

    def check(self, number: int) -> bool:
        return number not in self.bad

    @contextmanager
    def jamming(self, *, stops: Callable[[], bool]) -> Generator[None]:
        """Expect the stop's error from what is done inside, exactly if the model stops something and stops fail."""
        expected = stops() and self.stop_fails
        try:
            yield
        except Jammed:
            assert expected
        else:
            assert not expected

    @contextmanager
    def stops_well(self) -> Generator[None]:
        """Stops do not fail inside: their errors would be reported to nobody."""
        fails, self.stop_fails = self.stop_fails, False
        yield
        self.stop_fails = fails

    # Consumers

    @rule(fails=st.booleans(), how=st.sampled_from(["acquire", "with acquire", "enter"]))
    def acquire(self, fails: bool, how: str) -> None:
        with self.stops_well():
            self.start_fails = fails
            if self.model.closed:
                with pytest.raises(ClosedError, match="it is closed"):
                    self.resource.acquire()
                return
            life = self.model.newcomer(checked=self.checked, fails=fails)
            lease = self.resource()
            if life is None:
                with pytest.raises(OSError, match=str(self.model.starts)):
                    lease.__enter__()
                assert not lease.held
                return
            if how == "enter":
                assert lease.__enter__() == life.number
            else:
                lease = self.resource.acquire(timeout=None if how == "acquire" else 0.0)
                if how == "with acquire":
                    assert lease.__enter__() == life.number
            self.held.append((lease, life))

    @rule()
    def try_acquire(self) -> None:
        with self.stops_well():
            if self.model.closed:
                with pytest.raises(ClosedError, match="it is closed"):
                    self.resource.try_acquire()
                return
            life = self.model.newcomer(checked=self.checked, fails=False, starts=False)
            lease = self.resource.try_acquire()
            assert (lease is None) == (life is None)
            if lease is not None and life is not None:
                self.held.append((lease, life))

    @rule(which=st.integers(0, 99), again=st.booleans(), leaves=st.booleans())
    @precondition(lambda self: self.held)
    def release(self, which: int, again: bool, leaves: bool) -> None:
        lease, life = self.held.pop(which % len(self.held))
        assert (lease.held, lease.value) == (True, life.number)
        with self.jamming(stops=lambda: self.model.leave(life)):
            if leaves:
                lease.__exit__(None, None, None)
            else:
                assert lease.release()
        assert not lease.held
        if again:
            assert not lease.release()

    # Interventions

    @rule(seconds=st.sampled_from([1.0, 3.9, 4.0, 100.0]))
    def advance(self, seconds: float) -> None:
        with self.stops_well():
            self.clock.advance(seconds)
            self.model.advance(seconds)

    @rule()
    def touch(self) -> None:
        self.resource.touch()
        life = self.model.current
        if life is not None and life.ends is not None:
            life.ends = self.model.now + self.model.linger

    @rule()
    def flush(self) -> None:
        with self.jamming(stops=self.model.flush):
            self.resource.flush()

    @rule()
    def invalidate(self) -> None:
        with self.jamming(stops=self.model.invalidate):
            self.resource.invalidate()

    @rule()
    @precondition(lambda self: self.model.current is not None)
    def goes_bad(self) -> None:
        assert self.model.current is not None
        self.model.current.good = False
        self.bad.add(self.model.current.number)

    @rule(fail=st.booleans())
    def stops_fail(self, fail: bool) -> None:
        self.stop_fails = fail

    @rule()
    def observe(self) -> None:
        if self.end is not None:
            self.end()
        self.told = [self.model.usecount]
        self.end = self.resource.observe(self.told.append)

    @rule()
    def observe_no_more(self) -> None:
        if self.end is not None:
            self.end()
            self.end()
            self.end = None

    @rule()
    @precondition(lambda self: self.model.starts > 3)
    def close(self) -> None:
        self.model.closed = True
        with self.jamming(stops=self.model.flush):
            if self.model.usecount:
                with pytest.raises(
                    TimeoutError, match=f"it still ran after 0.0 s, with usecount {self.model.usecount}"
                ):
                    self.resource.close(timeout=0.0)
            else:
                self.resource.close()

    # What must hold

    @invariant()
    def they_agree(self) -> None:
        model, resource = self.model, self.resource
        assert (resource.state, resource.usecount) == (model.state, model.usecount)
        if model.current is None:
            assert resource.generation is None
        else:
            number = self.numbers.setdefault(model.current.number, resource.generation or 0)
            assert resource.generation == number
            assert number == max(self.numbers.values())
        assert self.starts == model.starts
        assert self.stopped == model.stopped

    @invariant()
    def observers_are_told_each_change(self) -> None:
        if self.end is not None:
            assert self.told[-1] == self.model.usecount
            assert all(abs(after - before) == 1 for before, after in pairwise(self.told))

    def teardown(self) -> None:
        self.stop_fails = False
        if self.starts:
            self.resource.close(force=True)
        for lease, _ in self.held:
            lease.release()
        self.clock.__exit__(None, None, None)


def test_a_shared_resource_does_what_its_model_does(every: Every) -> None:
    """Acquiring, releasing, moving the clock, intervening, failing: they agree about all that can be seen."""
    examples = 300 // every(3)
    run_state_machine_as_test(SharedMachine, settings=settings(max_examples=examples, stateful_step_count=40))
