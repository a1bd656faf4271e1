"""`Scene`: a machine with everything around it, which can be saved, brought back, and told apart from others.

The invariants of the machine are looked at whenever somebody leaves its lock.
"""
# pyright: reportPrivateUsage=false
# What a hold claims and what a machine has counted is private to users; here it is what is tested.

from __future__ import annotations

from itertools import count
from typing import Any, NamedTuple

from refcount._core.generation import Generation, Hold
from refcount._core.machine import Machine
from tests.helpers import invariants
from tests.helpers.model import Broken, Config, Life, Model

Gen = Generation[int]
Fingerprint = tuple[object, ...]

OUT: Fingerprint = ((),)
Saved = tuple[Any, ...]

OUTSIDER, TIMER = 10, 11


class Door(Hold[int]):
    """A claim of one who may sleep; `woken` is None as long as there is nothing to sleep on."""

    __slots__ = ("woken",)

    def __init__(self) -> None:
        super().__init__()
        self.woken: bool | None = None

    def _wake(self) -> None:
        if self.woken is not None:
            self.woken = True


class Alarm:
    """A timer that looks at a linger when it is due."""

    def __init__(self, pending: list[Alarm], generation: Gen, due: int) -> None:
        self.fired = False
        self.generation, self.due = generation, due
        self._pending = pending
        pending.append(self)

    def cancel(self) -> None:
        """Do nothing when it is due."""
        if self in self._pending:
            self._pending.remove(self)


class Frame(NamedTuple):
    """Something that somebody is at.

    Attributes:
        kind: What; see `acting`.
        generation: Whose business it is.
        moment: What the clock said when it was looked at.
        alarm: The alarm that was set for it.
        step: The step of the machine that was chosen.
    """

    kind: str
    generation: Gen | None = None
    moment: int | None = None
    alarm: Alarm | None = None
    step: str = ""


class Actor:
    """A thread: a consumer with one lease at a time, one who intervenes, or the timer.

    Attributes:
        token: What the machine knows it by.
        door: Its claim.
        frames: What it is at, the innermost last; nothing else is done by it meanwhile.
        trying: Whether it would only join what runs.
    """

    __slots__ = ("door", "frames", "token", "trying")

    def __init__(self, token: int) -> None:
        self.token = token
        self.door = Door()
        self.frames: tuple[Frame, ...] = ()
        self.trying = False

    def __repr__(self) -> str:
        return {OUTSIDER: "somebody", TIMER: "the timer"}.get(self.token, "ABCDEF"[self.token % 6])


