"""`Generation`: one life of a resource, from its start to its stop, and the `Waiter`s at its door."""

from __future__ import annotations

import enum
from collections import deque
from typing import Generic, Protocol, TypeVar

from refcount._core.holds import Hold, HoldCounter

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Phase(enum.Enum):
    """Where a generation stands; unlike `State` it says nothing that follows from the count."""

    STARTING = "starting"
    FAILED = "failed"
    UP = "up"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Answer(enum.Enum):
    """What the machine asks of a waiter."""

    WAIT = "wait"
    START = "start"
    CHECK = "check"
    HELD = "held"
    REFUSED = "refused"


class Entered(Protocol):
    """What a driver enters to start a generation and leaves to stop it."""

    @property
    def running(self) -> bool:
        """Whether one of the two runs."""
        ...

    def end(self) -> None:
        """Stop, unless that has begun already."""
        ...


class Alarm(Protocol):
    """What a driver sets to end a linger."""

    @property
    def fired(self) -> bool:
        """Whether it has had its look."""
        ...

    def cancel(self) -> None:
        """Look no more."""
        ...


class Waiter(Generic[T]):
    """A consumer at the door, from its `acquire` until it holds, is refused or withdraws.

    Args:
        hold: What is marked when the consumer is let in.
        by: Who asks; the driver's token for a thread or task, compared with `==`.
    """

    __slots__ = ("by", "error", "generation", "granted", "hold")

    def __init__(self, hold: Hold[Generation[T]], by: object) -> None:
        self.hold: Hold[Generation[T]] = hold
        self.by: object = by
        self.generation: Generation[T] | None = None
        self.granted: bool = False
        self.error: BaseException | None = None

    def wake(self) -> None:
        """Called under the resource's lock when the answer may have changed; harmless when repeated."""

    @property
    def answer(self) -> Answer:
        """What this consumer shall do next, derived from where the machine has put it."""
        generation = self.generation
        if self.granted:
            return Answer.HELD
        if self.error is not None:
            return Answer.REFUSED
        if generation is not None and generation.starter is self:
            return Answer.START
        if generation is not None and self in generation.checkers:
            return Answer.CHECK
        return Answer.WAIT


class Generation(HoldCounter, Generic[T_co]):
    """One life of a resource, from one start to its stop. As a counter it counts the leases that hold it.

    Args:
        number: Its identity within the resource; grows with every start.
        waiters: The consumers who wait for it, in order.
    """

    value: T_co

    def __init__(self, number: int, waiters: deque[Waiter[T_co]]) -> None:
        super().__init__(0)
        self.number = number
        self.waiters = waiters
        self.phase = Phase.STARTING
        self.starter: Waiter[T_co] | None = None
        self.worker: object = None
        """Who runs its start or stop, as a driver's token."""
        self.checkers: list[Waiter[T_co]] = []
        """Newcomers who are asking `check` about the value; it does not stop under them."""
        self.condemned = False
        """It stops as soon as nobody holds it, whatever the linger."""
        self.error: BaseException | None = None
        self.deadline: float | None = None
        """When its linger is over, on the driver's clock; None while it does not linger."""
        self.timer: Alarm | None = None
        """What was last set to look at it; one that was set for an earlier rest will do."""
        self.life: Entered | None = None
        """What was entered to start it, and will be left to stop it."""

    @property
    def resting(self) -> bool:
        """Whether it is up and nobody needs it."""
        return self.phase is Phase.UP and not (self.usecount or self.waiters or self.checkers)

    @property
    def working(self) -> bool:
        """Whether its start or stop runs or is about to."""
        return self.phase is Phase.STARTING or self.phase is Phase.STOPPING

    def works_for(self, by: object) -> bool:
        """Whether `by` is inside its start, its stop or its check."""
        return (self.working and self.worker == by) or any(checker.by == by for checker in tuple(self.checkers))
