"""Things that run only while somebody needs them: the first consumer starts them, the last one stops them."""

from typing import TYPE_CHECKING

from refcount._core.generation import State
from refcount._core.lease import Lease
from refcount._core.shared import SharedResource
from refcount._counter import RefcountedValue, Refcounter
from refcount._errors import (
    CapacityError,
    ClosedError,
    OverflowException,
    ReentrantError,
    RefcountError,
    ReleasedError,
    UnderflowException,
    WrongLoopError,
)
from refcount._faces.attributes import refcounted_attribute
from refcount._faces.classes import StartStop, resource_of
from refcount._faces.demands import Demand, demand
from refcount._faces.executor import RefcountedExecutor
from refcount._faces.managers import InstanceManager
from refcount._faces.tracked import tracked
from refcount._faces.uses import uses
from refcount._faces.workers import StoppableThread, WorkerGroup
from refcount._usecount import USECOUNT_MAX

if TYPE_CHECKING:
    __version__: str

    from refcount._core.async_lease import AsyncLease
    from refcount._core.async_shared import AsyncSharedResource
    from refcount._faces.async_resource_function import AsyncResourceFunction
    from refcount._faces.functions import refcounted_resource
    from refcount._faces.methods import AsyncResourceMethod, ResourceMethod, refcounted_method
    from refcount._faces.resource_function import ResourceFunction
    from refcount._faces.stoppable_task import StoppableTask

__all__ = [
    "USECOUNT_MAX",
    "AsyncLease",
    "AsyncResourceFunction",
    "AsyncResourceMethod",
    "AsyncSharedResource",
    "CapacityError",
    "ClosedError",
    "Demand",
    "InstanceManager",
    "Lease",
    "OverflowException",
    "ReentrantError",
    "RefcountError",
    "RefcountedExecutor",
    "RefcountedValue",
    "Refcounter",
    "ReleasedError",
    "ResourceFunction",
    "ResourceMethod",
    "SharedResource",
    "StartStop",
    "State",
    "StoppableTask",
    "StoppableThread",
    "UnderflowException",
    "WorkerGroup",
    "WrongLoopError",
    "demand",
    "refcounted_attribute",
    "refcounted_method",
    "refcounted_resource",
    "resource_of",
    "tracked",
    "uses",
]

# These stand on wrapt, whose import takes asyncio with it, or on asyncio and anyio: imported when one is first used.
_LATE = {
    "AsyncLease": "_core.async_lease",
    "AsyncResourceFunction": "_faces.async_resource_function",
    "AsyncResourceMethod": "_faces.methods",
    "AsyncSharedResource": "_core.async_shared",
    "ResourceFunction": "_faces.resource_function",
    "ResourceMethod": "_faces.methods",
    "StoppableTask": "_faces.stoppable_task",
    "refcounted_method": "_faces.methods",
    "refcounted_resource": "_faces.functions",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("refcounted")
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_LATE[name]}")
    globals()[name] = found = getattr(module, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
