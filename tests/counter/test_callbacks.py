"""The callbacks of the counter: what they see, what they may do, what becomes of their errors, and the value."""

from __future__ import annotations

import gc

import pytest

from refcount import RefcountedValue, Refcounter, ReleasedError, UnderflowException
from tests.counter.counting import Task, Verb, call, dec_and_lock


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


def test_the_first_is_told_so_whatever_the_callback_does() -> None:
    """Who left 0 hears it though the callback has raised the count further, or has given up at once."""
    keen = Refcounter(0, lambda: keen.add(3))
    assert keen.inc_and_test() is True
    assert (keen.inc_and_test(), keen.usecount) == (False, 5)
    shy = Refcounter(0, lambda: shy.dec())
    assert [shy.inc_and_test(), shy.inc_and_test()] == [True, True]
    assert shy.usecount == 0


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
