"""`refcounted_attribute` gives each instance a shared resource of its own; `tracked` is an attribute that tells."""

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from refcount import InstanceManager, SharedResource, StoppableThread, demand, refcounted_attribute, tracked
from refcount._support.weak import Entry, PerInstance
from refcount.testing import ManualClock
from tests.helpers.shaking import run_threads, shaken


class Camera:
    """What the attributes of these tests give; it remembers what was done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def start(self) -> None:
        self.done.append("start")

    def stop(self) -> None:
        self.done.append("stop")


class Room:
    camera = refcounted_attribute(Camera, start=Camera.start, stop=Camera.stop)


class Hall(Room):
    """Inherits the attribute."""


class SlottedRoom:
    __slots__ = ("__weakref__", "number")
    camera = refcounted_attribute(Camera)


@dataclass
class EqualRoom:
    """Not hashable, and equal to every other one of its number."""

    number: int = 0
    camera = refcounted_attribute(Camera)


def collected(thing: weakref.ref[Any]) -> bool:
    """Say whether nothing keeps what `thing` refers to alive."""
    gc.collect()
    return thing() is None


def pickled(thing: Any) -> Any:
    """Return what comes out of a pickle of `thing`."""
    return pickle.loads(pickle.dumps(thing))


DUPLICATES: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, pickled]
every_copy = pytest.mark.parametrize("duplicate", DUPLICATES)


# --- a resource for each instance ---


def test_first_consumer_starts_and_last_one_stops() -> None:
    """The instance's consumers share one value, made and started by the first, stopped by the last, then made anew."""
    room = Room()
    with room.camera() as first, room.camera() as second:
        assert first is second
        assert first.done == ["start"]
        assert room.camera.usecount == 2
    assert first.done == ["start", "stop"]
    with room.camera() as third:
        assert third is not first


def test_instances_do_not_share() -> None:
    """Two instances have two resources, also where one class inherits the attribute from the other."""
    room, hall = Room(), Hall()
    assert room.camera is room.camera
    assert room.camera is not hall.camera
    with room.camera() as one, hall.camera() as other:
        assert one is not other


def test_class_access_gives_the_descriptor() -> None:
    """On the class it is the descriptor itself, also on a subclass, and of its own class."""

    class Special(refcounted_attribute[Camera]):
        """A descriptor of the user's."""

    class House:
        camera = Special(Camera)

    assert type(House.camera) is Special
    assert Hall.camera is Room.camera


def test_names() -> None:
    """A resource is called by class and attribute, or as it is told; the descriptor says what it makes."""

    class House:
        camera = refcounted_attribute(Camera, name="front door")

    assert Room().camera.name == Hall().camera.name == "Room.camera"
    assert House().camera.name == "front door"
    assert repr(Room.camera) == "<refcounted_attribute Room.camera of Camera>"


def test_a_second_name_is_the_same_resource() -> None:
    """An attribute that is assigned to a second name gives the same resource under both."""

    class House:
        camera = webcam = refcounted_attribute(Camera)

    house = House()
    assert house.camera is house.webcam


def test_options_reach_the_resource() -> None:
    """`linger`, `check` and `overlap` are those of `SharedResource`."""
    good = True

    class House:
        lingering = refcounted_attribute(Camera, stop=Camera.stop, linger=5.0)
        checked = refcounted_attribute(Camera, check=lambda camera: good)

    house = House()
    with ManualClock() as clock:
        with house.lingering() as first:
            pass
        clock.advance(4.0)
        assert first.done == []
        clock.advance(1.0)
        assert first.done == ["stop"]
    with house.checked() as first:
        good = False
        with house.checked() as second:
            assert second is not first


def test_overlap_starts_anew_while_the_old_one_stops() -> None:
    """With `overlap` a newcomer does not wait for the stop of another thread."""
    stopping, stopped = threading.Event(), threading.Event()

    def stop(_camera: Camera) -> None:
        stopping.set()
        assert stopped.wait(10)

    class House:
        camera = refcounted_attribute(Camera, stop=stop, overlap=True)

    house = House()
    lease = house.camera.acquire()
    thread = threading.Thread(target=lease.release)
    thread.start()
    assert stopping.wait(10)
    newcomer = house.camera.acquire(timeout=5)
    stopped.set()
    thread.join()
    newcomer.release()


# --- life and death of the instance ---


