"""Interrupts: wherever one falls, the count is right, nothing stays alive, and the next consumer works."""

import contextlib
import functools
import gc
import math
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from refcount import ClosedError, SharedResource, State
from tests.helpers.interrupting import Every, Interruptions
from tests.helpers.programs import run_program
from tests.helpers.watched import WAIT, Thing, Watched, own_timers, until, waiting

PATIENCE = 5.0
"""Seconds for one step of one run in a sweep."""

MAY_LOSE = {"Lease.__exit__", "Lease.release", "SharedResource.acquire", "SharedResource.try_acquire"}
"""Where an interrupt may leave a lease to the garbage collector: as its exit begins, or as it is returned."""


@pytest.fixture(autouse=True)
def timers() -> Iterator[None]:
    """No linger of a thousand seconds keeps a thread longer than its test."""
    with own_timers():
        yield


# --- The sweep ------------------------------------------------------------------------------------------------------


class World:
    """One resource and what happens to it; made afresh for each interrupt.

    Attributes:
        linger: the resource's.
        overlap: the resource's.
        checked: Whether `check` is asked.
        held: How many leases others hold after the interrupted act.
        interrupted: The function that was interrupted.
    """

    linger: ClassVar[float] = 0.0
    overlap: ClassVar[bool] = False
    checked: ClassVar[bool] = False
    held = 0
    interrupted = ""

    def __init__(self) -> None:
        self.watched = Watched(self.start, self.stop)
        self.resource = self.make()
        self.arrange()

    def make(self) -> SharedResource[Thing]:
        """Return the resource."""
        return SharedResource(
            self.watched.open,
            name="thing",
            linger=self.linger,
            check=self.check if self.checked else None,
            overlap=self.overlap,
        )

    def start(self) -> None:
        """Called inside the start hook."""

    def stop(self, thing: Thing) -> None:
        """Called inside the stop hook."""

    def check(self, thing: Thing) -> bool:
        """Say whether a newcomer may have it."""
        return thing.alive

    def arrange(self) -> None:
        """Prepare, in peace."""

    def act(self) -> None:
        """Do what is interrupted."""
        with self.resource() as thing:
            assert thing.alive

    def leave(self) -> None:
        """Let the others go, in peace."""

    def examine(self) -> None:
        """Check what must hold after the interrupt, by looking and by using the resource."""
        if self.resource.usecount != self.held:
            gc.collect()
            until(lambda: self.resource.usecount == self.held, "giving back the lost lease", PATIENCE)
        self.leave()
        assert self.resource.usecount == 0
        if self.resource.state is not State.CLOSED:
            in_thread(self.use)
        in_thread(functools.partial(self.resource.close, PATIENCE))
        assert self.watched.starts == self.watched.stops
        assert self.resource.usecount == 0

    def use(self) -> None:
        """Be the next consumer."""
        with self.resource() as thing:
            assert thing.alive


