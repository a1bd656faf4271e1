"""What type checkers infer and refuse for `refcounted_attribute` and `tracked`. Checked, never run."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar, assert_type

from typing_extensions import override

from refcount import Lease, SharedResource, StoppableThread, refcounted_attribute, tracked

T = TypeVar("T")


class Device:
    """Something with a beginning and an end."""

    def __init__(self, port: int = 0) -> None:
        self.port = port

    def open(self) -> bool:
        """Begin."""
        return True

    def close(self, force: bool = False) -> None:
        """End."""


class Special(refcounted_attribute[T]):
    """A descriptor of the user's."""


class Camera:
    """Owns attributes."""

    device = refcounted_attribute(Device, start=Device.open, stop=Device.close)
    thread = refcounted_attribute(StoppableThread, start=StoppableThread.start, stop=StoppableThread.stop)
    any_thread = refcounted_attribute(StoppableThread, start=threading.Thread.start)
    made_by_partial = refcounted_attribute(partial(Device, 3), stop=lambda device: device.close(force=True))
    made_by_lambda = refcounted_attribute(lambda: Device(3), check=lambda device: device.port > 0, linger=5)
    special = Special(Device)


class Film(Camera):
    """Inherits them."""


def is_alive(thread: StoppableThread) -> bool:
    """Check what the methods give."""
    return thread.is_alive()


def is_thread(thread: threading.Thread) -> bool:
    """Check more than that."""
    return thread.is_alive()


def is_open(device: Device) -> bool:
    """Check something else."""
    return device.port > 0


class Producer:
    """Has attributes that see the instance."""

    port = 3

    @refcounted_attribute
    def thread(self) -> Generator[StoppableThread]:
        """Say no more than that."""
        yield StoppableThread()

    @refcounted_attribute
    def iterated(self) -> Iterator[StoppableThread]:
        """Say it in another way."""
        yield StoppableThread()

    @refcounted_attribute()
    def called(self) -> Generator[StoppableThread]:
        """Be decorated by what has no options."""
        yield StoppableThread()

    @refcounted_attribute(linger=1.0, exclusive=True, own_thread=True, at_exit="leave", name=lambda producer: "thread")
    def optioned(self) -> Iterator[StoppableThread]:
        """Have options."""
        yield StoppableThread()

    @refcounted_attribute(check=lambda thread: thread.is_alive(), linger=1.0)
    def by_lambda(self) -> Generator[StoppableThread]:
        """Have a check that shows no type."""
        yield StoppableThread()

    @refcounted_attribute(check=is_alive)
    def checked(self) -> Generator[StoppableThread]:
        """Have a check that fits."""
        yield StoppableThread()

    @refcounted_attribute(check=StoppableThread.is_alive)
    def by_method(self) -> Generator[StoppableThread]:
        """Have a check that fits, and was inherited."""
        yield StoppableThread()

    @refcounted_attribute(check=is_thread)
    def wide(self) -> Generator[StoppableThread]:
        """Have a check that takes more, and lose nothing."""
        yield StoppableThread()

    # Of another value; mypy is silent.
    @refcounted_attribute(check=is_open)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
    def unfit(self) -> Generator[StoppableThread]:
        """Have a check that does not fit."""
        yield StoppableThread()

    @Special
    def special(self) -> Generator[StoppableThread]:
        """Be decorated by a descriptor of the user's."""
        yield StoppableThread()

    def launch(self) -> Device:
        """Make what the instance knows about."""
        return Device(self.port)

    def shut(self, device: Device) -> None:
        """Stop that."""

    launched = refcounted_attribute(launch, start=Device.open, stop=shut)
    with_lambdas = refcounted_attribute(lambda self: Device(self.port), stop=lambda device: device.close())
    checked_later = refcounted_attribute(launch, check=lambda device: device.port > 0)


class Heir(Producer):
    """Overrides one, and uses what it overrides."""

    @refcounted_attribute
    @override
    def thread(self) -> Generator[StoppableThread]:
        """Wrap that of the base."""
        with super().thread() as thread:
            assert_type(thread, StoppableThread)
            yield thread


class HasThread(Protocol):
    """What somebody may ask of it."""

    @property
    def thread(self) -> SharedResource[StoppableThread]:
        """Give a resource."""
        ...


class Abstract(ABC):
    """Leaves it to others how."""

    @property
    @abstractmethod
    def thread(self) -> SharedResource[StoppableThread]:
        """Give a resource."""


