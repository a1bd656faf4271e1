"""Which code a trace function should follow: the installed package, and what a test adds to it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import refcount

Tracer = Callable[[FrameType, str, Any], Any]

PACKAGE = Path(refcount.__file__).resolve().parent


def followed(also: Iterable[Path | CodeType]) -> Callable[[CodeType], bool]:
    """Return a predicate that picks the package's code and the given files, folders and code objects.

    Args:
        also: Code to follow besides the package: a source file, a folder of them, or one code object
            (``function.__code__``; what is nested in it is a code object of its own).
    """
    extra = tuple(also)
    codes = {item for item in extra if isinstance(item, CodeType)}
    places = [PACKAGE, *(item.resolve() for item in extra if isinstance(item, Path))]
    known: dict[str, bool] = {}

    def follow(code: CodeType) -> bool:
        filename = code.co_filename
        if filename not in known:
            path = Path(filename).resolve()
            known[filename] = any(path.is_relative_to(place) for place in places)
        return known[filename] or code in codes

    return follow
