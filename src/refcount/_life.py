"""`Life`: an opener that was entered once and will be left once, whatever is interrupted where."""

import inspect
from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from refcount._lifecycle import Generation
from refcount._openers import Opener, Yielding, open_checked

T = TypeVar("T")


class Life(Generic[T]):
    """The start and the stop of one generation.

    What has been done can be read from it at any time: the mark is set in the statement that enters and taken away in
    the line that leaves, and the generator that each of the two runs in tells whether it runs.

    Args:
        generation: gets the value.
        opener: what is entered and left.
        name: names the resource in errors.
    """

    __slots__ = ("_entered", "_generation", "_manager", "_name", "_opener", "_step")

    def __init__(self, generation: Generation[T], opener: Opener[T], name: str) -> None:
        self._generation = generation
        self._opener = opener
        self._name = name
        self._manager: AbstractContextManager[T] | None = None
        self._entered = False
        self._step: Generator[None, None, None] | None = None

    @property
    def suspended(self) -> bool:
        """Whether the start has run and the stop has not begun."""
        return self._entered or self._inner_state == inspect.GEN_SUSPENDED

    @property
    def running(self) -> bool:
        """Whether one of the two runs, perhaps further down on this thread's own stack."""
        return self._step is not None and inspect.getgeneratorstate(self._step) == inspect.GEN_RUNNING

    def begin(self) -> None:
        """Run the start; raises what it raises."""
        self._step = self._enter()
        next(self._step)

    def end(self) -> None:
        """Run the stop, unless it has begun already or there was no start; raises what it raises."""
        if self.suspended:
            self._step = self._leave()
            next(self._step)

    @property
    def _inner_state(self) -> str | None:
        """How far a generator function's generator is; it knows better than we, since no code of ours is in between."""
        return self._manager.state if isinstance(self._manager, Yielding) else None

    def _enter(self) -> Generator[None, None, None]:
        manager = self._manager = open_checked(self._opener, self._name)
        # One statement, so that nothing comes between the deed and the note.
        self._generation.value, self._entered = type(manager).__enter__(manager), True
        yield

    def _leave(self) -> Generator[None, None, None]:
        manager = self._manager
        assert manager is not None  # what is suspended has been entered
        leave = type(manager).__exit__
        # One line, so that not even a tracer that raises comes between the note and the deed.
        self._entered = False; leave(manager, None, None, None); yield  # fmt: skip # noqa: E702
