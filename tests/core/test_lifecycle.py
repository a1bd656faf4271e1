"""The lifecycle as a state machine: every order of events, broken machines that the walk must catch, and interrupts.

`REFCOUNT_WALK=2 pytest -s tests/test_lifecycle.py -k every_order` walks deeper: no order is left out up to two events
more than in the suite (any number will do), and ten times as many longer ones are followed, to twice the length. With
any such number the sweep of interrupts, too, meets each event in more states.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import pairwise, product
from types import FrameType
from typing import Any

import pytest

from refcount import _counter
from refcount._core import lifecycle as _lifecycle
from refcount._core.generation import Generation, Phase, Waiter
from refcount._core.holds import Hold
from refcount._core.lifecycle import Lifecycle
from tests.helpers.walk import Broken, Checks, Config, Covered, Door, Event, Step, Walk, World, explained, way

DEEP = int(os.environ.get("REFCOUNT_WALK", "0"))
"""How many events more than in the suite a deep walk is complete to; 0 for the short one of the suite."""

DEPTH = 8 + DEEP
"""The longest orders of three consumers' events of which none is left out, in any configuration."""

LONGEST, WIDTH = (40, 80) if DEEP else (20, 8)
"""How long the longer ones are, and how many of each length and number of interventions are followed."""

CONFIGS = [Config(*flags) for flags in product((False, True), repeat=3)]
FILES = {_counter.__file__, _lifecycle.__file__}

Gen = Generation[str]


# Every order of events


ALWAYS = {
    *("acquires", "tries to acquire", "has started", "fails to start", "withdraws", "leaves", "has stopped"),
    *("has started, late", "fails to start, late", "leaves, late", "has stopped, late"),
    *("invalidate", "close", "close by force", "expel", "observe", "observe no more"),
}
IF_UNCHECKED = {"reads hot", "enters by the counter", "enters by the counter, late"}
IF_CHECKED = {"finds it good", "finds it bad"}
IF_IT_LINGERS = {"a tick passes", "timer fires", "linger ends", "an old timer fires", "touch", "flush"}


def expected(config: Config) -> set[str]:
    """What can happen in a configuration, each with a mark of its own."""
    return ALWAYS | (IF_CHECKED if config.checked else IF_UNCHECKED) | (IF_IT_LINGERS if config.lingers else set())


@pytest.fixture(scope="module", name="report")
def printed(request: pytest.FixtureRequest) -> Generator[Callable[[str, Covered], None]]:
    """Say what each walk has covered, and at the end what all have."""
    walks: list[Covered] = []

    def report(what: str, covered: Covered) -> None:
        walks.append(covered)
        print(f"{what}: {covered}")

    yield report
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and walks:
        states, transitions = sum(walk.states for walk in walks), sum(walk.transitions for walk in walks)
        depths, longest = [walk.depth for walk in walks], max(walk.longest for walk in walks)
        reporter.write_line(
            f"\n{len(walks)} walks of the lifecycle covered {states} states and {transitions} transitions: "
            f"every order of up to {max(depths)} events ({min(depths)} in some), and some of up to {longest}"
        )


@pytest.mark.timeout(0 if DEEP else 60)
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_order_of_events_keeps_every_rule(config: Config, report: Callable[[str, Covered], None]) -> None:
    """No rule breaks, and all comes to rest, after any order of up to 8 events of three consumers.

    Any of the 8 may be an intervention. Of longer orders, up to 20 events with up to two interventions, some are
    followed. So that this never becomes hollow, each kind of event must have led to states from which every order of
    two more events was walked at least, and those that can come at nearly any time to many.
    """
    found = Walk(World(config), depth=DEPTH, longest=LONGEST, width=WIDTH).all()
    report(str(config), found)
    next_to = {mark: len(states) for mark, states in found.next_to.items()}
    print("    states next to:", ", ".join(f"{mark} {number}" for mark, number in sorted(next_to.items())))
    assert set(next_to) == expected(config)
    assert min(next_to.values()) >= 2
    assert min(next_to[mark] for mark in ALWAYS) >= 30
    assert found.whole >= 1250
    assert found.longest > DEPTH


@pytest.mark.parametrize("config", [Config(), Config(overlap=True), Config(lingers=True, checked=True)], ids=str)
def test_every_order_of_four_consumers(config: Config, report: Callable[[str, Covered], None]) -> None:
    """With a fourth consumer no rule breaks after any order of up to 6 events."""
    found = Walk(World(config, consumers=4), depth=6).all()
    report(f"{config}, four consumers", found)
    assert found.whole >= 450


