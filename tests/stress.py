"""Everything at once, for as long as one likes: ``python -m tests.stress --seconds 600``.

Threads come and go on resources of every kind (plain, lingering, overlapping, exclusive, checked, observed, in threads
of their own) and on the keys of families with all of these options, with and without a capacity. They acquire with and
without timeouts, by leases and without, try, nest, lose leases, observe, invalidate, flush, touch and close, by force
too, while hooks and checks fail at random. Then all of it is let go, and what must hold is checked:

- each start has its one stop, and nothing is alive;
- no two of one resource were alive at once where that is promised, and never more than its capacity of a family (an
  `invalidate` is an intervention: during a start or a stop it gives that up, for it may hang, with its slot, and the
  next one starts beside it; so neither is looked at where threads invalidate);
- a value was alive whenever somebody held it, unless it was closed by force;
- an observer saw each change once, in order;
- nobody holds anything, no slot of a family is lost, no thread is left, and nothing raised what it must not raise.

The last line has the figures. The exit status is not 0 when something did not hold, when somebody waited in vain, or
when a thread did not move for a while; then the stacks of all threads are printed.
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
import weakref
from collections import Counter, deque
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Literal, NamedTuple, Protocol

from refcount import CapacityError, ClosedError, Lease, ResourceFunction, SharedResource, State, refcounted_resource
from refcount._core.clock import THREAD_NAME, clocks

STUCK = 30.0
"""Seconds without a single turn of any thread after which the run counts as hung."""

LONG = 20.0
"""Seconds within which every consumer is served, and everything that is closed stops."""

FAIL = 0.02
"""How often a hook or a check fails."""


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
    """A value that knows whether it is alive.

    Args:
        key: that of its family, if it has one.
    """

    def __init__(self, key: int) -> None:
        self.key = key
        self.alive = True


class Bounds(NamedTuple):
    """How many things may be alive at once; None for any number."""

    things: int | None = None
    keys: int | None = None
    things_of_a_key: int | None = None


class Site:
    """The hooks of a resource or of a family, which fail at random and count.

    Args:
        name: names it in complaints.
        figures: where it counts.
        seed: for its failures.
        bounds: how many of its things may be alive at once.
    """

    def __init__(self, name: str, figures: Figures, seed: int, bounds: Bounds) -> None:
        self.name = name
        self.alive: set[Thing] = set()
        self._figures = figures
        self._dice = random.Random(f"{seed}/{name}")
        self._bounds = bounds
        self._lock = threading.Lock()

    @contextmanager
    def open(self, key: int = 0) -> Generator[Thing]:
        """Start, yield, stop; both hooks take a moment now and then."""
        self._dawdle()
        if self._fails():
            self._figures.count("failures")
            raise HookError(f"the start of {self.name}")
        thing = Thing(key)
        self._begins(thing)
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

    def _begins(self, thing: Thing) -> None:
        with self._lock:
            self.alive.add(thing)
            keys = Counter(other.key for other in self.alive)
        self._figures.count("starts")
        alive = Bounds(keys.total(), len(keys), keys[thing.key])
        for what, number, most in zip(Bounds._fields, alive, self._bounds, strict=True):
            if most is not None and number is not None and number > most:
                self._figures.complain(f"{number} {what} of {self.name} were alive at once")

    def _fails(self) -> bool:
        return self._dice.random() < FAIL

    def _dawdle(self) -> None:
        if self._dice.random() < 0.05:
            time.sleep(self._dice.random() * 0.002)


class Observed:
    """Looks at what an observer is told.

    Args:
        resource: what it observes.
        figures: where it complains.
        last: the usecount at its beginning; None if that is not known.
    """

    def __init__(self, resource: SharedResource[Thing], figures: Figures, last: int | None) -> None:
        self.name = resource.name
        self.last = last
        self._figures = figures
        self.end = resource.observe(self._look)

    def told_all(self) -> bool:
        """Say whether it was told of the end, if of anything, now that nobody holds what it observes."""
        return self.last in (None, 0)

    def _look(self, usecount: int) -> None:
        if self.last is not None and abs(usecount - self.last) != 1:
            self._figures.complain(f"an observer of {self.name} was told {usecount} after {self.last}")
        self.last = usecount


class Kind(NamedTuple):
    """Options of one resource or family of the run, and what threads do to it."""

    linger: float = 0.0
    overlap: bool = False
    exclusive: bool = False
    own_thread: bool = False
    checked: bool = False
    observed: bool = False
    invalidated: bool = False
    retired: bool = False
    """Whether holders invalidate what they hold, and nobody anything else."""
    keys: int = 0
    """How many keys the family has; 0 for a resource without a family."""
    capacity: int | None = None
    when_full: Literal["wait", "raise"] = "wait"
    keys_closed: bool = False
    """Whether single keys are closed, and not only the whole family."""

    @property
    def one_at_a_time(self) -> bool:
        """Whether no two generations of one resource may be alive at once, since none is ever detached."""
        return not (self.invalidated or self.overlap or (not self.exclusive and (self.checked or self.retired)))


KINDS = [
    Kind(),
    Kind(observed=True),
    Kind(linger=0.0005),
    Kind(linger=0.002, observed=True),
    Kind(linger=0.5, checked=True),
    Kind(invalidated=True),
    Kind(linger=0.001, invalidated=True),
    Kind(overlap=True, invalidated=True),
    Kind(linger=0.001, overlap=True, checked=True, invalidated=True, observed=True),
    Kind(own_thread=True, retired=True),
    Kind(exclusive=True, checked=True, retired=True),
    Kind(exclusive=True, linger=0.001, own_thread=True, retired=True, observed=True),
    Kind(exclusive=True, own_thread=True, checked=True, invalidated=True),
    Kind(keys=4, capacity=2, linger=0.0005, own_thread=True, keys_closed=True),
    Kind(keys=4, capacity=2, linger=0.001, exclusive=True, checked=True, retired=True),
    Kind(keys=6, capacity=3, linger=0.0005),
    Kind(keys=6, capacity=3, linger=0.0005, when_full="raise", keys_closed=True, invalidated=True),
    Kind(keys=6, capacity=3, linger=0.5, observed=True, keys_closed=True),
    Kind(keys=4, capacity=2, linger=0.001, overlap=True, checked=True, invalidated=True, keys_closed=True),
    Kind(keys=4, capacity=2, linger=0.001, overlap=True, checked=True, keys_closed=True),
    Kind(keys=4, capacity=2, overlap=True, invalidated=True, observed=True, when_full="raise", keys_closed=True),
    Kind(keys=4, linger=0.001, overlap=True, checked=True, invalidated=True, keys_closed=True),
]
"""The linger of half a second is one that hardly ever ends; its last deadline keeps the timer thread that long."""


class Close(Protocol):
    """Closes something."""

    def __call__(self, timeout: float, *, force: bool) -> None:
        """Close it; see `SharedResource.close`."""
        ...


class Target:
    """One resource or family of a kind; when it was closed, the next one of the same kind takes its place.

    Args:
        kind: its options.
        number: names it.
        figures: where it counts.
        seed: for its failures.
    """

    def __init__(self, kind: Kind, number: int, figures: Figures, seed: int) -> None:
        self.kind = kind
        self.name = f"{'family' if kind.keys else 'resource'} {number}"
        self.site = Site(self.name, figures, seed, self._bounds())
        self.forced = False
        """Whether all of it was closed by force."""
        self.observed: list[Observed] = []
        self._figures = figures
        self._forced: set[SharedResource[Thing]] = set()
        self._begin()

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """What a consumer may get instead of a lease, or while giving it back."""
        full = (CapacityError,) if self.kind.when_full == "raise" else ()
        return (HookError, ClosedError, *full)

    def stopped_by_force(self, resource: SharedResource[Thing]) -> bool:
        """Say whether `resource`, which is one of its own, may be stopped under its holders."""
        return self.forced or resource in self._forced

    def pick(self, dice: random.Random) -> SharedResource[Thing]:
        """Return any of its resources."""
        raise NotImplementedError

    def enter(self, dice: random.Random) -> Lease[Thing]:
        """Return a lease on any of its resources, as a call does."""
        raise NotImplementedError

    def resources(self) -> tuple[SharedResource[Thing], ...]:
        """Return those that are not idle, or all of them."""
        raise NotImplementedError

    def close(self, timeout: float, *, force: bool) -> None:
        """Close all of it."""
        raise NotImplementedError

    def _bounds(self) -> Bounds:
        raise NotImplementedError

    def _begin(self) -> None:
        raise NotImplementedError

    def _watch(self, resource: SharedResource[Thing], usecount: int | None) -> None:
        if self.kind.observed:
            self.observed.append(Observed(resource, self._figures, usecount))


class Plain(Target):
    """One resource."""

    def pick(self, dice: random.Random) -> SharedResource[Thing]:
        return self._resource

    def enter(self, dice: random.Random) -> Lease[Thing]:
        return self._resource()

    def resources(self) -> tuple[SharedResource[Thing], ...]:
        return (self._resource,)

    def close(self, timeout: float, *, force: bool) -> None:
        self.forced = self.forced or force
        self._resource.close(timeout, force=force)

    def _bounds(self) -> Bounds:
        return Bounds(things=1 if self.kind.one_at_a_time else None)

    def _begin(self) -> None:
        kind = self.kind
        self._resource = SharedResource(
            self.site.open,
            name=self.name,
            linger=kind.linger,
            overlap=kind.overlap,
            exclusive=kind.exclusive,
            own_thread=kind.own_thread,
            check=self.site.check if kind.checked else None,
        )
        self._watch(self._resource, 0)


class Keyed(Target):
    """A family."""

    def pick(self, dice: random.Random) -> SharedResource[Thing]:
        return self._family.resource(dice.randrange(self.kind.keys))

    def enter(self, dice: random.Random) -> Lease[Thing]:
        return self._family(dice.randrange(self.kind.keys))

    def resources(self) -> tuple[SharedResource[Thing], ...]:
        return self._family.resources()

    def close(self, timeout: float, *, force: bool) -> None:
        self.forced = self.forced or force
        self._family.close(timeout, force=force)

    def close_key(self, key: int, timeout: float, *, force: bool) -> None:
        """Close one key; the next call with it gets a new resource."""
        resource = self._family.resource(key)
        if force:
            self._forced.add(resource)
        try:
            resource.close(timeout, force=force)
        finally:
            self._watch_key(key)

    def disturb(self, dice: random.Random) -> None:
        """Do something to all keys at once."""
        if self.kind.invalidated and dice.random() < 0.5:
            self._family.invalidate()
        else:
            self._family.flush()

    def fill(self) -> None:
        """Hold as many keys as its capacity allows: so no slot was lost."""
        with ExitStack() as stack:
            for key in range(self.kind.capacity or 0):
                until_it_starts(partial(self._family.resource(key).acquire, LONG), stack)

    def _bounds(self) -> Bounds:
        kind = self.kind
        return Bounds(
            things=kind.capacity if kind.one_at_a_time else None,
            keys=None if kind.invalidated else kind.capacity,
            things_of_a_key=1 if kind.one_at_a_time and not kind.keys_closed else None,
        )

    def _begin(self) -> None:
        self._family = self._share()
        for key in range(self.kind.keys):
            self._watch_key(key)

    def _watch_key(self, key: int) -> None:
        with suppress(ClosedError):  # all of it is
            self._watch(self._family.resource(key), None)  # somebody may hold it already

    def _share(self) -> ResourceFunction[[int], Thing]:
        kind = self.kind
        if kind.checked:
            return refcounted_resource(
                name=self.name,
                linger=kind.linger,
                overlap=kind.overlap,
                exclusive=kind.exclusive,
                own_thread=kind.own_thread,
                check=self.site.check,
                capacity=kind.capacity,
                when_full=kind.when_full,
            )(self.site.open)
        return refcounted_resource(
            name=self.name,
            linger=kind.linger,
            overlap=kind.overlap,
            exclusive=kind.exclusive,
            own_thread=kind.own_thread,
            capacity=kind.capacity,
            when_full=kind.when_full,
        )(self.site.open)


def until_it_starts(acquire: Callable[[], Lease[Thing]], stack: ExitStack) -> None:
    """Acquire, again if its start fails, and leave the lease to `stack`, whatever its stop raises."""
    while True:
        with suppress(HookError):
            lease = acquire()
            break

    def release() -> None:
        with suppress(HookError):
            lease.release()

    stack.callback(release)


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
        self._observed: deque[Observed] = deque()
        self._lock = threading.Lock()
        self._turns = [0] * threads

    def _make(self, kind: Kind) -> Target:
        return (Keyed if kind.keys else Plain)(kind, next(self._numbers), self.figures, self._seed)

    def note_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Errors that have nobody to go to are those of the hooks, and no others."""
        if not isinstance(unraisable.exc_value, HookError):
            self.figures.complain(f"unraisable: {unraisable.exc_value!r} in {unraisable.object!r}")

    def run(self, seconds: float) -> None:
        """Let the threads loose for that long, then let everything go and look."""
        gc.freeze()  # what is there now: so that it takes no time to collect what is lost
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
        acts: list[tuple[float, Callable[[random.Random, Target], object]]] = [
            (40, self._enter),
            (20, self._acquire),
            (15, self._try),
            (8, self._count),
            (4, self._retire),
            (1, self._disturb_all),
            (8, self._nest),
            (6, self._disturb),
            (1, self._observe),
            (1, self._lose),
            (0.6, self._close_key),
            (0.2, self._close),
        ]
        weights = [weight for weight, _ in acts]
        while not self._over.is_set():
            ((_, act),) = dice.choices(acts, weights)
            target = dice.choice(self._targets)
            try:
                with suppress(*target.refusals):
                    act(dice, target)
            except BaseException:
                self.figures.complain(traceback.format_exc())
            self._turns[number] += 1

    def _hold(self, lease: Lease[Thing], target: Target, dice: random.Random) -> None:
        """Hold for a moment; what somebody holds is alive, unless it was closed by force."""
        thing = lease.value
        self.figures.count("holds")
        if dice.random() < 0.02:
            time.sleep(dice.random() * 0.003)
        if not thing.alive and not target.stopped_by_force(lease.resource):
            self.figures.complain(f"what a holder of {lease.resource} had was stopped")

    def _take(self, resource: SharedResource[Thing], timeout: float | None) -> Lease[Thing] | None:
        """Return a lease, or None if the timeout was so short that it may be over; else waiting in vain is an error."""
        try:
            return resource.acquire(timeout)
        except TimeoutError:
            if timeout == LONG:
                self.figures.complain(f"a consumer of {resource} waited in vain: {_inside(resource)}")
            return None

    def _enter(self, dice: random.Random, target: Target) -> None:
        # Without a timeout: `_watch` sees who is stuck.
        with (lease := target.enter(dice)):
            self._hold(lease, target, dice)

    def _acquire(self, dice: random.Random, target: Target) -> None:
        lease = self._take(target.pick(dice), dice.choice([0.0, 0.001, 0.003, LONG, None]))
        if lease is not None:
            self._hold(lease, target, dice)
            self._give_back(lease)

    def _give_back(self, lease: Lease[Thing]) -> None:
        try:
            if not lease.release():
                self.figures.complain("a held lease was not released")
        finally:
            if lease.release() or lease.held:
                self.figures.complain("a lease was released twice")

    def _try(self, dice: random.Random, target: Target) -> None:
        lease = target.pick(dice).try_acquire()
        if lease is not None:
            with lease:
                self._hold(lease, target, dice)

    def _count(self, dice: random.Random, target: Target) -> None:
        """Hold without a lease."""
        resource = target.pick(dice)
        try:
            resource.inc(LONG)
        except TimeoutError:
            self.figures.complain(f"a consumer of {resource} waited in vain: {_inside(resource)}")
            return
        try:
            self.figures.count("holds")
            if not resource.usecount:
                self.figures.complain(f"{resource} was counted, and nobody holds it")
        finally:
            resource.dec()

    def _retire(self, dice: random.Random, target: Target) -> None:
        """Find what one holds broken: nobody who comes later gets it."""
        with (lease := target.enter(dice)):
            if target.kind.retired:
                self.figures.count("invalidations")
                lease.invalidate()
                if lease.valid:
                    self.figures.complain(f"{lease} is valid, though it was invalidated")
            self._hold(lease, target, dice)

    def _disturb_all(self, dice: random.Random, target: Target) -> None:
        if isinstance(target, Keyed):
            try:
                target.disturb(dice)
            except* HookError:
                pass

    def _nest(self, dice: random.Random, first: Target) -> None:
        """Hold two. Who has a slot does not wait long for another one: its holder may wait for the first.

        Nor does it wait long for what is exclusive, of which it may hold the generation before.
        """
        second = dice.choice(self._targets)
        with suppress(*second.refusals), (outer := first.enter(dice)):
            inner = self._take(second.pick(dice), 0.005 if second.kind.keys or second.kind.exclusive else LONG)
            if inner is not None:
                with inner:
                    self._hold(inner, second, dice)
            self._hold(outer, first, dice)

    def _disturb(self, dice: random.Random, target: Target) -> None:
        resource = self._one_in_use(dice, target)
        what = dice.choice(["flush", "touch", "wait", *["invalidate"] * 3 * target.kind.invalidated])
        if what == "flush":
            resource.flush()
        elif what == "touch":
            resource.touch()
        elif what == "wait":
            with suppress(TimeoutError):
                resource.wait_stopped(0.001)
        else:
            self.figures.count("invalidations")
            resource.invalidate()

    def _one_in_use(self, dice: random.Random, target: Target) -> SharedResource[Thing]:
        in_use = target.resources()
        return dice.choice(in_use) if in_use else target.pick(dice)

    def _observe(self, dice: random.Random, target: Target) -> None:
        """Begin to observe in the middle of it all, and end an older observation."""
        self._observed.append(Observed(self._one_in_use(dice, target), self.figures, None))
        if len(self._observed) > 10:
            self._observed.popleft().end()

    def _lose(self, dice: random.Random, target: Target) -> None:
        lease = self._take(target.pick(dice), LONG)
        if lease is None:
            return
        self.figures.count("lost")
        seen = weakref.ref(lease)
        cycle: list[object] = [lease]
        cycle.append(cycle)
        del cycle, lease
        # At once: it may have a slot that all others wait for, and who waits collects nothing. Again and again, since
        # `collect` does nothing where another thread is at it already.
        while seen() is not None:
            gc.collect()
            time.sleep(0)

    def _close_key(self, dice: random.Random, target: Target) -> None:
        if isinstance(target, Keyed) and target.kind.keys_closed:
            key = dice.randrange(target.kind.keys)
            self._shut(dice, target, partial(target.close_key, key))

    def _close(self, dice: random.Random, target: Target) -> None:
        with self._lock:
            if target in self._retired:
                return
            self._targets[self._targets.index(target)] = self._make(target.kind)
            self._retired.append(target)
        self._shut(dice, target, target.close)

    def _shut(self, dice: random.Random, target: Target, close: Close) -> None:
        timeout = dice.choice([0.0, 0.001, LONG])
        try:
            close(timeout, force=dice.random() < 0.5)
        except* HookError:
            pass
        except* TimeoutError:
            if timeout == LONG:
                self.figures.complain(f"the close of {target.name} waited in vain")

    # What must hold in the end

    def _examine(self) -> None:
        gc.collect()
        for target in (*self._targets, *self._retired):
            self._examine_target(target)
        for observed in self._observed:
            patiently(f"an observer of {observed.name} to be told", observed.told_all)
        faulthandler.cancel_dump_traceback_later()
        self._expect(self.figures["starts"] == self.figures["stops"], "starts and stops differ")
        self._expect(self.figures["holds"] > 0, "nobody held anything")
        patiently(
            "the timer threads to end",
            lambda: not clocks.thread.alive and THREAD_NAME not in {thread.name for thread in threading.enumerate()},
        )

    def _examine_target(self, target: Target) -> None:
        faulthandler.dump_traceback_later(2 * STUCK, exit=True)  # nobody else watches this thread
        patiently(f"{target.name} to be released", lambda: not any(each.usecount for each in target.resources()))
        if isinstance(target, Keyed) and target not in self._retired:
            try:
                target.fill()
            except (CapacityError, TimeoutError) as error:
                self.figures.complain(f"a slot of {target.name} is lost: {error}")
        patiently(f"{target.name} to stop", partial(self._is_over, target))
        # A stop that was given up is not waited for by `close`.
        patiently(f"what was alive of {target.name} to be gone", lambda: not target.site.alive)
        self._expect(all(each.state is State.CLOSED for each in target.resources()), f"{target.name} is open")
        for observed in target.observed:
            patiently(f"the observer of {observed.name} to be told", observed.told_all)
            observed.end()
        self._expect(isinstance(target, Plain) or not target.resources(), f"{target.name} remembers its keys")

    def _is_over(self, target: Target) -> bool:
        over = True
        try:
            target.close(0.0, force=False)
        except* TimeoutError:
            over = False
        except* HookError:
            pass
        return over

    def _expect(self, holds: bool, complaint: str) -> None:
        if not holds:
            self.figures.complain(complaint)


def _inside(resource: SharedResource[Thing]) -> str:
    machine = resource._machine  # pyright: ignore[reportPrivateUsage]  # nothing public shows what it waits for
    generations = [f"{g.number} {g.phase.name} {vars(g)}" for g in machine.generations]
    return f"running {machine.running}, working {machine.working}, {generations}"


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
