"""`TaskDriver`: the machine of one resource, driven by the tasks of those who come to it and go.

A cancellation finds a consumer asleep, and what that takes is one step, which awaits nothing: to give back what its
lease claims. Whether the consumer waits for the stop that it has made necessary is another matter.
"""
# pyright: reportPrivateUsage=false
# A lease and its driver are one thing; what they have of each other is private, since users have leases in their hands.

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakSet

from refcount._core.async_lease import AsyncLease, BlockLease
from refcount._core.async_openers import awaited
from refcount._core.async_stopping import AsyncStoppable, Visit
from refcount._core.clock import clocks
from refcount._core.generation import (
    AGAIN,
    CHECK,
    CLOSED,
    FAILED,
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
from refcount._core.keeper import Keeper
from refcount._core.loop import move_on_after
from refcount._core.loops import here, here_or_none
from refcount._core.machine import Machine
from refcount._core.registry import registry
from refcount._errors import ClosedError, ReentrantError, RefcountError, WrongLoopError

if TYPE_CHECKING:
    from refcount._core.async_openers import AsyncLife, AsyncOptions
    from refcount._core.generation import AsyncSlot
    from refcount._support.naming import Name

T_co = TypeVar("T_co", covariant=True)


class TaskDriver(AsyncStoppable[T_co], Generic[T_co]):
    """One resource, driven by tasks: the part of it that no user sees."""

    __slots__ = ()

    def _setup(
        self,
        lives: Callable[[], AsyncLife[T_co]],
        name: Name,
        options: AsyncOptions[T_co],
        slot: AsyncSlot | None = None,
    ) -> None:
        """Make it ready; `lives` makes what generations start and stop, `slot` is asked for a place before a start."""
        self._lives = lives
        self._name = name
        self._options = options
        self._slot = slot
        self._observers = None
        self._anonymous = []
        self._blocks = {}
        self._entered = slot.entered if slot is not None else {} if options.exclusive else None
        self._each = WeakSet()
        self._home = None
        self._visitors = 0
        blocks = options.on_failure == "cancel" or self._entered is not None
        kind: type[AsyncLease[T_co]] = BlockLease if blocks else AsyncLease
        self._new_lease = None if options.per_loop else kind
        self._forks = registry.forks
        self._machine = Machine(
            threading.Lock(),
            linger=options.linger,
            checked=options.check is not None,
            overlap=options.overlap,
            exclusive=options.exclusive,
        )

    # A consumer comes

    def _visit(self) -> Visit:
        return Visit(self)

    async def _admit(self, lease: AsyncLease[T_co], deadline: float | None) -> T_co:
        """Let `lease` hold the resource, whatever it takes: a start, a check, waiting for a stop."""
        machine, loop = self._machine, here()
        self._arrive(loop)
        try:
            by = loop.current_task()
            if machine.working:
                self._refuse_reentry("acquire", by)
            await self._let_in(lease, by, deadline)
        except BaseException:
            self._retract(lease)
            raise
        finally:
            self._depart(loop)
        if machine.observed:
            self._tell_observers()
        generation = lease._generation
        return lease.value if generation is None else generation.value

    # Loops of their own, as in `Schedule`.

    async def _let_in(self, lease: AsyncLease[T_co], by: object, deadline: float | None) -> None:
        step = self._machine.ask(lease, by)
        while step is not HELD:
            step = await self._follow(step, lease, by, deadline)

    def _join_running(self, lease: AsyncLease[T_co], by: object) -> Next | Generation[T_co]:
        machine, step = self._machine, AGAIN
        while step is AGAIN:
            current = machine.current
            if machine.closed or current is None or current.phase is not UP or current.condemned:
                break
            step = machine.join(lease, current, by)
        return step

    async def _admit_running(self, lease: AsyncLease[T_co]) -> bool:
        """Let `lease` hold the resource if it runs; say whether it does."""
        machine = self._machine
        with self._visit() as by:
            self._refuse_reentry("try_acquire", by)
            step = self._join_running(lease, by)
            if step is CHECK:
                try:
                    step = await self._check(lease, by)
                except BaseException:
                    self._retract(lease)
                    raise
            if step is not HELD and machine.closed:
                raise ClosedError(self._closed_text())
        if machine.observed:
            self._tell_observers()
        return step is HELD

    async def _follow(
        self, step: Next | Generation[T_co], lease: AsyncLease[T_co], by: object, deadline: float | None
    ) -> Next | Generation[T_co]:
        """Do what the machine asks of a consumer, and return what it asks next."""
        if step is WAIT:
            return await self._wait(lease, by, deadline)
        if step is CHECK:
            return await self._check_in_time(lease, by, deadline)
        if step is START:
            await self._start(lease, by, deadline)
        elif step is CLOSED:
            raise ClosedError(self._closed_text())
        elif step is FAILURE:
            _raise_failure(lease)
        elif type(step) is Generation:
            self._order_stop(step)
        return self._machine.ask(lease, by)

    async def _start(self, lease: AsyncLease[T_co], by: object, deadline: float | None) -> None:
        """Have the generation's own task start it."""
        generation, loop, machine = lease._promised, here(), self._machine
        assert generation is not None  # `START` is said only of one that was promised
        generation.home, generation.token = loop, loop.token
        if machine.linger:
            clock = None if clocks.clock is clocks.thread else clocks.clock  # a test's
            generation.clock, generation.now = clock, loop.now if clock is None else clock.now
        try:
            if self._slot is not None:
                await self._take_slot(self._slot, generation, by, deadline)
            if generation.phase is STARTING:
                registry.forkables.add(loop)
                keeper = Keeper(self, generation, loop)
                generation.keeper = keeper
                with machine.lock:
                    machine.working[generation] = keeper.task
        except BaseException:
            machine.disown(generation, by)
            raise

    async def _take_slot(
        self, slot: AsyncSlot, generation: Generation[T_co], by: object, deadline: float | None
    ) -> None:
        try:
            await slot.enter(generation, by, deadline)
        finally:
            if generation.given_up or generation.phase is not STARTING:
                slot.leave(generation)  # while it waited

    async def _wait(self, lease: AsyncLease[T_co], by: object, deadline: float | None) -> Next | Generation[T_co]:
        """Sleep until woken, and ask again."""
        lease._sleeper = sleeper = here().sleeper()
        if deadline is None and self._options.exclusive:
            self._refuse_to_wait_for_itself(by)
        woken = await sleeper.sleep(deadline)
        step = self._machine.ask(lease, by)
        if step is WAIT and not woken:
            current = self._machine.current
            what = self.name if current is not None else f"the generation of {self.name} before"
            state = "held" if current is None else self._machine.state.value
            raise TimeoutError(f"{what} was still {state} when the timeout was over")
        return step

    def _refuse_to_wait_for_itself(self, by: object) -> None:
        """Raise `ReentrantError` if it is this task whose with-block keeps the generation before up."""
        entered = () if self._entered is None else self._entered.copy().values()
        if any(is_inside(mark, [by]) for mark in entered):
            raise ReentrantError(
                f"acquire of {self.name} inside a with-block on its generation before would wait for itself"
            )

    async def _check_in_time(self, lease: AsyncLease[T_co], by: object, deadline: float | None) -> Next:
        if deadline is None:
            return await self._check(lease, by)
        with move_on_after(deadline - here().now()):
            return await self._check(lease, by)
        raise TimeoutError(f"{self.name} was still being checked when the timeout was over")

    async def _check(self, lease: AsyncLease[T_co], by: object) -> Next:
        generation, check = lease._promised, self._options.check
        assert generation is not None  # `CHECK` is said only of one that was promised,
        assert check is not None  # and only where there is a check
        try:
            good = bool(await awaited(check(generation.value)))
        except Exception as error:
            here().report(error, f"the check of {self.name}, generation {generation.number}")
            good = False
        if good:
            step = self._machine.accept(lease)
            if step is HELD:
                return HELD
        else:
            step = AGAIN
            self._condemn(generation)
        self._give_back(lease, generation)
        return step

    # A consumer goes

    def _give_back(self, lease: AsyncLease[T_co], generation: Generation[T_co]) -> Next | Generation[T_co]:
        """Take back what `lease` claims of `generation`, and see that what follows is done; return what was owed."""
        machine, by = self._machine, self._owner(generation)
        now = self._now(generation)
        owed = machine.give_back(lease, by, now, None)
        while owed is LINGER:
            alarm = self._set_alarm(generation, now + machine.linger)
            owed = machine.give_back(lease, by, now, alarm)
            if generation.alarm is not alarm:
                alarm.cancel()
            elif self._slot is not None:
                self._slot.lingers(generation)
        if type(owed) is Generation:
            self._order_stop(owed)
        elif generation.phase is FAILED and not generation.count:
            del generation.error, generation.trace  # all have had it, and its frames have the generation
        if machine.observed:
            self._tell_observers()
        return owed

    async def _leave(self, lease: AsyncLease[T_co], generation: Generation[T_co]) -> bool:
        """Give `lease` back, and wait for the stop that this makes necessary; say whether it was held."""
        home = generation.home
        if home is None or home.runs_here or home.closed:
            owed = self._give_back(lease, generation)
        elif here_or_none() is None:  # a coroutine is closed late, where no loop runs
            self._lose(lease)
            return True
        else:
            raise WrongLoopError(f"{lease!r} belongs to another event loop, and cannot be given back in this one")
        if type(owed) is Generation and owed.keeper is not None and home is not None and home.runs_here:
            await owed.keeper.outcome()
        return owed is not GONE

    async def _leave_broken(self, lease: AsyncLease[T_co], generation: Generation[T_co]) -> None:
        """Give back a lease whose with-block was cancelled because what it holds has failed, and raise that.

        Raises:
            BaseException: What it has failed with.
        """
        keeper, task = generation.keeper, here().current_task()
        self._give_back(lease, generation)
        left = [block for block in self._blocks.values() if block.generation is generation]
        if any(block.task is task for block in left):
            return  # it is inside of another one, which was cancelled as well, and raises it
        if generation.phase is UP and not left:
            self._expel(generation)  # all that is left are leases without a with-block
        if keeper is not None:
            await keeper.outcome()
        raise RefcountError(f"{self.name}, generation {generation.number}, has ended while it was held")

    def _retract(self, lease: AsyncLease[T_co]) -> None:
        """Leave nothing of an entry that was cut short, wherever that was."""
        generation = lease._promised or lease._generation
        if generation is None:
            self._machine.sleepers.pop(lease, None)
        elif generation.home is None or generation.home.runs_here:
            self._give_back(lease, generation)
        else:  # a coroutine is closed late, by whoever drops it
            self._lose(lease)
            return
        if generation is not None and generation.phase is STARTING and generation not in self._machine.working:
            self._wake_sleepers()  # somebody else is to take over

    def _lose(self, lease: AsyncLease[T_co]) -> None:
        """Have a lease given back that nobody can give back any more; in a finalizer, so no more than that."""
        generation = lease._promised or lease._generation
        if generation is not None and generation.home is not None:
            generation.home.call_soon(partial(self._reclaim, lease))

    def _reclaim(self, lease: AsyncLease[T_co]) -> None:
        generation = lease._generation
        if generation is not None and lease.held:
            self._warn(f"a lease of {self.name} was never released{lease._where()}", generation)
        self._retract(lease)


def _raise_failure(lease: AsyncLease[object]) -> None:
    """Raise the error of the start that `lease` waited for, as it was when the start raised it."""
    generation = lease._promised
    assert generation is not None
    error, trace = generation.error, generation.trace
    del generation
    try:
        raise error.with_traceback(trace)
    finally:
        del error, trace  # they refer to this frame
