"""`refcounted_method` on methods for tasks: the same bodies on every event loop."""

from __future__ import annotations

import abc
import copy
import gc
import inspect
import math
import pickle
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MethodType
from typing import Any, Self, cast

import pytest

from refcount import (
    AsyncLease,
    AsyncResourceFunction,
    AsyncResourceMethod,
    RefcountError,
    refcounted_method,
)
from tests.helpers.loops import Job, Run, checkpoint, run, settled, until

__all__ = ["run"]

untyped = cast("Callable[..., Any]", refcounted_method)
"""For what the type checkers refuse and the run time has to refuse as well."""


class Producer:
    """Has methods that are shared."""

    def __init__(self, name: str = "producer") -> None:
        self.name = name
        self.lines: list[str] = []
        self.lease: object = None

    @refcounted_method
    async def feed(self, topic: str = "news", *, qos: int = 0) -> AsyncGenerator[str]:
        """Give a feed."""
        await checkpoint()
        self.lines.append(f"start {topic}")
        yield f"{topic} of {self.name}"
        await checkpoint()
        self.lines.append(f"stop {topic}")

    @refcounted_method(linger=math.inf, capacity=1)
    @asynccontextmanager
    async def channel(self, number: int) -> AsyncGenerator[int]:
        """Be wrapped already."""
        self.lines.append(f"start {number}")
        yield number
        self.lines.append(f"stop {number}")

    @refcounted_method(per_loop=True)
    async def own(self) -> AsyncGenerator[Self]:
        """Be each event loop's own."""
        yield self

    @refcounted_method
    @classmethod
    async def common(cls, topic: str) -> AsyncGenerator[tuple[type[Producer], str]]:
        """Belong to the class."""
        yield cls, topic


class Heir(Producer):
    """Overrides one of them, and uses the one that it overrides."""

    @refcounted_method
    async def feed(self, topic: str = "news", *, qos: int = 0) -> AsyncGenerator[str]:
        async with super().feed(topic) as feed:
            yield f"better {feed}"


def test_each_instance_has_its_own(run: Run) -> None:
    """One resource for each instance and each distinct set of arguments."""
    one, other = Producer("one"), Producer("other")

    async def body() -> None:
        async with one.feed() as first, one.feed("news", qos=0) as same, other.feed() as another:
            assert first == same == "news of one"
            assert another == "news of other"
            assert one.feed.usecount == 2
            assert [resource.name for resource in other.feed.resources()] == ["Producer.feed()"]
        assert one.lines == other.lines == ["start news", "stop news"]

    run(body)


def test_concurrent_tasks_share_one_start(run: Run) -> None:
    """As with functions."""
    producer = Producer()

    async def consumer() -> None:
        async with producer.feed():
            await settled()

    async def body() -> None:
        for job in [Job(consumer) for _ in range(5)]:
            await job.result()
        assert producer.lines == ["start news", "stop news"]

    run(body)


def test_capacity_and_lingers_are_each_instances_own(run: Run) -> None:
    """What lingers makes room for another key of the same instance."""
    one, other = Producer(), Producer()

    async def body() -> None:
        async with one.channel(1), other.channel(1):
            pass
        async with one.channel(2):
            assert one.lines == ["start 1", "stop 1", "start 2"]
            assert other.lines == ["start 1"]
        assert await one.channel.flush()
        assert await other.channel.flush()
        assert not await other.channel.flush()

    run(body)


def test_class_methods(run: Run) -> None:
    """Each class has resources of its own."""

    async def body() -> None:
        async with Producer.common("x") as first, Producer().common("x") as same, Heir.common("x") as other:
            assert first is same
            assert first == (Producer, "x")
            assert other == (Heir, "x")
        assert isinstance(Producer.common, AsyncResourceFunction)

    run(body)


def test_super_and_unbound_calls(run: Run) -> None:
    """The method that overrides and the one that is overridden are two; both are called as any method is."""
    heir = Heir("heir")

    async def body() -> None:
        async with heir.feed() as feed:
            assert feed == "better news of heir"
            assert Producer.feed.__get__(heir).usecount == 1
        call: Any = Producer.feed
        async with call(heir, "sport") as feed:
            assert feed == "sport of heir"
        with pytest.raises(TypeError, match=r"is no instance of its class"):
            call(3)

    run(body)


def test_per_loop(run: Run) -> None:
    """Each event loop has one of its own."""
    producer = Producer()
    with pytest.raises(RefcountError, match="no event loop runs here"):
        producer.own()

    async def body() -> None:
        async with producer.own() as first, producer.own() as second:
            assert first is second is producer
            assert producer.own.usecount == 2
            assert producer.own.resource() in producer.own.resources()

    for _ in range(2):
        run(body, cycles=True)  # a loop, and what it owns, have each other


def test_nothing_keeps_an_idle_instance(run: Run) -> None:
    """One that is up keeps it, until it has stopped."""

    async def body() -> None:
        producer = Producer()
        weak = weakref.ref(producer)
        lease = await producer.feed().acquire()
        del producer
        gc.collect()
        assert weak()
        await lease.release()
        del lease
        await until(lambda: gc.collect() < 0 or not weak(), "the instance to be gone")

    run(body)


