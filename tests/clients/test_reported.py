"""Situations from public bug reports, each as its user would write it today."""

from __future__ import annotations

import contextvars
import gc
import sqlite3
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from refcount import (
    InstanceManager,
    Lease,
    SharedResource,
    State,
    StoppableThread,
    demand,
    refcounted_attribute,
    refcounted_resource,
)
from refcount.testing import ManualClock
from tests.helpers.watched import WAIT, until, waiting


def in_thread(work: Callable[[], object]) -> None:
    """Call `work` in another thread, and wait for it."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_closed_by_another_thread() -> None:
    """Handles that only the thread may close that has opened them: by the last consumer, and after a linger."""
    closed: list[str] = []

    @refcounted_resource(own_thread=True, linger=1.0)
    def database(name: str) -> Generator[sqlite3.Connection]:
        connection = sqlite3.connect(":memory:")
        yield connection
        connection.close()  # raises in any other thread
        closed.append(name)

    with ManualClock() as clock:
        lease = database("a").acquire()
        in_thread(lease.release)
        in_thread(lambda: clock.advance(1.0))
    assert closed == ["a"]


def test_several_retire_the_same_one() -> None:
    """Ten pages find one browser blocked: one replacement, and nobody throws the healthy one away."""
    started: list[int] = []

    @refcounted_resource
    def browser() -> Generator[int]:
        started.append(len(started) + 1)
        yield started[-1]

    pages = [browser().acquire() for _ in range(10)]
    fresh: list[Lease[int]] = []
    for page in pages:
        page.invalidate()
        fresh.append(browser().acquire())
    assert {lease.value for lease in fresh} == {2}
    assert [page.value for page in pages] == [1] * 10
    for lease in (*pages, *fresh):
        assert lease.release()
    assert started == [1, 2]


def test_an_exclusive_device_is_replaced_while_it_is_held() -> None:
    """The reconnect waits until who still has the old connection has left."""
    opened: list[str] = []

    @refcounted_resource(exclusive=True)
    def port(name: str) -> Generator[str]:
        if name in opened:
            raise PermissionError(f"{name} is in use")
        opened.append(name)
        yield name
        opened.remove(name)

    lease = port("ttyS0").acquire()
    lease.invalidate()
    others = [threading.Thread(target=lambda: port("ttyS0").acquire(WAIT).release()) for _ in range(3)]
    for other in others:
        other.start()
    until(lambda: waiting(port.resource("ttyS0")) == 3)
    assert lease.release()
    for other in others:
        other.join(WAIT)
    assert opened == []


class Limit:
    """What one solver run asks of the whole process."""

    def __init__(self, threads: int) -> None:
        self.threads = threads


class Settings(InstanceManager[Limit]):
    """Whoever stays keeps his limit; in the end it is as it was. The smallest one counts."""

    threads = 8

    def _follow(self, limits: tuple[Limit, ...]) -> None:
        Settings.threads = min((limit.threads for limit in limits), default=8)

    limited = demand(lambda limit: limit.threads > 0, changed=_follow)


def test_a_switch_of_the_whole_process_with_two_values() -> None:
    """They overlap and do not nest."""
    settings, first, second = Settings(), Limit(1), Limit(2)
    settings.add_instance(first)
    settings.add_instance(second)
    assert Settings.threads == 1
    settings.remove_instance(first)
    assert Settings.threads == 2
    settings.remove_instance(second)
    assert Settings.threads == 8


def test_each_consumer_has_wishes() -> None:
    """One poller serves all who are there, at the shortest interval; who came first may leave first."""

    class Entry:
        def __init__(self, route: str, interval: float) -> None:
            self.route = route
            self.interval = interval

    class Poller(InstanceManager[Entry]):
        routes: tuple[str, ...] = ()
        interval = 0.0

        def _follow(self, entries: tuple[Entry, ...]) -> None:
            self.routes = tuple(sorted(entry.route for entry in entries))
            self.interval = min((entry.interval for entry in entries), default=0.0)

        @refcounted_attribute
        def connection(self) -> Generator[str]:
            log.append("start")
            yield "agency"
            log.append("stop")

        wanted = demand(lambda entry: bool(entry.route), resource=connection, changed=_follow)

    log: list[str] = []
    poller, first, second = Poller(), Entry("bus 1", 60.0), Entry("bus 2", 10.0)
    poller.add_instance(first)
    poller.add_instance(second)
    assert (poller.routes, poller.interval) == (("bus 1", "bus 2"), 10.0)
    poller.remove_instance(first)
    assert (poller.routes, poller.interval, log) == (("bus 2",), 10.0, ["start"])
    poller.remove_instance(second)
    assert log == ["start", "stop"]


def test_a_stop_that_hangs_costs_no_slot() -> None:
    """Somebody declares it lost, and others go on; its late end disturbs nobody."""
    gates = [threading.Event()]
    gate = gates[0]

    @refcounted_resource(capacity=1)
    def page(url: str) -> Generator[str]:
        yield url
        if gates:
            assert gates.pop().wait(WAIT)

    lease = page("bad").acquire()
    closing = threading.Thread(target=lease.release)
    closing.start()
    hung = page.resource("bad")
    until(lambda: hung.state is State.STOPPING)
    with pytest.raises(TimeoutError):
        page("bad").acquire(timeout=0)
    hung.invalidate()
    with page("bad"):  # a fresh one of the same
        pass
    with page("good") as url:
        assert url == "good"
    gate.set()
    closing.join(WAIT)


def test_unloading_is_refused_while_in_use() -> None:
    """And the model stays listed until it is unloaded."""

    @refcounted_resource(linger=float("inf"))
    def model(name: str) -> Generator[str]:
        yield name

    def unload(name: str) -> str:
        if not any(resource.name == f"model('{name}')" for resource in model.resources()):
            return "not loaded"
        return "unloaded" if model.resource(name).flush() else "in use"

    answers = [unload("tiny")]
    with model("tiny"):
        answers.append(unload("tiny"))
    answers += [unload("tiny"), unload("tiny")]
    assert answers == ["not loaded", "in use", "unloaded", "not loaded"]


def test_nothing_half_started_is_left_behind() -> None:
    """A process that does not get ready is ended."""
    left: list[object] = []

    def wait_until_ready(_process: object) -> None:
        raise TimeoutError("not ready")

    def launch() -> object:
        left.append("process")
        return left

    process = SharedResource.of(launch, start=wait_until_ready, stop=lambda _process: left.pop())
    with pytest.raises(TimeoutError, match="not ready"):
        process.acquire()
    assert left == []


def test_a_memory_budget_over_keys_of_different_size() -> None:
    """What is in use stays; of the idle ones as few go as will do."""
    sizes = {"speech": 2, "small": 8, "large": 17, "next": 15}
    evicted: list[str] = []
    loaded: list[str] = []

    @refcounted_resource(capacity=27, weight=lambda name: sizes[name], linger=float("inf"))
    def model(name: str) -> Generator[str]:
        loaded.append(name)
        assert sum(sizes[each] for each in loaded) <= 27
        yield name
        loaded.remove(name)
        evicted.append(name)

    for name in ("speech", "small", "large", "next"):
        with model(name):
            pass
    assert evicted == ["large"]


def test_a_start_that_hangs() -> None:
    """Whoever comes does not wait for ever, and somebody can give it up."""
    gates = [threading.Event()]
    gate = gates[0]
    server = SharedResource.of(object, start=lambda _server: gates.pop().wait(WAIT) if gates else None)
    starter = threading.Thread(target=lambda: server.acquire().release())
    starter.start()
    until(lambda: not gates)
    with pytest.raises(TimeoutError):
        server.acquire(timeout=0)
    server.invalidate()
    assert server.acquire(timeout=WAIT).release()
    gate.set()
    starter.join(WAIT)


def test_a_dead_producer_is_not_handed_out() -> None:
    """Its newcomers get a living one."""

    class Station:
        @refcounted_attribute(check=StoppableThread.is_alive)
        def producer(self) -> Generator[StoppableThread]:
            thread = StoppableThread(lambda stopping: None if ended else stopping.wait() and None)
            thread.start()
            yield thread
            thread.stop()

    ended = [True]
    station = Station()
    with station.producer() as first:
        first.join(WAIT)
        ended.clear()
        with station.producer() as second:
            assert second is not first
            assert second.is_alive()


def test_a_context_variable_that_the_start_sets() -> None:
    """It is the resource's own: no consumer sees it, and the stop can reset it, whoever leaves last."""
    tracer = contextvars.ContextVar("tracer", default="none")
    seen: list[str] = []

    @contextmanager
    def tracing() -> Generator[None]:
        token = tracer.set("tracing")
        yield
        seen.append(tracer.get())
        tracer.reset(token)

    shared = SharedResource(tracing, own_thread=True)
    lease = shared.acquire()
    assert tracer.get() == "none"
    in_thread(lease.release)
    assert seen == ["tracing"]


def test_an_owner_that_is_garbage_while_in_use() -> None:
    """A temporary client is not closed under its user."""

    class Client:
        @refcounted_attribute
        def connection(self) -> Generator[list[str]]:
            state = ["open"]
            yield state
            state[:] = ["closed"]

    client = Client()
    gone = weakref.ref(client)
    with client.connection() as state:
        del client
        gc.collect()
        assert state == ["open"]
        assert gone() is not None
    gc.collect()
    assert state == ["closed"]
    assert gone() is None


def test_a_failing_second_user_of_a_shared_manager() -> None:
    """An instrument that does not open takes nothing from the one that did."""
    log: list[str] = []

    @refcounted_resource
    def bus() -> Generator[str]:
        log.append("bus up")
        yield "bus"
        log.append("bus down")

    @refcounted_resource
    def instrument(address: int) -> Generator[str]:
        with bus() as shared:
            if address < 0:
                raise ConnectionError("nobody there")
            yield f"{shared} {address}"

    with instrument(1) as first:
        with pytest.raises(ConnectionError):
            instrument(-1).acquire()
        assert first == "bus 1"
        assert log == ["bus up"]
    assert log == ["bus up", "bus down"]
