"""`callbacks`: asynchronous only while all allow it, whatever becomes of their attributes meanwhile."""

import threading
from collections.abc import Callable
from typing import Protocol

import pytest

from tests.clients.callbacks import Callback, Callbacks
from tests.helpers.watched import WAIT


class Noting(Callback):
    """Notes the steps that it is told of, and where.

    Args:
        asynchronous: Whether it allows it.
    """

    def __init__(self, *, asynchronous: bool) -> None:
        self.asynchronous = asynchronous
        self.steps: list[tuple[int, str]] = []

    def on_step(self, number: int) -> None:
        """Note it."""
        here = threading.current_thread() is threading.main_thread()
        self.steps.append((number, "in line" if here else "elsewhere"))


class AnyCallbacks(Protocol):
    """What the probe asks."""

    def add_instance(self, instance: Callback, /) -> None: ...
    def remove_instance(self, instance: Callback, /) -> None: ...
    def step(self, number: int) -> None: ...
    def catch_up(self) -> None: ...


class CountedCallbacks:
    """The same by hand: those who do not allow it are counted as they come and go."""

    def __init__(self) -> None:
        self._callbacks: list[Callback] = []
        self._in_line = 0
        self._threads: list[threading.Thread] = []

    def add_instance(self, instance: Callback, /) -> None:
        """Count one up."""
        self._callbacks.append(instance)
        if not instance.asynchronous:
            self._in_line += 1

    def remove_instance(self, instance: Callback, /) -> None:
        """Count one down."""
        self._callbacks.remove(instance)
        if not instance.asynchronous:
            self._in_line -= 1

    def step(self, number: int) -> None:
        """Tell the callbacks of a step."""
        if self._in_line:
            self._tell(number)
        else:
            self._threads.append(threading.Thread(target=self._tell, args=(number,)))
            self._threads[-1].start()

    def catch_up(self) -> None:
        """Wait until they have been told of all steps."""
        for thread in self._threads:
            thread.join(WAIT)

    def _tell(self, number: int) -> None:
        for callback in self._callbacks:
            callback.on_step(number)


def probe(make: Callable[[], AnyCallbacks]) -> list[str]:
    """Have one come that does not allow it, think better of it, and go; return where the other one was told."""
    callbacks = make()
    stays, goes = Noting(asynchronous=True), Noting(asynchronous=False)
    callbacks.add_instance(stays)
    for number in range(3):
        if number == 1:
            callbacks.add_instance(goes)
        if number == 2:
            goes.asynchronous = True
            callbacks.remove_instance(goes)
        callbacks.step(number)
        callbacks.catch_up()
    callbacks.remove_instance(stays)
    return [where for _, where in stays.steps]


def test_asynchronous_while_all_allow_it() -> None:
    """What was said when it came is taken back when it goes, and nothing else."""
    assert probe(Callbacks) == ["elsewhere", "in line", "elsewhere"]


def test_a_count_is_never_right_again() -> None:
    """That is what the probe finds in what one writes by hand."""
    assert probe(CountedCallbacks) == ["elsewhere", "in line", "in line"]


def test_steps_stay_in_order() -> None:
    """One who must be told in line comes after all that the others are still to be told of; what is left is done."""
    go = threading.Event()

    class Slow(Noting):
        def on_step(self, number: int) -> None:
            assert go.wait(WAIT)
            super().on_step(number)

    callbacks = Callbacks()
    slow, strict = Slow(asynchronous=True), Noting(asynchronous=False)
    callbacks.add_instance(slow)
    for number in range(3):
        callbacks.step(number)
    assert slow.steps == []
    comes = threading.Thread(target=callbacks.add_instance, args=(strict,))
    comes.start()
    go.set()
    comes.join(WAIT)
    assert [number for number, _ in slow.steps] == [0, 1, 2]
    callbacks.step(3)
    assert strict.steps == [(3, "in line")]
    callbacks.remove_instance(strict)
    callbacks.step(4)
    callbacks.remove_instance(slow)
    assert [number for number, _ in slow.steps] == [0, 1, 2, 3, 4]


def test_the_thread_goes_with_the_last_callback() -> None:
    """There is one for all loops, while there is a callback anywhere."""

    def threads() -> int:
        return sum(thread.name.startswith("callbacks-") for thread in threading.enumerate())

    first, second, callback = Callbacks(), Callbacks(), Callback()
    assert threads() == 0
    first.add_instance(callback)
    second.add_instance(callback)
    assert threads() == 1
    first.remove_instance(callback)
    assert threads() == 1
    second.remove_instance(callback)
    assert threads() == 0


def test_an_error_comes_out_where_one_catches_up() -> None:
    """What a callback raises elsewhere is not lost."""

    class Failing(Callback):
        def on_step(self, number: int) -> None:
            raise LookupError(number)

    callbacks, failing = Callbacks(), Failing()
    callbacks.add_instance(failing)
    callbacks.step(7)
    with pytest.raises(LookupError, match="7"):
        callbacks.catch_up()
    callbacks.remove_instance(failing)
