"""What code written for the PyPI package pyrefcount 0.1.0 relies on, held against this package and against that one.

These tests are ours, written from what pyrefcount's documentation and code promise. They always run against this
package. To run them against pyrefcount too (it cannot be installed beside this package: both are imported as
`refcount`), install it into a folder of its own and name that, as `.ci/run` does:

    pip install --target original pyrefcount==0.1.0
    PYREFCOUNT_SITE_PACKAGES=original pytest tests/counter/test_pyrefcount_compat.py

Where this package deliberately differs, in every case because the other way hides a mistake or a race:
- Counts and amounts are integers, not negative, at most `USECOUNT_MAX`, and no truth values. pyrefcount takes anything
  that can be added; there `add(-1)` lowers the count without a release, and a count may be set below 0.
- Callbacks are callable or None. pyrefcount takes any value, and takes a false acquire callback for none.
- An amount of 0 never runs a callback, and `sub_and_test(0)` is never true. In pyrefcount, at 0, `add(0)` runs the
  acquire callback, `sub(0)` the release callback, and `sub_and_test(0)` is true.
- `dec_and_test()` and `sub_and_test()` say whether this call reached 0. pyrefcount reads the count once more after
  the release callback, and says false when the callback or another thread raised it meanwhile.
- A callback that raises leaves the count at 0. In pyrefcount a failed acquire leaves the count raised.
- A change of the count made inside a callback runs its own callback after the running one. In pyrefcount it runs
  inside it.
- Verbs do not call one another: a subclass that overrides `add` or `sub` sees only calls of `add` and `sub`.
- The text of an error names the numbers. `UnderflowException` is an `ArithmeticError` too, and a value that is not
  held raises `ReleasedError`, which is a `NameError`.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import pickle
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import pytest

import refcount

SITE_PACKAGES = os.environ.get("PYREFCOUNT_SITE_PACKAGES", "")


class Counter(Protocol):
    """A `Refcounter` of either package."""

    @property
    def usecount(self) -> int: ...
    @usecount.setter
    def usecount(self, value: int) -> None: ...
    def inc(self) -> None: ...
    def inc_not_zero(self) -> bool: ...
    def add(self, value: int) -> None: ...
    def add_not_zero(self, value: int) -> bool: ...
    def dec(self) -> None: ...
    def dec_and_test(self) -> bool: ...
    def sub(self, value: int) -> None: ...
    def sub_and_test(self, value: int) -> bool: ...


class GuardedText(Counter, Protocol):
    """A `RefcountedValue` of either package, of a text."""

    @property
    def value(self) -> str: ...
    @value.setter
    def value(self, value: str) -> None: ...


class CounterClass(Protocol):
    """The class `Refcounter` of either package."""

    def __call__(
        self,
        usecount: int = 1,
        acquire: Callable[[], object] | None = None,
        release: Callable[[], object] | None = None,
    ) -> Counter: ...


class GuardedTextClass(Protocol):
    """The class `RefcountedValue` of either package."""

    def __call__(
        self,
        value: str,
        usecount: int = 1,
        acquire: Callable[[], object] | None = None,
        release: Callable[[], object] | None = None,
    ) -> GuardedText: ...


@dataclass(frozen=True)
class Package:
    """What is imported from `refcount`, in either package."""

    Refcounter: CounterClass
    RefcountedValue: GuardedTextClass
    UnderflowException: type[Exception]


def ours() -> Package:
    """This package."""
    return Package(refcount.Refcounter, refcount.RefcountedValue, refcount.UnderflowException)


def original() -> Package:
    """The package pyrefcount, from the environment that the variable names, under another module name."""
    spec = importlib.util.spec_from_file_location("pyrefcount", Path(SITE_PACKAGES, "refcount", "__init__.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Package(module.Refcounter, module.RefcountedValue, module.UnderflowException)


@pytest.fixture(params=[ours, original] if SITE_PACKAGES else [ours], ids=lambda load: load.__name__)
def package(request: pytest.FixtureRequest) -> Package:
    """One of the two packages."""
    load: Callable[[], Package] = request.param
    return load()


def test_starts_at_one(package: Package) -> None:
    """A new counter is in use once, by whoever made it."""
    assert package.Refcounter().usecount == 1


@pytest.mark.parametrize("usecount", [0, 1, 7])
def test_starts_where_asked(package: Package, usecount: int) -> None:
    """The first argument, or `usecount=`, is the count at first, and runs no callback."""
    log: list[str] = []
    by_position = package.Refcounter(usecount, lambda: log.append("acquire"), lambda: log.append("release"))
    by_name = package.Refcounter(usecount=usecount, acquire=lambda: log.append("a"), release=lambda: log.append("r"))
    assert (by_position.usecount, by_name.usecount, log) == (usecount, usecount, [])


def test_usage_of_the_readme(package: Package) -> None:
    """Up to 2 and down to 0, where `dec_and_test()` says so."""
    counter = package.Refcounter()
    counter.inc()
    assert counter.usecount == 2
    counter.dec()
    assert counter.usecount == 1
    assert counter.dec_and_test()
    assert counter.usecount == 0


def test_plain_verbs_return_nothing(package: Package) -> None:
    """`inc`, `add`, `dec` and `sub` return None."""
    counter: Counter = package.Refcounter()
    verbs: list[Callable[[], object]] = [counter.inc, lambda: counter.add(2), counter.dec, lambda: counter.sub(2)]
    assert [verb() for verb in verbs] == [None] * 4
    assert counter.usecount == 1


def test_amounts_by_name(package: Package) -> None:
    """The amount is a parameter named `value`."""
    counter = package.Refcounter()
    counter.add(value=4)
    counter.sub(value=1)
    assert counter.add_not_zero(value=2)
    assert not counter.sub_and_test(value=5)
    assert counter.usecount == 1


def test_not_zero(package: Package) -> None:
    """At 0 `inc_not_zero` and `add_not_zero` are False and change nothing; else they are True and raise the count."""
    log: list[str] = []
    counter = package.Refcounter(0, acquire=lambda: log.append("acquire"))
    assert counter.inc_not_zero() is False
    assert counter.add_not_zero(2) is False
    assert (counter.usecount, log) == (0, [])
    counter.inc()
    assert counter.inc_not_zero() is True
    assert counter.add_not_zero(2) is True
    assert (counter.usecount, log) == (4, ["acquire"])


def test_tests(package: Package) -> None:
    """`dec_and_test` and `sub_and_test` are True on reaching 0 and False before."""
    counter = package.Refcounter(usecount=5)
    assert [counter.dec_and_test(), counter.sub_and_test(3), counter.dec_and_test()] == [False, False, True]
    assert package.Refcounter(usecount=2).sub_and_test(2) is True


@pytest.mark.parametrize("usecount", [0, 1, 2])
def test_underflow(package: Package, usecount: int) -> None:
    """Going below 0 raises `UnderflowException`, whichever verb tries, and changes nothing; no release runs."""
    log: list[str] = []
    counter = package.Refcounter(usecount, release=lambda: log.append("release"))
    with pytest.raises(package.UnderflowException):
        counter.sub(usecount + 1)
    with pytest.raises(package.UnderflowException):
        counter.sub_and_test(usecount + 1)
    if not usecount:
        for verb in (counter.dec, counter.dec_and_test):
            with pytest.raises(package.UnderflowException):
                verb()
    assert (counter.usecount, log) == (usecount, [])


def test_underflow_exception_takes_a_text(package: Package) -> None:
    """Code that raises `UnderflowException` itself, with a text of its own, goes on working."""
    assert str(package.UnderflowException("mine")) == "mine"
    assert issubclass(package.UnderflowException, Exception)


def test_callbacks_at_the_edges_only(package: Package) -> None:
    """Acquire runs from 0 up, release down to 0, each once; in between nothing runs."""
    log: list[str] = []
    counter = package.Refcounter(0, lambda: log.append("acquire"), lambda: log.append("release"))
    counter.inc()
    counter.inc()
    counter.add(2)
    counter.sub(3)
    assert log == ["acquire"]
    counter.dec()
    assert log == ["acquire", "release"]
    counter.add(3)
    assert counter.sub_and_test(3)
    assert log == ["acquire", "release", "acquire", "release"]


def test_callbacks_see_the_new_count(package: Package) -> None:
    """The acquire callback sees the raised count, the release callback 0."""
    seen: list[int] = []
    counter = package.Refcounter(0, lambda: seen.append(counter.usecount), lambda: seen.append(counter.usecount))
    counter.add(3)
    counter.sub(3)
    assert seen == [3, 0]


@pytest.mark.parametrize("only", ["acquire", "release"])
def test_one_callback_will_do(package: Package, only: str) -> None:
    """Each callback can be given without the other, and what it returns is not looked at."""
    log: list[str] = []

    def callback() -> bool:
        log.append(only)
        return False

    counter = package.Refcounter(acquire=callback) if only == "acquire" else package.Refcounter(release=callback)
    counter.dec()
    counter.inc()
    assert log == [only]


def test_usecount_can_be_set(package: Package) -> None:
    """Setting the count sets the number and runs nothing, not even to 0 and from 0."""
    log: list[str] = []
    counter = package.Refcounter(1, lambda: log.append("acquire"), lambda: log.append("release"))
    counter.usecount = 4
    assert counter.usecount == 4
    counter.usecount = 0
    counter.usecount = 1
    assert log == []
    assert counter.dec_and_test()
    assert log == ["release"]


def test_an_error_of_release_reaches_the_caller(package: Package) -> None:
    """What the release callback raises comes out of the verb; the count is 0 and usable."""

    def release() -> None:
        raise OSError("stuck")

    counter = package.Refcounter(release=release)
    with pytest.raises(OSError, match="stuck"):
        counter.dec()
    assert counter.usecount == 0
    counter.inc()
    assert counter.usecount == 1


def test_an_error_of_acquire_reaches_the_caller(package: Package) -> None:
    """What the acquire callback raises comes out of the verb."""

    def acquire() -> None:
        raise OSError("no camera")

    counter = package.Refcounter(0, acquire)
    with pytest.raises(OSError, match="no camera"):
        counter.inc()


def test_callback_may_use_its_counter(package: Package) -> None:
    """A callback can take one more hold for itself."""
    counter = package.Refcounter(0, acquire=lambda: counter.inc())
    counter.inc()
    assert counter.usecount == 2


def test_value(package: Package) -> None:
    """A value can be read and replaced while the count is above 0."""
    guarded = package.RefcountedValue("data")
    assert (guarded.value, guarded.usecount) == ("data", 1)
    guarded.value = "other"
    assert guarded.value == "other"


def test_value_not_held(package: Package) -> None:
    """At 0 reading and replacing raise `NameError`; the old value is back when the count is."""
    guarded = package.RefcountedValue(value="data", usecount=1)
    guarded.dec()
    with pytest.raises(NameError):
        _ = guarded.value
    with pytest.raises(NameError):
        guarded.value = "other"
    guarded.inc()
    assert guarded.value == "data"


def test_value_counts_like_a_counter(package: Package) -> None:
    """Everything but the value comes after it, in the same order, and the callbacks run."""
    log: list[str] = []
    guarded = package.RefcountedValue("data", 0, lambda: log.append("acquire"), lambda: log.append("release"))
    assert not guarded.inc_not_zero()
    guarded.inc()
    assert guarded.inc_not_zero()
    assert guarded.sub_and_test(2)
    assert log == ["acquire", "release"]


def test_value_in_release(package: Package) -> None:
    """Inside the release callback the value is already out of reach."""
    seen: list[str] = []

    def release() -> None:
        try:
            seen.append(guarded.value)
        except NameError:
            seen.append("gone")

    guarded = package.RefcountedValue("data", release=release)
    guarded.dec()
    assert seen == ["gone"]


def test_subclass_with_state(package: Package) -> None:
    """A subclass can keep attributes of its own, override a verb and call the one below."""
    base = cast(type[refcount.Refcounter], package.Refcounter)
    log: list[str] = []

    def dec(counter: refcount.Refcounter) -> None:
        log.append(vars(counter)["label"])
        base.dec(counter)

    counter: Counter = type("Logged", (base,), {"dec": dec})(usecount=2)
    vars(counter)["label"] = "camera"
    counter.dec()
    assert counter.usecount == 1
    assert counter.dec_and_test()
    assert log[0] == "camera"


def test_identity_decides_equality_and_hash(package: Package) -> None:
    """Counters are told apart by identity, can be keys, and can be referenced weakly."""
    one, other = package.Refcounter(), package.Refcounter()
    assert one != other
    assert len({one: 1, other: 2}) == 2
    assert weakref.ref(one)() is one


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_count_for_themselves(package: Package, again: Callable[[Counter], Counter]) -> None:
    """A copy has the count and the callbacks, and counts on its own from then on."""
    log: list[str] = []
    counter = package.Refcounter(usecount=2, release=lambda: log.append("release"))
    copied = again(counter)
    assert copied.dec_and_test() is False
    assert copied.dec_and_test() is True
    assert (counter.usecount, copied.usecount, log) == (2, 0, ["release"])


def test_pickles_without_callbacks() -> None:
    """A counter travels by pickle; pyrefcount's does too, under its own import name, which is taken here."""
    counter = pickle.loads(pickle.dumps(refcount.Refcounter(usecount=3)))
    guarded = pickle.loads(pickle.dumps(refcount.RefcountedValue("data", 2)))
    assert (counter.usecount, guarded.usecount, guarded.value) == (3, 2, "data")
    assert not counter.sub_and_test(2)
    assert counter.dec_and_test()
