"""`ThreadPool`, which has as many threads as it was asked for last, and `PoolResource`, a shared resource that is one.

Each step that changes the state of a pool is a section under its lock in which nothing is called. So neither a signal
nor a finalizer comes in the middle of a step: a finalizer may do whatever it likes with the pool, and no code of users
ever runs under the lock. What follows from a step is done after it, and is harmless when repeated: threads are started,
and those that are there are told to look at what has changed.
"""

from __future__ import annotations

import itertools
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import ClassVar, TypeVar

from refcount._core.parking import Parker
from refcount._core.registry import registry
from refcount._core.shared import SharedResource
from refcount._support.checks import check_function
from refcount._support.naming import Name, text_of
from refcount._support.numbers import check_integer

T_co = TypeVar("T_co", covariant=True)

Workers = int | Callable[[int], int]
"""How many threads there are to be: always, or for a usecount."""


class ThreadPool(ABC):
    """Threads that all do the same, until they are no longer wanted.

    A thread counts from before it is started until it has decided to leave. When the pool is shut down, a thread that
    has not begun by then is dropped: it does nothing but end, and only who starts it waits for that.

    Args:
        name: The beginning of the threads' names.
    """

    finishes: ClassVar[bool] = False
    """Whether threads go on after `shutdown` until they are done, or are one too many from then on."""

    def __init__(self, name: Name) -> None:
        self.name = text_of(name)
        self._numbers = itertools.count(1)
        self._reset()
        registry.forkables.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._shut = False
        self._wanted = 0
        self._size = 0
        self._running = 0
        self._starting: dict[threading.Thread, None] = {}
        self._threads: dict[threading.Thread, None] = {}
        self._begun: dict[threading.Thread, None] = {}
        """Threads that may still be alive, those included that do not count any more but have not quite ended."""
        self._joiners: dict[Parker, None] = {}

    @property
    def threads(self) -> int:
        """How many threads count and are alive."""
        counting = {*self._starting.copy(), *self._threads.copy()}  # in this order: one may begin in between
        return sum(thread.is_alive() for thread in counting)

    # What a kind of pool says of its threads

    @abstractmethod
    def make_thread(self, name: str) -> threading.Thread:
        """Return a thread that calls `run`, not started yet."""

    @abstractmethod
    def work(self) -> None:
        """Do what a thread of the pool does as long as `leaves`, asked first and after each turn, says no."""

    @abstractmethod
    def tell(self) -> None:
        """Have the threads look whether they are still wanted; harmless when repeated."""

    # What the owner of a pool does

    def resize(self, number: int) -> None:
        """Have `number` threads: more at once, fewer as they finish. Does nothing after `shutdown`."""
        try:
            with self._lock:
                shut = self._shut
                if not shut:
                    self._wanted = number
            if not shut:
                self.tell()
                self._fill()
        except BaseException:
            self.tell()
            raise

    def shutdown(self) -> None:
        """Ask all threads to end, and wait for none; harmless when repeated."""
        none_starting: dict[threading.Thread, None] = {}
        with self._lock:
            self._shut = True
            self._starting = none_starting
            self._size = self._running
            self._wanted = self._running if self.finishes else 0
        self.tell()

    def join(self) -> None:
        """Wait until all threads of a pool that was shut down have ended, except the calling one."""
        parker = Parker()
        self._joiners[parker] = None
        try:
            self._wait_for_others(parker)
        finally:
            self._joiners.pop(parker, None)
        for thread in self._begun.copy():
            if thread is not threading.current_thread():
                thread.join()

    def reset_after_fork(self) -> tuple[()]:
        """Be shut down in a forked child, where the threads are not; nothing has to be kept."""
        self._reset()
        self._shut = True
        return ()

    # What threads do

    def run(self) -> None:
        """Work in the calling thread."""
        self._begin(threading.current_thread())
        try:
            self.work()
        finally:
            self.leaves(done=True)

    def leaves(self, *, done: bool = False) -> bool:
        """Count the calling thread out if it is done or one too many; say whether it is to end, or did not count."""
        thread = threading.current_thread()
        with self._lock:
            if thread in self._threads:
                if not done and self._size <= self._wanted:
                    return False
                del self._threads[thread]
                self._size -= 1
                self._running -= 1
        for parker in self._joiners.copy():
            parker.wake()
        return True

    def start_thread(self) -> None:
        """Start a thread if there are fewer than wanted."""
        self._prune()
        if self._size >= self._wanted:
            return
        thread = self.make_thread(f"{self.name}-{next(self._numbers)}")
        try:
            if self._add(thread):
                thread.start()
                if thread not in self._starting and thread not in self._begun:
                    thread.join()  # it was dropped meanwhile, by a `shutdown` that could not wait for it
        except BaseException:
            self._drop(thread)
            raise

    def _fill(self) -> None:
        for _ in range(self._wanted - self._size):  # and not until there are so many: some may be done at once
            self.start_thread()

    def _add(self, thread: threading.Thread) -> bool:
        """Count `thread` in if there are fewer than wanted, and say whether there were."""
        with self._lock:
            if self._size >= self._wanted:
                return False
            self._size += 1
            self._starting[thread] = None
            return True

    def _drop(self, thread: threading.Thread) -> None:
        """Do not count a thread whose start has failed, unless it has begun all the same."""
        with self._lock:
            if thread in self._starting:
                del self._starting[thread]
                self._size -= 1

    def _begin(self, thread: threading.Thread) -> None:
        """Note that `thread` has begun; it does not count, and so leaves at once, if it was dropped."""
        with self._lock:
            if thread in self._starting:
                self._begun[thread] = None
                self._threads[thread] = None
                del self._starting[thread]  # last: whoever looks without the lock finds it somewhere
                self._running += 1

    def _prune(self) -> None:
        """Forget threads that have ended."""
        for thread in self._begun.copy():
            if not thread.is_alive():
                self._begun.pop(thread, None)

    def _wait_for_others(self, parker: Parker) -> None:
        # Loops are functions of their own here: CPython 3.13 leaves out a `finally` when a signal comes at the end of a
        # loop before it.
        mine = 1 if threading.current_thread() in self._threads else 0
        while self._size > mine:
            parker.park(None)


