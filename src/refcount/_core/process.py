"""What becomes of shared resources when the process ends or forks.

End: `threading` calls `_end_lingers` when the main thread is over, before it waits for the other threads: what
lingers is stopped, and nothing lingers from then on. `atexit` calls `_stop_all` when the other threads are over as
well: what is still held then is stopped under its holders. Only daemon threads and forgotten leases can be such
holders.

Fork: the child has none of the other threads, so any lock may be held for ever, and everything that runs belongs to
the parent. Every resource begins anew there. What the parent has started is kept and never left, not even by the
garbage collector or at the child's exit, since leaving it would stop it for the parent as well.
"""

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from typing import Protocol
from weakref import WeakSet

from refcount._core.timers import clocks
from refcount._support.reporting import report


class Resident(Protocol):
    """What this module knows of a shared resource."""

    def end_linger(self) -> None:
        """Let a timer stop what lingers, now."""
        ...

    def wait_unlinger(self) -> None:
        """Wait until a stop that runs is over."""
        ...

    def stop_at_exit(self) -> None:
        """Stop, whoever holds it."""
        ...


class Forkable(Protocol):
    """What begins anew in a forked child."""

    def renew(self) -> Iterable[object]:
        """Make new locks, forget everything that runs, and return what must never be left in this process."""
        ...


class Unfinished(Protocol):
    """What was stopped without waiting for it, though the process is not to end before it is done."""

    def finish(self) -> None:
        """Wait until it is done."""
        ...


class Process:
    """The resources of this process. `alive` also keeps those that run from being garbage-collected."""

    def __init__(self) -> None:
        self.ending = False
        self.forkables: WeakSet[Forkable] = WeakSet()
        self.unfinished: dict[Unfinished, None] = {}
        self._alive: dict[Resident, object] = {}

    def enter(self, resident: Resident, owner: object) -> None:
        """`resident` is not idle: keep it and its `owner`. One that enters again becomes the youngest."""
        self._alive.pop(resident, None)
        self._alive[resident] = owner

    def leave(self, resident: Resident) -> None:
        """`resident` is idle."""
        self._alive.pop(resident, None)

    def __contains__(self, resident: Resident) -> bool:
        return resident in self._alive

    def end_lingers(self) -> None:
        """Stop what lingers, and let nothing linger any more."""
        self.ending = True
        residents = self._youngest_first()
        clocks.thread.hold_back()
        for resident in residents:
            resident.end_linger()
        clocks.thread.run_due()
        for resident in residents:
            try:
                resident.wait_unlinger()
            except BaseException as error:  # Ctrl-C: its stop hangs in another thread, and is not waited for again
                report(error, "the exit of the process")
                self.leave(resident)
        self._finish()

    def stop_all(self) -> None:
        """Stop everything, whoever holds it."""
        self.ending = True
        clocks.thread.run_lost()
        for resident in self._youngest_first():
            try:
                resident.stop_at_exit()
            except BaseException as error:  # the others are to be stopped as well
                report(error, "the exit of the process")
        self._finish()

    def begin_child(self) -> None:
        """Forget the parent's resources in a forked child."""
        clocks.renew()
        for forkable in list(self.forkables):
            for inherited in forkable.renew():
                _keep_for_ever(inherited)
        self.unfinished.clear()
        self._alive.clear()  # last: it may be all that keeps a resource, and with it what must not be left

    def _finish(self) -> None:
        while (unfinished := self._take_unfinished()) is not None:  # one may leave another behind
            try:
                unfinished.finish()
            except BaseException as error:  # Ctrl-C: it hangs, and is not waited for again
                report(error, "the exit of the process")

    def _take_unfinished(self) -> Unfinished | None:
        try:
            return self.unfinished.popitem()[0]
        except KeyError:
            return None

    def _youngest_first(self) -> list[Resident]:
        return list(self._alive)[::-1]


def _keep_for_ever(thing: object) -> None:
    # A reference that nobody owns: one from a module would be dropped when the interpreter clears its modules at exit.
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


process = Process()


def _register() -> None:
    # Private, but the only hook between the end of the main thread and the wait for the others, and what
    # concurrent.futures stands on as well.
    when_main_ends: Callable[[Callable[[], None]], None] | None = getattr(threading, "_register_atexit", None)
    atexit.register(process.stop_all)
    if when_main_ends is not None:
        with contextlib.suppress(RuntimeError):  # imported while the process ends: `stop_all` is enough
            when_main_ends(process.end_lingers)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=process.begin_child)


_register()
