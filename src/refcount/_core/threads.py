"""`ThreadDriver`: the machine of one resource, driven by the threads of those who come to it and go."""
# pyright: reportPrivateUsage=false
# A lease and its driver are one thing; what they have of each other is private, since users have leases in their hands.

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import ref

from refcount._core.clock import clocks
from refcount._core.generation import (
    AGAIN,
    CHECK,
    CLOSED,
    FAILURE,
    GONE,
    HELD,
    LINGER,
    START,
    STARTING,
    UP,
    WAIT,
    Generation,
    Next,
    is_inside,
)
from refcount._core.lease import EnteredLease, Lease
from refcount._core.machine import Machine
from refcount._core.openers import OUR_CODE, own_error
from refcount._core.own_thread import LivesInThreads
from refcount._core.parking import Parker, callers_of
from refcount._core.registry import Resident, registry
from refcount._core.stopping import Stoppable
from refcount._errors import ClosedError, ReentrantError, RefcountError
from refcount._support.naming import Name
from refcount._support.reporting import note, report

if TYPE_CHECKING:
    from refcount._core.generation import Slot
    from refcount._core.openers import Life, Options

T_co = TypeVar("T_co", covariant=True)


class ThreadDriver(Stoppable[T_co], Generic[T_co]):
    """One resource, driven by threads: the part of it that no user sees."""

    __slots__ = ()

    def _setup(
        self,
        lives: Callable[[], Life[T_co]],
        name: Name,
        options: Options[T_co],
        slot: Slot | None = None,
        *,
        anchored: bool = True,
    ) -> None:
        """Make it ready; `lives` makes what a generation starts and stops, `slot` is asked for a place before a start.

        What was started is `anchored`, kept alive until it has stopped, so that the collector closes no generator in
        place of its stop; not where it may refer to the object that keeps the lease, which would never be found lost.
        """
        self._anchored = anchored
        self._lives = LivesInThreads(lives, name, in_turn=not options.overlap) if options.own_thread else lives
        self._name = name
        self._options = options
        self._slot = slot
        self._observers = None
        self._anonymous = None
        self._entered = slot.entered if slot is not None else {} if options.exclusive else None
        self._new_lease = Lease if self._entered is None else EnteredLease
        self._forks = registry.forks
        self._machine = Machine(
            threading.Lock(),
            linger=options.linger,
            checked=options.check is not None,
            overlap=options.overlap,
            exclusive=options.exclusive,
        )

    # Consumers

    def _admit(self, lease: Lease[T_co], deadline: float | None) -> T_co:
        """Let `lease` hold the resource, whatever it takes: a start, a check, waiting for another thread's hook."""
        by, machine = self._by(), self._machine
        if machine.working:
            self._refuse_reentry("acquire", by)
        step = machine.ask(lease, by)
        while step is not HELD:
            step = self._start(lease, by, deadline) if step is START else self._follow(step, lease, by, deadline)
        if machine.observed:
            self._tell_observers()
        generation = lease._generation
        return lease.value if generation is None else generation.value

    def _admit_running(self, lease: Lease[T_co]) -> bool:
        """Let `lease` hold the resource if it runs; say whether it does."""
        by, machine = self._by(), self._machine
        self._refuse_reentry("try_acquire", by)
        step = AGAIN
        while step is AGAIN:
            current = machine.current
            if machine.closed or current is None or current.phase is not UP or current.condemned:
                break
            step = machine.join(lease, current, by)
        if step is CHECK:
            step = self._check(lease, by)
        if step is not HELD and machine.closed:
            raise self._closed_error()
        if machine.observed:
            self._tell_observers()
        return step is HELD

    def _follow(
        self, step: Next | Generation[T_co], lease: Lease[T_co], by: int, deadline: float | None
    ) -> Next | Generation[T_co]:
        """Do what the machine asks of a consumer, other than a start, and return what it asks next."""
        if step is CHECK:
            return self._check(lease, by)
        if step is WAIT:
            return self._wait(lease, by, deadline)
        if step is CLOSED:
            raise self._closed_error()
        if step is FAILURE:
            _raise_failure(lease)
        if type(step) is Generation:
            self._stop(step, by, report_errors=True)
        return self._machine.ask(lease, by)

    def _start(self, lease: Lease[T_co], by: int, deadline: float | None) -> Next | Generation[T_co]:
        generation = lease._promised
        assert generation is not None  # `START` is said only of one that was promised
        forks, machine = registry.forks, self._machine
        if self._slot is not None:
            self._take_slot(self._slot, generation, by, deadline, lease._parker)
            if generation.phase is not STARTING:  # it was abandoned while it waited
                return machine.started(lease, by)
        if registry.ending and sys.is_finalizing():
            raise RefcountError(f"{self.name} cannot start: the process is ending")
        try:
            generation.life = life = self._lives()
            for generation.value in life:
                break
            else:
                raise RuntimeError(f"{self.name} yielded no value: a resource yields exactly once")
        except Exception as error:
            if by in self._left():
                raise  # an interrupt, of whatever kind
            shared = self._fail(lease, error)
            try:
                if shared is error:
                    raise
                raise shared from None
            finally:
                del generation, shared  # they refer to the error, and the error to this frame
        if forks != registry.forks:
            self._by()
            raise RefcountError(f"the process was forked while {self.name} was being started: that is the parent's")
        try:
            self._register(life)
            step = machine.started(lease, by)
            if type(step) is Generation:  # closed by force meanwhile
                self._stop(step, by, report_errors=True)
                return AGAIN
            if machine.sleepers:
                self._wake_sleepers()
        except BaseException:
            self._mend(generation)
            raise
        return step

    def _register(self, life: Life[object]) -> None:
        """Let exit and fork find the resource; it is younger than what was started inside its own start."""
        active, key = registry.active, id(self)
        reference: ref[Resident] = ref(self)
        with self._machine.lock:  # in one step: a fork may come in between
            if key in active:
                del active[key]
            active[key] = reference
        if self._anchored:
            registry.lives[life] = self if self._found_weakly else None

    def _take_slot(
        self, slot: Slot, generation: Generation[T_co], by: int, deadline: float | None, parker: Parker | None
    ) -> None:
        registry.active[id(self)] = ref(self)  # it is not idle while it waits, as a fork has to know
        try:
            slot.enter(generation, by, deadline, parker)
        finally:
            if generation.given_up or generation.phase is not STARTING:
                slot.leave(generation)  # while it waited: it starts for those who wait, if for anybody, without a place

    def _fail(self, lease: Lease[T_co], error: Exception) -> Exception:
        """Tell everybody who waits for this start of its error; return what they and the starter get."""
        generation = lease._promised
        assert generation is not None
        error = own_error(error)
        note(error, f"while starting {self.name}, generation {generation.number}")
        if self._slot is not None:
            self._slot.leave(generation)
        try:
            self._machine.failed(generation, error, error.__traceback__, lease)
            self._ended()
        except BaseException:
            self._ended()
            raise
        return error

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"{self.name} is closed")

    def _check(self, lease: Lease[T_co], by: int) -> Next:
        generation, check = lease._promised, self._options.check
        assert generation is not None  # `CHECK` is said only of one that was promised,
        assert check is not None  # and only where there is a check
        try:
            good = bool(check(generation.value))
        except Exception as error:
            report(error, f"the check of {self.name}, generation {generation.number}")
            good = False
        if good:
            step = self._machine.accept(lease)
            if step is HELD:
                return HELD
        else:
            step = AGAIN
            self._condemn(generation, by, report_errors=True)
        self._give_back(lease, generation, by, report_errors=True)
        return step

    def _wait(self, lease: Lease[T_co], by: int, deadline: float | None) -> Next | Generation[T_co]:
        parker = lease._parker
        if parker is None:
            lease._parker = Parker()  # and look once more, since nobody could wake it before
        else:
            if deadline is None and self._options.exclusive:
                self._refuse_to_wait_for_itself(by)
            if not parker.park(deadline):
                step = self._machine.ask(lease, by)
                if step is WAIT:
                    current = self._machine.current
                    what = self.name if current is not None else f"the generation of {self.name} before"
                    state = "held" if current is None else self._machine.state.value
                    raise TimeoutError(f"{what} was still {state} when the timeout was over")
                return step
        return self._machine.ask(lease, by)

    def _refuse_to_wait_for_itself(self, by: int) -> None:
        """Raise `ReentrantError` if it is this thread whose with-block keeps the generation before up."""
        line = callers_of(by)
        entered = () if self._entered is None else self._entered.copy().values()
        if any(is_inside(mark, line) for mark in entered):
            raise ReentrantError(
                f"acquire of {self.name} inside a with-block on its generation before would wait for itself"
            )

    def _give_back(
        self, lease: Lease[T_co], generation: Generation[T_co], by: int | None = None, *, report_errors: bool = False
    ) -> bool:
        """Take back what `lease` claims of `generation`, and do what follows; say whether it held it.

        Args:
            lease: A lease that is held or waits.
            generation: What it claims, as far as the caller knows.
            by: The calling thread, if it is known.
            report_errors: Whether the error of a stop is none of the caller's making.
        """
        if registry.ending and sys.is_finalizing():
            return False  # all is stopped, and a thread that was killed may hold the lock for ever
        by, machine = by or get_ident(), self._machine
        now = clocks.clock.now() if machine.linger else 0.0
        try:
            owed = machine.give_back(lease, by, now, None)
            if owed is LINGER:
                owed = self._linger(lease, generation, by)
            if type(owed) is Generation:
                self._stop(owed, by, report_errors=report_errors)
        except BaseException:
            self._mend(generation)
            raise
        finally:
            if machine.observed:
                self._tell_observers()
        return owed is not GONE

    def _linger(self, lease: Lease[T_co], generation: Generation[T_co], by: int) -> Next | Generation[T_co]:
        """Give `lease` back again, with an alarm that gets its hold."""
        owed: Next | Generation[T_co] = LINGER
        while owed is LINGER:
            now = clocks.clock.now()
            alarm = self._set_alarm(generation, now + self._machine.linger)
            owed = self._machine.give_back(lease, by, now, alarm)
            if generation.alarm is not alarm:
                alarm.cancel()
            elif self._slot is not None:
                self._slot.lingers(generation)
        return owed

    def _tell_observers(self) -> None:
        observers = self._observers
        if observers is not None:
            observers.tell(self._machine.noted)

    # Interrupts, and leases that were lost

    def _retract(self, lease: Lease[T_co], left: Generation[T_co] | None = None) -> None:
        """Leave nothing of an entry or a release (of `left`) that was cut short, wherever that was."""
        generation = left or lease._promised or lease._generation
        if generation is None:
            self._machine.sleepers.pop(lease, None)
            self._mend_mine()  # whose stop was just taken over; others may have left it behind since
            return
        machine, by = self._machine, 0
        try:
            by = get_ident()
            if lease._promised is not None:
                self._withdraw(lease, lease._promised, by)
            elif lease._generation is not None:
                self._give_back(lease, generation, by, report_errors=True)
            else:
                self._mend(generation)  # given back, but a stop may be owed, where the stack was full
        except BaseException:
            if generation in machine.working and machine.working[generation] == by:
                del machine.working[generation]
            registry.strays[lease] = partial(self._recover_later, generation)  # in case that the stack is full
            self._recover_later(generation, lease)
            del registry.strays[lease]
            raise

    def _withdraw(self, lease: Lease[T_co], generation: Generation[T_co], by: int) -> None:
        """Take back a promise; if it was the starter's, others take over the start, or what it has come to."""
        machine = self._machine
        self._leave_alone(generation, by)
        starter = generation.phase is STARTING and machine.working.get(generation) == by
        if starter and generation.life is not None and generation.life.gi_suspended:
            self._register(generation.life)
            owed = machine.started(lease, by)
            if type(owed) is Generation:
                self._stop(owed, by, report_errors=True)
        elif starter:
            generation.life = None
            machine.disown(generation, by)
        self._give_back(lease, generation, by, report_errors=True)
        if starter:
            self._ended()

    def _recover_later(self, generation: Generation[T_co], lease: Lease[T_co]) -> None:
        clocks.thread.lost(partial(self._recover, lease, generation))

    def _recover(self, lease: Lease[T_co], generation: Generation[T_co]) -> None:
        """Do in the timer thread what was interrupted twice."""
        self._give_back(lease, generation, report_errors=True)
        self._mend(generation)

    def _lose(self, lease: Lease[T_co]) -> None:
        """Have a lease given back that nobody can give back any more; in a finalizer, so no more than that."""
        if not sys.is_finalizing():
            clocks.thread.lost(partial(self._reclaim, lease))

    def _reclaim(self, lease: Lease[T_co]) -> None:
        generation = lease._promised or lease._generation
        try:
            if lease.held:
                text = f"a lease of {self.name} was never released{self._closed_by_collector(lease)}{lease._where()}"
                warnings.warn(text, ResourceWarning, stacklevel=2)
        finally:
            self._retract(lease)
            if generation is not None:
                self._mend(generation)  # its start may have been given up by who could wake nobody any more

    def _closed_by_collector(self, lease: Lease[T_co]) -> str:
        life = None if lease._generation is None else lease._generation.life
        if life is None or life.gi_frame is not None or life.gi_code in OUR_CODE:
            return ""  # it is up, or hooks are run all the same
        return (
            ", and what it was started with was garbage as well: the collector has closed it, so that of its stop only "
            "what stands in a `finally` has run"
        )


def _raise_failure(lease: Lease[object]) -> None:
    """Raise the error of the start that `lease` waited for, as it was when the starter got it."""
    generation = lease._promised
    assert generation is not None
    error, trace = generation.error, generation.trace
    del generation
    try:
        raise error.with_traceback(trace)
    finally:
        del error, trace  # they refer to this frame
