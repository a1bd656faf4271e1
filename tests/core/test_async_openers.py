"""What a start and a stop of tasks run in: the task of a generation, its context, its scopes and task groups."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Literal

import anyio
import pytest

from refcount import AsyncSharedResource, RefcountError, State
from refcount._core.loops import here
from tests.helpers.cameras import Camera, Maker, enter, waiting
from tests.helpers.loops import Gate, Job, Run, checkpoint, error_of, leaves, settled, stubborn, until

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


@pytest.fixture(name="maker")
def a_maker() -> Maker:
    """An opener with a diary."""
    return Maker()


class Group:
    """An opener with a task group around its `yield`, whose child fails, or ends, when it is told to."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.fails, self.goes_on = Gate(), Gate()
        self.error: BaseException = OSError("child")

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[str]:
        self.diary.append("start")
        self.fails.shut()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.child)
                yield "value"
                self.diary.append("after the yield")
                group.cancel_scope.cancel()
        finally:
            self.diary.append("end")

    async def child(self) -> None:
        await self.fails.pass_through()
        raise self.error


# One task, one context


def test_start_and_stop_run_in_the_task_of_the_generation(run: Run) -> None:
    """Not in that of a consumer; another generation has another one; a check runs in the newcomer's."""
    tasks: list[object] = []

    async def here_now(*_: object) -> bool:
        await checkpoint()
        tasks.append(here().current_task())
        return True

    resource = AsyncSharedResource.of(here_now, start=here_now, stop=here_now, check=here_now)

    async def body() -> None:
        for _ in range(2):
            async with resource():
                await enter(resource)
        own = here().current_task()
        assert [task is own for task in tasks] == [False, False, True, False] * 2
        assert tasks[0] is tasks[1] is tasks[3]
        assert tasks[4] is tasks[5] is tasks[7]
        assert tasks[0] is not tasks[4]
        tasks.clear()

    run(body)


def test_it_runs_in_a_copy_of_the_first_consumers_context(run: Run) -> None:
    """Start and stop see what the first consumer has set; what they set, no consumer sees."""
    seen: list[str] = []

    @asynccontextmanager
    async def opener() -> AsyncGenerator[None]:
        seen.append(WHO.get())
        WHO.set("opener")
        yield
        seen.append(WHO.get())

    resource = AsyncSharedResource(opener)

    async def first() -> Any:
        WHO.set("first")
        lease = await resource.acquire()
        assert WHO.get() == "first"
        return lease

    async def second() -> None:
        WHO.set("second")
        lease = await Job(first).result()
        async with resource():
            await lease.release()
        assert WHO.get() == "second"

    async def body() -> None:
        await Job(second).result()
        assert WHO.get() == "nobody"

    run(body)
    assert seen == ["first", "opener"]


def test_the_first_consumers_scope_is_not_the_openers(run: Run, maker: Maker) -> None:
    """A deadline or a task group around the first consumer cancels that alone, not what others hold."""
    resource = AsyncSharedResource(maker)

    async def first() -> None:
        with anyio.CancelScope() as scope:
            async with resource():
                scope.cancel()
                await checkpoint()

    async def body() -> None:
        gate = Gate()
        gate.shut()

        async def second() -> None:
            async with resource() as value:
                await gate.pass_through()
                assert value.alive

        one = Job(first)
        two = Job(second)
        await one.result()
        await gate.wait_reached()
        await settled()
        assert (maker.alive, resource.usecount) == ([1], 1)
        gate.open()
        await two.result()

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_the_task_is_called_after_the_resource(run: Run, maker: Maker) -> None:
    """As a debugger shows it."""
    names: list[str] = []

    @asynccontextmanager
    async def opener() -> AsyncGenerator[None]:
        task: Any = here().current_task()
        names.append(task.name if run.trio else task.get_name())
        yield

    async def body() -> None:
        await enter(AsyncSharedResource(opener, name="camera"))

    run(body)
    assert names == ["camera"]


# Scopes and task groups


def test_a_cancel_scope_over_the_yield(run: Run) -> None:
    """It is entered and left in one task, whoever comes and goes."""
    scopes: list[anyio.CancelScope] = []

    @asynccontextmanager
    async def opener() -> AsyncGenerator[str]:
        with anyio.fail_after(3600), anyio.CancelScope() as scope:
            scopes.append(scope)
            await checkpoint()
            yield "value"
            await checkpoint()

    resource = AsyncSharedResource(opener)

    async def body() -> None:
        lease = await Job(resource.acquire).result()
        assert await Job(lambda: enter(resource)).result() == "value"
        await Job(lease.release).result()

    run(body)
    assert not scopes[0].cancel_called


