"""`ResourceFunction`: what decorated functions are, and methods on their instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from refcount._core.lease import Lease
from refcount._core.shared import SharedResource
from refcount._faces.shared_callables import SharedCallable
from refcount._support.checks import GivesLeases
from refcount._support.naming import public

if TYPE_CHECKING:
    from refcount._faces.thread_calls import ThreadCalls

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class ThreadShared(SharedCallable[P]):
    """A function or a method whose calls give leases for threads."""

    __slots__ = ()

    def _self_lease(self) -> object:
        return Lease

    def _self_resource(self) -> type[object]:
        return SharedResource

    def _self_with(self) -> str:
        return "with"


@public
class ResourceFunction(ThreadShared[P], GivesLeases, Generic[P, T_co]):
    """A function whose calls give leases; made by `refcounted_resource`. Also a method, as an instance has it.

    There is one `SharedResource` for each distinct set of arguments. It is made when it is first asked for, and kept
    only while it is not idle or somebody refers to it.

    Example:
        >>> from collections.abc import Generator
        >>> from refcount import refcounted_resource
        >>> @refcounted_resource
        ... def camera(index: int, size: int = 1) -> Generator[str]:
        ...     yield f"camera {index}"
        >>> with camera(0) as first, camera(index=0, size=1) as second, camera(1) as other:
        ...     print(first is second, other)
        ...     [resource.name for resource in camera.resources()]
        True camera 1
        ['camera(0)', 'camera(1)']
    """

    __slots__ = ()

    # What a proxy has of its own, and a decorated function is one, must begin with `_self_`.

    if TYPE_CHECKING:
        _self_calls: ThreadCalls[T_co]

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Lease[T_co]:
        """Return a new lease, not held yet, of the resource for these arguments: `with camera(0) as device:`.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
            ValueError: They weigh more than the capacity.
            ClosedError: It was closed.
        """
        return self.resource(*args, **kwargs)()

    def __repr__(self) -> str:
        up = self.resources()
        held = sum(resource.usecount > 0 for resource in up)
        return f"<ResourceFunction {self._self_calls.name}, {len(up)} up, {held} held>"

    @property
    def capacity(self) -> float | None:
        """How many of its resources may be not idle at once, or how much they may weigh together; None for any."""
        return self._self_calls.limits.capacity

    @property
    def usecount(self) -> int:
        """How many leases of all its resources are held; to look at, never to decide on.

        Example:
            >>> from collections.abc import Generator
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> with camera(0), camera(0), camera(1):
            ...     camera, camera.usecount
            (<ResourceFunction camera, 2 up, 2 held>, 3)
        """
        return self._self_calls.usecount

    def resource(self, /, *args: P.args, **kwargs: P.kwargs) -> SharedResource[T_co]:
        """Return the resource for these arguments, however they are spelled.

        It is made if there is none, or if there is one that was closed.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
            ValueError: They weigh more than the capacity.
            ClosedError: It was closed.

        Example:
            >>> from collections.abc import Generator
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> camera.resource(0)
            <SharedResource camera(0), idle, usecount=0>
        """
        return self._self_calls.resource(args, kwargs, self._self_instance())

    def resources(self) -> tuple[SharedResource[T_co], ...]:
        """Return the resources that are not idle, in no particular order.

        A key that waits for a slot is starting, and so is not idle. One whose `state` is idle may be among them, while
        a generation of it that was invalidated is still held.

        Example:
            >>> from collections.abc import Generator
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> with camera(0):
            ...     camera.resources()
            (<SharedResource camera(0), running, usecount=1>,)
        """
        return self._self_calls.resources()

    def flush(self) -> bool:
        """Stop all its resources that linger, and say whether there were any.

        Raises:
            Exception: What a stop raised; the others are stopped all the same.
            ExceptionGroup: Several of these.

        Example:
            >>> from collections.abc import Generator
            >>> @refcounted_resource(linger=10.0)
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            ...     print("stop")
            >>> with camera(0):
            ...     pass
            >>> camera.flush(), camera.flush()
            stop
            (True, False)
        """
        return self._self_calls.flush()

    def invalidate(self) -> None:
        """Detach what runs of all its resources, as `SharedResource.invalidate` does of one.

        Raises:
            Exception: What a stop raised that this call made; the others are invalidated all the same.
            ExceptionGroup: Several of these.

        Example:
            >>> from collections.abc import Generator
            >>> @refcounted_resource
            ... def token(name: str) -> Generator[object]:
            ...     yield object()
            >>> with token("a") as old:
            ...     token.invalidate()
            ...     with token("a") as new:
            ...         old is new
            False
        """
        self._self_calls.invalidate()

    def abandon(self) -> None:
        """Forget what runs of all its resources without stopping it, as `SharedResource.abandon` does of one.

        Example:
            >>> from collections.abc import Generator
            >>> @refcounted_resource
            ... def mount(point: str) -> Generator[str]:
            ...     yield point
            ...     print("unmount")
            >>> lease = mount.resource("/mnt").acquire()
            >>> mount.abandon()
            >>> lease.held, mount.resources()
            (False, ())
        """
        self._self_calls.abandon()

    def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse all calls from now on, wait for all holders to leave, and see every resource stopped.

        Harmless when called again. Starts in flight are finished for the consumers who wait on them; those who wait
        because of the capacity get `ClosedError`.

        Args:
            timeout: How many seconds to wait for all of it.
            force: Do not wait for the holders, stop under them.

        Raises:
            TimeoutError: Something was still held, or had not stopped, after `timeout` seconds.
            ReentrantError: Called inside a hook of one of the resources.
            Exception: What a stop raised, if this call made it.
            ExceptionGroup: Several of these.

        Example:
            >>> from collections.abc import Generator
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> camera.close()
            >>> camera(0)
            Traceback (most recent call last):
            refcount.ClosedError: camera is closed
        """
        self._self_calls.close(timeout, force=force)
