"""Families: one shared resource for each key, and the capacity that bounds how many are up at once."""

import gc
import inspect
import math
import random
import threading
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Hashable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

from refcount import (
    CapacityError,
    ClosedError,
    Lease,
    ReentrantError,
    ResourceFunction,
    SharedResource,
    State,
    refcounted_resource,
)
from refcount._core.capacity import Capacity, Slot
from refcount._core.clock import LITTER, THREAD_NAME, Schedule, clocks
from refcount._core.family import Family, Member
from refcount._core.generation import Generation
from refcount._core.openers import Limits, LivesOfOpener, Opener, Options
from refcount._core.room import Room
from refcount.testing import ManualClock
from tests.helpers.interrupting import Every, Interruptions
from tests.helpers.programs import run_program
from tests.helpers.shaking import run_threads, seeds, shaken
from tests.helpers.watched import WAIT, Thing, Watched, own_timers, until, waiting

if TYPE_CHECKING:
    from refcount._core.openers import Life

SOON = 0.05
"""Seconds that a test waits to see a timeout come."""


class Cameras:
    """A family whose keys are numbers, and what happened to each.

    Args:
        start: Called with the key inside each start.
        stop: Called with the key inside each stop.
        linger: The family's.
        check: The family's.
        overlap: The family's.
        limits: The family's.
    """

    def __init__(
        self,
        start: Callable[[int], object] = lambda _key: None,
        stop: Callable[[int], object] = lambda _key: None,
        *,
        linger: float = 0.0,
        check: Callable[[Thing], bool] | None = None,
        overlap: bool = False,
        **limits: Any,
    ) -> None:
        self.family: Family[Thing] = Family("camera", Options(linger, check, overlap), Limits(**limits))
        self.log: list[str] = []
        self.watched: dict[int, Watched] = {}
        self._start = start
        self._stop = stop

    def __getitem__(self, key: int) -> SharedResource[Thing]:
        found = self.family.find(key)
        return found or self.family.make(key, self._lives(self._watch(key)), f"camera({key!r})")

    @property
    def up(self) -> list[int]:
        """The keys that are not idle."""
        return sorted(int(resource.name[7:-1]) for resource in self.family.resources())

    @property
    def alive(self) -> int:
        """How many things of all keys are alive."""
        return sum(watched.alive for watched in self.watched.values())

    def _lives(self, watched: Watched) -> "Callable[[], Life[Thing]]":
        def life() -> Generator[Thing, None, None]:
            with watched.open() as thing:
                yield thing

        return cast("Callable[[], Life[Thing]]", life)  # a generator function, as the decorators have it

    def _watch(self, key: int) -> Watched:
        def start() -> None:
            self._start(key)
            self.log.append(f"+{key}")

        def stop(_thing: Thing) -> None:
            self.log.append(f"-{key}")
            self._stop(key)

        return self.watched.setdefault(key, Watched(start, stop))


class Gate:
    """A hook of one key that says when it is reached, and waits until it may go on."""

    def __init__(self, key: int) -> None:
        self._key = key
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, key: int) -> None:
        if key == self._key:
            self.reached.set()
            assert self.open.wait(WAIT)


class Visitor:
    """A thread that acquires a resource, and keeps the lease or the error."""

    def __init__(self, resource: SharedResource[Thing], timeout: float | None = WAIT) -> None:
        self.lease: Lease[Thing] | None = None
        self.error: BaseException | None = None
        self._resource = resource
        self._timeout = timeout
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.lease = self._resource.acquire(self._timeout)
        except BaseException as error:
            self.error = error

    def waits(self) -> "Visitor":
        """Return when it stands at the door."""
        until(lambda: waiting(self._resource) or not self._thread.is_alive(), "waiting at the door")
        assert self._thread.is_alive()
        return self

    def join(self) -> "Visitor":
        """Return when it is through, one way or the other."""
        self._thread.join(WAIT)
        assert not self._thread.is_alive()
        return self

    def leave(self) -> None:
        """Release its lease."""
        self.join()
        if self.error is not None:
            raise self.error
        assert self.lease is not None
        self.lease.release()


def room_of(cameras: Cameras | Family[Thing]) -> dict[str, Any]:
    """Return what is known of the room in the family; nothing public shows it."""
    family = cameras.family if isinstance(cameras, Cameras) else cameras
    capacity: Any = vars(Family)["_capacity"].__get__(family)
    room: object = capacity.room
    return vars(room)


def in_line(cameras: Cameras | Family[Thing], count: int, patience: float = WAIT) -> None:
    """Return when as many starts wait for a slot."""
    until(lambda: len(room_of(cameras)["_queue"]) == count, f"{count} starts waiting", patience)


def asleep(cameras: Cameras | Family[Thing], count: int) -> None:
    """Return when as many threads sleep until there is a slot."""
    until(lambda: len(room_of(cameras)["_asleep"]) == count, f"{count} threads asleep")


def is_empty(cameras: Cameras | Family[Thing]) -> bool:
    """Say whether the capacity has forgotten everybody."""
    facts = room_of(cameras)
    names = ("_inside", "_keys", "_load", "_queue", "_wanted", "_asleep", "_entering")
    return not any(facts[name] for name in names) and not facts["_evictions"].freeing


def family_of(resource: ResourceFunction[..., Thing]) -> Family[Thing]:
    """Return the family of a decorated function."""
    slot = inspect.getattr_static(type(resource), "_self_calls")
    family: Family[Thing] = slot.__get__(resource)
    return family


def made(family: Family[Thing], key: Hashable, opener: Opener[Thing], name: str = "camera") -> SharedResource[Thing]:
    """Return the resource of `key`, which has to be made or is found by who makes one."""
    return family.make(key, LivesOfOpener(opener, name), name)


# --- One resource for each key --------------------------------------------------------------------------------------


def test_each_key_has_a_resource_of_its_own() -> None:
    """Equal keys share, others do not; each starts and stops once."""
    cameras = Cameras()
    with cameras[0]() as first, cameras[0]() as second, cameras[1]() as other:
        assert first is second
        assert first is not other
        assert cameras.up == [0, 1]
    assert cameras.log == ["+0", "+1", "-1", "-0"]
    assert cameras.up == []


def test_keys_are_found_by_equality() -> None:
    """Scenario 9, second half: keys that are equal but not the same object hit the same resource."""
    family: Family[Thing] = Family("camera", Options(), Limits())
    resource = made(family, ("a", 1), Watched().open)
    assert family.find(("".join(["a"]), 1.0)) is resource
    assert made(family, ("a", True), Watched().open) is resource
    assert family.find(("a", 2)) is None


