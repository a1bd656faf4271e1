"""`ManagedInstances`: the instances of a manager; at most one thread at a time sees to what one of them demands.

Interrupts. Wherever one falls, an instance is added or as before, removed or as before, and its demands agree with
that; the thread that was interrupted sees to it before the interrupt goes on. What cannot be closed: a second interrupt
while it does so may leave a demand or an instance in between; and one that falls into the very step in which a hook or
a start returns counts as theirs, so that what they have just done is not undone.
"""

from __future__ import annotations

import os
from threading import get_ident
from typing import Any, Generic, TypeAlias, TypeVar, cast
from weakref import WeakSet

from refcount._faces.declarations import Declaration
from refcount._faces.demands import DemandLeases
from refcount._faces.tracked import is_tracked, watch
from refcount._support.naming import short
from refcount._support.reporting import raise_worst, report

T = TypeVar("T")


Claim: TypeAlias = list[int]
"""The thread that works on an instance, and then those that have left word. Claims are told apart by identity."""

DemandState: TypeAlias = tuple[Declaration[T, Any], dict[int, T], DemandLeases[T, Any] | None]
"""One demand of a manager: what it says, who demands, and the leases of those, if anything is done meanwhile."""


def hooked(declaration: Declaration[T, Any], manager: object) -> DemandState[T]:
    """Return a demand of `manager` for which something is done."""
    members: dict[int, T] = {}
    return declaration, members, DemandLeases(declaration, manager, members)


class ManagedInstances(Generic[T]):
    """The instances of a manager, whose demands are kept in step with them.

    At most one thread works on an instance at a time, the one that has claimed it. Others leave word in its claim, and
    never wait; it will look at the instance again before it is done. Who has left word looks whether the claim still
    stands; who has given up a claim looks whether there is word; so no word is lost. No lock is needed, which a signal
    handler or a finalizer might need as well in the middle of a step: each step is one operation of one dictionary or
    list, which lets one thread after the other in, with or without a GIL.

    Args:
        demands: Its demands.

    Attributes:
        managed: The instances, each under its `id`, in the order in which they were added.
    """

    __slots__ = ("__weakref__", "_claims", "_used", "demands", "managed")

    def __init__(self, demands: list[DemandState[T]]) -> None:
        self.managed: dict[int, T] = {}
        self.demands = demands
        self._used = False
        self._claims: dict[int, Claim] = {}

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, where the other threads are gone."""
        self._claims = {key: claim for key, claim in self._claims.items() if claim[0] == get_ident()}
        for _, members, leases in self.demands:
            for key in members.keys() - self.managed.keys():
                del members[key]
            if leases is not None:
                leases.reset_after_fork()

    def add(self, instance: T) -> bool:
        """Meet what `instance` demands, and manage it; if anything fails, leave everything as it was.

        Returns:
            Whether that is done; False if it is managed, or being added or removed, already.
        """
        if not self._used:
            _used.add(self)
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
        """See to what `instance` demands, or have the thread do so that works on it; say whether it is known.

        Args:
            instance: An instance that is managed, or being added.
            remove: Manage it no longer. It must be managed, then.
        """
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
            other, left = (
                self._claims.setdefault(key, claim),
                other,
            )  # that thread may have been done before it could see
        return True

    def _unclaim(self, key: int, claim: Claim) -> bool:
        """Give up a claim, unless the instance must be looked at again; say whether it is given up."""
        if len(claim) == 1:
            del self._claims[key]
            if len(claim) == 1 or self._claims.setdefault(key, claim) is not claim:
                return True
        del claim[1:]
        return False

    # Loops are functions of their own: on CPython 3.12 and 3.13 an interrupt on the way back to a `while` that ends
    # the body of a `try` leaves it without its `except` and `finally`.

    def _meet(self, instance: T, key: int, claim: Claim) -> None:
        """Meet what `instance` demands, until nothing happens to it meanwhile."""
        while True:
            demanded = self._look(instance)
            for declaration, members, leases in self.demands:
                if leases is not None:
                    leases.put(instance, declaration in demanded)
                    self._bring_in(leases)
                elif declaration in demanded:
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

    def _look(self, instance: T) -> list[Declaration[T, Any]]:
        """Return what `instance` demands. Every demand is asked before any of them is changed."""
        demanded: list[Declaration[T, Any]] = []
        for declaration, _, _ in self.demands:
            try:
                if declaration.needs(instance):
                    demanded.append(declaration)
            except Exception as error:
                declaration.note(error, instance)
                raise
        return demanded

    def _agree(self, instance: T, key: int, errors: list[BaseException]) -> None:
        """Look at `instance`, and let every demand agree with what is seen; add what goes wrong to `errors`."""
        demanded: list[Declaration[T, Any]] = []
        if key in self.managed:
            try:
                demanded = self._look(instance)
            except Exception as error:
                errors.append(error)
                demanded = [declaration for declaration, members, _ in self.demands if key in members]  # as it was
        for declaration, members, leases in self.demands:
            if leases is not None:
                self._put(leases, instance, declaration in demanded, errors)
            elif declaration in demanded:
                members[key] = instance
            else:
                members.pop(key, None)

    def _put(self, leases: DemandLeases[T, Any], instance: T, demanding: bool, errors: list[BaseException]) -> None:
        try:
            leases.put(instance, demanding)
            self._bring_in(leases)
        except BaseException as error:  # the other demands are to be seen to as well
            errors.append(error)
            if not demanding:
                leases.put(instance, False)  # an interrupt may have come before it was
            self._bring_in(leases)

    def _bring_in(self, leases: DemandLeases[T, Any]) -> None:
        """Look again at those who came inside a hook that this thread ran, so that they hold the demand themselves."""
        errors: list[BaseException] = []
        for guest in leases.guests():
            try:
                self.look_again(guest)
            except Exception as error:
                errors.append(error)
        raise_worst(errors, "a demand of an instance")


_used: WeakSet[ManagedInstances[Any]] = WeakSet()
"""The managers that have had an instance; the others have nothing to lose in a fork."""


def _reset_after_fork() -> None:
    for instances in list(_used):
        instances.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)  # after the core's, which was imported before
