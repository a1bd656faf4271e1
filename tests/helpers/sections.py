"""What the bytecode tells of interrupts: locked sections that are single steps, and loops that fall out of their block.

CPython delivers signals, runs finalizers and collects garbage at calls, entries of functions, jumps backward and,
before 3.12, where a container is made. A section between entering and leaving a `with self.lock:` that has none of
these is a single step to its own thread, as it is to the others because of the lock, which then need not be reentrant::

    for section in locked_sections(code_of("refcount._core.machine")):
        assert not section.offences, section

What bytecode cannot tell: whether an attribute is a property, an operator a method in Python, or whether a store drops
the last reference to something that has a finalizer.
"""

import dis
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, cast

LOCKS = frozenset({"lock", "_lock"})
"""What the context expression of a locked section is called: an attribute, or a variable, of these names."""

_ALWAYS = {
    *("NOP", "EXTENDED_ARG", "POP_TOP", "COPY", "SWAP", "JUMP_FORWARD", "RETURN_VALUE"),
    *("LOAD_CONST", "LOAD_FAST", "LOAD_DEREF", "LOAD_GLOBAL", "LOAD_ATTR"),
    *("STORE_FAST", "STORE_DEREF", "STORE_GLOBAL", "STORE_ATTR", "STORE_SUBSCR"),
    *("DELETE_FAST", "DELETE_ATTR", "DELETE_SUBSCR"),
    *("COMPARE_OP", "IS_OP", "CONTAINS_OP", "BINARY_OP", "UNARY_NOT"),
}
_CONDITIONS = ("TRUE", "FALSE", "NONE", "NOT_NONE")
_FROM_3_12 = {*(f"POP_JUMP_IF_{condition}" for condition in _CONDITIONS), "LOAD_FAST_CHECK"}
_FROM_3_13 = {"TO_BOOL", "LOAD_FAST_LOAD_FAST", "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST"}
_HARMLESS = {
    (3, 11): {
        *(f"POP_JUMP_FORWARD_IF_{condition}" for condition in _CONDITIONS),
        *("JUMP_IF_TRUE_OR_POP", "JUMP_IF_FALSE_OR_POP", "BINARY_SUBSCR"),
    },
    (3, 12): _FROM_3_12 | {"BINARY_SUBSCR", "RETURN_CONST"},
    (3, 13): _FROM_3_12 | _FROM_3_13 | {"BINARY_SUBSCR", "RETURN_CONST"},
    (3, 14): _FROM_3_12
    | _FROM_3_13
    | {"LOAD_FAST_BORROW", "LOAD_FAST_BORROW_LOAD_FAST_BORROW", "LOAD_SMALL_INT", "NOT_TAKEN"},
}
HARMLESS = _ALWAYS | _HARMLESS.get(sys.version_info[:2], set())
"""The instructions that a section may have. A version that is not known has few of them."""

_OPERATORS = frozenset({"+", "-", "+=", "-=", "[]"})
"""Those of `BINARY_OP` that a section may have: the others may format, make containers, or take long."""


@dataclass(frozen=True)
class Offence:
    """An instruction that does not belong into a locked section.

    Attributes:
        line: Its line in the source file.
        what: What it is.
    """

    line: int
    what: str


@dataclass(frozen=True)
class Section:
    """What is between entering and leaving one with-statement.

    Attributes:
        filename: The source file.
        function: The qualified name of the function.
        line: The line of the with-statement.
        offences: What does not belong into it, in the order of the lines.
    """

    filename: str
    function: str
    line: int
    offences: tuple[Offence, ...]

    def __str__(self) -> str:
        place = f"{self.filename}:{self.line} ({self.function})"
        return "\n".join([place, *(f"  line {offence.line}: {offence.what}" for offence in self.offences)])