def test_an_idle_key_takes_no_memory() -> None:
    """When a resource is idle and nobody refers to it, it goes; one that lingers stays, whoever refers to it."""
    cameras = Cameras(linger=10.0)
    with ManualClock() as clock:
        with cameras[0]():
            pass
        gone = weakref.ref(cameras[0])
        gc.collect()
        assert gone() is not None
        clock.advance(10.0)
        gc.collect()
        assert gone() is None
    assert cameras.family.find(0) is None
    assert cameras.family.members == {}


def test_idle_keys_leave_no_timers_behind() -> None:
    """Thousands of keys that were used, and stopped long before their linger was over, leave no heap of timers."""
    with own_timers():
        cameras = Cameras(linger=3600.0)
        for key in range(2000):
            cameras[key].acquire().release()
        waited = timers_waiting()
        for resource in cameras.family.resources():
            resource.flush()
        assert waited == 2000
        until(lambda: timers_waiting() <= LITTER, "the dropping of those that were cancelled")
    assert cameras.up == []


def timers_waiting() -> int:
    """How many timers wait in the heap of the clock in force; nothing public shows it."""
    schedule: Schedule = vars(clocks.clock)["_schedule"]
    return len(schedule)


def test_an_idle_resource_stays_while_somebody_refers_to_it() -> None:
    """Whoever keeps the resource and whoever asks for the key get the same one."""
    cameras = Cameras()
    kept = cameras[0]
    with cameras[0]():
        assert kept.usecount == 1
    assert cameras[0] is kept


@pytest.mark.parametrize("seed", range(5))
def test_first_consumers_of_a_key_get_the_same_resource(seed: int) -> None:
    """However many threads come first at once, there is one resource, and it starts once."""
    cameras = Cameras()
    met = threading.Barrier(6, timeout=WAIT)

    def consume() -> Thing:
        with cameras[0]() as thing:
            met.wait()
            return thing

    with shaken(seed):
        things = run_threads(*[consume] * 6)
    assert len(set(things)) == 1
    assert cameras.log == ["+0", "-0"]


def test_a_closed_resource_makes_room_for_a_new_one() -> None:
    """The next call with the key gets a fresh resource, while the closed one is still held and still known."""
    cameras = Cameras()
    old = cameras[0]
    lease = old.acquire()
    with pytest.raises(TimeoutError):
        old.close(timeout=0)
    new = cameras[0]
    assert new is not old
    with new() as thing:
        assert thing is not lease.value
        assert set(cameras.family.resources()) == {old, new}
    lease.release()
    assert cameras.family.resources() == ()


def test_keys_linger_independently() -> None:
    """Scenario 8: each key stops at its own deadline."""
    cameras = Cameras(linger=10.0)
    with ManualClock() as clock:
        cameras[0].acquire().release()
        clock.advance(6.0)
        cameras[1].acquire().release()
        clock.advance(4.0)
        assert cameras.log == ["+0", "+1", "-0"]
        clock.advance(6.0)
        assert cameras.log == ["+0", "+1", "-0", "-1"]


def test_a_slow_start_of_one_key_delays_no_other() -> None:
    """While one key is in the middle of its start, others start, also in a bounded family."""
    for capacity in (None, 2):
        gate = Gate(0)
        cameras = Cameras(start=gate, capacity=capacity)
        slow = Visitor(cameras[0])
        assert gate.reached.wait(WAIT)
        cameras[1].acquire(timeout=WAIT).release()
        assert cameras.log == ["+1", "-1"]
        gate.open.set()
        slow.leave()


def test_a_failed_start_is_not_kept() -> None:
    """R8: the key is idle after the failure, and the next consumer tries anew."""
    fails = [True]

    def start(_key: int) -> None:
        if fails:
            fails.pop()
            raise OSError("no such camera")

    cameras = Cameras(start=start, linger=math.inf)
    with pytest.raises(OSError, match="no such camera"), cameras[0]():
        pass
    assert cameras.up == []
    with cameras[0]() as thing:
        assert thing.alive
    cameras.family.close()


def test_check_and_overlap_reach_the_members() -> None:
    """The terms of the family are those of each resource."""
    cameras = Cameras(check=lambda thing: thing.number > 1, linger=math.inf)
    cameras[0].acquire().release()
    with cameras[0]() as thing:
        assert thing.number == 2
    cameras.family.close()

    gate = Gate(0)
    cameras = Cameras(stop=gate, overlap=True)
    lease = cameras[0].acquire()
    stopping = threading.Thread(target=lease.release)
    stopping.start()
    assert gate.reached.wait(WAIT)
    with cameras[0]() as thing:
        assert thing.number == 2
        gate.open.set()
        stopping.join(WAIT)


# --- Capacity -------------------------------------------------------------------------------------------------------


def test_a_newcomer_waits_for_a_slot() -> None:
    """Scenario 9: at capacity 2 a key that is up is served at once, and a third one waits until one of them is idle."""
    cameras = Cameras(capacity=2)
    first, second = cameras[0].acquire(), cameras[1].acquire()
    with cameras[0]():
        third = Visitor(cameras[2]).waits()
    in_line(cameras, 1)
    assert cameras.up == [0, 1, 2]  # the third is not idle, for somebody waits for it, but it has not started
    assert cameras.alive == 2
    first.release()
    third.leave()
    second.release()
    assert cameras.log == ["+0", "+1", "-0", "+2", "-2", "-1"]
    assert is_empty(cameras)


def test_the_key_that_lingered_longest_is_stopped_first() -> None:
    """Scenario 9, idle keys: room is made at once; `touch` and using it again make a key the last to go."""
    cameras = Cameras(capacity=4, linger=math.inf)
    for key in (0, 1, 2, 3):
        cameras[key].acquire().release()
    cameras[0].touch()
    cameras[1].acquire().release()
    cameras.log.clear()
    for key in (4, 5, 6, 7):
        cameras[key].acquire().release()
    assert cameras.log == ["-2", "+4", "-3", "+5", "-0", "+6", "-1", "+7"]
    assert cameras.up == [4, 5, 6, 7]
    cameras.family.close()
    assert is_empty(cameras)


def test_a_key_in_use_is_never_stopped_for_another() -> None:
    """Only what lingers makes room, however long ago the others were used."""
    cameras = Cameras(capacity=2, linger=math.inf)
    with cameras[0]():
        for key in (1, 2, 3):
            cameras[key].acquire().release()
        assert cameras.log == ["+0", "+1", "-1", "+2", "-2", "+3"]
    cameras.family.close()


