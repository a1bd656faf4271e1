"""`Room`: how much of a bounded family is in use, and who waits to come in.

A generation enters before it starts and leaves when it has stopped. Its key is inside, and weighs, as long as any of
its generations is; what is inside never weighs more than the limit. A generation that does not fit, or finds others in
line, stands in line. The first in line enters as soon as it fits, and nobody behind it does before, however light. So a
key that has left comes back at the end of the line. Three do not stand in line: a generation of a key that is inside
anyway; a key that weighs nothing; and one that is wanted inside a hook that those in line wait for themselves.

What the line lacks is what the keys in it weigh together, less what is free and less what is being stopped already. A
waiter sees to what the line lacks, but to no more than its own weight, by stopping keys that linger: `evictions` says
which. If all that linger do not weigh enough, a waiter that can wait stops them all and waits for the rest, so that
consumers who come and go by turns cannot keep it out; one that cannot wait stops none.

Each method is a step under the lock of a `Capacity`. Nothing in here waits, runs a hook or asks a driver. An interrupt
may come at each call: what belongs together is changed in lines without calls, threads are woken before the change that
they are woken for, and what one step has left undone the next one does.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import ref

from refcount._core.evictions import Evictions, Idle, Key, Place

if TYPE_CHECKING:
    from fractions import Fraction

G = TypeVar("G")


class Step(enum.Enum):
    """What a thread that wants to enter is to do next."""

    GO = "its generation is inside"
    REFUSED = "nobody may enter any more"
    NESTED = "it is making room for another key further down its own stack, and there is none for this one"
    LOOK = "ask since when those in `unseen` linger"
    CHECK = "find out whether it would wait for itself"
    STOP = "stop the last one of `victims`"
    SLEEP = "wait to be woken"
    FULL = "there is no room, and nobody is to wait"


class Room(Generic[G]):
    """The room of one family.

    Args:
        limit: How much may be inside.
        patient: Whether those wait who find no room.
    """

    def __init__(self, limit: float, *, patient: bool) -> None:
        self._limit = limit
        self._patient = patient
        self.closed = False
        self._inside: dict[int, Key[G]] = {}
        self._queue: OrderedDict[int, Place[G]] = OrderedDict()
        self.reset()

    def reset(self) -> None:
        """Begin anew in a forked child, where nothing runs and nobody waits."""
        for key in (*self._inside.values(), *(place.key for place in self._queue.values())):
            key.reset()
        self._inside = {}
        """Every generation that is inside, by its ticket, and its key."""
        self._keys: dict[Key[G], None] = {}
        """The keys inside that weigh anything."""
        self._load: int | Fraction = 0
        """What they weigh together."""
        self._queue = OrderedDict()
        """Those in line, by their tickets."""
        self._wanted: int | Fraction = 0
        """What the keys in line weigh that are not inside."""
        self._asleep: OrderedDict[int, Place[G]] = OrderedDict()
        """Those in line that sleep and were not woken since."""
        self._entering: dict[object, list[Place[G]]] = {}
        """The places of each thread that is about to enter, the innermost last."""
        self._evictions: Evictions[G] = Evictions()

    def _fits(self, load: int | Fraction) -> bool:
        """Return whether so much may be inside.

        Fractions are added up exactly, so that nothing piles up, and rounded here: ten weights of 0.1 fit into 1.
        """
        return (load if isinstance(load, int) else float(load)) <= self._limit

    # Coming in

    def admit(self, key: Key[G], ticket: int, *, overtake: bool = False) -> bool:
        """Let a generation in if it may enter at once; say whether it is inside.

        Args:
            key: Of which key it is a generation.
            ticket: Tells it from all other generations.
            overtake: Whether it may enter before those in line.
        """
        if ticket in self._inside:
            return True
        if self.closed or key.refused:
            return False
        if not key.count and key.weight and ((self._queue and not overtake) or not self._fits(self._load + key.weight)):
            return False
        self._let_in(key, ticket)
        return True

    def advance(self, place: Place[G], *, hurried: bool) -> Step:
        """Return what the thread at `place` is to do next; the first time it goes to its place in line.

        Args:
            place: Where it stands.
            hurried: Whether it has no time to wait, and is to stop others only if it enters then.
        """
        key, ticket = place.key, place.ticket
        self._asleep.pop(ticket, None)
        if ticket not in self._inside:
            if self.closed or key.refused:
                return Step.REFUSED
            if self._queue.get(ticket) is not place:
                self._stand_in_line(place)
            if key.count:
                self._let_in(key, ticket)
            self._settle()
            nested = any(self._queue.get(outer.ticket) is outer for outer in self._further_down(place))
            if nested and not self.admit(key, ticket, overtake=True):
                return Step.NESTED
        if ticket in self._inside:
            self.retire(place)
            return Step.GO
        step = self._make_room(place, hurried=hurried)
        if step is Step.STOP or step is Step.SLEEP:
            self._evictions.put_back(place)
            self._wake_one()
        if step is Step.SLEEP and not hurried:
            self._asleep[ticket] = place
        return step

    def _stand_in_line(self, place: Place[G]) -> None:
        """Go to the end of the line, or take over the place that another thread has left."""
        key, ticket = place.key, place.ticket
        left = self._queue.get(ticket)
        if left is not None:
            self._forget(left)
            place.heaviest = left.heaviest
        elif self._queue:
            place.heaviest = max(key.weight, next(reversed(self._queue.values())).heaviest)
        own = self._entering.setdefault(place.line[0], [])
        if place not in own:
            own.append(place)
        wanted = self._wanted if key.count or key.places else self._wanted + key.weight
        # Nothing is called from here on.
        key.places[ticket] = place
        self._queue[ticket] = place
        self._wanted = wanted

    def _let_in(self, key: Key[G], ticket: int) -> None:
        """Let a generation in from wherever it stands; others of its key that wait will see that they may enter."""
        for place in key.places.values():
            place.sleeper.wake()
            self._asleep.pop(place.ticket, None)
        load, wanted, weighs = self._load, self._wanted, bool(key.weight)
        if not key.count:
            load = load + key.weight
            if key.places:
                wanted = wanted - key.weight
        # Nothing is called from here on.
        if ticket not in self._inside:
            self._inside[ticket] = key
            key.count += 1
        self._load = load
        self._wanted = wanted
        if weighs:
            self._keys[key] = None
        if ticket in self._queue:
            del self._queue[ticket]
            del key.places[ticket]

    def _settle(self) -> None:
        """Let in whoever is first and fits, and have somebody look after the others."""
        while self._queue:
            place = next(iter(self._queue.values()))
            if not place.key.count and not self._fits(self._load + place.key.weight):
                break
            self._let_in(place.key, place.ticket)
        self._wake_one()

    def _wake_one(self) -> None:
        """Wake one who sleeps, if there may be something to stop that nobody sees to, or to find that there is not."""
        if self._asleep and (self._evictions.heap or not self._patient) and not self._provides(0):
            ticket, place = next(iter(self._asleep.items()))
            place.sleeper.wake()
            del self._asleep[ticket]

    # Making room

    def _provides(self, weight: int | Fraction) -> bool:
        """Return whether all in line fit when what is being stopped has left, and so much besides."""
        return self._fits(self._load + self._wanted - self._evictions.freeing - weight)

    def _make_room(self, place: Place[G], *, hurried: bool) -> Step:
        """Return what the thread at `place` is to do for those in line."""

        def enough(weight: int | Fraction) -> bool:
            return weight >= place.key.weight or self._provides(weight)

        evictions = self._evictions
        if hurried and place.victims and not place.suffices:
            self._give_up_victims(place)
        while place.victims:
            victim = place.victims[-1].key
            if victim.evicted_for is place and not self._provides(-victim.weight):
                return Step.STOP
            evictions.spare(place)
        if evictions.search(place, enough):
            return Step.LOOK
        chosen = evictions.choose(place, enough)
        done = enough(sum(idle.key.weight for idle in chosen))
        if not place.checked and not (done and chosen):
            return Step.CHECK
        if not done and not self._patient:
            return Step.FULL
        if not chosen or (hurried and not (done and place is next(iter(self._queue.values())))):
            return Step.SLEEP
        place.suffices = done
        evictions.mark(place, chosen)
        return Step.STOP

    def sort_out(self, place: Place[G], seen: list[tuple[Idle[G], float | None]]) -> None:
        """It was seen since when those in `unseen` linger."""
        self._evictions.sort_out(place, seen)

    def stopped(self, place: Place[G]) -> None:
        """The last one of the victims has stopped; or somebody took it before."""
        if place.victims:
            self._evictions.spare(place)

    # Waiting for oneself

    def could_enter(self, place: Place[G], own: dict[Key[G], bool], most: int) -> tuple[bool, list[Key[G]], bool]:
        """Find out whether all up to `place` could enter, one after the other, if all keys left but its thread's own.

        If they could not, but `place` fits as it is, it overtakes them.

        Args:
            place: Where the thread stands that asks.
            own: Which keys cannot leave before that thread goes on, as far as it is known.
            most: How many keys to look at.

        Returns:
            Whether that is so, which keys are still to be asked about, and whether there are no more than these.
        """
        keys = list(islice(self._keys, most))
        unknown = [key for key in keys if key not in own]
        whole = len(self._keys) <= most
        left = self._load - sum(key.weight for key in keys if not own.get(key, True))
        fine = self._fits(left + place.heaviest)
        if not fine and whole and not unknown:
            self._look_ahead(place)
            fine = self._fits(left + place.heaviest) or self.admit(place.key, place.ticket, overtake=True)
        return fine, unknown, whole

    def _look_ahead(self, place: Place[G]) -> None:
        """See who is in line before `place`: some that were when it came may have given up."""
        place.heaviest = place.key.weight
        for other in self._queue.values():
            if other is place:
                break
            place.heaviest = max(place.heaviest, other.key.weight)

    def nearest(self, place: Place[G]) -> list[Key[G]]:
        """Return the keys for which the thread of `place` makes room further down its stack, the innermost last."""
        return [outer.key for outer in self._further_down(place)]

    def _further_down(self, place: Place[G]) -> list[Place[G]]:
        """Return where the thread of `place` stands further down its stack, or those who wait for what it runs."""
        outer = [outer for by in reversed(place.line) for outer in self._entering.get(by, ())]
        return [other for other in outer if other is not place]

    # Going

    def leave(self, key: Key[G], ticket: int) -> None:
        """Take away what a generation has, its place or its part of the room."""
        if ticket in self._queue:
            self._drop(self._queue[ticket])
        elif ticket in self._inside:
            load, wanted, freeing = self._load, self._wanted, self._evictions.freeing
            if key.count == 1:
                load = load - key.weight
                if key.places:
                    wanted = wanted + key.weight
                if key.evicted_for is not None:
                    freeing = freeing - key.weight
            elif key.count == 2:
                self._evictions.offer(key)  # what was held beside the linger is gone: now it makes room
            # Nothing is called from here on.
            del self._inside[ticket]
            key.count -= 1
            self._load = load
            self._wanted = wanted
            self._evictions.freeing = freeing
            if not key.count:
                key.idle = key.evicted_for = None
                if key in self._keys:
                    del self._keys[key]
        self._settle()

    def _drop(self, place: Place[G]) -> None:
        """Take away a place in line; a thread that waits there is to come again, or to see that it is refused."""
        key, ticket = place.key, place.ticket
        self._forget(place)
        place.sleeper.wake()
        alone = not key.count and len(key.places) == 1
        wanted = self._wanted - key.weight if alone else self._wanted
        # Nothing is called from here on.
        del self._queue[ticket]
        del key.places[ticket]
        self._wanted = wanted

    def _give_up_victims(self, place: Place[G]) -> None:
        self._evictions.put_back(place)
        while place.victims:
            self._evictions.spare(place)

    def rests(self, key: Key[G], ticket: int, left: float, generation: ref[G]) -> None:
        """A generation lingers since `left`."""
        if ticket in self._inside and key.weight:
            self._evictions.tell(key, left, generation, len(self._keys))
            self._wake_one()

    def retire(self, place: Place[G]) -> None:
        """The thread at `place` waits no more; the place stays, for who takes over, until `leave` takes it away."""
        self._forget(place)
        self._settle()

    def _forget(self, place: Place[G]) -> None:
        """Expect nothing from the thread at `place` any more."""
        own = self._entering.get(place.line[0], [])
        if place in own:
            own.remove(place)
        if not own:
            self._entering.pop(place.line[0], None)
        if self._asleep.get(place.ticket) is place:
            del self._asleep[place.ticket]
        self._give_up_victims(place)

    def refuse(self, key: Key[G]) -> None:
        """Let nobody wait for `key` any more."""
        key.refused = True
        for place in [*key.places.values()]:
            self._drop(place)
        self._settle()

    def close(self) -> None:
        """Let nobody in any more."""
        self.closed = True
        for place in [*self._queue.values()]:
            self._drop(place)
