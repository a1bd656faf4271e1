"""What checkers infer of `refcounted_resource` and `refcounted_method`, and what they refuse. Never run.

One `# type: ignore[code]` stands for an error of both mypy and pyright; both tell when it is not needed any more.
"""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, assert_type

from refcount import Lease, ResourceFunction, ResourceMethod, SharedResource, refcounted_method, refcounted_resource

if TYPE_CHECKING:
    from typing import assert_type

    from typing_extensions import override

T = TypeVar("T")


class Conn:
    """What the functions give."""

    alive: bool


class FastConn(Conn):
    """What others give."""


# --- Functions ------------------------------------------------------------------------------------------------------


@refcounted_resource
def db(url: str, *, timeout: float = 1.0) -> Generator[Conn]:
    """Take one by position or keyword, one by keyword only."""
    yield Conn()


@refcounted_resource()
def in_parentheses(url: str) -> Iterator[Conn]:
    """Decorated with a call."""
    yield Conn()


@refcounted_resource(linger=5.0, overlap=True, name="bounded", capacity=3, when_full="raise")
def bounded(url: str, /, *more: int, size: int = 1, **options: bool) -> Generator[Conn]:
    """Take everything there is."""
    yield Conn()


@refcounted_resource
def plain() -> Generator[Conn]:
    """Take nothing."""
    yield Conn()


@refcounted_resource
@contextmanager
def managed(url: str) -> Generator[Conn]:
    """Is a context manager already."""
    yield Conn()


@refcounted_resource(linger=1)
def returns_manager(url: str) -> AbstractContextManager[Conn]:
    """Say so."""
    return contextlib.nullcontext(Conn())


@refcounted_resource
def generic(item: T) -> Generator[list[T]]:
    """Give what it is given."""
    yield [item]


def functions() -> None:
    """A call gives a lease, a with-statement the value; arguments are checked."""
    assert_type(db("x"), Lease[Conn])
    assert_type(db(url="x", timeout=2), Lease[Conn])
    with db("x") as conn:
        assert_type(conn, Conn)
    assert_type(db.resource("x", timeout=3.0), SharedResource[Conn])
    assert_type(db.resources(), tuple[SharedResource[Conn], ...])
    assert_type(db.capacity, int | None)
    assert_type(db.__name__, str)
    db.close(timeout=1.0, force=True)

    assert_type(in_parentheses("x"), Lease[Conn])
    assert_type(bounded("x", 1, 2, size=3, fast=True), Lease[Conn])
    assert_type(plain(), Lease[Conn])
    assert_type(plain, ResourceFunction[[], Conn])
    assert_type(managed("x"), Lease[Conn])
    assert_type(returns_manager("x"), Lease[Conn])
    assert_type(generic(3), Lease[list[int]])
    with generic("x") as texts:
        assert_type(texts, list[str])
    wider(plain)
    with_any_arguments(db)


def with_any_arguments(source: ResourceFunction[..., Conn]) -> None:
    """Arguments that are not known are not checked."""
    assert_type(source(1, 2), Lease[Conn])


def wider(source: ResourceFunction[[], object]) -> None:
    """What gives something narrower will do."""
    assert_type(source(), Lease[object])


def narrower(source: ResourceFunction[[], FastConn]) -> None:
    """What gives something wider will not."""
    assert_type(source(), Lease[FastConn])


def after_a_with_statement() -> int:
    """A lease swallows nothing, so what follows is reached, and what is missing after it is missed."""
    with plain():
        return 1


