"""`Admission`: how much of a family may be up at once, whoever waits for that; `BaseSlot`: what a resource has of it.

The facts are in `room`, which also decides; `evictions` says who is stopped to make room. Who has to wait does what the
room asks of him: he looks which keys linger, stops some of them in place of their timer, or sleeps until he is woken.
How threads do that is in `capacity`, how tasks do it in `async_capacity`; here is all else.

Locks. The lock is a leaf: nothing else is taken under it but what threads sleep on, and no hook or driver is called. A
finalizer may come in the middle of a step, and leave a generation; the thread that has the lock leaves that to the
timer thread, and so it does with the stop of whatever the finalizer gives back. An interrupt in a step that gives
something back is answered by doing it again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, Literal, TypeVar
from weakref import ref

from refcount._core.clock import clocks
from refcount._core.evictions import Driver, Idle, Key, Place
from refcount._core.registry import registry
from refcount._core.room import Room, Step
from refcount._errors import CapacityError, ClosedError, ReentrantError
from refcount._support.naming import name_of, short
from refcount._support.numbers import check_number, is_number

if TYPE_CHECKING:
    from fractions import Fraction

G = TypeVar("G")
R = TypeVar("R")


FEW = 8
"""How many keys are looked at first to find one that does not wait for this thread; mostly one of them is enough."""


class Admission(Generic[G]):
    """The room of one family, whoever waits for it.

    `G` is what its drivers have for generations; it must take weak references.

    Args:
        family: Names the family in errors.
        limit: How much its keys may weigh together that are not idle.
        when_full: Whether a newcomer waits or gets `CapacityError` when all are in use.

    Attributes:
        owned: Says whether this thread is in the middle of a step.
        room: Has the facts, and decides.
    """

    def __init__(self, family: str, limit: float, when_full: Literal["wait", "raise"] = "wait") -> None:
        self.family = family
        self.limit = limit
        self._patient = when_full == "wait"
        self.room: Room[G] = Room(limit, patient=self._patient)
        self._renew_lock()

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()
        # Private, but what `threading.Condition` asks too; from the type's dict, since its stub does not show it.
        self.owned: Callable[[], bool] = vars(type(self._lock))["_is_owned"].__get__(self._lock)

    def exact_weight(self, weight: object) -> int | Fraction:
        """Return a weight that may be inside.

        Raises:
            TypeError: It is no number.
            ValueError: It is negative, infinite or NaN, or more than the capacity.
        """
        exact = exact_weight(weight)
        if exact > self.limit:
            raise ValueError(f"a weight of {short(weight)} is more than the capacity of {self.family}, {self.limit}")
        return exact

    def close(self) -> None:
        """Let nobody in any more; those who wait get `ClosedError`."""
        self.do(self.room.close)

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, where nothing runs and nobody waits."""
        self._renew_lock()
        registry.stepping.clear()
        self.room.reset()

    # What slots do

    def do(self, step: Callable[[], None]) -> None:
        """Run a step that gives something back or tells of something; an interrupt does not lose it.

        A finalizer that comes in the middle of another step leaves it to the timer thread.
        """
        if self.owned():
            clocks.thread.lost(partial(self.do, step))
            return
        try:
            self._step(step)
        except BaseException:
            self._step(step)
            raise

    def _step(self, step: Callable[[], R]) -> R:
        by = threading.get_ident()
        within_another = by in registry.stepping
        with self._lock:
            registry.stepping[by] = None
            try:
                return step()
            finally:
                if not within_another:
                    del registry.stepping[by]

    # Waiting

    def _advance(self, slot: BaseSlot[G], place: Place[G], *, hurried: bool) -> Step:
        """Do what the room asks of whoever waits at `place`, until that takes time: return `GO`, `STOP` or `SLEEP`.

        Raises:
            CapacityError: There is no room, and nobody is to wait.
            TimeoutError: Nor is there time.
            ClosedError: The family was closed, or the resource by force.
            ReentrantError: Only whoever waits could make room.
        """
        while True:
            step = self._step(partial(self.room.advance, place, hurried=hurried))
            if step is Step.LOOK:
                self._look(place)
            elif step is Step.CHECK:
                self._refuse_to_wait_for_itself(slot, place)
                place.checked = True
            elif step is Step.SLEEP and hurried:
                raise TimeoutError(f"{slot.name} could not start before the timeout was over: {self._full(slot)}")
            elif step in (Step.GO, Step.STOP, Step.SLEEP):
                return step
            else:
                raise self._error(step, slot, place)

    def _look(self, place: Place[G]) -> None:
        """See since when those linger that were taken from the heap."""
        seen = [(idle, _resting_since(idle)) for idle in place.unseen]
        self._step(partial(self.room.sort_out, place, seen))

    def _refuse_to_wait_for_itself(self, slot: BaseSlot[G], place: Place[G]) -> None:
        """Raise `ReentrantError` if this thread would wait for itself; it may enter at once instead."""
        own: dict[Key[G], bool] = {}
        most = FEW
        while True:
            fine, unknown, whole = self._step(partial(self.room.could_enter, place, own, most))
            if fine:
                return
            for key in unknown:
                own[key] = _works_here(key) or key in self.room.nearest(place) or place.is_inside(key)
            if not unknown and whole:
                raise self._would_wait_for_itself(slot, place, [key for key in own if own[key]])
            if not unknown:
                most *= 4

    def _error(self, step: Step, slot: BaseSlot[G], place: Place[G]) -> Exception:
        """Return why a generation cannot enter."""
        if step is Step.FULL:
            return CapacityError(f"{slot.name} cannot start: {self._full(slot)}")
        if step is Step.NESTED:
            return self._would_wait_for_itself(slot, place, self.room.nearest(place))
        return ClosedError(f"{slot.name if slot.refused else self.family} is closed")

    def _would_wait_for_itself(self, slot: BaseSlot[G], place: Place[G], own: list[Key[G]]) -> ReentrantError:
        """Return the error of a thread that would wait for a key of its own."""
        nearest = self.room.nearest(place)  # their drivers say that it works there, since it has claimed their starts
        hooks = [key for key in own if key not in nearest and _works_here(key)]
        held = [key for key in own if place.is_inside(key)]
        where = "inside a hook of" if hooks else "inside a with-block of" if held else "inside what makes room for"
        names = ", ".join(map(_name_of, hooks or held or own))
        return ReentrantError(f"{slot.name} {where} {names} would wait for itself: {self._full(slot)}")

    def _full(self, slot: BaseSlot[G]) -> str:
        if slot.weight == 1:
            return f"{self.family} has a capacity of {self.limit}, and none of its keys lingers"
        return (
            f"{self.family} has a capacity of {self.limit}, and not enough of its keys linger "
            f"for a weight of {float(slot.weight):g}"
        )


