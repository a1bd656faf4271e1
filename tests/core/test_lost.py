"""Lost leases (scenario 20): garbage-collected while held, reported once, given back from the timer thread."""

import gc
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from refcount import Lease, SharedResource, State, refcounted_resource
from refcount._core.clock import THREAD_NAME, clocks
from tests.helpers.programs import run_program
from tests.helpers.shaking import run_threads
from tests.helpers.tracing import Tracer, followed
from tests.helpers.watched import WAIT, Thing, Watched, own_timers, unraisable_errors, until


@pytest.fixture
def caught() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings of all threads, none of them an error."""
    gc.collect()
    with warnings.catch_warnings(record=True) as messages, own_timers():
        warnings.simplefilter("always")
        yield messages


class Cycle:
    """Garbage that only the collector finds, holding a lease."""

    def __init__(self, lease: Lease[Thing]) -> None:
        self.lease = lease
        self.myself = self


def lose(resource: SharedResource[Thing]) -> None:
    """Acquire it and forget the lease in a cycle."""
    Cycle(resource.acquire())


def idle(resource: SharedResource[Thing]) -> Callable[[], bool]:
    """Whether the resource has been given back by all and has stopped."""
    return lambda: resource.usecount == 0 and resource.state is State.IDLE


def test_a_lost_lease_is_reported_once_and_given_back(caught: list[warnings.WarningMessage]) -> None:
    """One `ResourceWarning` that names the resource; released and stopped in the timer thread, which is gone then."""
    stopped_in: list[str] = []
    watched = Watched(stop=lambda _: stopped_in.append(threading.current_thread().name))
    resource = SharedResource(watched.open, name="camera 7")
    lose(resource)
    assert resource.usecount == 1
    gc.collect()
    until(idle(resource))
    assert stopped_in == [THREAD_NAME]
    assert [(warning.category, str(warning.message)) for warning in caught] == [
        (
            ResourceWarning,
            "a lease of camera 7 was never released; "
            "with REFCOUNT_DEBUG=1 in the environment it would say here where it was made",
        )
    ]
    with resource() as thing:
        assert thing.number == 2


def test_the_timer_thread_is_gone_afterwards(caught: list[warnings.WarningMessage]) -> None:
    """It came for the lost lease and does not stay."""
    program = """
import gc, threading, time
from refcount import SharedResource
resource = SharedResource.of(object)
resource.acquire()
deadline = time.monotonic() + 10
while (resource.usecount or threading.active_count() > 1) and time.monotonic() < deadline:
    time.sleep(0.002)
