"""What type checkers infer and refuse for `refcounted_attribute` and `tracked`. Checked, never run."""

import threading
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, assert_type

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
with camera.device() as device, camera.thread() as thread:
    assert_type(device, Device)
    assert_type(thread, StoppableThread)

# Mistakes.
refcounted_attribute(Device, start=threading.Event.set)  # type: ignore[misc]  # another type's start
refcounted_attribute(Device, stop=StoppableThread.stop)  # type: ignore[misc]  # another type's stop
refcounted_attribute(Device, stop=lambda device: device.shut())  # type: ignore[attr-defined]  # a typo
refcounted_attribute(Device, stop="close")  # type: ignore[arg-type]  # a name instead of the function
refcounted_attribute(Device())  # type: ignore[arg-type]  # an object instead of its factory
refcounted_attribute(Device, check=lambda device: "good")  # type: ignore[arg-type, return-value]  # no bool
refcounted_attribute(Device, lingering=5)  # type: ignore[call-arg]  # a typo
refcounted_attribute(factory=Device)  # type: ignore[call-arg]  # positional only
camera.device = Device()  # type: ignore[assignment]  # it cannot be set
with camera.device as device:  # type: ignore[attr-defined]  # not called
    pass
with Camera.device:  # type: ignore[attr-defined]  # neither called nor of an instance
    pass
camera.device.relaese()  # type: ignore[attr-defined]  # a typo
camera.devcie  # type: ignore[attr-defined]  # a typo
Camera.device.strat  # type: ignore[attr-defined]  # a typo
Camera.device()  # type: ignore[operator]  # of no instance
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
tracked[bool](True)  # type: ignore[call-arg]  # no default


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
