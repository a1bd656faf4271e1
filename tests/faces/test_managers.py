"""`InstanceManager` and `demand`: who needs something of their manager, and what is done while anybody does."""

import copy
import gc
import os
import pickle
import random
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Generator, Set
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import pytest

from refcount import Demand, InstanceManager, ReleasedError, SharedResource, demand, tracked
from tests.helpers.interrupting import interrupt_everywhere
from tests.helpers.shaking import run_threads, seeds, shaken
from tests.helpers.watched import WAIT


class Worker:
    """What is managed in these tests: equal to every other one, and so not hashable."""

    needs_gpu = tracked[object]()

    def __init__(self, name: str = "worker", /, **attributes: object) -> None:
        self.name = name
        vars(self).update(attributes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Worker)

    __hash__ = None  # type: ignore[assignment]  # as a class with `__eq__` has it

    def __repr__(self) -> str:
        return f"<{self.name}>"


def needy(name: str = "needy") -> Worker:
    """Return a worker that demands the GPU."""
    return Worker(name, needs_gpu=True)


class Manager(InstanceManager[Worker]):
    gpu = demand("needs_gpu")


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts of the errors that are reported because nobody will catch them."""
    texts: list[str] = []

    def note(unraisable: "sys.UnraisableHookArgs") -> None:
        texts.append(str(unraisable.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", note)
    return texts


def hooked(
    log: list[str] | Callable[[], list[str]],
    *,
    name: str = "gpu",
    acquire: Callable[[InstanceManager[Worker]], object] = lambda manager: None,
    release: Callable[[InstanceManager[Worker]], object] = lambda manager: None,
) -> demand[object, str]:
    """Return a demand that logs its hooks and its resource, and then does what it is told."""

    def lines() -> list[str]:
        return log() if callable(log) else log

    @contextmanager
    def opener() -> Generator[str]:
        opened = lines()
        opened.append(f"open {name}")
        yield f"value of {name}"
        opened.append(f"close {name}")

    def begin(manager: InstanceManager[Worker]) -> None:
        lines().append(f"acquire {name}")
        acquire(manager)

    def end(manager: InstanceManager[Worker]) -> None:
        lines().append(f"release {name}")
        release(manager)

    return demand("needs_gpu", acquire=begin, release=end, resource=opener)


WHOLE = ["open gpu", "acquire gpu", "release gpu", "close gpu"]
"""The log of a demand that came and went."""


class FailureError(Exception):
    """What hooks raise in these tests."""


def fail(*_arguments: object) -> bool:
    """Raise."""
    raise FailureError("hook failed")


# --- instances ---


def test_instances_are_kept_in_order_and_by_identity() -> None:
    """They are in the order in which they came; equal and unhashable ones are told apart."""
    one, two, three = Worker("one"), Worker("two"), Worker("three")
    manager = Manager(instances=[one, two])
    manager.add_instance(three)
    manager.remove_instance(two)
    assert list(map(id, manager.instances)) == list(map(id, manager)) == [id(one), id(three)]
    assert len(manager) == 2
    assert one in manager
    assert two not in manager


def test_iterating_while_removing() -> None:
    """`instances` and iteration show one moment, so that a loop may remove what it finds."""
    manager = Manager([needy(), needy(), needy()])
    for worker in manager:
        manager.remove_instance(worker)
    assert manager.instances == ()
    assert not manager.gpu


def test_added_twice_and_removed_when_not_there() -> None:
    """Both are refused by name, and change nothing."""
    worker = needy()
    manager = Manager([worker])
    with pytest.raises(ValueError, match="<needy> is managed by Manager already"):
        manager.add_instance(worker)
    assert manager.gpu.usecount == len(manager) == 1
    for refused in (manager.remove_instance, manager.refresh):
        with pytest.raises(ValueError, match="<other> is not managed by Manager"):
            refused(needy("other"))
    assert manager.gpu.usecount == len(manager) == 1


def test_manager_keeps_nothing_alive_that_it_does_not_manage() -> None:
    """What was removed may go, also when it was the first to demand; and instances do not keep their manager."""
    worker = needy()
    manager = Manager([worker])
    manager.remove_instance(worker)
    instance = weakref.ref(worker)
    del worker
    gc.collect()
    assert instance() is None
    worker = needy()
    manager.add_instance(worker)
    gone = weakref.ref(manager)
    del manager
    gc.collect()
    assert gone() is None
    worker.needs_gpu = False  # tells nobody


# --- demands ---


@pytest.mark.parametrize(
    ("attributes", "demands"),
    [
        ({}, False),
        ({"a": None}, False),
        ({"a": False}, False),
        ({"a": True}, True),
        ({"a": 1}, True),
        ({"a": object()}, True),
        ({"a": 0}, False),
        ({"a": 0.0}, False),
        ({"a": ""}, False),
        ({"a": []}, False),
    ],
    ids=["missing", "None", "False", "True", "1", "object", "0", "0.0", "text", "list"],
)
def test_attribute_demands(attributes: dict[str, object], demands: bool) -> None:
    """An attribute demands when it exists and is true."""

    class ByAttribute(InstanceManager[Worker]):
        needs_a = demand("a")

    assert bool(ByAttribute([Worker(**attributes)]).needs_a) is demands


def test_what_numpy_says_is_not_so() -> None:
    """Its truth values are objects of their own."""
    numpy = pytest.importorskip("numpy")

    class ByAttribute(InstanceManager[Worker]):
        needs_a = demand("a")

    bright = numpy.arange(3) > 1
    assert [
        worker.name for worker in ByAttribute([Worker("all", a=bright.all()), Worker("any", a=bright.any())]).needs_a
    ] == ["any"]


def test_predicate_demands() -> None:
    """A predicate decides with the instance in hand."""

    def is_one(worker: Worker) -> bool:
        return worker.name == "one"

    class ByPredicate(InstanceManager[Worker]):
        ones = demand(is_one)

    one = Worker("one")
    manager = ByPredicate([Worker("two"), one])
    assert [*manager.ones] == [one]
    assert [worker.name for worker in manager.ones] == ["one"]


def test_demand_reads_as_a_live_set() -> None:
    """It is one object for the life of the manager, a read-only set that follows what is managed, by identity."""
    one, two, plain = needy("one"), needy("two"), Worker()
    manager = Manager()
    gpu = manager.gpu
    assert isinstance(gpu, Set)
    assert isinstance(gpu, Demand)
    assert not gpu
    for worker in (one, two, plain):
        manager.add_instance(worker)
    assert gpu is manager.gpu
    assert bool(gpu)
    assert len(gpu) == gpu.usecount == 2
    assert one in gpu
    assert plain not in gpu
    assert [worker.name for worker in gpu] == ["one", "two"]
    assert [worker.name for worker in gpu - Manager([one]).gpu] == ["two"]
    assert len(gpu | Manager([plain]).gpu) == 2
    assert gpu >= Manager([one]).gpu
    assert not hasattr(gpu, "add")
    assert repr(gpu) == "<Demand Manager.gpu, usecount=2>"


def test_membership_is_remembered() -> None:
    """An attribute that changes after the adding changes nothing until `refresh`, and never unbalances the count."""

    class ByAttribute(InstanceManager[Worker]):
        needs_a = demand("a")

    worker = Worker(a=True)
    manager = ByAttribute([worker])
    vars(worker)["a"] = False
    assert worker in manager.needs_a
    manager.remove_instance(worker)
    assert manager.needs_a.usecount == 0
    manager.add_instance(worker)
    vars(worker)["a"] = True
    assert worker not in manager.needs_a
    for _ in range(2):
        manager.refresh(worker)
        assert manager.needs_a.usecount == 1
    del vars(worker)["a"]
    manager.refresh(worker)
    assert manager.needs_a.usecount == 0


def test_hooks_run_for_the_first_and_after_the_last() -> None:
    """The first that demands begins it, the last one ends it; hooks see the manager, the count and the value."""
    log: list[str] = []

    def look(manager: InstanceManager[Worker]) -> None:
        assert isinstance(manager, Hooked)
        log.append(f"{manager.gpu.usecount} {manager.gpu.value}")

    class Hooked(InstanceManager[Worker]):
        gpu = hooked(log, acquire=look, release=look)

    one, two = needy(), needy()
    manager = Hooked([one, Worker(), two])
    assert manager.gpu.value == "value of gpu"
    manager.remove_instance(one)
    manager.remove_instance(two)
    assert log == ["open gpu", "acquire gpu", "1 value of gpu", "release gpu", "0 value of gpu", "close gpu"]
    manager.add_instance(one)
    assert log[-1] == "1 value of gpu"
    manager.remove_instance(one)


def test_shared_resource_is_held_while_anybody_demands() -> None:
    """A demand holds one lease of its resource; `value` is the resource's, and raises while nobody demands."""
    gpu = SharedResource.of(lambda: "context", name="gpu")

    class WithResource(InstanceManager[Worker]):
        needs = demand("needs_gpu", resource=gpu)
        without = demand("needs_gpu")

    one, two = needy(), needy()
    manager = WithResource([one, two])
    assert gpu.usecount == 1
    assert manager.needs.value == "context"
    assert manager.without.value is None
    for worker in (one, two):
        manager.remove_instance(worker)
    assert gpu.usecount == 0
    for values in (manager.needs, manager.without):
        with pytest.raises(ReleasedError, match=r"WithResource\.\w+ has no value: no managed instance demands it"):
            values.value


