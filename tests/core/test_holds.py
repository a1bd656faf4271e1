"""What a resource and a lease can be asked for: holds without a lease, validity, `invalidate` and `abandon`."""

import gc
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from refcount import (
    ClosedError,
    Lease,
    ReentrantError,
    RefcountError,
    ReleasedError,
    SharedResource,
    State,
    UnderflowException,
    refcounted_method,
    refcounted_resource,
)
from tests.helpers.interrupting import Every, Interruptions
from tests.helpers.shaking import run_threads
from tests.helpers.watched import WAIT, Watched, own_timers, until, waiting


@pytest.fixture(autouse=True)
def timers() -> Iterator[None]:
    """No timer outlives its test."""
    with own_timers():
        yield


# --- Holds without a lease ------------------------------------------------------------------------------------------


def test_inc_and_dec_hold_like_leases() -> None:
    """The first starts it, the last stops it, and leases are counted with them."""
    watched = Watched()
    resource = SharedResource(watched.open)
    resource.inc()
    resource.inc(timeout=1.0)
    with resource():
        assert resource.usecount == 3
    resource.dec()
    assert watched.alive == 1
    resource.dec()
    assert watched.alive == 0


def test_a_dec_too_many() -> None:
    """It takes no lease of others, and names the resource."""
    resource = SharedResource.of(object, name="profiler")
    with resource(), pytest.raises(UnderflowException, match=r"profiler has no anonymous hold"):
        resource.dec()
    resource.inc()
    resource.dec()
    with pytest.raises(UnderflowException, match=r"each dec\(\) needs an inc\(\)"):
        resource.dec()


def test_dec_gives_back_the_oldest() -> None:
    """So the generation that was replaced ends first."""
    watched = Watched()
    resource = SharedResource(watched.open)
    resource.inc()
    resource.invalidate()
    resource.inc()
    assert watched.alive == 2
    resource.dec()
    assert (watched.alive, resource.usecount, resource.generation) == (1, 1, 2)
    resource.dec()
    assert watched.alive == 0


def test_an_inc_that_fails_holds_nothing() -> None:
    """Its error is that of `acquire`."""
    resource = SharedResource.of(object)
    resource.close()
    with pytest.raises(ClosedError):
        resource.inc()
    with pytest.raises(ValueError, match="timeout must be 0 seconds or more, not -1"):
        resource.inc(-1)
    with pytest.raises(UnderflowException):
        resource.dec()


def test_a_dec_raises_what_the_stop_raises() -> None:
    """And has given the hold back."""

    @contextmanager
    def opener() -> Generator[None]:
        yield
        raise OSError("no")

    resource = SharedResource(opener)
    resource.inc()
    with pytest.raises(OSError, match="no"):
        resource.dec()
    assert resource.usecount == 0


def test_a_hold_keeps_the_resource() -> None:
    """Where two calls ask a function or a method for it, they mean the same."""

    @refcounted_resource
    def camera(index: int) -> Generator[int]:
        log.append(f"+{index}")
        yield index
        log.append(f"-{index}")

    class Station:
        @refcounted_method
        def feed(self) -> Generator[str]:
            log.append("+feed")
            yield "feed"
            log.append("-feed")

    log: list[str] = []
    station = Station()
    camera.resource(0).inc()
    station.feed.resource().inc()
    gc.collect()
    camera.resource(0).dec()
    station.feed.resource().dec()
    assert log == ["+0", "+feed", "-0", "-feed"]


def test_many_threads_come_and_go() -> None:
    """Each hold is given back once."""
    watched = Watched()
    resource = SharedResource(watched.open)

    def visit() -> None:
        for _ in range(100):
            resource.inc()
            resource.dec()

    run_threads(*[visit] * 8)
    assert resource.usecount == watched.alive == 0
    assert watched.most == 1