def in_thread(work: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Call `work` in another thread, so that what this one has left behind shows, and raise what it raises."""
    Consumer(work).join(timeout)


class Consumer:
    """A thread that calls `work` and keeps its error."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error

    def join(self, timeout: float = PATIENCE) -> None:
        """Wait for its end and raise its error."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError("another thread is stuck")
        if self.error is not None:
            raise self.error


def sweep(make: type[World], step: int = 1) -> tuple[int, set[str]]:
    """Interrupt a world at each point in turn; return how many there were, and the functions where a lease was lost."""
    losses = set[str]()
    points = Interruptions(step=step)
    for interruption in points:
        world = make()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            interruption.run(world.act)
            world.interrupted = interruption.function
            try:
                world.examine()
            except BaseException as error:
                error.add_note(f"after {interruption}")
                raise
        if caught:
            assert {warning.category for warning in caught} == {ResourceWarning}, [str(w.message) for w in caught]
            losses.add(interruption.function)
    return points.points, losses


# --- Worlds ---------------------------------------------------------------------------------------------------------


class FirstConsumer(World):
    """Starts it and stops it."""


class HookedThing(Thing):
    """A thing with hooks of its own."""

    def __init__(self, watched: Watched) -> None:
        super().__init__(0)
        self._open = watched.open

    def start(self) -> None:
        """Start it."""
        self._manager = self._open()
        self._manager.__enter__()

    def stop(self) -> None:
        """Stop it."""
        self._manager.__exit__(None, None, None)


class Hooks(World):
    """Made of a factory and two hooks."""

    entered = False

    def act(self) -> None:
        """Do what is interrupted."""
        with self.resource() as thing:
            self.entered = True
            assert thing.alive

    def examine(self) -> None:
        """Check what must hold."""
        if self.watched.alive and not self.entered:
            # In the step in which the start hook returned: nobody can tell that from an error of the hook.
            assert self.interrupted == "made.<locals>.life"
            self.watched.starts -= 1
        super().examine()

    def make(self) -> SharedResource[HookedThing]:
        """Return the resource."""
        make = functools.partial(HookedThing, self.watched)
        return SharedResource.of(make, start=HookedThing.start, stop=HookedThing.stop, name="thing")


class SecondConsumer(World):
    """Enters and leaves by the counter alone."""

    held = 1

    def arrange(self) -> None:
        self.first = self.resource.acquire()

    def leave(self) -> None:
        self.first.release()


class Linger(World):
    """Leaves it lingering."""

    linger = 1000.0


class LingerForEver(World):
    linger = math.inf


class Reacquire(World):
    """Finds it lingering."""

    linger = 1000.0

    def arrange(self) -> None:
        with self.resource():
            pass


class Overlap(World):
    overlap = True


class GoodCheck(Reacquire):
    checked = True


class BadCheck(GoodCheck):
    def check(self, thing: Thing) -> bool:
        return False


class BadCheckOverlap(BadCheck):
    overlap = True


class FailingStart(World):
    """Its first start fails."""

    failed = False

    def start(self) -> None:
        if not self.failed:
            self.failed = True
            raise OSError("start")

    def act(self) -> None:
        with contextlib.suppress(OSError):
            super().act()

    def use(self) -> None:
        with contextlib.suppress(OSError):
            super().use()


class FailingStop(World):
    """Its first stop fails."""

    failed = False

    def stop(self, thing: Thing) -> None:
        if not self.failed:
            self.failed = True
            raise OSError("stop")

    def act(self) -> None:
        with contextlib.suppress(OSError):
            super().act()

    def use(self) -> None:
        with contextlib.suppress(OSError):
            super().use()


class InvalidateHeld(SecondConsumer):
    """The holder keeps the old one, a newcomer starts a fresh one."""

    def act(self) -> None:
        self.resource.invalidate()
        with self.resource() as thing:
            assert thing.alive
            assert thing is not self.first.value


class InvalidateLingering(Reacquire):
    def act(self) -> None:
        self.resource.invalidate()


class Flush(Reacquire):
    def act(self) -> None:
        self.resource.flush()


class Touch(Reacquire):
    def act(self) -> None:
        self.resource.touch()


class CloseIdle(World):
    def act(self) -> None:
        self.resource.close()


class CloseLingering(Reacquire):
    def act(self) -> None:
        self.resource.close()


class CloseUnderHolder(SecondConsumer):
    """`close(force=True)` stops under the holder, unless the interrupt came before it did anything."""

    def act(self) -> None:
        self.resource.close(force=True)


class Acquire(World):
    def act(self) -> None:
        lease = self.resource.acquire(timeout=PATIENCE)
        lease.release()


class TryAcquire(Reacquire):
    def act(self) -> None:
        lease = self.resource.try_acquire()
        assert lease is not None
        lease.release()


class Observe(World):
    """Observed: the observer has seen each change once, in order, but for the one that it was interrupted in."""

    def act(self) -> None:
        self.seen: list[int] = []
        end = self.resource.observe(self.seen.append)
        with self.resource():
            pass
        end()

    def examine(self) -> None:
        super().examine()
        told = [1, 0] * 3
        allowed = [told[:number] for number in range(5)]
        if self.interrupted in {"Observers._call", "Driver.observe.<locals>.observer"}:  # as if in the observer itself
            allowed += [seen[:gap] + seen[gap + 1 :] for seen in allowed for gap in range(len(seen))]
        assert self.seen in allowed


class StartShared(World):
    """Another thread waits for the start that is interrupted: it shares it or takes it over."""

    held = 1

    def arrange(self) -> None:
        self.starter = threading.get_ident()
        self.come, self.inside, self.go = threading.Event(), threading.Event(), threading.Event()
        self.other = Consumer(self.consume)

    def start(self) -> None:
        if threading.get_ident() == self.starter:
            self.come.set()
            until(lambda: waiting(self.resource) >= 2, "the second consumer", PATIENCE)

    def consume(self) -> None:
        assert self.come.wait(PATIENCE)
        with self.resource() as thing:
            assert thing.alive
            self.inside.set()
            assert self.go.wait(PATIENCE)
            assert thing.alive

    def act(self) -> None:
        try:
            super().act()
        finally:
            self.come.set()

    def leave(self) -> None:
        self.go.set()
        self.other.join()

    def examine(self) -> None:
        assert self.inside.wait(PATIENCE), "the waiter neither shares the start nor takes it over"
        super().examine()


class FailingStartShared(StartShared):
    """The start that two share fails, if it is not interrupted before that."""

    failed = False

    def start(self) -> None:
        super().start()
        if not self.failed:
            self.failed = True
            raise OSError("start")

    def consume(self) -> None:
        try:
            super().consume()
        except OSError:
            super().consume()

    def act(self) -> None:
        with contextlib.suppress(OSError):
            super().act()


class CloseSharedStart(StartShared):
    """Closed by force while two wait for the start: both are refused, or the second when it comes."""

    def start(self) -> None:
        super().start()
        in_thread(functools.partial(self.force, 0.0))

    def force(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            self.resource.close(timeout, force=True)

    def consume(self) -> None:
        with contextlib.suppress(ClosedError):
            super().consume()

    def act(self) -> None:
        with contextlib.suppress(ClosedError):
            super().act()

    def examine(self) -> None:
        self.go.set()
        self.other.join()
        self.held = 0
        World.examine(self)


class WaitForStart(World):
    """The interrupted one waits for another thread's start."""

    held = 1

    def arrange(self) -> None:
        self.over, self.starting, self.go = threading.Event(), threading.Event(), threading.Event()
        self.other = Consumer(self.consume)
        assert self.starting.wait(PATIENCE)

    def start(self) -> None:
        if not self.starting.is_set():
            self.starting.set()
            until(lambda: waiting(self.resource) >= 2 or self.over.is_set(), "the second consumer", PATIENCE)

    def consume(self) -> None:
        with self.resource() as thing:
            assert thing.alive
            assert self.go.wait(PATIENCE)
            assert thing.alive

    def act(self) -> None:
        try:
            super().act()
        finally:
            self.over.set()

    def examine(self) -> None:
        until(lambda: self.resource.state is State.RUNNING, "the start of the other thread", PATIENCE)
        super().examine()

    def leave(self) -> None:
        self.go.set()
        self.other.join()


class WaitForStop(World):
    """The interrupted one waits for another thread's stop, and then starts it again."""

    def arrange(self) -> None:
        self.over, self.stopping = threading.Event(), threading.Event()
        self.other = Consumer(self.use)
        assert self.stopping.wait(PATIENCE)

    def stop(self, thing: Thing) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
            until(lambda: waiting(self.resource) or self.over.is_set(), "a newcomer", PATIENCE)

    def act(self) -> None:
        try:
            super().act()
        finally:
            self.over.set()

    def leave(self) -> None:
        self.other.join()


class OverlapStop(WaitForStop):
    """The interrupted one starts anew while another thread stops the old one."""

    overlap = True

    def stop(self, thing: Thing) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
            assert self.over.wait(PATIENCE)


WORLDS: list[type[World]] = [
    FirstConsumer,
    Hooks,
    SecondConsumer,
    Linger,
    LingerForEver,
    Reacquire,
    Overlap,
    GoodCheck,
    BadCheck,
    BadCheckOverlap,
    FailingStart,
    FailingStop,
    InvalidateHeld,
    InvalidateLingering,
    Flush,
    Touch,
    CloseIdle,
    CloseLingering,
    CloseUnderHolder,
    Acquire,
    TryAcquire,
    Observe,
    StartShared,
    FailingStartShared,
    CloseSharedStart,
    WaitForStart,
    WaitForStop,
    OverlapStop,
]


@pytest.mark.parametrize("world", WORLDS)
def test_interrupted_anywhere(
    world: type[World], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], every: Every
) -> None:
    """R5 for threads: an interrupt at each point in turn leaves the count right and nothing alive or stuck."""
    unraisable: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    number, losses = sweep(world, every(3))
    assert number >= 5, "the sweep interrupted hardly anything"
    assert losses <= MAY_LOSE
    reported = {str(one.exc_value) for one in unraisable if not isinstance(one.exc_value, KeyboardInterrupt)}
    assert reported <= ({"stop"} if world is FailingStop else set()), reported
    with capsys.disabled():
        print(f" {number} points", end="")


