"""Functions that get what they need: `@uses(...)` holds it while they run, and callers need not know.

The connection is opened by the first function that uses it, and closed when none does. A generator holds it as long as
somebody reads from it.
"""

import sqlite3
from collections.abc import Generator, Iterator

from refcount import SharedResource, refcounted_resource, uses


@refcounted_resource
def books() -> Generator[sqlite3.Connection]:
    print("  (open)")
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE books (title TEXT, year INTEGER)")
    connection.executemany("INSERT INTO books VALUES (?, ?)", [("Emma", 1815), ("Persuasion", 1817), ("Ulysses", 1922)])
    yield connection
    connection.close()
    print("  (close)")


@uses(books)
def year_of(connection: sqlite3.Connection, title: str) -> int:
    (year,) = connection.execute("SELECT year FROM books WHERE title = ?", (title,)).fetchone()
    return int(year)


@uses(books)
def titles(connection: sqlite3.Connection, *, before: int) -> Iterator[str]:
    for (title,) in connection.execute("SELECT title FROM books WHERE year < ?", (before,)):
        yield title


# Any shared resource will do, and up to five of them.
paper = SharedResource.of(list[str], stop=lambda lines: print("  printed:", ", ".join(lines)))


class Catalogue:
    def __init__(self, before: int) -> None:
        self.before = before

    @uses(books, paper)
    def write(self, _connection: sqlite3.Connection, lines: list[str], heading: str) -> None:
        lines.append(heading)
        lines += [f"{title} ({year_of(title)})" for title in titles(before=self.before)]


def main() -> None:
    print("one call:")
    print(" ", year_of("Emma"))

    print("a generator:")
    for title in titles(before=1900):
        print(" ", title, year_of(title))

    print("a method:")
    Catalogue(before=1816).write("Old books")


if __name__ == "__main__":
    main()
