"""The life of a shared resource as a state machine: no threads, no clocks, no I/O.

A driver (threads in `_driver`, tasks later) holds one lock for each resource, calls one event of the machine under
it, and then does what `jobs`, `resting` and each waiter's `answer` ask for, outside the lock. The machine never calls
a user's code.

    generation   STARTING -> UP -> STOPPING -> STOPPED, or FAILED instead of UP when its start raised
    resource     current   the generation that newcomers get, or None
                 detached  those that only their holders still know
                 queue     newcomers who wait until the current one has stopped

How it survives an interrupt between any two lines: nothing that is owed lives in a local variable. An event only
commits a fact, in one store or one tuple assignment (CPython delivers signals at calls, function entries and backward
jumps, never between the stores of one statement), and `settle` derives what follows from the facts: grant waiters,
appoint a starter, stop what nobody needs. `settle` may be run again at any time and by anybody; whatever an
interrupted thread left undone, its own recovery or the next passer-by finds and finishes. How many leases are held is
a fact of the generation's counter alone, where the number and the mark on the lease change in one statement.
"""

import enum
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from refcount._core.generation import Generation, Phase, Waiter
from refcount._core.holds import Hold
from refcount._errors import ClosedError, ReentrantError
from refcount._support.public import public

T = TypeVar("T")


@public
class State(enum.Enum):
    """What a shared resource is doing; to look at, never to decide on, since the next moment may differ.

    Example:
        >>> from refcount import State
        >>> State.LINGERING.value
        'lingering'
    """

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    LINGERING = "lingering"
    STOPPING = "stopping"
    CLOSED = "closed"


