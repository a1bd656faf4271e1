"""Interrupts at every place where CPython delivers one: the count fits what ran, and the counter goes on."""

from __future__ import annotations

import dis
import random
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, cast

import pytest

from refcount import RefcountedValue, Refcounter
from refcount._usecount import Transitions, Usecount
from tests.counter.counting import Recorder, Task, Verb, call, check_usable, outcome
from tests.helpers.interrupting import Interruption, Interruptions

needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")


def failing_dec(counter: Refcounter) -> object:
    """An underflow, as a verb that can be interrupted."""
    return outcome(counter.dec)


def set_to_two(counter: Refcounter) -> None:
    """Set the usecount, as a verb."""
    counter.usecount = 2


INTERRUPTED: dict[str, tuple[int, Verb]] = {
    "inc from 0": (0, Refcounter.inc),
    "inc from 1": (1, Refcounter.inc),
    "inc_and_test from 0": (0, Refcounter.inc_and_test),
    "add from 0": (0, call("add", 2)),
    "dec to 0": (1, Refcounter.dec),
    "dec to 1": (2, Refcounter.dec),
    "sub to 0": (2, call("sub", 2)),
    "dec_and_test to 0": (1, Refcounter.dec_and_test),
    "dec_if_one": (1, Refcounter.dec_if_one),
    "dec_not_zero": (1, Refcounter.dec_not_zero),
    "inc_not_zero": (1, Refcounter.inc_not_zero),
    "dec_not_one": (2, Refcounter.dec_not_one),
    "set": (1, set_to_two),
    "underflow": (0, failing_dec),
}


def is_in_callback(interruption: Interruption) -> bool:
    """Whether it fell on the entry of a callback or into it, which makes it the callback's error."""
    return interruption.code is not None and interruption.code.co_name in ("acquire", "release")


@pytest.mark.parametrize("scenario", INTERRUPTED)
@pytest.mark.parametrize("with_callbacks", [False, True])
def test_interrupt_everywhere(scenario: str, with_callbacks: bool) -> None:
    """Wherever an interrupt falls, the count is the old or the new one, what ran fits it, and the counter goes on."""
    before, verb = INTERRUPTED[scenario]
    undisturbed = Refcounter(before)
    verb(undisturbed)
    interrupts = 0
    for interruption in Interruptions():
        recorder = Recorder()
        counter = recorder.counter if with_callbacks else Refcounter(0)
        counter.add(before)
        interruption.run(partial(verb, counter))
        assert counter.usecount in (before, undisturbed.usecount), interruption
        if is_in_callback(interruption):
            assert counter.usecount == 0, interruption
            recorder.log.clear()
        elif with_callbacks:
            assert (recorder.log[-1:] == ["acquire"]) == bool(counter.usecount), (interruption, recorder.log)
        check_usable(counter)
        assert recorder.alternates, (interruption, recorder.log)
        interrupts += bool(interruption.place)
    assert interrupts >= 2, "the sweep interrupted hardly anything"


