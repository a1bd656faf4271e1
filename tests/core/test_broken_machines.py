"""The test of the walk: machines and drivers that are broken on purpose, and what catches each."""
# pyright: reportPrivateUsage=false
# The broken machines break what only the machine itself writes.

from __future__ import annotations

from random import Random
from types import TracebackType

import pytest

from refcount._core.generation import (
    FORGOTTEN,
    LEFT,
    LINGER,
    START,
    STARTING,
    STOPPING,
    UP,
    WAIT,
    Alarm,
    Generation,
    Hold,
    Next,
)
from refcount._core.machine import Machine
from tests.helpers.invariants import leases_of
from tests.helpers.model import Broken, Config
from tests.helpers.orders import ONCE_BROKEN
from tests.helpers.scene import Actor, Gen
from tests.helpers.task_world import TaskWorld
from tests.helpers.walk import Walk
from tests.helpers.world import World

Answer = Next | Generation[int]


class Pure(Machine[int]):
    """One that is not broken."""

    __slots__ = ()


class ForgetsPromise(Pure):
    """A waiter does not keep what it waits for."""

    __slots__ = ()

    def _promise(self, hold: Hold[int], current: Gen, by: object) -> Next:
        step = super()._promise(hold, current, by)
        if step is WAIT:
            current.count -= 1
            current.waiters -= 1
        return step


class ForgetsLinger(Pure):
    """The timer does not keep what lingers."""

    __slots__ = ()

    def give_back(self, hold: Hold[int], by: object, now: float, alarm: Alarm | None) -> Answer:
        generation = hold._generation
        step = super().give_back(hold, by, now, alarm)
        if alarm is not None and step is LEFT and generation is not None and generation.lingers:
            generation.lingers = 0
            generation.count -= 1
        return step


class OldAlarm(Pure):
    """An alarm stops who has come since it was set."""

    __slots__ = ()

    def expire(self, generation: Gen, now: float, by: object) -> float | Gen | None:
        current = self.current
        if current is not None and leases_of(current) and self.expel(current, by):
            return current
        return super().expire(generation, now, by)


class StrangeAlarm(Pure):
    """An alarm whose generation is gone ends the linger of the next one."""

    __slots__ = ()

    def expire(self, generation: Gen, now: float, by: object) -> float | Gen | None:
        if generation is not self.current:
            return self.flush(by)
        return super().expire(generation, now, by)


class HastyAlarm(Pure):
    """An alarm does not look whether the linger has begun anew since it was set."""

    __slots__ = ()

    def expire(self, generation: Gen, now: float, by: object) -> float | Gen | None:
        generation.left = now - self.linger
        return super().expire(generation, now, by)


class DeadAlarm(Pure):
    """An alarm that comes too early is not set again."""

    __slots__ = ()

    def expire(self, generation: Gen, now: float, by: object) -> float | Gen | None:
        step = super().expire(generation, now, by)
        return None if isinstance(step, (int, float)) else step


class OldClock(Pure):
    """A touch sets the begin of the linger back."""

    __slots__ = ()

    def touch(self, now: float) -> bool:
        lingers = super().touch(now)
        if lingers and self.current is not None:
            self.current.left = now
        return lingers


class LateAlarm(Pure):
    """An alarm that has fired before it got its hold says that the linger is over, whoever has come meanwhile."""

    __slots__ = ()

    def give_back(self, hold: Hold[int], by: object, now: float, alarm: Alarm | None) -> Answer:
        step = super().give_back(hold, by, now, alarm)
        generation = hold._generation or hold._promised
        if step is LINGER and alarm is not None and generation is not None:
            generation.left = now
            return super().give_back(hold, by, now, alarm)
        return step


class StartsDuringStop(Pure):
    """Overlaps without having been asked to."""

    __slots__ = ()

    def _await_stop(self, hold: Hold[int], current: Gen, by: object) -> Answer:
        self.overlap = True
        return super()._await_stop(hold, current, by)


class StartsBesideHeld(Pure):
    """Is not exclusive though it was asked to be."""

    __slots__ = ()

    def _begin(self, hold: Hold[int], by: object) -> Next:
        self.exclusive = False
        return super()._begin(hold, by)


