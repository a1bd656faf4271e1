"""Shared resources under threads that lose the processor between any two bytecodes of the library.

What must hold however unlucky they are: each start has its stop, without overlap no two are alive at once, and in the
end nobody holds anything. Broken variants show that these runs catch what plain thread tests let pass.
"""
# pyright: reportPrivateUsage=false
# The broken variants break what only the machine itself writes.

import contextlib
import itertools
import random
from collections.abc import Callable, Generator
from functools import partial
from types import CodeType

import pytest

from refcount import ClosedError, Lease, RefcountError, SharedResource, State
from refcount._core.generation import LEFT, START, WAIT, Alarm, Generation, Hold, Next
from refcount._core.machine import Machine
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.watched import Thing, Watched, own_timers, until

SEEDS = range(2)
THREADS = 8
TURNS = 8


@contextlib.contextmanager
def shaking(seed: int, *also: CodeType) -> Generator[None]:
    """Shake, and leave no timer thread behind that goes on shaking."""
    with shaken(seed, also=also), own_timers():
        yield


class HookError(Exception):
    """What failing hooks raise; not an `OSError`, which the `TimeoutError` of who waits in vain is as well."""


class Crowd:
    """Threads that come and go at random on one resource.

    Args:
        watched: its hooks.
        resource: it.
        seed: for the choices of the threads.
        also: what a thread does now and then, besides.
    """

    def __init__(
        self,
        watched: Watched,
        resource: SharedResource[Thing],
        seed: int,
        also: Callable[[], object] = lambda: None,
    ) -> None:
        self.watched = watched
        self.resource = resource
        self.failures = 0
        self.refusals = 0
        self._also = also
        self._numbers = itertools.count(seed * 1000)

    def run(self, threads: int = THREADS, turns: int = TURNS) -> None:
        """Let them come and go, and check what must hold in the end."""

        def work() -> None:
            dice = random.Random(next(self._numbers))
            for _ in range(turns):
                try:
                    self._turn(dice)
                except HookError:
                    self.failures += 1
                except ClosedError:
                    self.refusals += 1

        run_threads(*[work] * threads)
        assert self.resource.usecount == 0
        self.resource.close(timeout=20.0)
        assert self.watched.starts == self.watched.stops
        assert self.resource.usecount == 0

    def _turn(self, dice: random.Random) -> None:
        what = dice.randrange(8)
        if what < 4:
            with self.resource() as thing:
                assert thing.alive
        elif what < 6:
            lease = self.resource.acquire(timeout=20.0)
            try:
                with self.resource() as thing:
                    assert thing.alive
                    assert lease.held
            finally:
                assert lease.release()
            assert not lease.release()
        elif what < 7:
            lease_or_none = self.resource.try_acquire()
            if lease_or_none is not None:
                assert lease_or_none.value.alive
                assert lease_or_none.release()
        else:
            self._also()


@pytest.mark.parametrize("seed", SEEDS)
def test_coming_and_going(seed: int) -> None:
    """Random enters and leaves: starts equal stops, and no two are alive at once."""
    watched = Watched()
    with shaking(seed):
        for number, threads in enumerate((THREADS, 2)):  # two leave it idle far more often than eight
            Crowd(watched, SharedResource(watched.open), seed + number).run(threads)
    assert watched.starts > 2
    assert watched.most == 1


def test_coming_and_going_unshaken() -> None:
    """The same in plain threads, each of whose 10,000 holds is of a kind that its own dice choose."""
    watched = Watched()
    resource = SharedResource(watched.open)

    def work(number: int) -> int:
        dice, holds = random.Random(number), 0
        while holds < 10_000:
            holds += dice.choice(WAYS)(resource)
        return holds

    holds = run_threads(*[partial(work, number) for number in range(8)], timeout=50.0)
    assert min(holds) >= 10_000
    assert resource.usecount == 0
    assert resource.state is State.IDLE
    assert watched.starts == watched.stops
    assert watched.most == 1


def enter(resource: SharedResource[Thing]) -> int:
    """Hold it inside a with-statement; return how many holds that were, as all ways do."""
    with resource() as thing:
        assert thing.alive
    return 1


