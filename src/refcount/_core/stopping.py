"""`Stoppable`: everything about one resource that needs no lease: how it stops, lingers, closes, forks and ends.

What is owed after a step stands in the machine as a claim of this thread. On any error the way out does it, or gives
the claim up by a store that cannot fail, and whoever comes next takes it.
"""
# pyright: reportPrivateUsage=false
# What sleepers and machines have of each other is private because users have leases, which sleep, in their hands.

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar
from weakref import ref

from refcount._core.clock import clocks
from refcount._core.generation import FORGOTTEN, STOPPING, UP, Alarm, FiredAlarm, Generation
from refcount._core.machine import Machine
from refcount._core.openers import OVER, own_error, refuse_second_value
from refcount._core.parking import Alone, Watcher, callers_of
from refcount._core.registry import registry
from refcount._core.resource import Resource
from refcount._errors import ReentrantError, RefcountError
from refcount._support.reporting import note, report

if TYPE_CHECKING:
    from refcount._core.generation import Slot
    from refcount._core.lease import Lease
    from refcount._core.openers import Life, Options

T_co = TypeVar("T_co", covariant=True)

_PATCHED = "refcount was imported before gevent or eventlet has patched `threading`: import it afterwards"


class Stoppable(Resource[T_co], Generic[T_co]):
    """One resource, driven by threads, less its consumers."""

    __slots__ = ("_anchored", "_anonymous", "_lives", "_new_lease", "_options", "_slot")

    _found_weakly: ClassVar[bool] = False
    """Whether somebody would make a second one if it did not find this one while it is up."""

    _anchored: bool
    _anonymous: list[Lease[T_co]] | None
    _lives: Callable[[], Life[T_co]]
    _new_lease: type[Lease[T_co]]
    _options: Options[T_co]
    _slot: Slot | None

    def _seen(self) -> Machine[T_co]:
        """Return the machine to look at, which may be the parent process's no longer."""
        if self._forks != registry.forks:
            self.reset_after_fork()
        return self._machine

    def _by(self) -> int:
        """Return what this thread is known by, when it is to do anything but join or leave what runs."""
        if threading.get_ident is not get_ident:
            raise RefcountError(_PATCHED)
        if self._forks != registry.forks:
            self.reset_after_fork()
        while registry.strays:
            lease, lose = registry.strays.popitem()
            lose(lease)
        return get_ident()

    def _visit(self) -> AbstractContextManager[object, None]:
        return nullcontext(self._by())

    def _refuse_reentry(self, what: str, by: int) -> None:
        """Raise `ReentrantError` inside a hook of this resource, where `what` would wait for itself."""
        if self._is_inside(callers_of(by)):
            number = self.generation  # not the thing itself, which may keep this very error, and with it this frame
            hook = "start, stop or check" + ("" if number is None else f" (generation {number})")
            raise ReentrantError(f"{what} of {self.name} inside its own {hook} would wait for itself")

    def _is_inside(self, line: list[object]) -> bool:
        """Return whether one of these threads is inside a hook of the resource, be it left alone with that."""
        machine = self._machine
        alone = (generation.alone for generation in machine.generations)
        return any(map(machine.works, line)) or any(each and each.thread in line and not each.over for each in alone)

    # Stopping

    def _stop(self, generation: Generation[T_co], by: int, *, report_errors: bool) -> None:
        """Run the stop that this thread has claimed, or see that somebody will, whatever interrupts it."""
        life, machine = generation.life, self._machine
        if life is not None and life.gi_running:
            return  # further down on this thread's own stack
        alone, up = generation.alone, life is not None and life.gi_suspended
        if alone is not None and not (up or alone.over) and self._hand_over(generation, alone, by):
            return
        if registry.stepping and by in registry.stepping:  # a finalizer's, in the middle of a family's step
            machine.disown(generation, by)
            clocks.thread.lost(partial(self._mend, generation))
            return
        failure: Exception | None = None
        try:
            if life is not None and life.gi_suspended:
                failure = self._end(life)
            if self._slot is not None:
                self._slot.leave(generation)
            if self._anchored:
                registry.lives.pop(life, None)
            machine.stopped(generation)
            if generation.alarm is not None:
                generation.alarm.cancel()  # it may be due much later, and would keep the value until then
            self._ended()
        except BaseException:
            self._leave_alone(generation, by)
            if generation in machine.working and machine.working[generation] == by:
                del machine.working[generation]
            self._mend(generation)
            raise
        try:
            if failure is not None:
                self._stop_failed(failure, generation, report_errors=report_errors)
        finally:
            del failure  # it refers to this frame

    def _end(self, life: Life[object]) -> Exception | None:
        """Run the stop; return what it raised."""
        try:
            value = next(life, OVER)  # as `finish` does; this is on the way of every last lease
            if value is OVER:
                return None
            refuse_second_value(life, value, self._name)
        except Exception as error:
            if life.gi_suspended or get_ident() in self._left():
                raise  # it has not begun, for the stack was full; or has not ended
            return own_error(error)

    def _left(self) -> dict[int, Alone]:
        """Return what the resource's own threads were left alone with, by who was interrupted just now."""
        return getattr(self._lives, "left", {})

    def _leave_alone(self, generation: Generation[T_co], by: int) -> None:
        """Take note of what that is, if this thread was interrupted."""
        left = self._left()
        if by in left:
            generation.alone = alone = left[by]
            alone.given_up = generation.given_up or generation.phase is FORGOTTEN
            del left[by]

    def _hand_over(self, generation: Generation[T_co], alone: Alone, by: int) -> bool:
        """Leave the rest of a stop to the resource's own thread, if that is still alone with a hook."""
        machine, rest = self._machine, partial(self._mend, generation)
        registry.active[id(self)] = ref(self)  # the end of the process waits for it
        registry.lives.pop(generation.life, None)  # which is over, whatever becomes of the generation
        try:
            if not machine.pass_on(generation, by, alone.thread):
                return True  # it was given up meanwhile; who is interrupted tells that something has ended
            alone.then.append(rest)
            mine = alone.over and alone.take_back()  # it has ended before it could see that
        except BaseException:
            machine.disown(generation, alone.thread)
            raise
        return not mine or not machine.pass_on(generation, alone.thread, by)

    def _mend(self, generation: Generation[T_co]) -> None:
        """After an interrupt: run a stop that is owed, and repeat what others are told; else the timer thread does."""
        by, machine = get_ident(), self._machine
        try:
            owed = generation.phase is STOPPING and machine.working.get(generation) == by
            if owed or machine.claim(generation, by):
                self._stop(generation, by, report_errors=True)
            if self._slot is not None:  # which may not have been told; harmless when repeated
                if generation.lingers:
                    self._slot.lingers(generation)
                elif generation.given_up or generation.phase is FORGOTTEN:
                    self._slot.leave(generation)
            if generation.alarm is not None and generation.phase is FORGOTTEN:
                generation.alarm.cancel()
            self._ended()
        except BaseException:
            if generation in machine.working and machine.working[generation] == by:
                del machine.working[generation]
            clocks.thread.lost(partial(self._mend, generation))
            raise

    def _mend_mine(self) -> None:
        """After an interrupt: do what this thread owes, of whichever generation."""
        for generation in self._machine.generations:
            if self._machine.working.get(generation) == get_ident():
                self._mend(generation)

    def _stop_failed(self, failure: Exception, generation: Generation[T_co], *, report_errors: bool) -> None:
        note(failure, f"while stopping {self.name}, generation {generation.number}")
        try:
            if not report_errors:
                raise failure
            report(failure, f"the stop of {self.name}, generation {generation.number}")
        finally:
            del failure

    def _ended(self) -> None:
        """Something has started, failed, stopped or been given up: who waits shall look."""
        machine = self._machine
        active, key = registry.active, id(self)
        with machine.lock:  # so that nobody begins a start in between, which a fork would not find then
            if machine.current is None and not machine.detached and key in active:
                del active[key]
        if machine.sleepers:
            self._wake_sleepers()

    def _wake_sleepers(self) -> None:
        for hold in self._machine.sleepers.copy():
            hold._wake()

    # Lingers

    def _set_alarm(self, generation: Generation[T_co], due: float) -> Alarm:
        """Have the linger of `generation` looked at when it is due; it keeps the resource alive until then."""
        if registry.ending and self._options.at_exit == "stop":
            return FiredAlarm()
        registry.watch_exit()
        due = math.inf if registry.ending else due  # what is to be left
        try:
            return clocks.clock.at(due, partial(self._expire, generation))
        except RuntimeError as error:
            warnings.warn(
                f"{self.name} cannot linger, for there is no timer thread: {error}", RuntimeWarning, stacklevel=2
            )
            return FiredAlarm()

    def _expire(self, generation: Generation[T_co]) -> None:
        """Look whether the linger of `generation` is over; called by its alarm."""
        by = get_ident()
        try:
            # An alarm that is never due goes off when its clock is left, and nothing lingers on that any more.
            now = clocks.clock.now() if self._machine.linger < math.inf else math.inf
            owed = self._machine.expire(generation, now, by)
            if isinstance(owed, Generation):
                self._stop(owed, by, report_errors=True)
            elif owed is not None:
                generation.alarm = alarm = self._set_alarm(generation, owed)
                if alarm.fired:
                    self._flush(report_errors=True)
                elif generation.phase is not UP:
                    alarm.cancel()  # it was stopped meanwhile, by a thread that did not see this alarm
        except BaseException:
            self._mend(generation)
            raise

    def _flush(self, *, report_errors: bool = False) -> bool:
        """Stop what lingers; say whether there was something."""
        by = self._by()
        try:
            owed = self._machine.flush(by)
            if owed is not None:
                self._stop(owed, by, report_errors=report_errors)
            return owed is not None
        except BaseException:
            self._mend_mine()
            raise

    # What comes from outside

    def _condemn(self, generation: Generation[T_co], by: int, *, report_errors: bool) -> None:
        """Let no newcomer have `generation`; give up its start if that still runs, and stop it if nobody has it."""
        try:
            owed = self._machine.condemn(generation, by)
            if generation.given_up and generation.alone is not None:
                generation.alone.given_up = True
            if generation.alarm is not None:
                generation.alarm.cancel()
            if generation.given_up and self._slot is not None:
                self._slot.leave(generation)
            if owed is not None:
                self._stop(owed, by, report_errors=report_errors)
            else:
                self._ended()
        except BaseException:
            self._mend(generation)
            raise

    def _forget(self, generation: Generation[T_co]) -> bool:
        """Take `generation` for gone, whatever becomes of it."""
        try:
            found = self._machine.forget(generation)
            if generation.alone is not None:
                generation.alone.given_up = True
            if generation.alarm is not None:
                generation.alarm.cancel()
            if self._slot is not None:
                self._slot.leave(generation)
            self._ended()
        except BaseException:
            self._mend(generation)
            raise
        return found

    def _expel(self, by: int) -> None:
        """Stop everything that is up, whoever holds it; errors are reported."""
        for generation in self._machine.generations:
            try:
                if self._machine.expel(generation, by):
                    self._stop(generation, by, report_errors=True)
            except BaseException:
                self._mend(generation)
                raise

    def _wait_until(self, reached: Callable[[], bool], deadline: float | None) -> bool:
        """Sleep until something is true of the machine, and say whether that came before `deadline`."""
        watcher: Watcher[T_co] = Watcher()
        try:
            return watcher.watch(self._machine, reached, deadline)
        finally:
            self._machine.sleepers.pop(watcher, None)

    # The process

    def end_linger(self) -> None:
        """Stop what lingers, an error of that is reported; or let it linger for ever, if it is to be left."""
        if self._options.at_exit == "stop":
            self._flush(report_errors=True)
        else:
            self._machine.touch(math.inf)

    def wait_for_stops(self) -> None:
        """Wait until no stop runs."""
        machine = self._machine
        self._wait_until(lambda: all(g.phase is not STOPPING for g in machine.generations), None)

    def stop_at_exit(self) -> None:
        """Stop what is up, whoever holds it, or see that nothing ever stops it."""
        self.wait_for_stops()
        if self._options.at_exit == "leave":
            for generation in self._machine.generations:
                registry.keep_for_ever(generation)
            return
        usecount = self._machine.usecount
        try:
            if usecount:
                leases = "1 lease" if usecount == 1 else f"{usecount} leases"
                warnings.warn(f"{self.name} is still held at exit, by {leases}", ResourceWarning, stacklevel=2)
        finally:
            self._expel(get_ident())

    def reset_after_fork(self) -> tuple[()]:
        """Begin anew in a forked child; what runs for the parent must never be left here."""
        machine = self._machine
        for generation in machine.generations:
            generation.phase = FORGOTTEN
            generation.quick = False
            registry.keep_for_ever(generation)
        machine.reset(threading.Lock())
        self._anonymous = None
        if self._entered is not None:
            self._entered.clear()
        if self._observers is not None:
            self._observers.reset()
        self._forks = registry.forks
        return ()