def test_asyncio_timeouts_and_task_groups_inside_start_and_stop(run_asyncio: Run) -> None:
    """They cancel the task that they are in, and take that back: nobody else hears of it."""
    diary: list[str] = []

    async def fail() -> None:
        raise KeyError

    @asynccontextmanager
    async def opener() -> AsyncGenerator[str]:
        for what in ("start", "stop"):
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(3600)
            except TimeoutError:
                diary.append(f"timeout in {what}")
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
                    await asyncio.sleep(3600)
            except* KeyError:
                diary.append(f"group in {what}")
            if what == "start":
                yield "value"

    resource = AsyncSharedResource(opener, stop_timeout=3600)

    async def body() -> None:
        for _ in range(2):
            async with resource() as value:
                assert value == "value"
                await settled()

    run_asyncio(body, cycles=True)  # of the task group, before 3.13
    assert diary == ["timeout in start", "group in start", "timeout in stop", "group in stop"] * 2


def test_an_asyncio_timeout_over_the_yield(run_asyncio: Run) -> None:
    """When it is due, the generation ends: its holders go on until they leave, a newcomer gets a fresh one."""
    diary: list[str] = []

    @asynccontextmanager
    async def opener() -> AsyncGenerator[str]:
        async with asyncio.timeout(0.001 if not diary else 3600):
            diary.append("start")
            yield "value"
            await checkpoint()
            diary.append("stop")

    resource = AsyncSharedResource(opener)

    async def body() -> None:
        lease = await resource.acquire()
        await until(lambda: not lease.valid)
        await settled()
        assert (lease.held, lease.value, diary) == (True, "value", ["start"])
        async with resource():
            await lease.release()

    run_asyncio(body)
    assert diary == ["start", "start", "stop", "stop"]


def test_an_asyncio_task_group_over_the_yield(run_asyncio: Run) -> None:
    """Its child fails: the last one to leave gets the group, however often the generation's task was cancelled."""
    gate, diary = Gate(), list[str]()
    error = OSError("child")

    async def child() -> None:
        await gate.pass_through()
        raise error

    @asynccontextmanager
    async def opener() -> AsyncGenerator[str]:
        gate.shut()
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            group.create_task(child())
            yield "value"
            diary.append("after the yield")

    resource = AsyncSharedResource(opener)

    async def body() -> None:
        first, second = await resource.acquire(), await resource.acquire()
        gate.open()
        await until(lambda: not first.valid)
        await settled()
        assert await first.release()
        raised = await error_of(second.release())
        assert raised.__class__ is ExceptionGroup
        assert set(leaves(raised)) == {error}
        assert resource.state is State.IDLE

    run_asyncio(body, cycles=True)
    assert diary == ["after the yield"]


def test_a_task_group_that_ends_well_is_nothing_special(run: Run) -> None:
    """Children run while it is up, and the stop cancels them."""
    group = Group()
    resource = AsyncSharedResource(group)

    async def body() -> None:
        async with resource():
            await group.fails.wait_reached()
        assert group.fails.waiting == 0

    run(body)
    assert group.diary == ["start", "after the yield", "end"]


# Something fails inside while it is up


def test_what_fails_inside_ends_the_generation_and_holders_finish(run: Run) -> None:
    """No newcomer gets it, `valid` turns false, holders go on, the last one to leave gets the error as a group."""
    group = Group()
    resource = AsyncSharedResource(group)
    child = group.error

    async def body() -> None:
        first, second = await resource.acquire(), await resource.acquire()
        group.fails.open()
        await until(lambda: not first.valid)
        await settled()
        assert (first.held, second.valid, second.value) == (True, False, "value")
        fresh = await resource.acquire()
        assert resource.generation == 2
        assert await first.release()
        error = await error_of(second.release())
        assert error.__class__ is ExceptionGroup
        assert leaves(error) == [child]
        assert fresh.valid
        await fresh.release()

    run(body)
    assert group.diary == ["start", "start", "after the yield", "end", "after the yield", "end"]


