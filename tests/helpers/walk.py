"""Every order of events of the lifecycle: a walk through the states that a few consumers can bring the machine into.

The machine is pure, so its states can be saved, restored, compared and counted. A `World` is a machine with its
consumers, timers and clock; it acts as a driver would. `Walk` goes breadth first through everything that can happen
next, tells states apart by a fingerprint in which consumers and generations have no names (two states that differ only
in who is who are one, and so are the moves of two consumers who stand alike), and checks the rules in each.

Up to a stated number of events no order is left out, whether they are the consumers' own moves, the ends of hooks, the
passing of time, or somebody's interventions from outside (touch, flush, invalidate, close, expel, observe), of which
there may be any number, anywhere. Longer orders are sampled: for each further event the walk goes on from some states
of each number of interventions, so that the many states with several do not crowd out the few with none.

A rule that does not hold raises `Broken`, which names the rule and the shortest order of events that leads there.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count, pairwise
from typing import Any, NamedTuple

from refcount._core.generation import Answer, Generation, Phase, Waiter
from refcount._core.holds import Hold
from refcount._core.lifecycle import Lifecycle, State
from refcount._errors import ClosedError, ReentrantError

MORE = 2
"""How many more events must have been walked whole after one that counts as covered."""

FEW = 2
"""The most interventions on a way that is longer than those that are walked whole."""

CROWD = 3
"""Generations at once at which nobody comes any more on such a way: with stops that take for ever they get no end."""

ALIVE = frozenset({Phase.STARTING, Phase.UP, Phase.STOPPING})
STEPS = {
    (Phase.STARTING, Phase.UP),
    (Phase.STARTING, Phase.STOPPED),
    (Phase.STARTING, Phase.STOPPING),  # started when it is not wanted any more
    (Phase.UP, Phase.STOPPING),
    (Phase.STOPPING, Phase.STOPPED),
}

Gen = Generation[str]
Machine = Lifecycle[str]
Fingerprint = tuple[object, ...]


class Broken(AssertionError):
    """A rule of the lifecycle does not hold.

    Attributes:
        rule: Which one, in a few words.
    """

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(f"{rule}{detail and ': '}{detail}")
        self.rule = rule


def hold_to(rule: str, holds: bool, detail: object = "") -> None:
    """Raise `Broken` unless the rule holds."""
    if not holds:
        raise Broken(rule, str(detail))


class Door(Waiter[str]):
    """A waiter that knows whether it was woken since it last looked."""

    __slots__ = ("woken",)

    def __init__(self, hold: Hold[Gen], by: object) -> None:
        super().__init__(hold, by)
        self.woken = False

    def wake(self) -> None:
        """Remember it."""
        self.woken = True


class Alarm(NamedTuple):
    """A timer as the machine knows it; immutable, since a fired one is replaced."""

    fired: bool

    def cancel(self) -> None:
        """Do nothing: only drivers cancel."""


@dataclass(frozen=True)
class Config:
    """The machine's options."""

    lingers: bool = False
    checked: bool = False
    overlap: bool = False

    def __str__(self) -> str:
        words = [word for word in ("lingers", "checked", "overlap") if getattr(self, word)]
        return "+".join(words) or "plain"


@dataclass(eq=False)
class Consumer:
    """One thread that comes and goes.

    Attributes:
        token: What the machine knows it by.
        door: Its waiter, from the acquire until it has left again.
        hold: What is marked when it is let in.
        eye: The hot generation that it has read, and is about to enter by its counter alone.
        trying: Whether it came by `try_acquire`, and so goes where it would have to start or wait.
    """

    token: int
    door: Door | None = None
    hold: Hold[Gen] = field(default_factory=Hold[Gen])
    eye: Gen | None = None
    trying: bool = False

    @property
    def holding(self) -> bool:
        return self.hold.counter is not None

    @property
    def out(self) -> bool:
        return self.door is None and self.eye is None and not self.holding

    def forget(self) -> None:
        """It has gone. What is counted for its hold from now on is lost."""
        self.door, self.hold, self.eye, self.trying = None, Hold(), None, False

    @property
    def answer(self) -> Answer | None:
        return None if self.door is None else self.door.answer


class Event(NamedTuple):
    """Something that can happen next.

    Attributes:
        kind: What.
        run: Makes it happen.
        who: The consumer who does it, if one does.
        generation: The generation whose business it is, where it is nobody else's.
    """

    kind: str
    run: Callable[[], object]
    who: Consumer | None = None
    generation: Gen | None = None

    def __str__(self) -> str:
        who = "" if self.who is None else f"{'ABCDEF'[self.who.token]} "
        which = "" if self.generation is None else f" (generation {self.generation.number})"
        return f"{who}{self.kind}{which}"

    @property
    def intervenes(self) -> bool:
        """Whether it comes from outside, and is counted."""
        return self.kind in INTERVENTIONS


