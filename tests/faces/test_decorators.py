"""`refcounted_resource` on functions: calls that give leases, one resource for each distinct set of arguments."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import math
import pickle
import pydoc
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Container, Generator, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pytest

from refcount import (
    CapacityError,
    ClosedError,
    Lease,
    RefcountedExecutor,
    ResourceFunction,
    SharedResource,
    WorkerGroup,
    refcounted_method,
    refcounted_resource,
)
from refcount.testing import ManualClock
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.watched import WAIT

if TYPE_CHECKING:
    Unheard = Generator[int]

share: Any = refcounted_resource
"""For what the checkers refuse."""

P = ParamSpec("P")
T = TypeVar("T")

LOG: list[str] = []
"""What the functions of this module have done."""


@pytest.fixture(autouse=True)
def clean_log() -> None:
    """Let each test begin with an empty log."""
    LOG.clear()


@refcounted_resource
def camera(index: int, size: int = 1, *, mode: str = "still") -> Generator[str]:
    """A camera."""
    LOG.append(f"+{index}")
    yield f"camera {index} {size} {mode}"
    LOG.append(f"-{index}")


@refcounted_resource
def database() -> Generator[object]:
    """The only database."""
    LOG.append("+")
    yield object()
    LOG.append("-")


def anything(*args: Any, **kwargs: Any) -> Generator[object]:
    """Takes whatever it is given."""
    yield args, kwargs


# --- Calls and keys -------------------------------------------------------------------------------------------------


def test_a_call_gives_a_lease() -> None:
    """It runs the function for the first one, shares the value, and runs it on after the last one."""
    lease = database()
    assert isinstance(lease, Lease)
    assert not lease.held
    with lease as first, database() as second:
        assert first is second
        assert LOG == ["+"]
    assert LOG == ["+", "-"]


def test_a_body_that_raises_does_not_reach_the_function() -> None:
    """Rule 8: a consumer's own exception is its own; the function runs on to its end."""
    with pytest.raises(ZeroDivisionError), database():
        raise ZeroDivisionError
    assert LOG == ["+", "-"]


def test_the_same_arguments_are_one_key_however_spelled() -> None:
    """By position, by keyword in any order, a default left out or written out."""
    resource = camera.resource(0, 1, mode="still")
    assert camera.resource(0) is resource
    assert camera.resource(index=0) is resource
    assert camera.resource(0, 1) is resource
    assert camera.resource(size=1, index=0) is resource
    assert camera.resource(mode="still", index=0) is resource
    assert camera.resource(1) is not resource
    assert camera.resource(0, 2) is not resource
    assert camera.resource(0, mode="film") is not resource
    assert LOG == []


def test_positional_defaults_are_filled_in() -> None:
    """The short way for plain positional signatures makes the same keys as the long one."""

    @refcounted_resource
    def area(width: int, height: int = 2, /, depth: int = 3) -> Generator[int]:
        yield width * height * depth

    resource = area.resource(1)
    assert area.resource(1, 2) is resource
    assert area.resource(1, 2, 3) is resource
    assert area.resource(1, depth=3) is resource
    assert area.resource(1, 3) is not resource
    with area(2) as value:
        assert value == 12


def test_extra_arguments_are_part_of_the_key() -> None:
    """`*args` in order, `**kwargs` in any."""
    loose = refcounted_resource(anything)
    resource = loose.resource(1, 2, a=1, b=2)
    assert loose.resource(1, 2, b=2, a=1) is resource
    assert loose.resource(2, 1, a=1, b=2) is not resource
    assert loose.resource(1, 2, a=2, b=1) is not resource
    assert loose.resource(1, 2, a=1) is not resource
    assert loose.resource(1, 2) is not resource
    with loose(1, x=3) as value:
        assert value == ((1,), {"x": 3})


def test_parameters_may_have_any_name() -> None:
    """Also those that the methods behind it have."""

    @refcounted_resource
    def labelled(**labels: str) -> Generator[str]:
        yield "".join(labels.values())

    words = {"self": "a", "args": "b", "kwargs": "c", "instance": "d"}
    with labelled(**words) as value:
        assert value == "abcd"
        assert labelled.resource(**words).usecount == 1


