"""`Slot` and `Capacity`: how much of a family is up at once, who comes next, and who is stopped to make room.

The driver is a fake, which does what it owes to its slot and no more: one generation at a time that newcomers get,
older ones that are still held, a linger, and hooks.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import signal
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from threading import get_ident
from time import monotonic
from typing import Any

import pytest

from refcount import CapacityError, ClosedError, ReentrantError
from refcount._core import evictions
from refcount._core.capacity import Capacity, Slot
from refcount._core.clock import clocks
from tests.helpers.interrupting import Every, Interruptions

WAIT = 30.0
SOON = 0.02


class Life:
    """A generation of a fake resource."""

    def __init__(self) -> None:
        self.holders = 0
        self.left = 0.0
        self.armed = False
        """Whether a timer holds it while it lingers, so that coming back and leaving again tells nobody."""
        self.working: int | None = None
        """The thread that starts or stops it."""


class Fake:
    """A resource that does what a driver owes to its slot."""

    def __init__(self, family: Family, name: str, weight: float) -> None:
        self.name = name
        self.family = family
        self.slot: Slot[Life] = family.capacity.slot(weight)
        self.slot.attach(self)
        self.current: Life | None = None
        self.owed: dict[Life, None] = {}
        self.asked = 0
        """How often it was asked since when it lingers."""
        self.working: set[int] = set()
        self._lock = threading.Lock()
        self._starting = threading.Lock()

    # What the slot asks

    def resting_since(self, life: Life, /) -> float | None:
        self.asked += 1
        with self._lock:
            if life is self.current and not life.holders and life.armed:
                return life.left
            life.armed = False
            return None

    def evict(self, life: Life, /) -> None:
        self.family.before_evicting(self)
        with self._lock:
            if life is not self.current or life.holders:
                return
            self.owed[life] = None
            self.current = None
        self.settle()

    def settle(self) -> None:
        """Run the stops that are owed, those as well that an interrupt has cut short."""
        for life in self.owed.copy():
            with suppress(OSError):
                self.stop(life)
            self.owed.pop(life, None)

    def works_here(self) -> bool:
        self.family.asked_for_hooks += 1
        return get_ident() in self.working

    # What consumers do

    def acquire(self, timeout: float | None = None) -> Life:
        """Hold the current generation, after starting it if there is none."""
        if not self._starting.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError
        try:
            with self._lock:
                if self.current is not None:
                    self.current.holders += 1
                    return self.current
            return self.start(Life(), timeout)
        finally:
            self._starting.release()

    def start(self, life: Life, timeout: float | None = None) -> Life:
        """Start `life` as the current generation and hold it."""
        try:
            self.slot.enter(life, get_ident(), None if timeout is None else monotonic() + timeout)
            self.run_hook("+", self.family.on_start)
        except BaseException:
            self.slot.leave(life)
            raise
        with self._lock:
            life.holders = 1
            self.current = life
        return life

    def release(self, life: Life) -> None:
        """Give `life` back; the last one lets it linger, or stops it."""
        with self._lock:
            life.holders -= 1
            lingers = not life.holders and life is self.current and self.family.lingers
            stops = not life.holders and not lingers
            if stops and life is self.current:
                self.current = None
            if lingers:
                life.left = self.family.now()
                lingers, life.armed = not life.armed, True
        if lingers:
            self.slot.lingers(life)
        elif stops:
            self.stop(life)

    def stop(self, life: Life) -> None:
        """Stop it; the slot is given back whatever the hook raises."""
        try:
            self.run_hook("-", self.family.on_stop)
        finally:
            self.slot.leave(life)

    def detach(self) -> None:
        """Let newcomers have a fresh generation, whoever holds this one."""
        with self._lock:
            self.current = None

    def run_hook(self, what: str, hook: Callable[[str], object]) -> None:
        """Log it and run it, as this thread."""
        self.family.log.append(what + self.name)
        self.working.add(get_ident())
        try:
            hook(self.name)
        finally:
            self.working.discard(get_ident())

    def visit(self) -> None:
        """Hold it for a moment."""
        self.release(self.acquire())


class Family:
    """Fake resources, one for each name."""

    def __init__(self, limit: float = 1, *, lingers: bool = False, **options: Any) -> None:
        self.capacity: Capacity[Life] = Capacity("cams", limit, **options)
        self.lingers = lingers
        self.log: list[str] = []
        self.asked_for_hooks = 0
        self.on_start: Callable[[str], object] = lambda name: None
        self.on_stop: Callable[[str], object] = lambda name: None
        self.before_evicting: Callable[[Fake], object] = lambda fake: None
        self.now: Callable[[], float] = itertools.count(1.0).__next__
        self._fakes: dict[str, Fake] = {}

    def __call__(self, name: str, weight: float = 1) -> Fake:
        if name not in self._fakes:
            self._fakes[name] = Fake(self, name, weight)
        return self._fakes[name]

    @property
    def stopped(self) -> str:
        """The names of those that were stopped, in that order."""
        return "".join(event[1:] for event in self.log if event[0] == "-")

    @property
    def facts(self) -> dict[str, Any]:
        """What the room knows; nothing public shows it."""
        return vars(self.capacity.room)

    @property
    def lock(self) -> threading.RLock:
        """The lock of the capacity."""
        lock: threading.RLock = vars(self.capacity)["_lock"]
        return lock

    @property
    def is_empty(self) -> bool:
        """Whether everything has been given back, and nothing is remembered."""
        facts = self.facts
        left = [
            name for name in ("_inside", "_keys", "_load", "_queue", "_wanted", "_asleep", "_entering") if facts[name]
        ]
        assert not left, {name: facts[name] for name in left}
        return not facts["_evictions"].freeing


class Visitor(threading.Thread):
    """A thread that acquires, and gives back when it is told to."""

    def __init__(self, fake: Fake, timeout: float | None = WAIT) -> None:
        super().__init__(name=fake.name)
        self.fake = fake
        self.error: BaseException | None = None
        self.inside = threading.Event()
        self.over = threading.Event()
        self._timeout = timeout
        self._go = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            life = self.fake.acquire(self._timeout)
        except BaseException as error:
            self.error = error
        else:
            self.inside.set()
            assert self._go.wait(WAIT)
            self.fake.release(life)
        self.over.set()

    def is_inside(self) -> bool:
        """Wait until it is inside."""
        return self.inside.wait(WAIT)

    def leave(self) -> None:
        """Let it in, and out again."""
        assert self.is_inside(), self.error
        self._go.set()
        self.join(WAIT)
        assert self.over.is_set()

    def fails(self) -> BaseException:
        """Wait for its error."""
        self.join(WAIT)
        assert self.error is not None
        return self.error


def until(condition: Callable[[], object]) -> None:
    """Wait for another thread to bring something about."""
    deadline = monotonic() + WAIT
    pause = threading.Event()
    while not condition():
        assert monotonic() < deadline
        pause.wait(0.001)


def in_line(family: Family, count: int) -> None:
    """Wait until so many sleep in line."""
    until(lambda: len(family.facts["_queue"]) == len(family.facts["_asleep"]) == count)


def waits(family: Family, fake: Fake, timeout: float | None = WAIT) -> Visitor:
    """Return a visitor that sleeps in line, the last one there."""
    before = len(family.facts["_queue"])
    visitor = Visitor(fake, timeout)
    in_line(family, before + 1)
    return visitor


@contextmanager
def shaken() -> Generator[None]:
    """Let threads take turns very often."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


