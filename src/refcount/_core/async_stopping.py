"""`AsyncStoppable`: everything about one resource for tasks that needs no lease: where it lives, how it stops and ends.

All of a resource's tasks are in one event loop, so that between two awaits nobody comes in between: every step is
followed by all that it owes, and only to wait for something is awaited. Starts and stops are run by the generation's
own task, its `Keeper`; who makes it owe one tells it, and may wait for the outcome.

The machine's lock is one for threads all the same: two loops may ask for an idle resource at once, and anybody may
look. Each generation knows its loop, and nobody from another one gets it.
"""
# pyright: reportPrivateUsage=false
# What sleepers and machines have of each other is private because users have leases, which sleep, in their hands.

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from refcount._core.generation import FORGOTTEN, STARTING, STOPPED, UP, Alarm, FiredAlarm, Generation
from refcount._core.loop import Loop
from refcount._core.loops import here, here_or_none
from refcount._core.machine import Machine
from refcount._core.registry import registry
from refcount._core.resource import Resource
from refcount._core.watching import TaskAlarm, Watcher
from refcount._errors import ReentrantError, RefcountError, WrongLoopError
from refcount._support.reporting import logger, note

if TYPE_CHECKING:
    from refcount._core.async_lease import AsyncLease, Block
    from refcount._core.async_openers import AsyncLife, AsyncOptions
    from refcount._core.async_shared import AsyncSharedResource
    from refcount._core.generation import AsyncSlot
    from refcount._core.keeper import Keeper

T_co = TypeVar("T_co", covariant=True)


class _Nowhere(Loop):
    """Stands for the event loop of a thread that is in none."""

    @property
    def closed(self) -> bool:
        return False

    def current_task(self) -> object:
        return None


NOWHERE = _Nowhere()


class Visit:
    """The time in which a task uses a resource, and no other loop can have it; a context manager that gives the task.

    Where no event loop runs, nobody but this thread can have it meanwhile, and it must be idle.
    """

    __slots__ = ("_driver", "_loop")

    def __init__(self, driver: AsyncStoppable[Any]) -> None:
        self._driver = driver
        self._loop = here_or_none() or NOWHERE

    def __enter__(self) -> object:
        self._driver._arrive(self._loop)
        return self._loop.current_task()

    def __exit__(self, *_: object) -> None:
        self._driver._depart(self._loop)


