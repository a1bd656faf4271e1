"""`Family`: shared resources, one for each key.

A key has a resource only while that is not idle, or while somebody refers to it: the family knows its members weakly,
and `process` keeps alive what is not idle. What is made for a key that has one already is dropped before it could
start, so a member is made outside the lock, and two first consumers get the same one.

A member that was closed makes room for a new one at the next call with its key. It is remembered, weakly, until it is
idle, for `resources` and `close`.

Locks. The guard is for the mapping where it is changed; finding a member takes no lock. Under it run a key's `__hash__`
and `__eq__` and, when the garbage collector comes, anybody's finalizers, which may use the family. It is never held
while a resource's lock or a capacity's is taken, nor the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Generic, Literal, TypeVar
from weakref import ReferenceType, WeakValueDictionary, ref

from refcount._core.capacity import Capacity, Slot
from refcount._core.driver import Driver
from refcount._core.locks import Guard
from refcount._core.openers import Opener
from refcount._core.process import process
from refcount._core.shared import SharedResource
from refcount._errors import ClosedError
from refcount._support.checks import check_callable, check_integer, check_seconds, check_timeout

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Terms(Generic[T]):
    """What the resources of a family have in common.

    Args:
        linger: Seconds, as in `SharedResource`.
        check: As in `SharedResource`.
        overlap: As in `SharedResource`.
        capacity: How many keys may be not idle at once, 1 or more; None for any number.
        when_full: Whether a newcomer waits or gets `CapacityError` when that many are in use.

    Raises:
        TypeError: One of them has the wrong type.
        ValueError: One of them has no meaning.
    """

    linger: float = 0.0
    check: Callable[[T], bool] | None = None
    overlap: bool = False
    capacity: int | None = None
    when_full: Literal["wait", "raise"] = "wait"

    def __post_init__(self) -> None:
        check_seconds("linger", self.linger)
        if self.check is not None:
            check_callable("check", self.check)
        if self.capacity is not None:
            check_integer("capacity", self.capacity, least=1)
        if self.when_full not in ("wait", "raise"):
            raise ValueError(f"when_full must be 'wait' or 'raise', not {self.when_full!r}")


class Family(Generic[T]):
    """Shared resources, one for each key. Thread-safe.

    Args:
        name: Names the family in errors.
        terms: What its resources have in common.
    """

    def __init__(self, name: str, terms: Terms[T]) -> None:
        self.name = name
        self.terms = terms
        self._capacity = None if terms.capacity is None else Capacity(name, terms.capacity, terms.when_full)
        self._members: WeakValueDictionary[Hashable, Member[T]] = WeakValueDictionary()
        self._superseded: list[ReferenceType[Member[T]]] = []
        self._closed = False
        self._guard = Guard()
        process.forkables.add(self)

    def find(self, key: Hashable) -> Member[T] | None:
        """Return the resource of `key` if it has one that is not closed. Takes no lock.

        Raises:
            TypeError: The key is not hashable.
        """
        member = self._members.get(key)
        return None if member is None or member.driver.closed else member

    def make(self, key: Hashable, opener: Opener[T], name: str) -> Member[T]:
        """Return the resource of `key`, which is made if it has none that is not closed.

        Args:
            key: What `find` did not find.
            opener: Starts and stops the resource.
            name: Names the resource.

        Raises:
            ClosedError: The family was closed.
        """
        return self._guard.run(partial(self._add, key, self._new(opener, name)))

    def resources(self) -> tuple[Member[T], ...]:
        """Return those that are not idle, in no particular order."""
        return tuple(member for member in self._known() if member.driver in process)

    def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse newcomers for good, wait for all holders to leave, and see everything stopped.

        Harmless when called again. Starts in flight are finished for the consumers who wait on them; those who wait for
        a slot get `ClosedError`.

        Args:
            timeout: How many seconds to wait for all of it.
            force: Stop under the holders.

        Raises:
            TimeoutError: Something was still held, or had not stopped, after `timeout` seconds.
            ReentrantError: Called inside a hook of one of the resources.
            Exception: What the one stop raised that this call made and that failed.
            ExceptionGroup: Several of these.
        """
        timeout = check_timeout(timeout)
        deadline = None if timeout is None else monotonic() + timeout
        for member in self._known():
            member.driver.refuse_reentry(f"close of {self.name}, and with it")
        self._guard.run(self._shut)
        if self._capacity is not None:
            self._capacity.close()
        members = self._known()
        errors = _close_all(members, force)
        late = ", ".join(member.name for member in _await_all(members, deadline))
        if late:
            errors.append(TimeoutError(f"{self.name} was still running after {timeout} s: {late}"))
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} errors while closing {self.name}", errors)

    def renew(self) -> tuple[()]:
        """Begin anew in a forked child, where another thread's copy of a lock may be held for ever."""
        self._guard = Guard()
        if self._capacity is not None:
            self._capacity.renew()
        return ()

    def _add(self, key: Hashable, fresh: Member[T]) -> Member[T]:
        if self._closed:
            raise ClosedError(f"{self.name} is closed")
        found = self.find(key)
        if found is not None:
            return found
        old = self._members.get(key)
        if old is not None:
            self._superseded = [*(other for other in self._superseded if other() is not None), ref(old)]
        self._members[key] = fresh
        return fresh

    def _shut(self) -> None:
        self._closed = True

    def _known(self) -> list[Member[T]]:
        """Return the members that somebody refers to, `process` included."""
        known = (*self._members.valuerefs(), *self._superseded)
        return [member for member in dict.fromkeys(reference() for reference in known) if member is not None]

    def _new(self, opener: Opener[T], name: str) -> Member[T]:
        terms = self.terms
        if self._capacity is not None:
            return Member(opener, name, terms, Slot(self._capacity, name))
        return Member(opener, name, terms)


class Member(SharedResource[T]):
    """A resource that shows its family its driver, and has a slot if the family is bounded."""

    __slots__ = ("driver",)

    driver: Driver[T]

    def __init__(self, opener: Opener[T], name: str, terms: Terms[T], slot: Slot | None = None) -> None:
        self._driver = self.driver = Driver(
            opener,
            name,
            linger=terms.linger,
            check=terms.check,
            overlap=terms.overlap,
            admission=slot,
            owner=self,
        )
        if slot is not None:
            slot.admits(self.driver)


def _close_all(members: list[Member[T]], force: bool) -> list[Exception]:
    """Close them without waiting, and return what their stops raised."""
    errors: list[Exception] = []
    for driver in [member.driver for member in members]:
        try:
            driver.shut(force=force)
        except Exception as error:
            errors.append(error)
    return errors


def _await_all(members: list[Member[T]], deadline: float | None) -> list[Member[T]]:
    """Wait until nothing of them runs, and return those of which something still ran at the deadline."""
    late: list[Member[T]] = []
    for member in members:
        try:
            member.driver.wait_quiet(None if deadline is None else deadline - monotonic())
        except TimeoutError:
            late.append(member)
    return late