def refused_calls() -> None:
    """Mistakes in calls."""
    db()  # type: ignore[call-arg]  # the argument is missing
    db(1)  # type: ignore[arg-type]  # of the wrong type
    db("x", 2.0)  # type: ignore[call-arg]  # by keyword only
    db("x", timout=2.0)  # type: ignore[call-arg]  # a typo
    db.resource()  # type: ignore[call-arg]  # the argument is missing
    db.resource(1)  # type: ignore[arg-type]  # of the wrong type
    bounded(fast=True)  # type: ignore[call-arg]  # the argument is missing
    bounded("x", "y")  # type: ignore[arg-type]  # of the wrong type
    plain(1)  # type: ignore[call-arg]  # there are no arguments
    generic()  # type: ignore[call-arg]  # the argument is missing
    db.close("soon")  # type: ignore[arg-type]  # a timeout is a number
    narrower(plain)  # type: ignore[arg-type]  # it gives something wider


def refused_attributes() -> None:
    """Nothing of wrapt's proxy reaches a user."""
    db.resorce("x")  # type: ignore[attr-defined]  # a typo
    db.capacity = 3  # type: ignore[misc]  # to look at
    db.lingers = 3  # type: ignore[attr-defined]  # a typo
    db + 1  # type: ignore[operator]  # a proxy would hand it on
    len(db)  # type: ignore[arg-type]  # a proxy would hand it on
    db[0]  # type: ignore[index]  # a proxy would hand it on
    for _ in db:  # type: ignore[attr-defined]  # a proxy would hand it on
        pass


async def refused_asynchronous() -> None:
    """What is for threads is not for tasks."""
    async with db("x"):  # type: ignore[attr-defined]  # `with`
        pass
    async with plain:  # type: ignore[attr-defined]  # `with`, and called
        pass
    await db("x")  # type: ignore[misc]  # nothing is to be awaited


def refused_uncalled() -> None:
    """A decorated function is no context manager, what it returns is."""
    with plain:  # type: ignore[attr-defined]  # `with plain():`
        pass
    with contextlib.ExitStack() as stack:
        stack.enter_context(plain)  # type: ignore[arg-type]  # `plain()`
        assert_type(stack.enter_context(plain()), Conn)


# --- Options --------------------------------------------------------------------------------------------------------


def is_alive(conn: Conn) -> bool:
    """Check a connection."""
    return conn.alive


def is_anything(thing: object) -> bool:
    """Check anything."""
    return thing is not None


def is_text(text: str) -> bool:
    """Check something else."""
    return bool(text)


def by_lower(url: str, *, timeout: float = 1.0) -> str:
    """Make a key."""
    return url.lower()


def by_number(number: int) -> int:
    """Make a key of something else."""
    return number


def by_list(url: str) -> list[str]:
    """Make no key."""
    return [url]


@refcounted_resource(check=is_alive)
def checked(url: str) -> Generator[Conn]:
    """Have a check."""
    yield Conn()


@refcounted_resource(key=by_lower)
def keyed(url: str, *, timeout: float = 1.0) -> Generator[Conn]:
    """Have a key."""
    yield Conn()


@refcounted_resource(check=is_alive, key=by_lower, linger=3.0)
def checked_and_keyed(url: str, *, timeout: float = 1.0) -> Generator[Conn]:
    """Have both."""
    yield Conn()


@refcounted_resource(check=is_anything)
def widened(url: str) -> Generator[Conn]:
    """Have a check that takes more."""
    yield Conn()


def opens(url: str) -> Generator[FastConn]:
    """Give something narrower."""
    yield FastConn()


def options() -> None:
    """The types stay exact; in the call form, lambdas are typed as well."""
    assert_type(checked("x"), Lease[Conn])
    assert_type(keyed("x", timeout=1), Lease[Conn])
    assert_type(checked_and_keyed("x"), Lease[Conn])
    assert_type(refcounted_resource(opens, check=is_alive)("x"), Lease[FastConn])
    assert_type(refcounted_resource(opens, check=is_anything)("x"), Lease[FastConn])
    assert_type(refcounted_resource(opens, check=lambda conn: conn.alive)("x"), Lease[FastConn])
    assert_type(refcounted_resource(opens, key=lambda url: url.lower())("x"), Lease[FastConn])
    # A hole: a check that takes more than the function yields widens the value where it comes before the function.
    assert_type(widened("x"), Lease[object])


