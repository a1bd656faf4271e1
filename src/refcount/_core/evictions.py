"""`Evictions`: which keys of a bounded family are stopped to make room for others.

What a waiter is to free is told by a predicate. Of the keys that linger, and of which nothing else is inside:

1. it takes those that have lingered longest, until they weigh enough;
2. of these it spares again, beginning with the one that has lingered least, each without which the others still weigh
   enough;
3. the others it stops, one after the other, the one that has lingered longest first.

Who lingers is known from a heap, ordered by when the last lease left. Consumers that come back and leave again do not
tell; so what is taken from the heap is looked at before it counts: it is dropped if somebody holds it, for the driver
will tell of it again, and put back if it was left later than the heap says. So a key costs O(log n) each time it is
told of, looked at, or spared; those that are spared are put back, and looked at again by the next one who needs room.

Like `room`, this is run under the lock of a `Capacity`, step by step, and bears an interrupt at every call: what
belongs together is changed in lines without calls, and an entry stands in two places for a moment rather than in none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar
from weakref import ref

from refcount._core.generation import Mark, is_inside
from refcount._support.weak import NOBODY

if TYPE_CHECKING:
    from fractions import Fraction

G = TypeVar("G")
G_contra = TypeVar("G_contra", contravariant=True)


class Idle(NamedTuple, Generic[G]):
    """A linger, as far as the family has heard of it.

    Attributes:
        left: Since when.
        number: Puts those that began at the same time in order.
        key: Whose it is.
        generation: What lingers; weakly, since it may be held by now, and is to go with its holders.
    """

    left: float
    number: int
    key: Key[G]
    generation: ref[G]


class Driver(Protocol[G_contra]):
    """What is asked of the driver of a resource, always outside every lock; to evict, whoever waits has his way."""

    @property
    def name(self) -> str:
        """Names the resource in errors."""
        ...

    def resting_since(self, generation: G_contra, /) -> float | None:
        """Return since when `generation` lingers; if it does not, its next linger is told of again."""
        ...

    def works_here(self) -> bool:
        """Return whether this thread is inside a hook of the resource."""
        ...


class Sleeps(Protocol):
    """What a thread, or a task, sleeps on."""

    def wake(self) -> None:
        """Let it look again; harmless when repeated, and when it does not sleep."""
        ...


class Key(Generic[G]):
    """One resource of a bounded family.

    Attributes:
        driver: Returns its driver, if there is one any more.
        weight: How much of the limit it takes, exactly.
        refused: Whether it was closed by force, so that nobody is to wait for it.
        count: How many of its generations are inside.
        places: Those of its generations that stand in line, by their tickets.
        idle: Its linger, if there may be one.
        evicted_for: Who is stopping it, or is about to.
        entered: Which thread is inside a with-block on it, and who waits for that thread, by the lease.
    """

    __slots__ = ("count", "driver", "entered", "evicted_for", "idle", "places", "refused", "weight")

    def __init__(self, weight: int | Fraction) -> None:
        self.driver: Callable[[], Driver[G] | None] = NOBODY
        self.weight = weight
        self.refused = False
        self.entered: dict[int, Mark] = {}
        self.reset()

    def reset(self) -> None:
        """Forget what happened in the parent process."""
        self.count = 0
        self.places: dict[int, Place[G]] = {}
        self.idle: Idle[G] | None = None
        self.evicted_for: Place[G] | None = None
        self.entered.clear()


class Place(Generic[G]):
    """The place of a generation in line, and what the thread does that waits there.

    Attributes:
        key: Of which key it is a generation.
        ticket: Tells it from all other generations.
        line: The thread, then the thread that waits for what it runs, if it is not alone, and so on; or the task.
        for_ever: Whether it waits for as long as it takes.
        sleeper: What it sleeps on.
        heaviest: The weight of the heaviest one that was in line when it came, itself included.
        checked: Whether it is known not to wait for itself.
        unseen: What it has taken from the heap and is still to look at.
        hand: What it has taken that does linger.
        victims: What it is to stop, the first one last.
        suffices: Whether it, or those before it in line, can enter when the victims have stopped.
    """

    __slots__ = (
        "checked",
        "for_ever",
        "hand",
        "heaviest",
        "key",
        "line",
        "sleeper",
        "suffices",
        "ticket",
        "unseen",
        "victims",
    )

    def __init__(
        self, key: Key[G], ticket: int, line: Sequence[object], sleeper: Sleeps, *, for_ever: bool = False
    ) -> None:
        self.key = key
        self.ticket = ticket
        self.line = line
        self.for_ever = for_ever
        self.sleeper = sleeper
        self.heaviest = key.weight
        self.checked = False
        self.unseen: list[Idle[G]] = []
        self.hand: dict[Key[G], Idle[G]] = {}
        self.victims: list[Idle[G]] = []
        self.suffices = False

    def is_inside(self, key: Key[G]) -> bool:
        """Return whether the thread would wait for ever for `key`, since it is itself inside a with-block on it."""
        return self.for_ever and any(is_inside(mark, self.line) for mark in key.entered.copy().values())


Enough = Callable[["int | Fraction"], bool]
"""Whether a waiter has done its part when it stops so much."""


class Evictions(Generic[G]):
    """The keys of one family that linger, and those that are being stopped to make room.

    Attributes:
        heap: Every linger that was told of and may be stopped, apart from what waiters have taken; and old ones.
        freeing: What those weigh together that are being stopped.
    """

    def __init__(self) -> None:
        self.heap: list[Idle[G]] = []
        self.freeing: int | Fraction = 0
        self._number = 0

    def tell(self, key: Key[G], left: float, generation: ref[G], size: int) -> None:
        """A key with its only generation lingers since `left`; it is one of `size` keys inside."""
        self._number += 1
        key.idle = Idle(left, self._number, key, generation)
        if len(self.heap) > 2 * size + 16:  # most of them have left
            heap = [*{idle.key: idle for idle in self.heap if _is_usable(idle)}.values()]
            heapify(heap)
            self.heap = heap
        self.offer(key)

    def offer(self, key: Key[G]) -> None:
        """Let waiters find the linger of `key`, if there is one, as soon as they can use it."""
        if key.idle is not None:
            heappush(self.heap, key.idle)

    def search(self, place: Place[G], enough: Enough) -> bool:
        """Take from the heap as many as may be enough, and all that lingered longer than one of them.

        Returns:
            Whether any of them are still to be looked at.
        """
        place.hand = {idle.key: idle for idle in place.hand.values() if _is_usable(idle)}
        found = sum(idle.key.weight for idle in place.hand.values())
        latest = max(place.hand.values(), default=None)
        while self.heap and (not enough(found) or (latest is not None and self.heap[0] < latest)):
            idle = self.heap[0]
            if _is_usable(idle) and idle.key not in place.hand:
                place.unseen.append(idle)
                found = found + idle.key.weight
                latest = idle if latest is None else max(idle, latest)
            heappop(self.heap)
        return bool(place.unseen)

    def sort_out(self, place: Place[G], seen: Iterable[tuple[Idle[G], float | None]]) -> None:
        """Keep those at hand that were seen to have lingered for as long as the heap said."""
        for idle, left in seen:
            key = idle.key
            if key.idle is not idle:
                continue  # it has left, or has begun to linger anew
            if left is None:
                key.idle = None
            elif left > idle.left:
                later = idle._replace(left=left)
                heappush(self.heap, later)
                key.idle = later
            else:
                place.hand[key] = idle
        place.unseen.clear()

    def choose(self, place: Place[G], enough: Enough) -> list[Idle[G]]:
        """Return which of those at hand are to be stopped, in that order; all of them if that is not enough."""
        taken: list[Idle[G]] = []
        weight: int | Fraction = 0
        for idle in sorted(place.hand.values()):
            if enough(weight):
                break
            taken.append(idle)
            weight = weight + idle.key.weight
        if not enough(weight):
            return taken
        needed: list[Idle[G]] = []
        for idle in reversed(taken):
            if enough(weight - idle.key.weight):
                weight = weight - idle.key.weight
            else:
                needed.append(idle)
        needed.reverse()
        return needed

    def mark(self, place: Place[G], chosen: list[Idle[G]]) -> None:
        """Have the thread at `place` stop the chosen ones, and leave what else it has found to others."""
        for idle in reversed(chosen):
            freeing = self.freeing + idle.key.weight
            place.victims.append(idle)
            # Nothing is called from here on.
            idle.key.evicted_for = place
            self.freeing = freeing
        self.put_back(place)

    def put_back(self, place: Place[G]) -> None:
        """Leave what the thread at `place` has found, and does not stop, to others."""
        for idle in (*place.unseen, *place.hand.values()):
            if _is_usable(idle):
                heappush(self.heap, idle)
        place.unseen.clear()
        place.hand.clear()

    def spare(self, place: Place[G]) -> None:
        """Take away the next victim, which is stopped already or not to be stopped any more."""
        key = place.victims[-1].key
        if key.evicted_for is place:
            self.offer(key)
            freeing = self.freeing - key.weight
            # Nothing is called from here on.
            key.evicted_for = None
            self.freeing = freeing
        # Now it may be.
        place.victims.pop()


def _is_usable(idle: Idle[G]) -> bool:
    """Return whether to end this linger would let its key leave, as far as is known."""
    return idle.key.idle is idle and idle.key.count == 1 and idle.key.evicted_for is None