class LeakyEnter(World):
    """Counts before it arranges the undo, as libraries did that this one learnt from."""

    def __init__(self) -> None:
        super().__init__()
        self.lease = self.resource()

    def act(self) -> None:
        self.lease.__enter__()
        self.lease.__exit__(None, None, None)


def test_the_sweep_finds_a_leak() -> None:
    """A lease that is entered by hand and kept is found held when the interrupt falls between entry and exit."""
    with pytest.raises(TimeoutError, match="lost lease") as caught:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.modules[__name__], "PATIENCE", 0.1)
            sweep(LeakyEnter)
    assert "Lease.__exit__" in caught.value.__notes__[0]


# --- Real signals ---------------------------------------------------------------------------------------------------


def check_usable(resource: SharedResource[Thing], watched: Watched) -> None:
    """Nobody holds it, nothing is alive, and another thread can use it."""
    assert resource.usecount == 0
    assert watched.alive == 0

    def use() -> None:
        with resource() as thing:
            assert thing.alive

    in_thread(use)
    assert watched.alive == 0


def test_ctrl_c_inside_the_start_hook() -> None:
    """A real interrupt in the middle of a start: the error is the starter's, and the next consumer starts it."""
    interrupts = iter([signal.SIGINT])

    def start() -> None:
        for number in interrupts:
            signal.raise_signal(number)

    watched = Watched(start)
    resource = SharedResource(watched.open)
    with pytest.raises(KeyboardInterrupt):
        with resource():
            pytest.fail("entered")
    assert watched.starts == 0
    assert resource.state is State.IDLE
    check_usable(resource, watched)