# --- Generations and keys -------------------------------------------------------------------------------------------


def test_entering_and_leaving_may_be_repeated() -> None:
    """A generation that is inside enters at once, and one that has left has left, however often it says so."""
    family = Family(1)
    slot, life = family("A").slot, Life()
    for _ in range(3):
        slot.enter(life, 1, monotonic())
    for _ in range(3):
        slot.leave(life)
    assert family.is_empty
    slot.enter(Life(), 1, monotonic())  # on its own account


def test_generations_of_one_key_count_once() -> None:
    """A detached one that is held and a fresh one share a slot, which is free when the last of them has stopped."""
    family = Family(1)
    old = family("A").acquire()
    family("A").detach()
    fresh = family("A").acquire()
    visitor = waits(family, family("B"))
    family("A").release(fresh)
    in_line(family, 1)
    family("A").detach()
    again = family("A").acquire(0)  # the key has not left: its newcomers need not wait
    family("A").release(old)
    in_line(family, 1)
    family("A").release(again)
    visitor.leave()
    assert family.log == ["+A", "+A", "-A", "+A", "-A", "-A", "+B", "-B"]
    assert family.is_empty


def test_two_generations_of_one_key_in_line_enter_together() -> None:
    """The second need not wait for those that came in between, since its key is inside by then."""
    family = Family(1)
    held = family("A").acquire()
    first = waits(family, family("B"))
    between = waits(family, family("C"))
    lives = [Life(), Life()]
    threads = [
        threading.Thread(target=family("B").slot.enter, args=(life, number, None)) for number, life in enumerate(lives)
    ]
    for number, thread in enumerate(threads):
        thread.start()
        in_line(family, 3 + number)
    family("A").release(held)
    assert first.is_inside()
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()
    in_line(family, 1)
    for life in lives:
        family("B").slot.leave(life)
    first.leave()
    between.leave()
    assert family.is_empty


def test_what_fails_to_start_gives_its_slot_back() -> None:
    """Who waits is served when the start before it fails."""
    family = Family(1)
    inside, go_on = threading.Event(), threading.Event()

    def fail(name: str) -> None:
        if name == "A":
            inside.set()
            assert go_on.wait(WAIT)
            raise OSError("no such camera")

    family.on_start = fail
    failing = Visitor(family("A"))
    assert inside.wait(WAIT)
    second = waits(family, family("B"))
    go_on.set()
    assert str(failing.fails()) == "no such camera"
    second.leave()
    assert family.is_empty


# --- Order of coming ------------------------------------------------------------------------------------------------


def test_slots_are_given_in_order_of_coming() -> None:
    """Nobody who comes later starts earlier."""
    family = Family(1)
    held = family("A").acquire()
    visitors = [waits(family, family(name)) for name in "BCD"]
    family("A").release(held)
    for visitor in visitors:
        visitor.leave()
    assert family.log == ["+A", "-A", "+B", "-B", "+C", "-C", "+D", "-D"]


def test_a_key_that_restarts_stands_behind_those_who_wait() -> None:
    """Fault 1: a later consumer of A, who comes while A stops, starts after B, who came before."""
    family = Family(1)
    stopping, go_on = threading.Event(), threading.Event()

    def stop(name: str) -> None:
        if name == "A" and not stopping.is_set():
            stopping.set()
            assert go_on.wait(WAIT)

    family.on_stop = stop
    held = family("A").acquire()
    b = waits(family, family("B"))
    releasing = threading.Thread(target=family("A").release, args=(held,))
    releasing.start()
    assert stopping.wait(WAIT)
    go_on.set()
    releasing.join(WAIT)
    a = waits(family, family("A"))
    b.leave()
    a.leave()
    assert family.log == ["+A", "-A", "+B", "-B", "+A", "-A"]


