"""The counter: every rule of its design, alone, under threads, under interrupts, and against broken counters."""

from __future__ import annotations

import copy
import dis
import doctest
import gc
import inspect
import linecache
import multiprocessing
import pickle
import random
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from operator import index
from types import FrameType
from typing import Any, Generic, TypeVar, cast

import pytest

import refcount
from refcount import (
    USECOUNT_MAX,
    OverflowException,
    RefcountedValue,
    Refcounter,
    ReleasedError,
    UnderflowException,
    _counter,
)
from refcount._core import holds as _holds
from refcount._core.holds import Hold, HoldCounter
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.tracing import Tracer

WAIT = 20.0
"""Seconds after which a thread that should have gone on counts as stuck."""

V = TypeVar("V")
Verb = Callable[[Refcounter], object]
COUNTER_FILES = {inspect.getsourcefile(module) for module in (_counter, _holds)}


class Task(Generic[V]):
    """A function that runs in a thread; its result or error is asked for with a timeout."""

    def __init__(self, function: Callable[[], V]) -> None:
        self._function = function
        self._result: list[V] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:  # whatever it is, it belongs to the test
            self._error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> V:
        self._thread.join(WAIT)
        assert self.done, "a thread is stuck"
        if self._error is not None:
            raise self._error
        return self._result[0]


class WatchedLock:
    """Stands for a counter's lock, and says when a thread has to wait for it."""

    def __init__(self, counter: Refcounter) -> None:
        self._inner = threading.RLock()
        self._waiting = threading.Semaphore(0)
        vars(counter)["_lock"] = self

    def __enter__(self) -> None:
        if not self._inner.acquire(blocking=False):
            self._waiting.release()
            assert self._inner.acquire(timeout=WAIT), "the counter's lock was never freed"

    def __exit__(self, *_: object) -> None:
        self._inner.release()

    def wait_for_waiters(self, number: int = 1) -> None:
        for _ in range(number):
            assert self._waiting.acquire(timeout=WAIT), "nobody waits"


class RecordingLock:
    """A user's lock that logs what is done to it, and can do something while it is being taken."""

    def __init__(self, log: list[str], meanwhile: Callable[[], object] = lambda: None) -> None:
        self._log = log
        self._meanwhile = meanwhile

    def acquire(self) -> None:
        self._meanwhile()
        self._log.append("lock")

    def release(self) -> None:
        self._log.append("unlock")


class Recorder:
    """Callbacks that log that they ran, and the counter that has them."""

    def __init__(self, usecount: int = 0) -> None:
        self.log: list[str] = []
        self.counter = Refcounter(usecount, self.acquire, self.release)

    def acquire(self) -> None:
        self.log.append("acquire")

    def release(self) -> None:
        self.log.append("release")

    @property
    def alternates(self) -> bool:
        first, second = self.log[::2], self.log[1::2]
        return set(first) <= {"acquire"} and set(second) <= {"release"}


def call(name: str, amount: int) -> Verb:
    """The verb with its amount; in the name of a test it reads as it is written."""

    def verb(counter: Refcounter) -> object:
        result: object = getattr(counter, name)(amount)
        return result

    verb.__name__ = f"{name}({amount})"
    return verb


def dec_and_lock(counter: Refcounter) -> object:
    """The verb with a lock of its own."""
    return counter.dec_and_lock(threading.Lock())


def wait(event: threading.Event) -> None:
    """Wait for what another thread announces."""
    assert event.wait(WAIT), "what the test waits for never came"


# --- Numbers --------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    """A counter starts at 1 and has no callbacks; arguments go by position too, and nothing runs for them."""
    assert Refcounter().usecount == 1
    log: list[str] = []
    for usecount in (0, 1, 5):
        assert Refcounter(usecount, lambda: log.append("a"), lambda: log.append("r")).usecount == usecount
    assert log == []


@pytest.mark.parametrize("limit", [0, 1, USECOUNT_MAX])
def test_first_usecount_at_the_limits(limit: int) -> None:
    """Both limits are themselves allowed."""
    assert Refcounter(limit).usecount == limit


def test_limit() -> None:
    """The highest count is 2**62 - 1."""
    assert USECOUNT_MAX == 4611686018427387903


STEPS: list[tuple[Verb, int, object, int, list[str]]] = [
    (Refcounter.inc, 0, None, 1, ["acquire"]),
    (Refcounter.inc, 1, None, 2, []),
    (call("add", 3), 0, None, 3, ["acquire"]),
    (call("add", 3), 2, None, 5, []),
    (call("add", 0), 0, None, 0, []),
    (call("add", 0), 2, None, 2, []),
    (call("add", USECOUNT_MAX), 0, None, USECOUNT_MAX, ["acquire"]),
    (Refcounter.inc, USECOUNT_MAX - 1, None, USECOUNT_MAX, []),
    (Refcounter.inc_not_zero, 0, False, 0, []),
    (Refcounter.inc_not_zero, 1, True, 2, []),
    (Refcounter.inc_not_zero, USECOUNT_MAX - 1, True, USECOUNT_MAX, []),
    (call("add_not_zero", 2), 0, False, 0, []),
    (call("add_not_zero", 2), 1, True, 3, []),
    (call("add_not_zero", 0), 0, False, 0, []),
    (call("add_not_zero", 0), 1, True, 1, []),
    (call("add_not_zero", USECOUNT_MAX + 1), 0, False, 0, []),
    (Refcounter.dec, 2, None, 1, []),
    (Refcounter.dec, 1, None, 0, ["release"]),
    (call("sub", 2), 3, None, 1, []),
    (call("sub", 2), 2, None, 0, ["release"]),
    (call("sub", 0), 2, None, 2, []),
    (call("sub", 0), 0, None, 0, []),
    (call("sub", USECOUNT_MAX), USECOUNT_MAX, None, 0, ["release"]),
    (Refcounter.dec_and_test, 2, False, 1, []),
    (Refcounter.dec_and_test, 1, True, 0, ["release"]),
    (call("sub_and_test", 2), 3, False, 1, []),
    (call("sub_and_test", 2), 2, True, 0, ["release"]),
    (call("sub_and_test", 0), 2, False, 2, []),
    (call("sub_and_test", 0), 0, False, 0, []),
    (Refcounter.dec_not_one, 2, True, 1, []),
    (Refcounter.dec_not_one, 1, False, 1, []),
    (Refcounter.dec_if_one, 2, False, 2, []),
    (Refcounter.dec_if_one, 1, True, 0, ["release"]),
    (Refcounter.dec_if_one, 0, False, 0, []),
    (dec_and_lock, 2, False, 1, []),
    (dec_and_lock, 1, True, 0, ["release"]),
]


@pytest.mark.parametrize(("verb", "before", "result", "after", "ran"), STEPS)
def test_verbs(verb: Verb, before: int, result: object, after: int, ran: list[str]) -> None:
    """What each verb gives, makes of the count, and runs; without callbacks it does the same to the count."""
    recorder = Recorder(before)
    bare = Refcounter(before)
    assert verb(recorder.counter) is result
    assert (recorder.counter.usecount, recorder.log) == (after, ran)
    assert verb(bare) is result
    assert bare.usecount == after