def test_a_key_that_would_not_make_room_is_not_stopped_for_another() -> None:
    """What lingers of a key with an older generation that is still held would free no slot: it stays up."""
    cameras = Cameras(capacity=1, linger=math.inf, when_full="raise")
    held = cameras[0].acquire()
    cameras[0].invalidate()
    cameras[0].acquire().release()
    with pytest.raises(CapacityError):
        cameras[1].acquire()
    assert cameras.log == ["+0", "+0"]
    held.release()
    with cameras[1]():  # now it does
        assert cameras.log == ["+0", "+0", "-0", "-0", "+1"]
    cameras.family.close()
    assert is_empty(cameras)


def test_a_key_that_begins_to_linger_makes_room_for_who_waits() -> None:
    """Whoever waits does not wait for the linger to be over: it stops the key as soon as nobody holds it."""
    cameras = Cameras(capacity=1, linger=math.inf)
    lease = cameras[0].acquire()
    visitor = Visitor(cameras[1]).waits()
    in_line(cameras, 1)
    lease.release()
    visitor.leave()
    assert cameras.log == ["+0", "-0", "+1"]
    cameras.family.close()


class Elsewhere:
    """A resource of somebody else's, whose last lease is given back in the middle of one of our steps."""

    def __init__(self) -> None:
        self.stopped_in: list[str] = []
        self.given_back = False
        self.resource = SharedResource.of(list[int], stop=self._stop)
        self._lease = self.resource.acquire()

    def give_back(self) -> None:
        """Give it back, once, as a finalizer would."""
        if not self.given_back:
            self.given_back = True
            assert self._lease.release()

    def stopped_without_a_lock(self) -> bool:
        """Say whether it was stopped by the timer thread, which has no lock."""
        self.resource.wait_stopped(WAIT)
        return self.stopped_in == [THREAD_NAME]

    def _stop(self, _value: list[int]) -> None:
        self.stopped_in.append(threading.current_thread().name)


def test_no_lock_is_held_while_keys_are_compared() -> None:
    """What a key's `__eq__` does, or a finalizer that comes there, may wait for another thread that uses the family."""

    class Key:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, another: object) -> bool:
            if threading.current_thread() is threading.main_thread() and not others:
                run_threads(lambda: others.append(make_again()))
            return isinstance(another, Key)

    def make_again() -> SharedResource[Thing]:
        found = family.find(Key())
        if found is not None:
            found.close()
        return made(family, Key(), Watched().open)

    others: list[SharedResource[Thing]] = []
    family: Family[Thing] = Family("camera", Options(), Limits())
    first = made(family, Key(), Watched().open)
    assert made(family, Key(), Watched().open) is others[0]
    assert (first.state, others[0].state) == (State.CLOSED, State.IDLE)


def test_what_is_given_back_in_the_middle_of_a_step_is_stopped_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer that gives back another resource comes under the lock of the family: no hook is run there."""
    other = Elsewhere()
    cameras = Cameras(capacity=1)
    leave: Callable[[Room[Any], Any, int], None] = Room[Any].leave

    def interrupted(room: Room[Any], key: Any, ticket: int) -> None:
        leave(room, key, ticket)
        other.give_back()

    monkeypatch.setattr(Room, "leave", interrupted)
    with cameras[0]():
        pass
    assert other.given_back
    assert other.stopped_without_a_lock()
    cameras[0].acquire().release()  # whose stop runs here again
    assert is_empty(cameras)


@pytest.mark.filterwarnings("ignore:a lease of:ResourceWarning")
def test_an_interrupted_release_wakes_who_waits(every: Every) -> None:
    """A key is left, and begins to linger, with an interrupt anywhere in there: who waits stops it all the same."""
    sweep = Interruptions(step=every(4))
    for interruption in sweep:
        cameras = Cameras(capacity=1, linger=math.inf)
        lease = cameras[0].acquire()
        visitor = Visitor(cameras[1]).waits()
        asleep(cameras, 1)
        interruption.run(lease.release)
        lease.release()  # if the interrupt was before it
        visitor.leave()
        assert cameras.log == ["+0", "-0", "+1"], interruption
        cameras.family.close()
        assert is_empty(cameras), interruption
    assert sweep.points > 50


def two_starts_of_one_key(cameras: Cameras) -> list[Visitor]:
    """Return two visitors of key 1 who wait for its slot: the first one's generation was invalidated meanwhile."""
    visitors = [Visitor(cameras[1], timeout=None).waits()]
    asleep(cameras, 1)
    cameras[1].invalidate()
    visitors.append(Visitor(cameras[1], timeout=None))
    asleep(cameras, 2)
    return visitors


def test_two_starts_of_one_key_both_get_its_slot() -> None:
    """Both are woken when it is free."""
    cameras = Cameras(capacity=1)
    lease = cameras[0].acquire()
    visitors = two_starts_of_one_key(cameras)
    lease.release()
    for visitor in visitors:
        visitor.leave()
    assert sorted(cameras.log) == ["+0", "+1", "+1", "-0", "-1", "-1"]
    assert is_empty(cameras)


@pytest.mark.parametrize("whole", [False, True])
def test_two_starts_of_one_key_are_both_refused(whole: bool) -> None:
    """A forced close, of the key or of the whole family, wakes both, and does not wait for the slot."""
    cameras = Cameras(capacity=1)
    lease = cameras[0].acquire()
    resource = cameras[1]
    visitors = two_starts_of_one_key(cameras)
    if whole:
        cameras.family.close(WAIT, force=True)
    else:
        resource.close(WAIT, force=True)
    for visitor in visitors:
        assert isinstance(visitor.join().error, ClosedError)
    assert lease.release()
    assert not any("1" in event for event in cameras.log)
    assert is_empty(cameras)


def test_no_more_keys_are_stopped_than_there_are_newcomers(caplog: pytest.LogCaptureFixture) -> None:
    """Two who wait stop two keys, side by side, and leave the third one alone."""
    both = threading.Barrier(3, timeout=WAIT)

    def stop(key: int) -> None:
        if key < 3:
            both.wait()

    cameras = Cameras(stop=stop, capacity=3, linger=math.inf)
    for key in (0, 1, 2):
        cameras[key].acquire().release()
    visitors = [Visitor(cameras[3]), Visitor(cameras[4])]
    both.wait()
    for visitor in visitors:
        visitor.leave()
    assert sorted(cameras.log[3:5]) == ["-0", "-1"]
    assert cameras.up == [2, 3, 4]
    assert not caplog.records
    both.abort()
    with pytest.raises(threading.BrokenBarrierError):
        cameras.family.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_error_of_a_key_stopped_for_another_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """It is none of the newcomer's making, so the newcomer starts, and the error goes to the log."""

    def stop(key: int) -> None:
        if key == 0:
            raise OSError("stuck shutter")

    cameras = Cameras(stop=stop, capacity=1, linger=math.inf)
    cameras[0].acquire().release()
    with cameras[1]() as thing:
        assert thing.alive
    assert [record.exc_info and str(record.exc_info[1]) for record in caplog.records] == ["stuck shutter"]
    assert "camera(0)" in caplog.text
    cameras.family.close()


