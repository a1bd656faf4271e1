"""`SharedResource`: something that is started for its first consumer, shared by all, and stopped after the last."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Never, Self, TypeVar, cast

from refcount._core.clock import clocks
from refcount._core.generation import STOPPING, State
from refcount._core.lease import Lease
from refcount._core.observing import Observers
from refcount._core.openers import Name, Opener, Options, lives_of, lives_of_hooks
from refcount._core.parking import deadline_after
from refcount._core.threads import ThreadDriver
from refcount._support.callables import name_of, public
from refcount._support.checks import check_callable, check_hooks, check_name

if TYPE_CHECKING:
    from refcount._core.openers import Life
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@public
class SharedResource(ThreadDriver[T_co], Generic[T_co]):
    """A resource that runs only while somebody holds a lease on it. Thread-safe.

    The first consumer starts it, everyone in between shares its value, the last one stops it. Concurrent first
    consumers share one start; if that raises, all of them get that same error, and the next consumer tries anew.
    While it stops, a newcomer waits and then starts it again.

    Args:
        opener: Called for each start; entering the context manager that it returns starts the resource and gives its
            value, leaving it stops the resource. What a consumer's with-body raises is not thrown into it.
        name: Names the resource in errors, warnings and reprs; by default the opener's name.
        linger: How many seconds the resource stays up after the last lease is gone. 0 stops it at once, in the
            releasing thread; `math.inf` keeps it up until `flush`, `close` or the end of the process.
        check: Asked, outside every lock, before a value that is up is handed to a newcomer. If it returns False or
            raises, the value is invalidated and the newcomer gets a fresh one.
        overlap: Start a new generation at once while the old one still stops, instead of waiting for it.

    Raises:
        TypeError: The opener or the check cannot be called, the name is no string, or the linger is no number.
        ValueError: The linger is negative or NaN.

    The idea is that of grpc-java's `SharedResourceHolder` and Effect's `RcRef`.

    Example:
        >>> from contextlib import contextmanager
        >>> from refcount import SharedResource
        >>> @contextmanager
        ... def open_camera():
        ...     print("start")
        ...     yield "camera"
        ...     print("stop")
        >>> camera = SharedResource(open_camera)
        >>> with camera() as first, camera() as second:
        ...     print(first, second, camera.usecount)
        start
        camera camera 2
        stop
    """

    __slots__ = ()

    def __init__(
        self,
        opener: Opener[T_co],
        *,
        name: str | None = None,
        linger: float = 0.0,
        check: Callable[[T_co], bool] | None = None,
        overlap: bool = False,
    ) -> None:
        check_callable("the opener of a shared resource", opener)
        check_name(type(self).__name__, name)
        name = name_of(opener) if name is None else name
        self._setup(lives_of(opener, name), name, Options(linger, check, overlap))

    @staticmethod
    def of(
        factory: Callable[[], T],
        *,
        start: Callable[[T], object] | None = None,
        stop: Callable[[T], object] | None = None,
        name: str | None = None,
        linger: float = 0.0,
        check: Callable[[T], bool] | None = None,
        overlap: bool = False,
    ) -> SharedResource[T]:
        """Make a resource from a factory and two hooks.

        Args:
            factory: Makes the value, once for each start.
            start: Called with the value then; if it raises, `stop` is called all the same, and nothing is left behind.
            stop: Called with the value to stop it.
            name: By default the factory's name.
            linger: Seconds, as in `SharedResource`.
            check: As in `SharedResource`.
            overlap: As in `SharedResource`.

        Returns:
            A plain `SharedResource`, of subclasses as well.

        Raises:
            TypeError: The factory or a hook cannot be called, the name is no string, or the linger is no number.
            ValueError: The linger is negative or NaN.

        Example:
            >>> from refcount import SharedResource
            >>> basket = SharedResource.of(list, start=lambda value: value.append("apple"), stop=list.clear)
            >>> with basket() as value:
            ...     value
            ['apple']
        """
        check_hooks("the factory of a shared resource", factory, start, stop)
        check_name("SharedResource", name)
        name = name_of(factory) if name is None else name
        return new_resource(lives_of_hooks(factory, start, stop, name), name, Options(linger, check, overlap))

    def __call__(self) -> Lease[T_co]:
        """Return a new lease, not held yet: `with resource() as value:`.

        Example:
            >>> from refcount import SharedResource
            >>> with SharedResource.of(dict)() as value:
            ...     value
            {}
        """
        return Lease(self)

    if not TYPE_CHECKING:  # which refuses the with-statement of what was not called

        def __enter__(self):
            raise TypeError(
                f"{self.name} is not a context manager, calling it gives one: write `with resource() as value:`"
            )

        __exit__ = None  # so that `isinstance(resource, AbstractContextManager)` says no

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> Never:  # what `pickle` asks
        raise TypeError(f"{self!r} cannot be pickled: it belongs to this process")

    def __repr__(self) -> str:
        return f"<SharedResource {self.name}, {self.state.value}, usecount={self.usecount}>"

    @property
    def usecount(self) -> int:
        """How many leases are held, those of detached generations included; to look at, never to decide on."""
        return self._seen().usecount

    @property
    def state(self) -> State:
        """What it is doing; to look at, never to decide on. `State.CLOSED` as soon as it refuses newcomers."""
        return self._seen().state

    @property
    def generation(self) -> int | None:
        """The number of the generation that newcomers get, or None when there is none. It grows with every start."""
        current = self._seen().current
        return None if current is None else current.number

    def acquire(self, timeout: float | None = None) -> Lease[T_co]:
        """Return a held lease, starting the resource if this is its first.

        Args:
            timeout: How many seconds to wait for a start or stop of another thread, or for a slot of a bounded family.
                What this very call does takes as long as it takes: a start, or the stop of a key that makes room.

        Raises:
            TimeoutError: That took longer.
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of this resource.
            ValueError: The timeout is negative or NaN.
            TypeError: The timeout is no number.

        Example:
            >>> from refcount import SharedResource
            >>> lease = SharedResource.of(list).acquire(timeout=1.0)
            >>> lease.value
            []
            >>> lease.release()
            True
        """
        deadline = deadline_after(timeout)
        lease = Lease(self, acquired=True)
        try:
            self._admit(lease, deadline)
            return lease
        except BaseException:
            self._retract(lease)
            raise

    def try_acquire(self) -> Lease[T_co] | None:
        """Return a held lease if the resource is running (lingering counts), else None; start nothing, never wait.

        Raises:
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of this resource.

        Example:
            >>> from refcount import SharedResource
            >>> resource = SharedResource.of(list)
            >>> resource.try_acquire() is None
            True
        """
        lease = Lease(self, acquired=True)
        try:
            return lease if self._admit_running(lease) else None
        except BaseException:
            self._retract(lease)
            raise

    def invalidate(self) -> None:
        """Detach the running generation: its holders keep it until they leave, the next consumer gets a fresh one.

        One that lingers is stopped now, as by `flush`. A start or stop that hangs is given up: its late end disturbs
        nobody.

        Raises:
            Exception: What the stop raised, if this call stopped it.

        Example:
            >>> from refcount import SharedResource
            >>> resource = SharedResource.of(object)
            >>> with resource() as old:
            ...     resource.invalidate()
            ...     with resource() as new:
            ...         old is new
            False
        """
        by = self._by()
        current = self._machine.current
        if current is None:
            return
        if current.phase is not STOPPING:
            self._condemn(current, by, report_errors=False)
            return
        try:
            if self._machine.claim(current, by):
                self._stop(current, by, report_errors=False)
            else:
                self._forget(current)
        except BaseException:
            self._mend(current)
            raise

    def touch(self) -> None:
        """Begin the linger anew, if it lingers.

        Example:
            >>> from refcount import SharedResource
            >>> from refcount.testing import ManualClock
            >>> with ManualClock() as clock:
            ...     resource = SharedResource.of(list, linger=10.0)
            ...     with resource():
            ...         pass
            ...     clock.advance(9.0)
            ...     resource.touch()
            ...     clock.advance(9.0)
            ...     print(resource.state.value)
            ...     clock.advance(1.0)
            ...     print(resource.state.value)
            lingering
            idle
        """
        self._by()
        self._machine.touch(clocks.clock.now())

    def flush(self) -> None:
        """Stop it now if it lingers.

        Raises:
            Exception: What the stop raised.

        Example:
            >>> import math
            >>> from refcount import SharedResource
            >>> resource = SharedResource.of(list, stop=lambda value: print("stop"), linger=math.inf)
            >>> with resource():
            ...     pass
            >>> resource.flush()
            stop
        """
        self._flush()

    def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse newcomers for good, wait for the holders to leave, and see it stopped.

        Harmless when called again. A start in flight is finished for the consumers who wait on it.

        Args:
            timeout: How many seconds to wait. After that it stays closed, and stops when its last holder leaves.
            force: Do not wait for the holders, stop under them. A start in flight is stopped as soon as it is done,
                and the consumers who wait on it get `ClosedError`.

        Raises:
            TimeoutError: It was still held, or had not stopped, after `timeout` seconds.
            ReentrantError: Called inside a hook of this resource.
            Exception: What the stop raised, if this call stopped it.

        Example:
            >>> from refcount import SharedResource
            >>> resource = SharedResource.of(list, name="basket")
            >>> resource.close()
            >>> resource.acquire()
            Traceback (most recent call last):
            refcount.ClosedError: basket is closed
        """
        deadline = deadline_after(timeout)
        self._refuse_reentry("close", self._by())
        try:
            self._shut(force=force)
        except Exception:
            self._wait_quiet(deadline)  # it is closed all the same
            raise
        if not self._wait_quiet(deadline):
            raise self._still_running(timeout)

    def wait_stopped(self, timeout: float | None = None) -> None:
        """Return when nothing of it runs any more.

        Args:
            timeout: How many seconds to wait.

        Raises:
            TimeoutError: Something still ran after `timeout` seconds.
            ReentrantError: Called inside a hook of this resource.

        Example:
            >>> from refcount import SharedResource
            >>> SharedResource.of(list).wait_stopped(timeout=1.0)
        """
        deadline = deadline_after(timeout)
        self._refuse_reentry("wait_stopped", self._by())
        if not self._wait_quiet(deadline):
            raise self._still_running(timeout)

    def observe(self, callback: Callable[[int], object]) -> Callable[[], None]:
        """Call `callback(usecount)` at every change, in order, none merged, one at a time, outside every lock.

        It runs in a thread that changed the usecount, not always the one that made this change, and a long backlog
        slows those who make it. An error that it raises is reported and disturbs nothing.

        Returns:
            A function that ends it, harmless when called again.

        Raises:
            TypeError: The callback cannot be called.

        Example:
            >>> from refcount import SharedResource
            >>> resource = SharedResource.of(list)
            >>> end = resource.observe(print)
            >>> with resource():
            ...     pass
            1
            0
            >>> end()
        """
        check_callable("the callback of observe", callback)
        self._by()
        observers = self._observers
        if observers is None:
            observers = self._observers = Observers(self._machine, self._name)
        self._machine.observe(True)
        token = observers.add(callback)

        def end() -> None:
            observers.remove(token)
            if not observers:
                self._machine.observe(False)
                if observers:  # another one, who has come meanwhile
                    self._machine.observe(True)

        return end

    def _still_running(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"{self.name} still ran after {timeout} s, with usecount {self.usecount}")


def new_resource(lives: Callable[[], Life[T]], name: Name, options: Options[T]) -> SharedResource[T]:
    """Make a resource of what makes its lives, which the faces know better than an opener could tell.

    Args:
        lives: Called for each start: gives a generator that starts the resource, yields its value once, and stops it.
        name: Names it, or makes the name when that is asked for.
        options: What else was said of it.
    """
    resource = cast("SharedResource[T]", SharedResource.__new__(SharedResource))
    resource._setup(lives, name, options, anchored=False)
    return resource