class Lifecycle(Generic[T]):
    """The state machine of one resource. Every method is one event, called under the resource's lock.

    Args:
        name: Names the resource in errors.
        lingers: Whether a generation that nobody holds stays up until `linger_over`.
        checked: Whether a value that is up is checked before a newcomer gets it.
        overlap: Whether a newcomer starts a new generation while the old one stops.
        note: Told the usecount after each single step of it, while the machine is observed.
    """

    def __init__(
        self,
        name: str,
        *,
        lingers: bool = False,
        checked: bool = False,
        overlap: bool = False,
        note: Callable[[int], object] = lambda usecount: None,
    ) -> None:
        self.name = name
        self.lingers = lingers
        self.checked = checked
        self.overlap = overlap
        self.current: Generation[T] | None = None
        self.detached: list[Generation[T]] = []
        self.queue: deque[Waiter[T]] = deque()
        self.starts: int = 0
        self.closed: bool = False
        self.forced: bool = False
        self.observed: bool = False
        self._note = note
        self._noted = 0

    # What can be seen

    @property
    def generations(self) -> tuple[Generation[T], ...]:
        """All that are alive or still held, the current one last."""
        current = self.current
        detached = self.detached  # read last: one that is detached in between is met here, and not missed
        return (*detached,) if current is None or current in detached else (*detached, current)

    @property
    def usecount(self) -> int:
        """How many leases are held, those of detached generations included."""
        return sum(generation.usecount for generation in self.generations)

    @property
    def state(self) -> State:
        """What the resource is doing."""
        current = self.current
        phase = Phase.STOPPED if current is None else current.phase  # read once: who looks does not hold the lock
        if self.closed:
            return State.CLOSED
        if current is None or phase is Phase.STOPPED or phase is Phase.FAILED:
            return State.IDLE
        if phase is Phase.UP:
            return State.LINGERING if self.lingers and current.resting else State.RUNNING
        return State.STOPPING if phase is Phase.STOPPING else State.STARTING

    @property
    def quiet(self) -> bool:
        """Whether nothing of it runs, nor is about to."""
        return not self.queue and all(generation.phase is Phase.STOPPED for generation in self.generations)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember: it is quiet, and no lease of a generation stopped by force is left."""
        return not self.queue and not self.generations

    @property
    def hot(self) -> Generation[T] | None:
        """The generation that newcomers may enter by its counter alone.

        None while a start or stop of another generation runs, so that a hook which acquires its own resource is found
        out, and while somebody observes.
        """
        current = self.current
        if current is None or current.phase is not Phase.UP or self.closed or self.checked or self.observed:
            return None
        return None if any(generation.working for generation in self.detached) else current

    @property
    def resting(self) -> Generation[T] | None:
        """The generation that lingers, if there is one."""
        return self.current if self.current is not None and self.current.resting else None

    @property
    def untimed(self) -> Generation[T] | None:
        """The generation that lingers without a timer that will look at it, if there is one."""
        resting = self.resting
        if resting is None or (resting.deadline is not None and resting.timer is not None and not resting.timer.fired):
            return None
        return resting

    def jobs(self, by: object) -> list[Generation[T]]:
        """The generations that `by` is to stop."""
        return [
            generation
            for generation in self.generations
            if generation.phase is Phase.STOPPING and generation.worker == by
        ]

    def refuse_reentry(self, by: object, what: str) -> None:
        """Raise `ReentrantError` when `by` is inside a hook of this resource, where `what` would wait for itself."""
        for generation in self.generations:
            if generation.works_for(by):
                raise ReentrantError(
                    f"{what} of {self.name} inside its own start, stop or check (generation {generation.number}) "
                    "would wait for itself"
                )

    # Events

    def acquire(self, waiter: Waiter[T]) -> None:
        """A consumer comes; its `answer` says what it is to do.

        Raises:
            ReentrantError: It comes from inside one of this resource's own hooks.
            ClosedError: The resource is closed.
        """
        self.refuse_reentry(waiter.by, "acquire")
        if self.closed:
            raise self._closed_error()
        self._place(waiter)
        self.settle(waiter.by)

    def try_acquire(self, waiter: Waiter[T]) -> bool:
        """A consumer comes that wants only what is up already; say whether there is such a thing.

        Raises:
            ReentrantError: It comes from inside one of this resource's own hooks.
            ClosedError: The resource is closed.
        """
        self.refuse_reentry(waiter.by, "try_acquire")
        if self.closed:
            raise self._closed_error()
        if self.current is None or self.current.phase is not Phase.UP:
            return False
        self._place(waiter)
        self.settle(waiter.by)
        return True

    def started(self, generation: Generation[T], by: object) -> None:
        """The start of `generation` is done and its value is set; everyone who waits for it is let in."""
        generation.phase, generation.starter = Phase.UP, None
        self.settle(by)

    def start_failed(self, generation: Generation[T], error: BaseException, by: object) -> None:
        """The start raised `error`; everyone who waits for it gets that object."""
        generation.error, generation.phase, generation.starter = error, Phase.FAILED, None
        self.settle(by)

    def checked_out(self, waiter: Waiter[T], good: bool) -> None:
        """The value that `waiter` was to check is `good`, or not fit for anybody who comes from now on.

        Raises:
            ClosedError: The value cannot be had and the resource has been closed meanwhile.
        """
        generation = waiter.generation
        assert generation is not None  # `CHECK` is answered only for a generation
        fit = generation is self.current and generation.phase is Phase.UP and not generation.condemned
        joins = good and fit and not self.closed
        if joins:
            generation.waiters.append(waiter)
        elif not good and fit:
            self._condemn(generation)
        generation.checkers.remove(waiter)
        self.settle(waiter.by)
        if not joins:
            if self.closed:
                raise self._closed_error()
            self._place(waiter)
            self.settle(waiter.by)

    def withdraw(self, waiter: Waiter[T]) -> None:
        """A consumer goes, whatever it was waiting for or doing; the next one takes over a start it was to make."""
        generation = waiter.generation
        if generation is not None:
            if waiter in generation.waiters:
                generation.waiters.remove(waiter)
            if waiter in generation.checkers:
                generation.checkers.remove(waiter)
            if generation.starter is waiter:
                generation.starter = None
        if waiter in self.queue:
            self.queue.remove(waiter)
        self.release(waiter.hold, waiter.by)

    def release(self, hold: Hold[Generation[T]], by: object) -> bool:
        """Give back what `hold` holds, if anything; say whether this call did."""
        self._count_changed()  # what an interrupted thread has left unnoted, which would be merged with this
        released = hold.counter is not None and hold.counter.give(hold)
        self.settle(by)
        return released

    def stopped(self, generation: Generation[T], by: object) -> None:
        """The stop of `generation` is over, well or badly."""
        generation.phase = Phase.STOPPED
        self.settle(by)

    def begin_linger(self, generation: Generation[T], deadline: float) -> float:
        """A driver sets a timer; return when it is due: at `deadline`, or at the one that the linger has already."""
        if generation.deadline is None:
            generation.deadline = deadline
        return generation.deadline

    def linger_over(self, generation: Generation[T], now: float, by: object) -> None:
        """A timer looks at `generation`: it stops if it still rests and its deadline has come."""
        if generation.deadline is not None and generation.deadline <= now and generation.resting:
            self._end(generation, by)
        self.settle(by)

    def touch(self, deadline: float, by: object) -> None:
        """Let the linger begin anew."""
        if self.resting is not None:
            self.resting.deadline = deadline
        self.settle(by)

    def flush(self, by: object) -> None:
        """Stop what lingers now."""
        if self.resting is not None:
            self._end(self.resting, by)
        self.settle(by)

    def invalidate(self, by: object) -> None:
        """Let nobody else have the current generation; it stops when its holders have left, or now."""
        if self.current is not None:
            self._condemn(self.current)
        self.settle(by)

    def close(self, by: object, *, force: bool) -> None:
        """Refuse newcomers for good; with `force`, stop under the holders as well."""
        self.closed, self.forced = True, self.forced or force
        self.settle(by)

    def expel(self, by: object) -> None:
        """Stop everything that is up, whoever holds it."""
        for generation in self.generations:
            if generation.phase is Phase.UP:
                self._end(generation, by)
        self.settle(by)

    def observe(self, observed: bool, by: object) -> None:
        """Note every change from now on, or none any more. While observed, all counting goes through the machine."""
        if not observed:
            self.observed = False  # first, so that no hot path is open while it is observed
        for generation in self.generations:
            generation.set_hot(not observed)
        if observed and not self.observed:
            self._noted, self.observed = self.usecount, True
        self.settle(by)

    # What follows from the facts

    def settle(self, by: object) -> None:
        """Derive everything that follows. Harmless when repeated; `by` becomes the worker of a stop that is due."""
        self._count_changed()  # before anybody else is let in, which would be merged with it
        for generation in self.generations:
            self._settle_generation(generation, by)
        self._retire()
        if self.queue and self.closed:
            self._refuse(self.queue, self._closed_error)
        if self.queue and self.current is None:
            self._attempt(self.queue)
            self.settle(by)

    def _settle_generation(self, generation: Generation[T], by: object) -> None:
        if self.forced:
            self._refuse(generation.waiters, self._closed_error, spare=generation.starter)
        if generation.phase is Phase.STARTING:
            self._appoint(generation)
        if generation.phase is Phase.FAILED:
            self._refuse(generation.waiters, lambda: generation.error)
            generation.phase, generation.error = Phase.STOPPED, None
        if generation.phase is Phase.UP:
            self._grant(generation)
            unwanted = generation.condemned or self.closed or not self.lingers
            if (generation.resting and unwanted) or (self.forced and not generation.checkers):
                self._end(generation, by)

    def _appoint(self, generation: Generation[T]) -> None:
        """See that somebody makes the start, as long as anybody waits for it."""
        if generation.starter is None:
            if not generation.waiters:
                generation.phase = Phase.STOPPED
                return
            waiter = generation.waiters[0]
            generation.worker, generation.starter = waiter.by, waiter
        generation.starter.wake()

    def _grant(self, generation: Generation[T]) -> None:
        while generation.waiters:
            waiter = generation.waiters[0]
            if not waiter.granted:  # else it may have left again, before the one who was interrupted here comes back
                generation.deadline = None
                generation.take(waiter.hold)
                self._count_changed()
                waiter.granted = True
            waiter.wake()
            generation.waiters.popleft()

    def _refuse(
        self,
        waiters: deque[Waiter[T]],
        error: Callable[[], BaseException | None],
        *,
        spare: Waiter[T] | None = None,
    ) -> None:
        """Give every waiter an `error`, except the one that is making the start: it learns when the start is over."""
        for waiter in tuple(waiters):
            if waiter is not spare:
                waiter.error = error()
                waiter.wake()
                waiters.remove(waiter)

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"{self.name} is closed")

    def _place(self, waiter: Waiter[T]) -> None:
        """Put a newcomer where it belongs; `settle` does the rest."""
        self.settle(waiter.by)  # so that it joins nothing that an interrupted thread has left half over
        current = self.current
        leaving = current is not None and (current.condemned or current.phase is Phase.STOPPING)
        if current is not None and leaving and self.overlap:
            self._detach(current)
            current = None
        if current is None:
            self._attempt(deque((waiter,)))
        elif leaving:
            waiter.generation = None
            self.queue.append(waiter)
        else:
            waiter.generation = current
            (current.checkers if self.checked and current.phase is Phase.UP else current.waiters).append(waiter)

    def _attempt(self, waiters: deque[Waiter[T]]) -> None:
        """Begin a new generation for `waiters`."""
        generation = Generation(self.starts + 1, waiters)
        generation.set_hot(not self.observed)
        for waiter in waiters:
            waiter.generation = generation
        queue = deque[Waiter[T]]() if waiters is self.queue else self.queue
        self.current, self.starts, self.queue = generation, generation.number, queue

    def _condemn(self, generation: Generation[T]) -> None:
        """Let no newcomer have `generation`. One that nobody holds stays current while it stops: they wait for it."""
        held = generation.usecount or generation.waiters
        if generation.phase is Phase.STARTING or (generation.phase is Phase.UP and held):
            self._detach(generation)
        else:
            generation.condemned = True

    def _detach(self, generation: Generation[T]) -> None:
        generation.condemned, self.detached, self.current = True, [*self.detached, generation], None

    def _end(self, generation: Generation[T], by: object) -> None:
        generation.worker, generation.phase, generation.deadline = by, Phase.STOPPING, None

    def _retire(self) -> None:
        """Forget what has stopped; a generation that was stopped under its holders is counted until they leave."""
        if self.current is not None and self.current.phase is Phase.STOPPED:
            self._detach(self.current)
        over = [
            generation for generation in self.detached if generation.phase is Phase.STOPPED and not generation.usecount
        ]
        if over:
            self.detached = [generation for generation in self.detached if generation not in over]

    def _count_changed(self) -> None:
        """Note a change; called after each single step of the count, so that none is merged."""
        if self.observed and (usecount := self.usecount) != self._noted:
            # One line: an interrupt between the two would have it told twice, or not at all.
            self._noted = usecount; self._note(usecount)  # fmt: skip # noqa: E702