ARRIVALS = ("acquires", "tries to acquire", "reads hot")
INTERVENTIONS = ("touch", "flush", "invalidate", "close", "close by force", "expel", "observe", "observe no more")


class World:
    """A machine, its consumers, its timers and its clock.

    Args:
        config: The machine's options.
        make: Makes the machine; a broken one, to test the test.
        consumers: How many there are.
        linger: How long it lingers, in ticks of the clock. One will do: a touch can still come after the tick and
            before the timer, so that this one is early.
    """

    def __init__(self, config: Config, make: type[Machine] = Lifecycle, *, consumers: int = 3, linger: int = 1) -> None:
        self.config, self.linger = config, linger
        self.consumers = [Consumer(token) for token in range(consumers)]
        self.timers: list[tuple[Gen, int]] = []
        self.now = 0
        self.notes: list[int] = []
        self.machine: Machine = make(
            "it",
            lingers=config.lingers,
            checked=config.checked,
            overlap=config.overlap,
            note=lambda usecount: self.notes.append(usecount),
        )
        self._others = count(100)

    def other(self) -> int:
        """A thread that is nobody's and comes only once."""
        return next(self._others)

    @property
    def known(self) -> list[Gen]:
        """All generations that anybody still knows, each once."""
        known = dict.fromkeys(self.machine.generations)
        for consumer in self.consumers:
            awaited = None if consumer.door is None else consumer.door.generation
            mine = (consumer.eye, consumer.hold.counter, awaited)
            known.update(dict.fromkeys(filter(None, mine)))
        known.update(dict.fromkeys(generation for generation, _ in self.timers))
        return [*known]

    # Saving

    def save(self) -> Callable[[], None]:
        """Remember everything; return a function that brings it back, any number of times."""
        machine, timers, now = self.machine, tuple(self.timers), self.now
        facts = machine.__dict__.copy()
        queue, detached = tuple(machine.queue), tuple(machine.detached)
        generations = [(g, g.__dict__.copy(), tuple(g.waiters), tuple(g.checkers)) for g in self.known]
        consumers = [(c, c.door, c.hold, c.hold.counter, c.eye, c.trying) for c in self.consumers]
        doors = [(d, d.generation, d.granted, d.error, d.woken) for c in self.consumers if (d := c.door) is not None]

        def bring_back() -> None:
            machine.__dict__.update(facts)
            machine.queue, machine.detached = deque(queue), [*detached]
            self.timers, self.now, self.notes = [*timers], now, []
            for generation, state, waiters, checkers in generations:
                generation.__dict__.update(state)
                generation.waiters, generation.checkers = deque(waiters), [*checkers]
            for consumer, door, hold, counter, eye, trying in consumers:
                consumer.door, consumer.hold, consumer.eye, consumer.trying = door, hold, eye, trying
                hold.counter = counter
            for waiter, awaited, granted, error, woken in doors:
                waiter.generation, waiter.granted, waiter.error, waiter.woken = awaited, granted, error, woken

        return bring_back

    def fingerprint(self) -> Fingerprint:
        """What is left of the state when consumers and generations lose their names.

        Those who stand in a line are told apart by their place in it. The others are only counted: two of them about
        whom the same can be said are as good as one another.
        """
        machine, now = self.machine, self.now
        all_of_them = machine.generations
        places = self._places(all_of_them)
        names = self._names(all_of_them)
        about: dict[object, tuple[int, ...]] = {c.token: self._about(c, places) for c in self.consumers}
        generations = [
            (
                g.phase.value,
                g.usecount,
                g.condemned,
                tuple([names[door.by] for door in g.waiters]),
                None if g.starter is None else names.get(g.starter.by, -1),
                g.working and names.get(g.worker, -1),
                None if g.deadline is None else max(g.deadline - now, 0),
                g.timer is None or g.timer.fired,
                g._hot,  # pyright: ignore[reportPrivateUsage]  # part of the state like any other fact
            )
            for g in all_of_them
        ]
        return (
            machine.current is None,
            machine.closed,
            machine.forced,
            machine.observed,
            *generations,
            tuple([names[door.by] for door in machine.queue]),
            tuple([about.pop(token) for token in names]),
            tuple(sorted(about.values())),
            frozenset([(places.get(g, -1), max(due - now, 0)) for g, due in self.timers]),
        )

    def _places(self, generations: tuple[Gen, ...]) -> dict[Gen | None, int]:
        return {None: -2, **dict(zip(generations, count()))}

    def _names(self, generations: tuple[Gen, ...]) -> dict[object, int]:
        """Number those who stand in a line, in its order."""
        lined = [door.by for g in generations for door in g.waiters] + [door.by for door in self.machine.queue]
        return dict(zip(dict.fromkeys(lined), count()))

    def _about(self, consumer: Consumer, places: dict[Gen | None, int]) -> tuple[int, ...]:
        """Everything about a consumer but its place in a line."""
        door, checked, token = consumer.door, None, consumer.token
        waits = door is not None and not door.granted  # once it is let in, how it came makes no difference any more
        if door is not None and door.generation is not None and door in door.generation.checkers:
            checked = door.generation
        return (
            waits + (waits and consumer.trying),
            places.get(checked, -1),
            places.get(consumer.eye, -1),
            places.get(consumer.hold.counter, -1),
            *[place for g, place in places.items() if g is not None and g.worker == token and g.working],
        )

    def twins(self) -> set[int]:
        """Those about whom nothing can be said that cannot be said about one before them: it can do what they can."""
        generations = self.machine.generations
        places, names = self._places(generations), self._names(generations)
        first: dict[object, int] = {}
        loose = [c for c in self.consumers if c.token not in names]
        return {c.token for c in loose if first.setdefault(self._about(c, places), c.token) != c.token}

    # What can happen

    def jobs(self, consumer: Consumer) -> list[Gen]:
        """What this consumer's thread is stopping: it does nothing else meanwhile."""
        return self.machine.jobs(consumer.token)

    def events(self, *, interventions: bool = True) -> Iterator[Event]:
        """Everything that can happen next."""
        for consumer in self.consumers:
            if not self.jobs(consumer):
                yield from self._moves(consumer)
        yield from self._ends()
        if interventions:
            yield from self._interventions()

    def _moves(self, consumer: Consumer) -> Iterator[Event]:
        machine, door, token = self.machine, consumer.door, consumer.token
        if consumer.out and not machine.closed:
            # That a closed one refuses is probed in each state.
            yield Event("acquires", lambda: self._acquire(consumer), consumer)
            if machine.current is not None:
                yield Event("tries to acquire", lambda: self._try(consumer), consumer)
            if machine.hot is not None:
                yield Event("reads hot", lambda: setattr(consumer, "eye", machine.hot), consumer)
        elif consumer.eye is not None:
            yield Event("enters by the counter", lambda: self._enter(consumer), consumer, consumer.eye)
        elif consumer.holding and (door is None or door.granted):
            yield Event("leaves", lambda: self._leave(consumer), consumer, consumer.hold.counter)
        if door is None or door.granted:
            return
        generation = door.generation
        yield Event("withdraws", lambda: self._withdraw(consumer), consumer)
        if generation is not None and door.answer is Answer.START and not consumer.trying:
            yield Event("has started", lambda: self._started(generation, token), consumer, generation)
            fail = partial(machine.start_failed, generation, OSError("no camera"), token)
            yield Event("fails to start", fail, consumer, generation)
        if door.answer is Answer.CHECK:
            yield Event("finds it good", lambda: self._checked(consumer, True), consumer)
            yield Event("finds it bad", lambda: self._checked(consumer, False), consumer)

    def _ends(self) -> Iterator[Event]:
        """Hooks of nobody or of a consumer that come to their end, and time that passes."""
        machine = self.machine
        for generation in machine.generations:
            if generation.phase is Phase.STOPPING:
                yield Event("has stopped", partial(machine.stopped, generation, generation.worker), None, generation)
        due = [alarm for alarm in self.timers if alarm[1] <= self.now]
        for alarm in due:
            yield Event("timer fires", partial(self._fire, alarm), None, alarm[0])
        if len(due) < len(self.timers):
            yield Event("a tick passes", lambda: setattr(self, "now", self.now + 1))

    def _interventions(self) -> Iterator[Event]:
        machine, by = self.machine, self.other()
        current = machine.current
        if current is not None:
            if current.resting:
                yield Event("touch", lambda: machine.touch(self.now + self.linger, by))
                yield Event("flush", lambda: machine.flush(by))
            yield Event("invalidate", lambda: machine.invalidate(by))
        if not machine.closed:
            yield Event("close", lambda: machine.close(by, force=False))
        if not machine.forced:
            yield Event("close by force", lambda: machine.close(by, force=True))
        if any(generation.phase is Phase.UP for generation in machine.generations):
            yield Event("expel", lambda: machine.expel(by))
        if machine.observed:
            yield Event("observe no more", lambda: machine.observe(False, by))
        else:
            yield Event("observe", lambda: machine.observe(True, by))

    # What a driver does

    def arrive(self, consumer: Consumer, *, trying: bool = False) -> Door:
        """A consumer is at the door, not yet known to the machine."""
        consumer.hold = Hold()
        consumer.door, consumer.trying = Door(consumer.hold, consumer.token), trying
        return consumer.door

    def _acquire(self, consumer: Consumer) -> None:
        self.machine.acquire(self.arrive(consumer))

    def _try(self, consumer: Consumer) -> None:
        if not self.machine.try_acquire(self.arrive(consumer, trying=True)):
            consumer.forget()

    def _enter(self, consumer: Consumer) -> None:
        consumer.hold = Hold()
        generation, consumer.eye = consumer.eye, None
        assert generation is not None
        generation.inc_not_zero_by(consumer.hold)

    def _leave(self, consumer: Consumer) -> None:
        generation = consumer.hold.counter
        assert generation is not None
        if not generation.dec_not_one_by(consumer.hold):
            hold_to("a held lease is released", self.machine.release(consumer.hold, consumer.token))
        consumer.forget()

    def _withdraw(self, consumer: Consumer) -> None:
        assert consumer.door is not None
        self.machine.withdraw(consumer.door)
        consumer.forget()

    def _started(self, generation: Gen, token: int) -> None:
        generation.value = f"value {generation.number}"
        self.machine.started(generation, token)

    def _checked(self, consumer: Consumer, good: bool) -> None:
        door = consumer.door
        assert door is not None
        try:
            self.machine.checked_out(door, good)
        except ClosedError as error:
            door.error = error

    def _fire(self, alarm: tuple[Gen, int]) -> None:
        generation, _ = alarm
        self.timers.remove(alarm)
        if generation.timer is not None and all(g is not generation for g, _ in self.timers):
            generation.timer = Alarm(fired=True)
        self.machine.linger_over(generation, self.now, self.other())

    def arm(self) -> None:
        """Set the timer that the machine asks for."""
        while (generation := self.machine.untimed) is not None:
            due = int(self.machine.begin_linger(generation, self.now + self.linger))
            if (generation, due) not in self.timers:
                self.timers.append((generation, due))
            generation.timer = Alarm(fired=False)

    def dismiss(self) -> dict[int, BaseException]:
        """Let those who were refused go; return their errors by their tokens."""
        errors: dict[int, BaseException] = {}
        for consumer in self.consumers:
            if consumer.door is not None and consumer.door.error is not None:
                errors[consumer.token] = consumer.door.error
                hold_to("a refused waiter is nowhere", not self.places(consumer.door), consumer.token)
                consumer.forget()
        return errors

    def places(self, door: Door) -> list[object]:
        """Where a waiter stands, each place once for each time that it stands there."""
        machine = self.machine
        lines: list[object] = [machine.queue] * machine.queue.count(door)
        for g in {*machine.generations, *filter(None, (door.generation,))}:
            lines += [g] * (g.waiters.count(door) + g.checkers.count(door))
        return lines


