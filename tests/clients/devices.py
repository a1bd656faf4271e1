"""A device that is made as often as one likes, on one handle: opened for the first, closed after the last."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from refcount import refcounted_resource


class Port(Protocol):
    """What the machine has: it can be opened once, until it is closed."""

    def open(self) -> None:
        """Open it, or raise `OSError` if it is open."""

    def close(self) -> None:
        """Close it."""

    def write(self, bit: bool) -> None:
        """Set it; for whoever has opened it."""


@refcounted_resource(name="port")
def handle(port: Port) -> Generator[Port]:
    """Have a port open."""
    port.open()
    yield port
    port.close()


class Lamp:
    """A lamp on a port; others may be on the same one.

    One that is forgotten is no longer in the way: its lease is given back, with a warning.

    Args:
        port: Where it is.

    Raises:
        OSError: Somebody else has the port open.
    """

    def __init__(self, port: Port) -> None:
        self._lease = handle(port).acquire()

    def switch(self, on: bool) -> None:
        """Switch it on or off.

        Raises:
            ReleasedError: It was closed.
        """
        self._lease.value.write(on)

    def close(self) -> None:
        """Have no more to do with it; harmless when repeated."""
        self._lease.release()
