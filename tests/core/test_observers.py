"""`Observers`: every change is told once and in order, nobody is held captive by others' changes, nothing piles up."""

from __future__ import annotations

import gc
import random
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from refcount._core import observers
from refcount._core.clock import THREAD_NAME, clocks
from refcount._core.observers import PATIENCE, Observers
from tests.helpers.interrupting import Interruptions

WAIT = 30.0


class Machine:
    """Notes changes as a resource's machine does, and has them told as its driver does."""

    def __init__(self) -> None:
        self.noted = 0
        self.notes: dict[int, int] = {}
        self.most = 0
        """The longest backlog that was seen when a change was made."""
        self._lock = threading.Lock()
        self.observers = Observers(self, "a camera")

    def note(self) -> int:
        """Make a change that nobody tells yet; the usecount after it is its number, so that each can be told apart."""
        with self._lock:
            self.noted += 1
            self.notes[self.noted] = self.noted
            self.most = max(self.most, len(self.notes))
            return self.noted

    def change(self) -> int:
        """Make a change and see that it is told."""
        number = self.note()
        self.observers.tell(number)
        return number


class Gate:
    """An observer that stays inside its first call until it is let go."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.tellers: list[str] = []
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, usecount: int) -> None:
        self.told.append(usecount)
        self.tellers.append(threading.current_thread().name)
        self.reached.set()
        assert self.open.wait(WAIT)


@pytest.fixture
def machine() -> Machine:
    """Return one whose changes nobody observes yet."""
    return Machine()


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The errors that were reported, and from where."""
    reports: list[tuple[str, str]] = []

    def report(error: BaseException, where: str) -> None:
        reports.append((str(error), where))

    monkeypatch.setattr(observers, "report", report)
    return reports


def started(act: Callable[[], object], name: str) -> threading.Thread:
    """Return a thread that runs `act`."""
    thread = threading.Thread(target=act, name=name)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    """Wait for the threads to end."""
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive(), thread.name


def until(condition: Callable[[], object]) -> None:
    """Wait for another thread to bring something about."""
    deadline = threading.Event()
    timer = threading.Timer(WAIT, deadline.set)
    timer.start()
    try:
        while not condition():
            assert not deadline.wait(0.001)
    finally:
        timer.cancel()
        timer.join()


def waiting(machine: Machine) -> int:
    """Return how many threads wait until their change is told."""
    return len(machine.observers._waiting)  # pyright: ignore[reportPrivateUsage]  # nothing public shows it


# What observers hear


def test_each_change_is_told_in_order(machine: Machine) -> None:
    """Every observer is told of each change, and the first one before the second."""
    told: list[tuple[str, int]] = []
    machine.observers.add(lambda usecount: told.append(("a", usecount)))
    machine.observers.add(lambda usecount: told.append(("b", usecount)))
    for _ in range(3):
        machine.change()
    assert told == [(who, usecount) for usecount in (1, 2, 3) for who in "ab"]
    assert not machine.notes


def test_an_observer_hears_what_comes_after_it(machine: Machine) -> None:
    """A change that was noted before is not told to it, even if it is told later; after the end it hears nothing."""
    told: list[int] = []
    machine.note()
    token = machine.observers.add(told.append)
    assert machine.observers
    machine.change()
    machine.note()
    machine.observers.remove(token)
    machine.observers.remove(token)
    machine.change()
    assert told == [2]
    assert not machine.observers
    assert not machine.notes


def test_an_observer_ends_itself_and_another_while_it_is_told(machine: Machine) -> None:
    """Whoever was ended does not hear of the very change that is being told."""
    told: list[str] = []

    def first(usecount: int) -> None:
        told.append(f"first {usecount}")
        for token in tokens:
            machine.observers.remove(token)

    tokens = [machine.observers.add(first), machine.observers.add(lambda usecount: told.append(f"second {usecount}"))]
    machine.change()
    machine.change()
    assert told == ["first 1"]


