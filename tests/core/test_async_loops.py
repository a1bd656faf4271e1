"""Which event loop a resource belongs to: the one that has started it, until it is idle."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from weakref import ref

import pytest

from refcount import AsyncLease, AsyncSharedResource, ClosedError, RefcountError, State, WrongLoopError
from refcount._core.async_family import AsyncFamily
from refcount._core.async_openers import AsyncOptions, LivesOfAsyncOpener
from refcount._core.openers import Limits
from tests.helpers.cameras import Camera, Maker, enter
from tests.helpers.loops import LOOPS, WAIT, Job, Run, checkpoint, error_of, settled, until

T = TypeVar("T")


@pytest.fixture(name="maker")
def a_maker() -> Maker:
    """An opener with a diary."""
    return Maker()


def run_there(kind: str, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a function in an event loop of another thread to its end, and return its result."""
    results: list[T] = []
    errors: list[BaseException] = []

    async def main() -> None:
        results.append(await function())

    def work() -> None:
        try:
            if kind == "trio":
                import trio

                trio.run(main)
            else:
                asyncio.run(main())
        except BaseException as error:
            errors.append(error.with_traceback(None))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()
    if errors:
        raise errors.pop()
    return results[0]


async def aside(kind: str, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The same, while the loop here goes on."""
    import anyio.to_thread

    return await anyio.to_thread.run_sync(run_there, kind, function)


USES: dict[str, Callable[[AsyncSharedResource[Camera]], Awaitable[object]]] = {
    "enter": enter,
    "acquire": lambda resource: resource.acquire(),
    "try_acquire": lambda resource: resource.try_acquire(),
    "inc": lambda resource: resource.inc(),
    "dec": lambda resource: resource.dec(),
    "flush": lambda resource: resource.flush(),
    "close": lambda resource: resource.close(),
    "force": lambda resource: resource.close(force=True),
    "wait_stopped": lambda resource: resource.wait_stopped(),
    "invalidate": lambda resource: called(resource.invalidate),
    "touch": lambda resource: called(resource.touch),
    "abandon": lambda resource: called(resource.abandon),
    "observe": lambda resource: called(lambda: resource.observe(print)),
}


async def called(function: Callable[[], object]) -> None:
    """Call a function that is not awaited."""
    function()


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
@pytest.mark.parametrize("use", USES)
def test_use_from_another_loop_is_an_error_that_says_so(run: Run, maker: Maker, kind: str, use: str) -> None:
    """Whatever is done with it there; it changes nothing here."""
    resource = AsyncSharedResource(maker, name="camera")

    async def misuse() -> BaseException:
        return await error_of(USES[use](resource))

    async def body() -> None:
        async with resource() as value:
            error = await aside(kind, misuse)
            assert isinstance(error, WrongLoopError)
            assert "camera is running in another event loop" in str(error)
            assert value.alive
            assert resource.usecount == 1
            assert (await enter(resource)) is value
        assert maker.diary == ["start 1", "stop 1"]
        await enter(resource)

    run(body, cycles=run.trio or kind == "trio")


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
@pytest.mark.parametrize("others", [0, 1])
def test_a_lease_is_given_back_in_its_own_loop(run: Run, maker: Maker, kind: str, others: int) -> None:
    """From another one, or from a thread without one, it is refused, and stays held."""
    resource = AsyncSharedResource(maker, name="camera")

    async def body() -> None:
        leases = [await resource.acquire() for _ in range(others)]
        lease = await resource.acquire()
        for use in (lease.release, lambda: lease.__aexit__(None, None, None), lambda: called(lease.invalidate)):

            async def misuse(use: Callable[[], Awaitable[object]] = use) -> BaseException:
                return await error_of(use())

            assert isinstance(await aside(kind, misuse), WrongLoopError)
            assert (lease.held, resource.usecount) == (True, 1 + others)
        for each in (*leases, lease):
            await each.release()

    run(body, cycles=True)
    assert maker.diary == ["start 1", "stop 1"]


def test_a_thread_without_a_loop_is_told_so(maker: Maker) -> None:
    """What is awaited needs one; a coroutine that is driven by hand finds none."""
    resource = AsyncSharedResource(maker)
    for use in ("enter", "acquire", "inc", "wait_stopped"):
        coroutine: Any = USES[use](resource)
        with pytest.raises(RefcountError, match="no event loop runs here"):
            coroutine.send(None)
    assert maker.diary == []


@pytest.mark.parametrize("then", LOOPS)
def test_a_fresh_loop_just_works(run: Run, maker: Maker, then: str) -> None:
    """One run after the other, with one resource made at import, so to say; lingering at the end of each."""
    resources = [AsyncSharedResource(maker, linger=linger) for linger in (0.0, math.inf)]

    async def body() -> None:
        for resource in resources:
            await enter(resource)

    for each in (run, Run(then), run):
        each(body, up=True)
    assert len(maker.made) == 6
    assert maker.alive == []


@pytest.mark.parametrize("how", ["running", "lingering", "starting", "stopping"])
def test_a_loop_that_was_closed_with_it_is_found_out(run: Run, how: str) -> None:
    """The next consumer gets a fresh generation, and a warning names what was abandoned; old leases are inert."""
    maker = Maker()
    resource = AsyncSharedResource(maker, name="camera", linger=math.inf if how == "lingering" else 0.0)
    leases: list[AsyncLease[Camera]] = []
    loop = asyncio.new_event_loop()

    async def first() -> None:
        if how == "lingering":
            await enter(resource)
        elif how == "running":
            leases.append(await resource.acquire())
        else:
            gate = maker.starting if how == "starting" else maker.stopping
            gate.shut()
            KEPT.append(asyncio.create_task(enter(resource)))
            await gate.wait_reached()

    async def second() -> None:
        maker.starting.open()
        maker.stopping.open()
        with pytest.warns(ResourceWarning, match="camera, generation 1, was abandoned: its event loop was closed"):
            lease = await resource.acquire()
        assert resource.generation == 2
        assert not any(old.held for old in leases)
        for old in leases:
            assert not await old.release()
        assert (lease.held, resource.usecount) == (True, 1)
        await lease.release()
        await resource.flush()
        assert resource.state is State.IDLE
        assert (await enter(resource)).number == len(maker.made)
        await resource.flush()

    try:
        loop.run_until_complete(first())
        loop.close()
        run(second, kept=3, cycles=True)
    finally:
        for task in KEPT:
            # It can never end, as is the point here, and need not say so. No stub knows of this.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        KEPT.clear()
    assert len(maker.alive) == (0 if how == "starting" else 1)


KEPT: list[asyncio.Task[Any]] = []


def test_a_lease_whose_loop_is_gone_is_given_back_anywhere(run: Run, maker: Maker) -> None:
    """Or dropped, in silence: there is nobody left who could stop what it held."""
    resource = AsyncSharedResource(maker)
    loop = asyncio.new_event_loop()
    leases = [loop.run_until_complete(resource.acquire()) for _ in range(2)]
    loop.close()

    async def body() -> None:
        await leases.pop().release()

    run(body, cycles=True)
    leases.clear()
    gc.collect()


def test_nothing_is_bound_where_it_is_made(run: Run, maker: Maker) -> None:
    """At import, in another loop, in another thread: it belongs to the loop that starts it."""

    async def make() -> AsyncSharedResource[Camera]:
        return AsyncSharedResource(maker)

    resources = [AsyncSharedResource(maker), run_there("asyncio", make), run_there("trio", make)]
    leases = [resource() for resource in resources]

    async def body() -> None:
        for lease in leases:
            async with lease as value:
                assert value.alive

    run(body, cycles=True)


def test_an_idle_resource_keeps_no_loop_alive(maker: Maker) -> None:
    """Nor what it has started there."""
    resource = AsyncSharedResource(maker, linger=0.0)
    loop = asyncio.new_event_loop()
    value = loop.run_until_complete(enter(resource))
    kept: list[Callable[[], object]] = [ref(loop), ref(value)]
    maker.made.clear()
    loop.close()
    del loop, value
    gc.collect()
    assert [it() for it in kept] == [None, None]


def test_of_two_loops_at_once_one_has_it(maker: Maker) -> None:
    """Two threads ask for an idle resource again and again: each gets it, or is told that the other has it."""
    maker.turns = 1
    resource = AsyncSharedResource(maker)
    barrier = threading.Barrier(2)
    had: list[int] = []
    refused: list[int] = []

    def work(which: int) -> None:
        async def main() -> None:
            for _ in range(100):
                try:
                    async with resource() as value:
                        await checkpoint()
                        assert value.alive
                    had.append(which)
                except WrongLoopError:
                    refused.append(which)
                    await asyncio.sleep(0)

        barrier.wait()
        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(had) + len(refused) == 200
    assert len(maker.made) == len(had)
    assert (maker.alive, resource.state, resource.usecount) == ([], State.IDLE, 0)


# per_loop


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_with_per_loop_each_has_its_own(run: Run, maker: Maker, kind: str) -> None:
    """At the same time, each with a count, a state, and a linger of its own."""
    resource = AsyncSharedResource(maker, name="camera", per_loop=True, linger=math.inf)

    async def there() -> int:
        assert (resource.usecount, resource.state) == (0, State.IDLE)
        async with resource() as value:
            assert (resource.usecount, resource.state, resource.generation) == (1, State.RUNNING, 1)
            assert len(maker.alive) == 2
            return value.number

    async def body() -> None:
        async with resource() as value, resource() as same:
            assert value is same
            assert await aside(kind, there) != value.number
            assert maker.alive == [value.number]  # the other's loop has ended
            assert (resource.usecount, resource.state, resource.idle) == (2, State.RUNNING, False)
        assert resource.state is State.LINGERING
        assert await resource.flush()
        await resource.inc()
        await resource.dec()
        await resource.close()
        assert (resource.state, resource.closed) == (State.CLOSED, True)
        assert isinstance(await error_of(resource.acquire()), ClosedError)

    run(body, cycles=True)
    assert maker.alive == []


def test_with_per_loop_a_lease_needs_a_loop(maker: Maker) -> None:
    """One that is made where none runs cannot know which."""
    resource = AsyncSharedResource(maker, per_loop=True)
    with pytest.raises(RefcountError, match="no event loop runs here"):
        resource()


def test_with_per_loop_closing_reaches_the_other_loops(maker: Maker) -> None:
    """What lingers there is stopped there; nobody gets it again, in whichever loop."""
    resource = AsyncSharedResource(maker, name="camera", per_loop=True, linger=math.inf)
    lingers, closed = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    async def there() -> None:
        await enter(resource)
        lingers.set()
        await until(lambda: maker.alive == [])
        assert closed.wait(WAIT)
        errors.append(await error_of(enter(resource)))

    thread = threading.Thread(target=lambda: asyncio.run(there()))
    thread.start()
    assert lingers.wait(WAIT)

    async def here_now() -> None:
        await resource.close()
        closed.set()
        await until(lambda: maker.alive == [])

    asyncio.run(here_now())
    thread.join(WAIT)
    assert [str(error) for error in errors] == ["camera is closed"]


# Families


class Bounded:
    """A family with room for one."""

    def __init__(self, maker: Maker) -> None:
        options: AsyncOptions[Camera] = AsyncOptions(linger=math.inf)
        self.family: AsyncFamily[Camera] = AsyncFamily("cameras", options, Limits(1))
        self.maker = maker
        self.one, self.two = self.member(1), self.member(2)

    def member(self, key: int) -> AsyncSharedResource[Camera]:
        """Return the resource of a key."""
        name = f"cameras({key})"
        return self.family.make(key, LivesOfAsyncOpener(self.maker, name), name)


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_a_key_that_lingers_in_another_loop_makes_room(run: Run, maker: Maker, kind: str) -> None:
    """It is stopped there."""
    bounded = Bounded(maker)
    threads: list[int] = []
    stop = maker.stop

    async def stopping(camera: Camera) -> None:
        threads.append(threading.get_ident())
        await stop(camera)

    vars(maker)["stop"] = stopping

    async def there() -> None:
        async with bounded.two() as value:
            assert value.number == 2

    async def body() -> None:
        await enter(bounded.one)
        await aside(kind, there)
        await settled()

    run(body, cycles=True)
    assert maker.most_alive == 1
    assert maker.alive == []
    assert threads[0] == threading.get_ident()
    assert threads[1] != threads[0]


def test_a_key_whose_loop_was_closed_makes_room(run: Run, maker: Maker) -> None:
    """It is abandoned, with a warning; nobody waits for ever."""
    bounded = Bounded(maker)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(enter(bounded.one))
    loop.close()

    async def body() -> None:
        with pytest.warns(ResourceWarning, match=r"cameras\(1\), generation 1, was abandoned"):
            lease = await bounded.two.acquire(timeout=WAIT)
        await lease.release()
        await bounded.family.close()

    run(body, kept=3, cycles=True)
    assert maker.alive == [1]


# Jobs of the loop


def test_an_eager_task_factory_changes_nothing(maker: Maker) -> None:
    """Tasks that run at once until they first wait, as 3.12 and later have them."""
    factory: Any = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("3.12 has it")
    maker.turns = 1
    resource = AsyncSharedResource(maker)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        for _ in range(2):
            jobs = [Job(lambda: enter(resource)) for _ in range(5)]
            assert len({(await job.result()).number for job in jobs}) == 1
        assert (resource.usecount, maker.alive) == (0, [])

    asyncio.run(main())


def test_a_run_of_trio_that_is_a_guest_of_asyncio(maker: Maker) -> None:
    """It is another loop than its host, in the same thread."""
    import trio

    resource = AsyncSharedResource(maker)
    results: list[Any] = []

    async def guest() -> str:
        results.append(type(await error_of(resource.acquire())))
        own = AsyncSharedResource(maker)
        async with own() as value:
            await trio.lowlevel.checkpoint()
            assert value.alive
        return "done"

    async def host() -> None:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        async with resource():
            await checkpoint()
            trio.lowlevel.start_guest_run(
                guest,
                run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
                done_callback=done.set_result,
            )
            results.append((await done).unwrap())

    asyncio.run(host())
    assert results == [WrongLoopError, "done"]
    assert maker.alive == []
