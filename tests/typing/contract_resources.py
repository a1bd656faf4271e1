"""What type checkers infer and refuse for `SharedResource`, `Lease`, `State`, the errors and `ManualClock`.

Checked, never run.
"""

import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import Generic, TypeVar, assert_never, assert_type

from refcount import (
    CapacityError,
    ClosedError,
    Lease,
    OverflowException,
    ReentrantError,
    RefcountError,
    ReleasedError,
    SharedResource,
    State,
    StoppableThread,
    UnderflowException,
)
from refcount.testing import ManualClock

T = TypeVar("T")


class Device:
    """Something with a beginning and an end."""

    alive = True

    def __init__(self, port: int = 0) -> None:
        self.port = port

    def open(self) -> bool:
        """Begin."""
        return True

    def close(self, force: bool = False) -> None:
        """End."""


class SpecialDevice(Device):
    """A narrower one."""


class Opened:
    """A context manager as classes write them."""

    def __enter__(self) -> Device:
        return Device()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


@contextmanager
def open_device() -> Generator[Device]:
    """Open a device."""
    yield Device()


@contextmanager
def open_port(port: int) -> Generator[Device]:
    """Open a device, once the port is known."""
    yield Device(port)


def generate_device() -> Generator[Device]:
    """Open no device, as nobody has wrapped it."""
    yield Device()


@asynccontextmanager
async def open_later() -> AsyncGenerator[Device]:
    """Open a device, asynchronously."""
    yield Device()


def is_alive(device: Device) -> bool:
    """Check a device."""
    return device.alive


def is_anything(thing: object) -> bool:
    """Check anything."""
    return thing is not None


def is_text(text: str) -> bool:
    """Check something else."""
    return bool(text)


# --- Making a resource ----------------------------------------------------------------------------------------------


def openers() -> None:
    """An opener gives the type."""
    assert_type(SharedResource(open_device), SharedResource[Device])
    assert_type(SharedResource(Opened), SharedResource[Device])
    assert_type(SharedResource(partial(open_port, 3)), SharedResource[Device])
    assert_type(SharedResource(lambda: open_port(3)), SharedResource[Device])
    assert_type(SharedResource(lambda: contextlib.nullcontext(3)), SharedResource[int])
    assert_type(SharedResource(open_device, name="device", linger=1, check=is_alive), SharedResource[Device])
    assert_type(SharedResource(open_device, check=is_anything, overlap=True), SharedResource[Device])
    assert_type(SharedResource(open_device, check=lambda device: device.alive), SharedResource[Device])


def factories() -> None:
    """So does a factory, and its hooks fit."""
    assert_type(SharedResource.of(Device), SharedResource[Device])
    assert_type(SharedResource.of(Device, start=Device.open, stop=Device.close, linger=5), SharedResource[Device])
    assert_type(SharedResource.of(lambda: Device(3), stop=lambda device: device.close()), SharedResource[Device])
    assert_type(SharedResource.of(list[int], stop=list[int].clear), SharedResource[list[int]])
    assert_type(SharedResource.of(Device, check=is_anything, name="device"), SharedResource[Device])
    assert_type(SharedResource.of(StoppableThread, start=threading.Thread.start), SharedResource[StoppableThread])


def refused_openers() -> None:
    """What opens nothing."""
    SharedResource()  # type: ignore[call-arg]  # the opener is missing
    SharedResource(Device)  # type: ignore[arg-type]  # a factory: `SharedResource.of`
    SharedResource(open_port)  # type: ignore[arg-type]  # it needs a port
    SharedResource(generate_device)  # type: ignore[arg-type]  # not wrapped by `contextmanager`
    SharedResource(open_device())  # type: ignore[arg-type]  # a context manager instead of what returns one
    SharedResource(open_later)  # type: ignore[arg-type]  # asynchronous
    SharedResource(open_device, check=is_text)  # type: ignore[misc]  # it takes something else
    SharedResource(open_device, 5.0)  # type: ignore[call-arg, arg-type]  # by keyword only
    SharedResource(open_device, linger="5")  # type: ignore[arg-type]  # seconds are a number
    SharedResource(open_device, lingr=5.0)  # type: ignore[call-arg]  # a typo
    SharedResource(open_device, start=Device.open)  # type: ignore[call-arg]  # for `SharedResource.of`


