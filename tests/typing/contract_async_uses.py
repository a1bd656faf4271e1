"""What type checkers infer and refuse for `uses` with resources for tasks. Checked, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import partial
from typing import Any, assert_type

from refcount import (
    AsyncLease,
    AsyncSharedResource,
    SharedResource,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
    uses,
)


class Conn:
    """One thing to use."""


class Cache:
    """Another."""


@refcounted_resource
def table(name: str = "users") -> Generator[Conn]:
    """Open it, for threads."""
    yield Conn()


db = AsyncSharedResource.of(Conn)
cache = SharedResource.of(Cache)


def any_table() -> AsyncLease[Conn]:
    """Give a lease for tasks."""
    return db()


@uses(db)
async def coroutine(conn: Conn, x: int, *, flag: bool = False) -> str:
    """Take the value and more."""
    return f"{conn}{x}{flag}"


@uses(db, cache, any_table, lambda: db(), table)
async def mixed(a: Conn, b: Cache, c: Conn, d: Conn, e: Conn, x: int) -> str:
    """Take the values of both kinds."""
    return f"{a}{b}{c}{d}{e}{x}"


@uses(cache, db)
async def async_generator(store: Cache, conn: Conn, x: int) -> AsyncGenerator[str, bytes]:
    """Yield asynchronously."""
    yield f"{store}{conn}{x}"


@uses(db)
async def async_iterator(conn: Conn) -> AsyncIterator[str]:
    """Be annotated as less."""
    yield f"{conn}"


@refcounted_resource
async def remote(name: str = "users") -> AsyncGenerator[Conn]:
    """Open it, for tasks."""
    yield Conn()


class Producer:
    """Has resources of its own."""

    @refcounted_method
    async def feed(self) -> AsyncGenerator[Conn]:
        """Need no argument once it is bound."""
        yield Conn()

    @refcounted_method
    async def channel(self, topic: str) -> AsyncGenerator[Conn]:
        """Need one."""
        yield Conn()

    @refcounted_attribute
    async def session(self) -> AsyncGenerator[Cache]:
        """See the instance."""
        yield Cache()

    @uses(feed, remote, partial(remote, "users"), session)
    async def method(self, first: Conn, second: Conn, third: Conn, fourth: Cache, x: int) -> str:
        """Take the value of a method and an attribute of its own class, and of functions."""
        return f"{first}{second}{third}{fourth}{x}"


class Owner:
    """Every kind of method."""

    @uses(db, cache)
    async def method(self, conn: Conn, store: Cache, x: int) -> str:
        """Take the values after `self`."""
        return f"{conn}{store}{x}"

    @staticmethod
    @uses(db)
    async def static(conn: Conn, x: int) -> str:
        """Take the value first."""
        return f"{conn}{x}"

    @classmethod
    @uses(db)
    async def cls_method(cls, conn: Conn, x: int) -> str:
        """Take the value after `cls`."""
        return f"{conn}{x}"

    @uses(db)
    async def generator(self, conn: Conn) -> AsyncIterator[str]:
        """Yield asynchronously."""
        yield f"{conn}"


async def what_is_inferred() -> None:
    """The value's parameters are gone, everything else is as it was written."""
    assert_type(await coroutine(1, flag=True), str)
    pending: Coroutine[Any, Any, str] = coroutine(1)
    await pending
    assert_type(await mixed(1), str)
    assert_type(async_generator(1), AsyncGenerator[str, bytes])
    assert_type(async_iterator(), AsyncIterator[str])
    assert_type(await Producer().method(1), str)
    owner = Owner()
    assert_type(await owner.method(1), str)
    assert_type(await Owner.method(owner, 1), str)
    assert_type(await Owner.static(1), str)
    assert_type(await Owner.cls_method(1), str)
    assert_type(owner.generator(), AsyncIterator[str])
    called: Callable[[int], Coroutine[Any, Any, str]] = owner.method
    await called(1)


async def what_is_refused() -> None:
    """Each mistake at a call is an error."""
    await coroutine()  # type: ignore[call-arg]  # an argument is missing
    await coroutine("1")  # type: ignore[arg-type]  # an argument of the wrong type
    await coroutine(Conn(), 1)  # type: ignore[call-arg, arg-type]  # the value is given already
    await Owner().method("1")  # type: ignore[arg-type]  # an argument of the wrong type


def plain(conn: Conn, x: int) -> str:
    """Be no coroutine function."""
    return f"{conn}{x}"


def generator(conn: Conn) -> Iterator[str]:
    """Be no asynchronous one."""
    yield f"{conn}"


async def wrong_value(store: Cache) -> None:
    """Take something else than a connection."""


async def wrong_order(store: Cache, conn: Conn) -> None:
    """Take the two the other way round."""


uses(db)(plain)  # type: ignore[type-var]  # it is not asynchronous
uses(db)(generator)  # type: ignore[type-var]  # nor is this
uses(db)(wrong_value)  # type: ignore[arg-type]  # its value is no `Cache`
uses(db, cache)(wrong_order)  # type: ignore[arg-type]  # the resources stand in the other order
uses(Producer.channel)  # type: ignore[arg-type]  # it needs a topic
uses(db())  # type: ignore[call-overload]  # a lease instead of the resource
