"""Families for tasks: one shared resource for each key, and the capacity that bounds how many are up at once."""

from __future__ import annotations

import gc
import math
import random
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any
from weakref import ref

import anyio
import pytest

from refcount import AsyncSharedResource, CapacityError, ClosedError, ReentrantError, State
from refcount._core.async_family import AsyncFamily
from refcount._core.async_openers import AsyncOptions, LivesOfAsyncOpener
from refcount._core.openers import Limits
from refcount.testing import ManualClock
from tests.helpers.cameras import Camera, Maker, enter, waiting
from tests.helpers.loops import WAIT, Job, Run, checkpoint, error_of, leaves, settled, until


class Cameras:
    """A family whose keys are numbers, each with a maker of its own.

    Args:
        limits: The family's.
        turns: How often each hook lets the loop turn.
        options: What the resources have in common.
    """

    def __init__(self, limits: Limits | None = None, turns: int = 0, **options: Any) -> None:
        self.family: AsyncFamily[Camera] = AsyncFamily("camera", AsyncOptions(**options), limits or Limits())
        self.makers: dict[int, Maker] = {}
        self.weights: dict[int, float] = {}
        self._turns = turns

    def __getitem__(self, key: int) -> AsyncSharedResource[Camera]:
        found = self.family.find(key)
        if found is not None:
            return found
        lives = LivesOfAsyncOpener(self.maker(key), "camera")
        return self.family.make(key, lives, f"camera({key})", weight=self.weights.get(key, 1))

    def maker(self, key: int) -> Maker:
        """Return what opens a key."""
        return self.makers.setdefault(key, Maker(self._turns))

    @property
    def up(self) -> list[int]:
        """The keys that are not idle."""
        return sorted(int(resource.name[7:-1]) for resource in self.family.resources())

    @property
    def alive(self) -> list[int]:
        """The keys of which something is alive."""
        return sorted(key for key, maker in self.makers.items() if maker.alive)

    def line(self, *keys: int) -> list[Job[Any]]:
        """Return tasks that want to hold these keys."""
        return [Job(self[key].acquire) for key in keys]


# Keys


def test_each_key_has_a_resource_of_its_own(run: Run) -> None:
    """One start for each, shared by all with that key; equal keys are one."""
    cameras = Cameras()

    async def body() -> None:
        async with cameras[0]() as one, cameras[1]() as two, cameras[0]() as same:
            assert one is same
            assert one is not two
            assert cameras.up == [0, 1]
            assert cameras[True] is cameras[1]
        assert cameras.up == []

    run(body)


def test_an_idle_key_takes_no_memory(run: Run) -> None:
    """Nor one that has lingered; what is up is kept by its leases alone."""
    cameras = Cameras()

    async def body() -> None:
        for key in range(20):
            await enter(cameras[key])
        assert dict(cameras.family.members) == {}
        lease = await cameras[3].acquire()
        assert [*cameras.family.members] == [3]
        await lease.release()
        kept = ref(lease)
        del lease
        assert kept() is None
        assert dict(cameras.family.members) == {}

    run(body)


def test_keys_linger_independently(run: Run) -> None:
    """Scenario 8: each for its own time since it was left."""
    cameras = Cameras(linger=10.0)

    async def body() -> None:
        with ManualClock() as clock:
            await enter(cameras[0])
            clock.advance(5.0)
            await enter(cameras[1])
            clock.advance(5.0)
            await settled()
            assert cameras.up == [1]
            clock.advance(5.0)
            await settled()
            assert cameras.up == []

    run(body)


def test_what_lingers_is_kept_though_nobody_refers_to_it(run: Run) -> None:
    """By its own task, until it has stopped."""
    cameras = Cameras(linger=math.inf)

    async def body() -> None:
        await enter(cameras[0])
        gc.collect()
        assert cameras.up == [0]
        assert (await enter(cameras[0])).number == 1
        await cameras.family.close()
        assert cameras.alive == []

    run(body)


def test_a_closed_key_makes_room_for_a_new_one(run: Run) -> None:
    """The next call with that key makes another resource, also while the old one is still held."""
    cameras = Cameras()

    async def body() -> None:
        old = cameras[0]
        async with old() as value:
            with pytest.raises(TimeoutError):
                await old.close(timeout=0.0)
            assert cameras[0] is not old
            async with cameras[0]() as other:
                assert other is not value
            assert value.alive
        with pytest.raises(ClosedError):
            await old.acquire()

    run(body)


