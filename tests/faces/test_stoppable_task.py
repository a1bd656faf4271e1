"""`StoppableTask`: a task that can be asked to end, on every event loop."""

import asyncio
import contextvars
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import anyio
import pytest

from refcount import AsyncSharedResource, RefcountError, StoppableTask, WrongLoopError, refcounted_attribute
from tests.helpers.loops import Job, Run, checkpoint, error_of, run, run_asyncio, until
from tests.helpers.programs import run_program

__all__ = ["run", "run_asyncio"]

untyped = cast("Callable[..., Any]", StoppableTask)
"""For what the type checkers refuse and the run time has to refuse as well."""


async def obey(stopping: anyio.Event) -> None:
    """End when asked to."""
    await stopping.wait()


def over(task: StoppableTask) -> bool:
    """Say whether it has ended."""
    return not task.is_alive()


class TestRunning:
    """It runs from its start until it is asked to end, or comes back."""

    def test_from_start_to_stop(self, run: Run) -> None:
        """The target is handed the event, and what stands behind its loop runs."""
        log: list[str] = []

        async def produce(stopping: anyio.Event) -> None:
            log.append("start")
            while not stopping.is_set():
                await checkpoint()
            await checkpoint(3)
            log.append("flushed")

        async def body() -> None:
            task = StoppableTask(produce)
            states = [repr(task), task.is_alive()]
            await task.start()
            states += [repr(task), task.is_alive()]
            await until(lambda: log)
            await task.stop()
            states += [repr(task), task.is_alive(), task.stopping.is_set()]
            await task.stop()
            name = f"<StoppableTask {task.name!r}"
            assert states == [
                f"{name}, not started>",
                False,
                f"{name}, running>",
                True,
                f"{name}, over>",
                False,
                True,
            ]
            assert log == ["start", "flushed"]

        run(body)

    def test_a_subclass(self, run: Run) -> None:
        """It overrides `run`, and looks at `stopping`."""

        class Counter(StoppableTask):
            count = 0

            async def run(self) -> None:
                while not self.stopping.is_set():
                    self.count += 1
                    await checkpoint()

        async def body() -> None:
            counter = Counter()
            await counter.start()
            await until(lambda: counter.count > 2)
            await counter.stop()
            count = counter.count
            await checkpoint(3)
            assert counter.count == count

        run(body)

    def test_it_comes_back_by_itself(self, run: Run) -> None:
        """Then it is over; to stop it is harmless."""

        async def body() -> None:
            for task in (StoppableTask(lambda _stopping: checkpoint()), StoppableTask()):
                await task.start()
                await until(partial(over, task))
                await task.stop()

        run(body)

    def test_it_runs_once(self, run: Run) -> None:
        """A second start is an error, also when it is over."""

        async def body() -> None:
            task = StoppableTask(obey)
            await task.start()
            assert isinstance(await error_of(task.start()), RuntimeError)
            await task.stop()
            assert "was started before" in str(await error_of(task.start()))

        run(body)

    def test_asked_before_it_is_started(self, run: Run) -> None:
        """It does not wait, and the task finds the event set."""

        async def body() -> None:
            task = StoppableTask(obey)
            await task.stop()
            await task.start()
            await until(lambda: not task.is_alive())

        run(body)

    def test_it_may_stop_itself(self, run: Run) -> None:
        """It asks, and does not wait."""

        async def body() -> None:
            log: list[str] = []

            async def end(stopping: anyio.Event) -> None:
                await task.stop()
                log.append(f"{stopping.is_set()}")

            task = StoppableTask(end)
            await task.start()
            await until(lambda: not task.is_alive())
            assert log == ["True"]

        run(body)

    def test_the_context_of_who_starts_it(self, run: Run) -> None:
        """It runs in a copy of it."""
        variable = contextvars.ContextVar("variable", default="none")
        seen: list[str] = []

        async def look(_stopping: anyio.Event) -> None:
            seen.append(variable.get())
            variable.set("the task's")

        async def body() -> None:
            variable.set("the caller's")
            task = StoppableTask(look)
            await task.start()
            await task.stop()
            assert (seen, variable.get()) == (["the caller's"], "the caller's")

        run(body)

    def test_nobody_keeps_it_but_the_loop(self, run: Run) -> None:
        """A task that is started and dropped runs all the same."""
        log: list[str] = []

        async def work(_stopping: anyio.Event) -> None:
            await checkpoint(5)
            log.append("done")

        async def body() -> None:
            await StoppableTask(work).start()
            await until(lambda: log)

        run(body)

    def test_its_name(self, run: Run) -> None:
        """Is the target's, or what it is given."""

        async def body() -> None:
            assert StoppableTask(obey).name == "obey"
            assert StoppableTask(obey, name="mine").name == "mine"
            assert StoppableTask().name == "StoppableTask"

        run(body)


