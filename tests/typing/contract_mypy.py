"""What mypy alone refuses or loses, though it is right; and what it tells in another line than pyright. Never run.

In the other files one `# type: ignore[code]` stands for an error of both checkers. Here it is mypy's. That pyright has
none there is seen where it infers what it could not infer if it had given up.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=false

from collections.abc import Generator
from typing import Self, assert_type

from refcount import Lease, SharedResource, refcounted_method, refcounted_resource, uses


class Conn:
    """What is used."""


db = SharedResource.of(Conn)


# Beside `**kwargs`, a parameter that `Concatenate` takes away must not be one that may be given by keyword as well. A
# slash after it says so: in `contract_uses.py` and `contract_decorators.py` it is written.


@uses(db)  # type: ignore[arg-type]  # `conn: Conn, /, **options`
def function(conn: Conn, **options: bool) -> str:
    """Take any keyword."""
    return f"{conn}{options}"


class Producer:
    """Has methods that take any keyword."""

    @uses(db)  # type: ignore[arg-type]  # `self, conn: Conn, /, **options`
    def method(self, conn: Conn, **options: bool) -> str:  # type: ignore[misc]  # what follows from that
        """Take the value, and any keyword."""
        return f"{conn}{options}"

    @refcounted_method  # type: ignore[arg-type]  # `self, /, **options`
    def feed(self, **options: bool) -> Generator[int]:
        """Take any keyword."""
        yield len(options)

    # `Self` loses what it stands for; the name of the class does not.

    @refcounted_method
    def itself(self) -> Generator[Self]:
        """Give the instance."""
        yield self

    @refcounted_method
    def by_name(self) -> Generator["Producer"]:
        """Give the instance, and lose a subclass."""
        yield self


assert_type(function(fast=True), str)
assert_type(Producer().method(fast=True), str)  # type: ignore[misc]  # what follows from that
assert_type(Producer().feed(fast=True), Lease[int])  # type: ignore[assert-type]  # what follows from that
assert_type(Producer().itself(), Lease[Producer])  # type: ignore[assert-type]  # it is `Lease[Never]`
assert_type(Producer().by_name(), Lease[Producer])


# Of a class that cannot be shared, pyright tells in the line of the decorator, mypy in that of the class.


@refcounted_resource  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedClassDecorator]
class Neither:  # type: ignore[type-var]
    """Cannot be entered."""


@refcounted_resource(linger=3.0)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedClassDecorator]
class NeitherWithOptions:  # type: ignore[type-var]
    """Cannot be entered."""


@refcounted_resource  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedClassDecorator]
class NoExit:  # type: ignore[type-var]
    """Cannot be left."""

    def __enter__(self) -> int:
        return 1


@refcounted_resource  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedClassDecorator]
class ForTasks:  # type: ignore[type-var]
    """Has the asynchronous pair only."""

    async def __aenter__(self) -> int:
        return 1

    async def __aexit__(self, *exc: object) -> None: ...