def test_the_body_of_the_last_holder_that_fails_as_well_is_the_context(run: Run) -> None:
    """Neither error is lost."""
    group = Group()
    resource = AsyncSharedResource(group)

    async def use() -> None:
        lease = resource()
        async with lease:
            group.fails.open()
            await until(lambda: not lease.valid)
            raise KeyError("body")

    async def body() -> None:
        error = await error_of(use())
        assert leaves(error) == [group.error]
        assert isinstance(error.__context__, KeyError)
        error.__context__ = None

    run(body)


@pytest.mark.parametrize("held", ["lingering", "lost"])
def test_what_fails_with_nobody_there_is_reported(run: Run, held: str) -> None:
    """To the logger, and the loop's handler or the hook; the next consumer gets a fresh one."""
    group = Group()
    resource = AsyncSharedResource(group, linger=math.inf, name="camera")
    child = group.error

    async def body() -> None:
        if held == "lingering":
            await enter(resource)
            group.fails.open()
            await until(lambda: group.diary[-1] == "end")
        else:
            lease = await resource.acquire()
            group.fails.open()
            await until(lambda: not lease.valid)
            del lease
            with pytest.warns(ResourceWarning, match="a lease of camera was never released"):
                await until(lambda: group.diary[-1] == "end")
        await settled()
        assert [leaf for error in run.told() for leaf in leaves(error)] == [child]
        assert await enter(resource) == "value"
        await resource.close()

    run(body)


def test_the_end_of_what_is_broken_is_exclusive_too(run: Run) -> None:
    """A newcomer waits until the holders of the broken one have left and it has stopped."""
    group = Group()
    resource = AsyncSharedResource(group, exclusive=True)

    async def body() -> None:
        lease = await resource.acquire()
        group.fails.open()
        await until(lambda: not lease.valid)
        newcomer = Job(resource.acquire)
        await until(lambda: waiting(resource) == 1)
        await error_of(lease.release())
        assert group.diary == ["start", "after the yield", "end"]
        await (await newcomer.result()).release()

    run(body)


def test_a_start_whose_task_group_fails(run: Run) -> None:
    """All who wait get the group; the next one starts anew."""

    async def fail() -> None:
        raise KeyError

    @asynccontextmanager
    async def opener() -> AsyncGenerator[str]:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            await anyio.sleep(3600)
            yield "never"

    resource = AsyncSharedResource(opener)

    async def body() -> None:
        jobs = [Job(resource.acquire) for _ in range(3)]
        errors = [await job.error() for job in jobs]
        assert errors[0] is errors[1] is errors[2]
        assert [type(leaf) for leaf in leaves(errors[0])] == [KeyError]
        assert (resource.state, resource.usecount) == (State.IDLE, 0)

    run(body)


def test_a_start_that_cancels_itself_is_an_error(run_asyncio: Run) -> None:
    """`CancelledError` out of a start that nobody cancelled is no cancellation of those who wait."""

    async def give_up() -> None:
        raise asyncio.CancelledError

    resource = AsyncSharedResource.of(give_up, name="camera")

    async def body() -> None:
        jobs = [Job(resource.acquire) for _ in range(2)]
        for job in jobs:
            assert "the start of camera, generation 1, was cancelled from inside" in str(await job.error())

    run_asyncio(body)


# on_failure="cancel"


def test_with_cancel_the_blocks_are_cancelled_and_raise_it(run: Run) -> None:
    """Each with-block is cancelled where it waits, and raises what has failed; others go on."""
    group = Group()
    resource = AsyncSharedResource(group, on_failure="cancel")
    child, diary = group.error, group.diary

    async def use() -> None:
        async with resource():
            try:
                await anyio.sleep(3600)
            finally:
                diary.append("unwound")

    async def body() -> None:
        jobs = [Job(use) for _ in range(3)]
        await until(lambda: resource.usecount == 3)
        group.fails.open()
        for job in jobs:
            assert leaves(await job.error()) == [child]
        assert (resource.usecount, resource.state) == (0, State.IDLE)
        assert await enter(resource) == "value"

    run(body)
    assert diary == ["start", *["unwound"] * 3, "after the yield", "end", "start", "after the yield", "end"]


