"""Everything at once, for as long as one likes: ``python -m tests.stress --seconds 600``.

Threads come and go on resources of every kind (plain, lingering, overlapping, checked, observed, of a bounded family),
acquire with and without timeouts, try, nest, lose leases, invalidate, flush, touch and close, while hooks and checks
fail at random. Then all of it is let go, and what must hold is checked:

- each start has its one stop, and nothing is alive;
- no two of one resource were alive at once where that is promised, and never more than its capacity of a family;
- a value was alive whenever somebody held it;
- an observer saw each change once, in order;
- nobody holds anything, no thread is left, and nothing raised what it must not raise.

The last line has the figures. The exit status is not 0 when something did not hold, or when nothing moved for a while;
then the stacks of all threads are printed.
"""

import argparse
import faulthandler
import gc
import itertools
import logging
import os
import random
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from refcount import CapacityError, ClosedError, Lease, SharedResource, State, refcounted_resource
from refcount._timers import THREAD_NAME

STUCK = 30.0
"""Seconds without a single turn of any thread after which the run counts as hung."""

FAIL = 0.02
"""How often a hook or a check fails."""

CAPACITY = 3
KEYS = 6


class HookError(Exception):
    """What failing hooks raise."""


class Figures:
    """What happened, summed over all threads, in the order of the last line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        names: tuple[str, ...] = ("holds", "starts", "stops", "failures", "invalidations", "lost", "errors")
        self._numbers: dict[str, int] = dict.fromkeys(names, 0)
        self.complaints: list[str] = []

    def count(self, what: str) -> None:
        """One more."""
        with self._lock:
            self._numbers[what] += 1

    def complain(self, text: str) -> None:
        """Something does not hold."""
        with self._lock:
            self._numbers["errors"] += 1
            self.complaints.append(text)

    def __getitem__(self, what: str) -> int:
        return self._numbers[what]

    def __str__(self) -> str:
        return ", ".join(f"{what} {number}" for what, number in self._numbers.items())


class Thing:
    """A value that knows whether it is alive."""

    def __init__(self) -> None:
        self.alive = True


class Site:
    """The hooks of one resource, which fail at random and count.

    Args:
        name: names it in complaints.
        figures: where it counts.
        seed: for its failures.
        most: how many of its things may be alive at once; None for any number.
    """

    def __init__(self, name: str, figures: Figures, seed: int, most: int | None = 1) -> None:
        self.name = name
        self.alive: set[Thing] = set()
        self._figures = figures
        self._dice = random.Random(f"{seed}/{name}")
        self._most = most
        self._lock = threading.Lock()

    @contextmanager
    def open(self) -> Generator[Thing]:
        """Start, yield, stop; both hooks take a moment now and then."""
        self._dawdle()
        if self._fails():
            self._figures.count("failures")
            raise HookError(f"the start of {self.name}")
        thing = Thing()
        with self._lock:
            self.alive.add(thing)
            alive = len(self.alive)
        self._figures.count("starts")
        if self._most is not None and alive > self._most:
            self._figures.complain(f"{alive} of {self.name} were alive at once")
        yield thing
        self._figures.count("stops")
        if not thing.alive:
            self._figures.complain(f"{self.name} was stopped twice")
        thing.alive = False
        self._dawdle()
        with self._lock:
            self.alive.discard(thing)
        if self._fails():
            self._figures.count("failures")
            raise HookError(f"the stop of {self.name}")

    def check(self, thing: Thing) -> bool:
        """Find it bad at random, or fail."""
        if self._fails():
            self._figures.count("failures")
            raise HookError(f"the check of {self.name}")
        return thing.alive and not self._fails()

    def _fails(self) -> bool:
        return self._dice.random() < FAIL

    def _dawdle(self) -> None:
        if self._dice.random() < 0.05:
            time.sleep(self._dice.random() * 0.002)


class Observed:
    """Looks at what an observer is told."""

    def __init__(self, name: str, figures: Figures) -> None:
        self._name = name
        self._figures = figures
        self.last = 0

    def __call__(self, usecount: int) -> None:
        if abs(usecount - self.last) != 1:
            self._figures.complain(f"an observer of {self._name} was told {usecount} after {self.last}")
        self.last = usecount


class Kind(NamedTuple):
    """Options of one resource of the run, and what threads do to it."""

    linger: float = 0.0
    overlap: bool = False
    checked: bool = False
    observed: bool = False
    invalidated: bool = False


KINDS = [
    Kind(),
    Kind(observed=True),
    Kind(linger=0.0005),
    Kind(linger=0.002, observed=True),
    Kind(linger=2.0, checked=True),
    Kind(invalidated=True),
    Kind(linger=0.001, invalidated=True),
    Kind(overlap=True, invalidated=True),
    Kind(linger=0.001, overlap=True, checked=True, invalidated=True, observed=True),
]
"""Where nothing is detached (no invalidation, no check, no overlap) no two may be alive at once.

