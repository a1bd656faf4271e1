"""What all of mypy, pyright, pyrefly and ty infer and refuse: one of each face, and the mistakes. Checked, never run.

Errors have two comments, since ty does not look at the codes of mypy. What is missing here is in the contracts, where
mypy and pyright agree. Three things are left out since one of the others cannot do them: pyrefly does not solve generic
functions that are decorated, ty loses the type of a `functools.partial` that is a factory, and both lose the value of
what has a lambda for a check that comes before it.
"""

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Generic, Self, TypeVar, assert_never, assert_type

from typing_extensions import override

from refcount import (
    AsyncLease,
    AsyncSharedResource,
    ClosedError,
    Demand,
    InstanceManager,
    Lease,
    RefcountedExecutor,
    RefcountedValue,
    Refcounter,
    RefcountError,
    ResourceFunction,
    ResourceMethod,
    SharedResource,
    StartStop,
    State,
    StoppableThread,
    UnderflowException,
    WorkerGroup,
    demand,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
    resource_of,
    tracked,
    uses,
)
from refcount.testing import ManualClock

T = TypeVar("T")


class Conn:
    """What resources give."""

    alive = True

    def open(self) -> bool:
        """Begin."""
        return True

    def close(self) -> None:
        """End."""


class FastConn(Conn):
    """Something narrower."""


# --- Functions ------------------------------------------------------------------------------------------------------


@refcounted_resource
def db(url: str, *, timeout: float = 1.0) -> Generator[Conn]:
    """Take one by position or keyword, one by keyword only."""
    yield Conn()


@refcounted_resource(linger=5.0, capacity=3, when_full="raise")
def bounded(url: str) -> Iterator[Conn]:
    """Have options."""
    yield Conn()


@refcounted_resource
def plain() -> Generator[Conn]:
    """Take nothing."""
    yield Conn()


@refcounted_resource
@contextmanager
def managed(url: str) -> Generator[Conn]:
    """Be a context manager already."""
    yield Conn()


def is_alive(conn: Conn) -> bool:
    """Check a connection."""
    return conn.alive


def by_lower(url: str) -> str:
    """Make a key."""
    return url.lower()


@refcounted_resource(check=is_alive, key=by_lower, own_thread=True, at_exit="leave", name=lambda url: f"at {url}")
def checked(url: str) -> Generator[Conn]:
    """Have a check and a key."""
    yield Conn()


@refcounted_resource(key=lambda url: url.lower(), capacity=2.5, weight=len)
def by_lambdas(url: str) -> Generator[Conn]:
    """Have lambdas."""
    yield Conn()


async def functions() -> None:
    """A call gives a lease, a with-statement the value."""
    assert_type(db("x", timeout=2), Lease[Conn])
    with db(url="x") as conn:
        assert_type(conn, Conn)
    assert_type(plain, ResourceFunction[[], Conn])
    assert_type(bounded("x"), Lease[Conn])
    assert_type(managed("x"), Lease[Conn])
    assert_type(checked("x"), Lease[Conn])
    assert_type(by_lambdas("x"), Lease[Conn])
    assert_type(db.usecount, int)
    assert_type(db.flush(), bool)
    assert_type(db.resource("x"), SharedResource[Conn])
    assert_type(db.resources(), tuple[SharedResource[Conn], ...])
    db()  # type: ignore[call-arg]  # ty: ignore[missing-argument]
    db(1)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    db("x", timout=2)  # type: ignore[call-arg]  # ty: ignore[unknown-argument]
    db("x", 2)  # type: ignore[call-arg]  # ty: ignore[too-many-positional-arguments]
    db.resorce("x")  # type: ignore[attr-defined]  # ty: ignore[missing-attribute]
    len(db)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    with plain:  # type: ignore[attr-defined]  # ty: ignore[invalid-context-manager]
        pass
    async with db("x"):  # type: ignore[attr-defined]  # ty: ignore[invalid-context-manager]
        pass
    with ExitStack() as stack:
        assert_type(stack.enter_context(db("x")), Conn)


def forgot_to_yield(url: str) -> Conn:
    """Return."""
    return Conn()


async def asynchronous(url: str) -> Conn:
    """Return later."""
    return Conn()


def refused_functions() -> None:
    """What cannot be shared, and options that do not fit."""
    refcounted_resource(forgot_to_yield)  # type: ignore[arg-type]  # ty: ignore[no-matching-overload]
    refcounted_resource(asynchronous)  # type: ignore[arg-type]  # ty: ignore[no-matching-overload]
    refcounted_resource(3)  # type: ignore[call-overload]  # ty: ignore[no-matching-overload]
    refcounted_resource(lingr=3.0)  # type: ignore[call-overload]  # ty: ignore[no-matching-overload]
    refcounted_resource(key=3)  # type: ignore[call-overload]  # ty: ignore[no-matching-overload]


