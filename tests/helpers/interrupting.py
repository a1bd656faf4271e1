"""Ctrl-C wherever CPython can deliver one, in a run of its own for each place.

CPython calls signal handlers at few instructions only: at a function's entry, where a generator goes on, after the call
of a C function, and at a jump backward. So a real Ctrl-C comes when it wants, but falls at one of these; here it falls
at each of them once::

    def scenario() -> None:
        with resource():
            pass


    for interruption in interrupt_everywhere(scenario):
        assert resource.usecount == 0, interruption

What needs a fresh world for each run takes `Interruptions` instead.

How it works. A tracer that raises would raise *before an instruction*, under that one's exception handlers, whereas
CPython raises *at the instruction that it has just run*, under the handlers of this one; at the end of a `try` the two
are different. So the tracer raises nothing: it presses Ctrl-C before an instruction after which CPython looks for
signals, stops tracing, and CPython delivers it, with every detail of its version. The same happens where a function
returns to a C function that was called by the followed code, such as `next`: CPython looks when that one returns.

Three kinds of places are left to a tracer that raises. At a function's entry there is nothing to press before, and
nothing but the entry itself for which handlers could differ. Where a lock is acquired by a call, the wait may be ended
before it has had the lock. And in libraries (what is installed, the standard library) each function that followed code
calls counts as two places: its entry, and its return, standing for all that lie within it.

Left alone is what is neither followed nor a library: the hooks of a test, whose bookkeeping would have to bear it, and
for the package an interrupted hook is one that raises. So are finalizers and the callbacks of weak references, for
Python swallows what they raise. A signal that CPython would deliver there is delivered at the next place.

What is not imitated: other waits in C, such as `SimpleQueue.get`, that a signal ends before they have had what they
wait for; and one call of C that looks several times is interrupted at the first of them. From CPython 3.13 on, a
generator's entry for an error that is thrown into it counts as a point, though CPython does not look there. And 3.14
looks after a call with keywords only once it has specialized the instruction, which it never does under a tracer.
"""

import _thread
import dis
import functools
import inspect
import itertools
import os
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.helpers.tracing import Tracer, ask_for_opcodes, followed

Also = Iterable[Path | CodeType]
Every = Callable[[int], int]
"""What the fixture `every` is: from `n` to the step of a sweep that takes each n-th point, 1 with ``--slow``."""

LOOKS = frozenset(
    {
        *("CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"),
        *("POP_JUMP_BACKWARD_IF_TRUE", "POP_JUMP_BACKWARD_IF_FALSE"),  # these four: 3.11
        *("POP_JUMP_BACKWARD_IF_NONE", "POP_JUMP_BACKWARD_IF_NOT_NONE"),
        *("FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC", "CONVERT_VALUE"),
    }
)
"""Instructions after which CPython 3.11 to 3.14 looks for signals, or in which: `str` and `repr` look as they begin.

A call is followed by a look only if it called a C function.
"""

WAITS = frozenset({"acquire"})
"""Methods of C that wait, and that a signal may end before they have done anything."""

RETURNS = frozenset({"RETURN_VALUE", "RETURN_CONST", "YIELD_VALUE"})

LIBRARIES = {
    Path(os.__file__).resolve().parent,
    *(Path(sysconfig.get_path(name)).resolve() for name in ("platstdlib", "purelib", "platlib")),
}

_CALLBACKS = {
    "WeakSet.__init__.<locals>._remove",
    "WeakKeyDictionary.__init__.<locals>.remove",
    "WeakValueDictionary.__init__.<locals>.remove",
    "gc_cumulative_time.<locals>.gc_callback",  # hypothesis's, called by the garbage collector
}
"""Callbacks of weak references in the standard library, and of the garbage collector."""

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_AFTER_YIELD_FROM = 2
"""From this argument on, the `RESUME` of a `yield from` or an `await`, at which CPython does not look."""