def test_a_failed_start_is_not_kept(run: Run) -> None:
    """R6: those who wait for the key get it, the slot is free again, and the next attempt is fresh."""
    cameras = Cameras(Limits(1))

    async def body() -> None:
        cameras.maker(0).starting.shut()
        cameras.maker(0).start_error = OSError("unplugged")
        jobs = cameras.line(0, 0)
        await until(lambda: waiting(cameras[0]) == 2)
        jobs += cameras.line(1)
        cameras.maker(0).starting.open()
        for job in jobs[:2]:
            assert str(await job.error()) == "unplugged"
        await (await jobs[2].result()).release()
        await enter(cameras[0])
        assert cameras.up == []

    run(body)


# Capacity


def test_a_newcomer_waits_for_a_slot(run: Run) -> None:
    """Scenario 9: the key that is up is still served; the next key waits until one is idle."""
    cameras = Cameras(Limits(2))

    async def body() -> None:
        first, second = await cameras[0].acquire(), await cameras[1].acquire()
        (third,) = cameras.line(2)
        await settled()
        assert not third.over
        assert (await enter(cameras[0])).alive
        await first.release()
        lease = await third.result()
        assert cameras.up == [1, 2]
        await lease.release()
        await second.release()

    run(body)


def test_the_key_that_lingered_longest_is_stopped_first(run: Run) -> None:
    """And no more of them than needed; what is held is never stopped."""
    cameras = Cameras(Limits(3), linger=100.0)

    async def body() -> None:
        with ManualClock() as clock:
            for key in (0, 1, 2):
                await enter(cameras[key])
                clock.advance(1.0)
            await enter(cameras[0])  # it has lingered for the shortest time now
            async with cameras[3]():
                assert cameras.up == [0, 2, 3]
                async with cameras[0](), cameras[4]():
                    assert cameras.up == [0, 3, 4]
            await cameras.family.close()

    run(body)
    assert cameras.alive == []


def test_slots_go_to_those_who_wait_in_order_of_coming(run: Run) -> None:
    """One after the other; the stop of each is over before the next start."""
    cameras = Cameras(Limits(1), turns=2)
    order: list[int] = []

    async def use(key: int) -> None:
        async with cameras[key]():
            assert cameras.alive == [key]
            order.append(key)
            await checkpoint()

    async def body() -> None:
        jobs: list[Job[None]] = []
        for key in range(6):
            jobs.append(Job(partial(use, key)))
            await settled(3)
        for job in jobs:
            await job.result()

    run(body)
    assert order == [*range(6)]


def test_a_timeout_ends_the_wait_and_leaves_nothing_behind(run: Run) -> None:
    """Nor does a cancellation; the one behind moves up."""
    cameras = Cameras(Limits(1))

    async def body() -> None:
        lease = await cameras[0].acquire()
        with pytest.raises(TimeoutError, match=r"camera\(1\) could not start before the timeout was over"):
            await cameras[1].acquire(timeout=0.01)
        cancelled, behind = cameras.line(2, 3)
        await settled()
        cancelled.cancel()
        await cancelled.wait()
        await lease.release()
        await (await behind.result()).release()
        assert [*cameras.makers] == [0, 1, 2, 3]
        assert [len(maker.made) for maker in cameras.makers.values()] == [1, 0, 0, 1]

    run(body)


def test_when_full_raise_refuses_at_once(run: Run) -> None:
    """Unless one lingers, which is stopped."""
    cameras = Cameras(Limits(1, "raise"), linger=math.inf, turns=2)

    async def body() -> None:
        async with cameras[0]():
            with pytest.raises(CapacityError, match=r"camera\(1\) cannot start: camera has a capacity of 1"):
                await cameras[1].acquire()
            assert cameras.up == [0]
        await enter(cameras[1])
        assert cameras.alive == [1]
        await cameras.family.close()

    run(body)


def test_weights_share_the_capacity(run: Run) -> None:
    """Heavy ones wait for enough room, and are not starved by light ones behind them."""
    cameras = Cameras(Limits(10, weighed=True))
    cameras.weights = {1: 6, 2: 5, 3: 1, 4: 11, 5: 0}
    order: list[int] = []

    async def use(key: int) -> None:
        async with cameras[key]():
            order.append(key)
            assert sum(cameras.weights[key] for key in cameras.alive) <= 10

    async def body() -> None:
        with pytest.raises(ValueError, match="a weight of 11 is more than the capacity of camera, 10"):
            cameras[4]
        lease = await cameras[1].acquire()
        heavy = Job(lambda: use(2))
        await settled(3)
        light = Job(lambda: use(3))
        await settled(3)
        await use(5)  # it weighs nothing, and waits for nobody
        assert order == [5]
        await lease.release()
        await heavy.result()
        await light.result()

    run(body)
    assert sorted(order[1:]) == [2, 3]


