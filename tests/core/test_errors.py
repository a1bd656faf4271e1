"""The exceptions: what they are, what they say of themselves, and that they travel."""

from __future__ import annotations

import copy
import doctest
import pickle

import pytest

import refcount
from refcount import (
    CapacityError,
    ClosedError,
    OverflowException,
    ReentrantError,
    RefcountError,
    ReleasedError,
    UnderflowException,
)

BUILTIN_OF: dict[type[RefcountError], type[Exception]] = {
    RefcountError: Exception,
    UnderflowException: ArithmeticError,
    OverflowException: OverflowError,
    ReleasedError: NameError,
    ReentrantError: RuntimeError,
    ClosedError: RuntimeError,
    CapacityError: RuntimeError,
}

every_error = pytest.mark.parametrize("error_class", BUILTIN_OF, ids=lambda error_class: error_class.__name__)


@every_error
def test_caught_as_ours_and_as_the_builtin(error_class: type[RefcountError]) -> None:
    """Each error is caught by the base of the package and by the builtin that a caller would think of."""
    for caught in (RefcountError, BUILTIN_OF[error_class]):
        with pytest.raises(caught, match="too bad"):
            raise error_class("too bad")


@every_error
def test_reports_the_package_as_its_module(error_class: type[RefcountError]) -> None:
    """A traceback shows `refcount.ClosedError`, and the package has it under that name."""
    assert error_class.__module__ == "refcount"
    assert getattr(refcount, error_class.__name__) is error_class


@every_error
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_round_trip(error_class: type[RefcountError], protocol: int) -> None:
    """Type, arguments, attributes and notes survive pickling."""
    error = error_class("text", 3)
    vars(error)["resource"] = "camera"
    error.add_note("seen on Monday")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is error_class
    assert (again.args, vars(again)) == (error.args, vars(error))
    assert again.__notes__ == ["seen on Monday"]


@every_error
def test_copies(error_class: type[RefcountError]) -> None:
    """Copying keeps type, arguments and attributes."""
    error = error_class("text")
    vars(error)["resource"] = ["camera"]
    for again in (copy.copy(error), copy.deepcopy(error)):
        assert type(again) is error_class
        assert (again.args, vars(again)) == (error.args, vars(error))


@every_error
def test_example_runs(error_class: type[RefcountError]) -> None:
    """Each class has a docstring of one line and an example, and the example holds."""
    assert error_class.__doc__ is not None
    first, blank, *_ = error_class.__doc__.splitlines()
    assert first.endswith(".")
    assert not blank.strip()
    examples = doctest.DocTestFinder(recurse=False).find(error_class, module=False, globs={})
    assert [bool(example.examples) for example in examples] == [True]
    assert doctest.DocTestRunner(verbose=False).run(examples[0]).failed == 0