def test_a_touch_between_two_ticks_of_a_linger(report: Callable[[str, Covered], None]) -> None:
    """With a linger of two ticks no rule breaks after any order of up to 8 events."""
    found = Walk(World(Config(lingers=True), linger=2), depth=8).all()
    report("lingers, two ticks", found)
    assert found.whole >= 2000


def ways_on(world: World) -> set[tuple[str, object]]:
    """What can happen in the state of the world, and which states come of it."""
    here, ways = world.save(), set[tuple[str, object]]()
    for event in [*world.events()]:
        here()
        Step(world, event).take()
        ways.add((event.kind, world.fingerprint()))
    return ways


@pytest.mark.parametrize("config", [Config(overlap=True), Config(lingers=True, checked=True)], ids=str)
def test_states_that_the_walk_takes_for_one_go_on_alike(config: Config) -> None:
    """Whatever the way to a state, the same can happen there; and no move that the walk leaves out leads elsewhere."""
    world, ways = World(config), dict[object, set[tuple[str, object]]]()
    for node in Walk(world, depth=4).nodes():
        node.bring_back()
        for event in [*world.events()]:
            node.bring_back()
            Step(world, event).take()
            there = world.fingerprint()
            found = ways_on(world)
            assert ways.setdefault(there, found) == found, f"{way(node.path)}; {event}"
    assert ways.keys() <= {node.fingerprint for node in Walk(World(config), depth=5).nodes()}


# Broken machines: the test of the test


class StaleRelease(Lifecycle[str]):
    """A release of any generation lowers the current one."""

    def release(self, hold: Hold[Gen], by: object) -> bool:
        if hold.counter is not None and hold.counter is not self.current and self.usecount > 1 and self.current:
            self.current.usecount -= self.current.usecount > 0
        return super().release(hold, by)


class StaleTimer(Lifecycle[str]):
    """A timer stops its generation whoever has come since."""

    def linger_over(self, generation: Gen, now: float, by: object) -> None:
        if generation.usecount and generation.phase is Phase.UP:
            self._end(generation, by)
        super().linger_over(generation, now, by)


class HastyTimer(Lifecycle[str]):
    """A timer does not look whether the linger has begun anew since it was set."""

    def linger_over(self, generation: Gen, now: float, by: object) -> None:
        if generation.resting:
            self._end(generation, by)
        self.settle(by)


class StrangeTimer(Lifecycle[str]):
    """A timer whose generation is gone ends what lingers now instead."""

    def linger_over(self, generation: Gen, now: float, by: object) -> None:
        if generation is self.current:
            super().linger_over(generation, now, by)
        else:
            self.flush(by)


class Reopens(Lifecycle[str]):
    """A start that ends after the close opens the resource again."""

    def started(self, generation: Gen, by: object) -> None:
        self.closed = self.forced = False
        super().started(generation, by)


class LateStart(Lifecycle[str]):
    """A start that ends after a close by force stays up for those who waited."""

    def started(self, generation: Gen, by: object) -> None:
        forced, self.forced = self.forced, False
        super().started(generation, by)
        self.forced = forced


class TwoStarters(Lifecycle[str]):
    """The second first consumer does not wait, but starts it as well."""

    def acquire(self, waiter: Waiter[str]) -> None:
        super().acquire(waiter)
        if self.current is not None and self.current.phase is Phase.STARTING:
            self.current.starter = waiter


class TwoStarts(Lifecycle[str]):
    """A newcomer during a start begins a generation of its own."""

    def _place(self, waiter: Waiter[str]) -> None:
        if self.current is not None and self.current.phase is Phase.STARTING:
            self._detach(self.current)
        super()._place(waiter)


class KeepsFailure(Lifecycle[str]):
    """A start that failed stays, and so does its error."""

    def start_failed(self, generation: Gen, error: BaseException, by: object) -> None:
        generation.error, generation.phase, generation.starter = error, Phase.FAILED, None
        self._refuse(generation.waiters, lambda: error)


class CopiesFailure(Lifecycle[str]):
    """Each waiter of a failed start gets an error of its own."""

    def start_failed(self, generation: Gen, error: BaseException, by: object) -> None:
        self._refuse(generation.waiters, lambda: OSError(*error.args))
        super().start_failed(generation, error, by)


