"""`Watcher`: a task that waits for a change of a resource; `TaskAlarm`: a timer of its loop that ends a linger."""
# pyright: reportPrivateUsage=false
# What a hold has of its own is private because users have leases, which are holds, in their hands.

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from refcount._core.generation import Hold

if TYPE_CHECKING:
    from refcount._core.loop import Loop, Timer

T_co = TypeVar("T_co", covariant=True)


class TaskAlarm:
    """A timer of the event loop that looks whether a linger is over."""

    __slots__ = ("_look", "fired", "timer")

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self.fired = False
        self.timer: Timer | None = None

    def ring(self) -> None:
        self.fired = True
        self.timer = None  # which refers to this
        self._look()

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self._look = _look_at_nothing  # it has had the generation, and that has this


def _look_at_nothing() -> None:
    pass


class Watcher(Hold[T_co]):
    """A task that wants to see something become true of a resource, and no lease."""

    __slots__ = ("sleeper",)

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.sleeper = loop.sleeper()

    def _wake(self) -> None:
        self.sleeper.wake()

    async def watch(self, reached: Callable[[], bool], deadline: float | None) -> bool:
        """Sleep until `reached()`, and say whether that came before `deadline`."""
        while not reached():
            if not await self.sleeper.sleep(deadline):
                return reached()
        return True
