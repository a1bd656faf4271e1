"""`SharedResource` and `Lease` with real threads: every rule, and the scenarios of the bugs that they come from.

Scenarios are those of the list that the project keeps of what the best systems do and what went wrong in them: 1 to 20,
and R1 to R12 for regressions. Those of keyed families (8, 9, R6), of counters (16, 18, 19), of the process (R10, R11's
exit) and of interrupts at every line (R5) are tested elsewhere.
"""

from __future__ import annotations

import gc
import math
import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from typing import Any, Generic, TypeVar
from weakref import ref

import pytest

from refcount import ClosedError, Lease, ReentrantError, RefcountError, ReleasedError, SharedResource, State
from refcount._core.clock import THREAD_NAME, clocks
from refcount.testing import ManualClock
from tests.helpers.shaking import run_threads
from tests.helpers.watched import WAIT, until, waiting

T = TypeVar("T")

DEEP = os.environ.get("REFCOUNT_WALK", "0") != "0"
"""Whether tests take as long as they need."""


class Task(Generic[T]):
    """A function in a thread of its own; its result or error is asked for with a timeout."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._function = function
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:
            self._errors.append(error)

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    @property
    def error(self) -> BaseException:
        self._thread.join(WAIT)
        assert self._errors, "it raised nothing"
        return self._errors[0]

    def result(self) -> T:
        self._thread.join(WAIT)
        assert self.over, "the thread is stuck"
        if self._errors:
            raise self._errors[0]
        return self._results[0]


class Gate:
    """A place where a thread stops until it is let on, and that says when one has come.

    It is open until `shut`.
    """

    def __init__(self) -> None:
        self._reached, self._open = threading.Event(), threading.Event()
        self._open.set()

    def shut(self) -> None:
        self._reached.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def wait_reached(self) -> None:
        assert self._reached.wait(WAIT), "nobody came"

    def pass_through(self) -> None:
        self._reached.set()
        assert self._open.wait(WAIT), "nobody opened"


class Camera:
    """What one generation of a `Maker` gives."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True


class Maker:
    """An opener that keeps a diary, and whose starts and stops can be held up or made to fail."""

    def __init__(self) -> None:
        self.made: list[Camera] = []
        self.diary: list[str] = []
        self.starting, self.stopping = Gate(), Gate()
        self.start_error: BaseException | None = None
        self.stop_error: BaseException | None = None
        self.most_alive = 0

    @property
    def alive(self) -> list[int]:
        return [camera.number for camera in self.made if camera.alive]

    @contextmanager
    def __call__(self) -> Generator[Camera]:
        number = len(self.made) + 1
        self.diary.append(f"start {number}")
        self.starting.pass_through()
        if self.start_error is not None:
            error, self.start_error = self.start_error, None
            raise error
        camera = Camera(number)
        self.made.append(camera)
        self.most_alive = max(self.most_alive, len(self.alive))
        yield camera
        self.diary.append(f"stop {number}")
        self.stopping.pass_through()
        camera.alive = False
        if self.stop_error is not None:
            error, self.stop_error = self.stop_error, None
            raise error


@pytest.fixture(name="maker")
def a_maker() -> Maker:
    """An opener with a diary."""
    return Maker()


@pytest.fixture(name="camera")
def a_resource(maker: Maker) -> SharedResource[Camera]:
    """A resource of that opener, with default options."""
    return SharedResource(maker, name="camera")


@pytest.fixture(name="clock")
def a_clock() -> Generator[ManualClock]:
    """A clock that the test moves."""
    with ManualClock() as clock:
        yield clock


