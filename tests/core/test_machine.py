"""The machine: every order of events, many longer ones, and the orders that once broke it.

`pytest --slow tests/core/test_machine.py` leaves no order of 8 events out, and makes up many more longer ones. So it
does for each of the two drivers, the one for threads and the one for tasks.
"""

from __future__ import annotations

import threading
from itertools import product
from random import Random

import pytest

from refcount._core.generation import HELD, START, Hold, State
from refcount._core.machine import Machine
from tests.helpers.model import Config
from tests.helpers.orders import ONCE_BROKEN, ONCE_BROKEN_BY_TASKS
from tests.helpers.task_world import TaskWorld
from tests.helpers.walk import Walk
from tests.helpers.world import INTERVENTIONS, World

CONFIGS = [
    Config(lingers, checked, overlap, exclusive)
    for lingers, checked, (overlap, exclusive) in product(
        (False, True), (False, True), ((False, False), (True, False), (False, True))
    )
]

ALWAYS = {
    *("asks", "looks", "acts", "tries", "looks whether it runs", "has started", "has started and is interrupted"),
    *("fails to start", "is interrupted", "times out", "gives back", "leaves", "has stopped", "resumes", "recovers"),
    *("is interrupted in a stop", "is interrupted twice in a stop", "is interrupted before it stops", "condemns"),
    *("claims", "forgets", "expels"),
    *("waits no more", "looks whether it has stopped", *INTERVENTIONS),
}
LINGERING = {
    *("passes", "goes off", "looks at the linger", "sets the alarm again", "looks at the clock", "touches", "touch"),
    *("flush", "looks at the clock to touch", "is interrupted with an alarm"),
}


TASKS_ALWAYS = {
    *("asks", "tries", "is cancelled", "times out", "leaves", "releases", "has started", "fails to start"),
    *("begins in vain", "has stopped", "breaks", "is expelled", "invalidate", "disarm", "abandon", "close"),
    *("close by force", "observe", "observe no more", "waits until it has stopped", "waits no more"),
    "looks whether it has stopped",
}
TASKS_LINGERING = {"passes", "goes off", "looks at the linger", "touch", "flush"}


def expected(config: Config) -> set[str]:
    """What can happen in a configuration."""
    kinds = (ALWAYS | LINGERING) if config.lingers else ALWAYS - LINGERING
    return kinds | ({"finds it good", "finds it bad"} if config.checked else {"reads hot", "enters by the count"})


def expected_of_tasks(config: Config, *, bounded: bool) -> set[str]:
    """What can happen in a configuration that tasks drive."""
    kinds = (TASKS_ALWAYS | TASKS_LINGERING) if config.lingers else TASKS_ALWAYS
    kinds = kinds | ({"finds it good", "finds it bad"} if config.checked else {"enters"})
    return kinds | ({"gets a place", "is refused a place"} if bounded else set())


DEPTHS = pytest.mark.parametrize(
    ("depth", "orders"),
    [(5, 30), pytest.param(8, 2000, marks=[pytest.mark.slow, pytest.mark.timeout(0)])],
    ids=("quick", "slow"),
)


@DEPTHS
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_order_of_events_keeps_every_rule(config: Config, depth: int, orders: int) -> None:
    """No rule breaks, and all comes to rest, after any order of so many events of 3 consumers, an outsider and a timer.

    What a driver looks at in one moment and acts on in another is two of these. Nor after some orders of 60 events. So
    that this never becomes hollow, each kind of event must have happened.
    """
    walk = Walk(World(config))
    covered = walk.all(depth)
    print(f"{config}: {covered}")
    for seed in range(orders):
        walk.wander(Random(f"{config} {seed}"), 60)
    assert expected(config) - walk.kinds <= {"sets the alarm again"}  # which the next test sees
    assert covered.states > 700


@DEPTHS
@pytest.mark.parametrize("bounded", [False, True], ids=("", "bounded"))
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_order_of_events_among_tasks_keeps_every_rule(
    config: Config, bounded: bool, depth: int, orders: int
) -> None:
    """The same where tasks drive it: a keeper runs each start and stop, and an event goes from one await to the next.

    Where it is bounded, the start waits for a slot before there is a keeper.
    """
    walk = Walk(TaskWorld(config, bounded=bounded))
    covered = walk.all(depth)
    print(f"{config}{', bounded' * bounded}: {covered}")
    for seed in range(orders):
        walk.wander(Random(f"{config} {seed}"), 60)
    assert walk.kinds == expected_of_tasks(config, bounded=bounded)
    assert covered.states > 180


@pytest.mark.parametrize(
    ("config", "consumers", "linger"),
    [(Config(overlap=True), 4, 1), (Config(lingers=True), 3, 2), (Config(lingers=True, checked=True), 1, 3)],
    ids=str,
)
@pytest.mark.parametrize("make", [World, TaskWorld])
def test_more_consumers_and_longer_lingers(make: type[World], config: Config, consumers: int, linger: int) -> None:
    """Nor with four consumers, nor where more than one tick lies between the last one's leaving and the stop."""
    walk = Walk(make(config, consumers=consumers, linger=linger))
    walk.all(4)
    for seed in range(15):
        walk.wander(Random(f"{config} {consumers} {linger} {seed}"), 60)


@pytest.mark.parametrize("make", [World, TaskWorld])
@pytest.mark.parametrize("config", [Config(overlap=True), Config(lingers=True, checked=True)], ids=str)
def test_states_that_the_walk_takes_for_one_go_on_alike(config: Config, make: type[World]) -> None:
    """Whatever the way to a state, the same can happen there, and it leads to the same states."""
    world = make(config)
    walk = Walk(world)
    ways: dict[int, set[tuple[str, int]]] = {}
    for seed in range(60):
        world.bring_back(walk.begin.saved)
        random = Random(seed)
        for _ in range(10):
            world.happen(random.choice([*world.events()]))
            here, found = world.save(), set[tuple[str, int]]()
            name = hash(world.fingerprint())
            for event in [*world.events()]:
                world.bring_back(here)
                world.happen(event)
                found.add((event.name, hash(world.fingerprint())))
            assert ways.setdefault(name, found) == found
            world.bring_back(here)
    assert len(ways) > 120


@pytest.mark.parametrize("name", ONCE_BROKEN)
def test_orders_of_events_that_once_broke_a_rule(name: str) -> None:
    """What the walk has found."""
    config, script = ONCE_BROKEN[name]
    Walk(World(config)).play(script)


@pytest.mark.parametrize("name", ONCE_BROKEN_BY_TASKS)
def test_orders_of_events_among_tasks_that_once_broke_a_rule(name: str) -> None:
    """What the walk has found where tasks drive it."""
    config, script = ONCE_BROKEN_BY_TASKS[name]
    Walk(TaskWorld(config)).play(script)


def test_a_forked_child_begins_anew() -> None:
    """After a reset nothing runs, nobody waits, and numbers go on."""
    machine: Machine[int] = Machine(threading.Lock(), linger=1.0)
    first, second, later = Hold[int](), Hold[int](), Hold[int]()
    assert machine.ask(first, "A") is START
    machine.ask(second, "B")
    assert machine.started(first, "A") is HELD
    machine.observe(True)
    machine.reset(threading.Lock())
    assert (machine.state, machine.usecount, machine.idle) == (State.IDLE, 0, True)
    assert not any([machine.sleepers, machine.working, machine.notes, machine.running])
    assert machine.ask(later, "A") is START
    assert machine.current is not None
    assert machine.current.number == 2
