"""`ManualClock`: lingers end when the test says so, where it says so, and in order."""

import math
import threading
from functools import partial

import pytest

from refcount import SharedResource, State
from refcount.testing import ManualClock
from tests.helpers.watched import WAIT, Watched, unraisable_errors, until


def hold(resource: SharedResource[object]) -> None:
    """Acquire it and give it back."""
    with resource():
        pass


def make(log: list[str], name: str, linger: float) -> SharedResource[object]:
    """A resource whose stop is logged, with the name of the thread that made it."""
    return SharedResource.of(
        object, stop=lambda _: log.append(f"{name} in {threading.current_thread().name}"), name=name, linger=linger
    )


def test_time_stands_still_until_it_is_moved() -> None:
    """It begins at 0, and `now` is what it was moved by."""
    clock = ManualClock()
    assert clock.now() == 0.0
    clock.advance(2.5)
    clock.advance(0)
    clock.advance(1)
    assert clock.now() == 3.5


def test_a_linger_ends_at_its_deadline_in_the_calling_thread() -> None:
    """Just before it the resource lingers; at it `advance` has stopped it when it returns."""
    log: list[str] = []
    with ManualClock() as clock:
        resource = make(log, "a", 5.0)
        hold(resource)
        clock.advance(4.999)
        assert (resource.state, log) == (State.LINGERING, [])
        clock.advance(0.001)
        assert (resource.state, log) == (State.IDLE, [f"a in {threading.current_thread().name}"])


def test_lingers_end_in_the_order_of_their_deadlines() -> None:
    """One long step passes each deadline at its own time, and what is set on the way counts from there."""
    times: list[tuple[str, float]] = []
    with ManualClock() as clock:

        def note(name: str, linger: float) -> SharedResource[object]:
            return SharedResource.of(object, stop=lambda _: times.append((name, clock.now())), linger=linger)

        resources: list[SharedResource[object]] = []
        for name, linger in (("late", 3.0), ("soon", 1.0), ("middle", 2.0)):
            resources.append(note(name, linger))
            hold(resources[-1])
        chained = SharedResource.of(object, stop=lambda _: times.append(("chained", clock.now())), linger=0.5)
        trigger = SharedResource.of(object, stop=lambda _: hold(chained), linger=1.0)
        hold(trigger)
        clock.advance(10.0)
        assert times == [("soon", 1.0), ("chained", 1.5), ("middle", 2.0), ("late", 3.0)]
        assert clock.now() == 10.0


def test_reacquiring_and_touching_count_from_the_time_of_the_clock() -> None:
    """R: an old deadline ends no newer linger."""
    log: list[str] = []
    with ManualClock() as clock:
        resource = make(log, "a", 10.0)
        hold(resource)
        clock.advance(9.0)
        hold(resource)
        clock.advance(9.0)
        resource.touch()
        clock.advance(9.0)
        assert log == []
        clock.advance(1.0)
        assert len(log) == 1


def test_what_is_held_is_not_stopped() -> None:
    """However far it is moved."""
    with ManualClock() as clock:
        resource = SharedResource(Watched().open, linger=1.0)
        hold(resource)
        with resource() as thing:
            clock.advance(1000.0)
            assert thing.alive


def test_leaving_stops_what_lingers_on_it() -> None:
    """At the end of the block, even when it ends by an error; the clock before it is in force again."""
    watched = Watched()
    resource = SharedResource(watched.open, linger=0.01)
    with pytest.raises(ZeroDivisionError), ManualClock():
        hold(resource)
        raise ZeroDivisionError
    assert (watched.starts, watched.stops) == (1, 1)
    hold(resource)
    until(lambda: watched.stops == 2, "the end of the linger in real time")


def test_leaving_stops_what_lingers_for_ever() -> None:
    """A linger of `math.inf` ends with the clock that it is measured on, and so does one that its stop begins."""
    log: list[str] = []
    with ManualClock() as clock:
        other = make(log, "other", math.inf)
        resource = SharedResource.of(object, stop=lambda _: hold(other), linger=math.inf)
        hold(resource)
        clock.advance(1e9)
        clock.advance(math.inf)
        assert (resource.state, log) == (State.LINGERING, [])
    assert (resource.state, other.state, len(log)) == (State.IDLE, State.IDLE, 1)