@pytest.mark.parametrize("lingers", [False, True])
def test_a_key_in_constant_use_does_not_starve_others(lingers: bool) -> None:
    """Fault 1: two threads use A one after the other, again and again; B comes in all the same."""
    family = Family(1, lingers=lingers)
    stop = threading.Event()
    turn = threading.Lock()

    def use() -> None:
        while not stop.is_set():
            with turn:
                life = family("A").acquire(WAIT)
            family("A").release(life)

    threads = [threading.Thread(target=use) for _ in range(2)]
    with shaken():
        for thread in threads:
            thread.start()
        until(lambda: family.log)
        for _ in range(5):
            family("B").release(family("B").acquire(WAIT))
            until(lambda: family.log[-1][1] == "A" or not lingers)
        stop.set()
        for thread in threads:
            thread.join(WAIT)
    assert family.log.count("+B") == 5


def test_a_heavy_one_at_the_head_is_not_starved_by_light_ones() -> None:
    """Those behind it wait, though they would fit, and come in with it or after it."""
    family = Family(10)
    six, three = family("six", 6).acquire(), family("three", 3).acquire()
    heavy = waits(family, family("heavy", 7))
    light = waits(family, family("light", 1))
    family("six").release(six)
    assert heavy.is_inside()  # 3 + 7
    in_line(family, 1)
    family("three").release(three)
    assert light.is_inside()
    heavy.leave()
    light.leave()
    assert family.is_empty


def test_what_weighs_nothing_waits_for_nobody() -> None:
    """It takes no room from those who wait."""
    family = Family(1, lingers=True)
    held = family("A").acquire()
    visitor = waits(family, family("B"))
    family("nothing", 0).visit()
    family("nothing").acquire(0)
    family("A").release(held)
    visitor.leave()
    assert family.stopped == "A"


def test_who_takes_over_a_start_takes_over_the_place_in_line() -> None:
    """The place belongs to the generation: another thread enters for it, before those who came in between."""
    family = Family(1)
    held = family("A").acquire()
    life = Life()
    slot = family("B").slot
    with pytest.raises(TimeoutError):
        slot.enter(life, 1, monotonic() - 1)
    later = Visitor(family("C"))
    until(lambda: len(family.facts["_asleep"]) == 1)
    entered = threading.Event()

    def take_over() -> None:
        slot.enter(life, 2, None)
        entered.set()

    thread = threading.Thread(target=take_over)
    thread.start()
    in_line(family, 2)
    family("A").release(held)
    assert entered.wait(WAIT)
    thread.join(WAIT)
    in_line(family, 1)
    slot.leave(life)
    later.leave()
    assert family.is_empty


def test_who_was_given_up_while_it_waits_comes_again_at_the_end() -> None:
    """As if it had left before it entered."""
    family = Family(1)
    held = family("A").acquire()
    life = Life()
    slot = family("B").slot
    thread = threading.Thread(target=slot.enter, args=(life, 1, None))
    thread.start()
    in_line(family, 1)
    other = waits(family, family("C"))
    slot.leave(life)
    in_line(family, 2)
    family("A").release(held)
    assert other.is_inside()
    in_line(family, 1)
    other.leave()
    thread.join(WAIT)
    assert not thread.is_alive()
    slot.leave(life)
    assert family.is_empty


# --- Making room ----------------------------------------------------------------------------------------------------


def test_the_one_that_lingered_longest_makes_room() -> None:
    """Coming back and leaving again makes a key the last one to go, though nobody was told of it."""
    family = Family(4, lingers=True)
    for name in "ABCD":
        family(name).visit()
    family("A").visit()
    family("B").visit()
    for name in "EFGH":
        family(name).visit()
    assert family.stopped == "CDAB"


def test_one_that_came_back_still_goes_before_those_that_left_later() -> None:
    """It is looked for among them, though the heap had it as the first one and had to be set right."""
    family = Family(4, lingers=True)
    family("A").visit()
    family("A").visit()
    family("B").visit()
    family("C", 2).visit()
    family("D", 3).visit()  # the C is not enough, and A has lingered longer than B
    assert family.stopped == "AC"


def test_what_is_held_makes_no_room() -> None:
    """It is forgotten until it is told of again; then it does."""
    family = Family(2, lingers=True)
    family("A").visit()
    held = family("A").acquire()
    for name in "BCD":
        family(name).visit()
    assert family.stopped == "BC"
    family("A").release(held)
    for name in "EF":
        family(name).visit()
    assert family.stopped == "BCDA"


@pytest.mark.parametrize(
    ("limit", "idle", "newcomer", "stopped"),
    [
        (27, (2, 8, 17), 15, [2]),
        (27, (2, 8, 17), 1, [0]),
        (27, (2, 8, 17), 3, [1]),  # the 2 that lingered longer would not be enough, nor is it needed beside the 8
        (27, (2, 8, 17), 19, [0, 2]),  # of the two that go with the 17, the one that lingered longer
        (27, (2, 8, 17), 20, [1, 2]),
        (27, (17, 8, 2), 15, [0]),
        (27, (2, 8, 17), 27, [0, 1, 2]),
        (30, (2, 8, 17), 5, [0]),  # 3 are free
        (5, (1, 1, 1, 1, 1), 3, [0, 1, 2]),
        (1, (0.5, 0.25, 0.25), 0.75, [0, 1]),
        (10, (0, 3, 0, 7), 3, [1]),  # what weighs nothing makes no room
    ],
)
def test_no_more_make_room_than_needed(
    limit: float, idle: tuple[float, ...], newcomer: float, stopped: list[int]
) -> None:
    """Those go first that have lingered longest, and of these only those without whom it is not enough."""
    family = Family(limit, lingers=True)
    for number, weight in enumerate(idle):
        family(f"{number} of {weight}", weight).visit()
    family("new", newcomer).acquire(0)
    assert family.stopped == "".join(f"{number} of {idle[number]}" for number in stopped)


