"""What hostile probes found in the first version, each as a kind: it must not come back."""

import contextlib
import copy
import gc
import inspect
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import ref

import pytest

from refcount import SharedResource, State
from refcount.testing import ManualClock
from tests.helpers.programs import run_program
from tests.helpers.shaking import run_threads
from tests.helpers.watched import WAIT, Watched, unraisable_errors, until, waiting


@dataclass(frozen=True)
class Frozen(Exception):  # what matters is that it takes no notes
    """An exception that takes no notes."""

    text: str


@pytest.fixture(name="clock")
def manual_clock() -> Generator[ManualClock]:
    """A clock that the test moves."""
    with ManualClock() as clock:
        yield clock


# --- Errors are shared as they are ----------------------------------------------------------------------------------


def test_an_exception_that_takes_no_notes_is_shared_as_it_is() -> None:
    """Eight first consumers of a start that raises a frozen exception see that object, from one attempt."""
    starts: list[int] = []
    going = threading.Event()
    error = Frozen("no")

    @contextmanager
    def opener() -> Generator[None]:
        starts.append(1)
        going.wait(WAIT)
        if starts:
            raise error
        yield

    resource = SharedResource(opener)

    def consume() -> BaseException | None:
        try:
            resource.acquire()
        except Frozen as caught:
            return caught
        return None

    def let_go() -> None:
        until(lambda: waiting(resource) == 8)
        going.set()

    assert run_threads(*[consume] * 8, let_go)[:8] == [error] * 8
    assert (len(starts), resource.state) == (1, State.IDLE)


def test_a_stop_that_raises_an_exception_without_notes_shows_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to the releaser as it is; after a linger it is reported as it is."""
    error = Frozen("no")

    def stop(value: list[object]) -> None:
        raise error

    with pytest.raises(Frozen) as caught:
        SharedResource.of(list[object], stop=stop).acquire().release()
    assert caught.value is error
    errors = unraisable_errors(monkeypatch)
    with ManualClock() as clock:
        SharedResource.of(list[object], stop=stop, linger=1.0).acquire().release()
        clock.advance(1.0)
    assert errors == [error]


def test_a_stored_exception_collects_no_notes() -> None:
    """An opener that raises the same object a hundred times leaves it with a note or none."""
    future: Future[int] = Future()
    future.set_exception(OSError("stored"))
    resource = SharedResource.of(future.result)
    for _ in range(100):
        with pytest.raises(OSError, match="stored"):
            resource.acquire()
    error = future.exception()
    assert error is not None
    assert len(getattr(error, "__notes__", ())) <= 1


def test_a_hundred_waiters_get_a_short_traceback_each() -> None:
    """Who waits on a failing start raises the error as the starter got it, not with the frames of all the others."""
    going = threading.Event()

    def factory() -> None:
        going.wait(WAIT)
        raise OSError("no")

    resource = SharedResource.of(factory)

    def consume() -> int:
        try:
            resource.acquire()
        except OSError as error:
            return len(traceback.extract_tb(error.__traceback__))
        return 0

    def let_go() -> int:
        until(lambda: waiting(resource) == 100)
        going.set()
        return 0

    assert max(run_threads(*[consume] * 100, let_go)) < 40


def test_stop_iteration_of_a_hook_comes_out_as_itself() -> None:
    """Of a factory, of an `__enter__` and of an `__exit__`: it is not turned into a RuntimeError on the way."""
    with pytest.raises(StopIteration):
        SharedResource.of(iter(()).__next__).acquire()

    class Manager:
        def __init__(self, fails: str) -> None:
            self.fails = fails

        def __enter__(self) -> None:
            if self.fails == "enter":
                raise StopIteration("enter")

        def __exit__(self, *exc: object) -> None:
            if self.fails == "exit":
                raise StopIteration("exit")

    with pytest.raises(StopIteration, match="enter"):
        SharedResource(lambda: Manager("enter")).acquire()
    lease = SharedResource(lambda: Manager("exit")).acquire()
    with pytest.raises(StopIteration, match="exit"):
        lease.release()


def test_values_and_errors_are_freed_at_once() -> None:
    """After a failed start, a failed stop and a refused waiter nothing waits for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        for watched in (Watched(start=_fail), Watched(stop=lambda thing: _fail())):
            resource = SharedResource(watched.open)
            with contextlib.suppress(OSError):
                resource.acquire().release()
            gone = ref(resource)
            del resource
            assert gone() is None
    finally:
        gc.enable()


def _fail() -> None:
    raise OSError("no")


# --- Openers --------------------------------------------------------------------------------------------------------