class Interruption:
    """One `KeyboardInterrupt` at the given point that the main thread reaches in the package.

    Attributes:
        number: Which point, counted from 1; 0 interrupts nothing.
        place: Where the interrupt was, for people to read; empty if the run had no such point.
        function: The function of the followed code that was interrupted there, or in a library that it called.
        code: The code in which CPython delivered it, which need not be followed code.
        offset: The instruction of that code.
        lineno: The line of that instruction.
        propagated: Whether it came out of the run; false if something swallowed it.
        passed: How many points the run had passed, its last ones left out if it was interrupted.

    Args:
        number: Which point.
        also: Files, folders or code objects to interrupt besides the package.
    """

    place = function = ""
    code: CodeType | None = None
    offset = lineno = -1
    propagated = False
    passed = 0

    def __init__(self, number: int, *, also: Also = ()) -> None:
        self.number = number
        self._left = number
        self._follow = _following(tuple(also))
        self._interrupt = KeyboardInterrupt()
        self._ctrl_c = _CtrlC(signal.SIGINT)
        self._pressed = self._over = False
        self._outermost: FrameType | None = None
        self._calling: tuple[FrameType, int] | None = None
        self._returning: tuple[FrameType, int, CodeType] | None = None
        self._steps: dict[int, Tracer] = {}
        self._generators: list[FrameType] = []

    def __repr__(self) -> str:
        return f"an interrupt at point {self.number}: {self.place or 'none'}"

    def run(self, act: Callable[[], object]) -> None:
        """Call `act` in the main thread and swallow the interrupt.

        What else `act` raises comes out, with a note that says where the interrupt was.
        """
        tracer, handler = sys.gettrace(), signal.signal(signal.SIGINT, self._deliver)
        enter = self._enter  # CPython 3.11 does not keep a tracer alive that ends the tracing
        self._outermost = inspect.currentframe()
        ask_for_opcodes()
        sys.settrace(enter)
        try:
            act()
        except BaseException as error:
            self._stop()
            if error is not self._interrupt:
                error.add_note(f"after {self}")
                raise
            self.propagated = True
            traceback.clear_frames(error.__traceback__)
        finally:
            self._end(tracer, handler)

    def _end(self, tracer: Any, handler: Any) -> None:
        self._over = True
        self._stop()  # what is still pending falls at this call, and is dropped
        sys.settrace(tracer)
        signal.signal(signal.SIGINT, handler)
        self._learn(None)
        self._outermost = self._calling = None
        self._interrupt = KeyboardInterrupt()  # that one knows frames
        self._steps.clear()

    def _stop(self) -> None:
        """Trace no more."""
        for frame in self._generators:  # CPython 3.12 crashes where such a frame goes on in a thread without a tracer
            frame.f_trace_opcodes = False
        self._generators.clear()
        sys.settrace(None)

    # --- What the tracer sees -------------------------------------------------------------------------------------

    def _enter(self, frame: FrameType, _event: str, _argument: Any) -> Tracer | None:
        """See a frame begin or go on."""
        caller, called, calling = frame.f_back, frame.f_code, self._calling
        follow = self._follow(called)
        if not follow and not (is_library(called) and caller is not None and self._follow(caller.f_code)):
            return None
        if is_finalizing(frame, self._outermost):
            return None
        self._calling = None
        # A signal that was pressed before the call would be delivered here: then this point is that one.
        if frame.f_lasti in points(called).entries and (calling is None or not is_at(caller, *calling)):
            self._raise_at_point(frame)
        return self._trace(frame, self._step(called) if follow else self._library_step, opcodes=follow)

    def _trace(self, frame: FrameType, step: Tracer, *, opcodes: bool) -> Tracer:
        frame.f_trace = step  # before f_trace_opcodes, or Python 3.13 skips the first call of each function
        frame.f_trace_lines = False
        if opcodes:
            frame.f_trace_opcodes = True
            if frame.f_code.co_flags & _GENERATORS:
                self._generators.append(frame)
        return step

    def _step(self, code: CodeType) -> Tracer:
        """Return what sees each instruction of `code`: a function for each, since nothing here is called more often."""
        known = self._steps.get(id(code))  # not by the code, whose hash reads all of it
        if known is not None:
            return known
        look, waits = points(code).looks, points(code).waits

        def step(frame: FrameType, event: str, _argument: Any) -> Tracer:
            if event == "opcode":
                if frame.f_lasti in look:
                    if frame.f_lasti in waits:
                        self._raise_at_point(frame)
                    self._calling = frame, frame.f_lasti
                    self._press_at_point()
            elif event == "return":
                self._leave(frame)
            return step

        self._steps[id(code)] = step
        return step

    def _library_step(self, frame: FrameType, event: str, _argument: Any) -> Tracer:
        """See what a function of a library does after its entry: of interest is only its return."""
        if event == "return":
            if frame.f_code.co_flags & _GENERATORS:
                self._leave(frame)
            elif frame.f_lasti in points(frame.f_code).returns:
                self._raise_at_point(frame)
        return self._library_step

    def _leave(self, frame: FrameType) -> None:
        """See a frame return to the followed frame that called it, which may have done so by a C function."""
        caller, code = frame.f_back, frame.f_code
        if caller is None or frame.f_lasti not in points(code).returns or not self._follow(caller.f_code):
            return
        offset = caller.f_lasti
        if offset in points(caller.f_code).looks and not _is_direct(caller.f_code, offset, code):
            self.passed -= 1  # whether it is a point is not known
            if self._is_it():
                self._returning = caller, offset, code
                self._pressed = True
                self._ctrl_c.press

    # --- What is done at a point ----------------------------------------------------------------------------------

    def _is_it(self) -> bool:
        """Count one point, and say whether it is the one; then it is the last that is traced."""
        self.passed += 1
        if self._left:
            self._left -= 1
            if not self._left:
                self._stop()
                return True
        return False

    def _press_at_point(self) -> None:
        """Count one point, and press Ctrl-C if it is the one. No call may come after this, or it would fall there."""
        if self._is_it():
            self._pressed = True
            self._ctrl_c.press

    def _raise_at_point(self, frame: FrameType) -> None:
        """Count one point, and raise if it is the one."""
        if self._is_it():
            self._note(frame)
            raise self._interrupt

    def _deliver(self, _signal: int, frame: FrameType | None) -> None:
        """Handle a signal where CPython delivers it, or put it off to the next place."""
        if self._over:
            return
        if self._pressed and (self._interrupted_by(frame) is None or is_finalizing(frame, self._outermost)):
            self._ctrl_c.press
            return
        if not self._pressed:
            raise KeyboardInterrupt  # somebody has really pressed it
        self._pressed = False
        self._learn(frame)
        self._note(frame)
        raise self._interrupt

    def _note(self, frame: FrameType | None) -> None:
        """Remember where the interrupt is."""
        interrupted = self._interrupted_by(frame)
        assert frame is not None
        assert interrupted is not None
        self.code, self.offset, self.lineno = frame.f_code, frame.f_lasti, frame.f_lineno
        self.function = interrupted.f_code.co_qualname
        self.place = f"{self.code.co_filename}:{self.lineno} ({self.code.co_qualname}, bytecode {self.offset})"
        if interrupted is not frame:
            self.place += f", called at {interrupted.f_code.co_filename}:{interrupted.f_lineno} ({self.function})"

    def _interrupted_by(self, frame: FrameType | None) -> FrameType | None:
        """Return the followed frame that an interrupt in `frame` concerns: itself, or the one that called a library."""
        while frame is not None and frame is not self._outermost and is_library(frame.f_code):
            if self._follow(frame.f_code):
                return frame
            frame = frame.f_back
        return frame if frame is not None and self._follow(frame.f_code) else None

    def _learn(self, frame: FrameType | None) -> None:
        """Remember a call that has turned out to go from Python to Python, at whose end CPython does not look."""
        if self._returning is None:
            return
        caller, offset, code = self._returning
        while frame is not None and frame is not caller:
            frame = frame.f_back
        # The first time decides, or the numbers of points that have been passed would change within a sweep.
        _DIRECT.setdefault(
            (id(caller.f_code), offset, id(code)), (not is_at(frame, caller, offset), caller.f_code, code)
        )
        self._returning = None