def test_who_takes_over_a_start_takes_over_the_place_in_line(run: Run) -> None:
    """The one who waits for the slot is cancelled; another waits for the same key, before a third key."""
    cameras = Cameras(Limits(1))

    async def body() -> None:
        lease = await cameras[0].acquire()
        first, second = cameras.line(1, 1)
        await until(lambda: waiting(cameras[1]) == 1)
        (third,) = cameras.line(2)
        await settled()
        first.cancel()
        await first.wait()
        await lease.release()
        taken = await second.result()
        await settled()
        assert not third.over
        await taken.release()
        await (await third.result()).release()

    run(body)


@pytest.mark.parametrize("what", ["start", "stop"])
def test_a_hook_that_is_given_up_frees_its_slot(run: Run, what: str) -> None:
    """By `invalidate`; its late end disturbs nobody."""
    cameras = Cameras(Limits(1))

    async def body() -> None:
        maker = cameras.maker(0)
        gate = maker.starting if what == "start" else maker.stopping
        gate.shut()
        hangs = cameras[0]
        job = Job(lambda: enter(hangs))
        await gate.wait_reached()
        (other,) = cameras.line(1)
        await settled()
        assert not other.over
        hangs.invalidate()
        lease = await other.result()
        gate.open()
        await job.result()
        assert lease.valid
        await lease.release()

    run(body)
    assert cameras.alive == []


def test_who_would_wait_for_its_own_block_is_told_so(run: Run) -> None:
    """Another task may wait; inside of a hook of the family, too."""
    cameras = Cameras(Limits(1))

    async def body() -> None:
        async with cameras[0]():
            with pytest.raises(ReentrantError, match=r"camera\(1\) inside a with-block of camera\(0\) would wait for"):
                await cameras[1].acquire()
            (other,) = cameras.line(2)
            await settled()
        await (await other.result()).release()

    run(body)


def test_a_hook_that_wants_another_key_of_a_full_family_is_told_so(run: Run) -> None:
    """At once, and the start fails with that."""
    family: AsyncFamily[Any] = AsyncFamily("camera", AsyncOptions(), Limits(1))

    async def start(_: object) -> None:
        await family.make(2, LivesOfAsyncOpener(Maker(), "two"), "camera(2)").acquire()

    def lives() -> Any:
        return AsyncSharedResource.of(object, start=start)._lives()  # pyright: ignore[reportPrivateUsage]  # a life

    async def body() -> None:
        error = await error_of(family.make(1, lives, "camera(1)").acquire())
        assert isinstance(error, ReentrantError)
        assert family.resources() == ()

    run(body)


def test_a_lost_lease_gives_its_slot_back(run: Run) -> None:
    """Who waits gets in."""
    cameras = Cameras(Limits(1))

    async def body() -> None:
        await cameras[0].acquire()
        (other,) = cameras.line(1)
        with pytest.warns(ResourceWarning, match=r"a lease of camera\(0\) was never released"):
            lease = await other.result()
        await lease.release()

    run(body)


def test_the_error_of_a_key_stopped_for_another_is_reported(run: Run) -> None:
    """It is not the newcomer's."""
    cameras = Cameras(Limits(1), linger=math.inf)
    failure = OSError("jammed")

    async def body() -> None:
        await enter(cameras[0])
        cameras.maker(0).stop_error = failure
        async with cameras[1]():
            pass
        await settled()
        assert run.told() == [failure]
        await cameras.family.close()

    run(body)


def test_a_victim_that_is_taken_again_is_spared(run: Run) -> None:
    """Somebody waits behind a held key, which comes back before it can be stopped."""
    cameras = Cameras(Limits(1), linger=math.inf)

    async def body() -> None:
        lease = await cameras[0].acquire()
        (other,) = cameras.line(1)
        await settled()
        again = await cameras[0].acquire()
        await lease.release()
        await settled()
        assert (again.value.alive, other.over) == (True, False)
        await again.release()
        await (await other.result()).release()
        await cameras.family.close()

    run(body)


# Close


def test_close_is_final(run: Run) -> None:
    """Of every key, up or not; those who wait for a slot are refused."""
    cameras = Cameras(Limits(1), linger=math.inf)

    async def body() -> None:
        lease = await cameras[0].acquire()
        (other,) = cameras.line(1)
        await settled()
        close = Job(cameras.family.close)
        assert isinstance(await other.error(), ClosedError)
        assert not close.over
        await lease.release()
        await close.result()
        assert cameras.alive == []
        with pytest.raises(ClosedError):
            cameras[7]
        await cameras.family.close()
        with pytest.raises(ClosedError):
            cameras[0]

    run(body)