def test_a_subclass_of_contextlibs_manager_keeps_its_own_enter_and_exit() -> None:
    """Only the very class is taken apart; what a subclass does around the generator is done."""
    diary: list[str] = []

    @contextmanager
    def plain() -> Generator[str]:
        diary.append("start")
        yield "value"
        diary.append("stop")

    base: Any = type(plain())  # contextlib's class has no public name

    def enter(self: object) -> object:
        diary.append("enter")
        return base.__enter__(self)

    def leave(self: object, *exc: object) -> object:
        diary.append("exit")
        return base.__exit__(self, *exc)

    loud: Any = type("Loud", (base,), {"__enter__": enter, "__exit__": leave})

    def opener() -> AbstractContextManager[str]:
        made: AbstractContextManager[str] = loud(getattr(plain, "__wrapped__"), (), {})  # noqa: B009 # not in its type
        return made

    with SharedResource(opener)() as value:
        assert value == "value"
    assert diary == ["enter", "start", "exit", "stop"]


def test_an_opener_that_returns_a_used_manager_is_told_so() -> None:
    """A one-shot context manager cannot start a second generation; the error does not speak of a missing value."""

    @contextmanager
    def once() -> Generator[int]:
        yield 1

    manager = once()
    resource = SharedResource(lambda: manager, name="camera")
    with resource():
        pass
    with pytest.raises(RuntimeError, match=r"camera has returned .* before: it must return a new context manager"):
        resource.acquire()


# --- Lingers --------------------------------------------------------------------------------------------------------


def test_a_newer_hold_does_not_inherit_an_old_deadline(clock: ManualClock) -> None:
    """Released at 0, taken at 1, released at 4: with a linger of 5 it stops at 9, whatever was set at 0."""
    watched = Watched()
    resource = SharedResource(watched.open, linger=5.0)
    resource.acquire().release()
    clock.advance(1.0)
    lease = resource.acquire()
    clock.advance(3.0)
    lease.release()
    clock.advance(4.9)
    assert (watched.alive, resource.state) == (1, State.LINGERING)
    clock.advance(0.1)
    assert (watched.alive, resource.state) == (0, State.IDLE)


def test_an_alarm_that_finds_it_held_sets_no_other(clock: ManualClock) -> None:
    """While it is held no alarm comes again and again; who leaves last sets a new one, for the whole linger."""
    watched = Watched()
    resource = SharedResource(watched.open, linger=5.0)
    resource.acquire().release()
    lease = resource.acquire()
    clock.advance(100.0)
    lease.release()
    clock.advance(4.9)
    assert watched.alive == 1
    clock.advance(0.1)
    assert watched.alive == 0


LINGERS_AT_EXIT = """
import queue
{first}
import refcount
{second}
from concurrent.futures import ThreadPoolExecutor
work = queue.SimpleQueue()
pool = ThreadPoolExecutor(1)
resource = refcount.SharedResource.of(lambda: pool.submit(work.get), stop=lambda job: work.put(None), linger=1000.0)
with resource():
    pass
"""


@pytest.mark.parametrize("before", [True, False])
def test_lingers_end_before_executors_are_waited_for(before: bool) -> None:
    """Whether `concurrent.futures` was imported before or after: its threads may wait for the stop of what lingers."""
    line = "import concurrent.futures.thread"
    source = LINGERS_AT_EXIT.format(first=line if before else "", second="" if before else line)
    assert run_program(source, timeout=20.0).returncode == 0


# --- What is owed can be taken over ---------------------------------------------------------------------------------


def _use(resource: SharedResource[object]) -> None:
    with resource():
        pass


def _acquire_and_keep(resource: SharedResource[object]) -> None:
    lease = resource.acquire()
    KEPT.append(lease)
    lease.release()


KEPT: list[object] = []
"""Leases that no finalizer is to give back meanwhile."""


@pytest.mark.filterwarnings("ignore:a lease of .* was never released:ResourceWarning")  # whose exit found no room
@pytest.mark.filterwarnings("ignore:.* cannot linger.*recursion:RuntimeWarning")
@pytest.mark.parametrize("linger", [0.0, 0.001])
@pytest.mark.parametrize("use", [_use, _acquire_and_keep])
def test_whatever_is_owed_at_the_recursion_limit_is_taken_over(
    use: Callable[[SharedResource[object]], None], linger: float
) -> None:
    """Wherever the stack is full on the way in or out, the next consumer, in any thread, works, and it can be closed.

    What a hook has done when it found no room is its own affair, so that starts and stops are not counted.
    """
    resource: SharedResource[object] = SharedResource(Watched().open, linger=linger)
    failures = 0
    for spare in range(60):
        with contextlib.suppress(RecursionError):
            _dive(sys.getrecursionlimit() - _depth() - spare, use, resource)
            continue
        failures += 1
        while KEPT:
            KEPT.pop()
        gc.collect()
        assert run_threads(lambda: resource.acquire(timeout=WAIT).release()) == [True]
    assert failures
    resource.close(WAIT, force=True)


def _depth() -> int:
    return len(inspect.stack(0))


def _dive(left: int, use: Callable[[SharedResource[object]], None], resource: SharedResource[object]) -> None:
    """Use the resource that many frames further down."""
    if left > 0:
        _dive(left - 1, use, resource)
    else:
        use(resource)


