"""No call slips into a section under a lock, and no loop falls out of its block."""

import functools
import importlib.util
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests.helpers import samples
from tests.helpers.interrupting import Interruptions
from tests.helpers.sections import code_of, locked_sections, loops_outside_their_block
from tests.helpers.tracing import PACKAGE

MODULES = [
    name
    for name in (
        "refcount._core.machine",
        "refcount._core.consumers",
        "refcount._core.lease",
        "refcount._faces.pool",
        "refcount._faces.executor",
    )
    if importlib.util.find_spec(name) is not None
]
"""The modules in which a locked section is a single step."""


class Sound:
    """Sections that are all right."""

    def __init__(self) -> None:
        self.lock = self._lock = threading.Lock()
        self.count = 0
        self.table: dict[int, object] = {}
        self.first: object = None
        self.second: object = None

    def stores(self, lease: object) -> bool:
        taken = False
        with self.lock:
            if self.count > 0 and self.first is not None:
                self.count += 1
                self.table[1] = lease
                taken = True
            elif 1 in self.table and not self.first:
                del self.table[1]
        return taken

    def returns(self) -> int:
        try:
            with self._lock:
                if self.count:
                    return self.count - 1
                self.first, self.second = self.second, self.first
                return 0
        finally:
            self.second = None

    def loops_around(self, others: list["Sound"]) -> int:
        for other in others:
            with other.lock:
                if other.count == 0:
                    continue
                if other.table[2] is None or other.first:
                    break
                other.count -= 1
        return len(others)

    def one_after_the_other(self) -> Callable[[], object]:
        with self.lock:
            first = self.first

        def inner() -> object:
            lock = self.lock
            with lock:
                self.second = first
            return first

        return inner


@pytest.mark.parametrize(
    ("method", "sections"), [("stores", 1), ("returns", 1), ("loops_around", 1), ("one_after_the_other", 2)]
)
def test_sound_sections_pass(method: str, sections: int) -> None:
    """Loads, comparisons, plain stores, and stores and deletions by subscript are all right."""
    found = list(locked_sections(getattr(Sound, method).__code__))
    assert len(found) == sections
    for section in found:
        assert not section.offences, section


@pytest.mark.xfail(sys.version_info >= (3, 14), reason="CPython 3.14 leaves it locked: its issue 148874", strict=False)
def test_no_interrupt_comes_in_a_sound_section() -> None:
    """A sweep finds the lock free and the section done as a whole or not at all, wherever it interrupts."""
    seen: set[tuple[int, bool]] = set()
    for interruption in Interruptions(also=[Sound.stores.__code__]):
        sound = Sound()
        sound.count, sound.first = 1, sound
        interruption.run(functools.partial(sound.stores, sound))
        assert not sound.lock.locked()
        seen.add((sound.count, 1 in sound.table))
    assert seen == {(1, False), (2, True)}


# --- Broken ones ----------------------------------------------------------------------------------------------------


