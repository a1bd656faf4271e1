"""`devices`: eight constructors that race make one handle, and every closing counts once."""

import gc
import threading
from collections.abc import Callable
from typing import ClassVar, Protocol

import pytest

from refcount import ReleasedError
from tests.clients.devices import Lamp, handle
from tests.helpers.shaking import run_threads
from tests.helpers.watched import WAIT, until


class Pin:
    """A port that notes what is done to it, and takes its time to open.

    Args:
        patience: How many seconds it waits, while it is taken, for a second one who opens it.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self._patience = patience
        self._second = threading.Event()
        self.taken = threading.Lock()
        self.log: list[str] = []

    def open(self) -> None:
        """Open it, unless somebody else has."""
        self.log.append("open")
        if not self.taken.acquire(blocking=False):
            self._second.set()
            raise OSError("it is taken")
        self._second.wait(self._patience)

    def close(self) -> None:
        """Close it."""
        self.log.append("close")
        self.taken.release()

    def write(self, bit: bool) -> None:
        """Set it."""
        assert self.taken.locked()
        self.log.append(f"write {bit}")


class AnyLamp(Protocol):
    """What the probe asks."""

    def switch(self, on: bool) -> None: ...
    def close(self) -> None: ...


class CountedLamp:
    """The same by hand: a table of what is open, looked at before, and a count for each."""

    counts: ClassVar[dict[Pin, int]] = {}
    lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, port: Pin) -> None:
        self._port = port
        if port not in self.counts:
            port.open()
            self.counts[port] = 0
        with self.lock:
            self.counts[port] += 1

    def switch(self, on: bool) -> None:
        """Switch it on or off."""
        self._port.write(on)

    def close(self) -> None:
        """Close the port with the last one."""
        with self.lock:
            self.counts[self._port] -= 1
            if not self.counts[self._port]:
                del self.counts[self._port]
                self._port.close()


def probe(make: Callable[[Pin], AnyLamp], pin: Pin) -> list[str]:
    """Make eight at once on one port, close them, and return what was done to it."""
    lamps: list[AnyLamp] = []
    failed: list[str] = []
    barrier = threading.Barrier(8)

    def make_one() -> None:
        barrier.wait(WAIT)
        try:
            lamps.append(make(pin))
        except OSError as error:
            failed.append(str(error))

    run_threads(*[make_one] * 8)
    for lamp in lamps:
        lamp.close()
    return [*pin.log, *failed]


def test_eight_constructors_make_one_handle() -> None:
    """Whoever comes while the port is being opened waits for that."""
    assert probe(Lamp, Pin(patience=0.1)) == ["open", "close"]
    assert handle.resources() == ()


def test_a_table_that_is_looked_at_before_opens_twice() -> None:
    """That is what the probe finds in what one writes by hand."""
    assert "it is taken" in probe(CountedLamp, Pin(patience=WAIT))


def test_closing() -> None:
    """Only the last one closes the port; closing again is harmless, and whoever has closed can switch no more."""
    pin = Pin()
    first, second = Lamp(pin), Lamp(pin)
    first.close()
    first.close()
    second.switch(True)
    with pytest.raises(ReleasedError):
        first.switch(False)
    second.close()
    assert pin.log == ["open", "write True", "close"]


def test_one_that_cannot_be_opened() -> None:
    """Nothing is left of it, and the next one tries anew."""
    pin = Pin()
    with pin.taken, pytest.raises(OSError, match="it is taken"):
        Lamp(pin)
    Lamp(pin).close()
    assert pin.log == ["open", "open", "close"]


@pytest.mark.filterwarnings("ignore:a lease of port:ResourceWarning")
def test_one_that_is_forgotten() -> None:
    """It does not keep the port for ever."""
    pin = Pin()
    lamp = Lamp(pin)
    lamp.switch(True)
    del lamp
    gc.collect()
    until(lambda: pin.log == ["open", "write True", "close"], "the closing")
    Lamp(pin).close()