# --- Functions for tasks --------------------------------------------------------------------------------------------


@refcounted_resource
async def later(url: str, *, timeout: float = 1.0) -> AsyncGenerator[Conn]:
    """Yield later."""
    yield Conn()


@refcounted_resource(linger=1.0, stop_timeout=1.0, per_loop=True)
async def bounded_later(url: str) -> AsyncIterator[Conn]:
    """Have options for tasks."""
    yield Conn()


@refcounted_resource
@asynccontextmanager
async def managed_later(url: str) -> AsyncGenerator[Conn]:
    """Be a context manager already."""
    yield Conn()


async def functions_for_tasks() -> None:
    """A call gives a lease, an asynchronous with-statement the value."""
    assert_type(later("x", timeout=2), AsyncLease[Conn])
    async with later(url="x") as conn:
        assert_type(conn, Conn)
    assert_type(bounded_later("x"), AsyncLease[Conn])
    assert_type(managed_later("x"), AsyncLease[Conn])
    assert_type(later.resource("x"), AsyncSharedResource[Conn])
    assert_type(await later.flush(), bool)
    later()  # type: ignore[call-arg]  # ty: ignore[missing-argument]
    with later("x"):  # type: ignore[attr-defined]  # ty: ignore[invalid-context-manager]
        pass


# --- Methods --------------------------------------------------------------------------------------------------------


class Producer:
    """Has methods that are shared."""

    @refcounted_method
    def feed(self) -> Generator[Conn]:
        """Take nothing."""
        yield Conn()

    @refcounted_method(linger=2.0)
    def channel(self, topic: str, *, qos: int = 0) -> Iterator[Conn]:
        """Take something."""
        yield Conn()

    @refcounted_method
    @classmethod
    def common(cls, topic: str) -> Iterator[Conn]:
        """Belong to the class."""
        yield Conn()


class LateProducer:
    """Has one for tasks."""

    @refcounted_method
    async def feed(self, topic: str) -> AsyncGenerator[Conn]:
        """Yield later."""
        yield Conn()


class Heir(Producer):
    """Overrides one of them."""

    @refcounted_method
    @override
    def feed(self) -> Generator[FastConn]:
        with super().feed() as conn:
            assert_type(conn, Conn)
            yield FastConn()


class Box(Generic[T]):
    """Is generic."""

    def __init__(self, content: T) -> None:
        self.content = content

    @refcounted_method
    def hold(self) -> Generator[T]:
        """Give the content."""
        yield self.content


def methods(producer: Producer) -> None:
    """On an instance a method is a `ResourceFunction`, on the class a `ResourceMethod`."""
    assert_type(producer.feed, ResourceFunction[[], Conn])
    assert_type(producer.channel("t", qos=1), Lease[Conn])
    assert_type(Producer.feed, ResourceMethod[[], Conn])
    assert_type(Producer.common("t"), Lease[Conn])
    assert_type(producer.common("t"), Lease[Conn])
    assert_type(Heir().feed(), Lease[FastConn])
    assert_type(Box(3).hold(), Lease[int])
    assert_type(LateProducer().feed("t"), AsyncLease[Conn])
    producer.channel()  # type: ignore[call-arg]  # ty: ignore[missing-argument]
    producer.channel(1)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    producer.feed.resorces()  # type: ignore[attr-defined]  # ty: ignore[missing-attribute]
    with producer.feed:  # type: ignore[attr-defined]  # ty: ignore[invalid-context-manager]
        pass
    producer.feed = 3  # type: ignore[assignment]  # ty: ignore[invalid-assignment]


# --- Classes --------------------------------------------------------------------------------------------------------


@refcounted_resource
class Camera(StartStop):
    """Starts and stops."""

    def __init__(self, index: int) -> None:
        self.index = index

    def start(self) -> None: ...

    def stop(self) -> None: ...


@refcounted_resource(linger=5.0)
class Counter:
    """Enters and leaves."""

    def __enter__(self) -> int:
        return 1

    def __exit__(self, *exc: object) -> None: ...


class Unfit:
    """Neither enters nor leaves."""