def test_inherited_overridden_and_twice_named_demands() -> None:
    """A subclass has the demands of its bases, but not what it overrides; a second name is the same demand."""
    log: list[str] = []

    class Base(InstanceManager[Worker]):
        gpu = hooked(log)
        disk = demand("needs_disk")

    class Derived(Base):
        gpu = hooked(log, name="other")
        alias = Base.disk

    worker = Worker(needs_gpu=True, needs_disk=True)
    manager = Derived([worker])
    assert log == ["open other", "acquire other"]
    assert manager.disk is manager.alias
    assert manager.disk.usecount == 1
    manager.remove_instance(worker)


def test_demands_that_are_assigned_later() -> None:
    """Once they are told their name, managers that are made afterwards have them, of subclasses as well."""

    class Base(InstanceManager[Worker]):
        pass

    class Derived(Base):
        gpu = demand("needs_gpu")

    worker = Worker(needs_gpu=True, needs_disk=True)
    earlier: Any = Derived([worker])
    disk: Any = demand("needs_disk")
    Base.disk = disk  # type: ignore[attr-defined]  # as it is meant
    unnamed: Any = Derived([worker])
    with pytest.raises(TypeError, match=r"<demand needs_disk> has no name, since it was assigned after its class was"):
        unnamed.disk
    disk.__set_name__(Base, "disk")
    later: Any = Derived([worker])
    assert (len(later.gpu), len(later.disk)) == (1, 1)
    assert repr(later.disk) == f"<Demand {Base.__name__}.disk, usecount=1>"
    for manager in (earlier, unnamed):
        with pytest.raises(TypeError, match=r"demand .*Base\.disk> was assigned to its class after this .*Derived was"):
            manager.disk