def test_a_key_with_something_else_that_is_held_makes_no_room() -> None:
    """To stop what lingers of it would free nothing; when the other one has left, it does."""
    family = Family(1, lingers=True)
    old = family("A").acquire()
    family("A").detach()
    family("A").visit()
    with pytest.raises(TimeoutError):
        family("B").acquire(0)
    assert family.stopped == ""
    visitor = waits(family, family("B"))
    family("A").release(old)
    visitor.leave()
    assert family.stopped == "AA"


def test_a_key_that_begins_to_linger_is_stopped_by_who_waits() -> None:
    """The waiter does it in its own thread."""
    family = Family(1, lingers=True)
    held = family("A").acquire()
    threads: list[str] = []
    family.on_stop = lambda name: threads.append(threading.current_thread().name)
    visitor = waits(family, family("B"))
    family("A").release(held)
    visitor.leave()
    assert (family.stopped, threads) == ("A", ["B"])


def test_no_more_keys_are_stopped_than_there_are_newcomers() -> None:
    """Two who wait stop two keys, side by side, and leave the third one alone."""
    family = Family(3, lingers=True)
    for name in "ABC":
        family(name).visit()
    both = threading.Barrier(3, timeout=WAIT)
    family.on_stop = lambda name: both.wait()
    visitors = [Visitor(family("D")), Visitor(family("E"))]
    both.wait()
    for visitor in visitors:
        visitor.leave()
    assert sorted(family.stopped) == ["A", "B"]


def test_a_victim_that_is_taken_in_the_last_moment_is_spared() -> None:
    """The next one makes room, and the one that was taken can be found again later."""
    family = Family(2, lingers=True)
    family("A").visit()
    family("B").visit()
    rescued: list[Life] = []

    def rescue(fake: Fake) -> None:
        if fake.name == "A" and not rescued:
            rescued.append(fake.acquire())

    family.before_evicting = rescue
    family("C").visit()
    assert family.stopped == "B"
    family("A").release(*rescued)
    family("D").visit()
    family("E").visit()
    assert family.stopped == "BCA"


def test_victims_that_are_not_needed_any_more_are_spared() -> None:
    """While the first one stops, somebody else leaves: the second one stays, and can be found again later."""
    family = Family(4, lingers=True)
    family("A").visit()
    family("B").visit()
    held = family("held", 2).acquire()
    family("held").detach()
    family.on_stop = lambda name: family("held").release(held) if name == "A" else None
    family("heavy", 2).acquire(0)
    assert family.stopped == "Aheld"
    family("C", 2).acquire(0)
    assert family.stopped == "AheldB"


def test_who_waits_collects_room_bit_by_bit() -> None:
    """Two keys that linger by turns, never both, cannot keep out one that needs the room of both."""
    family = Family(2, lingers=True)
    family("A").visit()
    held = family("B").acquire()
    heavy = waits(family, family("heavy", 2))
    assert family.stopped == "A"
    light = waits(family, family("A"))
    family("B").release(held)
    heavy.leave()
    light.leave()
    assert family.log == ["+A", "+B", "-A", "-B", "+heavy", "-heavy", "+A"]


def test_who_cannot_wait_stops_nobody_in_vain() -> None:
    """Neither at a timeout of 0 nor with `when_full="raise"`, unless that makes room enough."""
    for family, error in (
        (Family(3, lingers=True), TimeoutError),
        (Family(3, lingers=True, when_full="raise"), CapacityError),
    ):
        family("A").visit()
        family("B").visit()
        family("held").acquire()
        with pytest.raises(error):
            family("heavy", 3).acquire(0)
        assert family.stopped == ""
        family("heavy of 2", 2).acquire(0)
        assert family.stopped == "AB"


def test_who_has_no_time_does_not_stop_others_for_those_before_it() -> None:
    """Somebody before it takes the room, so that it would stop a key and get nothing."""
    family = Family(2, lingers=True)
    inside, go_on = threading.Event(), threading.Event()

    def stop(name: str) -> None:
        if name == "A":
            inside.set()
            assert go_on.wait(WAIT)

    family.on_stop = stop
    family("A").visit()
    family("B").visit()
    first = Visitor(family("C"))
    assert inside.wait(WAIT)
    with pytest.raises(TimeoutError):
        family("D").acquire(0)
    assert family.stopped == "A"
    go_on.set()
    first.leave()


def test_a_waiter_whose_time_is_over_stops_no_more() -> None:
    """It had begun to collect room, and gives up; what it had found is left to others."""
    family = Family(3, lingers=True)
    family("A").visit()
    family("B").visit()
    family("held").acquire()
    ended = threading.Event()
    family.on_stop = lambda name: ended.wait(2 * SOON)
    with pytest.raises(TimeoutError):
        family("heavy", 3).acquire(SOON)
    assert family.stopped == "A"
    family("C").acquire(0)
    family("D").acquire(0)
    assert family.stopped == "AB"


