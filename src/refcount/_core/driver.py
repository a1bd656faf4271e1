"""The threads' driver of the state machine: what `SharedResource` and `Lease` stand on.

Locks. Each resource has one lock; it guards its machine, and no hook, check or observer runs under it. A generation's
counter has a lock of its own, taken alone (on the hot paths) or under the resource's; so has an admission. The
timers' lock is taken under none.

Interrupts. Whatever a thread owes (a stop it is to make, a start it was to make, a lease it was granted) stands in
the machine and in the generation's `Life`, never in its local variables alone. So everything that changes something
reads "do it; on any error do what is owed, and re-raise", and doing it twice is harmless.
"""

import contextlib
import math
import sys
import warnings
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import monotonic
from typing import Generic, Protocol, TypeVar
from weakref import ref

from refcount._core.bell import Bell
from refcount._core.generation import Answer, Generation, Phase, Waiter
from refcount._core.holds import Hold
from refcount._core.life import Life
from refcount._core.lifecycle import Lifecycle, State
from refcount._core.locks import Guard, in_a_step
from refcount._core.observers import Observer, Observers
from refcount._core.openers import Opener
from refcount._core.process import process
from refcount._core.timers import clocks
from refcount._errors import ReentrantError, RefcountError
from refcount._support.reporting import note, report

R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Admission(Protocol):
    """Asked before an idle resource starts, told when it is idle again: how the floor above bounds capacity."""

    def enter(self, deadline: float | None) -> None:
        """Return when the resource may start.

        Raises:
            CapacityError: It may not.
            TimeoutError: `monotonic()` has passed `deadline`.
        """
        ...

    def leave(self) -> None:
        """The resource is idle. Called under its lock, so it must not wait; harmless when it has not entered."""
        ...

    def wake(self) -> None:
        """The resource was closed by force: whoever waits in `enter` shall look again. Called under its lock."""
        ...

    def rest(self, resting: bool, *, anew: bool = False) -> None:
        """The resource lingers, perhaps `anew`, or does not. Called under its lock, and often for no change."""
        ...


class ThreadWaiter(Waiter[T]):
    """A thread at the door."""

    __slots__ = ("_bell",)

    def __init__(self, hold: Hold[Generation[T]]) -> None:
        super().__init__(hold, get_ident())
        self._bell = Bell()

    def wake(self) -> None:
        """Let `sleep` return."""
        self._bell.ring()

    def sleep(self, deadline: float | None) -> bool:
        """Wait to be woken; say whether that came before `deadline`."""
        return self._bell.sleep(deadline)


