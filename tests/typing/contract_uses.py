"""What type checkers infer and refuse for `uses`. Checked, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import partial
from typing import Any, assert_type

from refcount import Lease, SharedResource, refcounted_attribute, refcounted_method, refcounted_resource, uses


class Conn:
    """One thing to use."""


class Cache:
    """Another."""


@refcounted_resource
def db() -> Generator[Conn]:
    """Need no argument."""
    yield Conn()


@refcounted_resource
def table(name: str) -> Generator[Conn]:
    """Need one."""
    yield Conn()


@refcounted_resource
def shard(number: int = 0) -> Generator[Conn]:
    """Need none, but take one."""
    yield Conn()


class Producer:
    """Has resources of its own."""

    @refcounted_method
    def feed(self) -> Generator[Conn]:
        """Need no argument once it is bound."""
        yield Conn()

    @refcounted_method
    def channel(self, topic: str) -> Generator[Conn]:
        """Need one."""
        yield Conn()

    store = refcounted_attribute(Cache)

    @refcounted_attribute
    def session(self) -> Generator[Conn]:
        """See the instance."""
        yield Conn()

    @uses(feed, store)
    def both(self, conn: Conn, store: Cache, x: int) -> str:
        """Take the values of a method and of an attribute of its own class."""
        return f"{conn}{store}{x}"

    @uses(session)
    def generated(self, conn: Conn) -> Iterator[str]:
        """Take the value of an attribute that sees the instance."""
        yield f"{conn}"

    @uses(lambda: table("rights"), session)
    async def later(self, first: Conn, second: Conn, x: int) -> str:
        """Take a value of each kind."""
        return f"{first}{second}{x}"


cache = SharedResource.of(Cache)
integer = SharedResource.of(int)
text = SharedResource.of(str)
ratio = SharedResource.of(float)


@uses(db)
def function(conn: Conn, x: int, *, flag: bool = False) -> str:
    """Take the value and more."""
    return f"{conn}{x}{flag}"


@uses(db, cache)
def both(conn: Conn, store: Cache, x: int) -> str:
    """Take two values and more."""
    return f"{conn}{store}{x}"


@uses(db, cache, integer, text, ratio)
def five(a: Conn, b: Cache, c: int, d: str, e: float, x: bytes) -> bytes:
    """Take five values and more."""
    return x


@uses(table.resource("users"))
def with_argument(conn: Conn) -> Conn:
    """Take the value of one of a family."""
    return conn


@uses(shard, Producer().feed)
def with_others(first: Conn, second: Conn) -> Conn:
    """Take the value of a default, and that of an instance's own resource."""
    return first


@uses(partial(table, "users"), lambda: table("rights"))
def with_calls(first: Conn, second: Conn, x: int) -> Conn:
    """Take the values of calls that are made each time."""
    return first


def any_table() -> Lease[Conn]:
    """Give a lease."""
    return table("users")


@uses(any_table)
def with_function(conn: Conn, x: int) -> int:
    """Take the value of any function that gives a lease."""
    return x


@uses(db)
def generator(conn: Conn, x: int) -> Iterator[str]:
    """Yield."""
    yield f"{conn}{x}"


@uses(db)
async def coroutine(conn: Conn, x: int) -> str:
    """Be awaited."""
    return f"{conn}{x}"


@uses(db)
async def async_generator(conn: Conn, x: int) -> AsyncGenerator[str, None]:
    """Yield asynchronously."""
    yield f"{conn}{x}"


class Owner:
    """Every kind of method."""

    @uses(db)
    def method(self, conn: Conn, x: int) -> str:
        """Take the value after `self`."""
        return f"{conn}{x}"

    @staticmethod
    @uses(db)
    def static(conn: Conn, x: int) -> str:
        """Take the value first."""
        return f"{conn}{x}"

    @classmethod
    @uses(db)
    def cls_method(cls, conn: Conn, x: int) -> str:
        """Take the value after `cls`."""
        return f"{conn}{x}"

    @uses(db, cache)
    def both(self, conn: Conn, store: Cache) -> str:
        """Take two values after `self`."""
        return f"{conn}{store}"

    @uses(db)
    def generator(self, conn: Conn) -> Iterator[str]:
        """Yield."""
        yield f"{conn}"


async def what_is_inferred() -> None:
    """The value's parameters are gone, everything else is as it was written."""
    assert_type(function(1, flag=True), str)
    assert_type(both(1), str)
    assert_type(five(b""), bytes)
    assert_type(with_argument(), Conn)
    assert_type(with_others(), Conn)
    assert_type(with_calls(1), Conn)
    assert_type(with_function(1), int)
    assert_type(generator(1), Iterator[str])
    assert_type(await coroutine(1), str)
    pending: Coroutine[Any, Any, str] = coroutine(1)
    await pending
    assert_type(async_generator(1), AsyncGenerator[str, None])
    items: AsyncIterator[str] = async_generator(1)
    await anext(items)
    producer = Producer()
    assert_type(producer.both(1), str)
    assert_type(producer.generated(), Iterator[str])
    assert_type(await producer.later(1), str)
    owner = Owner()
    assert_type(owner.method(1), str)
    assert_type(Owner.method(owner, 1), str)
    assert_type(Owner.static(1), str)
    assert_type(owner.static(1), str)
    assert_type(Owner.cls_method(1), str)
    assert_type(owner.cls_method(1), str)
    assert_type(owner.both(), str)
    assert_type(owner.generator(), Iterator[str])
    called: Callable[[int], str] = owner.method
    called(1)


