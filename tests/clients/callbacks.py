"""Callbacks of a loop, called in a thread of their own, but only while every one of them allows it."""

from __future__ import annotations

from concurrent.futures import Future, wait

from refcount import InstanceManager, RefcountedExecutor, demand


class Callback:
    """What wants to be told of each step.

    Attributes:
        asynchronous: Whether it may be told later, in another thread.
    """

    asynchronous: bool = True

    def on_step(self, number: int) -> None:
        """Be told."""


def is_there(callback: Callback) -> bool:
    """Return whether there is anybody to be told."""
    return True


def is_in_line(callback: Callback) -> bool:
    """Return whether it must be told before the loop goes on."""
    return not callback.asynchronous


class Callbacks(InstanceManager[Callback]):
    """The callbacks of one loop. All of them are told of the steps in order, in one thread or in the other."""

    def __init__(self) -> None:
        self._told: list[Future[None]] = []
        super().__init__()

    def catch_up(self) -> None:
        """Wait until they have been told of all steps."""
        told, self._told = self._told, []
        wait(told)
        for future in told:
            future.result()

    # One thread for all loops of the process, as long as there is a callback anywhere.
    thread = demand(is_there, resource=RefcountedExecutor(1, name="callbacks"), release=catch_up)
    in_line = demand(is_in_line, acquire=catch_up)

    def step(self, number: int) -> None:
        """Tell the callbacks of a step."""
        if self.in_line:
            self._tell(number, self.instances)
        elif self.thread:
            self._told.append(self.thread.value.submit(self._tell, number, self.instances))

    def _tell(self, number: int, callbacks: tuple[Callback, ...]) -> None:
        for callback in callbacks:
            callback.on_step(number)