def test_with_cancel_a_block_that_raises_its_own_error_keeps_it(run: Run) -> None:
    """The error of the body comes out; what has failed goes to whoever else is there, or is reported."""
    group = Group()
    resource = AsyncSharedResource(group, on_failure="cancel")
    child = group.error

    async def use() -> None:
        async with resource():
            try:
                await anyio.sleep(3600)
            except BaseException:
                raise KeyError("mine") from None

    async def body() -> None:
        job = Job(use)
        await until(lambda: resource.usecount == 1)
        group.fails.open()
        error = await job.error()
        found = leaves(error) + [leaf for told in run.told() for leaf in leaves(told)]
        context = error.__context__
        if context is not None:
            found += leaves(context)
            error.__context__ = None
        assert child in found
        assert any(isinstance(leaf, KeyError) for leaf in found)
        assert (resource.usecount, resource.state) == (0, State.IDLE)

    run(body)


def test_with_cancel_what_has_no_block_is_stopped_under(run: Run) -> None:
    """A lease of `acquire` cannot be cancelled: it stays held, and is not valid."""
    group = Group()
    resource = AsyncSharedResource(group, on_failure="cancel")
    child = group.error

    async def body() -> None:
        lease = await resource.acquire()
        group.fails.open()
        await until(lambda: not lease.valid)
        await resource.wait_stopped()
        await settled()
        assert [leaf for told in run.told() for leaf in leaves(told)] == [child]
        assert (lease.held, resource.usecount) == (True, 1)
        assert await lease.release()
        assert resource.state is State.IDLE

    run(body)


def test_with_cancel_a_block_that_is_cancelled_by_others_as_well(run: Run) -> None:
    """The consumer's own cancellation wins, the count is right, and the failure is told to somebody."""
    group = Group()
    resource = AsyncSharedResource(group, on_failure="cancel")

    async def use() -> None:
        async with resource():
            await anyio.sleep(3600)

    async def body() -> None:
        job = Job(use)
        await until(lambda: resource.usecount == 1)
        group.fails.open()
        job.cancel()
        await job.wait()
        await resource.wait_stopped()
        await settled()
        run.told()
        assert (resource.usecount, resource.state) == (0, State.IDLE)
        assert await enter(resource) == "value"

    run(body)


def test_with_cancel_a_lease_that_another_task_leaves_is_given_back(run_asyncio: Run, maker: Maker) -> None:
    """The scope is left alone there, for it is the other task's; so do fixtures of pytest-asyncio."""
    resource = AsyncSharedResource(maker, on_failure="cancel")

    async def begin() -> None:
        leases.append(lease := resource())
        await lease.__aenter__()

    leases: list[Any] = []

    async def body() -> None:
        await Job(begin).result()
        await leases.pop().__aexit__(None, None, None)
        assert (resource.usecount, maker.alive) == (0, [])

    run_asyncio(body)


def test_with_cancel_leases_may_be_given_back_by_hand_in_any_order(run: Run, maker: Maker) -> None:
    """Of two blocks, one inside the other, each releases early, the outer one first."""
    resource = AsyncSharedResource(maker, on_failure="cancel")

    async def body() -> None:
        one, two = resource(), resource()
        async with one, two:
            assert await one.release()
            assert await two.release()
            assert maker.alive == []

    run(body)


# stop_timeout


@pytest.mark.parametrize("who", ["releaser", "flush", "linger"])
def test_a_stop_that_takes_too_long_is_cancelled(run: Run, who: str) -> None:
    """Whoever waits for it gets `TimeoutError`, or it is reported; the resource counts as stopped."""
    diary: list[str] = []

    async def stop(value: object) -> None:
        try:
            await anyio.sleep(3600)
        finally:
            diary.append("cancelled")

    resource = AsyncSharedResource.of(
        object, stop=stop, stop_timeout=0.01, name="camera", linger=0.0 if who == "releaser" else math.inf
    )
    text = "the stop of camera, generation 1, did not end within 0.01 s"

    async def body() -> None:
        if who == "releaser":
            error = await error_of(enter(resource))
        else:
            await enter(resource)
            if who == "flush":
                error = await error_of(resource.flush())
            else:
                resource.invalidate()
                await resource.wait_stopped()
                await settled()
                (error,) = run.told()
        assert isinstance(error, TimeoutError)
        assert str(error) == text
        assert (diary, resource.state) == (["cancelled"], State.IDLE)

    run(body)


