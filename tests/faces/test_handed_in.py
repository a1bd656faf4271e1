"""What is handed in is looked at when it is handed in, and what is written in the wrong place says what to write."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Any

import pytest

from refcount import (
    RefcountedExecutor,
    RefcountedValue,
    Refcounter,
    SharedResource,
    StoppableThread,
    WorkerGroup,
    demand,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
)

share: Any = refcounted_resource
share_method: Any = refcounted_method
untyped_of: Any = SharedResource.of


def camera(index: int, size: int = 1, *, mode: str = "still") -> Generator[object]:
    """Take some by position, one by keyword."""
    yield object()


def nothing() -> Generator[object]:
    """Take nothing."""
    yield object()


def anything(*args: object, **kwargs: object) -> Generator[object]:
    """Take anything."""
    yield object()


def only_by_position(a: int, b: int = 2, /) -> Generator[object]:
    """Take nothing by keyword."""
    yield object()


# --- Functions of the arguments -------------------------------------------------------------------------------------


def function(text: str) -> Any:
    """Make a lambda, of which no checker need know more."""
    return eval(f"lambda {text}")


class Noting:
    """A function that notes what it made."""

    def __init__(self, text: str) -> None:
        self.made: list[object] = []
        self._function = function(text)
        functools.update_wrapper(self, self._function)

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.made.append(self._function(*args, **kwargs))
        return self.made[-1]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("*args, **kwargs: (args, *kwargs.items())", ((1, 1), ("mode", "still"))),
        ("index, size=5, *, mode='other': (index, size, mode)", (1, 1, "still")),
        ("i, *_, **__: i", 1),
        ("i, s, *, mode: s + 1", 2),
        # Where it cannot take them by position, it gets them by name.
        ("index, **_: index", 1),
        ("*, mode, **_: mode", "still"),
        ("**all: all['size'] + 2", 3),
    ],
)
def test_a_key_gets_the_same_however_the_call_is_spelled(text: str, made: object) -> None:
    """All arguments, the function's own defaults included."""
    key = Noting(text)
    shared = share(camera, key=key)
    calls = [
        shared.resource(1),
        shared.resource(index=1),
        shared.resource(1, 1),
        shared.resource(mode="still", index=1),
    ]
    assert len({id(resource) for resource in calls}) == 1
    assert key.made == [made] * 4


@pytest.mark.parametrize("what", ["key", "weight", "name"])
@pytest.mark.parametrize(
    ("source", "text", "fits"),
    [
        (camera, "index: index", False),
        (camera, ": 3", False),
        (camera, "index, size: index", False),
        (camera, "index, size, mode, zoom: index", False),
        (camera, "index, size, *, mode, zoom: index", False),
        (camera, "index, size, *, mode: index", True),
        (camera, "i, s, *, mode, zoom=2: i", True),
        (camera, "i, s, mode: i", True),
        (camera, "*args, **kwargs: 1", True),
        (only_by_position, "a: a", False),
        (only_by_position, "a, **kwargs: a", False),
        (only_by_position, "x, y: x", True),
        (anything, ": 1", True),
        (anything, "a, b, c: 1", True),
        (anything, "*, a: 1", True),
    ],
)
def test_what_can_never_take_the_arguments_is_refused(what: str, source: Any, text: str, fits: bool) -> None:
    """At decoration, with both signatures in the error; of methods as well, less the instance."""

    def method(self: object, index: int, size: int = 1, *, mode: str = "still") -> Generator[object]:
        yield object()

    options = {"capacity": 100, what: function(text)}
    decorators = [functools.partial(share, source, **options)]
    if source is camera:
        decorators.append(functools.partial(share_method, method, **options))
    for decorate in decorators:
        if fits:
            decorate()
        else:
            with pytest.raises(TypeError, match=rf"^{what} is called as .*\(.*\) is, and `.*` takes \(.*\): "):
                decorate()