def test_a_victim_that_is_taken_again_is_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """If somebody takes the chosen key in the last moment, it stays, and the next one makes room."""
    cameras = Cameras(capacity=2, linger=math.inf)
    for key in (0, 1):
        cameras[key].acquire().release()
    rescued: list[Lease[Thing]] = []
    evict: Callable[[Member[Thing], Generation[object]], None] = Member[Thing].evict

    def rescue(member: Member[Thing], generation: Generation[object]) -> None:
        if member.name == "camera(0)":
            rescued.append(cameras[0].acquire())
        evict(member, generation)

    monkeypatch.setattr(Member, "evict", rescue)
    with cameras[2]():
        assert cameras.log == ["+0", "+1", "-1", "+2"]
        assert [lease.held for lease in rescued] == [True]
    rescued[0].release()
    cameras.family.close()


def test_who_stopped_nothing_lets_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter that comes in otherwise, its victim taken again, leaves what lingers meanwhile to the next in line."""
    cameras = Cameras(capacity=3, linger=math.inf)
    cameras[0].acquire().release()
    leases = {key: cameras[key].acquire() for key in (1, 2)}
    second: list[Visitor] = []
    evict: Callable[[Member[Thing], Generation[object]], None] = Member[Thing].evict

    def interfere(member: Member[Thing], generation: Generation[object]) -> None:
        if not second:
            leases[0] = cameras[0].acquire()
            second.append(Visitor(cameras[4], timeout=None))
            asleep(cameras, 1)
            leases[2].release()
            in_line(cameras, 1)
            asleep(cameras, 1)
            leases[1].release()
        evict(member, generation)

    monkeypatch.setattr(Member, "evict", interfere)
    first = Visitor(cameras[3]).join()
    second[0].join()
    assert cameras.up == [0, 3, 4]
    for visitor in (first, *second):
        visitor.leave()
    leases[0].release()
    cameras.family.close()
    assert is_empty(cameras)


def test_a_timeout_ends_the_wait_and_leaves_nothing_behind() -> None:
    """`acquire(timeout=)` gives up with an error that names key, family and capacity; the slot goes to the next one."""
    cameras = Cameras(capacity=1)
    lease = cameras[0].acquire()
    with pytest.raises(TimeoutError, match=r"camera\(1\) could not start.* camera has a capacity of 1"):
        cameras[1].acquire(timeout=SOON)
    with pytest.raises(TimeoutError):
        cameras[1].acquire(timeout=0)
    assert cameras.up == [0]
    patient = Visitor(cameras[2]).waits()
    lease.release()
    patient.leave()
    assert cameras.log == ["+0", "-0", "+2", "-2"]
    assert is_empty(cameras)


def test_when_full_raise_refuses_at_once() -> None:
    """`CapacityError` names key, family and capacity; a key that lingers makes room all the same."""
    cameras = Cameras(capacity=1, when_full="raise", linger=math.inf)
    with cameras[0]():
        with pytest.raises(CapacityError, match=r"camera\(1\) cannot start: camera has a capacity of 1"), cameras[1]():
            pass
        with cameras[0]():
            assert cameras.up == [0]
    with cameras[1]():
        assert cameras.log == ["+0", "-0", "+1"]
    cameras.family.close()
    assert is_empty(cameras)


def test_a_failed_start_gives_its_slot_back() -> None:
    """R6: what raises in the opener, at the call or inside, costs no capacity."""

    def refuse() -> Any:
        raise OSError("no such camera")

    family: Family[Thing] = Family("camera", Options(math.inf), Limits(1, "raise"))
    for key in range(3):
        with pytest.raises(OSError, match="no such camera"):
            made(family, key, refuse).acquire()
        with pytest.raises(TypeError, match=r"camera\(9\) must return a context manager"):
            made(family, 9, lambda: 3, "camera(9)").acquire()  # type: ignore[arg-type, return-value]  # a bad opener
    with made(family, 3, Watched().open)():
        assert len(family.resources()) == 1
    family.close()


def test_a_failed_start_lets_the_next_one_in() -> None:
    """R6, with somebody waiting: who waits is served when the start before it fails."""
    gate = Gate(0)

    def start(key: int) -> None:
        gate(key)
        if key == 0:
            raise OSError("no such camera")

    cameras = Cameras(start=start, capacity=1)
    failing = Visitor(cameras[0])
    assert gate.reached.wait(WAIT)
    second = Visitor(cameras[1]).waits()
    in_line(cameras, 1)
    gate.open.set()
    with pytest.raises(OSError, match="no such camera"):
        failing.leave()
    second.leave()
    assert is_empty(cameras)


def test_slots_go_to_those_who_wait_in_order_of_coming() -> None:
    """Nobody who comes later starts earlier."""
    cameras = Cameras(capacity=1)
    lease = cameras[0].acquire()
    visitors: list[Visitor] = []
    for key in (1, 2, 3):
        visitors.append(Visitor(cameras[key]).waits())
        in_line(cameras, key)
    lease.release()
    for visitor in visitors:
        visitor.leave()
    assert cameras.log == ["+0", "-0", "+1", "-1", "+2", "-2", "+3", "-3"]


def test_who_takes_over_a_start_takes_over_the_place_in_line() -> None:
    """When the first of two who wait for a key gives up, the second is served before keys that came in between."""
    cameras = Cameras(capacity=1)
    lease = cameras[0].acquire()
    given_up = Visitor(cameras[1], timeout=10 * SOON)
    in_line(cameras, 1)
    second = Visitor(cameras[1])
    until(lambda: waiting(cameras[1]) == 2, "two waiting for one key")
    later = Visitor(cameras[2]).waits()
    in_line(cameras, 2)
    assert isinstance(given_up.join().error, TimeoutError)
    lease.release()
    second.leave()
    later.leave()
    assert cameras.log == ["+0", "-0", "+1", "-1", "+2", "-2"]


def test_a_key_that_comes_again_stands_behind_those_who_wait() -> None:
    """A generation has the slot, not its key: when it has stopped, who waits comes before its key's newcomers."""
    gate = Gate(0)
    cameras = Cameras(stop=gate, capacity=1)
    lease = cameras[0].acquire()
    stopping = threading.Thread(target=lease.release)
    stopping.start()
    assert gate.reached.wait(WAIT)
    again = Visitor(cameras[0]).waits()
    other = Visitor(cameras[1]).waits()
    in_line(cameras, 1)
    gate.open.set()
    stopping.join(WAIT)
    other.leave()
    again.leave()
    assert cameras.log == ["+0", "-0", "+1", "-1", "+0", "-0"]
    assert is_empty(cameras)