@pytest.mark.parametrize("timeout", [math.inf, 3600.0])
def test_a_stop_that_is_cancelled_from_inside_is_an_error(run_asyncio: Run, timeout: float) -> None:
    """It awaits a task of its own that was cancelled, say: that is no time that ran out, whoever waits is told so."""

    async def stop(value: object) -> None:
        helper = asyncio.create_task(asyncio.sleep(3600))
        helper.cancel()
        await helper

    resource = AsyncSharedResource.of(object, stop=stop, stop_timeout=timeout, name="camera")

    async def body() -> None:
        error = await error_of(enter(resource))
        assert type(error) is RefcountError
        assert str(error) == "the stop of camera, generation 1, was cancelled from inside"
        assert resource.state is State.IDLE

    run_asyncio(body)


def test_a_stop_in_time_is_not_cancelled_later(run: Run, maker: Maker) -> None:
    """Nor is the one who waits for it."""
    maker.turns = 3
    resource = AsyncSharedResource(maker, stop_timeout=3600.0)

    async def body() -> None:
        for _ in range(3):
            await enter(resource)
        assert maker.alive == []

    run(body)


# Shielded


@pytest.mark.parametrize("scoped", [False, True])
def test_a_stop_is_shielded_from_the_cancellation_of_the_releaser(run: Run, maker: Maker, scoped: bool) -> None:
    """Cancelled while it waits for the stop, be it by a scope: the stop runs to its end."""
    resource = AsyncSharedResource(maker)
    scopes: list[anyio.CancelScope] = []

    async def use() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await enter(resource)

    async def body() -> None:
        maker.stopping.shut()
        job = Job(use)
        await maker.stopping.wait_reached()
        for _ in range(2):
            if scoped:
                scopes[0].cancel()
            else:
                job.cancel()
            await settled()
        assert (resource.usecount, maker.alive) == (0, [1])
        maker.stopping.open()
        await job.wait()
        await resource.wait_stopped()
        assert maker.alive == []

    run(body)
    assert maker.diary == ["start 1", "stop 1"]


def test_a_release_in_a_cancelled_task_is_not_lost(run: Run, maker: Maker) -> None:
    """In the body, in `finally`, in an `except` of the cancellation."""
    maker.turns = 3
    resource = AsyncSharedResource(maker)

    async def in_finally() -> None:
        lease = await resource.acquire()
        try:
            await anyio.sleep(3600)
        finally:
            await lease.release()

    async def in_except() -> None:
        lease = await resource.acquire()
        try:
            await anyio.sleep(3600)
        except BaseException:
            await lease.release()
            raise

    async def in_with() -> None:
        async with resource():
            await anyio.sleep(3600)

    uses: list[Callable[[], Awaitable[None]]] = [in_finally, in_except, in_with]

    async def body() -> None:
        for use in uses:
            jobs = [Job(use) for _ in range(2)]
            await until(lambda: resource.usecount == 2)
            for job in jobs:
                job.cancel()
            for job in jobs:
                await job.wait()
            await resource.wait_stopped()
            assert (resource.usecount, maker.alive) == (0, [])

    run(body)


# Shutdown idioms


def test_cancelling_all_tasks_from_inside(run_asyncio: Run, maker: Maker) -> None:
    """`for task in asyncio.all_tasks(): task.cancel()` cancels no stop: what was held is stopped by its holders."""
    maker.turns = 2
    resources = [AsyncSharedResource(maker, linger=linger) for linger in (0.0, math.inf)]

    async def use() -> None:
        async with resources[0]():
            await asyncio.sleep(3600)

    async def body() -> None:
        await enter(resources[1])
        for _ in range(3):
            Job(use)
        await until(lambda: resources[0].usecount == 3)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await resources[0].wait_stopped()
        assert maker.alive == [1]  # what lingers has no task that could be cancelled
        assert (await enter(resources[1])).number == 1
        assert await resources[1].flush()

    run_asyncio(body)


@pytest.mark.parametrize("at_exit", ["stop", "leave"])
def test_what_lingers_at_the_end_of_the_loop(run: Run, maker: Maker, at_exit: Literal["stop", "leave"]) -> None:
    """It is stopped before the loop is gone, or left as it is if it says so."""
    resource = AsyncSharedResource(maker, linger=3600.0, at_exit=at_exit)

    async def body() -> None:
        await enter(resource)

    run(body, up=True, kept=2 if at_exit == "leave" else 0)
    assert maker.diary == (["start 1", "stop 1"] if at_exit == "stop" else ["start 1"])
    assert resource.state is State.IDLE