@pytest.mark.parametrize("verb", ["inc", "dec"])
def test_wherever_an_interrupt_comes(verb: str, every: Every) -> None:
    """The count is right in the end; what was interrupted has held, or given back, one or none."""
    for interruption in Interruptions(step=every(1)):
        watched = Watched()
        resource = SharedResource(watched.open)
        resource.inc()
        interruption.run(resource.inc if verb == "inc" else resource.dec)
        gc.collect()
        while resource.usecount:
            before = resource.usecount
            resource.dec()
            assert resource.usecount == before - 1
        with pytest.raises(UnderflowException):
            resource.dec()
        assert watched.alive == 0, interruption


# --- A lease --------------------------------------------------------------------------------------------------------


def test_a_lease_is_acquired_like_a_lock() -> None:
    """It returns itself, and may be entered once afterwards."""
    watched = Watched()
    resource = SharedResource(watched.open)
    lease = resource().acquire(timeout=1)
    assert lease.held
    with pytest.raises(RefcountError, match="was acquired before"):
        lease.acquire()
    with lease as thing:
        assert thing is lease.value
    for again in (lease.acquire, lease.__enter__):
        with pytest.raises(RefcountError, match="was entered before"):
            again()
    assert (watched.starts, watched.stops) == (1, 1)


def test_an_acquire_that_fails_may_be_tried_again() -> None:
    """As with a lock that was not to be had in time."""
    gate = threading.Event()
    resource = SharedResource.of(object, start=lambda _value: gate.wait(WAIT))
    first = threading.Thread(target=lambda: resource.acquire().release())
    first.start()
    until(lambda: waiting(resource) == 1)
    lease = resource()
    with pytest.raises(TimeoutError):
        lease.acquire(timeout=0)
    gate.set()
    first.join(WAIT)
    assert lease.acquire().held
    assert lease.release()


def use(lease: Lease[object]) -> bool:
    """Enter a lease, and return whether that was refused."""
    try:
        lease.__enter__()
    except RefcountError:
        return True
    return False


def test_two_threads_cannot_use_one_lease() -> None:
    """One of them gets an error, whichever it is."""
    resource = SharedResource.of(object)
    for _ in range(50):
        with resource():
            lease = resource()
            errors = run_threads(*[partial(use, lease)] * 2)
            assert errors.count(True) == 1
            assert lease.release()
    assert resource.usecount == 0


def test_valid_says_what_newcomers_get() -> None:
    """Not before it is held, nor after that, nor when the resource has gone on or is closed."""
    resource = SharedResource.of(object)
    lease = resource()
    seen = [lease.valid]
    with lease:
        seen.append(lease.valid)
        resource.invalidate()
        seen.append(lease.valid)
    seen.append(lease.valid)
    closing = resource.acquire()
    seen.append(closing.valid)
    resource.close(force=True)
    seen.append(closing.valid)
    assert closing.release()
    assert seen == [False, True, False, False, True, False]


def test_ten_holders_who_find_it_broken_cost_one_restart() -> None:
    """The order concerns the generation that the lease holds."""
    watched = Watched()
    resource = SharedResource(watched.open)
    leases = [resource.acquire() for _ in range(10)]
    leases[0].invalidate()
    keeper = resource.acquire()
    for lease in leases:
        lease.invalidate()
        with resource() as value:
            assert value is keeper.value
    assert keeper.valid
    assert watched.starts == 2
    for lease in (*leases, keeper):
        assert lease.release()
    assert watched.alive == 0


@pytest.mark.parametrize("released", [False, True])
def test_what_is_not_held_cannot_be_invalidated(released: bool) -> None:
    """Nor is anything else, whoever holds it."""
    resource = SharedResource.of(object, name="thing")
    keeper = resource.acquire()
    lease = resource()
    if released:
        lease.acquire().release()
    with pytest.raises(ReleasedError, match=r"<Lease of thing, not held> has nothing to invalidate"):
        lease.invalidate()
    assert keeper.valid
    assert keeper.release()


def test_an_exclusive_one_waits_for_the_old_holders() -> None:
    """One of whom has found it broken."""
    watched = Watched()
    resource = SharedResource(watched.open, exclusive=True)
    lease = resource.acquire()
    lease.invalidate()
    with pytest.raises(TimeoutError):
        resource.acquire(timeout=0)
    newcomer = threading.Thread(target=lambda: resource.acquire(WAIT).release())
    newcomer.start()
    until(lambda: waiting(resource) == 1)
    assert lease.release()
    newcomer.join(WAIT)
    assert (watched.starts, watched.stops, watched.most) == (2, 2, 1)


