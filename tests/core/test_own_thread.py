"""`own_thread`: start and stop of a generation run in one thread of their own, and nobody sees any other difference."""

import contextvars
import gc
import math
import signal
import sqlite3
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from refcount import Lease, ReentrantError, SharedResource, State, refcounted_resource
from refcount._core.family import Family
from refcount._core.openers import Limits, Options, lives_of_hooks
from refcount._core.parking import Parker
from refcount.testing import ManualClock
from tests.helpers.interrupting import Every, Interruptions
from tests.helpers.watched import WAIT, Thing, Watched, own_timers, unraisable_errors, until, waiting

MAIN = threading.main_thread().ident or 0

var = contextvars.ContextVar("var", default="nobody's")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Each of these threads ends with its generation."""
    before = {*threading.enumerate()}
    with own_timers():
        yield
    gc.collect()
    until(lambda: {*threading.enumerate()} <= before, "the end of the threads")


class Places:
    """Which threads the hooks of a resource ran in."""

    def __init__(self) -> None:
        self.started: list[threading.Thread] = []
        self.stopped: list[threading.Thread] = []
        self.names: list[str] = []

    @contextmanager
    def open(self) -> Generator[int]:
        """Take note of the thread."""
        self.started.append(threading.current_thread())
        self.names.append(threading.current_thread().name)
        yield len(self.started)
        self.stopped.append(threading.current_thread())


def in_thread(work: Callable[[], object]) -> None:
    """Call `work` in another thread, and wait for it."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_one_thread_for_each_generation() -> None:
    """Whoever is first and whoever is last; the next generation has another one."""
    places = Places()
    resource = SharedResource(places.open, own_thread=True, name="place")
    for _ in range(2):
        lease = resource.acquire()
        in_thread(lease.release)
    assert places.started == places.stopped
    assert len({*places.started}) == 2
    assert threading.current_thread() not in places.started
    assert places.names == ["place", "place"]


def test_what_must_be_closed_where_it_was_opened() -> None:
    """A connection of sqlite's refuses to be closed by another thread: here the timer's."""
    errors: list[BaseException] = []
    closed = threading.Event()

    def close(connection: sqlite3.Connection) -> None:
        try:
            connection.close()
        except sqlite3.Error as error:
            errors.append(error)
        closed.set()

    database = SharedResource.of(lambda: sqlite3.connect(":memory:"), stop=close, own_thread=True, linger=0.001)
    with database():
        pass
    assert closed.wait(WAIT)
    assert not errors


def test_in_a_copy_of_the_first_consumers_context() -> None:
    """The hooks see what it has set, may set and reset variables, and leave those of all consumers alone."""
    seen: list[str] = []

    @contextmanager
    def opener() -> Generator[None]:
        seen.append(var.get())
        token = var.set("the resource's")
        yield
        seen.append(var.get())
        var.reset(token)

    resource = SharedResource(opener, own_thread=True)
    var.set("the first one's")
    with resource():
        assert var.get() == "the first one's"
        in_thread(lambda: var.set("another's"))
    assert seen == ["the first one's", "the resource's"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt("no"), SystemExit(3), StopIteration(4)])
def test_what_hooks_raise_reaches_the_caller(error: BaseException) -> None:
    """As the same object, and the resource is none the worse for it."""
    errors = [error]

    def fail(*_value: object) -> None:
        if errors:
            raise errors.pop()

    starting = SharedResource.of(object, start=fail, own_thread=True)
    with pytest.raises(type(error)) as caught:
        starting.acquire()
    assert caught.value is error
    assert starting.acquire().release()
    errors.append(error)
    stopping = SharedResource.of(object, stop=fail, own_thread=True)
    lease = stopping.acquire()
    with pytest.raises(type(error)) as caught:
        lease.release()
    assert caught.value is error
    assert stopping.state is State.IDLE
    assert stopping.acquire().release()


def test_a_generator_must_yield_once() -> None:
    """The errors are those of any resource."""

    @contextmanager
    def never() -> Generator[int]:
        if not threading.active_count():
            yield 0

    @contextmanager
    def twice() -> Generator[int]:
        yield 1
        yield 2

    with pytest.raises(RuntimeError, match="yielded no value"):
        SharedResource(never, own_thread=True).acquire()
    lease = SharedResource(twice, own_thread=True).acquire()
    with pytest.raises(RuntimeError, match="yielded a second value, 2"):
        lease.release()


