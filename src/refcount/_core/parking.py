"""Waiting: a `Parker` is what one thread sleeps on until another wakes it, a `Watcher` waits for a change.

And an `Errand` is what one thread runs for another one, which waits for it.

`threading.Event` and `Condition` are written in Python: an interrupt inside them leaves their inner lock held, and all
who wake hang. A raw lock is C: each of its calls happens whole or not at all. It is taken as long as nobody has woken
the thread; to wake is to free it, and to free it again changes nothing, so that wakes do not pile up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from refcount._core.clock import monotonic
from refcount._core.generation import Hold
from refcount._support.numbers import check_timeout

if TYPE_CHECKING:
    from refcount._core.machine import Machine

R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)


class Parker:
    """Sleeps one thread. Woken before it sleeps, it does not sleep; however often it is woken, it wakes once."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def park(self, deadline: float | None) -> bool:
        """Sleep until woken, and say whether that came before `monotonic()` reached `deadline`."""
        if deadline is None:
            return self._lock.acquire()
        while True:
            seconds = deadline - monotonic()
            # A lock takes no more than `TIMEOUT_MAX` at once, which is 49 days on some systems.
            if self._lock.acquire(timeout=max(0.0, min(seconds, threading.TIMEOUT_MAX))):
                return True
            if seconds <= threading.TIMEOUT_MAX:
                return False

    def wake(self) -> None:
        """Wake the thread that sleeps, or let its next sleep return at once; never waits."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # it has been woken and has not seen it yet


class Watcher(Hold[T_co]):
    """A thread that wants to see something become true of a resource, and no lease."""

    __slots__ = ("_parker",)

    def __init__(self) -> None:
        super().__init__()
        self._parker = Parker()

    def _wake(self) -> None:
        self._parker.wake()

    def watch(self, machine: Machine[T_co], reached: Callable[[], bool], deadline: float | None) -> bool:
        """Sleep until `reached()`, and say whether that came before `deadline`."""
        machine.sleepers[self] = None
        while not reached():
            if not self._parker.park(deadline):
                return reached()
        return True


class Errand(Generic[R]):
    """Something that another thread is to run for this one.

    Attributes:
        caller: The thread, or the task, that waits for it; None once that waits no more.
    """

    _result: R
    _error: BaseException | None = None

    def __init__(self, function: Callable[[], R]) -> None:
        self._function = function
        self._over = Parker()
        self.caller: object = get_ident()

    def __call__(self) -> None:
        """Run it, in the thread that has got it."""
        by = get_ident()
        _errands[by] = self
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        finally:
            _errands.pop(by, None)  # a forked child has forgotten it
            del self._function  # which it must not keep alive
            self._over.wake()

    def wait(self) -> R:
        """Return what it returned, or raise what it raised."""
        self._over.park(None)
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            self._error = None  # it refers to this frame, and the frame to the errand


_errands: dict[object, Errand[Any]] = {}
"""What each thread runs just now for another one, or for a task."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_errands.clear)


def callers_of(by: int) -> list[object]:
    """Return the thread `by`, the thread or task that waits for what it runs, and so on."""
    line: list[object] = [by]
    while (errand := _errands.get(line[-1])) is not None and (caller := errand.caller) is not None:
        line.append(caller)
    return line


class Alone:
    """What a thread runs that was left alone, since who waited for it was interrupted.

    Attributes:
        thread: The thread.
        over: Whether it has ended.
        given_up: Whether nobody is to wait for it any more.
        then: What is to be done then, in that thread.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._over = Parker()
        self.thread: int = 0
        self.over: bool = False
        self.given_up: bool = False
        self.then: list[Callable[[], object]] = []

    def __call__(self) -> None:
        """Run it, and what is to be done then."""
        try:
            self._function()
        finally:
            self.over = True
            del self._function
            self._over.wake()
            self.do_the_rest()

    def take_back(self) -> bool:
        """Take away what is to be done then, if that has not begun; say whether it is taken."""
        try:
            self.then.pop()
        except IndexError:
            return False
        return True

    def do_the_rest(self) -> None:
        """Do what is to be done then, unless it was taken away."""
        # A loop in a function of its own: CPython 3.13 delivers an interrupt at its end outside of a block around it.
        while self.then:
            try:
                job = self.then.pop()
            except IndexError:
                return
            job()

    def wait(self) -> None:
        """Return when it is over."""
        self._over.park(None)
        self._over.wake()  # for others who wait like this


def deadline_after(timeout: object) -> float | None:
    """Return when `timeout` seconds from now are over, or None for as long as it takes; raises like `check_timeout`."""
    seconds = check_timeout(timeout)
    return None if seconds is None else monotonic() + seconds