@pytest.mark.parametrize("linger", [0.0, math.inf])
def test_ctrl_c_inside_the_stop_hook(linger: float) -> None:
    """A real interrupt in the middle of a stop: it counts as stopped, and the next consumer starts it anew."""
    interrupts = iter([signal.SIGINT])

    def stop(_thing: Thing) -> None:
        for number in interrupts:
            signal.raise_signal(number)

    watched = Watched(stop=stop)
    resource = SharedResource(watched.open, linger=linger)
    with pytest.raises(KeyboardInterrupt):
        with resource():
            pass
        resource.flush()
    assert resource.state is State.IDLE
    in_thread(resource.wait_stopped)
    with resource() as thing:
        assert thing.number == 2
    resource.flush()
    assert (watched.starts, watched.stops) == (2, 2)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to a thread")
def test_ctrl_c_while_waiting_for_another_start() -> None:
    """A real interrupt of a waiter disturbs neither the starter nor its start."""
    main = threading.get_ident()
    starting, interrupted = threading.Event(), threading.Event()

    def start() -> None:
        if not starting.is_set():
            starting.set()
            until(lambda: waiting(resource) == 2)
            signal.pthread_kill(main, signal.SIGINT)
            assert interrupted.wait(WAIT)

    watched = Watched(start)
    resource = SharedResource(watched.open)

    def consume() -> None:
        with resource() as thing:
            assert thing.alive

    other = Consumer(consume)
    assert starting.wait(WAIT)
    with pytest.raises(KeyboardInterrupt):
        with resource():
            pytest.fail("entered")
    assert resource.usecount == 0
    interrupted.set()
    other.join()
    assert watched.starts == 1
    check_usable(resource, watched)


