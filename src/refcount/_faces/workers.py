"""`StoppableThread`, which can be asked to end, and `WorkerGroup`, as many of them as the usecount asks for."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic

from refcount._core.locks import Guard
from refcount._faces.staff import Staffed, one_for_each
from refcount._support.callables import name_of
from refcount._support.checks import check_callable, check_timeout
from refcount._support.public import public
from refcount._support.reporting import report

LONG_LIFE = 1.0
"""A worker that dies after so many seconds is replaced at once; one that dies sooner, and again, after a pause."""

FIRST_PAUSE, LAST_PAUSE = 0.01, 1.0
"""How many seconds that pause takes: it doubles from the one to the other."""


@public
class StoppableThread(threading.Thread):
    """A thread that ends when asked to. What it does is told in one of two ways, as with any `threading.Thread`.

    Either a target is given, which is handed `stopping` and comes back when that is set; or a subclass overrides
    `run()` and looks at `self.stopping`. `stopping.wait(seconds)` sleeps, and wakes up when the thread is to end. An
    exception goes to `threading.excepthook`, as usual.

    Args:
        target: Called in the thread with the event `stopping`; without one the thread has nothing to do.
        name: The thread's name.
        daemon: Whether the process may end while the thread runs. It may unless told otherwise, so that a thread which
            nobody stops keeps no process from ending.

    Attributes:
        stopping: Set when the thread is to end.

    Raises:
        TypeError: The target cannot be called.

    Example:
        >>> import threading
        >>> from refcount import StoppableThread
        >>> def produce(stopping: threading.Event) -> None:
        ...     while not stopping.wait(0.01):
        ...         ...
        >>> thread = StoppableThread(produce)
        >>> thread.start()
        >>> thread.stop()
        >>> thread.is_alive()
        False
    """

    def __init__(
        self,
        target: Callable[[threading.Event], object] | None = None,
        *,
        name: str | None = None,
        daemon: bool = True,
    ) -> None:
        if target is not None:
            check_callable("the target of a StoppableThread", target)
        super().__init__(name=name, daemon=daemon)
        self.stopping: threading.Event = threading.Event()
        self._stoppable_target = target

    def start(self) -> None:
        """Start the thread. If that is interrupted, the thread is asked to end, for nobody else will.

        Raises:
            RuntimeError: It was started before, or there can be no more threads.

        Example:
            >>> import threading
            >>> from refcount import StoppableThread
            >>> thread = StoppableThread(threading.Event.wait)
            >>> thread.start()
            >>> thread.is_alive()
            True
            >>> thread.stop()
        """
        try:
            super().start()
        except Exception:
            raise
        except BaseException:
            self.stopping.set()
            raise

    def run(self) -> None:
        """Call the target with `stopping`; override it to do something else.

        Example:
            >>> from refcount import StoppableThread
            >>> class Ticker(StoppableThread):
            ...     def run(self) -> None:
            ...         while not self.stopping.wait(0.01):
            ...             ...
            >>> ticker = Ticker()
            >>> ticker.start()
            >>> ticker.stop()
        """
        try:
            if self._stoppable_target is not None:
                self._stoppable_target(self.stopping)
        finally:
            self._stoppable_target = None  # it may refer to the thread

    def stop(self, timeout: float | None = None) -> None:
        """Ask the thread to end, and wait until it has.

        It does not wait for a thread that was never started (which will find `stopping` set when it is), nor inside the
        thread itself. It is harmless when repeated.

        Args:
            timeout: How many seconds to wait.

        Raises:
            TimeoutError: The thread still ran after `timeout` seconds; it has been asked all the same.
            ValueError: The timeout is negative or NaN; nothing was asked.
            TypeError: The timeout is no number; nothing was asked.

        Example:
            >>> import threading
            >>> from refcount import StoppableThread
            >>> thread = StoppableThread(threading.Event.wait)
            >>> thread.start()
            >>> thread.stop(timeout=1.0)
        """
        timeout = check_timeout(timeout)
        self.stopping.set()
        if self.ident is None or self is threading.current_thread():
            return
        self.join(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))
        if self.is_alive():
            raise TimeoutError(f"{self.name} still ran {timeout} s after it was asked to end")


@public
class WorkerGroup(Staffed["WorkerGroup"]):
    """Threads that follow the usecount: as many workers as its consumers ask for. Its value is the group itself.

    With every lease that comes it grows at once. With every one that goes it asks workers to end, which they do when
    they have finished what they are doing; there are never more than asked for, since one that has not yet ended is
    asked to stay first. The release of the last lease waits until all have ended, except a worker that makes it itself.
    While the group lingers, the workers stay as they are. In everything else it is a `SharedResource`.

    Each generation has workers of its own. A lease that comes while the workers of the last one still end does not wait
    for them (a worker may take it), so that for this time there are more threads than asked for. After `invalidate`,
    the old workers stay as they are until their last lease is gone; until then, those leases count for the new ones.

    A worker that dies by an exception is reported (to the `refcount` logger and `sys.unraisablehook`) and replaced
    while it is still needed; after a pause of up to a second where one dies just after another. A worker that comes
    back without having been asked to is done; its place is filled when the next lease comes or goes.

    Args:
        target: Called in each worker with an event of that worker, which is set when it is to end.
        workers: How many threads there are to be for a usecount of 1 or more; by default one for each lease, but no
            more than the machine has CPUs. What it raises goes to the first consumer, who then gets no lease. For later
            ones it is reported, and the number of threads stays.
        name: Names the group in errors and reprs, and its threads; by default the target's name.
        linger: How many seconds the workers stay after the last lease is gone.

    Raises:
        TypeError: The target or `workers` cannot be called, or the linger is no number.
        ValueError: The linger is negative or NaN.

    Example:
        >>> import threading
        >>> from refcount import WorkerGroup
        >>> def work(stopping: threading.Event) -> None:
        ...     while not stopping.wait(0.01):
        ...         ...
        >>> group = WorkerGroup(work, workers=lambda usecount: 2 * usecount)
        >>> with group() as workers:
        ...     workers.usecount, workers.threads
        (1, 2)
        >>> group.threads
        0
    """

    def __init__(
        self,
        target: Callable[[threading.Event], object],
        *,
        workers: Callable[[int], int] = one_for_each,
        name: str | None = None,
        linger: float = 0.0,
    ) -> None:
        check_callable("the target of a WorkerGroup", target)
        name = name_of(target) if name is None else name
        self._crew: Crew | None = None
        super().__init__(lambda: Crew(target, name), self._get_crew, workers=workers, name=name, linger=linger)

    def _get_crew(self, crew: Crew) -> WorkerGroup:
        self._crew = crew
        return self

    @property
    def threads(self) -> int:
        """How many workers the newest generation has, those included that are to end; to look at, never to decide on.

        Example:
            >>> import threading
            >>> from refcount import WorkerGroup
            >>> WorkerGroup(threading.Event.wait).threads
            0
        """
        return 0 if self._crew is None else len(self._crew)


class Crew:
    """The workers of one generation of a group.

    Args:
        target: What each of them does.
        name: Names them.
    """

    def __init__(self, target: Callable[[threading.Event], object], name: str) -> None:
        self.target = target
        self._name = name
        self._numbers = itertools.count(1)
        self._workers: list[Worker] = []
        self._leaving: list[Worker] = []
        """Who was there at the dismissal; one that is counted out already may still be about to end."""
        self._dismissed = False
        # What a finalizer releases inside a step is left to another thread, since the last release waits for workers
        # that may wait for the lock.
        self._guard = Guard()

    def __len__(self) -> int:
        return sum(worker.is_alive() for worker in self._workers.copy())  # none is in a forked child

    def resize(self, number: int) -> None:
        """Ask the youngest to end, or those who have not yet ended to stay and new ones to come."""
        self._guard.run(partial(self._resize, number))

    def dismiss(self) -> None:
        """Ask all to end, and wait for nobody."""
        self._guard.run(self._ask_all_to_end)

    def finish(self) -> None:
        """Wait until all have ended, except the one who asks."""
        for worker in self._leaving.copy():
            worker.stop()

    def keeps(self, worker: Worker, *, died: bool) -> bool:
        """Say whether a worker whose target is over shall call it again; else it is none of the crew any more."""
        return self._guard.run(partial(self._keeps, worker, died))

    # Steps under the lock

    def _resize(self, number: int) -> None:
        if self._dismissed:
            return
        for worker in self._workers[number:]:
            worker.stopping.set()
        for worker in self._workers[:number]:
            worker.recall()
        while len(self._workers) < number:
            worker = Worker(self, f"{self._name}-{next(self._numbers)}")
            try:
                self._workers.append(worker)
                worker.start()
            except BaseException:
                worker.stopping.set()  # it may run all the same
                self._strike(worker)
                raise

    def _ask_all_to_end(self) -> None:
        self._dismissed = True
        self._leaving += self._workers
        for worker in self._workers:
            worker.stopping.set()

    def _keeps(self, worker: Worker, died: bool) -> bool:
        if (died or worker.recalled) and not worker.stopping.is_set():
            worker.recalled = False
            return True
        self._strike(worker)
        return False

    def _strike(self, worker: Worker) -> None:
        if worker in self._workers:  # which one whose start was interrupted may be no more, or not yet
            self._workers.remove(worker)


class Worker(StoppableThread):
    """One of a crew."""

    def __init__(self, crew: Crew, name: str) -> None:
        super().__init__(name=name)
        self._crew = crew
        self.recalled = False
        """Whether it was asked to stay after it was asked to end; which of the two it has seen nobody knows."""

    def recall(self) -> None:
        """Ask it to stay, if it was asked to end."""
        if self.stopping.is_set():
            self.recalled = True
            self.stopping.clear()

    def run(self) -> None:
        pause = 0.0
        died = True
        while self._stays(pause, died=died):
            began = monotonic()
            died = self._dies()
            lived = monotonic() - began
            pause = 0.0 if not died or lived > LONG_LIFE else min(max(FIRST_PAUSE, 2 * pause), LAST_PAUSE)

    def _stays(self, pause: float, *, died: bool) -> bool:
        self.stopping.wait(pause)  # before the crew is asked, since it may be told to end meanwhile
        return self._crew.keeps(self, died=died)

    def _dies(self) -> bool:
        """Do what the crew does, and say whether that ended in an error."""
        try:
            self._crew.target(self.stopping)
        except SystemExit:
            return False
        except BaseException as error:
            report(error, f"worker {self.name}")
            return True
        return False
