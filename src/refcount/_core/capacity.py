"""`Capacity`: how threads wait for a place in a bounded family; `Slot`: what each resource asks before it starts.

All of that happens in the thread that waits, and outside the lock.

What the driver owes. `enter` comes before a start; `leave` when the generation has stopped, before anybody sees that it
has (else a newcomer of the same key could enter as if the key had not left), and whenever `enter` or the start has
failed and nobody takes the start over. `leave` may come at any time and more than once. A generation that was given up
while it waited has left as well, and comes in again at the end of the line: who gives a start up looks after `enter`
whether it is still wanted, and leaves if not. A generation is known by its `id`, and nothing here keeps it alive: the
driver does, until it has left.

Waiting for oneself. A thread inside a hook of a key, or inside a with-block on one, may need a key which can only enter
when that is over; it gets `ReentrantError` instead. That is so when it is making room for another key that is still in
line (the stop of an evicted key runs in there), and when not everybody up to its own place in line could enter even if
all keys had left but those that this thread is inside of. If it fits at once all the same, it enters before those in
line, who would wait for that hook anyway. The answer cannot change for the worse while the thread sleeps: it gets into
nothing else meanwhile, nobody comes in line before it, and no place further down its own stack is in line any more. A
thread that runs a hook for another one, which waits for it, counts as that one.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol, TypeVar, cast

from refcount._core.admission import Admission, BaseSlot
from refcount._core.clock import monotonic
from refcount._core.evictions import Driver, Place
from refcount._core.parking import Parker, callers_of
from refcount._core.room import Step
from refcount._errors import ReentrantError

G = TypeVar("G")
G_contra = TypeVar("G_contra", contravariant=True)


class _Driver(Driver[G_contra], Protocol[G_contra]):
    def evict(self, generation: G_contra, /) -> None:
        """Stop `generation` in this thread if it lingers; what that raises is reported."""
        ...


class Capacity(Admission[G]):
    """The room of one family, for which threads wait."""

    def slot(self, weight: float = 1) -> Slot[G]:
        """Return a new slot, for one resource; raises as `exact_weight` does."""
        return Slot(self, self.exact_weight(weight))

    def enter(self, slot: Slot[G], generation: G, by: int, deadline: float | None, parker: Parker | None) -> None:
        """See `Slot.enter`."""
        if self.owned():
            raise ReentrantError(f"{slot.name} cannot start in a finalizer in the middle of a step of {self.family}")
        ticket = id(generation)
        if self._step(lambda: self.room.admit(slot, ticket)):
            return
        parker = parker or Parker()
        place = Place(slot, ticket, callers_of(by), parker, for_ever=self._patient and deadline is None)
        try:
            self._wait(slot, place, parker, deadline)
        except BaseException:
            self.do(partial(self.room.retire, place))  # at once; if an interrupt keeps it from that, `leave` does it
            raise

    def _wait(self, slot: Slot[G], place: Place[G], parker: Parker, deadline: float | None) -> None:
        """Do what is to be done until the generation at `place` is inside."""
        step = Step.SLEEP
        while step is not Step.GO:
            step = self._advance(slot, place, hurried=deadline is not None and monotonic() >= deadline)
            if step is Step.STOP:
                self._stop_next(place)
            elif step is Step.SLEEP:
                parker.park(deadline)

    def _stop_next(self, place: Place[G]) -> None:
        """Stop the next victim, if it still lingers."""
        for idle in place.victims[-1:]:
            driver = cast("_Driver[G] | None", idle.key.driver())
            generation = idle.generation()
            if driver is not None and generation is not None:
                driver.evict(generation)
        self._step(partial(self.room.stopped, place))


class Slot(BaseSlot[G]):
    """What one resource of a bounded family asks before it starts; made by `Capacity.slot`."""

    __slots__ = ()

    _capacity: Capacity[G]

    def enter(self, generation: G, by: int, deadline: float | None, parker: Parker | None = None) -> None:
        """Return when `generation` is inside, so that it may start; at once if it is.

        Called outside every lock. What it has of the room, or its place in line if this raises, is taken away by
        `leave`; another thread that calls this for the same generation, after the first one has returned, takes it
        over.

        Args:
            generation: What is to start.
            by: The calling thread.
            deadline: When to give up, as `monotonic()` says it.
            parker: What to sleep on; one is made if there is none.

        Raises:
            CapacityError: There is no room, and nobody is to wait.
            TimeoutError: The deadline has passed.
            ClosedError: The family was closed, or the resource by force.
            ReentrantError: Only this very thread could make room.
        """
        self._capacity.enter(self, generation, by, deadline, parker)
