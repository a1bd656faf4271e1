"""What a `demand` takes: attributes that are true, hooks that are told of changes, resources of the manager's own."""

import copy
import functools
import gc
import pickle
import random
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import pytest

from refcount import (
    Demand,
    InstanceManager,
    ReleasedError,
    SharedResource,
    State,
    demand,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
    tracked,
)
from tests.helpers.interrupting import interrupt_everywhere
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.watched import WAIT, own_timers, until

T = TypeVar("T")

untyped = cast("Callable[..., Any]", demand)
"""For what the type checkers refuse and the run time has to refuse as well."""


class Worker:
    """What is managed in these tests."""

    needs_gpu = tracked[bool]()

    def __init__(self, name: str, *, needs_gpu: bool = True) -> None:
        self.name = name
        self.needs_gpu = needs_gpu

    def __repr__(self) -> str:
        return f"<{self.name}>"


class RefusedError(Exception):
    """What hooks raise in these tests."""


def names(workers: tuple[Worker, ...]) -> str:
    """Return the first letters of their names."""
    return "".join(worker.name[0] for worker in workers)


def refusal(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """Return what was said where a class could not be made; Python 3.11 wraps it."""
    return str(caught.value.__cause__ or caught.value)


not_made = (TypeError, RuntimeError)
"""What comes of a class that could not be made; Python 3.11 wraps it."""


# --- attributes ---


class Odd:
    """Has what is no plain attribute."""

    __slots__ = ("__dict__", "__weakref__", "unset")

    callback: Callable[[], None] | None = None

    def method(self) -> bool:
        return False

    @staticmethod
    def static() -> bool:
        return False

    @classmethod
    def of_class(cls) -> bool:
        return False

    @functools.lru_cache  # noqa: B019  # it is not called
    def cached(self) -> bool:
        return False

    partial = functools.partialmethod(method)

    @refcounted_method
    def shared(self) -> Generator[int]:
        yield 1

    @property
    def proper(self) -> bool:
        return True

    @functools.cached_property
    def computed(self) -> Callable[[], None]:
        return gc.disable

    @property
    def broken(self) -> bool:
        return bool(self.missing)  # type: ignore[attr-defined]  # that is the mistake


class Box(Generic[T]):
    """Has an attribute of a name that texts have for a method."""

    def __init__(self, title: T) -> None:
        self.title = title

    def open(self) -> None:
        """Be a method."""


METHODS = "method", "static", "of_class", "cached", "partial", "shared"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_no_attribute(name: str) -> None:
    """It would always be true: whoever adds such an instance is told what to write."""

    class Manager(InstanceManager[Any]):
        needing = demand(name)

    manager = Manager()
    with pytest.raises(
        TypeError, match=rf"Odd\.{name} is a method, .* write `demand\(lambda instance: instance\.{name}\(\)\)`"
    ):
        manager.add_instance(Odd())
    assert not manager.instances


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_a_class_that_it_says_to_manage(name: str) -> None:
    """Then the manager's class cannot be made, nor that of a manager derived from it."""

    class Base(InstanceManager[Worker | Odd]):
        pass

    for base in (InstanceManager[Odd], InstanceManager[int | Odd], Base):
        with pytest.raises(not_made) as caught:
            class_with(base, demand(name))
        assert f"Odd.{name} is a method, which would always be true" in refusal(caught)


def class_with(base: Any, declared: object) -> type:
    """Return a manager with a demand."""
    return types.new_class("Manager", (base,), {}, lambda body: body.update(needing=declared))


def test_managed_classes_that_cannot_be_seen() -> None:
    """Type variables and names of classes that come later are looked at when an instance is added."""

    class Generic_(InstanceManager[T], Generic[T]):
        needing = demand("method")

    class Forward(InstanceManager["Later"]):
        needing = demand("method")

    class Later:
        def method(self) -> bool:
            return True

    for manager in (Generic_[Later](), Forward()):
        with pytest.raises(TypeError, match=r"Later\.method is a method"):
            manager.add_instance(Later())


def test_managed_classes_that_have_parameters() -> None:
    """It is the class that counts, and not what it is a class of."""

    class Titled(InstanceManager[Box[str] | list[str]]):
        needing = demand("title")

    box = Box("yes")
    assert box in Titled([box]).needing
    with pytest.raises(not_made) as caught:
        class_with(InstanceManager[Box[str]], demand("open"))
    assert "Box.open is a method" in refusal(caught)


def test_what_is_no_method_after_all() -> None:
    """A property counts by its truth, and so does what says of itself that it is true though it can be called."""

    class Manager(InstanceManager[Odd]):
        proper = demand("proper")
        callback = demand("callback")
        unset = demand("unset")

    odd = Odd()
    manager = Manager([odd])
    assert [len(each) for each in (manager.proper, manager.callback, manager.unset)] == [1, 0, 0]
    odd.callback = Noted()
    manager.refresh(odd)
    assert odd not in manager.callback
    odd.callback.append("something")
    manager.refresh(odd)
    assert odd in manager.callback


class Noted(list[str]):
    """Can be called, and has a truth of its own."""

    def __call__(self) -> None:
        """Do nothing."""


class Watched:
    """Has a tracked attribute, and one that is a method for each type."""

    flag = tracked[Callable[[], bool]]()

    @functools.singledispatchmethod
    def single(self, argument: object = None) -> bool:
        """Say no."""
        return False


def test_a_function_is_no_value() -> None:
    """Its truth says nothing, however the instance has come by it."""

    class Manager(InstanceManager[Any]):
        flag = demand("flag")

    watched, odd, computed = Watched(), Odd(), Odd()
    given: list[tuple[Any, Any]] = [
        (watched, lambda: False),
        (odd, functools.partial(bool, 0)),
        (computed, computed.method),
    ]
    for instance, value in given:
        instance.flag = value
        with pytest.raises(
            TypeError, match=r"flag of <.* is the function `.*`, which would always be true: write `dema"
        ):
            Manager([instance])
    for name in ("single", "computed"):
        with pytest.raises(TypeError, match=r"which would always be true: write .*, or `instance\.\w+ is not None` if"):
            class_with(InstanceManager[Any], demand(name))([watched if name == "single" else odd])


def test_a_demand_of_an_attribute_is_pickled() -> None:
    """As it is declared; of what belongs to one manager there is nothing in it."""
    there = pickle.loads(pickle.dumps(Station.gpu))
    assert repr(there) == repr(Station.gpu) == "<demand Station.gpu>"


class Station(InstanceManager[Worker]):
    """Is found by pickle."""

    gpu = demand("needs_gpu")


def test_a_property_that_fails_is_not_taken_for_missing() -> None:
    """An `AttributeError` from inside it is the caller's."""

    class Manager(InstanceManager[Odd]):
        broken = demand("broken")

    with pytest.raises(AttributeError, match="'Odd' object has no attribute 'missing'") as caught:
        Manager([Odd()])
    assert caught.value.__notes__[0].startswith(f"in {Manager.__name__}.broken, on account of <")


# --- changes ---


def test_changed_is_told_every_change() -> None:
    """Who demands, after each change, in order; after `acquire`, before `release`; nothing where nothing changes."""
    log: list[str] = []

    class Manager(InstanceManager[Worker]):
        def _update(self, workers: tuple[Worker, ...]) -> None:
            assert workers == tuple(self.gpu)
            log.append(names(workers))

        gpu = demand(
            "needs_gpu",
            acquire=lambda manager: log.append("acquire"),
            release=lambda manager: log.append("release"),
            changed=_update,
        )

    one, two, plain = Worker("one"), Worker("two"), Worker("plain", needs_gpu=False)
    manager = Manager([one, plain, two])
    assert log == ["acquire", "o", "ot"]
    manager.refresh(one)
    manager.remove_instance(plain)
    assert log == ["acquire", "o", "ot"]
    one.needs_gpu = False
    two.needs_gpu = False
    assert log[3:] == ["t", "", "release"]
    one.needs_gpu = True
    manager.clear()
    assert log[6:] == ["acquire", "o", "", "release"]


def test_changed_that_raises_keeps_a_newcomer_out() -> None:
    """The manager is as it was before: neither managed nor demanding, and the others are told of nothing."""
    log: list[str] = []

    class Manager(InstanceManager[Worker]):
        def _update(self, workers: tuple[Worker, ...]) -> None:
            if any(worker.name == "bad" for worker in workers):
                raise RefusedError
            log.append(names(workers))

        other = demand("needs_gpu", changed=lambda manager, workers: log.append(f"other {names(workers)}"))
        gpu = demand("needs_gpu", release=lambda manager: log.append("release"), changed=_update)

    manager = Manager()
    for _ in range(2):
        with pytest.raises(RefusedError):
            manager.add_instance(Worker("bad"))
        assert log == ["other b", "release", "other "]
        assert not manager.instances
        assert not manager.gpu
        log.clear()
    one = Worker("one")
    manager.add_instance(one)
    with pytest.raises(RefusedError):
        manager.add_instance(Worker("bad"))
    assert (manager.instances, [*manager.gpu]) == ((one,), [one])
    manager.remove_instance(one)
    assert log == ["other o", "o", "other ob", "other o", "other ", "", "release"]


def test_changed_that_raises_at_a_removal() -> None:
    """The caller gets it, and the instance is removed all the same."""
    log: list[str] = []

    class Manager(InstanceManager[Worker]):
        def _update(self, workers: tuple[Worker, ...]) -> None:
            log.append(names(workers))
            if not workers:
                raise RefusedError

        gpu = demand("needs_gpu", release=lambda manager: log.append("release"), changed=_update)

    manager = Manager([worker := Worker("one")])
    with pytest.raises(RefusedError):
        manager.remove_instance(worker)
    assert log == ["o", "", "release"]
    manager.add_instance(worker)
    with pytest.raises(RefusedError):
        worker.needs_gpu = False
    assert log == ["o", "", "release"] * 2
    assert (worker in manager, worker in manager.gpu) == (True, False)


def test_changed_may_change_more() -> None:
    """What the hook adds and removes itself it is told when it has returned; what it refuses then does not demand."""
    log: list[str] = []
    guest, bad, host = Worker("guest"), Worker("bad"), Worker("host")

    class Manager(InstanceManager[Worker]):
        def _update(self, workers: tuple[Worker, ...]) -> None:
            log.append(names(workers))
            if workers == (host,):
                self.add_instance(guest)
                self.add_instance(bad)
                assert log == ["h"]
            if bad in workers:
                raise RefusedError

        gpu = demand("needs_gpu", changed=_update)

    manager = Manager()
    with pytest.raises(RefusedError):
        manager.add_instance(host)
    assert log == ["h", "hg", "hgb", "g"]
    assert [names(tuple(each)) for each in (manager, manager.gpu)] == ["gb", "g"]
    manager.clear()
    assert log[4:] == [""]


def test_changed_is_told_by_one_thread_at_a_time() -> None:
    """Another thread's change waits until the hook has returned, and no lock is held while that runs."""
    running, go_on = threading.Event(), threading.Event()
    log: list[str] = []

    class Manager(InstanceManager[Worker]):
        def _update(self, workers: tuple[Worker, ...]) -> None:
            log.append(f"+{names(workers)}")
            if workers == (one,):
                running.set()
                assert go_on.wait(WAIT)
            log.append(f"-{names(workers)}")

        gpu = demand("needs_gpu", changed=_update)
        disk = demand("needs_disk")

    one, two, plain = Worker("one"), Worker("two"), Worker("plain", needs_gpu=False)
    manager = Manager()

    def second() -> None:
        assert running.wait(WAIT)
        manager.add_instance(plain)  # it changes nothing of that demand
        manager.remove_instance(plain)
        threading.Timer(0.02, go_on.set).start()
        manager.add_instance(two)

    run_threads(lambda: manager.add_instance(one), second)
    assert log == ["+o", "-o", "+ot", "-ot"]


@pytest.mark.parametrize("seed", range(4))
def test_many_threads_change_and_are_refused(seed: int) -> None:
    """However they come and go, each change is told once, one by one, and the last that is told is what there is."""
    told: list[tuple[Worker, ...]] = [()]
    inside: list[int] = []

    class Manager(InstanceManager[Worker]):
        def _update(self, workers: tuple[Worker, ...]) -> None:
            inside.append(1)
            assert len(inside) == 1
            inside.pop()
            if len(workers) > 2:
                raise RefusedError
            assert abs(len(workers) - len(told[-1])) == 1
            told.append(workers)

        gpu = demand("needs_gpu", changed=_update)

    manager = Manager()

    def consume(number: int) -> None:
        dice = random.Random(f"{seed}/{number}")
        worker = Worker(f"{number}", needs_gpu=False)
        for _ in range(15):
            with suppress(RefusedError):
                manager.add_instance(worker)
            with suppress(RefusedError):
                worker.needs_gpu = dice.random() < 0.7
            if worker in manager:
                manager.remove_instance(worker)

    with shaken(seed):
        run_threads(*[lambda number=number: consume(number) for number in range(4)])
    assert not manager.instances
    assert told[-1] == tuple(manager.gpu) == ()


def test_interrupted_change() -> None:
    """Wherever the interrupt falls, others can go on, and what the hook was told last is who demands."""
    told: list[tuple[Worker, ...]] = []

    class Manager(InstanceManager[Worker]):
        gpu = demand("needs_gpu", changed=lambda manager, workers: told.append(workers))

    manager, one, ready = Manager(), Worker("one"), False

    def scenario() -> None:
        nonlocal manager, ready
        ready = False
        manager = Manager([one])
        told.clear()
        ready = True
        manager.add_instance(Worker("two"))
        manager.remove_instance(one)

    def go_on() -> None:
        three = Worker("three")
        manager.add_instance(three)
        assert told[-1] == tuple(manager.gpu)
        manager.remove_instance(three)
        assert told[-1] == tuple(manager.gpu)

    for interruption in interrupt_everywhere(scenario):
        if ready:
            assert interruption.propagated
            run_threads(go_on)


# --- resources of the manager's own ---


class Frames(InstanceManager[Worker]):
    """Has what its demands hold."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.log: list[str] = []

    @refcounted_attribute
    def context(self) -> Generator[str]:
        self.log.append("context")
        yield f"context of {self.size}"
        self.log.append("no context")

    @refcounted_method
    def device(self) -> Generator[str]:
        yield f"device of {self.size}"

    table = refcounted_attribute(dict[str, int])

    @property
    def other(self) -> SharedResource[str]:
        return SharedResource.of(lambda: f"other of {self.size}")

    gpu = demand("needs_gpu", resource=context, release=lambda manager: manager.log.append("release"))
    devices = demand("needs_gpu", resource=device)
    tables = demand("needs_gpu", resource=table)
    others = untyped("needs_gpu", resource=other)


class Doubled(Frames):
    """Overrides one."""

    @refcounted_attribute
    def context(self) -> Generator[str]:
        with super().context() as context:
            yield f"2 x {context}"


def test_a_resource_of_the_manager() -> None:
    """Each manager's own is held while the demand lasts, and shared with others; a subclass may override it."""
    one, two, doubled, worker = Frames(1), Frames(2), Doubled(3), Worker("one")
    for manager in (one, two, doubled):
        manager.add_instance(worker)
    assert [manager.gpu.value for manager in (one, two, doubled)] == [
        "context of 1",
        "context of 2",
        "2 x context of 3",
    ]
    assert (one.devices.value, one.tables.value, one.others.value) == ("device of 1", {}, "other of 1")
    with one.context() as context:
        assert context is one.gpu.value
        assert one.context.usecount == 2
        one.remove_instance(worker)
        assert one.log == ["context", "release"]
    assert one.log == ["context", "release", "no context"]
    with pytest.raises(ReleasedError):
        one.gpu.value
    two.clear()
    doubled.clear()
    assert one.context.state is two.context.state is State.IDLE


def test_a_manager_is_lost_while_its_own_resource_is_held() -> None:
    """Though that refers to the manager, nothing keeps the two; the lease is reported, and no hook runs."""
    with own_timers(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frames = Frames(1)
        frames.add_instance(Worker("one"))
        gone, log = weakref.ref(frames), frames.log
        del frames
        gc.collect()
        until(lambda: len(caught) >= 2, "the reports")
        until(lambda: gone() is None, "the end of the manager")
    texts = sorted(str(warning.message).partition(" was never released")[0] for warning in caught)
    assert {"a lease of Frames.context", "a lease of Frames.device()"} <= {*texts}
    assert "release" not in log


def test_a_resource_that_the_manager_has_not() -> None:
    """One of another class is refused when somebody demands, by name, and nothing was added."""

    class Stranger(InstanceManager[Worker]):
        gpu = demand("needs_gpu", resource=Frames.context)

    manager = Stranger()
    with pytest.raises(TypeError, match=r"uses <refcounted_.*context>, which .*Stranger has not"):
        manager.add_instance(Worker("one"))
    assert not manager.instances


def test_a_member_that_gives_no_lease() -> None:
    """That is said when it is needed, and nothing was added."""

    class Manager(InstanceManager[Worker]):
        @property
        def number(self) -> Callable[[], int]:
            return lambda: 3

        gpu = untyped("needs_gpu", resource=number)

    manager = Manager()
    with pytest.raises(TypeError, match=r"the resource of .*Manager\.gpu gave no lease, but 3"):
        manager.add_instance(Worker("one"))
    assert not manager.instances


# --- clear, and the with-statement ---


def test_a_manager_ends_with_its_block() -> None:
    """Then all are removed, the last first, and all demands end, whatever the block raised."""
    log: list[str] = []

    class Manager(InstanceManager[Worker]):
        gpu = demand(
            "needs_gpu",
            release=lambda manager: log.append("release"),
            changed=lambda manager, workers: log.append(names(workers)),
        )

    with pytest.raises(RefusedError), Manager([Worker("one")]) as manager:
        assert type(manager) is Manager
        manager.add_instance(Worker("two"))
        raise RefusedError
    assert log == ["o", "ot", "o", "", "release"]
    manager.clear()
    manager.add_instance(Worker("three"))
    assert len(manager) == 1


def test_clear_goes_on_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are removed; the first error is the caller's, the others are reported."""
    reported: list[str] = []

    def note(unraisable: "sys.UnraisableHookArgs") -> None:
        reported.append(str(unraisable.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", note)

    class Manager(InstanceManager[Worker]):
        def _update(self, workers: tuple[Worker, ...]) -> None:
            if len(workers) < len(told):
                raise RefusedError(names(workers))
            told.append(workers)

        gpu = demand("needs_gpu", changed=_update)

    told: list[object] = []
    manager = Manager([Worker("one"), Worker("two")])
    with pytest.raises(RefusedError) as caught:
        manager.clear()
    assert caught.value.args == ("o",)
    assert reported == [""]
    assert not manager.instances
    assert not manager.gpu


# --- mistakes ---


@refcounted_resource
def camera(index: int) -> Generator[int]:
    """Need an argument."""
    yield index


async def asynchronous(_thing: object) -> bool:
    """Be of no use here."""
    return True


def takes_two(_manager: object, _more: object) -> None:
    """Take too many."""


def generate() -> Generator[int]:
    """Be no context manager."""
    yield 1


MISTAKES: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((lambda: True,), {}, "what tells whether an instance demands is called with the instance, and .* takes "),
    ((asynchronous,), {}, "what tells whether an instance demands must not be asynchronous"),
    (
        (SharedResource.of(list),),
        {},
        "what tells .* and <SharedResource list.*gives leases, .*: what is to be held is given as resource=",
    ),
    (("a",), {"acquire": lambda: None}, "acquire is called with the manager, and .* takes "),
    (("a",), {"release": takes_two}, "release is called with the manager, and .* takes "),
    (("a",), {"changed": len}, "changed is called with the manager and the demanders, and .* takes "),
    (("a",), {"acquire": asynchronous}, "acquire must not be asynchronous"),
    (
        ("a",),
        {"acquire": SharedResource.of(list)},
        "acquire must be a plain function, and <SharedResource list.*: what is to be held is given as resource=",
    ),
    (("a",), {"resource": camera}, r"resource is called with nothing, and `camera` takes \(index.*'index'"),
    (("a",), {"resource": len}, "resource is called with nothing, and .* takes "),
    (("a",), {"resource": SharedResource.of(list)()}, "resource must be what gives leases, .* not <Lease of list"),
    (("a",), {"resource": asynchronous}, "resource must not be asynchronous"),
    (
        ("a",),
        {"resource": generate},
        "resource .* `generate` is a generator function: .*decorate it with @refcounted_res",
    ),
]
"""What is handed in, and what the error says."""


@pytest.mark.parametrize(("arguments", "options", "text"), MISTAKES)
def test_bad_arguments_are_refused_at_once(arguments: tuple[Any, ...], options: dict[str, Any], text: str) -> None:
    """What cannot be called as it will be is refused where it is handed in, by name."""
    with pytest.raises(TypeError, match=text):
        demand(*arguments, **options)


def test_a_method_that_needs_arguments_is_no_resource() -> None:
    """It is called with the manager alone."""

    class Hub:
        @refcounted_method
        def feed(self, topic: str) -> Generator[str]:
            yield topic

    with pytest.raises(TypeError, match=r"resource is called with the manager alone, and .*Hub\.feed` takes .*'topic'"):
        untyped("a", resource=Hub.feed)


def test_only_managers_have_demands() -> None:
    """Any other class cannot be made, and is told what to write."""
    with pytest.raises(not_made) as caught:

        class House:  # pyright: ignore[reportUnusedClass]  # it is not made
            gpu = demand("needs_gpu")

    assert "House.gpu is a demand, which only a manager can have: write `class House(InstanceManager[...])`" in refusal(
        caught
    )


def test_a_demand_is_no_truth_value() -> None:
    """On the class, and where it was assigned to an instance, it would always be true."""

    class Manager(InstanceManager[Worker]):
        gpu = demand("needs_gpu")

        def __init__(self) -> None:
            super().__init__()
            self.disk = demand("needs_disk")

    for declared in (Manager.gpu, Manager().disk):
        with pytest.raises(TypeError, match=r"<demand .*> is no set of instances: that is what it is on a manager"):
            bool(declared)


def test_a_demand_is_not_made_by_hand() -> None:
    """Whoever writes a capital is told so."""
    with pytest.raises(TypeError, match=r"write demand\('needs_gpu'\) in the body of its class"):
        cast("Callable[..., object]", Demand)("needs_gpu")


def test_copies() -> None:
    """The set is its manager's, and says so."""

    class Manager(InstanceManager[Worker]):
        gpu = demand("needs_gpu")

    manager = Manager([Worker("one")])
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"<Demand .*Manager\.gpu, usecount=1> cannot be copied or pickled"):
            cast("Callable[[object], object]", duplicate)(manager.gpu)


# --- tracked, written as it does nothing ---


def test_tracked_takes_no_default() -> None:
    """It is no value, and says how to give one."""
    with pytest.raises(TypeError, match=r"tracked takes no default: .* set the attribute in __init__"):
        cast("Callable[..., object]", tracked)(False)


class Annotated:
    """Says that it is tracked, and is not."""

    needs_gpu: tracked[bool]


class Quoted:
    """Says so in a text."""

    needs_gpu: "tracked[bool]"


class Derived(Quoted):
    """Inherits that."""


class Late(Quoted):
    """Has what its base only promised."""

    needs_gpu = tracked[bool]()


@pytest.mark.parametrize("cls", [Annotated, Quoted, Derived])
def test_tracked_by_annotation_alone(cls: type[Any]) -> None:
    """It is refused when the manager's class is made, if that names the class, and else when an instance is added."""
    text = r"(Annotated|Quoted)\.needs_gpu is tracked by its annotation alone: write `needs_gpu = tracked\[...\]\(\)`"
    with pytest.raises(not_made) as caught:
        class_with(cast("Any", InstanceManager)[cls], demand("needs_gpu"))
    assert "needs_gpu is tracked by its annotation alone" in refusal(caught)

    class Manager(InstanceManager[Any]):
        gpu = demand("needs_gpu")

    manager = Manager()
    with pytest.raises(TypeError, match=text):
        manager.add_instance(cls())
    assert not manager.instances


def test_tracked_by_annotation_beside_another() -> None:
    """A class that has a tracked attribute is looked at when it is made."""
    with pytest.raises(not_made) as caught:

        class Mixed:  # pyright: ignore[reportUnusedClass]  # it is not made
            needs_disk = tracked[bool]()
            needs_gpu: tracked[bool]

    assert "Mixed.needs_gpu is tracked by its annotation alone" in refusal(caught)


def test_tracked_that_a_base_only_promises() -> None:
    """What comes to have it is as good as any."""

    class Manager(InstanceManager[Late]):
        gpu = demand("needs_gpu")

    late = Late()
    manager = Manager([late])
    late.needs_gpu = True
    assert late in manager.gpu


def test_tracked_in_slots() -> None:
    """Where a slot has taken its place, the error says what has put it there."""

    class Manager(InstanceManager[Any]):
        gpu = demand("needs_gpu")

    @dataclass(slots=True)
    class Slotted:
        needs_gpu: tracked[bool] = tracked()  # noqa: RUF009  # that is not the mistake

    class ByAttrs:  # what `attrs.define` makes of it
        __slots__ = ("__weakref__", "needs_gpu")
        __attrs_attrs__ = ()
        needs_gpu: tracked[bool]

    class NoDict:  # the same, of one that is no field
        __slots__ = ()
        __attrs_attrs__ = ()
        needs_gpu = tracked[bool]()

    for instance, advice in (
        (Slotted(), "Slotted.needs_gpu is tracked by its annotation alone: leave slots=True out of @dataclass"),
        (ByAttrs(), r"ByAttrs.needs_gpu is tracked by its annotation alone: write `@attrs.define\(slots=False\)`, and"),
    ):
        with pytest.raises(TypeError, match=advice):
            Manager([instance])
    with pytest.raises(
        TypeError, match=r"NoDict.needs_gpu is kept in __dict__, .*: write `@attrs.define\(slots=False\)"
    ):
        NoDict().needs_gpu = True
