"""Threads that lose the processor between any two bytecodes of the counter, and broken counters that this catches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import pytest

from refcount import Refcounter, UnderflowException
from tests.counter.counting import outcome
from tests.helpers.shaking import run_threads, seeds, shaken

THREADS = 4
ROUNDS = 25


def no_lost_update(make: Callable[[int], Refcounter]) -> None:
    """As many up as down, from all threads, leave the count where it was."""
    counter = make(1)

    def use() -> None:
        for _ in range(ROUNDS):
            counter.inc()
            counter.inc_not_zero()
            counter.dec_not_one()
            counter.dec()

    run_threads(*[use] * THREADS)
    assert counter.usecount == 1


def one_last_release(make: Callable[[int], Refcounter]) -> None:
    """Threads that release one hold more than there are: one hears that it was the last, one gets the error."""
    for _ in range(ROUNDS):
        counter = make(THREADS - 1)
        results = run_threads(*[partial(outcome, counter.dec_and_test)] * THREADS)
        assert results.count(True) == 1
        assert results.count(UnderflowException) == 1
        assert counter.usecount == 0


def one_first_acquire(make: Callable[[int], Refcounter]) -> None:
    """Of threads that come at once, one hears that it was the first; of more that leave, one that there is no more."""
    for _ in range(ROUNDS):
        counter = make(0)
        assert run_threads(*[counter.inc_and_test] * THREADS).count(True) == 1
        assert run_threads(*[counter.dec_not_zero] * (THREADS + 1)).count(False) == 1
        assert counter.usecount == 0


def callbacks_take_turns(make: Callable[[int, Callable[[], object], Callable[[], object]], Refcounter]) -> None:
    """Random users of a counter that goes to 0 and back: callbacks alternate, and none runs beside another."""
    log: list[str] = []
    inside: list[str] = []

    def callback(name: str) -> None:
        assert not inside, f"{name} beside {inside}"
        inside.append(name)
        log.append(name)
        inside.remove(name)

    counter = make(0, lambda: callback("acquire"), lambda: callback("release"))

    def use() -> None:
        for _ in range(ROUNDS):
            counter.inc()
            assert log[-1] == "acquire", "inc returned and nothing is acquired"
            counter.dec()

    run_threads(*[use] * THREADS)
    assert counter.usecount == 0
    assert log == ["acquire", "release"] * (len(log) // 2)


@pytest.mark.parametrize("seed", seeds(2, 6))
def test_shaken_counter(seed: int) -> None:
    """With threads switched between any two bytecodes of the library, the counter keeps every promise."""
    with shaken(seed):
        no_lost_update(Refcounter)
        no_lost_update(lambda usecount: Refcounter(usecount, lambda: None, lambda: None))
        one_last_release(Refcounter)
        one_last_release(lambda usecount: Refcounter(usecount, None, lambda: None))
        one_first_acquire(Refcounter)
        one_first_acquire(lambda usecount: Refcounter(usecount, lambda: None))
        callbacks_take_turns(Refcounter)


def test_racing_last_release() -> None:
    """Scenario 19: four threads release one hold, ten thousand times: one frees it, three fail; nobody revives it."""
    rounds = 10_000
    counters = [Refcounter() for _ in range(rounds)]

    def release() -> list[object]:
        return [outcome(counter.dec_and_test) for counter in counters]

    for results in zip(*run_threads(*[release] * 4), strict=True):
        assert sorted(map(str, results)) == sorted(map(str, [True] + [UnderflowException] * 3))
    revived = run_threads(*[lambda: [counter.inc_not_zero() for counter in counters]] * 4)
    assert not any(any(some) for some in revived)


# --- Broken counters, which the tests above must catch --------------------------------------------------------------


class Lockless(Refcounter):
    """A counter without its lock."""

    def __init__(
        self,
        usecount: int = 1,
        acquire: Callable[[], object] | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(usecount, acquire, release)
        vars(self)["_lock"] = nullcontext()


class LooksTwice(Refcounter):
    """A counter that reads the number again to see whether it was the first or the last."""

    def inc_and_test(self) -> bool:
        self.inc()
        return self.usecount == 1

    def dec_and_test(self) -> bool:
        self.dec()
        return self.usecount == 0


class Impatient(Refcounter):
    """A counter that runs its callbacks beside everybody else."""

    def __init__(self, usecount: int, acquire: Callable[[], object], release: Callable[[], object]) -> None:
        super().__init__(usecount)
        self._on_acquire, self._on_release = acquire, release

    def inc(self) -> None:
        if not self.inc_not_zero():
            super().inc()
            self._on_acquire()

    def dec(self) -> None:
        if self.dec_and_test():
            self._on_release()


BROKEN: dict[str, Callable[[], None]] = {
    "no lock loses updates": lambda: no_lost_update(Lockless),
    "no lock, two last ones": lambda: one_last_release(Lockless),
    "no lock, callbacks meet": lambda: callbacks_take_turns(Lockless),
    "looks twice after an acquire": lambda: one_first_acquire(LooksTwice),
    "looks twice after a release": lambda: one_last_release(LooksTwice),
    "impatient": lambda: callbacks_take_turns(Impatient),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_shaking_catches_broken_counters(broken: str) -> None:
    """Each of these counters fails the test that it is made for, within a few seeds."""
    for seed in range(40):
        try:
            with shaken(seed):
                BROKEN[broken]()
        except Exception:  # a broken counter may break anything
            return
    pytest.fail(f"nothing noticed: {broken}")