def test_polling_a_slow_start_piles_nothing_up() -> None:
    """Ten thousand `acquire(timeout=0)` while a start hangs leave nobody asleep, and the start unimpressed."""
    starting, going = threading.Event(), threading.Event()

    def start(value: object) -> None:
        starting.set()
        going.wait(WAIT)

    resource: SharedResource[list[object]] = SharedResource.of(list[object], start=start)

    def poll() -> bool:
        starting.wait(WAIT)
        for _ in range(10_000):
            with pytest.raises(TimeoutError):
                resource.acquire(timeout=0)
        left = waiting(resource)
        going.set()
        return left == 1

    assert run_threads(lambda: resource.acquire().release(), poll) == [True, True]


# --- Copies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_lease_cannot_be_duplicated(duplicate: Callable[[object], object]) -> None:
    """A copy would take another consumer's count: it is refused, with the name of the lease."""
    basket: SharedResource[list[object]] = SharedResource.of(list[object], name="basket")
    with (lease := basket()), pytest.raises(TypeError, match="Lease of basket, held"):
        duplicate(lease)


def test_a_resource_copies_as_itself_and_is_not_pickled() -> None:
    """A second face of one resource would be another one; a pickled one would belong to another process."""
    resource: SharedResource[list[object]] = SharedResource.of(list[object], name="basket")
    assert copy.copy(resource) is resource
    assert copy.deepcopy(resource) is resource
    with pytest.raises(TypeError, match="basket"):
        pickle.dumps(resource)


# --- The process ----------------------------------------------------------------------------------------------------


FORK_WITHOUT_CTYPES = """
import os, sys
sys.modules["_ctypes"] = sys.modules["ctypes"] = None
from contextlib import contextmanager
from refcount import SharedResource
@contextmanager
def opener():
    yield 1
    print("stop in", "child" if os.getpid() != parent else "parent", flush=True)
parent = os.getpid()
resource = SharedResource(opener)
lease = resource.acquire()
child = os.fork()
if not child:
    print(resource.usecount, lease.held, lease.release(), flush=True)
    sys.exit()
os.waitpid(child, 0)
lease.release()
"""


def test_a_child_stops_nothing_where_there_is_no_ctypes() -> None:
    """A Python built without it forks as safely: the child's end leaves the parent's resource alone."""
    assert run_program(FORK_WITHOUT_CTYPES).lines == ["0 False False", "stop in parent"]


FORK_WITH_MANY = """
import os, time
from refcount import SharedResource
def cost():
    began = time.perf_counter()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return time.perf_counter() - began
few = min(cost() for _ in range(5))
many = [SharedResource(list) for _ in range(50_000)]
print(min(cost() for _ in range(5)) < 20 * few + 0.1)
"""


def test_idle_resources_cost_a_fork_nothing() -> None:
    """With 50,000 idle ones a child begins about as soon as with none; each begins anew when it is used."""
    assert run_program(FORK_WITH_MANY).lines == ["True"]


START_IN_A_FINALIZER = """
from refcount import SharedResource
class Late:
    def __del__(self):
        with resource():
            pass
resource = SharedResource.of(list, start=lambda value: print("start"), stop=lambda value: print("stop"))
keep = Late()
import builtins
builtins.keep = keep
del keep
"""


def test_nothing_starts_when_the_interpreter_is_going() -> None:
    """A with-statement in a finalizer at the very end starts nothing that nobody would stop."""
    ended = run_program(START_IN_A_FINALIZER)
    assert ended.lines.count("start") == ended.lines.count("stop")


PATCHED_LATE = """
import threading
import refcount
real, threading.get_ident = threading.get_ident, lambda: 1
try:
    refcount.SharedResource.of(list).acquire()
except refcount.RefcountError as error:
    print(error)
threading.get_ident = real
"""


def test_threading_patched_after_the_import_is_refused() -> None:
    """Where gevent patches too late all greenlets of a thread would be one consumer; the error says what to do."""
    assert "import it afterwards" in run_program(PATCHED_LATE).stdout


# --- Kept by nothing but leases -------------------------------------------------------------------------------------


def test_a_lease_kept_on_the_owner_of_the_resource_goes_with_it() -> None:
    """The owner, its resource and its lease are garbage together; it is stopped and reported."""
    stopped = threading.Event()

    class Owner:
        def __init__(self) -> None:
            self.resource = SharedResource.of(self.open, stop=self.close)
            self.lease = self.resource.acquire()

        def open(self) -> object:
            return self

        def close(self, value: object) -> None:
            stopped.set()

    def lose() -> None:
        gone = ref(Owner())
        gc.collect()
        assert stopped.wait(WAIT)
        until(lambda: gc.collect() >= 0 and gone() is None)

    with pytest.warns(ResourceWarning, match="was never released"):
        lose()


def test_a_stop_that_was_interrupted_is_no_reentry() -> None:
    """A thread whose stop was cut short may use and close the resource: it is not taken for its own stop."""

    def stop(value: list[object]) -> None:
        if first.pop():
            raise KeyboardInterrupt

    first = [False, True]
    resource = SharedResource.of(list[object], stop=stop)
    lease = resource.acquire()
    with pytest.raises(KeyboardInterrupt):
        lease.release()
    with resource():
        pass
    resource.close()
    assert resource.state is State.CLOSED
