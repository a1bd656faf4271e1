"""Errors that have nobody to go to: the `refcount` logger and `sys.unraisablehook`. And notes for those that have."""

import logging
from weakref import ref

logger = logging.getLogger("refcount")
logger.addHandler(logging.NullHandler())  # an application that has set up no logging gets the hook alone


def report(error: BaseException, where: str) -> None:
    """Tell of `error`, which happened in `where` and which nobody will catch. Never raises.

    A log filter or handler that raises keeps nothing from being told: its error goes to the hook as well.
    """
    try:
        logger.error("error in %s", where, exc_info=error)
    except BaseException as failure:  # even `SystemExit`: the thread that reports has other work to do
        _tell_hook(failure, "the logging of an error")
    _tell_hook(error, where)


def note(error: BaseException, text: str) -> None:
    """Add a note to `error`, in place of an earlier one that says the same of another generation. Never raises.

    An opener may raise one and the same object again and again, generation after generation, and some exceptions, such
    as frozen dataclasses, take no notes.
    """
    try:
        notes: list[str] = getattr(error, "__notes__", [])
        kind = _without_generation(text)
        for index, known in enumerate(notes):
            if _without_generation(known) == kind:
                notes[index] = text
                return
        error.add_note(text)
    except Exception:
        return  # a note is a courtesy


def raise_all(errors: list[Exception], where: str) -> None:
    """Raise what happened while doing one thing after another: the one error, or a group of them; nothing if none."""
    try:
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} errors while {where}", errors)
    finally:
        del errors  # the one of them would refer to this frame


def raise_worst(errors: list[BaseException], where: str) -> None:
    """Raise the first interrupt, or else the first error, and report the others; do nothing if there are none."""
    if errors:
        worst = errors.pop(next((at for at, error in enumerate(errors) if not isinstance(error, Exception)), 0))
        try:
            _report_all(errors, where)
            raise worst
        finally:
            del worst  # else it would keep its own frames alive


def _report_all(errors: list[BaseException], where: str) -> None:
    while errors:
        report(errors.pop(0), where)


def _without_generation(text: str) -> str:
    return text.rpartition(", generation ")[0] or text


def _tell_hook(error: BaseException, where: str) -> None:
    # `sys.unraisablehook` takes only what the interpreter itself makes, so let the interpreter call it: for a callback
    # that raises when the thing that it watches is gone, as this set is at once.
    traceback = error.__traceback__
    ref(set[object](), _Raiser(error, where))
    error.with_traceback(traceback)  # without the frame of the callback, which keeps the error alive


class _Raiser:
    """A weak reference's callback that raises; the hook shows its repr."""

    def __init__(self, error: BaseException, where: str) -> None:
        self._error = error
        self._where = where

    def __repr__(self) -> str:
        return self._where

    def __call__(self, _watch: object) -> None:
        raise self._error
