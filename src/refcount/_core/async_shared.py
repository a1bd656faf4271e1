"""`AsyncSharedResource`: something that is started for its first task, shared by all, and stopped after the last."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, cast, overload

from refcount._core.async_control import AsyncControls
from refcount._core.async_lease import AsyncLease
from refcount._core.async_openers import AsyncLife, AsyncOpener, AsyncOptions, LivesOfAsyncOpener, lives_of_async_hooks
from refcount._core.claim import ACQUIRED, FRESH
from refcount._core.loops import here, here_or_none
from refcount._core.observers import Observed
from refcount._core.tasks import TaskDriver
from refcount._errors import UnderflowException
from refcount._support.checks import check_async_opener, check_hooks, check_name
from refcount._support.naming import Name, name_of, named, public

if TYPE_CHECKING:
    from refcount._core.machine import Machine

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@public
class AsyncSharedResource(AsyncControls[T_co], TaskDriver[T_co], Observed[T_co], Generic[T_co]):
    """A resource that runs only while a task holds a lease on it; `SharedResource` for asyncio and trio.

    The first consumer starts it, everyone in between shares its value, the last one stops it. Concurrent first
    consumers share one start; if that raises, all of them get that same error, and the next consumer tries anew. Start
    and stop run in a task of their own, in a copy of the first consumer's context, so that an opener may hold a task
    group or a cancel scope over its `yield`.

    A consumer that is cancelled disturbs nobody else. When the last one who waits for a start leaves, the start is
    cancelled, and a newcomer waits until it has unwound. A stop is shielded. What is up belongs to the event loop that
    has started it, until it is idle; what still lingers when the loop ends is stopped before.

    Args:
        opener: Called for each start; entering the asynchronous context manager that it returns starts the resource and
            gives its value, leaving it stops the resource. What a consumer's with-body raises is not thrown into it.
        name: Names the resource in errors, warnings and reprs; a text, or a function that returns one when it is
            needed. By default the opener's name.
        linger: How many seconds the resource stays up after the last lease is gone. 0 stops it at once, and the
            releasing task waits for that; `math.inf` keeps it up until `flush`, `close` or the end of the event loop.
        check: Asked before a value that is up is handed to a newcomer, in its task; a function, or a coroutine
            function. If the answer is not true, or it raises, the value is invalidated and the newcomer gets a fresh
            one.
        overlap: Start a new generation at once while the old one still stops, instead of waiting for it.
        exclusive: Never have two generations at once: whoever comes after an `invalidate` or a failed `check` waits
            until the old holders have left and the old one has stopped.
        at_exit: "stop": what is up when the event loop ends is stopped; "leave": it is left as it is.
        stop_timeout: How many seconds a stop may take; then it is cancelled, and `TimeoutError` told in its place.
        on_failure: What becomes of the holders when something inside of the opener fails while it is up, a task of its
            task group, say. "finish": no newcomer gets it, `lease.valid` turns false, and the error goes to the last
            one who leaves. "cancel": their with-blocks are cancelled, and raise that error.
        per_loop: Have one of it in each event loop, instead of refusing to be used in two at once.

    Raises:
        TypeError: The opener or the check cannot be called as it will be, or an option has the wrong type.
        ValueError: An option has no meaning, or `exclusive` is asked for together with `overlap`.
        ImportError: anyio is not installed; the extra `async` brings it.

    The idea of a task for each generation is that of tractor's `maybe_open_context`.

    Example:
        >>> import asyncio
        >>> from contextlib import asynccontextmanager
        >>> from refcount import AsyncSharedResource
        >>> @asynccontextmanager
        ... async def open_camera():
        ...     print("start")
        ...     yield "camera"
        ...     print("stop")
        >>> camera = AsyncSharedResource(open_camera)
        >>> async def main():
        ...     async with camera() as first, camera() as second:
        ...         print(first, second, camera.usecount)
        >>> asyncio.run(main())
        start
        camera camera 2
        stop
    """

    __slots__ = ()

    def __init__(
        self,
        opener: AsyncOpener[T_co],
        *,
        name: str | Callable[[], str] | None = None,
        linger: float = 0.0,
        check: Callable[[T_co], Awaitable[bool] | bool] | None = None,
        overlap: bool = False,
        exclusive: bool = False,
        at_exit: Literal["stop", "leave"] = "stop",
        stop_timeout: float = math.inf,
        on_failure: Literal["finish", "cancel"] = "finish",
        per_loop: bool = False,
    ) -> None:
        check_async_opener("the opener of a shared resource", opener)
        check_name(type(self).__name__, name)
        full_name = named(name, name_of(opener))
        options = AsyncOptions(linger, check, overlap, exclusive, at_exit, stop_timeout, on_failure, per_loop)
        self._setup(LivesOfAsyncOpener(opener, full_name), full_name, options)

    @overload
    @staticmethod
    def of(
        factory: Callable[[], Awaitable[T]],
        *,
        start: Callable[[T], object] | None = None,
        stop: Callable[[T], object] | None = None,
        name: str | Callable[[], str] | None = None,
        linger: float = 0.0,
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        overlap: bool = False,
        exclusive: bool = False,
        at_exit: Literal["stop", "leave"] = "stop",
        stop_timeout: float = math.inf,
        on_failure: Literal["finish", "cancel"] = "finish",
        per_loop: bool = False,
    ) -> AsyncSharedResource[T]: ...
    @overload
    @staticmethod
    def of(
        factory: Callable[[], T],
        *,
        start: Callable[[T], object] | None = None,
        stop: Callable[[T], object] | None = None,
        name: str | Callable[[], str] | None = None,
        linger: float = 0.0,
        check: Callable[[T], Awaitable[bool] | bool] | None = None,
        overlap: bool = False,
        exclusive: bool = False,
        at_exit: Literal["stop", "leave"] = "stop",
        stop_timeout: float = math.inf,
        on_failure: Literal["finish", "cancel"] = "finish",
        per_loop: bool = False,
    ) -> AsyncSharedResource[T]: ...
    @staticmethod
    def of(
        factory: Callable[[], Any],
        *,
        start: Callable[[Any], object] | None = None,
        stop: Callable[[Any], object] | None = None,
        name: str | Callable[[], str] | None = None,
        linger: float = 0.0,
        check: Callable[[Any], Awaitable[bool] | bool] | None = None,
        overlap: bool = False,
        exclusive: bool = False,
        at_exit: Literal["stop", "leave"] = "stop",
        stop_timeout: float = math.inf,
        on_failure: Literal["finish", "cancel"] = "finish",
        per_loop: bool = False,
    ) -> AsyncSharedResource[Any]:
        """Make a resource from a factory and two hooks, each of them a function or a coroutine function.

        Args:
            factory: Makes the value, once for each start.
            start: Called with the value then; if it raises, `stop` is called all the same, and nothing is left behind.
            stop: Called with the value to stop it.
            name: By default the factory's name.
            linger: Seconds, as in `AsyncSharedResource`.
            check: As in `AsyncSharedResource`.
            overlap: As in `AsyncSharedResource`.
            exclusive: As in `AsyncSharedResource`.
            at_exit: As in `AsyncSharedResource`.
            stop_timeout: As in `AsyncSharedResource`.
            on_failure: As in `AsyncSharedResource`.
            per_loop: As in `AsyncSharedResource`.

        Returns:
            A plain `AsyncSharedResource`, of subclasses as well.

        Raises:
            TypeError: The factory or a hook cannot be called as it will be, or an option has the wrong type.
            ValueError: An option has no meaning, or `exclusive` is asked for together with `overlap`.

        Example:
            >>> import asyncio
            >>> async def connect():
            ...     return ["connection"]
            >>> async def main():
            ...     async with AsyncSharedResource.of(connect, stop=list.clear)() as connection:
            ...         print(connection)
            >>> asyncio.run(main())
            ['connection']
        """
        check_hooks("the factory of a shared resource", factory, start, stop, awaits=True)
        check_name("AsyncSharedResource", name)
        full_name = named(name, name_of(factory))
        options: AsyncOptions[Any] = AsyncOptions(
            linger, check, overlap, exclusive, at_exit, stop_timeout, on_failure, per_loop
        )
        return new_async_resource(lives_of_async_hooks(factory, start, stop, full_name), full_name, options)

    def __call__(self) -> AsyncLease[T_co]:
        """Return a new lease, not held yet: `async with resource() as value:`.

        Raises:
            RefcountError: It is `per_loop`, and no event loop runs here.

        Example:
            >>> AsyncSharedResource.of(dict, name="table")()
            <AsyncLease of table, not held>
        """
        kind = self._new_lease
        if kind is None:
            return self._own()()
        lease = kind()
        lease._generation = lease._promised = None
        lease._use = FRESH
        lease._resource = self
        return lease

    if not TYPE_CHECKING:  # which refuses the with-statement of what was not called

        def __aenter__(self):
            raise TypeError(
                f"{self.name} is no context manager, calling it gives one: write `async with resource() as value:`"
            )

        __aexit__ = None  # so that `isinstance(resource, AbstractAsyncContextManager)` says no

    def __repr__(self) -> str:
        return f"<AsyncSharedResource {self.name}, {self.state.value}, usecount={self.usecount}>"

    async def acquire(self, timeout: float | None = None) -> AsyncLease[T_co]:
        """Return a held lease, starting the resource if this is its first.

        Args:
            timeout: How many seconds to wait, for a start, a stop, or a slot of a bounded family.

        Raises:
            TimeoutError: That took longer. If nobody else waits for the start, it is cancelled.
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of this resource, by the same task.
            WrongLoopError: The resource is up in another event loop.
            ValueError: The timeout is negative or NaN.
            TypeError: The timeout is no number.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     lease = await AsyncSharedResource.of(list).acquire(timeout=1.0)
            ...     print(lease.value)
            ...     await lease.release()
            >>> asyncio.run(main())
            []
        """
        return await self().acquire(timeout)

    async def try_acquire(self) -> AsyncLease[T_co] | None:
        """Return a held lease if the resource is running (lingering counts), else None; start nothing.

        It waits for nothing but an asynchronous `check`.

        Raises:
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of this resource, by the same task.
            WrongLoopError: The resource is up in another event loop.

        Example:
            >>> import asyncio
            >>> asyncio.run(AsyncSharedResource.of(list).try_acquire()) is None
            True
        """
        lease = self()
        lease._use = ACQUIRED
        return lease if await lease._resource._admit_running(lease) else None

    async def inc(self, timeout: float | None = None) -> None:
        """Hold the resource without a lease, for consumers that come and go by two calls and can keep nothing.

        Each `inc` wants a `dec`.

        Args:
            timeout: As for `acquire`; it raises what `acquire` raises.

        Example:
            >>> import asyncio
            >>> profiler = AsyncSharedResource.of(list, stop=lambda value: print("stop"))
            >>> async def main():
            ...     await profiler.inc()
            ...     await profiler.inc()
            ...     await profiler.dec()
            ...     print(profiler.usecount)
            ...     await profiler.dec()
            >>> asyncio.run(main())
            1
            stop
        """
        lease = await self.acquire(timeout)
        lease._resource._anonymous.append(lease)

    async def dec(self) -> None:
        """Give back the oldest anonymous hold; the last consumer stops the resource.

        One that was abandoned counts: it is given back, and changes nothing.

        Raises:
            UnderflowException: There is no anonymous hold.
            Exception: What the resource's stop raised; the hold is given back all the same.

        Example:
            >>> import asyncio
            >>> asyncio.run(AsyncSharedResource.of(list, name="basket").dec())
            Traceback (most recent call last):
            refcount.UnderflowException: basket has no anonymous hold to give back: each dec() needs an inc()
        """
        own = self._own()
        with own._visit():
            if not own._anonymous:
                raise UnderflowException(f"{self.name} has no anonymous hold to give back: each dec() needs an inc()")
            await own._anonymous.pop(0).release()

    def _own(self) -> Self:
        if not self._options.per_loop:
            return self
        owned = here().owned
        own: Self | None = owned.get(self)
        if own is None:
            made = new_async_resource(self._lives, self._name, self._options.for_one_loop())
            made._machine.closed = self._machine.closed
            self._each.add(made)
            owned[self] = own = cast("Self", made)  # a subclass has nothing of its own that its users would miss here
        return own

    def _seen(self) -> Machine[T_co]:
        loop = here_or_none() if self._options.per_loop else None
        own: AsyncSharedResource[T_co] | None = None if loop is None else loop.owned.get(self)
        return super()._seen() if own is None else own._seen()


def new_async_resource(
    lives: Callable[[], AsyncLife[T]], name: Name, options: AsyncOptions[T]
) -> AsyncSharedResource[T]:
    """Make a resource of what makes its lives, which the faces know better than an opener could tell.

    Args:
        lives: Called for each start: gives an asynchronous generator that starts the resource, yields its value once,
            and stops it.
        name: Names it, or makes the name when that is asked for.
        options: What else was said of it.
    """
    resource = cast("AsyncSharedResource[T]", AsyncSharedResource.__new__(AsyncSharedResource))
    resource._setup(lives, name, options)
    return resource
