"""What trace functions have in common: which code they follow, and that they are told of every bytecode."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType, GeneratorType
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
        return known[filename] or (bool(codes) and code in codes)  # hashing a code object reads all of it

    return follow


def ask_for_opcodes() -> None:
    """Let the next `sys.settrace` report bytecodes: Python 3.12 does so only if some frame has asked before.

    The frame that asks here never runs. On CPython 3.12 one that does would crash where it goes on in a thread without
    a tracer while another thread has one.
    """
    generator = (None for _ in ())
    assert isinstance(generator, GeneratorType)
    frame: FrameType | None = generator.gi_frame
    assert frame is not None
    frame.f_trace_opcodes = True
