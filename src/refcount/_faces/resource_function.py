"""`Resource`: a function whose calls give leases; also the method of one instance."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, ParamSpec, TypeVar

from refcount._core.family import Family
from refcount._core.lease import Lease
from refcount._core.shared import SharedResource
from refcount._faces.arguments import Arguments
from refcount._faces.decoratable import Source, opener_of
from refcount._support.public import public
from refcount._support.wrapping import Wrapping

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


@public
class Resource(Wrapping[P], Generic[P, T_co]):
    """A function whose calls give leases; made by `refcounted_resource`.

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

    # What a proxy has of its own must begin with `_self_`; all other attributes are those of the function.

    def __init__(
        self,
        wrapped: Callable[P, object],
        arguments: Arguments,
        family: Family[T_co],
        source: Source[T_co],
    ) -> None:
        super().__init__(wrapped)
        self._self_arguments = arguments
        self._self_family = family
        self._self_source = source
        self._self_only: SharedResource[T_co] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Lease[T_co]:
        """Return a new lease, not held yet, of the resource for these arguments: `with camera(0) as device:`.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
            ClosedError: It was closed.
        """
        return self.resource(*args, **kwargs)()

    def __repr__(self) -> str:
        return f"<Resource {self._self_family.name}>"

    @property
    def capacity(self) -> int | None:
        """How many of its resources may be not idle at once; None for any number."""
        return self._self_family.terms.capacity

    def resource(self, *args: P.args, **kwargs: P.kwargs) -> SharedResource[T_co]:
        """Return the resource for these arguments, however they are spelled.

        It is made if there is none, or if there is one that was closed.

        Raises:
            TypeError: The function takes no such arguments, or one of them is not hashable.
            ClosedError: It was closed.

        Example:
            >>> from collections.abc import Generator
            >>> from refcount import refcounted_resource
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> camera.resource(0)
            <SharedResource camera(0), idle, usecount=0>
        """
        key = self._self_arguments.key(args, kwargs)
        try:
            found = self._self_family.find(key)
        except TypeError:
            self._self_arguments.refuse_unhashable(args, kwargs)
            raise
        return self._self_make(key, args, kwargs) if found is None else found

    def resources(self) -> tuple[SharedResource[T_co], ...]:
        """Return the resources that are not idle, in no particular order.

        A key that waits for a slot is starting, and so is not idle. One whose `state` is idle may be among them, while
        a generation of it that was invalidated is still held.

        Example:
            >>> from collections.abc import Generator
            >>> from refcount import refcounted_resource
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> with camera(0):
            ...     camera.resources()
            (<SharedResource camera(0), running, usecount=1>,)
        """
        return self._self_family.resources()

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
            >>> from refcount import refcounted_resource
            >>> @refcounted_resource
            ... def camera(index: int) -> Generator[str]:
            ...     yield f"camera {index}"
            >>> camera.close()
            >>> camera(0)
            Traceback (most recent call last):
            refcount.ClosedError: camera is closed
        """
        self._self_family.close(timeout, force=force)

    def _self_make(self, key: Hashable, args: tuple[object, ...], kwargs: dict[str, object]) -> SharedResource[T_co]:
        name = self._self_arguments.spelled(args, kwargs)
        resource = self._self_family.make(key, opener_of(self._self_source, args, kwargs, name), name)
        if self._self_arguments.none:
            self._self_only = resource  # there is but this one: it stays, with its generations and observers
        return resource
