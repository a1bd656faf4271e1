"""Decorated things are what they say: to pickle and cloudpickle, to beartype, to whatever is decorated over them."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import pydoc
import types
import typing
import weakref
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any, cast

import pytest

from refcount import (
    Lease,
    ResourceFunction,
    ResourceMethod,
    SharedResource,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
    resource_of,
)
from tests.helpers.programs import run_program

cloudpickle: Any = import_module("cloudpickle")  # neither has types, or is installed for the checkers
beartype: Any = import_module("beartype").beartype
untyped_attribute: Any = refcounted_attribute


@refcounted_resource(linger=1.0, name="cam", key=lambda index, size: index)
def camera(index: int, size: int = 1) -> Generator[str]:
    """A camera."""
    yield f"camera {index}"


class Hub:
    """Has methods."""

    @refcounted_method
    def feed(self, topic: str) -> Generator[str]:
        """Feed a topic."""
        yield f"{topic} of {type(self).__name__}"

    @refcounted_method
    @classmethod
    def common(cls, topic: str) -> Iterator[str]:
        """Feed all."""
        yield f"{topic} of {cls.__name__}"

    @classmethod
    @refcounted_resource
    def shared(cls, topic: str) -> Iterator[str]:
        """Feed all."""
        yield f"{topic} of {cls.__name__}"


class Branch(Hub):
    """Inherits them."""


# --- What it is -----------------------------------------------------------------------------------------------------


def test_its_class_is_its_class() -> None:
    """It is no function, and has no code of its own; but it is a routine."""
    for thing in (camera, Hub.feed, vars(Hub)["common"]):
        assert thing.__class__ is type(thing)
        assert not isinstance(thing, types.FunctionType)
        assert not hasattr(thing, "__code__")
        assert "__code__" not in dir(thing)
        assert inspect.isroutine(thing)
        assert not inspect.isgeneratorfunction(thing)
    assert isinstance(camera, ResourceFunction)
    assert isinstance(Hub.feed, ResourceMethod)


def gives_nothing_known(index: int) -> Generator[int]:
    """Say nothing of it."""
    yield index


gives_nothing_known.__annotations__.clear()


@contextmanager
def managed(index: int) -> Generator[list[int]]:
    """Be a context manager."""
    yield [index]


def in_text(index: int) -> Generator[int]:
    """Give what is not there."""
    yield index


in_text.__annotations__["return"] = "collections.abc.Generator[NotHere, None, None]"


def as_manager(index: int) -> AbstractContextManager[int]:
    """Return one."""
    return nullcontext(index)


@pytest.mark.parametrize(
    ("source", "gives"),
    [
        (camera.__wrapped__, "refcount.Lease[str]"),
        (gives_nothing_known, "refcount.Lease"),
        (managed, "refcount.Lease[list[int]]"),
        (in_text, "refcount.Lease[ForwardRef('NotHere')]"),
        (as_manager, "refcount.Lease[int]"),
        (functools.partial(as_manager), "refcount.Lease"),
        (len, None),
    ],
)
def test_a_call_gives_a_lease_to_inspect_as_well(source: Any, gives: str | None) -> None:
    """Signature and annotations say so, as far as the function says what it yields."""
    shared: Any = refcounted_resource(source)
    if gives is None:
        assert "return" in shared.__annotations__
        return
    assert inspect.formatannotation(inspect.signature(shared).return_annotation) == gives
    assert inspect.formatannotation(shared.__annotations__["return"]) == gives
    if gives not in ("refcount.Lease", "refcount.Lease[ForwardRef('NotHere')]"):
        assert typing.get_type_hints(shared)["return"] == inspect.signature(shared).return_annotation
    assert "Lease" not in str(inspect.signature(source))


def test_help_says_what_there_is() -> None:
    """On what is decorated, and on its class; the docstring stays the user's own."""
    for thing, name in ((camera, "camera"), (Hub.feed, "feed"), (Hub, "feed")):
        page = pydoc.plain(pydoc.render_doc(thing))
        assert "-> refcount.Lease[str]" in page
        assert f"`{name}.resource(...)`" in page
        assert f"`{name}.resources()`, `.usecount`, `.flush()`" in page
    assert camera.__doc__ == inspect.getdoc(camera) == "A camera."


