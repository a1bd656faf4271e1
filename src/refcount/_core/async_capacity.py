"""`AsyncCapacity`: how tasks wait for a place in a bounded family; `AsyncSlot`: what each asks before it starts.

The same as `capacity` for tasks, which await what threads do: the stop of a key that is evicted, and to be woken. A
task that would wait for a with-block of its own gets `ReentrantError`, as a thread does. The keys of one family may be
up in several event loops; whoever needs room has a key of another loop stopped there.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol, TypeVar, cast

from refcount._core.admission import Admission, BaseSlot
from refcount._core.evictions import Driver, Place
from refcount._core.loop import Loop, Sleeper
from refcount._core.loops import here
from refcount._core.room import Step
from refcount._errors import ReentrantError

G = TypeVar("G")
G_contra = TypeVar("G_contra", contravariant=True)


class _Driver(Driver[G_contra], Protocol[G_contra]):
    async def evict(self, generation: G_contra, /) -> None:
        """Stop `generation` if it lingers, and return when it has stopped; what that raises is reported."""
        ...


class AsyncCapacity(Admission[G]):
    """The room of one family, for which tasks wait."""

    def slot(self, weight: float = 1) -> AsyncSlot[G]:
        """Return a new slot, for one resource; raises as `exact_weight` does."""
        return AsyncSlot(self, self.exact_weight(weight))

    async def enter(self, slot: AsyncSlot[G], generation: G, by: object, deadline: float | None) -> None:
        """See `AsyncSlot.enter`."""
        if self.owned():
            raise ReentrantError(f"{slot.name} cannot start in a finalizer in the middle of a step of {self.family}")
        ticket = id(generation)
        if self._step(lambda: self.room.admit(slot, ticket)):
            return
        loop = here()
        sleeper = loop.sleeper()
        place = Place(slot, ticket, [by], sleeper, for_ever=self._patient and deadline is None)
        try:
            await self._wait(slot, place, sleeper, loop, deadline)
        except BaseException:
            self.do(partial(self.room.retire, place))  # at once; if an interrupt keeps it from that, `leave` does it
            raise

    async def _wait(
        self, slot: AsyncSlot[G], place: Place[G], sleeper: Sleeper, loop: Loop, deadline: float | None
    ) -> None:
        """Do what is to be done until the generation at `place` is inside."""
        step = Step.SLEEP
        while step is not Step.GO:
            step = self._advance(slot, place, hurried=deadline is not None and loop.now() >= deadline)
            if step is Step.STOP:
                await self._stop_next(place)
            elif step is Step.SLEEP:
                await sleeper.sleep(deadline)

    async def _stop_next(self, place: Place[G]) -> None:
        """Stop the next victim, if it still lingers."""
        for idle in place.victims[-1:]:
            driver = cast("_Driver[G] | None", idle.key.driver())
            generation = idle.generation()
            if driver is not None and generation is not None:
                await driver.evict(generation)
        self._step(partial(self.room.stopped, place))


class AsyncSlot(BaseSlot[G]):
    """What one resource of a bounded family asks before it starts; made by `AsyncCapacity.slot`."""

    __slots__ = ()

    _capacity: AsyncCapacity[G]

    async def enter(self, generation: G, by: object, deadline: float | None) -> None:
        """Return when `generation` is inside, so that it may start; at once if it is.

        Called outside every lock. What it has of the room, or its place in line if this raises, is taken away by
        `leave`; another task that calls this for the same generation, after the first one has returned, takes it
        over.

        Args:
            generation: What is to start.
            by: The calling task.
            deadline: When to give up, on the clock of its event loop.

        Raises:
            CapacityError: There is no room, and nobody is to wait.
            TimeoutError: The deadline has passed.
            ClosedError: The family was closed, or the resource by force.
            ReentrantError: Only this very task could make room.
        """
        await self._capacity.enter(self, generation, by, deadline)
