"""`Generation`: one life of a resource, and the states of both; `Hold`: one consumer's claim on one of them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from types import GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import ReferenceType

if TYPE_CHECKING:
    from refcount._core.clock import Clock
    from refcount._core.keeper import Keeper
    from refcount._core.loop import Loop
    from refcount._core.parking import Alone, Parker


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


State.__module__ = "refcount"  # as `public` would, which stands on a floor above this one


class Phase(enum.Enum):
    """Where a generation stands; unlike `State` it says nothing of who holds it."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    FORGOTTEN = "forgotten"
    """Whatever becomes of it is no business of the resource any more: abandoned, given up, or the parent process's."""


class Next(enum.Enum):
    """What a consumer, or who drives it, is to do next. A generation instead of it is to be stopped first."""

    HELD = "it holds: use the value"
    START = "run the start of the generation that was promised"
    CHECK = "ask the check about the generation that was promised"
    WAIT = "sleep until woken, and ask again"
    AGAIN = "ask again: it has changed meanwhile"
    LINGER = "set an alarm, and give back with it"
    LEFT = "it is given back, and nothing else is to be done"
    GONE = "there was nothing to do"
    FAILURE = "raise the error of the generation that was promised"
    CLOSED = "raise that it is closed"


# As globals: in 3.11 an attribute of an enum class is looked up by a call, which no step may make.
STARTING, UP, STOPPING = Phase.STARTING, Phase.UP, Phase.STOPPING
STOPPED, FAILED, FORGOTTEN = Phase.STOPPED, Phase.FAILED, Phase.FORGOTTEN
HELD, START, CHECK, WAIT, AGAIN = Next.HELD, Next.START, Next.CHECK, Next.WAIT, Next.AGAIN
LINGER, LEFT, GONE, FAILURE, CLOSED = Next.LINGER, Next.LEFT, Next.GONE, Next.FAILURE, Next.CLOSED


T_co = TypeVar("T_co", covariant=True)


class Alarm(Protocol):
    """A timer that will look whether a linger is over."""

    @property
    def fired(self) -> bool:
        """Whether it has begun to look."""
        ...

    def cancel(self) -> None:
        """Do nothing when it is due."""
        ...


class FiredAlarm:
    """An alarm that is due already, where nothing can or may linger."""

    fired = True

    def cancel(self) -> None:
        """Do nothing."""


class BaseSlot(Protocol):
    """A place of a bounded family, which a generation takes before it starts, and gives back when it has stopped.

    Attributes:
        entered: Which thread or task is inside a with-block on the resource, and who waits for it, by the `id` of the
            lease.
    """

    entered: dict[int, Mark]

    def leave(self, generation: Generation[object]) -> None:
        """`generation` has ended, or waits no more; harmless when repeated."""
        ...

    def lingers(self, generation: Generation[object]) -> None:
        """`generation` lingers since a moment ago; harmless when repeated."""
        ...

    def refuse(self) -> None:
        """Nobody is to wait for it any more."""
        ...


class Slot(BaseSlot, Protocol):
    """One that threads wait for."""

    def enter(
        self, generation: Generation[object], by: int, deadline: float | None, parker: Parker | None = None
    ) -> None:
        """Return when `generation` may start, slept on `parker` if there is one; harmless when repeated."""
        ...


class AsyncSlot(BaseSlot, Protocol):
    """One that tasks wait for."""

    async def enter(self, generation: Generation[object], by: object, deadline: float | None) -> None:
        """Return when `generation` may start; harmless when repeated."""
        ...


class Generation(Generic[T_co]):
    """One life of a resource.

    Attributes:
        number: Its identity within the resource; grows with every start.
        phase: Where it stands.
        count: How much keeps it: leases, waiters, checks, and the timer while it lingers.
        waiters: How many of these are consumers to whom it was promised and who have not looked yet.
        checks: How many of these are newcomers who ask `check` about the value.
        lingers: 1 of these is the timer's while an alarm is set, else 0.
        left: When the last lease left, on the clock that lingers are measured on.
        alarm: The alarm that holds it.
        quick: Whether a lease that is not the last may leave by the count alone.
        condemned: Whether newcomers do not get it any more.
        given_up: Whether its start was given up, so that nobody waits for the end of it.
        life: What was started and is to be stopped: a generator, suspended in between.
        alone: What a thread of its own goes on with, though who waited for that was interrupted.
        keeper: The task that it lives in, if tasks drive it.
        home: The event loop of that task.
        token: What is compared on the way to a lease to know that loop by.
        clock: What its linger is measured on and ended by, if that is a test's and tasks drive it.
        now: The time on that clock, or on its event loop's; none if it does not linger.
        value: What consumers get, once it is up.
        error: What its start raised.
        trace: Where that was raised, before anybody who waited raised it again.
    """

    # Defaults on the class, and no `__init__`: most of them never change in the short life of one that is only visited.
    number: int = 0
    phase: Phase = Phase.STARTING
    count: int = 1
    waiters: int = 1
    checks: int = 0
    lingers: int = 0
    left: float = 0.0
    alarm: Alarm | None = None
    quick: bool = False
    condemned: bool = False
    given_up: bool = False
    life: GeneratorType[object, None, object] | None = None
    alone: Alone | None = None
    keeper: Keeper[T_co] | None = None
    home: Loop | None = None
    token: object = ()
    clock: Clock | None = None
    now: Callable[[], float] | None = None
    value: T_co
    error: BaseException
    trace: TracebackType | None


class Hold(Generic[T_co]):
    """One consumer's claim on one generation at most: a lease, or one that waits to become it.

    Only the machine writes it; it is private since a `Lease` is a hold that users have in their hands.

    Attributes:
        _generation: The generation that it holds.
        _promised: The generation that it waits for, or whose value it is checking.
    """

    __slots__ = ("__weakref__", "_generation", "_promised")

    def __init__(self) -> None:
        self._generation: Generation[T_co] | None = None
        self._promised: Generation[T_co] | None = None

    def _wake(self) -> None:
        """Let the consumer look again; harmless when repeated, and when it does not sleep."""


Mark = tuple[Sequence[object], ReferenceType[Any]]
"""Which thread or task is inside a with-block, and who waits for that; and by which lease."""


def is_inside(mark: Mark, line: Sequence[object]) -> bool:
    """Return whether it is one of these, and the lease is held."""
    others, reference = mark
    lease = reference()
    return lease is not None and lease.held and any(who in line for who in others)