def test_a_failed_stop_makes_room_all_the_same() -> None:
    """It is the driver that reports the error."""
    family = Family(1, lingers=True)

    def fail(_name: str) -> None:
        raise OSError("stuck shutter")

    family("A").visit()
    family.on_stop = fail
    family("B").visit()
    assert family.log == ["+A", "-A", "+B"]


def test_who_stopped_nothing_lets_another_try() -> None:
    """A waiter comes in otherwise, its victim taken again; what lingers meanwhile is stopped by the next in line."""
    family = Family(3, lingers=True)
    family("A").visit()
    lives = {name: family(name).acquire() for name in "BC"}
    second: list[Visitor] = []

    def interfere(fake: Fake) -> None:
        if not second:
            lives["A"] = fake.acquire()
            second.append(Visitor(family("E")))
            until(lambda: len(family.facts["_asleep"]) == 1)
            family("C").detach()
            family("C").release(lives["C"])
            family("B").release(lives["B"])

    family.before_evicting = interfere
    first = Visitor(family("D"))
    assert first.is_inside()
    assert second[0].is_inside()
    assert family.stopped == "CB"
    first.leave()
    second[0].leave()


# --- Ways to be refused ---------------------------------------------------------------------------------------------


def test_a_timeout_says_what_was_full() -> None:
    """It names key, family and capacity, and leaves nothing behind."""
    family = Family(1)
    held = family("A").acquire()
    text = r"B could not start before the timeout was over: cams has a capacity of 1, and none of its keys lingers"
    for timeout in (SOON, 0):
        with pytest.raises(TimeoutError, match=text):
            family("B").acquire(timeout)
    family("A").release(held)
    assert family.is_empty


def test_a_weight_is_named_where_it_matters() -> None:
    """Something may well linger, only not enough."""
    family = Family(10, when_full="raise", lingers=True)
    family("A", 8).acquire()
    family("B", 2).visit()
    text = "C cannot start: cams has a capacity of 10, and not enough of its keys linger for a weight of 2.5"
    with pytest.raises(CapacityError, match=text):
        family("C", 2.5).acquire()


def test_when_full_raise_waits_for_stops_that_run() -> None:
    """Room that is being made for it counts as room; if the victim is taken again, it is refused after all."""
    family = Family(2, lingers=True, when_full="raise")
    family("A").visit()
    family("held").acquire()
    inside, go_on = threading.Event(), threading.Event()
    rescued: list[Life] = []

    def rescue(fake: Fake) -> None:
        inside.set()
        assert go_on.wait(WAIT)
        rescued.append(fake.acquire())

    family.before_evicting = rescue
    first = Visitor(family("B"))
    assert inside.wait(WAIT)
    with pytest.raises(CapacityError):
        family("C").acquire()
    go_on.set()
    assert isinstance(first.fails(), CapacityError)
    assert family.stopped == ""


def test_a_closed_family_lets_nobody_in() -> None:
    """Those who wait are refused at once; what is inside leaves as ever."""
    family = Family(1)
    held = family("A").acquire()
    visitors = [waits(family, family(name)) for name in "BC"]
    family.capacity.close()
    for visitor in visitors:
        error = visitor.fails()
        assert isinstance(error, ClosedError)
        assert str(error) == "cams is closed"
    family("A").detach()
    family("A").release(held)
    with pytest.raises(ClosedError):
        family("D").acquire()
    assert family.is_empty