@pytest.mark.parametrize("linger", [0.0, math.inf])
def test_a_key_that_keeps_coming_back_starves_nobody(linger: float) -> None:
    """One who comes to a key while that stops, by itself or for another key, starts it after those who wait."""
    log: list[str] = []
    stopping, go_on = threading.Event(), threading.Event()

    @refcounted_resource(capacity=1, linger=linger)
    def camera(name: str) -> Generator[Thing]:
        log.append(f"+{name}")
        yield Thing(1)
        log.append(f"-{name}")
        stopping.set()
        assert go_on.wait(WAIT)

    first = camera.resource("A").acquire()
    other = Visitor(camera.resource("B"))
    asleep(family_of(camera), 1)
    leaving = threading.Thread(target=first.release)
    leaving.start()
    assert stopping.wait(WAIT)
    again = Visitor(camera.resource("A")).waits()
    go_on.set()
    leaving.join(WAIT)
    other.leave()
    again.leave()
    camera.close(timeout=WAIT)
    assert log == ["+A", "-A", "+B", "-B", "+A", "-A"]


def give_up(cameras: Cameras, hanging: threading.Event) -> None:
    """Give up what hangs in the only slot, and see another key and the same one served meanwhile."""
    assert hanging.wait(WAIT)
    other = Visitor(cameras[1])
    asleep(cameras, 1)
    cameras[0].invalidate()
    other.leave()
    cameras[0].acquire(timeout=WAIT).release()


def test_a_start_that_is_given_up_frees_its_slot() -> None:
    """When a start that hangs is invalidated, who waits for its slot is served; who makes it gets it all the same."""
    gate, hung = Gate(0), iter([0])
    cameras = Cameras(start=lambda _key: [*map(gate, hung)], capacity=1)
    starting = Visitor(cameras[0])
    give_up(cameras, gate.reached)
    assert cameras.log == ["+1", "-1", "+0", "-0"]
    gate.open.set()
    starting.leave()
    assert cameras.log == ["+1", "-1", "+0", "-0", "+0", "-0"]
    assert cameras.alive == 0
    assert is_empty(cameras)


@pytest.mark.parametrize("linger", [0.0, math.inf])
def test_a_stop_that_is_given_up_frees_its_slot(linger: float) -> None:
    """When a stop that hangs is invalidated, who waits for its slot is served, and its late end changes nothing."""
    gate, hung = Gate(0), iter([0])
    cameras = Cameras(stop=lambda _key: [*map(gate, hung)], capacity=1, linger=linger)
    lease = cameras[0].acquire()
    if linger:
        lease.release()
    stopping = threading.Thread(target=cameras[0].flush if linger else lease.release)
    stopping.start()
    give_up(cameras, gate.reached)
    with cameras[2]():
        gate.open.set()
        stopping.join(WAIT)
        with pytest.raises(TimeoutError):
            cameras[1].acquire(timeout=0)
    assert cameras.log[:2] == ["+0", "-0"]
    cameras.family.close(timeout=WAIT)
    assert cameras.alive == 0
    assert is_empty(cameras)


def test_a_hook_that_waits_for_its_own_slot_is_found_out() -> None:
    """Rule 9: a start or stop that needs another key of a family which it fills itself gets an error, no deadlock."""

    def start(key: int) -> None:
        if key == 0:
            cameras[1].acquire()

    def stop(key: int) -> None:
        if key == 2:
            cameras[1].acquire()

    cameras = Cameras(start, stop, capacity=1)
    with pytest.raises(ReentrantError, match=r"camera\(1\) inside a hook of camera\(0\) would wait for itself"):
        cameras[0].acquire()
    lease = cameras[2].acquire()
    with pytest.raises(ReentrantError, match=r"camera\(1\) inside a hook of camera\(2\)"):
        lease.release()
    assert is_empty(cameras)


@pytest.mark.parametrize("full", [True, False])
def test_the_stop_of_an_evicted_key_that_wants_another_one_is_found_out(full: bool) -> None:
    """It would wait for itself: who stops it is in line, or has been let in meanwhile and cannot start before."""
    stopping, go_on = threading.Event(), threading.Event()
    errors: list[ReentrantError] = []

    @refcounted_resource(capacity=2, linger=math.inf)
    def camera(name: str) -> Generator[Thing]:
        yield Thing(1)
        if name == "A":
            stopping.set()
            assert go_on.wait(WAIT)
            with pytest.raises(ReentrantError) as raised:
                camera.resource("C").acquire(timeout=WAIT)
            errors.append(raised.value)

    camera.resource("A").acquire().release()
    held = camera.resource("D").acquire()
    visitor = Visitor(camera.resource("B"), timeout=None)
    assert stopping.wait(WAIT)
    if not full:
        camera.resource("D").invalidate()
        held.release()
        in_line(family_of(camera), 0)
    go_on.set()
    visitor.leave()
    where = "what makes room for camera('B')" if full else "a hook of camera('A')"
    assert [str(error).partition(":")[0] for error in errors] == [f"camera('C') inside {where} would wait for itself"]
    held.release()
    camera.close(timeout=WAIT)
    assert is_empty(family_of(camera))


def test_a_stop_that_wants_another_key_of_a_full_family_is_found_out() -> None:
    """The one who gives the last lease back gets the error at once."""

    @refcounted_resource(capacity=1)
    def camera(name: str) -> Generator[Thing]:
        yield Thing(1)
        if name == "A":
            camera.resource("B").acquire()

    lease = camera.resource("A").acquire()
    with pytest.raises(ReentrantError, match=r"camera\('B'\) inside a hook of camera\('A'\) would wait for itself"):
        lease.release()
    with camera("B"):
        pass
    assert is_empty(family_of(camera))


def test_a_hook_may_use_another_key_while_there_is_room() -> None:
    """Rule 9: with room for both, a start that acquires another key of its family works."""
    held: list[Lease[Thing]] = []

    def start(key: int) -> None:
        if key == 0:
            held.append(cameras[1].acquire())

    cameras = Cameras(start, capacity=2)
    with cameras[0]():
        assert cameras.log == ["+1", "+0"]
    held[0].release()
    assert is_empty(cameras)


