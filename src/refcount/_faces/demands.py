"""`Demand`: the managed instances that need something of their manager, and what is done while there are any."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import ref

from refcount._core.lease import Lease
from refcount._core.openers import Yielding, open_checked
from refcount._errors import ReleasedError
from refcount._support.public import public
from refcount._support.reporting import note, report

T = TypeVar("T")
V = TypeVar("V")
M = TypeVar("M")
T_co = TypeVar("T_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)


class IdentitySet(Set[T_co], Generic[T_co]):
    """A set of objects that are told apart by identity, so that they need not be hashable.

    Args:
        members: Them, by their `id`.
    """

    __slots__ = ("_members",)

    def __init__(self, members: dict[int, T_co]) -> None:
        self._members = members

    @classmethod
    def _from_iterable(cls, iterable: Iterable[T]) -> IdentitySet[T]:
        # What `Set` makes of `&`, `|`, `-` and `^`.
        return IdentitySet({id(member): member for member in iterable})

    def __contains__(self, member: object) -> bool:
        return id(member) in self._members

    def __iter__(self) -> Iterator[T_co]:
        return iter(self._members.copy().values())  # members may come and go meanwhile

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {list(self)!r}>"


@public
class Demand(IdentitySet[T_co], Generic[T_co, V_co]):
    """The managed instances that need something of their manager: a live, read-only set, told apart by identity.

    It is what a `demand` is on an `InstanceManager`. False when nobody demands. Looking at it never waits, so what was
    seen may be over when it is used, if other threads add and remove. Iterating goes over those of one moment. What
    `&`, `|`, `-` and `^` make of it is a set of that moment as well.

    Example:
        >>> from refcount import InstanceManager, demand
        >>> class Worker:
        ...     needs_gpu = True
        >>> class Manager(InstanceManager[Worker]):
        ...     gpu = demand("needs_gpu")
        >>> worker = Worker()
        >>> manager = Manager([worker, Worker()])
        >>> len(manager.gpu), worker in manager.gpu, Worker() in manager.gpu
        (2, True, False)
    """

    __slots__ = ("_tally",)

    def __init__(self, tally: Tally[T_co, V_co, Any]) -> None:
        super().__init__(tally.members)
        self._tally = tally

    @property
    def usecount(self) -> int:
        """How many managed instances demand."""
        return len(self)

    @property
    def value(self) -> V_co:
        """The value of the demand's resource; None for a demand that has no resource.

        Raises:
            ReleasedError: Nobody demands, so the resource is not held.

        Example:
            >>> from refcount import InstanceManager, SharedResource, demand
            >>> class Worker:
            ...     needs_gpu = True
            >>> class Manager(InstanceManager[Worker]):
            ...     gpu = demand("needs_gpu", resource=SharedResource.of(lambda: "GPU context"))
            >>> manager, worker = Manager(), Worker()
            >>> manager.add_instance(worker)
            >>> manager.gpu.value
            'GPU context'
            >>> manager.remove_instance(worker)
            >>> manager.gpu.value
            Traceback (most recent call last):
            refcount.ReleasedError: Manager.gpu has no value: no managed instance demands it
        """
        held = self._tally.held
        if held is None:
            why = "it was the parent process's, refresh an instance" if self else "no managed instance demands it"
            raise ReleasedError(f"{self._tally.name} has no value: {why}")
        return held[0]

    def __repr__(self) -> str:
        return f"<Demand {self._tally.name}, usecount={self.usecount}>"


def _nothing() -> None:
    """The hook of a manager that is gone."""


def _is_open(opened: object) -> bool:
    """Say whether an interrupt came before `opened` was left. What is none of ours cannot tell, and counts as left."""
    if isinstance(opened, Lease):
        return opened.held
    return isinstance(opened, Yielding) and opened.state == inspect.GEN_SUSPENDED


class Tally(Generic[T, V, M]):
    """Who demands, kept together with what follows from it: the first one begins the demand, the last one ends it.

    What is to be done follows from the members alone, and not from a count beside them. So whatever an error or an
    interrupt leaves half-done, looking again completes.

    Args:
        name: Names the demand in errors.
        needs: Tells whether an instance demands.
        resource: Opens what is held while anybody demands.
        acquire: Called with the manager when the demand has begun.
        release: Called with the manager when it has ended.
        manager: The manager. It keeps the tally, so that the tally must not keep it.
    """

    held: tuple[V] | None
    """The value of the resource, while there is one."""

    def __init__(
        self,
        name: str,
        needs: Callable[[T], bool],
        resource: Callable[[], AbstractContextManager[V]],
        acquire: Callable[[M], object],
        release: Callable[[M], object],
        manager: M,
    ) -> None:
        self.name = name
        self.needs = needs
        self.members: dict[int, T] = {}
        self._resource = resource
        self._acquire = acquire
        self._release = release
        self._manager = ref(manager)
        self._joining: dict[int, T] = {}
        """Who will be among the members when the demand has begun: whoever sees a demand finds its value."""
        self.renew(frozenset())

    def renew(self, managed: Set[int]) -> object:
        """Begin anew in a forked child, for those of the members that are managed; return what must not be left."""
        inherited = vars(self).get("_opened"), vars(self).get("held")
        # Reentrant, since hooks may add and remove. While one runs, other threads that come or go wait.
        self._turn = threading.RLock()
        for key in self.members.keys() - managed:
            del self.members[key]
        self._joining.clear()
        self._opened: AbstractContextManager[V] | None = None
        self.held = None
        self._up = False
        """Whether the demand has begun, or is about to, and has not quite ended."""
        self._ending = False
        """Whether it has begun to end."""
        self._owes_release = False
        """Whether the acquire hook has run, and the release hook has not."""
        self._working = False
        """Whether the thread whose turn it is begins or ends the demand."""
        return inherited

    def put(self, instance: T, demands: bool) -> None:
        """Let `instance` demand or not; when that is so already, nothing happens, without waiting for others."""
        key = id(instance)
        if demands != (key in self.members or key in self._joining) or (demands and not self._up):
            with self._turn: self._put(instance, demands)  # fmt: skip # noqa: E701 # see "Tracers" in concurrency.md

    def _put(self, instance: T, demands: bool) -> None:
        outermost = not self._working
        try:
            if demands:
                begun = self.held is not None and not self._ending
                (self.members if begun else self._joining)[id(instance)] = instance
            else:
                self._drop(instance)
            self._follow()
        except BaseException as error:
            self._drop(instance)
            if outermost:
                self._working = False
                self._follow_quietly()
            if isinstance(error, Exception):
                note(error, f"in {self.name}, on account of {instance!r}")
            raise

    def _drop(self, instance: T) -> None:
        self.members.pop(id(instance), None)
        self._joining.pop(id(instance), None)

    def _follow(self) -> None:
        """Begin or end until that agrees with who demands; what a hook changes is seen to when it is done."""
        if self._working:
            return
        self._working = True
        try:
            while True:
                if self._up and not self.members:
                    self._end()
                elif self._joining:
                    self._begin()
                else:
                    break
        finally:
            self._working = False

    def _follow_quietly(self) -> None:
        try:
            self._follow()
        except Exception as error:
            report(error, f"undoing a change of {self.name}")

    def _begin(self) -> None:
        manager = self._manager()
        self._up = True
        try:
            opened = open_checked(self._resource, self.name)
            # One line, like the hooks': an interrupt comes before it or is the resource's own.
            self.held = (opened.__enter__(),); self._opened = opened  # fmt: skip # noqa: E702
            self.members.update(self._joining)
            self._joining.clear()
            if manager is not None: self._acquire(manager); self._owes_release = True  # fmt: skip # noqa: E701, E702
        except BaseException:
            # Whoever else has joined inside the hook does not demand either.
            self.members.clear()
            self._joining.clear()
            raise

    def _end(self) -> None:
        """End the demand, or what is left of it when that was interrupted."""
        manager = self._manager()
        self._ending = True
        try:
            if self._owes_release:
                # Without a manager (it was garbage-collected) there is none whose hook could run.
                release = _nothing if manager is None else partial(self._release, manager)
                self._owes_release = False; release()  # fmt: skip # noqa: E702
        finally:
            if not self._owes_release:
                self._close()

    def _close(self) -> None:
        self.held = None
        opened = self._opened
        try:
            if opened is not None:
                self._opened = None; opened.__exit__(None, None, None)  # fmt: skip # noqa: E702
        except BaseException:
            if _is_open(opened):
                self._opened = opened
            raise
        finally:
            if self._opened is None:
                self._up = self._ending = False