def test_a_resource_closed_by_force_is_waited_for_by_nobody() -> None:
    """All its generations in line are refused, and those behind it move up."""
    family = Family(2)
    held = family("A").acquire()
    errors: list[BaseException] = []

    def enter() -> None:
        life = Life()
        try:
            family("B", 2).slot.enter(life, get_ident(), None)
        except ClosedError as error:
            errors.append(error)
        family("B").slot.leave(life)

    threads = [threading.Thread(target=enter) for _ in range(2)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        in_line(family, number)
    behind = waits(family, family("C"))
    family("B").slot.refuse()
    behind.leave()
    for thread in threads:
        thread.join(WAIT)
    assert [str(error) for error in errors] == ["B is closed"] * 2
    with pytest.raises(ClosedError):
        family("B").acquire()
    family("A").release(held)
    assert family.is_empty


@pytest.mark.parametrize(
    ("weight", "error", "text"),
    [
        (-1, ValueError, "a weight must be finite and 0 or more, not -1"),
        (math.nan, ValueError, "not nan"),
        (math.inf, ValueError, "not inf"),
        (True, TypeError, "a weight must be a number, and is of the type bool"),
        ("2", TypeError, "is of the type str"),
        (3, ValueError, "a weight of 3 is more than the capacity of cams, 2"),
        (2.5, ValueError, "a weight of 2.5 is more than the capacity"),
    ],
)
def test_a_weight_is_looked_at_when_it_is_handed_in(weight: Any, error: type[Exception], text: str) -> None:
    """It is named, and so is the value."""
    with pytest.raises(error, match=text):
        Family(2).capacity.slot(weight)


def test_fractions_add_up() -> None:
    """Ten times 0.1 is 1, in whatever order they come and go, and nothing piles up."""
    family = Family(1, when_full="raise")
    weights = [0.1, Decimal("0.1"), *[0.1] * 8]
    dice = random.Random(1)
    fakes = [family(str(number), weight) for number, weight in enumerate(weights)]  # type: ignore[arg-type]  # a decimal
    for _ in range(50):
        held = [(fake, fake.acquire()) for fake in fakes]
        with pytest.raises(CapacityError):
            family("one more", 1e-6).acquire()
        dice.shuffle(held)
        for fake, life in held:
            fake.release(life)
    assert family.is_empty


# --- Waiting for oneself --------------------------------------------------------------------------------------------


def stops_with(family: Family, name: str, act: Callable[[], object]) -> list[BaseException]:
    """Have the stop of a key do something; return the errors that come of it."""
    errors: list[BaseException] = []

    def stop(stopped: str) -> None:
        if stopped == name:
            try:
                act()
            except BaseException as error:
                errors.append(error)

    family.on_stop = stop
    return errors


@pytest.mark.parametrize("before", [True, False])
def test_an_evicted_key_whose_stop_wants_another_one(before: bool) -> None:
    """Fault 6: whether the room goes to the evicting waiter before its victim's stop asks, or would go to it after."""
    family = Family(2, lingers=True)
    family("A").visit()
    held = family("D").acquire()
    family("D").detach()
    inside = threading.Event()
    errors: list[BaseException] = []

    def stop(name: str) -> None:
        if name != "A":
            return
        if before:
            family("D").release(held)
            until(lambda: not family.facts["_queue"])  # B is in, and its thread is here
        inside.set()
        try:
            family("C").acquire()
        except BaseException as error:
            errors.append(error)

    family.on_stop = stop
    visitor = Visitor(family("B"))
    assert inside.wait(WAIT)
    if not before:
        until(lambda: errors)
        family("D").release(held)
    visitor.leave()
    (error,) = errors
    assert isinstance(error, ReentrantError)
    assert "C inside " in str(error)
    assert "would wait for itself: cams has a capacity of 2" in str(error)


def test_an_evicted_key_whose_stop_wants_another_one_gets_it_if_it_is_free() -> None:
    """While there is room for it, though not for the one that is in line."""
    family = Family(10, lingers=True)
    family("A", 5).visit()
    errors = stops_with(family, "A", lambda: family("C", 2).acquire(0))
    family("held", 3).acquire()
    family("B", 4).acquire(0)
    assert errors == []
    assert family.log == ["+A", "+held", "-A", "+C", "+B"]


def test_an_evicted_keys_stop_waits_for_others_when_its_evictor_is_in() -> None:
    """Its own two keys do not fill the room: a third one leaves, and then it goes on."""
    family = Family(3, lingers=True)
    family("A").visit()
    lives = {name: family(name).acquire() for name in "DE"}
    for name in "DE":
        family(name).detach()

    def act() -> None:
        family("D").release(lives["D"])
        leaving = threading.Thread(target=leave)
        leaving.start()
        family("C").acquire(WAIT)
        leaving.join(WAIT)

    def leave() -> None:
        in_line(family, 1)
        family("E").release(lives["E"])

    errors = stops_with(family, "A", act)
    family("B").acquire(WAIT)
    assert errors == []
    assert family.log[-3:] == ["-E", "+C", "+B"]


@pytest.mark.parametrize("hook", ["start", "stop"])
def test_a_hook_that_fills_the_family_is_found_out(hook: str) -> None:
    """Rule 9: a hook that needs another key, for which only the end of that hook could make room, gets an error."""
    family = Family(2)
    family("other", 1)

    def act(name: str) -> None:
        if name == "A":
            family("B", 1).acquire()

    setattr(family, f"on_{hook}", act)
    with pytest.raises(ReentrantError, match="B inside a hook of A would wait for itself: cams has a capacity of 2"):
        family("A", 2).visit()
    assert family.is_empty


def test_a_hook_waits_for_keys_of_others() -> None:
    """While there are any that could leave."""
    family = Family(2)
    held = family("D").acquire()
    family.on_start = lambda name: family("B").acquire(WAIT) if name == "A" else None
    visitor = Visitor(family("A"))
    in_line(family, 1)
    family("D").release(held)
    visitor.leave()
    assert family.log == ["+D", "+A", "-D", "+B", "-A"]


def test_a_hook_overtakes_those_who_would_wait_for_it() -> None:
    """A heavy one in line could enter only after the hook: the key that the hook needs enters before it, if it fits."""
    family = Family(10)
    heavy: list[Visitor] = []

    def start(name: str) -> None:
        if name == "A":
            heavy.append(waits(family, family("heavy", 8)))
            family("light", 2).acquire(WAIT)
            with pytest.raises(ReentrantError):
                family("light of 6", 6).acquire(WAIT)

    family.on_start = start
    a = family("A", 3).acquire()
    family("A").release(a)
    heavy[0].leave()
    assert family.log == ["+A", "+light", "-A", "+heavy", "-heavy"]


def test_who_has_given_up_does_not_make_a_hook_wait_for_itself() -> None:
    """The heavy one was before another one that is still in line; with it gone, the hook's key waits in order."""
    family = Family(10)
    held = family("held", 7).acquire()
    visitors: list[Visitor] = []

    def start(name: str) -> None:
        if name == "A":
            heavy = waits(family, family("heavy", 8))
            visitors.append(waits(family, family("light", 1)))
            family("heavy").slot.refuse()
            assert isinstance(heavy.fails(), ClosedError)
            assert visitors[0].is_inside()
            visitors.append(waits(family, family("six", 6)))
            releasing = threading.Thread(target=release)
            releasing.start()
            family("B", 1).acquire(WAIT)
            releasing.join(WAIT)

    def release() -> None:
        in_line(family, 2)
        family("held").release(held)

    family.on_start = start
    family("A", 2).acquire()
    for visitor in visitors:
        visitor.leave()
    assert [event for event in family.log if event[0] == "+"] == ["+held", "+A", "+light", "+six", "+B"] or [
        event for event in family.log if event[0] == "+"
    ] == ["+held", "+A", "+light", "+B", "+six"]


def test_many_hooks_of_one_thread_are_all_counted() -> None:
    """More than are looked at first: a chain of starts that fills the family is found out at its end."""
    family = Family(20)

    def start(name: str) -> None:
        family(str(int(name) + 1)).acquire()

    family.on_start = start
    with pytest.raises(ReentrantError, match="20 inside a hook of 0, 1, 2"):
        family("0").acquire()
    assert family.is_empty


# --- Finalizers, interrupts, forks ----------------------------------------------------------------------------------


def test_a_finalizer_in_the_middle_of_a_step_leaves_it_to_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives back, tells and closes later; to start something there is refused."""
    jobs: list[Callable[[], None]] = []
    monkeypatch.setattr(clocks.thread, "lost", jobs.append)
    family = Family(2, lingers=True)
    a, b = family("A").acquire(), family("B").acquire()
    with family.lock:
        family("A").release(a)
        family("B").detach()
        family("B").release(b)
        family("C").slot.refuse()
        with pytest.raises(ReentrantError, match="D cannot start in a finalizer in the middle of a step of cams"):
            family("D").acquire()
    assert len(family.facts["_inside"]) == 2
    assert not family.facts["_evictions"].heap
    while jobs:
        jobs.pop(0)()
    assert len(family.facts["_inside"]) == 1
    family("E", 2).visit()
    assert family.stopped == "BA"
    with pytest.raises(ClosedError):
        family("C").acquire()


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Keep the garbage collector out: hypothesis has it call back, and Python swallows an interrupt in there."""
    gc.disable()
    yield
    gc.enable()


class Scene:
    """What is interrupted: a newcomer to a family, and what its driver owes it afterwards."""

    def __init__(self) -> None:
        self.family = Family(3, lingers=True)
        self.life = Life()
        self.slot = self.family("N", 3).slot
        for name in "ABC":
            self.family(name).visit()
        self.family("A").visit()
        self.held: list[Life] = []

    def enter(self) -> None:
        """Make room by stopping all the others, and leave."""
        self.slot.enter(self.life, get_ident(), None)
        self.slot.leave(self.life)

    def enter_in_vain(self) -> None:
        """Make some room, and have no time to wait for the rest."""
        self.held.append(self.family("A").acquire())
        with pytest.raises(TimeoutError):
            self.slot.enter(self.life, get_ident(), monotonic() + SOON)
        self.slot.leave(self.life)

    def clean_up(self) -> None:
        """Do what a driver does on its way out, and see that all the room is free and can be had."""
        self.slot.leave(self.life)
        for life in self.held:
            self.family("A").release(life)
        for name in "ABC":
            fake = self.family(name)
            fake.settle()
            if fake.current is not None and not fake.current.holders:
                fake.evict(fake.current)
                fake.settle()
        assert self.family.is_empty
        self.family("all", 3).acquire(0)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("act", [Scene.enter, Scene.enter_in_vain])
def test_an_interrupt_anywhere_loses_nothing(act: Callable[[Scene], None], every: Every) -> None:
    """In an entry that looks, stops others and waits, once at each point: what it had and had found is given back."""
    sweep = Interruptions(step=every(3))
    for interruption in sweep:
        scene = Scene()
        interruption.run(partial(act, scene))
        if scene.family("A").current is not None and act is Scene.enter_in_vain and not scene.held:
            continue  # before it had begun
        scene.clean_up()
    assert sweep.points > 100


Step = Callable[[Family, Life], None]
STEPS: dict[str, Step] = {
    "leave": lambda family, held: family("A").slot.leave(held),
    "refuse": lambda family, held: family("B").slot.refuse(),
    "close": lambda family, held: family.capacity.close(),
}


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("name", STEPS)
def test_an_interrupt_anywhere_in_what_is_told(name: str) -> None:
    """Done again it is done; with two in line, of whom the first is let in, refused, or refused like the second."""
    for interruption in Interruptions():
        family = Family(1)
        held = family("A").acquire()
        lives = {"B": Life(), "C": Life()}
        for waiter, life in lives.items():
            with pytest.raises(TimeoutError):
                family(waiter).slot.enter(life, ord(waiter), monotonic() - 1)
        interruption.run(partial(STEPS[name], family, held))
        STEPS[name](family, held)
        assert len(family.facts["_queue"]) == {"leave": 1, "refuse": 1, "close": 0}[name], interruption
        family("A").slot.leave(held)
        for waiter, life in lives.items():
            family(waiter).slot.leave(life)
        assert family.is_empty, interruption


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends a signal")
@pytest.mark.parametrize("lingers", [False, True])
def test_signals_at_random_moments(lingers: bool) -> None:
    """Hundreds of interrupts in one of two threads that take each other's room: nothing is lost, nobody hangs."""
    family = Family(3, lingers=lingers)
    stop = threading.Event()
    dice = random.Random(lingers)
    served: list[str] = []

    def other() -> None:
        names = itertools.cycle(["A", "B", "heavy"])
        while not stop.is_set():
            name = next(names)
            fake = family(name, 2 if name == "heavy" else 1)
            fake.release(fake.acquire(WAIT))
            served.append(name)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def enter(slot: Slot[Life], life: Life) -> None:
        try:
            slot.enter(life, get_ident(), None)
        finally:
            slot.leave(life)

    for name in ("C", "D"):
        family(name, 2)
    before = signal.signal(signal.SIGALRM, interrupt)
    thread = threading.Thread(target=other)
    thread.start()
    interrupts = 0
    try:
        while interrupts < 500:
            life = Life()
            slot = family(dice.choice("CD")).slot
            try:
                signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-5, 3e-4))
                while True:
                    enter(slot, life)
            except KeyboardInterrupt:
                interrupts += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            slot.leave(life)
            for name in ("A", "B", "heavy"):
                family(name, 2 if name == "heavy" else 1).settle()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stop.set()
        thread.join(WAIT)
    assert not thread.is_alive()
    assert served
    for name in ("A", "B", "heavy"):
        fake = family(name)
        if fake.current is not None:
            fake.evict(fake.current)
    assert family.is_empty


