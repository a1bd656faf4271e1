"""`AsyncResourceFunction`: what decorated asynchronous functions are, and such methods on their instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from refcount._faces.shared_callables import SharedCallable
from refcount._support.checks import GivesLeases
from refcount._support.naming import public

if TYPE_CHECKING:
    from refcount._core.async_lease import AsyncLease
    from refcount._core.async_shared import AsyncSharedResource
    from refcount._faces.async_calls import AsyncCalls

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class TaskShared(SharedCallable[P]):
    """A function or a method whose calls give leases for tasks."""

    __slots__ = ()

    # anyio, on which these stand, is there: the resources that it makes do so as well.

    def _self_lease(self) -> object:
        from refcount._core.async_lease import AsyncLease

        return AsyncLease

    def _self_resource(self) -> type[object]:
        from refcount._core.async_shared import AsyncSharedResource

        return AsyncSharedResource

    def _self_with(self) -> str:
        return "async with"


@public
class AsyncResourceFunction(TaskShared[P], GivesLeases, Generic[P, T_co]):
    """A function whose calls give leases for tasks; made by `refcounted_resource`. Also a method of an instance.

    There is one `AsyncSharedResource` for each distinct set of arguments. It is made when it is first asked for, and
    kept only while it is not idle or somebody refers to it.

    With `per_loop=True`, each event loop has resources of its own, and a capacity of its own: what is asked for or told
    here is asked of those in the loop that runs here, except for `resources()` and `usecount`, which are about all.

    Example:
        >>> import asyncio
        >>> from collections.abc import AsyncGenerator
        >>> from refcount import refcounted_resource
        >>> @refcounted_resource
        ... async def camera(index: int, size: int = 1) -> AsyncGenerator[str]:
        ...     yield f"camera {index}"
        >>> async def main():
        ...     async with camera(0) as first, camera(index=0, size=1) as second, camera(1) as other:
        ...         print(first is second, other)
        ...         print([resource.name for resource in camera.resources()])
        >>> asyncio.run(main())
        True camera 1
        ['camera(0)', 'camera(1)']
    """

    __slots__ = ()

    # What a proxy has of its own, and a decorated function is one, must begin with `_self_`.

    if TYPE_CHECKING:
        _self_calls: AsyncCalls[T_co]

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncLease[T_co]:
        """Return a new lease, not held yet, of the resource for these arguments: `async with camera(0) as device:`.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
            ValueError: They weigh more than the capacity.
            ClosedError: It was closed.
            RefcountError: It is `per_loop`, and no event loop runs here.
        """
        return self.resource(*args, **kwargs)()

    def __repr__(self) -> str:
        up = self.resources()
        held = sum(resource.usecount > 0 for resource in up)
        return f"<AsyncResourceFunction {self._self_calls.name}, {len(up)} up, {held} held>"

    @property
    def capacity(self) -> float | None:
        """How many of its resources may be not idle at once, or how much they may weigh together; None for any."""
        return self._self_calls.limits.capacity

    @property
    def usecount(self) -> int:
        """How many leases of all its resources are held; to look at, never to decide on.

        Example:
            >>> import asyncio
            >>> from collections.abc import AsyncGenerator
            >>> @refcounted_resource
            ... async def camera(index: int) -> AsyncGenerator[str]:
            ...     yield f"camera {index}"
            >>> async def main():
            ...     async with camera(0), camera(0), camera(1):
            ...         print(camera, camera.usecount)
            >>> asyncio.run(main())
            <AsyncResourceFunction camera, 2 up, 2 held> 3
        """
        return self._self_calls.usecount

    def resource(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncSharedResource[T_co]:
        """Return the resource for these arguments, however they are spelled.

        It is made if there is none, or if there is one that was closed.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
            ValueError: They weigh more than the capacity.
            ClosedError: It was closed.
            RefcountError: It is `per_loop`, and no event loop runs here.

        Example:
            >>> from collections.abc import AsyncGenerator
            >>> @refcounted_resource
            ... async def camera(index: int) -> AsyncGenerator[str]:
            ...     yield f"camera {index}"
            >>> camera.resource(0)
            <AsyncSharedResource camera(0), idle, usecount=0>
        """
        return self._self_calls.resource(args, kwargs, self._self_instance())

    def resources(self) -> tuple[AsyncSharedResource[T_co], ...]:
        """Return the resources that are not idle, in no particular order.

        A key that waits for a slot is starting, and so is not idle. One whose `state` is idle may be among them, while
        a generation of it that was invalidated is still held.

        Example:
            >>> import asyncio
            >>> from collections.abc import AsyncGenerator
            >>> @refcounted_resource
            ... async def camera(index: int) -> AsyncGenerator[str]:
            ...     yield f"camera {index}"
            >>> async def main():
            ...     async with camera(0):
            ...         print(camera.resources())
            >>> asyncio.run(main())
            (<AsyncSharedResource camera(0), running, usecount=1>,)
        """
        return self._self_calls.resources()

    async def flush(self) -> bool:
        """Stop all its resources that linger, wait until they have stopped, and say whether there were any.

        Raises:
            Exception: What a stop raised; the others are stopped all the same.
            ExceptionGroup: Several of these.
            WrongLoopError: One of them is up in another event loop.

        Example:
            >>> import asyncio
            >>> from collections.abc import AsyncGenerator
            >>> @refcounted_resource(linger=10.0)
            ... async def camera(index: int) -> AsyncGenerator[str]:
            ...     yield f"camera {index}"
            ...     print("stop")
            >>> async def main():
            ...     async with camera(0):
            ...         pass
            ...     print(await camera.flush(), await camera.flush())
            >>> asyncio.run(main())
            stop
            True False
        """
        return await self._self_calls.flush()

    def invalidate(self) -> None:
        """Detach what runs of all its resources, as `AsyncSharedResource.invalidate` does of one.

        Raises:
            WrongLoopError: One of them is up in another event loop; the others are invalidated all the same.
            ExceptionGroup: Several of these.

        Example:
            >>> import asyncio
            >>> from collections.abc import AsyncGenerator
            >>> @refcounted_resource
            ... async def token(name: str) -> AsyncGenerator[object]:
            ...     yield object()
            >>> async def main():
            ...     async with token("a") as old:
            ...         token.invalidate()
            ...         async with token("a") as new:
            ...             print(old is new)
            >>> asyncio.run(main())
            False
        """
        self._self_calls.invalidate()

    def abandon(self) -> None:
        """Forget what runs of all its resources without stopping it, as `AsyncSharedResource.abandon` does of one.

        Raises:
            WrongLoopError: One of them is up in another event loop; the others are abandoned all the same.
            ExceptionGroup: Several of these.

        Example:
            >>> import asyncio
            >>> from collections.abc import AsyncGenerator
            >>> @refcounted_resource
            ... async def mount(point: str) -> AsyncGenerator[str]:
            ...     yield point
            ...     print("unmount")
            >>> async def main():
            ...     lease = await mount.resource("/mnt").acquire()
            ...     mount.abandon()
            ...     print(lease.held, mount.resources())
            >>> asyncio.run(main())
            False ()
        """
        self._self_calls.abandon()

    async def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse all calls from now on, wait for all holders to leave, and see every resource stopped.

        Harmless when called again. Starts in flight are finished for the consumers who wait on them; those who wait
        because of the capacity get `ClosedError`. With `per_loop=True`, those of other event loops are told, and
        nobody waits for them.

        Args:
            timeout: How many seconds to wait for all of it.
            force: Do not wait for the holders, stop under them.

        Raises:
            TimeoutError: Something was still held, or had not stopped, after `timeout` seconds.
            ReentrantError: Called inside a hook of one of the resources, by the same task.
            WrongLoopError: One of them is up in another event loop.
            Exception: What a stop raised, if this call made it.
            ExceptionGroup: Several of these.

        Example:
            >>> import asyncio
            >>> from collections.abc import AsyncGenerator
            >>> @refcounted_resource
            ... async def camera(index: int) -> AsyncGenerator[str]:
            ...     yield f"camera {index}"
            >>> asyncio.run(camera.close())
            >>> camera(0)
            Traceback (most recent call last):
            refcount.ClosedError: camera is closed
        """
        await self._self_calls.close(timeout, force=force)
