"""What a step costs as there are more keys, waiters, threads or old generations.

Run it with the library installed::

    python benchmarks/growth.py                      # some two minutes
    python benchmarks/growth.py --table held --seconds 600

Sizes that would take longer than there is time, or more memory than is free, are left out, and the table says so.
"""

import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from measuring import Cell, Loop, Table, nanoseconds, parser, show
from peers import Empty, hand_written

from refcount import Lease, ResourceFunction, SharedResource, refcounted_resource

KEYS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
WAITERS = (1, 10, 100, 1_000, 5_000)
THREADS = (1, 2, 4, 8, 16, 32)
DETACHED = (0, 10, 100, 1_000, 2_000)
STACK_SIZE = 256 * 1024  # 5,000 threads with the usual 8 MiB are more than some machines allow
WITH_STATEMENTS = 20_000
"""How many all threads together make in one measurement."""


class StartFailedError(Exception):
    """What the start of `starts` raises."""


def one(index: int) -> Generator[int]:
    """Start and stop nothing."""
    yield index


def entering_key(family: ResourceFunction[[int], int], key: int) -> Loop:
    """Return a loop that enters and leaves one key."""

    def loop(n: int) -> None:
        for _ in range(n):
            with family(key):
                pass

    return loop


def entering(resource: SharedResource[Empty]) -> Loop:
    """Return a loop that enters and leaves a resource."""

    def loop(n: int) -> None:
        for _ in range(n):
            with resource():
                pass

    return loop


def _no_time(takes: float, ends: float) -> str:
    """Say why so many seconds cannot be had."""
    left = max(0.0, ends - time.monotonic())
    return f"they would take {takes:.0f} s, there are {left:.0f} s (see --seconds)" if takes > left else ""


# --- keys ---


def megabytes() -> float:
    """Return how much memory the process takes; 0 where the system does not say."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if pages.exists() else 0.0


def free_megabytes() -> float:
    """Return how much memory is free; no limit where the system does not say."""
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return float("inf")
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6


class Keys:
    """A family of which more and more keys are held, or linger."""

    def __init__(self, linger: float) -> None:
        self.family = refcounted_resource(linger=linger)(one)
        self.linger = linger
        self.leases: list[Lease[int]] = []
        self.number = 0

    def grow(self, number: int) -> float:
        """Let there be so many, and return how many microseconds each new one took."""
        new, begin = number - self.number, time.perf_counter()
        for key in range(self.number, number):
            lease = self.family.resource(key).acquire()
            if self.linger:
                lease.release()
            else:
                self.leases.append(lease)
        self.number = number
        return (time.perf_counter() - begin) / new * 1e6

    def start_and_stop(self, n: int) -> None:
        """Start one more key, and stop it."""
        for _ in range(n):
            with self.family(-1):
                pass
            if self.linger:
                self.family.resource(-1).flush()

    def drop(self) -> float:
        """Stop all, and return how many microseconds each took."""
        begin = time.perf_counter()
        for lease in self.leases:
            lease.release()
        if self.linger:
            self.family.close()
        return (time.perf_counter() - begin) / self.number * 1e6


def keys(title: str, linger: float, budget: float) -> Table:
    """Measure a warm join and a cold start beside more and more keys."""
    grown, ends, at_first = Keys(linger), time.monotonic() + budget, megabytes()
    rows: list[tuple[Cell, ...]] = []
    note, per_key = "", 0.0
    for number in KEYS:
        new = number - grown.number
        each = (megabytes() - at_first) / grown.number if grown.number >= 1_000 else 0.0
        if why := _no_time(2.5e-6 * per_key * new, ends) or _no_room(each * new):
            note = f"{number:,} keys and more are left out: {why}. "
            break
        per_key = grown.grow(number)
        join, start = nanoseconds(entering_key(grown.family, 0)), nanoseconds(grown.start_and_stop)
        rows.append((number, per_key, join / 1e3, start / 1e3, megabytes() - at_first))
    note += f"To stop them took {grown.drop():.1f} µs each."
    return Table(title, ("keys", "µs to make each", "µs to come back", "µs to start and stop", "MB"), rows, note)


def _no_room(takes: float) -> str:
    """Say why so many megabytes cannot be had."""
    free = free_megabytes() * 0.8
    return f"they would take {takes:,.0f} MB of {free:,.0f} MB" if takes > free else ""


# --- waiters ---


class Start:
    """A start that waits until it is let go, and then succeeds or fails."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.let_go = threading.Event()
        self.resource = SharedResource(self.open)
        self.leases: list[Lease[None]] = []

    @contextmanager
    def open(self) -> Generator[None]:
        """Start."""
        self.let_go.wait()
        if self.fails:
            raise StartFailedError
        yield

    def wait(self) -> None:
        """Wait for the start, and keep the lease."""
        with suppress(StartFailedError):
            self.leases.append(self.resource.acquire())

    def measure(self, number: int) -> float:
        """Let so many threads wait on one start, and return what `waking` does."""
        took = waking(number + 1, self.wait, self.let_go)  # one of them starts
        for lease in self.leases:
            lease.release()
        return took


def waking(number: int, wait: Callable[[], object], let_go: threading.Event) -> float:
    """Let so many threads wait; return how many microseconds it took for each, from the event until all had gone on."""
    arrived: list[None] = []
    gone_on: list[float] = []

    def body() -> None:
        arrived.append(None)
        wait()
        gone_on.append(time.perf_counter())

    threads: list[threading.Thread] = []
    try:
        for _ in range(number):
            thread = threading.Thread(target=body)
            thread.start()
            threads.append(thread)
        while len(arrived) < number:
            time.sleep(0.001)
        time.sleep(0.02 + number * 2e-5)  # nothing tells that they sleep by now: those that do not, are not measured
    finally:
        begin = time.perf_counter()
        let_go.set()
        for thread in threads:
            thread.join()
    return (max(gone_on) - begin) / number * 1e6