class BaseSlot(Key[G]):
    """What one resource of a bounded family has of its capacity."""

    __slots__ = ("_capacity",)

    def __init__(self, capacity: Admission[G], weight: int | Fraction) -> None:
        super().__init__(weight)
        self._capacity = capacity

    def attach(self, driver: Driver[G]) -> None:
        """Belong to the resource that `driver` drives, without keeping it alive."""
        self.driver = ref(driver)

    @property
    def name(self) -> str:
        """Names the resource in errors."""
        return _name_of(self)

    def leave(self, generation: G) -> None:
        """Take `generation` for gone: it has stopped or failed, waits no more, or was given up. May be repeated."""
        self._capacity.do(lambda: self._capacity.room.leave(self, id(generation)))

    def lingers(self, generation: G) -> None:
        """Take note that `generation` has begun to linger, so that it may be stopped for others; outside every lock."""
        if self._capacity.owned():
            clocks.thread.lost(partial(self.lingers, generation))
            return
        try:
            self._tell(generation)
        except BaseException:
            self._tell(generation)
            raise

    def _tell(self, generation: G) -> None:
        driver = self.driver()
        left = None if driver is None else driver.resting_since(generation)
        if left is not None:
            self._capacity.do(partial(self._capacity.room.rests, self, id(generation), left, ref(generation)))

    def refuse(self) -> None:
        """Let nobody wait for this resource any more: it was closed by force."""
        self._capacity.do(partial(self._capacity.room.refuse, self))


def exact_weight(weight: object) -> int | Fraction:
    """Return `weight` as a number that can be added up without loss.

    Raises:
        TypeError: It is no number, or a truth value.
        ValueError: It is negative, infinite or NaN.
    """
    if not is_number(weight):  # it may be an argument, which must not be shown
        raise TypeError(f"a weight must be a number, and is of the type {name_of(type(weight))}")
    number = check_number("a weight", weight)
    if not 0 <= number < math.inf:
        raise ValueError(f"a weight must be finite and 0 or more, not {short(weight)}")
    if isinstance(number, int) or number.is_integer():
        return int(number)
    from fractions import Fraction  # imported by those who need it

    return Fraction(number)


def _resting_since(idle: Idle[G]) -> float | None:
    driver, generation = idle.key.driver(), idle.generation()
    return None if driver is None or generation is None else driver.resting_since(generation)


def _works_here(key: Key[G]) -> bool:
    driver = key.driver()
    return driver is not None and driver.works_here()


def _name_of(key: Key[G]) -> str:
    driver = key.driver()
    return "a resource that is gone" if driver is None else driver.name
