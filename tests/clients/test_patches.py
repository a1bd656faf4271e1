"""`patches`: undone after the last, in any order; what undoes it belongs to nobody who comes or goes."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import ClassVar, Protocol

import pytest

from refcount import UnderflowException
from tests.clients.patches import Stopped, clock, patch
from tests.helpers.shaking import run_threads, shaken


class AnyStopped(Protocol):
    """What the probe asks."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class CountedStopped:
    """The same by hand: whoever is first remembers what to put back, and whoever is last puts it back."""

    count: ClassVar[int] = 0
    lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, moment: float) -> None:
        self._moment = moment
        self._real: Callable[[], float] | None = None

    def start(self) -> None:
        """Patch for the first."""
        with self.lock:
            CountedStopped.count += 1
            if CountedStopped.count == 1:
                self._real = clock.now
                clock.now = lambda: self._moment

    def stop(self) -> None:
        """Put back after the last."""
        with self.lock:
            CountedStopped.count -= 1
            if CountedStopped.count == 0:
                assert self._real is not None, "the last one has nothing to put back"
                clock.now = self._real


@pytest.fixture(autouse=True)
def whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the clock back afterwards, for the other tests."""
    monkeypatch.setattr(clock, "now", time.time)
    monkeypatch.setattr(CountedStopped, "count", 0)


def probe(make: Callable[[float], AnyStopped], order: tuple[int, ...]) -> None:
    """Start several, one after the other, and stop them in this order."""
    started = [make(float(number)) for number in range(len(order))]
    for one in started:
        one.start()
    for number in order:
        assert clock.now is not time.time
        started[number].stop()
    assert clock.now is time.time


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_any_order(order: tuple[int, ...]) -> None:
    """The clock goes on after the last, whichever that is."""
    probe(Stopped, order)


def test_a_count_puts_back_what_the_last_one_knows() -> None:
    """That is what the probe finds in what one writes by hand, unless the first one is the last as well."""
    probe(CountedStopped, (1, 2, 0))
    with pytest.raises(AssertionError, match="the last one has nothing to put back"):
        probe(CountedStopped, (0, 1, 2))
    assert clock.now is not time.time  # and it stays so


def test_the_last_who_came_is_seen() -> None:
    """As long as it is there; then the one before."""
    first, second = Stopped(1.0), Stopped(2.0)
    first.start()
    second.start()
    assert clock.now() == 2.0
    second.stop()
    assert clock.now() == 1.0
    first.stop()


def test_racing() -> None:
    """However they come and go, each sees a stopped clock, and afterwards it goes on."""

    def use() -> None:
        for moment in range(5):
            stopped = Stopped(moment)
            stopped.start()
            assert clock.now is not time.time
            stopped.stop()

    with shaken(seed=5):
        run_threads(*[use] * 6)
    assert clock.now is time.time
    assert patch.usecount == 0


def test_one_stop_too_many() -> None:
    """It is an error, and takes nothing from others."""
    first, second = Stopped(1.0), Stopped(2.0)
    first.start()
    with pytest.raises(RuntimeError, match="was not started"):
        second.stop()
    assert clock.now() == 1.0
    first.stop()
    with pytest.raises(UnderflowException, match="the stopped clock has no anonymous hold to give back"):
        patch.dec()
    probe(Stopped, (0,))