async def classes() -> None:
    """The class stays the class."""
    with Camera(0) as camera, Counter() as number:
        assert_type(camera, Camera)
        assert_type(camera.index, int)
        assert_type(number, int)
    assert_type(resource_of(Counter()), SharedResource[int])
    Camera("front")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    Camera(0).idnex  # type: ignore[attr-defined]  # ty: ignore[missing-attribute]
    refcounted_resource(Unfit)  # type: ignore[type-var]  # ty: ignore[no-matching-overload]
    resource_of(Unfit())  # type: ignore[call-overload]  # ty: ignore[no-matching-overload]
    async with Camera(0):  # type: ignore[attr-defined]  # ty: ignore[invalid-context-manager]
        pass


# --- Attributes -----------------------------------------------------------------------------------------------------


class Owner:
    """Owns attributes."""

    conn = refcounted_attribute(Conn, start=Conn.open, stop=Conn.close)
    thread = refcounted_attribute(StoppableThread, start=StoppableThread.start, stop=StoppableThread.stop)
    busy = tracked[bool]()

    @refcounted_attribute
    def session(self) -> Generator[FastConn]:
        """See the instance."""
        yield FastConn()

    @refcounted_attribute(linger=1.0, check=lambda conn: conn.alive)
    def lingering(self) -> Iterator[FastConn]:
        """Have options."""
        yield FastConn()


class LateOwner:
    """Owns attributes that tasks share."""

    @refcounted_attribute
    async def session(self) -> AsyncGenerator[FastConn]:
        """See the instance."""
        yield FastConn()


def attributes(owner: Owner) -> None:
    """On an instance its own resource, on the class the descriptor."""
    assert_type(Owner.conn, refcounted_attribute[Conn])
    assert_type(owner.conn, SharedResource[Conn])
    with owner.conn() as conn, owner.thread() as thread:
        assert_type(conn, Conn)
        assert_type(thread, StoppableThread)
    assert_type(owner.session, SharedResource[FastConn])
    assert_type(owner.lingering, SharedResource[FastConn])
    assert_type(LateOwner().session, AsyncSharedResource[FastConn])
    owner.busy = True
    assert_type(Owner().busy, bool)
    refcounted_attribute(Conn, stop=StoppableThread.stop)  # type: ignore[arg-type]  # ty: ignore[no-matching-overload]
    refcounted_attribute(Conn, stop="close")  # type: ignore[call-overload]  # ty: ignore[no-matching-overload]
    owner.conn = Conn()  # type: ignore[assignment]  # ty: ignore[invalid-assignment]
    owner.conn.aquire()  # type: ignore[attr-defined]  # ty: ignore[missing-attribute]
    with owner.conn:  # type: ignore[attr-defined]  # ty: ignore[invalid-context-manager]
        pass
    owner.busy = "yes"  # type: ignore[assignment]  # ty: ignore[invalid-assignment]


# --- Managers -------------------------------------------------------------------------------------------------------


def is_busy(owner: Owner) -> bool:
    """Fit as a predicate."""
    return owner.busy


class Manager(InstanceManager[Owner]):
    """Has demands."""

    def begin(self) -> None:
        """Fit as a hook."""

    working = demand("busy", acquire=begin)
    connected = demand("busy", resource=SharedResource.of(Conn))
    by_predicate = demand(is_busy, release=lambda manager: manager.instances)
    by_lambda = demand(lambda owner: owner.busy, changed=lambda manager, owners: manager.begin())
    by_annotated_lambda: demand[Owner] = demand(lambda owner: owner.busy)
    own = refcounted_attribute(FastConn)
    of_its_own = demand("busy", resource=own)


def managers(manager: Manager) -> None:
    """On an instance a live set, on the class the descriptor."""
    assert_type(manager.working, Demand[Owner, None])
    assert_type(manager.connected.value, Conn)
    assert_type(manager.by_predicate, Demand[Owner, None])
    assert_type(manager.by_lambda, Demand[Owner, None])
    assert_type(Manager.working, demand[object, None])
    assert_type(manager.of_its_own.value, FastConn)
    with Manager() as scoped:
        assert_type(scoped, Manager)
    assert_type(manager.instances, tuple[Owner, ...])
    assert_type([owner.busy for owner in manager.working], list[bool])
    manager.add_instance(Owner())
    manager.working = True  # type: ignore[assignment]  # ty: ignore[invalid-assignment]
    manager.working.usecont  # type: ignore[attr-defined]  # ty: ignore[missing-attribute]
    manager.add_instance(Conn())  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    demand(3)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


# --- Injection ------------------------------------------------------------------------------------------------------


@uses(plain, SharedResource.of(int))
def function(conn: Conn, number: int, x: str, *, flag: bool = False) -> bytes:
    """Take two values and more."""
    return f"{conn}{number}{x}{flag}".encode()


