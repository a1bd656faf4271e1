"""`refcounted_attribute` for tasks: the same bodies on every event loop."""

from __future__ import annotations

import copy
import functools
import gc
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, cast

import pytest

from refcount import AsyncSharedResource, ClosedError, SharedResource, refcounted_attribute
from tests.helpers.loops import Job, Run, checkpoint, error_of, run, settled, until

__all__ = ["run"]

untyped = cast("Callable[..., Any]", refcounted_attribute)
"""For what the type checkers refuse and the run time has to refuse as well."""


class Client:
    """What asynchronous hooks start and stop."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.lines: list[str] = []

    async def open(self) -> None:
        """Begin."""
        await checkpoint()
        self.lines.append("open")

    async def aclose(self) -> None:
        """End."""
        await checkpoint()
        self.lines.append("close")

    def close(self) -> None:
        """End at once."""
        self.lines.append("close")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...


async def connect() -> Client:
    """Make one."""
    await checkpoint()
    return Client(1)


class Owner:
    """Has attributes of all kinds."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.lease: object = None

    @refcounted_attribute
    async def session(self) -> AsyncGenerator[Self]:
        """See the instance."""
        await checkpoint()
        self.lines.append("start")
        yield self
        await checkpoint()
        self.lines.append("stop")

    @refcounted_attribute(per_loop=True, name=lambda owner: f"own of {len(owner.lines)}")
    async def own(self) -> AsyncGenerator[Self]:
        """Be each event loop's own."""
        self.lines.append("start")
        yield self
        self.lines.append("stop")

    client = refcounted_attribute(Client, start=Client.open, stop=Client.aclose)
    started = refcounted_attribute(Client, start=Client.open, stop=Client.close)
    stopped = refcounted_attribute(functools.partial(Client, 3), stop=Client.aclose, per_loop=True)
    connected = refcounted_attribute(connect, stop=Client.close)

    async def make(self) -> Client:
        """Know the instance."""
        self.lines.append("make")
        return Client(len(self.lines))

    async def unmake(self, client: Client) -> None:
        """Know both."""
        self.lines.append(f"unmake {client.port}")

    made = refcounted_attribute(make, stop=unmake)


ATTRIBUTES = ("session", "own", "client", "started", "stopped", "connected", "made")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_each_instance_has_its_own(run: Run, name: str) -> None:
    """All that is asynchronous gives an `AsyncSharedResource`, which is started once for all of an instance."""
    one, other = Owner(), Owner()
    resource = getattr(one, name)
    assert isinstance(resource, AsyncSharedResource)
    assert getattr(one, name) is resource

    async def body() -> None:
        async with getattr(one, name)() as first, getattr(one, name)() as second, getattr(other, name)() as another:
            assert first is second is not another

    for _ in range(2):
        run(body, cycles=name in ("own", "stopped"))  # a loop, and what it owns, have each other


def test_hooks_run(run: Run) -> None:
    """Whichever of them is asynchronous."""
    owner = Owner()

    async def body() -> None:
        for attribute, lines in ((owner.client, ["open", "close"]), (owner.started, ["open", "close"])):
            async with attribute() as client:
                assert client.lines == ["open"]
            assert client.lines == lines
        async with owner.stopped() as stopped, owner.connected() as connected:
            assert (stopped.port, connected.port) == (3, 1)
        assert stopped.lines == connected.lines == ["close"]
        async with owner.made() as made:
            assert made.port == 1
        assert owner.lines == ["make", "unmake 1"]

    run(body)


def test_concurrent_tasks_share_one_start(run: Run) -> None:
    """As with any resource."""
    owner = Owner()

    async def consumer() -> None:
        async with owner.session() as session:
            assert session is owner
            await settled()

    async def body() -> None:
        for job in [Job(consumer) for _ in range(5)]:
            await job.result()
        assert owner.lines == ["start", "stop"]

    run(body)


def test_an_instance_that_nobody_else_has(run: Run) -> None:
    """The lease keeps it, before it is entered and while it is held."""

    async def body() -> None:
        async with Owner().session() as session:
            gc.collect()
            assert session.lines == ["start"]
        assert session.lines == ["start", "stop"]

    run(body)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_nothing_keeps_an_idle_instance(run: Run, name: str) -> None:
    """Not even in a loop that has used it."""

    async def body() -> None:
        owner = Owner()
        weak = weakref.ref(owner)
        async with getattr(owner, name)():
            pass
        del owner
        await until(lambda: gc.collect() < 0 or weak() is None, "the instance to be gone")

    run(body, cycles=True)