# --- failures ---


@pytest.mark.parametrize("broken", ["acquire", "resource", "predicate"])
def test_failed_add_leaves_the_manager_as_it_was(broken: str) -> None:
    """Whatever fails while adding, what was taken is given back, nothing is managed, and adding works the next time."""
    log: list[str] = []
    failing = True

    def maybe(*_arguments: object) -> bool:
        return fail() if failing else True

    @contextmanager
    def opener() -> Generator[None]:
        maybe()
        yield

    failing_demands: dict[str, demand[Worker, None]] = {
        "acquire": demand("needs_gpu", acquire=maybe),
        "resource": demand("needs_gpu", resource=opener),
        "predicate": demand(maybe),
    }

    class Broken(InstanceManager[Worker]):
        gpu = hooked(log)
        other = failing_demands[broken]

    earlier, worker = Worker(), needy()
    failing = False
    manager = Broken()
    if broken != "predicate":
        manager.add_instance(earlier)
    failing = True
    with pytest.raises(FailureError):
        manager.add_instance(worker)
    assert worker not in manager
    assert manager.gpu.usecount == manager.other.usecount == 0
    assert log == ([] if broken == "predicate" else WHOLE)
    failing = False
    manager.add_instance(worker)
    assert manager.gpu.usecount == manager.other.usecount == 1
    manager.remove_instance(worker)


def test_failed_add_to_a_demand_that_others_have() -> None:
    """An add that fails gives back only its own part: the demand goes on for the others."""
    log: list[str] = []

    def is_bad(worker: Worker) -> bool:
        return worker.name == "bad"

    class Broken(InstanceManager[Worker]):
        gpu = hooked(log)
        bad = demand(is_bad, acquire=fail)

    good = needy("good")
    manager = Broken([good])
    with pytest.raises(FailureError):
        manager.add_instance(needy("bad"))
    assert [worker.name for worker in manager.gpu] == ["good"]
    assert log == WHOLE[:2]
    manager.remove_instance(good)


def test_release_that_fails_while_a_failed_add_is_undone(reported: list[str]) -> None:
    """The caller gets the error of the adding; that of the undoing is reported."""
    log: list[str] = []

    def fail_again(_manager: InstanceManager[Worker]) -> None:
        raise FailureError("undoing failed")

    class Broken(InstanceManager[Worker]):
        gpu = hooked(log, release=fail_again)
        bad = demand("needs_gpu", acquire=fail)

    manager = Broken()
    with pytest.raises(FailureError, match="hook failed"):
        manager.add_instance(needy())
    assert reported == ["undoing failed"]
    assert log == WHOLE
    assert not manager.instances


def test_constructor_that_fails_gives_everything_back() -> None:
    """When one of the first instances cannot be added, those before it are removed again."""
    log: list[str] = []

    class Hooked(InstanceManager[Worker]):
        gpu = hooked(log)

    worker = needy()
    with pytest.raises(ValueError, match=r"<needy> is managed by .*Hooked already"):
        Hooked([worker, Worker(), worker])
    assert log == WHOLE


def test_removal_succeeds_whatever_its_hooks_do(reported: list[str]) -> None:
    """Release hooks that fail keep no instance and no demand; the first error is the caller's, others are reported."""
    log: list[str] = []

    def fail_too(_manager: InstanceManager[Worker]) -> None:
        raise FailureError("second")

    class Broken(InstanceManager[Worker]):
        one = hooked(log, name="one", release=fail)
        two = hooked(log, name="two", release=fail_too)
        three = hooked(log, name="three")

    worker = needy()
    manager = Broken([worker])
    with pytest.raises(FailureError, match="hook failed"):
        manager.remove_instance(worker)
    assert reported == ["second"]
    assert log[-6:] == [f"{what} {name}" for name in ("one", "two", "three") for what in ("release", "close")]
    assert not manager.instances
    assert not manager.one
    assert not manager.two


def test_refresh_that_fails_counts_as_not_demanded() -> None:
    """A demand that cannot be met when looked at again is not demanded, the others are; removing then balances."""
    log: list[str] = []

    class Broken(InstanceManager[Worker]):
        bad = demand("needs_gpu", acquire=fail)
        gpu = hooked(log)

    worker = Worker()
    manager = Broken([worker])
    with pytest.raises(FailureError):
        worker.needs_gpu = True
    assert (manager.bad.usecount, manager.gpu.usecount) == (0, 1)
    manager.remove_instance(worker)
    assert log == WHOLE


@pytest.mark.parametrize("broken", [demand("needs_gpu", acquire=fail), demand("needs_gpu", release=fail), demand(fail)])
def test_errors_say_where(broken: demand[Worker, None]) -> None:
    """What a predicate or a hook raises has a note that names the demand and the instance, once."""

    class Broken(InstanceManager[Worker]):
        gpu = broken

    with pytest.raises(FailureError) as caught:
        manager = Broken()
        manager.add_instance(worker := needy())
        manager.remove_instance(worker)
    assert caught.value.__notes__ == [f"in {Broken.__name__}.gpu, on account of <needy>"]


# --- from inside hooks ---