class TestGrace:
    """A task that does not end when it is asked to is cancelled."""

    @pytest.mark.parametrize("grace", [0, 0.01])
    def test_when_it_is_over(self, run: Run, grace: float) -> None:
        """Its `finally` has run when `stop` returns."""
        log: list[str] = []

        async def stubborn(_stopping: anyio.Event) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await checkpoint(3)
                log.append("unwound")

        async def body() -> None:
            task = StoppableTask(stubborn, grace=grace)
            await task.start()
            await checkpoint(2)
            await task.stop()
            assert not task.is_alive()
            assert log == ["unwound"]

        run(body)

    def test_when_the_waiting_is_cancelled(self, run: Run) -> None:
        """Nobody waits for the end of its grace then, so it is cancelled."""

        async def body() -> None:
            task = StoppableTask(lambda _stopping: anyio.sleep_forever())
            await task.start()
            job = Job(task.stop)
            await until(task.stopping.is_set)
            assert task.is_alive()
            job.cancel()
            await job.wait()
            assert job.cancelled
            await until(lambda: not task.is_alive())

        run(body)

    def test_cancelled_at_every_turn(self, run: Run) -> None:
        """Wherever the waiting is cancelled, no task is left."""

        async def slow(stopping: anyio.Event) -> None:
            await stopping.wait()
            await checkpoint(5)

        async def body() -> None:
            for turns in range(15):
                task = StoppableTask(slow)
                await task.start()
                job = Job(task.stop)
                await until(task.stopping.is_set)
                await checkpoint(turns)
                job.cancel()
                await job.wait()
                await until(partial(over, task))
                await task.stop()

        run(body)