def test_who_makes_leases() -> None:
    """Their resource does, and nothing says how."""
    assert str(inspect.signature(Lease)) == "()"


@pytest.mark.parametrize("cls", [ResourceFunction, ResourceMethod])
def test_constructors_that_are_not_for_users_are_hidden(cls: type) -> None:
    """Users get these classes from decorators."""
    assert str(inspect.signature(cls)) == "()"
    page = pydoc.plain(pydoc.render_doc(cls))
    assert f"class {cls.__name__}(refcount" in page
    assert "__init__(self, source" not in page
    assert not any("__init__" in vars(base) for base in cls.__mro__ if base.__module__.startswith("refcount"))


def test_what_one_resource_has_and_the_family_has_not_is_told() -> None:
    """Who expects it there is told where it is."""
    for name in ("acquire", "state", "observe", "generation", "touch", "try_acquire", "wait_stopped", "inc"):
        for thing, path in ((camera, "camera"), (Hub().feed, r"Hub\.feed")):
            with pytest.raises(AttributeError, match=rf"'{name}': each of its .*`{path}\.resource\(\.\.\.\)\.{name}`"):
                getattr(thing, name)
    with pytest.raises(AttributeError, match=r"0 held> has no attribute 'colour'$"):
        camera.colour  # type: ignore[attr-defined]  # that is the point


def test_its_repr_counts_keys() -> None:
    """Up is what is not idle, held what has a lease."""
    hub = Hub()
    assert repr(hub.feed) == "<ResourceFunction Hub.feed, 0 up, 0 held>"
    with camera(0), camera(0), hub.feed("a"):
        with camera(1):
            assert repr(camera) == "<ResourceFunction cam, 2 up, 2 held>"
        assert repr(camera) == "<ResourceFunction cam, 2 up, 1 held>"
        assert repr(hub.feed) == "<ResourceFunction Hub.feed, 1 up, 1 held>"
    camera.flush()


# --- Copies and pickles ---------------------------------------------------------------------------------------------


def works(shared: Any, *args: object) -> object:
    """Return what it gives."""
    with shared(*args) as value:
        return cast("object", value)


def test_what_can_be_found_is_pickled_by_its_name() -> None:
    """By pickle and cloudpickle; so is a method, and what is bound, with its instance."""
    for module in (pickle, cloudpickle):
        for thing in (camera, Hub.feed):
            assert pickle.loads(module.dumps(thing)) is thing
        assert works(pickle.loads(module.dumps(Hub().feed)), "news") == "news of Hub"
        assert pickle.loads(module.dumps(Hub.common)) == Hub.common
    for copied in (copy.copy(camera), copy.deepcopy([camera])[0]):
        assert copied is camera


def test_cloudpickle_sends_what_is_local() -> None:
    """With its options, as it sends a local function; pickle refuses it, as it refuses that."""
    calls: list[int] = []

    @refcounted_resource(key=lambda index: index % 2, linger=0.5, capacity=3, name="local")
    def local(index: int) -> Generator[int]:
        calls.append(index)
        yield index + offset

    offset = 40
    there = pickle.loads(cloudpickle.dumps(local))
    assert type(there) is type(local)
    assert (there.capacity, there.__doc__, there.__name__) == (3, None, "local")
    with there(2) as value, there(4) as same:
        assert value == same == 42
    assert there.resource(3).name == "local(1)"
    assert not calls  # another one has been called
    there.close()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


MAIN = '''
import pickle, subprocess, sys
import cloudpickle
from refcount import refcounted_attribute, refcounted_method, refcounted_resource

@refcounted_resource(linger=0.01)
def camera(index):
    yield f"camera {index}"

class Hub:
    def __init__(self, name):
        self.name = name

    @refcounted_method(name="feeding")
    def feed(self, topic):
        yield f"{topic} of {self.name}"

    @refcounted_method
    @classmethod
    def common(cls):
        yield cls.__name__

    listed = refcounted_attribute(list, stop=list.clear)

    @refcounted_attribute
    def generated(self):
        yield self.name + "!"

LOAD = """
import pickle, sys
camera, hub, feed = pickle.load(sys.stdin.buffer)
with camera(1) as value, hub.feed("a") as one, feed("a") as same, hub.common() as name:
    with hub.listed() as of, hub.generated() as x:
        print(value, one, one is same, name, of, x, hub.listed, camera, hub.feed.resources()[0].name)
"""

if __name__ == "__main__":
    assert pickle.loads(pickle.dumps(camera)) is camera
    assert pickle.loads(pickle.dumps(Hub.feed)) is Hub.feed
    hub = Hub("x")
    hub.listed, hub.generated
    there = cloudpickle.dumps((camera, hub, hub.feed))
    print(subprocess.run([sys.executable, "-c", LOAD], input=there, capture_output=True))
'''