class Restless:
    """A counter whose first acquire callback gives up and starts again, and the log of its callbacks."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.counter = Refcounter(0, self.acquire, self.release)

    def acquire(self) -> None:
        self.log.append("acquire")
        if len(self.log) == 1:
            self.counter.dec()
            self.counter.inc()

    def release(self) -> None:
        self.log.append("release")


def test_interrupt_everywhere_between_callbacks() -> None:
    """With several callbacks owed too, none is lost and they alternate, wherever the interrupt falls."""
    between = 0
    for interruption in Interruptions():
        restless = Restless()
        counter, log = restless.counter, restless.log
        interruption.run(counter.inc)
        if is_in_callback(interruption) or log == ["acquire"]:
            # It was that callback's error, or fell into a verb that the first one used, so that this one raised it.
            assert counter.usecount == 0, (interruption, log)
            log.clear()
        else:
            assert log in ([], ["acquire", "release", "acquire"]), (interruption, log)
            assert counter.usecount == len(log) % 2, (interruption, log)
            between += bool(log and interruption.place)
        check_usable(counter)
        assert set(log[::2]) == {"acquire"}, (interruption, log)
        assert set(log[1::2]) == {"release"}, (interruption, log)
    assert between >= 5, "the sweep interrupted hardly anything between callbacks"


@pytest.mark.parametrize("by", [1, 2])
def test_interrupt_everywhere_in_dec_and_lock(by: int) -> None:
    """The user's lock is held after a True and free after anything else."""
    for interruption in Interruptions():
        log: list[str] = []
        answers: list[bool] = []

        class Lock:
            def acquire(self) -> None:
                log.append("held")  # noqa: B023  # it is used in this turn only

            def release(self) -> None:
                log.append("free")  # noqa: B023

        recorder = Recorder(by)
        interruption.run(lambda: answers.append(recorder.counter.dec_and_lock(Lock())))  # noqa: B023
        if interruption.code is not None and interruption.code.co_filename == __file__:
            continue  # in the user's own code
        assert (log[-1:] == ["held"]) == (answers == [True]), (interruption, log)
        check_usable(recorder.counter)


class Interrupted(Refcounter):
    """A counter that is interrupted before its callback begins, and again while that is made good."""

    interrupts = 0

    def _run_owed(self, transitions: Transitions) -> None:
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        super()._run_owed(transitions)


def test_one_interrupt_holds_no_callback_up() -> None:
    """What the interrupted verb owed has run before the interrupt comes out of it."""
    recorder = Recorder()
    counter = Interrupted(0, recorder.acquire, recorder.release)
    counter.interrupts = 1
    with pytest.raises(KeyboardInterrupt):
        counter.inc()
    assert (counter.usecount, recorder.log) == (1, ["acquire"])


@pytest.mark.parametrize("verb", [Refcounter.inc, Refcounter.inc_not_zero, Refcounter.dec, Refcounter.dec_not_one])
def test_what_two_interrupts_held_up_is_run_by_the_next_verb(verb: Verb) -> None:
    """Nothing is lost: whoever comes next, in whatever thread, runs what is still owed before its verb returns."""
    recorder = Recorder()
    counter = Interrupted(0, recorder.acquire, recorder.release)
    counter.interrupts = 2
    with pytest.raises(KeyboardInterrupt):
        counter.inc()
    assert (counter.usecount, recorder.log) == (1, [])
    Task(partial(verb, counter)).result()
    assert recorder.log[:1] == ["acquire"]
    check_usable(counter)
    assert recorder.alternates


def test_error_of_what_two_interrupts_held_up() -> None:
    """It goes to the verb that ran it, and the count is 0 as after any such error."""

    def acquire() -> None:
        raise OSError("no camera")

    counter = Interrupted(0, acquire)
    counter.interrupts = 2
    with pytest.raises(KeyboardInterrupt):
        counter.inc()
    with pytest.raises(OSError, match="no camera"):
        counter.inc()
    assert counter.usecount == 0


def test_recursion_limit() -> None:
    """Near the limit a verb does all or nothing: the number never says other than what has run."""
    recorder = Recorder()
    counter, log = recorder.counter, recorder.log
    states: list[tuple[int, int]] = []

    def dive() -> None:
        """Go as deep as Python goes, and toggle the counter on each of the levels on the way up."""
        try:
            dive()
        finally:
            try:
                counter.dec() if counter.usecount else counter.inc()
            finally:
                states.append((counter.usecount, len(log)))

    for _ in range(3):
        with pytest.raises(RecursionError):
            dive()
    assert len(states) > 100
    assert all((log[ran - 1 : ran] == ["acquire"]) == bool(usecount) for usecount, ran in states)
    assert recorder.alternates


class Alarm(BaseException):
    """What the handler of a real signal raises."""


