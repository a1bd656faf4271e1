"""Threads that follow their consumers: each folder that is being compressed brings two to the pool that all share."""

import gzip
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from refcount import RefcountedExecutor

THREADS_FOR_EACH = 2
"""How many threads each consumer brings along."""

pool = RefcountedExecutor(workers=lambda usecount: THREADS_FOR_EACH * usecount, name="compress")


def compress(file: Path) -> int:
    """Write a compressed copy beside a file, and return how many bytes that saved."""
    content = file.read_bytes()
    compressed = gzip.compress(content)
    file.with_name(f"{file.name}.gz").write_bytes(compressed)
    return len(content) - len(compressed)


def compress_folder(folder: Path, progress: Progress, together: threading.Barrier) -> None:
    """Compress all files of a folder, with a bar of its own."""
    files = sorted(folder.iterdir())
    bar = progress.add_task(folder.name, total=len(files))
    with pool() as executor:
        if together.wait() == 0:
            progress.print(f"{pool.usecount} consumers, {pool_threads()} threads")
        together.wait()
        saved = 0
        for bytes_saved in executor.map(compress, files):
            saved += bytes_saved
            progress.advance(bar)
    progress.print(f"{folder.name}: {len(files)} files, {saved // 1024} KiB saved")


def pool_threads() -> int:
    return sum(thread.name.startswith("compress-") for thread in threading.enumerate())


@contextmanager
def sample_folders(names: list[str], files: int) -> Generator[list[Path]]:
    """Give folders full of copies of the standard library's own source files."""
    sources = sorted(Path(threading.__file__).parent.glob("*.py"))[:files]
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place, name) for name in names]
        for folder in folders:
            folder.mkdir()
            for source in sources:
                (folder / source.name).write_bytes(source.read_bytes())
        yield folders


def main() -> None:
    with sample_folders(["photos", "letters"], files=60) as folders:
        with Progress(console=Console(file=sys.stdout)) as progress:
            together = threading.Barrier(len(folders))
            consumers = [
                threading.Thread(target=compress_folder, args=(folder, progress, together)) for folder in folders
            ]
            for consumer in consumers:
                consumer.start()
            for consumer in consumers:
                consumer.join()
        print(f"Afterwards: {pool.usecount} consumers, {pool_threads()} threads")


if __name__ == "__main__":
    main()