def test_cloudpickle_sends_what_is_in_main() -> None:
    """To a process that has another `__main__`; pickle finds it in this one."""
    ended = run_program(MAIN)
    text = "camera 1 a of x True Hub [] x! <SharedResource Hub.listed, running, usecount=1> "
    text += "<ResourceFunction camera, 1 up, 1 held> feeding('a')"
    assert text in ended.stdout, ended


def test_cloudpickle_breaks_nothing_that_is_here() -> None:
    """It gives the class that is there, and sets its attributes anew: what is in use stays in use, and is stopped."""
    done: list[str] = []

    @refcounted_resource
    class Local:
        listed: Any = untyped_attribute(list)

        def __enter__(self) -> Local:
            done.append("enter")
            return self

        def __exit__(self, *error: object) -> None:
            done.append("exit")

        @refcounted_attribute(linger=1.0)
        def generated(self) -> Generator[object]:
            yield object()

        @refcounted_method
        def feed(self) -> Generator[object]:
            yield object()

    local = Local()
    with local, local.listed() as listed, local.generated() as generated, local.feed() as feed:
        there = cloudpickle.loads(cloudpickle.dumps(local))
        assert cloudpickle.loads(cloudpickle.dumps(Local)) is type(there) is Local
        assert cloudpickle.loads(cloudpickle.dumps(Local.feed)) is Local.feed
        with local, local.listed() as one, local.generated() as two, local.feed() as three:
            assert one is listed
            assert two is generated
            assert three is feed
        again: Local = there
        with there.listed() as one, there.generated() as two, there.feed() as three:
            assert one is not listed
            assert two is not generated
            assert three is not feed
        assert (resource_of(local).usecount, resource_of(again).usecount) == (1, 0)
        assert done == ["enter"]
    assert done == ["enter", "exit"]


# --- Decorators above and below -------------------------------------------------------------------------------------


def logged(function: Any) -> Any:
    """Decorate it, as most decorators do."""

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return wrapper


share: Any = refcounted_method


class Base:
    """Has a method with a decorator above, and one below."""

    def _above(self, topic: str) -> Generator[str]:
        yield f"{topic} above {type(self).__name__}"

    def _below(self, topic: str) -> Generator[str]:
        yield f"{topic} below {type(self).__name__}"

    def _view(self) -> Generator[str]:
        yield f"view of {type(self).__name__}"

    above: Any = logged(refcounted_method(_above))
    below: Any = share(logged(_below))
    view: Any = property(cast("Any", refcounted_method(_view)))


class Heir(Base):
    """Calls the method of its base."""

    @refcounted_method
    def below(self, topic: str) -> Generator[str]:
        with Base.below(self, topic) as one, super().below(topic=topic) as same:
            assert one is same
            yield f"more than {one}"


def test_decorators_above_and_below() -> None:
    """What a decorator above calls with the instance is the method of that instance; so is a property's."""
    base, heir = Base(), Heir()
    with base.above("a") as one, base.above(topic="a") as same:
        assert one is same
        assert one == "a above Base"
    assert works(base.below, "a") == "a below Base"
    assert works(heir.below, "a") == "more than a below Heir"
    assert works(lambda: base.view) == "view of Base"
    assert works(Base.below, base, "b") == "b below Base"


def test_a_method_may_have_another_name_in_its_class() -> None:
    """What a decorator above calls is found by what that shows of it."""

    def implementation(self: object, topic: str) -> Generator[str]:
        yield topic

    class Hub:
        feed = logged(logged(share(implementation)))
        view = property(share(functools.partial(implementation, topic="a")))

    hub: Any = Hub()
    assert works(hub.feed, "a") == "a"
    assert works(lambda: hub.view) == "a"


