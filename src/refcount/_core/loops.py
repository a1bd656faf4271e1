"""Which event loop runs here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from weakref import WeakKeyDictionary

from refcount._core.asyncio_loop import AsyncioLoop, running_asyncio_loop
from refcount._core.clock import monotonic
from refcount._core.loop import Loop
from refcount._errors import RefcountError

_trio: list[Callable[[], Loop | None]] = []
"""What finds a run of trio, once trio was imported: to import it here at each look would be felt."""

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
    if "trio" in sys.modules:
        if not _trio:
            from refcount._core.trio_loop import trio_loop

            _trio.append(trio_loop)
        found = _trio[0]()  # first: in guest mode, another loop runs around it
        if found is not None:
            return found
    running = running_asyncio_loop()
    if running is None:
        return None
    loop = _asyncio_loops.get(running)
    if loop is None:
        loop = _asyncio_loops.setdefault(running, AsyncioLoop(running, monotonic))
    return loop
