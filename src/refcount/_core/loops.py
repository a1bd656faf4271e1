"""Which event loop runs here; and `Sleeper`, what a task sleeps on."""

from __future__ import annotations

import asyncio
import sys
from weakref import WeakKeyDictionary

from refcount._core.asyncio_loop import AsyncioLoop, running_asyncio_loop
from refcount._core.clock import monotonic
from refcount._core.loop import Loop
from refcount._errors import RefcountError

try:
    import anyio
except ImportError as error:
    raise ImportError(
        "resources for tasks need anyio, which is not installed: pip install 'refcounted[async]'"
    ) from error

_asyncio_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncioLoop] = WeakKeyDictionary()


def here() -> Loop:
    """Return the event loop that runs in this thread.

    Raises:
        RefcountError: There is none.
    """
    loop = here_or_none()
    if loop is None:
        raise RefcountError("no event loop runs here: resources for tasks are used inside of `async` functions")
    return loop


def here_or_none() -> Loop | None:
    """Return the event loop that runs in this thread, if there is one."""
    if "trio" in sys.modules:  # first: in guest mode, another loop runs around it
        from refcount._core.trio_loop import trio_loop

        found = trio_loop()
        if found is not None:
            return found
    running = running_asyncio_loop()
    if running is None:
        return None
    loop = _asyncio_loops.get(running)
    if loop is None:
        loop = _asyncio_loops.setdefault(running, AsyncioLoop(running, monotonic))
    return loop


class Sleeper:
    """What one task sleeps on until it is woken, from whichever thread.

    Woken before it sleeps, it does not sleep; however often it is woken, it wakes once.
    """

    __slots__ = ("_event", "_loop", "_woken")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._woken = False
        self._event: anyio.Event | None = None

    async def sleep(self, deadline: float | None = None) -> bool:
        """Sleep until woken, and say whether that came before `deadline` on the loop's clock."""
        if not self._woken:
            self._event = event = anyio.Event()
            if deadline is None:
                await event.wait()
            else:
                with anyio.move_on_after(deadline - self._loop.now()):
                    await event.wait()
        woken, self._woken = self._woken, False
        return woken

    def wake(self) -> None:
        """Wake the task, or let its next sleep return at once."""
        if not self._loop.runs_here:
            self._loop.call_soon(self._wake)
        else:
            self._wake()

    def _wake(self) -> None:
        self._woken = True
        event = self._event
        if event is not None:
            event.set()
