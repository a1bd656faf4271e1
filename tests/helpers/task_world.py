"""`TaskWorld`: everything that can happen to a machine, one step at a time, done as `tasks` and `keeper` do it.

Between two awaits of a task no other one runs, so that whatever is owed after a step is done together with it: an event
here goes from one await to the next. On a start the generation gets a task of its own, its keeper, which claims it; the
consumer waits like any other. An actor that is a consumer is at one of these:

    asleep    waits until it is woken
    check     runs the check
    slot      waits for a place of a bounded family, before its keeper is made

and a keeper at one of these:

    start     runs the start, which is cancelled if the generation stops meanwhile
    up        sleeps until the generation is to be stopped
    stop      runs the stop, or is about to: what was ordered is run, even if the generation is forgotten meanwhile

One who intervenes does so at once, or waits; the timer may find itself due, and look only later.
"""
# pyright: reportPrivateUsage=false
# What a hold claims is private to users; here it is what is tested.

from __future__ import annotations

from collections.abc import Iterator

from refcount._core.generation import (
    AGAIN,
    CHECK,
    CLOSED,
    FAILURE,
    FORGOTTEN,
    HELD,
    LINGER,
    START,
    STARTING,
    STOPPING,
    UP,
    WAIT,
    Generation,
)
from refcount._core.machine import Machine
from tests.helpers.acting import ASLEEP, TELL, Answer, Event, Failed
from tests.helpers.model import Config
from tests.helpers.scene import Actor, Fingerprint, Frame, Gen, Saved
from tests.helpers.world import World, works

DRIVER, KEEPERS = 12, 100


class Keeper(Actor):
    """The task of one generation."""

    __slots__ = ("generation",)

    def __init__(self, generation: Gen) -> None:
        super().__init__(KEEPERS + generation.number)
        self.generation = generation
        self.at("start")

    def __repr__(self) -> str:
        return f"the keeper of {self.generation.number}"

    def at(self, kind: str, *, owes: bool = False) -> None:
        """It is at that now, and owes a stop after it."""
        self.frames = (Frame(kind, self.generation, step="owes" if owes else ""),)

    @property
    def owes(self) -> bool:
        return self.frames[-1].step == "owes"


class Tasks(World):
    """What follows after a step, as the driver for tasks has it.

    Args:
        config: The machine's options.
        make: Makes the machine; a broken one, to test the test.
        consumers: How many there are.
        linger: In ticks of the clock.
        bounded: Whether a start waits for a slot.
        watched: Whether the machine's invariants are looked at, and not only what the model says.
    """

    def __init__(
        self,
        config: Config,
        make: type[Machine[int]] = Machine,
        *,
        consumers: int = 3,
        linger: int = 1,
        bounded: bool = False,
        watched: bool = True,
    ) -> None:
        super().__init__(config, make, consumers=consumers, linger=linger, watched=watched)
        self.bounded = bounded
        self.keepers: dict[Gen, Keeper] = {}
        self._others = self.everybody

    # Keepers

    def owner(self, actor: Actor, generation: Gen | None) -> int:
        """Who is to run a stop: the generation's own task; it has none before it starts."""
        keeper = None if generation is None else self.keepers.get(generation)
        return DRIVER if keeper is None else keeper.token

    def order_stop(self, owed: Gen, *, flushed: bool = False) -> None:
        """See that the keeper runs the stop that it owes."""
        self.model.stops(owed.number, self.now, flushed=flushed)
        keeper = self.keepers.get(owed)
        if keeper is None:  # nothing of it was started yet
            self.finishes(owed)
        elif keeper.frames[-1].kind == "up":
            keeper.at("stop")
        else:
            keeper.at("start", owes=True)

    def finishes(self, generation: Gen) -> None:
        """The stop is over."""
        self.machine.stopped(generation)
        self.model.stopped(generation.number)
        self.cancel_alarm(generation)
        self.dismisses(generation)
        self.tell()

    def hires(self, generation: Gen) -> None:
        """Make the task that is to start it."""
        self.keepers[generation] = keeper = Keeper(generation)
        with self.machine.lock:
            self.machine.working[generation] = keeper.token
        self.everybody = (*self._others, *self.keepers.values())

    def dismisses(self, generation: Gen) -> None:
        """Its task is over."""
        self.keepers.pop(generation, None)
        self.everybody = (*self._others, *self.keepers.values())

    # Consumers

    def admit(self, actor: Actor, step: Answer) -> None:
        """Do what the machine says to a consumer who comes, up to where he awaits something."""
        actor.frames = ()
        while not actor.frames:
            if step is HELD:
                self.model.got(actor.token, self._held(actor.door).value)
                self._goes(actor)
                return
            if step is CLOSED or step is FAILURE:
                self._is_turned_away(actor, step)
                return
            step = self._follow(actor, step)

    def _follow(self, actor: Actor, step: Answer) -> Answer:
        """Go on to the next step, or to the next await."""
        door, token, model = actor.door, actor.token, self.model
        promised = door._promised
        model.require("nobody but its keeper is told to stop it", not isinstance(step, Generation), step)
        if step is WAIT:
            model.waits(token)
            door.woken = False
            actor.frames = (ASLEEP,)
            return step
        if step is AGAIN:
            model.looks_again(token, left_behind=self.machine.current is None)
        elif promised is not None and step is CHECK:
            model.checks(token, promised.number)
            actor.frames = (Frame("check", promised),)
            return step
        elif promised is not None and step is START:
            model.begins(token, promised.number)
            if self.bounded:
                actor.frames = (Frame("slot", promised),)
                return step
            self.hires(promised)
        return self.machine.ask(door, token)

    def _is_turned_away(self, actor: Actor, step: Answer) -> None:
        promised = actor.door._promised
        if step is CLOSED:
            self.model.refused(actor.token)
        elif promised is not None:
            self.model.raised(actor.token, promised.error)
        self.retract(actor)

    def _goes(self, actor: Actor) -> None:
        actor.frames, actor.trying, actor.door.woken = (), False, None

    def retract(self, actor: Actor, *, gave_up: bool = False) -> None:
        """Leave nothing of an entry that was cut short."""
        generation = actor.door._promised or actor.door._generation
        if generation is None:
            self.machine.sleepers.pop(actor.door, None)
        else:
            self._give_back(actor, generation)
        self.tell()
        self._goes(actor)

    def _give_back(self, actor: Actor, generation: Gen) -> None:
        door, token, by = actor.door, actor.token, self.owner(actor, generation)
        held = door._generation is not None
        step = self.machine.give_back(door, by, self.now, None)
        while step is LINGER:
            alarm = self.set_alarm(generation, self.now + self.model.linger)
            step = self.machine.give_back(door, by, self.now, alarm)
            if generation.alarm is not alarm:
                alarm.cancel()
        if held:
            self.model.left(token, generation.number, self.now, self.now)
        else:
            self.model.gave_up(token, self.now)
        if isinstance(step, Generation):
            self.order_stop(step)

    def stop(self, actor: Actor, owed: Gen | None, *, flushed: bool = False) -> None:
        """Tell the keeper that a stop is owed, instead of the innermost frame."""
        if owed is not None:
            self.order_stop(owed, flushed=flushed)
        self.pop(actor, TELL)