UNDERFLOWS: list[tuple[Verb, int, int]] = [
    (Refcounter.dec, 0, 1),
    (Refcounter.dec_and_test, 0, 1),
    (Refcounter.dec_not_one, 0, 1),
    (call("sub", 1), 0, 1),
    (call("sub", 7), 6, 7),
    (call("sub_and_test", 2), 1, 2),
    (dec_and_lock, 0, 1),
]


@pytest.mark.parametrize(("verb", "before", "amount"), UNDERFLOWS)
def test_underflow(verb: Verb, before: int, amount: int) -> None:
    """Scenario 18: below 0 is refused with a text that names count and amount; nothing changes, nothing runs."""
    recorder = Recorder(before)
    for counter in (recorder.counter, Refcounter(before)):
        with pytest.raises(UnderflowException, match=rf"^usecount {before} cannot be lowered by {amount}$"):
            verb(counter)
        assert counter.usecount == before
    assert recorder.log == []


OVERFLOWS: list[tuple[Verb, int, int]] = [
    (Refcounter.inc, USECOUNT_MAX, 1),
    (Refcounter.inc_not_zero, USECOUNT_MAX, 1),
    (call("add", 2), USECOUNT_MAX - 1, 2),
    (call("add", USECOUNT_MAX + 1), 0, USECOUNT_MAX + 1),
    (call("add_not_zero", USECOUNT_MAX), 1, USECOUNT_MAX),
]


@pytest.mark.parametrize(("verb", "before", "amount"), OVERFLOWS)
def test_overflow(verb: Verb, before: int, amount: int) -> None:
    """Above the limit is refused with a text that names count, amount and limit; nothing changes, nothing runs."""
    recorder = Recorder(before)
    text = rf"^usecount {before} cannot be raised by {amount}: the limit is {USECOUNT_MAX}$"
    for counter in (recorder.counter, Refcounter(before)):
        with pytest.raises(OverflowException, match=text):
            verb(counter)
        assert counter.usecount == before
    assert recorder.log == []


@pytest.mark.parametrize("usecount", [0, 1, 5])
def test_setting_the_usecount_runs_nothing(usecount: int) -> None:
    """Setting sets the number, from and to 0 as well, and no callback runs."""
    for before in (0, 1, 5):
        recorder = Recorder(before)
        recorder.counter.usecount = usecount
        assert (recorder.counter.usecount, recorder.log) == (usecount, [])


def test_against_a_model() -> None:
    """A thousand random walks over the verbs do what three lines of arithmetic say."""
    for seed in range(1000):
        rng = random.Random(seed)
        recorder = Recorder(count := rng.choice([0, 1, 2, 5]))
        runs: list[str] = []
        for _ in range(30):
            amount = rng.choice([0, 1, 1, 2, 3])
            if rng.random() < 0.5:
                runs += ["acquire"] if amount and not count else []
                count += amount
                recorder.counter.add(amount) if amount != 1 else recorder.counter.inc()
            elif amount > count:
                with pytest.raises(UnderflowException):
                    recorder.counter.sub(amount)
            else:
                last = amount > 0 and amount == count
                runs += ["release"] if last else []
                count -= amount
                counter = recorder.counter
                assert (counter.sub_and_test(amount) if amount != 1 else counter.dec_and_test()) is last
            assert (recorder.counter.usecount, recorder.log) == (count, runs), f"seed {seed}"


# --- Bad input ------------------------------------------------------------------------------------------------------


class Whole:
    """An integer of another library."""

    def __index__(self) -> int:
        return 2


AMOUNT_VERBS: list[Callable[[Refcounter, int], object]] = [
    Refcounter.add,
    Refcounter.add_not_zero,
    Refcounter.sub,
    Refcounter.sub_and_test,
]


@pytest.mark.parametrize("verb", AMOUNT_VERBS)
@pytest.mark.parametrize(
    ("amount", "error", "text"),
    [
        (-1, ValueError, "amount must be 0 or more, not -1"),
        (-(2**70), ValueError, f"amount must be 0 or more, not {-(2**70)}"),
        (1.0, TypeError, "amount must be an integer, not 1.0"),
        ("1", TypeError, "amount must be an integer, not '1'"),
        (None, TypeError, "amount must be an integer, not None"),
        (True, TypeError, "amount must be an integer, not True"),
    ],
)
@pytest.mark.parametrize("before", [0, 3])
def test_bad_amounts(
    verb: Callable[[Refcounter, int], object], amount: object, error: type[Exception], text: str, before: int
) -> None:
    """An amount that is none is named in the error; nothing changes, nothing runs."""
    recorder = Recorder(before)
    with pytest.raises(error) as caught:
        verb(recorder.counter, cast(int, amount))
    assert str(caught.value) == text
    assert (recorder.counter.usecount, recorder.log) == (before, [])


@pytest.mark.parametrize(
    ("usecount", "error", "text"),
    [
        (-1, ValueError, "usecount must be 0 or more, not -1"),
        (0.0, TypeError, "usecount must be an integer, not 0.0"),
        ("3", TypeError, "usecount must be an integer, not '3'"),
        (None, TypeError, "usecount must be an integer, not None"),
        (False, TypeError, "usecount must be an integer, not False"),
        (USECOUNT_MAX + 1, OverflowException, f"usecount cannot be {USECOUNT_MAX + 1}: the limit is {USECOUNT_MAX}"),
    ],
)
def test_bad_usecounts(usecount: object, error: type[Exception], text: str) -> None:
    """A usecount that is none is refused at first and later, with its value in the text; a counter that is stays."""
    bad = cast(int, usecount)
    recorder = Recorder(3)

    def assign() -> None:
        recorder.counter.usecount = bad

    attempts: list[Callable[[], object]] = [
        assign,
        lambda: Refcounter(bad),
        lambda: RefcountedValue("data", bad),
        lambda: HoldCounter(bad),
    ]
    for attempt in attempts:
        with pytest.raises(error) as caught:
            attempt()
        assert str(caught.value) == text
    assert (recorder.counter.usecount, recorder.log) == (3, [])


@pytest.mark.parametrize("name", ["acquire", "release"])
@pytest.mark.parametrize("callback", [0, False, "start", ()])
def test_bad_callbacks(name: str, callback: object) -> None:
    """A callback that cannot be called is refused at once, false ones too, by its name and value."""
    bad = cast(Callable[[], object], callback)
    with pytest.raises(TypeError) as caught:
        Refcounter(acquire=bad) if name == "acquire" else Refcounter(release=bad)
    assert str(caught.value) == f"{name} must be callable or None, not {callback!r}"


def test_integers_of_other_libraries() -> None:
    """Whatever says `__index__` counts, and becomes an exact int."""
    two = cast(int, Whole())
    assert index(two) == 2
    counter = Refcounter(two)
    counter.add(two)
    assert counter.add_not_zero(two)
    counter.sub(two)
    assert (counter.usecount, type(counter.usecount)) == (4, int)
    counter.usecount = two
    assert (counter.usecount, type(counter.usecount)) == (2, int)
    assert counter.sub_and_test(two)


