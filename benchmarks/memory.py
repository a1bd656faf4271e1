"""How many bytes a resource, a lease and a key take.

Run it with the library installed::

    python benchmarks/memory.py
    python benchmarks/memory.py --number 100000

So many of each kind are made, and `tracemalloc` tells what they take together. What existed before is not counted: the
keys, the objects whose attributes the resources are, and the list that all are kept in.
"""

import gc
import tracemalloc
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeVar

from measuring import Table, parser, show, verdict
from peers import Empty, hand_written

from refcount import Lease, SharedResource, refcounted_attribute, refcounted_resource

S = TypeVar("S")
T = TypeVar("T")


class Figure(NamedTuple):
    """What was measured of one kind."""

    title: str
    bytes: float
    limit: int | None = None


class Owner:
    """An object whose attribute is a resource."""

    attribute = refcounted_attribute(Empty)


@refcounted_resource
def camera(index: int) -> Generator[None]:
    """Start and stop nothing."""
    yield


@refcounted_resource(linger=1000.0)
def lingering_camera(index: int) -> Generator[None]:
    """Start and stop nothing, and linger."""
    yield


def bytes_each(origins: Sequence[S], make: Callable[[S], T], drop: Callable[[T], object] | None = None) -> float:
    """Make one thing of each origin, and return how many bytes it takes; `drop` ends it afterwards."""
    kept: list[T | None] = [None] * len(origins)

    def fill(number: int) -> None:
        for index in range(number):
            kept[index] = make(origins[index])
        gc.collect()

    def empty(number: int) -> None:
        for index in range(number):
            thing, kept[index] = kept[index], None
            if drop is not None and thing is not None:
                drop(thing)

    tracemalloc.start()
    try:
        fill(1)  # what only the first one needs
        empty(1)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        fill(len(origins))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    empty(len(origins))
    return (after - before) / len(origins)


def used_resource() -> SharedResource[Empty]:
    """Return a resource that was held once."""
    resource = SharedResource(Empty)
    with resource():
        pass
    return resource


def look(owner: Owner) -> None:
    """Look at the attribute, and keep nothing."""
    _ = owner.attribute


def use(key: int) -> None:
    """Let a key become idle again."""
    with camera(key):
        pass


def linger(key: int) -> int:
    """Let a key linger."""
    with lingering_camera(key):
        return key


def flush(key: int) -> None:
    """Stop a key that lingers."""
    lingering_camera.resource(key).flush()


def hold_by_hand(key: int) -> AbstractContextManager[Empty]:
    """Hold a key without the library."""
    manager = hand_written(key)
    manager.__enter__()
    return manager


def leave_by_hand(manager: AbstractContextManager[Empty]) -> None:
    """Undo that."""
    manager.__exit__(None, None, None)


def release(lease: Lease[object]) -> None:
    """Give a lease back."""
    lease.release()


def owners(number: int) -> list[Owner]:
    """Return new objects whose attribute nobody has looked at."""
    return [Owner() for _ in range(number)]


def figures(number: int) -> list[Figure]:
    """Measure all kinds, so many of each."""
    keys = list(range(1000, 1000 + number))
    shared = SharedResource(Empty)
    return [
        Figure("a resource that was never used", bytes_each(keys, lambda _: SharedResource(Empty)), 1000),
        Figure("a resource that is idle again", bytes_each(keys, lambda _: used_resource()), 1000),
        Figure("an attribute's resource, kept", bytes_each(owners(number), lambda owner: owner.attribute), 1000),
        Figure("an attribute's resource, looked at", bytes_each(owners(number), look), 1000),
        Figure("a lease that is not held", bytes_each(keys, lambda _: shared())),
        Figure("a lease that is held", bytes_each(keys, lambda _: shared.acquire(), release)),
        Figure("a key that is idle again", bytes_each(keys, use), 0),
        Figure("a key that is held", bytes_each(keys, lambda key: camera.resource(key).acquire(), release), 2000),
        Figure("a key that lingers", bytes_each(keys, linger, flush)),
        Figure("a key that is held by hand", bytes_each(keys, hold_by_hand, leave_by_hand)),
    ]


def measure(number: int) -> Table:
    """Measure, and hold the figures against their limits."""
    return Table(
        "bytes for each",
        ("what", "bytes", "at most", "verdict"),
        [(title, size, limit, verdict(size, limit, tolerance=1.0)) for title, size, limit in figures(number)],
        "A held key is a resource, its generation, a suspended generator and a lease; by hand, all but the first two.",
    )


def main() -> None:
    """Measure and print."""
    options = parser("How many bytes a resource, a lease and a key take.")
    options.add_argument("--number", type=int, default=10_000, help="how many of each kind (default: %(default)s)")
    given = options.parse_args()
    if given.number < 1:
        options.error(f"--number must be 1 or more, not {given.number}")
    show([measure(given.number)], given.form)


if __name__ == "__main__":
    main()