@pytest.fixture(name="reported")
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The errors that nobody could be given."""
    errors: list[BaseException] = []

    def collect(unraisable: sys.UnraisableHookArgs) -> None:
        assert unraisable.exc_value is not None
        errors.append(unraisable.exc_value)

    monkeypatch.setattr(sys, "unraisablehook", collect)
    return errors


def enter(resource: SharedResource[T]) -> T:
    """Visit a resource; return its value."""
    with resource() as value:
        return value


# The life of a resource


def test_it_starts_with_the_first_stops_with_the_last_and_starts_again(maker: Maker) -> None:
    """Scenario 1, rule 1: nothing at construction; overlapping holders share one start; a later one starts anew."""
    camera = SharedResource(maker)
    assert maker.diary == []
    with camera() as only:
        assert only.number == 1
    with camera() as first:
        with camera() as second:
            assert first is second
        assert first.alive
    assert maker.diary == ["start 1", "stop 1", "start 2", "stop 2"]


def test_what_can_be_seen_follows_the_life(maker: Maker, clock: ManualClock) -> None:
    """State, usecount and generation at each point of a life."""
    camera = SharedResource(maker, name="camera", linger=5.0)

    def look() -> tuple[State, int, int | None]:
        return camera.state, camera.usecount, camera.generation

    assert look() == (State.IDLE, 0, None)
    maker.starting.shut()
    task = Task(camera.acquire)
    maker.starting.wait_reached()
    assert look() == (State.STARTING, 0, 1)
    maker.starting.open()
    lease = task.result()
    assert look() == (State.RUNNING, 1, 1)
    lease.release()
    assert look() == (State.LINGERING, 0, 1)
    maker.stopping.shut()
    flush = Task(camera.flush)
    maker.stopping.wait_reached()
    assert look() == (State.STOPPING, 0, 1)
    maker.stopping.open()
    flush.result()
    assert look() == (State.IDLE, 0, None)
    enter(camera)
    assert look() == (State.LINGERING, 0, 2)
    camera.close()
    assert look() == (State.CLOSED, 0, None)
    assert repr(camera) == "<SharedResource camera, closed, usecount=0>"


def test_concurrent_first_consumers_share_one_start(camera: SharedResource[Camera], maker: Maker) -> None:
    """Scenario 2, rule 1: a second acquirer during the start gets the same object; one start, one stop."""
    maker.starting.shut()
    tasks = [Task(camera.acquire) for _ in range(8)]
    until(lambda: waiting(camera) == 8)
    maker.starting.open()
    leases = [task.result() for task in tasks]
    assert {lease.value.number for lease in leases} == {1}
    assert camera.usecount == 8
    for lease in leases:
        assert maker.made[0].alive
        assert lease.release()
    assert maker.diary == ["start 1", "stop 1"]


def test_a_failed_start_is_shared_by_all_who_waited_and_then_forgotten(
    camera: SharedResource[Camera], maker: Maker
) -> None:
    """Scenario 4, rule 1: a start raises while 20 others wait: one attempt, 21 times that same error."""
    maker.starting.shut()
    maker.start_error = failure = OSError("unplugged")
    tasks = [Task(camera.acquire) for _ in range(21)]
    until(lambda: waiting(camera) == 21)
    maker.starting.open()
    assert all(task.error is failure for task in tasks)
    assert failure.__notes__ == ["while starting camera, generation 1"]
    assert maker.diary == ["start 1"]
    assert (camera.usecount, camera.state) == (0, State.IDLE)
    assert enter(camera).number == 1
    assert maker.diary == ["start 1", "start 1", "stop 1"]
    assert camera.generation is None


def test_what_a_failing_start_had_begun_is_rolled_back_once() -> None:
    """Scenario 3: what was opened before a later step failed is closed at once, and never again."""
    diary: list[str] = []

    @contextmanager
    def driver() -> Generator[None]:
        diary.append("load")
        try:
            yield
        finally:
            diary.append("unload")

    @contextmanager
    def opener() -> Generator[None]:
        with driver():
            if diary == ["load"]:
                raise OSError("no power")
            yield

    camera = SharedResource(opener)
    with pytest.raises(OSError, match="no power"):
        camera.acquire()
    assert diary == ["load", "unload"]
    camera.acquire().release()
    camera.close()
    assert diary == ["load", "unload", "load", "unload"]


def test_starts_that_fail_do_not_linger(maker: Maker, clock: ManualClock) -> None:
    """R8, rule 1: with a linger, too, the consumer after a failed start gets a fresh attempt at once."""
    camera = SharedResource(maker, linger=3600.0)
    maker.start_error = OSError("unplugged")
    with pytest.raises(OSError, match="unplugged"):
        camera.acquire()
    assert camera.state is State.IDLE
    assert enter(camera).number == 1


def test_an_instant_visitor_is_seen(camera: SharedResource[Camera], maker: Maker) -> None:
    """Scenario 15: coming and leaving at once still starts and stops once, and an observer sees 1 and 0."""
    told: list[int] = []
    end = camera.observe(told.append)
    enter(camera)
    end()
    assert (told, maker.diary) == ([1, 0], ["start 1", "stop 1"])


# Leases


def test_a_lease_is_released_once(camera: SharedResource[Camera], maker: Maker) -> None:
    """Scenario 10: a second release says False and takes nothing from the others."""
    with camera():
        lease = camera.acquire()
        assert (lease.held, lease.resource) == (True, camera)
        assert [lease.release(), lease.release(), lease.release()] == [True, False, False]
        assert (camera.usecount, maker.alive, lease.held) == (1, [1], False)
        assert repr(lease) == "<Lease of camera, not held>"


def test_of_racing_releases_of_one_lease_one_wins(camera: SharedResource[Camera]) -> None:
    """Scenarios 10 and 19: of four threads that release the same lease, exactly one does."""
    with camera():
        for _ in range(200):
            lease = camera.acquire()
            assert sorted(run_threads(*[lease.release] * 4)) == [False, False, False, True]
            assert camera.usecount == 1


def test_a_lease_has_a_value_only_while_held(camera: SharedResource[Camera]) -> None:
    """Reading the value before and after raises an error that names the resource."""
    lease = camera()
    with pytest.raises(ReleasedError, match="camera, not held"):
        lease.value
    with lease as value:
        assert lease.value is value
    with pytest.raises(ReleasedError, match="camera, not held"):
        lease.value


def test_a_lease_is_entered_once(camera: SharedResource[Camera], maker: Maker) -> None:
    """A second with on a lease is an error that says to take a new one, be it inside the first or after it."""
    lease = camera()
    with lease:
        with pytest.raises(RefcountError, match=r"camera, held.*was entered before.*take a new one"), lease:
            pass
        assert camera.usecount == 1
    with pytest.raises(RefcountError, match="take a new one"), lease:
        pass
    assert maker.diary == ["start 1", "stop 1"]


def test_an_acquired_lease_can_be_entered_once(camera: SharedResource[Camera]) -> None:
    """`with resource.acquire() as value` counts once; after a release, or a second time, it is refused."""
    with camera.acquire() as value:
        assert (value.number, camera.usecount) == (1, 1)
    assert camera.usecount == 0
    released = camera.acquire()
    released.release()
    with pytest.raises(ReleasedError, match="was released"), released:
        pass
    entered = camera.acquire()
    with entered, pytest.raises(RefcountError, match="take a new one"), entered:
        pass
    assert camera.usecount == 0


def test_a_lease_may_be_released_inside_its_with(camera: SharedResource[Camera], maker: Maker) -> None:
    """Leaving the with after that is harmless, even when somebody else has started a new generation meanwhile."""
    lease = camera()
    with lease:
        assert lease.release()
        other = camera.acquire()
    assert (camera.usecount, maker.alive) == (1, [2])
    other.release()


def test_a_consumers_error_is_its_own(camera: SharedResource[Camera], maker: Maker) -> None:
    """Rule 8: what a with-body raises is not thrown into the opener, and comes out unchanged."""
    with camera() as other:
        with pytest.raises(KeyError), camera():
            raise KeyError("mine")
        assert other.alive
    with pytest.raises(KeyError, match="last"), camera():
        raise KeyError("last")
    assert maker.diary == ["start 1", "stop 1", "start 2", "stop 2"]  # the stop is a plain line after the yield


def test_try_acquire_takes_only_what_is_up(maker: Maker, clock: ManualClock) -> None:
    """None when idle, starting or stopping, a lease when running or lingering, an error when closed."""
    camera = SharedResource(maker, linger=1.0)
    assert camera.try_acquire() is None
    maker.starting.shut()
    start = Task(camera.acquire)
    maker.starting.wait_reached()
    assert camera.try_acquire() is None
    maker.starting.open()
    with closing_lease(start.result()), closing_lease(camera.try_acquire()) as running:
        assert running.value.number == 1
    assert camera.state is State.LINGERING
    with closing_lease(camera.try_acquire()):
        assert camera.usecount == 1
    maker.stopping.shut()
    stop = Task(camera.flush)
    maker.stopping.wait_reached()
    assert camera.try_acquire() is None
    maker.stopping.open()
    stop.result()
    camera.close()
    with pytest.raises(ClosedError, match="is closed"):
        camera.try_acquire()
    assert maker.diary == ["start 1", "stop 1"]


@contextmanager
def closing_lease(lease: Lease[T] | None) -> Generator[Lease[T]]:
    """Release a lease that there must be."""
    assert lease is not None
    try:
        yield lease
    finally:
        lease.release()


# Waiting, timeouts, interrupts


def test_a_waiter_that_times_out_disturbs_nobody(camera: SharedResource[Camera], maker: Maker) -> None:
    """R3: of two waiters one gives up; the start goes on, the other gets its value, and it was one attempt."""
    maker.starting.shut()
    starter = Task(camera.acquire)
    maker.starting.wait_reached()
    patient = Task(camera.acquire)
    with pytest.raises(TimeoutError, match=r"camera was still starting"):
        camera.acquire(timeout=0.01)
    maker.starting.open()
    with closing_lease(starter.result()) as one, closing_lease(patient.result()) as two:
        assert one.value is two.value
        assert (camera.usecount, maker.diary) == (2, ["start 1"])


def test_a_timeout_ends_waiting_for_a_stop(camera: SharedResource[Camera], maker: Maker) -> None:
    """The one who gave up leaves nothing behind: after the stop nothing starts."""
    maker.stopping.shut()
    stop = Task(lambda: enter(camera))
    maker.stopping.wait_reached()
    with pytest.raises(TimeoutError, match="camera was still stopping"):
        camera.acquire(timeout=0.0)
    maker.stopping.open()
    stop.result()
    assert (camera.state, maker.diary) == (State.IDLE, ["start 1", "stop 1"])


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_when_the_starter_is_interrupted_a_waiter_takes_over(
    camera: SharedResource[Camera], maker: Maker, interrupt: type[BaseException]
) -> None:
    """R4, rule 2: what is no Exception fails the starter alone; one of the others starts it."""
    maker.starting.shut()
    maker.start_error = interrupt()
    starter = Task(camera.acquire)
    maker.starting.wait_reached()
    others = [Task(camera.acquire) for _ in range(3)]
    until(lambda: waiting(camera) == 4)
    maker.starting.open()
    assert isinstance(starter.error, interrupt)
    leases = [other.result() for other in others]
    assert {lease.value.number for lease in leases} == {1}
    assert (camera.usecount, maker.diary) == (3, ["start 1", "start 1"])
    for lease in leases:
        lease.release()


def test_when_the_only_consumer_is_interrupted_the_next_starts_afresh(
    camera: SharedResource[Camera], maker: Maker
) -> None:
    """R4: a start that was given up leaves nothing; a newcomer never sees it."""
    maker.start_error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        camera.acquire()
    assert (camera.usecount, camera.state) == (0, State.IDLE)
    assert enter(camera).number == 1


# Stopping


def test_a_newcomer_waits_for_the_stop_and_starts_again(camera: SharedResource[Camera], maker: Maker) -> None:
    """Scenario 12, rule 6, serial: while a stop is blocked, acquirers wait; then one of them starts it for all."""
    maker.stopping.shut()
    stop = Task(lambda: enter(camera))
    maker.stopping.wait_reached()
    newcomers = [Task(camera.acquire) for _ in range(3)]
    until(lambda: waiting(camera) == 3)
    assert maker.diary == ["start 1", "stop 1"]
    maker.stopping.open()
    stop.result()
    leases = [task.result() for task in newcomers]
    assert {lease.value.number for lease in leases} == {2}
    assert (maker.most_alive, maker.diary) == (1, ["start 1", "stop 1", "start 2"])
    for lease in leases:
        lease.release()


def test_with_overlap_a_newcomer_starts_at_once(maker: Maker) -> None:
    """Scenario 12, rule 6, overlapping: while a stop is blocked, a newcomer gets a new generation."""
    camera = SharedResource(maker, overlap=True)
    maker.stopping.shut()
    stop = Task(lambda: enter(camera))
    maker.stopping.wait_reached()
    lease = camera.acquire(timeout=0.0)
    assert (lease.value.number, maker.alive, camera.state) == (2, [1, 2], State.RUNNING)
    maker.stopping.open()
    stop.result()
    assert maker.alive == [2]
    lease.release()
    assert maker.alive == []


def test_a_stop_that_fails_poisons_nothing(camera: SharedResource[Camera], maker: Maker) -> None:
    """Scenario 11, rule 7: the releaser gets the error once, is rid of its lease, and the next gets a new object."""
    maker.stop_error = failure = OSError("jammed")
    lease = camera.acquire()
    with pytest.raises(OSError, match="jammed") as caught:
        lease.release()
    assert caught.value is failure
    assert failure.__notes__ == ["while stopping camera, generation 1"]
    assert (lease.held, lease.release(), camera.state) == (False, False, State.IDLE)
    assert enter(camera).number == 2


def test_a_stop_that_fails_after_a_with_hides_no_error_of_the_body(
    camera: SharedResource[Camera], maker: Maker
) -> None:
    """Rule 7: the stop's error comes out of the with, and the body's is its context."""
    maker.stop_error = OSError("jammed")
    with pytest.raises(OSError, match="jammed") as caught, camera():
        raise KeyError("body")
    assert isinstance(caught.value.__context__, KeyError)


@pytest.mark.parametrize("how", ["flush", "close", "invalidate"])
def test_who_stops_it_gets_the_error(maker: Maker, clock: ManualClock, how: str) -> None:
    """Rule 7: the caller of flush, close or invalidate that stops a lingering resource."""
    camera = SharedResource(maker, linger=5.0)
    enter(camera)
    maker.stop_error = OSError("jammed")
    with pytest.raises(OSError, match="jammed"):
        getattr(camera, how)()
    assert camera.state is (State.CLOSED if how == "close" else State.IDLE)
    assert maker.diary == ["start 1", "stop 1"]


def test_a_stop_that_fails_with_nobody_there_is_reported(
    maker: Maker, clock: ManualClock, reported: list[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 7: after a linger the error goes to the `refcount` logger and `sys.unraisablehook`."""
    camera = SharedResource(maker, name="camera", linger=5.0)
    enter(camera)
    maker.stop_error = failure = OSError("jammed")
    clock.advance(5.0)
    assert reported == [failure]
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("refcount", "error in the stop of camera, generation 1")
    ]
    assert camera.state is State.IDLE