def test_arguments_that_look_like_the_key_of_others() -> None:
    """One argument that is a tuple is not several, and a pair is no keyword."""
    loose = refcounted_resource(anything)
    with (
        loose(1, 2) as both,
        loose((1, 2)) as one,
        loose(((1, 2),)) as nested,
        loose(a=1) as named,
        loose(("a", 1)) as pair,
    ):
        assert len({id(value) for value in (both, one, nested, named, pair)}) == 5
        assert loose.resource((1, 2)) is not loose.resource(1, 2)

    @refcounted_resource
    def keywords(first: object, **rest: object) -> Generator[object]:
        yield first, rest

    assert keywords.resource(1, b=2) is not keywords.resource((1, ("b", 2)))
    assert keywords.resource(1) is keywords.resource(first=1)


def test_a_closed_resource_is_not_found_again() -> None:
    """The next call with its arguments gets a fresh one, however often, and those that are held are still known."""

    @refcounted_resource
    def serial(index: int, size: int = 1) -> Generator[object]:
        yield object()

    leases = [serial.resource(0).acquire()]
    for _ in range(4):
        held = {lease.resource for lease in leases}
        with pytest.raises(TimeoutError):
            leases[-1].resource.close(timeout=0)
        assert {*serial.resources()} == held
        leases.append(serial.resource(0, 1).acquire())
        with serial(0) as fresh, serial(index=0) as same:
            assert fresh is same is leases[-1].value
            assert leases[-1].resource not in held
            assert {*serial.resources()} == {*held, leases[-1].resource}
    with pytest.raises(TimeoutError, match="serial was still running"):
        serial.close(timeout=0)
    for lease in leases:
        assert lease.release()
    assert serial.resources() == ()


def test_a_resource_that_was_closed_takes_no_memory() -> None:
    """Neither the closed ones nor their successors stay when nobody has them."""

    @refcounted_resource
    def serial(index: int) -> Generator[object]:
        yield object()

    def use_and_close() -> weakref.ref[SharedResource[object]]:
        resource = serial.resource(0)
        with resource():
            pass
        resource.close()
        return weakref.ref(resource)

    kept = serial.resource(0)
    gone = [use_and_close() for _ in range(3)]
    del kept
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3
    with serial(0):
        assert len(serial.resources()) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_key_has_one_open_resource_when_shaken(seed: int) -> None:
    """However many threads call first at once after it was closed, they get the same fresh one."""
    threads, rounds = 4, 6
    met = threading.Barrier(threads, timeout=WAIT)

    @refcounted_resource
    def serial(index: int) -> Generator[object]:
        yield object()

    def consume() -> list[SharedResource[object]]:
        found: list[SharedResource[object]] = []
        for _ in range(rounds):
            met.wait()
            found.append(serial.resource(seed))
            met.wait()
            found[-1].close()
        return found

    with shaken(seed):
        by_round = [*zip(*run_threads(*[consume] * threads), strict=True)]
    assert [len({*resources}) for resources in by_round] == [1] * rounds
    assert len({resources[0] for resources in by_round}) == rounds


def test_equal_arguments_are_one_key() -> None:
    """As for `functools.lru_cache`: 1, 1.0 and True are equal, and so the same."""
    resource = camera.resource(1)
    assert camera.resource(1.0) is resource  # type: ignore[arg-type]  # equal, whatever its type
    assert camera.resource(True) is resource
    assert camera.resource("1") is not resource  # type: ignore[arg-type]  # not equal


def test_the_function_gets_the_arguments_as_first_spelled() -> None:
    """Defaults are left to the function; equal arguments that come later change nothing."""
    seen: list[object] = []

    @refcounted_resource
    def noted(index: float, size: int = 1) -> Generator[None]:
        seen.append((index, type(index), size))
        yield

    with noted(index=1), noted(1.0, 1):
        pass
    assert seen == [(1, int, 1)]


def test_two_decorated_functions_never_share() -> None:
    """Not even when they are the same function, decorated twice."""
    once, again = refcounted_resource(anything), refcounted_resource(anything)
    assert once.resource(1) is not again.resource(1)
    assert once != again
    assert once == copy.copy(once)
    assert len({once, again, once, anything}) == 3


def test_a_key_function_replaces_the_arguments() -> None:
    """It gets all of them, defaults included; what it returns decides who shares, and is shown instead."""

    def by_lower_name(name: str, *, size: int = 1) -> str:
        return name.lower()

    @refcounted_resource(key=by_lower_name)
    def engine(name: str, *, size: int = 1) -> Generator[str]:
        yield f"{name} {size}"

    with engine("V8") as first, engine(name="v8", size=3) as second:
        assert first is second
        assert [resource.name for resource in engine.resources()] == ["engine('v8')"]