class HotThoughCondemned(Pure):
    """An invalidated generation can still be entered by the count."""

    __slots__ = ()

    def condemn(self, generation: Gen, by: object) -> Gen | None:
        hot = self.hot
        step = super().condemn(generation, by)
        self.hot = hot
        return step


class HotThoughTakenOver(Pure):
    """Who takes over the stop of an older generation can enter the current one by the count."""

    __slots__ = ()

    def claim(self, generation: Gen, by: object) -> bool:
        with self.lock:
            if generation.phase is not STOPPING or generation in self.working:
                return False
            self.working[generation] = by
            return True


class LateStart(Pure):
    """A start that ends after a close by force comes up."""

    __slots__ = ()

    def started(self, hold: Hold[int], by: object) -> Answer:
        forced, self.forced = self.forced, False
        step = super().started(hold, by)
        self.forced = forced
        return step


class KeepsClaim(Pure):
    """Who was interrupted keeps its claim for ever."""

    __slots__ = ()

    def disown(self, generation: Gen, by: object) -> None:
        pass


class TwoStarters(Pure):
    """The second first consumer does not wait, but starts it as well."""

    __slots__ = ()

    def _promise(self, hold: Hold[int], current: Gen, by: object) -> Next:
        step = super()._promise(hold, current, by)
        return START if step is WAIT else step


class CopiesFailure(Pure):
    """Each waiter of a failed start gets an error of its own."""

    __slots__ = ()

    def failed(
        self, generation: Gen, error: BaseException, trace: TracebackType | None, hold: Hold[int] | None = None
    ) -> None:
        super().failed(generation, OSError(*error.args), trace, hold)


class LosesFailure(Pure):
    """Who waited for a start that failed is let try again, and never hears of it."""

    __slots__ = ()

    def failed(
        self, generation: Gen, error: BaseException, trace: TracebackType | None, hold: Hold[int] | None = None
    ) -> None:
        super().failed(generation, error, trace, hold)
        generation.phase = FORGOTTEN


class MergesNotes(Pure):
    """Who leaves by the machine is not told when others stay."""

    __slots__ = ()

    def give_back(self, hold: Hold[int], by: object, now: float, alarm: Alarm | None) -> Answer:
        step = super().give_back(hold, by, now, alarm)
        if self.observed and self._seen and self.noted in self.notes:
            del self.notes[self.noted]
            self.noted -= 1
        return step


class AcceptsBlindly(Pure):
    """A good check lets in even where the value was replaced meanwhile."""

    __slots__ = ()

    def accept(self, hold: Hold[int]) -> Next:
        generation, current = hold._promised, self.current
        if generation is None or generation.phase is not UP:
            return super().accept(hold)
        condemned, generation.condemned, self.current = generation.condemned, False, generation
        step = super().accept(hold)
        generation.condemned, self.current = condemned, current
        return step


class StopsUnderWaiter(Pure):
    """The last lease stops it though somebody waits who has not looked yet."""

    __slots__ = ()

    def give_back(self, hold: Hold[int], by: object, now: float, alarm: Alarm | None) -> Answer:
        generation = hold._generation
        step = super().give_back(hold, by, now, alarm)
        if step is LEFT and generation is not None and generation.phase is UP and leases_of(generation) == 0:
            self.expel(generation, by)
            return generation
        return step


class OpenThoughClosed(Pure):
    """A closed one still lets newcomers start it."""

    __slots__ = ()

    def _begin(self, hold: Hold[int], by: object) -> Next:
        closed, self.closed = self.closed, False
        step = super()._begin(hold, by)
        self.closed = closed
        return step


class SleepsOn(Pure):
    """Who takes over a start stays among those who sleep."""

    __slots__ = ()

    def _promise(self, hold: Hold[int], current: Gen, by: object) -> Next:
        slept = hold in self.sleepers
        step = super()._promise(hold, current, by)
        if slept:
            self.sleepers[hold] = None
        return step