def test_its_own_hooks_cannot_wait_for_it() -> None:
    """Rule 9, though another thread runs them; another resource may be acquired there, in turn with its own thread."""

    def start(_value: object) -> None:
        assert inner.acquire().release()
        outer.acquire()

    def start_inner(_value: object) -> None:
        if depth:
            depth.pop()
            outer.acquire()

    depth: list[int] = []
    inner = SharedResource.of(object, start=start_inner, own_thread=True)
    outer = SharedResource.of(object, start=start, own_thread=True, name="outer")
    for _ in range(2):
        with pytest.raises(ReentrantError, match="acquire of outer inside its own start"):
            outer.acquire()
        depth.append(1)


def test_a_bounded_family_finds_out_who_waits_for_himself() -> None:
    """The stop of an evicted key needs another one of its family, in a thread of its own."""

    def stop(key: int) -> None:
        if key == 0:
            camera(2).acquire()

    def camera(key: int) -> Lease[int]:
        member = family.find(key)
        lives = lives_of_hooks(lambda: key, None, stop, "camera")
        return (member or family.make(key, lives, f"camera {key}"))()

    options: Options[int] = Options(linger=math.inf, own_thread=True)
    family = Family("cameras", options, Limits(capacity=1))
    with pytest.MonkeyPatch.context() as patch:
        errors = unraisable_errors(patch)
        kept = camera(0)
        with kept:
            pass
        with camera(1) as value:
            assert value == 1
        family.close(WAIT)
    assert [type(error) for error in errors] == [ReentrantError]


def test_lingers_and_closes_as_without() -> None:
    """The timer, `flush` and `close` by force stop it in its thread."""
    places = Places()
    with ManualClock() as clock:
        resource = SharedResource(places.open, own_thread=True, linger=5.0)
        with resource():
            pass
        clock.advance(5.0)
        assert len(places.stopped) == 1
        with resource():
            pass
        assert resource.flush()
        lease = resource.acquire()
        resource.close(WAIT, force=True)
        assert lease.release()
    assert places.started == places.stopped


def test_what_was_started_belongs_to_the_generation() -> None:
    """A lease on the object whose attribute it is goes with it, and the stop runs in the thread all the same."""
    stopped: list[threading.Thread] = []

    class Owner:
        def __init__(self) -> None:
            self.started: list[threading.Thread] = []
            self.resource = SharedResource.of(
                self.make, stop=lambda _value: stopped.append(threading.current_thread()), own_thread=True
            )
            self.lease = self.resource.acquire()

        def make(self) -> int:
            threads.append(threading.current_thread())
            return 1

    def lose(warned: pytest.WarningsRecorder) -> weakref.ref[Owner]:
        owner = weakref.ref(Owner())
        gc.collect()
        until(lambda: warned.list, "the warning")
        until(lambda: stopped and not threads[0].is_alive(), "the stop, and the end of the thread")
        return owner

    threads: list[threading.Thread] = []
    with pytest.warns(ResourceWarning, match="was never released") as warned:
        owner = lose(warned)
    assert owner() is None
    assert stopped == threads


def idle(resource: SharedResource[Thing], watched: Watched | None = None) -> bool:
    """Return whether nobody holds it, and nothing is alive."""
    return not resource.usecount and not (watched and watched.alive)