def test_unhashable_arguments_may_have_a_key() -> None:
    """`key` is the way to share what has no hash."""

    def by_length(names: list[str]) -> int:
        return len(names)

    @refcounted_resource(key=by_length)
    def group(names: list[str]) -> Generator[list[str]]:
        yield names

    with group(["a"]) as first, group(["b"]) as second:
        assert first is second


def test_a_key_that_raises_counts_nothing() -> None:
    """The error goes to the caller, with a note that says where it comes from."""

    def refuse(index: int) -> int:
        raise LookupError(index)

    @refcounted_resource(key=refuse)
    def picky(index: int) -> Generator[int]:
        yield index

    with pytest.raises(LookupError) as raised:
        picky(3)
    assert raised.value.__notes__ == ["while asking for the key of picky()"]
    assert picky.resources() == ()


@pytest.mark.parametrize("threads", [6])
@pytest.mark.parametrize("seed", range(4))
def test_first_calls_share_when_shaken(seed: int, threads: int) -> None:
    """However many threads call first at once, the function runs once."""
    met = threading.Barrier(threads, timeout=WAIT)

    def consume() -> str:
        with camera(seed, mode="film") as value:
            met.wait()
            return value

    with shaken(seed):
        assert len(set(map(id, run_threads(*[consume] * threads)))) == 1
    assert [*LOG] == [f"+{seed}", f"-{seed}"]


# --- What a decorated function has ----------------------------------------------------------------------------------


def test_resource_and_resources() -> None:
    """The resource behind a call, and those that are not idle."""
    resource = camera.resource(0)
    assert isinstance(resource, SharedResource)
    assert resource.name == "camera(0)"
    assert camera.resources() == ()
    with camera(0), camera(1):
        assert set(camera.resources()) == {resource, camera.resource(1)}
    assert camera.resources() == ()


def test_an_idle_key_takes_no_memory() -> None:
    """Neither the resource nor the arguments stay."""

    class Place:
        """An argument that can be watched."""

    @refcounted_resource
    def shared(place: Place) -> Generator[Place]:
        yield place

    place = Place()
    gone = weakref.ref(place)
    with shared(place):
        pass
    del place
    gc.collect()
    assert gone() is None


def test_without_parameters_the_one_resource_stays() -> None:
    """Its generations go on, and so do its observers."""

    @refcounted_resource
    def only() -> Generator[None]:
        yield

    counts: list[int] = []
    only.resource().observe(counts.append)
    for _ in range(2):
        with only():
            pass
        gc.collect()
    assert counts == [1, 0, 1, 0]
    with only():
        assert only.resource().generation == 3


def test_resources_are_named_like_calls() -> None:
    """By what the function is called, or by `name`, and the arguments as first spelled."""
    assert camera.resource(5, mode="film").name == "camera(5, mode='film')"
    assert refcounted_resource(anything, name="loose").resource("a", b=None).name == "loose('a', b=None)"
    assert database.resource().name == "database()"


class Secret:
    """Counts how often it is shown."""

    shown = 0

    def __repr__(self) -> str:
        self.shown += 1
        raise RuntimeError("must not be shown")


def test_nothing_is_named_before_somebody_asks() -> None:
    """Rule 16: a whole life shows no argument, and one that cannot be shown is no obstacle."""

    @refcounted_resource(linger=1.0)
    def vault(secret: Secret, *, fails: bool) -> Generator[Secret]:
        if fails:
            raise OSError("no such vault")
        yield secret

    secret = Secret()
    with ManualClock() as clock:
        for _ in range(2):
            with vault(secret, fails=False) as found, vault(secret, fails=False):
                assert found is secret
        vault.resource(secret, fails=False).flush()
        clock.advance(1.0)
        assert secret.shown == 0
        with pytest.raises(OSError, match="no such vault"), vault(secret, fails=True):
            pass
    name = vault.resource(secret, fails=True).name
    assert re.fullmatch(r"vault\(<Secret instance at 0x\w+>, fails=True\)", name)