class ForgetsWaiters(World):
    """A driver that wakes nobody after a start."""

    def has_started(self, actor: Actor) -> None:
        self.quiet = True
        super().has_started(actor)
        self.quiet = False

    quiet = False

    def tell(self) -> None:
        if not self.quiet:
            super().tell()


class ForgetsQueue(ForgetsWaiters):
    """A driver that wakes nobody after a stop."""

    def has_started(self, actor: Actor) -> None:
        World.has_started(self, actor)

    def has_stopped(self, actor: Actor) -> None:
        self.quiet = True
        super().has_stopped(actor)
        self.quiet = False


class LooksOnce(World):
    """A driver that acts on what it has seen without the lock, and does not look again."""

    def enters_by_the_count(self, actor: Actor) -> None:
        self.machine.hot = self.top(actor)
        super().enters_by_the_count(actor)


class LaunchesForNobody(Pure):
    """What has started is stopped at once, whoever waits for it."""

    __slots__ = ()

    def launched(self, generation: Gen) -> bool:
        if generation.phase is STARTING:
            generation.phase = STOPPING
        return super().launched(generation)


class LaunchesThoughUnwanted(Pure):
    """What has started comes up though all who waited for it have left."""

    __slots__ = ()

    def launched(self, generation: Gen) -> bool:
        if generation.phase is STOPPING:
            generation.phase = STARTING
        return super().launched(generation)


class LaunchesThoughForgotten(Pure):
    """What was abandoned while it started comes up all the same."""

    __slots__ = ()

    def launched(self, generation: Gen) -> bool:
        step = super().launched(generation)
        if generation.phase is FORGOTTEN:
            generation.phase = UP
        return step


class LaunchesThoughForced(Pure):
    """What has started comes up though it was closed by force."""

    __slots__ = ()

    def launched(self, generation: Gen) -> bool:
        forced, self.forced = self.forced, False
        step = super().launched(generation)
        self.forced = forced
        return step


class HotThoughClosed(Pure):
    """What comes up for those who have waited can be entered by the count, though it was closed."""

    __slots__ = ()

    def launched(self, generation: Gen) -> bool:
        step = super().launched(generation)
        if generation.quick:
            self.hot = generation
        return step


class KeepsClaimOfKeeper(Pure):
    """Who has started it counts as inside the start as long as it is up."""

    __slots__ = ()

    def launched(self, generation: Gen) -> bool:
        by = self.working.get(generation)
        step = super().launched(generation)
        self.working[generation] = by
        self.hot = None
        return step


class ForgetsLateStart(Pure):
    """A start that was given up comes up, and is not counted among what runs."""

    __slots__ = ()

    def launched(self, generation: Gen) -> bool:
        late, running = generation.given_up, self.running
        step = super().launched(generation)
        if late:
            generation.given_up, self.running = True, running
        return step


class WakesNobody(TaskWorld):
    """A driver for tasks that wakes nobody after a start."""

    quiet = False

    def has_started(self, actor: Actor) -> None:
        self.quiet = True
        super().has_started(actor)
        self.quiet = False

    def tell(self) -> None:
        if not self.quiet:
            super().tell()


class KeepsPromise(TaskWorld):
    """A driver for tasks whose cancelled waiters do not give back what they claim."""

    def is_cancelled(self, actor: Actor) -> None:
        self.machine.sleepers.pop(actor.door, None)
        actor.frames = ()


