"""Interrupts come wherever CPython delivers signals, and nowhere else."""

import functools
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import ClassVar

import pytest

from tests.helpers import samples
from tests.helpers.interrupting import Interruption, Interruptions, interrupt_everywhere, points
from tests.helpers.samples import LOCK, SAMPLES, Sample, State

HERE = Path(__file__)
THERE = Path(samples.__file__)

Place = tuple[CodeType, int]
Outcome = tuple[Place, str, bool]
"""Where an interrupt was, what had been done when all was over, and whether the interrupt came out."""


# --- Against real signals -------------------------------------------------------------------------------------------


def outcome(place: Place, state: State, *, propagated: bool) -> Outcome:
    """Say what an interrupt has left behind, and free the lock if that is still held."""
    left = dict(vars(state))
    if LOCK.locked():
        LOCK.release()
        left["locked"] = True
    return place, repr(sorted(left.items())), propagated


def swept(sample: Sample) -> set[Outcome]:
    """Interrupt the sample at each point in turn."""
    seen: set[Outcome] = set()
    for interruption in Interruptions(also=[THERE]):
        state = State()
        interruption.run(functools.partial(sample, state))
        code = interruption.code
        if code is not None and code.co_filename == str(THERE):
            seen.add(outcome((code, interruption.offset), state, propagated=interruption.propagated))
    return seen


class RealSignals:
    """Runs a sample again and again until a signal falls into it, which comes at a random moment."""

    def __init__(self, sample: Sample) -> None:
        self.seen: Counter[Outcome] = Counter()
        self._sample = sample
        self._dice = random.Random(5)
        self._places: list[Place] = []
        self._armed = False

    def run(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Interrupt it for that long, and then until it is enough, but no longer than 5 s more."""
        begin = time.monotonic()
        handler = signal.signal(signal.SIGALRM, self._ring)
        try:
            while time.monotonic() < begin + seconds or (time.monotonic() < begin + seconds + 5 and not enough()):
                self._interrupt_once()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)

    def _interrupt_once(self) -> None:
        sample, state, propagated = self._sample, State(), False
        self._places.clear()
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, self._dice.uniform(2e-6, 6e-5))
        try:
            while self._armed:
                state = State()
                sample(state)
        except KeyboardInterrupt:
            propagated = True
        for place in self._places:
            self.seen[outcome(place, state, propagated=propagated)] += 1

    def _ring(self, _signal: int, frame: FrameType | None) -> None:
        self._armed = False
        if frame is not None and frame.f_code.co_filename == str(THERE):
            self._places.append((frame.f_code, as_traced(frame.f_code, frame.f_lasti)))
            raise KeyboardInterrupt


def as_traced(code: CodeType, offset: int) -> int:
    """Return where a traced function would be interrupted instead of at `offset`.

    CPython 3.11 has specialized instructions that do the work of the next one as well.
    """
    here = points(code)
    while offset not in here.looks | here.entries and here.names.get(offset) in {"PRECALL", "COMPARE_OP"}:
        offset = here.ends[offset]
    return offset


def is_never_traced(code: CodeType, offset: int) -> bool:
    """Whether it is a call with keywords of CPython 3.14, at which a traced function is not interrupted."""
    return sys.version_info >= (3, 14) and points(code).names.get(offset) == "CALL_KW"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.__name__)
def test_real_signals_come_where_the_sweep_interrupts(sample: Sample, request: pytest.FixtureRequest) -> None:
    """Each real signal falls at a place of the sweep and leaves the same behind as there; most places are hit.

    Not all of them are: once CPython has specialized an instruction, it looks less often.
    """
    slow = request.config.getoption("--slow")
    expected = swept(sample)
    places = {place for place, *_ in expected}
    signals = RealSignals(sample)

    def missed() -> set[Place]:
        return places - {place for place, *_ in signals.seen}

    signals.run(3.0 if slow else 0.1, lambda: len(missed()) <= len(places) / 2)
    assert {one for one in signals.seen if not is_never_traced(*one[0])} <= expected
    assert len(missed()) <= len(places) * (0.3 if slow else 0.5), sorted(offset for _, offset in missed())


def test_the_sweep_finds_the_loop_that_falls_out_of_its_block() -> None:
    """CPython 3.13 looks for signals at a loop's end outside the `with` around it, and then never frees the lock."""
    left_locked = {place for place, left, _ in swept(samples.loops_in_lock) if "locked" in left}
    assert bool(left_locked) == (sys.version_info >= (3, 13))  # 3.14: see the next test


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="CPython 3.14 leaves it locked: its issue 148874")
def test_no_interrupt_comes_between_acquiring_a_lock_and_its_block() -> None:
    """A with-statement frees its lock wherever the interrupt falls."""
    assert not {place for place, left, _ in swept(samples.locked) if "locked" in left}


