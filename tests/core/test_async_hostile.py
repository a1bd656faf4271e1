"""What a hostile reader of the driver for tasks has found, each as he has shown it."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from refcount import AsyncLease, AsyncSharedResource, RefcountError, State
from tests.helpers.cameras import Maker, enter
from tests.helpers.loops import Gate, Job, Run, leaves, settled, until


class Broken:
    """An opener whose task group fails when the gate opens."""

    def __init__(self) -> None:
        self.fails = Gate()
        self.fails.shut()

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[str]:
        async def child() -> None:
            await self.fails.pass_through()
            raise ConnectionError

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            yield "value"


async def failure(use: Callable[[], Awaitable[object]]) -> list[type[BaseException]]:
    """Return what kinds of errors come out of a group that a block raises."""
    try:
        await use()
    except BaseException as error:
        return [type(leaf) for leaf in leaves(error)]
    return []


def test_a_waiter_that_leaves_wakes_nobody(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred who wait for one start, half give up: the others sleep on."""
    maker = Maker()
    resource = AsyncSharedResource(maker)
    woken: list[AsyncLease[Any]] = []
    wake = AsyncLease[Any]._wake  # pyright: ignore[reportPrivateUsage]  # what a wake costs is what this is about

    def count(lease: AsyncLease[Any]) -> None:
        woken.append(lease)
        wake(lease)

    async def body() -> None:
        maker.starting.shut()
        jobs = [Job(lambda: resource.acquire()) for _ in range(100)]
        await until(lambda: maker.diary == ["start 1"])
        await settled()
        monkeypatch.setattr(AsyncLease, "_wake", count)
        for job in jobs[:50]:
            job.cancel()
        for job in jobs[:50]:
            await job.wait()
        assert woken == []
        maker.starting.open()
        leases = [await job.result() for job in jobs[50:]]
        assert resource.usecount == len(leases) == 50
        for lease in leases:
            await lease.release()

    run(body)


def test_with_cancel_one_block_inside_another(run: Run) -> None:
    """Both are of one task, and the inner one does not wait for the outer one."""
    opener = Broken()
    resource = AsyncSharedResource(opener, on_failure="cancel")

    async def use() -> None:
        async with resource():
            async with resource():
                opener.fails.open()
                await anyio.sleep(3600)

    async def body() -> None:
        with anyio.fail_after(10):
            assert await failure(use) == [ConnectionError]
        assert (resource.usecount, resource.state) == (0, State.IDLE)

    run(body)


def test_with_cancel_a_lost_lease_is_found(run: Run) -> None:
    """What cancels its block does not keep it."""
    maker = Maker()
    resource = AsyncSharedResource(maker, on_failure="cancel")

    async def body() -> None:
        lease = resource()
        await lease.__aenter__()
        del lease
        with pytest.warns(ResourceWarning, match="was never released"):
            await until(lambda: gc.collect() >= 0 and resource.idle)
        assert maker.alive == []

    job_of_its_own: list[Job[None]] = []

    async def main() -> None:
        job_of_its_own.append(Job(body))  # whose scope is left open, as the lease was
        await job_of_its_own.pop().result()

    run_on_asyncio_only(run, main)


def run_on_asyncio_only(run: Run, body: Callable[[], Awaitable[None]]) -> None:
    """Run it where a task may end inside of a scope."""

    async def maybe() -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        await body()

    run(maybe)


def test_with_cancel_a_second_entry_leaves_the_first_alone(run: Run) -> None:
    """It is refused, and the block that the lease is in is cancelled all the same, and is over afterwards."""
    opener = Broken()
    resource = AsyncSharedResource(opener, on_failure="cancel")

    async def use() -> None:
        lease = resource()
        async with lease:
            with pytest.raises(RefcountError, match="was entered before"):
                await lease.__aenter__()
            opener.fails.open()
            await anyio.sleep(3600)

    async def body() -> None:
        with anyio.fail_after(10):
            assert await failure(use) == [ConnectionError]
        await settled()  # no scope is left that would cancel this

    run(body)


@pytest.mark.parametrize("linger", [0.0, math.inf])
def test_what_is_first_used_while_asyncio_ends(linger: float) -> None:
    """A task that is cancelled at the end saves its state by a resource that nobody has used before."""
    maker = Maker()
    resource = AsyncSharedResource(maker, linger=linger)
    tasks: list[asyncio.Task[None]] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await enter(resource)

    async def main() -> None:
        tasks.append(asyncio.create_task(work()))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert (maker.diary, resource.state) == (["start 1", "stop 1"], State.IDLE)