def test_the_error_of_an_observer_disturbs_nothing(machine: Machine, reported: list[tuple[str, str]]) -> None:
    """It is reported, and the next observer and the next change are told all the same."""
    told: list[int] = []

    def bad(usecount: int) -> None:
        raise OSError(f"no {usecount}")

    machine.observers.add(bad)
    machine.observers.add(told.append)
    machine.change()
    machine.change()
    assert told == [1, 2]
    assert reported == [("no 1", "an observer of a camera"), ("no 2", "an observer of a camera")]


def test_a_name_is_made_only_for_a_report(reported: list[tuple[str, str]]) -> None:
    """A function that makes the name is called when there is something to report, and not before."""
    names = iter(["a dear camera"])
    machine = Machine()
    machine.observers = Observers(machine, lambda: next(names))
    machine.observers.add(lambda usecount: 1 // (2 - usecount))
    machine.change()
    assert not reported
    machine.change()
    assert [where for _, where in reported] == ["an observer of a dear camera"]


def test_an_observer_may_change_what_it_observes(machine: Machine) -> None:
    """What it changes is told by the same thread when it has returned, before the outer `tell` returns."""
    told: list[int] = []

    def observer(usecount: int) -> None:
        told.append(usecount)
        if usecount < 2 * PATIENCE:
            machine.change()
        told.append(-usecount)

    machine.observers.add(observer)
    machine.change()
    assert told == [sign * usecount for usecount in range(1, 2 * PATIENCE + 1) for sign in (1, -1)]


# Who tells


def test_a_thread_tells_its_own_change_and_leaves_the_others_to_the_timer(machine: Machine) -> None:
    """Whoever comes while another thread tells goes on at once; what is left when that one goes is not its business."""
    gate = Gate()
    machine.observers.add(gate)
    teller = started(machine.change, "teller")
    assert gate.reached.wait(WAIT)
    joined(*[started(machine.change, "passer-by") for _ in range(3)])
    assert gate.told == [1]
    gate.open.set()
    joined(teller)
    until(lambda: len(gate.told) == 4)
    assert gate.told == [1, 2, 3, 4]
    assert gate.tellers == ["teller", *[THREAD_NAME] * 3]


def test_who_finds_a_long_backlog_waits_and_tells(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is woken when the teller has told its own change, and tells until its own, not what came after."""
    monkeypatch.setattr(observers, "PATIENCE", 2)
    gate = Gate()
    machine.observers.add(gate)
    first = started(machine.change, "first")
    assert gate.reached.wait(WAIT)
    patient = started(machine.change, "patient")
    until(lambda: waiting(machine) == 1)
    machine.note()
    gate.open.set()
    joined(first, patient)
    until(lambda: len(gate.told) == 3)
    assert gate.told == [1, 2, 3]
    assert gate.tellers == ["first", "patient", THREAD_NAME]


def test_who_waits_goes_on_when_its_change_is_told_by_another(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here by an observer's own thread, which goes on telling what it has changed in there."""
    monkeypatch.setattr(observers, "PATIENCE", 2)
    monkeypatch.setattr(observers, "LOOK", WAIT)  # nobody looks by itself
    told: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def observer(usecount: int) -> None:
        told.append(threading.current_thread().name)
        if usecount == 1:
            inside.set()
            assert go_on.wait(WAIT)
            machine.change()

    machine.observers.add(observer)
    first = started(machine.change, "first")
    assert inside.wait(WAIT)
    patient = started(machine.change, "patient")
    until(lambda: waiting(machine) == 1)
    go_on.set()
    joined(first, patient)
    assert told == ["first"] * 3
    assert waiting(machine) == 0


def test_nobody_is_captive_and_nothing_piles_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 2: of four threads in a hurry none tells more than was untold when it came, and the backlog is bounded."""
    monkeypatch.setattr(observers, "PATIENCE", 8)
    threads = 4
    told: list[int] = []
    here = threading.local()
    longest: list[int] = []

    def observer(usecount: int) -> None:
        told.append(usecount)
        here.count = getattr(here, "count", 0) + 1
        sum(range(500))

    def hurry() -> None:
        for _ in range(300):
            here.count = 0
            machine.change()
            longest.append(here.count)

    machine.observers.add(observer)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        joined(*[started(hurry, "hurry") for _ in range(threads)])
    finally:
        sys.setswitchinterval(interval)
    until(lambda: len(told) == 300 * threads)
    assert told == [*range(1, 300 * threads + 1)]
    assert machine.most <= 8 + threads
    assert max(longest) <= 8 + threads


def test_a_wake_that_got_lost_is_made_up_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks for itself now and then, in case that an interrupt came before it was woken."""
    monkeypatch.setattr(observers, "PATIENCE", 2)
    monkeypatch.setattr(observers, "LOOK", 0.01)
    gate = Gate()
    machine.observers.add(gate)
    first = started(machine.change, "first")
    assert gate.reached.wait(WAIT)
    patient = started(machine.change, "patient")
    until(lambda: waiting(machine) == 1)

    def forget(_observers: Observers) -> bool:
        return True

    monkeypatch.setattr(Observers, "_wake_next", forget)
    gate.open.set()
    joined(first, patient)
    assert gate.tellers == ["first", "patient"]


def test_an_observer_that_waits_for_who_waits_for_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that would wait while nothing at all is told goes on after a while: perhaps it is what holds all up."""
    monkeypatch.setattr(observers, "PATIENCE", 2)
    monkeypatch.setattr(observers, "LOOK", 0.01)
    monkeypatch.setattr(observers, "STALL", 0.05)
    patient = threading.Thread(target=machine.change)

    def observer(usecount: int) -> None:
        if usecount == 1:
            patient.start()
            patient.join(WAIT)

    machine.observers.add(observer)
    machine.change()
    joined(patient)
    until(lambda: not machine.notes)


def test_where_no_thread_can_be_had_who_tells_tells_all(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is nobody to hand it to."""

    def refuse(_job: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(clocks.thread, "lost", refuse)
    gate = Gate()
    machine.observers.add(gate)
    teller = started(machine.change, "teller")
    assert gate.reached.wait(WAIT)
    machine.change()
    machine.change()
    gate.open.set()
    joined(teller)
    assert (gate.told, gate.tellers) == ([1, 2, 3], ["teller"] * 3)


def test_the_timer_is_asked_once_for_all_that_is_left(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs do not pile up in its queue while it is busy elsewhere; the next one is asked when this one has begun."""
    jobs: list[Callable[[], None]] = []
    monkeypatch.setattr(clocks.thread, "lost", jobs.append)
    told: list[int] = []

    def observer(usecount: int) -> None:
        told.append(usecount)
        machine.note()  # by somebody who has gone on

    token = machine.observers.add(observer)
    machine.change()
    machine.observers.tell(2)
    assert (told, len(jobs)) == ([1, 2], 1)
    machine.observers.remove(token)
    jobs.pop()()
    assert not machine.notes
    machine.observers.add(observer)
    machine.change()
    assert len(jobs) == 1


# Interrupts


def test_an_interrupted_observer_leaves_the_rest_to_the_next_one(machine: Machine) -> None:
    """What was taken out counts as told; other observers of the same change, and later changes, are told later."""
    told: list[tuple[str, int]] = []
    interrupts: Iterator[BaseException] = iter([KeyboardInterrupt(), SystemExit()])

    def first(usecount: int) -> None:
        told.append(("first", usecount))
        for interrupt in interrupts:
            raise interrupt

    machine.observers.add(first)
    machine.observers.add(lambda usecount: told.append(("second", usecount)))
    machine.note()
    with pytest.raises(KeyboardInterrupt):
        machine.change()
    assert told == [("first", 1)]
    with pytest.raises(SystemExit):
        machine.change()
    assert told == [("first", 1), ("second", 1), ("first", 2)]
    machine.change()
    assert told[3:] == [("second", 2), ("first", 3), ("second", 3), ("first", 4), ("second", 4)]


def test_an_interrupted_teller_wakes_who_waits(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim is free at once, and somebody takes it."""
    monkeypatch.setattr(observers, "PATIENCE", 2)
    monkeypatch.setattr(observers, "LOOK", WAIT)
    told: list[tuple[str, int]] = []
    inside, go_on = threading.Event(), threading.Event()

    def observer(usecount: int) -> None:
        told.append((threading.current_thread().name, usecount))
        if usecount == 1:
            inside.set()
            assert go_on.wait(WAIT)
            raise KeyboardInterrupt

    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            machine.change()

    machine.observers.add(observer)
    teller = started(interrupted, "teller")
    assert inside.wait(WAIT)
    patient = started(machine.change, "patient")
    until(lambda: waiting(machine) == 1)
    go_on.set()
    joined(teller, patient)
    assert told == [("teller", 1), ("patient", 2)]


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Keep the garbage collector out: hypothesis has it call back, and Python swallows an interrupt in there."""
    gc.disable()
    yield
    gc.enable()


def tell(machine: Machine) -> None:
    """Make a change and tell it."""
    machine.change()


def hand_on(machine: Machine) -> None:
    """Tell one of three changes, and leave the others to the timer."""
    number = machine.note()
    machine.note()
    machine.note()
    machine.observers.tell(number)


def wait_in_vain(machine: Machine) -> None:
    """Wait for another thread, which tells nothing."""
    machine.observers._teller = -1  # pyright: ignore[reportPrivateUsage]
    try:
        machine.observers.tell(machine.note())
    finally:
        machine.observers._teller = None  # pyright: ignore[reportPrivateUsage]


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("act", [tell, hand_on, wait_in_vain])
def test_an_interrupt_anywhere_leaves_the_rest_to_the_next_one(
    act: Callable[[Machine], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once at each point: afterwards the next change is told, and all those before it, once and in order."""
    jobs: list[Callable[[], None]] = []
    monkeypatch.setattr(clocks.thread, "lost", jobs.append)
    monkeypatch.setattr(observers, "PATIENCE", 1)
    monkeypatch.setattr(observers, "LOOK", 0.002)
    monkeypatch.setattr(observers, "STALL", 0.005)
    for interruption in Interruptions():
        machine, first, second = Machine(), list[int](), list[int]()
        machine.observers.add(first.append)
        machine.observers.add(second.append)
        interruption.run(partial(act, machine))
        while jobs:
            jobs.pop()()
        machine.change()
        assert first == second == [*range(1, machine.noted + 1)], interruption
        assert not machine.notes
        assert waiting(machine) == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends a signal")
def test_signals_at_random_moments(machine: Machine) -> None:
    """Thousands of interrupts in one of two threads: each change is told once, in order; none is left at the end."""
    told: list[int] = []
    machine.observers.add(told.append)
    dice = random.Random(1)
    interrupts = 0
    stop = threading.Event()

    def other() -> None:
        while not stop.is_set():
            machine.change()
            stop.wait(0.0005)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    thread = started(other, "other")
    try:
        while interrupts < 1500:
            try:
                signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-5, 2e-4))
                while True:
                    number = machine.note()
                    machine.observers.tell(number)
            except KeyboardInterrupt:
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stop.set()
        joined(thread)
    machine.change()
    until(lambda: len(told) == machine.noted)
    assert told == [*range(1, machine.noted + 1)]
    assert not machine.notes


# The child of a fork, and the cost


def test_a_forked_child_hears_of_nothing_that_the_parent_has_noted(machine: Machine) -> None:
    """Nor does a teller of the parent, whose thread is not there, or is and was telling, disturb it."""
    told: list[int] = []

    def observer(usecount: int) -> None:
        told.append(usecount)
        if usecount == 2:
            machine.note()
            machine.observers.reset()  # as in the child of a fork that happens here

    machine.note()
    machine.observers.add(observer)
    machine.note()
    machine.change()
    assert told == [2]
    machine.change()
    assert told == [2, 5]


def test_telling_one_observer_takes_few_calls(machine: Machine) -> None:
    """At most twelve, for each change and each release of an observed resource makes one."""
    told: list[int] = []
    machine.observers.add(told.append)
    machine.change()
    number = machine.note()
    calls: list[object] = []

    def profile(_frame: types.FrameType, event: str, _argument: object) -> None:
        if event in {"call", "c_call"}:
            calls.append(event)

    tell = partial(machine.observers.tell, number)
    sys.setprofile(profile)
    try:
        tell()
    finally:
        sys.setprofile(None)
    assert told == [1, 2]
    assert len(calls) <= 12
