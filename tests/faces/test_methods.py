"""`refcounted_method`: resources of its own for each instance, found by attribute access."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import math
import pickle
import pydoc
import sys
import threading
import typing
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import pytest

from refcount import (
    CapacityError,
    ClosedError,
    Lease,
    ResourceFunction,
    ResourceMethod,
    SharedResource,
    refcounted_method,
    refcounted_resource,
)
from refcount.testing import ManualClock
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.watched import WAIT, own_timers, until

T = TypeVar("T")

share: Any = refcounted_method
"""For what the checkers refuse."""


class Producer:
    """Feeds topics; remembers what it did."""

    def __init__(self, name: str = "producer") -> None:
        self.name = name
        self.log: list[str] = []

    @refcounted_method
    def feed(self, topic: str = "news", *, limit: int = 1) -> Generator[str]:
        """Feed a topic."""
        self.log.append(f"+{topic}")
        yield f"{self.name} {topic} {limit}"
        self.log.append(f"-{topic}")

    @refcounted_method(linger=10.0)
    def line(self) -> Generator[list[int]]:
        """Keep a line open."""
        self.log.append("+line")
        yield []
        self.log.append("-line")

    @refcounted_method
    @contextmanager
    def managed(self, number: int) -> Generator[int]:
        """Manage a context."""
        yield number


class Loud(Producer):
    """Overrides a method."""

    @refcounted_method
    def feed(self, topic: str = "news", *, limit: int = 1) -> Generator[str]:
        """Feed a topic loudly."""
        with super().feed(topic, limit=limit) as feed:
            self.log.append("+loud")
            yield feed.upper()
            self.log.append("-loud")


class Heir(Producer):
    """Inherits everything."""


# --- Instances ------------------------------------------------------------------------------------------------------


def test_each_instance_has_resources_of_its_own() -> None:
    """The same method of two instances is two resources; of one instance and equal arguments, it is one."""
    one, other = Producer("one"), Producer("other")
    with one.feed() as first, one.feed(topic="news", limit=1) as second, other.feed() as third:
        assert first is second
        assert (first, third) == ("one news 1", "other news 1")
    assert one.log == other.log == ["+news", "-news"]


def test_arguments_are_keys_for_each_instance() -> None:
    """The instance is no part of them."""
    producer = Producer()
    resource = producer.feed.resource("a")
    assert producer.feed.resource(topic="a", limit=1) is resource
    assert producer.feed.resource("b") is not resource
    assert Producer().feed.resource("a") is not resource
    assert resource.name == "Producer.feed('a')"


def test_an_instance_has_the_whole_surface() -> None:
    """`producer.feed` is a `ResourceFunction`: it is called, and has `resource`, `close` and the rest."""
    producer, other = Producer(), Producer()
    feed = producer.feed
    assert isinstance(feed, ResourceFunction)
    assert isinstance(feed(), Lease)
    assert isinstance(feed.resource(), SharedResource)
    assert feed.capacity is None
    with producer.feed("a"), other.feed("b"):
        assert [resource.name for resource in producer.feed.resources()] == ["Producer.feed('a')"]
    feed.close()
    with pytest.raises(ClosedError, match=r"Producer\.feed is closed"):
        producer.feed()
    with other.feed():
        assert len(other.feed.resources()) == 1


def test_the_class_gives_the_descriptor() -> None:
    """It shows the method's signature with the instance, and is called with it, as `Base.feed(self)` is."""
    method = Producer.feed
    assert isinstance(method, ResourceMethod)
    assert method is Producer.__dict__["feed"]
    assert repr(method) == str(method) == "<ResourceMethod Producer.feed>"
    with pytest.raises(TypeError, match=r"Producer\.feed is a method: get it from an instance, and call that"):
        cast("Any", method)()
    producer = Producer()
    with cast("Any", method)(producer, "a") as value, producer.feed("a") as same:
        assert value is same


def test_an_idle_instance_is_not_kept_alive() -> None:
    """Neither by having looked at the method, nor by having used it."""
    producer = Producer()
    gone = weakref.ref(producer)
    assert producer.feed.resources() == ()
    with producer.feed(), producer.managed(3):
        pass
    del producer
    gc.collect()
    assert gone() is None


