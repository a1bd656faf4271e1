"""`Parker`: wakes are not missed, do not pile up, and a deadline is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from refcount._core import parking
from refcount._core.parking import Parker

SOON = 0.02


def test_a_wake_before_the_sleep_is_not_missed() -> None:
    """Whoever is woken before it sleeps does not sleep, deadline or not."""
    for deadline in (None, monotonic() + 60, monotonic() - 1):
        parker = Parker()
        parker.wake()
        assert parker.park(deadline)


def test_wakes_do_not_pile_up() -> None:
    """However often it is woken, it wakes once."""
    parker = Parker()
    for _ in range(1000):
        parker.wake()
    assert parker.park(None)
    assert not parker.park(monotonic() - 1)


def test_another_thread_wakes_the_sleeper() -> None:
    """The sleeper goes on when it is woken, again and again."""
    parker, back = Parker(), Parker()
    woken: list[bool] = []

    def sleep() -> None:
        for deadline in (None, monotonic() + 60):
            woken.append(parker.park(deadline))
            back.wake()

    thread = threading.Thread(target=sleep)
    thread.start()
    for _ in range(2):
        parker.wake()
        assert back.park(monotonic() + 60)
    thread.join()
    assert woken == [True, True]


def test_a_deadline_ends_the_sleep() -> None:
    """Not woken, it says so, and not before the deadline; one that has passed takes no time."""
    parker = Parker()
    deadline = monotonic() + SOON
    assert not parker.park(deadline)
    assert monotonic() >= deadline
    assert not parker.park(monotonic() - 1000)


def test_a_deadline_beyond_all_timeouts_is_slept_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock takes no more than `TIMEOUT_MAX` at once; the sleep goes on after that."""
    parker = Parker()
    waker = threading.Thread(target=parker.wake)
    waker.start()
    assert parker.park(float("inf"))
    waker.join()

    monkeypatch.setattr(threading, "TIMEOUT_MAX", 0.001)
    times: Iterator[float] = iter([0.0, 0.001, 0.0025])
    monkeypatch.setattr(parking, "monotonic", lambda: next(times))
    assert not parker.park(0.003)  # three parts: 1 ms, 1 ms, and the half that is left
    assert not [*times]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends a signal")
def test_an_interrupt_ends_the_sleep_and_leaves_it_usable() -> None:
    """A signal handler that raises gets out of the sleep, and the next wake is not lost."""
    parker = Parker()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, SOON)
        with pytest.raises(KeyboardInterrupt):
            parker.park(None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not parker.park(monotonic() - 1)
    parker.wake()
    assert parker.park(None)
