"""What checkers infer of `refcounted_resource` and `refcounted_method`, and what they refuse. Never run.

One `# type: ignore[code]` stands for an error of both mypy and pyright; both tell when it is not needed any more.
"""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar, assert_type

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
    assert_type(db.capacity, float | None)
    assert_type(db.usecount, int)
    assert_type(db.flush(), bool)
    db.invalidate()
    db.abandon()
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
    assert_type(widened("x"), Lease[Conn])  # pyright: ignore[reportAssertTypeFailure]


def refused_options() -> None:
    """Mistakes in options."""
    refcounted_resource(opens, check=is_text)  # type: ignore[arg-type]  # it takes something else
    refcounted_resource(key=3)  # type: ignore[call-overload]  # it cannot be called
    refcounted_resource(opens, key=3)  # type: ignore[call-overload]  # it cannot be called
    refcounted_resource(opens, weight="heavy", capacity=3)  # type: ignore[call-overload]  # it cannot be called
    refcounted_resource(name=3)  # type: ignore[call-overload]  # neither a text nor a function
    # A hole of mypy's: a lambda has no types here, and what lets it pass lets every function pass.
    refcounted_resource(check=is_text)(opens)  # pyright: ignore[reportArgumentType, reportCallIssue]
    # Holes, which the run time sees: a key, a weight and a name that take other arguments; a capacity that is no whole
    # number, though nothing is weighed; and what is for functions alone.
    refcounted_resource(opens, key=by_number)
    refcounted_resource(key=by_number)(opens)
    refcounted_resource(capacity=1.5)
    refcounted_resource(Fit, capacity=3)
    refcounted_resource(capacity=3)(Fit)
    refcounted_resource(opens, lingr=3.0)  # type: ignore[call-overload]  # a typo
    refcounted_resource(lingr=3.0)  # type: ignore[call-overload]  # a typo
    refcounted_resource(linger="3")  # type: ignore[call-overload]  # seconds are a number
    refcounted_resource(capacity="3")  # type: ignore[call-overload]  # a number
    refcounted_resource(exclusive="yes")  # type: ignore[call-overload]  # yes or no
    refcounted_resource(at_exit="run")  # type: ignore[call-overload]  # "stop" or "leave"
    refcounted_resource(when_full="panic")  # type: ignore[call-overload]  # "wait" or "raise"


# --- What can be decorated ------------------------------------------------------------------------------------------


def forgot_to_yield(url: str) -> Conn:
    """Return."""
    return Conn()


async def coroutine(url: str) -> Conn:
    """Return later."""
    return Conn()


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
    refcounted_resource(coroutine)  # type: ignore[arg-type]  # it is awaited
    refcounted_resource(opens("x"))  # type: ignore[call-overload]  # a generator, not the function
    refcounted_resource(3)  # type: ignore[call-overload]  # not callable
    refcounted_resource(Unfit)  # type: ignore[type-var]  # it cannot be entered
    refcounted_resource(linger=1.0)(Unfit)  # type: ignore[type-var]  # it cannot be entered
    # A hole: a call of `db` gives a lease, which is a context manager; that it is shared already, the run time tells.
    assert_type(refcounted_resource(db)("x"), Lease[Conn])


# A lambda before the function has no types, but what is decorated has all the same.


@refcounted_resource(key=lambda url: url.lower())
def keyed_by_lambda(url: str) -> Generator[Conn]:
    """Have a key that takes what it gets."""
    yield Conn()


@refcounted_resource(key=lambda url, size: (url, size), capacity=2.5, weight=lambda url, size: size / 2)
def weighed_by_lambda(url: str, size: int = 1) -> Generator[Conn]:
    """Have a weight."""
    yield Conn()


@refcounted_resource(name=lambda url, **_: f"connection to {url}", exclusive=True, own_thread=True, at_exit="leave")
def named_by_lambda(url: str, *, password: str) -> Generator[Conn]:
    """Have a name."""
    yield Conn()


@refcounted_resource(key=tuple, name=str)
def keyed_by_class(parts: list[str]) -> Generator[Conn]:
    """Have a class for a key."""
    yield Conn()


@refcounted_resource(check=lambda conn: conn.alive)
def checked_by_lambda(url: str) -> Generator[Conn]:
    """Have a check of what is not known yet."""
    yield Conn()


@refcounted_resource(check=lambda conn: conn.alive, key=lambda url: url)
def checked_and_keyed_by_lambda(url: str) -> Generator[Conn]:
    """Have both."""
    yield Conn()


# A hole of pyright's strict mode: it wants the types of `*args` in a lambda.
@refcounted_resource(key=lambda *args: args[0])  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
def keyed_by_loose_lambda(url: str) -> Generator[Conn]:
    """Have a key that takes anything."""
    yield Conn()


# The same: and those of what is by keyword only.
@refcounted_resource(key=lambda url, *, size: url)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
def keyed_by_keyword_lambda(url: str, *, size: int = 1) -> Generator[Conn]:
    """Have a key that takes something by keyword only."""
    yield Conn()


