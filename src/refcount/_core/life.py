"""`Life`: an opener that was entered once and will be left once, whatever is interrupted where."""

import inspect
from collections.abc import Generator
from typing import TypeVar

from refcount._core.generation import Generation
from refcount._core.openers import Opener, Yielding, open_checked

T = TypeVar("T")

PAUSE = (None,)


class Life:
    """The start and the stop of one generation: a generator that is suspended inside `with opener()` in between.

    The generator is the memory of what has been done (fresh, suspended or over) and of whether a hook runs. It is the
    interpreter's, so that no interrupt falls between a hook and the note that it has run, as with a flag of ours.

    Args:
        generation: Gets the value.
        opener: What is entered and left.
        name: Names the resource in errors.
    """

    __slots__ = ("_frame", "_inner")

    def __init__(self, generation: Generation[T], opener: Opener[T], name: str) -> None:
        self._inner: Yielding[object] | None = None
        self._frame = self._run(generation, opener, name)

    @property
    def suspended(self) -> bool:
        """Whether the start has run and the stop has not begun."""
        return inspect.GEN_SUSPENDED in self._states

    @property
    def running(self) -> bool:
        """Whether one of the two runs, perhaps further down on this thread's own stack."""
        return inspect.GEN_RUNNING in self._states

    def begin(self) -> None:
        """Run the start; raises what it raises."""
        next(self._frame)

    def end(self) -> None:
        """Run the stop, unless it has begun already or there was no start; raises what it raises."""
        if inspect.getgeneratorstate(self._frame) == inspect.GEN_SUSPENDED:
            next(self._frame, None)
        elif self._inner is not None and self.suspended:
            self._inner.__exit__(None, None, None)  # our frame was interrupted on its way in or out, the inner one not

    @property
    def _states(self) -> tuple[str | None, str]:
        """Where the generator of a generator function stands, which knows best, and where our own does."""
        return None if self._inner is None else self._inner.state, inspect.getgeneratorstate(self._frame)

    def _run(self, generation: Generation[T], opener: Opener[T], name: str) -> Generator[None, None, None]:
        manager = open_checked(opener, name)
        if isinstance(manager, Yielding):
            self._inner = manager
        # CPython delivers no signal between the entry of a `with` and its body, nor on resuming a `yield from`, so that
        # none is thrown into the opener. One line, so that a tracer, too, can raise only before and after.
        with manager as generation.value: yield from PAUSE  # fmt: skip # noqa: E701
