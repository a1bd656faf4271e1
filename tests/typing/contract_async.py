"""What checkers infer of the decorators for what tasks share, and what they refuse. Never run.

One `# type: ignore[code]` stands for an error of both mypy and pyright; both tell when it is not needed any more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Generic, Self, TypeVar, assert_type

from typing_extensions import override

from refcount import (
    AsyncLease,
    AsyncResourceFunction,
    AsyncResourceMethod,
    AsyncSharedResource,
    Lease,
    ResourceFunction,
    SharedResource,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
    resource_of,
)

T = TypeVar("T")


class Conn:
    """What the functions give."""

    alive: bool

    async def open(self) -> bool:
        """Begin."""
        return True

    async def aclose(self) -> None:
        """End."""

    def close(self) -> None:
        """End at once."""


class FastConn(Conn):
    """What others give."""


# --- Functions ------------------------------------------------------------------------------------------------------


@refcounted_resource
async def db(url: str, *, timeout: float = 1.0) -> AsyncGenerator[Conn]:
    """Take one by position or keyword, one by keyword only."""
    yield Conn()


@refcounted_resource()
async def in_parentheses(url: str) -> AsyncIterator[Conn]:
    """Decorated with a call."""
    yield Conn()


@refcounted_resource(linger=5.0, capacity=3, when_full="raise", stop_timeout=1.0, on_failure="cancel", per_loop=True)
async def bounded(url: str, /, *more: int) -> AsyncGenerator[Conn]:
    """Have the options that are for tasks."""
    yield Conn()


@refcounted_resource(linger=5.0, name=lambda url: f"at {url}")
async def common(url: str) -> AsyncGenerator[Conn]:
    """Have options that are for everything."""
    yield Conn()


@refcounted_resource
async def plain() -> AsyncGenerator[Conn]:
    """Take nothing."""
    yield Conn()


@refcounted_resource
@asynccontextmanager
async def managed(url: str) -> AsyncGenerator[Conn]:
    """Be an asynchronous context manager already."""
    yield Conn()


@refcounted_resource(linger=1)
def returns_manager(url: str) -> AbstractAsyncContextManager[Conn]:
    """Say so."""
    raise NotImplementedError


@refcounted_resource
async def generic(item: T) -> AsyncGenerator[list[T]]:
    """Give what it is given."""
    yield [item]


async def functions() -> None:
    """A call gives a lease for tasks, an asynchronous with-statement the value."""
    assert_type(db("x", timeout=2), AsyncLease[Conn])
    async with db(url="x") as conn:
        assert_type(conn, Conn)
    assert_type(db.resource("x"), AsyncSharedResource[Conn])
    assert_type(db.resources(), tuple[AsyncSharedResource[Conn], ...])
    assert_type(db.capacity, float | None)
    assert_type(db.usecount, int)
    assert_type(await db.flush(), bool)
    db.invalidate()
    db.abandon()
    await db.close(timeout=1.0, force=True)
    assert_type(await db("x").acquire(1.0), AsyncLease[Conn])
    assert_type(db.__name__, str)
    assert_type(in_parentheses("x"), AsyncLease[Conn])
    assert_type(bounded("x", 1, 2), AsyncLease[Conn])
    assert_type(common("x"), AsyncLease[Conn])
    assert_type(plain, AsyncResourceFunction[[], Conn])
    assert_type(managed("x"), AsyncLease[Conn])
    assert_type(returns_manager("x"), AsyncLease[Conn])
    assert_type(generic(3), AsyncLease[list[int]])
    async with AsyncExitStack() as stack:
        assert_type(await stack.enter_async_context(db("x")), Conn)


async def refused_calls() -> None:
    """Mistakes in calls and entries."""
    db()  # type: ignore[call-arg]  # the argument is missing
    db(1)  # type: ignore[arg-type]  # of the wrong type
    db("x", timout=2.0)  # type: ignore[call-arg]  # a typo
    db.resorce("x")  # type: ignore[attr-defined]  # a typo
    with db("x"):  # type: ignore[attr-defined]  # `async with`
        pass
    async with plain:  # type: ignore[attr-defined]  # it is called first
        pass
    await db("x")  # type: ignore[misc]  # a lease is entered, or acquired
    narrower(plain)  # type: ignore[arg-type]  # it gives something wider
    for_threads(plain)  # type: ignore[arg-type]  # it is for tasks


def narrower(source: AsyncResourceFunction[[], FastConn]) -> None:
    """What gives something wider will not do."""


def for_threads(source: ResourceFunction[[], Conn]) -> None:
    """What is for tasks will not do."""


# --- Options --------------------------------------------------------------------------------------------------------


def is_alive(conn: Conn) -> bool:
    """Check a connection."""
    return conn.alive


async def later(conn: Conn) -> bool:
    """Check it later."""
    return conn.alive


async def of_text(text: str) -> bool:
    """Check something else."""
    return bool(text)


@refcounted_resource(check=is_alive)
async def checked(url: str) -> AsyncGenerator[Conn]:
    """Have a check."""
    yield Conn()


@refcounted_resource(check=later, linger=1.0)
async def checked_later(url: str) -> AsyncGenerator[Conn]:
    """Have a check that is awaited."""
    yield Conn()


async def opens(url: str) -> AsyncGenerator[FastConn]:
    """Give something narrower."""
    yield FastConn()


def threads(url: str) -> Generator[Conn]:
    """Be for threads."""
    yield Conn()


def options() -> None:
    """The types stay exact."""
    assert_type(checked("x"), AsyncLease[Conn])
    assert_type(checked_later("x"), AsyncLease[Conn])
    assert_type(refcounted_resource(opens, check=later)("x"), AsyncLease[FastConn])
    assert_type(refcounted_resource(opens, check=lambda conn: conn.alive)("x"), AsyncLease[FastConn])
    assert_type(refcounted_resource(opens, key=lambda url: url.lower())("x"), AsyncLease[FastConn])
    assert_type(refcounted_resource(partial(opens, "x"))(), AsyncLease[FastConn])
    assert_type(refcounted_resource(linger=1.0)(threads)("x"), Lease[Conn])
    assert_type(refcounted_resource(own_thread=True)(threads)("x"), Lease[Conn])


def refused_options() -> None:
    """Options that are for the others."""
    refcounted_resource(opens, own_thread=True)  # type: ignore[arg-type]  # for threads
    refcounted_resource(own_thread=True)(opens)  # type: ignore[arg-type]  # for threads
    refcounted_resource(threads, stop_timeout=1.0)  # type: ignore[arg-type]  # for tasks
    refcounted_resource(stop_timeout=1.0)(threads)  # type: ignore[arg-type]  # for tasks
    refcounted_resource(per_loop=True)(threads)  # type: ignore[arg-type]  # for tasks
    refcounted_resource(threads, check=later)  # type: ignore[arg-type]  # nobody would await it
    refcounted_resource(check=later)(threads)  # type: ignore[arg-type]  # nobody would await it
    refcounted_resource(opens, check=of_text)  # type: ignore[arg-type]  # it takes something else
    refcounted_resource(own_thread=True, per_loop=True)  # type: ignore[call-overload]  # for neither
    refcounted_resource(on_failure="run")  # type: ignore[call-overload]  # "finish" or "cancel"
    refcounted_resource(stop_timeout="1")  # type: ignore[call-overload]  # seconds are a number


# --- Methods --------------------------------------------------------------------------------------------------------


class Producer:
    """Has methods that are shared."""

    @refcounted_method
    async def feed(self) -> AsyncGenerator[Conn]:
        """Take nothing."""
        yield Conn()

    @refcounted_method(linger=2.0)
    async def channel(self, topic: str, *, qos: int = 0) -> AsyncIterator[Conn]:
        """Take something."""
        yield Conn()

    @refcounted_method(per_loop=True, check=later)
    async def own(self) -> AsyncGenerator[Conn]:
        """Have options for tasks."""
        yield Conn()

    @refcounted_method
    @asynccontextmanager
    async def managed(self, number: int) -> AsyncGenerator[Conn]:
        """Be wrapped already."""
        yield Conn()

    @refcounted_method
    @classmethod
    async def common(cls, topic: str) -> AsyncGenerator[Conn]:
        """Belong to the class."""
        yield Conn()


class Heir(Producer):
    """Overrides one of them."""

    @refcounted_method
    @override
    async def feed(self) -> AsyncGenerator[FastConn]:
        async with super().feed() as conn:
            assert_type(conn, Conn)
            yield FastConn()


class Box(Generic[T]):
    """Is generic."""

    def __init__(self, content: T) -> None:
        self.content = content

    @refcounted_method
    async def hold(self) -> AsyncGenerator[T]:
        """Give the content."""
        yield self.content


async def methods(producer: Producer) -> None:
    """On an instance a method is an `AsyncResourceFunction`, on the class an `AsyncResourceMethod`."""
    assert_type(producer.feed, AsyncResourceFunction[[], Conn])
    assert_type(Producer.feed, AsyncResourceMethod[[], Conn])
    assert_type(producer.channel("t", qos=1), AsyncLease[Conn])
    assert_type(producer.own(), AsyncLease[Conn])
    assert_type(producer.managed(3), AsyncLease[Conn])
    assert_type(Producer.common("t"), AsyncLease[Conn])
    assert_type(producer.common("t"), AsyncLease[Conn])
    assert_type(Heir().feed(), AsyncLease[FastConn])
    assert_type(Box(3).hold(), AsyncLease[int])
    producer.channel()  # type: ignore[call-arg]  # the argument is missing
    producer.channel(1)  # type: ignore[arg-type]  # of the wrong type
    with producer.feed():  # type: ignore[attr-defined]  # `async with`
        pass
    refcounted_method(Conn.open)  # type: ignore[arg-type]  # it is awaited


# --- Attributes -----------------------------------------------------------------------------------------------------


async def connect() -> Conn:
    """Make one."""
    return Conn()


class Owner:
    """Owns attributes."""

    conn = refcounted_attribute(Conn, start=Conn.open, stop=Conn.aclose)
    stopped = refcounted_attribute(Conn, stop=Conn.aclose, per_loop=True, check=later)
    started = refcounted_attribute(Conn, start=Conn.open, stop=Conn.close)
    connected = refcounted_attribute(connect, stop=Conn.close)
    threads = refcounted_attribute(Conn, stop=Conn.close)
    by_lambda = refcounted_attribute(lambda: Conn(), stop=lambda conn: conn.close())

    @refcounted_attribute
    async def session(self) -> AsyncGenerator[FastConn]:
        """See the instance."""
        yield FastConn()

    @refcounted_attribute(linger=1.0, check=lambda conn: conn.alive)
    async def lingering(self) -> AsyncIterator[FastConn]:
        """Have options."""
        yield FastConn()

    @refcounted_attribute(per_loop=True, check=later)
    async def own(self) -> AsyncGenerator[FastConn]:
        """Have options for tasks."""
        yield FastConn()

    async def make(self) -> FastConn:
        """Know the instance."""
        return FastConn()

    async def unmake(self, conn: Conn) -> None:
        """Know both."""

    made = refcounted_attribute(make, stop=unmake)


async def attributes(owner: Owner) -> None:
    """On an instance its own resource, on the class the descriptor."""
    assert_type(Owner.conn, refcounted_attribute[Conn, AsyncSharedResource[Conn]])
    assert_type(Owner.threads, refcounted_attribute[Conn])
    assert_type(owner.conn, AsyncSharedResource[Conn])
    assert_type(owner.stopped, AsyncSharedResource[Conn])
    assert_type(owner.started, AsyncSharedResource[Conn])
    assert_type(owner.connected, AsyncSharedResource[Conn])
    assert_type(owner.threads, SharedResource[Conn])
    assert_type(owner.by_lambda, SharedResource[Conn])
    assert_type(owner.session, AsyncSharedResource[FastConn])
    assert_type(owner.lingering, AsyncSharedResource[FastConn])
    assert_type(owner.own, AsyncSharedResource[FastConn])
    assert_type(owner.made, AsyncSharedResource[FastConn])
    async with owner.session() as session:
        assert_type(session, FastConn)
    with owner.session():  # type: ignore[attr-defined]  # `async with`
        pass
    owner.session = session  # type: ignore[assignment]  # it is a resource
    refcounted_attribute(Conn, stop=Conn.close, per_loop=True)  # type: ignore[arg-type]  # for tasks
    # A hole, which the run time sees: an asynchronous hook is a function that returns something, for threads as well.
    refcounted_attribute(Conn, stop=Conn.aclose, own_thread=True)


# --- Classes --------------------------------------------------------------------------------------------------------


@refcounted_resource
class Client:
    """Is entered by `async with`."""

    def __init__(self, index: int) -> None:
        self.index = index

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...


@refcounted_resource(linger=1.0)
class Lingering(Client):
    """Has options that are for everything."""


@refcounted_resource(per_loop=True, check=later)
class ForTasks(Client):
    """Has options that are for tasks."""


@refcounted_resource
class Both(Client):
    """Can be entered both ways."""

    def __enter__(self) -> int:
        return 1

    def __exit__(self, *exc: object) -> None: ...


class ForThreads:
    """Is entered by a plain `with`."""

    def __enter__(self) -> int:
        return 1

    def __exit__(self, *exc: object) -> None: ...


async def classes() -> None:
    """The class stays the class."""
    async with Client(0) as client, Lingering(1) as lingering, ForTasks(2) as other:
        assert_type(client, Client)
        assert_type(lingering, Lingering)
        assert_type(other, ForTasks)
    assert_type(resource_of(Client(0)), AsyncSharedResource[Client])
    assert_type(resource_of(Both(0)), SharedResource[int])
    Client("front")  # type: ignore[arg-type]  # of the wrong type
    with Client(0):  # type: ignore[attr-defined]  # `async with`
        pass
    refcounted_resource(per_loop=True)(ForThreads)  # type: ignore[type-var]  # for tasks
    refcounted_resource(own_thread=True)(Client)  # type: ignore[type-var]  # for threads
