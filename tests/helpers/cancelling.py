"""Cancelling a task at its n-th await, in each of the ways in which the event loops and their users do that."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar, cast

import anyio

from tests.helpers.loops import WAIT, Job, Run, until

T = TypeVar("T")

MODES = ("scope", "deadline")
"""On every loop: a scope that is cancelled, and one whose deadline comes. Level cancellation: again at each await."""

ASYNCIO_MODES = ("once", "twice", "soon", "timeout", "group")
"""asyncio's own: `Task.cancel`, now, and at the next await as well, or one turn later; `timeout`; a `TaskGroup`."""


def modes(run: Run) -> tuple[str, ...]:
    """Return the ways in which a task can be cancelled there."""
    return MODES if run.trio else (*MODES, *ASYNCIO_MODES)


@types.coroutine
def stepped(function: Callable[[], Coroutine[Any, Any, T]], pauses: Callable[[int], object]) -> Generator[Any, Any, T]:
    """Await what a function gives, calling `pauses` with the number of each await that gives way, before it does."""
    coroutine = function()
    number = 0
    step: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731  # it is replaced below
    while True:
        try:
            asked = step()
        except StopIteration as stop:
            return cast("T", stop.value)
        pauses(number)
        number += 1
        try:
            given = yield asked
        except BaseException as error:
            caught = error
            step = lambda: coroutine.throw(caught)  # noqa: E731, B023
        else:
            sent = given
            step = lambda: coroutine.send(sent)  # noqa: E731, B023


class Victim(Job[None]):
    """A job that is cancelled at its n-th await.

    Args:
        function: What it does.
        number: Which await, from 0.
        mode: How; one of `modes`.
    """

    def __init__(self, function: Callable[[], Coroutine[Any, Any, object]], number: int, mode: str) -> None:
        self.hit = False
        self._what = function
        self._number = number
        self._mode = mode
        self._strike: Callable[[], object] = self.cancel
        super().__init__(getattr(self, f"_in_{mode}"))

    def _pauses(self, number: int) -> None:
        if number == self._number or (self._mode == "twice" and number == self._number + 1):
            self.hit = True
            self._strike()

    async def _go(self) -> None:
        await stepped(self._what, self._pauses)

    async def _in_once(self) -> None:
        await self._go()

    _in_twice = _in_once

    async def _in_soon(self) -> None:
        self._strike = self._later
        await self._go()

    def _later(self) -> None:
        asyncio.get_running_loop().call_soon(self.cancel)

    async def _in_scope(self) -> None:
        with anyio.CancelScope() as scope:
            self._strike = scope.cancel
            await self._go()

    async def _in_deadline(self) -> None:
        with anyio.CancelScope() as scope:

            def strike() -> None:
                scope.deadline = anyio.current_time() - 1

            self._strike = strike
            await self._go()

    async def _in_timeout(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as timeout:

                def strike() -> None:
                    timeout.reschedule(0)

                self._strike = strike
                await self._go()

    async def _in_group(self) -> None:
        failed = False

        async def fail() -> None:
            await until(lambda: failed or done)
            if failed:
                raise ZeroDivisionError

        def strike() -> None:
            nonlocal failed
            failed = True

        self._strike = strike
        done = False
        with suppress(BaseExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                try:
                    await self._go()
                finally:
                    done = True


MakeVictim = Callable[[Callable[[], Coroutine[Any, Any, object]]], Victim]
Trial = Callable[[MakeVictim], Awaitable[None]]


async def sweep(run: Run, trial: Trial) -> None:
    """Do a trial again and again, cancelling its victim at each await in each way, until there are no more.

    Args:
        run: Where.
        trial: Is handed what makes the victim of a function.
    """
    hits = 0
    for mode in modes(run):
        number = missed = 0
        while missed < 2:  # on trio, how often it waits is a matter of chance
            victims: list[Victim] = []

            def make(
                function: Callable[[], Coroutine[Any, Any, object]], number: int = number, mode: str = mode
            ) -> Victim:
                victim = Victim(function, number, mode)
                victims.append(victim)  # noqa: B023  # it is called in this very turn
                return victim

            try:
                with anyio.fail_after(WAIT):
                    await trial(make)
            except BaseException as error:
                error.add_note(f"cancelled at await {number}, by {mode}")
                raise
            missed = 0 if victims[0].hit else missed + 1
            hits += victims[0].hit
            number += 1
    assert hits, "it never waits"
