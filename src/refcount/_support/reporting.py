"""Errors that have nobody to go to: the `refcount` logger and `sys.unraisablehook`."""

import logging
from weakref import ref

logger = logging.getLogger("refcount")
logger.addHandler(logging.NullHandler())  # an application that has set up no logging gets the hook alone


def report(error: BaseException, where: str) -> None:
    """Tell of `error`, which happened in `where` and which nobody will catch."""
    logger.error("error in %s", where, exc_info=error)
    # `sys.unraisablehook` takes only what the interpreter itself makes, so let the interpreter call it: for a callback
    # that raises when the thing that it watches is gone.
    watched = _Watched()
    watch = ref(watched, _Raiser(error, where))
    del error  # else it would keep its own frames alive
    del watched
    del watch  # lives until here, so that there is a callback to call


def note(error: BaseException, text: str) -> None:
    """Add a note to `error`, unless it has it: an opener may raise one and the same object again and again."""
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)


class _Watched:
    """Something to watch."""


class _Raiser:
    """A weak reference's callback that raises; the hook shows its repr."""

    def __init__(self, error: BaseException, where: str) -> None:
        self._error: BaseException | None = error
        self._where = where

    def __repr__(self) -> str:
        return self._where

    def __call__(self, _watch: object) -> None:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # else it would keep its own frames alive