def test_a_newcomer_is_not_bothered_by_the_stop_that_it_finds(maker: Maker, reported: list[BaseException]) -> None:
    """Rule 7: a bad check stops the value in the newcomer's thread, but the stop's error is not the newcomer's."""
    good = [True]
    camera = SharedResource(maker, linger=math.inf, check=lambda value: good[0])
    enter(camera)
    maker.stop_error, good[0] = OSError("jammed"), False
    assert enter(camera).number == 2
    assert [str(error) for error in reported] == ["jammed"]
    camera.close()


def test_starts_and_stops_of_different_resources_do_not_wait_for_each_other() -> None:
    """Rule 5: while one resource's start hangs and another's stop hangs, a third works."""
    slow_start, slow_stop, third = Maker(), Maker(), Maker()
    slow_start.starting.shut()
    slow_stop.stopping.shut()
    starter = Task(lambda: enter(SharedResource(slow_start)))
    stopper = Task(lambda: enter(SharedResource(slow_stop)))
    slow_start.starting.wait_reached()
    slow_stop.stopping.wait_reached()
    assert enter(SharedResource(third)).number == 1
    slow_start.starting.open()
    slow_stop.stopping.open()
    starter.result()
    stopper.result()


def test_two_resources_roll_back_in_reverse(maker: Maker) -> None:
    """R12: if the second start fails, the first is stopped; if both stops fail, one is the context of the other."""
    outer, inner = SharedResource(maker), Maker()
    inner.start_error = OSError("second")
    with pytest.raises(OSError, match="second"), outer(), SharedResource(inner)():
        pytest.fail("never entered")
    assert maker.diary == ["start 1", "stop 1"]
    maker.stop_error, inner.stop_error = ValueError("outer"), ValueError("inner")
    with pytest.raises(ValueError, match="outer") as caught, outer(), SharedResource(inner)():
        pass
    assert str(caught.value.__context__) == "inner"


