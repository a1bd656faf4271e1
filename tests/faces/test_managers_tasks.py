"""Managers whose demands have resources for tasks: what is awaited keeps the promises of what is not."""

import gc
import threading
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

import pytest

from refcount import (
    AsyncSharedResource,
    InstanceManager,
    ReleasedError,
    SharedResource,
    demand,
    refcounted_attribute,
    refcounted_method,
    tracked,
)
from tests.helpers.loops import Job, Run, checkpoint, error_of, run, until

__all__ = ["run"]

untyped = cast("Callable[..., Any]", demand)
"""For what the type checkers refuse and the run time has to refuse as well."""


class Worker:
    """Something that is managed."""

    def __init__(self, *needs: str) -> None:
        self.needs = {*needs}


class Log:
    """What happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fails: set[str] = set()

    def note(self, text: str, *_: object) -> None:
        """Write it down, or fail if that is to fail."""
        self.lines.append(text)
        if text in self.fails:
            raise OSError(text)

    @asynccontextmanager
    async def open(self, name: str) -> AsyncGenerator[str]:
        """Open something for tasks."""
        await checkpoint()
        self.note(f"start {name}")
        yield name
        await checkpoint()
        self.note(f"stop {name}")

    async def later(self, text: str, *_: object) -> None:
        """Write it down for who awaits that."""
        self.note(text)

    @contextmanager
    def open_plain(self, name: str) -> Generator[str]:
        """Open something for threads."""
        self.note(f"start {name}")
        yield name
        self.note(f"stop {name}")


class Setting:
    """A manager that has a demand of each kind: with a resource for tasks and hooks, for threads, and without any."""

    def __init__(self) -> None:
        self.log = log = Log()
        self.gpu = gpu = AsyncSharedResource(partial(log.open, "gpu"), name="gpu")
        self.disk = disk = SharedResource(partial(log.open_plain, "disk"), name="disk")

        class Manager(InstanceManager[Worker]):
            plain = demand(lambda worker: "plain" in worker.needs)
            disk_demand = demand(lambda worker: "disk" in worker.needs, resource=disk)
            gpu_demand = demand(
                lambda worker: "gpu" in worker.needs,
                resource=gpu,
                acquire=partial(log.note, "acquire"),
                release=partial(log.note, "release"),
                changed=lambda _manager, all_: log.note(f"changed {len(all_)}"),
            )

        self.manager = Manager()

    def is_as_new(self) -> bool:
        """Say whether nothing is managed, and nothing held."""
        manager = self.manager
        demands = len(manager.plain) + len(manager.disk_demand) + len(manager.gpu_demand)
        return not len(manager) and not demands and self.gpu.idle and self.disk.idle


ALL = ("plain", "disk", "gpu")

STARTED = ["start disk", "start gpu", "acquire", "changed 1"]


class TestDemanding:
    """The first one opens the resource, the last one closes it."""

    def test_from_the_first_to_the_last(self, run: Run) -> None:
        """In order: the resource, `acquire`, `changed`; and back."""
        setting = Setting()
        log, manager = setting.log.lines, setting.manager

        async def body() -> None:
            first, second, other = Worker(*ALL), Worker("gpu"), Worker()
            await manager.add_instance_async(first)
            assert log == STARTED
            assert first in manager.plain
            await manager.add_instance_async(second)
            await manager.add_instance_async(other)
            assert manager.instances == (first, second, other)
            assert [*manager.gpu_demand] == [first, second]
            assert (manager.gpu_demand.value, manager.disk_demand.value) == ("gpu", "disk")
            await manager.remove_instance_async(first)
            assert log[4:] == ["changed 2", "stop disk", "changed 1"]
            await manager.remove_instance_async(second)
            assert log[7:] == ["changed 0", "release", "stop gpu"]
            with pytest.raises(ReleasedError, match="no managed instance demands it"):
                manager.gpu_demand.value
            await manager.clear_async()
            assert setting.is_as_new()

        run(body)

    def test_the_end_of_an_async_with(self, run: Run) -> None:
        """All are removed, the last one first."""
        setting = Setting()

        async def body() -> None:
            async with setting.manager as manager:
                assert manager is setting.manager
                await manager.add_instance_async(Worker("disk"))
                await manager.add_instance_async(Worker("gpu"))
            assert setting.log.lines[-3:] == ["release", "stop gpu", "stop disk"]
            assert setting.is_as_new()

        run(body)

    def test_many_tasks_share_one_start(self, run: Run) -> None:
        """Whoever comes while it starts waits for it."""
        setting = Setting()

        async def body() -> None:
            jobs = [Job(partial(setting.manager.add_instance_async, Worker("gpu"))) for _ in range(10)]
            for job in jobs:
                await job.result()
            assert setting.log.lines.count("start gpu") == 1
            assert len(setting.manager.gpu_demand) == 10
            await setting.manager.clear_async()
            assert setting.is_as_new()

        run(body)

    def test_twice_and_never(self, run: Run) -> None:
        """What is managed already, or is not, is an error, and changes nothing."""
        setting = Setting()
        manager = setting.manager

        async def body() -> None:
            worker = Worker(*ALL)
            job = Job(partial(manager.add_instance_async, worker))
            await until(lambda: setting.log.lines)
            assert "is managed by" in str(await error_of(manager.add_instance_async(worker)))  # it is being added
            await job.result()
            assert "is managed by" in str(await error_of(manager.add_instance_async(worker)))
            assert "is not managed by" in str(await error_of(manager.remove_instance_async(Worker())))
            assert "is not managed by" in str(await error_of(manager.refresh_async(Worker())))
            assert setting.log.lines == STARTED
            await manager.clear_async()
            assert setting.is_as_new()

        run(body)

    def test_membership_is_remembered(self, run: Run) -> None:
        """What an instance needs is looked at again only when that is asked for."""
        setting = Setting()
        manager = setting.manager

        async def body() -> None:
            worker = Worker()
            await manager.add_instance_async(worker)
            worker.needs.add("gpu")
            assert not manager.gpu_demand
            await manager.refresh_async(worker)
            assert worker in manager.gpu_demand
            worker.needs.clear()
            await manager.remove_instance_async(worker)
            assert setting.is_as_new()

        run(body)

    def test_who_waits_is_known_to_acquire(self, run: Run) -> None:
        """The hook finds the one on whose account it runs among those who demand, and the value."""
        seen: list[object] = []

        class Manager(InstanceManager[Worker]):
            gpu = demand(
                lambda worker: "gpu" in worker.needs,
                resource=AsyncSharedResource.of(lambda: "gpu"),
                acquire=lambda manager: seen.append((len(manager.gpu), manager.gpu.value)),
            )

        async def body() -> None:
            async with Manager() as manager:
                await manager.add_instance_async(Worker("gpu"))
            assert seen == [(1, "gpu")]

        run(body)

    def test_whatever_gives_an_asynchronous_context_manager(self, run: Run) -> None:
        """A function wrapped by `asynccontextmanager`, a class, and a method of the manager's own class."""
        log = Log()

        @asynccontextmanager
        async def opened() -> AsyncGenerator[str]:
            async with log.open("function") as value:
                yield value

        class Opened:
            async def __aenter__(self) -> str:
                log.note("start class")
                return "class"

            async def __aexit__(self, *_: object) -> None:
                log.note("stop class")

        class Manager(InstanceManager[Worker]):
            @refcounted_method
            async def mine(self) -> AsyncGenerator[str]:
                async with log.open("method"):
                    yield f"method of {type(self).__name__}"

            of_function = demand(lambda worker: bool(worker.needs), resource=opened)
            of_class = demand(lambda worker: bool(worker.needs), resource=Opened)
            of_method = demand(lambda worker: bool(worker.needs), resource=mine)
            own = refcounted_attribute(list[int], stop=partial(log.later, "stop attribute"))
            of_attribute = demand(lambda worker: bool(worker.needs), resource=own)

        async def body() -> None:
            async with Manager() as manager:
                await manager.add_instance_async(Worker("all"))
                values = manager.of_function.value, manager.of_class.value, manager.of_method.value
                assert values == ("function", "class", "method of Manager")
                assert manager.of_attribute.value == []
            started = [f"start {which}" for which in ("function", "class", "method")]
            assert log.lines[:3] == started
            assert sorted(log.lines[3:]) == ["stop attribute", "stop class", "stop function", "stop method"]

        run(body)


