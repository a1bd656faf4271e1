"""`refcounted_attribute` gives each instance a shared resource of its own; `tracked` is an attribute that tells."""

import copy
import gc
import pickle
import threading
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from refcount import (
    ClosedError,
    InstanceManager,
    SharedResource,
    State,
    StoppableThread,
    demand,
    refcounted_attribute,
    tracked,
)
from refcount._support.weak import Entry, PerInstance
from refcount.testing import ManualClock
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.watched import own_timers, until


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
    """`linger` and `check` are those of `SharedResource`."""
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


def test_a_thread_of_its_own() -> None:
    """With `own_thread` a method starts and stops in one other thread, a factory and its hooks as well."""
    threads: list[threading.Thread] = []

    def note(_value: object = None) -> None:
        threads.append(threading.current_thread())

    class House:
        @refcounted_attribute(own_thread=True)
        def camera(self) -> Generator[int]:
            note()
            yield 1
            note()

        lamp = refcounted_attribute(Camera, start=note, stop=note, own_thread=True)

    house = House()
    for resource in (house.camera, house.lamp):
        with resource():
            pass
    assert len(threads) == 4
    assert threads[0] is threads[1]
    assert threads[2] is threads[3]
    assert len({*threads, threading.current_thread()}) == 3
    gone = weakref.ref(house)
    threads.clear()
    del house, resource
    assert collected(gone)


def test_exclusive_waits_for_the_old_one() -> None:
    """With `exclusive` a newcomer after an `invalidate` waits until the old holder has left."""

    class House:
        @refcounted_attribute(exclusive=True)
        def port(self) -> Generator[list[str]]:
            yield []

    house = House()
    old = house.port.acquire()
    old.invalidate()
    with pytest.raises(TimeoutError):
        house.port.acquire(timeout=0.01)
    old.release()
    with house.port() as value:
        assert value == []


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


# --- the instance is seen ---


