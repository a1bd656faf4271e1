"""What type checkers infer and refuse for managers and demands with resources for tasks, and for `StoppableTask`.

Checked, never run.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import assert_type

import anyio

from refcount import (
    AsyncSharedResource,
    Demand,
    InstanceManager,
    StoppableTask,
    demand,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
)


class Worker:
    """Something that is managed."""

    busy = False


class Device:
    """What a demand holds."""


@asynccontextmanager
async def opened() -> AsyncGenerator[Device]:
    """Open one."""
    yield Device()


@refcounted_resource
async def device(index: int) -> AsyncGenerator[Device]:
    """Open one of several."""
    yield Device()


class Manager(InstanceManager[Worker]):
    """Demands of every kind."""

    @refcounted_method
    async def mine(self) -> AsyncGenerator[Device]:
        """Be its own."""
        yield Device()

    of_resource = demand("busy", resource=AsyncSharedResource.of(Device))
    of_opener = demand("busy", resource=opened)
    of_call = demand("busy", resource=partial(device, 0))
    of_one = demand("busy", resource=device.resource(0))
    of_method = demand("busy", resource=mine)

    @refcounted_attribute
    async def own(self) -> AsyncGenerator[Device]:
        """Be its own as well."""
        yield Device()

    of_attribute = demand("busy", resource=own)


async def what_is_inferred() -> None:
    """The value's type is the resource's."""
    async with Manager() as manager:
        assert_type(manager, Manager)
        assert_type(await manager.add_instance_async(Worker()), None)
        assert_type(manager.of_resource, Demand[Worker, Device])
        assert_type(manager.of_opener.value, Device)
        assert_type(manager.of_call.value, Device)
        assert_type(manager.of_one.value, Device)
        assert_type(manager.of_method.value, Device)
        assert_type(manager.of_attribute.value, Device)
        await manager.refresh_async(Worker())
        await manager.remove_instance_async(Worker())
        await manager.clear_async()


async def what_is_refused() -> None:
    """Each mistake is an error."""
    await Manager().add_instance_async(Device())  # type: ignore[arg-type]  # it is no worker
    demand("busy", resource=device)  # type: ignore[arg-type]  # it needs an index
    demand("busy", resource=Device)  # type: ignore[arg-type]  # it is no context manager


# --- StoppableTask ---


async def produce(stopping: anyio.Event) -> int:
    """End when asked to."""
    await stopping.wait()
    return 1


async def count(step: int, stopping: anyio.Event) -> None:
    """Need more than the event."""


def plain(stopping: anyio.Event) -> None:
    """Be no coroutine function."""


class Ticker(StoppableTask):
    """Says what it does itself."""

    async def run(self) -> None:
        """Look at the event."""
        assert_type(self.stopping, anyio.Event)


async def tasks() -> None:
    """A target is handed the event, and awaited."""
    for task in (StoppableTask(produce), StoppableTask(partial(count, 2), grace=1), Ticker(name="mine")):
        assert_type(await task.start(), None)
        assert_type(task.is_alive(), bool)
        assert_type(await task.stop(), None)
    resource = AsyncSharedResource.of(
        Ticker, start=StoppableTask.start, stop=StoppableTask.stop, check=StoppableTask.is_alive
    )
    async with resource() as ticker:
        assert_type(ticker, Ticker)


StoppableTask(count)  # type: ignore[arg-type]  # it needs a step
StoppableTask(plain)  # type: ignore[arg-type]  # nobody can await it
StoppableTask(produce, daemon=True)  # type: ignore[call-arg]  # it ends with its loop