def test_a_lost_lease_gives_its_slot_back() -> None:
    """Rule 14: who waits is served after a lease was garbage-collected while held."""
    cameras = Cameras(capacity=1)
    lease: Lease[Thing] | None = cameras[0].acquire()
    visitor = Visitor(cameras[1]).waits()
    in_line(cameras, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert lease is not None
        lease = None
        gc.collect()
        visitor.leave()
    assert [str(warning.message).split(";")[0] for warning in caught] == ["a lease of camera(0) was never released"]
    assert is_empty(cameras)


# --- Closing --------------------------------------------------------------------------------------------------------


def test_close_is_final() -> None:
    """What lingers stops, what is kept refuses, and no key gets a resource any more; a second call is harmless."""
    cameras = Cameras(linger=math.inf)
    kept = cameras[0]
    cameras[1].acquire().release()
    cameras.family.close()
    assert cameras.log == ["+1", "-1"]
    with pytest.raises(ClosedError, match=r"camera\(0\) is closed"):
        kept.acquire()
    for key in (0, 1, 2):
        with pytest.raises(ClosedError, match="camera is closed"):
            cameras[key]
    cameras.family.close()


def test_close_waits_for_the_holders() -> None:
    """After the timeout everything stays closed, and stops when the last holder leaves."""
    cameras = Cameras()
    leases = [cameras[key].acquire() for key in (0, 1)]
    with pytest.raises(TimeoutError, match=r"camera was still running after 0.05 s: camera\(0\), camera\(1\)"):
        cameras.family.close(timeout=SOON)
    leases[0].release()
    closing = threading.Thread(target=cameras.family.close)
    closing.start()
    leases[1].release()
    closing.join(WAIT)
    assert not closing.is_alive()
    assert cameras.log == ["+0", "+1", "-0", "-1"]


def test_close_by_force_stops_under_the_holders() -> None:
    """Nothing is alive when it returns, and the leases are still given back without harm."""
    cameras = Cameras(capacity=2)
    leases = [cameras[key].acquire() for key in (0, 1)]
    cameras.family.close(force=True)
    assert cameras.alive == 0
    assert [lease.release() for lease in leases] == [True, True]
    assert is_empty(cameras)


def test_close_refuses_those_who_wait_for_a_slot() -> None:
    """They get `ClosedError` at once; a start that is in flight is finished."""
    gate = Gate(0)
    cameras = Cameras(start=gate, capacity=1)
    starting = Visitor(cameras[0])
    assert gate.reached.wait(WAIT)
    refused = Visitor(cameras[1]).waits()
    in_line(cameras, 1)
    with pytest.raises(TimeoutError):
        cameras.family.close(timeout=SOON)
    assert isinstance(refused.join().error, ClosedError)
    gate.open.set()
    starting.leave()
    cameras.family.close(timeout=WAIT)
    assert cameras.log == ["+0", "-0"]
    assert is_empty(cameras)


def test_close_gathers_what_the_stops_raised() -> None:
    """Every resource is stopped whatever the others raise; one error comes as it is, several as a group."""

    def stop(key: int) -> None:
        if key:
            raise OSError(f"stuck shutter {key}")

    cameras = Cameras(stop=stop, linger=math.inf)
    for key in (0, 1):
        cameras[key].acquire().release()
    with pytest.raises(OSError, match="stuck shutter 1"):
        cameras.family.close()
    assert cameras.alive == 0

    cameras = Cameras(stop=stop, linger=math.inf)
    for key in (0, 1, 2):
        cameras[key].acquire().release()
    held = cameras[3].acquire()
    with pytest.raises(ExceptionGroup, match="3 errors while closing camera") as raised:
        cameras.family.close(timeout=0)
    assert [type(error) for error in raised.value.exceptions] == [OSError, OSError, TimeoutError]
    assert cameras.alive == 1
    with pytest.raises(OSError, match="stuck shutter 3"):
        held.release()


def test_close_inside_a_hook_is_refused() -> None:
    """It would wait for itself; nothing is closed."""

    def start(key: int) -> None:
        if key == 0:
            cameras.family.close()

    cameras = Cameras(start)
    with pytest.raises(ReentrantError, match=r"close of camera, and with it of camera\(0\)"):
        cameras[0].acquire()
    with cameras[1]():
        assert cameras.up == [1]


def test_close_also_closes_what_was_closed_before() -> None:
    """A resource that was closed and replaced, but is still held, is waited for as well."""
    cameras = Cameras()
    old = cameras[0]
    lease = old.acquire()
    with pytest.raises(TimeoutError):
        old.close(timeout=0)
    cameras[0].acquire().release()
    with pytest.raises(TimeoutError, match=r"camera was still running after 0.0 s: camera\(0\)"):
        cameras.family.close(timeout=0)
    lease.release()
    cameras.family.close(timeout=0)


# --- Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "error", "text"),
    [
        ({"capacity": 0}, ValueError, "capacity must be 1 or more, not 0"),
        ({"capacity": -3}, ValueError, "not -3"),
        ({"capacity": 1.5}, TypeError, "capacity must be an integer, not 1.5"),
        ({"capacity": True}, TypeError, "not True"),
        ({"capacity": "2"}, TypeError, "not '2'"),
        ({"when_full": "panic"}, ValueError, "when_full must be 'wait' or 'raise', not 'panic'"),
        ({"when_full": None}, ValueError, "not None"),
    ],
)
def test_bad_limits_are_refused(limits: dict[str, Any], error: type[Exception], text: str) -> None:
    """Each error names the option and the value."""
    with pytest.raises(error, match=text):
        Limits(**limits)


def test_an_unhashable_key_is_refused() -> None:
    """Nothing is made for it."""
    cameras = Cameras()
    with pytest.raises(TypeError, match="unhashable"):
        cameras.family.find([1])  # type: ignore[arg-type]  # that is the point
    assert cameras.up == []


@pytest.mark.parametrize("timeout", [-1.0, math.nan])
def test_a_bad_timeout_closes_nothing(timeout: float) -> None:
    """The family is open after the error."""
    cameras = Cameras()
    with pytest.raises(ValueError, match="timeout must be 0 seconds or more"):
        cameras.family.close(timeout)
    with cameras[0]():
        assert cameras.up == [0]