def test_per_loop_shares_within_a_loop(run: Run) -> None:
    """Though nobody keeps the attribute's resource in between."""
    owner = Owner()
    assert owner.own.name == "own of 0"

    async def body() -> None:
        first = await owner.own().acquire()
        gc.collect()
        second = await owner.own().acquire()
        assert first.value is second.value is owner
        assert owner.lines == ["start"]
        await first.release()
        gc.collect()
        assert owner.lines == ["start"]
        await second.release()
        assert owner.lines == ["start", "stop"]

    run(body, cycles=True)


@pytest.mark.parametrize("name", ["session", "client"])
def test_what_was_closed_stays_closed(run: Run, name: str) -> None:
    """Of this instance; whatever comes in its place is closed as well."""
    owner = Owner()

    async def body() -> None:
        await getattr(owner, name).close()
        gc.collect()
        assert isinstance(await error_of(getattr(owner, name).acquire()), ClosedError)
        async with getattr(Owner(), name)():
            pass

    run(body)


def test_per_loop_is_closed_for_all(run: Run) -> None:
    """Whoever holds it here is waited for."""
    owner = Owner()

    async def body() -> None:
        lease = await owner.own().acquire()
        closing = Job(owner.own.close)
        await settled()
        assert not closing.over
        await lease.release()
        await closing.result()
        assert isinstance(await error_of(owner.own.acquire()), ClosedError)

    run(body, cycles=True)


def test_a_lease_that_the_instance_keeps_is_found_at_the_end_of_the_loop(run: Run) -> None:
    """As with methods."""
    lines: list[list[str]] = []

    async def body() -> None:
        owner = Owner()
        lines.append(owner.lines)
        owner.lease = await owner.session().acquire()

    with pytest.warns(ResourceWarning, match=r"Owner\.session is still held at the end of its event loop, by 1 lease"):
        run(body, up=True, cycles=True)
    assert lines == [["start", "stop"]]


def test_it_tells_the_truth_about_itself() -> None:
    """On the class it is the descriptor, and a copy has its own."""
    assert repr(Owner.session) == "<refcounted_attribute Owner.session of Owner.session>"
    assert Owner.session.__doc__ == "See the instance."
    assert repr(Owner().client) == "<AsyncSharedResource Owner.client, idle, usecount=0>"
    owner = Owner()
    assert copy.copy(owner).client is not owner.client


async def generator(self: object) -> AsyncGenerator[int]:
    """Be a method."""
    yield 3


async def check(value: object) -> bool:
    """Be awaited."""
    return True


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (asynccontextmanager(generator), {}, "takes the place of @asynccontextmanager, so leave that out"),
    (generator, {"stop": Client.aclose}, "start and stop go with a factory, and `generator` is a generator function"),
    (generator, {"own_thread": True}, "own_thread has no effect on `generator`, which is asynchronous"),
    (Client, {"stop": Client.close, "per_loop": True}, "is entered by a plain `with`, if at all"),
    (list, {"stop_timeout": 1.0}, "stop_timeout has no effect on `list`, which is not asynchronous"),
    (list, {"check": check}, "check must not be asynchronous, .*: `check` is"),
    (list, {"stop": generator}, "stop must be a plain function|must not be asynchronous"),
]


@pytest.mark.parametrize(("source", "options", "text"), REFUSED)
def test_what_cannot_be_shared_is_refused(source: Any, options: dict[str, Any], text: str) -> None:
    """When it is made, with an error that names the thing."""
    with pytest.raises(TypeError, match=text):
        untyped(source, **options)


def test_what_only_returns_something_to_be_awaited_is_for_threads() -> None:
    """Nobody can see it."""

    class Blind:
        client = untyped(lambda: connect(), stop=list)

    assert isinstance(cast("Any", Blind()).client, SharedResource)


def test_factories_of_asynchronous_context_managers() -> None:
    """A hook says that nobody is to enter them; without one, it is asked for."""
    AsyncSharedResource.of(Client, stop=Client.aclose)
    with pytest.raises(TypeError, match=r"`Client` is to be entered: write AsyncSharedResource\(Client\), or `lambda"):
        AsyncSharedResource.of(Client)