def lambdas() -> None:
    """Values and parameters are exact, whatever the options are."""
    assert_type(keyed_by_lambda("x"), Lease[Conn])
    assert_type(weighed_by_lambda("x", size=2), Lease[Conn])
    assert_type(named_by_lambda("x", password="y"), Lease[Conn])
    assert_type(keyed_by_class(["x"]), Lease[Conn])
    assert_type(checked_by_lambda("x"), Lease[Conn])
    assert_type(checked_and_keyed_by_lambda("x"), Lease[Conn])
    assert_type(keyed_by_loose_lambda("x"), Lease[Conn])
    keyed_by_lambda(3)  # type: ignore[arg-type]  # of the wrong type
    checked_by_lambda(3)  # type: ignore[arg-type]  # of the wrong type
    named_by_lambda("x")  # type: ignore[call-arg]  # the argument is missing


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

    @refcounted_method(check=lambda conn: conn.alive, key=lambda url: url.lower(), exclusive=True)
    def by_lambdas(self, url: str) -> Generator[Conn]:
        yield Conn()

    @refcounted_method
    def itself(self) -> Generator[Self]:
        yield self

    @refcounted_method
    @classmethod
    def common(cls, topic: str) -> Generator[Conn]:
        yield Conn()

    @refcounted_method(linger=1.0)
    @classmethod
    def made(cls) -> Iterator[Self]:
        yield cls()


class Heir(Producer):
    """Overrides one of them."""

    @refcounted_method
    @override
    def feed(self) -> Generator[FastConn]:
        with super().feed() as conn:
            assert_type(conn, Conn)
            yield FastConn()


class OtherHeir(Producer):
    """`@override` may stand above as well."""

    @override
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


class AbstractFeeding(ABC):
    """Leaves it to others, and says only what comes of it."""

    @abstractmethod
    def feed(self) -> AbstractContextManager[Conn]: ...


class ConcreteFeeding(AbstractFeeding):
    """A hole of pyright's: what overrides a method must be one to it, whatever it can do."""

    @refcounted_method
    def feed(self) -> Iterator[Conn]:  # pyright: ignore[reportIncompatibleMethodOverride]
        yield Conn()


class DelegatingFeeding(AbstractFeeding):
    """What both take."""

    @refcounted_method
    def _feed(self) -> Iterator[Conn]:
        yield Conn()

    @override
    def feed(self) -> Lease[Conn]:
        return self._feed()


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
    assert_type(producer.by_lambdas("x"), Lease[Conn])
    assert_type(producer.itself(), Lease[Producer])
    assert_type(heir.itself(), Lease[Heir])
    with heir.itself() as me:
        assert_type(me, Heir)
    assert_type(Producer.common("t"), Lease[Conn])
    assert_type(producer.common(topic="t"), Lease[Conn])
    assert_type(Producer.made(), Lease[Producer])
    assert_type(Heir.made(), Lease[Heir])
    assert_type(Producer.feed, ResourceMethod[[], Conn])
    assert_type(heir.feed(), Lease[FastConn])
    assert_type(heir.channel("t"), Lease[Conn])
    assert_type(abstract.feed(), Lease[Conn])
    assert_type(Box(3).hold(), Lease[int])
    assert_type(Box("x").hold.resource(), SharedResource[str])
    takes_feeding(producer)
    # A hole: of which `Box` it is a method nobody asks.
    assert_type(Box("x").add(3), Lease[int])


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
    Producer.common(3)  # type: ignore[arg-type]  # of the wrong type
    Producer.feed.resources()  # type: ignore[attr-defined]  # it has resources on an instance
    producer.feed = 3  # type: ignore[assignment]  # a method is not assigned


async def refused_asynchronous_methods(producer: Producer) -> None:
    """What is for threads is not for tasks."""
    async with producer.channel("t"):  # type: ignore[attr-defined]  # `with`
        pass
    async with producer.feed:  # type: ignore[attr-defined]  # `with`, and called
        pass


class Shelf:
    """Has it the other way round, which works, but no checker sees it: they bind nothing but functions."""

    @classmethod
    @refcounted_resource
    def shared(cls, topic: str) -> Generator[Conn]:
        yield Conn()


Shelf.shared("t")  # type: ignore[arg-type, call-arg]  # `@refcounted_method` above `@classmethod`


def function_without_instance() -> Generator[Conn]:
    """Take nothing."""
    yield Conn()


def refused_as_methods() -> None:
    """What is no method."""
    refcounted_method(function_without_instance)  # type: ignore[arg-type]  # it takes no instance
    refcounted_method(forgot_to_yield)  # type: ignore[arg-type]  # it does not yield
    refcounted_method(coroutine)  # type: ignore[arg-type]  # it is awaited
    refcounted_method(3)  # type: ignore[call-overload]  # not callable


class WrongHeir(Producer):
    """Overrides with what does not fit."""

    @refcounted_method
    def feed(self) -> Generator[str]:  # type: ignore[override]  # it gives something else
        yield "x"

    @refcounted_method
    def channel(self) -> Generator[Conn]:  # type: ignore[override]  # it takes something else
        yield Conn()


def opens_channel(self: object, topic: str) -> Generator[Conn]:
    """Fit as a method."""
    yield Conn()


class WrongMethod:
    """Options that do not fit."""

    # Holes of mypy's, as above.

    @refcounted_method(check=is_text)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
    def feed(self) -> Generator[Conn]:
        yield Conn()

    channel = refcounted_method(opens_channel, check=is_text)  # type: ignore[arg-type]  # it takes something else
    keyed = refcounted_method(opens_channel, key=3)  # type: ignore[call-overload]  # it cannot be called