# --- Callbacks ------------------------------------------------------------------------------------------------------


def test_callbacks_see_the_new_count() -> None:
    """The acquire callback sees what the count was raised to, the release callback 0."""
    seen: list[int] = []
    counter = Refcounter(0, lambda: seen.append(counter.usecount), lambda: seen.append(counter.usecount))
    counter.add(4)
    counter.sub(4)
    assert seen == [4, 0]


class Broken(BaseException):
    """An error that is no `Exception`."""


FIRSTS: list[Verb] = [Refcounter.inc, call("add", 3)]
LASTS: list[Verb] = [
    Refcounter.dec,
    Refcounter.dec_and_test,
    Refcounter.dec_if_one,
    call("sub", 1),
    call("sub_and_test", 1),
    dec_and_lock,
]


@pytest.mark.parametrize("error", [OSError("no camera"), KeyboardInterrupt(), SystemExit(3), Broken()])
@pytest.mark.parametrize("verb", FIRSTS)
def test_acquire_that_raises(error: BaseException, verb: Verb) -> None:
    """The caller gets that very error, the count is 0 again, and the next acquire runs the callback anew."""
    errors = [error]
    log: list[str] = []

    def acquire() -> None:
        log.append("acquire")
        if errors:
            raise errors.pop()

    counter = Refcounter(0, acquire, lambda: log.append("release"))
    with pytest.raises(type(error)) as caught:
        verb(counter)
    assert caught.value is error
    assert (counter.usecount, log) == (0, ["acquire"])
    with pytest.raises(UnderflowException):
        counter.dec()
    verb(counter)
    counter.sub(counter.usecount)
    assert log == ["acquire", "acquire", "release"]


@pytest.mark.parametrize("error", [OSError("stuck"), KeyboardInterrupt(), SystemExit(3), Broken()])
@pytest.mark.parametrize("verb", LASTS)
def test_release_that_raises(error: BaseException, verb: Verb) -> None:
    """The caller gets that very error, the count is 0, and the counter goes on."""
    errors = [error]
    log: list[str] = []

    def release() -> None:
        log.append("release")
        if errors:
            raise errors.pop()

    counter = Refcounter(1, lambda: log.append("acquire"), release)
    with pytest.raises(type(error)) as caught:
        verb(counter)
    assert caught.value is error
    assert counter.usecount == 0
    counter.inc()
    verb(counter)
    assert log == ["release", "acquire", "release"]


def test_transition_made_in_acquire_runs_after_it() -> None:
    """A release caused inside the acquire callback is told at once that it is the last, and its callback runs after."""
    log: list[str] = []

    def acquire() -> None:
        log.append("acquire begins")
        log.append(f"last {counter.dec_and_test()}, usecount {counter.usecount}")
        log.append("acquire ends")

    counter = Refcounter(0, acquire, lambda: log.append(f"release at {counter.usecount}"))
    counter.inc()
    assert log == ["acquire begins", "last True, usecount 0", "acquire ends", "release at 0"]
    assert counter.usecount == 0


def test_transition_made_in_release_runs_after_it() -> None:
    """A release callback that takes the thing up again gets its acquire callback before the outermost call returns."""
    log: list[str] = []

    def release() -> None:
        log.append("release begins")
        if log.count("release begins") < 3:
            counter.inc()
        log.append("release ends")

    counter = Refcounter(1, lambda: log.append("acquire"), release)
    assert counter.dec_and_test() is True
    assert log == ["release begins", "release ends", "acquire"]
    assert counter.usecount == 1
    counter.dec()
    counter.dec()
    assert log == ["release begins", "release ends", "acquire"] * 2 + ["release begins", "release ends"]


def test_several_transitions_in_one_callback() -> None:
    """All are run, in order, though the count is already where the last one left it."""
    log: list[str] = []

    def acquire() -> None:
        log.append(f"acquire at {counter.usecount}")
        if len(log) == 1:
            counter.dec()
            counter.inc()
            counter.dec()
            counter.add(2)

    counter = Refcounter(0, acquire, lambda: log.append(f"release at {counter.usecount}"))
    counter.inc()
    assert log == ["acquire at 1", "release at 2", "acquire at 2", "release at 2", "acquire at 2"]
    assert counter.usecount == 2


def test_transition_made_in_a_queued_callback() -> None:
    """A queued callback can queue in its turn."""
    log: list[str] = []

    def acquire() -> None:
        log.append("acquire")
        if len(log) < 6:
            counter.dec()

    def release() -> None:
        log.append("release")
        if len(log) < 6:
            counter.inc()

    counter = Refcounter(0, acquire, release)
    counter.inc()
    assert log == ["acquire", "release"] * 3


def test_a_callback_may_hold_and_look() -> None:
    """What calls for no callback works inside one at once."""
    seen: list[object] = []

    def acquire() -> None:
        seen.extend([counter.inc_not_zero(), counter.dec_not_one(), counter.add_not_zero(2), counter.sub_and_test(2)])
        counter.usecount = 7
        seen.append(counter.usecount)

    counter = Refcounter(0, acquire)
    counter.inc()
    assert seen == [True, True, True, False, 7]
    assert counter.usecount == 7


def test_bad_use_inside_a_callback_is_the_callbacks() -> None:
    """An underflow inside a callback can be caught there; uncaught it is that callback's error."""
    caught: list[str] = []

    def release() -> None:
        try:
            counter.dec()
        except UnderflowException as error:
            caught.append(str(error))

    counter = Refcounter(release=release)
    counter.dec()
    assert caught == ["usecount 0 cannot be lowered by 1"]
    careless = Refcounter(release=lambda: careless.dec())
    with pytest.raises(UnderflowException):
        careless.dec()
    assert careless.usecount == 0
    careless.inc()


def test_error_drops_what_is_queued() -> None:
    """When a callback raises, what it had queued is not run, and holds taken inside it are void."""
    log: list[str] = []

    def acquire() -> None:
        log.append("acquire")
        if len(log) == 1:
            counter.dec()
            counter.inc()
            raise OSError("no camera")

    counter = Refcounter(0, acquire, lambda: log.append("release"))
    with pytest.raises(OSError, match="no camera"):
        counter.inc()
    assert (counter.usecount, log) == (0, ["acquire"])
    counter.inc()
    counter.dec()
    assert log == ["acquire", "acquire", "release"]


def test_error_of_a_queued_callback_goes_to_the_outermost_call() -> None:
    """The nested call had returned long before; the count is 0 and what else was queued is dropped."""
    log: list[str] = []

    def acquire() -> None:
        log.append("acquire")
        if len(log) == 1:
            counter.dec()
            counter.inc()
            log.append("acquire ends")

    def release() -> None:
        log.append("release")
        if log.count("release") == 1:
            raise OSError("stuck")

    counter = Refcounter(0, acquire, release)
    with pytest.raises(OSError, match="stuck"):
        counter.inc()
    assert (counter.usecount, log) == (0, ["acquire", "acquire ends", "release"])
    counter.inc()
    counter.dec()
    assert log[3:] == ["acquire", "release"]