class Concrete(Abstract):
    """Does it; as with `functools.cached_property`, pyright sees no property in any other descriptor."""

    @refcounted_attribute
    def thread(self) -> Generator[StoppableThread]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Give a resource."""
        yield StoppableThread()


def take(thing: HasThread) -> None:
    """Ask for it."""
    assert_type(thing.thread(), Lease[StoppableThread])


class Box(Generic[T]):
    """A generic owner."""

    items: refcounted_attribute[list[T]] = refcounted_attribute(list[T])


camera = Camera()

# On the class: the descriptor itself, also in subclasses and of subclasses.
assert_type(Camera.device, refcounted_attribute[Device])
assert_type(Film.thread, refcounted_attribute[StoppableThread])
assert_type(Camera.special, Special[Device])

# On an instance: its own resource.
assert_type(camera.device, SharedResource[Device])
assert_type(camera.device(), Lease[Device])
assert_type(Film().thread, SharedResource[StoppableThread])
assert_type(camera.any_thread, SharedResource[StoppableThread])
assert_type(camera.made_by_partial, SharedResource[Device])
assert_type(camera.made_by_lambda, SharedResource[Device])
assert_type(camera.special, SharedResource[Device])
assert_type(Box[str]().items, SharedResource[list[str]])
producer = Producer()
assert_type(Producer.thread, refcounted_attribute[StoppableThread])
assert_type(producer.thread, SharedResource[StoppableThread])
assert_type(producer.thread.usecount, int)
assert_type(producer.iterated, SharedResource[StoppableThread])
assert_type(producer.called, SharedResource[StoppableThread])
assert_type(producer.optioned, SharedResource[StoppableThread])
assert_type(producer.by_lambda, SharedResource[StoppableThread])
assert_type(producer.checked, SharedResource[StoppableThread])
assert_type(producer.by_method, SharedResource[StoppableThread])
assert_type(producer.wide, SharedResource[StoppableThread])
assert_type(Producer.special, Special[StoppableThread])
assert_type(producer.launched, SharedResource[Device])
assert_type(producer.with_lambdas, SharedResource[Device])
assert_type(producer.checked_later, SharedResource[Device])
assert_type(Heir().thread, SharedResource[StoppableThread])
assert_type(Concrete().thread, SharedResource[StoppableThread])
take(producer)  # pyright: ignore[reportArgumentType]  # as above
with camera.device() as device, camera.thread() as thread:
    assert_type(device, Device)
    assert_type(thread, StoppableThread)

# Mistakes.
refcounted_attribute(Device, start=threading.Event.set)  # type: ignore[arg-type]  # another type's start
refcounted_attribute(Device, stop=StoppableThread.stop)  # type: ignore[arg-type]  # another type's stop
refcounted_attribute(Device, stop=lambda device: device.shut())  # type: ignore[arg-type]  # a typo
refcounted_attribute(Device, stop="close")  # type: ignore[call-overload]  # a name instead of the function
refcounted_attribute(Device())  # type: ignore[call-overload]  # an object instead of its factory
refcounted_attribute(Device, check=lambda device: "good")  # type: ignore[arg-type, return-value]  # no bool
refcounted_attribute(Device, lingering=5)  # type: ignore[call-overload]  # a typo
refcounted_attribute(factory=Device)  # type: ignore[call-overload]  # positional only
refcounted_attribute(Producer.launch, stop=threading.Event.set)  # type: ignore[arg-type]  # another type's stop
refcounted_attribute(Producer.checked, stop=StoppableThread.stop)  # type: ignore[arg-type]  # it has a method
refcounted_attribute(start=Device.open)  # type: ignore[call-overload]  # of no factory
refcounted_attribute(name=lambda: "x")  # type: ignore[arg-type, misc]  # it is handed the instance
refcounted_attribute(Device, at_exit="never")  # type: ignore[call-overload]  # a word that it does not know
Producer.thread(Producer.launch)  # type: ignore[misc, arg-type]  # it has a method
producer.thread.usecont  # type: ignore[attr-defined]  # a typo
camera.device = Device()  # type: ignore[assignment]  # it cannot be set
with camera.device as device:  # type: ignore[attr-defined]  # not called
    pass
with Camera.device:  # type: ignore[attr-defined]  # neither called nor of an instance
    pass
camera.device.relaese()  # type: ignore[attr-defined]  # a typo
camera.devcie  # type: ignore[attr-defined]  # a typo
Camera.device.strat  # type: ignore[attr-defined]  # a typo
Camera.device()  # type: ignore[misc, call-overload]  # of no instance
with camera.device() as device:
    device.shut()  # type: ignore[attr-defined]  # a typo


async def asynchronous() -> None:
    """What is for threads is not for tasks."""
    async with camera.device():  # type: ignore[attr-defined]  # `with`
        pass


def delete() -> None:
    """Do what types accept of every descriptor that has a `__delete__`, and what raises at run time."""
    del camera.device


# --- tracked ---


class Worker:
    """Has tracked attributes."""

    needs_gpu = tracked[bool]()
    batch: tracked[int | None] = tracked()


worker = Worker()
worker.needs_gpu = True
worker.batch = None
del worker.needs_gpu
assert_type(worker.needs_gpu, bool)
assert_type(Worker().batch, int | None)
assert_type(Worker.needs_gpu, tracked[bool])

# Mistakes.
worker.needs_gpu = "yes"  # type: ignore[assignment]  # of another type
worker.needs_gp = True  # type: ignore[attr-defined]  # a typo
Worker.needs_gpu.vaule  # type: ignore[attr-defined]  # a typo
tracked[bool](True)  # type: ignore[arg-type]  # no default


@dataclass
class Declared:
    """Has them as fields, which may be left out."""

    number: int
    needs_gpu: tracked[bool] = tracked()  # noqa: RUF009  # it is no default that they would share


assert_type(Declared(1, True).needs_gpu, bool)
assert_type(Declared.needs_gpu, tracked[bool])
Declared(1).needs_gpu = False

# Mistakes.
Declared(1, "yes")  # type: ignore[arg-type]  # of another type
Declared(1).needs_gpu = "yes"  # type: ignore[assignment]  # of another type


# --- StoppableThread ---


def produce(stopping: threading.Event) -> int:
    """Fit as a target."""
    return int(stopping.wait(1.0))


def produce_more() -> None:
    """Do not fit."""


assert_type(StoppableThread(produce).stopping, threading.Event)
StoppableThread(threading.Event.wait, name="waiter", daemon=False)
StoppableThread(target=lambda stopping: stopping.wait(1.0)).stop(timeout=2)

# Mistakes.
StoppableThread(produce_more)  # type: ignore[arg-type]  # it is not handed the event
StoppableThread(produce, True)  # type: ignore[call-arg, arg-type]  # keyword only
StoppableThread(produce).stop("soon")  # type: ignore[arg-type]  # no number
StoppableThread(produce).halt()  # type: ignore[attr-defined]  # a typo
