"""A resource whose hooks keep count, so that a test can say what ran how often and what is alive."""

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TypeVar

import pytest

from refcount import Lease, SharedResource
from refcount._core.clock import THREAD_NAME, TimerThread, clocks
from refcount._core.generation import Phase

T = TypeVar("T")

WAIT = 20.0
"""Seconds after which something that should have happened counts as never happening."""


class Thing:
    """What a watched resource gives to its consumers.

    Attributes:
        number: Which start made it, counted from 1.
        alive: Whether its start hook has run and its stop hook has not yet begun.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True


class Watched:
    """Counts the starts and stops of one resource whose opener is `open`.

    Args:
        start: Called inside the start hook, before the thing is alive; it may raise.
        stop: Called inside the stop hook, when the thing is not alive any more; it may raise.

    Attributes:
        starts: How many starts have succeeded.
        stops: How many stops have begun, whether they fail or not.
        most: How many things were alive at once at most.
    """

    def __init__(
        self, start: Callable[[], object] = lambda: None, stop: Callable[[Thing], object] = lambda _thing: None
    ) -> None:
        self._start = start
        self._stop = stop
        self._lock = threading.Lock()
        self.starts = 0
        self.stops = 0
        self.most = 0

    @property
    def alive(self) -> int:
        """How many things are alive now."""
        return self.starts - self.stops

    @contextmanager
    def open(self) -> Generator[Thing]:
        """Start, yield the thing, and stop."""
        self._start()
        with self._lock:
            self.starts += 1
            self.most = max(self.most, self.starts - self.stops)
            thing = Thing(self.starts)
        yield thing
        with self._lock:
            self.stops += 1
            thing.alive = False
        self._stop(thing)


def until(reached: Callable[[], object], what: str = "what was waited for", timeout: float = WAIT) -> None:
    """Return when `reached()` is true; raise `TimeoutError` naming `what` when that takes too long."""
    deadline = time.monotonic() + timeout
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout} s")
        time.sleep(0.000_5)


def waiting(resource: SharedResource[T]) -> int:
    """Return how many consumers are at the door of `resource`, the one that makes the start included."""
    machine = resource._machine  # pyright: ignore[reportPrivateUsage]  # nothing public shows who waits
    starting = sum(generation.phase is Phase.STARTING for generation in machine.generations)
    return starting + sum(isinstance(sleeper, Lease) for sleeper in machine.sleepers.copy())


@contextmanager
def own_timers() -> Generator[None]:
    """Have lingers and lost leases served by a timer thread of the block's own, which is gone at its end."""
    before = set(threading.enumerate())
    timers = TimerThread()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "thread", timers)
        patch.setattr(clocks, "clock", timers)
        yield
    for _ in timers._schedule.take_all():  # pyright: ignore[reportPrivateUsage]  # nothing is to linger any more
        pass

    def left() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME and thread not in before]

    def gone() -> bool:
        if timers.alive:
            timers.lost(lambda: None)  # it looks again, and finds nothing
        for thread in left():
            if thread.is_alive():  # and not one that is about to be started
                with suppress(RuntimeError):  # the thread that starts it is still at it
                    thread.join(0.5)
        return not left() and not timers.alive

    until(gone, "the end of the timer threads")


def unraisable_errors(patch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """Return a list that gets, while `patch` is in force, the errors that have nobody to go to."""
    errors: list[BaseException | None] = []

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        errors.append(unraisable.exc_value)

    patch.setattr(sys, "unraisablehook", hook)
    return errors
