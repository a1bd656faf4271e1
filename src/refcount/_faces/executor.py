"""`RefcountedExecutor`: an executor that is leased, whose threads follow the usecount."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import ClassVar, Never, ParamSpec, TypeVar

from refcount._core.parking import Parker
from refcount._core.registry import registry
from refcount._faces.pool import PoolResource, ThreadPool, Workers, one_for_each
from refcount._support.checks import advises, check_name
from refcount._support.naming import named, public
from refcount._support.reporting import report

P = ParamSpec("P")
R = TypeVar("R")

Task = Callable[[], object]


@public
class RefcountedExecutor(PoolResource[Executor]):
    """An executor whose threads follow the usecount: leasing it gives a `concurrent.futures.Executor`.

    With every lease that comes it grows at once. With every one that goes it shrinks, by threads that have finished the
    task that they are doing; what was submitted stays in line. `submit` and `map` behave as `concurrent.futures`
    documents; `shutdown` raises, since the leases say when it is over. In everything else it is a `SharedResource`.

    The release of the last lease waits until everything that was submitted is done; submitting later raises
    `RuntimeError`. Inside one of the executor's own tasks it does not wait: the executor counts as stopped while its
    threads do what is left. The process does not end before that. (Two executors whose tasks release each other's last
    lease wait for each other.)

    Each generation has threads of its own. A lease that comes while the last one still finishes its tasks does not wait
    for them (a task may take it), unless `overlap` is False; so for this time there are more threads than asked for.
    After `invalidate`, the old threads stay as they are until their last lease is gone; until then, those leases count
    for the new ones.

    Of the options of a resource, `exclusive`, `own_thread` and `at_exit` are missing: threads can be ended from
    anywhere, what was submitted is done before the process ends, and old ones keep nobody from having new ones.

    Args:
        workers: How many threads there are to be: a number, 1 or more, for one pool as long as anybody has a lease; or
            a function of the usecount, which is 1 or more; by default one for each lease, but no more than the machine
            has CPUs. What the function raises goes to the first consumer, who then gets no lease. For later ones it is
            reported, and the number of threads stays.
        name: Names the executor in errors and reprs, and its threads: a text, or a function that returns one; by
            default the name of the class.
        linger: How many seconds the threads stay after the last lease is gone.
        check: Asked, with the executor, before it is handed to a newcomer while it is up. If what it
            returns is not true, or it raises, the newcomer gets a new one.
        overlap: Whether a newcomer has new threads at once while the old ones still finish their tasks. If not, it
            waits for them, so that there are never more than asked for; but then no task may lease its own executor,
            for it would wait for itself.

    Raises:
        TypeError: `workers` is neither a number nor a function of the usecount, or another option has the wrong type.
        ValueError: `workers` is less than 1, or the linger is negative or NaN.

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

    @advises(max_workers="write workers=4, or a function of the usecount", thread_name_prefix="write name=")
    def __init__(
        self,
        workers: Workers = one_for_each,
        *,
        name: str | Callable[[], str] | None = None,
        linger: float = 0.0,
        check: Callable[[Executor], bool] | None = None,
        overlap: bool = True,
    ) -> None:
        check_name(type(self).__name__, name)
        full_name = named(name, type(self).__name__)
        super().__init__(
            lambda: TaskPool(full_name),
            LeasedExecutor,
            workers=workers,
            name=full_name,
            linger=linger,
            check=check,
            overlap=overlap,
        )


class LeasedExecutor(Executor):
    """What consumers get of a pool."""

    def __init__(self, pool: TaskPool) -> None:
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


class TaskPool(ThreadPool):
    """Tasks in line, and the threads of one generation of an executor that do them.

    A thread that finds no task parks among the idle ones. Whoever puts a task wakes one of them, and a thread that has
    taken one while there are more wakes the next.
    """

    finishes: ClassVar[bool] = True

    def _reset(self) -> None:
        super()._reset()
        self._tasks: dict[int, Task] = {}
        """Tasks by number: since a section of the lock makes no call, it cannot use a deque."""
        self._put = 0
        self._taken = 0
        self._idle: dict[Parker, None] = {}

    def put(self, task: Task) -> None:
        """Put a task in line.

        Raises:
            RuntimeError: The pool was shut down.
        """
        with self._lock:
            refused = self._shut
            if not refused:
                self._tasks[self._put] = task
                self._put += 1
        if refused:
            raise RuntimeError(f"{self.name} takes no more tasks: its last lease has ended")
        self._wake_one()

    def make_thread(self, name: str) -> threading.Thread:
        """Return a thread that does tasks."""
        return threading.Thread(target=self.run, name=name, daemon=True)

    def work(self) -> None:
        """Do tasks as long as this thread is wanted, and there are more to come."""
        parker = Parker()
        while not self.leaves():
            task, sleeps = self._take(parker)
            if task is not None:
                do(task)
                del task  # it may refer to much
            elif sleeps:
                parker.park(None)
                self._idle.pop(parker, None)
        self._settle()

    def tell(self) -> None:
        """Have idle threads look whether they are still wanted; the others will when they have done their tasks."""
        for parker in self._idle.copy():
            parker.wake()

    def shutdown(self) -> None:
        """Take no more tasks, and wait for nobody."""
        registry.unfinished[self] = None  # first, so that not even an interrupt lets a task be lost
        super().shutdown()

    def join(self) -> None:
        """Wait until the tasks of a pool that was shut down are done; inside one of them, leave that to the threads."""
        if threading.current_thread() in self._threads:
            return
        if self._taken < self._put and not self._size:
            self._do_the_rest()
        super().join()
        self._settle()

    finish = join

    def _do_the_rest(self) -> None:
        """Have the tasks done that are left when there is no thread."""
        with self._lock:
            self._wanted = self._size or 1
        try:
            self.start_thread()
        except RuntimeError:  # as at the end of the process
            self._do_all()

    def _do_all(self) -> None:
        parker = Parker()
        while (task := self._take(parker)[0]) is not None:
            do(task)

    def _take(self, parker: Parker) -> tuple[Task | None, bool]:
        """Return a task, if there is one for this thread, and whether it is to sleep until `parker` is woken."""
        task = None
        more = sleeps = False
        with self._lock:
            if self._taken < self._put:
                task = self._tasks[self._taken]
                del self._tasks[self._taken]
                self._taken += 1
                more = self._taken < self._put
            elif self._shut:
                self._wanted = 0  # there is nothing to do any more
            elif self._size <= self._wanted:
                self._idle[parker] = None
                sleeps = True
        if more:
            self._wake_one()
        return task, sleeps

    def _wake_one(self) -> None:
        for parker in self._idle.copy():
            parker.wake()
            break

    def _settle(self) -> None:
        """Let the process end if everything is done."""
        if self._shut and not self._size and self._taken == self._put:
            registry.unfinished.pop(self, None)


def do(task: Task) -> None:
    """Do a task. Its own errors are in its future; what it raises is, say, a callback's exit."""
    try:
        task()
    except BaseException as error:
        report(error, f"thread {threading.current_thread().name}")
    finally:
        del task  # the frame of what it calls may be kept by its error, and knows this frame
