"""`Roster`: the managed instances; at most one thread at a time sees to what one of them demands.

Interrupts. Wherever one falls, an instance is added or as before, removed or as before, and its demands agree with
that; the thread that was interrupted sees to it before the interrupt goes on. What cannot be closed: a second interrupt
while it does so may leave a demand or a turn behind; and one that falls into the very step in which a hook or a start
returns counts as theirs, so that what they have just done is not undone.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, Generic, Never, TypeVar, cast

from refcount._core.locks import Guard
from refcount._core.process import process
from refcount._faces.attributes import watch
from refcount._faces.demands import Tally
from refcount._support.reporting import note, report

T = TypeVar("T")


class Turn:
    """One thread's work on one instance.

    Attributes:
        by: The thread.
        stale: Whether something has happened to the instance since it was looked at.
        added: Whether the work was to add the instance, and that is done.
    """

    __slots__ = ("added", "by", "stale")

    def __init__(self) -> None:
        self.by = get_ident()
        self.stale = True
        self.added = False


class Roster(Generic[T]):
    """The instances of a manager and its demands.

    At most one thread works on an instance at a time: the one whose turn stands in `_busy`. Others leave word there,
    and never wait; it will look again before it is done. The lock guards the two tables and nothing else. It is
    reentrant, since the garbage collector may run a finalizer that uses the manager anywhere.

    Args:
        name: Names the manager in errors.
        tallies: Its demands.
    """

    def __init__(self, name: str, tallies: tuple[Tally[T, Any, Any], ...]) -> None:
        self._name = name
        self._tallies = tallies
        self._managed: dict[int, T] = {}
        self._busy: dict[int, Turn] = {}
        self._guard = Guard()
        process.forkables.add(self)

    def renew(self) -> list[object]:
        """Begin anew in a forked child: who is managed stays so, what was taken for them is the parent's."""
        self._guard = Guard()
        self._busy = {key: turn for key, turn in self._busy.items() if turn.by == get_ident()}
        return [tally.renew(self._managed.keys()) for tally in self._tallies]

    @property
    def instances(self) -> tuple[T, ...]:
        """Who is managed at this moment, in order."""
        return tuple(self._managed.copy().values())

    def __len__(self) -> int:
        return len(self._managed)

    def __contains__(self, instance: object) -> bool:
        return id(instance) in self._managed

    def add(self, instance: T) -> None:
        """Meet what `instance` demands, and manage it; if anything fails, leave everything as it was."""
        turn = Turn()
        try:
            self._guard.run(lambda: self._begin_adding(instance, turn))
            watch(instance, self)
            self._enlist(instance, turn)
        except BaseException:
            self._guard.run(lambda: self._take_back(instance, turn))
            self._settle_at_last(instance, turn)
            raise

    def _enlist(self, instance: T, turn: Turn) -> None:
        # The loops are functions of their own: on CPython 3.12 and 3.13 an interrupt on the way back to a `while` that
        # ends the body of a `try` leaves it without its `except` and `finally`.
        while not self._guard.run(lambda: self._enlisted(instance, turn)):
            turn.stale = False
            for tally, demands in self._look(instance):
                tally.put(instance, demands)

    def remove(self, instance: T) -> None:
        """Manage `instance` no longer, and end what it demands; whoever works on it does so if that is not us."""
        self._work(instance, lambda turn: self._strike(instance, turn))

    def refresh(self, instance: T) -> None:
        """Look again at what `instance` demands, or let whoever works on it do so."""
        self._work(instance, lambda turn: self._recall(instance, turn) or self._refuse(instance))

    def look_again(self, instance: object) -> None:
        """A tracked attribute of `instance` was set or deleted; it need not be managed any more."""
        known = cast("T", instance)  # if it is none of ours, it is not in the tables, and nothing is done
        self._work(known, lambda turn: self._recall(known, turn))

    def _work(self, instance: T, begin: Callable[[Turn], object]) -> None:
        turn = Turn()
        try:
            self._guard.run(lambda: begin(turn))
            self._settle(instance, turn)
        except BaseException:
            self._settle_at_last(instance, turn)
            raise

    # Steps under the lock. Each changes the tables in one line, so that no interrupt can leave one without the other.

    def _begin_adding(self, instance: T, turn: Turn) -> None:
        if id(instance) in self._managed or id(instance) in self._busy:
            raise ValueError(f"{instance!r} is managed by {self._name} already")
        self._busy[id(instance)] = turn

    def _enlisted(self, instance: T, turn: Turn) -> bool:
        """Manage `instance` if nothing has happened to it since it was looked at; say whether that was so."""
        if not turn.stale:
            key = id(instance)
            self._managed[key] = instance; turn.added = True; del self._busy[key]  # fmt: skip # noqa: E702
        return not turn.stale

    def _strike(self, instance: T, turn: Turn) -> None:
        """Manage `instance` no longer, and begin `turn` or leave word."""
        key = id(instance)
        if key not in self._managed:
            self._refuse(instance)
        at_work = self._busy.setdefault(key, turn)
        del self._managed[key]; at_work.stale = True  # fmt: skip # noqa: E702

    def _take_back(self, instance: T, turn: Turn) -> None:
        if turn.added and instance in self:
            self._strike(instance, turn)

    def _recall(self, instance: T, turn: Turn) -> bool:
        """Begin `turn` or leave word, if `instance` is managed or being added; say whether it is."""
        key = id(instance)
        known = key in self._managed or key in self._busy
        if known:
            self._busy.setdefault(key, turn).stale = True
        return known

    def _refuse(self, instance: T) -> Never:
        raise ValueError(f"{instance!r} is not managed by {self._name}")

    def _settled(self, instance: T, turn: Turn) -> bool:
        """Say whether the work on `instance` is over, or none of ours; then another turn may begin."""
        if self._busy.get(id(instance)) is not turn:
            return True
        if not turn.stale:
            del self._busy[id(instance)]
        return not turn.stale

    def _give_up(self, instance: T, turn: Turn) -> None:
        if self._busy.get(id(instance)) is turn:
            del self._busy[id(instance)]

    # The work

    def _look(self, instance: T) -> list[tuple[Tally[T, Any, Any], bool]]:
        """Ask every demand about `instance` before any of them is changed."""
        return [(tally, self._ask(tally, instance)) for tally in self._tallies]

    def _ask(self, tally: Tally[T, Any, Any], instance: T) -> bool:
        try:
            return bool(tally.needs(instance))
        except Exception as error:
            note(error, f"in {tally.name}, on account of {instance!r}")
            raise

    def _settle(self, instance: T, turn: Turn) -> None:
        """Let the demands agree with `instance` until nothing happens to it meanwhile; then raise the worst error."""
        errors: list[BaseException] = []
        try:
            self._agree_at_last(instance, turn, errors)
            if errors:
                raise self._worst(errors, instance)
        finally:
            errors.clear()  # else an error would keep its own frames alive

    def _agree_at_last(self, instance: T, turn: Turn, errors: list[BaseException]) -> None:
        while not self._guard.run(lambda: self._settled(instance, turn)):
            turn.stale = False
            self._agree(instance, errors)

    def _worst(self, errors: list[BaseException], instance: T) -> BaseException:
        """Return the first interrupt, or else the first error, and report the others."""
        worst = next((error for error in errors if not isinstance(error, Exception)), errors[0])
        for other in errors:
            if other is not worst:
                self._report(other, instance)
        return worst

    def _settle_at_last(self, instance: T, turn: Turn) -> None:
        """Finish the turn of a thread that has an error to raise already."""
        turn.stale = True
        try:
            self._settle(instance, turn)
        except Exception as error:
            self._report(error, instance)
        finally:
            self._guard.run(lambda: self._give_up(instance, turn))

    def _agree(self, instance: T, errors: list[BaseException]) -> None:
        """Look at `instance`, and let every demand agree with what is seen; add what goes wrong to `errors`."""
        try:
            looked = self._look(instance) if instance in self else [(tally, False) for tally in self._tallies]
        except Exception as error:
            errors.append(error)
            return
        for tally, demands in looked:
            try:
                tally.put(instance, demands)
            except BaseException as error:  # the other demands are to be seen to as well
                errors.append(error)
                if not demands:
                    tally.put(instance, False)  # an interrupt may have come before it was

    def _report(self, error: BaseException, instance: T) -> None:
        report(error, f"a demand of {instance!r} on {self._name}")
