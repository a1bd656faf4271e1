"""`aio()`: resources for threads, used from tasks, on every event loop: no loop waits, and nothing is lost."""
# pyright: reportPrivateUsage=false
# What sleeps and what a claim is on is private to users; here it is what is waited for.

import asyncio
import contextvars
import logging
import re
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, contextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from refcount import (
    ClosedError,
    ReentrantError,
    RefcountError,
    ReleasedError,
    SharedResource,
    State,
    refcounted_attribute,
    refcounted_resource,
)
from refcount._core import bridge
from refcount.testing import ManualClock
from tests.helpers.loops import Job, Run, checkpoint, error_of, run, run_asyncio, until
from tests.helpers.programs import run_program
from tests.helpers.watched import WAIT, Thing, Watched

__all__ = ["run", "run_asyncio"]


class Door:
    """Something that threads stop at until it is opened, and that tasks wait for without blocking their loop."""

    def __init__(self) -> None:
        self.reached = 0
        self._open = threading.Event()

    def open(self) -> None:
        """Let everybody through, for good."""
        self._open.set()

    def pass_through(self, *_: object) -> None:
        """Wait in this thread."""
        self.reached += 1
        assert self._open.wait(WAIT)


def no_thread(_job: object) -> Any:
    """Stand for `in_thread` where no thread is to be needed."""
    raise AssertionError("a thread was asked for")


def state(resource: SharedResource[Any]) -> State:
    """Return what it is doing; a checker would take it for the same the next time."""
    return resource.state


def asleep(resource: SharedResource[Any]) -> int:
    """Return how many wait for it."""
    return len(resource._machine.sleepers)


async def hold(resource: SharedResource[Any], then: Callable[[], Any] = anyio.sleep_forever) -> None:
    """Hold it for as long as `then` takes."""
    async with resource.aio():
        await then()