class Server:
    """Runs something that needs what the instance knows."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.done: list[str] = []

    @refcounted_attribute
    def process(self) -> Generator[str]:
        """Serve."""
        self.done.append("start")
        yield f"process at {self.port}"
        self.done.append("stop")

    @refcounted_attribute(linger=5.0, name=lambda server: f"server at {server.port}")
    def lingering(self) -> Iterator[str]:
        self.done.append("start")
        yield f"process at {self.port}"
        self.done.append("stop")

    def launch(self) -> list[str]:
        return [f"launched at {self.port}"]

    def terminate(self, process: list[str]) -> None:
        self.done.append(f"terminated {process[0]}")

    launched = refcounted_attribute(launch, start=lambda process: process.append("started"), stop=terminate)
    by_lambda = refcounted_attribute(lambda self: self.port)


def test_generator_method_sees_its_instance() -> None:
    """It runs up to its `yield` for the first consumer, on after the last; each instance has its own."""
    server, other = Server(1), Server(2)
    with server.process() as first, server.process() as second, other.process() as third:
        assert first is second
        assert (first, third) == ("process at 1", "process at 2")
        assert (server.process.usecount, other.process.usecount) == (2, 1)
        assert server.process is server.process
        assert server.done == ["start"]
    assert server.done == other.done == ["start", "stop"]
    with server.process():
        assert server.done == ["start", "stop", "start"]


def test_generator_method_with_options() -> None:
    """Options come first, as for any decorator; the name may be made of the instance."""
    server = Server(3)
    with ManualClock() as clock:
        with server.lingering() as process:
            assert (process, server.lingering.name) == ("process at 3", "server at 3")
        clock.advance(4.0)
        assert server.lingering.state is State.LINGERING
        clock.advance(1.0)
        assert server.done == ["start", "stop"]


def test_one_set_of_options_for_several_methods() -> None:
    """What was made with options alone decorates as often as it is asked to."""
    shared = refcounted_attribute(linger=5.0)

    class House:
        @shared
        def one(self) -> Generator[int]:
            yield 1

        @shared
        def two(self) -> Generator[int]:
            yield 2

    with ManualClock(), House().one() as one, House().two() as two:
        assert (one, two) == (1, 2)
        assert repr(House.one) == f"<refcounted_attribute {House.__name__}.one of {House.__name__}.one>"


def test_factory_and_hooks_that_need_the_instance() -> None:
    """A factory that cannot be called without it gets the instance; so does a hook that takes more than the value."""
    server = Server(4)
    with server.launched() as process:
        assert process == ["launched at 4", "started"]
    assert server.done == ["terminated launched at 4"]
    with server.by_lambda() as port:
        assert port == 4


def test_factory_that_can_do_without_gets_nothing() -> None:
    """A default is not for the instance; and a hook that can be called with the value alone is."""
    seen: list[object] = []

    def make(number: int = 7) -> list[int]:
        return [number]

    def stop(value: list[int], timeout: float | None = None) -> None:
        seen.extend((value, timeout))

    class House:
        camera = refcounted_attribute(make, stop=stop)

    with House().camera() as value:
        assert value == [7]
    assert seen == [[7], None]


def test_a_temporary_instance_lives_as_long_as_its_lease() -> None:
    """A resource that sees its instance keeps it, from the attribute access to the stop."""
    instances: list[weakref.ref[Server]] = []

    class Temporary(Server):
        @refcounted_attribute
        def process(self) -> Generator[str]:
            instances.append(weakref.ref(self))
            yield "process"
            assert instances[0]() is self

    with Temporary().process():
        gc.collect()
        assert instances[0]() is not None
    assert collected(instances[0])


@pytest.mark.parametrize("name", ["process", "launched"])
def test_used_and_idle_it_keeps_no_instance(name: str) -> None:
    """Its resource goes with the last who refers to it, and keeps the instance no longer."""
    server = Server()
    with getattr(server, name)():
        pass
    instance = weakref.ref(server)
    del server
    assert collected(instance)


@pytest.mark.parametrize("name", ["process", "launched"])
def test_a_lease_that_its_own_instance_keeps_is_lost_with_it(name: str) -> None:
    """Rule 14: nothing of ours keeps them while it runs, and it is reported."""
    with own_timers(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        server = Server()
        gone = weakref.ref(server)
        vars(server)["lease"] = getattr(server, name).acquire()
        del server
        gc.collect()
        until(lambda: len(caught) == 1, "the report")
        until(lambda: gone() is None, "the end of the instance")
    assert str(caught[0].message).startswith(f"a lease of Server.{name} was never released")


def test_held_without_a_lease() -> None:
    """An anonymous hold keeps it, though nobody refers to it meanwhile."""
    server = Server()
    server.process.inc()
    gc.collect()
    assert server.process.usecount == 1
    server.process.dec()
    assert server.done == ["start", "stop"]


def test_closed_it_stays_closed() -> None:
    """Though an idle resource is forgotten, its end is not."""
    server = Server()
    server.process.close()
    gc.collect()
    with pytest.raises(ClosedError, match=r"Server\.process is closed"):
        server.process.acquire()
    with Server().process():
        pass


def test_racing_consumers_start_it_once() -> None:
    """However threads race to the first access, one starts it, and all share what it gave."""
    for seed in range(20):
        server = Server()
        barrier = threading.Barrier(4)

        def consume(server: Server = server, barrier: threading.Barrier = barrier) -> None:
            with server.process():
                barrier.wait(10)

        with shaken(seed):
            run_threads(*[consume] * 4)
        assert server.done == ["start", "stop"]


def test_inherited_and_overridden() -> None:
    """A subclass has its base's, and what overrides it can use it; an abstract one must be overridden."""

    class Base(ABC):
        @refcounted_attribute
        @abstractmethod
        def process(self) -> Generator[str]: ...

        @refcounted_attribute
        def other(self) -> Generator[str]:
            yield "base"

    class Derived(Base):
        @refcounted_attribute
        def process(self) -> Generator[str]:
            yield "derived"

        @refcounted_attribute
        def other(self) -> Generator[str]:
            with super().other() as value:
                yield f"{value} and derived"

    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]  # that is the mistake, at run time as well
    derived = Derived()
    with derived.process() as process, derived.other() as other:
        assert (process, other) == ("derived", "base and derived")


UNFIT_NAMES: list[Callable[[Any], Any] | None] = [lambda room: 3, lambda room: room.missing, None]


@pytest.mark.parametrize("name", UNFIT_NAMES, ids=["number", "error", "None"])
def test_a_name_that_cannot_be_made(name: Any) -> None:
    """Then it is called by class and attribute, and works all the same."""

    class House:
        camera = refcounted_attribute(Camera, name=name)

    house = House()
    assert house.camera.name == f"{House.__name__}.camera"
    resource = house.camera
    del house
    gc.collect()
    assert resource.name == f"{House.__name__}.camera"


def test_documentation() -> None:
    """The attribute says what its method says, or else what makes it."""
    assert Server.process.__doc__ == "Serve."
    assert Room.camera.__doc__ == "A shared resource, each instance's own, made by `Camera`."


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
    with pytest.raises(AttributeError, match=r"Room\.camera of Camera> of <.*> cannot be set to 'film'"):
        room.camera = "film"
    with pytest.raises(AttributeError, match=r"Room\.camera of Camera> of <.*> cannot be deleted"):
        del room.camera
    vars(room)["camera"] = "hidden"
    assert isinstance(room.camera, SharedResource)


def generate() -> Generator[int]:
    """Take no instance."""
    yield 1


def takes_three(a: object, b: object, c: object) -> None:
    """Take too many."""


async def asynchronous() -> None:
    """Give what is to be awaited."""


