"""What the tests of the counter share: threads with results, locks that tell of themselves, callbacks that log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from refcount import Refcounter, UnderflowException

WAIT = 20.0
"""Seconds after which a thread that should have gone on counts as stuck."""

V = TypeVar("V")
Verb = Callable[[Refcounter], object]


class Task(Generic[V]):
    """A function that runs in a thread; its result or error is asked for with a timeout."""

    def __init__(self, function: Callable[[], V]) -> None:
        self._function = function
        self._result: list[V] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:  # whatever it is, it belongs to the test
            self._error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> V:
        self._thread.join(WAIT)
        assert self.done, "a thread is stuck"
        if self._error is not None:
            raise self._error
        return self._result[0]


class WatchedLock:
    """Stands for the lock that a thread which runs callbacks holds, and says when another one has to wait for it."""

    def __init__(self, counter: Refcounter) -> None:
        self._inner = threading.RLock()
        self._waiting = threading.Semaphore(0)
        vars(counter)["_transitions"].lock = self

    def __enter__(self) -> None:
        if not self._inner.acquire(blocking=False):
            self._waiting.release()
            assert self._inner.acquire(timeout=WAIT), "the lock was never freed"

    def __exit__(self, *_: object) -> None:
        self._inner.release()

    def wait_for_waiters(self, number: int = 1) -> None:
        for _ in range(number):
            assert self._waiting.acquire(timeout=WAIT), "nobody waits"


class RecordingLock:
    """A user's lock that logs what is done to it, and can do something while it is being taken."""

    def __init__(self, log: list[str], meanwhile: Callable[[], object] = lambda: None) -> None:
        self._log = log
        self._meanwhile = meanwhile

    def acquire(self) -> None:
        self._meanwhile()
        self._log.append("lock")

    def release(self) -> None:
        self._log.append("unlock")


class Recorder:
    """Callbacks that log that they ran, and the counter that has them."""

    def __init__(self, usecount: int = 0) -> None:
        self.log: list[str] = []
        self.counter = Refcounter(usecount, self.acquire, self.release)

    def acquire(self) -> None:
        self.log.append("acquire")

    def release(self) -> None:
        self.log.append("release")

    @property
    def alternates(self) -> bool:
        first, second = self.log[::2], self.log[1::2]
        return set(first) <= {"acquire"} and set(second) <= {"release"}


def call(name: str, amount: int) -> Verb:
    """The verb with its amount; in the name of a test it reads as it is written."""

    def verb(counter: Refcounter) -> object:
        result: object = getattr(counter, name)(amount)
        return result

    verb.__name__ = f"{name}({amount})"
    return verb


def dec_and_lock(counter: Refcounter) -> object:
    """The verb with a lock of its own."""
    return counter.dec_and_lock(threading.Lock())


def wait(event: threading.Event) -> None:
    """Wait for what another thread announces."""
    assert event.wait(WAIT), "what the test waits for never came"


def outcome(verb: Callable[[], object]) -> object:
    """What the verb gives, or that it was an underflow."""
    try:
        return verb()
    except UnderflowException:
        return UnderflowException


def check_usable(counter: Refcounter) -> None:
    """Assert that another thread can use it, so that nobody holds a lock or is thought to be inside; leave it at 0."""

    def use() -> None:
        counter.inc()
        counter.sub(counter.usecount)
        counter.inc()
        counter.dec()

    Task(use).result()
    assert counter.usecount == 0
