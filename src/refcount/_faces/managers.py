"""`InstanceManager`: a manager that does something only while a managed instance needs it; and its instances."""
# pyright: reportPrivateUsage=false
# What a demand has of its manager, and its manager of it, is private because users have both in their hands.

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import get_ident
from types import TracebackType
from typing import Any, Generic, Never, Self, TypeAlias, TypeVar, cast

from refcount._core.registry import registry
from refcount._faces.demand_hooks import LateLeases
from refcount._faces.demands import Demand, Manages, declared_by, demand, new_demand
from refcount._faces.tracked import is_tracked, watch
from refcount._support.checks import no_name
from refcount._support.naming import name_of, public, short
from refcount._support.reporting import raise_worst, report

T = TypeVar("T")
V = TypeVar("V")

Claim: TypeAlias = list[int]
"""The thread that works on an instance, and then those that have left word. Claims are told apart by identity."""

DemandState: TypeAlias = tuple[demand[Any, Any], dict[int, T], LateLeases[T, Any] | None]
"""One demand of a manager, who has it, and the leases of those, if anything is done meanwhile."""


@public
class InstanceManager(Manages[T]):
    """Manages instances in order, and knows which of them need what: each `demand` on its class tells.

    Instances are told apart by identity, so they need not be hashable. Adding and removing is safe from any thread and
    from inside the hooks of a demand. A demand that an instance has is met before the instance is among `instances`,
    and ended after it no longer is. At the end of its with-statement a manager is cleared; without one, nobody does so.

    In a forked child it has the same instances, and they demand the same, but nothing has begun: no hook has run, there
    is no value, and nothing will be released. A demand begins when an instance is added that has it, or looked at again
    with `refresh`.

    It can be neither copied nor pickled: a copy would share what it holds, or have lost it. If it is garbage-collected
    while instances demand, the resources of its demands are closed, but no hook can run any more.

    Args:
        instances: What to manage from the start.

    Raises:
        ValueError: One of them is there twice.
        Exception: What a hook, a resource or a predicate of a demand raised. Then those added before are removed again.

    Example:
        >>> from refcount import InstanceManager, demand
        >>> class Plain:
        ...     pass
        >>> class Picky:
        ...     example_attr = True
        >>> class Manager(InstanceManager[Plain | Picky]):
        ...     convert_data = demand("example_attr")
        >>> manager = Manager([Plain()])
        >>> bool(manager.convert_data)
        False
        >>> manager.add_instance(Picky())
        >>> bool(manager.convert_data), len(manager)
        (True, 2)
    """

    _instances: ManagedInstances[T] | None = None
    """None until `__init__` has run, which a subclass may forget to call."""

    def __init__(self, instances: Iterable[T] = ()) -> None:
        demands: list[DemandState[T]] = []
        for declared in declared_by(type(self)):
            members: dict[int, T] = {}
            demands.append((declared, members, LateLeases(declared, self, members) if declared._hooked else None))
        self._instances = ManagedInstances(demands)
        try:
            for instance in instances:
                self.add_instance(instance)
        except BaseException:
            for error in self._remove_all():
                report(error, f"removing an instance from {name_of(type(self))}")
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Manage nobody any more, as `clear` does."""
        self.clear()

    def _managed(self) -> ManagedInstances[T]:
        if self._instances is None:
            raise RuntimeError(f"{name_of(type(self))}.__init__ has not called super().__init__() yet")
        return self._instances

    def _find(self, declared: demand[Any, V]) -> Demand[T, V]:
        """Return what `declared` is on this manager."""
        for known, members, leases in self._managed().demands:
            if known is declared:
                # Each of the two is one step, so that all threads get the same object.
                demands: dict[demand[Any, Any], Demand[T, Any]] = vars(self).setdefault("_demands", {})
                return demands.setdefault(declared, new_demand(declared._name, members, leases))
        if not declared._named:
            raise no_name(declared)
        raise TypeError(f"{declared!r} was assigned to its class after this {name_of(type(self))} was made")

    def __reduce__(self) -> Never:  # what `copy` and `pickle` ask
        raise TypeError(
            f"{name_of(type(self))} cannot be copied or pickled, for what its demands hold would be shared "
            "or lost: make another one for the same instances"
        )

    def __repr__(self) -> str:
        number = 0 if self._instances is None else len(self._instances.managed)
        return f"<{name_of(type(self))} of {number} instances>"

    @property
    def instances(self) -> tuple[T, ...]:
        """What is managed at this moment, in the order in which it was added."""
        return tuple(self._managed().managed.copy().values())

    def __len__(self) -> int:
        return len(self._managed().managed)

    def __iter__(self) -> Iterator[T]:
        return iter(self.instances)

    def __contains__(self, instance: object) -> bool:
        return id(instance) in self._managed().managed

    def add_instance(self, instance: T) -> None:
        """Manage `instance`, and meet what it demands.

        If anything of that fails, the manager is as it was.

        Raises:
            ValueError: It is managed already, or is being added or removed at this moment.
            Exception: What a hook, a resource or a predicate of a demand raised.

        Example:
            >>> manager = InstanceManager(["a"])
            >>> manager.add_instance("b")
            >>> manager.remove_instance("a")
            >>> manager.instances
            ('b',)
        """
        if not (self._instances or self._managed()).add(instance):
            raise ValueError(f"{short(instance)} is managed by {name_of(type(self))} already")

    def remove_instance(self, instance: T) -> None:
        """Manage `instance` no longer, and end what it demanded.

        Inside a hook that runs on account of this very instance, its demands end when that hook is done.

        Raises:
            ValueError: It is not managed.
            Exception: What a hook or the resource of a demand raised; the instance is removed all the same.
        """
        if not (self._instances or self._managed()).update(instance, remove=True):
            raise ValueError(f"{short(instance)} is not managed by {name_of(type(self))}")

    def clear(self) -> None:
        """Manage nobody any more, and end all demands; a manager does so at the end of its with-statement.

        The last one that was added goes first.

        Raises:
            Exception: What a hook or the resource of a demand raised, the first of them; all are removed all the same.

        Example:
            >>> with InstanceManager(["a", "b"]) as manager:
            ...     len(manager)
            2
            >>> manager.instances
            ()
        """
        raise_worst(self._remove_all(), f"removing an instance from {name_of(type(self))}")

    def _remove_all(self) -> list[BaseException]:
        errors: list[BaseException] = []
        managed = self._managed()
        for instance in reversed(self.instances):
            try:
                managed.update(instance, remove=True)
            except BaseException as error:  # the others are to be removed as well
                errors.append(error)
        return errors

    def refresh(self, instance: T) -> None:
        """Look again at what `instance` demands; an attribute that is `tracked` sees to it by itself.

        While another thread, or a hook further up, adds or refreshes it, that one will look again instead.

        Raises:
            ValueError: It is not managed.
            Exception: What a hook, a resource or a predicate of a demand raised; a demand that could not be met counts
                as not demanded, one that could not be looked at stays as it was.

        Example:
            >>> class Worker:
            ...     busy = False
            >>> class Manager(InstanceManager[Worker]):
            ...     working = demand("busy")
            >>> worker = Worker()
            >>> manager = Manager([worker])
            >>> worker.busy = True
            >>> manager.refresh(worker)
            >>> worker in manager.working
            True
        """
        if not (self._instances or self._managed()).update(instance):
            raise ValueError(f"{short(instance)} is not managed by {name_of(type(self))}")


class ManagedInstances(Generic[T]):
    """The instances of a manager, whose demands are kept in step with them.

    Wherever an interrupt falls, an instance is added or as before, removed or as before, and its demands agree with
    that; the thread that was interrupted sees to it before the interrupt goes on. What remains: a second one meanwhile
    may leave it in between; one in the very step in which a hook or a start returns counts as theirs.

    At most one thread works on an instance at a time, the one that has claimed it. Others leave word in its claim, and
    never wait; it looks again before it is done. Who has left word looks whether the claim still stands, who has given
    up a claim whether there is word; so no word is lost. No lock is needed, which a signal handler or a finalizer might
    want in the middle of a step: each step is one operation of one dictionary or list, with or without a GIL.
    """

    __slots__ = ("__weakref__", "_claims", "_used", "demands", "managed")

    def __init__(self, demands: list[DemandState[T]]) -> None:
        self.managed: dict[int, T] = {}  # each under its `id`, in the order in which they were added
        self.demands = demands
        self._used = False
        self._claims: dict[int, Claim] = {}

    def reset_after_fork(self) -> tuple[()]:
        """Begin anew in a forked child, where the other threads are gone; nothing has to be kept."""
        self._claims = {key: claim for key, claim in self._claims.items() if claim[0] == get_ident()}
        for _, members, leases in self.demands:
            for key in members.keys() - self.managed.keys():
                del members[key]
            begun = None if leases is None else leases.find()
            if begun is not None:
                begun.reset_after_fork()
        return ()

    def add(self, instance: T) -> bool:
        """Meet what `instance` demands, and manage it, or leave all as it was; False if somebody does so already."""
        if not self._used:
            registry.forkables.add(self)
            self._used = True
        key, claim, added = id(instance), [get_ident()], False
        try:
            if key in self.managed or self._claims.setdefault(key, claim) is not claim:
                return False
            if key in self.managed:  # since just now
                self._settle(instance, key, claim)
                return False
            if is_tracked(type(instance)):
                watch(instance, self)
            self._meet(instance, key, claim)
            self.managed[key] = instance
            added = True
            if not self._unclaim(key, claim):
                raise_worst(self._settle(instance, key, claim), "a demand of an instance")
            return True
        except BaseException:
            if added:
                self.managed.pop(key, None)
            if added or self._claims.get(key) is claim:
                self._finish(instance, key, claim)
            raise

    def update(self, instance: T, *, remove: bool = False) -> bool:
        """See to what `instance` demands, or have the thread do so that works on it; say whether it is known."""
        key, claim = id(instance), [get_ident()]
        errors: list[BaseException] = []
        try:
            known = self.managed.pop(key, self) is not self if remove else key in self.managed or key in self._claims
            if known and self._claim(key, claim):
                errors = self._settle(instance, key, claim)
        except BaseException:
            self._finish(instance, key, claim)
            raise
        if errors:
            raise_worst(errors, "a demand of an instance")
        return known

    def look_again(self, instance: object) -> None:
        """Look at `instance`, of which a tracked attribute was set or deleted, unless it is not managed any more."""
        self.update(cast("T", instance))  # if it is none of ours, it is not in the tables, and nothing is done

    def _claim(self, key: int, claim: Claim) -> bool:
        """Claim an instance, or leave word with the thread that has claimed it; say whether it is claimed."""
        other, left = self._claims.setdefault(key, claim), None
        while other is not claim:
            if other is left:
                return False
            other.append(claim[0])
            left, other = other, self._claims.setdefault(key, claim)  # it may have been done before it could see
        return True

    def _unclaim(self, key: int, claim: Claim) -> bool:
        """Give up a claim, unless the instance must be looked at again; say whether it is given up."""
        if len(claim) == 1:
            del self._claims[key]
            if len(claim) == 1 or self._claims.setdefault(key, claim) is not claim:
                return True
        del claim[1:]
        return False

    # Loops are functions of their own: CPython 3.13 delivers an interrupt at the end of one outside of its `try`.

    def _meet(self, instance: T, key: int, claim: Claim) -> None:
        """Meet what `instance` demands, until nothing happens to it meanwhile."""
        while True:
            demanded = self._look(instance)
            for declared, members, leases in self.demands:
                if leases is not None:
                    leases.put(instance, declared in demanded)
                    self._bring_in(leases)
                elif declared in demanded:
                    members[key] = instance
                else:
                    members.pop(key, None)
            if len(claim) == 1:
                return
            del claim[1:]

    def _settle(self, instance: T, key: int, claim: Claim) -> list[BaseException]:
        """Let the demands agree with `instance` until nothing happens to it meanwhile; return what went wrong."""
        errors: list[BaseException] = []
        while True:
            self._agree(instance, key, errors)
            if self._unclaim(key, claim):
                return errors

    def _finish(self, instance: T, key: int, claim: Claim) -> None:
        """Finish what a thread does that has an error to raise already."""
        try:
            if self._claim(key, claim):
                raise_worst(self._settle(instance, key, claim), "a demand of an instance")
        except Exception as error:
            report(error, f"a demand of {short(instance)}")
        finally:
            if self._claims.get(key) is claim:
                del self._claims[key]

    def _look(self, instance: T) -> list[demand[Any, Any]]:
        """Return what `instance` demands. Every demand is asked before any of them is changed."""
        demanded: list[demand[Any, Any]] = []
        for declared, _, _ in self.demands:
            try:
                if declared._needs(instance):
                    demanded.append(declared)
            except Exception as error:
                declared._note(error, instance)
                raise
        return demanded

    def _agree(self, instance: T, key: int, errors: list[BaseException]) -> None:
        """Look at `instance`, and let every demand agree with what is seen; add what goes wrong to `errors`."""
        demanded: list[demand[Any, Any]] = []
        if key in self.managed:
            try:
                demanded = self._look(instance)
            except Exception as error:
                errors.append(error)
                demanded = [declared for declared, members, _ in self.demands if key in members]  # as it was
        for declared, members, leases in self.demands:
            if leases is not None:
                self._put(leases, instance, declared in demanded, errors)
            elif declared in demanded:
                members[key] = instance
            else:
                members.pop(key, None)

    def _put(self, leases: LateLeases[T, Any], instance: T, demanding: bool, errors: list[BaseException]) -> None:
        try:
            leases.put(instance, demanding)
            self._bring_in(leases)
        except BaseException as error:  # the other demands are to be seen to as well
            errors.append(error)
            if not demanding:
                leases.put(instance, False)  # an interrupt may have come before it was
            self._bring_in(leases)

    def _bring_in(self, leases: LateLeases[T, Any]) -> None:
        """Look again at those who came inside a hook that this thread ran, so that they hold the demand themselves."""
        errors: list[BaseException] = []
        begun = leases.find()
        for guest in () if begun is None else begun.guests():
            try:
                self.look_again(guest)
            except Exception as error:
                errors.append(error)
        raise_worst(errors, "a demand of an instance")