# --- Shaken ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("linger", [0.0, math.inf])
@pytest.mark.parametrize("seed", seeds(2, 4))
def test_the_bound_holds_when_shaken(seed: int, linger: float, overlap: bool) -> None:
    """Four threads on four keys and two slots: everybody is served, and never more than two things are alive."""
    lock = threading.Lock()
    alive: set[int] = set()
    most: list[int] = []

    def start(key: int) -> None:
        with lock:
            alive.add(key)
            most.append(len(alive))

    def stop(key: int) -> None:
        with lock:
            alive.discard(key)

    cameras = Cameras(start, stop, capacity=2, linger=linger, overlap=overlap)

    def consume(first: int) -> None:
        for step in range(6):
            with cameras[(first + step) % 4].acquire(timeout=WAIT) as thing:
                assert thing.alive

    with shaken(seed):
        run_threads(*[lambda first=first: consume(first) for first in range(4)])
    cameras.family.close(timeout=WAIT)
    assert max(most) <= 2
    assert not alive
    assert is_empty(cameras)


@pytest.mark.parametrize("seed", seeds(2, 4))
def test_nobody_is_forgotten_when_waiters_give_up(seed: int) -> None:
    """Some give up at random moments; the others are all served, and no slot is lost."""
    cameras = Cameras(capacity=1, linger=math.inf)
    given_up: list[int] = []

    def impatient(key: int) -> None:
        for step in range(6):
            try:
                cameras[key].acquire(timeout=0.000_5 * step).release()
            except TimeoutError:
                given_up.append(key)

    def patient(key: int) -> None:
        for _ in range(4):
            cameras[key].acquire(timeout=WAIT).release()

    with shaken(seed):
        run_threads(
            *[lambda key=key: impatient(key) for key in (0, 1)], *[lambda key=key: patient(key) for key in (2, 3)]
        )
    cameras.family.close(timeout=WAIT)
    assert cameras.alive == 0
    assert is_empty(cameras)


class Tally:
    """Counts the keys of which a thing is alive, and knows what may be stopped under its holders."""

    def __init__(self) -> None:
        self.most = 0
        self.forced: set[SharedResource[Thing]] = set()
        self._lock = threading.Lock()
        self._alive: Counter[int] = Counter()

    def start(self, key: int) -> None:
        """A thing of `key` is alive from now on."""
        with self._lock:
            self._alive[key] += 1
            self.most = max(self.most, len(+self._alive))

    def stop(self, key: int) -> None:
        """It is not any more."""
        with self._lock:
            self._alive[key] -= 1

    def close(self, resource: SharedResource[Thing], *, force: bool) -> None:
        """Close it and wait for nobody."""
        if force:
            self.forced.add(resource)
        with suppress(TimeoutError):
            resource.close(timeout=0.0, force=force)

    def visit(self, resource: SharedResource[Thing]) -> None:
        """Hold it for a moment; who waits in vain gets a `TimeoutError`."""
        with suppress(ClosedError):
            lease = resource.acquire(timeout=WAIT)
            assert lease.value.alive or resource in self.forced
            assert lease.release()


def disturb_all(seed: int, cameras: Cameras, tally: Tally, invalidate: Callable[[SharedResource[Thing]], None]) -> None:
    """Let four threads visit keys, and invalidate, flush and close others' keys; then close the family."""

    def disturb(dice: random.Random, resource: SharedResource[Thing]) -> None:
        what = dice.randrange(5)
        if what < 2:
            invalidate(resource)
        elif what < 3:
            resource.flush()
        else:
            tally.close(resource, force=what == 3)

    def work(number: int) -> None:
        dice = random.Random(f"{seed}/{number}")
        for _ in range(8):
            tally.visit(cameras[dice.randrange(4)])
            disturb(dice, cameras[dice.randrange(4)])

    with shaken(seed):
        run_threads(*[partial(work, number) for number in range(4)])
    cameras.family.close(timeout=WAIT)


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("linger", [0.0, math.inf])
@pytest.mark.parametrize("seed", seeds(2, 4))
def test_the_bound_holds_whatever_happens_to_the_keys(seed: int, linger: float, overlap: bool) -> None:
    """What runs is invalidated, flushed and closed, by force too, while others wait for their slots: none is lost."""

    def invalidate(resource: SharedResource[Thing]) -> None:
        with suppress(ClosedError):
            lease = resource.try_acquire()
            if lease is not None:
                generation = lease._generation  # pyright: ignore[reportPrivateUsage]  # so that no start is given up
                if generation is not None:
                    resource._condemn(generation, threading.get_ident(), report_errors=True)  # pyright: ignore[reportPrivateUsage]
                lease.release()

    tally = Tally()
    cameras = Cameras(tally.start, tally.stop, capacity=2, linger=linger, overlap=overlap)
    disturb_all(seed, cameras, tally, invalidate)
    assert tally.most == 2
    assert cameras.alive == 0
    assert is_empty(cameras)


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("linger", [0.0, math.inf])
@pytest.mark.parametrize("seed", seeds(2, 4))
def test_no_slot_is_lost_when_starts_and_stops_are_given_up(seed: int, linger: float, overlap: bool) -> None:
    """Whatever is invalidated, what was given up has no slot, and what is up is stopped in the end."""
    tally = Tally()
    cameras = Cameras(tally.start, tally.stop, capacity=2, linger=linger, overlap=overlap)
    disturb_all(seed, cameras, tally, lambda resource: resource.invalidate())
    assert cameras.alive == 0
    assert is_empty(cameras)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("seed", seeds(2, 4))
def test_a_family_closed_amid_the_crowd(seed: int, force: bool) -> None:
    """Whoever is in the middle of it, everybody is served or refused, everything stops, and no slot is kept."""
    tally = Tally()
    cameras = Cameras(tally.start, tally.stop, capacity=2, linger=math.inf)
    refused: list[int] = []

    def work(number: int) -> None:
        dice = random.Random(f"{seed}/{number}")
        try:
            while True:
                lease = cameras[dice.randrange(4)].acquire(timeout=WAIT)
                assert lease.value.alive or force
                assert lease.release()
        except ClosedError:
            refused.append(number)

    def close() -> None:
        for number in range(4):
            cameras[number].acquire(timeout=WAIT).release()
        cameras.family.close(WAIT, force=force)

    with shaken(seed):
        run_threads(close, *[partial(work, number) for number in range(4)])
    assert sorted(refused) == [0, 1, 2, 3]
    assert tally.most == 2
    assert cameras.alive == 0
    assert is_empty(cameras)


def hand_over(cameras: Cameras, patience: float) -> None:
    """Let one key wait for another's only slot, and see it get that as soon as it is free."""
    lease = cameras[0].acquire()
    visitor = Visitor(cameras[1], timeout=2 * patience)
    try:
        until(lambda: waiting(cameras[1]) or visitor.lease, "coming")
        in_line(cameras, 1, patience)
        lease.release()
        until(lambda: visitor.lease, "the hand-over", patience)
    finally:
        lease.release()
        visitor.leave()