def test_a_forked_child_begins_anew() -> None:
    """Whatever was inside, in line or being stopped; what is closed stays closed."""
    family = Family(2, lingers=True)
    family("A").visit()
    family("held").acquire()
    in_child: list[bool] = []

    def fork(name: str) -> None:
        if name == "A":
            with pytest.raises(TimeoutError):  # and leaves its place in line
                family("C").slot.enter(Life(), -1, monotonic() - 1)
            with family.lock:
                family.capacity.reset_after_fork()
            in_child.append(family.is_empty)

    family.on_stop = fork
    family("B").acquire(0)  # goes on in the child, which has all the room, and then gives back what only the parent has
    assert in_child == [True]
    assert family.facts["_load"] == 1
    family("C").acquire(0)
    with pytest.raises(TimeoutError):
        family("D").acquire(0)
    family.capacity.close()
    family.capacity.reset_after_fork()
    with pytest.raises(ClosedError):
        family("E").acquire()


# --- Cost -----------------------------------------------------------------------------------------------------------


def test_what_lingers_is_not_kept_alive() -> None:
    """The family knows a generation weakly, since somebody may hold it again, and it is to go with its holders."""
    family = Family(2, lingers=True)
    family("A").visit()
    life = family("A").current
    watch = weakref.ref(life)
    family("A").detach()
    del life
    gc.collect()
    assert watch() is None


