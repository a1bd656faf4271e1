"""`AsyncLease`: one task's hold on one generation of a resource, and the two hot paths.

As for threads, joining what runs and leaving it while others stay touch nothing but the generation's count. What is
looked at besides is the event loop, which must be the generation's own.
"""
# pyright: reportPrivateUsage=false
# A lease and its driver are one thing; what they have of each other is private, since users have leases in their hands.

from __future__ import annotations

from contextlib import suppress
from inspect import Signature
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NamedTuple, Self, TypeVar
from weakref import ref

from refcount._core.asyncio_loop import running_asyncio_loop
from refcount._core.claim import ACQUIRED, DEBUG, FRESH, USED, Claim
from refcount._core.loop import CancelScope, Sleeper
from refcount._core.loops import here, here_or_none
from refcount._errors import RefcountError
from refcount._support.naming import public
from refcount._support.numbers import check_timeout

if TYPE_CHECKING:
    from refcount._core.async_shared import AsyncSharedResource
    from refcount._core.machine import Machine

T_co = TypeVar("T_co", covariant=True)


@public
class AsyncLease(Claim[T_co], Generic[T_co]):
    """One task's hold on a resource, used once; made by calling an `AsyncSharedResource`, or by its `acquire`.

    A lease that is garbage-collected while held is given back in its event loop, with a `ResourceWarning`. With
    `-X dev`, or `REFCOUNT_DEBUG=1` in the environment, the warning says where the lease was made.

    Example:
        >>> import asyncio
        >>> from refcount import AsyncSharedResource
        >>> resource = AsyncSharedResource.of(list, name="basket")
        >>> async def main():
        ...     lease = await resource.acquire()
        ...     print(lease.held, lease.value)
        ...     print(await lease.release(), await lease.release())
        >>> asyncio.run(main())
        True []
        True False
    """

    __slots__ = ("_resource", "_sleeper")

    _kind = "AsyncLease"
    _sleeper: Sleeper

    if not TYPE_CHECKING:
        __signature__ = Signature()  # nobody makes one but its resource

        def __enter__(self):
            raise TypeError(f"{self!r} is entered by `async with`, not by a plain `with`")

        __exit__ = None  # so that `isinstance` says no to `AbstractContextManager`

        # The resource makes one in its own `__call__`: a constructor would be felt.
        __init__ = Claim._remember_site if DEBUG else object.__init__

    _resource: AsyncSharedResource[T_co]

    async def __aenter__(self) -> T_co:
        """Hold the resource, starting it if this is its first lease, and return its value.

        To join what runs gives way to no other task.

        Raises:
            RefcountError: The lease was entered before; take a new one.
            ReleasedError: It came from `acquire` and was released already.
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of the same resource, by the same task.
            WrongLoopError: The resource is up in another event loop.
        """
        generation = self._resource._machine.hot
        if generation is not None and generation.token is running_asyncio_loop() and self._use is FRESH:
            # Nothing is called from here on; and no other thread has anything to do with what is up in this loop.
            self._use = USED
            generation.count += 1
            self._generation = generation
            return generation.value
        use, self._use = self._use, USED
        if use is FRESH:
            return await self._resource._admit(self, None)
        if use is USED:
            raise RefcountError(f"{self!r} was entered before: a lease is used once, take a new one")
        return self.value

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Give the lease back; the last one stops the resource. An exception of the body stays the consumer's own."""
        generation = self._generation
        if generation is None:
            return  # released by hand
        if generation.quick and generation.count > 1 and generation.token is running_asyncio_loop():
            now = generation.now
            if now is not None:
                generation.left = now()
            generation.count -= 1
            self._generation = None
            return
        await self._resource._leave(self, generation)

    async def acquire(self, timeout: float | None = None) -> Self:
        """Hold the resource, starting it if this is its first lease, and return the lease itself.

        For consumers that are no with-block; one `async with` may follow all the same, and gives it back at its end.

        Args:
            timeout: How many seconds to wait, for a start, a stop, or a slot of a bounded family.

        Raises:
            TimeoutError: That took longer; it may be tried again. If nobody else waits for the start, it is cancelled.
            RefcountError: The lease was acquired or entered before; take a new one.
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of the same resource, by the same task.
            WrongLoopError: The resource is up in another event loop.
            ValueError: The timeout is negative or NaN.
            TypeError: The timeout is no number.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     lease = await AsyncSharedResource.of(list)().acquire(timeout=1.0)
            ...     print(lease.value, await lease.release())
            >>> asyncio.run(main())
            [] True
        """
        seconds = check_timeout(timeout)
        self._for_use()
        try:
            await self._resource._admit(self, None if seconds is None else here().now() + seconds)
        except BaseException:
            self._use = FRESH
            raise
        self._use = ACQUIRED
        return self

    async def release(self) -> bool:
        """Give the lease back; the last one stops the resource unless it lingers, and waits until it has stopped.

        It is given back at once, before anything is awaited. While it waits for the stop, level cancellation (trio's,
        or that of anyio's cancel scopes) is held off; `Task.cancel` of asyncio ends the waiting, and the stop goes on.

        Returns:
            Whether this call released it; calling it again is harmless.

        Raises:
            Exception: What the resource's stop raised; the lease is released all the same.
            WrongLoopError: It is held in another event loop, which still runs.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     lease = await AsyncSharedResource.of(list).acquire()
            ...     print(await lease.release(), await lease.release())
            >>> asyncio.run(main())
            True False
        """
        generation = self._generation
        return generation is not None and await self._resource._leave(self, generation)

    def __del__(self) -> None:
        # Runs inside the garbage collector, in a thread that may hold any lock: look, queue, and nothing else.
        try:
            if self._generation is not None:  # who waits is in a coroutine, which gives back what it claims
                self._resource._lose(self)
        except AttributeError:
            pass  # an interrupt came while its resource made it

    def _wake(self) -> None:
        """Let the consumer who waits for this lease look again."""
        self._sleeper.wake()

    def _name(self) -> str:
        return self._resource.name

    def _seen(self) -> Machine[T_co]:
        return self._resource._machine

    @property
    def resource(self) -> AsyncSharedResource[T_co]:
        """The resource it belongs to.

        Example:
            >>> basket = AsyncSharedResource.of(list)
            >>> basket().resource is basket
            True
        """
        return self._resource

    def invalidate(self) -> None:
        """Detach the generation that this lease holds, if newcomers would still get it, as the resource's does.

        So ten holders who all find their value broken cost one restart. The lease stays held.

        Raises:
            ReleasedError: It is not held.
            WrongLoopError: It is held in another event loop, which still runs.

        Example:
            >>> import asyncio
            >>> resource = AsyncSharedResource.of(object)
            >>> async def main():
            ...     first, second = await resource.acquire(), await resource.acquire()
            ...     first.invalidate()
            ...     second.invalidate()
            ...     async with resource():
            ...         print(resource.generation)
            ...     await first.release(), await second.release()
            >>> asyncio.run(main())
            2
        """
        generation = self._to_invalidate()
        with self._resource._visit():
            self._resource._condemn(generation)


