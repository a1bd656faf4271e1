"""The verbs of the counter, alone in one thread: numbers, limits, bad input, and what a counter looks like."""

from __future__ import annotations

import copy
import doctest
import pickle
import random
from collections.abc import Callable
from operator import index
from typing import cast

import pytest

import refcount
from refcount import USECOUNT_MAX, OverflowException, RefcountedValue, Refcounter, UnderflowException
from tests.counter.counting import Recorder, Task, Verb, call, dec_and_lock

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
    (Refcounter.inc_and_test, 0, True, 1, ["acquire"]),
    (Refcounter.inc_and_test, 1, False, 2, []),
    (Refcounter.inc_and_test, USECOUNT_MAX - 1, False, USECOUNT_MAX, []),
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
    (Refcounter.dec_not_zero, 2, True, 1, []),
    (Refcounter.dec_not_zero, 1, True, 0, ["release"]),
    (Refcounter.dec_not_zero, 0, False, 0, []),
    (Refcounter.dec_not_zero, USECOUNT_MAX, True, USECOUNT_MAX - 1, []),
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
    (Refcounter.inc_and_test, USECOUNT_MAX, 1),
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
    assert str(caught.value) == f"{name} must be callable, not {callback!r}"


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


# --- What it looks like ---------------------------------------------------------------------------------------------


def test_repr() -> None:
    """The representation shows class and count, and of a value no more than that."""
    assert repr(Refcounter(2)) == "<Refcounter usecount=2>"
    assert repr(RefcountedValue("secret", 0)) == "<RefcountedValue usecount=0>"


@pytest.mark.parametrize("public", [Refcounter, RefcountedValue])
def test_reports_the_package_as_its_module(public: type[Refcounter]) -> None:
    """A public class names the package, where it can be imported from, and pickles by that name."""
    assert public.__module__ == "refcount"
    assert getattr(refcount, public.__name__) is public
    assert pickle.loads(pickle.dumps(public)) is public


@pytest.mark.parametrize("public", [Refcounter, RefcountedValue])
def test_examples_run(public: type[Refcounter]) -> None:
    """The class, its properties and its verbs each have an example, and it holds."""
    owners = [owner for owner in public.__mro__ if owner.__module__.partition(".")[0] == "refcount"]
    documented = {name for owner in owners for name in vars(owner) if not name.startswith("_")}
    names = {name: getattr(refcount, name) for name in refcount.__all__}  # which a verb's example need not import
    found = [test for owner in owners for test in doctest.DocTestFinder().find(owner, module=False, globs=names)]
    shown = {test.name.rpartition(".")[2] for test in found if test.examples}
    assert documented | {public.__name__} <= shown
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
