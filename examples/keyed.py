"""One resource for each set of arguments: log files that are open while somebody writes to them.

All writers of a channel share one open file. A file stays open for a minute after its last writer, so that the next one
finds it open, but no more than two are open at once: the third makes the one that has rested longest close.
"""

import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TextIO

from refcount import refcounted_resource


@refcounted_resource(linger=60.0, capacity=2)
def log(folder: Path, channel: str = "main") -> Generator[TextIO]:
    print(f"  (open {channel})")
    with (folder / f"{channel}.log").open("a") as file:
        yield file
    print(f"  (close {channel})")


def write(folder: Path, channel: str, text: str) -> None:
    print(f"{channel}: {text}")
    with log(folder, channel) as file:
        file.write(f"{text}\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        with log(folder) as one, log(folder, channel="main") as other:
            print("one file, however the channel is spelled:", one is other)

        write(folder, "main", "hello")  # still open
        write(folder, "audit", "ann came in")
        write(folder, "errors", "disk full")  # a third file: main has rested longest
        write(folder, "audit", "ann left")
        print("open now:", len(log.resources()))

        log.close()
        print(*(f"{path.name}: {path.read_text().splitlines()}" for path in sorted(folder.iterdir())), sep="\n")


if __name__ == "__main__":
    main()