class TestHolding:
    """Start and stop have a thread, what takes no time has none."""

    def test_start_and_stop_run_in_a_worker_thread(self, run: Run) -> None:
        """The loop turns meanwhile: a task of it lets the start go on, and the stop."""
        threads: list[int] = []
        start, stop = Door(), Door()

        @contextmanager
        def opened() -> Generator[str]:
            threads.append(threading.get_ident())
            start.pass_through()
            yield "value"
            threads.append(threading.get_ident())
            stop.pass_through()

        resource = SharedResource(opened)

        async def body() -> None:
            job = Job(partial(hold, resource, checkpoint))
            await until(lambda: start.reached)
            assert state(resource) is State.STARTING
            start.open()
            await until(lambda: stop.reached)
            stop.open()
            await job.result()
            assert threading.get_ident() not in threads
            assert state(resource) is State.IDLE

        run(body)

    def test_the_value_is_the_resource_s(self, run: Run) -> None:
        """It is given as it is, to all who hold it, threads included."""
        watched = Watched()
        resource = SharedResource(watched.open)

        async def body() -> None:
            async with resource.aio() as first, resource().aio() as second:
                with resource() as third:
                    assert first is second is third
                assert resource.usecount == 2
            assert (watched.starts, watched.stops) == (1, 1)

        run(body)

    def test_what_runs_is_joined_and_left_without_a_thread(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """So it is while another holds it, and within a linger."""
        resource = SharedResource(Watched().open, linger=10.0)

        async def body() -> None:
            held = resource.acquire()
            with monkeypatch.context() as patch:
                patch.setattr(bridge, "in_thread", no_thread)
                async with resource.aio(), resource.aio():
                    assert resource.usecount == 3
                held.release()
                assert state(resource) is State.LINGERING
                clock.advance(9.0)
                async with resource.aio():
                    assert resource.usecount == 1
                assert state(resource) is State.LINGERING
                clock.advance(9.0)
                assert state(resource) is State.LINGERING
                clock.advance(1.0)
            assert state(resource) is State.IDLE

        with ManualClock() as clock:
            run(body)

    def test_a_thread_is_asked_for_otherwise(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the test above looks for would be seen."""

        async def body() -> None:
            with monkeypatch.context() as patch:
                patch.setattr(bridge, "in_thread", no_thread)
                with pytest.raises(AssertionError, match="a thread was asked for"):
                    await hold(SharedResource(Watched().open))

        run(body)

    def test_the_first_of_many_starts_it_for_all(self, run: Run) -> None:
        """A hundred tasks share one start, and one stop."""
        watched = Watched()
        resource = SharedResource(watched.open)

        async def body() -> None:
            gate = anyio.Event()
            jobs = [Job(partial(hold, resource, gate.wait)) for _ in range(100)]
            await until(lambda: resource.usecount == 100)
            gate.set()
            for job in jobs:
                await job.result()
            assert (watched.starts, watched.stops) == (1, 1)

        run(body)

    def test_all_see_the_error_of_a_start(self, run: Run) -> None:
        """It is one and the same object, and the next one tries anew."""
        door = Door()
        error = OSError("no camera")

        def fail() -> None:
            door.pass_through()
            if watched_fails:
                raise error

        watched_fails = [True]
        resource = SharedResource(Watched(start=fail).open)

        async def body() -> None:
            jobs = [Job(partial(hold, resource)) for _ in range(3)]
            await until(lambda: door.reached and asleep(resource) == 2)
            door.open()
            assert {id(await job.error()) for job in jobs} == {id(error)}
            watched_fails.clear()
            await hold(resource, checkpoint)
            assert state(resource) is State.IDLE

        run(body)

    def test_the_error_of_a_stop_goes_to_who_left_last(self, run: Run) -> None:
        """It is raised from the with-statement; the resource is idle all the same."""

        def fail(_thing: Thing) -> None:
            raise OSError("stuck")

        resource = SharedResource(Watched(stop=fail).open)

        async def body() -> None:
            assert isinstance(await error_of(hold(resource, checkpoint)), OSError)
            assert state(resource) is State.IDLE

        run(body)

    def test_a_task_that_fails_is_in_no_cycle(self, run_asyncio: Run) -> None:
        """A task keeps its error, and that the frames that it came through; none of them keeps the task."""

        def fail() -> None:
            raise OSError("no camera")

        resource = SharedResource(Watched(start=fail).open)

        async def body() -> None:
            task = asyncio.ensure_future(hold(resource))
            await asyncio.wait([task])
            assert str(task.exception()) == "no camera"

        run_asyncio(body)

    def test_an_error_of_the_body_is_its_own(self, run: Run) -> None:
        """It goes to the caller, and not into the opener."""
        resource = SharedResource(Watched().open)

        async def body() -> None:
            error = LookupError("mine")
            with pytest.raises(LookupError) as caught:
                async with resource.aio():
                    raise error
            assert caught.value is error
            assert state(resource) is State.IDLE

        run(body)

    def test_hooks_see_a_copy_of_the_context(self, run: Run) -> None:
        """So context variables are those of the task that starts it."""
        variable = contextvars.ContextVar("variable", default="none")
        seen: list[str] = []
        resource = SharedResource.of(lambda: seen.append(variable.get()))

        async def body() -> None:
            variable.set("the task's")
            await hold(resource, checkpoint)
            assert seen == ["the task's"]

        run(body)

    def test_its_own_thread_has_start_and_stop(self, run: Run) -> None:
        """Whatever thread waits for them."""
        threads: list[tuple[str, int]] = []
        resource = SharedResource.of(
            lambda: threads.append(("start", threading.get_ident())),
            stop=lambda _: threads.append(("stop", threading.get_ident())),
            own_thread=True,
        )

        async def body() -> None:
            await hold(resource, checkpoint)
            (_, start), (_, stop) = threads
            assert start == stop != threading.get_ident()

        run(body)

    def test_everything_that_gives_leases_for_threads(self, run: Run) -> None:
        """Decorated functions, resources behind a call, and attributes."""

        @refcounted_resource
        def camera(index: int) -> Generator[str]:
            yield f"camera {index}"

        class Owner:
            store = refcounted_attribute(dict[str, int])

        owner = Owner()

        async def body() -> None:
            async with camera(0).aio() as first, camera.resource(1).aio() as second, owner.store.aio() as third:
                assert (first, second, third) == ("camera 0", "camera 1", {})

        run(body)

    def test_in_an_exit_stack(self, run: Run) -> None:
        """It is an asynchronous context manager like any other, and no plain one."""
        watched = Watched()
        resource = SharedResource(watched.open)

        async def body() -> None:
            manager = resource.aio()
            assert isinstance(manager, AbstractAsyncContextManager)
            assert not isinstance(manager, AbstractContextManager)
            assert repr(manager) == f"<<Lease of {resource.name}, not held>, for a task>"
            async with AsyncExitStack() as stack:
                for _ in range(3):
                    await stack.enter_async_context(resource.aio())
                assert resource.usecount == 3
            assert watched.stops == 1

        run(body)


class TestLeases:
    """A lease is used once, whoever uses it."""

    def test_the_lease_can_be_asked_meanwhile(self, run: Run) -> None:
        """Who has it in hand sees whether it is valid, and may invalidate it, or release it early."""
        watched = Watched()
        resource = SharedResource(watched.open)

        async def body() -> None:
            lease = resource()
            async with lease.aio():
                valid = [lease.valid]
                lease.invalidate()
                valid.append(lease.valid)
                assert valid == [True, False]
                assert lease.release()
                assert watched.stops == 1

        run(body)

    def test_a_second_entry_is_refused(self, run: Run) -> None:
        """As by a plain `with`."""

        async def body() -> None:
            lease = SharedResource(Watched().open)()
            async with lease.aio():
                with pytest.raises(RefcountError, match="was entered before: a lease is used once"):
                    async with lease.aio():
                        pass
            with pytest.raises(RefcountError, match="was entered before"):
                async with lease.aio():
                    pass

        run(body)

    def test_one_that_was_acquired_is_given_back(self, run: Run) -> None:
        """At the end of the with-statement; a second one is refused."""
        resource = SharedResource(Watched().open)

        async def body() -> None:
            lease = resource.acquire()
            async with lease.aio() as value:
                assert value is lease.value
            assert state(resource) is State.IDLE
            with pytest.raises(RefcountError, match="was entered before"):
                async with lease.aio():
                    pass
            released = resource.acquire()
            released.release()
            with pytest.raises(ReleasedError):
                async with released.aio():
                    pass

        run(body)

    def test_one_that_was_abandoned_is_inert(self, run: Run) -> None:
        """Its exit changes nothing."""
        watched = Watched()
        resource = SharedResource(watched.open)

        async def body() -> None:
            async with resource.aio():
                resource.abandon()
                async with resource.aio():
                    assert resource.usecount == 1
            assert (watched.starts, watched.stops) == (2, 1)

        run(body)

    def test_a_closed_resource_refuses(self, run: Run) -> None:
        """As it does in a thread."""

        async def body() -> None:
            resource = SharedResource(Watched().open)
            resource.close()
            assert isinstance(await error_of(hold(resource)), ClosedError)

        run(body)


class TestWaiting:
    """Threads never run out, and nobody waits for himself."""

    def test_waiters_keep_no_thread_from_who_is_to_leave(self, run: Run) -> None:
        """More tasks than anyio has threads wait for a slot; the holder's stop has a thread all the same."""

        @refcounted_resource(capacity=1)
        def camera(index: int) -> Generator[int]:
            yield index

        async def body() -> None:
            order: list[int] = []

            async def use(index: int) -> None:
                async with camera(index).aio():
                    order.append(index)

            async with anyio.create_task_group() as group:
                async with camera(0).aio():
                    for index in range(1, 61):
                        group.start_soon(use, index)
                    await until(lambda: len(camera.resources()) == 61)
            assert sorted(order) == [*range(1, 61)]

        run(body)

    def test_a_task_that_would_wait_for_itself(self, run: Run) -> None:
        """In a full family it gets `ReentrantError`; another task of the same loop waits."""

        @refcounted_resource(capacity=1)
        def camera(index: int) -> Generator[int]:
            yield index

        async def body() -> None:
            async with camera(0).aio():
                with pytest.raises(ReentrantError, match=r"camera\(1\) inside a with-block of camera\(0\)"):
                    async with camera(1).aio():
                        pass
                with pytest.raises(ReentrantError), camera(2):  # on the loop, which would stand still
                    pass
                job = Job(partial(hold, camera.resource(3), checkpoint))
                await until(lambda: len(camera.resources()) == 2)
            await job.result()
            async with camera(1).aio():  # it has forgotten the with-blocks that are over
                pass

        run(body)

    def test_a_task_that_would_wait_for_its_own_old_generation(self, run: Run) -> None:
        """Of an exclusive resource it gets `ReentrantError`; another task waits until it has left."""
        resource = SharedResource(Watched().open, exclusive=True)

        async def body() -> None:
            async with resource.aio():
                resource.invalidate()
                assert isinstance(await error_of(hold(resource)), ReentrantError)
                job = Job(partial(hold, resource, checkpoint))
                await until(lambda: asleep(resource))
            await job.result()

        run(body)

    def test_a_hook_that_waits_for_its_own_resource(self, run: Run) -> None:
        """It raises at once, in whichever thread it runs."""
        resource: SharedResource[object]
        resource = SharedResource.of(lambda: resource.acquire(), name="self")

        async def body() -> None:
            assert isinstance(await error_of(hold(resource)), ReentrantError)

        run(body)


class TestCancellation:
    """A task that is cancelled leaves at once, and nothing of it is left."""

    def test_the_only_one_who_waits_for_a_start(self, run: Run) -> None:
        """It leaves while the start runs, whose thread undoes it."""
        threads: list[int] = []
        door = Door()

        def start() -> None:
            threads.append(threading.get_ident())
            door.pass_through()

        watched = Watched(start, lambda _: threads.append(threading.get_ident()))
        resource = SharedResource(watched.open)

        async def body() -> None:
            job = Job(partial(hold, resource))
            await until(lambda: door.reached)
            job.cancel()
            await job.wait()
            assert job.cancelled
            assert state(resource) is State.STARTING
            door.open()
            await until(lambda: watched.stops)
            await until(lambda: state(resource) is State.IDLE)
            assert threads[0] == threads[1]

        run(body)

    def test_one_of_many_who_wait_for_a_start(self, run: Run) -> None:
        """The others get what the cancelled starter has started."""
        door = Door()
        watched = Watched(door.pass_through)
        resource = SharedResource(watched.open)

        async def body() -> None:
            starter = Job(partial(hold, resource))
            await until(lambda: door.reached)
            other = Job(partial(hold, resource, checkpoint))
            await until(lambda: asleep(resource))
            starter.cancel()
            await starter.wait()
            door.open()
            await other.result()
            await until(lambda: state(resource) is State.IDLE)
            assert (watched.starts, watched.stops) == (1, 1)

        run(body)

    def test_its_thread_wakes_and_leaves(self, run: Run) -> None:
        """A thread that waits for another's start, or for a stop, is not left to that."""
        start, stop = Door(), Door()
        resource = SharedResource(Watched(start.pass_through, stop.pass_through).open)

        async def body() -> None:
            starter = Job(partial(hold, resource, checkpoint))
            for door in (start, stop):
                await until(partial(getattr, door, "reached"))
                waiter = Job(partial(hold, resource))
                await until(lambda: asleep(resource))
                waiter.cancel()
                await waiter.wait()
                await until(lambda: not asleep(resource))
                assert resource.usecount == 0
                door.open()
            await starter.result()
            assert state(resource) is State.IDLE

        run(body)

    def test_its_thread_leaves_the_line_for_a_slot(self, run: Run) -> None:
        """A thread that waits for a slot leaves, and the next one in line gets the slot."""

        @refcounted_resource(capacity=1)
        def camera(index: int) -> Generator[int]:
            yield index

        async def body() -> None:
            async with camera(0).aio():
                waiter = Job(partial(hold, camera.resource(1)))
                await until(lambda: len(camera.resources()) == 2)
                waiter.cancel()
                await waiter.wait()
                await until(lambda: len(camera.resources()) == 1)
            await hold(camera.resource(1), checkpoint)

        run(body)

    def test_a_release_waits_for_its_stop(self, run: Run) -> None:
        """Where the body is cancelled by a scope, its exit stops the resource, and is not cut short."""
        door = Door()
        watched = Watched(stop=door.pass_through)
        resource = SharedResource(watched.open)

        async def body() -> None:
            async def let_on() -> None:
                await until(lambda: door.reached)
                assert not over
                door.open()

            over: list[bool] = []
            async with anyio.create_task_group() as group:
                group.start_soon(let_on)
                with anyio.CancelScope() as scope:
                    async with resource.aio():
                        scope.cancel()
                        await checkpoint()
                over.append(True)
            assert state(resource) is State.IDLE
            assert watched.stops == 1

        run(body)

    def test_a_task_that_is_cancelled_in_its_release(self, run_asyncio: Run, caplog: pytest.LogCaptureFixture) -> None:
        """`Task.cancel` ends its waiting; the stop goes on, and its error is told."""
        caplog.set_level(logging.CRITICAL)
        door = Door()

        def fail(_thing: Thing) -> None:
            door.pass_through()
            raise OSError("stuck")

        resource = SharedResource(Watched(stop=fail).open)

        async def body() -> None:
            job = Job(partial(hold, resource, checkpoint))
            await until(lambda: door.reached)
            job.cancel()
            await job.wait()
            assert job.cancelled
            door.open()
            await until(lambda: run_asyncio.reported)
            assert [str(error) for error in run_asyncio.told()] == ["stuck"]
            assert state(resource) is State.IDLE

        run_asyncio(body)

    def test_a_task_that_is_cancelled_twice(self, run_asyncio: Run) -> None:
        """First in its body, then in the first step of its exit, before a thread has begun: the stop runs."""
        watched = Watched()
        resource = SharedResource(watched.open)

        async def body() -> None:
            job = Job(partial(hold, resource))
            await until(lambda: resource.usecount)
            await checkpoint(3)
            job.cancel()
            await asyncio.sleep(0)
            job.cancel()
            await job.wait()
            await until(lambda: state(resource) is State.IDLE)
            assert watched.stops == 1

        run_asyncio(body)

    def test_the_error_of_a_start_that_nobody_awaits(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        """It is told to the logger and the hook."""
        caplog.set_level(logging.CRITICAL)
        door = Door()

        def fail() -> None:
            door.pass_through()
            raise OSError("no camera")

        resource = SharedResource(Watched(start=fail).open)

        async def body() -> None:
            job = Job(partial(hold, resource))
            await until(lambda: door.reached)
            job.cancel()
            await job.wait()
            door.open()
            await until(lambda: run.reported)
            assert [str(error) for error in run.told()] == ["no camera"]

        run(body)

    @pytest.mark.parametrize("own_thread", [False, True])
    def test_at_every_turn_of_the_loop(self, run: Run, own_thread: bool) -> None:
        """Wherever a cancellation falls, as many stops as starts have run, and the next one gets it."""
        watched = Watched()
        resource = SharedResource(watched.open, own_thread=own_thread)

        async def body() -> None:
            for turns in range(30):
                job = Job(partial(hold, resource, partial(checkpoint, 3)))
                await checkpoint(turns)
                job.cancel()
                await job.wait()
                await until(lambda: state(resource) is State.IDLE)
                assert watched.starts == watched.stops
                assert not asleep(resource)
            await hold(resource, checkpoint)

        run(body)

    def test_many_at_once(self, run: Run) -> None:
        """Tasks of a bounded family are cancelled at different turns; all is given back in the end."""
        watched = Watched()

        @refcounted_resource(capacity=2)
        def camera(index: int) -> Generator[Thing]:
            with watched.open() as thing:
                yield thing

        async def body() -> None:
            jobs = [Job(partial(hold, camera.resource(index % 5), partial(checkpoint, 2))) for index in range(40)]
            for turns, job in enumerate(jobs):
                await checkpoint(turns % 4)
                if turns % 3:
                    job.cancel()
            for job in jobs:
                await job.wait()
            await until(lambda: not camera.resources())
            assert watched.starts == watched.stops
            assert watched.most <= 2

        run(body)


class TestEnds:
    """Where no loop is left to wait in."""

    def test_a_coroutine_that_is_closed_late(self) -> None:
        """Its lease is given back by the timer thread, without a warning."""
        watched = Watched()
        resource = SharedResource(watched.open)

        async def main() -> None:
            task = asyncio.get_running_loop().create_task(hold(resource))
            await until(lambda: resource.usecount)
            await checkpoint(3)
            kept.append(task.get_coro())

        kept: list[Any] = []
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _loop, _context: None)  # else it complains of the task that is left
        loop.run_until_complete(main())
        loop.close()
        assert resource.usecount == 1
        kept.pop().close()
        anyio.run(until, lambda: watched.stops)

    def test_a_process_ends_though_a_thread_has_waited(self) -> None:
        """A cancelled task's thread does not keep it, even if what it has waited for never comes."""
        ended = run_program(
            """
import anyio, sys
from refcount import refcounted_resource

@refcounted_resource(capacity=1, at_exit="leave")
def camera(index):
    yield index

kept = camera(0).acquire()

async def main():
    with anyio.move_on_after(0.05):
        async with camera(1).aio():
            pass
    print("over")

anyio.run(main, backend=sys.argv[1])
""",
            "asyncio",
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "over\n", "")

    def test_without_anyio(self) -> None:
        """It is said what to install; everything else works."""
        ended = run_program(
            """
import sys
sys.modules["anyio"] = None
from refcount import SharedResource
resource = SharedResource.of(list)
with resource():
    try:
        resource.aio()
    except ImportError as error:
        print(error)
"""
        )
        assert (
            ended.stdout == "resources for tasks need anyio, which is not installed: pip install 'refcounted[async]'\n"
        )


class TestOnTheLoop:
    """What is entered by a plain `with` on an event loop."""

    PROGRAM = """
import asyncio, contextlib, sys, warnings
import anyio
from refcount import SharedResource
warnings.simplefilter("always")
resource = SharedResource.of(list, name="camera")

async def main():
    for _ in range(2):
        with resource():  # here
            with resource():
                pass
    resource.acquire().release()  # there
    with contextlib.ExitStack() as stack:
        stack.enter_context(resource())  # everywhere
        with resource():
            pass
    async with resource.aio():
        pass
    with resource():  # nowhere
        pass

anyio.run(main, backend=sys.argv[1])
"""

    @pytest.mark.parametrize("library", ["asyncio", "trio"])
    @pytest.mark.parametrize("debug", ["0", "1"])
    def test_it_warns_once_for_each_place(self, library: str, debug: str) -> None:
        """In debug mode, where it may wait for a start; joining what runs is no matter."""
        ended = run_program(self.PROGRAM, library, environment={"REFCOUNT_DEBUG": debug})
        lines = [number for number, line in enumerate(self.PROGRAM.splitlines(), 1) if re.search("# .*here$", line)]
        said = "to start camera keeps the event loop of {} waiting here: write `async with resource.aio()` in place of"
        expected = [f"<string>:{line}: RuntimeWarning: {said.format(library)} `with`" for line in lines]
        found = [line for line in ended.stderr.splitlines() if "Warning" in line]
        assert found == (expected if debug == "1" else [])
        assert ended.returncode == 0

    def test_it_imports_no_event_loop(self) -> None:
        """Debug mode or not, threads alone need none."""
        ended = run_program(
            "import sys\n"
            "from refcount import SharedResource\n"
            "with SharedResource.of(list)(): pass\n"
            "print('asyncio' in sys.modules, 'trio' in sys.modules, 'anyio' in sys.modules)\n",
            environment={"REFCOUNT_DEBUG": "1"},
        )
        assert (ended.stdout, ended.stderr) == ("False False False\n", "")