The linger of 2 s is one that hardly ever ends; its last deadline keeps the timer thread that long.
"""


class Target:
    """One resource of a kind; when it has been closed, the next one of the same kind takes its place.

    Args:
        kind: its options.
        number: names it.
        figures: where it counts.
        seed: for its failures.
    """

    def __init__(self, kind: Kind, number: int, figures: Figures, seed: int) -> None:
        self.kind = kind
        name = f"resource {number}"
        alone = not (kind.invalidated or kind.checked or kind.overlap)
        self.site = Site(name, figures, seed, 1 if alone else None)
        self.resource = SharedResource(
            self.site.open,
            name=name,
            linger=kind.linger,
            overlap=kind.overlap,
            check=self.site.check if kind.checked else None,
        )
        self.observer = Observed(name, figures)
        if kind.observed:
            self.resource.observe(self.observer)


class Stress:
    """The resources and the threads.

    Args:
        seed: for everything random that is ours.
        threads: how many come and go.
    """

    def __init__(self, seed: int, threads: int) -> None:
        self.figures = Figures()
        self._seed = seed
        self._over = threading.Event()
        self._numbers = itertools.count(1)
        self._targets = [self._make(kind) for kind in KINDS]
        self._retired: list[Target] = []
        self._family_site = Site("family", self.figures, seed, CAPACITY)
        self._family = refcounted_resource(name="family", linger=0.0005, capacity=CAPACITY)(self._open_key)
        self._impatient_site = Site("impatient", self.figures, seed, CAPACITY)
        self._impatient = refcounted_resource(name="impatient", capacity=CAPACITY, when_full="raise")(self._open_other)
        self._turns = [0] * threads

    def _open_key(self, _key: int) -> Generator[Thing]:
        with self._family_site.open() as thing:
            yield thing

    def _open_other(self, _key: int) -> Generator[Thing]:
        with self._impatient_site.open() as thing:
            yield thing

    def _make(self, kind: Kind) -> Target:
        return Target(kind, next(self._numbers), self.figures, self._seed)

    def note_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Errors that have nobody to go to are those of the hooks, and no others."""
        if not isinstance(unraisable.exc_value, HookError):
            self.figures.complain(f"unraisable: {unraisable.exc_value!r} in {unraisable.object!r}")

    def run(self, seconds: float) -> None:
        """Let the threads loose for that long, then let everything go and look."""
        threads = [
            threading.Thread(target=self._come_and_go, args=(number,), name=f"stress-{number}", daemon=True)
            for number in range(len(self._turns))
        ]
        for thread in threads:
            thread.start()
        self._watch(time.monotonic() + seconds)
        self._over.set()
        deadline = time.monotonic() + STUCK
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                hang(f"{thread.name} does not end")
        self._examine()

    def _watch(self, end: float) -> None:
        """Return at `end`; see meanwhile that each thread gets on."""
        before, since = [-1] * len(self._turns), [time.monotonic()] * len(self._turns)
        while (now := time.monotonic()) < end:
            for number, turns in enumerate(self._turns):
                if turns != before[number]:
                    before[number], since[number] = turns, now
                elif now - since[number] > STUCK:
                    hang(f"stress-{number} has not moved for {STUCK} s")
            self._over.wait(min(0.5, max(0.0, end - now)))

    # What a thread does

    def _come_and_go(self, number: int) -> None:
        dice = random.Random(f"{self._seed}/{number}")
        acts: list[tuple[float, Callable[[random.Random], object]]] = [
            (30, self._enter),
            (15, self._acquire),
            (15, self._try),
            (8, self._nest),
            (10, self._enter_family),
            (6, self._acquire_family),
            (6, self._enter_impatient),
            (4, self._disturb),
            (1, self._lose),
            (0.2, self._close),
        ]
        weights = [weight for weight, _ in acts]
        while not self._over.is_set():
            ((_, act),) = dice.choices(acts, weights)
            try:
                act(dice)
            except (HookError, ClosedError, TimeoutError, CapacityError):
                pass
            except BaseException:
                self.figures.complain(traceback.format_exc())
            self._turns[number] += 1

    def _hold(self, thing: Thing, dice: random.Random) -> None:
        """Be inside a with-body for a moment."""
        self.figures.count("holds")
        if dice.random() < 0.02:
            time.sleep(dice.random() * 0.003)

    def _still(self, thing: Thing, target: Target | None = None) -> None:
        """What somebody holds is alive, unless it was closed by force."""
        if not thing.alive and (target is None or target.resource.state is not State.CLOSED):
            self.figures.complain("a holder's value was stopped")

    def _enter(self, dice: random.Random) -> None:
        target = dice.choice(self._targets)
        with target.resource() as thing:
            self._hold(thing, dice)
            self._still(thing, target)

    def _acquire(self, dice: random.Random) -> None:
        target = dice.choice(self._targets)
        lease = target.resource.acquire(timeout=dice.choice([0.0, 0.001, 5.0, None]))
        self._hold(lease.value, dice)
        self._still(lease.value, target)
        self._give_back(lease)

    def _try(self, dice: random.Random) -> None:
        target = dice.choice(self._targets)
        lease = target.resource.try_acquire()
        if lease is not None:
            with lease as thing:
                self._hold(thing, dice)
                self._still(thing, target)

    def _nest(self, dice: random.Random) -> None:
        first, second = dice.choice(self._targets), dice.choice(self._targets)
        with first.resource() as thing:
            with second.resource() as other:
                self._hold(other, dice)
                self._still(other, second)
            self._still(thing, first)

    def _enter_family(self, dice: random.Random) -> None:
        with self._family(dice.randrange(KEYS)) as thing:
            self._hold(thing, dice)
            self._still(thing)

    def _acquire_family(self, dice: random.Random) -> None:
        lease = self._family.resource(dice.randrange(KEYS)).acquire(timeout=dice.choice([0.0, 0.002, 5.0]))
        self._hold(lease.value, dice)
        self._still(lease.value)
        self._give_back(lease)

    def _enter_impatient(self, dice: random.Random) -> None:
        with self._impatient(dice.randrange(KEYS)) as thing:
            self._hold(thing, dice)
            self._still(thing)

    def _give_back(self, lease: Lease[Thing]) -> None:
        try:
            if not lease.release():
                self.figures.complain("a held lease was not released")
        finally:
            if lease.release() or lease.held:
                self.figures.complain("a lease was released twice")

    def _disturb(self, dice: random.Random) -> None:
        target = dice.choice(self._targets)
        acts = [target.resource.flush, target.resource.touch]
        if target.kind.invalidated:
            acts += [target.resource.invalidate] * 2
        act = dice.choice(acts)
        if act == target.resource.invalidate:
            self.figures.count("invalidations")
        act()

    def _lose(self, dice: random.Random) -> None:
        cycle: list[object] = [dice.choice(self._targets).resource.acquire(timeout=1.0)]
        cycle.append(cycle)
        self.figures.count("lost")

    def _close(self, dice: random.Random) -> None:
        place = dice.randrange(len(self._targets))
        target = self._targets[place]
        self._targets[place] = self._make(target.kind)
        self._retired.append(target)
        target.resource.close(dice.choice([0.0, 1.0]), force=dice.random() < 0.5)

    # What must hold in the end

    def _examine(self) -> None:
        gc.collect()
        for target in (*self._targets, *self._retired):
            self._examine_target(target)
        for family, site in ((self._family, self._family_site), (self._impatient, self._impatient_site)):
            patiently(f"{site.name} to be idle", partial(self._is_over, family.close))
            self._expect(not site.alive, f"{len(site.alive)} of {site.name} are alive")
            self._expect(not family.resources(), f"{site.name} remembers {family.resources()}")
        self._expect(self.figures["starts"] == self.figures["stops"], "starts and stops differ")
        self._expect(self.figures["holds"] > 0, "nobody held anything")
        patiently(
            "the timer thread to end", lambda: THREAD_NAME not in {thread.name for thread in threading.enumerate()}
        )

    def _examine_target(self, target: Target) -> None:
        resource = target.resource
        patiently(f"{resource} to be released", lambda: resource.usecount == 0)
        patiently(f"{resource} to stop", lambda: self._is_over(lambda: resource.close(0.0)))
        self._expect(not target.site.alive, f"{len(target.site.alive)} of {resource} are alive")
        patiently(f"the observer of {resource} to be told", lambda: target.observer.last == 0)

    def _is_over(self, close: Callable[[], object]) -> bool:
        try:
            close()
        except TimeoutError:
            return False
        except HookError:
            pass
        return True

    def _expect(self, holds: bool, complaint: str) -> None:
        if not holds:
            self.figures.complain(complaint)


def patiently(what: str, reached: Callable[[], bool]) -> None:
    """Wait for `reached()`, or end the process."""
    deadline = time.monotonic() + STUCK
    while not reached():
        if time.monotonic() > deadline:
            hang(f"waited in vain for {what}")
        time.sleep(0.001)


def hang(why: str) -> None:
    """Print why and where all threads stand, and end the process."""
    print(f"HANG: {why}", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(3)


def main() -> int:
    """Run, print the figures, and say whether all held."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description="all features mixed, for a while")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}, {options.threads} threads, Python {sys.version.split()[0]}", flush=True)
    logging.getLogger("refcount").setLevel(logging.CRITICAL)  # the hooks fail all the time
    warnings.simplefilter("ignore", ResourceWarning)
    stress = Stress(seed, options.threads)
    sys.unraisablehook = stress.note_unraisable
    began = time.monotonic()
    stress.run(options.seconds)
    for complaint in stress.figures.complaints[:20]:
        print(complaint, file=sys.stderr)
    print(f"{stress.figures}, in {time.monotonic() - began:.1f} s", flush=True)
    return 1 if stress.figures["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
