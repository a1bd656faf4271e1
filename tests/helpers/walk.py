"""Every order of events of a machine: a walk through the states that a few consumers can bring it into.

The machine is pure, so its states can be saved, brought back, compared and counted. `Walk.all` goes breadth first
through everything that can happen next (see `world`), and tells states apart by a fingerprint in which consumers and
generations have no names: two states that differ only in who is who are one, and so are the moves of two consumers who
stand alike. After every step the machine's invariants and the model are looked at; from every state the walk goes home:
everybody leaves, every hook ends, time passes, and all must come to rest.

Up to a stated number of events no order is left out. Longer ones are made up: `Walk.wander` follows one at random.

A rule that does not hold raises `Broken`, which names the rule and the order of events that leads there, the shortest
one where the walk has found it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from tests.helpers.acting import Event
from tests.helpers.model import Broken
from tests.helpers.scene import Actor, Saved
from tests.helpers.world import COMING, INTERVENTIONS, World

PATIENT = ("has started", "gets a place", "finds it good", "enters by the count", "acts", "asks", "has stopped")
"""What the patient do first, who get what they came for."""

HASTY = ("is interrupted", "is cancelled", "enters by the count", "acts")
"""What the hasty do first, who are interrupted or cancelled wherever they wait."""

HOME = (
    *(
        "resumes",
        "gives back",
        "has stopped",
        "finds it good",
        "has started",
        "expels",
        "forgets",
        "condemns",
        "claims",
        "gets a place",
        "is refused a place",
    ),
    *("touches", "looks whether it has stopped", "leaves", "asks", "tries", "looks at the linger"),
    *("sets the alarm again", "recovers", "goes off", "passes"),
)
"""What everybody does after that."""

RARE: dict[str, float] = {
    **dict.fromkeys(("fails to start", "finds it bad", "times out", "is interrupted", "is interrupted in a stop"), 0.1),
    **dict.fromkeys(("is cancelled", "begins in vain", "breaks", "is expelled"), 0.1),
    **dict.fromkeys(
        (
            "has started and is interrupted",
            "is interrupted twice in a stop",
            "is interrupted before it stops",
            *INTERVENTIONS,
        ),
        0.05,
    ),
    **dict.fromkeys(("abandon", "expel", "close", "close by force"), 0.01),
    **dict.fromkeys(("tries", "looks whether it runs", "looks"), 0.5),
}
"""How much rarer than others these are in orders that are made up, so that something else can happen meanwhile."""


@dataclass
class Covered:
    """What a walk has seen.

    Attributes:
        depth: Up to how many events no order is left out.
        states: How many states there are within one event less.
        transitions: How many events have happened there.
    """

    depth: int
    states: int = 0
    transitions: int = 0

    def __str__(self) -> str:
        return f"every order of {self.depth} events: {self.states} states, {self.transitions} transitions"


class Node(NamedTuple):
    """A state that was reached, and how.

    Attributes:
        saved: Makes it the state of the world.
        twins: Whose moves need not be looked at, since somebody else stands alike.
        path: The last event on the way to it, and the path before that.
    """

    saved: Saved
    twins: set[Actor]
    path: tuple[Any, ...] = ()


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

    Attributes:
        kinds: What has happened on the way, not counting the ways home.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.begin = Node(world.save(), set())
        self.kinds: set[str] = set()
        self._ends_well: dict[bool, set[int]] = {True: set(), False: set()}

    def all(self, depth: int) -> Covered:
        """Follow every order of so many events."""
        covered, reached = Covered(depth), {hash(self.world.fingerprint())}
        level = [Node(self.world.save(), self.world.twins)]
        for events in range(depth):
            covered.states += len(level)
            last = events == depth - 1
            level = [then for node in level for then in self._after(node, covered, reached, last=last)]
        return covered

    def wander(self, random: Random, events: int) -> None:
        """Follow one order of so many events, made up at random, and then go home."""
        world, path = self.world, self.begin.path
        world.bring_back(self.begin.saved)
        for _ in range(events):
            possible = [*world.events()]
            event = random.choices(possible, [RARE.get(event.name, 1.0) for event in possible])[0]
            self.take(path, event)
            self.kinds.add(event.name)
            path = (path, event)
        fingerprint = hash(world.fingerprint())
        self._go_home(Node(world.save(), set(), path), fingerprint)

    def _after(self, node: Node, covered: Covered, reached: set[int], *, last: bool) -> Iterator[Node]:
        """The states one event further that were not reached before; none if that is the last one."""
        world = self.world
        world.bring_back(node.saved)
        for event in [*world.events()]:
            if event.actor in node.twins:
                continue
            world.bring_back(node.saved)
            self.take(node.path, event)
            covered.transitions += 1
            self.kinds.add(event.name)
            if last:
                continue
            fingerprint = hash(world.fingerprint())
            if fingerprint not in reached:
                reached.add(fingerprint)
                then = Node(world.save(), world.twins, (node.path, event))
                self._go_home(then, fingerprint)
                yield then

    def take(self, path: tuple[Any, ...], event: Event) -> None:
        """Let it happen."""
        try:
            self.world.happen(event)
        except Exception as error:
            error.add_note(f"after: {way((path, event))}")
            raise

    def play(self, script: str) -> None:
        """Let happen what `script` says, as `Broken` tells it: "A asks; A has started; somebody flush"; and go home."""
        path = self.begin.path
        for label in script.split("; "):
            event = next((event for event in self.world.events() if str(event) == label), None)
            if event is None:
                raise ValueError(f"{label!r} cannot happen after: {way(path)}")
            self.take(path, event)
            path = (path, event)
        fingerprint = hash(self.world.fingerprint())
        self._go_home(Node(self.world.save(), set(), path), fingerprint)

    def _go_home(self, node: Node, fingerprint: int) -> None:
        """Let everybody leave and every hook end: all must come to rest, and nobody sleep for ever."""
        for patient in (True, False):
            self.world.bring_back(node.saved)
            self._go_home_as(node, fingerprint, patient=patient)

    def _go_home_as(self, node: Node, here: int, *, patient: bool) -> None:
        world, known = self.world, self._ends_well[patient]
        passed: list[int] = []
        path: tuple[Any, ...] = (node.path, "and home")
        for _ in range(200):
            if here in known:
                break
            passed.append(here)
            event = self._homeward(patient=patient)
            if event is None:
                self._check_rest(path)
                break
            self.take(path, event)
            path = (path, event)
            here = hash(world.fingerprint())
        else:
            self._fail("all comes to rest", path)
        known.update(passed)

    def _homeward(self, *, patient: bool) -> Event | None:
        events: dict[str, Event] = {}
        for event in self.world.events(interventions=False):
            if event.actor.frames or event.name not in COMING:
                events.setdefault(event.name, event)
        for name in (*(PATIENT if patient else HASTY), *HOME):
            if name in events:
                return events[name]
        return None

    def _check_rest(self, path: tuple[Any, ...]) -> None:
        world, machine = self.world, self.world.machine
        if any(actor.frames for actor in world.everybody):
            self._fail("nobody sleeps for ever", path)
        if world.lost or machine.running or not machine.idle or machine.sleepers or machine.working:
            self._fail("all comes to rest", path)
        if any(life.phase != "gone" for life in world.model.lives.values()):
            self._fail("what was started is stopped", path)

    def _fail(self, rule: str, path: tuple[Any, ...]) -> None:
        broken = Broken(rule)
        broken.add_note(f"after: {way(path)}")
        raise broken