# --- Other threads while a callback runs ----------------------------------------------------------------------------


def outcome(verb: Callable[[], object]) -> object:
    """What the verb gives, or that it was an underflow."""
    try:
        return verb()
    except UnderflowException:
        return UnderflowException


def set_to_five(counter: Refcounter) -> None:
    """Set the usecount, as a verb."""
    counter.usecount = 5


WAITING_VERBS: list[tuple[Verb, object, object]] = [
    # the verb, what it gives after an acquire that left 1, what it gives after a release that left 0
    (Refcounter.inc, None, None),
    (call("add", 2), None, None),
    (call("add", 0), None, None),
    (Refcounter.inc_not_zero, True, False),
    (call("add_not_zero", 2), True, False),
    (Refcounter.dec, None, UnderflowException),
    (call("sub", 1), None, UnderflowException),
    (Refcounter.dec_and_test, True, UnderflowException),
    (call("sub_and_test", 1), True, UnderflowException),
    (call("sub_and_test", 0), False, False),
    (Refcounter.dec_not_one, False, UnderflowException),
    (Refcounter.dec_if_one, True, False),
    (dec_and_lock, True, UnderflowException),
    (set_to_five, None, None),
]


@pytest.mark.parametrize(("verb", "after_acquire", "after_release"), WAITING_VERBS)
@pytest.mark.parametrize("transition", ["acquire", "release"])
def test_verbs_of_other_threads_wait(transition: str, verb: Verb, after_acquire: object, after_release: object) -> None:
    """While a callback runs every verb of another thread waits, then sees how it ended; a look does not wait."""
    log: list[str] = []
    inside, gate = threading.Event(), threading.Event()

    def callback() -> None:
        if not log:
            log.append("begins")
            inside.set()
            wait(gate)
            log.append("ends")

    counter = Refcounter(int(transition == "release"), callback, callback)
    lock = WatchedLock(counter)
    runner = Task(counter.inc if transition == "acquire" else counter.dec)
    wait(inside)

    def use() -> object:
        result = outcome(lambda: verb(counter))
        log.append("used")
        return result

    waiter = Task(use)
    lock.wait_for_waiters()
    assert counter.usecount == int(transition == "acquire")
    assert log == ["begins"]
    assert not waiter.done
    gate.set()
    runner.result()
    assert waiter.result() is (after_acquire if transition == "acquire" else after_release)
    assert log == ["begins", "ends", "used"]


def test_value_is_seen_while_a_callback_runs() -> None:
    """Reading the value does not wait; replacing it does."""
    inside, gate = threading.Event(), threading.Event()

    def acquire() -> None:
        inside.set()
        wait(gate)

    guarded = RefcountedValue("old", 0, acquire)
    lock = WatchedLock(guarded)
    runner = Task(guarded.inc)
    wait(inside)

    def replace() -> None:
        guarded.value = "new"

    replacing = Task(replace)
    lock.wait_for_waiters()
    assert guarded.value == "old"
    gate.set()
    runner.result()
    replacing.result()
    assert guarded.value == "new"


def test_inc_returns_when_the_acquire_of_another_thread_has_ended() -> None:
    """Of many first users one runs the callback, and none is through before it has ended."""
    ended: list[bool] = []
    inside, gate = threading.Event(), threading.Event()

    def acquire() -> None:
        inside.set()
        wait(gate)
        ended.append(True)

    counter = Refcounter(0, acquire)
    lock = WatchedLock(counter)

    def use() -> bool:
        counter.inc()
        return bool(ended)

    users = [Task(use) for _ in range(8)]
    wait(inside)
    lock.wait_for_waiters(7)
    gate.set()
    assert [user.result() for user in users] == [True] * 8
    assert (counter.usecount, len(ended)) == (8, 1)


def test_waiter_acquires_after_a_failed_acquire() -> None:
    """When the first acquire raises, only its caller gets the error; a waiter finds 0 and runs the callback itself."""
    threads: list[int] = []
    inside, gate = threading.Event(), threading.Event()

    def acquire() -> None:
        threads.append(threading.get_ident())
        if len(threads) == 1:
            inside.set()
            wait(gate)
            raise OSError("no camera")

    counter = Refcounter(0, acquire)
    lock = WatchedLock(counter)
    first = Task(counter.inc)
    wait(inside)

    def start_anew() -> int:
        counter.inc()
        return threading.get_ident()

    second = Task(start_anew)
    lock.wait_for_waiters()
    gate.set()
    with pytest.raises(OSError, match="no camera"):
        first.result()
    assert second.result() == threads[1] != threads[0]
    assert (counter.usecount, len(threads)) == (1, 2)


def test_waiters_are_let_go_after_a_failed_release() -> None:
    """When a release raises, a waiting thread finds 0 and starts anew."""
    inside, gate = threading.Event(), threading.Event()
    log: list[str] = []

    def release() -> None:
        inside.set()
        wait(gate)
        raise OSError("stuck")

    counter = Refcounter(1, lambda: log.append("acquire"), release)
    lock = WatchedLock(counter)
    last = Task(counter.dec)
    wait(inside)
    newcomer = Task(counter.inc)
    lock.wait_for_waiters()
    gate.set()
    with pytest.raises(OSError, match="stuck"):
        last.result()
    newcomer.result()
    assert (counter.usecount, log) == (1, ["acquire"])


def test_queued_callbacks_come_before_waiters() -> None:
    """A thread that waits is let in when the queued callbacks too have run."""
    log: list[str] = []
    inside, gate = threading.Event(), threading.Event()

    def acquire() -> None:
        log.append("acquire")
        if len(log) == 1:
            inside.set()
            wait(gate)
            counter.dec()

    counter = Refcounter(0, acquire, lambda: log.append("release"))
    lock = WatchedLock(counter)
    first = Task(counter.inc)
    wait(inside)
    second = Task(lambda: counter.inc_not_zero())
    lock.wait_for_waiters()
    gate.set()
    first.result()
    assert second.result() is False
    assert log == ["acquire", "release"]


# --- dec_and_lock ---------------------------------------------------------------------------------------------------


def test_dec_and_lock_leaves_the_lock_alone_when_others_remain() -> None:
    """Above 1 the lock is not even touched."""
    log: list[str] = []
    counter = Refcounter(2)
    assert counter.dec_and_lock(RecordingLock(log)) is False
    assert (counter.usecount, log) == (1, [])


def test_dec_and_lock_releases_with_the_lock_held() -> None:
    """On reaching 0 the callback runs under the lock, and the caller has it afterwards."""
    log: list[str] = []
    counter = Refcounter(release=lambda: log.append("release"))
    assert counter.dec_and_lock(RecordingLock(log)) is True
    assert log == ["lock", "release"]


