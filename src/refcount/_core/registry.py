"""What becomes of shared resources when the process ends or forks.

End: `threading` calls `end_lingers` when the main thread is over, before it waits for the other threads: what lingers
is stopped, and nothing lingers from then on. `atexit` calls `stop_all` when the other threads are over as well: what is
still held then is stopped under its holders. Only daemon threads and forgotten leases can be such holders.

Fork: the child has none of the other threads, so any lock may be held for ever, and everything that runs belongs to
the parent. What was not idle begins anew at once, what was idle when it is used next. What the parent has started is
kept and never left, not even by the garbage collector or at the child's exit, since leaving it would stop it for the
parent as well.

Resources are found weakly: what is held is kept by its leases, what lingers by its alarm.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from typing import Protocol
from weakref import ReferenceType, WeakSet

from refcount._core.clock import clocks
from refcount._support.reporting import report


class Resident(Protocol):
    """A shared resource that is not idle."""

    def end_linger(self) -> None:
        """Stop what lingers."""
        ...

    def wait_for_stops(self) -> None:
        """Wait until no stop runs."""
        ...

    def stop_at_exit(self) -> None:
        """Stop what is up, whoever holds it."""
        ...

    def reset_after_fork(self) -> Iterable[object]:
        """Begin anew, and return what must never be left in this process, if that is not seen to."""
        ...


class Forkable(Protocol):
    """What begins anew in a forked child, besides resources."""

    def reset_after_fork(self) -> Iterable[object]:
        """Make new locks, and return what must never be left in this process."""
        ...


class Unfinished(Protocol):
    """What was stopped without waiting for it, though the process is not to end before it is done."""

    def finish(self) -> None:
        """Wait until it is done."""
        ...


class Registry:
    """The resources of this process that are not idle, the youngest last.

    Attributes:
        ending: Whether the main thread is over, so that nothing lingers any more.
        forks: How often this process was forked off; what was made before begins anew when it is used.
        forkables: What begins anew at once in a forked child.
        unfinished: What is waited for at the end.
        active: The resources that are not idle, by their `id`. They put themselves in and out: it is on the way of
            every first and last lease.
        lives: What was started and is kept until it has stopped, with what is to live as long.
        anonymous: Leases that nobody has in hand.
        strays: Leases that were lost where the stack was full, and who is to be told.
        stepping: The threads in the middle of a step of a bounded family: a finalizer that comes there runs no hook.
    """

    def __init__(self) -> None:
        self.ending: bool = False
        self.forks: int = 0
        self.forkables: WeakSet[Forkable] = WeakSet()
        self.unfinished: dict[Unfinished, None] = {}
        self.active: dict[int, ReferenceType[Resident]] = {}
        self.lives: dict[object, object] = {}
        self.anonymous: dict[object, None] = {}
        self.stepping: dict[int, None] = {}
        self.strays: dict[object, Callable[..., object]] = {}
        self._keep: Callable[[object], object] | None = None

    def end_lingers(self) -> None:
        """Stop what lingers, and let nothing linger any more."""
        self.ending = True
        residents = self._youngest_first()
        clocks.thread.run_in_turn([resident.end_linger for resident in residents])
        for resident in residents:
            try:
                resident.wait_for_stops()
            except BaseException as error:  # Ctrl-C: its stop hangs in another thread, and is not waited for again
                report(error, "the exit of the process")
                self.active.pop(id(resident), None)
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

    def prepare_fork(self) -> None:
        """Have at hand in the child what it needs: nothing is to be imported there, nor where nobody forks."""
        if self.active and self._keep is None:
            self._keep = _reference_adder()

    def keep_for_ever(self, thing: object) -> None:
        """Keep `thing` until the process is gone, so that it is never left."""
        self._keep = keep = self._keep or _reference_adder()
        keep(thing)

    def begin_child(self) -> None:
        """Forget the parent's resources in a forked child."""
        self.forks += 1
        clocks.reset_after_fork()
        for forkable in (*self._youngest_first(), *self.forkables):
            for inherited in forkable.reset_after_fork():
                self.keep_for_ever(inherited)
        self.unfinished.clear()
        self.active.clear()
        self.anonymous.clear()
        self.lives.clear()  # last: those that matter are kept for ever by now

    def watch_exit(self) -> None:
        """See that `end_lingers` runs before what others have registered since, as `concurrent.futures` does.

        Executors wait for their threads there, which may wait for the stop of something that lingers.
        """
        # Private, but the only hook between the end of the main thread and the wait for the others, and what
        # `concurrent.futures` stands on as well. The last one that was registered runs first.
        registered: list[object] | None = getattr(threading, "_threading_atexits", None)
        if not registered or getattr(registered[-1], "func", registered[-1]) != self.end_lingers:
            register: Callable[[Callable[[], None]], None] | None = getattr(threading, "_register_atexit", None)
            if register is not None:
                with contextlib.suppress(RuntimeError):  # the process is ending: `stop_all` is enough
                    register(self.end_lingers)

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
        references = [*self.active.copy().values()]
        return [resident for reference in reversed(references) if (resident := reference()) is not None]


def _reference_adder() -> Callable[[object], object]:
    """Return what gives a reference that nobody owns: the interpreter clears its modules at exit, not that."""
    try:
        import ctypes
    except ImportError:  # Python may be built without it
        return _keep_in_thread
    return lambda thing: ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _keep_in_thread(thing: object) -> None:
    # The frame of a thread that never goes on is never cleared.
    never = _thread.allocate_lock()
    never.acquire()
    _thread.start_new_thread(_hold, (never, thing))


def _hold(never: _thread.LockType, _thing: object) -> None:
    never.acquire()


registry = Registry()
registry.watch_exit()
atexit.register(registry.stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=registry.prepare_fork, after_in_child=registry.begin_child)