def test_ctrl_c_in_the_body() -> None:
    """An interrupt of the with-body passes through, and the lease is given back."""
    watched = Watched()
    resource = SharedResource(watched.open)
    with pytest.raises(KeyboardInterrupt):
        with resource():
            signal.raise_signal(signal.SIGINT)
    check_usable(resource, watched)


RANDOM_SIGNALS = """
import contextlib, gc, random, signal, sys, threading, time, warnings
from refcount import SharedResource

warnings.simplefilter("ignore")  # a lease may be lost between its with-statement and its first line
dice = random.Random(int(sys.argv[1]))
alive, started, armed = set(), 0, False

def ring(number, frame):
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt

@contextlib.contextmanager
def opener():  # interrupts fall into it as well, so it is written to bear them
    global started
    thing = object()
    try:
        alive.add(thing)
        started += 1
        yield thing
    finally:
        alive.discard(thing)

resources = [SharedResource(opener, linger=linger, overlap=over) for linger in (0, 0.0005) for over in (False, True)]
resources.append(SharedResource.of(list))
over = threading.Event()

def consume():
    while not over.is_set():
        for resource in resources:
            with resource():
                pass

threads = [threading.Thread(target=consume) for _ in range(int(sys.argv[3]))]
for thread in threads:
    thread.start()
sys.setswitchinterval(1e-5)
signal.signal(signal.SIGALRM, ring)
end, interrupts, holds = time.monotonic() + float(sys.argv[2]), 0, 0

def use():  # a function of its own: CPython 3.13 lets an interrupt at the end of a loop out of a `try` around it
    global armed, holds
    armed = True
    signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.00005, 0.003))
    while armed:
        for resource in resources:
            with resource() as thing:
                assert thing == [] or thing in alive
            holds += 1
            resource.acquire().release()
        resources[dice.randrange(4)].invalidate()

while time.monotonic() < end:
    try:
        use()
    except KeyboardInterrupt:
        interrupts += 1
    armed = False
over.set()
for thread in threads:
    thread.join()
deadline = time.monotonic() + 10
while any(resource.usecount or resource.state.value != "idle" for resource in resources) or alive:
    gc.collect()
    if time.monotonic() > deadline:
        sys.exit(f"left over: {resources}, alive {alive}")
    time.sleep(0.01)
for resource in resources:
    with resource() as thing:
        assert thing == [] or thing in alive
    resource.close(timeout=5)
assert not alive, alive
assert interrupts > 50, interrupts
print("right", interrupts, holds)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
@pytest.mark.parametrize("others", [0, 2])
def test_random_signals(others: int, every: Every) -> None:
    """Hundreds of signals that come when they like, alone and among other threads, leave the counts right."""
    ended = run_program(RANDOM_SIGNALS, str(others + 7), str(2 / every(3)), str(others), timeout=40)
    assert ended.returncode == 0, ended
    assert ended.stdout.startswith("right"), ended
