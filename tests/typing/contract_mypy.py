"""What mypy alone refuses or loses, though it is right; and what it tells in another line than pyright. Never run.

In the other files one `# type: ignore[code]` stands for an error of both checkers. Here it is mypy's. That pyright has
none there is seen where it infers what it could not infer if it had given up.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=false

from collections.abc import Generator
from contextlib import nullcontext
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

    @refcounted_method
    def channel(self) -> Generator[int]:
        """Take nothing."""
        yield 3

    @refcounted_method
    def paired(self) -> Generator[tuple[Self, int]]:
        """Give the instance inside of something else."""
        yield self, 1

    # Whether a lambda is a class method it cannot tell; of a `def` it can.
    by_lambda = refcounted_method(lambda self: nullcontext(3))


assert_type(function(fast=True), str)
assert_type(Producer().by_lambda(), Lease[int])  # type: ignore[assert-type]  # it is `Any`
assert_type(Producer().method(fast=True), str)  # type: ignore[misc]  # what follows from that
assert_type(Producer().feed(fast=True), Lease[int])  # type: ignore[assert-type]  # what follows from that
assert_type(Producer().paired(), Lease[tuple[Producer, int]])  # type: ignore[assert-type]  # it is `tuple[Never, int]`

# So that pyright sees what a method gives where it compares it with a protocol, it is callable to it on the class too.

Producer.channel()  # type: ignore[operator]  # it needs the instance


# A key may be any callable, one arm of whose type pyright takes for everything that can be called.


def by_list(url: str) -> list[str]:
    """Make no key."""
    return [url]


def opens(url: str) -> Generator[int]:
    """Fit as a function."""
    yield 3


refcounted_resource(opens, key=by_list)  # type: ignore[arg-type]  # it returns what has no hash
refcounted_resource(key=by_list)  # type: ignore[arg-type]  # it returns what has no hash


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
