"""What holds for every test: no thread is left behind."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import hypothesis
import pytest

GRACE = 2.0
"""Seconds that a thread which is already on its way out gets to end."""

LASTING = frozenset({"refcount-timer"})
"""Threads of the library that may outlive a test: the timer thread ends when its last deadline is due."""

# Threads make the time of one example vary far more than hypothesis allows by default.
hypothesis.settings.register_profile("refcount", deadline=None)
hypothesis.settings.load_profile("refcount")


@pytest.fixture(autouse=True)
def no_thread_left_behind() -> Iterator[None]:
    """Fail the test if a thread that it started still runs at its end."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + GRACE
    started = [thread for thread in threading.enumerate() if thread not in before and thread.name not in LASTING]
    for thread in started:
        with suppress(RuntimeError):  # it is being started by another thread
            thread.join(max(0.0, deadline - time.monotonic()))
    left = [thread for thread in started if thread.is_alive()]
    if left:
        pytest.fail(f"the test left threads running: {', '.join(map(str, left))}", pytrace=False)
