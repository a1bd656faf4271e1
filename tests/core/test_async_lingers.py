"""What comes between the holders, for tasks on every event loop: lingers, checks, observers, and lost leases."""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any
from weakref import ref

import pytest

from refcount import AsyncLease, AsyncSharedResource, State
from refcount.testing import ManualClock
from tests.helpers.cameras import Camera, Maker, enter, held, waiting
from tests.helpers.loops import WAIT, Gate, Job, Run, checkpoint, error_of, settled, until


@pytest.fixture(name="maker")
def a_maker() -> Maker:
    """An opener with a diary."""
    return Maker()


@pytest.fixture(name="camera")
def a_resource(maker: Maker) -> AsyncSharedResource[Camera]:
    """A resource of that opener, with default options."""
    return AsyncSharedResource(maker, name="camera")


@pytest.fixture(name="clock")
def a_clock() -> Generator[ManualClock]:
    """A clock that the test moves."""
    with ManualClock() as clock:
        yield clock


# Linger, on a clock that the test moves


def test_linger_keeps_it_for_the_next(run: Run, maker: Maker, clock: ManualClock) -> None:
    """Scenario 5, rule 11: reused at 5 of 10 s, still up 9 s after that release, stopped at 10, then started again."""
    camera = AsyncSharedResource(maker, linger=10.0)

    async def body() -> None:
        first = await enter(camera)
        clock.advance(5.0)
        assert await enter(camera) is first
        clock.advance(9.0)
        assert camera.state is State.LINGERING
        clock.advance(1.0)
        await camera.wait_stopped()
        assert (camera.state, maker.diary) == (State.IDLE, ["start 1", "stop 1"])
        assert (await enter(camera)).number == 2
        await camera.flush()

    run(body)


def test_an_old_deadline_stops_no_newer_hold(run: Run, maker: Maker, clock: ManualClock) -> None:
    """Scenario 6, rule 11: taken again at 9 of 10 s and held for long, it stays up, and then lingers its whole time."""
    camera = AsyncSharedResource(maker, linger=10.0)

    async def body() -> None:
        await enter(camera)
        clock.advance(9.0)
        async with camera() as value:
            clock.advance(1000.0)
            await settled()
            assert value.alive
        clock.advance(9.9)
        await settled()
        assert value.alive
        clock.advance(0.1)
        await settled()
        assert not value.alive

    run(body)


def test_touch_begins_the_linger_anew(run: Run, maker: Maker, clock: ManualClock) -> None:
    """Scenario 7: touched at 500 of 1000 s it is up at 1000 and stopped at 1500; the count never changed."""
    camera = AsyncSharedResource(maker, linger=1000.0)
    told: list[int] = []

    async def body() -> None:
        await enter(camera)
        end = camera.observe(told.append)
        clock.advance(500.0)
        camera.touch()
        clock.advance(999.0)
        assert camera.state is State.LINGERING
        clock.advance(1.0)
        await camera.wait_stopped()
        assert (camera.state, told) == (State.IDLE, [])
        end()

    run(body)


def test_touch_of_what_is_held_does_not_shorten_its_linger(run: Run, maker: Maker, clock: ManualClock) -> None:
    """It counts from the release, whatever was touched before."""
    camera = AsyncSharedResource(maker, linger=10.0)

    async def body() -> None:
        async with camera():
            camera.touch()
            clock.advance(9.0)
        clock.advance(9.0)
        assert camera.state is State.LINGERING
        await camera.close()

    run(body)


def test_an_infinite_linger_ends_by_flush_or_close(run: Run, maker: Maker, clock: ManualClock) -> None:
    """Rule 11: no time ends it."""
    camera = AsyncSharedResource(maker, linger=math.inf)

    async def body() -> None:
        await enter(camera)
        clock.advance(1e12)
        await settled()
        assert maker.alive == [1]
        assert await camera.flush()
        assert maker.alive == []
        await enter(camera)
        await camera.close()
        assert maker.alive == []

    run(body)


