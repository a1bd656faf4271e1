"""A ``KeyboardInterrupt`` at every line of the package that a scenario runs through, one run for each line.

A real Ctrl-C comes when it wants; here it comes everywhere, once each::

    def scenario() -> None:
        with resource():
            pass


    for interruption in interrupt_at_every_line(scenario):
        assert resource.usecount == 0, interruption
"""

import sys
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

from tests.helpers.tracing import Tracer, followed


@dataclass(frozen=True)
class Interruption:
    """One interrupted run of a scenario.

    Attributes:
        number: Which line event it was, counted from 1 over the whole scenario.
        filename: The source file of the interrupted line.
        lineno: Its line number. The line itself has not run.
        function: The function that holds it.
        propagated: Whether the interrupt came out of the scenario; false if something swallowed it.
    """

    number: int
    filename: str
    lineno: int
    function: str
    propagated: bool


def interrupt_at_every_line(
    scenario: Callable[[], object], *, also: Iterable[Path | CodeType] = ()
) -> Generator[Interruption]:
    """Run ``scenario`` once for each line event of the package in it, with an interrupt there; yield after each run.

    The scenario first runs twice in peace: once to warm up, once to count. Only the calling thread is interrupted. What
    else the scenario raises comes out of the sweep, with a note that says where the interrupt was.

    Args:
        scenario: What to run. It must take the same lines each time, whatever the runs before it left behind.
        also: Files, folders or code objects to interrupt besides the package.

    Raises:
        RuntimeError: A run ended before it reached its line: the scenario does not take the same lines each time.
    """
    follow = followed(also)
    scenario()
    counting = _Run(follow)
    counting.propagates(scenario)
    for number in range(1, counting.lines + 1):
        run = _Run(follow, interrupt_at=number)
        propagated = run.propagates(scenario)
        if run.place is None:
            raise RuntimeError(f"the scenario ran {counting.lines} lines when counted, and now only {run.lines}")
        code, lineno = run.place
        yield Interruption(number, code.co_filename, lineno, code.co_qualname, propagated)


class _Run:
    """One run of a scenario in the calling thread, interrupted at one of its line events or at none."""

    def __init__(self, follow: Callable[[CodeType], bool], interrupt_at: int | None = None) -> None:
        self.lines = 0
        self.place: tuple[CodeType, int] | None = None
        self._follow = follow
        self._interrupt_at = interrupt_at
        self._interrupt = KeyboardInterrupt()

    def propagates(self, scenario: Callable[[], object]) -> bool:
        """Run the scenario, and say whether the interrupt came out of it."""
        tracer = sys.gettrace()
        sys.settrace(self._enter)
        try:
            scenario()
        except BaseException as error:
            if error is self._interrupt:
                return True
            if self.place:
                error.add_note(f"after an interrupt at {self.place[0].co_filename}:{self.place[1]}")
            raise
        finally:
            sys.settrace(tracer)
        return False

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Tracer | None:
        return self._step if self._follow(frame.f_code) else None

    def _step(self, frame: FrameType, event: str, _argument: object) -> Tracer:
        if event == "line":
            self.lines += 1
            if self.lines == self._interrupt_at:
                self.place = frame.f_code, frame.f_lineno
                raise self._interrupt  # Python ends the tracing of this thread here, so this happens once
        return self._step
