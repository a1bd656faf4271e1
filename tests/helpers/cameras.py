"""An opener for tasks that keeps a diary, whose starts and stops can be held up or made to fail."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from refcount import AsyncLease, AsyncSharedResource
from tests.helpers.loops import Gate, checkpoint

T = TypeVar("T")


class Camera:
    """What one generation of a `Maker` gives."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True


class Maker:
    """An opener that keeps a diary.

    Attributes:
        made: What was started, in order.
        diary: What has begun: "start 1", "stop 1", and "cancelled 1" or "failed 1" for a start that came to nothing.
        starting: Where each start goes through, and `stopping` each stop.
        start_error: What the next start raises, and `stop_error` the next stop.
        most_alive: How many were alive at once.
        turns: How often each start, and each stop, lets the loop turn.
    """

    def __init__(self, turns: int = 0) -> None:
        self.made: list[Camera] = []
        self.diary: list[str] = []
        self.starting, self.stopping = Gate(), Gate()
        self.start_error: BaseException | None = None
        self.stop_error: BaseException | None = None
        self.most_alive = 0
        self.turns = turns

    @property
    def alive(self) -> list[int]:
        return [camera.number for camera in self.made if camera.alive]

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[Camera]:
        camera = await self.start()
        yield camera
        await self.stop(camera)

    async def start(self) -> Camera:
        """Make a new one."""
        number = len(self.made) + 1
        self.diary.append(f"start {number}")
        try:
            await self.starting.pass_through()
            await checkpoint(self.turns)
        except BaseException:
            self.diary.append(f"cancelled {number}")
            raise
        self._fail("start_error")
        camera = Camera(len(self.made) + 1)
        self.made.append(camera)
        self.most_alive = max(self.most_alive, len(self.alive))
        return camera

    async def stop(self, camera: Camera) -> None:
        """End one, once."""
        assert camera.alive
        self.diary.append(f"stop {camera.number}")
        try:
            await self.stopping.pass_through()
            await checkpoint(self.turns)
        finally:
            camera.alive = False
        self._fail("stop_error")

    def _fail(self, what: str) -> None:
        error: BaseException | None = getattr(self, what)
        setattr(self, what, None)
        try:
            if error is not None:
                raise error
        finally:
            del error  # it refers to this frame


async def enter(resource: AsyncSharedResource[T]) -> T:
    """Visit a resource; return its value."""
    async with resource() as value:
        return value


async def held(awaitable: Awaitable[AsyncLease[T] | None]) -> AsyncLease[T]:
    """Return a lease that there must be."""
    lease = await awaitable
    assert lease is not None
    assert lease.held
    return lease


def waiting(resource: AsyncSharedResource[Any]) -> int:
    """Return how many tasks sleep until something becomes of a resource."""
    return len(resource._machine.sleepers)  # pyright: ignore[reportPrivateUsage]  # nothing public tells of waiters
