"""What a consumer pays, beside what people write by hand; each with its peer, in one run, in turns.

Run it with the library installed::

    python benchmarks/ratios.py                  # all rows
    python benchmarks/ratios.py --row join --row linger --rounds 300

Absolute times say more about the machine than about the library: what counts is the ratio to the peer.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple, TypeVar

from measuring import Loop, Table, compare, parser, show, verdict
from peers import (
    Counter,
    Empty,
    HandWrittenManager,
    ListAndDict,
    Worker,
    hand_written,
    unlocked_counter,
)

from refcount import InstanceManager, Refcounter, SharedResource, demand, refcounted_method, refcounted_resource

K = TypeVar("K")


class Row(NamedTuple):
    """One comparison, and what it may come to at most."""

    name: str
    title: str
    ours: Loop
    peer: Loop
    limit: float


@refcounted_resource
def camera(index: int) -> Generator[int]:
    """Start and stop nothing."""
    yield index


class Station:
    """An object one of whose methods is shared."""

    @refcounted_method
    def feed(self, topic: str) -> Generator[str]:
        """Start and stop nothing."""
        yield topic


class Manager(InstanceManager[Worker]):
    """A manager with one demand."""

    needed = demand("needs_it")


def is_fine(value: object) -> bool:
    """Check nothing."""
    return True


def ignore(usecount: int) -> None:
    """Observe nothing."""


def with_lock(n: int) -> None:
    """Take a lock and give it back."""
    lock = threading.Lock()
    for _ in range(n):
        with lock:
            pass


def entering(resource: Callable[[], AbstractContextManager[object]]) -> Loop:
    """Enter and leave what is called without arguments."""

    def loop(n: int) -> None:
        for _ in range(n):
            with resource():
                pass

    return loop


def entering_key(function: Callable[[K], AbstractContextManager[object]], key: K) -> Loop:
    """Enter and leave what is called with one argument."""

    def loop(n: int) -> None:
        for _ in range(n):
            with function(key):
                pass

    return loop


def entering_feed(station: Station) -> Loop:
    """Enter and leave a method's resource, looked up each time."""

    def loop(n: int) -> None:
        for _ in range(n):
            with station.feed("x"):
                pass

    return loop


def counting(counter: Counter) -> Loop:
    """Count up and down."""

    def loop(n: int) -> None:
        for _ in range(n):
            counter.inc()
            counter.dec()

    return loop


def managing(add: Callable[[Worker], None], remove: Callable[[Worker], None]) -> Loop:
    """Add an instance that demands, and remove it."""
    worker = Worker()

    def loop(n: int) -> None:
        for _ in range(n):
            add(worker)
            remove(worker)

    return loop


def making(made: Callable[[], object]) -> Loop:
    """Make one and drop it."""

    def loop(n: int) -> None:
        for _ in range(n):
            made()

    return loop


def held_resources(held: ExitStack) -> tuple[SharedResource[Empty], SharedResource[Empty], SharedResource[Empty]]:
    """Return three resources that run: a plain one, one with a check, and one that is observed."""
    plain, observed = SharedResource(Empty), SharedResource(Empty)
    checked = SharedResource(Empty, check=is_fine)
    for resource in (plain, checked, observed):
        held.enter_context(resource())
    held.callback(observed.observe(ignore))
    return plain, checked, observed


def rows(held: ExitStack) -> list[Row]:
    """Return all rows; what is to be held meanwhile is in `held`."""
    plain, checked, observed = held_resources(held)
    station, manager, by_hand = Station(), Manager(), HandWrittenManager()
    held.enter_context(camera(0))
    held.enter_context(station.feed("x"))
    held.enter_context(hand_written(0))
    lingering = SharedResource(Empty, linger=10.0)
    held.callback(lingering.flush)
    join, alone = entering_key(hand_written, 0), entering_key(hand_written, 1)
    unlocked_name, unlocked = unlocked_counter()
    add_and_remove = managing(manager.add_instance, manager.remove_instance)
    return [
        Row("join", "join what runs / with threading.Lock()", entering(plain), with_lock, 6.5),
        Row("function", "join camera(0) / hand-written join", entering_key(camera, 0), join, 0.9),
        Row("method", 'join station.feed("x") / hand-written join', entering_feed(station), join, 1.2),
        Row("linger", "come back within a linger / hand-written start and stop", entering(lingering), alone, 0.8),
        Row("checked", "join a checked resource / hand-written join", entering(checked), join, 2.0),
        Row("observed", "join an observed resource / hand-written join", entering(observed), join, 3.0),
        Row("alone", "first and last / hand-written start and stop", entering(SharedResource(Empty)), alone, 3.0),
        Row("manager", "add and remove / hand-written", add_and_remove, managing(by_hand.add, by_hand.remove), 4.0),
        Row("new", "InstanceManager() / a list and a dict", making(Manager), making(ListAndDict), 6.0),
        Row("counter", f"inc(); dec() / {unlocked_name}", counting(Refcounter()), counting(unlocked()), 2.3),
    ]


def measure(chosen: list[Row], rounds: int) -> Table:
    """Measure these rows in turns."""
    results = compare([(row.ours, row.peer) for row in chosen], rounds)
    return Table(
        "ratio to the peer",
        ("row", "what / its peer", "ns", "peer ns", "ratio", "spread", "at most", "verdict"),
        [
            (row.name, row.title, *result, row.limit, verdict(result.ratio, row.limit))
            for row, result in zip(chosen, results, strict=True)
        ],
    )


def main() -> None:
    """Measure and print."""
    with ExitStack() as held:
        known = rows(held)
        options = parser("What a consumer pays, beside what people write by hand.")
        options.add_argument("--rounds", type=int, default=100, help="measurements of each row (default: %(default)s)")
        names = [row.name for row in known]
        options.add_argument("--row", action="append", choices=names, help="measure only this row; may be repeated")
        given = options.parse_args()
        if given.rounds < 2:
            options.error(f"--rounds must be 2 or more, not {given.rounds}")
        chosen = [row for row in known if given.row is None or row.name in given.row]
        show([measure(chosen, given.rounds)], given.form)


if __name__ == "__main__":
    main()
