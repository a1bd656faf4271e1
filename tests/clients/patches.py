"""A clock that can be stopped by many at once: patched by the first, put back after the last, in whatever order."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from refcount import SharedResource


class Clock:
    """Where everybody looks for the time.

    Attributes:
        now: Returns it, in seconds.
    """

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.time


clock = Clock()

_started: list[Stopped] = []
"""Those who want the clock stopped; what the last one wants counts."""


@contextmanager
def _patch() -> Generator[None]:
    # What is to be put back is remembered here, by what was started for the first and ends after the last: whoever is
    # the last has nothing to know.
    real = clock.now
    clock.now = lambda: _started[-1].moment
    yield
    clock.now = real


patch = SharedResource(_patch, name="the stopped clock")


class Stopped:
    """Stops the clock, from `start` to `stop`.

    Args:
        moment: The time that it shows meanwhile, unless somebody else stops it later.
    """

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def start(self) -> None:
        """Stop the clock."""
        _started.append(self)
        try:
            patch.inc()
        except BaseException:
            _started.remove(self)
            raise

    def stop(self) -> None:
        """Let it go on, unless others want it stopped.

        Raises:
            RuntimeError: It was not started, or not so often.
        """
        if self not in _started:
            raise RuntimeError(f"{self!r} was not started: somebody else's hold would be given back")
        patch.dec()
        _started.remove(self)