# --- What is abandoned ----------------------------------------------------------------------------------------------


def test_what_is_abandoned_is_not_stopped() -> None:
    """Not by its holders, not by the collector; and the next one starts anew."""
    log: list[str] = []

    @contextmanager
    def opener() -> Generator[int]:
        log.append("start")
        try:
            yield len(log)
        finally:
            log.append("stop")

    resource = SharedResource(opener, name="lock")
    lease, lingering = resource.acquire(), SharedResource(opener, linger=100.0)
    with lingering():
        pass
    resource.abandon()
    lingering.abandon()
    assert not lease.held
    assert not lease.valid
    assert not lease.release()
    with pytest.raises(ReleasedError):
        _ = lease.value
    assert resource.state is lingering.state is State.IDLE
    assert resource.usecount == 0
    del lease
    gc.collect()
    assert log == ["start", "start"]
    with resource() as value:
        assert value == 3
    assert log == ["start", "start", "start", "stop"]
    resource.abandon()  # nothing is there: harmless


def test_holds_without_a_lease_are_given_back_all_the_same() -> None:
    """A `dec` for what was abandoned takes nothing of who came later."""
    watched = Watched()
    resource = SharedResource(watched.open)
    resource.inc()
    resource.abandon()
    resource.inc()
    resource.dec()
    assert resource.usecount == 1
    resource.dec()
    assert resource.usecount == 0
    assert (watched.starts, watched.stops) == (2, 1)


def test_observers_hear_of_it() -> None:
    """At once, and not when the leases are dropped."""
    resource = SharedResource.of(object)
    seen: list[int] = []
    end = resource.observe(seen.append)
    first, second = resource.acquire(), resource.acquire()
    resource.abandon()
    assert seen == [1, 2, 0]
    assert not first.release()
    assert not second.release()
    end()
    assert seen == [1, 2, 0]


def test_who_waits_for_a_start_that_is_abandoned_starts_anew() -> None:
    """The start in flight comes up late, and is left as it is."""
    gates = [threading.Event()]
    first = gates[0]

    def start(_value: object) -> None:
        if gates:
            assert gates.pop().wait(WAIT)

    stopped: list[object] = []
    resource = SharedResource.of(object, start=start, stop=stopped.append)
    leases: list[Lease[object]] = []
    starter = threading.Thread(target=lambda: leases.append(resource.acquire()))
    starter.start()
    until(lambda: not gates and waiting(resource) == 1)
    resource.abandon()
    with resource():
        assert resource.generation == 2
        first.set()
        starter.join(WAIT)
        assert resource.usecount == 2
    assert leases[0].value is not None
    assert not stopped
    assert leases[0].release()
    assert len(stopped) == 1


def test_abandoning_a_stop_that_hangs_frees_its_slot() -> None:
    """Of a bounded family; its late end disturbs nobody."""
    gate = threading.Event()

    @refcounted_resource(capacity=1)
    def tab(index: int) -> Generator[int]:
        yield index
        if not index:
            assert gate.wait(WAIT)

    lease = tab.resource(0).acquire()
    hung = tab.resource(0)
    stopping = threading.Thread(target=lease.release)
    stopping.start()
    until(lambda: hung.state is State.STOPPING)
    hung.abandon()
    with tab(1) as value:
        assert value == 1
    gate.set()
    stopping.join(WAIT)


def visit(resource: SharedResource[int]) -> None:
    """Hold it for a moment."""
    with resource():
        pass


def test_abandoning_who_waits_in_line_frees_his_place() -> None:
    """He comes again, at the end of the line, and nothing is started for the one that was abandoned."""
    log: list[str] = []

    @refcounted_resource(capacity=1)
    def tab(index: int) -> Generator[int]:
        log.append(f"+{index}")
        yield index
        log.append(f"-{index}")

    first = tab.resource(0).acquire()
    second = tab.resource(1)
    waiter = threading.Thread(target=lambda: second.acquire().release())
    waiter.start()
    until(lambda: waiting(second) == 1)
    second.abandon()
    assert first.release()
    waiter.join(WAIT)
    with tab.resource(2).acquire(timeout=WAIT):
        pass
    assert log == ["+0", "-0", "+1", "-1", "+2", "-2"]


