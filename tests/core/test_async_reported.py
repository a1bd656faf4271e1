"""Defects of released libraries that count users of something asynchronous, each as its users met it.

They are those of the list that the project keeps of what the ecosystem has: databases, pydantic-ai, fastmcp, anyio,
chromadb, thds.core, conductor, the MCP SDK, tractor.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import anyio
import pytest

from refcount import AsyncLease, AsyncSharedResource, State
from tests.helpers.cameras import Camera, Maker, enter
from tests.helpers.loops import Job, Run, checkpoint, error_of, settled, until
from tests.helpers.programs import run_program


@pytest.fixture(name="maker")
def a_maker() -> Maker:
    """An opener with a diary."""
    return Maker()


@pytest.mark.parametrize("inside", ["start", "stop", "check"])
@pytest.mark.parametrize("times", [1, 2])
def test_an_exit_cancelled_while_another_is_inside_enter_or_exit(run: Run, inside: str, times: int) -> None:
    """Databases 0.9, pydantic-ai, fastmcp: the count stayed 1 after all had left, and the thing up for ever."""
    maker = Maker()

    async def check(value: Camera) -> bool:
        await maker.starting.pass_through()
        return True

    camera = AsyncSharedResource(maker, overlap=True, check=check if inside == "check" else None)

    async def body() -> None:
        leaving = await camera.acquire()
        if inside != "check":
            camera.invalidate()
        entered = await camera.acquire() if inside == "stop" else None
        gate = maker.stopping if inside == "stop" else maker.starting
        gate.shut()
        other: Job[object] = Job(camera.acquire if entered is None else entered.release)
        del entered
        await gate.wait_reached()
        leave = Job(leaving.release)
        for _ in range(times):
            await checkpoint()
            leave.cancel()
        await until(lambda: not leaving.held)
        gate.open()
        await leave.wait()
        result = await other.result()
        if isinstance(result, AsyncLease):
            await result.release()
        await camera.wait_stopped()
        assert (camera.usecount, camera.state, maker.alive) == (0, State.IDLE, [])

    run(body)


def test_a_process_ends_though_exits_were_cancelled() -> None:
    """Databases 0.9: it had to be killed."""
    ended = run_program(
        """
import asyncio
from contextlib import asynccontextmanager
from refcount import AsyncSharedResource

@asynccontextmanager
async def opener():
    yield
    await asyncio.sleep(0.02)
    print("stopped", flush=True)

database = AsyncSharedResource(opener)

async def use():
    async with database():
        await asyncio.sleep(0.01)

async def main():
    tasks = [asyncio.create_task(use()) for _ in range(5)]
    await asyncio.sleep(0.015)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(database.usecount)

asyncio.run(main())
"""
    )
    assert (sorted(ended.lines), ended.stderr, ended.returncode) == (["0", "stopped"], "", 0)
    assert ended.seconds < 20


def test_two_are_never_alive_at_once(run: Run) -> None:
    """Anyio 4.16, `BlockingPortalProvider`: a newcomer during a slow stop got a second one beside the first."""
    maker = Maker(turns=3)
    portal = AsyncSharedResource(maker)

    async def use(turns: int) -> None:
        for _ in range(10):
            async with portal() as value:
                await checkpoint(turns)
                assert value.alive
            await checkpoint(turns)

    async def body() -> None:
        for job in [Job(partial(use, turns)) for turns in range(5)]:
            await job.result()

    run(body)
    assert maker.most_alive == 1
    assert maker.alive == []


@pytest.mark.parametrize("users", [2, 10, 100])
def test_concurrent_first_users_all_get_it(run: Run, users: int) -> None:
    """Chromadb 1.5.9: of four that opened one path at once, up to four failed."""
    maker = Maker(turns=3)
    system = AsyncSharedResource(maker)

    async def body() -> None:
        jobs = [Job(lambda: enter(system)) for _ in range(users)]
        values = [await job.result() for job in jobs]
        assert all(value is values[0] for value in values)

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_a_stop_that_fails_again_and_again_bricks_nothing(run: Run, maker: Maker) -> None:
    """thds.core 1.58: after one of them every use raised AssertionError."""
    resource = AsyncSharedResource(maker)

    async def body() -> None:
        for number in range(1, 6):
            maker.stop_error = OSError(f"jammed {number}")
            assert str(await error_of(enter(resource))) == f"jammed {number}"
        assert (await enter(resource)).number == 6

    run(body)
    assert maker.alive == []


def test_a_client_may_be_entered_again_inside(run: Run, maker: Maker) -> None:
    """fastmcp: a second entry raised; concurrent users broke the shared client."""
    client = AsyncSharedResource(maker)

    async def body() -> None:
        async with client() as outer, client() as inner, client() as innermost:
            assert outer is inner is innermost
            assert client.usecount == 3
        assert client.usecount == 0

    run(body)


@asynccontextmanager
async def session() -> AsyncGenerator[list[str]]:
    """What MCP's clients are: a task group around the yield, with a task that must end in the end."""
    messages: list[str] = []

    async def read() -> None:
        while True:
            await checkpoint()
            messages.append("tick")

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await checkpoint()
        yield messages
        group.cancel_scope.cancel()