class Seen(NamedTuple):
    """What a generation was before an event."""

    phase: Phase
    usecount: int
    waiters: tuple[Waiter[str], ...]
    checkers: tuple[Waiter[str], ...]
    starter: Waiter[str] | None
    condemned: bool
    deadline: float | None


def seen(g: Gen) -> Seen:
    """Look at a generation."""
    return Seen(g.phase, g.usecount, (*g.waiters,), (*g.checkers,), g.starter, g.condemned, g.deadline)


class Step:
    """One event, made to happen, and what must hold between before and after it.

    Args:
        world: Where.
        event: What.
    """

    def __init__(self, world: World, event: Event) -> None:
        machine = world.machine
        self.world, self.event = world, event
        self.before = {g: seen(g) for g in machine.generations}
        self.current, self.closed, self.observed = machine.current, machine.closed, machine.observed
        self.usecount = machine.usecount
        self.answers = {c.token: c.answer for c in world.consumers}
        self.starts = machine.starts

    def take(self) -> None:
        """Let it happen, and check."""
        self.event.run()
        self.check()

    def marks(self) -> list[str]:
        """What has happened: the kind of the event, and what is special about it."""
        kind, g = self.event.kind, self.event.generation
        if g is None:
            return [kind]
        if kind == "timer fires":
            was = self.before.get(g)
            ends = was is not None and was.phase is Phase.UP and g.phase is Phase.STOPPING
            return [kind, "linger ends" if ends else "an old timer fires"]
        late = g is not self.current or self.closed
        return [kind, f"{kind}, late"] if late else [kind]

    def check(self) -> None:
        """Check what must hold now that it has happened, and let those go who were refused."""
        self._counts()
        self._phases()
        self._strangers()
        self._new_starts()
        self._newcomer()
        self._detachment()
        self._timer()
        self._woken()
        self._failure(self.world.dismiss())
        self.world.arm()

    def _counts(self) -> None:
        notes = self.world.notes
        if self.observed and self.world.machine.observed:
            told = [self.usecount, *notes]
            hold_to("each change is told by itself", all(abs(b - a) == 1 for a, b in pairwise(told)), told)
            hold_to("every change is told", told[-1] == self.world.machine.usecount, told)
        elif not self.observed:
            hold_to("nothing is told unasked", not notes, notes)
        self.world.notes = []

    def _phases(self) -> None:
        kind, machine = self.event.kind, self.world.machine
        for g, was in self.before.items():
            step = (was.phase, g.phase)
            hold_to("a generation lives once, in order", was.phase is g.phase or step in STEPS, step)
            mine = self.event.generation is g
            if was.phase is Phase.STARTING and g.phase is not Phase.STARTING and g.phase is not Phase.STOPPED:
                hold_to("only its own start brings it up", mine and kind == "has started", step)
            if step == (Phase.STARTING, Phase.STOPPED):
                failed = mine and kind == "fails to start"
                hold_to("a start that somebody makes goes on", failed or kind == "withdraws", step)
            if was.phase is Phase.STOPPING and g.phase is not Phase.STOPPING:
                hold_to("only its own stop ends it", mine and kind == "has stopped", step)
            if step == (Phase.UP, Phase.STOPPING):
                needed = g.usecount or g.waiters or g.checkers
                hold_to("no stop under a holder", not needed or machine.forced or kind == "expel", g.number)
            if g.phase is Phase.STOPPING and was.phase is not Phase.STOPPING:
                present = g.worker == self.token if self.token is not None else g.worker not in self.answers
                hold_to("who ends it is to stop it", present, g.worker)
            hold_to("what is condemned stays so", g.condemned or not was.condemned, g.number)
            if was.starter is not None and g.starter is not was.starter:
                gone = g.phase is not Phase.STARTING or (kind == "withdraws" and was.starter.by == self.token)
                hold_to("one start, by one starter", gone, g.number)

    @property
    def token(self) -> int | None:
        return None if self.event.who is None else self.event.who.token

    def _strangers(self) -> None:
        """Rule 3: what belongs to one generation changes nothing of another."""
        if self.event.generation is not None:
            for g, was in self.before.items():
                if g is not self.event.generation:
                    hold_to("identity", seen(g) == was, (g.number, "was", was))

    def _new_starts(self) -> None:
        machine = self.world.machine
        fresh = [g for g in machine.generations if g not in self.before]
        hold_to("numbers grow", all(g.number > self.starts for g in fresh), [g.number for g in fresh])
        hold_to("one new generation at a time", len(fresh) <= 1)
        hold_to("closed for good", machine.closed or not self.closed)
        hold_to("a closed resource starts nothing new", not (fresh and self.closed))
        if fresh and self.current is not None and machine.current is not self.current and not self.world.config.overlap:
            gone = self.current.phase is Phase.STOPPED
            held = self.before[self.current].usecount > 0
            hold_to("without overlap a start waits for the stop", gone or held, self.current.number)

    def _newcomer(self) -> None:
        """Rules 1, 6 and 10: where a newcomer comes to stand."""
        who, kind = self.event.who, self.event.kind
        if who is None or who.door is None or kind not in ("acquires", "tries to acquire"):
            return
        current, generation = self.current, who.door.generation
        if current is None:
            hold_to("the first consumer starts it", who.answer is Answer.START, who.answer)
            return
        was = self.before[current]
        if was.condemned or was.phase is Phase.STOPPING:
            hold_to("nobody joins what is condemned", generation is not current, current.number)
            if self.world.config.overlap:
                hold_to("with overlap a newcomer starts at once", who.answer is Answer.START, who.answer)
            else:
                hold_to("without overlap a newcomer waits", who.answer is Answer.WAIT, who.answer)
        else:
            hold_to("a newcomer joins what is there", generation is current, current.number)
            asked = self.world.config.checked and was.phase is Phase.UP
            wanted = Answer.CHECK if asked else Answer.HELD if was.phase is Phase.UP else Answer.WAIT
            hold_to("a newcomer is let in at once where it can be", who.answer is wanted, who.answer)

    def _detachment(self) -> None:
        was, machine = self.current, self.world.machine
        if was is None or was not in machine.detached or was.phase is Phase.STOPPED:
            return
        why, then = self.event.kind, self.before[was]
        overtaken = self.world.config.overlap and (then.condemned or then.phase is Phase.STOPPING)
        hold_to("detached for a reason", overtaken or why in ("invalidate", "finds it bad"), why)
        if not self.world.config.overlap:
            needed = then.usecount or then.waiters
            hold_to("what nobody holds is waited for", bool(needed), was.number)

    def _timer(self) -> None:
        g = self.event.generation
        if self.event.kind != "timer fires" or g is None or g not in self.before:
            return
        was = self.before[g]
        rested = was.phase is Phase.UP and not (was.usecount or was.waiters or was.checkers)
        due = rested and was.deadline is not None and was.deadline <= self.world.now
        hold_to("a linger ends when it is due, never earlier", (g.phase is Phase.STOPPING) == due or not rested)
        hold_to("an old deadline stops no newer hold", rested or g.phase is was.phase, g.number)

    def _woken(self) -> None:
        for consumer in self.world.consumers:
            door = consumer.door
            if door is None:
                continue
            if door.answer is Answer.WAIT:
                door.woken = False  # it looks, and sleeps again
            elif door.answer is not self.answers[consumer.token] and consumer is not self.event.who:
                hold_to("who is answered is woken", door.woken, door.answer)

    def _failure(self, errors: dict[int, BaseException]) -> None:
        g, machine = self.event.generation, self.world.machine
        if self.event.kind != "fails to start" or g is None:
            hold_to("nobody is refused but by a failed start or a close", not errors or machine.closed, errors)
            return
        waited = {door.by for door in self.before[g].waiters}
        if machine.forced:
            waited &= {self.token}
        hold_to("all who waited see the failure", set(errors) == waited, errors)
        hold_to("all see the same error", len({id(error) for error in errors.values()}) == 1, errors)
        hold_to("it is the failure", machine.forced or isinstance(errors[self.token or 0], OSError), errors)
        hold_to("a failure is never kept", machine.current is not g and g not in machine.generations, g.number)