def test_what_is_never_due_is_run_on_leaving_at_the_end_of_all_time() -> None:
    """Its job sees that any deadline has come; afterwards the clock shows a time again."""
    seen: list[tuple[str, float]] = []
    clock = ManualClock()

    def job(name: str) -> None:
        seen.append((name, clock.now()))

    with clock:
        clock.at(math.inf, partial(job, "never"))
        clock.at(5.0, partial(job, "late"))
        clock.at(math.inf, lambda: clock.at(clock.now() + 3.0, partial(job, "set on the way")))
        clock.at(math.inf, partial(job, "cancelled")).cancel()
        clock.advance(math.inf)
        assert seen == [("late", 5.0)]
    assert seen[1:] == [("never", math.inf), ("set on the way", math.inf)]
    assert clock.now() == 5.0
    with clock:
        assert clock.now() == 0.0


def test_a_stop_that_moves_the_clock() -> None:
    """Time is not turned back by the move in the middle of which it came, and each linger ends once, in order."""
    log: list[tuple[str, float]] = []
    with ManualClock() as clock:

        def stop(_thing: object) -> None:
            log.append(("first", clock.now()))
            clock.advance(100.0)
            log.append(("moved", clock.now()))

        first = SharedResource.of(object, stop=stop, linger=1.0)
        second = SharedResource.of(object, stop=lambda _: log.append(("second", clock.now())), linger=3.0)
        hold(first)
        hold(second)
        clock.advance(5.0)
        assert log == [("first", 1.0), ("second", 3.0), ("moved", 101.0)]
        assert clock.now() == 101.0


def test_moved_by_infinity() -> None:
    """All that is pending ends, what is set on the way as well; the time is that of the last, and lingers go on."""
    log: list[str] = []
    with ManualClock() as clock:
        chained = make(log, "chained", 7.0)
        resource = SharedResource.of(object, stop=lambda _: hold(chained), linger=5.0)
        hold(resource)
        clock.advance(math.inf)
        assert (resource.state, chained.state, len(log)) == (State.IDLE, State.IDLE, 1)
        assert clock.now() == 12.0
        hold(chained)
        clock.advance(6.0)
        assert (chained.state, len(log)) == (State.LINGERING, 1)
        clock.advance(1.0)
        assert (chained.state, len(log)) == (State.IDLE, 2)
        clock.advance(math.inf)
        assert clock.now() == 19.0


def test_one_inside_another() -> None:
    """The inner one is in force inside, the outer one again afterwards."""
    log: list[str] = []
    with ManualClock() as outer:
        resource = make(log, "a", 1.0)
        with ManualClock() as inner:
            hold(resource)
            outer.advance(5.0)
            assert log == []
            inner.advance(1.0)
            assert len(log) == 1
        hold(resource)
        outer.advance(1.0)
        assert len(log) == 2


def test_no_thread_is_needed() -> None:
    """A resource that lingers on it starts no timer thread."""
    before = set(threading.enumerate())
    with ManualClock():
        hold(SharedResource.of(object, linger=1.0))
        assert set(threading.enumerate()) <= before


def test_lingers_of_other_threads() -> None:
    """It is in force in every thread."""
    log: list[str] = []
    with ManualClock() as clock:
        resource = make(log, "a", 5.0)
        thread = threading.Thread(target=hold, args=(resource,))
        thread.start()
        thread.join(WAIT)
        clock.advance(5.0)
        assert log == [f"a in {threading.current_thread().name}"]


def test_a_stop_that_raises_is_reported_and_the_others_are_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """A linger has nobody to tell: the error goes to the logger and the hook, and `advance` goes on."""
    log: list[str] = []

    def fail(_thing: object) -> None:
        raise OSError("stuck")

    with pytest.MonkeyPatch.context() as patch, ManualClock() as clock:
        unraisable = unraisable_errors(patch)
        broken = SharedResource.of(object, stop=fail, name="broken", linger=1.0)
        hold(broken)
        other = make(log, "a", 2.0)
        hold(other)
        clock.advance(3.0)
    assert broken.state is State.IDLE
    assert [repr(error) for error in unraisable] == ["OSError('stuck')"]
    assert log == [f"a in {threading.current_thread().name}"]
    assert [record.name for record in caplog.records] == ["refcount"]


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan])
def test_it_is_not_moved_back(seconds: float) -> None:
    """The error names the value, and the time is what it was."""
    clock = ManualClock()
    clock.advance(1.0)
    with pytest.raises(ValueError, match="seconds must be 0 seconds or more, not " + repr(seconds)):
        clock.advance(seconds)
    assert clock.now() == 1.0


def test_it_is_moved_by_numbers_only() -> None:
    """Not by text."""
    with pytest.raises(TypeError, match="seconds must be a number of seconds, not '1'"):
        ManualClock().advance("1")  # type: ignore[arg-type]  # the mistake is the point
