"""A method whose result is shared: each archive is open while anybody reads from it, and unpacks each member once.

Every instance has resources of its own, and so has every set of arguments.
"""

import io
import zipfile
from collections.abc import Generator

from refcount import refcounted_method


class Archive:
    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content

    @refcounted_method
    def reader(self) -> Generator[zipfile.ZipFile]:
        print(f"open {self.name}")
        with zipfile.ZipFile(io.BytesIO(self.content)) as reader:
            yield reader
        print(f"close {self.name}")

    @refcounted_method
    def member(self, name: str) -> Generator[str]:
        with self.reader() as reader:
            print(f"unpack {self.name}/{name}")
            yield reader.read(name).decode()


def pack(**members: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return packed.getvalue()


def main() -> None:
    letters = Archive("letters", pack(monday="Dear Ann", tuesday="Dear Bob"))
    bills = Archive("bills", pack(monday="12.50"))

    with letters.member("monday") as text, letters.member("monday") as same:
        print(text, "- the same text:", text is same)
        with letters.member("tuesday") as other, bills.member("monday") as amount:
            print(other, amount)


if __name__ == "__main__":
    main()
