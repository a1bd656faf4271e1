"""`ConsumerSteps`: how consumers come to a shared resource and go, without threads, tasks, clocks or hooks.

Every method that changes something is one step: a section under `lock` in which nothing is called and no container is
made. CPython delivers signals and runs finalizers only at calls, function entries and backward jumps (and 3.11 where
containers are made), so that a step happens as a whole or not at all, and the lock may be a plain one. What a step
needs is made before it; what is owed after it (a start, a check, a stop, a wait) is what it returns, and stands in the
state as well: who is interrupted on the way out leaves it to be found.

Waiters look for themselves: a driver asks `ask` again and again, runs what that returns, and sleeps where it says
`WAIT`. `sleepers` are to be woken after every step that may have changed their answer.
"""
# pyright: reportPrivateUsage=false
# What a hold claims is written here alone; it is private because users have leases, which are holds, in their hands.

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

from refcount._core.generation import (
    AGAIN,
    CHECK,
    CLOSED,
    FAILED,
    FAILURE,
    HELD,
    START,
    STARTING,
    STOPPED,
    STOPPING,
    UP,
    WAIT,
    Generation,
    Hold,
    Next,
    State,
)

T = TypeVar("T")

UNOBSERVED: dict[int, int] = {}
"""The notes of all machines that nobody has observed yet; nothing is ever noted there."""