def test_dec_and_lock_frees_the_lock_when_release_raises() -> None:
    """The error goes to the caller, the count is 0, and the lock is free."""

    def release() -> None:
        assert lock.locked()
        raise OSError("stuck")

    lock = threading.Lock()
    counter = Refcounter(release=release)
    with pytest.raises(OSError, match="stuck"):
        counter.dec_and_lock(lock)
    assert (counter.usecount, lock.locked()) == (0, False)


def test_dec_and_lock_at_zero_does_not_take_the_lock() -> None:
    """An underflow is found before the lock is asked for."""
    log: list[str] = []
    with pytest.raises(UnderflowException):
        Refcounter(0).dec_and_lock(RecordingLock(log))
    assert log == []


@pytest.mark.parametrize("by", [1, 2])
def test_dec_and_lock_looks_again_under_the_lock(by: int) -> None:
    """Whoever comes while the lock is waited for keeps the thing: the lock is given back and the answer is False."""
    log: list[str] = []
    counter = Refcounter(release=lambda: log.append("release"))
    lock = RecordingLock(log, meanwhile=lambda: Task(lambda: counter.add(by)).result())
    assert counter.dec_and_lock(lock) is False
    assert (counter.usecount, log) == (by, ["lock", "unlock"])


def test_dec_and_lock_frees_the_lock_on_a_late_underflow() -> None:
    """When somebody released too often while the lock was waited for, the error leaves the lock free."""
    log: list[str] = []
    counter = Refcounter()
    lock = RecordingLock(log, meanwhile=lambda: Task(counter.dec).result())
    with pytest.raises(UnderflowException):
        counter.dec_and_lock(lock)
    assert (counter.usecount, log) == (0, ["lock", "unlock"])


def test_dec_and_lock_when_the_lock_cannot_be_had() -> None:
    """What the lock raises is passed on, and the count is as before."""

    def refuse() -> None:
        raise InterruptedError

    log: list[str] = []
    counter = Refcounter()
    with pytest.raises(InterruptedError):
        counter.dec_and_lock(RecordingLock(log, meanwhile=refuse))
    assert (counter.usecount, log) == (1, [])


def test_dec_and_lock_waits_for_the_lock_with_the_counter_free() -> None:
    """While one thread waits for the user's lock, its holder can use the counter, and so can anyone."""
    table = threading.Lock()
    asked = threading.Event()
    log: list[str] = []

    class Table:
        def acquire(self) -> bool:
            asked.set()
            return table.acquire(timeout=WAIT)

        def release(self) -> None:
            table.release()

    recorder = Recorder(1)
    with table:
        last = Task(lambda: recorder.counter.dec_and_lock(Table()))
        wait(asked)
        recorder.counter.inc()
        log.append("looked up")
    assert last.result() is False
    assert (recorder.counter.usecount, recorder.log, log) == (1, [], ["looked up"])
    assert not table.locked()


def test_dec_and_lock_takes_any_lock() -> None:
    """Reentrant and multiprocessing locks do as well."""
    reentrant = threading.RLock()
    assert Refcounter().dec_and_lock(reentrant)
    assert not Task(lambda: reentrant.acquire(blocking=False)).result()
    reentrant.release()
    between_processes = multiprocessing.get_context("spawn").Lock()
    assert Refcounter().dec_and_lock(between_processes)
    assert not between_processes.acquire(block=False)
    between_processes.release()


# --- The value ------------------------------------------------------------------------------------------------------


def test_value_is_there_while_held() -> None:
    """The value is handed out as it is, can be replaced, and is back when the count is."""
    data = [1, 2]
    guarded = RefcountedValue(data)
    assert guarded.value is data
    guarded.value = other = [3]
    assert guarded.value is other
    guarded.dec()
    guarded.inc()
    assert guarded.value is other


def test_value_not_held() -> None:
    """At 0 the value is neither read nor replaced; the error is ours and a `NameError`."""
    guarded = RefcountedValue("data", usecount=0)
    with pytest.raises(ReleasedError, match="the value cannot be used at usecount 0"):
        _ = guarded.value
    with pytest.raises(NameError, match="the value cannot be used at usecount 0"):
        guarded.value = "other"
    guarded.inc()
    assert guarded.value == "data"


def test_value_with_callbacks() -> None:
    """The callbacks of a value see it or not by the count they see."""
    seen: list[str] = []

    def look() -> None:
        try:
            seen.append(guarded.value)
        except ReleasedError:
            seen.append("gone")

    guarded = RefcountedValue("data", 0, look, look)
    guarded.inc()
    guarded.dec()
    assert seen == ["data", "gone"]


@pytest.mark.parametrize("with_callbacks", [False, True])
def test_old_value_may_use_the_counter_when_it_dies(with_callbacks: bool) -> None:
    """Replacing the value lets the old one go with no lock held, so that its finalizer can take one."""
    seen: list[int] = []

    class Frame:
        def __del__(self) -> None:
            guarded.inc()
            seen.append(guarded.usecount)

    guarded: RefcountedValue[object] = RefcountedValue(Frame(), acquire=(lambda: None) if with_callbacks else None)

    def replace() -> None:
        guarded.value = None
        gc.collect()

    Task(replace).result()
    assert seen == [2]


# --- Holds ----------------------------------------------------------------------------------------------------------


class LongHold(Hold[HoldCounter]):
    """A hold with a slot more, as a lease is."""

    __slots__ = ("label",)

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label


def counter_of(hold: Hold[HoldCounter]) -> HoldCounter | None:
    """Where the hold is counted, asked anew each time."""
    return hold.counter


def test_hold_is_marked_with_its_counter() -> None:
    """Counting and giving back change number and mark together; the last is left to a careful path."""
    counter = HoldCounter(1)
    hold: Hold[HoldCounter] = Hold()
    assert counter_of(hold) is None
    assert counter.inc_not_zero_by(hold) is True
    assert (counter.usecount, counter_of(hold)) == (2, counter)
    assert counter.dec_not_one_by(hold) is True
    assert (counter.usecount, counter_of(hold)) == (1, None)


def test_hold_of_a_dead_counter() -> None:
    """At 0 nothing is counted and nothing marked."""
    counter = HoldCounter(0)
    hold = LongHold("camera")
    assert counter.inc_not_zero_by(hold) is False
    assert (counter.usecount, counter_of(hold), hold.label) == (0, None, "camera")


def test_hold_is_given_back_to_its_own_counter_only() -> None:
    """A hold that is not held or is held elsewhere changes nothing, nor does the last on the hot path."""
    counter, other = HoldCounter(2), HoldCounter(2)
    hold, foreign = LongHold("mine"), LongHold("theirs")
    assert other.inc_not_zero_by(foreign)
    for give in (counter.dec_not_one_by, counter.give):
        assert give(hold) is False
        assert give(foreign) is False
    assert (counter.usecount, counter_of(foreign)) == (2, other)
    assert counter.inc_not_zero_by(hold)
    counter.usecount = 1
    assert counter.dec_not_one_by(hold) is False
    assert (counter.usecount, counter_of(hold)) == (1, counter)
    assert counter.give(hold) is True
    assert (counter.usecount, counter_of(hold)) == (0, None)