def refused_options() -> None:
    """Mistakes in options."""
    refcounted_resource(opens, check=is_text)  # type: ignore[arg-type]  # it takes something else
    refcounted_resource(check=is_text)(opens)  # type: ignore[arg-type]  # it takes something else
    refcounted_resource(opens, key=by_number)  # type: ignore[arg-type]  # it takes other arguments
    refcounted_resource(key=by_number)(opens)  # type: ignore[arg-type]  # it takes other arguments
    refcounted_resource(opens, key=by_list)  # type: ignore[arg-type]  # it returns what has no hash
    refcounted_resource(key=by_list)  # type: ignore[arg-type]  # it returns what has no hash
    refcounted_resource(opens, lingr=3.0)  # type: ignore[call-overload]  # a typo
    refcounted_resource(lingr=3.0)  # type: ignore[call-overload]  # a typo
    refcounted_resource(linger="3")  # type: ignore[call-overload]  # seconds are a number
    refcounted_resource(capacity=1.5)  # type: ignore[call-overload]  # a whole number
    refcounted_resource(when_full="panic")  # type: ignore[call-overload]  # "wait" or "raise"


# --- What can be decorated ------------------------------------------------------------------------------------------


def forgot_to_yield(url: str) -> Conn:
    """Return."""
    return Conn()


async def coroutine(url: str) -> Conn:
    """Return later."""
    return Conn()


async def asynchronous(url: str) -> AsyncGenerator[Conn]:
    """Yield later."""
    yield Conn()


class Unfit:
    """Cannot be entered."""


class Fit:
    """Can be entered."""

    def __init__(self, url: str) -> None: ...

    def __enter__(self) -> Conn:
        return Conn()

    def __exit__(self, *exc: object) -> None: ...


@refcounted_resource
class Service(Fit):
    """Stays a class."""


@refcounted_resource(linger=1.0)
class LingeringService(Fit):
    """Stays a class."""


@refcounted_resource(check=is_alive)
class CheckedService(Fit):
    """Stays a class."""


def decorated() -> None:
    """Callable things of other kinds; a class stays a class."""
    assert_type(refcounted_resource(functools.partial(opens, "x"))(), Lease[FastConn])
    assert_type(Service("x"), Service)
    assert_type(LingeringService("x"), LingeringService)
    assert_type(CheckedService("x"), CheckedService)
    with Service("x") as conn:
        assert_type(conn, Conn)


def refused_sources() -> None:
    """What cannot be shared."""
    refcounted_resource(forgot_to_yield)  # type: ignore[arg-type]  # it does not yield
    refcounted_resource()(forgot_to_yield)  # type: ignore[arg-type]  # it does not yield
    refcounted_resource(coroutine)  # type: ignore[arg-type]  # it is asynchronous
    refcounted_resource(asynchronous)  # type: ignore[arg-type]  # it is asynchronous
    refcounted_resource(asynccontextmanager(asynchronous))  # type: ignore[arg-type]  # it is asynchronous
    refcounted_resource(opens("x"))  # type: ignore[call-overload]  # a generator, not the function
    refcounted_resource(3)  # type: ignore[call-overload]  # not callable
    refcounted_resource(Unfit)  # type: ignore[type-var]  # it cannot be entered
    refcounted_resource(linger=1.0)(Unfit)  # type: ignore[type-var]  # it cannot be entered
    # A hole: a call of `db` gives a lease, which is a context manager; that it is shared already, the run time tells.
    assert_type(refcounted_resource(db)("x"), Lease[Conn])


# A lambda has no types where nothing says which; that is how far they get. So a `def`, or the lambda in the call form.


@refcounted_resource(key=lambda url: url)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
def keyed_by_lambda(url: str) -> Generator[Conn]:
    """Have a key that takes what it gets."""
    yield Conn()


