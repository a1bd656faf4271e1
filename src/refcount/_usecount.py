"""The number of a counter and the callbacks that its changes call for: what the verbs of `Refcounter` stand on.

Locks. `_lock` guards the number. It is held for a run of plain loads, compares and stores, and never while anything is
called: CPython delivers signals, collects garbage and hands on the GIL only at calls, function entries and backward
jumps (CPython 3.11 also collects where containers are made), so that none of these comes in the middle, and no fork of
another thread either. (Without a GIL, a thread that waits for the lock may be given it in the very moment of a fork.)
`Transitions.lock` is held by the thread that runs callbacks, until the last one has ended: other threads wait for it,
and that thread itself passes, since it is reentrant. It is taken before `_lock`, and only where callbacks may run.

Transitions. A change that calls for a callback appends it to the chain that begins at `_owed`, in the step that
changes the number, and the outermost verb runs the chain. While there is a chain the fast paths refuse, so that only
the thread that holds `Transitions.lock` changes number and chain, and ends it by a plain store. That is why the fast
paths look at `_owed` first and at the number second: where there is no GIL, the order matters.

Interrupts. What is owed stands in the chain, and nothing drops it but an error of the callback itself:
- A callback raises, whatever it raises: the number becomes 0, the chain ends, the error goes to the outermost verb.
- An interrupt falls between the number and its callback, or between two callbacks: what is owed is still run, then the
  interrupt goes on. If that is interrupted in turn, the next verb of any thread runs the rest before it returns.
- An interrupt falls on the entry of a callback, or on the return from one that is written in C: it cannot be told from
  an error of the callback.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeAlias, cast

from refcount._errors import OverflowException, UnderflowException
from refcount._support.checks import check_function
from refcount._support.naming import short
from refcount._support.numbers import check_integer

USECOUNT_MAX: Final = 2**62 - 1
"""The highest usecount: what a signed 64-bit counter holds with one bit to spare, as for `refcount_t` in 32 bits."""

OF_ONE_COUNTER = frozenset({"_lock", "_owed", "_transitions"})
"""The attributes of a counter that its copies do not get."""

Pickled: TypeAlias = dict[str, object] | tuple[dict[str, object], dict[str, object]]
"""What `object` pickles of an instance: its attributes, or these and its slots."""

_forks = 0  # between the first process and this one


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def within_limit(usecount: int) -> int:
    """Return the usecount as an exact int, or raise an error that names it."""
    number = check_integer("usecount", usecount)
    if number > USECOUNT_MAX:
        raise OverflowException(f"usecount cannot be {short(number)}: the limit is {USECOUNT_MAX}")
    return number


def out_of_range(count: int, delta: int) -> UnderflowException | OverflowException:
    """Return the error for a change that cannot be made."""
    if delta < 0:
        return UnderflowException(f"usecount {count} cannot be lowered by {short(-delta)}")
    return OverflowException(f"usecount {count} cannot be raised by {short(delta)}: the limit is {USECOUNT_MAX}")


class Owed:
    """A callback that a change of the number has called for and that has not ended; `next` is the one after it."""

    __slots__ = ("callback", "next")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.next: Owed | None = None


class Transitions:
    """Who runs a counter's callbacks.

    Attributes:
        lock: Held by the thread that runs them, until no more is owed.
        running: Whether the thread that holds the lock is running them already, so that it is inside one of them.
        last: The end of the chain, while there is one.
        forks: In which process the lock was made: how many forks after the first one.
    """

    __slots__ = ("forks", "last", "lock", "running")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.running = False
        self.last: Owed | None = None
        self.forks = _forks


class Usecount:
    """A number from 0 to `USECOUNT_MAX` that calls `acquire` after it has left 0, `release` after it has reached 0."""

    def __init__(
        self,
        usecount: int = 1,
        acquire: Callable[[], object] | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        for name, callback in (("acquire", acquire), ("release", release)):
            if callback is not None:
                check_function(name, callback, ())
        self._usecount: int = within_limit(usecount)
        self._acquire = acquire
        self._release = release
        self._make_locks()

    def _make_locks(self) -> None:
        """Begin with locks that nobody holds, and with nothing owed."""
        has_callbacks = self._acquire is not None or self._release is not None
        self._lock = threading.Lock()
        self._owed: Owed | None = None
        self._transitions = Transitions() if has_callbacks else None

    def __getstate__(self) -> Pickled:
        state = cast("Pickled", object.__getstate__(self))
        attributes = state[0] if isinstance(state, tuple) else state
        copied = {name: value for name, value in attributes.items() if name not in OF_ONE_COUNTER}
        return (copied, state[1]) if isinstance(state, tuple) else copied

    def __setstate__(self, state: Pickled) -> None:
        attributes, slots = state if isinstance(state, tuple) else (state, {})
        self.__dict__.update(attributes)
        for name, value in slots.items():
            setattr(self, name, value)
        self._make_locks()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} usecount={self._usecount}>"

    @property
    def usecount(self) -> int:
        """The number, to look at; setting it runs no callback.

        Reading never waits, so that what was read may be over when it is used: decide on what a verb returns. Setting
        waits for a callback that another thread runs, and raises what the constructor does for a bad usecount.

        Example:
            >>> users = Refcounter()
            >>> users.usecount = 4
            >>> users.usecount
            4
        """
        return self._usecount

    @usecount.setter
    def usecount(self, value: int) -> None:
        number = within_limit(value)
        with self._no_other_transition(), self._lock:
            self._usecount = number

    def _change(self, delta: int, unless: int | None = None, only: int | None = None) -> int:
        """Add `delta` to the number, run the callbacks that this calls for, and return what the number was.

        Args:
            delta: What to add.
            unless: The number at which nothing is done.
            only: The number at which alone something is done.

        Raises:
            UnderflowException: It would have become less than 0.
            OverflowException: It would have become more than `USECOUNT_MAX`.
        """
        transitions = self._transitions
        if transitions is None:
            return self._change_number(None, delta, unless, only)
        if transitions.forks != _forks:
            transitions = self._forget_transition_of_parent(transitions)
        with transitions.lock:
            if transitions.running:
                return self._change_number(transitions, delta, unless, only)
            transitions.running = True
            try:
                count = self._change_number(transitions, delta, unless, only)
                self._run_owed(transitions)
                return count
            except BaseException:
                self._run_owed(transitions)  # a callback that raised has left nothing owed, an interrupt may have
                raise
            finally:
                transitions.running = False

    def _no_other_transition(self) -> AbstractContextManager[object]:
        """Return what waits for a callback that another thread runs, and keeps others from running one meanwhile."""
        transitions = self._transitions
        if transitions is None:
            return nullcontext()
        if transitions.forks != _forks:
            transitions = self._forget_transition_of_parent(transitions)
        return transitions.lock

    def _forget_transition_of_parent(self, inherited: Transitions) -> Transitions:
        """Begin anew in a forked child, where no other thread runs a callback or waits for one any more."""
        fresh = Transitions()
        with self._lock:
            current = self._transitions
            if current is inherited or current is None:  # else another thread of the child has done it already
                self._transitions = current = fresh
                self._owed = None
        return current

    def _change_number(self, transitions: Transitions | None, delta: int, unless: int | None, only: int | None) -> int:
        """Change the number and append the callback that this calls for, in one step; return what the number was."""
        callback = self._acquire if delta > 0 else self._release if delta else None
        owed = None if callback is None else Owed(callback)
        with self._lock:
            count = self._usecount
            after = count + delta
            is_wanted = count != unless and (only is None or count == only)
            is_possible = 0 <= after <= USECOUNT_MAX
            if is_wanted and is_possible:
                self._usecount = after
                if owed is not None and transitions is not None and not (count and after):
                    last = transitions.last
                    if self._owed is None or last is None:
                        self._owed = owed
                    else:
                        last.next = owed
                    transitions.last = owed
        if is_wanted and not is_possible:
            raise out_of_range(count, delta)
        return count

    def _run_owed(self, transitions: Transitions) -> None:
        """Run the callbacks that are owed, and those that they call for in turn."""
        while self._transitions is transitions and (owed := self._owed) is not None:
            try:
                owed.callback()
            except BaseException:
                if self._owed is owed:
                    self._usecount = 0
                    self._owed = None
                raise
            if self._owed is owed:  # else it has forked, and this is the child, which has forgotten it
                self._owed = owed.next