def test_it_is_closed_from_another_task_than_opened_it(run: Run) -> None:
    """Conductor 353, MCP 577 and 79: "Attempted to exit cancel scope in a different task", and leaked processes."""
    resource = AsyncSharedResource(session)

    async def body() -> None:
        stack = AsyncExitStack()
        await Job(lambda: stack.enter_async_context(resource())).result()
        await checkpoint(3)
        await stack.aclose()  # in the root task
        assert resource.state is State.IDLE

    run(body)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_sessions_are_closed_in_any_order(run: Run, order: tuple[int, ...]) -> None:
    """MCP 577: teardown failed unless the last one opened was closed first."""
    resources = [AsyncSharedResource(session) for _ in range(3)]

    async def body() -> None:
        leases = [await resource.acquire() for resource in resources]
        for which in order:
            await leases[which].release()
            assert resources[which].state is State.IDLE

    run(body)


@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled"])
def test_it_lives_until_the_final_user_task_ends(run: Run, maker: Maker, how: str) -> None:
    """Tractor 257: whatever becomes of the one that has opened it."""
    resource = AsyncSharedResource(maker)

    async def first() -> None:
        async with resource():
            await until(lambda: resource.usecount == 2)
            if how == "raises":
                raise KeyError
            while how == "is cancelled":
                await checkpoint()

    async def second() -> None:
        async with resource() as value:
            await until(lambda: resource.usecount == 1)
            await settled()
            assert value.alive

    async def body() -> None:
        opener, other = Job(first), Job(second)
        if how == "is cancelled":
            await until(lambda: resource.usecount == 2)
            opener.cancel()
        await other.result()
        await opener.wait()

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_cancelling_the_starter_or_a_waiter_disturbs_nobody(run: Run, maker: Maker) -> None:
    """fastmcp: each was a bug of its own."""
    resource = AsyncSharedResource(maker)

    async def body() -> None:
        for cancelled in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
            maker.starting.shut()
            jobs = [Job(lambda: enter(resource)) for _ in range(3)]
            await maker.starting.wait_reached()
            await settled()
            for which in cancelled:
                jobs[which].cancel()
            await settled()
            maker.starting.open()
            for which, job in enumerate(jobs):
                await job.wait()
                assert job.cancelled == (which in cancelled)
            await resource.wait_stopped()
            assert (resource.usecount, maker.alive) == (0, [])

    run(body)


@pytest.mark.parametrize("linger", [0.0, math.inf])
def test_an_async_generator_of_frames_that_nobody_finishes(run: Run, linger: float) -> None:
    """A streaming response whose client has gone: closed by the server, in whichever task, with a cancellation."""
    maker = Maker(turns=1)
    camera = AsyncSharedResource(maker, linger=linger)

    async def frames() -> AsyncGenerator[int]:
        async with camera() as value:
            while True:
                await checkpoint()
                yield value.number

    async def serve(stop: Callable[[AsyncGenerator[int]], Awaitable[None]]) -> None:
        stream = frames()
        try:
            async for _ in stream:
                await stop(stream)
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    async def leave(stream: AsyncGenerator[int]) -> None:
        raise KeyError

    async def hang(stream: AsyncGenerator[int]) -> None:
        await anyio.sleep(3600)

    async def body() -> None:
        assert isinstance(await error_of(serve(leave)), KeyError)
        job = Job(lambda: serve(hang))
        await until(lambda: camera.usecount == 1)
        job.cancel()
        await job.wait()
        assert camera.usecount == 0
        await camera.flush()
        assert maker.alive == []

    run(body)


def test_shutdown_by_gather_of_cancelled_tasks(run_asyncio: Run, maker: Maker) -> None:
    """Servers do it twice, or with a timeout: `gather` of all that was cancelled, then the loop ends."""
    maker.turns = 3
    resource = AsyncSharedResource(maker, linger=3600)

    async def use() -> None:
        async with resource():
            await asyncio.sleep(3600)

    async def body() -> None:
        tasks = [asyncio.create_task(use()) for _ in range(5)]
        await until(lambda: resource.usecount == 5)
        for _ in range(2):
            for task in tasks:
                task.cancel()
        async with asyncio.timeout(10):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 5
        assert (resource.usecount, resource.state) == (0, State.LINGERING)

    run_asyncio(body, up=True, cycles=True)
    assert maker.diary == ["start 1", "stop 1"]