# Reentrancy


@pytest.mark.parametrize("hook", ["start", "stop", "check"])
@pytest.mark.parametrize("use", ["enter", "acquire", "try_acquire", "close", "wait_stopped"])
def test_a_resource_used_inside_its_own_hook_is_an_error(hook: str, use: str) -> None:
    """Scenario 14, R7, rule 9: what would wait for itself raises at once, names the resource, and leaks nothing."""
    errors: list[str] = []

    def misuse(*_: object) -> bool:
        uses: dict[str, Callable[[], object]] = {
            "enter": lambda: enter(camera),
            "acquire": camera.acquire,
            "try_acquire": camera.try_acquire,
            "close": camera.close,
            "wait_stopped": camera.wait_stopped,
        }
        with pytest.raises(ReentrantError) as caught:
            uses[use]()
        errors.append(str(caught.value))
        return True

    camera = SharedResource.of(
        object,
        start=misuse if hook == "start" else None,
        stop=misuse if hook == "stop" else None,
        check=misuse if hook == "check" else None,
        name="camera",
    )
    with camera(), camera():
        pass
    assert len(errors) == 1
    assert errors[0].startswith("acquire of camera inside its own" if use == "enter" else f"{use} of camera inside")
    assert (camera.usecount, camera.state) == (0, State.IDLE)
    camera.close(timeout=WAIT)


def test_a_hook_may_use_another_resource() -> None:
    """Scenario 14: start, stop and check can acquire another resource, and hold it for a whole life."""
    base = Maker()
    power = SharedResource(base)

    @contextmanager
    def opener() -> Generator[Camera]:
        with power() as supply:
            yield supply
        enter(power)

    camera = SharedResource(opener, check=lambda value: enter(power) is value)
    with camera() as first, camera() as second:
        assert first is second
        assert base.alive == [1]
    assert base.diary == ["start 1", "stop 1", "start 2", "stop 2"]


def test_the_detached_generations_hook_may_not_use_its_resource_either(maker: Maker) -> None:
    """Rule 9: in the stop of an invalidated generation, though a newer one is up and could be entered."""
    errors: list[BaseException] = []

    @contextmanager
    def opener() -> Generator[object]:
        yield object()
        with pytest.raises(ReentrantError) as caught:
            enter(camera)
        errors.append(caught.value)

    camera = SharedResource(opener)
    old = camera.acquire()
    camera.invalidate()
    with camera():
        old.release()
        assert len(errors) == 1
    assert len(errors) == 2


def test_an_acquire_from_another_thread_during_a_stop_is_no_reentry(
    camera: SharedResource[Camera], maker: Maker
) -> None:
    """R7: the replacement that another thread asks for during a stop is its own, and is stopped when it leaves."""
    maker.stopping.shut()
    stop = Task(lambda: enter(camera))
    maker.stopping.wait_reached()
    other = Task(lambda: enter(camera))
    until(lambda: waiting(camera) == 1)
    maker.stopping.open()
    stop.result()
    assert other.result().number == 2
    assert (maker.alive, camera.state) == ([], State.IDLE)


# Identity


@pytest.mark.parametrize("linger", [0.0, 10.0, math.inf])
def test_an_old_release_leaves_the_replacement_alone(maker: Maker, clock: ManualClock, linger: float) -> None:
    """R1, rule 3: hold 1, invalidate, hold 2, release 1: stops only 1; the next shares 2; no old timer stops it."""
    camera = SharedResource(maker, linger=linger)
    enter(camera)  # with a linger, its timer survives
    first = camera.acquire()
    old = first.value
    clock.advance(5.0 if linger else 0.0)
    camera.invalidate()
    assert maker.alive == [old.number]
    second = camera.acquire()
    assert (second.value is not old, camera.usecount) == (True, 2)
    first.release()
    assert maker.alive == [second.value.number]
    clock.advance(100.0)
    with camera() as third:
        assert third is second.value
        assert third.alive
    second.release()
    clock.advance(9.0)
    assert camera.state is (State.LINGERING if linger else State.IDLE)
    camera.close()
    assert maker.alive == []
    assert len(maker.diary) == 2 * len(maker.made)


def test_invalidating_what_lingers_stops_it_and_newcomers_wait(maker: Maker, clock: ManualClock) -> None:
    """Rule 6: it is a flush; the next consumer gets a fresh one when the stop is over."""
    camera = SharedResource(maker, linger=10.0)
    enter(camera)
    maker.stopping.shut()
    stop = Task(camera.invalidate)
    maker.stopping.wait_reached()
    newcomer = Task(lambda: enter(camera))
    until(lambda: waiting(camera) == 1)
    assert maker.most_alive == 1
    maker.stopping.open()
    stop.result()
    assert (newcomer.result().number, maker.most_alive) == (2, 1)