@pytest.mark.parametrize("room_class", [Room, SlottedRoom, EqualRoom], ids=lambda cls: cls.__name__)
def test_idle_resource_goes_with_its_instance(room_class: type[Room | SlottedRoom | EqualRoom]) -> None:
    """A resource that was used and is idle keeps no instance alive, and is not kept either."""
    room = room_class()
    with room.camera():
        pass
    instance, resource = weakref.ref(room), weakref.ref(room.camera)
    del room
    assert collected(instance)
    assert collected(resource)


def test_held_resource_outlives_its_instance() -> None:
    """A consumer may hold the resource of an instance that nobody else remembers; it is stopped in the end."""
    with Room().camera() as camera:
        gc.collect()
        assert camera.done == ["start"]
    assert camera.done == ["start", "stop"]


def test_next_instance_at_the_same_address_gets_its_own() -> None:
    """Instances that come and go, and so take one another's addresses, each find a fresh resource."""
    for _ in range(100):
        room = Room()
        assert room.camera.generation is None
        with room.camera():
            assert room.camera.generation == 1


@every_copy
@pytest.mark.parametrize("room_class", [Room, SlottedRoom, EqualRoom], ids=lambda cls: cls.__name__)
def test_copies_have_their_own(duplicate: Callable[[Any], Any], room_class: type[Any]) -> None:
    """Copying or pickling an instance works while its resource is held; the copy's is another, idle one."""
    room = room_class()
    room.number = 7
    with room.camera():
        twin = duplicate(room)
        assert twin.number == 7
        assert twin.camera is not room.camera
        assert twin.camera.usecount == 0


def test_equal_unhashable_instances_are_told_apart() -> None:
    """Instances are found by identity: they need not be hashable, and being equal does not make them share."""
    one, other = EqualRoom(1), EqualRoom(1)
    assert one == other
    assert one.camera is not other.camera


def test_slots_without_weakref_are_named() -> None:
    """Where no weak reference is possible the error says for which attribute and class, and what to add."""

    class Bare:
        __slots__ = ()
        camera = refcounted_attribute(Camera)

    with pytest.raises(TypeError, match=r"Bare\.camera .* instances of .*Bare: add '__weakref__' to its __slots__"):
        Bare().camera


def test_first_access_from_many_threads_gives_one_resource() -> None:
    """However threads race to the first access, all get the same resource."""
    for seed in range(20):
        room = Room()
        with shaken(seed):
            resources = run_threads(*[lambda room=room: room.camera] * 6)
        assert len(set(map(id, resources))) == 1


# --- the store behind it ---


def test_store_keeps_what_another_thread_was_faster_to_make() -> None:
    """When the value was made elsewhere while this thread was making it, this thread gets the other's."""
    store: PerInstance[list[str]] = PerInstance("store")
    room = Room()
    faster: list[str] = ["faster"]

    def make() -> list[str]:
        store.get(room, lambda: faster)
        return ["slower"]

    assert store.get(room, make) is faster
    assert store.find(room) is faster


def test_store_is_not_deceived_by_a_stale_entry() -> None:
    """An entry left behind by an instance that died unseen is not taken for that of the next one at its address."""
    store: PerInstance[str] = PerInstance("store")
    room, dead = Room(), Room()
    stale: Entry[str] = Entry(dead)
    store.entries[id(room)] = stale  # no Python here leaves one
    stale.value = "stale"
    del dead
    assert store.find(room) is None
    assert store.get(room, lambda: "fresh") == store.get(room, lambda: "fresher") == "fresh"


def test_store_used_by_the_finalizer_of_a_cycle() -> None:
    """An instance in a cycle may use its resource in `__del__`; whoever takes its address gets a fresh one."""
    seen: list[SharedResource[Camera]] = []

    class Finalized(Room):
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            with self.camera():
                seen.append(self.camera)

    for _ in range(20):
        Finalized()
        gc.collect()
    assert len(set(map(id, seen))) == 20


# --- mistakes ---


def test_assigned_after_the_class_was_made() -> None:
    """Without `__set_name__` the attribute is refused by name, and what the error advises makes it work."""
    attribute = refcounted_attribute(Camera)

    class House:
        pass

    House.camera = attribute  # type: ignore[attr-defined]  # that is the mistake
    with pytest.raises(TypeError, match=r"refcounted_attribute of Camera.*assigned after its class was made"):
        House().camera  # type: ignore[attr-defined]  # the same
    attribute.__set_name__(House, "camera")
    assert isinstance(House().camera, SharedResource)  # type: ignore[attr-defined]  # the same