def waiters(budget: float) -> Table:
    """Measure how long it takes to let in those who wait on one start."""
    ends, rows, note = time.monotonic() + budget, list[tuple[Cell, ...]](), ""
    usual, took, before = threading.stack_size(STACK_SIZE), 0.0, 1
    try:
        for number in WAITERS:
            if why := _no_time(took * number / before, ends):
                note = f"{number:,} waiters and more are left out: {why}."
                break
            begin, event = time.monotonic(), threading.Event()
            peer = waking(number, event.wait, event)
            succeeds, fails = Start(fails=False).measure(number), Start(fails=True).measure(number)
            rows.append((number, succeeds, fails, peer))
            took, before = time.monotonic() - begin, number
    except RuntimeError as error:
        note = f"More are left out: {error}."
    finally:
        threading.stack_size(usual)
    columns = ("waiters", "µs for each to be let in", "µs for each to fail", "µs for each with Event.wait")
    return Table("waiters on one start", columns, rows, note)


# --- threads ---


def together(number: int, loop: Loop) -> float:
    """Let so many threads share the with-statements, and return how many nanoseconds each takes, all in all."""
    ready = threading.Barrier(number + 1)

    def body() -> None:
        ready.wait()
        loop(WITH_STATEMENTS // number)

    threads = [threading.Thread(target=body) for _ in range(number)]
    for thread in threads:
        thread.start()
    ready.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - begin) / WITH_STATEMENTS * 1e9


def threads(budget: float) -> Table:
    """Measure how threads get on that all join one resource that is held."""
    resource, lock = SharedResource(Empty), threading.Lock()

    def by_hand(n: int) -> None:
        for _ in range(n):
            with hand_written(0):
                pass

    def with_lock(n: int) -> None:
        for _ in range(n):
            with lock:
                pass

    loops = (entering(resource), by_hand, with_lock)
    rows: list[tuple[Cell, ...]] = []
    with resource(), hand_written(0):
        for number in THREADS:
            times = _in_turns(number, loops, time.monotonic() + budget / len(THREADS))
            ours, *peers = (statistics.median(each) for each in times)
            rows.append((number, ours, *peers, ours / peers[0]))
    columns = ("threads", "ns to join", "ns by hand", "ns with a lock", "ratio to by hand")
    return Table("threads on one held resource", columns, rows, "The time of all, by the number of with-statements.")


def _in_turns(number: int, loops: tuple[Loop, ...], ends: float) -> list[list[float]]:
    """Measure each loop three times, or more until it ends, in a random order."""
    times: list[list[float]] = [[] for _ in loops]
    while len(times[0]) < 3 or (time.monotonic() < ends and len(times[0]) < 15):
        for index in random.sample(range(len(loops)), len(loops)):
            times[index].append(together(number, loops[index]))
    return times


# --- detached generations ---


def detached(budget: float) -> Table:
    """Measure steps of a resource of which more and more old generations are still held."""
    resource, leases = SharedResource(Empty), list[Lease[Empty]]()
    ends, rows, note = time.monotonic() + budget, list[tuple[Cell, ...]](), ""

    def detach_and_leave(n: int) -> None:
        for _ in range(n):
            lease = resource.acquire()
            resource.invalidate()
            lease.release()

    took, before = 0.0, 1
    for number in DETACHED:
        if why := _no_time(took * number / before, ends):
            note = f"{number:,} and more are left out: {why}."
            break
        begin = time.monotonic()
        while len(leases) < number:
            leases.append(resource.acquire())
            resource.invalidate()
        start, detach = nanoseconds(entering(resource)), nanoseconds(detach_and_leave)
        with resource():
            join = nanoseconds(entering(resource))
        rows.append((number, join / 1e3, start / 1e3, detach / 1e3))
        took, before = time.monotonic() - begin, max(number, 1)
    for lease in leases:
        lease.release()
    columns = ("still held", "µs to join", "µs to start and stop", "µs to start, detach and leave")
    return Table("old generations of one resource", columns, rows, note)


# --- the program ---

# Each with its share of the time.
TABLES: dict[str, tuple[float, Callable[[float], Table]]] = {
    "held": (0.35, lambda budget: keys("keys that are held", 0.0, budget)),
    "lingering": (0.3, lambda budget: keys("keys that linger", 3600.0, budget)),
    "threads": (0.1, threads),
    "detached": (0.1, detached),
    "waiters": (0.15, waiters),
}


def measure(names: list[str], seconds: float) -> Iterator[Table]:
    """Measure these tables in about so many seconds."""
    whole = sum(TABLES[name][0] for name in names)
    for name in names:
        share, table = TABLES[name]
        yield table(seconds * share / whole)


def main() -> None:
    """Measure and print."""
    options = parser("What a step costs as there are more keys, waiters, threads or old generations.")
    options.add_argument("--seconds", type=float, default=120.0, help="about how long to take (default: %(default)s)")
    options.add_argument("--table", action="append", choices=TABLES, help="measure only this; may be repeated")
    given = options.parse_args()
    show(measure(given.table or list(TABLES), given.seconds), given.form)


if __name__ == "__main__":
    main()