def interrupted_use(counter: Refcounter, after: float) -> bool:
    """Use the counter until a real signal interrupts it; return whether that fell into what is handled here."""
    armed = True

    def ring(_number: int, _frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Alarm

    def use() -> None:  # of its own, since CPython 3.13 lets an interrupt at the end of a loop out of a `try` around it
        while armed:
            counter.inc()
            counter.inc()
            counter.sub(counter.usecount)

    signal.signal(signal.SIGVTALRM, ring)
    # Again and again: CPython 3.11 may not notice one that the kernel hands to another thread.
    signal.setitimer(signal.ITIMER_VIRTUAL, after, 0.01)
    try:
        use()
    except Alarm:
        return True
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return False


@needs_timers
def test_real_interrupts() -> None:
    """Signals that come when they like leave the counter usable, callbacks or none."""
    rng = random.Random(1)
    before = signal.getsignal(signal.SIGVTALRM)
    interrupts = 0
    try:
        for turn in range(100):
            counter = Refcounter(0, (lambda: None) if turn % 2 else None, (lambda: None) if turn % 2 else None)
            interrupts += interrupted_use(counter, rng.uniform(0.000_05, 0.002))
            check_usable(counter)
    finally:
        signal.signal(signal.SIGVTALRM, before)
    assert interrupts > 75


@needs_timers
@pytest.mark.parametrize("with_callbacks", [False, True])
def test_a_signal_handler_may_use_the_counter_that_it_interrupts(with_callbacks: bool) -> None:
    """It never waits for its own thread, and what it changes is counted."""
    recorder = Recorder()
    counter = recorder.counter if with_callbacks else Refcounter(0)
    rings = 0

    def ring(_number: int, _frame: FrameType | None) -> None:
        nonlocal rings
        rings += 1
        counter.inc()
        counter.dec()
        counter.inc()

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.000_05, 0.000_05)
    try:
        while rings < 20:
            counter.inc()
            counter.sub(counter.usecount)
            counter.inc()
            counter.dec()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert recorder.alternates
    counter.usecount = 0
    recorder.log.clear()
    check_usable(counter)
    assert recorder.alternates


# --- Sections without a call ----------------------------------------------------------------------------------------


def innermost_section(function: Callable[..., object]) -> list[str]:
    """The operations that the function's innermost `with` protects."""
    code = dis.Bytecode(function)
    operations = {instruction.offset: instruction.opname for instruction in code}
    sections: dict[int, list[int]] = {}
    for entry in cast(Any, code).exception_entries:  # typeshed does not know it
        handler = [operations[offset] for offset in operations if offset >= entry.target][:2]
        if handler == ["PUSH_EXC_INFO", "WITH_EXCEPT_START"]:
            section = sections.setdefault(entry.target, [])
            section += [offset for offset in operations if entry.start <= offset < entry.end]
    return [operations[offset] for offset in max(sections.values(), key=min)]


def setter(owner: type[Usecount], name: str) -> Callable[..., object]:
    """The function behind a property that can be set."""
    member = vars(owner)[name]
    assert isinstance(member, property)
    assert member.fset is not None
    return member.fset


SECTIONS: list[Callable[..., object]] = [
    Refcounter.inc,
    Refcounter.inc_not_zero,
    Refcounter.dec,
    Refcounter.dec_and_test,
    Refcounter.dec_not_one,
    *(vars(Usecount)[name] for name in ("_change_number", "_forget_transition_of_parent")),
    setter(Usecount, "usecount"),
    setter(RefcountedValue, "value"),
]


@pytest.mark.parametrize("function", SECTIONS, ids=lambda function: function.__qualname__)
def test_nothing_can_fall_into_a_section(function: Callable[..., object]) -> None:
    """Under the lock nothing is called, looped or built, so no signal and no garbage collection comes in between."""
    operations = innermost_section(function)
    assert any(name.startswith("STORE_ATTR") for name in operations)
    forbidden = ("CALL", "PRECALL", "JUMP_BACKWARD", "BUILD", "MAKE", "RAISE", "RESUME", "YIELD", "IMPORT", "UNPACK")
    assert [name for name in operations if name.startswith(forbidden)] == []