class _CtrlC(int):
    """A signal that is set pending by reading an attribute, after which, unlike after a call, CPython does not look."""

    press = property(_thread.interrupt_main)


_DIRECT: dict[tuple[int, int, int], tuple[bool, CodeType, CodeType]] = {}
"""Which calls go from one Python function to another: caller, instruction, callee. The codes are kept for their ids.

When a function returns to a call, only the delivery of a signal shows whether a C function is between the two. A call
that is found to be direct is not interrupted at its return again, since that is the next point of the caller as well.
"""


def _is_direct(caller: CodeType, offset: int, called: CodeType) -> bool:
    known = _DIRECT.get((id(caller), offset, id(called)))
    return known is not None and known[0]


class Points:
    """The instructions of a code where it can be interrupted, by their offsets.

    Attributes:
        looks: Those after which CPython looks for signals.
        waits: Calls, among those, that may wait for long, and be interrupted meanwhile.
        entries: Those at which a function begins or a generator goes on, and CPython looks.
        returns: Where a frame says it is when it is left, but for errors.
        names: The name of each instruction.
        ends: Where each instruction ends, its caches included.
    """

    def __init__(self, code: CodeType) -> None:
        instructions = tuple(dis.get_instructions(code))
        self.looks = frozenset(one.offset for one in instructions if looks_for_signals(one))
        waiting = {_begin(one) for one in instructions if one.opname.startswith("LOAD_") and one.argval in WAITS}
        self.waits = self.looks & {one.offset for one in instructions if _begin(one) in waiting}
        self.names = {one.offset: one.opname for one in instructions}
        self.ends = {one.offset: later.offset for one, later in itertools.pairwise(instructions)}
        self.entries = frozenset(
            one.offset for one in instructions if one.opname == "RESUME" and (one.arg or 0) & 3 < _AFTER_YIELD_FROM
        )
        self.returns = frozenset(one.offset for one in instructions if one.opname in RETURNS)
        if sys.version_info >= (3, 13):  # a frame that has yielded stands at the instruction after that
            self.returns |= {one.offset for one in instructions if one.opname == "RESUME" and one.arg}


