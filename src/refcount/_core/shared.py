"""`SharedResource`: something that is started for its first consumer, shared by all, and stopped after the last."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

from refcount._core.claim import ACQUIRED
from refcount._core.control import Controls
from refcount._core.lease import Lease
from refcount._core.observers import Observed
from refcount._core.openers import LivesOfOpener, Opener, Options, lives_of_hooks
from refcount._core.registry import registry
from refcount._core.threads import ThreadDriver
from refcount._errors import UnderflowException
from refcount._support.checks import check_hooks, check_name, check_opener
from refcount._support.naming import Name, name_of, named, public

if TYPE_CHECKING:
    from refcount._core.openers import Life
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@public
class SharedResource(Controls[T_co], ThreadDriver[T_co], Observed[T_co], Generic[T_co]):
    """A resource that runs only while somebody holds a lease on it. Thread-safe.

    The first consumer starts it, everyone in between shares its value, the last one stops it. Concurrent first
    consumers share one start; if that raises, all of them get that same error, and the next consumer tries anew.
    While it stops, a newcomer waits and then starts it again.

    Args:
        opener: Called for each start; entering the context manager that it returns starts the resource and gives its
            value, leaving it stops the resource. What a consumer's with-body raises is not thrown into it.
        name: Names the resource in errors, warnings and reprs; a text, or a function that returns one when it is
            needed. By default the opener's name.
        linger: How many seconds the resource stays up after the last lease is gone. 0 stops it at once, in the
            releasing thread; `math.inf` keeps it up until `flush`, `close` or the end of the process.
        check: Asked, outside every lock, before a value that is up is handed to a newcomer. If what it returns is
            not true, or it raises, the value is invalidated and the newcomer gets a fresh one.
        overlap: Start a new generation at once while the old one still stops, instead of waiting for it.
        exclusive: Never have two generations at once: whoever comes after an `invalidate` or a failed `check` waits
            until the old holders have left and the old one has stopped. For ports, mounts, devices. Who holds the old
            one and waits for the new one waits for itself.
        own_thread: Run start and stop of each generation in one thread of its own, in a copy of its first consumer's
            context. For what must be closed where it was opened.
        at_exit: "stop": what is up when the process ends is stopped; "leave": it is left as it is, as a mount may be.

    Raises:
        TypeError: The opener or the check cannot be called as it will be, or an option has the wrong type.
        ValueError: An option has no meaning, or `exclusive` is asked for together with `overlap`.

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
        name: str | Callable[[], str] | None = None,
        linger: float = 0.0,
        check: Callable[[T_co], bool] | None = None,
        overlap: bool = False,
        exclusive: bool = False,
        own_thread: bool = False,
        at_exit: Literal["stop", "leave"] = "stop",
    ) -> None:
        check_opener("the opener of a shared resource", opener)
        check_name(type(self).__name__, name)
        full_name = named(name, name_of(opener))
        options = Options(linger, check, overlap, exclusive, own_thread, at_exit)
        self._setup(LivesOfOpener(opener, full_name), full_name, options)

    @staticmethod
    def of(
        factory: Callable[[], T],
        *,
        start: Callable[[T], object] | None = None,
        stop: Callable[[T], object] | None = None,
        name: str | Callable[[], str] | None = None,
        linger: float = 0.0,
        check: Callable[[T], bool] | None = None,
        overlap: bool = False,
        exclusive: bool = False,
        own_thread: bool = False,
        at_exit: Literal["stop", "leave"] = "stop",
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
            exclusive: As in `SharedResource`.
            own_thread: As in `SharedResource`.
            at_exit: As in `SharedResource`.

        Returns:
            A plain `SharedResource`, of subclasses as well.

        Raises:
            TypeError: The factory or a hook cannot be called as it will be, or an option has the wrong type.
            ValueError: An option has no meaning, or `exclusive` is asked for together with `overlap`.

        Example:
            >>> basket = SharedResource.of(list, start=lambda value: value.append("apple"), stop=list.clear)
            >>> with basket() as value:
            ...     value
            ['apple']
        """
        check_hooks("the factory of a shared resource", factory, start, stop)
        check_name("SharedResource", name)
        full_name = named(name, name_of(factory))
        options = Options(linger, check, overlap, exclusive, own_thread, at_exit)
        return new_resource(lives_of_hooks(factory, start, stop, full_name), full_name, options)

    def __call__(self) -> Lease[T_co]:
        """Return a new lease, not held yet: `with resource() as value:`.

        Example:
            >>> with SharedResource.of(dict)() as value:
            ...     value
            {}
        """
        return self._new_lease(self)

    if not TYPE_CHECKING:  # which refuses the with-statement of what was not called

        def __enter__(self):
            raise TypeError(
                f"{self.name} is not a context manager, calling it gives one: write `with resource() as value:`"
            )

        __exit__ = None  # so that `isinstance(resource, AbstractContextManager)` says no

    def __repr__(self) -> str:
        return f"<SharedResource {self.name}, {self.state.value}, usecount={self.usecount}>"

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
            >>> lease = SharedResource.of(list).acquire(timeout=1.0)
            >>> lease.value
            []
            >>> lease.release()
            True
        """
        return self().acquire(timeout)

    def aio(self) -> AbstractAsyncContextManager[T_co, None]:
        """Return what holds a new lease for a task: `async with resource.aio() as value:`.

        It keeps no event loop waiting. `Lease.aio` says the rest.

        Raises:
            ImportError: anyio is not installed; the extra `async` brings it.

        Example:
            >>> import asyncio
            >>> basket = SharedResource.of(list, stop=lambda value: print("stop"))
            >>> async def main():
            ...     async with basket.aio() as value:
            ...         print(value)
            >>> asyncio.run(main())
            []
            stop
        """
        return self._bridge(self())

    def try_acquire(self) -> Lease[T_co] | None:
        """Return a held lease if the resource is running (lingering counts), else None; start nothing, never wait.

        Raises:
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of this resource.

        Example:
            >>> resource = SharedResource.of(list)
            >>> resource.try_acquire() is None
            True
        """
        lease = self()
        try:
            lease._use = ACQUIRED
            return lease if self._admit_running(lease) else None
        except BaseException:
            self._retract(lease)
            raise

    def inc(self, timeout: float | None = None) -> None:
        """Hold the resource without a lease, for consumers that come and go by two calls and can keep nothing.

        Each `inc` wants a `dec`. Until then the resource is kept, even where nobody else refers to it.

        Args:
            timeout: As for `acquire`; it raises what `acquire` raises.

        Example:
            >>> profiler = SharedResource.of(list, stop=lambda value: print("stop"))
            >>> profiler.inc()
            >>> profiler.inc()
            >>> profiler.dec()
            >>> profiler.usecount
            1
            >>> profiler.dec()
            stop
        """
        self._by()
        lease, none = self(), list[Lease[T_co]]()
        with self._machine.lock:
            holds = self._anonymous
            if holds is None:
                self._anonymous = holds = none
        try:
            registry.anonymous[lease] = None
            lease.acquire(timeout)
            holds.append(lease)
        except BaseException:
            self._retract(lease)
            registry.anonymous.pop(lease, None)
            raise

    def dec(self) -> None:
        """Give back the oldest anonymous hold; the last consumer stops the resource.

        One that was abandoned counts: it is given back, and changes nothing.

        Raises:
            UnderflowException: There is no anonymous hold.
            Exception: What the resource's stop raised; the hold is given back all the same.

        Example:
            >>> SharedResource.of(list, name="basket").dec()
            Traceback (most recent call last):
            refcount.UnderflowException: basket has no anonymous hold to give back: each dec() needs an inc()
        """
        self._by()
        lease: Lease[T_co] | None = None
        try:
            while True:  # as in `Observers._tell`
                lease = None
                with self._machine.lock:
                    holds = self._anonymous
                    if holds:
                        lease = holds[0]
                        del holds[0]
                if lease is None:
                    raise UnderflowException(
                        f"{self.name} has no anonymous hold to give back: each dec() needs an inc()"
                    )
                if lease._generation is not None:  # else an interrupt of its `inc` has taken it back
                    break
            lease.release()
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        finally:
            registry.anonymous.pop(lease, None)

    def _bridge(self, lease: Lease[T_co]) -> AbstractAsyncContextManager[T_co, None]:
        from refcount._core.bridge import Bridge  # with anyio, which only those need who come from a task

        return Bridge(lease)


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
