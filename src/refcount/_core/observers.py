"""`Observers`: who is told of every change of a usecount, outside every lock and in order.

The machine notes each change in its own step, by its number. Whoever made a change then calls `tell` with that number.
One thread at a time tells, for all: it has the claim `_teller`. It tells at most until its own change is told, and then
hands the rest on: to a thread that waits; else to the timer thread, which tells until nothing is left.

Whoever finds another thread telling goes on at once while the backlog is short. Once `PATIENCE` changes are untold it
waits until its own is told or it can tell itself, so that a backlog slows those who make it and does not grow. An
observer that uses its own resource does not wait for itself: what it changes is told by the same thread, after what it
was called for.

Interrupts. Every section under `_lock` is free of calls, as in the machine, and so are the lines that take a change or
an observer out: what was taken counts as told, and everything else is left to the next one who comes. The claim is
given up by a store. A wake that an interrupt cuts off is made up for by the sleeper, which looks every `LOOK` seconds.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import get_ident
from typing import Generic, Protocol, TypeVar

from refcount._core.clock import clocks, monotonic
from refcount._core.parking import Parker
from refcount._core.resource import Resource
from refcount._errors import WrongLoopError
from refcount._support.checks import check_function
from refcount._support.reporting import report

T_co = TypeVar("T_co", covariant=True)

PATIENCE = 64
"""How many changes may be untold before those who make more wait."""

LOOK = 0.1
"""Seconds after which a thread that waits looks for itself whether a wake was lost."""

STALL = 10.0
"""Seconds that a thread waits while nothing at all is told: the observer may be waiting for that very thread."""


class Notes(Protocol):
    """What the machine notes: the usecount after each change, by the number of the change.

    Attributes:
        noted: The number of the last change.
        notes: The usecounts that were not taken out yet.
    """

    noted: int
    notes: dict[int, int]


class Observer:
    """One observation of a resource; the token that ends it.

    Attributes:
        callback: Called with the usecount.
        since: The number of the last change that it is told nothing of; infinite once it was removed.
    """

    __slots__ = ("callback", "since")

    def __init__(self, callback: Callable[[int], object], since: float) -> None:
        self.callback = callback
        self.since = since


class Observers:
    """The observers of one resource.

    Args:
        source: Where the changes are noted.
        name: Names the resource in reports: a text, or a function that is called when one is made.
    """

    __slots__ = (
        "_asked_timer",
        "_calls",
        "_lock",
        "_name",
        "_observers",
        "_source",
        "_taken",
        "_teller",
        "_told",
        "_until",
        "_usecount",
        "_waiting",
    )

    def __init__(self, source: Notes, name: str | Callable[[], str]) -> None:
        self._source = source
        self._name = name
        self._observers: tuple[Observer, ...] = ()
        self.reset()

    def reset(self) -> None:
        """Begin anew in a forked child: what the parent has noted is the parent's."""
        self._source.notes.clear()
        self._lock = threading.Lock()
        self._teller: int | None = None
        """The thread that tells."""
        self._until: float = 0
        """The change until which it tells."""
        self._taken = self._told = self._source.noted
        """The last change that was taken out to be told, and the last one of which all observers were told."""
        self._usecount = 0
        self._calls: Iterator[Observer] = iter(())
        """The usecount after the change `_taken`, and the observers who are still to be told of it."""
        self._waiting: dict[int, Parker] = {}
        """Threads that wait until their change, of that number, is told."""
        self._asked_timer = False

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, callback: Callable[[int], object]) -> Observer:
        """Tell `callback` of every change from now on; return what `remove` takes."""
        observer = Observer(callback, self._source.noted)
        self._replace(lambda observers: (*observers, observer))
        return observer

    def remove(self, observer: Observer) -> None:
        """Tell `observer` of nothing any more, except what it is being told just now; harmless when repeated."""
        observer.since = math.inf
        self._replace(lambda observers: tuple(other for other in observers if other is not observer))

    def _replace(self, change: Callable[[tuple[Observer, ...]], tuple[Observer, ...]]) -> None:
        """Put other observers in place of these; again, if another thread was faster."""
        done = False
        while not done:
            before = self._observers
            after = change(before)
            with self._lock:
                if self._observers is before:
                    self._observers = after
                    done = True

    def tell(self, upto: int) -> None:
        """See that the changes up to number `upto` are told; outside every lock, by the thread that made that change.

        Returns when they have been told, or will be by another thread; unless very many are still to be told.
        """
        by = get_ident()
        if self._teller == by:
            self._until = max(self._until, upto)  # inside an observer: told when that has returned
        elif not self._tell(upto, by) and self._source.noted - self._told >= PATIENCE:
            self._wait(upto, by)

    def _tell(self, upto: float, by: int) -> bool:
        """Tell the changes up to `upto` and hand on what is left; return False if another thread is telling."""
        tells = False
        try:
            with self._lock:
                left = self._told < self._taken or self._taken + 1 in self._source.notes
                if left and self._told < upto and self._teller is None:
                    self._teller = by
                    self._until = upto
                    tells = True
            if not tells:
                return self._told >= upto
            while True:  # not `while tells`: CPython 3.12 and 3.13 leave the jump back to that outside of the `try`
                self._tell_next()
                sleeper = None
                with self._lock:
                    number = self._told = self._taken
                    if number in self._waiting:
                        sleeper = self._waiting[number]
                        del self._waiting[number]
                    if number >= self._until or number + 1 not in self._source.notes:
                        self._teller = None
                        tells = False
                if sleeper is not None:
                    sleeper.wake()
                if not tells:
                    break
        except BaseException:
            if tells:
                self._teller = None
                self._wake_next()
            raise
        if self._taken + 1 in self._source.notes and not self._wake_next():
            self._ask_timer()
        return True

    def _tell_next(self) -> None:
        """Tell the next change, or the observers of the last one whom an interrupt has left."""
        if self._told == self._taken:
            number = self._taken + 1
            usecount, calls = self._source.notes[number], iter(self._observers)
            # Nothing is called from here on.
            self._taken = number
            self._usecount = usecount
            self._calls = calls
            del self._source.notes[number]
        for observer in self._calls:
            if observer.since < self._taken:
                try:
                    observer.callback(self._usecount)
                except Exception as error:
                    name = self._name if isinstance(self._name, str) else self._name()
                    report(error, f"an observer of {name}")

    def _wait(self, upto: int, by: int) -> None:
        """Sleep until `upto` is told or this thread can tell it, or for as long as nothing can be told at all."""
        sleeper, told, stalled = Parker(), self._told, monotonic() + STALL
        try:
            while True:  # as in `_tell`
                if not self._register(upto, sleeper) or self._tell(upto, by):
                    return
                sleeper.park(min(monotonic() + LOOK, stalled))
                if self._told != told:
                    told, stalled = self._told, monotonic() + STALL
                elif monotonic() >= stalled:
                    return
        except BaseException:
            self._wake_next()  # it may have been this thread's turn
            raise
        finally:
            with self._lock:
                if upto in self._waiting:
                    del self._waiting[upto]

    def _register(self, upto: int, sleeper: Parker) -> bool:
        """Have `sleeper` woken when `upto` is told; say whether it is not told yet."""
        with self._lock:
            if self._told >= upto:
                return False
            self._waiting[upto] = sleeper
            return True

    def _wake_next(self) -> bool:
        """Let a thread that waits tell, if there is one."""
        for sleeper in self._waiting.copy().values():
            sleeper.wake()
            return True
        return False

    def _ask_timer(self) -> None:
        """Have the timer thread tell all that is left; or do it here, where no thread can be had."""
        asks = False
        try:
            with self._lock:
                if not self._asked_timer:
                    self._asked_timer = True
                    asks = True
            if asks:
                clocks.thread.lost(self._tell_rest)
        except RuntimeError:
            self._tell_rest()
        except BaseException:
            if asks:
                self._asked_timer = False
            raise

    def _tell_rest(self) -> None:
        """Tell all that is left, unless another thread is at it."""
        self._asked_timer = False
        by = get_ident()
        if self._teller != by:
            self._tell(math.inf, by)