class LosesPlace(TaskWorld):
    """A driver for tasks whose start, when cancelled while it waits for a slot, is left to nobody."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, bounded=True)

    def is_cancelled(self, actor: Actor) -> None:
        self.retract(actor)


PLAIN, LINGERS = Config(), Config(lingers=True)

BROKEN: dict[type[Pure] | type[World], tuple[Config, str]] = {
    ForgetsPromise: (PLAIN, "the count is what claims it"),
    ForgetsLinger: (LINGERS, "what nobody keeps is stopped"),
    OldAlarm: (LINGERS, "what is held is not stopped"),
    StrangeAlarm: (LINGERS, "a linger does not end early"),
    HastyAlarm: (LINGERS, "a linger does not end early"),
    DeadAlarm: (LINGERS, "all comes to rest"),
    StartsDuringStop: (PLAIN, "what stops is left behind where stops overlap"),
    StartsBesideHeld: (Config(exclusive=True), "one generation at a time"),
    HotThoughCondemned: (PLAIN, "what is hot may be joined"),
    LateStart: (PLAIN, "after a close by force nobody gets in"),
    KeepsClaim: (PLAIN, "who is at nothing is inside no hook"),
    TwoStarters: (PLAIN, "a start is run by one"),
    CopiesFailure: (PLAIN, "all who waited get the same error"),
    LosesFailure: (PLAIN, "who waited for a start gets what came of it"),
    MergesNotes: (PLAIN, "observers know the usecount"),
    AcceptsBlindly: (Config(checked=True), "what is up without a reason to be slow is quick"),
    StopsUnderWaiter: (PLAIN, "what is waited for is not stopped"),
    OpenThoughClosed: (PLAIN, "nothing new starts after a close"),
    ForgetsWaiters: (PLAIN, "nobody sleeps for ever"),
    ForgetsQueue: (PLAIN, "nobody sleeps for ever"),
    LooksOnce: (PLAIN, "what is not over is here"),
}

BROKEN_AMONG_TASKS: dict[type[Pure] | type[World], tuple[Config, str]] = {
    LaunchesForNobody: (PLAIN, "what was started is kept up if it is wanted"),
    LaunchesThoughUnwanted: (PLAIN, "what nobody keeps is stopped"),
    LaunchesThoughForgotten: (PLAIN, "what is not over is here"),
    LaunchesThoughForced: (PLAIN, "what was started is kept up if it is wanted"),
    HotThoughClosed: (PLAIN, "what is hot may be joined"),
    KeepsClaimOfKeeper: (PLAIN, "only a hook is at work"),
    ForgetsLateStart: (PLAIN, "who waits for the end waits for all that runs"),
    WakesNobody: (PLAIN, "nobody sleeps for ever"),
    KeepsPromise: (PLAIN, "nobody sleeps for ever"),
    LosesPlace: (PLAIN, "who is at nothing is inside no hook"),
}

IN_ORDERS: dict[type[Pure], tuple[str, str]] = {
    OldClock: ("a touch after an old look at the clock", "a linger does not end early"),
    LateAlarm: ("others come and leave between a leave and its alarm", "a linger does not end early"),
    HotThoughTakenOver: ("its stop is taken over while another one is hot", "what is hot may be joined"),
    SleepsOn: ("it slept before it took over a start", "who sleeps holds nothing"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_the_walk_catches_what_is_broken(broken: type[Pure] | type[World]) -> None:
    """Within 4 events and the ways home, or else in one of some longer orders; the model does so by itself."""
    _is_caught(World, broken, *BROKEN[broken])


@pytest.mark.parametrize("broken", BROKEN_AMONG_TASKS, ids=lambda broken: broken.__name__)
def test_the_walk_among_tasks_catches_what_is_broken(broken: type[Pure] | type[World]) -> None:
    """So it is where tasks drive it."""
    _is_caught(TaskWorld, broken, *BROKEN_AMONG_TASKS[broken])


def _is_caught(world: type[World], broken: type[Pure] | type[World], config: Config, rule: str) -> None:
    for watched in (True, False):
        walk = Walk(world(config, broken, watched=watched) if issubclass(broken, Pure) else broken(config))
        with pytest.raises(Broken) as caught:
            walk.all(4)
            for seed in range(300):
                walk.wander(Random(seed), 40)
        assert not watched or caught.value.rule == rule, caught.value.__notes__


@pytest.mark.parametrize("broken", IN_ORDERS, ids=lambda broken: broken.__name__)
def test_what_is_broken_breaks_in_an_order_that_is_known(broken: type[Pure]) -> None:
    """Orders that lead to what was once broken lead to what is broken again."""
    name, rule = IN_ORDERS[broken]
    config, script = ONCE_BROKEN[name]
    with pytest.raises(Broken) as caught:
        Walk(World(config, broken)).play(script)
    assert caught.value.rule == rule, caught.value.__notes__
