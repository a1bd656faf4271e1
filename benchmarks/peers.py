"""What the library is measured against: what people write by hand, and the openers that do nothing."""

import importlib.util
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self, cast


class Empty:
    """An opener, or a value, that starts and stops nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


@contextmanager
def opened() -> Generator[None]:
    """Start and stop nothing, as a generator."""
    yield


_lock = threading.Lock()
_counts: dict[object, int] = {}
_values: dict[object, Empty] = {}


def _make(key: object) -> Empty:
    return Empty()


@contextmanager
def hand_written(key: object) -> Generator[Empty]:
    """Share one value for each key: a lock, a dict and two ifs. It starts and stops under the lock."""
    with _lock:
        _counts[key] = _counts.get(key, 0) + 1
        if _counts[key] == 1:
            _values[key] = _make(key)
    try:
        yield _values[key]
    finally:
        with _lock:
            _counts[key] -= 1
            if _counts[key] == 0:
                del _counts[key], _values[key]


class Worker:
    """One that a manager manages, and that demands."""

    def __init__(self) -> None:
        self.needs_it = True


class HandWrittenManager:
    """A manager with one demand: a lock, a list, an integer and a flag."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.instances: list[Worker] = []
        self.demanding = 0
        self.needed = False

    def add(self, instance: Worker) -> None:
        """Manage the instance, and count it if it demands."""
        with self.lock:
            self.instances.append(instance)
            if instance.needs_it:
                self.demanding += 1
                if self.demanding == 1:
                    self.needed = True

    def remove(self, instance: Worker) -> None:
        """Undo `add`."""
        with self.lock:
            self.instances.remove(instance)
            if instance.needs_it:
                self.demanding -= 1
                if self.demanding == 0:
                    self.needed = False


class ListAndDict:
    """The least that a manager could be made of."""

    def __init__(self) -> None:
        self.instances: list[Worker] = []
        self.counts: dict[str, int] = {}


class Counter(Protocol):
    """What is measured of a counter."""

    def inc(self) -> None:
        """Count one up."""

    def dec(self) -> None:
        """Count one down."""


class CounterClass(Protocol):
    """A class of counters that begin at 1."""

    def __call__(self) -> Counter:
        """Return a new counter."""
        ...


class UnlockedCounter:
    """The stand-in where `pyrefcount` is not at hand: without a lock, its verbs in two steps, as there."""

    def __init__(self) -> None:
        self.usecount = 1
        self.acquire = self.release = None

    def inc(self) -> None:
        """Count one up."""
        self.add(1)

    def dec(self) -> None:
        """Count one down."""
        self.sub(1)

    def add(self, amount: int) -> None:
        """Count up."""
        if self.usecount == 0 and self.acquire:
            raise NotImplementedError
        self.usecount += amount

    def sub(self, amount: int) -> None:
        """Count down."""
        if self.usecount - amount < 0:
            raise ArithmeticError
        self.usecount -= amount
        if self.usecount == 0 and self.release is not None:
            raise NotImplementedError


def unlocked_counter() -> tuple[str, CounterClass]:
    """Return the counter of `pyrefcount` with its name, or a stand-in where it is not at hand.

    `pyrefcount` is imported as `refcount`, and so cannot be installed beside this package. The environment variable
    PYREFCOUNT_SITE_PACKAGES names the folder that it was installed into.
    """
    folder = os.environ.get("PYREFCOUNT_SITE_PACKAGES")
    if not folder:
        return "a stand-in for pyrefcount's", UnlockedCounter
    spec = importlib.util.spec_from_file_location("pyrefcount", Path(folder, "refcount", "__init__.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"no pyrefcount in {folder}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return "pyrefcount's", cast("CounterClass", module.Refcounter)