def test_hold_is_given_back_once() -> None:
    """A second release of the same hold is none."""
    for give in (HoldCounter.dec_not_one_by, HoldCounter.give):
        counter = HoldCounter(2)
        hold = LongHold("camera")
        assert counter.inc_not_zero_by(hold)
        assert [give(counter, hold) for _ in range(3)] == [True, False, False]
        assert counter.usecount == 2


def test_take_counts_from_zero_and_once() -> None:
    """The careful path counts a hold at 0 too, and a hold that is counted is not counted again."""
    counter = HoldCounter(0)
    hold = LongHold("camera")
    counter.take(hold)
    counter.take(hold)
    assert (counter.usecount, counter_of(hold)) == (1, counter)


def test_hot_paths_can_be_turned_off() -> None:
    """Then they say no and change nothing, and the careful ones go on; turned on again they say yes."""
    counter = HoldCounter(2)
    held, late = LongHold("held"), LongHold("late")
    assert counter.inc_not_zero_by(held)
    counter.set_hot(False)
    assert counter.inc_not_zero_by(late) is False
    assert counter.dec_not_one_by(held) is False
    assert (counter.usecount, counter_of(held), counter_of(late)) == (3, counter, None)
    counter.take(late)
    assert counter.give(held)
    counter.set_hot(True)
    assert counter.inc_not_zero_by(held)
    assert counter.dec_not_one_by(late)
    assert counter.usecount == 3


def test_disowned_counter_is_empty_and_free() -> None:
    """In a forked child the count is 0, and a lock that was held elsewhere at the fork holds nobody up."""
    counter = HoldCounter(3)
    lock: threading.Lock = vars(counter)["_lock"]
    with lock:
        counter.disown()
        assert Task(lambda: counter.inc_not_zero_by(LongHold("child"))).result() is False
    assert counter.usecount == 0


def test_hold_is_small_and_weakly_referenced() -> None:
    """A hold and its subclasses have no dictionary, and can be watched for being lost."""
    hold = LongHold("camera")
    assert not hasattr(hold, "__dict__")
    gone: list[object] = []
    watch = weakref.ref(hold, gone.append)
    del hold
    gc.collect()
    assert gone == [watch]


# --- What it looks like ---------------------------------------------------------------------------------------------


def test_repr() -> None:
    """The representation shows class and count, and of a value no more than that."""
    assert repr(Refcounter(2)) == "<Refcounter usecount=2>"
    assert repr(RefcountedValue("secret", 0)) == "<RefcountedValue usecount=0>"
    assert repr(HoldCounter(3)) == "<HoldCounter usecount=3>"


@pytest.mark.parametrize("public", [Refcounter, RefcountedValue])
def test_reports_the_package_as_its_module(public: type[Refcounter]) -> None:
    """A public class names the package, where it can be imported from, and pickles by that name."""
    assert public.__module__ == "refcount"
    assert getattr(refcount, public.__name__) is public
    assert pickle.loads(pickle.dumps(public)) is public


@pytest.mark.parametrize("public", [Refcounter, RefcountedValue])
def test_examples_run(public: type[Refcounter]) -> None:
    """The class, its properties and its verbs each have an example, and it holds."""
    found = doctest.DocTestFinder().find(public, module=False, globs={})
    documented = {name for name in vars(public) if not name.startswith("_")}
    shown = {test.name.rpartition(".")[2] for test in found if test.examples}
    assert documented | {public.__name__} == shown
    runner = doctest.DocTestRunner(verbose=False)
    assert sum(runner.run(test).failed for test in found) == 0


def test_equality_is_identity() -> None:
    """Two counters with the same count are two counters."""
    one, other = Refcounter(), Refcounter()
    assert one != other
    assert len({one, other}) == 2


def through_pickle(counter: Refcounter) -> Refcounter:
    """What another process would get."""
    again: Refcounter = pickle.loads(pickle.dumps(counter))
    return again


COPIERS: list[Callable[[Refcounter], Refcounter]] = [copy.copy, copy.deepcopy, through_pickle]


@pytest.mark.parametrize("again", COPIERS)
def test_copies_count_for_themselves(again: Callable[[Refcounter], Refcounter]) -> None:
    """A copied or pickled counter has the count, a lock of its own, and a life of its own."""
    counter = Refcounter(2)
    vars(counter)["label"] = "camera"
    copied = again(counter)
    copied.inc()
    assert (counter.usecount, copied.usecount, vars(copied)["label"]) == (2, 3, "camera")
    value: RefcountedValue[str] = copy.copy(RefcountedValue("data", 2))
    assert (value.value, value.usecount) == ("data", 2)


class Remembering(Refcounter):
    """Changes its state as one does that is a dictionary, as it is for a class without slots."""

    def __getstate__(self) -> dict[str, object]:
        state = super().__getstate__()
        assert isinstance(state, dict)
        return {**state, "copied": True}


@pytest.mark.parametrize("copied", COPIERS)
def test_state_without_slots_is_a_dictionary(copied: Callable[[Refcounter], Refcounter]) -> None:
    """So a subclass may add to it."""
    assert vars(copied(Remembering(2)))["copied"]


class Slotted(Refcounter):
    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        super().__init__(2)
        self.place = place
        self.note = "kept"


@pytest.mark.parametrize("copied", COPIERS)
def test_copies_of_a_subclass_with_slots(copied: Callable[[Refcounter], Refcounter]) -> None:
    """What a subclass keeps, in slots or not, is copied and pickled as for any class."""
    again = copied(Slotted("here"))
    assert isinstance(again, Slotted)
    assert (again.place, again.note, again.usecount) == ("here", "kept", 2)
    assert again.dec_not_one()


def test_copy_made_inside_a_callback_is_at_rest() -> None:
    """A copy taken while a callback runs does not inherit that."""
    copies: list[Refcounter] = []
    log: list[str] = []

    def acquire() -> None:
        log.append("acquire")
        if not copies:
            copies.append(copy.copy(counter))

    counter = Refcounter(0, acquire, lambda: log.append("release"))
    counter.inc()
    Task(copies[0].dec).result()
    Task(copies[0].inc).result()
    assert log == ["acquire", "release", "acquire"]
    assert (counter.usecount, copies[0].usecount) == (1, 1)


# --- Interrupts -----------------------------------------------------------------------------------------------------


@contextmanager
def interrupted(step: int) -> Generator[list[int]]:
    """Raise `KeyboardInterrupt` at the given line that the counter runs; give a list that then has that line.

    Two kinds of line are left out, where CPython delivers no signal and a tracer that raises there breaks any program:
    - When a `with` of several lines ends, its line comes again, after the body and before the call that frees the lock.
    - A `try` alone is an instruction that does nothing, and the exception table of a `with` around it leaves it out.
    """
    hit: list[int] = []
    steps = 0
    entered: set[tuple[FrameType, int]] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Tracer | None:
        nonlocal steps
        if frame.f_code.co_filename not in COUNTER_FILES:
            return None
        if hit or event not in ("call", "line"):
            return trace
        place = frame, frame.f_lineno
        source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and source.startswith("with ") and source.endswith(":"):
            entered.symmetric_difference_update({place})
            if place not in entered:
                return trace
        if event == "line" and source.startswith("try:"):
            return trace
        if steps == step:
            hit.append(frame.f_lineno)
            raise KeyboardInterrupt
        steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield hit
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)