def test_names_are_short() -> None:
    """Also in errors that name an argument without a hash."""

    @refcounted_resource
    def table(rows: object) -> Generator[object]:
        yield rows

    assert len(table.resource("x" * 1_000_000).name) < 100
    with pytest.raises(
        TypeError, match=r"table\(\) has no resource for rows=\[0, 1, 2, 3, 4, 5, \.\.\.\]: unhashable"
    ) as raised:
        table(list(range(1_000_000)))
    assert len(str(raised.value)) < 120


@pytest.mark.parametrize(("yields", "text"), [(0, "yielded no value"), (2, "yielded a second value, 1")])
def test_a_function_that_does_not_yield_once_is_named(yields: int, text: str) -> None:
    """The error names the call."""

    @refcounted_resource
    def odd(index: int) -> Generator[int]:
        yield from range(yields)

    with pytest.raises(RuntimeError, match=rf"odd\(7\) {text}"), odd(7):
        pass
    assert odd.resources() == ()


def test_close_is_final() -> None:
    """What runs is waited for, and every call afterwards is refused."""

    @refcounted_resource(linger=math.inf)
    def short(index: int) -> Generator[int]:
        LOG.append(f"+{index}")
        yield index
        LOG.append(f"-{index}")

    with short(0):
        pass
    lease = short(1)
    with short(2):
        with pytest.raises(TimeoutError, match=r"short was still running after 0.0 s: short\(2\)"):
            short.close(timeout=0)
    short.close()
    assert LOG == ["+0", "+2", "-0", "-2"]
    for index in (0, 3):
        with pytest.raises(ClosedError, match="short is closed"):
            short(index)
    with pytest.raises(ClosedError, match=r"short\(1\) is closed"), lease:
        pass


def test_options_reach_the_resources() -> None:
    """With parentheses: linger, check, overlap, capacity and when_full."""

    def good(value: list[int]) -> bool:
        return not value

    @refcounted_resource(linger=5.0, check=good, capacity=1, when_full="raise")
    def basket(index: int) -> Generator[list[int]]:
        LOG.append(f"+{index}")
        yield []
        LOG.append(f"-{index}")

    assert basket.capacity == 1
    assert camera.capacity is None
    with ManualClock() as clock:
        with basket(0) as value:
            value.append(1)
            with pytest.raises(CapacityError, match=r"basket\(1\)"):
                basket.resource(1).acquire()
        with basket(0) as value:
            assert value == []
        clock.advance(5.0)
    assert LOG == ["+0", "-0", "+0", "-0"]


def test_empty_parentheses() -> None:
    """They change nothing."""

    @refcounted_resource()
    def plain() -> Generator[int]:
        yield 3

    with plain() as value:
        assert value == 3


def test_it_looks_like_the_function() -> None:
    """Name, module, documentation, annotations and signature are the function's own, as far as they are true."""
    assert camera.__name__ == camera.__qualname__ == "camera"
    assert camera.__module__ == __name__
    assert camera.__doc__ == "A camera."
    assert (
        str(inspect.signature(camera))
        == "(index: 'int', size: 'int' = 1, *, mode: 'str' = 'still') -> refcount.Lease[str]"
    )
    assert camera.__annotations__["mode"] == "str"
    assert [ask(camera) for ask in (inspect.isroutine, inspect.isgeneratorfunction)] == [True, False]
    assert inspect.isgeneratorfunction(camera.__wrapped__)
    assert not inspect.iscoroutinefunction(camera)
    shown = pydoc.plain(pydoc.render_doc(camera))
    assert "camera(index: 'int'" in shown
    assert "A camera." in shown
    assert repr(camera) == str(camera) == "<ResourceFunction camera, 0 up, 0 held>"
    assert ResourceFunction.__module__ == "refcount"


def test_wraps_chains() -> None:
    """`functools.wraps` takes it for a function, and finds the way down."""

    @functools.wraps(camera)
    def outer(*args: Any, **kwargs: Any) -> Lease[str]:
        return camera(*args, **kwargs)

    assert outer.__doc__ == "A camera."
    assert inspect.signature(outer) == inspect.signature(camera)
    assert inspect.unwrap(outer) is inspect.unwrap(camera)
    with outer(0) as value:
        assert value == "camera 0 1 still"


def test_it_is_copied_and_pickled_as_functions_are() -> None:
    """A copy is the same; a pickle says where to find it, if it can be found."""
    assert copy.copy(camera) is camera
    assert copy.deepcopy({"camera": camera})["camera"] is camera
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(camera, protocol)) is camera
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(refcounted_resource(anything))