def test_without_a_linger_the_last_releaser_waits_for_the_stop(run: Run, maker: Maker) -> None:
    """Rule 11: 0 seconds stops before the release returns."""
    maker.turns = 5
    camera = AsyncSharedResource(maker)

    async def body() -> None:
        await enter(camera)
        assert maker.alive == []
        lease = await camera.acquire()
        await lease.release()
        assert maker.alive == []

    run(body)


def test_coming_back_sets_no_timer(run: Run, maker: Maker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 11: a thousand visits within one linger set one timer, and the last of them decides when it ends."""
    timers: list[float] = []
    set_timer = clock.at

    def at(deadline: float, job: Any) -> object:
        timers.append(deadline)
        return set_timer(deadline, job)

    monkeypatch.setattr(clock, "at", at)
    camera = AsyncSharedResource(maker, linger=10.0)

    async def body() -> None:
        for _ in range(1000):
            await enter(camera)
            clock.advance(0.001)
        assert len(timers) <= 2
        clock.advance(9.998)
        await settled()
        assert maker.alive == [1]
        clock.advance(0.1)
        await settled()
        assert maker.alive == []

    run(body)


@pytest.mark.parametrize("how", ["flush", "close", "invalidate", "abandon"])
def test_what_ended_by_other_means_is_kept_by_no_timer(run: Run, clock: ManualClock, how: str) -> None:
    """A timer that is not due for an hour keeps neither the value nor the resource."""
    kept: list[Any] = []

    async def body() -> None:
        resource = AsyncSharedResource.of(lambda: Camera(0), linger=3600.0)
        kept.extend((ref(await enter(resource)), ref(resource)))
        await checkpoint(0)
        ended = getattr(resource, how)()
        if ended is not None:
            await ended
        await resource.wait_stopped()

    run(body, kept=2 if how == "abandon" else 0)
    if how != "abandon":
        gc.collect()
        assert [it() for it in kept] == [None, None]
    clock.advance(3600.0)


# Linger, on the clocks of the loops


def test_a_linger_ends_by_itself(run_asyncio: Run, maker: Maker) -> None:
    """On the loop's own clock, also after coming back in time."""
    camera = AsyncSharedResource(maker, linger=0.02)

    async def body() -> None:
        await enter(camera)
        await enter(camera)
        assert camera.state is State.LINGERING
        await until(lambda: camera.state is State.IDLE)
        assert (await enter(camera)).number == 2
        await camera.wait_stopped(timeout=WAIT)
        assert maker.alive == []

    run_asyncio(body)
    assert maker.diary == ["start 1", "stop 1", "start 2", "stop 2"]


def test_a_linger_ends_by_itself_on_trios_clock(run_trio: Run, maker: Maker) -> None:
    """Exactly when it is due, whatever other tasks wait for; with 0 s left it is up, and then it is not."""
    import trio
    from trio.testing import MockClock

    camera = AsyncSharedResource(maker, linger=10.0)

    async def body() -> None:
        await enter(camera)
        await trio.sleep(9.5)
        assert (await enter(camera)).alive
        await trio.sleep(9.5)
        assert maker.alive == [1]
        before = trio.current_time()
        await camera.wait_stopped()
        assert trio.current_time() - before == pytest.approx(0.5)
        async with camera():
            await trio.sleep(100)
        await trio.sleep(5)
        camera.touch()
        await trio.sleep(9)
        assert maker.alive == [2]
        await trio.sleep(2)
        assert camera.state is State.IDLE

    run_trio(body, clock=MockClock(autojump_threshold=0))
    assert maker.diary == ["start 1", "stop 1", "start 2", "stop 2"]


def test_many_lingers_end_each_at_its_time(run_trio: Run) -> None:
    """The later ones are not disturbed by the earlier ones."""
    import trio
    from trio.testing import MockClock

    ends: dict[int, float] = {}

    async def body() -> None:
        resources: list[AsyncSharedResource[int]] = []
        begin = trio.current_time()
        for seconds in (3, 1, 2):

            def stop(which: int) -> None:
                ends[which] = trio.current_time() - begin

            resources.append(AsyncSharedResource.of(lambda it=seconds: it, stop=stop, linger=seconds))
            await enter(resources[-1])
        for resource in resources:
            await resource.wait_stopped()

    run_trio(body, clock=MockClock(autojump_threshold=0))
    assert ends == {1: pytest.approx(1), 2: pytest.approx(2), 3: pytest.approx(3)}


# Check


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_check_is_asked_for_newcomers_only(run: Run, maker: Maker, kind: str) -> None:
    """Rule 10: not for the one who starts it; once for each newcomer to what runs or lingers."""
    asked: list[int] = []

    def check(value: Camera) -> bool:
        asked.append(value.number)
        return True

    async def slow(value: Camera) -> bool:
        await checkpoint()
        return check(value)

    camera: AsyncSharedResource[Camera] = AsyncSharedResource(
        maker, check=check if kind == "sync" else slow, linger=math.inf
    )

    async def body() -> None:
        async with camera():
            assert asked == []
            await enter(camera)
            assert asked == [1]
        async with await held(camera.try_acquire()):
            assert asked == [1, 1]
        await camera.close()

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


@pytest.mark.parametrize("verdict", ["false", "falsy", "raises", "raises later"])
def test_a_bad_check_ends_the_linger(run: Run, maker: Maker, verdict: str) -> None:
    """Scenario 17, rule 10: what died while lingering is stopped, and the consumer gets a fresh one at once."""

    def check(value: Camera) -> Any:
        if verdict == "raises":
            raise OSError("no answer")
        if verdict == "raises later":
            return later()
        return False if verdict == "false" else ""

    async def later() -> bool:
        await checkpoint()
        raise OSError("no answer")

    camera = AsyncSharedResource(maker, check=check, linger=math.inf)

    async def body() -> None:
        await enter(camera)
        assert (await enter(camera)).number == 2
        assert maker.diary == ["start 1", "stop 1", "start 2"]
        assert [str(error) for error in run.told()] == (["no answer"] if "raises" in verdict else [])
        await camera.close()

    run(body)


def test_a_bad_check_leaves_holders_their_value(run: Run, maker: Maker) -> None:
    """Rule 10: it invalidates, so that holders keep it, and the newcomer gets a fresh one beside it."""
    camera = AsyncSharedResource(maker, check=lambda _: False)

    async def body() -> None:
        async with camera() as old:
            async with camera() as new:
                assert (old.number, new.number, old.alive) == (1, 2, True)
            assert maker.alive == [1]
        assert maker.alive == []

    run(body)


def test_a_bad_value_is_stopped_before_the_next_start_even_while_others_check_it(run: Run, maker: Maker) -> None:
    """Rules 6 and 10: two newcomers check what lingers, one finds it bad: the new start waits for the stop."""
    checking = Gate()
    calls: list[int] = []

    async def check(value: Camera) -> bool:
        calls.append(value.number)
        number = len(calls)
        if number == 1:
            await checking.pass_through()
        return number != 2

    camera = AsyncSharedResource(maker, check=check, linger=math.inf)

    async def body() -> None:
        checking.shut()
        await enter(camera)
        slow = Job(camera.acquire)
        await checking.wait_reached()
        quick = Job(camera.acquire)
        await until(lambda: waiting(camera) == 1)
        assert maker.diary == ["start 1"]
        checking.open()
        async with await slow.result() as one, await quick.result() as two:
            assert one is two
            assert (maker.most_alive, maker.diary) == (1, ["start 1", "stop 1", "start 2"])
        await camera.close()

    run(body)


def test_a_cancelled_check_says_nothing_of_the_value(run: Run, maker: Maker) -> None:
    """Whoever asks is cancelled: the value stays up for the others, and is not invalidated."""
    checking = Gate()

    async def check(value: Camera) -> bool:
        await checking.pass_through()
        return True

    camera = AsyncSharedResource(maker, check=check, linger=math.inf)

    async def body() -> None:
        await enter(camera)
        checking.shut()
        for _ in range(3):
            job = Job(camera.acquire)
            await checking.wait_reached()
            job.cancel()
            await job.wait()
            assert (camera.state, camera.usecount) == (State.LINGERING, 0)
        checking.open()
        assert (await enter(camera)).number == 1
        await camera.close()

    run(body)


def test_try_acquire_of_a_bad_value_gives_none(run: Run, maker: Maker) -> None:
    """It never starts anything, not even in place of what it has found bad."""
    camera = AsyncSharedResource(maker, check=lambda _: False, linger=math.inf)

    async def body() -> None:
        await enter(camera)
        assert await camera.try_acquire() is None
        await camera.wait_stopped()
        assert (camera.state, maker.diary) == (State.IDLE, ["start 1", "stop 1"])

    run(body)


def test_what_is_closed_during_a_check_is_refused(run: Run, maker: Maker) -> None:
    """The newcomer gets `ClosedError`, and what lingered is stopped."""
    checking = Gate()

    async def check(value: Camera) -> bool:
        await checking.pass_through()
        return True

    camera = AsyncSharedResource(maker, name="camera", check=check, linger=math.inf)

    async def body() -> None:
        await enter(camera)
        checking.shut()
        job = Job(camera.acquire)
        await checking.wait_reached()
        close = Job(camera.close)
        await until(lambda: camera.state is State.CLOSED)
        checking.open()
        assert str(await job.error()) == "camera is closed"
        await close.result()
        assert maker.alive == []

    run(body)


# Observers


def test_each_waiter_that_is_let_in_is_told_one_by_one(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Waiters of one start come in together, and an observer is told 1, 2, 3, never a jump."""
    told: list[int] = []

    async def body() -> None:
        end = camera.observe(told.append)
        maker.starting.shut()
        jobs = [Job(camera.acquire) for _ in range(3)]
        await until(lambda: waiting(camera) == 3)
        maker.starting.open()
        for job in jobs:
            await (await job.result()).release()
        end()

    run(body)
    assert (told[0], told[-1], len(told)) == (1, 0, 6)
    assert all(abs(after - before) == 1 for before, after in pairwise(told))


def test_an_observer_is_told_every_change_in_order(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """Eight tasks come and go; each change is there, each by one."""
    told = [0]

    async def consume() -> None:
        for turn in range(20):
            async with camera():
                await checkpoint(turn % 2)

    async def body() -> None:
        async with camera():
            end = camera.observe(told.append)
            told[0] = 1
            for job in [Job(consume) for _ in range(8)]:
                await job.result()
            end()

    run(body)
    assert (len(told), told[-1]) == (321, 1)
    assert {after - before for before, after in pairwise(told)} == {1, -1}


def test_an_observer_that_raises_disturbs_nothing(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """The error is reported, the count is right, and the other observers are told."""
    told: list[int] = []

    def bad(usecount: int) -> None:
        raise OSError(f"observer {usecount}")

    async def body() -> None:
        ends = [camera.observe(bad), camera.observe(told.append)]
        await enter(camera)
        for end in ends:
            end()
        assert [str(error) for error in run.told()] == ["observer 1", "observer 0"]
        assert (told, camera.usecount) == ([1, 0], 0)

    run(body)


def test_an_observer_ended_leaves_the_hot_paths_hot(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """What is observed pays for it; afterwards nothing does."""

    async def body() -> None:
        async with camera():
            camera.observe(print)()
            machine = camera._machine  # pyright: ignore[reportPrivateUsage]  # nothing public shows which path it is
            assert machine.hot is machine.current is not None

    run(body)


# Lost leases


@pytest.mark.parametrize("others", [0, 1])
def test_a_lost_lease_is_reported_and_given_back(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker, others: int
) -> None:
    """Scenario 20, rule 14: one warning that names the resource; the lease is given back in the loop."""

    async def body() -> None:
        leases = [await camera.acquire() for _ in range(others)]
        await camera.acquire()
        with pytest.warns(ResourceWarning, match="a lease of camera was never released") as warned:
            await until(lambda: camera.usecount == others)
        await settled()
        assert len(warned) == 1
        assert maker.alive == [1] * others
        for lease in leases:
            await lease.release()

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_a_lease_in_a_cycle_is_found_lost_by_the_collector(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """The finalizer only queues: nothing is stopped inside of the collector."""

    async def body() -> None:
        cycle: list[object] = [await camera.acquire()]
        cycle.append(cycle)
        del cycle
        gc.collect()
        assert maker.diary == ["start 1"]
        with pytest.warns(ResourceWarning, match="a lease of camera was never released"):
            await until(lambda: camera.state is State.IDLE)

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_a_lease_lost_in_another_thread_is_given_back_in_its_loop(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Whoever drops it last."""
    import threading

    async def body() -> None:
        box: list[AsyncLease[Camera]] = [await camera.acquire()]
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()
        with pytest.warns(ResourceWarning, match="a lease of camera was never released"):
            await until(lambda: camera.state is State.IDLE)

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_correct_use_reports_no_loss(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """Scenario 20: fifty tasks that acquire and release correctly; warnings are errors here."""

    async def consume() -> None:
        for _ in range(5):
            with pytest.raises(KeyError):
                async with camera():
                    raise KeyError
            await (await camera.acquire()).release()

    async def body() -> None:
        for job in [Job(consume) for _ in range(50)]:
            await job.result()
        gc.collect()
        assert camera.usecount == 0

    run(body)


def test_a_lease_that_is_not_held_is_dropped_in_silence(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """One that was never entered, one whose start failed, one that was released."""

    async def body() -> None:
        camera()
        await (await camera.acquire()).release()
        numbers: list[int] = []
        await error_of(AsyncSharedResource.of(numbers.pop).acquire())
        await settled()

    run(body)


# Generators and coroutines that are closed late


def test_an_async_generator_that_is_closed_late_loses_no_release(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """It is dropped while it holds a lease: the loop closes it, or the lease is found lost; it is stopped anyway."""

    async def frames() -> AsyncGenerator[int]:
        async with camera() as value:
            while True:
                yield value.number

    async def body() -> None:
        async for frame in frames():
            assert frame == 1
            break
        await until(lambda: camera.state is State.IDLE)

    if run.trio:
        with pytest.warns(ResourceWarning):  # trio's own, about the generator
            run(body)
    else:
        run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_an_async_generator_that_is_closed_in_another_task(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Begun here, closed there; and one whose closing is cancelled."""

    async def frames() -> AsyncGenerator[int]:
        async with camera() as value:
            yield value.number

    async def body() -> None:
        generator = frames()
        assert await anext(generator) == 1
        await Job(generator.aclose).result()
        assert maker.alive == []
        generator = frames()
        assert await anext(generator) == 2
        maker.stopping.shut()
        job = Job(generator.aclose)
        await maker.stopping.wait_reached()
        job.cancel()
        await settled()
        maker.stopping.open()
        await job.wait()
        await camera.wait_stopped()
        assert (maker.alive, camera.usecount) == ([], 0)

    run(body)


def test_a_coroutine_that_is_closed_while_it_waits_leaves_nothing(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """`coroutine.close()` at each place where it waits: for another's start, for a stop, and holding the value."""

    async def body() -> None:
        maker.starting.shut()
        first = Job(camera.acquire)
        await maker.starting.wait_reached()
        waiter = enter(camera)
        waiter.send(None)
        assert waiting(camera) == 2
        waiter.close()
        assert waiting(camera) == 1
        maker.starting.open()
        lease = await first.result()
        maker.stopping.shut()
        release = Job(lease.release)
        await maker.stopping.wait_reached()
        waiter = enter(camera)
        waiter.send(None)
        waiter.close()
        assert waiting(camera) == 0
        maker.stopping.open()
        await release.result()
        assert (camera.usecount, camera.state) == (0, State.IDLE)

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_an_exit_stack_gives_back_whatever_happens(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Leases entered on a stack, which is closed by another task."""

    async def body() -> None:
        stack = AsyncExitStack()
        for _ in range(3):
            await stack.enter_async_context(camera())
        await Job(stack.aclose).result()
        assert (camera.usecount, maker.alive) == (0, [])

    run(body)