def test_what_can_never_be_known_is_let_in() -> None:
    """Of some builtins nobody knows what they take; partials take what is left."""
    share(camera, key=max)
    share(camera, key=functools.partial(function("x, index, size, *, mode: 1"), 2))
    with pytest.raises(TypeError, match="key is called as camera"):
        share(camera, key=functools.partial(function("x, index: 1"), 2))


async def later(*args: object) -> Any:
    """Be awaited."""


@pytest.mark.parametrize("what", ["key", "weight", "name"])
@pytest.mark.parametrize("decorator", [share, share_method])
def test_asynchronous_functions_are_refused(what: str, decorator: Any) -> None:
    """Nobody would wait for them."""
    for function in (later, functools.partial(later, 1)):
        with pytest.raises(TypeError, match=rf"{what}.* must not be asynchronous.*: `later` is"):
            decorator(capacity=1, **{what: function})
    with pytest.raises(TypeError, match=f"{what}.* must be .*not 3"):
        decorator(capacity=1, **{what: 3})


@pytest.mark.parametrize("decorator", [share, share_method])
def test_a_check_that_takes_something_else_is_refused(decorator: Any) -> None:
    """Each newcomer would invalidate what others hold."""
    for check in (function(": True"), function("self, value: True")):
        with pytest.raises(TypeError, match="check is called with the value, and "):
            decorator(check=check)


def test_what_gives_leases_is_no_factory() -> None:
    """Its value would be a lease that nobody has entered."""

    class Hub:
        feed = refcounted_method(lambda self: nullcontext(3))

    for giving in (refcounted_resource(nothing), Hub().feed):
        with pytest.raises(TypeError, match=r"must make the value: <ResourceFunction .*> is shared already, and gives"):
            SharedResource.of(giving)


def test_unhashable_arguments_are_told_the_way_out() -> None:
    """With the value shortened."""

    class Frame:
        __hash__ = None  # type: ignore[assignment]  # that is the point

        def __repr__(self) -> str:
            return "0 1\n" * 1000

    shared = share(camera)
    with pytest.raises(TypeError, match=r"no resource for index=\[1\]: unhashable .*; pass a tuple, or give key=$"):
        shared([1])
    with pytest.raises(TypeError, match=r"index=0 1 .*; pass a tuple, or give key=$") as raised:
        shared(Frame())
    assert len(str(raised.value)) < 150
    with pytest.raises(TypeError, match=r"no resource for the key \[1\]: unhashable .*; return a tuple, say$"):
        share(camera, key=function("*args, **kwargs: [1]"))(1)


# --- What does nothing -----------------------------------------------------------------------------------------------


def gen(*args: object) -> Generator[object]:
    """Run nothing when it is called."""
    yield args


class Gen:
    """The same as a callable object, and as a method."""

    def __call__(self, *args: object) -> Generator[object]:
        yield args

    def method(self, *args: object) -> Generator[object]:
        """Be a method."""
        yield args

    @refcounted_method
    def shared(self) -> Generator[object]:
        """Be one that gives leases."""
        yield self


class Later:
    """Entered by `async with` only."""

    async def __aenter__(self) -> Later:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass


GENERATORS = (gen, functools.partial(gen, 1), Gen(), Gen().method)
LEASES: tuple[Any, ...] = (share(nothing), untyped_of(list), Gen().shared, Gen.shared)
IDLE: list[tuple[Any, str]] = [
    *((thing, "is a generator function, of which a call alone runs nothing") for thing in GENERATORS),
    (contextmanager(gen), "is wrapped by contextmanager, of which a call alone runs nothing"),
    *((thing, "gives leases, of which a call alone runs nothing") for thing in LEASES),
]
untyped_demand: Any = demand
untyped_attribute: Any = refcounted_attribute
DOORS: dict[str, Callable[[Any], object]] = {
    "start": lambda f: untyped_of(list, start=f),
    "stop": lambda f: untyped_of(list, stop=f),
    "check": lambda f: untyped_of(list, check=f),
    "name of SharedResource": lambda f: untyped_of(list, name=f),
    "acquire": lambda f: untyped_demand("a", acquire=f),
    "release": lambda f: untyped_demand("a", release=f),
    "changed": lambda f: untyped_demand("a", changed=f),
    "what tells whether an instance demands": untyped_demand,
    "of a StoppableThread": StoppableThread,
    "of a WorkerGroup": WorkerGroup,
    "workers": RefcountedExecutor,
    "acquire ": lambda f: Refcounter(0, acquire=f),
    "release ": lambda f: RefcountedValue(1, 0, release=f),
    "observe": SharedResource.of(list).observe,
    "key": lambda f: share(camera, key=f),
    "weight": lambda f: share(camera, capacity=2, weight=f),
    "stop ": lambda f: untyped_attribute(list, stop=f),
}