def test_a_stop_is_not_among_the_tasks_that_others_cancel() -> None:
    """It runs whole, though everything is cancelled in the running loop meanwhile."""
    maker = Maker()
    resource = AsyncSharedResource(maker)

    async def main() -> None:
        maker.stopping.shut()
        job = asyncio.create_task(enter(resource))
        while resource.state is not State.STOPPING:
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert others == {job}
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        maker.stopping.open()
        await resource.wait_stopped()

    asyncio.run(main())
    assert maker.diary == ["start 1", "stop 1"]
    assert maker.alive == []


def test_what_was_stopped_at_the_end_of_its_loop_was_not_abandoned() -> None:
    """A lease that outlives its loop: there is one warning, at its end, and none in the next loop."""
    resource = AsyncSharedResource.of(list[object], name="basket")
    leases: list[object] = []

    async def hold() -> None:
        leases.append(await resource.acquire())
        await resource.inc()

    with pytest.warns(ResourceWarning, match="basket is still held at the end of its event loop, by 2 leases"):
        asyncio.run(hold())

    async def again() -> None:
        await resource.inc()
        assert resource.usecount == 1
        await resource.dec()
        assert resource.idle

    asyncio.run(again())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_observer_of_a_resource_per_loop(backend: str) -> None:
    """It is told of the loop's own."""
    resource = AsyncSharedResource.of(list[object], per_loop=True)
    seen: list[int] = []

    async def body() -> None:
        end = resource.observe(seen.append)
        await enter(resource)
        end()
        await enter(resource)
        assert seen == [1, 0]

    anyio.run(body, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("looped", [False, True])
def test_an_observation_is_ended_from_anywhere(backend: str, looped: bool) -> None:
    """Another thread, with an event loop or without, may end it while the resource is up; nothing is told any more."""
    resource = AsyncSharedResource.of(list[object])
    seen: list[int] = []

    async def body() -> None:
        end = resource.observe(seen.append)

        async def end_it() -> None:
            end()

        async with resource():
            await anyio.to_thread.run_sync(partial(anyio.run, end_it) if looped else end)
            end()
            await resource.inc()
            await resource.dec()
        assert seen == [1]

    anyio.run(body, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_a_closed_resource_per_loop_holds_can_be_given_back(backend: str) -> None:
    """After a `close` that has timed out, `dec` lets it stop, and a second one waits for that."""
    maker = Maker()
    resource = AsyncSharedResource(maker, per_loop=True)

    async def body() -> None:
        await resource.inc()
        with pytest.raises(TimeoutError):
            await resource.close(timeout=0.0)
        await resource.dec()
        await resource.close()
        assert maker.alive == []

    anyio.run(body, backend=backend)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_that_hits_the_resources_own_task_ends_the_loop(interrupt: type[BaseException]) -> None:
    """As that of any task of asyncio; what is up is stopped when its holder has left."""
    maker = Maker()
    resource = AsyncSharedResource(maker)

    async def hold() -> None:
        lease = await resource.acquire()
        generation: Any = resource._machine.current  # pyright: ignore[reportPrivateUsage]  # no signal hits it surely
        generation.keeper.task._fut_waiter.set_exception(interrupt())
        del generation
        try:
            await asyncio.sleep(3600)
        finally:
            await lease.release()

    with pytest.raises(interrupt):
        asyncio.run(hold())
    assert maker.alive == []
    assert len(maker.made) == 1


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_stop_that_nobody_awaits_ends_the_loop(interrupt: type[BaseException]) -> None:
    """It is not merely written down; at the end of the loop it is, for others are still to be stopped."""
    diary: list[str] = []

    def stop(value: object) -> None:
        diary.append("stop")
        raise interrupt

    resource = AsyncSharedResource.of(list[object], stop=stop, linger=math.inf)
    other = AsyncSharedResource.of(list[object], stop=lambda value: diary.append("other"), linger=math.inf)

    async def body(*, ends: bool) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: diary.append("told"))
        await enter(other)
        await enter(resource)
        if ends:
            resource.invalidate()
            await asyncio.sleep(3600)

    with pytest.raises(interrupt):
        asyncio.run(body(ends=True))
    assert diary == ["stop", "other"]
    diary.clear()
    asyncio.run(body(ends=False))
    assert diary == ["stop", "told", "other"]


def test_generators_inside_of_an_opener_are_not_the_loops_to_close() -> None:
    """The end of the loop finds a manager inside of an opener whole: its stop runs, after that of the outer one."""
    inner, diary = Maker(), list[str]()

    @asynccontextmanager
    async def opener() -> AsyncGenerator[str]:
        async with inner():
            yield "value"
            diary.extend(inner.diary)

    resource = AsyncSharedResource(opener, linger=math.inf)

    async def main() -> None:
        await enter(resource)

    asyncio.run(main())
    assert diary == ["start 1"]
    assert inner.diary == ["start 1", "stop 1"]