def test_one_newcomer_looks_at_one_key() -> None:
    """Not at the thousand others that linger."""
    family = Family(1000, lingers=True)
    for number in range(1000):
        family(str(number)).visit()
    asked = sum(family(str(number)).asked for number in range(1000))
    family("new").visit()
    assert family.stopped == "0"
    assert sum(family(str(number)).asked for number in range(1000)) == asked + 1


def test_a_waiter_looks_for_its_own_hooks_at_a_few_keys() -> None:
    """The first one that is not its own shows that it does not wait for itself."""
    family = Family(1000)
    for number in range(1000):
        family(str(number)).acquire()
    with pytest.raises(TimeoutError):
        family("new").acquire(0)
    assert family.asked_for_hooks <= 10


def test_keys_that_come_and_go_leave_nothing() -> None:
    """Nothing is evicted, and what has lingered and gone is forgotten now and then."""
    family = Family(4, lingers=True)
    for number in range(1000):
        fake = family(str(number))
        fake.visit()
        assert fake.current is not None
        fake.evict(fake.current)
    assert len(family.facts["_evictions"].heap) <= 32
    assert family.is_empty


def test_the_cost_of_a_step_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand in line, and a thousand that linger: the room looks at as many of them as at a few."""
    looks: dict[int, int] = {}
    usable: Callable[[Any], bool] = vars(evictions)["_is_usable"]
    for many in (10, 1000):
        family = Family(many, lingers=True)
        held = [family(str(number)).acquire() for number in range(many)]
        lives = [Life() for _ in range(many)]
        slots = [family(f"waiter {number}").slot for number in range(many)]
        for slot, life in zip(slots, lives, strict=True):
            with suppress(TimeoutError):
                slot.enter(life, 1, monotonic() - 1)
        count = itertools.count()

        def counted(idle: Any, count: Iterator[int] = count) -> bool:
            next(count)
            return usable(idle)

        monkeypatch.setattr(evictions, "_is_usable", counted)
        for number, life in enumerate(held):
            family(str(number)).detach()
            family(str(number)).release(life)
        assert all(slot.count for slot in slots)
        looks[many] = next(count)
    assert looks[1000] <= looks[10] + 10


# --- Threads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lingers", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_bound_holds_and_everybody_is_served(seed: int, lingers: bool) -> None:
    """Threads that come, go, give up and detach at random: never too much is up, and nothing is left behind."""
    family = Family(6, lingers=lingers)
    weights = {str(number): number % 4 for number in range(8)}
    up: Counter[str] = Counter()
    loads: list[int] = []
    lock = threading.Lock()

    def start(name: str) -> None:
        with lock:
            up[name] += 1
            loads.append(sum(weights[other] for other in +up))

    def stop(name: str) -> None:
        with lock:
            up[name] -= 1

    family.on_start, family.on_stop = start, stop

    def work(number: int) -> None:
        dice = random.Random(f"{seed}/{number}")
        for _ in range(40):
            name = dice.choice([*weights])
            fake = family(name, weights[name])
            try:
                life = fake.acquire(dice.choice([0, 0.0005, WAIT, WAIT]))
            except TimeoutError:
                continue
            fake.release(life)

    for name, weight in weights.items():
        family(name, weight)
    with shaken():
        threads = [threading.Thread(target=partial(work, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
    assert not any(thread.is_alive() for thread in threads)
    for name in weights:
        fake = family(name)
        if fake.current is not None:
            fake.evict(fake.current)
    assert family.is_empty
    assert not +up
    assert max(loads) <= 6