def test_a_lost_lease_is_given_back(run: Run) -> None:
    """With a warning, though it was the only thing that had the instance in hand."""

    async def body() -> None:
        lines = (producer := Producer()).lines
        lease = await producer.feed().acquire()
        assert lease.held
        del producer, lease
        gc.collect()
        with pytest.warns(ResourceWarning, match=r"a lease of Producer\.feed\(\) was never released"):
            await until(lambda: lines == ["start news", "stop news"])

    run(body)


def test_a_lease_that_the_instance_keeps_is_found_at_the_end_of_the_loop(run: Run) -> None:
    """Until then the task that is to stop the resource keeps the instance; then it is reported, and stopped."""
    lines: list[list[str]] = []

    async def body() -> None:
        producer = Producer()
        lines.append(producer.lines)
        producer.lease = await producer.feed().acquire()
        del producer
        gc.collect()
        await settled()
        assert lines == [["start news"]]

    with pytest.warns(
        ResourceWarning, match=r"Producer\.feed\(\) is still held at the end of its event loop, by 1 lease"
    ):
        run(body, up=True, cycles=True)
    assert lines == [["start news", "stop news"]]


def test_it_tells_the_truth_about_itself() -> None:
    """On an instance it reads as a bound method, and as an `AsyncResourceFunction`."""
    producer = Producer()
    feed = producer.feed
    assert isinstance(feed, AsyncResourceFunction)
    assert feed.__class__ is cast("object", MethodType)
    assert type(Producer.feed) is AsyncResourceMethod
    assert str(inspect.signature(feed)) == "(topic: 'str' = 'news', *, qos: 'int' = 0) -> refcount.AsyncLease[str]"
    assert feed.__annotations__["return"] == Producer.feed.__annotations__["return"] == AsyncLease[str]
    assert feed.__doc__ == "Give a feed."
    assert (feed.__name__, feed.__qualname__, feed.__module__) == ("feed", "Producer.feed", __name__)
    assert repr(feed) == "<AsyncResourceFunction Producer.feed, 0 up, 0 held>"
    assert repr(Producer.feed) == "<AsyncResourceMethod Producer.feed>"
    assert feed == producer.feed != Producer().feed
    assert not inspect.isasyncgenfunction(feed)
    assert not isinstance(feed, AbstractAsyncContextManager)
    assert weakref.WeakMethod(cast("Any", feed))() == feed
    copied = pickle.loads(pickle.dumps(producer)).feed
    assert copied.__self__.name == "producer"
    assert copy.deepcopy(cast("Any", feed)).__self__ is not producer
    with pytest.raises(AttributeError, match=r"each of its resources has, write `Producer\.feed\.resource"):
        _ = cast("Any", feed).acquire


class Slotted:
    """Has no dict."""

    __slots__ = ("__weakref__",)

    @refcounted_method
    async def feed(self) -> AsyncGenerator[int]:
        """Give three."""
        yield 3

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # it is unhashable


class Closed:
    """Allows no weak references."""

    __slots__ = ()

    @refcounted_method
    async def feed(self) -> AsyncGenerator[int]:
        """Give three."""
        yield 3


def test_slots(run: Run) -> None:
    """What is needed of a class with `__slots__` is said."""
    with pytest.raises(TypeError, match=r"add '__weakref__' to its __slots__"):
        Closed().feed()

    async def body() -> None:
        async with Slotted().feed() as value:
            assert value == 3

    run(body)


class Abstract(abc.ABC):
    """Is to be completed."""

    @refcounted_method
    @abc.abstractmethod
    def feed(self) -> AsyncGenerator[int]:
        """Give something."""


class Concrete(Abstract):
    """Completes it."""

    @refcounted_method
    async def feed(self) -> AsyncGenerator[int]:
        yield 3


def test_abstract_methods(run: Run) -> None:
    """They are for tasks by their annotation, and abstract."""
    assert isinstance(Abstract.feed, AsyncResourceMethod)
    with pytest.raises(TypeError, match="abstract"):
        cast("Any", Abstract)()

    async def body() -> None:
        async with Concrete().feed() as value:
            assert value == 3

    run(body)


async def without_instance() -> AsyncGenerator[int]:
    """Take nothing."""
    yield 3


async def coroutine(self: object) -> int:
    """Be awaited."""
    return 3


async def generator(self: object) -> AsyncGenerator[int]:
    """Be a method."""
    yield 3


UNFIT: list[tuple[Any, dict[str, Any], str]] = [
    (without_instance, {}, "needs a method, which takes its instance first; `without_instance` does not"),
    (coroutine, {}, "@refcounted_method needs an asynchronous generator function, .*`coroutine` has no yield"),
    (Producer.feed, {}, "needs a function that is not shared already; `Producer.feed` is"),
    (generator, {"own_thread": True}, "own_thread has no effect on `generator`, which is asynchronous"),
]


@pytest.mark.parametrize(("source", "options", "text"), UNFIT)
def test_what_cannot_be_shared_is_refused(source: Any, options: dict[str, Any], text: str) -> None:
    """At decoration time, with an error that names the thing."""
    with pytest.raises(TypeError, match=text):
        untyped(**options)(source)
