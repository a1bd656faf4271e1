"""`RefcountedExecutor`: an executor that is leased, whose threads follow the usecount."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from typing import Never, ParamSpec, TypeVar

from refcount._core.bell import Bell
from refcount._core.locks import Guard
from refcount._core.process import process
from refcount._faces.staff import Staffed, one_for_each
from refcount._support.public import public
from refcount._support.reporting import report

P = ParamSpec("P")
R = TypeVar("R")

Task = Callable[[], object]


@public
class RefcountedExecutor(Staffed[Executor]):
    """An executor whose threads follow the usecount: leasing it gives a `concurrent.futures.Executor`.

    With every lease that comes it grows at once. With every one that goes it shrinks, by threads that have finished the
    task that they are doing; what was submitted stays in line. `submit` and `map` behave as `concurrent.futures`
    documents; `shutdown` raises, since the leases say when it is over. In everything else it is a `SharedResource`.

    The release of the last lease waits until everything that was submitted is done; submitting later raises
    `RuntimeError`. Inside one of the executor's own tasks it does not wait: the executor counts as stopped while its
    threads do what is left. The process does not end before that. (Two executors whose tasks release each other's last
    lease wait for each other.)

    Each generation has threads of its own. A lease that comes while the last one still finishes its tasks does not wait
    for them (a task may take it), so that for this time there are more threads than asked for. After `invalidate`, the
    old threads stay as they are until their last lease is gone; until then, those leases count for the new ones.

    Args:
        workers: How many threads there are to be for a usecount of 1 or more; by default one for each lease, but no
            more than the machine has CPUs. What it raises goes to the first consumer, who then gets no lease. For later
            ones it is reported, and the number of threads stays.
        name: Names the executor in errors and reprs, and its threads.
        linger: How many seconds the threads stay after the last lease is gone.

    Raises:
        TypeError: `workers` cannot be called, or the linger is no number.
        ValueError: The linger is negative or NaN.

    Example:
        >>> from refcount import RefcountedExecutor
        >>> pool = RefcountedExecutor(workers=lambda usecount: 2 * usecount)
        >>> with pool() as executor:
        ...     list(executor.map(abs, [-1, 2, -3]))
        [1, 2, 3]
        >>> executor.submit(abs, -1)
        Traceback (most recent call last):
        RuntimeError: RefcountedExecutor takes no more tasks: its last lease has ended
    """

    def __init__(
        self,
        *,
        workers: Callable[[int], int] = one_for_each,
        name: str = "RefcountedExecutor",
        linger: float = 0.0,
    ) -> None:
        super().__init__(lambda: Pool(name), LeasedExecutor, workers=workers, name=name, linger=linger)


class LeasedExecutor(Executor):
    """What consumers get of a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Let a thread of the pool call `fn` with these arguments, and return the future of it."""
        future: Future[R] = Future()
        self._pool.put(partial(carry_out, future, fn, *args, **kwargs))
        return future

    def __repr__(self) -> str:
        return f"<executor of {self._pool.name}>"

    def shutdown(self, *args: object, **kwargs: object) -> Never:
        """Refuse, whatever the arguments: its leases say when it is over."""
        raise RuntimeError(
            f"{self._pool.name} is shared: it is shut down by the end of its last lease, not by a consumer"
        )


def carry_out(future: Future[R], fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Let `future` have what `fn` returns or raises, unless it was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:
        future.set_exception(error)
        del future  # the error refers to this frame
    else:
        future.set_result(result)


class Pool:
    """Tasks in line, and the threads of one generation of an executor that do them.

    A thread that finds no task leaves a bell among the idle ones and sleeps on it. Whoever puts a task rings one of
    them, whoever changes how many threads there are to be rings all; who was rung looks again.

    Args:
        name: Names it and its threads.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._numbers = itertools.count(1)
        self._wanted = 0
        self._begin()
        process.forkables.add(self)

    def _begin(self) -> None:
        self._threads: set[threading.Thread] = set()
        self._tasks: deque[Task] = deque()
        self._idle: dict[Bell, None] = {}
        self._awaited: list[Bell] = []
        self._leaving: set[threading.Thread] = set()
        """Who was there at the dismissal; one that is counted out already may still be about to end."""
        self._dismissed = False
        # A finalizer may submit something in the middle of a step. What it releases there is left to another thread,
        # since the last release waits for threads that may wait for the lock.
        self._guard = Guard()

    def put(self, task: Task) -> None:
        """Put a task in line.

        Raises:
            RuntimeError: The pool was dismissed.
        """
        self._guard.run(partial(self._put, task))

    def resize(self, number: int) -> None:
        """Let there be so many threads: more at once, fewer as they finish."""
        self._guard.run(partial(self._resize, number))

    def dismiss(self) -> None:
        """Take no more tasks, and wait for nobody."""
        self._guard.run(self._dismiss)

    def finish(self) -> None:
        """Wait until the tasks of a dismissed pool are done; inside one of them, leave that to the threads."""
        if threading.current_thread() in self._threads:
            return
        over = Bell()
        if self._guard.run(partial(self._see_off, over)):
            over.sleep(None)  # for after an interrupted `join` Python 3.11 and 3.12 take the thread for ended
        else:
            self._serve()
        for thread in self._leaving.copy():
            thread.join()

    def renew(self) -> tuple[()]:
        """Begin anew in a forked child, where the threads are not: nothing of the parent's is done here."""
        self._begin()
        self._dismissed = True
        return ()

    def _work(self) -> None:
        """Serve in a thread that was hired, unless its start was interrupted: then nobody counts it."""
        if self._guard.run(lambda: threading.current_thread() in self._threads):
            self._serve()

    def _serve(self) -> None:
        """Do tasks as long as this thread is wanted, and there are more to come."""
        while (task := self._next_task()) is not None:
            try:
                task()
            except BaseException as error:  # the task's own errors are in its future; this is, say, a callback's exit
                report(error, f"thread {threading.current_thread().name}")
            del task  # it may refer to much

    def _next_task(self) -> Task | None:
        """Wait for a task; None when there is none to come, or this thread is one too many. Then it is counted out."""
        bell = Bell()
        while True:
            task, stays = self._guard.run(partial(self._take, bell))
            if task is not None or not stays:
                return task
            bell.sleep(None)

    # Steps under the lock

    def _put(self, task: Task) -> None:
        if self._dismissed:
            raise RuntimeError(f"{self.name} takes no more tasks: its last lease has ended")
        self._tasks.append(task)
        bell = next(reversed(self._idle), None)
        if bell is not None:
            bell.ring()  # before it is forgotten: an interrupt in between may have it rung once more, but not never
            del self._idle[bell]

    def _take(self, bell: Bell) -> tuple[Task | None, bool]:
        """Return a task if there is one for this thread, and whether the thread is to stay and sleep on `bell`."""
        self._idle.pop(bell, None)  # where an interrupted thread has rung it, and no more than that
        surplus = len(self._threads) > self._wanted
        if self._tasks and (self._dismissed or not surplus):
            return self._tasks.popleft(), True
        if self._dismissed or surplus:
            self._threads.discard(threading.current_thread())
            if self._dismissed and not self._threads:
                process.unfinished.pop(self, None)
                for over in self._awaited:
                    over.ring()
            return None, False
        self._idle[bell] = None
        return None, True

    def _resize(self, number: int) -> None:
        self._wanted = number
        self._ring_all()
        while not self._dismissed and len(self._threads) < number:
            self._hire()

    def _dismiss(self) -> None:
        if self._threads or self._tasks:
            process.unfinished[self] = None  # first, so that not even an interrupt lets a task be lost
        self._dismissed = True
        self._leaving |= self._threads
        self._ring_all()

    def _see_off(self, over: Bell) -> bool:
        """Say whether there are threads left that do the last tasks; the last of them rings `over`."""
        if self._tasks and not self._threads:
            with suppress(RuntimeError):  # as at the end of the process
                self._hire()
        self._awaited.append(over)
        self._leaving |= self._threads
        return bool(self._threads)

    def _ring_all(self) -> None:
        for bell in self._idle:
            bell.ring()
        self._idle.clear()

    def _hire(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self.name}-{next(self._numbers)}", daemon=True)
        try:
            self._threads.add(thread)
            thread.start()
        except BaseException:
            self._threads.discard(thread)
            raise