class MergesNotes(Lifecycle[str]):
    """Waiters let in together are told as one change."""

    def _grant(self, generation: Gen) -> None:
        observed, self.observed = self.observed, False
        super()._grant(generation)
        self.observed = observed
        self._count_changed()


class LosesNotes(Lifecycle[str]):
    """The hot paths stay open while somebody observes."""

    def observe(self, observed: bool, by: object) -> None:
        super().observe(observed, by)
        for generation in self.generations:
            generation.set_hot(True)


class StopsUnderHolder(Lifecycle[str]):
    """The first release stops it, not the last (scenario 16)."""

    def release(self, hold: Hold[Gen], by: object) -> bool:
        generation = hold.counter
        released = super().release(hold, by)
        if released and generation is not None and generation.phase is Phase.UP:
            self._end(generation, by)
        return released


class CloseStopsUnderHolder(Lifecycle[str]):
    """Any close is one by force."""

    def close(self, by: object, *, force: bool) -> None:
        super().close(by, force=False)
        self.expel(by)


class JoinsCondemned(Lifecycle[str]):
    """An invalidated generation is still handed out."""

    def _condemn(self, generation: Gen) -> None:
        generation.condemned = True

    def _place(self, waiter: Waiter[str]) -> None:
        if self.current is not None and self.current.phase is not Phase.STOPPING:
            condemned, self.current.condemned = self.current.condemned, False
            super()._place(waiter)
            self.current.condemned = condemned
        else:
            super()._place(waiter)


class ForgetsWaiters(Lifecycle[str]):
    """When the starter is interrupted, nobody takes over."""

    def _appoint(self, generation: Gen) -> None:
        if generation.worker is None or not generation.waiters:
            super()._appoint(generation)


class ForgetsToWake(Lifecycle[str]):
    """The one who is to take over a start sleeps on."""

    def _appoint(self, generation: Gen) -> None:
        super()._appoint(generation)
        if isinstance(generation.starter, Door):
            generation.starter.woken = False


class ForgetsQueue(Lifecycle[str]):
    """Those who wait for a stop are not let on when it is over."""

    def stopped(self, generation: Gen, by: object) -> None:
        queue, self.queue = self.queue, deque()
        super().stopped(generation, by)
        self.queue = queue


class StartsDuringStop(Lifecycle[str]):
    """Overlaps without having been asked to."""

    def _place(self, waiter: Waiter[str]) -> None:
        overlap, self.overlap = self.overlap, True
        super()._place(waiter)
        self.overlap = overlap


class DetachesChecked(Lifecycle[str]):
    """A bad value that two newcomers look at is detached though nobody holds it: no start waits for its stop."""

    def _condemn(self, generation: Gen) -> None:
        if len(generation.checkers) > 1:
            self._detach(generation)
        else:
            super()._condemn(generation)


class JoinsStopped(Lifecycle[str]):
    """A good check lets in even where the value was stopped meanwhile."""

    def checked_out(self, waiter: Waiter[str], good: bool) -> None:
        generation = waiter.generation
        if good and generation is not None and generation.phase is Phase.STOPPING and not self.closed:
            generation.checkers.remove(waiter)
            generation.waiters.append(waiter)
            self.settle(waiter.by)
        else:
            super().checked_out(waiter, good)


class OpenThoughClosed(Lifecycle[str]):
    """A closed resource still lets newcomers start it."""

    def acquire(self, waiter: Waiter[str]) -> None:
        self.refuse_reentry(waiter.by, "acquire")
        closed, self.closed = self.closed, False
        self._place(waiter)
        self.closed = closed
        self.settle(waiter.by)


class HotWhileStopping(Lifecycle[str]):
    """A hook of an older generation could enter by the counter and never be found out."""

    @property
    def hot(self) -> Gen | None:
        current = self.current
        if current is None or current.phase is not Phase.UP or self.closed or self.checked or self.observed:
            return None
        return current


class HotThoughChecked(Lifecycle[str]):
    """A checked value is handed out without a check."""

    @property
    def hot(self) -> Gen | None:
        checked, self.checked = self.checked, False
        try:
            return super().hot
        finally:
            self.checked = checked


class Reenters(Lifecycle[str]):
    """Does not see that the one who acquires is inside a hook of this very resource."""

    def refuse_reentry(self, by: object, what: str) -> None:
        pass


class LingersCondemned(Lifecycle[str]):
    """A condemned generation lingers."""

    def _settle_generation(self, generation: Gen, by: object) -> None:
        condemned, generation.condemned = generation.condemned, False
        super()._settle_generation(generation, by)
        generation.condemned = condemned