@refcounted_resource(check=lambda conn: conn.alive)  # type: ignore[attr-defined]  # not known to be a `Conn`
def checked_by_lambda(url: str) -> Generator[Conn]:
    """Have a check of what is not known yet."""
    yield Conn()


@refcounted_resource(check=lambda conn: True)
def checked_by_easy_lambda(url: str) -> Generator[Conn]:
    """Have a check that asks nothing of it."""
    yield Conn()


def holes_of_lambdas() -> None:
    """With a key, any argument will do, and pyright says so above; with a check, pyright does not know the value."""
    assert_type(keyed_by_lambda(3), Lease[Conn])
    assert_type(checked_by_easy_lambda("x"), Lease[Conn])  # pyright: ignore[reportAssertTypeFailure]
    checked_by_easy_lambda(3)  # type: ignore[arg-type]  # the parameters are known


def overloaded() -> None:
    """A hole: `ParamSpec` takes no overloads. For mypy anything goes, pyright refuses; a lambda says which it is."""
    refcounted_resource(open)("x", "y", "z")  # pyright: ignore[reportArgumentType, reportCallIssue]
    with refcounted_resource(lambda: open("x"))() as file:
        assert_type(file.read(), str)


# --- Methods --------------------------------------------------------------------------------------------------------


class Producer:
    """Has methods that are shared."""

    @refcounted_method
    def feed(self) -> Generator[Conn]:
        yield Conn()

    @refcounted_method(linger=2.0, capacity=2)
    def channel(self, topic: str, *, qos: int = 0) -> Iterator[Conn]:
        yield Conn()

    @refcounted_method
    @contextmanager
    def managed(self, topic: str) -> Generator[Conn]:
        yield Conn()

    @refcounted_method(check=is_alive, key=by_lower)
    def choosy(self, url: str, *, timeout: float = 1.0) -> Generator[Conn]:
        yield Conn()

    @refcounted_method
    def any_keyword(self, /, **options: bool) -> Generator[Conn]:
        """Say by a slash what mypy wants to know: see `contract_mypy.py`."""
        yield Conn()

    by_lambda = refcounted_method(lambda self: contextlib.nullcontext(3))


class Heir(Producer):
    """Overrides one of them."""

    @refcounted_method
    @override
    def feed(self) -> Generator[FastConn]:
        with super().feed() as conn:
            assert_type(conn, Conn)
            yield FastConn()


class OtherHeir(Producer):
    """A hole of pyright's: `@override` takes what is callable for it, so it stands below, as above, or not at all."""

    @override  # pyright: ignore[reportArgumentType, reportUntypedFunctionDecorator]
    @refcounted_method
    def feed(self) -> Generator[FastConn]:
        yield FastConn()


class Box(Generic[T]):
    """Is generic."""

    def __init__(self, content: T) -> None:
        self.content = content

    @refcounted_method
    def hold(self) -> Generator[T]:
        yield self.content

    @refcounted_method
    def add(self: Box[int], more: int) -> Generator[int]:
        yield self.content + more


class Feeding(Protocol):
    """Has a method that gives something to enter."""

    def feed(self) -> AbstractContextManager[Conn]: ...


def takes_feeding(feeding: Feeding) -> None:
    """Take anything that feeds."""
    with feeding.feed() as conn:
        assert_type(conn, Conn)


class Abstract(ABC):
    """Leaves the method to others."""

    @refcounted_method
    @abstractmethod
    def feed(self) -> Iterator[Conn]: ...


class Concrete(Abstract):
    """Writes it."""

    @refcounted_method
    @override
    def feed(self) -> Iterator[Conn]:
        yield Conn()