class Watched:
    """The machine's lock: looks at the invariants when it is left."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise Broken("no step inside another one")
        self._taken = True

    def __exit__(self, *error: object) -> None:
        self._taken = False
        self._scene.check_invariants()


class Scene:
    """A machine, its consumers, its timer, its clock and its model.

    Args:
        config: The machine's options.
        make: Makes the machine; a broken one, to test the test.
        consumers: How many there are.
        linger: In ticks of the clock. One will do: a touch can still come after the tick and before the timer.
        watched: Whether the machine's invariants are looked at, and not only what the model says.
    """

    def __init__(
        self,
        config: Config,
        make: type[Machine[int]] = Machine,
        *,
        consumers: int = 3,
        linger: int = 1,
        watched: bool = True,
    ) -> None:
        self.watched = watched
        self.consumers = [Actor(token) for token in range(consumers)]
        self.outsider, self.timer = Actor(OUTSIDER), Actor(TIMER)
        self.everybody: tuple[Actor, ...] = (*self.consumers, self.outsider, self.timer)
        self.alarms: list[Alarm] = []
        self.lost: tuple[Gen, ...] = ()
        self.now: int = linger  # so that what never was is as good as long ago
        self.twins: set[Actor] = set()
        self.model = Model(config, linger)
        self.machine: Machine[int] = make(
            Watched(self),
            linger=self.model.linger,
            checked=config.checked,
            overlap=config.overlap,
            exclusive=config.exclusive,
        )

    def known(self) -> list[Gen]:
        """All generations that anybody still knows, in order of their numbers."""
        found = dict.fromkeys(self.machine.generations)
        for actor in self.everybody:
            door = actor.door
            for g in (door._generation, door._promised):
                if g is not None:
                    found[g] = None
            for frame in actor.frames:
                if frame.generation is not None:
                    found[frame.generation] = None
        for alarm in self.alarms:
            found[alarm.generation] = None
        for g in self.lost:
            found[g] = None
        return sorted(found, key=_number) if len(found) > 1 else [*found]

    def check_invariants(self) -> None:
        """Look at the machine while nobody is inside its lock."""
        if self.watched:
            invariants.check(self.machine, self.known(), [actor.door for actor in self.everybody])

    # Saving

    def save(self) -> Saved:
        """Remember everything, for `bring_back`, any number of times."""
        m, model = self.machine, self.model
        return (
            (m.closed, m.forced, m.observed, m.number, m.noted, m.hot, m.current, m.running, m._elsewhere, m._seen),
            (m.detached.copy(), m.working.copy(), m.sleepers.copy()),
            [(g, g.__dict__.copy()) for g in self.known()],
            [(a, a.frames, a.trying, a.door._generation, a.door._promised, a.door.woken) for a in self.everybody],
            self.alarms.copy(),
            [(f.alarm, f.alarm.fired) for a in self.everybody for f in a.frames if f.alarm is not None],
            (self.lost, self.now),
            (model.lives.copy(), model.current, model.last, model.told, model.closed, model.forced, model.observed),
        )

    def bring_back(self, saved: Saved) -> None:
        """Make everything as it was."""
        m, model = self.machine, self.model
        flags, tables, generations, actors, alarms, fired, others, facts = saved
        self.lost, self.now = others[0], int(others[1])
        m.closed, m.forced, m.observed, m.number, m.noted, m.hot, m.current, m.running, m._elsewhere, m._seen = flags
        m.detached, m.working, m.sleepers = [table.copy() for table in tables]
        m.notes.clear()
        for g, state in generations:
            g.__dict__ = state.copy()
        for actor, frames, trying, held, promised, woken in actors:
            actor.frames, actor.trying, door = frames, trying, actor.door
            door._generation, door._promised, door.woken = held, promised, woken
        self.alarms[:] = alarms
        for alarm in alarms:
            alarm.fired = False
        for alarm, alarm_fired in fired:
            alarm.fired = alarm_fired
        lives, model.current, model.last, model.told, model.closed, model.forced, model.observed = facts
        model.lives = lives.copy()

    # Telling apart

    def fingerprint(self) -> Fingerprint:
        """What is left of the state when consumers and generations lose their names.

        `twins` are then those of whom nothing can be said that cannot be said of one before them.
        """
        machine, model, known = self.machine, self.model, self.known()
        places = dict(zip(sorted({g.number for g in known} | model.lives.keys()), count()))
        about = [self._about(actor, places) for actor in self.consumers]
        first: dict[object, Actor] = {}
        pairs = zip(self.consumers, about, strict=True)
        self.twins = {actor for actor, said in pairs if first.setdefault(said, actor) is not actor}
        about.sort()
        return (
            machine.closed + machine.forced,
            machine.observed,
            _place(machine.current, places),
            machine.hot is None,
            machine.running,
            *[self._generation(g, g in machine.detached) for g in known],
            *[self._life(life, places) for life in model.lives.values()],
            *about,
            self._about(self.outsider, places),
            self._about(self.timer, places),
            *[(places[a.generation.number], self._rest(a.due), a.generation.alarm is a) for a in self.alarms],
            tuple([places[g.number] for g in self.lost]),
        )

    def _rest(self, moment: int) -> int:
        """How far off a moment is; what is longer ago than a linger is all the same."""
        linger = self.model.linger
        return max(moment - self.now, -linger)

    def _generation(self, g: Gen, detached: bool) -> tuple[object, ...]:
        counts = g.count, g.waiters, g.checks, g.lingers
        pending = [alarm.due - self.now for alarm in self.alarms if alarm is g.alarm]
        flags = g.condemned, g.given_up, g.quick, detached, g.life is None
        return (g.phase._value_, counts, flags, self._rest(int(g.left)), *pending)

    def _life(self, life: Life, places: dict[int, int]) -> tuple[object, ...]:
        flags = life.at_work, life.replaced, life.aside, life.given_up, life.forced
        return (life.phase, flags, self._rest(life.left), self._rest(life.kept), places[life.number])

    def _about(self, actor: Actor, places: dict[int, int]) -> tuple[object, ...]:
        """Everything about one actor that can be said without its name."""
        machine, door, token = self.machine, actor.door, actor.token
        if not actor.frames and door._generation is None and door._promised is None and door not in machine.sleepers:
            return OUT
        frames = tuple(
            [
                (
                    f.kind,
                    _place(f.generation, places),
                    -9 if f.moment is None else self._rest(f.moment),
                    -9 if f.alarm is None else 9 if f.alarm.fired else f.alarm.due - self.now,
                    f.step,
                )
                for f in actor.frames
            ]
        )
        works = [places[g.number] for g, by in machine.working.items() if by == token and isinstance(g, Generation)]
        lives = self.model.lives.values()
        return (
            frames,
            actor.trying,
            -1 if door.woken is None else door.woken,
            _place(door._generation, places),
            _place(door._promised, places),
            door in machine.sleepers,
            door in machine.working,
            tuple(sorted(works)),
            tuple([(places[n.number], token in n.holders) for n in lives if token in n.holders or token in n.waiting]),
        )


def _number(g: Gen) -> int:
    return g.number


def _place(g: Gen | None, places: dict[int, int]) -> int:
    return -1 if g is None else places[g.number]