PoolT = TypeVar("PoolT", bound=ThreadPool)


class PoolResource(SharedResource[T_co]):
    """A shared resource with a pool of threads, whose size follows the usecount.

    It makes a pool when it starts, and shuts it down when it stops.

    Args:
        make_pool: Returns a pool without threads, once for each start.
        value: Returns what consumers get of a pool.
        workers: How many threads there are to be, or returns that for a usecount of 1 or more.
        name, linger, check, overlap: As in `SharedResource`.
    """

    # Of the other options of a resource none has a meaning: no thread outlives its process, so that it could be left at
    # exit; none has to be ended where it was started; and those of an old generation keep nobody from having new ones.

    def __init__(
        self,
        make_pool: Callable[[], PoolT],
        value: Callable[[PoolT], T_co],
        *,
        workers: Workers,
        name: Name,
        linger: float,
        check: Callable[[T_co], bool] | None,
        overlap: bool,
    ) -> None:
        self._workers = _as_function(workers)
        self._pool: ThreadPool | None = None
        self._last_usecount = 0

        @contextmanager
        def open_pool() -> Generator[T_co]:
            pool = make_pool()
            try:
                pool.resize(self._number_for(1))  # so that a failure is the first consumer's
                self._pool, self._last_usecount = pool, 1
                yield value(pool)
            finally:
                try:  # in place: an interrupt may come where a function is entered
                    pool.shutdown()
                    pool.join()
                except BaseException:
                    pool.shutdown()  # it may not have come so far
                    raise

        super().__init__(open_pool, name=name, linger=linger, check=check, overlap=overlap)
        self.observe(self._resize_pool)

    def __repr__(self) -> str:
        kind, name = type(self).__name__, self.name
        shown = kind if name == kind else f"{kind} {name}"
        return f"<{shown}, {self.state.value}, usecount={self.usecount}>"

    def _resize_pool(self, usecount: int) -> None:
        # The start has seen to the first lease. At 0 the pool is shut down, or stays as it is while it lingers.
        before, self._last_usecount = self._last_usecount, usecount
        if usecount and usecount != before and self._pool is not None:
            self._pool.resize(self._number_for(usecount))

    def _number_for(self, usecount: int) -> int:
        what = f"what workers of {self.name} returned for usecount {usecount}"
        return check_integer(what, self._workers(usecount))


def _as_function(workers: Workers) -> Callable[[int], int]:
    """Return what gives the number of threads for a usecount.

    Raises:
        TypeError: It is neither an integer, nor can it be called with the usecount.
        ValueError: It is less than 1.
    """
    if callable(workers):
        check_function("workers", workers, ("the usecount",))
        return workers
    number = check_integer("workers, a number or a function of the usecount,", workers, least=1)
    return lambda usecount: number


def one_for_each(usecount: int) -> int:
    """Return one thread for each lease, but no more than the machine has CPUs."""
    return min(usecount, os.cpu_count() or 1)
