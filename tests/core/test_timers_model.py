"""Every order in which alarms are set while timer threads come and go, in a model of `TimerThread`.

The model has the steps of `TimerThread.at` and `TimerThread._lead` that other threads can see, each of them atomic, and
nothing else: every alarm is due at once, and a thread that leads takes all that is there. `test_timers.py` plays the
few orders that matter with the real thing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

import pytest


class Flaw(Enum):
    """What a broken variant does otherwise."""

    NONE = auto()
    DOES_NOT_LOOK_AGAIN = auto()
    ARRIVES_AFTER_IT_TRIED_TO_LEAD = auto()
    IS_AWAITED_BEFORE_IT_WAS_STARTED = auto()


@dataclass(frozen=True)
class Setter:
    """Somebody who sets one alarm.

    Attributes:
        step: What comes next.
        launch: Which launch is looked at or made.
    """

    step: str = "put"
    launch: int = 0


@dataclass(frozen=True)
class Leader:
    """A timer thread."""

    launch: int
    step: str = "arrive"


@dataclass(frozen=True)
class Launch:
    """What is known of a thread that was started."""

    started: bool = True
    arrived: bool = True


@dataclass(frozen=True)
class World:
    """Where everybody stands."""

    setters: tuple[Setter, ...]
    leaders: tuple[Leader, ...] = ()
    launches: tuple[Launch, ...] = (Launch(),)
    current: int = 0
    """Which launch can be seen."""
    led_by: int | None = None
    pending: frozenset[int] = frozenset()
    """Whose alarms wait."""
    failures: int = 1
    """How often a thread may yet fail to start."""

    def with_setter(self, index: int, step: str, launch: int | None = None) -> "World":
        old = self.setters[index]
        new = Setter(step, old.launch if launch is None else launch)
        return replace(self, setters=(*self.setters[:index], new, *self.setters[index + 1 :]))

    def with_leader(self, index: int, step: str) -> "World":
        new = replace(self.leaders[index], step=step)
        return replace(self, leaders=(*self.leaders[:index], new, *self.leaders[index + 1 :]))

    def with_launch(self, index: int, **changes: bool) -> "World":
        new = replace(self.launches[index], **changes)
        return replace(self, launches=(*self.launches[:index], new, *self.launches[index + 1 :]))


class Model:
    """What can come next.

    Args:
        flaw: What is broken.
    """

    def __init__(self, flaw: Flaw) -> None:
        self.flaw = flaw

    def after(self, world: World) -> Iterator[World]:
        """Return every world that one step of one thread leads to."""
        for index, setter in enumerate(world.setters):
            if setter.step != "done":
                yield from self._set(world, index, setter)
        for index, leader in enumerate(world.leaders):
            if leader.step != "ended":
                yield self._lead(world, index, leader)

    def _set(self, world: World, index: int, setter: Setter) -> Iterator[World]:
        if setter.step == "put":
            yield replace(world.with_setter(index, "look for a leader"), pending=world.pending | {index})
        elif setter.step == "look for a leader":
            if world.led_by is None:
                yield world.with_setter(index, "look whether it was started", world.current)
            else:
                yield world.with_setter(index, "done")
        elif setter.step == "look whether it was started":
            trusted = self.flaw is Flaw.IS_AWAITED_BEFORE_IT_WAS_STARTED or world.launches[setter.launch].started
            yield world.with_setter(index, "look whether it has arrived" if trusted else "launch")
        elif setter.step == "look whether it has arrived":
            yield world.with_setter(index, "launch" if world.launches[setter.launch].arrived else "done")
        elif setter.step == "launch":
            made = len(world.launches)
            launches = (*world.launches, Launch(started=False, arrived=False))
            yield replace(world.with_setter(index, "start", made), launches=launches, current=made)
        elif setter.step == "start":
            yield replace(world.with_setter(index, "rely"), leaders=(*world.leaders, Leader(setter.launch)))
            if world.failures:  # then `at` raises, and takes its alarm back
                failed = replace(world, failures=world.failures - 1, pending=world.pending - {index})
                yield failed.with_setter(index, "done")
        else:
            yield world.with_launch(setter.launch, started=True).with_setter(index, "done")

    def _lead(self, world: World, index: int, leader: Leader) -> World:
        late = self.flaw is Flaw.ARRIVES_AFTER_IT_TRIED_TO_LEAD
        if leader.step == "arrive":
            return (world if late else world.with_launch(leader.launch, arrived=True)).with_leader(index, "try")
        if leader.step == "try":
            if world.led_by is not None:
                return world.with_leader(index, "arrive late" if late else "ended")
            return replace(world.with_leader(index, "lead"), led_by=index)
        if leader.step == "arrive late":
            return world.with_launch(leader.launch, arrived=True).with_leader(index, "ended")
        if leader.step == "lead":
            if late:
                world = world.with_launch(leader.launch, arrived=True)
            return replace(world, pending=frozenset()) if world.pending else world.with_leader(index, "let go")
        if leader.step == "let go":
            ends = self.flaw is Flaw.DOES_NOT_LOOK_AGAIN
            return replace(world.with_leader(index, "ended" if ends else "look again"), led_by=None)
        return world.with_leader(index, "try" if world.pending else "ended")


def walk(flaw: Flaw) -> tuple[int, World | None]:
    """Walk through everything; return how many worlds were seen, and one where an alarm waits for nobody.

    It begins with a thread that leads and has nothing to do, and two who set alarms.
    """
    model = Model(flaw)
    first = World((Setter(), Setter()), leaders=(Leader(0, "lead"),), led_by=0)
    known, left = {first}, [first]
    while left:
        world = left.pop()
        following = list(model.after(world))
        if not following and world.pending:
            return len(known), world
        fresh = [other for other in following if other not in known]
        known.update(fresh)
        left.extend(fresh)
    return len(known), None


def test_no_order_forgets_an_alarm() -> None:
    """Threads that come and go, one that cannot be started: in the end no alarm waits."""
    worlds, found = walk(Flaw.NONE)
    assert worlds > 1000
    assert found is None


@pytest.mark.parametrize("flaw", [flaw for flaw in Flaw if flaw is not Flaw.NONE])
def test_each_broken_variant_is_found(flaw: Flaw) -> None:
    """There is an order in which it forgets one."""
    _, found = walk(flaw)
    assert found is not None