class ConsumerSteps(Generic[T]):
    """The states and steps of one resource.

    Args:
        lock: Keeps others out of a step.
        linger: How long a generation stays up without leases, in the clock's seconds.
        checked: Whether a value that is up is checked before a newcomer gets it.
        overlap: Whether a newcomer does not wait for a stop that runs.
        exclusive: Whether a new generation waits until all older ones have stopped.

    Attributes:
        hot: The generation that newcomers may hold at once, or None.
        current: The generation that newcomers get, join or wait for.
        detached: Older ones that are not stopped, or still held.
        working: Who is inside a hook: the generation that starts or stops, or the hold that checks, and by whom.
        sleepers: Who waits to be woken, in order of coming.
        running: How many generations have begun and have neither ended nor been given up.
        notes: While observed, the usecount after each change, by its number; `noted` is the last number.
    """

    __slots__ = (
        "_elsewhere",
        "_seen",
        "checked",
        "closed",
        "current",
        "detached",
        "exclusive",
        "forced",
        "hot",
        "linger",
        "lock",
        "noted",
        "notes",
        "number",
        "observed",
        "overlap",
        "running",
        "sleepers",
        "working",
    )

    def __init__(
        self,
        lock: AbstractContextManager[object, None],
        *,
        linger: float = 0.0,
        checked: bool = False,
        overlap: bool = False,
        exclusive: bool = False,
    ) -> None:
        self.linger = linger
        self.checked = checked
        self.overlap = overlap
        self.exclusive = exclusive
        self.closed: bool = False
        self.forced: bool = False
        self.observed: bool = False
        self.number: int = 0
        self.noted: int = 0
        self.reset(lock)

    def reset(self, lock: AbstractContextManager[object, None]) -> None:
        """Begin anew, as in a forked child: nothing runs and nobody waits."""
        self.lock = lock
        self.hot: Generation[T] | None = None
        self.current: Generation[T] | None = None
        self.detached: dict[Generation[T], None] = {}
        self.working: dict[object, object] = {}
        self.sleepers: dict[Hold[T], None] = {}
        self.notes: dict[int, int] = {} if self.observed else UNOBSERVED
        self.running: int = 0
        self._elsewhere: int = 0
        self._seen: int = 0

    # What can be seen, without the lock: a look must not wait

    @property
    def generations(self) -> tuple[Generation[T], ...]:
        """Return all that are not stopped, or still held, the current one last."""
        current = self.current
        detached = self.detached.copy()
        return (*detached,) if current is None or current in detached else (*detached, current)

    @property
    def usecount(self) -> int:
        """Return how many leases are held, those of detached generations included."""
        return sum(map(self._leases, self.generations))

    def _leases(self, generation: Generation[T]) -> int:
        with self.lock:  # a short one: else a linger that ends meanwhile could show as a lease
            return generation.count - generation.waiters - generation.checks - generation.lingers

    @property
    def state(self) -> State:
        """Return what the resource is doing."""
        current = self.current
        if self.closed:
            return State.CLOSED
        if current is None:
            return State.IDLE
        phase = current.phase
        if phase is UP:
            return State.LINGERING if current.lingers and current.count == 1 else State.RUNNING
        return State.STARTING if phase is STARTING else State.STOPPING if phase is STOPPING else State.IDLE

    @property
    def idle(self) -> bool:
        """Return whether there is nothing to remember: nothing runs, and nothing that was stopped is still held."""
        return self.current is None and not self.detached

    def offers(self, generation: Generation[T]) -> bool:
        """Return whether newcomers get `generation`."""
        return generation is self.current and generation.phase is UP and not (generation.condemned or self.closed)

    def works(self, by: object) -> bool:
        """Return whether `by` is inside a start, a stop or a check of this resource; only `by` changes that."""
        return bool(self.working) and by in self.working.copy().values()

    # A consumer comes

    def ask(self, hold: Hold[T], by: object) -> Next | Generation[T]:
        """Say what the consumer behind `hold` is to do next, and do what can be done at once."""
        if hold._promised is not None:
            return self._look(hold, hold._promised, by)
        current = self.current
        if current is None:
            return self._begin(hold, by)
        if current.phase is STARTING:
            return self._promise(hold, current, by)
        if current.phase is UP and not current.condemned:
            return self.join(hold, current, by)
        return self._await_stop(hold, current, by)

    def _begin(self, hold: Hold[T], by: object) -> Next:
        """Begin a generation; `by` is to start it."""
        fresh: Generation[T] = Generation()
        with self.lock:
            if self.closed:
                return CLOSED
            if self.current is not None:
                return AGAIN
            if self.exclusive and self.running:
                self.sleepers[hold] = None
                return WAIT
            self.number = fresh.number = self.number + 1
            self.running += 1
            self.working[fresh] = by
            self.hot = None
            self.current = hold._promised = fresh
            if hold in self.sleepers:
                del self.sleepers[hold]
            return START

    def _promise(self, hold: Hold[T], current: Generation[T], by: object) -> Next:
        """Wait for a start, or take it over from somebody who gave it up."""
        with self.lock:
            if self.closed:
                return CLOSED
            if current is not self.current or current.phase is not STARTING:
                return AGAIN
            current.count += 1
            current.waiters += 1
            hold._promised = current
            if current in self.working:
                self.sleepers[hold] = None
                return WAIT
            self.working[current] = by
            if hold in self.sleepers:
                del self.sleepers[hold]
            return START

    def join(self, hold: Hold[T], current: Generation[T], by: object) -> Next:
        """Hold what is up, or check it first."""
        with self.lock:
            if self.closed:
                return CLOSED
            if current is not self.current or current.phase is not UP or current.condemned:
                return AGAIN
            if hold in self.sleepers:
                del self.sleepers[hold]
            current.count += 1
            if self.checked:
                current.checks += 1
                hold._promised = current
                self.working[hold] = by
                return CHECK
            hold._generation = current
            if self.observed:
                self._seen += 1
                self.noted += 1
                self.notes[self.noted] = self._seen
            return HELD

    def _await_stop(self, hold: Hold[T], current: Generation[T], by: object) -> Next | Generation[T]:
        """Wait until `current` has stopped; or leave it behind; or take over its stop from somebody who gave it up."""
        with self.lock:
            if self.closed:
                return CLOSED
            if current is not self.current or current.phase is STARTING:
                return AGAIN
            if current.phase is UP and not current.condemned:
                return AGAIN
            if current.phase is STOPPING and current not in self.working:
                self.working[current] = by
                return current
            if self.overlap:
                self.detached[current] = None
                self._elsewhere += current.count - current.waiters - current.checks - current.lingers
                self.current = None
                return AGAIN
            self.sleepers[hold] = None
            return WAIT

    def _look(self, hold: Hold[T], promised: Generation[T], by: object) -> Next:
        """See what has become of the generation that was promised to `hold`."""
        with self.lock:
            if self.forced:
                return CLOSED
            if promised.phase is STARTING and promised in self.working:
                self.sleepers[hold] = None
                return WAIT
            if hold in self.sleepers:
                del self.sleepers[hold]
            if promised.phase is STARTING:
                self.working[promised] = by
                self.hot = None  # it may be an older one than the current
                return START
            if promised.phase is FAILED:
                return FAILURE
            promised.waiters -= 1
            hold._promised = None
            if promised.phase is UP:
                hold._generation = promised
                if self.observed:
                    self._seen += 1
                    self.noted += 1
                    self.notes[self.noted] = self._seen
                if promised is not self.current:
                    self._elsewhere += 1
                return HELD
            promised.count -= 1
            if not promised.count and promised.phase is STOPPED and promised in self.detached:
                del self.detached[promised]
            return AGAIN

    # What was started, checked and stopped

    def started(self, hold: Hold[T], by: object) -> Next | Generation[T]:
        """The start of what was promised to `hold` is done and its value is there: everybody who waits may have it."""
        generation = hold._promised
        assert generation is not None
        with self.lock:
            if generation in self.working:
                del self.working[generation]
            hold._promised = None
            generation.waiters -= 1
            if generation.phase is not STARTING:
                generation.count -= 1
                return AGAIN
            if generation.given_up:
                self.running += 1
                generation.given_up = False
            if self.forced:
                generation.phase = STOPPING
                generation.count -= 1
                self.working[generation] = by
                return generation
            generation.phase = UP
            hold._generation = generation
            if generation is self.current:
                generation.quick = not self.observed
                if not (self.checked or self.observed or self.closed or self.working):
                    self.hot = generation
            else:
                self._elsewhere += 1
                current = self.current
                if current is not None and current.quick and not (self.checked or self.closed or self.working):
                    self.hot = current
            if self.observed:
                self._seen += 1
                self.noted += 1
                self.notes[self.noted] = self._seen
            return HELD

    def failed(
        self, generation: Generation[T], error: BaseException, trace: TracebackType | None, hold: Hold[T] | None = None
    ) -> None:
        """The start of `generation` raised `error`: everybody who waits gets that object; `hold`, its starter, has."""
        with self.lock:
            if generation in self.working:
                del self.working[generation]
            if hold is not None:
                hold._promised = None
                generation.waiters -= 1
                generation.count -= 1
            if generation.phase is STARTING:
                generation.error = error
                generation.trace = trace
                generation.phase = FAILED
                if not generation.given_up:
                    self.running -= 1
                if generation is self.current:
                    self.current = None
                elif generation in self.detached:
                    del self.detached[generation]
            current = self.current
            if current is not None and current.quick and not (self.checked or self.closed or self.working):
                self.hot = current

    def accept(self, hold: Hold[T]) -> Next:
        """The check of what was promised to `hold` said yes; if that is not to be had any more, it is to be left."""
        generation = hold._promised
        assert generation is not None
        with self.lock:
            if self.closed:
                return CLOSED
            if generation is not self.current or generation.phase is not UP or generation.condemned:
                return AGAIN
            if hold in self.working:
                del self.working[hold]
            generation.checks -= 1
            hold._promised = None
            hold._generation = generation
            if self.observed:
                self._seen += 1
                self.noted += 1
                self.notes[self.noted] = self._seen
            return HELD

    def stopped(self, generation: Generation[T]) -> None:
        """The stop of `generation` is over, well or badly; leases that were stopped under count until they leave."""
        with self.lock:
            if generation in self.working:
                del self.working[generation]
            if generation.phase is STOPPING:
                generation.phase = STOPPED
                if not generation.given_up:
                    self.running -= 1
                if generation is self.current:
                    self.current = None
                    if generation.count:
                        self.detached[generation] = None
                        self._elsewhere += generation.count - generation.waiters - generation.checks
                elif not generation.count and generation in self.detached:
                    del self.detached[generation]
            current = self.current
            if current is not None and current.quick and not (self.checked or self.closed or self.working):
                self.hot = current