print(resource.usecount, threading.enumerate() == [threading.main_thread()])
"""
    ended = run_program(program)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("0 True\n", "", 0)
    assert not caught


def test_one_lost_of_two_leaves_it_running(caught: list[warnings.WarningMessage]) -> None:
    """The other holder keeps it."""
    watched = Watched()
    resource = SharedResource(watched.open)
    with resource() as thing:
        lose(resource)
        gc.collect()
        until(lambda: resource.usecount == 1, "the release of the lost lease")
        assert thing.alive
    assert watched.stops == 1
    assert len(caught) == 1


def test_a_lost_lease_of_a_resource_that_nobody_knows(caught: list[warnings.WarningMessage]) -> None:
    """Resource and lease are garbage together: it is stopped all the same."""
    watched = Watched()
    lose(SharedResource(watched.open, name="forgotten"))
    gc.collect()
    until(lambda: watched.stops == 1, "the stop")
    until(lambda: len(caught) == 1, "the warning")
    assert "forgotten" in str(caught[0].message)


def test_a_lost_lease_begins_the_linger(caught: list[warnings.WarningMessage]) -> None:
    """As any last release does."""
    watched = Watched()
    resource = SharedResource(watched.open, linger=1000.0)
    lose(resource)
    gc.collect()
    until(lambda: resource.state is State.LINGERING)
    assert watched.stops == 0
    resource.flush()
    assert watched.stops == 1
    assert len(caught) == 1


@pytest.mark.parametrize("way", ["released", "with", "acquired and entered", "never entered", "closed by force"])
def test_no_report_of_what_is_not_held(way: str, caught: list[warnings.WarningMessage]) -> None:
    """Leases that were given back, or never held, are dropped in silence."""
    watched = Watched()
    resource = SharedResource(watched.open)
    if way == "released":
        resource.acquire().release()
    elif way == "with":
        with resource():
            pass
    elif way == "acquired and entered":
        with resource.acquire():
            pass
    elif way == "never entered":
        resource()
    else:
        lease = resource.acquire()
        resource.close(force=True)
        lease.release()
        del lease
    gc.collect()
    done = threading.Event()
    clocks.thread.lost(done.set)  # behind whatever the collector has found
    assert done.wait(WAIT)
    assert caught == []


def test_fifty_threads_that_do_it_right_are_not_reported(caught: list[warnings.WarningMessage]) -> None:
    """Scenario 20: no false positive, with the collector running all the time."""
    watched = Watched()
    resource = SharedResource(watched.open)

    def work() -> None:
        for number in range(20):
            with resource() as thing:
                assert thing.alive
            lease = resource.acquire()
            if number % 5 == 0:
                gc.collect(0)
            assert lease.release()

    run_threads(*[work] * 50)
    gc.collect()
    assert resource.usecount == 0
    assert watched.starts == watched.stops
    assert caught == []


def test_with_warnings_as_errors_it_is_released_and_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning that became an error goes to the logger and `sys.unraisablehook`; the release happens."""
    unraisable = unraisable_errors(monkeypatch)
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watched = Watched()
        resource = SharedResource(watched.open, name="camera")
        lose(resource)
        gc.collect()
        until(idle(resource))
        until(lambda: unraisable, "the report")
    assert watched.stops == 1
    assert [type(error) for error in unraisable] == [ResourceWarning]
    assert "a lease of camera was never released" in str(unraisable[0])
    assert [record.name for record in caplog.records] == ["refcount"]