class AsyncStoppable(Resource[T_co], Generic[T_co]):
    """One resource, driven by tasks, less its consumers."""

    __slots__ = (
        "_anonymous",
        "_blocks",
        "_each",
        "_home",
        "_lives",
        "_new_lease",
        "_options",
        "_slot",
        "_visitors",
    )

    _anonymous: list[AsyncLease[T_co]]
    _blocks: dict[int, Block]
    _each: WeakSet[AsyncSharedResource[T_co]]
    _home: Loop | None
    _lives: Callable[[], AsyncLife[T_co]]
    _new_lease: type[AsyncLease[T_co]] | None
    _options: AsyncOptions[T_co]
    _slot: AsyncSlot | None
    _visitors: int

    # Where it is used

    def _seen(self) -> Machine[T_co]:
        """Return the machine to look at, which may be the parent process's no longer."""
        if self._forks != registry.forks:
            self._reset_after_fork()
        return self._machine

    def _arrive(self, loop: Loop) -> None:
        """Let the running task use the resource, in `loop`, until it departs.

        Raises:
            WrongLoopError: It is up, or being used, in another loop that is not over.
        """
        if self._forks != registry.forks:
            self._reset_after_fork()
        while (home := self._settle(loop)) is not loop:
            if home is NOWHERE:
                sleep(0)  # another thread is about to depart
            else:
                self._leave_behind(home)

    def _settle(self, loop: Loop) -> Loop | None:
        """Let the resource be used in `loop` if that may be; return where it is used."""
        machine = self._machine
        with machine.lock:
            if not self._visitors and machine.current is None and not machine.detached:
                self._home = loop
            home = self._home
            self._visitors += home is loop
        return home

    def _depart(self, loop: Loop) -> None:
        with self._machine.lock:
            self._visitors -= self._home is loop  # else that was over, and the resource was used elsewhere since

    def _leave_behind(self, home: Loop | None) -> None:
        """Abandon what is up in a loop that is over.

        Raises:
            WrongLoopError: It is not over.
        """
        if home is None or not home.closed:
            raise WrongLoopError(
                f"{self.name} is {self._machine.state.value} in another event loop, and cannot be used here "
                "before it is idle; with per_loop=True, each loop has its own"
            )
        machine = self._machine
        for generation in machine.generations:
            if generation.home is not home:
                continue  # another loop was faster
            up = generation.phase is not STOPPED
            if self._abandon(generation) and up:
                text = "was abandoned: its event loop was closed while it was up, so that nothing can stop it any more"
                self._warn(f"{self.name}, generation {generation.number}, {text}", generation, 6)
        self._anonymous = [lease for lease in self._anonymous if lease.held]
        with machine.lock:
            if self._home is home:
                self._visitors = 0
                machine.sleepers.clear()
                machine.working.clear()

    def _reset_after_fork(self) -> None:
        """Begin anew in a forked child; what runs for the parent must never be left here."""
        for generation in self._machine.generations:
            generation.phase = FORGOTTEN
            generation.quick = False
            registry.keep_for_ever(generation)
        self._machine.reset(threading.Lock())
        self._anonymous = []
        self._blocks = {}
        self._visitors = 0
        if self._entered is not None:
            self._entered.clear()
        if self._observers is not None:
            self._observers.reset()
        self._forks = registry.forks

    def _refuse_reentry(self, what: str, by: object) -> None:
        """Raise `ReentrantError` inside a hook of this resource, where `what` would wait for itself."""
        if self._machine.works(by):
            number = self.generation  # not the thing itself, which may keep this very error, and with it this frame
            hook = "start, stop or check" + ("" if number is None else f" (generation {number})")
            raise ReentrantError(f"{what} of {self.name} inside its own {hook} would wait for itself")

    # Starting

    def _started(self, generation: Generation[T_co]) -> None:
        """The start is done: everybody who waits may have it, or it is to be stopped at once if nobody does."""
        self._machine.launched(generation)
        self._wake_sleepers()

    def _start_failed(self, generation: Generation[T_co], error: BaseException) -> None:
        """The start has raised, or was cancelled: tell everybody who waits for it, or the logger if nobody does."""
        machine, home = self._machine, generation.home
        assert home is not None  # it is where the start has run
        wanted = generation.phase is STARTING
        if home.is_cancellation(error):
            # Nobody who waits was cancelled, and asyncio would take what they raise for that.
            text = f"the start of {self.name}, generation {generation.number}, was cancelled from inside"
            error = RefcountError(text).with_traceback(error.__traceback__)
        else:
            note(error, f"while starting {self.name}, generation {generation.number}")
            if not wanted:
                home.report(error, f"the start of {self.name}, generation {generation.number}, which nobody awaits")
        if self._slot is not None:
            self._slot.leave(generation)
        machine.failed(generation, error, error.__traceback__)
        machine.stopped(generation)
        self._wake_sleepers()

    # Stopping

    def _order_stop(self, generation: Generation[T_co]) -> None:
        """See that the stop is run that somebody has made the generation's own task owe."""
        if generation.keeper is None:  # nothing of it was started yet
            self._finished(generation)
        else:
            generation.keeper.order_stop()

    def _owner(self, generation: Generation[T_co]) -> object:
        """Return who is to stop `generation`: its own task, and whoever it is if it has none."""
        return self if generation.keeper is None else generation.keeper.task

    def _stop_failed(self, generation: Generation[T_co], error: BaseException, *, late: bool) -> BaseException:
        """Return what is told of a stop that has raised; `late` says whether its time had run out."""
        assert generation.home is not None
        if not generation.home.is_cancellation(error):
            note(error, f"while stopping {self.name}, generation {generation.number}")
            return error
        what, trace = f"the stop of {self.name}, generation {generation.number},", error.__traceback__
        if late:
            return TimeoutError(f"{what} did not end within {self._options.stop_timeout} s").with_traceback(trace)
        return RefcountError(f"{what} was cancelled from inside").with_traceback(trace)  # nobody who waits was

    def _finished(self, generation: Generation[T_co]) -> None:
        """The stop is over, well or badly."""
        if self._slot is not None:
            self._slot.leave(generation)
        self._machine.stopped(generation)
        if generation.alarm is not None:
            generation.alarm.cancel()
        self._wake_sleepers()

    def _wake_sleepers(self) -> None:
        for hold in self._machine.sleepers.copy():
            hold._wake()

    def _tell_observers(self) -> None:
        if self._observers is not None:
            self._observers.tell(self._machine.noted)

    # Lingers

    def _set_alarm(self, generation: Generation[T_co], due: float) -> Alarm:
        """Have the linger of `generation` looked at when it is due."""
        loop, clock = generation.home, generation.clock
        assert loop is not None
        if loop.ending and self._options.at_exit == "stop":
            return FiredAlarm()
        look = partial(self._expire, generation)
        if clock is not None:
            return clock.at(due, lambda: look() if loop.runs_here else loop.call_soon(look))
        alarm = TaskAlarm(look)
        if due < math.inf:
            alarm.timer = loop.call_later(due - loop.now(), alarm.ring)
        return alarm

    def _now(self, generation: Generation[T_co]) -> float:
        """Return the time on the clock that its linger is measured on."""
        return 0.0 if generation.now is None else generation.now()

    def _expire(self, generation: Generation[T_co]) -> None:
        """Look whether the linger of `generation` is over; called by its alarm."""
        # An alarm that is never due goes off when its clock is left, and nothing lingers on that any more.
        now = self._now(generation) if self._machine.linger < math.inf else math.inf
        owed = self._machine.expire(generation, now, self._owner(generation))
        if isinstance(owed, Generation):
            self._order_stop(owed)
        elif owed is not None:
            generation.alarm = self._set_alarm(generation, owed)
            if generation.alarm.fired:
                self._flush_now()

    def _flush_now(self) -> Keeper[T_co] | None:
        """Order the stop of what lingers; return the task that runs it."""
        current = self._machine.current
        if current is None or self._machine.flush(self._owner(current)) is None:
            return None
        self._order_stop(current)
        return current.keeper

    # What comes from outside

    def _condemn(self, generation: Generation[T_co]) -> None:
        """Let no newcomer have `generation`; give up its start if that still runs, and stop it if nobody has it."""
        owed = self._machine.condemn(generation, self._owner(generation))
        if generation.alarm is not None:
            generation.alarm.cancel()
        if generation.given_up and self._slot is not None:
            self._slot.leave(generation)
        if owed is not None:
            self._order_stop(owed)
        self._wake_sleepers()

    def _broke(self, generation: Generation[T_co]) -> None:
        """Something inside the opener has failed while it is up: no newcomer gets it, and its holders are told."""
        self._condemn(generation)
        if generation.phase is not UP:
            return
        leases = self._machine.usecount
        logger.warning(
            "something inside of %s, generation %d, has failed or was cancelled while it is held (usecount %d)",
            self.name,
            generation.number,
            leases,
        )
        blocks = [block for block in self._blocks.values() if block.generation is generation]
        for block in blocks:
            block.scope.cancel()
        if self._options.on_failure == "cancel" and not blocks:
            self._expel(generation)

    def _end(self, generation: Generation[T_co]) -> None:
        """The event loop ends, and nobody is left who could give `generation` back: stop it, or leave it."""
        if self._options.at_exit == "leave":
            self._abandon(generation)
            return
        usecount = self._machine.usecount
        leases = "1 lease" if usecount == 1 else f"{usecount} leases"
        self._warn(f"{self.name} is still held at the end of its event loop, by {leases}", generation)
        self._expel(generation)

    def _warn(self, text: str, generation: Generation[T_co], level: int = 3) -> None:
        """Warn of something where nobody is to catch it, if a filter makes that an error."""
        try:
            warnings.warn(text, ResourceWarning, stacklevel=level)
        except Exception as error:
            assert generation.home is not None  # it was started
            generation.home.report(error, f"{self.name}, generation {generation.number}")

    def _expel(self, generation: Generation[T_co]) -> None:
        """Stop `generation` if it is up, whoever holds it."""
        if self._machine.expel(generation, self._owner(generation)):
            self._order_stop(generation)

    def _abandon(self, generation: Generation[T_co]) -> bool:
        """Take `generation` for gone, whatever becomes of it, and leave it as it is; say whether it was there."""
        registry.keep_for_ever(generation)
        return self._forget(generation)

    def _forget(self, generation: Generation[T_co]) -> bool:
        found = self._machine.forget(generation)
        if generation.alarm is not None:
            generation.alarm.cancel()
        if self._slot is not None:
            self._slot.leave(generation)
        keeper = generation.keeper
        if keeper is not None and generation.home is not None and not generation.home.closed:
            keeper.forgotten()
        self._wake_sleepers()
        self._tell_observers()
        return found

    async def _wait_until(self, reached: Callable[[], bool], deadline: float | None) -> bool:
        """Sleep until something is true of the machine, and say whether that came before `deadline`."""
        watcher: Watcher[T_co] = Watcher(here())
        self._machine.sleepers[watcher] = None
        try:
            return await watcher.watch(reached, deadline)
        finally:
            self._machine.sleepers.pop(watcher, None)
