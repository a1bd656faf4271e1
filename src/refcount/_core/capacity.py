"""`Capacity`: how many resources of a family may be up at once, and who comes next when they are as many.

Each resource of a bounded family has a `Slot`, which is the admission that its driver asks. All facts stand in the
`Capacity`, in four collections of slots:

    inside      whose resource is not idle, from before its start; never more than the limit
    queue       who waits to come in, in order of coming, each with the bells of the threads that wait for it: two, say,
                where one generation of a key was invalidated before it could start, and the next one is to start too
    resting     whose resource lingers, the one that has lingered longest first; always inside as well
    evicting    who waits and is just stopping a resource to make room

    slot    out -> queue -> inside [-> resting -> inside ...] -> out

Everything a slot has is taken away by `leave`, which the driver calls whenever the resource is idle, whatever came
before: a start that failed, a waiter that was interrupted or had no more time, a stop. If another consumer of the same
resource takes over a start, it takes over the place in the queue as well. So no thread has to clean up after itself;
what follows from the facts (who comes in, who is woken) is derived by `_settle`, which may be repeated at any time.

Waiters make room themselves: each that waits may stop one resource that lingers, as long as no more are being stopped
than there are waiters. A resource that begins to linger while somebody waits wakes the first who is not at it yet. The
victim may be taken again at the same moment, or be chosen by two; then a `flush` does nothing but publish that it no
longer rests, and the waiter looks for another.

Locks. The guard is a leaf: it is taken under a resource's lock (`leave`, `rest`), no other lock is ever taken under it,
and no start or stop runs under it. Victims are stopped outside every lock. The thread that has it may take it again,
for a finalizer that comes in between and gives back a lease; every step bears that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal
from weakref import ref

from refcount._core.bell import Bell
from refcount._core.driver import Driver
from refcount._core.locks import Guard
from refcount._errors import CapacityError, ClosedError, ReentrantError


class Capacity:
    """The slots of one family.

    Args:
        family: Names the family in errors.
        limit: How many resources may be up at once.
        when_full: Whether a newcomer waits or gets `CapacityError` when all are up and none lingers.
    """

    def __init__(self, family: str, limit: int, when_full: Literal["wait", "raise"]) -> None:
        self._family = family
        self._limit = limit
        self._when_full = when_full
        self._closed = False
        self.renew()

    def renew(self) -> None:
        """Begin anew in a forked child, where nothing runs and nobody waits."""
        self._guard = Guard()
        self._inside: set[Slot] = set()
        self._queue: dict[Slot, list[Bell]] = {}
        self._resting: dict[Slot, None] = {}
        self._evicting: set[Slot] = set()

    def close(self) -> None:
        """Let nobody in any more; those who wait get `ClosedError`."""
        self._guard.run(self._close)

    def enter(self, slot: Slot, deadline: float | None) -> None:
        """Return when `slot` is inside; an error leaves its place to `leave`."""
        bell = Bell()
        while (obstacle := self._guard.run(partial(self._advance, slot, bell))) is not None:
            if isinstance(obstacle, Slot):
                obstacle.flush()
            elif not obstacle.sleep(deadline) and slot not in self._inside:
                raise TimeoutError(f"{slot.name} could not start before the timeout was over: {self._full}")

    def leave(self, slot: Slot) -> None:
        """Take away all that `slot` has, for whoever is next."""
        self._guard.run(partial(self._leave, slot))

    def rest(self, slot: Slot, resting: bool, *, anew: bool = False) -> None:
        """The resource of `slot` begins to linger, or does so no longer, or does so `anew`."""
        # Where somebody waits, again and again: an interrupt may have come before that one was woken.
        if anew or self._queue or (slot in self._resting) != resting:
            self._guard.run(partial(self._rest, slot, resting))

    def wake(self, slot: Slot) -> None:
        """Let `slot` look again whether it is still to wait."""
        self._guard.run(partial(self._ring, slot))

    def _close(self) -> None:
        self._closed = True
        self._settle()

    def _leave(self, slot: Slot) -> None:
        self._inside.discard(slot)
        self._queue.pop(slot, None)
        self._resting.pop(slot, None)
        self._evicting.discard(slot)
        self._settle()

    def _rest(self, slot: Slot, resting: bool) -> None:
        self._resting.pop(slot, None)
        if resting and slot in self._inside:
            self._resting[slot] = None
        self._settle()

    def _advance(self, slot: Slot, bell: Bell) -> Slot | Bell | None:
        """Return None when `slot` is inside; else the resource that it may stop, or `bell`, which it is to wait for."""
        self._evicting.discard(slot)
        if slot not in self._inside:
            self._stand_in_line(slot, bell)
        self._settle()
        if slot in self._inside:
            return None
        victim = self._victim()
        if victim is not None:
            self._evicting.add(slot)
            return victim
        self._refuse_to_wait(slot)
        return bell

    def _stand_in_line(self, slot: Slot, bell: Bell) -> None:
        if self._closed:
            raise ClosedError(f"{self._family} is closed")
        if slot.refused:
            raise ClosedError(f"{slot.name} is closed")
        bells = self._queue.setdefault(slot, [])
        if bell not in bells:
            bells.append(bell)

    def _victim(self) -> Slot | None:
        """Return who has lingered longest, if more are to be stopped than are being stopped."""
        return next(iter(self._resting), None) if len(self._evicting) < len(self._queue) else None

    def _refuse_to_wait(self, slot: Slot) -> None:
        if all(other.works_here for other in self._inside):
            hooks = ", ".join(other.name for other in self._inside)
            raise ReentrantError(f"{slot.name} inside a hook of {hooks} would wait for itself: {self._full}")
        if self._when_full == "raise":
            raise CapacityError(f"{slot.name} cannot start: {self._full}")

    @property
    def _full(self) -> str:
        return f"{self._family} has a capacity of {self._limit}, and none of its keys lingers"

    def _settle(self) -> None:
        """Let in whom there is room for, and wake who may make more or is refused; harmless when repeated."""
        for slot in tuple(self._queue):
            if slot not in self._inside and len(self._inside) >= self._limit:
                break
            self._inside.add(slot)
            self._ring(slot)
            self._queue.pop(slot, None)
        if self._closed:
            for slot in self._queue:
                self._ring(slot)
        elif self._victim() is not None:
            self._ring(next(slot for slot in self._queue if slot not in self._evicting))

    def _ring(self, slot: Slot) -> None:
        """Wake all who wait for `slot`."""
        for bell in self._queue.get(slot, ()):
            bell.ring()


class Slot:
    """The admission of one resource of a bounded family.

    Args:
        capacity: Where it may come in.
        name: Names the resource in errors.
    """

    __slots__ = ("_capacity", "_driver", "name")

    name: str
    _driver: Callable[[], Driver[object] | None]

    def __init__(self, capacity: Capacity, name: str) -> None:
        self._capacity = capacity
        self.name = name

    def admits(self, driver: Driver[object]) -> None:
        """It is `driver`'s; weakly, since an idle resource that nobody knows shall go at once."""
        self._driver = ref(driver)

    def enter(self, deadline: float | None) -> None:
        """Return when the resource may start.

        Raises:
            CapacityError: The family is full and nobody is to wait.
            TimeoutError: `monotonic()` has passed `deadline`.
            ClosedError: The family was closed.
            ReentrantError: Only hooks that this very thread is inside of could make room.
        """
        self._capacity.enter(self, deadline)

    def leave(self) -> None:
        """The resource is idle."""
        self._capacity.leave(self)

    def wake(self) -> None:
        """The resource was closed by force."""
        self._capacity.wake(self)

    def rest(self, resting: bool, *, anew: bool = False) -> None:
        """The resource lingers, or does not; under its lock."""
        self._capacity.rest(self, resting, anew=anew)

    def flush(self) -> None:
        """Stop the resource if it lingers; its error is reported."""
        driver = self._driver()
        if driver is not None:
            driver.flush(hushed=True)

    @property
    def refused(self) -> bool:
        """Whether the resource was closed by force, so that nobody is to wait for it."""
        driver = self._driver()
        return driver is not None and driver.forced

    @property
    def works_here(self) -> bool:
        """Whether this thread is inside a hook of the resource."""
        driver = self._driver()
        return driver is not None and driver.works_here
