"""`StoppableThread`, which can be asked to end, and `WorkerGroup`, as many of them as the usecount asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from refcount._core.clock import monotonic
from refcount._core.parking import Parker
from refcount._faces.pool import PoolResource, ThreadPool, Workers, one_for_each
from refcount._support.checks import advises, check_function, check_name
from refcount._support.naming import Name, name_of, named, public
from refcount._support.numbers import check_timeout
from refcount._support.reporting import report

LONG_LIFE = 1.0
"""A worker that dies after so many seconds is replaced at once; one that dies sooner, and again, after a pause."""

FIRST_PAUSE, LAST_PAUSE = 0.01, 60.0
"""How many seconds that pause takes: it doubles from the one to the other."""

PARTIAL = "hand in functools.partial(target, ...), which is called with `stopping` after all else"


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
        TypeError: The target cannot be called with an event. What else it is to be called with is told by
            `functools.partial`: there are no `args` and `kwargs`.

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

    @advises(args=PARTIAL, kwargs=PARTIAL)
    def __init__(
        self,
        target: Callable[[threading.Event], object] | None = None,
        *,
        name: str | None = None,
        daemon: bool = True,
    ) -> None:
        if target is not None:
            check_function("the target of a StoppableThread", target, ("stopping",))
        super().__init__(name=name, daemon=daemon)
        self.stopping: threading.Event = StopEvent()
        self._stoppable_target = target

    def start(self) -> None:
        """Start the thread. If that is interrupted, the thread is asked to end, for nobody else will.

        Raises:
            RuntimeError: It was started before, or there can be no more threads.

        Example:
            >>> import threading
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
class WorkerGroup(PoolResource["WorkerGroup"]):
    """Threads that follow the usecount: as many workers as its consumers ask for. Its value is the group itself.

    With every lease that comes it grows at once. With every one that goes it asks workers to end, which they do when
    they have finished what they are doing; there are never more than asked for, since one that has not yet ended is
    asked to stay first. The release of the last lease waits until all have ended, except a worker that makes it itself.
    While the group lingers, the workers stay as they are. In everything else it is a `SharedResource`.

    Each generation has workers of its own. A lease that comes while the workers of the last one still end does not wait
    for them (a worker may take it), unless `overlap` is False; so for this time there are more threads than asked for.
    After `invalidate`, the old workers stay as they are until their last lease is gone; until then, those leases count
    for the new ones.

    A worker that dies by an exception is reported (to the `refcount` logger and `sys.unraisablehook`) and replaced
    while it is still needed: at once if it has lived for more than a second, else after a pause, which doubles with
    every such death, from 10 milliseconds up to a minute. So a target with a bug is not tried in vain for ever without
    rest, and one that cannot reach its server finds it again. A worker that comes back without having been asked to is
    done; its place is filled when the next lease comes or goes.

    Of the options of a resource, `exclusive`, `own_thread` and `at_exit` are missing: threads can be ended from
    anywhere, none outlives its process, and old ones keep nobody from having new ones.

    Args:
        target: Called in each worker with an event of that worker, which is set when it is to end.
        workers: How many threads there are to be: a number, 1 or more, or a function of the usecount, which is 1 or
            more; by default one for each lease, but no more than the machine has CPUs. What the function raises goes to
            the first consumer, who then gets no lease. For later ones it is reported, and the number of threads stays.
        name: Names the group in errors and reprs, and its threads: a text, or a function that returns one; by default
            the target's name.
        linger: How many seconds the workers stay after the last lease is gone.
        check: Asked before the group is handed to a newcomer while its workers are up. If what it returns
            is not true, or it raises, the newcomer gets new workers.
        overlap: Whether a newcomer has new workers at once while the old ones still end. If not, it waits for them, so
            that there are never more than asked for; but then no worker may lease its own group, for it would wait for
            itself.

    Raises:
        TypeError: The target cannot be called with an event, `workers` is neither a number nor a function of the
            usecount, or another option has the wrong type.
        ValueError: `workers` is less than 1, or the linger is negative or NaN.

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

    @advises(args=PARTIAL, kwargs=PARTIAL, max_workers="write workers=4, or a function of the usecount")
    def __init__(
        self,
        target: Callable[[threading.Event], object],
        *,
        workers: Workers = one_for_each,
        name: str | Callable[[], str] | None = None,
        linger: float = 0.0,
        check: Callable[[WorkerGroup], bool] | None = None,
        overlap: bool = True,
    ) -> None:
        check_function("the target of a WorkerGroup", target, ("stopping",))
        check_name(type(self).__name__, name)
        full_name = named(name, name_of(target))
        super().__init__(
            lambda: WorkerPool(target, full_name),
            lambda _pool: self,
            workers=workers,
            name=full_name,
            linger=linger,
            check=check,
            overlap=overlap,
        )

    @property
    def threads(self) -> int:
        """How many workers the newest generation has, those included that are to end; to look at, never to decide on.

        Example:
            >>> import threading
            >>> WorkerGroup(threading.Event.wait).threads
            0
        """
        return 0 if self._pool is None else self._pool.threads


class StopEvent(threading.Event):
    """An event that may be set while the same thread is in the middle of one of its methods.

    A plain one would wait for its own lock when a finalizer sets it there, and for ever when it is used again after an
    interrupt there. All that is different is the condition that it stands on.
    """

    def __init__(self) -> None:
        super().__init__()
        # Private, but so `threading.Event.wait(event)`, called on the class, does the same as `event.wait()`.
        self._cond = Waiters(self.is_set)


class Waiters:
    """What an event uses of `threading.Condition`, without a lock: who waits looks again when it can be woken.

    Args:
        is_set: Returns whether the event is set.
    """

    def __init__(self, is_set: Callable[[], bool]) -> None:
        self._is_set = is_set
        self._parkers: dict[Parker, None] = {}

    def __enter__(self) -> None:
        """Keep nobody out."""

    def __exit__(self, *error: object) -> None:
        """Let nobody in."""

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until the event is set, and say whether that came before `timeout` seconds were over."""
        parker = Parker()
        self._parkers[parker] = None
        try:
            return self._is_set() or parker.park(None if timeout is None else monotonic() + timeout)
        finally:
            self._parkers.pop(parker, None)

    def notify_all(self) -> None:
        """Wake all who sleep."""
        for parker in self._parkers.copy():
            parker.wake()


