"""A mount that many volumes share: mounted for the first, unmounted after the last, and left there at exit."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from refcount import Lease, SharedResource


class System(Protocol):
    """What mounts and unmounts; like the real one it refuses to do either twice, or under somebody's files."""

    def mount(self, point: Path) -> None:
        """Mount."""

    def unmount(self, point: Path) -> None:
        """Unmount."""


class Folders:
    """A system whose mounts are folders: they outlive the process that has made them."""

    def mount(self, point: Path) -> None:
        """Make the folder."""
        point.mkdir()

    def unmount(self, point: Path) -> None:
        """Remove it, if it is empty."""
        point.rmdir()


class Mount:
    """One mount point, and the volumes that are attached there.

    Args:
        point: Where it is.
        system: What mounts and unmounts it.
    """

    def __init__(self, point: Path, system: System) -> None:
        self._point = point
        self._system = system
        self._volumes: dict[str, Lease[Path]] = {}
        self._lock = threading.Lock()
        # What runs on a volume outlives this process, and so must the mount. And it is one name in the world: before it
        # is mounted anew, all who have the old one must have left.
        self._mounted = SharedResource(
            self._open, name=lambda: f"mount {self._point.name}", exclusive=True, at_exit="leave"
        )

    @contextmanager
    def _open(self) -> Generator[Path]:
        if not self._point.exists():  # else a process before this one has left it, and it is ours now
            self._system.mount(self._point)
        yield self._point
        self._system.unmount(self._point)

    def attach(self, volume: str, timeout: float | None = None) -> Path:
        """Return where `volume` is, which is mounted for it."""
        lease = self._mounted.acquire(timeout)
        path = lease.value / volume
        path.touch()
        with self._lock:
            self._volumes[volume] = lease
        return path

    def detach(self, volume: str) -> None:
        """Let go of a volume; the last one unmounts."""
        with self._lock:
            lease = self._volumes.pop(volume)
        if lease.held:  # else the host is down, and its files with it
            (lease.value / volume).unlink()
        lease.release()

    def remount(self) -> None:
        """Have it mounted anew, as soon as nobody is on it any more; who comes until then waits."""
        self._mounted.invalidate()

    def host_down(self) -> None:
        """Forget all about it, and touch nothing: what hangs there is another one's to clean up."""
        self._mounted.abandon()
