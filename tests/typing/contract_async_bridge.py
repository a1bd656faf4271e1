"""What type checkers infer and refuse for `aio()`: resources for threads, held by tasks. Checked, never run."""

from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import assert_type

from refcount import (
    AsyncSharedResource,
    SharedResource,
    WorkerGroup,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
)


class Device:
    """Something with a beginning and an end."""


class SpecialDevice(Device):
    """A narrower one."""


@refcounted_resource
def camera(index: int) -> Generator[Device]:
    """Need an argument."""
    yield Device()


class Owner:
    """Has resources of its own."""

    device = refcounted_attribute(Device)

    @refcounted_method
    def port(self, number: int) -> Generator[Device]:
        """Need an argument."""
        yield Device()


resource = SharedResource.of(Device)
special = SharedResource.of(SpecialDevice)


def takes_wider(manager: AbstractAsyncContextManager[Device]) -> None:
    """Take what gives a device, of whichever kind."""


async def what_is_inferred(group: WorkerGroup) -> None:
    """The value's type is the resource's, however it is come by."""
    async with resource.aio() as device:
        assert_type(device, Device)
    lease = resource()
    async with lease.aio() as device:
        assert_type(device, Device)
    async with camera(0).aio() as device, camera.resource(1).aio() as other:
        assert_type(device, Device)
        assert_type(other, Device)
    async with Owner().device.aio() as device, Owner().port(1).aio() as other:
        assert_type(device, Device)
        assert_type(other, Device)
    async with group.aio() as workers:
        assert_type(workers, WorkerGroup)
    async with AsyncExitStack() as stack:
        assert_type(await stack.enter_async_context(resource.aio()), Device)
    assert_type(resource.aio(), AbstractAsyncContextManager[Device, None])
    takes_wider(special.aio())


async def returns_after() -> int:
    """Return in the body: no exit swallows an error, so nothing comes after it."""
    async with resource.aio():
        return 1


async def what_is_refused(own: AsyncSharedResource[Device]) -> None:
    """Each mistake is an error."""
    with resource.aio():  # type: ignore[attr-defined]  # a plain `with`
        pass
    async with resource.aio:  # type: ignore[attr-defined]  # not called
        pass
    resource.aio(timeout=1.0)  # type: ignore[call-arg]  # for that there are cancel scopes
    own.aio()  # type: ignore[attr-defined]  # a resource for tasks needs no bridge
    narrower: AbstractAsyncContextManager[SpecialDevice] = resource.aio()  # type: ignore[assignment]  # wider
    await narrower.__aenter__()