def failing_dec(counter: Refcounter) -> object:
    """An underflow, as a verb that can be interrupted."""
    return outcome(counter.dec)


INTERRUPTED: dict[str, tuple[int, Verb]] = {
    "inc from 0": (0, Refcounter.inc),
    "inc from 1": (1, Refcounter.inc),
    "add from 0": (0, call("add", 2)),
    "dec to 0": (1, Refcounter.dec),
    "dec to 1": (2, Refcounter.dec),
    "sub to 0": (2, call("sub", 2)),
    "dec_and_test to 0": (1, Refcounter.dec_and_test),
    "dec_if_one": (1, Refcounter.dec_if_one),
    "inc_not_zero": (1, Refcounter.inc_not_zero),
    "dec_not_one": (2, Refcounter.dec_not_one),
    "underflow": (0, failing_dec),
}


def check_usable(counter: Refcounter) -> None:
    """Another thread can use it, so that nothing is held and nobody thought to be inside; leave it at 0."""

    def use() -> None:
        counter.inc()
        counter.sub(counter.usecount)
        counter.inc()
        counter.dec()

    Task(use).result()
    assert counter.usecount == 0


@pytest.mark.parametrize("scenario", INTERRUPTED)
@pytest.mark.parametrize("with_callbacks", [False, True])
def test_interrupt_at_every_line(scenario: str, with_callbacks: bool) -> None:
    """Wherever an interrupt falls, the count is the old or the new one, what ran fits it, and the counter goes on."""
    before, verb = INTERRUPTED[scenario]
    undisturbed = Refcounter(before)
    verb(undisturbed)
    step = 0
    while True:
        recorder = Recorder()
        counter = recorder.counter if with_callbacks else Refcounter(0)
        counter.add(before)
        with interrupted(step) as hit:
            verb(counter)
        assert counter.usecount in (before, undisturbed.usecount), f"interrupted at line {hit}"
        if with_callbacks:
            acquired = recorder.log[-1:] == ["acquire"]
            assert acquired == bool(counter.usecount), f"interrupted at line {hit}: {recorder.log}"
        check_usable(counter)
        assert recorder.alternates, f"interrupted at line {hit}: {recorder.log}"
        if not hit:
            break
        step += 1
    assert step >= 4, "the sweep interrupted hardly anything"


def restless() -> tuple[Refcounter, list[str]]:
    """A counter whose first acquire callback gives up and starts again, and the log of its callbacks."""
    log: list[str] = []

    def acquire() -> None:
        log.append("acquire")
        if len(log) == 1:
            counter.dec()
            counter.inc()

    counter = Refcounter(0, acquire, lambda: log.append("release"))
    return counter, log


def test_interrupt_at_every_line_between_callbacks() -> None:
    """With callbacks queued too: they alternate, and none that is owed is lost, wherever the interrupt falls."""
    step = between = 0
    while True:
        counter, log = restless()
        with interrupted(step) as hit:
            counter.inc()
        if log == ["acquire"]:
            # It fell into a verb that the callback used, so that the callback raised it.
            assert counter.usecount == 0, f"interrupted at line {hit}"
            log.clear()
        else:
            assert log in ([], ["acquire", "release", "acquire"]), f"interrupted at line {hit}: {log}"
            assert counter.usecount == len(log) % 2, f"interrupted at line {hit}"
            between += len(log) == 3
        check_usable(counter)
        assert set(log[::2]) == {"acquire"}, f"interrupted at line {hit}: {log}"
        assert set(log[1::2]) == {"release"}, f"interrupted at line {hit}: {log}"
        if not hit:
            break
        step += 1
    assert between > 10, "the sweep interrupted hardly anything"


class TwiceInterrupted(Refcounter):
    """A counter that is interrupted before its callback begins, and once more while that is made good."""

    interrupts = 0

    def _settle(self) -> None:
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        super()._settle()


@pytest.mark.parametrize("interrupts", [1, 2])
def test_second_interrupt(interrupts: int) -> None:
    """One interrupt holds no callback up; a second one does, but leaves the counter at rest."""
    log: list[str] = []
    counter = TwiceInterrupted(0, lambda: log.append("acquire"), lambda: log.append("release"))
    counter.interrupts = interrupts
    with pytest.raises(KeyboardInterrupt):
        counter.inc()
    assert log == ["acquire"][interrupts - 1 :]
    counter.usecount = 0
    log.clear()
    check_usable(counter)
    assert log == ["acquire", "release"] * 2


HOLD_VERBS = [HoldCounter.inc_not_zero_by, HoldCounter.dec_not_one_by, HoldCounter.take, HoldCounter.give]


@pytest.mark.parametrize("verb", HOLD_VERBS)
def test_interrupt_at_every_line_of_a_hold(verb: Callable[[HoldCounter, Hold[HoldCounter]], object]) -> None:
    """At no line are number and mark apart, going up and going down."""
    step = 0
    while True:
        counter = HoldCounter(1)
        hold = LongHold("camera")
        if verb in (HoldCounter.dec_not_one_by, HoldCounter.give):
            assert counter.inc_not_zero_by(hold)
        with interrupted(step) as hit:
            verb(counter, hold)
        assert counter.usecount == 1 + (hold.counter is counter), f"interrupted at line {hit}"
        assert Task(partial(counter.inc_not_zero_by, LongHold("other"))).result()
        if not hit:
            break
        step += 1
    assert step >= 3, "the sweep interrupted hardly anything"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_real_interrupts() -> None:
    """Signals that come when they like leave the counter usable, callbacks or none."""

    class Alarm(BaseException):
        pass

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Alarm

    rng = random.Random(1)
    before = signal.signal(signal.SIGVTALRM, ring)
    try:
        for turn in range(200):
            counter = Refcounter(0, (lambda: None) if turn % 2 else None, (lambda: None) if turn % 2 else None)
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, rng.uniform(0.000_05, 0.002))
                while True:
                    counter.inc()
                    counter.inc()
                    counter.sub(counter.usecount)
            except Alarm:
                pass
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            check_usable(counter)
    finally:
        signal.signal(signal.SIGVTALRM, before)


def under_lock(function: Callable[..., object]) -> list[str]:
    """The operations that the function's `with` protects: from the lock's being held to the call that frees it."""
    code = dis.Bytecode(function)
    operations = {instruction.offset: instruction.opname for instruction in code}
    offsets = list(operations)
    protected: list[str] = []
    for entry in cast(Any, code).exception_entries:  # typeshed does not know it
        handler = [operations[offset] for offset in offsets if offset >= entry.target][:2]
        if handler == ["PUSH_EXC_INFO", "WITH_EXCEPT_START"]:
            protected += [operations[offset] for offset in offsets if entry.start <= offset < entry.end]
    return protected