class Checks:
    """What must hold in one state.

    Args:
        world: It, in that state.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def check(self) -> None:
        """Check all that can be seen without moving."""
        self._counts()
        self._places()
        self._generations()
        self._hot()
        self._seen()

    def _counts(self) -> None:
        holds = [c.hold.counter for c in self.world.consumers if c.holding]
        for g in self.world.known:
            marked = sum(counter is g for counter in holds)
            hold_to("the usecount is the number of holds", g.usecount == marked, (g.usecount, marked))
        hold_to("all holds are counted", self.world.machine.usecount == len(holds))

    def _places(self) -> None:
        for consumer in self.world.consumers:
            if (door := consumer.door) is None:
                continue
            places = self.world.places(door)
            if door.granted:
                hold_to("who holds waits nowhere", not places and consumer.holding)
                continue
            hold_to("who waits does so in one place", len(places) == 1 and not consumer.holding, places)
            place = door.generation or self.world.machine.queue
            hold_to("who waits knows where", places[0] is place)

    def _generations(self) -> None:
        machine, config = self.world.machine, self.world.config
        for g in machine.generations:
            hold_to("no generation stays failed", g.phase is not Phase.FAILED and g.error is None)
            if g.phase is Phase.STARTING:
                hold_to("a start has a starter", g.starter is not None and g.starter in g.waiters, g.number)
                hold_to("a start counts for nothing", g.usecount == 0 and not g.checkers, g.number)
            else:
                hold_to("only a start has a starter", g.starter is None, g.number)
                hold_to("nobody waits for what is not starting", not g.waiters, g.number)
            if g.resting:
                lingers = config.lingers and not (g.condemned or machine.closed)
                hold_to("what nobody needs stops", lingers and g is machine.current, g.number)
            if machine.forced and g.phase is Phase.UP:
                hold_to("force stops what is up", bool(g.checkers), g.number)
            if g.usecount:
                hold_to("what is held has no deadline", g.deadline is None, g.number)
            if g is not machine.current:
                dead = g.phase is Phase.STOPPED and not g.usecount
                hold_to("detached is condemned, and forgotten when over", g.condemned and not dead, g.number)
        current = machine.current
        hold_to("the current one is not over", current is None or current.phase in ALIVE)
        if current is not None and current.condemned and current.usecount:
            hold_to("what is held and condemned delays nobody", current.phase is Phase.STOPPING, current.number)
        if machine.queue:
            leaving = current is not None and (current.phase is Phase.STOPPING or current.condemned)
            hold_to("who queues waits for a stop", leaving and not config.overlap and not machine.closed)

    def _hot(self) -> None:
        machine, config = self.world.machine, self.world.config
        hot, current = machine.hot, machine.current
        working = any(g.working for g in machine.generations)
        closed = machine.closed or machine.observed or config.checked or working
        if closed or current is None or current.phase is not Phase.UP:
            hold_to("nothing is hot that must not be", hot is None)
        else:
            hold_to("what is up is hot", hot is current and not current.condemned)
        for g in machine.generations:
            hold = Hold[Gen]()
            if machine.observed:
                hold_to("no hot path while observed", not g.inc_not_zero_by(hold) and hold.counter is None)

    def _seen(self) -> None:
        machine = self.world.machine
        current, alive = machine.current, [g for g in machine.generations if g.phase in ALIVE]
        if machine.closed:
            expected = State.CLOSED
        elif current is None:
            expected = State.IDLE
        elif current.phase is Phase.UP:
            expected = State.LINGERING if current.resting else State.RUNNING
        else:
            expected = State.STARTING if current.phase is Phase.STARTING else State.STOPPING
        hold_to("the state is what can be seen", machine.state is expected, machine.state)
        hold_to("quiet means that nothing runs", machine.quiet == (not alive and not machine.queue))
        hold_to("idle means that nothing is left", machine.idle == (not machine.generations and not machine.queue))

    def probe(self, here: Fingerprint, bring_back: Callable[[], None]) -> None:
        """Do what must change nothing, or be refused, in any state."""
        world, machine = self.world, self.world.machine
        machine.settle(world.other())
        hold_to("a released lease is not held", not machine.release(Hold(), world.other()))
        same = world.fingerprint() == here and not world.notes
        hold_to("to settle, or to release again, changes nothing", same, world.notes)
        for consumer in world.consumers:
            inside = any(g.works_for(consumer.token) for g in machine.generations)
            if not (inside or (machine.closed and consumer.out)):
                continue
            refusal = ReentrantError if inside else ClosedError
            for enter in (machine.acquire, machine.try_acquire):
                door = Door(Hold(), consumer.token)
                try:
                    enter(door)
                except refusal:
                    machine.withdraw(door)
                else:
                    raise Broken(f"{refusal.__name__} where it is due")
        hold_to("a refusal changes nothing", world.fingerprint() == here)
        bring_back()


@dataclass
class Covered:
    """What a walk has seen.

    Attributes:
        states: How many states it has examined, each after the shortest way to it.
        transitions: How many events it has made happen to get to them.
        depth: Up to how many events no order is left out.
        whole: How many of the states lie within that depth.
        longest: The most events on the way to one.
        next_to: The states that come right after an event with this mark (see `Step.marks`) and from which the walk has
            gone on in every order of two more events at least.
    """

    states: int = 0
    transitions: int = 0
    depth: int = 0
    whole: int = 0
    longest: int = 0
    next_to: defaultdict[str, set[Fingerprint]] = field(
        default_factory=partial(defaultdict[str, set[Fingerprint]], set)
    )

    def __str__(self) -> str:
        longer = f", and some up to {self.longest}" if self.longest > self.depth else ""
        whole = f"all {self.whole} states within {self.depth} events{longer}"
        return f"{self.states} states, {self.transitions} transitions: {whole}"


class Node(NamedTuple):
    """A state that was reached, and how.

    Attributes:
        bring_back: Makes it the state of the world.
        fingerprint: Tells it from others.
        path: The last event on the way to it, and the path before that.
        interventions: How many lie on the way to it.
    """

    bring_back: Callable[[], None]
    fingerprint: Fingerprint
    path: tuple[Any, ...] = ()
    interventions: int = 0


def way(path: tuple[Any, ...]) -> str:
    """The events on the way to a state."""
    labels: list[str] = []
    while path:
        path, label = path
        labels.append(str(label))
    return "; ".join(reversed(labels))


class Walk:
    """A walk through everything that can happen to one machine.

    Args:
        world: Where it begins.
        depth: Up to how many events no order is left out.
        longest: How many events there may be on the way to a state at all.
        width: From how many states to go on beyond the depth, for each further event and each number of interventions.
    """

    def __init__(self, world: World, *, depth: int, longest: int = 0, width: int = 0) -> None:
        self.world, self.depth, self.longest, self.width = world, depth, longest if width else depth, width
        self.covered = Covered(depth=depth)
        self._reached: set[Fingerprint] = set()
        self._ends_well: dict[bool, set[Fingerprint]] = {True: set(), False: set()}

    def nodes(self) -> Iterator[Node]:
        """Go on to a state that was not reached before, and check it; all of those with fewer events first."""
        begin = Node(self.world.save(), self.world.fingerprint())
        self._reached.add(begin.fingerprint)
        level = [begin]
        for events in range(self.longest + 1):
            if events > self.depth:
                level = self._some(level)
            for node in level:
                self._examine(node)
                self._count(events)
                yield node
            if events == self.depth:
                level = self._some(level)
            if events < self.longest:
                level = [then for node in level for then in self._after(node, left=self.depth - events)]

    def all(self) -> Covered:
        """Walk to the end."""
        for _ in self.nodes():
            pass
        return self.covered

    def _some(self, level: list[Node]) -> list[Node]:
        """Some states of each number of interventions, from all over the level, since neighbours are much alike."""
        chosen: list[Node] = []
        for interventions in range(FEW + 1):
            layer = [node for node in level if node.interventions == interventions]
            chosen += layer[:: max(1, -(-len(layer) // max(1, self.width)))]
        return chosen

    def _after(self, node: Node, *, left: int) -> Iterator[Node]:
        """The states one event further that were not reached before; so many events are left to the depth."""
        for event in self._events(node, within=left > 0):
            node.bring_back()
            marks = self._take(node, event)
            fingerprint = self.world.fingerprint()
            if left > MORE:
                for mark in marks:
                    self.covered.next_to[mark].add(fingerprint)
            if fingerprint not in self._reached:
                self._reached.add(fingerprint)
                path = (node.path, str(event))
                yield Node(self.world.save(), fingerprint, path, node.interventions + event.intervenes)

    def _events(self, node: Node, *, within: bool) -> list[Event]:
        """What can happen there, once for all consumers who stand alike."""
        node.bring_back()
        twins = self.world.twins()
        crowded = not within and len(self.world.machine.generations) >= CROWD
        return [
            event
            for event in self.world.events()
            if not (event.who is not None and event.who.token in twins) and not (crowded and event.kind in ARRIVALS)
        ]

    def _take(self, node: Node, event: Event) -> list[str]:
        """Let it happen; return its marks."""
        with explained((node.path, event)):
            step = Step(self.world, event)
            step.take()
        self.covered.transitions += 1
        return step.marks()

    def _count(self, events: int) -> None:
        covered = self.covered
        covered.states += 1
        covered.whole += events <= self.depth
        covered.longest = events

    def _examine(self, node: Node) -> None:
        node.bring_back()
        with explained(node.path):
            checks = Checks(self.world)
            checks.check()
            checks.probe(node.fingerprint, node.bring_back)
            for patient in (True, False):
                self.drain(patient=patient)
                node.bring_back()

    def drain(self, *, patient: bool) -> None:
        """Let everybody leave and every hook end; all must come to rest. The patient get what they came for first."""
        world, known = self.world, self._ends_well[patient]
        passed: list[Fingerprint] = []
        for _ in range(100):
            here = world.fingerprint()
            if here in known:
                break
            passed.append(here)
            if here not in self._reached:  # else it has its turn in the walk
                Checks(world).check()
            event = next(self._homeward(patient=patient), None)
            if event is None:
                machine = world.machine
                hold_to("nobody waits for ever", all(c.out for c in world.consumers), world.consumers)
                hold_to("all comes to rest", machine.idle and machine.quiet and not machine.usecount, machine.state)
                break
            Step(world, event).take()
        else:
            raise Broken("all comes to rest", "it goes on and on")
        known.update(passed)

    def _homeward(self, *, patient: bool) -> Iterator[Event]:
        wishes = ("has stopped", "has started", "finds it good", "enters by the counter") if patient else ("withdraws",)
        events = [*self.world.events(interventions=False)]
        trying = {c.token for c in self.world.consumers if c.trying}
        for kind in (*wishes, "has stopped", "leaves", "enters by the counter", "timer fires", "a tick passes"):
            yield from (event for event in events if event.kind == kind)
        yield from (e for e in events if e.kind == "withdraws" and e.who is not None and e.who.token in trying)


class explained:  # reads like a function
    """Add the way to a broken rule to it."""

    def __init__(self, path: tuple[Any, ...]) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"after: {way(self.path)}")
