"""Reports and notes: courtesies that fail nobody."""

import gc
import logging
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from refcount._support.reporting import note, report
from tests.helpers.programs import run_program
from tests.helpers.watched import unraisable_errors


class BrokenError(Exception):
    """An error that can be referred to weakly."""


def ignore(_args: object) -> None:
    """Do as a hook that tells nobody."""


def raised(error: BaseException) -> BaseException:
    """Return `error` after it was raised and caught."""
    try:
        raise error
    except BaseException as caught:
        return caught


# --- Reports ----------------------------------------------------------------------------------------------------------


def test_the_logger_and_the_hook_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Each once, with the error itself, its traceback and where it happened."""
    told: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    error = raised(ValueError("stuck"))
    report(error, "the stop of camera")
    (args,) = told
    assert (args.exc_type, args.exc_value, repr(args.object)) == (ValueError, error, "the stop of camera")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("refcount", "ERROR")
    assert record.getMessage() == "error in the stop of camera"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_the_interpreter_prints_it_once() -> None:
    """Where nobody has set up logging or a hook: the traceback, under the place where it happened."""
    program = """
from refcount._support.reporting import report
def fail(): raise ValueError("stuck")
try: fail()
except ValueError as error: report(error, "the stop of camera")
"""
    ended = run_program(program)
    assert ended.stderr.startswith("Exception ignored in: the stop of camera\nTraceback (most recent call last):\n")
    assert "in fail" in ended.stderr
    assert ended.stderr.endswith("ValueError: stuck\n")
    assert ended.stderr.count("Traceback") == 1


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that refuses every attribute."""

    text: str


@pytest.mark.parametrize("error", [BrokenError("stuck"), FrozenError("stuck")])
def test_a_report_leaves_the_error_as_it_is(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets no frame of ours, however often it is told of, and nothing keeps it alive."""
    monkeypatch.setattr(sys, "unraisablehook", ignore)
    monkeypatch.setattr(logging.getLogger("refcount"), "propagate", False)  # to pytest, which keeps what is logged
    traceback = raised(error).__traceback__
    report(error, "a timer")
    report(error, "a timer")
    assert error.__traceback__ is traceback
    fresh = BrokenError("only here")
    seen = weakref.ref(fresh)
    gc.disable()
    try:
        report(fresh, "a timer")
        del fresh
        assert seen() is None
    finally:
        gc.enable()


@pytest.fixture(params=[RuntimeError, SystemExit])
def broken_filter(request: pytest.FixtureRequest) -> Iterator[BaseException]:
    """A filter of the library's logger that raises."""
    error: BaseException = request.param("filter")

    def fail(_record: logging.LogRecord) -> bool:
        raise error

    logger = logging.getLogger("refcount")
    logger.addFilter(fail)
    yield error
    logger.removeFilter(fail)


def test_a_log_filter_that_raises(broken_filter: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error goes to the hook, and so does what it has kept from the log; nothing comes out of the report."""
    unraisable = unraisable_errors(monkeypatch)
    error = ValueError("stuck")
    report(error, "a timer")
    assert unraisable == [broken_filter, error]


def test_a_hook_that_raises(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The interpreter prints its error; nothing comes out of the report."""

    def fail(_args: object) -> None:
        raise LookupError("in the hook")

    monkeypatch.setattr(sys, "unraisablehook", fail)
    report(ValueError("stuck"), "a timer")
    assert "LookupError: in the hook" in capfd.readouterr().err


def test_reports_from_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook is called in the thread that reports."""
    threads: list[str] = []

    def hook(_args: object) -> None:
        threads.append(threading.current_thread().name)

    monkeypatch.setattr(sys, "unraisablehook", hook)
    thread = threading.Thread(target=report, args=(ValueError("stuck"), "a timer"), name="reporter")
    thread.start()
    thread.join()
    assert threads == ["reporter"]


# --- Notes ------------------------------------------------------------------------------------------------------------


def test_a_note_is_added() -> None:
    """Notes of different kinds stand beside each other, and beside the user's own."""
    error = ValueError("stuck")
    error.add_note("mine")
    note(error, "while starting camera, generation 1")
    note(error, "while starting studio, generation 1")
    note(error, "while stopping camera, generation 1")
    assert error.__notes__ == [
        "mine",
        "while starting camera, generation 1",
        "while starting studio, generation 1",
        "while stopping camera, generation 1",
    ]


def test_one_object_raised_again_and_again_collects_no_notes() -> None:
    """The note says which generation was the last; another text is not added twice either."""
    error = ValueError("stuck")
    for number in range(1, 1001):
        note(error, f"while starting camera, generation {number}")
        note(error, "in demand gpu, on account of <worker 1>")
    assert error.__notes__ == [
        "while starting camera, generation 1000",
        "in demand gpu, on account of <worker 1>",
    ]


class UnreadableError(Exception):
    """An exception whose notes cannot be looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__notes__":
            raise LookupError(name)
        return super().__getattribute__(name)


class TakenError(Exception):
    """An exception whose notes are something else."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        vars(self)["__notes__"] = ("not", "a", "list")


@pytest.mark.parametrize("error", [FrozenError("stuck"), UnreadableError("stuck"), TakenError("stuck")])
def test_an_error_that_takes_no_notes(error: Exception) -> None:
    """It is left as it is."""
    note(error, "while starting camera, generation 1")
    note(error, "while starting camera, generation 2")
    assert raised(error) is error