def test_abandoning_who_gives_up_waiting_in_line() -> None:
    """His place goes with him."""

    @refcounted_resource(capacity=1)
    def tab(index: int) -> Generator[int]:
        yield index

    first = tab.resource(0).acquire()
    second = tab.resource(1)
    gave_up: list[Exception] = []

    def wait() -> None:
        try:
            second.acquire(timeout=0.05)
        except TimeoutError as error:
            gave_up.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    until(lambda: waiting(second) == 1)
    second.abandon()
    waiter.join(WAIT)
    assert gave_up
    assert first.release()
    with tab.resource(2).acquire(timeout=WAIT):
        pass


@pytest.mark.parametrize("lingers", [False, True])
def test_an_interrupted_abandon_loses_no_slot(lingers: bool, every: Every) -> None:
    """When it is said again, if it was cut short before it did anything."""
    for interruption in Interruptions(step=every(1)):

        @refcounted_resource(capacity=1, linger=100.0 if lingers else 0.0)
        def tab(index: int) -> Generator[int]:
            yield index

        resource = tab.resource(0)
        lease = resource.acquire()
        if lingers:
            lease.release()
        interruption.run(resource.abandon)
        resource.abandon()
        assert tab.resource(1).acquire(timeout=WAIT).release(), interruption
        assert not lease.release()


@pytest.mark.parametrize("stops", [False, True])
def test_an_interrupted_invalidate_gives_up_the_slot_of_what_hangs(stops: bool, every: Every) -> None:
    """The same, of a start and a stop."""
    for interruption in Interruptions(step=every(3)):
        gate, reached = threading.Event(), threading.Event()

        @refcounted_resource(capacity=1)
        def tab(index: int, gate: threading.Event = gate, reached: threading.Event = reached) -> Generator[int]:
            if not index and not stops:
                reached.set()
                assert gate.wait(WAIT)
            yield index
            if not index and stops:
                reached.set()
                assert gate.wait(WAIT)

        resource = tab.resource(0)
        user = threading.Thread(target=partial(visit, resource))
        user.start()
        assert reached.wait(WAIT)
        interruption.run(resource.invalidate)
        resource.invalidate()
        assert tab.resource(1).acquire(timeout=WAIT).release(), interruption
        gate.set()
        user.join(WAIT)


def test_what_is_left_of_a_with_block_when_it_is_abandoned() -> None:
    """Its thread waits for others like anybody else."""

    @refcounted_resource(capacity=1)
    def tab(index: int) -> Generator[int]:
        yield index

    with tab(0):
        tab.resource(0).abandon()
        other = tab.resource(0).acquire()
        release = threading.Timer(0, other.release)
        release.start()
        with tab(1) as value:
            assert value == 1
        release.join(WAIT)


def test_a_refused_entry_changes_nothing() -> None:
    """Of who is inside the with-block, and would wait for himself."""

    @refcounted_resource(capacity=1)
    def tab(index: int) -> Generator[int]:
        yield index

    lease = tab(0)
    with lease:
        with pytest.raises(RefcountError, match="was entered before"):
            lease.__enter__()
        with pytest.raises(ReentrantError, match=r"tab\(1\) inside a with-block of tab\(0\)"):
            tab.resource(1).acquire()


def test_who_holds_what_is_exclusive_does_not_wait_for_himself() -> None:
    """For the generation after his own; with a timeout the error says for whom he has waited."""
    port = SharedResource.of(object, exclusive=True, name="port")
    with port():
        port.invalidate()
        with pytest.raises(ReentrantError, match="acquire of port inside a with-block on its generation before"):
            port.acquire()
        with pytest.raises(TimeoutError, match="the generation of port before was still held"):
            port.acquire(timeout=0)
    with port():
        assert port.generation == 2