class Held:
    """A start or stop that goes on until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, *_value: object) -> None:
        self.reached.set()
        assert self.open.wait(WAIT)


def test_a_start_that_nobody_waits_for_is_undone() -> None:
    """The start that was given up by `invalidate` comes up late, in peace; the next one has not waited for it."""
    held = [Held()]
    watched = Watched(start=lambda: held.pop()() if held else None)
    resource = SharedResource(watched.open, own_thread=True)
    first = held[0]
    consumer = threading.Thread(target=lambda: resource.acquire().release())
    consumer.start()
    assert first.reached.wait(WAIT)
    resource.invalidate()
    with resource() as thing:
        assert thing.number == 1
    first.open.set()
    consumer.join(WAIT)
    resource.wait_stopped(WAIT)
    assert watched.starts == watched.stops == 2


def test_an_interrupted_consumer_leaves_nothing_behind(every: Every) -> None:
    """Wherever Ctrl-C comes: what was begun in the thread is undone, and the next one does not start beside it."""
    for interruption in Interruptions(step=every(1)):
        watched = Watched()
        resource: SharedResource[Thing] = SharedResource(watched.open, own_thread=True)

        def use(resource: SharedResource[Thing] = resource) -> None:
            with resource():
                pass

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # one lease may be lost, where its exit begins
            interruption.run(use)
            gc.collect()
            until(partial(idle, resource), "giving back")
        in_thread(use)
        in_thread(partial(resource.close, WAIT))
        until(partial(idle, resource, watched), f"the stop, after {interruption}")
        assert watched.most == 1, interruption


# --- Interrupted while the thread goes on -----------------------------------------------------------------------------


def press_ctrl_c() -> None:
    """Send the signal to the main thread while that sleeps: one that comes a moment before would not wake it."""
    frames = sys._current_frames  # pyright: ignore[reportPrivateUsage]  # nothing public tells where a thread is
    until(lambda: frames()[MAIN].f_code is Parker.park.__code__, "the main thread's sleep")
    time.sleep(0.01)  # in that function it calls nothing but what sleeps
    signal.pthread_kill(MAIN, signal.SIGINT)


def press_when(reached: Callable[[], bool]) -> None:
    """Do that as soon as something is so."""
    until(reached, "what the signal waits for")
    press_ctrl_c()


def interrupted(work: Callable[[], object], held: Held) -> None:
    """Interrupt this thread in `work` while the hook is held up."""
    presser = threading.Thread(target=partial(press_when, held.reached.is_set))
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        work()
    presser.join(WAIT)


@pytest.mark.parametrize("keyed", [True, False])
def test_a_stop_that_goes_on_keeps_its_place(keyed: bool) -> None:
    """Who was interrupted is let go; the next one waits for the end of it, and so does another key for its slot."""
    held = Held()
    watched = Watched(stop=lambda thing: held() if thing.number == 1 else None)
    cameras = refcounted_resource(watched.open, key=lambda: 0, own_thread=True)

    @refcounted_resource(capacity=1, own_thread=True)
    def camera(_index: int) -> Generator[Thing]:
        with watched.open() as thing:
            yield thing

    def use(index: int) -> None:
        with camera(index) if keyed else cameras():
            pass

    interrupted(partial(use, 0), held)
    others = [threading.Thread(target=partial(use, index)) for index in (0, 1)]
    for other in others:
        other.start()
    until(lambda: waiting(camera.resource(1)) if keyed else waiting(cameras.resource()), "their waiting")
    assert watched.starts == 1
    held.open.set()
    for other in others:
        other.join(WAIT)
    assert watched.starts == watched.stops >= 2
    assert watched.most == 1


def test_a_stop_that_goes_on_cannot_wait_for_itself() -> None:
    """Though nobody waits for it any more."""
    held, errors = Held(), list[Exception]()

    def stop(_value: object) -> None:
        held()
        try:
            resource.acquire()
        except ReentrantError as error:
            errors.append(error)

    resource = SharedResource.of(object, stop=stop, own_thread=True)
    interrupted(resource.acquire().release, held)
    held.open.set()
    resource.wait_stopped(WAIT)
    assert len(errors) == 1


def test_what_goes_on_is_waited_for() -> None:
    """By `close`, after an interrupted start as well, which is undone."""
    helds = [Held()]
    first = helds[0]
    watched = Watched(start=lambda: helds.pop()() if helds else None)
    resource = SharedResource(watched.open, own_thread=True)
    interrupted(resource.acquire, first)
    with pytest.raises(TimeoutError):
        resource.close(timeout=0)
    first.open.set()
    resource.close(WAIT)
    assert (watched.starts, watched.stops) == (1, 1)


def test_a_start_that_goes_on_is_taken_over_by_who_waits() -> None:
    """Who starts it anew when the first start is undone."""
    helds = [Held()]
    first = helds[0]
    watched = Watched(start=lambda: helds.pop()() if helds else None)
    resource = SharedResource(watched.open, own_thread=True)
    values: list[int] = []

    def use() -> None:
        with resource() as thing:
            values.append(thing.number)

    def wait_for_it() -> None:
        assert first.reached.wait(WAIT)
        use()

    waiter = threading.Thread(target=wait_for_it)
    waiter.start()

    presser = threading.Thread(target=partial(press_when, lambda: waiting(resource) == 2))
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        resource.acquire()
    first.open.set()
    waiter.join(WAIT)
    presser.join(WAIT)
    assert values == [2]
    assert watched.most == 1
    assert watched.alive == 0


def test_what_goes_on_for_ever_can_be_given_up() -> None:
    """`invalidate` frees the resource of a stop that hangs."""
    held = Held()
    watched = Watched(stop=lambda thing: held() if thing.number == 1 else None)
    resource = SharedResource(watched.open, own_thread=True)
    interrupted(resource.acquire().release, held)
    resource.invalidate()
    with resource() as thing:
        assert thing.number == 2
    held.open.set()
    resource.wait_stopped(WAIT)
    assert watched.alive == 0


def test_another_thread_than_the_starter_is_interrupted() -> None:
    """In the stop; the resource is stopping for as long as the hook goes on."""
    held = Held()
    resource = SharedResource.of(object, stop=held, own_thread=True)
    leases: list[Lease[object]] = []
    in_thread(lambda: leases.append(resource.acquire()))
    interrupted(leases[0].release, held)
    assert resource.state is State.STOPPING
    with pytest.raises(TimeoutError):
        resource.wait_stopped(timeout=0)
    held.open.set()
    resource.wait_stopped(WAIT)


@pytest.mark.parametrize("verb", ["invalidate", "abandon"])
@pytest.mark.parametrize("stops", [False, True])
def test_what_was_given_up_before_the_interrupt_is_waited_for_by_nobody(verb: str, stops: bool) -> None:
    """The next one starts at once, though the hook hangs."""
    helds = [Held()]
    held = helds[0]

    def hang(*_value: object) -> None:
        if helds:
            helds.pop()()

    resource = SharedResource.of(
        object, start=None if stops else hang, stop=hang if stops else None, own_thread=True, name="thing"
    )

    def give_up_and_press() -> None:
        assert held.reached.wait(WAIT)
        getattr(resource, verb)()
        press_ctrl_c()

    presser = threading.Thread(target=give_up_and_press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        resource.acquire().release()
    presser.join(WAIT)
    assert resource.acquire(timeout=WAIT).release()
    held.open.set()
    resource.wait_stopped(WAIT)


class Late(Exception):
    """What a signal handler raises."""


@pytest.mark.parametrize("stops", [False, True])
def test_an_interrupt_may_be_any_error(stops: bool) -> None:
    """It is not taken for the hook's own."""

    def raise_late(*_signal: object) -> None:
        raise Late

    helds = [Held()]
    held = helds[0]

    def hang(*_value: object) -> None:
        if helds:
            helds.pop()()

    resource = SharedResource.of(object, start=None if stops else hang, stop=hang if stops else None, own_thread=True)
    presser = threading.Thread(target=partial(press_when, held.reached.is_set))
    before = signal.signal(signal.SIGINT, raise_late)
    try:
        presser.start()
        with pytest.raises(Late):
            resource.acquire().release()
    finally:
        signal.signal(signal.SIGINT, before)
    presser.join(WAIT)
    assert resource.state is State.STOPPING
    held.open.set()
    resource.wait_stopped(WAIT)


