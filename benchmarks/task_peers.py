"""What resources for tasks are measured against: what people write by hand, and the opener that does nothing."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio


@asynccontextmanager
async def opened() -> AsyncGenerator[None]:
    """Start and stop nothing."""
    yield


class Counted:
    """Shares one value for each key: a dict of counts and one of values. The least that one can write."""

    def __init__(self) -> None:
        self._counts: dict[object, int] = {}
        self._values: dict[object, AbstractAsyncContextManager[None]] = {}

    @asynccontextmanager
    async def share(self, key: object) -> AsyncGenerator[None]:
        """Start it for the first; who comes while it starts does not wait for that."""
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] == 1:
            self._values[key] = opened()
            await self._values[key].__aenter__()
        try:
            yield
        finally:
            self._counts[key] -= 1
            if self._counts[key] == 0:
                del self._counts[key]
                await self._values.pop(key).__aexit__(None, None, None)


class _Life:
    """A task that starts and stops one thing."""

    def __init__(self) -> None:
        self.users = 0
        self.ready = asyncio.Event()
        self.unwanted = asyncio.Event()
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        async with opened():
            self.ready.set()
            await self.unwanted.wait()


class InTasks:
    """Shares one value for each key, which is started and stopped by a task of its own."""

    def __init__(self) -> None:
        self._lives: dict[object, _Life] = {}

    @asynccontextmanager
    async def share(self, key: object) -> AsyncGenerator[None]:
        """Start it for the first, and wait for that; a start that fails is waited for without end."""
        life = self._lives.get(key)
        if life is None:
            life = self._lives[key] = _Life()
        life.users += 1
        try:
            await life.ready.wait()
            yield
        finally:
            life.users -= 1
            if not life.users:
                del self._lives[key]
                life.unwanted.set()
                await life.task


class InNursery:
    """The same on trio, with one key, in a nursery that was opened by somebody else."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._users = 0
        self._ready, self._unwanted, self._over = trio.Event(), trio.Event(), trio.Event()

    @asynccontextmanager
    async def share(self, key: object) -> AsyncGenerator[None]:
        """Start it for the first, and wait for that."""
        if not self._users:
            self._ready, self._unwanted, self._over = trio.Event(), trio.Event(), trio.Event()
            self._nursery.start_soon(self._live)
        self._users += 1
        try:
            await self._ready.wait()
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unwanted.set()
                await self._over.wait()

    async def _live(self) -> None:
        async with opened():
            self._ready.set()
            await self._unwanted.wait()
        self._over.set()