class LeavesStopToStarter(Lifecycle[str]):
    """Whoever started it is to stop it, though that one may be long gone."""

    def _end(self, generation: Gen, by: object) -> None:
        starter = generation.worker
        super()._end(generation, by)
        generation.worker = starter


class Remembers(Lifecycle[str]):
    """What has stopped is never forgotten."""

    def _retire(self) -> None:
        if self.current is not None and self.current.phase is Phase.STOPPED:
            self._detach(self.current)


PLAIN, LINGERS, CHECKED, OVERLAP = Config(), Config(lingers=True), Config(checked=True), Config(overlap=True)

BROKEN: list[tuple[type[Lifecycle[str]], Config, str]] = [
    (StaleRelease, PLAIN, "identity"),
    (StaleTimer, LINGERS, "no stop under a holder"),
    (HastyTimer, LINGERS, "a linger ends when it is due, never earlier"),
    (StrangeTimer, LINGERS, "identity"),
    (Reopens, PLAIN, "closed for good"),
    (LateStart, PLAIN, "force stops what is up"),
    (TwoStarters, PLAIN, "one start, by one starter"),
    (TwoStarts, PLAIN, "without overlap a start waits for the stop"),
    (KeepsFailure, PLAIN, "a generation lives once, in order"),
    (CopiesFailure, PLAIN, "all see the same error"),
    (MergesNotes, PLAIN, "each change is told by itself"),
    (LosesNotes, PLAIN, "no hot path while observed"),
    (StopsUnderHolder, PLAIN, "no stop under a holder"),
    (CloseStopsUnderHolder, PLAIN, "no stop under a holder"),
    (JoinsCondemned, PLAIN, "what is held and condemned delays nobody"),
    (ForgetsWaiters, PLAIN, "a start has a starter"),
    (ForgetsToWake, PLAIN, "who is answered is woken"),
    (ForgetsQueue, PLAIN, "who queues waits for a stop"),
    (StartsDuringStop, PLAIN, "without overlap a start waits for the stop"),
    (DetachesChecked, CHECKED, "without overlap a start waits for the stop"),
    (JoinsStopped, CHECKED, "nobody waits for what is not starting"),
    (OpenThoughClosed, PLAIN, "ClosedError where it is due"),
    (HotWhileStopping, OVERLAP, "nothing is hot that must not be"),
    (HotThoughChecked, CHECKED, "nothing is hot that must not be"),
    (Reenters, PLAIN, "ReentrantError where it is due"),
    (LingersCondemned, LINGERS, "what nobody needs stops"),
    (LeavesStopToStarter, PLAIN, "who ends it is to stop it"),
    (Remembers, PLAIN, "detached is condemned, and forgotten when over"),
]


@pytest.mark.parametrize(("make", "config", "rule"), BROKEN, ids=[make.__name__ for make, _, _ in BROKEN])
def test_the_walk_catches_a_machine_with_one_guard_broken(
    make: type[Lifecycle[str]], config: Config, rule: str
) -> None:
    """Each of these machines lacks one guard, and the walk names the rule that it breaks."""
    with pytest.raises(Broken) as caught:
        Walk(World(config, make), depth=8).all()
    assert caught.value.rule == rule, (caught.value, caught.value.__notes__)
    assert caught.value.__notes__[0].startswith("after: ")


# Interrupts


Lines = Callable[[], int]


@contextmanager
def interrupted_at(number: int) -> Generator[Lines]:
    """Raise a `KeyboardInterrupt` at that line of the lifecycle or the counter, 0 for none; gives how many have run."""
    lines = 0

    def step(frame: FrameType, event: str, _argument: Any) -> Callable[..., Any]:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == number:
                raise KeyboardInterrupt(f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}")
        return step

    def enter(frame: FrameType, _event: str, _argument: Any) -> Callable[..., Any] | None:
        return step if frame.f_code.co_filename in FILES else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield lambda: lines
    finally:
        sys.settrace(before)


AT_THE_DOOR = {
    "acquires",
    "tries to acquire",
    "has started",
    "fails to start",
    "finds it good",
    "finds it bad",
    "withdraws",
}