def test_with_an_uncalled_function_says_to_call_it() -> None:
    """The mistake is told from others, and nothing starts."""
    with pytest.raises(TypeError, match=r"camera is no context manager, .* write `with camera\(\.\.\.\):`"):
        camera.__enter__()  # type: ignore[attr-defined]  # what a with-statement does
    assert LOG == []


def test_with_an_uncalled_resource_says_to_call_it() -> None:
    """The one behind a call, one alone, and those of workers; and `isinstance` is not told otherwise."""
    uncalled: list[Any] = [
        camera.resource(0),
        SharedResource.of(dict),
        WorkerGroup(threading.Event.wait),
        RefcountedExecutor(),
    ]
    for resource in uncalled:
        text = rf"{re.escape(resource.name)} is not a context manager, .* write `with resource\(\) as value:`"
        with pytest.raises(TypeError, match=text), ExitStack() as stack:
            stack.enter_context(resource)
        with pytest.raises(TypeError, match=text), resource:
            pass
        assert not isinstance(resource, AbstractContextManager)
        assert isinstance(resource(), AbstractContextManager)
        assert resource.usecount == 0


def test_it_pretends_nothing() -> None:
    """It looks like the function, with what is its own besides; a typo in that names it, and it has no length."""
    whole = {"abandon", "capacity", "close", "flush", "invalidate", "resource", "resources", "usecount"}
    for thing, own in ((camera, whole), (Holder.method, set[str]())):
        assert {*dir(thing)} - {*dir(anything)} - {"__type_params__"} == own
        for protocol in (Sized, Container, Iterable, AbstractContextManager):
            assert not isinstance(thing, protocol)
        assert bool(thing)
    with pytest.raises(AttributeError, match="<ResourceFunction camera, 0 up, 0 held> has no attribute 'resorce'"):
        camera.resorce  # type: ignore[attr-defined]  # that is the mistake
    with pytest.raises(AttributeError, match=r"<ResourceMethod Holder\.method> has no attribute 'resources'"):
        Holder.method.resources  # type: ignore[attr-defined]  # that is the mistake
    with pytest.raises(AttributeError):  # as one that is unpickled or copied before it is made
        ResourceFunction.__new__(ResourceFunction).resorces  # type: ignore[attr-defined]  # as if


class Holder:
    """Has a method that is shared."""

    @refcounted_method
    def method(self) -> Generator[int]:
        yield 3


def test_it_is_no_method() -> None:
    """As a class attribute it stays itself, so that it is called without an instance."""

    class Owner:
        held = camera

    assert Owner().held is camera
    with Owner().held(0) as value:
        assert value == "camera 0 1 still"


# --- What can be decorated ------------------------------------------------------------------------------------------


@contextmanager
def managed(index: int) -> Generator[str]:
    """A context manager."""
    LOG.append(f"+{index}")
    yield f"managed {index}"
    LOG.append(f"-{index}")


def annotated(index: int) -> AbstractContextManager[int]:
    """Says what it returns."""
    return nullcontext(index)


def delegating(index: int) -> Iterator[int]:
    """Returns a generator without being a generator function."""
    return (number for number in (index,))


def listing(index: int) -> Iterator[int]:
    """Returns an iterator that is no generator."""
    return iter([index])


def bound_to_come(index: int) -> Unheard:
    """Has an annotation that nobody can evaluate."""
    return Opener()(index)