class Driver(Generic[T_co]):
    """One resource, driven by the threads of those who use it.

    Args:
        opener: Starts and stops it.
        name: Names it in errors, warnings and reports.
        linger: Seconds that it stays up after its last lease.
        check: Asked before a value that is up is handed to a newcomer.
        overlap: Whether a newcomer starts anew while the old generation stops.
        admission: Asked before it starts from idle.
        owner: The face that its users know; kept alive while the resource is not idle.
    """

    def __init__(
        self,
        opener: Opener[T_co],
        name: str,
        *,
        linger: float,
        check: Callable[[T_co], bool] | None,
        overlap: bool,
        admission: Admission | None,
        owner: object,
    ) -> None:
        self.name = name
        self.linger = linger
        self._opener = opener
        self._check = check
        self._overlap = overlap
        self._admission = admission
        self._owner = ref(owner)
        self._observers = Observers(name)
        self._begin()
        process.forkables.add(self)

    def _begin(self) -> None:
        self._guard = Guard()
        self._watchers: tuple[Bell, ...] = ()
        self.machine: Lifecycle[T_co] = Lifecycle(
            self.name,
            lingers=self.linger > 0,
            checked=self._check is not None,
            overlap=self._overlap,
            note=self._observers.noted.append,
        )
        self.hot: Generation[T_co] | None = None
        """The generation that newcomers may enter by its counter alone."""

    def _locked(self, step: Callable[[], R]) -> R:
        if self._guard.mine():
            raise ReentrantError(f"{self.name} was used by a finalizer or signal handler in the middle of another use")
        return self._guard.run(step)

    # What can be seen, without the lock: a look must not wait, be it a debugger's or a log's of a thread that is stuck

    @property
    def usecount(self) -> int:
        """How many leases are held."""
        return self.machine.usecount

    @property
    def state(self) -> State:
        """What the resource is doing."""
        return self.machine.state

    @property
    def generation(self) -> int | None:
        """The number of the current generation, if there is one."""
        current = self.machine.current
        return None if current is None else current.number

    @property
    def closed(self) -> bool:
        """Whether newcomers are refused for good."""
        return self.machine.closed

    @property
    def forced(self) -> bool:
        """Whether it was closed by force."""
        return self.machine.forced

    @property
    def works_here(self) -> bool:
        """Whether this thread is inside a hook of the resource; that changes in this thread alone."""
        return any(generation.works_for(get_ident()) for generation in self.machine.generations)

    # Consumers

    def admit(self, lease: Hold[Generation[T_co]], timeout: float | None) -> None:
        """Let `lease` hold the resource, whatever it takes: a start, a check, waiting for another thread's hook."""
        generation = self.hot
        if generation is not None and generation.inc_not_zero_by(lease):
            return
        deadline = None if timeout is None else monotonic() + timeout
        waiter = ThreadWaiter(lease)
        try:
            self._locked(lambda: self.machine.acquire(waiter))
            self._follow(waiter, deadline)
        except BaseException:
            self._withdraw(waiter)
            raise

    def admit_running(self, lease: Hold[Generation[T_co]]) -> bool:
        """Let `lease` hold the resource if it runs; say whether it did."""
        waiter = ThreadWaiter(lease)
        try:
            found = self._locked(lambda: self.machine.try_acquire(waiter))
            return found and self._follow(waiter, None, starts=False)
        except BaseException:
            self._withdraw(waiter)
            raise

    def give_back(self, lease: Hold[Generation[T_co]], *, hushed: bool = False) -> bool:
        """Release `lease` if it is held, and do what this thread owes; say whether this call released it."""
        if sys.is_finalizing():
            return False  # all is stopped, and a thread that was killed may hold the lock for ever
        if in_a_step():  # of any resource: in a user's finalizer, which the collector runs in the middle of it
            held = lease.counter is not None
            clocks.thread.lost(lambda: self.do(lambda by: self.machine.release(lease, by), hushed=True))
            return held
        released = self._locked(lambda: self.machine.release(lease, get_ident()))
        self._settle(hushed=hushed)
        return released

    def reclaim(self, lease: Hold[Generation[T_co]], where: str) -> None:
        """Release a lease that was garbage-collected while held; in the timer thread."""
        try:
            warnings.warn(f"a lease of {self.name} was never released{where}", ResourceWarning, stacklevel=2)
        finally:
            self.do(lambda by: self.machine.release(lease, by), hushed=True)

    def _follow(self, waiter: ThreadWaiter[T_co], deadline: float | None, *, starts: bool = True) -> bool:
        """Do what the machine asks of `waiter` until it holds; without `starts`, withdraw rather than start or wait."""
        try:
            while (answer := self._ask(waiter)) is not Answer.HELD:
                if answer is Answer.CHECK:
                    self._check_for(waiter)
                elif not starts:
                    self._withdraw(waiter)
                    return False
                elif answer is Answer.START:
                    self._start_for(waiter, deadline)
                elif not waiter.sleep(deadline) and waiter.answer is Answer.WAIT:
                    raise TimeoutError(f"{self.name} was still {self.state.value} when the timeout was over")
        except Exception:
            self._withdraw(waiter)  # here, where the caller does it once more if an interrupt comes meanwhile
            raise
        return True

    def _ask(self, waiter: ThreadWaiter[T_co]) -> Answer:
        """Do what this thread owes and return what `waiter` is to do, or raise what it was refused with."""
        self._settle(hushed=True)
        answer = self._locked(lambda: waiter.answer)
        if waiter.error is not None:
            error, waiter.error = waiter.error, None
            try:
                raise error
            finally:
                del error  # else it would keep its own frames alive
        return answer

    def _start_for(self, waiter: ThreadWaiter[T_co], deadline: float | None) -> None:
        generation = waiter.generation
        assert generation is not None  # `START` is answered only for one
        if self._admission is not None:
            self._admission.enter(deadline)
        generation.life = life = Life(generation, self._opener, self.name)
        try:
            life.begin()
        except Exception as error:
            note(error, f"while starting {self.name}, generation {generation.number}")
            self._locked(partial(self.machine.start_failed, generation, error, waiter.by))
        else:
            process.enter(self, self._owner())  # again, so that it is younger than what it has acquired in its start
            self._locked(lambda: self.machine.started(generation, waiter.by))

    def _check_for(self, waiter: ThreadWaiter[T_co]) -> None:
        generation, check = waiter.generation, self._check
        assert generation is not None  # `CHECK` is answered only for one,
        assert check is not None  # and only where there is a check
        try:
            good = bool(check(generation.value))
        except Exception as error:
            report(error, f"the check of {self.name}, generation {generation.number}")
            good = False
        self._locked(lambda: self.machine.checked_out(waiter, good))

    def _withdraw(self, waiter: ThreadWaiter[T_co]) -> None:
        """Leave nothing of a `waiter` that was interrupted anywhere, not even a start made but not reported."""
        generation = waiter.generation
        if generation is not None and waiter.answer is Answer.START:
            self._undo_start(generation)
        self._locked(lambda: self.machine.withdraw(waiter))
        self._settle(hushed=True)

    def _undo_start(self, generation: Generation[T_co]) -> None:
        try:
            if generation.life is not None:
                generation.life.end()
        except Exception as error:
            report(error, f"the stop of {self.name}, generation {generation.number}")

    # What a thread owes

    def do(self, event: Callable[[int], object], *, hushed: bool = False) -> None:
        """Let `event` happen to the machine, and do what follows from it."""
        try:
            self._locked(lambda: event(get_ident()))
            self._settle(hushed=hushed)
        except BaseException:
            self._settle(hushed=True)
            raise

    def _settle(self, *, hushed: bool = False) -> None:
        """Do what the machine leaves to this thread until nothing is left: stop what is to stop, time what lingers.

        Args:
            hushed: Report the error of a stop instead of raising it, where it is none of the caller's making.
        """
        while True:
            job, untimed = self._locked(self._find_work)
            if job is not None:
                self._stop(job, hushed=hushed)
            elif untimed is None or not self._time(untimed):
                break
        # Looked at without the lock: whoever notes a change after this look settles after that.
        while self._observers.owed and (telling := self._locked(self._observers.begin_round)) is not None:
            next(telling)

    def _find_work(self) -> tuple[Generation[T_co] | None, Generation[T_co] | None]:
        """Return a generation that this thread is to stop, and one that needs a timer; under the lock."""
        me = get_ident()
        if process.ending:
            self.machine.lingers = False
        self.machine.settle(me)
        self._publish()
        job = next((job for job in self.machine.jobs(me) if job.life is None or not job.life.running), None)
        return job, self.machine.untimed

    def _publish(self) -> None:
        """Show what the machine has come to; under the lock."""
        self.hot = self.machine.hot
        for watcher in self._watchers:
            watcher.ring()
        if self.machine.idle:
            process.leave(self)
        elif self not in process:
            process.enter(self, self._owner())
        if self._admission is not None:
            self._admission.rest(self._rests)
            if self.machine.forced:
                self._admission.wake()
            if self.machine.idle:
                self._admission.leave()

    @property
    def _rests(self) -> bool:
        """Whether it would be idle if what lingers were stopped."""
        return self.machine.resting is not None and not self.machine.detached

    def _stop(self, generation: Generation[T_co], *, hushed: bool) -> None:
        over = partial(self.machine.stopped, generation, get_ident())
        if generation.timer is not None:
            generation.timer.cancel()  # it may be due much later, and would keep the value until then
        try:
            if generation.life is not None:
                generation.life.end()
        except Exception as error:
            note(error, f"while stopping {self.name}, generation {generation.number}")
            self._locked(over)
            if not hushed:
                raise
            report(error, f"the stop of {self.name}, generation {generation.number}")
        else:
            self._locked(over)

    # Closing and waiting

    def close(self, timeout: float | None, *, force: bool) -> None:
        """Refuse newcomers and wait until nothing runs; raise what a stop raised only then."""
        self.refuse_reentry("close")
        try:
            self.shut(force=force)
        except Exception:
            self.wait_quiet(timeout)
            raise
        self.wait_quiet(timeout)

    def shut(self, *, force: bool) -> None:
        """Refuse newcomers, and wait for nobody."""
        self.do(lambda by: self.machine.close(by, force=force))

    def invalidate(self) -> None:
        """Let nobody else have the current generation."""
        self.do(self.machine.invalidate)

    def flush(self, *, hushed: bool = False) -> None:
        """Stop what lingers now."""
        self.do(self.machine.flush, hushed=hushed)

    def refuse_reentry(self, what: str) -> None:
        """Raise `ReentrantError` inside a hook of this resource, where `what` would wait for itself."""
        self._locked(lambda: self.machine.refuse_reentry(get_ident(), what))

    def wait_quiet(self, timeout: float | None) -> None:
        """Wait until nothing runs; raise `TimeoutError` after `timeout` seconds."""
        if not self._wait_until(lambda: self.machine.quiet, timeout):
            raise TimeoutError(f"{self.name} still ran after {timeout} s, with usecount {self.machine.usecount}")

    def _wait_until(self, reached: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for something to become true of the machine; say whether it did within `timeout` seconds."""
        deadline = None if timeout is None else monotonic() + timeout
        bell = Bell()
        try:
            self._locked(lambda: self._watch((*self._watchers, bell)))
            return self._sleep_until(reached, bell, deadline)
        finally:
            self._locked(lambda: self._watch(tuple(other for other in self._watchers if other is not bell)))

    def _sleep_until(self, reached: Callable[[], bool], bell: Bell, deadline: float | None) -> bool:
        # A function of its own: on CPython 3.12 and 3.13 an interrupt on the way back to a `while` that ends the body
        # of a `try` leaves it without its `finally`.
        while not self._locked(reached):
            if not bell.sleep(deadline):
                return self._locked(reached)
        return True

    def _watch(self, watchers: tuple[Bell, ...]) -> None:
        self._watchers = watchers

    # Linger

    def touch(self) -> None:
        """Let the linger begin anew."""
        deadline = clocks.clock.now() + self.linger

        def touch(by: int) -> None:
            self.machine.touch(deadline, by)
            if self._admission is not None:
                self._admission.rest(self._rests, anew=True)

        self.do(touch)

    def _time(self, generation: Generation[T_co]) -> bool:
        """Set a timer for a generation that lingers; say whether there may be more to do."""
        deadline = self._locked(lambda: self.machine.begin_linger(generation, clocks.clock.now() + self.linger))
        if deadline == math.inf or (generation.timer is not None and not generation.timer.fired):
            return False  # an older timer is due no later, and sets another if it comes too early
        try:
            # An interrupt before the store leaves a timer too many, which is harmless; one too few would be a leak.
            generation.timer = clocks.clock.at(deadline, lambda: self._linger_over(generation))
            if generation.phase is not Phase.UP:
                generation.timer.cancel()  # stopped meanwhile, by a thread that did not see it
        except RuntimeError:  # no thread can be had: then it does not linger
            self._locked(lambda: self.machine.flush(get_ident()))
        return True

    def _linger_over(self, generation: Generation[T_co]) -> None:
        """A timer looks at a generation, which may have been used, touched or stopped since."""
        self.do(lambda by: self.machine.linger_over(generation, clocks.clock.now(), by), hushed=True)

    # Observers

    def observe(self, callback: Observer) -> Callable[[], None]:
        """Tell `callback` of every change until the function that this returns is called."""
        observer = partial(callback)  # one for each call, so that ending it ends no other
        owner = self._owner()  # whoever keeps the function that ends it keeps what is observed

        def add(by: int) -> None:
            self._observers.add(observer)
            self.machine.observe(True, by)

        def remove(by: int) -> None:
            self._observers.remove(observer)
            self.machine.observe(bool(self._observers), by)

        def end() -> None:
            if owner is not None:
                self.do(remove)

        try:
            self.do(add)
        except BaseException:
            end()  # nobody else could: the caller does not get it
            raise
        return end

    # The process

    def end_linger(self) -> None:
        """Have what lingers stopped now, as a job that is due."""
        with contextlib.suppress(RuntimeError):  # no thread can be had any more: the caller runs what is due
            clocks.thread.at(clocks.thread.now(), lambda: self.flush(hushed=True))

    def wait_unlinger(self) -> None:
        """Wait until no stop runs."""
        self._wait_until(lambda: all(g.phase is not Phase.STOPPING for g in self.machine.generations), None)

    def stop_at_exit(self) -> None:
        """Stop what is up, whoever holds it."""
        self.wait_unlinger()
        usecount = self.machine.usecount
        try:
            if usecount:
                leases = "1 lease" if usecount == 1 else f"{usecount} leases"
                warnings.warn(f"{self.name} is still held at exit, by {leases}", ResourceWarning, stacklevel=2)
        finally:
            self.do(self.machine.expel, hushed=True)

    def renew(self) -> list[object]:
        """Begin anew in a forked child; return what runs for the parent."""
        before, inherited = self.machine, self.machine.generations
        for generation in inherited:
            generation.disown()
            for waiter in generation.waiters:
                waiter.error = RefcountError(f"the process was forked while it waited for {self.name}")
        self._observers.renew()
        self._begin()
        self.machine.closed, self.machine.forced = before.closed, before.forced
        self.machine.observe(bool(self._observers), get_ident())
        return list(inherited)