OPENED: list[Callable[[Any], object]] = [SharedResource, lambda opener: untyped_demand("a", resource=opener)]


@pytest.mark.parametrize("door", DOORS)
def test_what_runs_nothing_is_refused(door: str) -> None:
    """Where something is meant to be done, or to be asked, when it is called."""
    for thing, text in IDLE:
        with pytest.raises(TypeError, match=rf"{door.strip()} must be a plain function, and .* {text}"):
            DOORS[door](thing)


@pytest.mark.parametrize("counter", [Refcounter, functools.partial(RefcountedValue, 1)])
def test_callbacks_of_counters_are_looked_at(counter: Any) -> None:
    """As all others are."""
    with pytest.raises(TypeError, match=r"acquire must not be asynchronous, .*`later` is"):
        counter(0, acquire=later)
    with pytest.raises(TypeError, match="release is called with nothing, and `ord` takes"):
        counter(0, release=ord)


@pytest.mark.parametrize(("factory", "opener"), [(gen, "contextmanager(gen)"), (contextmanager(gen), "gen")])
def test_a_factory_that_runs_nothing_is_told_what_to_write(factory: Any, opener: str) -> None:
    """As its value would be a generator, or a context manager that nobody enters."""
    with pytest.raises(TypeError, match=re.escape(f": write SharedResource({opener}), or @refcounted_resource")):
        untyped_of(factory)


def test_a_generator_function_is_no_opener() -> None:
    """The error says what to write, and comes at once."""
    opener: Any = nothing
    for make in OPENED:
        with pytest.raises(
            TypeError, match=r"`nothing` is a generator function: write contextmanager\(nothing\), or d"
        ):
            make(opener)


def test_what_is_only_entered_asynchronously_is_refused() -> None:
    """As an opener, and as a factory, whose value nobody would enter; that may be meant. A demand awaits it."""
    cls: Any = Later
    for make in (SharedResource, untyped_of, untyped_attribute):
        with pytest.raises(
            TypeError, match=r"is entered by a plain `with`, .* and `Later` is an asynchronous context m"
        ):
            make(cls)
    with SharedResource.of(lambda: Later())() as value:
        assert isinstance(value, Later)


# --- The wrong place ------------------------------------------------------------------------------------------------


def in_class(**attributes: object) -> Any:
    """Make a class; up to 3.11 Python puts an error of its own around what a descriptor raises."""
    try:
        return type("Hub", (), {"__module__": __name__, "__qualname__": "Hub", **attributes})
    except RuntimeError as error:
        raise error.__cause__ or error from None


def as_method(function: Any, name: str) -> Any:
    """Let a function look as if it had been written in the class."""
    function.__qualname__ = f"Hub.{name}"
    return function