class TestFailing:
    """If adding fails half-way, the manager is as it was."""

    @pytest.mark.parametrize("what", ["start gpu", "acquire", "changed 1"])
    def test_adding(self, run: Run, what: str) -> None:
        """Wherever it fails; the error says on whose account, and the next one tries anew."""
        setting = Setting()
        manager = setting.manager

        async def body() -> None:
            setting.log.fails.add(what)
            error = await error_of(manager.add_instance_async(Worker(*ALL)))
            assert str(error) == what
            assert any("gpu_demand, on account of <" in note for note in error.__notes__)
            del error
            assert setting.is_as_new()
            setting.log.fails.clear()
            await manager.add_instance_async(Worker(*ALL))
            await manager.clear_async()
            assert setting.is_as_new()

        run(body)

    def test_all_who_wait_for_a_start(self, run: Run) -> None:
        """None of them is added."""
        setting = Setting()
        setting.log.fails.add("start gpu")

        async def body() -> None:
            jobs = [Job(partial(setting.manager.add_instance_async, Worker(*ALL))) for _ in range(3)]
            assert {str(await job.error()) for job in jobs} == {"start gpu"}
            assert setting.is_as_new()

        run(body)

    def test_nobody_demands_once_it_has_failed(self, run: Run) -> None:
        """Whoever of those who waited is told first finds nobody else among those who demand."""
        setting = Setting()
        setting.log.fails.add("acquire")
        seen: list[int] = []

        async def add() -> None:
            try:
                await setting.manager.add_instance_async(Worker("gpu"))
            except OSError:
                seen.append(len(setting.manager.gpu_demand))

        async def body() -> None:
            for job in [Job(add) for _ in range(3)]:
                await job.result()
            assert seen == [0, 0, 0]

        run(body)

    @pytest.mark.parametrize("what", ["start gpu", "acquire", "changed 1"])
    def test_refreshing(self, run: Run, what: str) -> None:
        """It stays managed, and does not demand what it could not get; the others of its demands are met."""
        setting = Setting()
        manager = setting.manager

        async def body() -> None:
            worker = Worker()
            await manager.add_instance_async(worker)
            worker.needs.update(ALL)
            setting.log.fails.add(what)
            assert str(await error_of(manager.refresh_async(worker))) == what
            assert worker in manager
            assert (len(manager.plain), len(manager.disk_demand), len(manager.gpu_demand)) == (1, 1, 0)
            assert setting.gpu.idle
            await manager.clear_async()
            assert setting.is_as_new()

        run(body)

    @pytest.mark.parametrize("what", ["stop gpu", "release", "changed 0", "stop disk"])
    def test_removing(self, run: Run, what: str) -> None:
        """The instance is removed all the same."""
        setting = Setting()
        manager = setting.manager

        async def body() -> None:
            worker = Worker(*ALL)
            await manager.add_instance_async(worker)
            setting.log.fails.add(what)
            assert str(await error_of(manager.remove_instance_async(worker))) == what
            assert setting.is_as_new()

        run(body)

    def test_clearing(self, run: Run) -> None:
        """The first error is raised, and all are removed."""
        setting = Setting()
        manager = setting.manager

        async def body() -> None:
            for needs in (("disk",), ("gpu",), ()):
                await manager.add_instance_async(Worker(*needs))
            setting.log.fails.add("stop gpu")
            assert str(await error_of(manager.clear_async())) == "stop gpu"
            assert setting.is_as_new()

        run(body)

    def test_a_predicate(self, run: Run) -> None:
        """Nothing is held for an instance of which it raises."""
        setting = Setting()

        async def body() -> None:
            worker: Any = object()
            error = await error_of(setting.manager.add_instance_async(worker))
            assert isinstance(error, AttributeError)
            assert setting.is_as_new()

        run(body)


