"""Blocking: whoever keeps an event loop waiting is told so in debug mode, once for each place in his code."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import warnings

_OURS = os.path.dirname(os.path.dirname(__file__))
_OTHERS = contextlib.__file__  # whose `ExitStack` enters for others

_told: set[tuple[str, int]] = set()
"""The places that were told."""


def loop_here() -> str | None:
    """Return whose event loop runs in this thread, asyncio's or trio's, if one does; imports neither."""
    trio = getattr(sys.modules.get("trio"), "lowlevel", None)
    if trio is not None:
        with contextlib.suppress(RuntimeError):  # older versions have nothing to ask first
            trio.current_task()
            return "trio"
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return "asyncio" if running is not None and running() is not None else None


def warn_of_blocking(what: str, instead: str) -> None:
    """Give a `RuntimeWarning` if an event loop runs in this thread, at the place outside of the package.

    Args:
        what: What may take long.
        instead: What is to be written.
    """
    library = loop_here()
    if library is None:
        return
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith((_OURS, _OTHERS)):
        frame = frame.f_back
    if frame is None:
        return
    place = frame.f_code.co_filename, frame.f_lineno
    if place not in _told:
        _told.add(place)
        warnings.warn_explicit(
            f"{what} keeps the event loop of {library} waiting here: {instead}", RuntimeWarning, *place
        )