def test_functions_have_decorators_as_well() -> None:
    """Above and below, and as class and static methods."""

    @logged
    @refcounted_resource
    @logged
    def shared(topic: str) -> Generator[str]:
        yield topic

    assert works(shared, "a") == "a"
    assert works(cast("Any", Hub.shared), "a") == "a of Hub"
    assert works(cast("Any", Branch().shared), "a") == "a of Branch"


def test_class_methods() -> None:
    """Each class has resources of its own, and the class is what it is bound to, however one comes to it."""
    with Hub.common("a") as one, Hub().common("a") as same, Branch.common("a") as other:
        assert one is same
        assert (one, other) == ("a of Hub", "a of Branch")
        assert [resource.name for resource in Hub.common.resources()] == ["Hub.common('a')"]
    assert Hub.common.resources() == ()
    assert list(inspect.signature(Hub.common).parameters) == ["topic"]
    assert vars(Hub)["common"].__get__(None, Branch) == Branch.common


def test_protocols_and_abstract_methods() -> None:
    """An abstract method may say nothing of what it gives; who writes it does."""

    class Abstract(ABC):
        @abstractmethod
        def _feed(self) -> Any:
            """Feed."""

        feed: Any = share(_feed)

        @refcounted_method
        @abstractmethod
        def line(self) -> Iterator[int]: ...

    class Concrete(Abstract):
        @refcounted_method
        def feed(self) -> Iterator[int]:
            yield 3

        def _feed(self) -> None: ...

        @refcounted_method
        def line(self) -> Iterator[int]:
            yield 4

    with pytest.raises(TypeError, match="abstract"):
        Abstract()  # type: ignore[abstract]  # that is the point
    assert works(Concrete().feed) == 3
    assert works(Concrete().line) == 4


def test_a_parameter_may_be_called_self() -> None:
    """Nothing of ours takes an argument by that name."""

    @refcounted_resource
    def metrics(**labels: str) -> Generator[dict[str, str]]:
        yield labels

    class Hub:
        @refcounted_method
        def metrics(self, /, **labels: str) -> Generator[dict[str, str]]:
            yield labels

    labels = {"self": "x", "args": "y", "instance": "z"}
    for shared in (metrics, Hub().metrics, functools.partial(cast("Any", Hub.metrics), Hub())):
        assert works(lambda shared=shared: shared(**labels)) == labels
    assert metrics.resource(**labels).name == "metrics(self='x', args='y', instance='z')"


def test_weak_methods() -> None:
    """They find the method as long as there is its instance."""
    hub = Hub()
    weak = weakref.WeakMethod(hub.feed)
    assert works(weak(), "a") == "a of Hub"
    assert weak() == hub.feed


def test_beartype() -> None:
    """It checks the arguments, and leaves alone what is no function."""

    class Unchecked:
        @refcounted_method
        def feed(self, number: int) -> Iterator[int]:
            yield number

    def plain(number: int) -> Iterator[int]:
        yield number

    below, above = refcounted_resource(beartype(plain)), beartype(refcounted_resource(plain))
    assert works(beartype(Unchecked)().feed, 1) == 1
    assert works(below, 1) == works(above, 1) == 1
    with pytest.raises(Exception, match="number"):
        works(below, "x")


def test_partials_and_callable_objects_have_the_name_of_what_they_wrap() -> None:
    """So have the resources, and what pickle says."""

    class Cam:
        def __call__(self, index: int) -> Generator[int]:
            yield index

    def local(number: int, index: int) -> Generator[int]:
        yield number + index

    for source, name in ((functools.partial(local, 1), "local"), (Cam(), "Cam")):
        shared: Any = refcounted_resource(source)
        assert repr(shared) == f"<ResourceFunction {name}, 0 up, 0 held>"
        assert shared.resource(2).name == f"{name}(2)"
        assert shared.__name__ == name
        assert shared.__qualname__.endswith(name)
        with pytest.raises(TypeError, match=f"{name} is no context manager"), shared:
            pass
        assert isinstance(shared.resource(2), SharedResource)
        assert isinstance(shared(2), Lease)