def test_the_error_of_what_goes_on_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nobody else to get it."""
    held = Held()

    def stop(_value: object) -> None:
        held()
        raise OSError("too late")

    errors = unraisable_errors(monkeypatch)
    resource = SharedResource.of(object, stop=stop, own_thread=True)
    interrupted(resource.acquire().release, held)
    held.open.set()
    resource.wait_stopped(WAIT)
    until(lambda: errors, "the report")
    assert [str(error) for error in errors] == ["too late"]


def test_with_overlap_a_hook_that_goes_on_holds_up_nobody() -> None:
    """Nor does it get the stop of who has taken its start over."""
    helds = [Held()]
    held = helds[0]
    watched = Watched(start=lambda: helds.pop()() if helds else None)
    resource = SharedResource(watched.open, own_thread=True, overlap=True)

    def wait_for_it() -> None:
        assert held.reached.wait(WAIT)
        with resource():
            pass

    waiter = threading.Thread(target=wait_for_it)
    waiter.start()
    presser = threading.Thread(target=partial(press_when, lambda: waiting(resource) == 2))
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        resource.acquire()
    waiter.join(WAIT)
    presser.join(WAIT)
    assert (watched.starts, watched.stops) == (1, 1)
    held.open.set()
    until(lambda: watched.stops == 2, "the undoing")


@pytest.mark.parametrize("stops", [False, True])
def test_an_error_leaves_no_cycle(stops: bool) -> None:
    """Whoever caught it has all that is left of it, and the collector has nothing to do."""

    class Thing:
        pass

    def fail(_value: object) -> None:
        raise Late("no")

    resource = SharedResource.of(Thing, start=None if stops else fail, stop=fail if stops else None, own_thread=True)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Late, match="no") as caught:
            resource.acquire().release()
        gone = weakref.ref(caught.value)
        del caught
        until(lambda: gone() is None, "the end of the error")
    finally:
        gc.enable()