@pytest.mark.parametrize("at_exit", ["stop", "leave"])
def test_what_is_held_for_ever_at_the_end_of_the_loop(
    run: Run, maker: Maker, at_exit: Literal["stop", "leave"]
) -> None:
    """By a lease that somebody keeps: stopped with a warning, or left as it is."""
    resource = AsyncSharedResource(maker, at_exit=at_exit, name="camera")
    kept: list[Any] = []

    async def body() -> None:
        kept.append(await resource.acquire())

    if at_exit == "stop":
        with pytest.warns(ResourceWarning, match="camera is still held at the end of its event loop, by 1 lease"):
            run(body, up=True)
    else:
        run(body, up=True, kept=2)
    assert maker.diary == (["start 1", "stop 1"] if at_exit == "stop" else ["start 1"])
    assert (resource.state, resource.usecount) == (State.IDLE, 1 if at_exit == "stop" else 0)
    kept.clear()


def test_tasks_that_the_end_of_the_loop_cancels_leave_in_peace(run_asyncio: Run, maker: Maker) -> None:
    """Holders that take their time to unwind have what they hold until then; it is stopped after them, in silence."""
    maker.turns = 2
    resource = AsyncSharedResource(maker)
    diary = maker.diary

    async def use() -> None:
        async with resource() as value:
            try:
                await asyncio.sleep(3600)
            finally:
                await stubborn(lambda: checkpoint(5))
                assert value.alive
                diary.append("left")

    async def body() -> None:
        Job(use)
        await until(lambda: resource.usecount == 1)

    run_asyncio(body, up=True)
    assert diary == ["start 1", "left", "stop 1"]


def test_what_uses_another_is_stopped_before_it_at_the_end_of_the_loop(run: Run) -> None:
    """An opener that holds another resource, both lingering for ever: the outer one first."""
    base, upper = Maker(), Maker()
    power = AsyncSharedResource(base, linger=math.inf)
    order: list[str] = []

    @asynccontextmanager
    async def opener() -> AsyncGenerator[Camera]:
        async with power() as supply, upper() as value:
            yield value
            assert supply.alive
            order.append("upper")

    resource = AsyncSharedResource(opener, linger=math.inf)

    async def body() -> None:
        await enter(resource)

    run(body, up=True)
    assert order == ["upper"]
    assert (base.diary, upper.diary) == (["start 1", "stop 1"], ["start 1", "stop 1"])


def test_a_stop_that_needs_the_loop_has_it_at_its_end(run: Run) -> None:
    """Timers and other tasks work until the stop is over."""
    diary: list[str] = []

    async def stop(value: object) -> None:
        await anyio.sleep(0.005)
        diary.append("stopped")

    resource = AsyncSharedResource.of(object, stop=stop, linger=math.inf)

    async def body() -> None:
        await enter(resource)

    run(body, up=True)
    assert diary == ["stopped"]


def test_a_failing_stop_at_the_end_of_the_loop_is_reported(run: Run, maker: Maker) -> None:
    """There is nobody else."""
    resource = AsyncSharedResource(maker, linger=math.inf)
    maker.stop_error = OSError("jammed")

    async def body() -> None:
        await enter(resource)

    with pytest.raises(AssertionError, match=r"told to nobody: .*jammed"):
        run(body, up=True)
    run.told()


def test_broken_generations_leave_no_task_behind(run: Run) -> None:
    """Many of them, one after the other, in a loop that goes on."""
    group = Group()
    resource = AsyncSharedResource(group)

    async def body() -> None:
        for _ in range(5):
            lease = await resource.acquire()
            group.fails.open()
            await settled(30)
            assert not lease.valid
            await error_of(lease.release())

    run(body)


def test_warnings_that_are_errors_keep_nothing_from_being_stopped(run: Run, maker: Maker) -> None:
    """As in many a test suite: what is held for ever is stopped at the end, what was lost is given back."""
    held, lost = AsyncSharedResource(maker, name="camera"), AsyncSharedResource(maker, name="disk")
    kept: list[Any] = []

    async def body() -> None:
        kept.append(await held.acquire())
        await lost.acquire()
        await until(lambda: lost.state is State.IDLE)
        assert ["a lease of disk was never released" in str(error) for error in run.told()] == [True]

    with pytest.raises(AssertionError, match=r"told to nobody: .ResourceWarning.'camera is still held at the end"):
        run(body, up=True)
    run.told()
    assert maker.alive == []
    kept.clear()