def wrapped(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate it, as a logger would."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    del wrapper.__annotations__["return"]
    return wrapper


@wrapped
def logged(index: int) -> Generator[int]:
    """A generator function below another decorator, with nothing that says so."""
    yield index


class Opener:
    """Its instances can be called."""

    def __call__(self, index: int) -> Generator[int]:
        """Start and stop."""
        yield index


def test_a_function_that_contextmanager_has_wrapped() -> None:
    """Swapping the decorators, or stacking them, makes no difference for the with-statements."""
    shared = refcounted_resource(managed)
    with shared(0) as first, shared(index=0) as second:
        assert first is second
    assert LOG == ["+0", "-0"]
    assert str(inspect.signature(shared)) == "(index: 'int') -> refcount.Lease[str]"


@pytest.mark.parametrize(
    "source",
    [
        annotated,
        delegating,
        listing,
        bound_to_come,
        Opener(),
        Opener().__call__,
        functools.partial(annotated),
        logged,
    ],
    ids=range(8),
)
def test_whatever_gives_a_context_manager_or_a_generator(source: Any) -> None:
    """Functions that say what they return, callable objects, partials and decorated generator functions."""
    shared = share(source)
    with shared(3) as first, shared(3) as second:
        assert first == second == 3


def test_a_builtin_is_found_out_when_it_starts() -> None:
    """It has no annotations; the error of its first start names it."""
    shared = share(len)
    with pytest.raises(TypeError, match=r"the opener of len\('abc'\) must return a context manager, not 3"):
        shared("abc").__enter__()


def test_so_is_a_lambda_and_who_says_nothing() -> None:
    """A lambda has no annotations, and `Any` says nothing."""
    with refcounted_resource(lambda: nullcontext(3))() as value, refcounted_resource(says_any)() as same:
        assert value == same == 3
    with pytest.raises(TypeError, match=r"the opener of <lambda>\(\) must return a context manager, not 4"):
        share(lambda: 4)().__enter__()


def no_yield(index: int) -> int:
    """Forgot to yield."""
    return index


def unannotated(index: int) -> int:
    """Says nothing of what it returns."""
    return index


unannotated.__annotations__.clear()


def says_any() -> Any:
    """Says that it returns anything."""
    return nullcontext(3)


def says_object() -> object:
    """Says that nobody need know what it returns."""
    return nullcontext(3)


async def coroutine() -> int:
    """Is no resource."""
    return 3


def awaitable() -> Awaitable[int]:
    """Says that it is to be awaited."""
    return coroutine()


class Unfit:
    """Cannot be entered."""


NEEDS = (
    "@refcounted_resource needs a generator function, or one whose annotation says that it returns a context manager"
)
YIELDS = "@refcounted_resource needs an asynchronous generator function, which yields what is shared"

UNFIT: list[tuple[Any, str]] = [
    (3, "must be callable, not 3"),
    ("camera", "must be callable, not 'camera'"),
    (anything(), "must be callable, not the generator .*: pass the function that makes it"),
    (no_yield, rf"{NEEDS}; `no_yield` is neither"),
    (unannotated, rf"{NEEDS}; `unannotated` is neither"),
    (says_object, rf"{NEEDS}; `says_object` is neither"),
    (functools.partial(no_yield, 3), rf"{NEEDS}; `no_yield` is neither"),
    (coroutine, rf"{YIELDS}: `coroutine` has no yield, and is awaited"),
    (awaitable, rf"{YIELDS}: `awaitable` has no yield, and is awaited"),
    (staticmethod(anything), "@staticmethod must stand above @refcounted_resource, not below it: `anything`"),
    (classmethod(anything), "@classmethod must stand above @refcounted_resource, not below it: `anything`"),
    (camera, "needs a function that is not shared already; `camera` is"),
    (Unfit, "Unfit"),
]
"""What cannot be shared, and how the error names it."""


@pytest.mark.parametrize(("source", "text"), UNFIT, ids=range(len(UNFIT)))
@pytest.mark.parametrize("parentheses", [False, True])
def test_what_cannot_be_shared_is_refused(source: Any, text: str, parentheses: bool) -> None:
    """At decoration time, with an error that names the thing."""
    with pytest.raises(TypeError, match=text):
        share()(source) if parentheses else share(source)


def test_a_class_takes_no_options_of_functions() -> None:
    """A class has no arguments to make keys of."""
    bounded = {"capacity": 2, "when_full": "raise"}
    for options in ({"key": len}, {"capacity": 2}, bounded, {"capacity": 2, "weight": len}):
        with pytest.raises(TypeError, match=r"Unfit: a class takes no key, capacity, weight or when_full"):
            share(**options)(Unfit)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"linger": -1}, ValueError, "linger must be 0 seconds or more, not -1"),
        ({"linger": math.nan}, ValueError, "linger must be 0 seconds or more, not nan"),
        ({"linger": None}, TypeError, "linger must be a number of seconds, not None"),
        ({"check": "yes"}, TypeError, "check must be callable, not 'yes'"),
        ({"key": 3}, TypeError, "key must be callable, not 3"),
        ({"capacity": 0}, ValueError, "capacity must be 1 or more, not 0"),
        ({"capacity": 2.0}, TypeError, "capacity must be an integer, not 2.0"),
        ({"when_full": "drop"}, ValueError, "when_full must be 'wait' or 'raise', not 'drop'"),
        ({"when_full": "raise"}, ValueError, "when_full has no effect without capacity"),
        ({"weight": len}, ValueError, "weight has no effect without capacity"),
        ({"weight": 3, "capacity": 3}, TypeError, "weight must be callable, not 3"),
        ({"weight": len, "capacity": 0.0}, ValueError, "capacity must be finite and more than 0, not 0.0"),
        ({"weight": len, "capacity": math.inf}, ValueError, "capacity must be finite and more than 0, not inf"),
        ({"weight": len, "capacity": "3"}, TypeError, "capacity must be a number, not '3'"),
        ({"exclusive": True, "overlap": True}, ValueError, "exclusive and overlap contradict each other"),
        ({"at_exit": "run"}, ValueError, "at_exit must be 'stop' or 'leave', not 'run'"),
        ({"lingr": 3}, TypeError, "@refcounted_resource got an unexpected option 'lingr'; there are linger, check"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Before there is anything to decorate."""
    with pytest.raises(error, match=text):
        share(**options)


# --- Bad calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, r"camera\(\) missing a required argument: 'index'"),
        ((1, 2, 3), {}, r"camera\(\) too many positional arguments"),
        ((1,), {"index": 1}, r"camera\(\) multiple values for argument 'index'"),
        ((1,), {"zoom": 2}, r"camera\(\) got an unexpected keyword argument 'zoom'"),
        (([1],), {}, r"camera\(\) has no resource for index=\[1\]: unhashable type: 'list'"),
        ((1,), {"mode": {}}, r"camera\(\) has no resource for mode={}: unhashable type: 'dict'"),
        ((1, (2, [3])), {}, r"camera\(\) has no resource for size=\(2, \[3\]\): unhashable type: 'list'"),
    ],
)
def test_bad_arguments_are_refused(args: tuple[Any, ...], kwargs: dict[str, Any], text: str) -> None:
    """At the call, with an error that names function, parameter and value; nothing is made."""
    for call in (camera, camera.resource):
        with pytest.raises(TypeError, match=text):
            call(*args, **kwargs)
    assert camera.resources() == ()


def test_bad_extra_arguments_are_named() -> None:
    """Also those of `*args` and `**kwargs`."""
    loose = refcounted_resource(anything)
    with pytest.raises(TypeError, match=r"anything\(\) has no resource for args=\(1, \[\]\): unhashable"):
        loose(1, [])
    with pytest.raises(TypeError, match=r"anything\(\) has no resource for b=\[\]: unhashable"):
        loose(1, a=1, b=[])


def test_a_bad_key_is_named() -> None:
    """The key function's result must be hashable, and the function must take the arguments."""

    def listed(index: int) -> Any:
        return [index]

    @refcounted_resource(key=listed)
    def picky(index: int) -> Generator[int]:
        yield index

    with pytest.raises(TypeError, match=r"picky\(\) has no resource for the key \[3\]: unhashable type: 'list'"):
        picky(3)

    loose = share(key=max)(picky.__wrapped__)
    with pytest.raises(TypeError, match=r"picky\(\) too many positional arguments"):
        loose(1, 2)


def test_an_error_of_an_argument_is_its_own() -> None:
    """A `TypeError` that an argument's own `__eq__` raises is no word about hashes."""

    class Strange:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise TypeError("incomparable")

    @refcounted_resource
    def shared(thing: Strange) -> Generator[Strange]:
        yield thing

    with shared(Strange()), pytest.raises(TypeError, match="incomparable"):
        shared(Strange())


PURE = """
from refcount import ResourceFunction, refcounted_resource

@refcounted_resource
def camera(index):
    "A camera."
    yield index

with camera(0) as value:
    print(value, camera.__module__, camera.__doc__, ResourceFunction.__module__, ResourceFunction.__name__)
"""


@pytest.mark.parametrize("disabled", ["", "1"])
def test_it_does_without_the_extension_of_wrapt(disabled: str) -> None:
    """Where wrapt is pure Python, decorated functions look the same."""
    ended = subprocess.run(
        [sys.executable, "-c", PURE],
        env={"PYTHONPATH": ":".join(sys.path), "WRAPT_DISABLE_EXTENSIONS": disabled},
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert ended.stdout == "0 __main__ A camera. refcount ResourceFunction\n", ended.stderr