def test_an_instance_in_use_is_kept_alive() -> None:
    """Its method has to run on to stop; then it goes."""
    with ManualClock() as clock:
        producer = Producer()
        log, gone = producer.log, weakref.ref(producer)
        with producer.line():
            pass
        del producer
        gc.collect()
        assert gone() is not None
        clock.advance(10.0)
        assert log == ["+line", "-line"]
        gc.collect()
        assert gone() is None


def test_an_instance_may_keep_its_own_resource() -> None:
    """They go together: nothing of ours keeps either."""
    producer = Producer()
    vars(producer)["kept"] = [producer.feed.resource("a"), producer.feed]
    gone = weakref.ref(producer)
    del producer
    gc.collect()
    assert gone() is None


def test_a_lease_that_its_own_instance_keeps_is_lost_with_it() -> None:
    """Rule 14: nothing of ours keeps them while it runs, and it is reported."""
    with own_timers(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        producer = Producer("one")
        log, gone = producer.log, weakref.ref(producer)
        vars(producer)["leases"] = [producer.feed.resource("a").acquire(), producer.line.resource().acquire()]
        assert log == ["+a", "+line"]
        del producer
        gc.collect()
        until(lambda: len(caught) == 2, "two reports")
        until(lambda: gone() is None, "the end of the instance")
    assert sorted(str(warning.message).partition(" was never released")[0] for warning in caught) == [
        "a lease of Producer.feed('a')",
        "a lease of Producer.line()",
    ]


def test_a_bound_method_keeps_its_instance() -> None:
    """As any bound method does."""
    feed = Producer("temporary").feed
    gc.collect()
    with feed() as value:
        assert value == "temporary news 1"


@pytest.mark.parametrize("seed", range(4))
def test_first_accesses_share_when_shaken(seed: int) -> None:
    """However many threads look at the instance first at once, the method runs once."""
    producer = Producer()
    met = threading.Barrier(5, timeout=WAIT)

    def consume() -> str:
        with producer.feed("a") as value:
            met.wait()
            return value

    with shaken(seed):
        assert len(set(map(id, run_threads(*[consume] * 5)))) == 1
    assert producer.log == ["+a", "-a"]


# --- Kinds of classes -----------------------------------------------------------------------------------------------


class Slotted:
    """Has slots, and allows weak references."""

    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number

    @refcounted_method
    def feed(self) -> Generator[int]:
        """Feed the number."""
        yield self.number


class Mixin:
    """Has no slots of its own, and leaves it to others to allow weak references."""

    __slots__ = ()

    @refcounted_method
    def feed(self) -> Generator[int]:
        """Feed a number."""
        yield 7


class Mixed(Mixin):
    """Has a dictionary, and so weak references."""


class Closed(Mixin):
    """Has slots that do not do."""

    __slots__ = ("number",)


@dataclass(slots=True, weakref_slot=True)
class Point:
    """Is made twice by its decorator, has slots, is equal to others and not hashable."""

    x: int

    @refcounted_method
    def feed(self) -> Generator[int]:
        """Feed the coordinate."""
        yield self.x


@dataclass(slots=True)
class Stiff:
    """A data class that does not do."""

    x: int

    @refcounted_method
    def feed(self) -> Generator[int]:
        """Feed the coordinate."""
        yield self.x


class Box(Generic[T]):
    """Is generic."""

    def __init__(self, content: T) -> None:
        self.content = content

    @refcounted_method
    def hold(self) -> Generator[T]:
        """Hold the content."""
        yield self.content


class Abstract(ABC):
    """Leaves the method to others."""

    @refcounted_method
    @abstractmethod
    def feed(self) -> Iterator[int]:
        """Feed a number."""
        yield 0


class Concrete(Abstract):
    """Writes it."""

    @refcounted_method
    def feed(self) -> Iterator[int]:
        """Feed a number."""
        yield 1


@pytest.mark.parametrize(
    ("instance", "value"),
    [(Slotted(3), 3), (Mixed(), 7), (Point(5), 5), (Concrete(), 1)],
    ids=lambda thing: str(thing)[:9],
)
def test_classes_that_allow_weak_references(instance: Any, value: int) -> None:
    """With or without a dictionary, hashable or not."""
    with instance.feed() as first, instance.feed() as second:
        assert first == second == value
        assert instance.feed.resource().usecount == 2


@pytest.mark.parametrize(
    ("instance", "name"), [(Closed(), "Mixin.feed"), (Stiff(1), "Stiff.feed")], ids=["slots", "data"]
)
def test_classes_that_do_not_are_told_what_is_missing(instance: Any, name: str) -> None:
    """The error names the method, the class and the remedy."""
    kind = type(instance).__qualname__
    with pytest.raises(TypeError, match=rf"{name} needs weak references to the instances of {kind}: add '__weakref__'"):
        instance.feed()


def test_generic_classes() -> None:
    """The value is the instance's."""
    with Box("text").hold() as text, Box([1]).hold() as numbers:
        assert (text, numbers) == ("text", [1])


def test_equal_instances_do_not_share() -> None:
    """Instances are told apart by identity, whatever their `__eq__` says."""
    one, other = Point(1), Point(1)
    assert one == other
    with one.feed():
        assert other.feed.resources() == ()


def test_abstract_methods_stay_abstract() -> None:
    """The class cannot be made."""
    with pytest.raises(TypeError, match="abstract"):
        Abstract()  # type: ignore[abstract]  # that is the point


# --- Inheritance ----------------------------------------------------------------------------------------------------


def test_a_subclass_inherits_the_method() -> None:
    """Its instances have resources like any other."""
    heir = Heir("heir")
    with heir.feed() as value:
        assert value == "heir news 1"
        assert Heir.feed is Producer.feed


def test_an_override_and_the_overridden_are_two() -> None:
    """`super().feed()` holds the base's resource, which others may share; each starts and stops once."""
    loud = Loud("loud")
    with loud.feed() as value, loud.feed() as again:
        assert value == again == "LOUD NEWS 1"
        assert [resource.name for resource in loud.feed.resources()] == ["Loud.feed()"]
        base: ResourceFunction[..., str] = super(Loud, loud).feed
        with base("news", limit=1) as quiet:
            assert quiet == "loud news 1"
            assert base.resource("news", limit=1).usecount == 2
    assert loud.log == ["+news", "+loud", "-loud", "-news"]


def test_a_plain_override_replaces_it() -> None:
    """A property, say, in a subclass."""

    class Fixed(Producer):
        @property
        def feed(self) -> str:  # type: ignore[override]  # that is the point
            return self.name

    assert Fixed("fixed").feed == "fixed"


# --- What it looks like, copies and pickles -------------------------------------------------------------------------


def test_it_looks_like_a_method() -> None:
    """On the class and on an instance."""
    producer = Producer()
    method: Any = Producer.feed  # no checker takes it for something to call
    assert producer.feed.__name__ == "feed"
    assert producer.feed.__doc__ == Producer.feed.__doc__ == "Feed a topic."
    assert list(inspect.signature(method).parameters) == ["self", "topic", "limit"]
    assert list(inspect.signature(producer.feed).parameters) == ["topic", "limit"]
    for function in (producer.feed, Producer.feed, producer.managed):
        assert not inspect.isgeneratorfunction(function)
    assert [ask(producer.feed) for ask in (inspect.ismethod, inspect.isroutine)] == [True, True]
    assert [ask(Producer.feed) for ask in (inspect.ismethod, inspect.isroutine)] == [False, True]
    assert repr(producer.feed) == "<ResourceFunction Producer.feed, 0 up, 0 held>"
    assert producer.feed == producer.feed
    assert producer.feed != Producer().feed
    assert len({producer.feed, producer.feed, producer.line, Producer().feed}) == 3
    shown = pydoc.plain(pydoc.render_doc(Producer))
    assert "feed(self, topic: 'str' = 'news'" in shown
    assert "Feed a topic." in shown
    assert ResourceMethod.__module__ == "refcount"


def pickled(thing: Producer) -> Producer:
    """Send it away and back."""
    there: Producer = pickle.loads(pickle.dumps(thing))
    return there


HOW: list[Callable[[Producer], Producer]] = [copy.copy, copy.deepcopy, pickled]
"""How an instance is copied."""


@pytest.mark.parametrize("how", HOW, ids=range(3))
def test_a_copied_instance_has_resources_of_its_own(how: Callable[[Producer], Producer]) -> None:
    """Nothing of ours is in the instance, also while its method is in use."""
    producer = Producer()
    with producer.feed():
        assert set(vars(producer)) == {"name", "log"}
        twin = how(producer)
        assert twin.feed.resources() == ()
        with twin.feed() as value:
            assert value == "producer news 1"


def test_bound_methods_are_copied_and_pickled_as_such() -> None:
    """With their instance, as those of any class."""
    producer = Producer("one")
    assert copy.copy(producer.feed) == producer.feed
    twin, feed = copy.deepcopy((producer, producer.feed))
    assert feed == twin.feed != producer.feed
    far = pickle.loads(pickle.dumps(producer.feed))
    with far() as value:
        assert value == "one news 1"
    assert pickle.loads(pickle.dumps(Producer.feed)) is Producer.feed
    assert copy.deepcopy(Producer.feed) is Producer.feed


def test_a_weak_method() -> None:
    """`weakref.WeakMethod` finds the method as long as there is its instance."""
    producer = Producer()
    weak = weakref.WeakMethod(producer.feed)
    found: Any = weak()
    assert found == producer.feed
    with found("a") as value, producer.feed("a") as same:
        assert value is same
    assert found.__self__ is producer
    assert found.__func__ is Producer.feed
    del found, producer
    gc.collect()
    assert weak() is None


def test_it_has_what_its_function_has() -> None:
    """Attributes come from there, and a typo is told; none is set on what is made anew at each access."""
    feed: Any = Producer().feed
    assert feed.__annotations__ == {**Producer.feed.__wrapped__.__annotations__, "return": Lease[str]}
    assert {"capacity", "close", "resource", "resources", "__self__", "__wrapped__"} <= {*dir(feed)}
    assert inspect.unwrap(feed) is Producer.feed.__wrapped__
    with pytest.raises(AttributeError, match=r"<ResourceFunction Producer\.feed, .*> has no attribute 'resorces'"):
        feed.resorces()
    with pytest.raises(AttributeError):
        feed.colour = "red"
    with pytest.raises(AttributeError):  # as one that is copied before it is made
        object.__new__(type(Producer().feed)).resorces  # type: ignore[attr-defined]  # as if


def test_annotations_are_the_functions_whoever_asks_the_class() -> None:
    """Python leaves an empty dict on a class that is asked for its own, which must not hide those of the function."""

    @refcounted_resource
    def camera(index: int) -> Generator[str]:
        yield f"camera {index}"

    def shown(thing: Any) -> tuple[set[str], set[str]]:
        return {*thing.__annotations__}, {*inspect.unwrap(thing).__annotations__}

    things: list[object] = [camera, Producer.feed, Producer().feed]
    for thing in things:
        for cls in type(thing).__mro__:
            getattr(cls, "__annotations__", None)
        assert typing.get_type_hints(type(thing)) == {}
        mine, of_function = shown(thing)
        assert {"return"} < mine == of_function


def test_with_an_uncalled_method_says_to_call_it() -> None:
    """Both on an instance and on the class."""
    for thing in (Producer().feed, Producer.feed):
        with pytest.raises(TypeError, match=r"Producer\.feed is no context manager, .* write `with Producer\.feed"):
            thing.__enter__()  # type: ignore[union-attr]  # what a with-statement does


def test_a_second_name_is_another_way_to_the_same() -> None:
    """As for any method; also in another class, and when it is assigned after the class was made."""

    class Twice:
        @refcounted_method
        def feed(self) -> Generator[object]:
            """Feed something."""
            yield object()

        again = feed

    class Late:
        pass

    late: Any = Late
    late.feed = Twice.feed
    twice = Twice()
    with twice.feed() as first, twice.again() as second:
        assert first is second
    with late().feed() as value:
        assert type(value) is object


# --- Options and bad input ------------------------------------------------------------------------------------------


def test_options_are_for_each_instance() -> None:
    """Capacity, key, check, name: with parentheses."""

    def first_letter(topic: str) -> str:
        return topic[0]

    def short(feed: list[str]) -> bool:
        return len(feed) < 2

    class Choosy:
        @refcounted_method(linger=math.inf, check=short, name="choose", key=first_letter, capacity=1, when_full="raise")
        def feed(self, topic: str) -> Generator[list[str]]:
            """Feed a topic."""
            yield [topic]

    one, other = Choosy(), Choosy()
    assert one.feed.capacity == 1
    with one.feed("apple") as feed, one.feed("avocado") as same, other.feed("banana"):
        assert same is feed == ["apple"]
        with pytest.raises(CapacityError, match=r"choose\('b'\)"), one.feed("banana"):
            pass
        feed.append("too much")
        with pytest.raises(CapacityError):  # not fit any more, but still held: its slot is still taken
            one.feed.resource("banana").acquire()
    with one.feed("apple") as feed:
        assert feed == ["apple"]
    for choosy in (one, other):
        choosy.feed.close()


BAD_CALLS: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((1, 2), {}, r"Producer\.feed\(\) too many positional arguments"),
    ((), {"zoom": 1}, r"Producer\.feed\(\) got an unexpected keyword argument 'zoom'"),
    (([],), {}, r"Producer\.feed\(\) has no resource for topic=\[\]: unhashable"),
]
"""Calls that are refused, and how the error names what is wrong."""