def refused_factories() -> None:
    """What makes nothing, and hooks that do not fit."""
    SharedResource.of(Device())  # type: ignore[arg-type]  # an object instead of its factory
    SharedResource.of(open_port)  # type: ignore[arg-type]  # it needs a port
    SharedResource.of(Device, start=threading.Event.set)  # type: ignore[misc]  # another type's start
    SharedResource.of(Device, stop=StoppableThread.stop)  # type: ignore[misc]  # another type's stop
    SharedResource.of(Device, stop=lambda device: device.shut())  # type: ignore[attr-defined]  # a typo
    SharedResource.of(Device, stop="close")  # type: ignore[arg-type]  # a name instead of the function
    SharedResource.of(Device, stop=Device().close)  # type: ignore[misc]  # bound to another device
    SharedResource.of(Device, check=is_text)  # type: ignore[misc]  # it takes something else
    SharedResource.of(Device, stp=Device.close)  # type: ignore[call-arg]  # a typo


# --- Using it -------------------------------------------------------------------------------------------------------


def resources(device: SharedResource[Device], special: SharedResource[SpecialDevice]) -> None:
    """A call gives a lease, all else says what it is."""
    assert_type(device(), Lease[Device])
    with device() as value:
        assert_type(value, Device)
    assert_type(device.acquire(), Lease[Device])
    assert_type(device.acquire(timeout=1), Lease[Device])
    assert_type(device.try_acquire(), Lease[Device] | None)
    assert_type(device.name, str)
    assert_type(device.usecount, int)
    assert_type(device.state, State)
    assert_type(device.generation, int | None)
    assert_type(device.observe(print), Callable[[], None])
    device.observe(lambda usecount: usecount + 1)()
    device.invalidate()
    device.touch()
    device.flush()
    device.close(timeout=1.0, force=True)
    device.wait_stopped(timeout=1.0)
    takes_resource(special)


def leases(device: SharedResource[Device], special: Lease[SpecialDevice]) -> None:
    """A lease is a context manager, and more."""
    lease = device.acquire()
    assert_type(lease.value, Device)
    assert_type(lease.held, bool)
    assert_type(lease.release(), bool)
    assert_type(lease.resource, SharedResource[Device])
    with lease as value:
        assert_type(value, Device)
    with contextlib.ExitStack() as stack:
        assert_type(stack.enter_context(device()), Device)
    running = device.try_acquire()
    if running is not None:
        assert_type(running.value, Device)
    takes_lease(special)


def takes_resource(device: SharedResource[Device]) -> None:
    """What gives something narrower will do."""
    assert_type(device().value, Device)


def takes_lease(lease: Lease[Device]) -> None:
    """What gives something narrower will do."""
    assert_type(lease.value, Device)


class Box(Generic[T]):
    """Has a resource of any type."""

    def __init__(self, content: SharedResource[T]) -> None:
        self.content = content

    def get(self) -> T:
        """Return the value."""
        with self.content() as value:
            return value


def generic(device: SharedResource[Device]) -> None:
    """The type goes through generic code."""
    assert_type(Box(device).get(), Device)


def after_a_with_statement(device: SharedResource[Device]) -> int:
    """A lease swallows nothing, so what follows is reached, and what is missing after it is missed."""
    with device():
        return 1


def refused_resources(device: SharedResource[Device]) -> None:
    """Mistakes with resources."""
    with device:  # type: ignore[attr-defined]  # not called
        pass
    with contextlib.ExitStack() as stack:
        stack.enter_context(device)  # type: ignore[arg-type]  # not called
    device(1)  # type: ignore[call-arg]  # there are no arguments
    device.value  # type: ignore[attr-defined]  # a lease has it
    device.aquire()  # type: ignore[attr-defined]  # a typo
    device.acquire("1")  # type: ignore[arg-type]  # a timeout is a number
    device.try_acquire(timeout=1)  # type: ignore[call-arg]  # it never waits
    device.try_acquire().value  # type: ignore[union-attr]  # there may be none
    device.close(1.0, True)  # type: ignore[call-arg]  # by keyword only
    device.usecount = 3  # type: ignore[misc]  # to look at
    device.state = State.IDLE  # type: ignore[misc]  # to look at
    device.name = "camera"  # type: ignore[misc]  # to look at
    device.lingers = 3  # type: ignore[attr-defined]  # a typo
    device.observe(lambda: None)  # type: ignore[arg-type, misc]  # it is handed the usecount
    device.observe(is_text)  # type: ignore[arg-type]  # it is handed a number
    narrower: SharedResource[SpecialDevice] = device  # type: ignore[assignment]  # it gives something wider
    print(narrower)
    with device() as value:
        value.shut()  # type: ignore[attr-defined]  # a typo