def test_a_method_decorated_as_a_function_is_refused_when_its_class_is_made() -> None:
    """Whatever its instance is called, and whether it would have had a default; with the line to write instead."""

    def with_self(self: object, topic: str = "news") -> Generator[object]:
        yield self

    def with_this(this: object, topic: str = "news") -> Generator[object]:
        yield this

    for method in (with_self, with_this):
        for name in ("feed", "line"):
            shared = share(as_method(method, name))
            with pytest.raises(TypeError, match=rf"`Hub\.{name}` for an argument: write @refcounted_method instead"):
                in_class(**{name: shared})
    with_self.__qualname__ = "with_self"  # written outside, but meant for a class
    with pytest.raises(TypeError, match="write @refcounted_method instead"):
        in_class(feed=share(with_self))
    with pytest.raises(TypeError, match="write @refcounted_method instead"):
        in_class(feed=share(function("self: 3")))


def test_a_method_of_any_arguments_is_one() -> None:
    """The first of them is the instance."""

    def feed(*args: object) -> Generator[object]:
        yield args

    shared = share(as_method(feed, "feed"))
    with pytest.raises(TypeError, match=r"`Hub\.feed` for an argument: write @refcounted_method instead"):
        in_class(feed=shared)


def test_a_lease_is_no_asynchronous_context_manager() -> None:
    """Whoever enters it as one is told what to write, and `isinstance` says no."""
    lease: Any = share(camera)(3)

    async def enter() -> None:
        async with lease:
            pass

    with pytest.raises(TypeError, match=r"<Lease of camera\(3\), .*> is entered by a plain `with`; .*lease\.aio"):
        enter().send(None)
    assert not isinstance(lease, AbstractAsyncContextManager)
    assert not isinstance(lease, Awaitable)
    assert not callable(lease)


def test_what_is_no_method_may_stand_in_a_class() -> None:
    """What was written elsewhere, what takes nothing, and static and class methods."""

    def static(topic: str) -> Generator[str]:
        yield topic

    def of_class(cls: type, topic: str) -> Generator[str]:
        yield f"{topic} of {cls.__name__}"

    shared = share(camera)
    hub = in_class(
        camera=shared,
        nothing=share(as_method(functools.wraps(nothing)(lambda: nothing()), "nothing")),
        static=staticmethod(share(as_method(static, "static"))),
        of_class=classmethod(share(as_method(of_class, "of_class"))),
        partial=share(functools.partial(camera, 1)),
    )
    assert hub().camera is hub.camera is shared
    for owner in (hub, hub()):
        with owner.static("a") as one, owner.of_class("a") as two, owner.nothing(), owner.partial():
            assert (one, two) == ("a", "a of Hub")


def test_a_function_decorated_as_a_method_is_told_when_it_is_called() -> None:
    """Up to then it may still be put into a class."""

    def feed(topic: str) -> Generator[str]:
        yield topic

    shared = share_method(feed)
    for args in (("news",), ()):
        with pytest.raises(TypeError, match=r"feed is no method: decorate functions with @refcounted_resource"):
            shared(*args)


def test_a_static_method_decorated_as_a_method_is_told_when_it_is_called() -> None:
    """What it is called with has no such method."""

    def feed(topic: str) -> Generator[str]:
        yield topic

    hub = in_class(feed=staticmethod(share_method(as_method(feed, "feed"))))
    for owner in (hub, hub()):
        with pytest.raises(
            TypeError,
            match=r"feed is a method, and .* of the type str, is no instance of its class; under @staticmethod, write",
        ):
            owner.feed("news")


def test_fixtures_are_not_shared() -> None:
    """The function is, and a fixture enters it."""
    fixture: Any = pytest.fixture(camera)
    for decorator in (share, share_method):
        with pytest.raises(TypeError, match="cannot share a fixture: share the function, and write a fixture that"):
            decorator(fixture)


def test_a_class_method_below_is_told_of_the_decorator_for_it() -> None:
    """`@refcounted_method` takes it, `@refcounted_resource` does not."""

    def feed(cls: type) -> Generator[type]:
        yield cls

    with pytest.raises(TypeError, match=r"@classmethod must stand above .*; @refcounted_method may"):
        share(classmethod(feed))
    hub = in_class(feed=share_method(classmethod(feed)))
    with hub.feed() as value:
        assert value is hub