class Observed(Resource[T_co], Generic[T_co]):
    """A resource whose usecount can be observed."""

    __slots__ = ()

    def observe(self, callback: Callable[[int], object]) -> Callable[[], None]:
        """Call `callback(usecount)` at every change, in order, none merged, one at a time, outside every lock.

        It runs in a thread that changed the usecount, not always the one that made this change, and a long backlog
        slows those who make it. An error that it raises is reported and disturbs nothing.

        Returns:
            A function that ends it, harmless when called again.

        Raises:
            TypeError: The callback cannot be called.

        Example:
            >>> resource = SharedResource.of(list)
            >>> end = resource.observe(print)
            >>> with resource():
            ...     pass
            1
            0
            >>> end()
        """
        check_function("the callback of observe", callback, ("the usecount",))
        own = self._own()
        with own._visit():
            observers = own._observers
            if observers is None:
                observers = own._observers = Observers(own._machine, own._name)
            own._machine.observe(True)
            token = observers.add(callback)

        def end() -> None:
            observers.remove(token)
            # Where the resource is up in another event loop, its changes are noted on, for nobody.
            with suppress(WrongLoopError), own._visit():
                if not observers:
                    own._machine.observe(False)
                    if observers:  # another one, who has come meanwhile
                        own._machine.observe(True)

        return end