class StopRequest(StopEvent):
    """The event that one call of a worker's target is handed, which is set when that call is to end.

    Attributes:
        made: Whether the pool has asked, even if it has taken that back: the target may have seen it before.
    """

    made = False


class WorkerPool(ThreadPool):
    """The workers of one generation of a group, each of which calls `target`."""

    def __init__(self, target: Callable[[threading.Event], object], name: Name) -> None:
        super().__init__(name)
        self._target = target

    def _reset(self) -> None:
        super()._reset()
        self._requests: dict[threading.Thread, StopRequest] = {}

    def make_thread(self, name: str) -> StoppableThread:
        """Return a worker."""
        return StoppableThread(lambda _stopping: self.run(), name=name)

    def work(self) -> None:
        """Call the target; again when it has died, or came back because it was asked to and is wanted after all."""
        worker = threading.current_thread()
        pause = 0.0
        done = False
        while not self.leaves(done=done):
            request = self._hand_out_request(worker)
            began = monotonic()
            died = self._dies(request)
            lived = monotonic() - began
            pause = 0.0 if not died or lived > LONG_LIFE else min(max(FIRST_PAUSE, 2 * pause), LAST_PAUSE)
            if pause:
                request.wait(pause)
            self._requests.pop(worker, None)
            done = not (died or request.made)
            request.set()  # for others who wait for it: this call is over

    def tell(self) -> None:
        """Ask the youngest to end if there are too many, and those who have not yet ended to stay if there are not."""
        while (wanted := self._wanted) != self._tell_each(wanted):
            pass  # somebody else has changed it, and may have told them before

    def _tell_each(self, wanted: int) -> int:
        """Tell each worker whether it is one of as many as wanted; return how many are wanted afterwards."""
        for place, worker in enumerate(self._threads.copy()):
            request = self._requests.get(worker)
            if request is None:
                continue  # it is about to have one, and looks then
            if place >= wanted:
                request.made = True
                request.set()
            elif request.made:
                request.clear()
        return self._wanted

    def _hand_out_request(self, worker: threading.Thread) -> StopRequest:
        request = self._requests[worker] = StopRequest()
        if isinstance(worker, StoppableThread):
            worker.stopping = request
        self.tell()  # it may be one too many already
        return request

    def _dies(self, request: StopRequest) -> bool:
        """Call the target, and say whether that ended in an error."""
        try:
            self._target(request)
        except SystemExit:
            return False
        except BaseException as error:
            report(error, f"worker {threading.current_thread().name}")
            return True
        return False