def test_adding_and_removing_others_inside_hooks() -> None:
    """A hook may add and remove other instances of its own manager; the hooks still alternate."""
    log: list[str] = []
    host, guest, heir = needy("host"), needy("guest"), needy("heir")

    def acquire(manager: InstanceManager[Worker]) -> None:
        if host.needs_gpu:
            manager.add_instance(guest)
            manager.add_instance(heir)
            manager.remove_instance(heir)
            host.needs_gpu = False

    def release(manager: InstanceManager[Worker]) -> None:
        if log.count("release gpu") == 1:
            manager.add_instance(heir)

    class Hooked(InstanceManager[Worker]):
        gpu = hooked(log, acquire=acquire, release=release)

    manager = Hooked([host])
    assert [worker.name for worker in manager.instances] == ["guest", "host"]
    assert [worker.name for worker in manager.gpu] == ["guest"]  # the hook has seen to it that the host does not
    assert log == WHOLE[:2]
    manager.remove_instance(guest)  # the heir comes when nobody is left
    assert log == [*WHOLE, *WHOLE[:2]]
    assert [worker.name for worker in manager.gpu] == ["heir"]
    manager.remove_instance(heir)
    assert log == [*WHOLE, *WHOLE]
    assert manager.gpu.usecount == 0


def test_the_same_instance_again_inside_its_own_release() -> None:
    """While an instance is being removed it cannot be added again."""
    errors: list[str] = []

    def release(manager: InstanceManager[Worker]) -> None:
        try:
            manager.add_instance(worker)
        except ValueError as error:
            errors.append(str(error))

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", release=release)

    worker = needy()
    manager = Hooked([worker])
    manager.remove_instance(worker)
    assert len(errors) == 1
    assert not manager.gpu
    manager.add_instance(worker)
    assert manager.gpu.usecount == 1


def test_an_acquire_that_fails_after_it_has_added_another() -> None:
    """Then nobody demands; the guest stays managed, and is none the worse when it is removed or looked at again."""
    guest = needy("guest")
    failing = True

    def acquire(manager: InstanceManager[Worker]) -> None:
        if failing:
            manager.add_instance(guest)
            fail()

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=acquire)

    manager = Hooked()
    with pytest.raises(FailureError):
        manager.add_instance(needy("host"))
    assert manager.gpu.usecount == 0
    assert [worker.name for worker in manager] == ["guest"]
    failing = False
    manager.refresh(guest)
    assert manager.gpu.usecount == 1
    manager.remove_instance(guest)
    assert manager.gpu.usecount == 0


def test_an_instance_inside_its_own_hooks() -> None:
    """While it is being added it cannot be added or removed; while it is being looked at again, removing it works."""
    errors: list[str] = []

    def acquire(manager: InstanceManager[Worker]) -> None:
        for change in (manager.add_instance, manager.remove_instance):
            try:
                change(worker)
            except ValueError as error:
                errors.append(str(error))
        manager.refresh(worker)

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=acquire)

    worker = needy()
    manager = Hooked([worker])
    assert [error.replace(Hooked.__name__, "Hooked") for error in errors] == [
        "<needy> is managed by Hooked already",
        "<needy> is not managed by Hooked",
    ]
    worker.needs_gpu = False
    worker.needs_gpu = True
    assert worker not in manager
    assert manager.gpu.usecount == 0


@pytest.mark.parametrize("failing", [True, False])
def test_guests_of_a_release_hook(failing: bool) -> None:
    """Whom a release hook adds begins the demand anew when that hook is over, also if it fails."""
    log: list[str] = []
    guests = [needy("one"), needy("two")]

    def release(manager: InstanceManager[Worker]) -> None:
        while guests:
            manager.add_instance(guests.pop())
            assert not Hooked.gpu.__get__(manager)  # not before the demand has begun anew
        if failing and log.count("acquire gpu") == 1:
            fail()

    class Hooked(InstanceManager[Worker]):
        gpu = hooked(log, release=release)

    host = needy("host")
    manager = Hooked([host])
    with pytest.raises(FailureError) if failing else nullcontext():
        manager.remove_instance(host)
    assert log == [*WHOLE, *WHOLE[:2]]
    assert [worker.name for worker in manager.gpu] == ["two", "one"]
    for worker in manager:
        manager.remove_instance(worker)
    assert log == [*WHOLE, *WHOLE]


def test_guest_of_a_start_and_its_removal_by_another_thread() -> None:
    """Who comes while the resource opens demands with the first; who is removed meanwhile holds nothing afterwards."""
    stays, goes, host = needy("stays"), needy("goes"), needy("host")

    @contextmanager
    def opener() -> Generator[None]:
        for guest in (stays, goes):
            manager.add_instance(guest)
            assert not manager.gpu
        run_threads(lambda: manager.remove_instance(goes))
        yield

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", resource=SharedResource(opener, name="gpu"))

    manager = Hooked()
    manager.add_instance(host)
    assert [worker.name for worker in manager.gpu] == ["host", "stays"]
    for worker in (host, stays):
        assert manager.gpu.value is None
        manager.remove_instance(worker)
    with pytest.raises(ReleasedError):
        manager.gpu.value


def test_guest_that_cannot_be_met() -> None:
    """When the demand cannot begin anew for a guest, that error is the caller's, and the guest stays without it."""
    guest, host = needy("guest"), needy("host")

    def acquire(manager: InstanceManager[Worker]) -> None:
        if guest in manager:
            fail()

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=acquire, release=lambda manager: manager.add_instance(guest))

    manager = Hooked([host])
    with pytest.raises(FailureError):
        manager.remove_instance(host)
    assert manager.instances == (guest,)
    assert not manager.gpu