MISTAKES: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    (("camera",), {}, TypeError, "factory .* not 'camera'"),
    ((Camera,), {"start": "start"}, TypeError, "start .* not 'start'"),
    ((Camera,), {"stop": 3}, TypeError, "stop .* not 3"),
    ((Camera,), {"check": True}, TypeError, "check .* not True"),
    ((Camera,), {"linger": -1.0}, ValueError, "linger .* not -1.0"),
    ((Camera,), {"linger": "1"}, TypeError, "linger .* not '1'"),
    ((Camera,), {"name": 3}, TypeError, "name of refcounted_attribute must be a string.* not 3"),
    ((Camera,), {"name": lambda: "x"}, TypeError, "name .* is called with the instance, and .* takes "),
    ((Camera,), {"exclusive": True, "overlap": True}, ValueError, "exclusive and overlap contradict"),
    ((Camera,), {"at_exit": "wait"}, ValueError, "at_exit must be 'stop' or 'leave', not 'wait'"),
    ((Camera,), {"check": lambda: True}, TypeError, "check is called with the value, and .* takes "),
    ((Camera,), {"stop": lambda: None}, TypeError, "stop is called with the value, and .* takes "),
    ((Camera,), {"stop": takes_three}, TypeError, "stop is called with the value, and .* takes "),
    ((takes_three,), {}, TypeError, "factory .* is called with the instance, and .* missing .* 'b'"),
    ((generate,), {}, TypeError, r"method .* is called with the instance, and `generate` takes \(\)"),
    (
        (Server.process,),
        {},
        TypeError,
        "must make the value: <.*Server.process> is an attribute already",
    ),
    ((SharedResource.of(list),), {}, TypeError, "the factory .* is shared already, and gives leases"),
    ((SharedResource.of(list)(),), {}, TypeError, "the factory .* must be callable, not <Lease"),
    ((staticmethod(generate),), {}, TypeError, "needs the function itself, not a staticmethod: `generate`"),
    (
        (contextmanager(generate),),
        {},
        TypeError,
        "takes the place of @contextmanager, so leave that out: `generate`",
    ),
    ((generate,), {"stop": print}, TypeError, "start and stop go with a factory, and `generate` is a generator"),
    ((), {"start": print}, TypeError, "start and stop go with a factory"),
]
"""What is handed in, the error, and what its text says."""


@pytest.mark.parametrize(("arguments", "options", "error", "text"), MISTAKES)
def test_bad_arguments_are_refused_at_once(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """What is wrong with the arguments is said where the attribute is made, and names the thing and the value."""
    with pytest.raises(error, match=text):
        refcounted_attribute(*arguments, **options)


def test_nothing_to_start() -> None:
    """Options alone are refused when the class is made; and what has a method is not called for another."""
    with pytest.raises((TypeError, RuntimeError)) as caught:

        class House:  # pyright: ignore[reportUnusedClass]  # it is not made
            camera = refcounted_attribute(linger=1.0)

    assert "House.camera has nothing to start" in str(caught.value.__cause__ or caught.value)
    attribute: Any = Room.camera
    with pytest.raises(TypeError, match=r"Room\.camera of Camera> cannot be called: get it from an instance"):
        attribute(generate)


def test_a_field_of_a_dataclass() -> None:
    """An annotation would make it one, and the error says what to do about that."""

    @dataclass
    class House:
        camera: refcounted_attribute[Camera] = refcounted_attribute(Camera)  # noqa: RUF009  # that is the mistake

    with pytest.raises(AttributeError, match=r"House\.camera .* leave out its annotation, or make that a ClassVar"):
        House()


def test_a_class_without_weak_references() -> None:
    """The error says what is to be done, and does not advise what is impossible."""

    @dataclass(slots=True)
    class Slotted:
        camera = refcounted_attribute(Camera)

    class Number(int):
        camera = refcounted_attribute(Camera)

    class Pair(tuple[int, int]):
        camera = refcounted_attribute(Camera)

    for instance, advice in (
        (Slotted(), r"add '__weakref__' to its __slots__, by @dataclass\(slots=True, weakref_slot=True\)$"),
        (Number(), "instances of int allow no weak references$"),
        (Pair((1, 2)), "instances of tuple allow no weak references$"),
    ):
        with pytest.raises(TypeError, match=rf"{type(instance).__name__}\.camera needs weak references .*: {advice}"):
            instance.camera


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

    with pytest.raises(
        TypeError, match=r"tracked .*Slotted\.needs_gpu is kept in __dict__, .*: add '__dict__' to the __slots__"
    ):
        Slotted().needs_gpu = True

    class Late:
        pass

    Late.needs_gpu = tracked[bool]()  # type: ignore[attr-defined]  # that is the mistake
    with pytest.raises(TypeError, match="assigned after its class was made"):
        Late().needs_gpu  # type: ignore[attr-defined]  # the same