def test_close_by_force_stops_under_the_holders(run: Run) -> None:
    """And gathers what the stops of those who lingered raised."""
    cameras = Cameras(linger=math.inf)

    async def body() -> None:
        lease = await cameras[0].acquire()
        for key in (1, 2):
            await enter(cameras[key])
            cameras.maker(key).stop_error = OSError(f"jammed {key}")
        assert sorted(map(str, leaves(await error_of(cameras.family.close(force=True))))) == ["jammed 1", "jammed 2"]
        assert (cameras.alive, lease.held) == ([], True)
        await lease.release()

    run(body)


def test_a_close_that_times_out_names_the_keys(run: Run) -> None:
    """It stays closed."""
    cameras = Cameras()

    async def body() -> None:
        lease = await cameras[0].acquire()
        with pytest.raises(TimeoutError, match=r"camera was still running after 0\.01 s: camera\(0\)"):
            await cameras.family.close(timeout=0.01)
        with pytest.raises(ClosedError):
            await lease.resource.acquire()
        await lease.release()
        assert cameras.alive == []

    run(body)


def test_close_inside_a_hook_is_refused(run: Run) -> None:
    """It would wait for itself; nothing is closed by that."""
    cameras = Cameras()
    errors: list[BaseException] = []

    async def start(_: object) -> None:
        errors.append(await error_of(cameras.family.close()))

    def lives() -> Any:
        return AsyncSharedResource.of(object, start=start)._lives()  # pyright: ignore[reportPrivateUsage]  # a life

    async def body() -> None:
        await enter(cameras.family.make(9, lives, "camera(9)"))
        assert [type(error) for error in errors] == [ReentrantError]
        await enter(cameras[0])

    run(body)


# A crowd


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("linger", [0.0, math.inf])
@pytest.mark.parametrize("seed", range(3))
def test_the_bound_holds_and_everybody_is_served(run: Run, seed: int, linger: float, overlap: bool) -> None:
    """Tasks come and go with many keys, some are cancelled, some have no time, starts and stops fail."""
    dice = random.Random(seed)
    cameras = Cameras(Limits(3), turns=1, linger=linger, overlap=overlap)
    served: list[int] = []

    async def visit(key: int) -> None:
        async with cameras[key]() as value:
            assert value.alive
            assert len(cameras.alive) <= 3
            await checkpoint(dice.randrange(3))
            served.append(key)

    async def consume() -> None:
        for _ in range(8):
            key = dice.randrange(6)
            maker = cameras.maker(key)
            chance = dice.randrange(10)
            if chance == 0:
                maker.start_error = OSError("start")
            elif chance == 1 and not linger:
                maker.stop_error = OSError("stop")
            with suppress(OSError, TimeoutError):
                if chance == 2:
                    with anyio.move_on_after(0):
                        await visit(key)
                elif chance == 3:
                    async with await cameras[key].acquire(timeout=0.001):
                        pass
                elif chance == 4 and not overlap and cameras[key].state is State.RUNNING:  # else a hook is given up
                    cameras[key].invalidate()
                else:
                    await visit(key)

    async def body() -> None:
        jobs = [Job(consume) for _ in range(10)]
        for job in dice.sample(jobs, 2):
            await checkpoint(dice.randrange(20))
            job.cancel()
        for job in jobs:
            await job.wait()
            assert not job.failed, await job.error()
        for maker in cameras.makers.values():
            maker.start_error = maker.stop_error = None
        for key in range(6):
            await visit(key)
        await cameras.family.close(timeout=WAIT)
        run.told()  # stops of which nobody was there to hear
        assert (cameras.up, cameras.alive) == ([], [])

    run(body, cycles=True)
    assert len(served) > 20


def test_many_leases_of_many_keys_on_one_stack(run: Run) -> None:
    """All slots of a task's own, given back in one go."""
    cameras = Cameras(Limits(5))

    async def body() -> None:
        for _ in range(3):
            async with AsyncExitStack() as stack:
                for key in range(5):
                    await stack.enter_async_context(cameras[key]())
                assert cameras.up == [*range(5)]
                assert isinstance(await error_of(cameras[7].acquire()), ReentrantError)
            assert cameras.up == []

    run(body)


@pytest.mark.parametrize("timeout", [-1.0, math.nan])
def test_a_bad_timeout_closes_nothing(run: Run, timeout: float) -> None:
    """It is named, and the family goes on."""
    cameras = Cameras()

    async def body() -> None:
        with pytest.raises(ValueError, match="timeout must be"):
            await cameras.family.close(timeout=timeout)
        await enter(cameras[0])

    run(body)