# --- from several threads ---


def test_concurrent_first_ones_share_a_failure() -> None:
    """Who comes while an acquire hook runs that fails gets its error, and its own note is not added to it."""
    running, go_on = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def acquire(_manager: InstanceManager[Worker]) -> None:
        running.set()
        assert go_on.wait(WAIT)
        fail()

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=acquire)

    manager = Hooked()

    def add(name: str) -> None:
        try:
            manager.add_instance(needy(name))
        except FailureError as error:
            errors.append(error)

    def second() -> None:
        assert running.wait(WAIT)
        threading.Timer(0.02, go_on.set).start()
        add("second")

    run_threads(lambda: add("first"), second)
    assert len(errors) == 2
    assert not manager.instances
    assert not manager.gpu
    assert len(errors[0].__notes__) == 1


def test_others_wait_while_an_acquire_hook_runs() -> None:
    """When a second instance has been added, the hook that the first one's thread runs has finished."""
    running, go_on = threading.Event(), threading.Event()
    finished = False

    def acquire(_manager: InstanceManager[Worker]) -> None:
        nonlocal finished
        running.set()
        assert go_on.wait(WAIT)
        finished = True

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=acquire)

    manager = Hooked()

    def second() -> bool:
        assert running.wait(WAIT)
        threading.Timer(0.02, go_on.set).start()
        manager.add_instance(needy())
        return finished

    assert run_threads(lambda: manager.add_instance(needy()), second) == [None, True]
    assert manager.gpu.usecount == 2


def test_no_lock_is_held_while_a_hook_runs() -> None:
    """Meanwhile other threads can look at everything, and add and remove what does not demand the same."""
    running, go_on = threading.Event(), threading.Event()

    def acquire(_manager: InstanceManager[Worker]) -> None:
        running.set()
        assert go_on.wait(WAIT)

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=acquire)
        disk = demand("needs_disk")

    manager = Hooked()

    def other() -> None:
        assert running.wait(WAIT)
        plain, disk = Worker(), Worker(needs_disk=True)
        manager.add_instance(plain)
        manager.add_instance(disk)
        assert manager.gpu.usecount == manager.disk.usecount == 1
        assert [*manager.gpu]
        manager.refresh(disk)
        manager.remove_instance(disk)
        manager.remove_instance(plain)
        go_on.set()

    run_threads(lambda: manager.add_instance(needy()), other)


def test_attribute_that_is_set_while_its_instance_is_added() -> None:
    """A tracked attribute that another thread sets after it was looked at is looked at again before the adding ends."""
    worker = Worker()
    looks: list[object] = []

    def set_it() -> None:
        worker.needs_gpu = True

    def predicate(instance: Worker) -> bool:
        looks.append(needs := getattr(instance, "needs_gpu", False))
        if len(looks) == 1:
            other = threading.Thread(target=set_it)
            other.start()
            other.join()
        return bool(needs)

    class Tracking(InstanceManager[Worker]):
        gpu = demand(predicate)

    manager = Tracking([worker])
    assert looks == [False, True]
    assert manager.gpu.usecount == 1


@pytest.mark.parametrize("seed", seeds(2, 4))
def test_many_threads_add_remove_and_change(seed: int) -> None:
    """However threads add, remove and change instances, hooks alternate, counts agree, and all ends at nothing."""
    state: list[int] = [0]

    def acquire(_manager: InstanceManager[Worker]) -> None:
        state[0] += 1
        assert state[0] == 1

    def release(_manager: InstanceManager[Worker]) -> None:
        state[0] -= 1
        assert state[0] == 0

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=acquire, release=release)

    manager = Hooked()
    shared = Worker("shared")

    def consumer(number: int) -> None:
        dice = random.Random(f"{seed}/{number}")
        own = Worker(f"own {number}")
        for _ in range(15):
            own.needs_gpu = dice.random() < 0.5
            manager.add_instance(own)
            shared.needs_gpu = dice.random() < 0.5
            own.needs_gpu = dice.random() < 0.5
            assert (own in manager.gpu) == own.needs_gpu
            for change in (manager.add_instance, manager.remove_instance):
                with suppress(ValueError):
                    change(shared)
            manager.remove_instance(own)
            assert own not in manager.gpu

    with shaken(seed):
        run_threads(*[lambda number=number: consumer(number) for number in range(4)])
    if shared in manager:
        assert (shared in manager.gpu) == shared.needs_gpu
        manager.remove_instance(shared)
    assert len(manager) == manager.gpu.usecount == state[0] == 0


# --- interrupts ---


