"""A task that is cancelled at each of its awaits, in every way: the count is right, and nobody else is disturbed."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from refcount import AsyncSharedResource, State
from refcount._core.async_family import AsyncFamily
from refcount._core.async_openers import AsyncOptions, LivesOfAsyncOpener
from refcount._core.openers import Limits
from tests.helpers.cameras import Camera, Maker, enter, waiting
from tests.helpers.cancelling import MakeVictim, Trial, Victim, sweep
from tests.helpers.loops import Job, Run, checkpoint, until


class World:
    """A resource with slow hooks, and what is to hold of it when all have left."""

    def __init__(self, **options: Any) -> None:
        self.maker = Maker(turns=2)
        self.camera: AsyncSharedResource[Camera] = AsyncSharedResource(self.maker, name="camera", **options)

    async def hold(self, until_over: Callable[[], object] = lambda: True) -> int:
        """Hold it until something is so, and a little longer; return which generation that was."""
        async with self.camera() as value:
            await until(until_over)
            await checkpoint(2)
            assert value.alive
            return value.number

    async def visit(self) -> None:
        async with self.camera() as value:
            await checkpoint(2)
            assert value.alive

    async def end(self, *others: Job[Any]) -> None:
        """See that the others came to no harm, that all is over, and that a newcomer is well served."""
        for other in others:
            await other.result()
        await self.camera.flush()
        await self.camera.wait_stopped()
        made = len(self.maker.made)
        assert waiting(self.camera) == 0
        assert self.camera.usecount == 0
        if self.camera.state is State.CLOSED:
            assert self.maker.alive == []
            return
        async with self.camera() as value:
            assert value.alive
            assert value.number == made + 1
        await self.camera.flush()
        await self.camera.wait_stopped()
        assert self.camera.state is State.IDLE
        assert self.maker.alive == []


async def alone(make: MakeVictim) -> None:
    """The only consumer: its start, its body, its stop."""
    world = World()
    await make(world.visit).wait()
    await world.end()


async def joining(make: MakeVictim) -> None:
    """It joins what runs, and leaves while others stay."""
    world = World()
    victim: list[Victim] = []
    other = Job(lambda: world.hold(lambda: victim and victim[0].over))
    await until(lambda: world.camera.usecount)
    victim.append(make(world.visit))
    assert await other.result() == 1
    await world.end()
    assert world.maker.most_alive == 1


async def waiting_for_anothers_start(make: MakeVictim) -> None:
    """Another one was first."""
    world = World()
    world.maker.starting.shut()
    other = Job(world.hold)
    await until(lambda: world.camera.state is State.STARTING)
    victim = make(world.visit)
    await until(lambda: waiting(world.camera) == 2 or victim.over)
    world.maker.starting.open()
    assert await other.result() == 1
    await victim.wait()
    await world.end()


async def starting_for_others(make: MakeVictim) -> None:
    """It was first, others wait for the same start: that goes on without it."""
    world = World()
    world.maker.starting.shut()
    victim = make(world.visit)
    others = [Job(world.hold) for _ in range(2)]
    await until(lambda: waiting(world.camera) >= 2)
    await checkpoint(3)
    world.maker.starting.open()
    assert {await other.result() for other in others} == {1}
    await victim.wait()
    await world.end()


async def waiting_for_a_stop(make: MakeVictim) -> None:
    """It comes while the resource stops."""
    world = World()
    world.maker.stopping.shut()
    other = Job(world.hold)
    await world.maker.stopping.wait_reached()
    victim = make(world.visit)
    await until(lambda: waiting(world.camera) or victim.over)
    await checkpoint(3)
    world.maker.stopping.open()
    await victim.wait()
    await world.end(other)
    assert world.maker.most_alive == 1


async def overlapping_a_stop(make: MakeVictim) -> None:
    """The same with `overlap`."""
    world = World(overlap=True)
    world.maker.stopping.shut()
    other = Job(world.hold)
    await world.maker.stopping.wait_reached()
    victim = make(world.visit)
    await until(lambda: len(world.maker.made) > 1 or victim.over)
    world.maker.stopping.open()
    await victim.wait()
    await world.end(other)


async def stopping_while_others_come(make: MakeVictim) -> None:
    """It is the last to leave, and others wait for its stop."""
    world = World()
    victim = make(world.visit)
    await until(lambda: world.camera.state is State.STOPPING or victim.over)
    others = [Job(world.hold) for _ in range(2)]
    await victim.wait()
    await world.end(*others)
    assert world.maker.most_alive == 1


async def checking(make: MakeVictim) -> None:
    """What lingers is checked, which takes some time, and is found good."""

    async def check(value: Camera) -> bool:
        await checkpoint(2)
        return value.alive

    world = World(check=check, linger=math.inf)
    await enter(world.camera)
    other = Job(world.hold)
    await make(world.visit).wait()
    await other.result()
    assert world.maker.alive == [1]
    await world.end()


async def finding_it_bad(make: MakeVictim) -> None:
    """What lingers is found bad, stopped, and started anew."""
    bad: list[bool] = []

    async def check(value: Camera) -> bool:
        await checkpoint(2)
        return not bad or value.number > 1

    world = World(check=check, linger=math.inf)
    await enter(world.camera)
    bad.append(True)
    victim = make(world.visit)
    other = Job(world.hold)
    await victim.wait()
    assert await other.result() == 2
    await world.end()
    assert world.maker.most_alive == 1


async def trying(make: MakeVictim) -> None:
    """`try_acquire` with a slow check."""

    async def check(value: Camera) -> bool:
        await checkpoint(2)
        return value.alive

    world = World(check=check, linger=math.inf)
    await enter(world.camera)

    async def visit() -> None:
        lease = await world.camera.try_acquire()
        if lease is not None:
            async with lease:
                await checkpoint()

    await make(visit).wait()
    await world.end()


async def lingering(make: MakeVictim) -> None:
    """It comes back within the linger, and flushes that in the end."""
    world = World(linger=math.inf)

    async def visit() -> None:
        await world.visit()
        await world.visit()
        await world.camera.flush()

    await make(visit).wait()
    await world.end()


async def by_hand(make: MakeVictim) -> None:
    """`acquire` and `release` in `finally`, with a timeout."""
    world = World()

    async def visit() -> None:
        lease = await world.camera.acquire(timeout=3600)
        try:
            await checkpoint(2)
        finally:
            assert await lease.release()

    await make(visit).wait()
    await world.end()


async def anonymously(make: MakeVictim) -> None:
    """`inc` and `dec`."""
    world = World()

    async def visit() -> None:
        await world.camera.inc()
        try:
            await checkpoint(2)
        finally:
            await world.camera.dec()

    await make(visit).wait()
    await world.end()


async def closing(make: MakeVictim) -> None:
    """It closes what another one holds."""
    world = World()
    going: list[bool] = []
    other = Job(lambda: world.hold(lambda: going))
    await until(lambda: world.camera.usecount)
    victim = make(world.camera.close)
    await until(lambda: victim.over or waiting(world.camera))
    await checkpoint(3)
    going.append(True)
    await victim.wait()
    await world.end(other)


async def closing_by_force(make: MakeVictim) -> None:
    """It closes by force what another one is about to start."""
    world = World()
    jobs = [Job(world.camera.acquire) for _ in range(2)]
    victim = make(lambda: world.camera.close(force=True))
    await victim.wait()
    for job in jobs:
        await job.wait()
        if not job.cancelled and not job.failed:
            await (await job.result()).release()
    await world.end()


async def waiting_until_it_has_stopped(make: MakeVictim) -> None:
    """`wait_stopped`, while another one holds it."""
    world = World()
    other = Job(world.hold)
    await until(lambda: world.camera.usecount)
    victim = make(world.camera.wait_stopped)
    await victim.wait()
    await world.end(other)


async def exclusive(make: MakeVictim) -> None:
    """It waits until the holders of an old generation have left."""
    world = World(exclusive=True)
    going: list[bool] = []
    other = Job(lambda: world.hold(lambda: going))
    await until(lambda: world.camera.usecount)
    world.camera.invalidate()
    victim = make(world.visit)
    await until(lambda: victim.over or waiting(world.camera))
    await checkpoint(3)
    going.append(True)
    await victim.wait()
    await world.end(other)
    assert world.maker.most_alive == 1


async def invalidating(make: MakeVictim) -> None:
    """It detaches what it holds, and takes a fresh one inside."""
    world = World()

    async def visit() -> None:
        async with world.camera():
            world.camera.invalidate()
            await world.visit()

    other = Job(world.hold)
    await make(visit).wait()
    await world.end(other)


async def with_blocks_that_can_be_cancelled(make: MakeVictim) -> None:
    """`on_failure="cancel"`, which holds a scope around the block."""
    world = World(on_failure="cancel")
    other = Job(world.hold)
    await make(world.visit).wait()
    await world.end(other)


async def nested(make: MakeVictim) -> None:
    """The opener holds another resource."""
    world, inner = World(), World()

    @asynccontextmanager
    async def opener() -> AsyncGenerator[Camera]:
        async with inner.camera() as supply, world.maker() as value:
            yield value
            assert supply.alive

    camera = AsyncSharedResource(opener)
    world.camera = camera
    await make(world.visit).wait()
    await world.end()
    await inner.end()


async def many_at_once(make: MakeVictim) -> None:
    """It comes and goes, and so do others."""
    world = World()

    async def often() -> None:
        for turn in range(3):
            await world.visit()
            await checkpoint(turn)

    victim = make(often)
    others = [Job(often) for _ in range(3)]
    await victim.wait()
    await world.end(*others)
    assert world.maker.most_alive == 1


async def on_a_stack(make: MakeVictim) -> None:
    """Several leases at once, given back by a stack."""
    world, other = World(), World()

    async def visit() -> None:
        async with AsyncExitStack() as stack:
            for one in (world, other, world):
                await stack.enter_async_context(one.camera())

    await make(visit).wait()
    await world.end()
    await other.end()


class Bounded:
    """A family with room for one, each key a maker of its own."""

    def __init__(self, **options: Any) -> None:
        self.family: AsyncFamily[Camera] = AsyncFamily("cameras", AsyncOptions(**options), Limits(1))
        self.makers: dict[int, Maker] = {}

    def member(self, key: int) -> AsyncSharedResource[Camera]:
        """Return the resource of a key."""
        maker = self.makers.setdefault(key, Maker(turns=2))
        name = f"cameras({key})"
        return self.family.find(key) or self.family.make(key, LivesOfAsyncOpener(maker, name), name)

    async def visit(self, key: int) -> None:
        async with self.member(key)() as value:
            await checkpoint(2)
            assert value.alive
            assert sum(len(maker.alive) for maker in self.makers.values()) == 1

    async def end(self, *others: Job[Any]) -> None:
        """See that the others came to no harm, and that a newcomer with each key is well served."""
        for other in others:
            await other.result()
        for key in (7, 8):
            await self.visit(key)
        await self.family.close()
        assert self.family.resources() == ()
        assert [maker.alive for maker in self.makers.values() if maker.alive] == []


async def waiting_for_room(make: MakeVictim) -> None:
    """Another key is held; others wait in line behind it."""
    bounded = Bounded()
    first = Job(lambda: bounded.visit(0))
    await until(lambda: bounded.family.resources())
    victim = make(lambda: bounded.visit(1))
    behind = Job(lambda: bounded.visit(2))
    with_it = Job(lambda: bounded.visit(1))
    await victim.wait()
    await bounded.end(first, behind, with_it)


async def making_room(make: MakeVictim) -> None:
    """Another key lingers, and is stopped for it."""
    bounded = Bounded(linger=math.inf)
    await bounded.visit(0)
    victim = make(lambda: bounded.visit(1))
    behind = Job(lambda: bounded.visit(2))
    await victim.wait()
    await bounded.end(behind)


async def closing_a_family(make: MakeVictim) -> None:
    """While one of its keys is held."""
    bounded = Bounded()
    first = Job(lambda: bounded.visit(0))
    await until(lambda: bounded.family.resources())
    await make(bounded.family.close).wait()
    await first.result()
    await bounded.family.close()
    assert bounded.makers[0].alive == []


TRIALS: list[Trial] = [
    alone,
    joining,
    waiting_for_anothers_start,
    starting_for_others,
    waiting_for_a_stop,
    overlapping_a_stop,
    stopping_while_others_come,
    checking,
    finding_it_bad,
    trying,
    lingering,
    by_hand,
    anonymously,
    closing,
    closing_by_force,
    waiting_until_it_has_stopped,
    exclusive,
    invalidating,
    with_blocks_that_can_be_cancelled,
    nested,
    many_at_once,
    on_a_stack,
    waiting_for_room,
    making_room,
    closing_a_family,
]


@pytest.mark.parametrize("trial", TRIALS)
def test_cancelled_at_each_await(run: Run, trial: Trial) -> None:
    """Whoever it is, and wherever it waits."""
    run(lambda: sweep(run, trial), cycles=True)  # a victim refers to itself