def calls_a_method(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        self.count += 1
        self.notify()


def calls_a_function(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        if self.count:
            self.count = len(self.table)


def loads_a_method(self: Any) -> None:
    """Break the rule."""
    with self._lock:
        self.count = self.table.get(1, 2)


def displays_a_list(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        self.first = [self]


def displays_a_tuple(self: Any) -> object:
    """Break the rule."""
    with self.lock:
        return self.first, self.second


def loops(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        while self.count:
            self.count -= 1


def iterates(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        for _ in self.table:
            self.count += 1


def comprehends(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        self.first = {key: None for key in self.table}  # noqa: C420 # a comprehension is the point


def formats(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        self.name = f"{self.count} leases"


def formats_in_the_old_way(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        self.name = "%s leases" % self.count  # noqa: UP031 # it is formatted by another instruction


def slices(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        self.first = self.second[1 : self.count]


def imports(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        import math

        self.first = math


def unpacks(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        self.first, self.second = self.pair


def tries(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        try:
            del self.table[1]
        except KeyError:
            self.count = 0


def raises(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        if self.first:
            raise ValueError


def makes_a_function(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        self.first = lambda: self


def enters_another_one(self: Any) -> None:
    """Break the rule."""
    with self.lock:
        with self.other:
            self.count = 1


def yields(self: Any) -> Generator[int]:
    """Break the rule."""
    with self.lock:
        yield self.count


def calls_with_nothing(self: Any) -> None:
    """Break the rule by a call that looks like the one at the end of a with-statement."""
    with self.lock:
        self.leave(None, None, None)
        self.count = 1


BROKEN: list[tuple[Callable[[Any], object], int, str]] = [
    (calls_a_method, 4, "CALL"),
    (calls_a_function, 4, "CALL"),
    (loads_a_method, 3, "LOAD_"),
    (displays_a_list, 3, "BUILD_LIST"),
    (displays_a_tuple, 3, "BUILD_TUPLE"),
    (loops, 3, "JUMP_BACKWARD"),
    (iterates, 3, "FOR_ITER"),
    (comprehends, 3, ""),
    (formats, 3, "FORMAT_"),
    (formats_in_the_old_way, 3, ""),
    (slices, 3, "SLICE"),
    (imports, 3, "IMPORT_NAME"),
    (unpacks, 3, "UNPACK_SEQUENCE"),
    (tries, 4, "try"),
    (raises, 4, "RAISE_VARARGS"),
    (makes_a_function, 3, "MAKE_FUNCTION"),
    (enters_another_one, 3, ""),
    (yields, 3, "YIELD_VALUE"),
    (calls_with_nothing, 3, "CALL"),
]


@pytest.mark.parametrize(("function", "line", "what"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_broken_sections_are_caught(function: Callable[[Any], object], line: int, what: str) -> None:
    """What may let something else run is reported with its line."""
    code: CodeType = getattr(function, "__code__")  # noqa: B009 # a callable need not have one
    (section,) = locked_sections(code)
    assert section.line == code.co_firstlineno + 2
    lines = range(code.co_firstlineno + line, code.co_firstlineno + line + 2)  # 3.14 jumps back from a loop's last line
    expected = [one for one in section.offences if one.line in lines and what in one.what]
    assert expected, section
    assert f"line {expected[0].line}: {expected[0].what}" in str(section)


def test_other_statements_are_let_be() -> None:
    """What is under no lock may do what it likes."""

    def free(self: Any) -> None:
        with self.other as value:
            self.count = len(value)
        with self.lock:
            self.count = 0
        self.notify()

    (section,) = locked_sections(free.__code__)
    assert not section.offences


# --- The package ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
def test_locked_sections_call_nothing(module: str) -> None:
    """In the core a locked section is a single step."""
    sections = list(locked_sections(code_of(module)))
    broken = [str(section) for section in sections if section.offences]
    assert not broken, "\n".join(broken)
    assert sections or not module.endswith("machine"), "there is nothing under a lock"


HARMLESS = {"while (answer := self._ask(waiter)) is not Answer.HELD:"}
"""Loops that may be left so: the callers of this one catch everything."""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_loop_falls_out_of_its_block(path: Path) -> None:
    """An interrupt at the end of a loop runs the handlers of the block that the loop is in."""
    source = path.read_text(encoding="utf-8")
    lines = loops_outside_their_block(compile(source, path.name, "exec"))
    assert {source.splitlines()[line - 1].strip() for line in lines} <= HARMLESS


def test_a_loop_that_falls_out_of_its_block_is_found() -> None:
    """CPython 3.13 makes such code of a loop at the end of a with-statement."""
    falls_out = sys.version_info[:2] == (3, 13)
    assert bool(loops_outside_their_block(samples.loops_in_lock.__code__)) == falls_out
    assert not loops_outside_their_block(samples.for_loop.__code__)
