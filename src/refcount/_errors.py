"""Every exception of the package, each also the builtin that a caller would catch.

All of them take a text like any exception, and keep no state of their own: what `Exception` pickles (arguments,
attributes, notes) is all there is.
"""

from __future__ import annotations

from refcount._support.naming import public


@public
class RefcountError(Exception):
    """The base of every error that this package raises on its own account.

    Example:
        >>> from refcount import RefcountError, Refcounter
        >>> try:
        ...     Refcounter(usecount=0).dec()
        ... except RefcountError as error:
        ...     print(error)
        usecount 0 cannot be lowered by 1
    """


@public
class UnderflowException(RefcountError, ArithmeticError):
    """A count would have gone below 0; it was left as it was.

    Example:
        >>> from refcount import Refcounter
        >>> Refcounter(usecount=2).sub(3)
        Traceback (most recent call last):
        refcount.UnderflowException: usecount 2 cannot be lowered by 3
    """


@public
class OverflowException(RefcountError, OverflowError):
    """A count would have gone above `USECOUNT_MAX`; it was left as it was.

    Example:
        >>> from refcount import USECOUNT_MAX, OverflowException, Refcounter
        >>> try:
        ...     Refcounter(usecount=USECOUNT_MAX).inc()
        ... except OverflowException as error:
        ...     print(error)
        usecount 4611686018427387903 cannot be raised by 1: the limit is 4611686018427387903
    """


@public
class ReleasedError(RefcountError, NameError):
    """A value was asked for while nobody holds it.

    Example:
        >>> from refcount import RefcountedValue
        >>> RefcountedValue("data", usecount=0).value
        Traceback (most recent call last):
        refcount.ReleasedError: the value cannot be used at usecount 0
    """


@public
class ReentrantError(RefcountError, RuntimeError):
    """A resource was acquired from inside its own start or stop, which would have waited for itself.

    Example:
        >>> from refcount import SharedResource
        >>> camera = SharedResource.of(lambda: camera.acquire(), name="cam")
        >>> camera.acquire()
        Traceback (most recent call last):
        refcount.ReentrantError: acquire of cam inside its own start, stop or check (generation 1) would wait for itself
        while starting cam, generation 1
    """


@public
class ClosedError(RefcountError, RuntimeError):
    """A resource was acquired after it was closed.

    Example:
        >>> from refcount import SharedResource
        >>> camera = SharedResource.of(list, name="camera")
        >>> camera.close()
        >>> camera.acquire()
        Traceback (most recent call last):
        refcount.ClosedError: camera is closed
    """


@public
class CapacityError(RefcountError, RuntimeError):
    """A keyed resource was acquired while as many keys as its capacity allows were in use.

    Example:
        >>> from collections.abc import Generator
        >>> from refcount import CapacityError, refcounted_resource
        >>> @refcounted_resource(capacity=1, when_full="raise")
        ... def camera(index: int) -> Generator[str]:
        ...     yield f"camera {index}"
        >>> with camera(0):
        ...     try:
        ...         camera.resource(1).acquire()
        ...     except CapacityError as error:
        ...         print(error)
        camera(1) cannot start: camera has a capacity of 1, and none of its keys lingers
    """


@public
class WrongLoopError(RefcountError, RuntimeError):
    """A resource for tasks was used in another event loop than the one in which it is up.

    Example:
        >>> import asyncio
        >>> from refcount import AsyncSharedResource, WrongLoopError
        >>> camera = AsyncSharedResource.of(list, name="camera")
        >>> async def other():
        ...     try:
        ...         await camera.acquire()
        ...     except WrongLoopError as error:
        ...         print(error)
        >>> async def main():
        ...     async with camera():
        ...         await asyncio.to_thread(asyncio.run, other())
        >>> asyncio.run(main())  # doctest: +ELLIPSIS
        camera is running in another event loop, and cannot be used here before it is idle; ...
    """