def test_invalidating_a_start_gives_it_to_those_who_wait_and_to_nobody_else(
    camera: SharedResource[Camera], maker: Maker
) -> None:
    """Rule 3: who waited gets the value that was in the making; who comes later gets another."""
    maker.starting.shut()
    waiter = Task(camera.acquire)
    maker.starting.wait_reached()
    camera.invalidate()
    maker.starting.shut()
    late = Task(camera.acquire)
    maker.starting.wait_reached()
    maker.starting.open()
    first, second = waiter.result(), late.result()
    assert first.value is not second.value
    first.release()
    second.release()
    assert maker.alive == []


def test_invalidate_and_flush_and_touch_of_an_idle_resource_do_nothing(
    camera: SharedResource[Camera], maker: Maker
) -> None:
    """Nothing starts, nothing stops, nothing raises."""
    camera.invalidate()
    camera.flush()
    camera.touch()
    camera.wait_stopped()
    assert (camera.state, maker.diary) == (State.IDLE, [])


def test_flush_does_not_touch_what_is_held(camera: SharedResource[Camera], maker: Maker) -> None:
    """It stops only what lingers."""
    with camera() as value:
        camera.flush()
        assert value.alive


# Check


def test_a_check_is_asked_for_newcomers_only(maker: Maker, clock: ManualClock) -> None:
    """Rule 10: not for the one who starts it; once for each newcomer to what runs or lingers."""
    asked: list[int] = []

    def check(value: Camera) -> bool:
        asked.append(value.number)
        return True

    camera = SharedResource(maker, check=check, linger=5.0)
    with camera():
        assert asked == []
        enter(camera)
        assert asked == [1]
    with closing_lease(camera.try_acquire()):
        assert asked == [1, 1]
    assert maker.diary == ["start 1"]


@pytest.mark.parametrize("verdict", ["false", "raises"])
def test_a_bad_check_ends_the_linger(
    maker: Maker, clock: ManualClock, reported: list[BaseException], verdict: str
) -> None:
    """Scenario 17, rule 10: what died while lingering is stopped, and the consumer gets a fresh one at once."""

    def check(value: Camera) -> bool:
        if verdict == "raises":
            raise OSError("no answer")
        return False

    camera = SharedResource(maker, check=check, linger=5.0)
    enter(camera)
    assert enter(camera).number == 2
    assert maker.diary == ["start 1", "stop 1", "start 2"]
    assert [str(error) for error in reported] == (["no answer"] if verdict == "raises" else [])


def test_a_bad_check_leaves_holders_their_value(maker: Maker) -> None:
    """Rule 10: it invalidates, so that holders keep it, and the newcomer gets a fresh one beside it."""
    camera = SharedResource(maker, check=lambda value: False)
    with camera() as old:
        with camera() as new:
            assert (old.number, new.number, old.alive) == (1, 2, True)
        assert maker.alive == [1]
    assert maker.alive == []


def test_a_bad_value_is_stopped_before_the_next_start_even_while_others_check_it(maker: Maker) -> None:
    """Rules 6 and 10: two newcomers check what lingers, one finds it bad: the new start waits for the stop."""
    checking = Gate()
    checking.shut()
    calls: list[int] = []

    def check(value: Camera) -> bool:
        calls.append(value.number)
        if len(calls) == 1:
            checking.pass_through()
        return len(calls) != 2

    camera = SharedResource(maker, check=check, linger=math.inf)
    enter(camera)
    slow = Task(camera.acquire)
    checking.wait_reached()
    quick = Task(camera.acquire)
    until(lambda: waiting(camera) == 1)
    assert maker.diary == ["start 1"]
    checking.open()
    with closing_lease(slow.result()) as one, closing_lease(quick.result()) as two:
        assert one.value is two.value
        assert (maker.most_alive, maker.diary) == (1, ["start 1", "stop 1", "start 2"])
    camera.close()


def test_try_acquire_of_a_bad_value_gives_none(maker: Maker) -> None:
    """It never starts anything, not even in place of what it has found bad."""
    camera = SharedResource(maker, check=lambda value: False, linger=math.inf)
    enter(camera)
    assert camera.try_acquire() is None
    assert (camera.state, maker.diary) == (State.IDLE, ["start 1", "stop 1"])


# Linger


def test_linger_keeps_it_for_the_next(maker: Maker, clock: ManualClock) -> None:
    """Scenario 5, rule 11: reused at 5 of 10 s, still up 9 s after that release, stopped at 10, then started again."""
    camera = SharedResource(maker, linger=10.0)
    first = enter(camera)
    clock.advance(5.0)
    assert enter(camera) is first
    clock.advance(9.0)
    assert camera.state is State.LINGERING
    clock.advance(1.0)
    assert (camera.state, maker.diary) == (State.IDLE, ["start 1", "stop 1"])
    assert enter(camera).number == 2


def test_an_old_deadline_stops_no_newer_hold(maker: Maker, clock: ManualClock) -> None:
    """Scenario 6, rule 11: taken again at 9 of 10 s and held for long, it stays up, and then lingers its whole time."""
    camera = SharedResource(maker, linger=10.0)
    enter(camera)
    clock.advance(9.0)
    with camera() as value:
        clock.advance(1000.0)
        assert value.alive
    clock.advance(9.9)
    assert value.alive
    clock.advance(0.1)
    assert not value.alive


def test_touch_begins_the_linger_anew(maker: Maker, clock: ManualClock) -> None:
    """Scenario 7: touched at 500 of 1000 s it is up at 1000 and stopped at 1500; the count never changed."""
    camera = SharedResource(maker, linger=1000.0)
    told: list[int] = []
    enter(camera)
    camera.observe(told.append)
    clock.advance(500.0)
    camera.touch()
    clock.advance(999.0)
    assert camera.state is State.LINGERING
    clock.advance(1.0)
    assert (camera.state, told) == (State.IDLE, [])


def test_touch_of_what_is_held_does_not_shorten_its_linger(maker: Maker, clock: ManualClock) -> None:
    """It counts from the release, whatever was touched before."""
    camera = SharedResource(maker, linger=10.0)
    with camera():
        camera.touch()
        clock.advance(9.0)
    clock.advance(9.0)
    assert camera.state is State.LINGERING