class Swept:
    """A manager whose hooks and resource must alternate, and what a sweep does with it."""

    def __init__(self) -> None:
        self.log: list[str] = []

        class Hooked(InstanceManager[Worker]):
            gpu = hooked(lambda: self.log)
            disk = demand("needs_disk")

        self.make = Hooked

    def begin(self, *added: str) -> None:
        """Make a new manager, and add some."""
        self.log = []  # in the old one the timer thread may note what is closed for the manager before
        self.ready = False
        self.first, self.second = Worker("first", needs_gpu=True, needs_disk=True), needy("second")
        self.manager = self.make()
        for name in added:
            self.manager.add_instance(vars(self)[name])
        self.ready = True

    def check(self) -> None:
        """Demands agree with what is managed, hooks with demands; and another thread can go on with all of it."""
        manager = self.manager
        for worker in (self.first, self.second):
            managed = worker in manager
            assert (worker in manager.gpu) == (managed and worker.needs_gpu is True)
            assert (worker in manager.disk) == (managed and getattr(worker, "needs_disk", False))
        begun, ended = self.log.count("acquire gpu"), self.log.count("release gpu")
        assert begun - ended == bool(manager.gpu)
        assert self.log.count("open gpu") - self.log.count("close gpu") == bool(manager.gpu)
        run_threads(self.empty)
        run_threads(self.fill)
        assert len(manager.gpu) == 2
        run_threads(self.empty)
        assert not manager.gpu
        assert not manager.disk

    def fill(self) -> None:
        """Manage both, with the GPU."""
        self.first.needs_gpu = True
        for worker in (self.first, self.second):
            self.manager.add_instance(worker)

    def empty(self) -> None:
        """Manage nobody."""
        for worker in self.manager:
            self.manager.remove_instance(worker)


@pytest.mark.parametrize("others", [(), ("second",)])
def test_interrupted_add(others: tuple[str, ...]) -> None:
    """Wherever the interrupt falls, the manager is as it was before."""
    swept = Swept()

    def scenario() -> None:
        swept.begin(*others)
        swept.manager.add_instance(swept.first)

    for interruption in interrupt_everywhere(scenario):
        if swept.ready:
            assert interruption.propagated
            assert [worker.name for worker in swept.manager] == [*others], interruption
            swept.check()


@pytest.mark.parametrize("others", [(), ("second",)])
def test_interrupted_remove(others: tuple[str, ...]) -> None:
    """Wherever the interrupt falls, the instance is managed with all its demands, or removed with all of them."""
    swept = Swept()

    def scenario() -> None:
        swept.begin("first", *others)
        swept.manager.remove_instance(swept.first)

    for interruption in interrupt_everywhere(scenario):
        if swept.ready:
            assert interruption.propagated
            swept.check()


@pytest.mark.parametrize("needs", [True, False])
def test_interrupted_refresh(needs: bool) -> None:
    """Wherever the interrupt falls, hooks agree with the demands; once looked at again, the demands with instances."""
    swept = Swept()

    def scenario() -> None:
        swept.begin()
        vars(swept.first)["needs_gpu"] = not needs
        swept.manager.add_instance(swept.first)
        vars(swept.first)["needs_gpu"] = needs
        swept.manager.refresh(swept.first)

    for _interruption in interrupt_everywhere(scenario):
        if swept.ready and swept.first in swept.manager:
            assert swept.log.count("acquire gpu") - swept.log.count("release gpu") == bool(swept.manager.gpu)
            swept.manager.refresh(swept.first)
            swept.check()


def test_interrupted_add_of_one_that_brings_another() -> None:
    """Wherever the interrupt falls, hooks agree with the demand, and whoever demands is managed."""
    log: list[str] = []
    host, guest = needy("host"), needy("guest")

    def acquire(manager: InstanceManager[Worker]) -> None:
        if host not in manager and guest not in manager:
            manager.add_instance(guest)
        log.append("acquire gpu")  # only now: an interrupted hook has failed

    def release(_manager: InstanceManager[Worker]) -> None:
        log.append("release gpu")

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=acquire, release=release)

    manager, ready = Hooked(), False

    def scenario() -> None:
        nonlocal log, manager, ready
        log, ready = [], False
        manager, ready = Hooked(), True
        manager.add_instance(host)

    def runs(begin: str, end: str) -> int:
        return log.count(begin) - log.count(end)

    for interruption in interrupt_everywhere(scenario):
        if not ready:
            continue
        assert host not in manager, interruption
        assert runs(*WHOLE[1:3]) == bool(manager.gpu), interruption
        assert all(worker in manager for worker in manager.gpu), interruption
        for worker in manager:
            manager.refresh(worker)
        assert len(manager.gpu) == len(manager), interruption
        for worker in manager:
            manager.remove_instance(worker)
        assert runs(*WHOLE[1:3]) == len(manager.gpu) == 0, interruption


def test_interrupt_goes_before_errors(reported: list[str]) -> None:
    """Of all that goes wrong in a removal an interrupt is what the caller gets; what came before it is reported."""

    def interrupt(_manager: InstanceManager[Worker]) -> None:
        raise KeyboardInterrupt

    class Broken(InstanceManager[Worker]):
        one = demand("needs_gpu", release=fail)
        two = demand("needs_gpu", release=interrupt)

    worker = needy()
    manager = Broken([worker])
    with pytest.raises(KeyboardInterrupt):
        manager.remove_instance(worker)
    assert reported == ["hook failed"]
    assert not manager.instances
    manager.add_instance(worker)
    assert manager.one.usecount == manager.two.usecount == 1


def test_predicate_that_is_interrupted_every_time() -> None:
    """Then the caller gets the interrupt, and the instance can be worked on again."""
    interrupted = False

    def predicate(_worker: Worker) -> bool:
        if interrupted:
            raise KeyboardInterrupt
        return True

    class Interrupted(InstanceManager[Worker]):
        gpu = demand(predicate)

    worker = Worker()
    manager = Interrupted([worker])
    interrupted = True
    with pytest.raises(KeyboardInterrupt):
        manager.refresh(worker)
    manager.remove_instance(worker)
    assert not manager.gpu
    with pytest.raises(KeyboardInterrupt):
        manager.add_instance(worker)
    interrupted = False
    manager.add_instance(worker)
    assert manager.gpu.usecount == 1


