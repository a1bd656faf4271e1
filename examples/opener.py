"""Anything that gives a context manager can be shared: a temporary folder, taken and given back by hand.

A lease from `acquire` may be held wherever there is no with-statement: from one callback to another, or as long as an
object lives. An observer is told of every change of the number of holders.
"""

import tempfile
from pathlib import Path

from refcount import Lease, SharedResource

scratch = SharedResource(tempfile.TemporaryDirectory[str], name="scratch folder")


class Upload:
    """Keeps its parts in the scratch folder until it is finished."""

    def __init__(self, name: str) -> None:
        self.lease: Lease[str] = scratch.acquire(timeout=5.0)
        self.path = Path(self.lease.value, name)

    def add(self, part: str) -> None:
        with self.path.open("a") as file:
            file.write(part)

    def finish(self) -> str:
        try:
            return self.path.read_text()
        finally:
            self.lease.release()


def main() -> None:
    end = scratch.observe(lambda usecount: print("uploads:", usecount))

    first, second = Upload("first"), Upload("second")
    print("one folder:", first.path.parent == second.path.parent)
    first.add("Hello, ")
    second.add("Bye")
    first.add("world")
    print(first.finish())
    print("folder there:", second.path.parent.exists())
    print(second.finish())
    print("folder there:", second.path.parent.exists())

    end()
    with scratch() as folder:  # nobody is told any more
        print("another folder:", Path(folder) != second.path.parent)


if __name__ == "__main__":
    main()