def what_is_refused() -> None:
    """Each mistake at a call is an error."""
    function()  # type: ignore[call-arg]  # an argument is missing
    function("1")  # type: ignore[arg-type]  # an argument of the wrong type
    function(Conn(), 1)  # type: ignore[call-arg, arg-type]  # the value is given already
    function(1, flg=True)  # type: ignore[call-arg]  # a typo
    function.usecount  # type: ignore[attr-defined]  # a typo, or another thing's attribute
    Owner().method()  # type: ignore[call-arg]  # an argument is missing
    Owner().method("1")  # type: ignore[arg-type]  # an argument of the wrong type
    Owner.static(Conn(), 1)  # type: ignore[call-arg, arg-type]  # the value is given already


def wrong_value(store: Cache) -> None:
    """Take something else than a connection."""


def wrong_method(self: Producer, conn: Conn) -> None:
    """Take a connection, whatever it is decorated with."""


def wrong_order(store: Cache, conn: Conn) -> None:
    """Take the two the other way round."""


def too_short() -> None:
    """Take nothing."""


def by_keyword(*, conn: Conn) -> None:
    """Take it by keyword only."""


uses(db)(wrong_value)  # type: ignore[arg-type]  # its value is no `Cache`
uses(db, cache)(wrong_order)  # type: ignore[arg-type]  # the resources stand in the other order
uses(db)(too_short)  # type: ignore[arg-type]  # there is no parameter for the value
uses(db)(by_keyword)  # type: ignore[arg-type]  # values are given by position
uses(table)  # type: ignore[arg-type]  # it needs a name: `table.resource("users")`
uses(Producer.store)(wrong_method)  # type: ignore[arg-type]  # its value is no `Conn`
uses(Producer.channel)  # type: ignore[arg-type]  # it needs a topic
uses(db())  # type: ignore[call-overload]  # a lease instead of the resource
uses(Conn)  # type: ignore[arg-type]  # a class is no resource
uses(lambda: 3)  # type: ignore[arg-type, return-value]  # what it gives is no lease
uses(partial(table))  # pyright: ignore[reportCallIssue, reportArgumentType]  # it needs a name; mypy is silent
uses(partial(table, 3))  # type: ignore[arg-type]  # of the wrong type
uses(Cache())  # type: ignore[call-overload]  # nor is a value
uses()  # type: ignore[call-overload]  # no resource
uses(db, db, db, db, db, db)  # type: ignore[call-overload]  # too many


# The known hole: types cannot tell a method from a function whose first parameter accepts anything. At run time the
# value comes after a first parameter that is called `self` or `cls` or the like, and else it is that parameter's; by
# the types it comes first where it fits, and else second.


@uses(db)
def loose(self: object, conn: Conn, x: int) -> str:
    """Get the value second, whatever the types say."""
    return f"{self}{conn}{x}"


@uses(db)
def second(x: int, conn: Conn) -> str:
    """Get the value first, whatever the types say: the two are swapped."""
    return f"{x}{conn}"


class Misnamed:
    """Calls its instance something else."""

    @uses(db)
    def method(this, conn: Conn, x: int) -> str:
        """Get the value as the instance, whatever the types say."""
        return f"{this}{conn}{x}"


class Pool(Conn):
    """Is itself what its method uses."""

    @uses(db)
    def borrow(self, conn: Conn, x: int) -> str:
        """Get the value second, whatever the types say."""
        return f"{self}{conn}{x}"


# Nor can they tell a function that is called with what only an instance has; when it is decorated it is refused.


@uses(Producer.feed)
def no_method(conn: Conn, x: int) -> int:
    """Have no instance."""
    return x


def the_hole() -> None:
    """What works at run time is refused, and what does not is accepted."""
    loose(Owner(), 1)  # type: ignore[arg-type]  # right, but for the types
    assert_type(loose(Conn(), 1), str)
    assert_type(second(1), str)
    assert_type(Misnamed().method(1), str)
    assert_type(Pool().borrow(1), str)


# Beside `**kwargs`, a slash is for mypy, which refuses what has none: see `contract_mypy.py`.


@uses(db)
def with_options(conn: Conn, /, **options: bool) -> str:
    """Take any keyword."""
    return f"{conn}{options}"


class Optional:
    """The same for methods."""

    @uses(db)
    def method(self, conn: Conn, /, **options: bool) -> str:
        """Take any keyword."""
        return f"{conn}{options}"


assert_type(with_options(fast=True), str)
assert_type(Optional().method(fast=True), str)
with_options(fast=1)  # type: ignore[arg-type]  # of the wrong type
Optional().method(fast=1)  # type: ignore[arg-type]  # of the wrong type
