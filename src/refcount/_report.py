"""Errors that have nobody to go to: the `refcount` logger and `sys.unraisablehook`."""

import logging
from weakref import ref

logger = logging.getLogger("refcount")
logger.addHandler(logging.NullHandler())  # an application that has set up no logging gets the hook alone


def report(error: BaseException, where: str) -> None:
    """Tell of `error`, which happened in `where` and which nobody will catch."""
    logger.error("error in %s", where, exc_info=error)
    _raise_unraisably(error, where)


def _raise_unraisably(error: BaseException, where: str) -> None:
    # `sys.unraisablehook` takes only what the interpreter itself makes, so let the interpreter call it: for a callback
    # that raises when the thing that it watches is gone.
    watched = _Watched()
    watch = ref(watched, _Raiser(error, where))
    del watched
    del watch  # lives until here, so that there is a callback to call


class _Watched:
    """Something to watch."""


class _Raiser:
    """A weak reference's callback that raises; the hook shows its repr."""

    def __init__(self, error: BaseException, where: str) -> None:
        self._error = error
        self._where = where

    def __repr__(self) -> str:
        return self._where

    def __call__(self, _watch: object) -> None:
        raise self._error