def refused_leases(lease: Lease[Device]) -> None:
    """Mistakes with leases."""
    lease.valeu  # type: ignore[attr-defined]  # a typo
    lease.value = Device()  # type: ignore[misc]  # to look at
    lease.held = False  # type: ignore[misc]  # `release()`
    lease.release(timeout=1)  # type: ignore[call-arg]  # there are no arguments
    lease.port  # type: ignore[attr-defined]  # the value has it: a lease is no proxy
    lease()  # type: ignore[operator]  # it is entered, or was acquired
    narrower: Lease[SpecialDevice] = lease  # type: ignore[assignment]  # it gives something wider
    print(narrower)


async def asynchronous(device: SharedResource[Device], lease: Lease[Device]) -> None:
    """What is for threads is not for tasks."""
    async with device():  # type: ignore[attr-defined]  # `with`
        pass
    async with device:  # type: ignore[attr-defined]  # `with`, and called
        pass
    async with lease:  # type: ignore[attr-defined]  # `with`
        pass
    await device.acquire()  # type: ignore[misc]  # it has been waited for
    await lease.release()  # type: ignore[misc]  # it has been waited for


# --- What it is doing -----------------------------------------------------------------------------------------------


def states(state: State) -> str:
    """There are six, and checkers see when one is forgotten."""
    text: str = state.value
    match state:
        case State.IDLE | State.CLOSED:
            return text
        case State.STARTING | State.STOPPING:
            return "moving"
        case State.RUNNING | State.LINGERING:
            return "up"
        case _:
            assert_never(state)


def refused_states(state: State) -> None:
    """Mistakes with states."""
    State.WAITING  # type: ignore[attr-defined]  # there is none
    idle: State = "idle"  # type: ignore[assignment]  # its value, not the state
    print(idle)
    match state:
        case State.IDLE | State.CLOSED | State.STARTING | State.STOPPING | State.RUNNING:
            pass
        case _:
            assert_never(state)  # type: ignore[arg-type]  # one was forgotten


# --- Errors ---------------------------------------------------------------------------------------------------------


def errors() -> None:
    """Each is the package's own, and what a caller would catch."""
    arithmetic: ArithmeticError = UnderflowException("usecount 0")
    overflow: OverflowError = OverflowException("usecount")
    name: NameError = ReleasedError("value")
    runtime: tuple[RuntimeError, ...] = ReentrantError(), ClosedError(), CapacityError()
    own: tuple[RefcountError, ...] = (
        UnderflowException(),
        OverflowException(),
        ReleasedError(),
        ReentrantError(),
        ClosedError(),
        CapacityError(),
    )
    print(arithmetic, overflow, name, runtime, own)
    try:
        pass
    except (ClosedError, CapacityError) as error:
        assert_type(error, ClosedError | CapacityError)
        raise RefcountError("wrapped") from error


def refused_errors() -> None:
    """Mistakes with errors."""
    closed: ClosedError = RefcountError()  # type: ignore[assignment]  # the base is wider
    capacity: CapacityError = ClosedError()  # type: ignore[assignment]  # the two are not one
    timeout: TimeoutError = ClosedError()  # type: ignore[assignment]  # it is none
    print(closed, capacity, timeout)


# --- The clock of tests ---------------------------------------------------------------------------------------------


def clocks() -> None:
    """It is a context manager that gives itself."""
    with ManualClock() as clock:
        assert_type(clock, ManualClock)
        clock.advance(5)
        assert_type(clock.now(), float)


def refused_clocks(clock: ManualClock) -> None:
    """Mistakes with clocks."""
    clock.advance()  # type: ignore[call-arg]  # by how much
    clock.advance("5")  # type: ignore[arg-type]  # seconds are a number
    clock.now = 5.0  # type: ignore[method-assign, assignment]  # `advance`
    clock.tick()  # type: ignore[attr-defined]  # a typo
    ManualClock(5.0)  # type: ignore[call-arg]  # it begins at 0