def recover(world: World, event: Event) -> None:
    """Do what a driver does when its thread was interrupted in this event."""
    machine, who = world.machine, event.who
    if who is None:
        if event.kind == "has stopped" and event.generation is not None and event.generation.phase is Phase.STOPPING:
            machine.stopped(event.generation, event.generation.worker)
        machine.settle(world.other())
    elif who.door is not None and event.kind in AT_THE_DOOR:
        machine.withdraw(who.door)
        who.forget()
    else:  # entering by the counter, or leaving: the lease is given back
        machine.release(who.hold, who.token)
        who.forget()


class Interrupted:
    """One event of a state, interrupted at each of its lines, with others passing by before the recovery or not.

    Args:
        walk: Has come to the state, and knows many that end well.
        bring_back: Brings the state back.
        index: Which of its events.
    """

    def __init__(self, walk: Walk, bring_back: Callable[[], None], index: int) -> None:
        self.walk, self.world, self.bring_back, self.index = walk, walk.world, bring_back, index
        self.runs = 0

    def event(self) -> Event:
        """The event, in the state."""
        self.bring_back()
        return [*self.world.events()][self.index]

    def sweep(self) -> int:
        """Interrupt it everywhere; return how many times."""
        event = self.event()
        with interrupted_at(0) as lines:
            event.run()
        total = lines()
        for number in range(1, total + 1):
            passers = self._interrupt(number, None)
            for passer in range(passers) if DEEP else {number % passers} if passers else ():
                self._interrupt(number, passer)  # one of them, each in turn
        return self.runs

    def _interrupt(self, number: int, passer: int | None) -> int:
        """Interrupt it at that line, let one of the others act, recover, and check; return how many could act."""
        event, world = self.event(), self.world
        usecount, observed = world.machine.usecount, world.machine.observed
        stopping = {g for g in world.machine.generations if g.phase is Phase.STOPPING}
        place = ""
        try:
            with interrupted_at(number):
                event.run()
        except KeyboardInterrupt as interrupt:
            place = str(interrupt)
        others = [
            other for other in world.events(interventions=False) if other.who is not None and other.who is not event.who
        ]
        note = f"{event}, interrupted at {place}"
        if passer is not None:
            note += f", then {others[passer]}"
        actors = {event.who}
        with explained(((), note)):
            if passer is not None:
                actors.add(others[passer].who)
                others[passer].run()
            self._go_on(event, usecount, observed=observed)
            absent = {consumer.token for consumer in world.consumers if consumer not in actors}
            ended = {g for g in world.machine.generations if g.phase is Phase.STOPPING} - stopping
            assert not absent & {g.worker for g in ended}, "who is to stop it knows nothing of it"
        self.runs += 1
        return len(others)

    def _go_on(self, event: Event, usecount: int, *, observed: bool) -> None:
        world = self.world
        recover(world, event)
        told = [usecount, *world.notes]
        if observed and world.machine.observed:
            assert all(abs(b - a) == 1 for a, b in pairwise(told)), told
            assert told[-1] == world.machine.usecount, told
        world.notes = []
        world.dismiss()
        world.arm()
        checks = Checks(world)
        checks.check()
        here = world.save()
        checks.probe(world.fingerprint(), here)
        for patient in (True, False):
            self.walk.drain(patient=patient)
            here()


def examples(config: Config, per_kind: int) -> Generator[Interrupted]:
    """States in which an event meets different company, some for each kind of event."""
    world = World(config)
    walk = Walk(world, depth=6)
    met: dict[tuple[str, bool], set[object]] = {}
    for node in walk.nodes():
        node.bring_back()
        company = tuple(
            (g.phase, g.usecount, len(g.waiters) > 1, len(g.checkers) > 1) for g in world.machine.generations
        )
        observed = world.machine.observed
        scene = (company, len(world.machine.queue) > 0, world.machine.closed)
        for index, event in enumerate([*world.events()]):
            scenes = met.setdefault((event.kind, observed), set())
            if len(scenes) < per_kind and scene not in scenes:
                scenes.add(scene)
                yield Interrupted(walk, node.bring_back, index)


@pytest.mark.timeout(0 if DEEP else 60)
@pytest.mark.parametrize(
    "config", CONFIGS if DEEP else [Config(), Config(overlap=True), Config(True, True, False)], ids=str
)
def test_an_interrupt_at_any_line_of_any_event_breaks_nothing(config: Config) -> None:
    """A KeyboardInterrupt at each line of each event, others acting before the recovery or not: every rule holds."""
    runs = sum(example.sweep() for example in examples(config, 50 if DEEP else 2))
    print(f"{config}: {runs} interrupts")
    assert runs > 1500
