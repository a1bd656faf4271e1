"""`AsyncSharedResource` and `AsyncLease` on every event loop: lives, leases, waiting, stopping, closing.

Scenarios and rules are numbered as in `test_shared`, which has the same ones for threads.
"""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from refcount import (
    AsyncLease,
    AsyncSharedResource,
    ClosedError,
    ReentrantError,
    RefcountError,
    ReleasedError,
    State,
    UnderflowException,
)
from refcount.testing import ManualClock
from tests.helpers.cameras import Camera, Maker, enter, held, waiting
from tests.helpers.loops import WAIT, Job, Run, checkpoint, error_of, settled, stubborn, until


@pytest.fixture(name="maker")
def a_maker() -> Maker:
    """An opener with a diary."""
    return Maker()


@pytest.fixture(name="camera")
def a_resource(maker: Maker) -> AsyncSharedResource[Camera]:
    """A resource of that opener, with default options."""
    return AsyncSharedResource(maker, name="camera")


# The life of a resource


def test_it_starts_with_the_first_stops_with_the_last_and_starts_again(run: Run, maker: Maker) -> None:
    """Scenario 1, rule 1: nothing at construction; overlapping holders share one start; a later one starts anew."""
    camera = AsyncSharedResource(maker)
    assert maker.diary == []

    async def body() -> None:
        async with camera() as only:
            assert only.number == 1
        async with camera() as first:
            async with camera() as second:
                assert first is second
            assert first.alive

    run(body)
    assert maker.diary == ["start 1", "stop 1", "start 2", "stop 2"]


def test_what_can_be_seen_follows_the_life(run: Run, maker: Maker) -> None:
    """State, usecount and generation at each point of a life."""
    camera = AsyncSharedResource(maker, name="camera", linger=math.inf)

    def look() -> tuple[State, int, int | None]:
        return camera.state, camera.usecount, camera.generation

    async def body() -> None:
        assert look() == (State.IDLE, 0, None)
        maker.starting.shut()
        job = Job(camera.acquire)
        await maker.starting.wait_reached()
        assert look() == (State.STARTING, 0, 1)
        maker.starting.open()
        lease = await job.result()
        assert look() == (State.RUNNING, 1, 1)
        await lease.release()
        assert look() == (State.LINGERING, 0, 1)
        maker.stopping.shut()
        flush = Job(camera.flush)
        await maker.stopping.wait_reached()
        assert look() == (State.STOPPING, 0, 1)
        maker.stopping.open()
        assert await flush.result()
        assert look() == (State.IDLE, 0, None)
        await enter(camera)
        assert look() == (State.LINGERING, 0, 2)
        await camera.close()
        assert look() == (State.CLOSED, 0, None)
        assert repr(camera) == "<AsyncSharedResource camera, closed, usecount=0>"

    run(body)