def code_of(module: str) -> CodeType:
    """Return the code of a module, from its source, without running it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"there is no source of {module}")
    return compile(Path(spec.origin).read_text(encoding="utf-8"), spec.origin, "exec")


def locked_sections(code: CodeType) -> Iterator[Section]:
    """Yield each section of `code` and of all code in it that is under a lock."""
    yield from _Reader(code).sections()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from locked_sections(constant)


class _Reader:
    """Reads the sections of one code."""

    def __init__(self, code: CodeType) -> None:
        bytecode = dis.Bytecode(code)
        self._code = code
        self._all = [one for one in bytecode if one.opname != "CACHE"]
        self._index = {one.offset: number for number, one in enumerate(self._all)}
        self._handlers: list[Any] = vars(bytecode)["exception_entries"]  # typeshed does not have it

    def sections(self) -> Iterator[Section]:
        for number, one in enumerate(self._all):
            begin = self._begin_after(number)
            if begin is not None:
                offences = sorted(set(self._offences(number, begin)), key=lambda offence: offence.line)
                yield Section(self._code.co_filename, self._code.co_qualname, _line(one), tuple(offences))

    def _begin_after(self, number: int) -> int | None:
        """Return where a section begins if a lock is entered at this instruction."""
        if self._all[number].opname == "BEFORE_WITH":
            return number + 1 if self._is_lock(number - 1) else None
        if sys.version_info >= (3, 14) and self._names(number - 5, 6)[1:] == _ENTERS:
            return number + 1 if self._is_lock(number - 6) else None
        return None

    def _is_lock(self, number: int) -> bool:
        loaded = self._all[number]
        argument: object = loaded.argval
        name = cast("tuple[object, ...]", argument)[-1] if isinstance(argument, tuple) else argument
        return loaded.opname.startswith("LOAD_") and name in LOCKS

    def _names(self, number: int, count: int) -> tuple[str, ...]:
        return tuple(one.opname for one in self._all[number : number + count])

    def _offences(self, entered: int, begin: int) -> Iterator[Offence]:
        """Follow all ways from the beginning of a section to where it is left."""
        handlers = {self._handler(self._all[begin].offset), self._handler(self._all[entered].offset), None}
        seen, todo = set[int](), [begin]
        while todo:
            number = todo.pop()
            if number in seen or self._leaves(number, entered):
                continue
            seen.add(number)
            one = self._all[number]
            if self._handler(one.offset) not in handlers:
                yield Offence(_line(one), "a `try`")
            what = _offence(one)
            if what is not None:
                yield Offence(_line(one), what)
            todo += self._successors(number)

    def _successors(self, number: int) -> list[int]:
        """Return what may come next, but for errors and jumps backward."""
        one = self._all[number]
        if one.opname.startswith(("RETURN_", "RAISE_", "RERAISE")):
            return []
        jumps = "JUMP" in one.opname or one.opname in {"FOR_ITER", "SEND"}
        targets = [self._index[one.argval]] if jumps and one.argval > one.offset else []
        return targets if one.opname.startswith(("JUMP_FORWARD", "JUMP_BACKWARD")) else [*targets, number + 1]

    def _leaves(self, number: int, entered: int) -> bool:
        """Whether the normal way out begins here: the call of `__exit__` with three times None."""
        calls = ("PRECALL", "CALL") if sys.version_info < (3, 12) else ("CALL",)
        sequence = self._all[number : number + 3 + len(calls)]
        return (
            tuple(one.opname for one in sequence) == ("LOAD_CONST",) * 3 + calls
            and all(one.argval is None for one in sequence[:3])
            and all(one.positions == self._all[entered].positions for one in sequence)
        )

    def _handler(self, offset: int) -> int | None:
        """Return where an error goes that comes at this instruction."""
        return next((entry.target for entry in self._handlers if entry.start <= offset < entry.end), None)


_ENTERS = ("LOAD_SPECIAL", "SWAP", "SWAP", "LOAD_SPECIAL", "CALL")


def _line(instruction: dis.Instruction) -> int:
    positions = instruction.positions
    return (positions.lineno if positions else None) or 0


def _offence(one: dis.Instruction) -> str | None:
    """Return what is wrong with an instruction, if it is."""
    if one.opname not in HARMLESS:
        return one.opname
    if one.opname == "BINARY_OP" and one.argrepr not in _OPERATORS:
        return f"BINARY_OP {one.argrepr}"
    if one.opname == "LOAD_ATTR" and sys.version_info >= (3, 12) and (one.arg or 0) & 1:
        return f"LOAD_ATTR of the method {one.argval}"
    return None


def loops_outside_their_block(code: CodeType) -> list[int]:
    """Return the lines of loops in a `try` or `with` at whose end a signal is delivered as if outside of that.

    An interrupt there skips the `finally`, or leaves a lock held: CPython 3.13 puts a loop's jump back behind its block
    (before that, it is the loop's beginning that counts). A loop in a function of its own, or with anything after it in
    the block, is safe. Those of nested code are returned as well.
    """
    bytecode = dis.Bytecode(code)
    entries: list[Any] = vars(bytecode)["exception_entries"]  # typeshed does not have it
    names = {one.offset: one.opname for one in bytecode}

    def handler(offset: int) -> int | None:
        """Return where an error goes, leaving out what CPython adds to generators and comprehensions."""
        target = next((entry.target for entry in entries if entry.start <= offset < entry.end), None)
        if target is None or names[target].startswith("CALL_INTRINSIC"):
            return None
        return handler(target) if names[target] == "SWAP" else target

    def falls_out(before: dis.Instruction, jump: dis.Instruction) -> bool:
        inside, outside = handler(before.offset), handler(_looks_at(jump))
        if inside in {outside, None} or inside != handler(int(jump.argval)):
            return False
        while inside is not None and inside != outside:
            inside = handler(inside)
        return inside == outside

    lines = [
        _line(one)
        for before, one in itertools.pairwise(bytecode)
        if one.opname.startswith(("JUMP_BACKWARD", "POP_JUMP_BACKWARD"))
        if one.opname != "JUMP_BACKWARD_NO_INTERRUPT" and before.opname != "CLEANUP_THROW"
        if falls_out(before, one)
    ]
    nested = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return lines + [line for inner in nested for line in loops_outside_their_block(inner)]


def _looks_at(jump: dis.Instruction) -> int:
    """Return the instruction whose handlers a signal meets that comes at a jump backward."""
    return jump.offset if sys.version_info >= (3, 13) else int(jump.argval) - 2