def acquire(resource: SharedResource[Thing]) -> int:
    """Hold it from an acquire to a release."""
    lease = resource.acquire(timeout=40.0)
    assert lease.value.alive
    assert lease.release()
    return 1


def nest(resource: SharedResource[Thing]) -> int:
    """Hold it twice, and give the outer hold back first."""
    outer = resource.acquire()
    with resource() as thing:
        assert outer.release()
        assert thing.alive
    return 2


def try_to_acquire(resource: SharedResource[Thing]) -> int:
    """Hold it if it is up."""
    lease = resource.try_acquire()
    if lease is None:
        return 0
    with lease as thing:
        assert thing.alive
    assert not lease.release()
    return 1


WAYS: list[Callable[[SharedResource[Thing]], int]] = [enter, acquire, nest, try_to_acquire]


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("linger", [0.0, 0.0002, 1000.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_linger_and_invalidate(seed: int, linger: float, overlap: bool) -> None:
    """With lingers that end all the time, flushes, touches and invalidations: every start has its one stop."""
    watched = Watched()
    resource = SharedResource(watched.open, linger=linger, overlap=overlap)
    acts = itertools.cycle([resource.invalidate, resource.flush, resource.touch, resource.invalidate])
    with shaking(seed):
        Crowd(watched, resource, seed, lambda: next(acts)()).run()
    assert watched.starts > 1


@pytest.mark.parametrize("linger", [0.0, 0.0002])
@pytest.mark.parametrize("seed", SEEDS)
def test_flushes_never_let_two_live(seed: int, linger: float) -> None:
    """Without overlap and invalidation, however the lingers end, no two are alive at once."""
    watched = Watched()
    resource = SharedResource(watched.open, linger=linger)
    with shaking(seed):
        Crowd(watched, resource, seed, resource.flush).run()
    assert watched.most == 1


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_closing_amid_the_crowd(seed: int, force: bool, overlap: bool) -> None:
    """Closed at some moment: everybody else is refused, and it is stopped once."""
    watched = Watched()
    resource = SharedResource(watched.open, linger=0.0005, overlap=overlap)

    def close() -> None:
        with contextlib.suppress(TimeoutError):
            resource.close(timeout=0.0, force=force)

    with shaking(seed):
        crowd = CloseableCrowd(watched, resource, seed, close)
        crowd.run()
    assert crowd.refusals > 0
    assert resource.state is State.CLOSED


class CloseableCrowd(Crowd):
    """What its members hold may be stopped under them."""

    def _turn(self, dice: random.Random) -> None:
        if dice.randrange(8):
            with self.resource():
                pass
        else:
            self._also()


@pytest.mark.parametrize("seed", SEEDS)
def test_failing_starts_and_stops(seed: int) -> None:
    """Hooks that fail at random: those who wait see it, it is never kept, and the counts are right."""
    dice = random.Random(seed)

    def start() -> None:
        if dice.random() < 0.5:
            raise HookError("start")

    def stop(_thing: Thing) -> None:
        if dice.random() < 0.4:
            raise HookError("stop")

    watched = Watched(start, stop)
    failures = 0
    with shaking(seed):
        for threads in (THREADS, 2, 2):
            crowd = Crowd(watched, SharedResource(watched.open), seed)
            crowd.run(threads)
            failures += crowd.failures
    assert failures > 0
    assert watched.starts == watched.stops
    assert watched.most == 1


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_check_that_fails_at_random(seed: int, overlap: bool) -> None:
    """Values that are found bad at random are replaced, and each is stopped once."""
    dice = random.Random(seed)
    watched = Watched()
    resource = SharedResource(watched.open, linger=1000.0, check=lambda _thing: dice.random() < 0.7, overlap=overlap)
    with shaking(seed):
        Crowd(watched, resource, seed).run()
    assert watched.starts > 1


@pytest.mark.parametrize("seed", SEEDS)
def test_what_observers_see(seed: int) -> None:
    """Every change by one up or down, none merged, from 0 to 0; the same for a second observer that comes later."""
    watched = Watched()
    resource = SharedResource(watched.open)
    first: list[int] = []
    second: list[int] = []
    ends: list[Callable[[], None]] = []
    once = iter([resource])

    def also() -> None:
        ends.extend(each.observe(second.append) for each in once)

    resource.observe(first.append)
    with shaking(seed):
        Crowd(watched, resource, seed, also).run()
        noted = resource._machine.noted  # how many changes there were
        until(lambda: len(first) >= noted, "the last changes")  # told by the timer thread, which is about to end
    assert {abs(later - earlier) for earlier, later in itertools.pairwise([0, *first])} == {1}
    assert first[-1] == 0
    assert first.count(1) >= watched.starts
    for end in ends:
        end()
    assert not second or second == first[-len(second) :]


# --- Broken variants: the runs above must catch them ------------------------------------------------------------------


WHAT_BREAKS = (KeyError, AssertionError, RefcountError, TimeoutError)
"""How a broken machine shows; anything else is an error of the test."""


def caught(seeds: range, watched_run: Callable[[int], Watched], *also: CodeType) -> bool:
    """Whether any of the runs fails, or lets two be alive at once."""
    for seed in seeds:
        try:
            with shaking(seed, NoLock.__enter__.__code__, *also):
                watched = watched_run(seed)
        except WHAT_BREAKS:
            return True
        if watched.most > 1:
            return True
    return False


def run_crowd(seed: int) -> Watched:
    """One shaken run as above, with a short patience, and never stuck for good."""
    watched = Watched()
    crowd = Crowd(watched, SharedResource(watched.open), seed)
    crowd.run(threads=4, turns=10)
    return watched


class NoLock:
    """A lock that lets everybody in."""

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_exc: object) -> None:
        pass


def test_a_machine_without_its_lock_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken on purpose: consumers come and go without the lock."""
    reset = Machine[Thing].reset

    def unlocked(machine: Machine[Thing], _lock: object) -> None:
        reset(machine, NoLock())

    monkeypatch.setattr(Machine, "reset", unlocked)
    assert caught(range(20), hold_many)


def test_a_step_that_is_cut_in_two_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken on purpose: who leaves looks in one section, and acts in the next on what it saw."""
    give_back = Machine[Thing].give_back

    def in_two_steps(
        machine: Machine[Thing], hold: Hold[Thing], by: object, now: float, alarm: Alarm | None
    ) -> Next | Generation[Thing]:
        generation = hold._generation
        with machine.lock:
            seen = 0 if generation is None else generation.count
        if generation is None or seen < 2:
            return give_back(machine, hold, by, now, alarm)
        with machine.lock:
            generation.count = seen - 1
            hold._generation = None
            return LEFT

    def no_hot_path(lease: Lease[Thing], *_error: object) -> None:
        lease.release()

    monkeypatch.setattr(Machine, "give_back", in_two_steps)
    monkeypatch.setattr(Lease, "__exit__", no_hot_path)
    assert caught(range(20), hold_many, in_two_steps.__code__)


def hold_many(seed: int) -> Watched:
    """Many holds that touch the counter alone."""
    watched = Watched()
    resource = SharedResource(watched.open)

    def work() -> None:
        for _ in range(20):
            with resource():
                pass

    with resource():
        run_threads(*[work] * 4, timeout=10.0)
        assert resource.usecount == 1, seed
    assert resource.usecount == 0
    return watched


def test_a_second_first_consumer_that_does_not_wait_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken on purpose: who comes while it starts makes a start of its own, as two `if`s written by hand do."""
    promise = Machine[Thing]._promise

    def careless(machine: Machine[Thing], hold: Hold[Thing], current: Generation[Thing], by: object) -> Next:
        step = promise(machine, hold, current, by)
        return START if step is WAIT else step

    monkeypatch.setattr(Machine, "_promise", careless)
    assert caught(range(20), run_crowd)


def test_what_is_wrong_with_the_test_is_not_caught() -> None:
    """An error that no broken machine raises comes out, and does not pass for a find."""

    def cannot_run(_seed: int) -> Watched:
        raise ImportError("the harness")

    with pytest.raises(ImportError, match="the harness"):
        caught(range(2), cannot_run)


def test_the_sound_one_is_not_caught() -> None:
    """The same runs find nothing wrong with what is not broken."""
    assert not caught(range(2), run_crowd)
    assert not caught(range(2), hold_many)