class Forgetful(Room[Any]):
    """Lets nobody in who waits."""

    def _settle(self) -> None:
        pass


class Generous(Capacity[Any]):
    """Does not count."""

    def enter(
        self, slot: Slot[Any], generation: object, by: object, deadline: float | None, parker: object = None
    ) -> None:
        """Let everybody in."""


def test_a_free_slot_is_handed_over_at_once() -> None:
    """Who waits is woken, and does not find the slot by chance when its own time is over."""
    hand_over(Cameras(capacity=1), WAIT)


@pytest.mark.parametrize(
    ("name", "broken"), [("refcount._core.admission.Room", Forgetful), ("refcount._core.family.Capacity", Generous)]
)
def test_a_broken_capacity_is_caught(name: str, broken: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test before."""
    monkeypatch.setattr(name, broken)
    with pytest.raises(TimeoutError):
        hand_over(Cameras(capacity=1), patience=0.2)


# --- Interrupts and forks -------------------------------------------------------------------------------------------


def make_room(cameras: Cameras) -> None:
    """Take a key, for which another one has to be stopped if it lingers."""
    with cameras[1]() as thing:
        assert thing.alive


def is_free(cameras: Cameras) -> bool:
    """Say whether nobody holds a lease any more, a lost one included."""
    if not any(resource.usecount for resource in cameras.family.resources()):
        return True
    gc.collect()
    return False


@pytest.mark.parametrize("linger", [0.0, math.inf])
@pytest.mark.filterwarnings("ignore:a lease of:ResourceWarning")
def test_an_interrupt_anywhere_leaves_the_capacity_right(linger: float, every: Every) -> None:
    """A `KeyboardInterrupt` at every point of an acquire that may have to stop another key, and of its release."""
    sweep = Interruptions(step=every(4))
    for interruption in sweep:
        cameras = Cameras(capacity=1, linger=linger)
        cameras[0].acquire().release()
        interruption.run(partial(make_room, cameras))
        until(partial(is_free, cameras), interruption.place)
        Visitor(cameras[2]).leave()
        cameras.family.close(timeout=WAIT)
        assert cameras.alive == 0, interruption.place
        assert is_empty(cameras), interruption.place
    assert sweep.points > 50


FORK = """
import os, threading
from functools import partial
from refcount._core.family import Family
from refcount._core.openers import Limits
from refcount._core.openers import Options

log = []

def life(key):
    log.append(f"+{key}")
    yield key
    log.append(f"-{key}")

def of(key):
    return family.find(key) or family.make(key, partial(life, key), f"camera({key})")

family = Family("camera", Options(), Limits(1))
held = of(0).acquire()
waiter = threading.Thread(target=lambda: of(1).acquire().release())
waiter.start()
while not family._capacity.room._queue:
    pass
if child := os.fork():
    _, status = os.waitpid(child, 0)
    held.release()
    waiter.join()
    print("parent", os.waitstatus_to_exitcode(status), *log)
else:
    log.clear()
    with of(2)():
        print("child", *log, family.resources(), flush=True)
    with of(0)():
        pass
    print("child", *log, family.resources(), flush=True)
"""


def test_a_forked_child_begins_anew() -> None:
    """Rule 13: with the parent's only slot taken and a thread in line, the child has the capacity for itself."""
    ended = run_program(FORK, options=["-W", "ignore::DeprecationWarning"])  # of a fork with threads, from 3.12 on
    assert ended.lines == [
        "child +2 (<SharedResource camera(2), running, usecount=1>,)",
        "child +2 -2 +0 -0 ()",
        "parent 0 +0 -0 +1 -1",
    ], ended
    assert ended.stderr == ""


def test_the_whole_life_of_a_bounded_family_ends_with_the_process() -> None:
    """Rule 12: what lingers in a bounded family is stopped when the process ends, without a warning."""
    program = FORK.partition("family = ")[0].replace("log = []", "class Log:\n    append = print\nlog = Log()")
    program += """
family = Family("camera", Options(1000.0), Limits(2))
for key in range(4):
    with of(key)():
        pass
"""
    ended = run_program(program)
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert ended.lines == ["+0", "+1", "-0", "+2", "-1", "+3", "-3", "-2"]


def test_states_of_a_waiting_key() -> None:
    """A key that waits for its slot is starting, as far as anybody can see."""
    cameras = Cameras(capacity=1)
    with cameras[0]():
        visitor = Visitor(cameras[1]).waits()
        assert cameras[1].state is State.STARTING
    visitor.leave()


def test_who_holds_all_slots_by_with_does_not_wait_for_himself() -> None:
    """He gets an error that says so, at once; with a timeout he waits, since another thread may give them back."""
    cameras = Cameras(capacity=2)
    with cameras[0](), cameras[1]():
        with pytest.raises(ReentrantError, match=r"2\) inside a with-block of camera\(0\), camera\(1\) would wait"):
            cameras[2].acquire()
        with pytest.raises(TimeoutError):
            cameras[2].acquire(timeout=0)
        assert cameras[1]().acquire().release()  # it is up anyway
    with cameras[2]():
        assert cameras[2].usecount == 1
    cameras.family.close(timeout=WAIT)


def test_who_holds_some_slots_by_with_waits_for_the_others() -> None:
    """Another thread's lease, or one that was acquired by hand, may be given back by anybody."""
    cameras = Cameras(capacity=2)
    by_hand = cameras[1].acquire()
    with cameras[0]():
        visitor = Visitor(cameras[1])
        release = threading.Timer(0, by_hand.release)
        visitor.leave()
        release.start()
        with cameras[2]():
            assert cameras[2].usecount == 1
        release.join(WAIT)
    lease = cameras[0]()
    with lease, cameras[1]():
        lease.release()  # inside its own block: it holds nothing any more
        with cameras[2]():
            assert cameras[2].usecount == 1
    cameras.family.close(timeout=WAIT)


def test_another_threads_with_does_not_count() -> None:
    """Nor does a block that was left, or never got in."""
    cameras = Cameras(capacity=1)
    visitor = Visitor(cameras[0])
    waiting_one = Visitor(cameras[1]).waits()
    visitor.leave()
    waiting_one.leave()
    with pytest.raises(TimeoutError), cameras[0](), cameras[1]().acquire(timeout=0):
        pass
    with cameras[1]():
        assert cameras[1].usecount == 1
    cameras.family.close(timeout=WAIT)
