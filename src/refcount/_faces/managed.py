"""`ManagedInstances`: the instances of a manager, whose demands are kept in step with them, by threads or by tasks."""
# pyright: reportPrivateUsage=false
# What a demand has of its manager, and its manager of it, is private because users have both in their hands.

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

from refcount._core.registry import registry
from refcount._faces.tracked import is_tracked, watch
from refcount._support.naming import short
from refcount._support.reporting import raise_worst, report

T = TypeVar("T")

if TYPE_CHECKING:
    from refcount._faces.async_demand_hooks import AsyncLateLeases
    from refcount._faces.demand_hooks import LateLeases
    from refcount._faces.demands import demand

    DemandState: TypeAlias = tuple[demand[Any, Any], dict[int, T], LateLeases[T, Any] | AsyncLateLeases[T, Any] | None]
    """One demand of a manager, who has it, and the leases of those, if anything is done meanwhile."""

Claim: TypeAlias = list[int]
"""The thread that works on an instance, and then those that have left word. Claims are told apart by identity."""


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

    __slots__ = ("__weakref__", "_claims", "_used", "demands", "for_tasks", "managed")

    def __init__(self, demands: list[DemandState[T]]) -> None:
        self.managed: dict[int, T] = {}  # each under its `id`, in the order in which they were added
        self.demands = demands
        self.for_tasks: bool = any(leases is not None and leases.for_tasks for _, _, leases in demands)
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
                    assert leases.for_tasks is False  # else a manager refuses
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
            if leases is not None and leases.for_tasks is True:
                if (key in members) is not (declared in demanded):
                    errors.append(_to_be_awaited(declared, "refresh_async(...)"))
            elif leases is not None:
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

    # The same for tasks. Another one of the same thread may come at each await, and finds the claim then, as another
    # thread would. A cancellation is answered like an interrupt; what is given back is so at once, whoever waits.

    async def add_async(self, instance: T) -> bool:
        """Meet what `instance` demands, and manage it, or leave all as it was; False if somebody does so already."""
        if not self._used:
            registry.forkables.add(self)
            self._used = True
        key, claim, added = id(instance), [get_ident()], False
        try:
            if key in self.managed or self._claims.setdefault(key, claim) is not claim:
                return False
            if is_tracked(type(instance)):
                watch(instance, self)
            await self._meet_async(instance, key, claim)
            self.managed[key] = instance
            added = True
            if not self._unclaim(key, claim):
                raise_worst(await self._settle_async(instance, key, claim), "a demand of an instance")
            return True
        except BaseException:
            if added:
                self.managed.pop(key, None)
            if added or self._claims.get(key) is claim:
                await self._finish_async(instance, key, claim)
            raise

    async def update_async(self, instance: T, *, remove: bool = False) -> bool:
        """See to what `instance` demands, or have the task do so that works on it; say whether it is known."""
        key, claim = id(instance), [get_ident()]
        known = self.managed.pop(key, self) is not self if remove else key in self.managed or key in self._claims
        errors: list[BaseException] = []
        try:
            if known and self._claim(key, claim):
                errors = await self._settle_async(instance, key, claim)
        except BaseException:
            await self._finish_async(instance, key, claim)
            raise
        if errors:
            raise_worst(errors, "a demand of an instance")
        return known

    async def _meet_async(self, instance: T, key: int, claim: Claim) -> None:
        while True:
            demanded = self._look(instance)
            for declared, members, leases in self.demands:
                if leases is not None:
                    await self._put_one(leases, instance, declared in demanded)
                elif declared in demanded:
                    members[key] = instance
                else:
                    members.pop(key, None)
            if len(claim) == 1:
                return
            del claim[1:]

    async def _settle_async(self, instance: T, key: int, claim: Claim) -> list[BaseException]:
        errors: list[BaseException] = []
        while True:
            await self._agree_async(instance, key, errors)
            if self._unclaim(key, claim):
                return errors

    async def _finish_async(self, instance: T, key: int, claim: Claim) -> None:
        try:
            if self._claim(key, claim):
                raise_worst(await self._settle_async(instance, key, claim), "a demand of an instance")
        except Exception as error:
            report(error, f"a demand of {short(instance)}")
        finally:
            if self._claims.get(key) is claim:
                del self._claims[key]

    async def _agree_async(self, instance: T, key: int, errors: list[BaseException]) -> None:
        demanded: list[demand[Any, Any]] = []
        if key in self.managed:
            try:
                demanded = self._look(instance)
            except Exception as error:
                errors.append(error)
                demanded = [declared for declared, members, _ in self.demands if key in members]  # as it was
        for declared, members, leases in self.demands:
            if leases is not None:
                try:
                    await self._put_one(leases, instance, declared in demanded)
                except BaseException as error:  # the other demands are to be seen to as well
                    errors.append(error)
            elif declared in demanded:
                members[key] = instance
            else:
                members.pop(key, None)

    async def _put_one(
        self, leases: LateLeases[T, Any] | AsyncLateLeases[T, Any], instance: T, demanding: bool
    ) -> None:
        if leases.for_tasks is False:
            leases.put(instance, demanding)
            self._bring_in(leases)
            return
        await leases.put(instance, demanding)
        begun = leases.find()
        for guest in () if begun is None else begun.guests():
            await self.update_async(guest)


def _to_be_awaited(declared: demand[Any, Any], method: str) -> TypeError:
    return TypeError(f"{declared._name} has a resource for tasks: write `await manager.{method}`")
