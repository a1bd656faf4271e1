"""`TaskClass`: how one class shares its instances among tasks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial, wraps
from typing import Any
from weakref import ref

from refcount._core.async_lease import AsyncLease
from refcount._core.async_shared import AsyncSharedResource, new_async_resource
from refcount._core.loops import here_or_none
from refcount._errors import RefcountError
from refcount._faces.shared_classes import Pair, SharedClass, alive
from refcount._support.naming import name_of


class AsyncEntries:
    """The resource of one instance, and which tasks are inside its with-statement.

    The resource is kept here, and refers to the instance only while it is up: its own task does so then, and that is
    not for the garbage collector to end.

    Attributes:
        resource: The resource.
    """

    __slots__ = ("_entered", "resource")

    def __init__(self, resource: AsyncSharedResource[Any]) -> None:
        self.resource = resource
        self._entered: dict[AsyncLease[Any], object] = {}

    async def enter(self) -> Any:
        """Hold one more lease, for the task that runs."""
        lease = self.resource()
        value = await lease.__aenter__()
        self._entered[lease] = _current_task()
        return value

    async def leave(self, *error: Any) -> bool:
        """Give back what this task entered last, or else any lease; say whether there was one."""
        me, entered = _current_task(), self._entered.copy()
        mine = [lease for lease, task in entered.items() if task is me]
        for lease in reversed(mine or [*entered]):
            if self._entered.pop(lease, self) is not self:  # else another thread's task was faster
                if mine:
                    await lease.__aexit__(*error)
                else:  # what else there is to be left belongs to the task that has entered it
                    await lease.release()
                return True
        return False


def _current_task() -> object:
    loop = here_or_none()  # there may be none where a coroutine is closed late
    return None if loop is None else loop.current_task()


class TaskClass(SharedClass[AsyncEntries]):
    """How one class shares its instances among tasks: its `async with`."""

    pair = Pair("__aenter__", "__aexit__", "__refcount_async_sharing__")

    def resource(self, instance: Any) -> AsyncSharedResource[Any]:
        """Return the resource of an instance."""
        return self.entries(instance).resource

    def methods(self, cls: Any) -> tuple[Callable[..., object], Callable[..., object]]:
        """Return the `__aenter__` and the `__aexit__` that a shared class gets."""
        shared = self

        @wraps(cls.__aenter__)
        async def enter(self: object) -> object:
            if shared.shares(self):
                return await shared.entries(self).enter()
            return await shared.own(self, "__aenter__")()  # called by what a subclass wrote

        @wraps(cls.__aexit__)
        async def leave(self: object, exc_type: object, exc: object, traceback: object, /) -> object:
            if not shared.shares(self):
                return await shared.own(self, "__aexit__")(exc_type, exc, traceback)
            if not await shared.entries(self).leave(exc_type, exc, traceback):
                raise RefcountError(f"{shared.resource(self).name} was left without having been entered")
            return None

        return enter, leave

    def _entries(self, weak: ref[object]) -> AsyncEntries:
        kind = name_of(type(weak()))
        return AsyncEntries(new_async_resource(partial(self._life, weak, kind), self._name(weak, kind), self.options))

    async def _life(self, weak: ref[object], kind: str) -> AsyncGenerator[Any, None]:
        instance = alive(weak, kind)  # from here to its end a generation keeps it
        enter, leave = self.own(instance, "__aenter__"), self.own(instance, "__aexit__")
        yield await enter()
        await leave(None, None, None)
