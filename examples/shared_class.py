"""A class whose with-statement is shared: the database is open while anybody is inside, and only then.

The class is written as if it had one user. Decorated, its instances can be entered by many, from any thread, one inside
the other: the first entry runs `__enter__`, the last exit `__exit__`.
"""

import sqlite3
import threading
import tracemalloc

from refcount import StartStop, refcounted_resource, resource_of


@refcounted_resource
class Database:
    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> sqlite3.Connection:
        print(f"open {self.path}")
        self.connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        return self.connection

    def __exit__(self, *exc: object) -> None:
        self.connection.close()
        print(f"close {self.path}")


# A class that has start() and stop() becomes one through StartStop.
@refcounted_resource
class MemoryProfile(StartStop):
    def start(self) -> None:
        tracemalloc.start()

    def stop(self) -> None:
        tracemalloc.stop()

    def used(self) -> int:
        return tracemalloc.get_traced_memory()[0]


one_at_a_time = threading.Lock()  # sharing a connection does not make it safe to use it all at once


def count(database: Database, number: int) -> None:
    with database as connection, one_at_a_time:
        connection.execute("INSERT INTO numbers VALUES (?)", (number,))


def main() -> None:
    database = Database(":memory:")
    with database as connection:
        connection.execute("CREATE TABLE numbers (number INTEGER)")
        threads = [threading.Thread(target=count, args=(database, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("sum", *connection.execute("SELECT sum(number) FROM numbers").fetchone())
        print("inside:", resource_of(database).usecount)
    print("inside:", resource_of(database).usecount)

    profile = MemoryProfile()
    with profile, profile:
        data = bytes(100_000)
        print("traced:", profile.used() >= len(data))
    print("tracing:", tracemalloc.is_tracing())


if __name__ == "__main__":
    main()
