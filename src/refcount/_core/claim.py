"""`Claim`: what leases are, whoever drives their resource: a thread's or a task's."""
# pyright: reportPrivateUsage=false
# A lease and its driver are one thing; what they have of each other is private, since users have leases in their hands.

from __future__ import annotations

import os
import sys
import traceback
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Generic, Never, TypeVar

from refcount._core.generation import FORGOTTEN, Hold
from refcount._errors import RefcountError, ReleasedError

if TYPE_CHECKING:
    from refcount._core.generation import Generation
    from refcount._core.machine import Machine

T_co = TypeVar("T_co", covariant=True)

DEBUG = sys.flags.dev_mode or os.environ.get("REFCOUNT_DEBUG") == "1"
"""Whether each lease remembers where it was made, for the report when it is lost."""

SITE_DEPTH = 12
"""How many frames it remembers."""


class Use(Enum):
    """What has been done with a lease."""

    FRESH = "not used"
    ACQUIRED = "acquired"
    USED = "entered"


FRESH, ACQUIRED, USED = Use


class Claim(Hold[T_co], Generic[T_co]):
    """One consumer's hold on a resource, used once."""

    __slots__ = ("_site", "_use")

    _kind: ClassVar[str]
    _use: Use

    def _seen(self) -> Machine[T_co]:
        """Return the machine of its resource."""
        raise NotImplementedError

    def _name(self) -> str:
        """Return what its resource is called."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self._kind} of {self._name()}, {'held' if self.held else 'not held'}>"

    def __reduce__(self) -> Never:  # what `copy` and `pickle` ask
        raise TypeError(f"{self!r} cannot be copied or pickled: it is one consumer's hold; take another lease instead")

    @property
    def held(self) -> bool:
        """Whether it is held: entered or acquired, and not released yet.

        Example:
            >>> lease = SharedResource.of(list)()
            >>> with lease:
            ...     lease.held
            True
            >>> lease.held
            False
        """
        generation = self._generation
        return generation is not None and generation.phase is not FORGOTTEN

    @property
    def value(self) -> T_co:
        """The resource's value, as entering it gives it.

        Raises:
            ReleasedError: The lease is not held.

        Example:
            >>> lease = SharedResource.of(list, name="basket")()
            >>> lease.value
            Traceback (most recent call last):
            refcount.ReleasedError: <Lease of basket, not held> has no value: it was not entered yet, or was released
        """
        generation = self._generation
        if generation is None or generation.phase is FORGOTTEN:
            raise ReleasedError(f"{self!r} has no value: it was not entered yet, or was released")
        return generation.value

    @property
    def valid(self) -> bool:
        """Whether it is held, and newcomers would get the same: to ask before going on with what one has.

        Example:
            >>> resource = SharedResource.of(list)
            >>> with resource() as value, resource() as same:
            ...     lease = resource.acquire()
            ...     resource.invalidate()
            ...     lease.valid, lease.held
            (False, True)
            >>> lease.release()
            True
        """
        generation = self._generation
        return generation is not None and self._seen().offers(generation)

    def _for_use(self) -> None:
        """Begin to use it.

        Raises:
            RefcountError: That was done before.
        """
        with self._seen().lock:
            use = self._use
            if use is FRESH:
                self._use = USED
        if use is not FRESH:
            raise RefcountError(f"{self!r} was {use.value} before: a lease is used once, take a new one")

    def _to_invalidate(self) -> Generation[T_co]:
        generation = self._generation
        if generation is None or generation.phase is FORGOTTEN:
            raise ReleasedError(f"{self!r} has nothing to invalidate: it was not entered yet, or was released")
        return generation

    def _remember_site(self) -> None:
        self._site = traceback.extract_stack(limit=SITE_DEPTH)

    def _where(self) -> str:
        site: traceback.StackSummary | None = getattr(self, "_site", None)
        if site is None:
            return "; with REFCOUNT_DEBUG=1 in the environment it would say here where it was made"
        return "; it was made here:\n" + "".join(site.format()[:-3])