def test_assignment_and_deletion_are_refused() -> None:
    """Neither is possible on an instance; the error names the attribute, the instance and the value."""
    room: Any = Room()
    with pytest.raises(AttributeError, match=r"Room\.camera .*Room object .* cannot be set to 'film'"):
        room.camera = "film"
    with pytest.raises(AttributeError, match=r"Room\.camera .*Room object .* cannot be deleted"):
        del room.camera
    vars(room)["camera"] = "hidden"
    assert isinstance(room.camera, SharedResource)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("camera",), {}, TypeError, "factory .* not 'camera'"),
        ((Camera,), {"start": "start"}, TypeError, "start .* not 'start'"),
        ((Camera,), {"stop": 3}, TypeError, "stop .* not 3"),
        ((Camera,), {"check": True}, TypeError, "check .* not True"),
        ((Camera,), {"linger": -1.0}, ValueError, "linger .* not -1.0"),
        ((Camera,), {"linger": "1"}, TypeError, "linger .* not '1'"),
    ],
)
def test_bad_arguments_are_refused_at_once(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """What is wrong with the arguments is said where the attribute is made, and names the thing and the value."""
    with pytest.raises(error, match=text):
        refcounted_attribute(*arguments, **options)


def test_thread_as_in_the_design() -> None:
    """A thread as an attribute runs while it is held, and has ended when the last consumer is gone."""

    class Producer:
        thread = refcounted_attribute(
            lambda: StoppableThread(threading.Event.wait), start=StoppableThread.start, stop=StoppableThread.stop
        )

    with Producer().thread() as thread:
        assert thread.is_alive()
    assert not thread.is_alive()


# --- tracked ---


@dataclass(eq=False)
class Worker:
    needs_gpu = tracked[bool]()
    name: str = "worker"


def test_tracked_is_an_attribute() -> None:
    """It is read, set and deleted like any attribute, and missing until it is set."""
    worker = Worker()
    assert not hasattr(worker, "needs_gpu")
    worker.needs_gpu = True
    assert worker.needs_gpu is True
    assert Worker.needs_gpu is vars(Worker)["needs_gpu"]
    del worker.needs_gpu
    with pytest.raises(AttributeError, match="'Worker' object has no attribute 'needs_gpu'"):
        worker.needs_gpu
    with pytest.raises(AttributeError, match="'Worker' object has no attribute 'needs_gpu'"):
        del worker.needs_gpu


@every_copy
def test_tracked_value_is_copied_and_its_managers_are_not(duplicate: Callable[[Worker], Worker]) -> None:
    """A copy has the value, and may change it without any manager minding."""

    class Manager(InstanceManager[Worker]):
        gpu = demand("needs_gpu")

    worker = Worker()
    worker.needs_gpu = True
    manager = Manager([worker])
    twin = duplicate(worker)
    assert twin.needs_gpu is True
    twin.needs_gpu = False
    assert list(manager.gpu) == [worker]


@dataclass
class Declared:
    number: int
    needs_gpu: tracked[bool] = tracked()  # noqa: RUF009  # it is no default that they would share


def test_tracked_as_a_field_that_may_be_left_out() -> None:
    """A dataclass takes the descriptor for the default: left out, the attribute is missing, and demands nothing."""

    class Manager(InstanceManager[Declared]):
        gpu = demand("needs_gpu")

    left_out, given = Declared(1), Declared(2, True)
    assert vars(left_out) == {"number": 1}
    assert not hasattr(left_out, "needs_gpu")
    manager = Manager([left_out, given])
    assert list(manager.gpu) == [given]
    left_out.needs_gpu = True
    given.needs_gpu = False
    assert list(manager.gpu) == [left_out]
    assert repr(left_out).endswith("Declared(number=1, needs_gpu=True)")


def test_tracked_says_which_it_is() -> None:
    """By its class and name, once it has one."""
    assert repr(Worker.needs_gpu) == "<tracked Worker.needs_gpu>"
    assert repr(tracked[bool]()) == "<tracked>"


def test_tracked_needs_a_dict_and_a_name() -> None:
    """A class whose instances have no `__dict__` is told so, and so is who assigned it after the class was made."""

    class Slotted:
        __slots__ = ()
        needs_gpu = tracked[bool]()

    with pytest.raises(TypeError, match=r"tracked .*Slotted\.needs_gpu is kept in __dict__: add it to the __slots__"):
        Slotted().needs_gpu = True

    class Late:
        pass

    Late.needs_gpu = tracked[bool]()  # type: ignore[attr-defined]  # that is the mistake
    with pytest.raises(TypeError, match="assigned after its class was made"):
        Late().needs_gpu  # type: ignore[attr-defined]  # the same