# --- memory and processes ---


@pytest.mark.parametrize("failing", [True, False])
def test_dropped_manager_and_instances_go_at_once(failing: bool) -> None:
    """Nothing that a manager does leaves a reference cycle, so that no garbage collection is needed."""

    def maybe(_manager: InstanceManager[Worker]) -> None:
        if failing:
            raise FailureError

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=lambda manager: manager.instances, release=maybe)
        bad = demand("needs_disk", acquire=maybe, resource=nullcontext)

    def use() -> list[weakref.ref[object]]:
        manager = Hooked()
        worker, removed, refused = needy(), needy(), Worker(needs_disk=True)
        with suppress(FailureError):
            manager.add_instance(refused)
        for managed in (removed, worker):
            manager.add_instance(managed)
        manager.remove_instance(removed)
        with suppress(FailureError):
            worker.needs_gpu = False
        return [weakref.ref(thing) for thing in (manager, worker, removed, refused)]

    gc.collect()
    gc.disable()
    try:
        assert [weak() for weak in use()] == [None] * 4
    finally:
        gc.enable()


@pytest.mark.parametrize("shared", [False, True])
def test_manager_that_is_lost_while_instances_demand(shared: bool) -> None:
    """What it held is closed by the timer thread, its hooks cannot run; a lease of a shared resource is reported."""
    log: list[str] = []
    closed = threading.Event()

    @contextmanager
    def opener() -> Generator[None]:
        log.append("open")
        yield
        log.append("close")
        closed.set()

    class Hooked(InstanceManager[Worker]):
        gpu = demand("needs_gpu", release=fail, resource=SharedResource(opener, name="gpu") if shared else opener)

    workers = [needy(), needy()]
    manager = weakref.ref(Hooked(workers))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
        assert manager() is None
        assert closed.wait(WAIT)
    texts = [str(warning.message) for warning in caught]
    name = f"{Hooked.__name__}.gpu"
    assert texts == ([f"a lease of gpu was never released: {name} was demanded when its manager was lost"] * shared)
    assert log == ["open", "close"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child() -> None:
    """A child has the instances and who demands, but not what the parent holds: it begins and ends its own."""
    log: list[str] = []

    class Hooked(InstanceManager[Worker]):
        gpu = hooked(log)

    worker, other = needy(), needy("other")
    manager = Hooked([worker, other])
    other_is_at_it, child_is_over = threading.Event(), threading.Event()

    def hold_the_turn(_worker: Worker) -> bool:
        other_is_at_it.set()
        return child_is_over.wait(WAIT)

    class Held(InstanceManager[Worker]):
        disk = demand("needs_gpu", acquire=hold_the_turn)

    held = Held()
    thread = threading.Thread(target=lambda: held.add_instance(worker))
    thread.start()
    assert other_is_at_it.wait(WAIT)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(int(WAIT))
            assert [*map(id, manager)] == [*map(id, manager.gpu)] == [id(worker), id(other)]
            with pytest.raises(ReleasedError, match="has no value: it was the parent process's, refresh an instance"):
                manager.gpu.value
            manager.refresh(worker)
            assert manager.gpu.value == "value of gpu"
            manager.remove_instance(worker)
            assert log == [*WHOLE[:2], *WHOLE[:2]]  # the other one has it as well, without being looked at
            manager.remove_instance(other)
            assert log == [*WHOLE[:2], *WHOLE]
            assert not held.disk
            child_is_over.set()
            held.add_instance(worker)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    child_is_over.set()
    thread.join(WAIT)
    assert manager.gpu.value == "value of gpu"
    for managed in (worker, other):
        manager.remove_instance(managed)
    assert log == WHOLE


# --- tracked ---


def test_tracked_attribute_refreshes_by_itself() -> None:
    """Setting and deleting it tells every manager of the instance, and none that has removed it."""
    worker = Worker()
    one, two = Manager([worker]), Manager([worker])
    worker.needs_gpu = True
    assert one.gpu.usecount == two.gpu.usecount == 1
    one.remove_instance(worker)
    worker.needs_gpu = None
    worker.needs_gpu = True
    assert (one.gpu.usecount, two.gpu.usecount) == (0, 1)
    del worker.needs_gpu
    assert two.gpu.usecount == 0
    one.add_instance(worker)
    worker.needs_gpu = True
    assert one.gpu.usecount == two.gpu.usecount == 1


def test_hook_that_fails_on_an_assignment() -> None:
    """Its error comes out of the assignment; the attribute is set, and the other managers are told all the same."""

    class Broken(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=fail)

    worker = Worker()
    one, broken, two = Manager([worker]), Broken([worker]), Manager([worker])
    with pytest.raises(FailureError):
        worker.needs_gpu = True
    assert worker.needs_gpu is True
    assert (one.gpu.usecount, broken.gpu.usecount, two.gpu.usecount) == (1, 0, 1)


def test_several_managers_that_fail_on_an_assignment(reported: list[str]) -> None:
    """The first error comes out of the assignment, or an interrupt before any error; the others are reported."""
    raised: list[type[BaseException]] = []

    def complain(_manager: InstanceManager[Worker]) -> None:
        kind = raised.pop(0)
        raise kind(kind.__name__)

    class Broken(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=complain)

    worker = Worker()
    managers = [Broken([worker]) for _ in range(3)]
    for kinds in ([KeyError, ValueError, TypeError], [KeyError, KeyboardInterrupt, TypeError]):
        raised[:] = kinds
        with pytest.raises(next((kind for kind in kinds if kind is KeyboardInterrupt), KeyError)):
            worker.needs_gpu = True
        worker.needs_gpu = False
    assert reported == ["ValueError", "TypeError", "'KeyError'", "TypeError"]
    assert not any(manager.gpu for manager in managers)


def test_failed_add_is_told_of_nothing() -> None:
    """A manager that could not add an instance hears no more of it."""

    class Broken(InstanceManager[Worker]):
        gpu = demand("needs_gpu", acquire=fail)

    worker = needy()
    manager = Broken()
    with pytest.raises(FailureError):
        manager.add_instance(worker)
    worker.needs_gpu = True
    assert not manager.instances


def test_tracked_instances_must_be_weakly_referable() -> None:
    """Where that is impossible the adding is refused by name, and nothing was taken; without `tracked` all is well."""

    class Bare:
        __slots__ = ("__dict__",)
        needs_gpu = tracked[bool]()

    class Plain:
        __slots__ = ("needs_gpu",)

    class Anything(InstanceManager[object]):
        gpu = demand("needs_gpu")

    manager = Anything([Plain()])
    with pytest.raises(TypeError, match=r"tracked needs weak references .*Bare: add '__weakref__' to its __slots__"):
        manager.add_instance(Bare())
    assert len(manager) == 1


# --- mistakes ---


def test_demands_cannot_be_assigned_or_deleted() -> None:
    """Both are refused on an instance; the error names the demand, the manager and the value."""
    manager: Any = Manager()
    with pytest.raises(AttributeError, match=r"demand Manager\.gpu.*Manager of 0 instances.* cannot be set to True"):
        manager.gpu = True
    with pytest.raises(AttributeError, match=r"demand Manager\.gpu.*Manager of 0 instances.* cannot be deleted"):
        del manager.gpu


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((3,), {}, TypeError, "an instance demands .* not 3"),
        (("no name",), {}, ValueError, "name of an attribute, not 'no name'"),
        (("",), {}, ValueError, "name of an attribute, not ''"),
        (("a",), {"acquire": "x"}, TypeError, "acquire .* not 'x'"),
        (("a",), {"release": 1}, TypeError, "release .* not 1"),
        (("a",), {"resource": 2}, TypeError, "resource .* not 2"),
    ],
)
def test_bad_arguments_are_refused_at_once(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """What is wrong with a demand is said where it is declared, and names the thing and the value."""
    with pytest.raises(error, match=text):
        demand(*arguments, **options)


def test_init_that_does_not_call_super() -> None:
    """Whatever is then done with the manager says what is missing; its repr is none the worse."""

    class Forgetful(InstanceManager[Worker]):
        gpu = demand("needs_gpu")

        def __init__(self) -> None:
            pass

    manager = Forgetful()
    uses: list[Callable[[], object]] = [
        lambda: manager.add_instance(Worker()),
        lambda: manager.instances,
        lambda: len(manager),
        lambda: Worker() in manager,
        lambda: manager.gpu,
    ]
    for use in uses:
        with pytest.raises(RuntimeError, match=r"Forgetful\.__init__ has not called super\(\)\.__init__\(\) yet"):
            use()
    assert repr(manager).endswith("Forgetful of 0 instances>")


def test_managers_are_not_copied() -> None:
    """A copy would share what is held, or have lost it; a subclass that knows better may say how."""

    class Copied(Manager):
        def __reduce__(self) -> Any:
            return Copied, (self.instances,)

    worker = needy()
    manager = Manager([worker])
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"Manager cannot be copied or pickled, .* shared or lost"):
            duplicate(manager)
    assert manager.gpu.usecount == 1
    assert list(copy.copy(Copied([worker])).gpu) == [worker]