def test_a_failing_stop_after_a_lost_lease_is_reported(
    caught: list[warnings.WarningMessage], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 7: there is nobody to tell, so the logger and the hook are told, and the next consumer starts it anew."""
    unraisable = unraisable_errors(monkeypatch)
    failures = iter([OSError("stuck")])

    def stop(_thing: Thing) -> None:
        for failure in failures:
            raise failure

    watched = Watched(stop=stop)
    resource = SharedResource(watched.open)
    lose(resource)
    gc.collect()
    until(idle(resource))
    until(lambda: unraisable, "the report")
    assert [repr(error) for error in unraisable] == ["OSError('stuck')"]
    assert len(caplog.records) == 1
    with resource() as thing:
        assert thing.number == 2
    assert len(caught) == 1


DEBUG = """
import gc, time
from refcount import SharedResource

class Camera: pass

camera = SharedResource.of(Camera, name="camera")

def forget():
    {acquire}  # the line to blame

forget()
gc.collect()
deadline = time.monotonic() + 10
while camera.usecount and time.monotonic() < deadline:
    time.sleep(0.002)
time.sleep(0.01)
print(camera.usecount)
"""

ACQUIRE = "lease = camera.acquire()"
ENTER = "lease = camera(); lease.__enter__()"


@pytest.mark.parametrize("acquire", [ACQUIRE, ENTER])
@pytest.mark.parametrize("way", ["-X dev", "REFCOUNT_DEBUG=1", "neither", "REFCOUNT_DEBUG=0"])
def test_debug_mode_says_where_it_was_acquired(way: str, acquire: str, tmp_path: Any) -> None:
    """With `-X dev` or `REFCOUNT_DEBUG=1` the warning shows the acquiring line, otherwise only the name."""
    file = tmp_path / "program.py"
    file.write_text(DEBUG.format(acquire=acquire))
    options = ["-W", "always::ResourceWarning", *(["-X", "dev"] if way == "-X dev" else [])]
    variable = {"REFCOUNT_DEBUG": way[-1]} if way.startswith("REFCOUNT") else {}
    ended = run_program(f"import runpy; runpy.run_path({str(file)!r})", options=options, environment=variable)
    assert (ended.stdout, ended.returncode) == ("0\n", 0)
    assert ended.stderr.count("ResourceWarning: a lease of camera was never released") == 1
    shown = "the line to blame" in ended.stderr and "in forget" in ended.stderr
    assert shown == (way in ("-X dev", "REFCOUNT_DEBUG=1"))


# --- The collector at the worst of times ------------------------------------------------------------------------------


@contextmanager
def collecting(lose_one: Callable[[], object]) -> Generator[list[int]]:
    """Make garbage that holds a lease and collect it, at every line of the package that the calling thread runs.

    Most of these lines run under one of the library's locks.
    """
    follow = followed([])
    lines: list[int] = []

    def trace(frame: FrameType, event: str, _argument: Any) -> Tracer | None:
        if not follow(frame.f_code):
            return None
        if event == "line":
            sys.settrace(None)
            try:
                lose_one()
                gc.collect(0)
            finally:
                sys.settrace(trace)
            lines.append(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("linger", [0.0, 1000.0])
def test_collected_at_any_line_under_any_lock(linger: float, caught: list[warnings.WarningMessage]) -> None:
    """A finalizer that runs while its thread holds the library's locks, of the same resource too, does not hang."""
    watched = Watched()
    resource = SharedResource(watched.open, name="the lost one's", linger=linger)
    spare: list[Lease[Thing]] = []
    lost: list[int] = []

    def lose_one() -> None:
        if spare:
            Cycle(spare.pop())
            lost.append(1)

    def work() -> int:
        gc.collect()
        total = 0
        for _ in range(3):
            spare.extend(resource.acquire() for _ in range(600))
            with collecting(lose_one) as lines:
                with resource():
                    pass
                resource.invalidate()
                resource.acquire().release()
                resource.touch()
                resource.flush()
            total += len(lines)
            while spare:
                spare.pop().release()
        return total

    (total,) = run_threads(work, timeout=WAIT)
    assert total > 100
    until(lambda: resource.usecount == 0, "the release of all that were lost")
    resource.close(timeout=WAIT)
    assert watched.starts == watched.stops
    said = {str(warning.message).split(";")[0] for warning in caught}
    assert said == {"a lease of the lost one's was never released"}
    until(lambda: len(caught) == len(lost) > 100, "the reports")


def test_collected_while_every_allocation_collects(caught: list[warnings.WarningMessage]) -> None:
    """With the collector at its most eager, in several threads at once, lost leases neither hang nor are forgotten."""
    watched = Watched()
    resource = SharedResource(watched.open, name="eager", linger=0.001)
    threshold = gc.get_threshold()

    def work() -> None:
        for number in range(60):
            with resource():
                if number % 3 == 0:
                    lose(resource)
            resource.acquire().release()

    gc.set_threshold(1, 1, 1)
    try:
        run_threads(*[work] * 4, timeout=40.0)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    until(lambda: resource.usecount == 0, "the release of all that were lost")
    resource.close(timeout=WAIT)
    assert watched.starts == watched.stops
    assert len(caught) == 80


def test_a_key_whose_last_lease_is_lost_is_not_started_beside_itself() -> None:
    """Who comes while the garbage collector is at the last lease gets the same thing, and no second one of that key."""
    watched = Watched()

    @refcounted_resource
    @contextmanager
    def camera(key: int) -> Generator[Thing]:
        with watched.open() as thing:
            yield thing

    class Newcomer:
        def __init__(self) -> None:
            self.me = self
            self.lease = camera(1)
            self.lease.__enter__()

        def __del__(self) -> None:
            with camera(1):
                pass

    with pytest.warns(ResourceWarning, match="was never released"):
        _lose(Newcomer, watched)
    assert watched.most == 1


def _lose(kind: Callable[[], object], watched: Watched) -> None:
    """Make something that is garbage at once, have it collected, and wait until all is stopped."""
    kind()
    gc.collect()
    until(lambda: watched.starts == watched.stops)