def methods(producer: Producer, heir: Heir, abstract: Abstract) -> None:
    """On an instance a method is a `ResourceFunction`, on the class a `ResourceMethod`."""
    assert_type(producer.feed, ResourceFunction[[], Conn])
    assert_type(producer.feed(), Lease[Conn])
    with producer.feed() as conn:
        assert_type(conn, Conn)
    assert_type(producer.channel("t", qos=1), Lease[Conn])
    assert_type(producer.channel.resource("t"), SharedResource[Conn])
    assert_type(producer.channel.resources(), tuple[SharedResource[Conn], ...])
    assert_type(producer.managed("t"), Lease[Conn])
    assert_type(producer.choosy("t", timeout=2.0), Lease[Conn])
    assert_type(producer.any_keyword(fast=True), Lease[Conn])
    assert_type(producer.by_lambda(), Lease[int])
    assert_type(Producer.feed, ResourceMethod[[], Conn])
    assert_type(heir.feed(), Lease[FastConn])
    assert_type(heir.channel("t"), Lease[Conn])
    assert_type(abstract.feed(), Lease[Conn])
    assert_type(Box(3).hold(), Lease[int])
    assert_type(Box("x").hold.resource(), SharedResource[str])
    # Holes: of which `Box` it is a method nobody asks; and pyright compares protocols with what is on the class.
    assert_type(Box("x").add(3), Lease[int])
    takes_feeding(producer)  # pyright: ignore[reportArgumentType]


def refused_methods(producer: Producer) -> None:
    """Mistakes with methods."""
    producer.channel()  # type: ignore[call-arg]  # the argument is missing
    producer.channel(1)  # type: ignore[arg-type]  # of the wrong type
    producer.channel("t", qo=1)  # type: ignore[call-arg]  # a typo
    producer.feed(1)  # type: ignore[call-arg]  # there are no arguments
    producer.any_keyword(fast=1)  # type: ignore[arg-type]  # of the wrong type
    producer.feed.resorces()  # type: ignore[attr-defined]  # a typo
    producer.fed()  # type: ignore[attr-defined]  # a typo
    with producer.feed:  # type: ignore[attr-defined]  # `with producer.feed():`
        pass
    with Producer.feed:  # type: ignore[attr-defined]  # neither called nor of an instance
        pass
    Producer.feed()  # type: ignore[operator]  # it is called on an instance
    Producer.feed.resources()  # type: ignore[attr-defined]  # it has resources on an instance
    producer.feed = 3  # type: ignore[assignment]  # a method is not assigned


async def refused_asynchronous_methods(producer: Producer) -> None:
    """What is for threads is not for tasks."""
    async with producer.channel("t"):  # type: ignore[attr-defined]  # `with`
        pass
    async with producer.feed:  # type: ignore[attr-defined]  # `with`, and called
        pass


def function_without_instance() -> Generator[Conn]:
    """Take nothing."""
    yield Conn()


def refused_as_methods() -> None:
    """What is no method."""
    refcounted_method(function_without_instance)  # type: ignore[arg-type]  # it takes no instance
    refcounted_method(forgot_to_yield)  # type: ignore[arg-type]  # it does not yield
    refcounted_method(coroutine)  # type: ignore[arg-type]  # it is asynchronous
    refcounted_method(3)  # type: ignore[call-overload]  # not callable


class WrongHeir(Producer):
    """Overrides with what does not fit."""

    @refcounted_method
    def feed(self) -> Generator[str]:  # type: ignore[override]  # it gives something else
        yield "x"

    @refcounted_method
    def channel(self) -> Generator[Conn]:  # type: ignore[override]  # it takes something else
        yield Conn()


class WrongMethod:
    """Options that do not fit."""

    @refcounted_method(check=is_text)  # type: ignore[arg-type]  # it takes something else
    def feed(self) -> Generator[Conn]:
        yield Conn()

    @refcounted_method(key=by_number)  # type: ignore[arg-type]  # it takes other arguments
    def channel(self, topic: str) -> Generator[Conn]:
        yield Conn()