@uses(plain)
async def coroutine(conn: Conn, x: str) -> bytes:
    """Be awaited."""
    return f"{conn}{x}".encode()


class User:
    """Has a method that uses."""

    @uses(plain)
    def method(self, conn: Conn, x: str) -> bytes:
        """Take the value after `self`."""
        return f"{conn}{x}".encode()


def wrong_value(text: str) -> None:
    """Take something else than a connection."""


async def injection() -> None:
    """The value's parameters are gone."""
    assert_type(function("x", flag=True), bytes)
    assert_type(await coroutine("x"), bytes)
    assert_type(User().method("x"), bytes)
    function()  # type: ignore[call-arg]  # ty: ignore[missing-argument]
    function(1)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    function.usecount  # type: ignore[attr-defined]  # ty: ignore[missing-attribute]
    User().method()  # type: ignore[call-arg]  # ty: ignore[missing-argument]
    uses(plain)(wrong_value)  # type: ignore[arg-type]  # ty: ignore[no-matching-overload]
    uses(db)  # type: ignore[arg-type]  # ty: ignore[no-matching-overload]


# --- Workers --------------------------------------------------------------------------------------------------------


def work(stopping: threading.Event) -> None:
    """Fit as a target."""


def shout(text: str, *, times: int = 1) -> bytes:
    """Fit as a task."""
    return text.encode() * times


def workers() -> None:
    """Groups and executors are resources."""
    group = WorkerGroup(work, workers=lambda usecount: 2 * usecount)
    with group() as running, RefcountedExecutor()() as executor:
        assert_type(running, WorkerGroup)
        assert_type(executor, Executor)
        assert_type(executor.submit(shout, "x", times=2), Future[bytes])
    WorkerGroup(shout)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    WorkerGroup(work, workers=3, check=lambda group: group.threads > 0)
    RefcountedExecutor(4, name=lambda: "pool")
    WorkerGroup(work, workers="3")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    group.thread  # type: ignore[attr-defined]  # ty: ignore[missing-attribute]
    RefcountedExecutor(max_workers=4)  # type: ignore[call-arg]  # ty: ignore[unknown-argument]


# --- What the faces stand on ----------------------------------------------------------------------------------------


class Opened:
    """A context manager as classes write them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


async def resources(conn: SharedResource[Conn], fast: SharedResource[FastConn]) -> None:
    """Resources and leases."""
    assert_type(SharedResource(Opened), SharedResource[Opened])
    assert_type(SharedResource.of(Conn, stop=Conn.close, check=is_alive), SharedResource[Conn])
    assert_type(conn(), Lease[Conn])
    assert_type(conn.try_acquire(), Lease[Conn] | None)
    assert_type(conn.acquire(timeout=1.0).value, Conn)
    assert_type(conn.acquire().release(), bool)
    assert_type(conn.observe(print), Callable[[], None])
    assert_type(wider(fast), Conn)
    SharedResource(Conn)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    SharedResource.of(Conn, stop=threading.Event.set)  # type: ignore[misc]  # ty: ignore[invalid-argument-type]
    conn.acquire("1")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    conn.usecount = 3  # type: ignore[misc]  # ty: ignore[invalid-assignment]
    conn.acquire().valeu  # type: ignore[attr-defined]  # ty: ignore[missing-attribute]
    with conn:  # type: ignore[attr-defined]  # ty: ignore[invalid-context-manager]
        pass
    async with conn():  # type: ignore[attr-defined]  # ty: ignore[invalid-context-manager]
        pass


def wider(resource: SharedResource[Conn]) -> Conn:
    """Take what gives something narrower as well."""
    with resource() as value:
        return value


def counters(users: Refcounter, page: RefcountedValue[str], state: State) -> str:
    """Counters, states, errors and the clock."""
    assert_type(users.dec_and_test(), bool)
    assert_type(page.value, str)
    users.usecount = 3
    users.add("3")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    users.usecount = "3"  # type: ignore[assignment]  # ty: ignore[invalid-assignment]
    page.value = 3  # type: ignore[assignment]  # ty: ignore[invalid-assignment]
    errors: list[RefcountError] = [ClosedError(), UnderflowException()]
    closed: RuntimeError = ClosedError()
    with ManualClock() as clock:
        clock.advance(5.0)
        clock.advance("5")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    match state:
        case State.IDLE | State.CLOSED:
            return f"{closed} or {errors}"
        case State.STARTING | State.STOPPING | State.RUNNING | State.LINGERING:
            return "busy"
        case _:
            assert_never(state)