# --- The places -----------------------------------------------------------------------------------------------------


class Door:
    """Counts who is inside, and leaks a count when an interrupt comes at the wrong place."""

    def __init__(self) -> None:
        self.inside = 0
        self.used: list[int] = []

    def enter(self) -> None:
        self.inside += 1
        self.used.append(1)
        try:
            self.used.append(2)
        finally:
            self.inside -= 1

    def count_without_a_call(self) -> None:
        self.inside += 1
        self.inside += 1
        self.inside -= 2

    def enter_whatever_comes(self) -> None:
        try:
            self.used.append(1)
        except KeyboardInterrupt:
            self.used.clear()

    def be_let_in(self, porter: Callable[["Door"], object]) -> None:
        porter(self)
        self.inside += 10


def let_in(door: Door) -> None:
    """Do something; it is not followed."""
    door.used.append(1)
    door.inside += 1


def test_interrupts_come_at_every_place_once() -> None:
    """The function's entry and each of its calls is interrupted, in order; the leak shows where it is."""
    start = Door.enter.__code__.co_firstlineno
    door = Door()

    def scenario() -> None:
        door.inside = 0
        door.enter()

    seen: list[tuple[int, int, int]] = []
    for interruption in interrupt_everywhere(scenario, also=[Door.enter.__code__]):
        assert interruption.propagated
        assert interruption.code is Door.enter.__code__
        assert interruption.function == "Door.enter"
        assert f"{HERE}:{interruption.lineno} (Door.enter, bytecode" in interruption.place
        assert interruption.place in repr(interruption)
        seen.append((interruption.number, interruption.lineno - start, door.inside))
    assert seen == [(1, 0, 0), (2, 2, 1), (3, 4, 0)]


def test_no_interrupt_comes_where_nothing_is_called() -> None:
    """A function that calls nothing is interrupted at its entry alone."""
    door = Door()
    code = Door.count_without_a_call.__code__
    lines = [one.lineno for one in interrupt_everywhere(door.count_without_a_call, also=[code])]
    assert lines == [code.co_firstlineno]


def places_of_porter(porter: Callable[[Door], object]) -> list[tuple[str, list[int], int]]:
    """Return where a door is interrupted that calls the porter, and what had been done then."""
    door = Door()

    def scenario() -> None:
        door.inside = 0
        door.used.clear()
        door.be_let_in(porter)

    seen: list[tuple[str, list[int], int]] = []
    for one in interrupt_everywhere(scenario, also=[Door.be_let_in.__code__]):
        assert one.code is not None
        assert one.function == "Door.be_let_in"
        seen.append((one.code.co_qualname, list(door.used), door.inside))
    return seen


def test_hooks_are_left_alone() -> None:
    """The entry of what calls one is a place; the hook is none, nor its end, since Python calls Python."""
    assert places_of_porter(let_in) == [("Door.be_let_in", [], 0)]


def test_a_hook_that_is_called_by_c_is_followed_by_a_place() -> None:
    """There CPython looks for signals when the C function returns."""
    assert places_of_porter(functools.partial(let_in)) == [("Door.be_let_in", [], 0), ("Door.be_let_in", [1], 1)]


def test_a_library_is_interrupted_at_its_entry_and_its_return() -> None:
    """Of a call into a library these two places stand for all; the caller has none of its own after it."""
    in_library = functools.singledispatch(let_in)
    assert places_of_porter(in_library) == [
        ("Door.be_let_in", [], 0),
        ("singledispatch.<locals>.wrapper", [], 0),
        ("singledispatch.<locals>.wrapper", [1], 1),
    ]


def test_what_a_c_function_calls_is_followed_by_a_place_of_its_caller() -> None:
    """After `next` there is one: the generator has gone on, and what it yielded is lost."""
    told: list[str] = []
    kept: list[Generator[int]] = []  # closing one is not to be interrupted

    def numbers() -> Generator[int]:
        told.append("begun")
        yield 1

    def consume() -> None:
        told.clear()
        kept.append(numbers())
        next(kept[-1])

    seen = [
        (one.function.rpartition(".")[2], list(told))
        for one in interrupt_everywhere(consume, also=[consume.__code__, numbers.__code__])
    ]
    assert ("consume", ["begun"]) in seen
    assert ("numbers", ["begun"]) in seen
    assert ("numbers", []) in seen