def test_concurrent_first_consumers_share_one_start(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Scenario 2, rule 1: a second acquirer during the start gets the same object; one start, one stop."""

    async def body() -> None:
        maker.starting.shut()
        jobs = [Job(camera.acquire) for _ in range(8)]
        await until(lambda: waiting(camera) == 8)
        maker.starting.open()
        leases = [await job.result() for job in jobs]
        assert {lease.value.number for lease in leases} == {1}
        assert camera.usecount == 8
        for lease in leases:
            assert maker.made[0].alive
            assert await lease.release()

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_a_failed_start_is_shared_by_all_who_waited_and_then_forgotten(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Scenario 4, rule 1: a start raises while 20 others wait: one attempt, 21 times that same error."""
    failure = OSError("unplugged")

    async def body() -> None:
        maker.starting.shut()
        maker.start_error = failure
        jobs = [Job(camera.acquire) for _ in range(21)]
        await until(lambda: waiting(camera) == 21)
        maker.starting.open()
        for job in jobs:
            assert await job.error() is failure
        assert failure.__notes__ == ["while starting camera, generation 1"]
        assert maker.diary == ["start 1"]
        assert (camera.usecount, camera.state) == (0, State.IDLE)
        assert (await enter(camera)).number == 1
        assert maker.diary == ["start 1", "start 1", "stop 1"]
        assert camera.generation is None

    run(body)


def test_the_error_of_a_start_does_not_grow_with_those_who_raise_it(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """The traceback of the hundredth waiter is as long as that of the first."""

    async def body() -> None:
        maker.starting.shut()
        maker.start_error = OSError("unplugged")
        depths: list[int] = []

        async def use() -> None:
            try:
                await camera.acquire()
            except OSError as error:
                trace, depth = error.__traceback__, 0
                while trace is not None:
                    trace, depth = trace.tb_next, depth + 1
                depths.append(depth)

        jobs = [Job(use) for _ in range(30)]
        await until(lambda: waiting(camera) == 30)
        maker.starting.open()
        for job in jobs:
            await job.result()
        assert len(depths) == 30
        assert len(set(depths)) == 1

    run(body)


def test_what_a_failing_start_had_begun_is_rolled_back_once(run: Run) -> None:
    """Scenario 3: what was opened before a later step failed is closed at once, and never again."""
    diary: list[str] = []

    @asynccontextmanager
    async def driver() -> AsyncGenerator[None]:
        diary.append("load")
        try:
            yield
        finally:
            await checkpoint()
            diary.append("unload")

    @asynccontextmanager
    async def opener() -> AsyncGenerator[None]:
        async with driver():
            if diary == ["load"]:
                raise OSError("no power")
            yield

    camera = AsyncSharedResource(opener)

    async def body() -> None:
        assert str(await error_of(camera.acquire())) == "no power"
        assert diary == ["load", "unload"]
        await (await camera.acquire()).release()
        await camera.close()

    run(body)
    assert diary == ["load", "unload", "load", "unload"]


def test_starts_that_fail_do_not_linger(run: Run, maker: Maker) -> None:
    """R8, rule 1: with a linger, too, the consumer after a failed start gets a fresh attempt at once."""
    camera = AsyncSharedResource(maker, linger=3600.0)

    async def body() -> None:
        maker.start_error = OSError("unplugged")
        assert str(await error_of(camera.acquire())) == "unplugged"
        assert camera.state is State.IDLE
        assert (await enter(camera)).number == 1
        await camera.close()

    run(body)


def test_an_instant_visitor_is_seen(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Scenario 15: coming and leaving at once still starts and stops once, and an observer sees 1 and 0."""
    told: list[int] = []

    async def body() -> None:
        end = camera.observe(told.append)
        await enter(camera)
        end()

    run(body)
    assert (told, maker.diary) == ([1, 0], ["start 1", "stop 1"])


def test_the_last_one_may_leave_from_another_task(run: Run, maker: Maker) -> None:
    """Who starts it leaves first; who stops it is another, and the opener runs in one task all the same."""
    tasks: list[object] = []

    async def body() -> None:
        from refcount._core.loops import here

        @asynccontextmanager
        async def opener() -> AsyncGenerator[Camera]:
            tasks.append(here().current_task())
            async with maker() as value:
                yield value
            tasks.append(here().current_task())

        camera = AsyncSharedResource(opener)
        first = await Job(camera.acquire).result()
        second = await Job(camera.acquire).result()
        assert await Job(first.release).result()
        assert maker.alive == [1]
        assert await Job(second.release).result()
        assert maker.alive == []
        assert tasks[0] is tasks[1]
        assert tasks[0] is not here().current_task()
        tasks.clear()

    run(body)


def test_joining_and_leaving_give_way_to_nobody(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """While others hold it, a with-statement lets no other task run: it is over in one step."""

    async def body() -> None:
        async with camera():
            coroutine = enter(camera)
            with pytest.raises(StopIteration):
                coroutine.send(None)

    run(body)


# Leases


def test_a_lease_is_released_once(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Scenario 10: a second release says False and takes nothing from the others."""

    async def body() -> None:
        async with camera():
            lease = await camera.acquire()
            assert (lease.held, lease.valid, lease.resource) == (True, True, camera)
            assert [await lease.release(), await lease.release(), await lease.release()] == [True, False, False]
            assert (camera.usecount, maker.alive, lease.held, lease.valid) == (1, [1], False, False)
            assert repr(lease) == "<AsyncLease of camera, not held>"

    run(body)


@pytest.mark.parametrize("others", [0, 1])
def test_of_racing_releases_of_one_lease_one_wins(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker, others: int
) -> None:
    """Scenarios 10 and 19: of four tasks that release the same lease, exactly one does, the last lease or not."""
    maker.turns = 2

    async def body() -> None:
        leases = [await camera.acquire() for _ in range(others)]
        lease = await camera.acquire()
        jobs = [Job(lease.release) for _ in range(4)]
        assert sorted([await job.result() for job in jobs]) == [False, False, False, True]
        assert camera.usecount == others
        for other in leases:
            await other.release()

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_a_lease_has_a_value_only_while_held(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """Reading the value before and after raises an error that names the resource."""

    async def body() -> None:
        lease = camera()
        with pytest.raises(ReleasedError, match="camera, not held"):
            lease.value
        async with lease as value:
            assert lease.value is value
        with pytest.raises(ReleasedError, match="camera, not held"):
            lease.value
        with pytest.raises(ReleasedError, match="camera, not held"):
            lease.invalidate()

    run(body)


def test_a_lease_is_entered_once(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """A second with on a lease is an error that says to take a new one, be it inside the first or after it."""

    async def body() -> None:
        lease = camera()
        async with lease:
            with pytest.raises(RefcountError, match=r"camera, held.*was entered before.*take a new one"):
                await lease.__aenter__()
            assert camera.usecount == 1
        with pytest.raises(RefcountError, match="take a new one"):
            await lease.__aenter__()
        with pytest.raises(RefcountError, match="take a new one"):
            await lease.acquire()

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_an_acquired_lease_can_be_entered_once(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """`async with await resource.acquire()` counts once; after a release, or a second time, it is refused."""

    async def body() -> None:
        async with await camera.acquire() as value:
            assert (value.number, camera.usecount) == (1, 1)
        assert camera.usecount == 0
        released = await camera.acquire()
        await released.release()
        with pytest.raises(ReleasedError, match="was released"):
            await released.__aenter__()
        entered = await camera.acquire()
        async with entered:
            with pytest.raises(RefcountError, match="take a new one"):
                await entered.__aenter__()
        assert camera.usecount == 0

    run(body)


def test_a_lease_may_be_released_inside_its_with(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Leaving the with after that is harmless, even when somebody else has started a new generation meanwhile."""

    async def body() -> None:
        lease = camera()
        async with lease:
            assert await lease.release()
            other = await camera.acquire()
        assert (camera.usecount, maker.alive) == (1, [2])
        await other.release()

    run(body)


def test_a_plain_with_says_what_to_write(camera: AsyncSharedResource[Camera]) -> None:
    """`with lease:` is refused by name."""
    lease: Any = camera()
    with pytest.raises(TypeError, match="is entered by `async with`"), lease:
        pass


def test_a_consumers_error_is_its_own(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Rule 8: what a with-body raises is not thrown into the opener, and comes out unchanged."""

    async def body() -> None:
        async with camera() as other:
            with pytest.raises(KeyError):
                async with camera():
                    raise KeyError("mine")
            assert other.alive
        with pytest.raises(KeyError, match="last"):
            async with camera():
                raise KeyError("last")

    run(body)
    assert maker.diary == ["start 1", "stop 1", "start 2", "stop 2"]  # the stop is a plain line after the yield


def test_try_acquire_takes_only_what_is_up(run: Run, maker: Maker) -> None:
    """None when idle, starting or stopping, a lease when running or lingering, an error when closed."""
    camera = AsyncSharedResource(maker, linger=math.inf)

    async def body() -> None:
        assert await camera.try_acquire() is None
        maker.starting.shut()
        start = Job(camera.acquire)
        await maker.starting.wait_reached()
        assert await camera.try_acquire() is None
        maker.starting.open()
        async with await start.result(), await held(camera.try_acquire()) as running:
            assert running.number == 1
        assert camera.state is State.LINGERING
        async with await held(camera.try_acquire()):
            assert camera.usecount == 1
        maker.stopping.shut()
        stop = Job(camera.flush)
        await maker.stopping.wait_reached()
        assert await camera.try_acquire() is None
        maker.stopping.open()
        await stop.result()
        await camera.close()
        with pytest.raises(ClosedError, match="is closed"):
            await camera.try_acquire()

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_anonymous_holds_count(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """`inc` and `dec` from different tasks; the last `dec` stops; one too many is an error and changes nothing."""

    async def body() -> None:
        await Job(camera.inc).result()
        await Job(camera.inc).result()
        async with camera():
            assert camera.usecount == 3
        await Job(camera.dec).result()
        assert (camera.usecount, maker.alive) == (1, [1])
        await Job(camera.dec).result()
        assert (camera.usecount, maker.alive) == (0, [])
        with pytest.raises(UnderflowException, match="camera has no anonymous hold"):
            await camera.dec()
        async with camera():
            with pytest.raises(UnderflowException):
                await camera.dec()
            assert camera.usecount == 1

    run(body)


def test_an_inc_that_is_cancelled_counts_nothing(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Nor does one whose start fails."""

    async def body() -> None:
        maker.starting.shut()
        job = Job(camera.inc)
        await maker.starting.wait_reached()
        job.cancel()
        await job.wait()
        maker.starting.open()
        await until(lambda: camera.state is State.IDLE)
        maker.start_error = OSError("unplugged")
        await error_of(camera.inc())
        with pytest.raises(UnderflowException):
            await camera.dec()

    run(body)


# Waiting, timeouts, cancellation


def test_a_waiter_that_times_out_disturbs_nobody(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """R3: of two waiters one gives up; the start goes on, the other gets its value, and it was one attempt."""

    async def body() -> None:
        maker.starting.shut()
        starter = Job(camera.acquire)
        await maker.starting.wait_reached()
        patient = Job(camera.acquire)
        with pytest.raises(TimeoutError, match=r"camera was still starting"):
            await camera.acquire(timeout=0.01)
        maker.starting.open()
        async with await starter.result() as one, await patient.result() as two:
            assert one is two
            assert (camera.usecount, maker.diary) == (2, ["start 1"])

    run(body)


@pytest.mark.parametrize("timeout", [0.0, 0.01])
def test_a_timeout_of_the_only_one_ends_the_start(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker, timeout: float
) -> None:
    """Nobody waits for the start any more, so it is cancelled; the lease may be tried again."""

    async def body() -> None:
        maker.starting.shut()
        lease = camera()
        with pytest.raises(TimeoutError, match="camera was still starting"):
            await lease.acquire(timeout=timeout)
        await until(lambda: camera.state is State.IDLE)
        assert camera.usecount == 0
        maker.starting.open()
        async with await lease.acquire() as value:
            assert value.number == 1

    run(body)
    assert [entry for entry in maker.diary if entry.startswith("stop")] == ["stop 1"]


def test_a_timeout_ends_waiting_for_a_stop(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """The one who gave up leaves nothing behind: after the stop nothing starts."""

    async def body() -> None:
        maker.stopping.shut()
        stop = Job(lambda: enter(camera))
        await maker.stopping.wait_reached()
        with pytest.raises(TimeoutError, match="camera was still stopping"):
            await camera.acquire(timeout=0.0)
        maker.stopping.open()
        await stop.result()
        await settled()
        assert (camera.state, maker.diary) == (State.IDLE, ["start 1", "stop 1"])

    run(body)


@pytest.mark.parametrize("who", [0, 1, 2])
def test_a_cancelled_waiter_disturbs_nobody(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker, who: int
) -> None:
    """R3, R4, rule 2: of three who wait for a start one is cancelled, the first one too: one attempt for the others."""

    async def body() -> None:
        maker.starting.shut()
        jobs = [Job(camera.acquire) for _ in range(3)]
        await until(lambda: waiting(camera) == 3)
        jobs[who].cancel()
        await jobs[who].wait()
        assert jobs[who].cancelled
        maker.starting.open()
        leases = [await job.result() for job in jobs if job is not jobs[who]]
        assert {lease.value.number for lease in leases} == {1}
        assert (camera.usecount, maker.diary) == (2, ["start 1"])
        for lease in leases:
            await lease.release()

    run(body)


@pytest.mark.parametrize("overlap", [False, True])
def test_when_the_last_waiter_is_cancelled_the_start_is_and_a_newcomer_gets_a_fresh_one(
    run: Run, maker: Maker, overlap: bool
) -> None:
    """R4: the newcomer waits for the old one to unwind, unless they may overlap, and never sees its cancellation."""
    unwinding = maker.stopping

    @asynccontextmanager
    async def opener() -> AsyncGenerator[Camera]:
        try:
            value = await maker.start()
        except BaseException:
            await stubborn(unwinding.pass_through)
            maker.diary.append("unwound")
            raise
        yield value
        await maker.stop(value)

    camera = AsyncSharedResource(opener, overlap=overlap)

    async def body() -> None:
        maker.starting.shut()
        unwinding.shut()
        jobs = [Job(camera.acquire) for _ in range(2)]
        await until(lambda: waiting(camera) == 2)
        await maker.starting.wait_reached()
        for job in jobs:
            job.cancel()
        for job in jobs:
            await job.wait()
        await unwinding.wait_reached()
        maker.starting.open()
        newcomer = Job(camera.acquire)
        await settled()
        assert maker.diary == ["start 1", "cancelled 1", *(["start 1"] if overlap else [])]
        unwinding.open()
        lease = await newcomer.result()
        assert lease.value.number == 1
        await lease.release()
        assert (camera.usecount, camera.state) == (0, State.IDLE)

    run(body)
    assert maker.diary.count("unwound") == 1


def test_a_start_that_ends_though_it_was_cancelled_is_stopped(run: Run, maker: Maker) -> None:
    """One that takes no notice of its cancellation comes up for nobody, and is stopped."""

    @asynccontextmanager
    async def opener() -> AsyncGenerator[Camera]:
        value = await stubborn(maker.start)
        yield value
        await maker.stop(value)

    camera = AsyncSharedResource(opener)

    async def body() -> None:
        maker.starting.shut()
        job = Job(camera.acquire)
        await maker.starting.wait_reached()
        job.cancel()
        await job.wait()
        assert camera.state is State.STOPPING
        maker.starting.open()
        newcomer = await camera.acquire()
        assert newcomer.value.number == 2
        await newcomer.release()

    run(body)
    assert maker.diary == ["start 1", "stop 1", "start 2", "stop 2"]
    assert maker.most_alive == 1


def test_a_job_that_is_cancelled_before_it_begins_starts_nothing(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """And one that is cancelled right after its start was asked for leaves no start behind."""

    async def body() -> None:
        job = Job(camera.acquire)
        job.cancel()
        await job.wait()
        await until(lambda: camera.state is State.IDLE)  # trio runs it up to where it first waits
        maker.starting.shut()
        job = Job(camera.acquire)
        await until(lambda: camera.state is State.STARTING)
        job.cancel()
        await job.wait()
        await until(lambda: camera.state is State.IDLE)
        assert camera.usecount == 0

    run(body)
    assert maker.alive == []


# Stopping


def test_a_newcomer_waits_for_the_stop_and_starts_again(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Scenario 12, rule 6, serial: while a stop is blocked, acquirers wait; then one of them starts it for all."""

    async def body() -> None:
        maker.stopping.shut()
        stop = Job(lambda: enter(camera))
        await maker.stopping.wait_reached()
        newcomers = [Job(camera.acquire) for _ in range(3)]
        await until(lambda: waiting(camera) == 3)
        assert maker.diary == ["start 1", "stop 1"]
        maker.stopping.open()
        await stop.result()
        leases = [await job.result() for job in newcomers]
        assert {lease.value.number for lease in leases} == {2}
        assert (maker.most_alive, maker.diary) == (1, ["start 1", "stop 1", "start 2"])
        for lease in leases:
            await lease.release()

    run(body)


def test_with_overlap_a_newcomer_starts_at_once(run: Run, maker: Maker) -> None:
    """Scenario 12, rule 6, overlapping: while a stop is blocked, a newcomer gets a new generation."""
    camera = AsyncSharedResource(maker, overlap=True)

    async def body() -> None:
        maker.stopping.shut()
        stop = Job(lambda: enter(camera))
        await maker.stopping.wait_reached()
        lease = await camera.acquire()
        assert (lease.value.number, maker.alive, camera.state) == (2, [1, 2], State.RUNNING)
        maker.stopping.open()
        await stop.result()
        assert maker.alive == [2]
        await lease.release()
        assert maker.alive == []

    run(body)


def test_exclusive_never_has_two(run: Run, maker: Maker) -> None:
    """Whoever comes after an invalidate waits until the old holders have left and the old one has stopped."""
    camera = AsyncSharedResource(maker, exclusive=True)

    async def body() -> None:
        old = await camera.acquire()
        camera.invalidate()
        newcomer = Job(camera.acquire)
        await until(lambda: waiting(camera) == 1)
        with pytest.raises(TimeoutError, match="was still held"):
            await camera.acquire(timeout=0.01)
        assert maker.diary == ["start 1"]
        await old.release()
        lease = await newcomer.result()
        assert maker.diary == ["start 1", "stop 1", "start 2"]
        await lease.release()

    run(body)
    assert maker.most_alive == 1


def test_an_exclusive_one_inside_its_own_old_block_would_wait_for_itself(run: Run, maker: Maker) -> None:
    """It says so instead; another task may wait."""
    camera = AsyncSharedResource(maker, exclusive=True, name="camera")

    async def body() -> None:
        async with camera():
            camera.invalidate()
            with pytest.raises(ReentrantError, match="acquire of camera inside a with-block on its generation before"):
                await camera.acquire()
        assert (await enter(camera)).number == 2

    run(body)


def test_a_stop_that_fails_poisons_nothing(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Scenario 11, rule 7: the releaser gets the error once, is rid of its lease, and the next gets a new object."""
    failure = OSError("jammed")

    async def body() -> None:
        maker.stop_error = failure
        lease = await camera.acquire()
        assert await error_of(lease.release()) is failure
        assert failure.__notes__ == ["while stopping camera, generation 1"]
        assert (lease.held, await lease.release(), camera.state) == (False, False, State.IDLE)
        assert (await enter(camera)).number == 2

    run(body)


def test_a_stop_that_fails_after_a_with_hides_no_error_of_the_body(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Rule 7: the stop's error comes out of the with, and the body's is its context."""

    async def use() -> None:
        async with camera():
            raise KeyError("body")

    async def body() -> None:
        maker.stop_error = OSError("jammed")
        error = await error_of(use())
        assert str(error) == "jammed"
        assert isinstance(error.__context__, KeyError)
        error.__context__ = None

    run(body)


@pytest.mark.parametrize("how", ["flush", "close"])
def test_who_stops_it_gets_the_error(run: Run, maker: Maker, how: str) -> None:
    """Rule 7: the caller of flush or close that stops a lingering resource."""
    camera = AsyncSharedResource(maker, linger=math.inf)

    async def body() -> None:
        await enter(camera)
        maker.stop_error = OSError("jammed")
        assert str(await error_of(getattr(camera, how)())) == "jammed"
        assert camera.state is (State.CLOSED if how == "close" else State.IDLE)

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


@pytest.mark.parametrize("how", ["linger", "invalidate", "check", "lost"])
def test_a_stop_that_fails_with_nobody_there_is_reported(
    run: Run, maker: Maker, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Rule 7: it goes to the `refcount` logger, and to the loop's exception handler or `sys.unraisablehook`."""
    good = [True]
    failure = OSError("jammed")

    async def body() -> None:
        with ManualClock() as clock:
            camera = AsyncSharedResource(maker, name="camera", linger=5.0, check=lambda _: good[0])
            maker.stop_error = failure
            if how == "lost":
                lease = await camera.acquire()
                camera.invalidate()
                del lease
                with pytest.warns(ResourceWarning, match="a lease of camera was never released"):
                    await until(lambda: maker.alive == [])
            else:
                await enter(camera)
                if how == "linger":
                    clock.advance(5.0)
                elif how == "invalidate":
                    camera.invalidate()
                else:
                    good[0] = False
                    await enter(camera)
                    camera.invalidate()
            await camera.wait_stopped()
            await settled()
            assert run.told() == [failure]
            assert ("refcount", "error in the stop of camera, generation 1") in [
                (record.name, record.getMessage()) for record in caplog.records
            ]
            assert camera.state is State.IDLE

    run(body)


def test_a_stop_whose_releaser_was_cancelled_is_reported(
    run_asyncio: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """`Task.cancel` ends the waiting for it, and the stop goes on."""
    failure = OSError("jammed")

    async def body() -> None:
        maker.stop_error = failure
        maker.stopping.shut()
        job = Job(lambda: enter(camera))
        await maker.stopping.wait_reached()
        job.cancel()
        await job.wait()
        assert (job.cancelled, camera.usecount, camera.state) == (True, 0, State.STOPPING)
        maker.stopping.open()
        await camera.wait_stopped()
        await settled()
        assert run_asyncio.told() == [failure]

    run_asyncio(body)


@pytest.mark.parametrize("turns", [0, 3])
def test_a_stop_that_was_ordered_is_run_though_it_is_given_up_at_once(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker, turns: int
) -> None:
    """`invalidate` right after the last one has left, before the stop could begin: it is run, and disturbs nobody."""
    maker.turns = turns

    async def body() -> None:
        end = camera.observe(lambda usecount: None if usecount else camera.invalidate())
        await enter(camera)
        end()
        await settled()
        assert (maker.alive, camera.state) == ([], State.IDLE)

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_starts_and_stops_of_different_resources_do_not_wait_for_each_other(run: Run) -> None:
    """Rule 5: while one resource's start hangs and another's stop hangs, a third works."""
    slow_start, slow_stop, third = Maker(), Maker(), Maker()

    async def body() -> None:
        slow_start.starting.shut()
        slow_stop.stopping.shut()
        starter = Job(lambda: enter(AsyncSharedResource(slow_start)))
        stopper = Job(lambda: enter(AsyncSharedResource(slow_stop)))
        await slow_start.starting.wait_reached()
        await slow_stop.stopping.wait_reached()
        assert (await enter(AsyncSharedResource(third))).number == 1
        slow_start.starting.open()
        slow_stop.stopping.open()
        await starter.result()
        await stopper.result()

    run(body)


def test_two_resources_roll_back_in_reverse(run: Run, maker: Maker) -> None:
    """R12: if the second start fails, the first is stopped; if both stops fail, one is the context of the other."""
    inner_maker = Maker()
    outer, inner = AsyncSharedResource(maker), AsyncSharedResource(inner_maker)

    async def use() -> None:
        async with outer(), inner():
            maker.diary.append("inside")

    async def body() -> None:
        inner_maker.start_error = OSError("second")
        assert str(await error_of(use())) == "second"
        assert maker.diary == ["start 1", "stop 1"]
        maker.stop_error, inner_maker.stop_error = ValueError("outer"), ValueError("inner")
        error = await error_of(use())
        assert str(error) == "outer"
        assert str(error.__context__) == "inner"
        error.__context__ = None

    run(body)


# Reentrancy


@pytest.mark.parametrize("hook", ["start", "stop", "check"])
@pytest.mark.parametrize("use", ["enter", "acquire", "try_acquire", "inc", "close", "wait_stopped"])
def test_a_resource_used_inside_its_own_hook_is_an_error(run: Run, hook: str, use: str) -> None:
    """Scenario 14, R7, rule 9: what would wait for itself raises at once, names the resource, and leaks nothing."""
    errors: list[str] = []

    async def misuse(*_: object) -> bool:
        uses: dict[str, Callable[[], Awaitable[object]]] = {
            "enter": lambda: enter(camera),
            "acquire": camera.acquire,
            "try_acquire": camera.try_acquire,
            "inc": camera.inc,
            "close": camera.close,
            "wait_stopped": camera.wait_stopped,
        }
        error = await error_of(uses[use]())
        assert isinstance(error, ReentrantError)
        errors.append(str(error))
        return True

    camera = AsyncSharedResource.of(
        object,
        start=misuse if hook == "start" else None,
        stop=misuse if hook == "stop" else None,
        check=misuse if hook == "check" else None,
        name="camera",
    )

    async def body() -> None:
        async with camera(), camera():
            pass
        assert (camera.usecount, camera.state) == (0, State.IDLE)
        await camera.close(timeout=WAIT)

    run(body)
    assert len(errors) == 1
    what = "acquire" if use in ("enter", "inc") else use
    assert errors[0].startswith(f"{what} of camera inside its own")


def test_a_hook_may_use_another_resource(run: Run) -> None:
    """Scenario 14: start, stop and check can acquire another resource, and hold it for a whole life."""
    base = Maker()
    power = AsyncSharedResource(base)

    @asynccontextmanager
    async def opener() -> AsyncGenerator[Camera]:
        async with power() as supply:
            yield supply
        await enter(power)

    async def check(value: Camera) -> bool:
        return await enter(power) is value

    camera = AsyncSharedResource(opener, check=check)

    async def body() -> None:
        async with camera() as first, camera() as second:
            assert first is second
            assert base.alive == [1]

    run(body)
    assert base.diary == ["start 1", "stop 1", "start 2", "stop 2"]


def test_the_detached_generations_hook_may_not_use_its_resource_either(run: Run) -> None:
    """Rule 9: in the stop of an invalidated generation, though a newer one is up and could be entered."""
    errors: list[BaseException] = []

    @asynccontextmanager
    async def opener() -> AsyncGenerator[object]:
        yield object()
        errors.append(await error_of(enter(camera)))

    camera = AsyncSharedResource(opener)

    async def body() -> None:
        old = await camera.acquire()
        camera.invalidate()
        async with camera():
            await old.release()
            assert len(errors) == 1

    run(body)
    assert [type(error) for error in errors] == [ReentrantError, ReentrantError]


def test_an_acquire_from_another_task_during_a_stop_is_no_reentry(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """R7: the replacement that another task asks for during a stop is its own, and is stopped when it leaves."""

    async def body() -> None:
        maker.stopping.shut()
        stop = Job(lambda: enter(camera))
        await maker.stopping.wait_reached()
        other = Job(lambda: enter(camera))
        await until(lambda: waiting(camera) == 1)
        maker.stopping.open()
        await stop.result()
        assert (await other.result()).number == 2
        assert (maker.alive, camera.state) == ([], State.IDLE)

    run(body)


# Identity


@pytest.mark.parametrize("linger", [0.0, 10.0, math.inf])
def test_an_old_release_leaves_the_replacement_alone(run: Run, maker: Maker, linger: float) -> None:
    """R1, rule 3: hold 1, invalidate, hold 2, release 1: stops only 1; the next shares 2; no old timer stops it."""

    async def body() -> None:
        with ManualClock() as clock:
            camera = AsyncSharedResource(maker, linger=linger)
            await enter(camera)  # with a linger, its timer survives
            first = await camera.acquire()
            old = first.value
            clock.advance(5.0 if linger else 0.0)
            camera.invalidate()
            assert maker.alive == [old.number]
            assert (first.held, first.valid) == (True, False)
            second = await camera.acquire()
            assert (second.value is not old, camera.usecount) == (True, 2)
            await first.release()
            assert maker.alive == [second.value.number]
            clock.advance(100.0)
            await settled()
            async with camera() as third:
                assert third is second.value
                assert third.alive
            await second.release()
            clock.advance(9.0)
            assert camera.state is (State.LINGERING if linger else State.IDLE)
            await camera.close()
        assert maker.alive == []
        assert len(maker.diary) == 2 * len(maker.made)

    run(body)


def test_ten_holders_who_find_it_broken_cost_one_restart(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """`lease.invalidate` detaches what that lease holds, once, and never a newer one."""

    async def body() -> None:
        leases = [await camera.acquire() for _ in range(10)]
        for lease in leases:
            lease.invalidate()
            await enter(camera)
        fresh = await camera.acquire()
        for lease in leases:
            lease.invalidate()
            await lease.release()
        assert fresh.valid
        await fresh.release()

    run(body)
    assert len(maker.made) == 12  # one for the ten, and one for each who came while nobody held a new one
    assert maker.alive == []


def test_invalidating_what_lingers_stops_it_and_newcomers_wait(run: Run, maker: Maker) -> None:
    """Rule 6: it is a flush that nobody waits for; the next consumer gets a fresh one when the stop is over."""
    camera = AsyncSharedResource(maker, linger=math.inf)

    async def body() -> None:
        await enter(camera)
        maker.stopping.shut()
        camera.invalidate()
        await maker.stopping.wait_reached()
        newcomer = Job(lambda: enter(camera))
        await until(lambda: waiting(camera) == 1)
        assert maker.most_alive == 1
        maker.stopping.open()
        assert ((await newcomer.result()).number, maker.most_alive) == (2, 1)
        await camera.close()

    run(body)


def test_invalidating_a_start_gives_it_to_those_who_wait_and_to_nobody_else(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Rule 3: who waited gets the value that was in the making; who comes later gets another."""

    async def body() -> None:
        maker.starting.shut()
        waiter = Job(camera.acquire)
        await maker.starting.wait_reached()
        camera.invalidate()
        late = Job(camera.acquire)
        await until(lambda: maker.starting.waiting == 2)
        maker.starting.open()
        first, second = await waiter.result(), await late.result()
        assert first.value is not second.value
        assert (first.valid, second.valid) == (False, True)
        await first.release()
        await second.release()
        assert maker.alive == []

    run(body)


def test_a_start_that_hangs_is_given_up_and_its_late_end_disturbs_nobody(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """An invalidated start whose waiters were cancelled unwinds late, while a newer generation is up."""

    async def body() -> None:
        maker.starting.shut()
        first = Job(camera.acquire)
        await maker.starting.wait_reached()
        camera.invalidate()
        await camera.wait_stopped(timeout=WAIT)  # what was given up is waited for by nobody
        second = Job(camera.acquire)
        await until(lambda: maker.starting.waiting == 2)
        first.cancel()
        await first.wait()
        maker.starting.open()
        lease = await second.result()
        await settled()
        assert (lease.valid, maker.alive) == (True, [lease.value.number])
        await lease.release()

    run(body)


def test_a_stop_that_hangs_is_given_up_by_invalidate(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """A newcomer gets a fresh one at once; the late end of the old stop changes nothing."""

    async def body() -> None:
        maker.stopping.shut()
        stop = Job(lambda: enter(camera))
        await maker.stopping.wait_reached()
        camera.invalidate()
        assert camera.state is State.IDLE
        lease = await camera.acquire()
        assert lease.value.number == 2
        maker.stopping.open()
        await stop.result()
        assert lease.valid
        await lease.release()
        assert maker.alive == []

    run(body)


def test_what_is_done_to_an_idle_resource_does_nothing(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Nothing starts, nothing stops, nothing raises; `touch`, `invalidate`, `abandon` need no event loop either."""

    async def body() -> None:
        camera.invalidate()
        assert not await camera.flush()
        camera.touch()
        camera.abandon()
        await camera.wait_stopped()
        assert (camera.state, maker.diary) == (State.IDLE, [])

    run(body)
    camera.invalidate()
    camera.touch()
    camera.abandon()


def test_flush_does_not_touch_what_is_held(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """It stops only what lingers."""

    async def body() -> None:
        async with camera() as value:
            assert not await camera.flush()
            assert value.alive

    run(body)


def test_abandon_forgets_what_runs_without_stopping_it(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Its leases become inert, its observers are told, the next consumer starts anew, and nothing is ever stopped."""
    told: list[int] = []

    async def body() -> None:
        lease, other = await camera.acquire(), await camera.acquire()
        end = camera.observe(told.append)
        camera.abandon()
        assert (lease.held, lease.valid, camera.usecount, camera.state) == (False, False, 0, State.IDLE)
        with pytest.raises(ReleasedError):
            lease.value
        async with camera() as value:
            assert value.number == 2
            assert not await lease.release()
        del other
        gc.collect()
        await settled()
        end()

    run(body, kept=2)
    assert (maker.diary, maker.alive, told) == (["start 1", "start 2", "stop 2"], [1], [0, 1, 0])


@pytest.mark.parametrize("when", ["starting", "stopping", "lingering"])
def test_abandon_at_any_time(run: Run, maker: Maker, when: str) -> None:
    """A start or stop that runs is left to itself; who waits for the start begins anew; nothing lingers on."""
    camera = AsyncSharedResource(maker, linger=math.inf if when == "lingering" else 0.0)

    async def body() -> None:
        job = None
        if when == "lingering":
            await enter(camera)
        else:
            gate = maker.starting if when == "starting" else maker.stopping
            gate.shut()
            job = Job(lambda: enter(camera))
            await gate.wait_reached()
        camera.abandon()
        assert camera.state is (State.STARTING if when == "starting" and camera.generation else State.IDLE)
        maker.starting.open()
        maker.stopping.open()
        if job is not None:
            await job.result()
        await settled()
        async with camera() as value:
            assert value.alive
        await camera.close()
        assert camera.usecount == 0

    run(body, kept=3)


# Close


def test_close_waits_for_the_holders(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Scenario 13: newcomers are refused from the start of it, holders leave in peace, and the last one stops it."""

    async def body() -> None:
        lease = await camera.acquire()
        close = Job(camera.close)
        await until(lambda: camera.state is State.CLOSED)
        for refused in (camera.acquire, camera.try_acquire, camera().__aenter__, camera.inc):
            with pytest.raises(ClosedError, match="camera is closed"):
                await refused()
        assert (close.over, lease.value.alive, lease.valid) == (False, True, False)
        await lease.release()
        await close.result()
        assert (maker.diary, camera.usecount) == (["start 1", "stop 1"], 0)

    run(body)


def test_a_close_that_times_out_stays_closed(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Its text names the count; the last holder stops it later, and closing again is harmless."""

    async def body() -> None:
        lease = await camera.acquire()
        with pytest.raises(TimeoutError, match=r"camera still ran after 0\.01 s, with usecount 1"):
            await camera.close(timeout=0.01)
        with pytest.raises(ClosedError):
            await camera.acquire()
        await lease.release()
        assert maker.alive == []
        await camera.close()
        await camera.close(force=True)

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_a_close_that_is_cancelled_stays_closed(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """The last holder stops it later."""

    async def body() -> None:
        lease = await camera.acquire()
        close = Job(camera.close)
        await until(lambda: camera.state is State.CLOSED)
        close.cancel()
        await close.wait()
        with pytest.raises(ClosedError):
            await camera.acquire()
        await lease.release()
        assert maker.alive == []

    run(body)


def test_close_by_force_stops_under_the_holders(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """Scenario 13: stopped once; the borrower's later exit is clean; it never opens again."""

    async def body() -> None:
        async with camera() as value:
            await camera.close(force=True, timeout=WAIT)
            assert not value.alive
            assert camera.usecount == 1
        assert (camera.usecount, maker.diary) == (0, ["start 1", "stop 1"])
        with pytest.raises(ClosedError):
            await camera.acquire()

    run(body)


def test_close_by_force_stops_detached_generations_too(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """What was invalidated and is still held does not survive it."""

    async def body() -> None:
        async with camera():
            camera.invalidate()
            async with camera():
                assert maker.alive == [1, 2]
                await camera.close(force=True)
                assert maker.alive == []

    run(body)
    assert sorted(maker.diary) == ["start 1", "start 2", "stop 1", "stop 2"]


def test_a_start_that_ends_after_close_by_force_is_stopped(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """R2: those who wait on it are refused, and nothing is open afterwards."""

    async def body() -> None:
        maker.starting.shut()
        jobs = [Job(camera.acquire) for _ in range(3)]
        await until(lambda: waiting(camera) == 3)
        close = Job(lambda: camera.close(force=True))
        for job in jobs:
            assert isinstance(await job.error(), ClosedError)
        maker.starting.open()
        await close.result()
        assert (maker.alive, camera.usecount) == ([], 0)

    run(body)
    assert maker.diary in (["start 1", "cancelled 1"], ["start 1", "stop 1"])


def test_a_start_in_flight_is_finished_for_those_who_wait_when_closed(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker
) -> None:
    """Without force, those who came before the close get what they came for."""

    async def body() -> None:
        maker.starting.shut()
        jobs = [Job(lambda: enter(camera)) for _ in range(3)]
        await until(lambda: waiting(camera) == 3)
        close = Job(camera.close)
        await until(lambda: camera.state is State.CLOSED)
        maker.starting.open()
        assert {(await job.result()).number for job in jobs} == {1}
        await close.result()
        assert maker.alive == []

    run(body)


def test_who_waits_for_a_stop_is_refused_by_close(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """R2, queued: nothing is started for a newcomer of a closed resource."""

    async def body() -> None:
        maker.stopping.shut()
        stop = Job(lambda: enter(camera))
        await maker.stopping.wait_reached()
        queued = Job(camera.acquire)
        await until(lambda: waiting(camera) == 1)
        close = Job(camera.close)
        assert isinstance(await queued.error(), ClosedError)
        maker.stopping.open()
        await stop.result()
        await close.result()

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_many_closers_stop_it_once(run: Run, maker: Maker) -> None:
    """R9: closes, flushes, an invalidate and a last release at once: one stop."""
    maker.turns = 2

    async def body() -> None:
        for _ in range(10):
            camera = AsyncSharedResource(maker, linger=math.inf)
            lease = await camera.acquire()

            async def invalidate(camera: AsyncSharedResource[Camera] = camera) -> None:
                camera.invalidate()

            jobs: list[Job[Any]] = [
                Job(what) for what in (camera.close, lease.release, camera.flush, invalidate, camera.close)
            ]
            for job in jobs:
                await job.result()
            assert maker.alive == []

    run(body)
    assert len(maker.diary) == 20


def test_wait_stopped_waits_for_the_stop(run: Run, camera: AsyncSharedResource[Camera], maker: Maker) -> None:
    """It returns when the stop is over, not when the count is 0, and gives up after its timeout."""

    async def body() -> None:
        maker.stopping.shut()
        stop = Job(lambda: enter(camera))
        await maker.stopping.wait_reached()
        with pytest.raises(TimeoutError, match=r"camera still ran after 0\.01 s"):
            await camera.wait_stopped(timeout=0.01)
        waiter = Job(camera.wait_stopped)
        await settled()
        assert not waiter.over
        maker.stopping.open()
        await waiter.result()
        assert maker.alive == []
        await stop.result()

    run(body)


# Many tasks


@pytest.mark.parametrize("overlap", [False, True])
def test_eight_tasks_come_and_go(run: Run, overlap: bool) -> None:
    """Starts equal stops, never two alive at once unless they may, and the count ends at 0."""
    maker = Maker(turns=1)
    camera = AsyncSharedResource(maker, overlap=overlap)

    async def consume() -> None:
        async with AsyncExitStack() as leases:
            for turn in range(40):
                await leases.enter_async_context(camera())
                await checkpoint(turn % 2)
                if turn % 3 == 0:
                    await leases.pop_all().aclose()

    async def body() -> None:
        for job in [Job(consume) for _ in range(8)]:
            await job.result()
        assert (camera.usecount, maker.alive) == (0, [])

    run(body)
    assert len(maker.diary) == 2 * len(maker.made)
    assert overlap or maker.most_alive == 1


# Values, names, bad input


@pytest.mark.parametrize("value", [None, False, 0, NotImplemented])
def test_any_value_is_a_value(run: Run, value: object) -> None:
    """Falsy values are handed out like any other, by every way in."""
    resource = AsyncSharedResource.of(lambda: value, check=lambda it: it is value)

    async def body() -> None:
        async with resource() as entered, await held(resource.try_acquire()) as tried:
            assert entered is value
            assert tried is value

    run(body)


def test_hooks_may_be_of_either_kind(run: Run) -> None:
    """Sync and async factories, starts, stops and checks in all combinations."""
    diary: list[str] = []

    def plain(what: str) -> Callable[..., bool]:
        def hook(*_: object) -> bool:
            diary.append(what)
            return True

        return hook

    def awaited(what: str) -> Callable[..., Awaitable[bool]]:
        async def hook(*_: object) -> bool:
            await checkpoint()
            diary.append(what)
            return True

        return hook

    async def body() -> None:
        for bits in range(16):
            make = [(awaited if bits >> at & 1 else plain) for at in range(4)]
            resource: AsyncSharedResource[Any] = AsyncSharedResource.of(
                make[0]("make"), start=make[1]("start"), stop=make[2]("stop"), check=make[3]("check")
            )
            async with resource(), resource():
                pass
            assert diary == ["make", "start", "check", "stop"]
            diary.clear()

    run(body)


def test_a_start_hook_that_fails_leaves_nothing_behind(run: Run) -> None:
    """`stop` is run on what the factory has made; an error of it is reported."""
    stopped: list[str] = []
    broken = OSError("half started")

    def start(thing: list[int]) -> None:
        raise broken

    async def stop(thing: list[int]) -> None:
        await checkpoint()
        stopped.append("stop")
        if len(stopped) == 2:
            raise ValueError("cannot")

    resource = AsyncSharedResource.of(list[int], start=start, stop=stop)

    async def body() -> None:
        assert await error_of(resource.acquire()) is broken
        assert stopped == ["stop"]
        assert await error_of(resource.acquire()) is broken
        assert [str(error) for error in run.told()] == ["cannot"]

    run(body)


@pytest.mark.parametrize(
    ("opener", "text"),
    [
        (7, "the opener of a shared resource must be callable, not 7"),
        ((number for number in (1,)), "must be callable, not the generator"),
    ],
)
def test_an_opener_that_cannot_be_called_is_refused(opener: Any, text: str) -> None:
    """At once, with a text that names it."""
    with pytest.raises(TypeError, match=text):
        AsyncSharedResource(opener)


@pytest.mark.parametrize("what", ["factory", "start", "stop", "check"])
def test_hooks_that_cannot_be_called_are_refused(what: str) -> None:
    """Each is named with its value."""
    hooks: dict[str, Any] = {"factory": object, what: 7}
    with pytest.raises(TypeError, match=rf"{what}.* must be callable, not 7"):
        AsyncSharedResource.of(hooks.pop("factory"), **hooks)


def test_an_opener_that_gives_no_context_manager_is_an_error_of_the_start(run: Run) -> None:
    """It names the resource and what was returned; nothing is counted."""

    async def numbers() -> AsyncGenerator[int]:
        yield 7

    async def body() -> None:
        for value, text in (
            (7, "must return an asynchronous context manager, not 7"),
            (numbers(), "wrap the function"),
        ):
            opened: list[Any] = [value]
            resource: AsyncSharedResource[Any] = AsyncSharedResource(opened.pop, name="camera")
            error = await error_of(resource.acquire())
            assert isinstance(error, TypeError)
            assert "the opener of camera must" in str(error)
            assert text in str(error)
            assert (resource.usecount, resource.state) == (0, State.IDLE)

    run(body)


def test_an_opener_that_never_yields_or_twice_is_an_error(run: Run) -> None:
    """The first fails the start, the second the stop; neither counts or poisons anything."""

    @asynccontextmanager
    async def never() -> AsyncGenerator[int]:
        for number in [0][:0]:
            yield number

    @asynccontextmanager
    async def twice() -> AsyncGenerator[int]:
        yield 1
        yield 2

    async def body() -> None:
        for opener, text in ((never, "never yielded no value"), (twice, "twice yielded a second value, 2")):
            resource = AsyncSharedResource(opener)
            error = await error_of(enter(resource))
            assert isinstance(error, RuntimeError)
            assert text in str(error)
            assert (resource.usecount, resource.state) == (0, State.IDLE)

    run(body)


def test_an_opener_must_return_a_new_manager_each_time(run: Run, maker: Maker) -> None:
    """One that returns the same one again is told so."""
    once = maker()
    resource = AsyncSharedResource(lambda: once, name="camera")

    async def body() -> None:
        await enter(resource)
        assert "must return a new context manager each time" in str(await error_of(enter(resource)))

    run(body)


def test_a_class_with_the_two_methods_is_an_opener(run: Run) -> None:
    """Its exit is told of no error, whatever the consumers have raised."""
    told: list[object] = []

    class Manager:
        async def __aenter__(self) -> str:
            return "value"

        async def __aexit__(self, *error: object) -> None:
            told.append(error)

    resource = AsyncSharedResource(Manager)

    async def body() -> None:
        with pytest.raises(KeyError):
            async with resource() as value:
                assert value == "value"
                raise KeyError

    run(body)
    assert told == [(None, None, None)]


@pytest.mark.parametrize(
    ("seconds", "kind"), [(-1.0, ValueError), (math.nan, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_a_bad_number_of_seconds_is_refused(
    run: Run, camera: AsyncSharedResource[Camera], maker: Maker, seconds: Any, kind: type[Exception]
) -> None:
    """A linger, bound or timeout below 0, NaN or no number: named, and nothing started, counted or closed."""
    for option in ("linger", "stop_timeout"):
        with pytest.raises(kind, match=f"{option} must be .*{seconds}"):
            AsyncSharedResource(maker, **{option: seconds})

    async def body() -> None:
        for use in (camera.acquire, camera.close, camera.wait_stopped, camera.inc):
            with pytest.raises(kind, match=f"timeout must be .*{seconds}"):
                await use(timeout=seconds)
        assert (camera.state, maker.diary) == (State.IDLE, [])

    run(body)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"overlap": True, "exclusive": True}, "exclusive"),
        ({"at_exit": "never"}, "at_exit must be"),
        ({"on_failure": "explode"}, "on_failure must be 'finish' or 'cancel', not 'explode'"),
    ],
)
def test_options_without_a_meaning_are_refused(maker: Maker, options: dict[str, Any], text: str) -> None:
    """At once, by name."""
    with pytest.raises(ValueError, match=text):
        AsyncSharedResource(maker, **options)


def test_a_timeout_may_be_infinite(run: Run, camera: AsyncSharedResource[Camera]) -> None:
    """It waits for ever, as None does."""

    async def body() -> None:
        await (await camera.acquire(timeout=math.inf)).release()
        await camera.wait_stopped(timeout=math.inf)
        await camera.close(timeout=1e300)

    run(body)


def test_leases_and_resources_are_not_copied(camera: AsyncSharedResource[Camera]) -> None:
    """A lease refuses; a resource copies as itself, and refuses to be pickled."""
    import copy
    import pickle

    lease: AsyncLease[Camera] = camera()
    for refused in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            refused(lease)
    assert copy.copy(camera) is copy.deepcopy(camera) is camera
    with pytest.raises(TypeError, match="camera cannot be pickled"):
        pickle.dumps(camera)