class TestCancellation:
    """Wherever it falls, an instance is added or as before, removed or as before."""

    def test_adding_at_every_turn(self, run: Run) -> None:
        """It is managed if the caller was not told otherwise, and not at all if it was."""
        setting = Setting()
        manager = setting.manager

        async def body() -> None:
            for turns in range(25):
                job = Job(partial(manager.add_instance_async, Worker(*ALL)))
                await checkpoint(turns)
                job.cancel()
                await job.wait()
                if job.cancelled:
                    await until(setting.is_as_new)
                else:
                    assert len(manager) == len(manager.gpu_demand) == len(manager.disk_demand) == 1
                    await manager.clear_async()
                assert setting.is_as_new()
            starts, stops = (sum(it.startswith(what) for it in setting.log.lines) for what in ("start", "stop"))
            assert starts == stops

        run(body)

    def test_removing_at_every_turn(self, run: Run) -> None:
        """It is removed, and what it demanded is given back."""
        setting = Setting()
        manager = setting.manager

        async def body() -> None:
            for turns in range(1, 25):
                worker = Worker(*ALL)
                await manager.add_instance_async(worker)
                job = Job(partial(manager.remove_instance_async, worker))
                await until(lambda: len(manager) == 0)
                await checkpoint(turns)
                job.cancel()
                await job.wait()
                await until(setting.is_as_new)

        run(body)

    def test_one_of_many_who_wait_for_a_start(self, run: Run) -> None:
        """The others are added."""
        setting = Setting()
        manager = setting.manager

        async def body() -> None:
            jobs = [Job(partial(manager.add_instance_async, Worker("gpu"))) for _ in range(3)]
            await checkpoint()
            jobs[0].cancel()
            for job in jobs:
                await job.wait()
            assert [job.cancelled for job in jobs] == [True, False, False]
            assert len(manager) == len(manager.gpu_demand) == 2
            await manager.clear_async()
            assert setting.is_as_new()

        run(body)


