"""`mounts`: never mounted twice, never unmounted under a volume, and left at exit."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tests.clients.mounts import Folders, Mount, System
from tests.helpers.programs import Ended, run_program
from tests.helpers.shaking import run_threads, shaken

ROOT = Path(__file__).parents[2]


class Watched(Folders):
    """Notes what it does and what it refuses."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def mount(self, point: Path) -> None:
        """Mount, or note that it is mounted already."""
        try:
            super().mount(point)
            self.log.append("mount")
        except OSError:
            self.log.append("mounted twice")

    def unmount(self, point: Path) -> None:
        """Unmount, or note that somebody is on it."""
        try:
            super().unmount(point)
            self.log.append("unmount")
        except OSError:
            self.log.append("unmounted while busy")


class AnyMount(Protocol):
    """What the probe asks."""

    def attach(self, volume: str, timeout: float | None = None) -> Path: ...
    def detach(self, volume: str) -> None: ...
    def remount(self) -> None: ...


class CountedMount:
    """The same by hand: a count, and a record that is made anew for a remount."""

    def __init__(self, point: Path, system: System) -> None:
        self._point = point
        self._system = system
        self._count = 0
        self._lock = threading.Lock()

    def attach(self, volume: str, timeout: float | None = None) -> Path:
        """Mount for the first."""
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._system.mount(self._point)
        (self._point / volume).touch()
        return self._point / volume

    def detach(self, volume: str) -> None:
        """Unmount after the last."""
        (self._point / volume).unlink()
        with self._lock:
            self._count -= 1
            if not self._count:
                self._system.unmount(self._point)

    def remount(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self._count = 0


def probe(mount: AnyMount) -> None:
    """Have it mounted anew while one volume is attached and another one comes; then let both go, the old one first."""
    mount.attach("old")
    mount.remount()
    with suppress(TimeoutError):
        mount.attach("new", timeout=0)
    mount.detach("old")
    mount.attach("newer")
    mount.detach("newer")


def test_mounted_anew_only_after_the_last_volume(tmp_path: Path) -> None:
    """Who comes after a remount waits for those who are still there."""
    system = Watched()
    probe(Mount(tmp_path / "share", system))
    assert system.log == ["mount", "unmount"] * 2


def test_a_count_mounts_under_the_volumes(tmp_path: Path) -> None:
    """That is what the probe finds in what one writes by hand."""
    system = Watched()
    probe(CountedMount(tmp_path / "share", system))
    assert system.log[:3] == ["mount", "mounted twice", "unmounted while busy"]


def test_racing_volumes(tmp_path: Path) -> None:
    """Volumes that come and go in eight threads find the share mounted, each time."""
    system = Watched()
    mount = Mount(tmp_path / "share", system)

    def use(number: int) -> None:
        for turn in range(5):
            volume = f"{number}-{turn}"
            assert mount.attach(volume).exists()
            mount.detach(volume)

    with shaken(seed=3):
        run_threads(*[lambda number=number: use(number) for number in range(8)])
    assert system.log == ["mount", "unmount"] * (len(system.log) // 2)


def test_host_down(tmp_path: Path) -> None:
    """The records go, the mount stays, and nobody who lets go later touches it."""
    system = Watched()
    mount = Mount(tmp_path / "share", system)
    mount.attach("old")
    mount.host_down()
    mount.detach("old")
    assert (tmp_path / "share" / "old").exists()
    assert mount.attach("new").exists()
    assert system.log == ["mount"]
    mount.host_down()


ATTACH = """
import sys
from pathlib import Path
from tests.clients.mounts import Folders, Mount
mount = Mount(Path(sys.argv[1]), Folders())
print(mount.attach("disk").exists())
"""

DETACH = """
mount.detach("disk")
"""


def run(source: str, point: Path) -> Ended:
    """Run a program that knows the client."""
    paths = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return run_program(source, str(point), environment={"PYTHONPATH": paths})


def test_it_outlives_the_process(tmp_path: Path) -> None:
    """A process that ends leaves the mount as it is, without a word; the next one takes it over, and unmounts it."""
    point = tmp_path / "share"
    ended = run(ATTACH, point)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("True\n", "", 0)
    assert (point / "disk").exists()
    ended = run(ATTACH + DETACH, point)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("True\n", "", 0)
    assert not point.exists()


def test_without_saying_so_it_does_not(tmp_path: Path) -> None:
    """That is what the program finds if the mount is stopped at exit, as other resources are."""
    source = "import refcount\nshared = refcount.SharedResource\n" + (
        "refcount.SharedResource = lambda *args, at_exit, **options: shared(*args, **options)\n"
    )
    point = tmp_path / "share"
    ended = run(source + ATTACH, point)
    assert ended.stdout == "True\n"
    assert "Directory not empty" in ended.stderr