def test_an_infinite_linger_ends_by_flush_or_close(maker: Maker, clock: ManualClock) -> None:
    """Rule 11: no time ends it."""
    camera = SharedResource(maker, linger=math.inf)
    enter(camera)
    clock.advance(1e12)
    assert maker.alive == [1]
    camera.flush()
    assert maker.alive == []
    enter(camera)
    camera.close()
    assert maker.alive == []


def test_without_a_linger_the_last_releaser_stops_it(camera: SharedResource[Camera]) -> None:
    """Rule 11: 0 seconds stops in the releasing thread, before the release returns."""
    threads: list[int] = []
    resource = SharedResource.of(object, stop=lambda value: threads.append(threading.get_ident()))
    enter(resource)
    assert threads == [threading.get_ident()]


def test_reacquiring_costs_no_timer(maker: Maker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 11: a thousand visits within one linger set one timer, and the last of them decides when it ends."""
    timers: list[float] = []
    set_timer = clock.at

    def at(deadline: float, job: Callable[[], object]) -> object:
        timers.append(deadline)
        return set_timer(deadline, job)

    monkeypatch.setattr(clock, "at", at)
    camera = SharedResource(maker, linger=10.0)
    for _ in range(1000):
        enter(camera)
        clock.advance(0.001)
    assert len(timers) <= 2
    clock.advance(9.998)
    assert maker.alive == [1]
    clock.advance(0.1)
    assert maker.alive == []


def timer_threads() -> list[threading.Thread]:
    """The library's timer threads that live now."""
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def test_one_timer_thread_serves_all_and_then_goes() -> None:
    """Rule 11, on the real clock: many resources linger at the cost of one thread, gone when nothing is pending."""
    clocks.reset_after_fork()  # else what other tests have set for later keeps the thread
    before = timer_threads()
    stopped = threading.Semaphore(0)
    resources = [SharedResource.of(object, stop=lambda _: stopped.release(), linger=0.05) for _ in range(50)]
    for resource in resources:
        enter(resource)
    started = [thread for thread in timer_threads() if thread not in before]
    assert len(started) <= 1
    for _ in resources:
        assert stopped.acquire(timeout=WAIT)
    for thread in started:
        thread.join(WAIT)
        assert not thread.is_alive()


def test_a_timer_keeps_nothing_of_what_was_stopped_before_it_was_due() -> None:
    """A timer that is not due for an hour keeps neither the value nor the resource of a linger that was flushed."""
    resource = SharedResource.of(lambda: Camera(0), linger=3600.0)
    value = ref(enter(resource))
    seen = ref(resource)
    resource.flush()
    del resource
    gc.collect()
    assert value() is None
    assert seen() is None


def test_a_timer_set_anew_for_what_was_flushed_meanwhile_keeps_nothing(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alarm that is too early sets itself again, just as another thread flushes: the new one keeps nothing."""
    resource = SharedResource.of(lambda: Camera(0), linger=10.0)
    value = ref(enter(resource))
    clock.advance(5.0)
    enter(resource)
    set_timer = clock.at

    def at(due: float, job: Callable[[], object]) -> object:
        Task(resource.flush).result()
        return set_timer(due, job)

    monkeypatch.setattr(clock, "at", at)
    clock.advance(5.0)
    assert resource.state is State.IDLE
    gc.collect()
    assert value() is None


def test_many_thousand_lingering_resources_cost_one_thread() -> None:
    """Rule 11: they start no thread each, and no work is done for them until they are due."""
    many = 100_000 if DEEP else 10_000
    before = threading.active_count()
    resources = [SharedResource.of(object, linger=3600.0) for _ in range(many)]
    try:
        for resource in resources:
            enter(resource)
        assert len(timer_threads()) == 1
        assert threading.active_count() <= before + 1
        assert all(resource.state is State.LINGERING for resource in resources)
    finally:
        for resource in resources:
            resource.flush()


def test_a_slow_stop_after_a_linger_delays_no_other_resource() -> None:
    """Rules 5 and 11, on the real clock: while one stop hangs in the timer thread, another resource's linger ends."""
    slow = Maker()
    slow.stopping.shut()
    stopped = threading.Event()
    one = SharedResource(slow, linger=0.01)
    other = SharedResource.of(object, stop=lambda _: stopped.set(), linger=0.02)
    enter(one)
    enter(other)
    slow.stopping.wait_reached()
    assert stopped.wait(WAIT)
    slow.stopping.open()
    one.wait_stopped(timeout=WAIT)
    assert slow.alive == []


# Close


def test_close_waits_for_the_holders(camera: SharedResource[Camera], maker: Maker) -> None:
    """Scenario 13: newcomers are refused from the start of it, holders leave in peace, and the last one stops it."""
    lease = camera.acquire()
    close = Task(camera.close)
    until(lambda: camera.state is State.CLOSED)
    for refused in (camera.acquire, camera.try_acquire, camera().__enter__):
        with pytest.raises(ClosedError, match="camera is closed"):
            refused()
    assert (close.over, lease.value.alive) == (False, True)
    lease.release()
    close.result()
    assert (maker.diary, camera.usecount) == (["start 1", "stop 1"], 0)


def test_a_close_that_times_out_stays_closed(camera: SharedResource[Camera], maker: Maker) -> None:
    """Its text names the count; the last holder stops it later, and closing again is harmless."""
    lease = camera.acquire()
    with pytest.raises(TimeoutError, match=r"camera still ran after 0\.01 s, with usecount 1"):
        camera.close(timeout=0.01)
    with pytest.raises(ClosedError):
        camera.acquire()
    lease.release()
    assert maker.alive == []
    camera.close()
    camera.close(force=True)
    assert maker.diary == ["start 1", "stop 1"]


def test_close_by_force_stops_under_the_holders(camera: SharedResource[Camera], maker: Maker) -> None:
    """Scenario 13: stopped once; the borrower's later exit is clean; it never opens again."""
    with camera() as value:
        camera.close(force=True, timeout=WAIT)
        assert not value.alive
        assert camera.usecount == 1
    assert (camera.usecount, maker.diary) == (0, ["start 1", "stop 1"])
    with pytest.raises(ClosedError):
        camera.acquire()


def test_close_by_force_stops_detached_generations_too(camera: SharedResource[Camera], maker: Maker) -> None:
    """What was invalidated and is still held does not survive it."""
    with camera():
        camera.invalidate()
        with camera():
            assert maker.alive == [1, 2]
            camera.close(force=True)
            assert maker.alive == []
    assert sorted(maker.diary) == ["start 1", "start 2", "stop 1", "stop 2"]


def test_a_start_that_ends_after_close_by_force_is_stopped(camera: SharedResource[Camera], maker: Maker) -> None:
    """R2: those who wait on it are refused, it is stopped once, and nothing is open afterwards."""
    maker.starting.shut()
    tasks = [Task(camera.acquire) for _ in range(3)]
    until(lambda: waiting(camera) == 3)
    close = Task(lambda: camera.close(force=True))
    until(lambda: waiting(camera) == 1)  # all but the one who is making the start
    maker.starting.open()
    close.result()
    assert all(isinstance(task.error, ClosedError) for task in tasks)
    assert (maker.diary, maker.alive, camera.usecount) == (["start 1", "stop 1"], [], 0)


def test_a_start_in_flight_is_finished_for_those_who_wait_when_closed(
    camera: SharedResource[Camera], maker: Maker
) -> None:
    """Without force, those who came before the close get what they came for."""
    maker.starting.shut()
    tasks = [Task(lambda: enter(camera)) for _ in range(3)]
    until(lambda: waiting(camera) == 3)
    close = Task(camera.close)
    until(lambda: camera.state is State.CLOSED)
    maker.starting.open()
    assert {task.result().number for task in tasks} == {1}
    close.result()
    assert maker.alive == []


def test_who_waits_for_a_stop_is_refused_by_close(camera: SharedResource[Camera], maker: Maker) -> None:
    """R2, queued: nothing is started for a newcomer of a closed resource."""
    maker.stopping.shut()
    stop = Task(lambda: enter(camera))
    maker.stopping.wait_reached()
    queued = Task(camera.acquire)
    until(lambda: waiting(camera) == 1)
    close = Task(camera.close)
    assert isinstance(queued.error, ClosedError)
    maker.stopping.open()
    stop.result()
    close.result()
    assert maker.diary == ["start 1", "stop 1"]


def test_many_closers_stop_it_once(maker: Maker, clock: ManualClock) -> None:
    """R9: closes, flushes and a last release at once: one stop."""
    for _ in range(50):
        camera = SharedResource(maker, linger=5.0)
        lease = camera.acquire()
        run_threads(camera.close, lease.release, camera.flush, camera.invalidate, camera.close)
        assert maker.alive == []
    assert len(maker.diary) == 100


def test_close_ends_a_linger(maker: Maker, clock: ManualClock) -> None:
    """R11: a pending linger does not keep it."""
    camera = SharedResource(maker, linger=3600.0)
    enter(camera)
    camera.close()
    assert (maker.alive, camera.state) == ([], State.CLOSED)
    clock.advance(3600.0)
    assert maker.diary == ["start 1", "stop 1"]


def test_wait_stopped_waits_for_the_stop(camera: SharedResource[Camera], maker: Maker) -> None:
    """It returns when the stop is over, not when the count is 0, and gives up after its timeout."""
    maker.stopping.shut()
    stop = Task(lambda: enter(camera))
    maker.stopping.wait_reached()
    with pytest.raises(TimeoutError, match=r"camera still ran after 0\.01 s"):
        camera.wait_stopped(timeout=0.01)
    waiter = Task(camera.wait_stopped)
    maker.stopping.open()
    waiter.result()
    assert maker.alive == []
    stop.result()


# Observers


def test_each_waiter_that_is_let_in_is_told_one_by_one(camera: SharedResource[Camera], maker: Maker) -> None:
    """Waiters of one start come in together, and an observer is told 1, 2, 3, never a jump."""
    told: list[int] = []
    camera.observe(told.append)
    maker.starting.shut()
    tasks = [Task(camera.acquire) for _ in range(3)]
    until(lambda: waiting(camera) == 3)
    maker.starting.open()
    for task in tasks:
        task.result().release()
    until(lambda: len(told) == 6)
    assert told[0] == 1
    assert told[-1] == 0
    assert all(abs(after - before) == 1 for before, after in pairwise(told))


def test_an_observer_is_told_every_change_in_order(camera: SharedResource[Camera]) -> None:
    """Eight threads come and go; each change is there, each by one, one call at a time."""
    told = [0]
    inside = threading.Lock()

    def observer(usecount: int) -> None:
        assert inside.acquire(blocking=False), "two calls at once"
        told.append(usecount)
        inside.release()

    def consume() -> None:
        for _ in range(100):
            enter(camera)

    with camera():
        end = camera.observe(observer)
        told[0] = 1
        run_threads(*[consume] * 8)
        end()
    assert len(told) == 1601
    assert told[-1] == 1
    assert {after - before for before, after in pairwise(told)} == {1, -1}


def test_an_observer_is_told_nothing_of_what_was_before(camera: SharedResource[Camera]) -> None:
    """Nor of a change that the observers before it are still to be told of."""
    first: list[int] = []
    second: list[int] = []
    leases: list[Lease[Camera]] = []

    def observer(usecount: int) -> None:
        first.append(usecount)
        if not leases:
            leases.append(camera.acquire())  # told when this call is over
            camera.observe(second.append)

    camera.observe(observer)
    enter(camera)
    leases[0].release()
    assert (first, second) == ([1, 2, 1, 0], [1, 0])


def test_an_observer_that_raises_disturbs_nothing(
    camera: SharedResource[Camera], reported: list[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """The error is reported, the count is right, and the other observers are told."""
    told: list[int] = []

    def bad(usecount: int) -> None:
        raise OSError(f"observer {usecount}")

    camera.observe(bad)
    camera.observe(told.append)
    enter(camera)
    assert [str(error) for error in reported] == ["observer 1", "observer 0"]
    assert {record.getMessage() for record in caplog.records} == {"error in an observer of camera"}
    assert (told, camera.usecount) == ([1, 0], 0)


def test_ending_an_observation_is_harmless_when_repeated(camera: SharedResource[Camera]) -> None:
    """The function ends its own observation, not another of the same callback."""
    told: list[int] = []
    first, second = camera.observe(told.append), camera.observe(told.append)
    enter(camera)
    first()
    first()
    enter(camera)
    second()
    enter(camera)
    assert told == [1, 1, 0, 0, 1, 0]


def test_an_observer_may_use_its_resource(camera: SharedResource[Camera], maker: Maker) -> None:
    """It is called outside every lock; what it changes is told after what it was called for."""
    told: list[int] = []
    leases: list[Lease[Camera]] = []

    def observer(usecount: int) -> None:
        told.append(usecount)
        if usecount == 1 and not leases:
            leases.append(camera.acquire())

    camera.observe(observer)
    enter(camera)
    leases[0].release()
    assert (told, maker.alive) == ([1, 2, 1, 0], [])


# The hot paths


def test_an_observer_ended_leaves_the_hot_paths_hot(camera: SharedResource[Camera]) -> None:
    """What is observed pays for it; afterwards nothing does."""
    with camera():
        camera.observe(print)()
        machine = camera._machine  # pyright: ignore[reportPrivateUsage]  # nothing public shows which path is taken
        assert machine.hot is machine.current is not None


# Lost leases


def test_a_lost_lease_is_reported_and_given_back(camera: SharedResource[Camera], maker: Maker) -> None:
    """Scenario 20, rule 14: one warning that names the resource; the resource is stopped."""

    def lose() -> None:
        camera.acquire()
        gc.collect()
        until(lambda: camera.state is State.IDLE)

    with pytest.warns(ResourceWarning, match="a lease of camera was never released") as warned:
        lose()
    assert (len(warned), maker.diary) == (1, ["start 1", "stop 1"])


def test_correct_use_reports_no_loss(camera: SharedResource[Camera]) -> None:
    """Scenario 20: fifty threads that acquire and release correctly; warnings are errors here."""

    def consume() -> None:
        for _ in range(20):
            with suppress(KeyError), camera():
                raise KeyError
            camera.acquire().release()

    run_threads(*[consume] * 50)
    gc.collect()
    assert camera.usecount == 0


# Many threads


@pytest.mark.parametrize("overlap", [False, True])
def test_eight_threads_come_and_go(maker: Maker, overlap: bool) -> None:
    """Starts equal stops, never two alive at once unless they may, and the count ends at 0."""
    camera = SharedResource(maker, overlap=overlap)

    def consume() -> None:
        with ExitStack() as leases:
            for turn in range(300):
                leases.enter_context(camera())
                if turn % 3 == 0:
                    leases.pop_all().close()

    run_threads(*[consume] * 8)
    starts = sum(entry.startswith("start") for entry in maker.diary)
    assert len(maker.diary) == 2 * starts
    assert (camera.usecount, maker.alive) == (0, [])
    assert overlap or maker.most_alive == 1


# Bad input


@pytest.mark.parametrize(
    ("opener", "text"),
    [
        (7, "the opener of a shared resource must be callable, not 7"),
        ((number for number in (1,)), "must be callable, not the generator .*: pass the function that makes it"),
    ],
)
def test_an_opener_that_cannot_be_called_is_refused(opener: Any, text: str) -> None:
    """At once, with a text that names it."""
    with pytest.raises(TypeError, match=text):
        SharedResource(opener)


@pytest.mark.parametrize("what", ["factory", "start", "stop", "check"])
def test_hooks_that_cannot_be_called_are_refused(what: str) -> None:
    """Each is named with its value."""
    hooks: dict[str, Any] = {"factory": object, what: 7}
    with pytest.raises(TypeError, match=rf"{what}.* must be callable, not 7"):
        SharedResource.of(hooks.pop("factory"), **hooks)


def test_an_opener_that_gives_no_context_manager_is_an_error_of_the_start() -> None:
    """It names the resource and what was returned; what returns a generator gets a hint; nothing is counted."""
    opened: list[Any] = [7, (number for number in (7,))]
    for value, text in zip(opened, ("must return a context manager, not 7", "wrap .*contextmanager"), strict=True):
        resource: SharedResource[Any] = SharedResource([value].pop, name="camera")
        with pytest.raises(TypeError, match=f"the opener of camera .*{text}"):
            resource.acquire()
        assert (resource.usecount, resource.state) == (0, State.IDLE)


def test_an_opener_that_never_yields_or_twice_is_an_error() -> None:
    """The first fails the start, the second the stop; neither counts or poisons anything."""

    @contextmanager
    def never() -> Generator[int]:
        yield from ()

    @contextmanager
    def twice() -> Generator[int]:
        yield 1
        yield 2

    for opener, text in ((never, "never yielded no value"), (twice, "twice yielded a second value, 2")):
        resource = SharedResource(opener)
        with pytest.raises(RuntimeError, match=text):
            enter(resource)
        assert (resource.usecount, resource.state) == (0, State.IDLE)


@pytest.mark.parametrize(
    ("seconds", "kind"), [(-1.0, ValueError), (math.nan, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_a_bad_number_of_seconds_is_refused(
    camera: SharedResource[Camera], maker: Maker, seconds: Any, kind: type[Exception]
) -> None:
    """A linger or timeout below 0, NaN or no number: named, and nothing started, counted or closed."""
    with pytest.raises(kind, match=f"linger must be .*{seconds}"):
        SharedResource(maker, linger=seconds)
    for use in (camera.acquire, camera.close, camera.wait_stopped):
        with pytest.raises(kind, match=f"timeout must be .*{seconds}"):
            use(timeout=seconds)
    assert (camera.state, maker.diary) == (State.IDLE, [])


def test_an_observer_that_cannot_be_called_is_refused(camera: SharedResource[Camera]) -> None:
    """At once, with a text that names it."""
    not_callable: Any = 7
    with pytest.raises(TypeError, match="the callback of observe must be callable, not 7"):
        camera.observe(not_callable)


def test_a_timeout_may_be_infinite(camera: SharedResource[Camera]) -> None:
    """It waits for ever, as None does, and so does any number that a lock could not take."""
    camera.acquire(timeout=math.inf).release()
    camera.close(timeout=1e300)


# Values and names


@pytest.mark.parametrize("value", [None, False, 0, NotImplemented])
def test_any_value_is_a_value(value: object) -> None:
    """Falsy values are handed out like any other, by every way in."""
    resource = SharedResource.of(lambda: value, check=lambda it: it is value)
    with resource() as entered, closing_lease(resource.try_acquire()) as tried:
        assert entered is value
        assert tried.value is value


def test_it_is_named_after_its_opener_unless_told() -> None:
    """The name is what a reader would call it."""
    assert SharedResource(closed_camera).name == "closed_camera"
    assert SharedResource.of(dict[str, int], name="mine").name == "mine"


@contextmanager
def closed_camera() -> Generator[None]:
    """Give nothing."""
    yield
