"""What a lease costs, beside what people write by hand; all measured in one run, in turns.

Run it with the library installed::

    python benchmarks/hot_paths.py            # a table
    python benchmarks/hot_paths.py --json     # the same for programs

Absolute times say more about the machine than about the library. So every round measures every case once, in an order
of its own, and what counts is each case's ratio to the first one of its group in the same round: its median, and how
far the middle half of the rounds lies apart.
"""

# ruff: noqa: D101, D102, D103  # what a function measures is the row that it is listed under

import argparse
import json
import os
import platform
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from refcount import Refcounter, SharedResource, StartStop, refcounted_resource, uses

SECONDS_PER_MEASUREMENT = 0.004

Loop = Callable[[int], None]
"""Does the measured thing so many times."""


class Case(NamedTuple):
    """One row of the table."""

    group: str
    name: str
    loop: Loop


class Result(NamedTuple):
    """What was measured of a case."""

    group: str
    name: str
    nanoseconds: float
    """The median over all rounds."""
    ratio: float
    """The median of its ratios to the first case of the group in the same round."""
    spread: float
    """The distance between the quartiles of these ratios."""


class ByHand:
    """What people write: a lock, an integer, and two ifs. It starts and stops under the lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0

    def __enter__(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.start()

    def __exit__(self, *exc: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.stop()

    def start(self) -> None: ...

    def stop(self) -> None: ...


@contextmanager
def opened() -> Generator[None]:
    yield


@refcounted_resource
def camera(index: int = 0) -> Generator[int]:
    yield index


@refcounted_resource
class Camera(StartStop):
    def start(self) -> None: ...

    def stop(self) -> None: ...


resource = SharedResource(opened)


@uses(resource)
def used(_value: None) -> None: ...


def with_lock(n: int) -> None:
    lock = threading.Lock()
    for _ in range(n):
        with lock:
            pass


def with_by_hand(by_hand: ByHand) -> Loop:
    def loop(n: int) -> None:
        for _ in range(n):
            with by_hand:
                pass

    return loop


def with_resource(resource: SharedResource[None]) -> Loop:
    def loop(n: int) -> None:
        for _ in range(n):
            with resource():
                pass

    return loop


def acquire_release(n: int) -> None:
    for _ in range(n):
        lease = resource.acquire()
        lease.release()


def inc_dec(n: int) -> None:
    counter = Refcounter()
    for _ in range(n):
        counter.inc()
        counter.dec()


def with_default(n: int) -> None:
    for _ in range(n):
        with camera():
            pass


def with_keyed(key: int) -> Loop:
    def loop(n: int) -> None:
        for _ in range(n):
            with camera(key):
                pass

    return loop


def with_instance(instance: Camera) -> Loop:
    def loop(n: int) -> None:
        for _ in range(n):
            with instance:
                pass

    return loop


def call_used(n: int) -> None:
    for _ in range(n):
        used()


def with_contextmanager(n: int) -> None:
    for _ in range(n):
        with opened():
            pass


def cases(held: ExitStack) -> list[Case]:
    """Return all cases; those that measure a second consumer have their first one in `held`."""
    by_hand, instance = ByHand(), Camera()
    for consumer in (by_hand, instance, resource(), camera(0)):
        held.enter_context(consumer)
    one_more = "one more consumer of what runs"
    alone = "the first consumer, who is the last: start and stop"
    return [
        Case(one_more, "with lock:", with_lock),
        Case(one_more, "counter.inc(); counter.dec()", inc_dec),
        Case(one_more, "with by_hand:", with_by_hand(by_hand)),
        Case(one_more, "with resource():", with_resource(resource)),
        Case(one_more, "lease = resource.acquire(); lease.release()", acquire_release),
        Case(one_more, "with camera():", with_default),
        Case(one_more, "with camera(0):", with_keyed(0)),
        Case(one_more, "with instance:", with_instance(instance)),
        Case(one_more, "used()", call_used),
        Case(alone, "with contextmanager_function():", with_contextmanager),
        Case(alone, "with by_hand:", with_by_hand(ByHand())),
        Case(alone, "with resource():", with_resource(SharedResource(opened))),
        Case(alone, "with camera(1):", with_keyed(1)),
        Case(alone, "with instance:", with_instance(Camera())),
    ]


def seconds(loop: Loop, n: int) -> float:
    begin = time.perf_counter()
    loop(n)
    return time.perf_counter() - begin


def repetitions(loop: Loop) -> int:
    """Return how often `loop` must go round to take about as long as a measurement should."""
    n = 100
    loop(n)  # warm up
    while (took := seconds(loop, n)) < SECONDS_PER_MEASUREMENT / 4:
        n *= 2
    return max(1, round(n * SECONDS_PER_MEASUREMENT / took))


def measure(rounds: int) -> list[Result]:
    with ExitStack() as held:
        table = cases(held)
        numbers = [repetitions(case.loop) for case in table]
        times: list[list[float]] = [[0.0] * rounds for _ in table]
        order = list(range(len(table)))
        for number in range(rounds):
            random.shuffle(order)
            for index in order:
                times[index][number] = seconds(table[index].loop, numbers[index]) / numbers[index] * 1e9
    return [result(case, times[index], times[first_of_group(table, case)]) for index, case in enumerate(table)]


def first_of_group(table: list[Case], case: Case) -> int:
    return next(index for index, other in enumerate(table) if other.group == case.group)


def result(case: Case, times: list[float], first: list[float]) -> Result:
    ratios = [time / base for time, base in zip(times, first, strict=True)]
    lower, middle, upper = statistics.quantiles(ratios, n=4)
    return Result(case.group, case.name, statistics.median(times), middle, upper - lower)


def show(results: list[Result]) -> None:
    group = ""
    for result in results:
        if result.group != group:
            group = result.group
            print(f"\n{group}\n{'':45}{'ns':>8}{'ratio':>8}{'spread':>8}")
        print(f"  {result.name:43}{result.nanoseconds:8.0f}{result.ratio:8.2f}{result.spread:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What a lease costs, beside what people write by hand.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=100, help="measurements of each case (default: %(default)s)")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds must be 2 or more, not {options.rounds}")
    begin = time.monotonic()
    results = measure(options.rounds)
    machine = {
        "python": sys.version.split()[0],
        "build": platform.python_build()[0],
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    if options.json:
        print(json.dumps({**machine, "results": [result._asdict() for result in results]}, indent=2))
    else:
        print("Python {python}, {machine}, {cpus} CPUs, load {load}".format(**machine), end="; ")
        print(f"{options.rounds} rounds in {time.monotonic() - begin:.1f} s")
        print("Medians, ratios to the first line of the group, and the distance between their quartiles")
        show(results)


if __name__ == "__main__":
    main()