class TestFailing:
    """Errors reach somebody."""

    def test_unasked(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        """It is told at once, as an exception in a thread is; `stop` does not repeat it."""
        caplog.set_level(logging.CRITICAL)

        async def fail(_stopping: anyio.Event) -> None:
            raise OSError("broken")

        async def body() -> None:
            task = StoppableTask(fail)
            await task.start()
            await until(lambda: run.reported)
            assert [str(error) for error in run.told()] == ["broken"]
            assert not task.is_alive()
            await task.stop()

        run(body)

    def test_when_asked_to_end(self, run: Run) -> None:
        """It goes to who has asked, once."""

        async def fail(stopping: anyio.Event) -> None:
            await stopping.wait()
            raise OSError("broken")

        async def body() -> None:
            task = StoppableTask(fail)
            await task.start()
            assert str(await error_of(task.stop())) == "broken"
            await task.stop()

        run(body)

    def test_a_group_with_cancellations(self, run: Run) -> None:
        """A task group that fails while it is cancelled: what remains goes to who has asked."""

        async def fail() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise OSError("broken")

        async def work(_stopping: anyio.Event) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(fail)
                group.start_soon(anyio.sleep_forever)

        async def body() -> None:
            task = StoppableTask(work, grace=0)
            await task.start()
            await checkpoint(3)
            assert messages(await error_of(task.stop())) == ["broken"]

        run(body)


def messages(group: Any) -> list[str]:
    """Return what the errors of a group say."""
    return [str(error) for error in group.exceptions]


class TestShared:
    """As a resource: the seed's producer."""

    def test_the_first_starts_it_and_the_last_stops_it(self, run: Run) -> None:
        """And one that has died is replaced for the next consumer."""
        running: list[int] = []

        async def produce(stopping: anyio.Event) -> None:
            running.append(1)
            try:
                await stopping.wait()
            finally:
                running.pop()

        producer = AsyncSharedResource.of(
            lambda: StoppableTask(produce),
            start=StoppableTask.start,
            stop=StoppableTask.stop,
            check=StoppableTask.is_alive,
        )

        async def body() -> None:
            async with producer() as first, producer() as second:
                assert first is second
                await until(lambda: running)
                await first.stop()
                async with producer() as third:
                    assert third is not first
                    await until(lambda: running)
            assert running == []

        run(body)

    def test_as_an_attribute(self, run: Run) -> None:
        """As it is written for a thread; a subclass sees to what it does."""

        class Ticker(StoppableTask):
            count = 0

            async def run(self) -> None:
                while not self.stopping.is_set():
                    self.count += 1
                    await checkpoint()

        class Owner:
            ticker = refcounted_attribute(
                Ticker, start=StoppableTask.start, stop=StoppableTask.stop, check=StoppableTask.is_alive
            )

        async def body() -> None:
            owner = Owner()
            async with owner.ticker() as first, owner.ticker() as second:
                assert first is second
                await until(lambda: first.count > 2)
            assert not first.is_alive()

        run(body)

    def test_the_error_of_its_end_goes_to_who_leaves_last(self, run: Run) -> None:
        """As that of any stop."""

        async def fail(stopping: anyio.Event) -> None:
            await stopping.wait()
            raise OSError("not flushed")

        async def use() -> None:
            async with AsyncSharedResource.of(
                lambda: StoppableTask(fail), start=StoppableTask.start, stop=StoppableTask.stop
            )():
                await checkpoint()

        async def body() -> None:
            assert str(await error_of(use())) == "not flushed"

        run(body)

    @pytest.mark.parametrize("library", ["asyncio", "trio"])
    @pytest.mark.parametrize("how", ["lingers", "is held", "is alone"])
    def test_the_end_of_the_loop(self, library: str, how: str) -> None:
        """Whatever becomes of it, the loop ends, and its `finally` has run."""
        ended = run_program(
            """
import anyio, math, sys, warnings
from refcount import AsyncSharedResource, StoppableTask
async def produce(stopping):
    try:
        await anyio.sleep_forever()
    finally:
        print("unwound")
producer = AsyncSharedResource.of(
    lambda: StoppableTask(produce), start=StoppableTask.start, stop=StoppableTask.stop, linger=math.inf, name="producer"
)
async def main():
    if sys.argv[2] == "is alone":
        await StoppableTask(produce).start()
    elif sys.argv[2] == "lingers":
        async with producer():
            await anyio.sleep(0)
    else:
        kept.append(await producer.acquire())
    await anyio.sleep(0.01)
kept = []
anyio.run(main, backend=sys.argv[1])
print("over")
""",
            library,
            how,
        )
        assert ended.lines == ["unwound", "over"]
        assert ended.returncode == 0
        assert ("ResourceWarning" in ended.stderr or not ended.stderr) if how == "is held" else not ended.stderr


class TestHandedIn:
    """What does not fit is refused where it is handed in."""

    def test_targets(self) -> None:
        """They are coroutine functions of one argument."""

        async def nothing() -> None: ...

        async def steps(_stopping: anyio.Event) -> Any:
            yield

        with pytest.raises(TypeError, match="the target of a StoppableTask is called with stopping"):
            untyped(nothing)
        with pytest.raises(TypeError, match=r"the target of a StoppableTask must not be asynchronous, .*: `steps` is"):
            untyped(steps)
        with pytest.raises(TypeError, match="the target of a StoppableTask must be callable, not 3"):
            untyped(3)
        with pytest.raises(TypeError, match=r"StoppableTask takes no args: hand in functools\.partial"):
            untyped(obey, args=(1,))
        with pytest.raises(ValueError, match="grace must be 0 seconds or more"):
            StoppableTask(obey, grace=-1)
        with pytest.raises(TypeError, match="grace must be"):
            untyped(obey, grace="long")
        assert StoppableTask(partial(obey)).name == "obey"

    def test_no_loop(self) -> None:
        """It cannot be started where none runs."""
        start = StoppableTask(obey).start()
        with pytest.raises(RefcountError, match="no event loop runs here"):
            start.send(None)

    def test_another_loop(self, run_asyncio: Run) -> None:
        """It cannot be stopped from there; when its own is over, it is as well."""

        async def body() -> None:
            task = StoppableTask(obey)
            await task.start()
            error = await anyio.to_thread.run_sync(lambda: asyncio.run(error_of_stop(task)))
            assert isinstance(error, WrongLoopError)
            assert task.is_alive()
            await task.stop()

        async def error_of_stop(task: StoppableTask) -> BaseException:
            return await error_of(task.stop())

        run_asyncio(body)

    def test_a_loop_that_is_over(self) -> None:
        """What it has taken with it is not alive, and needs no stop."""
        task = StoppableTask(obey)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(task.start())
        assert task.is_alive()
        for left in asyncio.all_tasks(loop):
            left.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        assert not task.is_alive()
        asyncio.run(task.stop())