@pytest.mark.parametrize(("args", "kwargs", "text"), BAD_CALLS, ids=range(len(BAD_CALLS)))
def test_bad_arguments_are_refused(args: Any, kwargs: Any, text: str) -> None:
    """The error names class, method, parameter and value."""
    with pytest.raises(TypeError, match=text):
        Producer().feed(*args, **kwargs)


def without_instance() -> Generator[int]:
    """Takes nothing at all."""
    yield 3


def only_keywords(*, number: int) -> Generator[int]:
    """Takes nothing by position."""
    yield number


async def asynchronous(self: object) -> None:
    """Is no resource."""


@refcounted_resource
def decorated(self: object) -> Generator[int]:
    """Is shared already."""
    yield 3


UNFIT: list[tuple[Any, str]] = [
    (3, "@refcounted_method decorates must be callable, not 3"),
    (without_instance, "needs a method, which takes its instance first; `without_instance` does not"),
    (only_keywords, "needs a method, which takes its instance first; `only_keywords` does not"),
    (asynchronous, "@refcounted_method needs an asynchronous generator function, .*`asynchronous` has no yield"),
    (decorated, "@refcounted_method needs a function that is not shared already; `decorated` is"),
    (Producer.feed, "needs a function that is not shared already; `Producer.feed` is"),
    (Producer, "@refcounted_method needs a function; `Producer` is a class"),
    (staticmethod(only_keywords), "@staticmethod must stand above @refcounted_method, not below it: `only_keywords`"),
    (Producer.__init__, "@refcounted_method needs a generator function, .*; `Producer.__init__` is neither"),
]
"""What is no method to share, and how the error names it."""


