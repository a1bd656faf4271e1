"""`Lease`: one consumer's hold on one generation of a resource."""

import os
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from refcount._core.driver import Driver
from refcount._core.generation import Generation
from refcount._core.holds import Hold
from refcount._core.timers import clocks
from refcount._errors import RefcountError, ReleasedError
from refcount._support.public import public

if TYPE_CHECKING:
    from refcount._core.shared import SharedResource

T_co = TypeVar("T_co", covariant=True)

DEBUG = sys.flags.dev_mode or os.environ.get("REFCOUNT_DEBUG") == "1"
"""Whether each lease remembers where it was made, for the report when it is lost."""

SITE_DEPTH = 12
"""How many frames it remembers."""


@public
class Lease(Hold[Generation[T_co]], Generic[T_co]):
    """One consumer's hold on a resource, used once; made by calling a `SharedResource`, or by its `acquire`.

    A lease that is garbage-collected while held is given back from the timer thread, with a `ResourceWarning`. With
    `-X dev`, or `REFCOUNT_DEBUG=1` in the environment, the warning says where the lease was made.

    Example:
        >>> from refcount import SharedResource
        >>> resource = SharedResource.of(list, name="basket")
        >>> lease = resource.acquire()
        >>> lease.held, lease.value
        (True, [])
        >>> lease.release(), lease.release()
        (True, False)
    """

    __slots__ = ("_acquired", "_driver", "_resource", "_site")

    counter: Generation[T_co] | None

    _acquired: bool
    """Whether it came from `acquire`; taken away by its one entry."""

    def __init__(self, resource: "SharedResource[T_co]", driver: Driver[T_co], *, acquired: bool = False) -> None:
        self.counter = None
        self._acquired = acquired
        self._driver = driver
        self._resource = resource
        if DEBUG:
            self._site = traceback.extract_stack(limit=SITE_DEPTH)

    def __enter__(self) -> T_co:
        """Hold the resource, starting it if this is its first lease, and return its value.

        Raises:
            RefcountError: The lease was entered before; take a new one.
            ReleasedError: It came from `acquire` and was released already.
            ClosedError: The resource is closed.
            ReentrantError: Called inside a hook of the same resource.
        """
        try:
            acquired = self._acquired
            del self._acquired  # of two threads that delete one attribute only one succeeds
        except AttributeError:
            raise RefcountError(f"{self!r} was entered before: a lease is used once, take a new one") from None
        try:
            if acquired:
                return self.value
            generation = self._driver.hot
            if generation is not None and generation.inc_not_zero_by(self):
                return generation.value
            self._driver.admit(self, None)
            return self.value
        except BaseException:
            self._driver.give_back(self, hushed=True)
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Give the lease back; the last one stops the resource. An exception of the body stays the consumer's own."""
        self.release()

    def __del__(self) -> None:
        # Runs inside the garbage collector, in a thread that may hold any lock: look, queue, and nothing else.
        # An interrupt inside `__init__` leaves a lease without a counter.
        if getattr(self, "counter", None) is not None and self.held:
            clocks.thread.lost(lambda: self._driver.reclaim(self, self._where()))

    def __repr__(self) -> str:
        return f"<Lease of {self._driver.name}, {'held' if self.held else 'not held'}>"

    @property
    def resource(self) -> "SharedResource[T_co]":
        """The resource it belongs to.

        Example:
            >>> from refcount import SharedResource
            >>> basket = SharedResource.of(list)
            >>> basket().resource is basket
            True
        """
        return self._resource

    @property
    def held(self) -> bool:
        """Whether it holds the resource now.

        Example:
            >>> from refcount import SharedResource
            >>> lease = SharedResource.of(list)()
            >>> with lease:
            ...     lease.held
            True
            >>> lease.held
            False
        """
        generation = self.counter
        return generation is not None and generation.usecount > 0  # in a forked child the parent's is at 0

    @property
    def value(self) -> T_co:
        """The value of the generation that it holds.

        Raises:
            ReleasedError: It is not held.

        Example:
            >>> from refcount import SharedResource
            >>> lease = SharedResource.of(list, name="basket")()
            >>> lease.value
            Traceback (most recent call last):
            refcount.ReleasedError: <Lease of basket, not held> has no value: it was not entered yet, or was released
        """
        generation = self.counter
        if generation is None or not generation.usecount:
            raise ReleasedError(f"{self!r} has no value: it was not entered yet, or was released")
        return generation.value

    def release(self) -> bool:
        """Give the lease back; the last one stops the resource, in this thread unless it lingers.

        Returns:
            Whether this call released it; calling it again is harmless.

        Raises:
            Exception: What the resource's stop raised; the lease is released all the same.

        Example:
            >>> from refcount import SharedResource
            >>> lease = SharedResource.of(list).acquire()
            >>> lease.release(), lease.release()
            (True, False)
        """
        try:
            generation = self.counter
            return generation is not None and (generation.dec_not_one_by(self) or self._driver.give_back(self))
        except BaseException:
            self._driver.give_back(self, hushed=True)  # an interrupt may have come too early; else nothing is left
            raise

    def _where(self) -> str:
        site: traceback.StackSummary | None = getattr(self, "_site", None)
        if site is None:
            return "; with REFCOUNT_DEBUG=1 in the environment it would say here where it was made"
        return "; it was made here:\n" + "".join(site.format()[:-2])
