"""`Changes`: a hook that is told who demands, at every change, one change after the other."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, get_ident
from typing import Any, Generic, TypeVar
from weakref import ref

T = TypeVar("T")


class Turn(Generic[T]):
    """One thread's turn to tell the hook.

    Attributes:
        later: The changes that the hook itself has made, which it is told when it has returned.
        over: Set when the turn is over.
        thread: The thread.
    """

    __slots__ = ("later", "over", "thread")

    def __init__(self) -> None:
        self.later: list[tuple[T, bool]] = []
        self.over = Event()
        self.thread: int = get_ident()


class Changes(Generic[T]):
    """Tells a hook who demands. No lock is held while it runs: other threads wait for its end, and it may change more.

    Args:
        hook: Called with the manager and all who demand.
        manager: The manager, which must not be kept.
    """

    __slots__ = ("_hook", "_manager", "_told", "_turns")

    def __init__(self, hook: Callable[[Any, Any], object], manager: ref[object]) -> None:
        self._hook = hook
        self._manager = manager
        self._told: dict[int, T] = {}
        self._turns: dict[None, Turn[T]] = {}

    def tell(self, instance: T, demanding: bool) -> tuple[list[BaseException], list[T]]:
        """Tell that `instance` demands, or does not any more; and then what the hook has changed meanwhile.

        Returns:
            What the hook has raised; and those whom it has added itself, and then refused by raising.
        """
        running = self._turns.get(None)
        if (id(instance) in self._told) is demanding and (running is None or running.thread != get_ident()):
            return [], []  # nothing changes; what the hook itself has changed may not be told yet
        mine: Turn[T] = Turn()
        try:
            running = self._take(mine)
            if running is not mine:
                running.later.append((instance, demanding))
                return [], []
            errors = self._tell(instance, demanding)
            refused = self._tell_later(mine, errors)
        finally:
            try:
                self._end(mine)
            except BaseException:
                self._end(mine)  # an interrupt may have cut it short; what is done is not done again
                raise
        return errors, refused

    def _take(self, mine: Turn[T]) -> Turn[T]:
        """Wait for a turn and return it, or that of the same thread, if the hook runs further up."""
        while (other := self._turns.setdefault(None, mine)).thread != mine.thread:
            other.over.wait()
        return other

    def _end(self, mine: Turn[T]) -> None:
        if self._turns.get(None) is mine:
            del self._turns[None]
        mine.over.set()

    def _tell(self, instance: T, demanding: bool) -> list[BaseException]:
        key, now, manager = id(instance), self._told.copy(), self._manager()
        if (key in now) is demanding or manager is None:
            return []
        if demanding:
            now[key] = instance
        else:
            del now[key]
            self._told = now  # whatever the hook says to that
        try:
            self._hook(manager, tuple(now.values()))
        except BaseException as error:
            return [error]
        self._told = now
        return []

    def _tell_later(self, mine: Turn[T], errors: list[BaseException]) -> list[T]:
        refused: list[T] = []
        while mine.later:
            instance, demanding = mine.later.pop(0)
            failures = self._tell(instance, demanding)
            if failures and demanding:
                refused.append(instance)
            errors += failures
        return refused