def test_a_wait_for_a_lock_is_ended_before_and_after_it_has_the_lock() -> None:
    """A real signal that comes while it sleeps ends it without the lock; one that comes later, with it."""
    lock = threading.Lock()

    def scenario() -> None:
        if lock.locked():
            lock.release()
        wait_for(lock)

    def wait_for(lock: threading.Lock) -> None:
        lock.acquire(True, 5)  # not by keywords: see what is said of CPython 3.14

    seen = [lock.locked() for _ in interrupt_everywhere(scenario, also=[wait_for.__code__])]
    assert seen == [False, False, True]


def test_swallowed_interrupt_is_told_apart() -> None:
    """An interrupt that the code catches is reported as not propagated."""
    door = Door()
    code = Door.enter_whatever_comes.__code__
    swallowed = [not one.propagated for one in interrupt_everywhere(door.enter_whatever_comes, also=[code])]
    assert swallowed == [False, True]


class Finalized:
    """Something with a finalizer that calls."""

    told: ClassVar[list[str]] = []

    def __del__(self) -> None:
        self.told.append("finalized")


def test_finalizers_are_left_alone() -> None:
    """Python swallows what they raise: a signal that would fall there comes directly afterwards."""
    told = Finalized.told
    kept: list[Finalized] = []

    def scenario() -> None:
        told.clear()
        kept.append(Finalized())
        kept.clear()
        told.append("gone on")

    seen = [(one.code, list(told)) for one in interrupt_everywhere(scenario, also=[HERE])]
    assert (scenario.__code__, ["finalized"]) in seen
    assert Finalized.__del__.__code__ not in {code for code, _ in seen}
    assert all(told[:1] != ["gone on"] for _, told in seen)


# --- The sweeps -----------------------------------------------------------------------------------------------------


def test_each_run_of_a_sweep_is_the_caller_s_and_the_last_one_is_whole() -> None:
    """`Interruptions` gives one after the other until one has met no point; that one is given as well."""
    doors: list[Door] = []
    places: list[bool] = []
    sweep = Interruptions(also=[Door.enter.__code__])
    for interruption in sweep:
        doors.append(Door())
        interruption.run(doors[-1].enter)
        places.append(bool(interruption.place))
    assert places == [True, True, True, False]
    assert doors[-1].used == [1, 2]
    assert sweep.points == 3


def test_a_sweep_in_steps() -> None:
    """With a step of 2 each second point is left out."""
    door = Door()
    taken = [one.number for one in interrupt_everywhere(door.enter, also=[Door.enter.__code__], step=2)]
    assert taken == [1, 3]


def test_no_interrupt_at_point_0() -> None:
    """It only counts the points."""
    counting = Interruption(0, also=[Door.enter.__code__])
    counting.run(Door().enter)
    assert (counting.passed, counting.place, counting.propagated) == (3, "", False)
    assert "none" in repr(counting)


def test_interrupt_sweep_passes_other_errors_on() -> None:
    """An error that an interrupt brings about comes out with a note that names the place; so does an early end."""
    runs = 0

    def fails_when_interrupted() -> None:
        try:
            int("1")
        except KeyboardInterrupt:
            raise ValueError("broken") from None

    def shorter_each_time() -> None:
        nonlocal runs
        runs += 1
        for _ in range(10 - runs):
            pass

    with pytest.raises(ValueError, match="broken") as caught:
        with suppress(KeyboardInterrupt):
            list(interrupt_everywhere(fails_when_interrupted, also=[fails_when_interrupted.__code__]))
    assert str(HERE) in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="points when counted, and now"):
        list(interrupt_everywhere(shorter_each_time, also=[shorter_each_time.__code__]))


def test_another_keyboard_interrupt_comes_out() -> None:
    """Only the sweep's own interrupt is swallowed."""

    def interrupted_by_others() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interruption(0).run(interrupted_by_others)


def test_a_signal_that_falls_nowhere_disturbs_nobody() -> None:
    """Pressed at the very end of a run, it is dropped with the run, and not delivered to whoever comes next."""
    handler = signal.getsignal(signal.SIGINT)
    for interruption in Interruptions(also=[samples.outer.__code__, samples.inner.__code__]):
        interruption.run(lambda: samples.outer(State()))  # no generator is begun
        assert not interruption.place
    assert signal.getsignal(signal.SIGINT) is handler


def test_interrupt_sweep_restores_everything() -> None:
    """The tracer and the signal's handler are those from before at each yield and at the end."""
    before = sys.gettrace(), signal.getsignal(signal.SIGINT)
    door = Door()
    for _ in interrupt_everywhere(door.enter, also=[HERE]):
        assert (sys.gettrace(), signal.getsignal(signal.SIGINT)) == before
    assert (sys.gettrace(), signal.getsignal(signal.SIGINT)) == before


def test_other_threads_are_refused() -> None:
    """Python delivers signals to its main thread alone."""
    errors: list[ValueError] = []

    def elsewhere() -> None:
        try:
            Interruption(1).run(int)
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
