"""`Resource`: what can be seen of a shared resource, and what it is as an object, whoever drives it."""
# pyright: reportPrivateUsage=false
# What a resource has of its machine is private because users have resources in their hands.

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Generic, Never, Self, TypeVar

from refcount._support.checks import GivesLeases
from refcount._support.naming import text_of

if TYPE_CHECKING:
    from refcount._core.generation import Mark, State
    from refcount._core.machine import Machine
    from refcount._core.observers import Observers
    from refcount._support.naming import Name

T_co = TypeVar("T_co", covariant=True)


class Resource(GivesLeases, Generic[T_co]):
    """One resource, as it looks to everybody."""

    __slots__ = (
        "__weakref__",
        "_entered",
        "_forks",
        "_machine",
        "_name",
        "_observers",
    )

    _entered: dict[int, Mark] | None
    _forks: int
    _machine: Machine[T_co]
    _name: Name
    _observers: Observers | None

    def _seen(self) -> Machine[T_co]:
        """Return the machine to look at."""
        raise NotImplementedError

    def _visit(self) -> AbstractContextManager[object, None]:
        """Return the time in which the caller uses it.

        Raises:
            RefcountError: Only when that is entered: it cannot use the resource.
        """
        raise NotImplementedError

    def _own(self) -> Self:
        """Return the resource that is used here, if that is another one in each event loop; else this one."""
        return self

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> Never:  # what `pickle` asks
        raise TypeError(f"{self.name} cannot be pickled: it belongs to this process")

    @property
    def name(self) -> str:
        """What it is called in errors, warnings and reprs."""
        return text_of(self._name)

    @property
    def usecount(self) -> int:
        """How many leases are held, those of detached generations included; to look at, never to decide on."""
        return self._seen().usecount

    @property
    def state(self) -> State:
        """What it is doing; to look at, never to decide on. `State.CLOSED` as soon as it refuses newcomers."""
        return self._seen().state

    @property
    def generation(self) -> int | None:
        """The number of the generation that newcomers get, or None when there is none. It grows with every start."""
        current = self._seen().current
        return None if current is None else current.number

    @property
    def closed(self) -> bool:
        """Whether it refuses newcomers for good."""
        return self._machine.closed

    @property
    def idle(self) -> bool:
        """Whether nothing of it runs, and nothing of it is held."""
        return self._seen().idle

    def _closed_text(self) -> str:
        return f"{self.name} is closed"