class Block(NamedTuple):
    """A with-block that is cancelled when what it holds fails.

    Attributes:
        scope: What cancels it.
        task: Which task is inside.
        generation: What it holds.
    """

    scope: CancelScope
    task: object
    generation: object


class BlockLease(AsyncLease[T_co]):
    """A lease that tells of its with-block: which task is inside, and by which scope it is cancelled if need be."""

    __slots__ = ("_scope", "_task")

    _scope: CancelScope | None
    _task: object

    async def __aenter__(self) -> T_co:
        if self._use is USED:
            return await super().__aenter__()  # which says so, and leaves the block alone that it is in
        entered, first = self._resource._entered, self._use is FRESH
        self._scope, self._task = None, here().current_task()
        if entered is not None:
            entered[id(self)] = [self._task], ref(self)
        try:
            value = await super().__aenter__()
            if self._resource._options.on_failure == "cancel":
                self._scope = scope = CancelScope()
                scope.__enter__()
                generation = self._generation
                self._resource._blocks[id(self)] = Block(scope, self._task, generation)
                keeper = None if generation is None else generation.keeper
                if keeper is not None and keeper.broken:  # since its start was done, while this one was not awake yet
                    scope.cancel()
        except BaseException:
            if entered is not None and first:
                entered.pop(id(self), None)
            raise
        return value

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        scope, self._scope = self._scope, None
        self._forget_block()
        loop, self._task, task = here_or_none(), None, self._task
        broken = ours = False
        try:
            # The scope of another task is that task's to leave.
            if scope is not None and loop is not None and loop.current_task() is task:
                broken = scope.cancel_called
                ours = scope.__exit__(exc_type, exc, trace)
            generation = self._generation
            if broken and generation is not None and (ours or exc is None):
                await self._resource._leave_broken(self, generation)
        finally:  # a scope refuses to be left before those that were entered after it
            await super().__aexit__(exc_type, exc, trace)

    async def release(self) -> bool:
        self._forget_block()
        return await super().release()

    def __del__(self) -> None:
        with suppress(AttributeError):  # an interrupt came while its resource made it
            self._forget_block()
        super().__del__()

    def _forget_block(self) -> None:
        resource = self._resource
        resource._blocks.pop(id(self), None)
        if resource._entered is not None:
            resource._entered.pop(id(self), None)