def _begin(instruction: dis.Instruction) -> tuple[int | None, int | None]:
    """Return where the expression begins in the source: a call where what it calls does."""
    positions = instruction.positions
    return (positions.lineno, positions.col_offset) if positions else (None, None)


def looks_for_signals(instruction: dis.Instruction) -> bool:
    """Whether CPython looks for signals after, or in the middle of, this instruction."""
    formats = instruction.opname == "BINARY_OP" and instruction.argrepr in {"%", "%="}
    return instruction.opname in LOOKS or formats


def is_at(frame: FrameType | None, expected: FrameType, offset: int) -> bool:
    """Whether it is the expected frame and has not come further than the instruction at `offset`.

    While one Python function calls another, CPython 3.11 and 3.12 say that the caller is behind the call's caches.
    """
    if frame is None or frame is not expected:
        return False
    return offset <= frame.f_lasti < points(frame.f_code).ends.get(offset, offset + 1)


_POINTS: dict[int, tuple[CodeType, Points]] = {}


def points(code: CodeType) -> Points:
    """Return where a code can be interrupted; made once for each."""
    known = _POINTS.get(id(code))
    if known is None:
        known = _POINTS[id(code)] = code, Points(code)
    return known[1]


@functools.cache
def _following(also: tuple[Path | CodeType, ...]) -> Callable[[CodeType], bool]:
    return followed(also)


@functools.cache
def _is_library(filename: str) -> bool:
    path = Path(filename).resolve()
    return filename.startswith("<frozen") or any(path.is_relative_to(folder) for folder in LIBRARIES)


def is_library(code: CodeType) -> bool:
    """Whether it is code of the standard library, or of what is installed."""
    return _is_library(code.co_filename)


def is_finalizing(frame: FrameType | None, outermost: FrameType | None) -> bool:
    """Whether it is a finalizer, or called by one below `outermost`: Python swallows what is raised there."""
    while frame is not None and frame is not outermost:
        code = frame.f_code
        if code.co_name == "__del__" or code.co_qualname in _CALLBACKS:
            return True
        frame = frame.f_back
    return False


class Interruptions:
    """The interruptions of a sweep: one for each point in turn, to be run by the caller, until one has met no point.

    That last one belongs to the sweep, its run is whole::

        sweep = Interruptions()
        for interruption in sweep:
            world = World()
            interruption.run(world.act)
            assert world.is_right, interruption
        assert sweep.points > 50

    Attributes:
        points: How many points there were, those that were stepped over included; known when the sweep is over.

    Args:
        also: Files, folders or code objects to interrupt besides the package.
        step: Take only every so many-th point; the fixture `every` gives a step that is 1 with ``--slow``.
    """

    points = 0

    def __init__(self, *, also: Also = (), step: int = 1) -> None:
        self._also = tuple(also)
        self._step = step

    def __iter__(self) -> Generator[Interruption]:
        for number in itertools.count(1, self._step):
            interruption = Interruption(number, also=self._also)
            yield interruption
            self.points = interruption.passed
            if not interruption.place:
                return


def interrupt_everywhere(scenario: Callable[[], object], *, also: Also = (), step: int = 1) -> Generator[Interruption]:
    """Run `scenario` once for each point of the package in it, with an interrupt there; yield after each run.

    The scenario first runs twice in peace: once to warm up, once to count. What else it raises comes out of the sweep,
    with a note that says where the interrupt was.

    Args:
        scenario: What to run. It must go the same way each time, whatever the runs before it left behind.
        also: Files, folders or code objects to interrupt besides the package.
        step: Take only every so many-th point.

    Raises:
        RuntimeError: The last run had fewer points than were counted: the scenario does not go the same way each time.
    """
    scenario()
    counting = Interruption(0, also=also)
    counting.run(scenario)
    for interruption in Interruptions(also=also, step=step):
        interruption.run(scenario)
        if interruption.place:
            yield interruption
        elif interruption.passed < counting.passed:
            raise RuntimeError(f"the scenario had {counting.passed} points when counted, and now {interruption.passed}")