class TaskWorld(Tasks):
    """A machine, the tasks that use it, and the keepers of its generations."""

    # Consumers

    def enters(self, actor: Actor) -> None:
        """Without the lock: no task comes in between."""
        hot = self.machine.hot
        assert hot is not None
        hot.count += 1
        actor.door._generation = hot
        self.check_invariants()
        self.model.got(actor.token, hot.value)

    def looks_whether_it_runs(self, actor: Actor) -> None:
        super().looks_whether_it_runs(actor)
        if not actor.frames:
            self._goes(actor)

    def finds_it_good(self, actor: Actor) -> None:
        generation, step = self.top(actor), self.machine.accept(actor.door)
        if step is not HELD:
            self._give_back(actor, generation)
        self._has_checked(actor, step)

    def finds_it_bad(self, actor: Actor) -> None:
        generation = self.top(actor)
        self._condemns(actor, generation)
        self._give_back(actor, generation)
        self._has_checked(actor, AGAIN)

    def _has_checked(self, actor: Actor, step: Answer) -> None:
        if step is AGAIN and actor.trying:
            self.retract(actor)
        else:
            self.admit(actor, step)

    def gets_a_place(self, actor: Actor) -> None:
        generation = self.top(actor)
        if generation.phase is STARTING:
            self.hires(generation)
        self.admit(actor, self.machine.ask(actor.door, actor.token))

    def is_refused_a_place(self, actor: Actor) -> None:
        self.is_cancelled(actor)

    def is_cancelled(self, actor: Actor) -> None:
        """While it sleeps, runs a check, or waits for a place."""
        frame = actor.frames[-1]
        if frame.kind == "slot":
            generation = self.top(actor)
            self.machine.disown(generation, actor.token)
            self.model.interrupted(generation.number)
        self.retract(actor)

    def leaves(self, actor: Actor) -> None:
        """By the count if others stay, else as the machine says."""
        door, generation = actor.door, self._held(actor.door)
        if not (generation.quick and generation.count > 1):
            self.releases(actor)
            return
        if self.machine.linger:
            generation.left = self.now
        generation.count -= 1
        door._generation = None
        self.check_invariants()
        self.model.left(actor.token, generation.number, self.now, self.now)

    def releases(self, actor: Actor) -> None:
        """As the machine says, even if others stay."""
        self._give_back(actor, self._held(actor.door))

    # Keepers

    def has_started(self, actor: Actor) -> None:
        generation = self.top(actor)
        generation.value = generation.number
        self._launches(generation)
        self.tell()
        keeper = self.keepers[generation]
        if generation.phase is FORGOTTEN and not keeper.owes:
            self.dismisses(generation)
        else:
            keeper.at("up" if generation.phase is UP else "stop")

    def begins_in_vain(self, actor: Actor) -> None:
        """All have left before it has had its first turn."""
        generation = self.top(actor)
        self._launches(generation)
        self.finishes(generation)

    def _launches(self, generation: Gen) -> None:
        to_stop = self.machine.launched(generation)
        self.model.launched(generation.number, self.now, to_stop=to_stop)

    def fails_to_start(self, actor: Actor) -> None:
        generation, error = self.top(actor), Failed()
        self.model.failed(actor.token, generation.number, error)
        self.machine.failed(generation, error, None)
        self.finishes(generation)

    def has_stopped(self, actor: Actor) -> None:
        self.finishes(self.top(actor))

    def breaks(self, actor: Actor) -> None:
        """Something inside the opener has failed: no newcomer gets it."""
        self._condemns(actor, self.top(actor))

    def is_expelled(self, actor: Actor) -> None:
        """It is to be stopped under its holders, since it broke, or its loop ends."""
        generation = self.top(actor)
        if self.machine.expel(generation, self.owner(actor, generation)):
            self.model.expels(generation.number)
            self.order_stop(generation)

    # What comes from outside

    def invalidate(self, actor: Actor) -> None:
        current = self.machine.current
        if current is not None and current.phase is STOPPING:
            self._forgets(current)
        elif current is not None:
            self._condemns(actor, current)

    def abandon(self, actor: Actor) -> None:
        for generation in self.machine.generations:
            self._forgets(generation)

    def expel(self, actor: Actor) -> None:
        super().expel(actor)
        while actor.frames and actor.frames[-1].kind == "expel":
            self.expels(actor)

    def _condemns(self, actor: Actor, generation: Gen) -> None:
        owed = self.machine.condemn(generation, self.owner(actor, generation))
        self.model.condemned(generation.number)
        self.cancel_alarm(generation)
        if owed is not None:
            self.order_stop(owed)
        self.tell()

    def _forgets(self, generation: Gen) -> None:
        self.machine.forget(generation)
        self.model.forgot(generation.number)
        self.cancel_alarm(generation)
        keeper = self.keepers.get(generation)
        if keeper is not None and keeper.frames[-1].kind == "up":
            self.dismisses(generation)
        self.tell()

    def looks_at_the_linger(self, actor: Actor) -> None:
        super().looks_at_the_linger(actor)
        if actor.frames:
            self.sets_the_alarm_again(actor)

    # What can happen

    def happen(self, event: Event) -> None:
        super().happen(event)
        for keeper in self.keepers.values():
            inside = self.machine.works(keeper.token)
            self.model.require("a keeper claims what it starts or stops", inside == works(keeper), keeper)

    def _hear(self, event: Event, told: list[int]) -> None:
        if event.name in ("invalidate", "abandon"):
            self.model.require("what is forgotten is noted", told[-1:] in ([], [self.model.told]), told)
        else:
            self.model.hears(told)

    def events(self, *, interventions: bool = True) -> Iterator[Event]:
        yield from super().events(interventions=interventions)
        for keeper in self.keepers.values():
            for name in self._keeps(keeper, interventions=interventions):
                yield Event(name, keeper)

    def _keeps(self, keeper: Keeper, *, interventions: bool) -> Iterator[str]:
        kind, generation = keeper.frames[-1].kind, keeper.generation
        if kind == "stop":
            yield "has stopped"
        elif kind == "start":
            yield from ("has started", "fails to start")
            if generation.phase is not STARTING:
                yield "begins in vain"
        elif interventions:
            if generation is self.machine.current:
                yield "breaks"
            yield "is expelled"

    def _moves(self, actor: Actor) -> Iterator[str]:
        held = actor.door._generation
        if actor.frames:
            yield from self._next(actor)
        elif held is not None:
            yield "leaves"
            if held.quick and held.count > 1:
                yield "releases"
        else:
            if self.machine.hot is not None:
                yield "enters"
            yield "asks"
            if self.machine.current is not None:
                yield "tries"

    def _next(self, actor: Actor) -> Iterator[str]:
        kind, woken = actor.frames[-1].kind, actor.door.woken
        if kind == "asleep":
            yield from ("asks", "is cancelled") if woken else ("is cancelled", "times out")
        elif kind == "check":
            yield from ("finds it good", "finds it bad", "is cancelled")
        elif kind == "slot":
            yield "is refused a place" if self.machine.forced else "gets a place"
            yield "is cancelled"
        else:
            yield from super()._next(actor)

    def _interventions(self) -> Iterator[str]:
        unknown = ("looks to invalidate", "looks at the clock to touch", "expel")
        yield from (name for name in super()._interventions() if name not in unknown)

    # Saving and telling apart

    def save(self) -> Saved:
        return (*super().save(), self.keepers.copy())

    def bring_back(self, saved: Saved) -> None:
        *rest, keepers = saved
        super().bring_back(tuple(rest))
        self.keepers = keepers.copy()
        self.everybody = (*self._others, *self.keepers.values())

    def fingerprint(self) -> Fingerprint:
        keepers = sorted(self.keepers.values(), key=lambda keeper: keeper.token)
        places = [(keeper.frames[-1].kind, keeper.owes, keeper.generation.phase) for keeper in keepers]
        return (*super().fingerprint(), *places)