@pytest.mark.parametrize(("source", "text"), UNFIT, ids=range(len(UNFIT)))
@pytest.mark.parametrize("parentheses", [False, True])
def test_what_cannot_be_shared_is_refused(source: Any, text: str, parentheses: bool) -> None:
    """At decoration time, with an error that names the thing."""
    with pytest.raises(TypeError, match=text):
        share(name="x")(source) if parentheses else share(source)


@pytest.mark.parametrize("options", [{"capacity": 0}, {"linger": -1}, {"when_full": 3}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    """Before there is anything to decorate."""
    with pytest.raises(ValueError, match=next(iter(options))):
        share(**options)


def test_any_signature_that_takes_an_instance() -> None:
    """`*args` may be where the instance goes in; a partial may stand for a method."""

    def count(*args: object) -> Generator[int]:
        yield len(args)

    class Odd:
        loose = share(count)
        partial = share(functools.partial(count, 1))

    odd = Odd()
    with odd.loose(1, 2) as three, odd.partial(3) as also:
        assert (three, also) == (3, 3)


def test_a_lambda_may_be_a_method() -> None:
    """It cannot say what it returns; that is seen when it starts."""

    class Odd:
        three = refcounted_method(lambda self: nullcontext(3))

    with Odd().three() as value:
        assert value == 3


def test_what_is_got_from_an_instance_is_what_it_says_and_no_context_manager() -> None:
    """Its class is found where it says that it is; and only what a call of it gives can be entered."""

    class Producer:
        @refcounted_method
        def feed(self) -> Generator[int]:
            yield 1

    feed = Producer().feed
    assert isinstance(feed, ResourceFunction)
    assert getattr(sys.modules[type(feed).__module__], type(feed).__qualname__) is type(feed)
    for thing in (feed, Producer.feed):
        assert not isinstance(thing, AbstractContextManager | AbstractAsyncContextManager)
    assert isinstance(feed(), AbstractContextManager)