def setter(owner: type[Refcounter], name: str) -> Callable[..., object]:
    """The function behind a property that can be set."""
    member = vars(owner)[name]
    assert isinstance(member, property)
    assert member.fset is not None
    return member.fset


UNDISTURBED: list[Callable[..., object]] = [
    Refcounter.inc,
    Refcounter.inc_not_zero,
    Refcounter.add_not_zero,
    Refcounter.dec,
    Refcounter.dec_and_test,
    Refcounter.dec_not_one,
    setter(Refcounter, "usecount"),
    setter(RefcountedValue, "value"),
    *HOLD_VERBS,
    HoldCounter.set_hot,
]


@pytest.mark.parametrize("function", UNDISTURBED)
def test_nothing_can_fall_into_a_critical_section(function: Callable[..., object]) -> None:
    """Under the lock nothing is called, looped or built, so no signal and no garbage collection comes in between."""
    operations = under_lock(function)
    assert any(name.startswith("STORE_ATTR") for name in operations)
    forbidden = ("CALL", "PRECALL", "JUMP_BACKWARD", "BUILD", "MAKE", "RAISE", "RESUME", "YIELD", "IMPORT", "UNPACK")
    assert [name for name in operations if name.startswith(forbidden)] == []


# --- Threads, shaken ------------------------------------------------------------------------------------------------

SEEDS = range(6)
THREADS = 4
ROUNDS = 25


def no_lost_update(make: Callable[[int], Refcounter]) -> None:
    """As many up as down, from all threads, leave the count where it was."""
    counter = make(1)

    def use() -> None:
        for _ in range(ROUNDS):
            counter.inc()
            counter.inc_not_zero()
            counter.dec_not_one()
            counter.dec()

    run_threads(*[use] * THREADS)
    assert counter.usecount == 1


def one_last_release(make: Callable[[int], Refcounter]) -> None:
    """Threads that release one hold more than there are: one hears that it was the last, one gets the error."""
    for _ in range(ROUNDS):
        counter = make(THREADS - 1)
        results = run_threads(*[partial(outcome, counter.dec_and_test)] * THREADS)
        assert results.count(True) == 1
        assert results.count(UnderflowException) == 1
        assert counter.usecount == 0


def callbacks_take_turns(make: Callable[[int, Callable[[], object], Callable[[], object]], Refcounter]) -> None:
    """Random users of a counter that goes to 0 and back: callbacks alternate, and none runs beside another."""
    log: list[str] = []
    inside: list[str] = []

    def callback(name: str) -> None:
        assert not inside, f"{name} beside {inside}"
        inside.append(name)
        log.append(name)
        inside.remove(name)

    counter = make(0, lambda: callback("acquire"), lambda: callback("release"))

    def use() -> None:
        for _ in range(ROUNDS):
            counter.inc()
            assert log[-1] == "acquire", "inc returned and nothing is acquired"
            counter.dec()

    run_threads(*[use] * THREADS)
    assert counter.usecount == 0
    assert log == ["acquire", "release"] * (len(log) // 2)


def holds_are_counted(make: Callable[[int], HoldCounter]) -> None:
    """The number is always the owner's one and the holds that are marked."""
    counter = make(1)

    def use() -> list[Hold[HoldCounter]]:
        holds: list[Hold[HoldCounter]] = [Hold() for _ in range(ROUNDS)]
        for hold in holds:
            counter.inc_not_zero_by(hold)
        for hold in holds[::2]:
            counter.dec_not_one_by(hold)
        return holds

    holds = [hold for some in run_threads(*[use] * THREADS) for hold in some]
    assert counter.usecount == 1 + sum(hold.counter is counter for hold in holds)


@pytest.mark.parametrize("seed", SEEDS)
def test_shaken_counter(seed: int) -> None:
    """With threads switched between any two bytecodes of the library, the counter keeps every promise."""
    with shaken(seed):
        no_lost_update(Refcounter)
        no_lost_update(lambda usecount: Refcounter(usecount, lambda: None, lambda: None))
        one_last_release(Refcounter)
        one_last_release(lambda usecount: Refcounter(usecount, None, lambda: None))
        callbacks_take_turns(Refcounter)
        holds_are_counted(HoldCounter)


def test_racing_last_release() -> None:
    """Scenario 19: four threads release one hold, ten thousand times: one frees it, three fail; nobody revives it."""
    rounds = 10_000
    counters = [Refcounter() for _ in range(rounds)]

    def release() -> list[object]:
        return [outcome(counter.dec_and_test) for counter in counters]

    for results in zip(*run_threads(*[release] * 4), strict=True):
        assert sorted(map(str, results)) == sorted(map(str, [True] + [UnderflowException] * 3))
    revived = run_threads(*[lambda: [counter.inc_not_zero() for counter in counters]] * 4)
    assert not any(any(some) for some in revived)


# --- Broken counters, which the tests above must catch --------------------------------------------------------------


class Lockless(Refcounter):
    """A counter without its lock."""

    def __init__(
        self,
        usecount: int = 1,
        acquire: Callable[[], object] | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(usecount, acquire, release)
        vars(self)["_lock"] = nullcontext()


class LooksTwice(Refcounter):
    """A counter that reads the number again to see whether it was the last."""

    def dec_and_test(self) -> bool:
        self.dec()
        return self.usecount == 0


class Impatient(Refcounter):
    """A counter that runs its callbacks beside everybody else."""

    def __init__(self, usecount: int, acquire: Callable[[], object], release: Callable[[], object]) -> None:
        super().__init__(usecount)
        self._on_acquire, self._on_release = acquire, release

    def inc(self) -> None:
        if not self.inc_not_zero():
            super().inc()
            self._on_acquire()

    def dec(self) -> None:
        if self.dec_and_test():
            self._on_release()


class LocklessHolds(HoldCounter):
    """A counter of holds without its lock."""

    def __init__(self, usecount: int = 1) -> None:
        super().__init__(usecount)
        vars(self)["_lock"] = nullcontext()


BROKEN: dict[str, Callable[[], None]] = {
    "no lock loses updates": lambda: no_lost_update(Lockless),
    "no lock, two last ones": lambda: one_last_release(Lockless),
    "no lock, callbacks meet": lambda: callbacks_take_turns(Lockless),
    "looks twice": lambda: one_last_release(LooksTwice),
    "impatient": lambda: callbacks_take_turns(Impatient),
    "holds without a lock": lambda: holds_are_counted(LocklessHolds),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_shaking_catches_broken_counters(broken: str) -> None:
    """Each of these counters fails the test that it is made for, within a few seeds."""
    for seed in range(40):
        try:
            with shaken(seed):
                BROKEN[broken]()
        except Exception:  # a broken counter may break anything
            return
    pytest.fail(f"nothing noticed: {broken}")