def test_class_access_gives_the_descriptor() -> None:
    """On the class a demand is itself, and says its name."""
    assert Manager.gpu is vars(Manager)["gpu"]
    assert repr(Manager.gpu) == "<demand Manager.gpu>"


def test_a_manager_makes_nothing_before_somebody_demands() -> None:
    """Many a manager is made whose instances never do: it costs little more than one without hooks."""
    log: list[str] = []

    class Many(InstanceManager[Worker]):
        gpu = hooked(log)
        cpu = hooked(log, name="cpu")

    def resources() -> int:
        return sum(type(thing) is SharedResource for thing in gc.get_objects())

    gc.collect()
    before = resources()
    manager = Many([Worker()])
    assert resources() == before
    assert not manager.gpu
    with pytest.raises(ReleasedError, match="no managed instance demands it"):
        manager.gpu.value
    manager.clear()
    assert (resources(), log) == (before, [])


def test_several_threads_bring_the_first_one() -> None:
    """What is made then is made once: the hooks run once, and the demand ends with the last one."""
    for seed in range(10):
        log: list[str] = []

        class Many(InstanceManager[Worker]):
            gpu = hooked(log)

        manager, workers = Many(), [needy() for _ in range(4)]
        with shaken(seed):
            run_threads(*[partial(manager.add_instance, worker) for worker in workers])
        assert log == ["open gpu", "acquire gpu"]
        assert manager.gpu.usecount == 4
        manager.clear()
        assert log == ["open gpu", "acquire gpu", "release gpu", "close gpu"]