class TestPlain:
    """What awaits nothing is refused where something would have to be awaited."""

    def test_plain_methods(self) -> None:
        """Each says what to write."""
        setting = Setting()
        manager = setting.manager
        worker = Worker()
        calls: dict[str, Callable[[], object]] = {
            "add_instance": lambda: manager.add_instance(worker),
            "remove_instance": lambda: manager.remove_instance(worker),
            "refresh": lambda: manager.refresh(worker),
            "clear": manager.clear,
        }
        for method, call in calls.items():
            text = rf"gpu_demand has a resource for tasks: write `await manager\.{method}_async\(.*\)` in place of"
            with pytest.raises(TypeError, match=text):
                call()
        with pytest.raises(TypeError, match="write `async with` in place of `with`"), manager:
            pass
        with pytest.raises(TypeError, match=r"write `await manager\.add_instance_async\(\.\.\.\)`"):
            type(manager)([worker])
        assert setting.is_as_new()

    def test_a_tracked_attribute(self, run: Run) -> None:
        """It cannot await what its change makes necessary: it says so, and is looked at again when that is awaited."""

        class Tracked:
            busy = tracked[bool]()

        resource = AsyncSharedResource.of(lambda: "gpu")

        class Manager(InstanceManager[Tracked]):
            working = demand("busy", resource=resource)

        async def body() -> None:
            async with Manager() as manager:
                thing = Tracked()
                thing.busy = False
                await manager.add_instance_async(thing)
                with pytest.raises(TypeError, match=r"write `await manager\.refresh_async\(\.\.\.\)`"):
                    thing.busy = True
                assert not manager.working
                await manager.refresh_async(thing)
                assert thing in manager.working
                thing.busy = True  # nothing changes
            assert resource.idle

        run(body)

    def test_a_manager_without_such_demands(self, run: Run) -> None:
        """It can be told either way."""

        class Manager(InstanceManager[Worker]):
            disk = demand(lambda worker: "disk" in worker.needs, resource=SharedResource.of(threading.get_ident))

        async def body() -> None:
            async with Manager() as manager:
                await manager.add_instance_async(Worker("disk"))
                manager.add_instance(Worker("disk"))
                assert (len(manager), len(manager.disk), manager.disk.value) == (2, 2, threading.get_ident())
            with manager:
                assert not manager.disk

        run(body)

    def test_what_is_handed_in(self) -> None:
        """A lease is used once; what gives none for tasks is seen when it is opened."""
        with pytest.raises(TypeError, match="resource must be what gives leases, which are used once"):
            untyped("busy", resource=AsyncSharedResource.of(list)())

        async def nothing() -> None: ...

        with pytest.raises(TypeError, match="resource must"):
            untyped("busy", resource=nothing)


def test_a_manager_that_is_lost(run: Run) -> None:
    """The resource of its demand is closed, with a warning."""
    setting = Setting()

    async def body() -> None:
        await setting.manager.add_instance_async(Worker("gpu"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del setting.manager
            gc.collect()
            await until(lambda: setting.gpu.idle)
        assert ["was never released" in str(warning.message) for warning in caught] == [True]

    run(body)
