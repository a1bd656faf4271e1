"""What is done while instances demand: the resource that is held, the hooks, and who is told of every change."""
# pyright: reportPrivateUsage=false
# What a demand says is private because users have demands in their hands.

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from threading import Event, get_ident
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeGuard, TypeVar
from weakref import ref

from refcount._core.clock import clocks
from refcount._core.lease import Lease, is_lease
from refcount._core.openers import LivesOfOpener, Options
from refcount._core.shared import SharedResource, new_resource
from refcount._support.naming import short
from refcount._support.reporting import raise_worst, report

if TYPE_CHECKING:
    from refcount._faces.demands import demand

T = TypeVar("T")
V = TypeVar("V")

ANY_THREAD = 0
"""Stands among the idents of threads for whichever comes first."""


class DemandHooks(Generic[T, V]):
    """What is done while instances demand: the resource is open, `acquire` has run, and `release` will.

    `run` is the opener of a shared resource, which sees to it that one run follows the other.

    Args:
        declared: Says what is to be done.
        manager: The manager. It keeps the hooks, which must not keep it.
        leases: The leases on that shared resource. They must not be kept either.

    Attributes:
        held: The value of the demand's resource, while that is open.
        open: Whether instances that come now demand at once: the resource is open, and `release` has not begun.
        thread: The thread that runs a hook, or opens or closes the resource.
    """

    def __init__(self, declared: demand[Any, V], manager: ref[object], leases: ref[DemandLeases[T, V]]) -> None:
        self.held: tuple[V] | None = None
        self.open = False
        self.thread: int | None = None
        self._begun = False
        self._declared = declared
        self._leases = leases
        self._manager = manager
        self._owes_release = False
        self._resource: SharedResource[V] | None = None
        if _is_shared(declared._opener):
            self._resource = declared._opener
        elif declared._opener is not None:
            # A lease can be released twice, as after an interrupt, and tells the resource of no error of a hook.
            self._resource = SharedResource(declared._opener, name=declared._name)

    @contextmanager
    def run(self) -> Generator[V]:
        """Open the resource and run `acquire`; after the yield run `release` and close the resource."""
        lease, lost = self._lease(), False
        try:
            yield from self._begin(lease)  # CPython delivers no signal where this goes on, as it does after `yield`
        except GeneratorExit:
            lost = True  # the garbage collector has found it with its manager, and so it has the lease
        finally:
            if not lost:
                try:
                    self._end(lease)
                except BaseException:
                    self._end(lease)  # an interrupt may have cut it short; what is done is not done again
                    raise

    def _lease(self) -> Lease[V] | None:
        """Return a lease of the demand's resource, not held yet, if it has one."""
        member, manager = self._declared._member, self._manager()
        if member is None or manager is None:
            return None if self._resource is None else self._resource()
        lease: object = member.on(manager)()
        if not is_lease(lease):
            raise TypeError(f"the resource of {self._declared._name} gave no lease, but {short(lease)}")
        return lease

    def _begin(self, lease: Lease[V] | None) -> tuple[V]:
        nothing: tuple[Any] = (None,)  # what a demand without a resource holds
        self._begun = False
        self.thread = get_ident()
        self.held = held = nothing if lease is None else (lease.__enter__(),)
        self.open = True
        leases, manager, acquire = self._leases(), self._manager(), self._declared._acquire
        if leases is not None:
            leases.welcome()
        if acquire is not None and manager is not None:
            acquire(manager)
        self._begun = self._owes_release = True
        self.thread = None
        return held

    def _end(self, lease: Lease[V] | None) -> None:
        self.open = False
        try:
            self.thread = get_ident()
            leases, manager, release = self._leases(), self._manager(), self._declared._release
            if leases is not None and not self._begun:
                leases.dismiss()
            if self._owes_release:
                self._owes_release = False
                if release is not None and manager is not None:  # else it is gone, and none of its hooks can run
                    release(manager)
        finally:
            self.held = None
            try:
                if lease is not None:
                    lease.release()
            finally:
                self.thread = None


class DemandLeases(Generic[T, V]):
    """The leases that instances hold on the hooks of a demand.

    Who is the first and who the last, who waits while a hook runs, and what becomes of one that fails: all that is the
    business of the shared resource that they are leases on.

    Args:
        declared: What the demand says.
        manager: The manager, which keeps the leases.
        members: The instances that demand, each under its `id`.
    """

    def __init__(self, declared: demand[Any, V], manager: ref[object], members: dict[int, T]) -> None:
        self._declared = declared
        self._manager = manager
        self._members = members
        self._set_up()

    def _set_up(self) -> None:
        self._guests: dict[int, tuple[int, T]] = {}  # who came inside a hook, with the thread that runs it
        self._joining: dict[int, T] = {}  # who is about to demand
        self._leases: dict[int, Lease[V]] = {}
        declared = self._declared
        told = declared._changed
        self._changes: Changes[T] | None = None if told is None else Changes(told, self._manager)
        self._hooks: DemandHooks[T, V] = DemandHooks(declared, self._manager, ref(self))
        if declared._member is None:
            self._resource = SharedResource(self._hooks.run, name=declared._name)
        else:  # what it holds may refer to the manager, which is to be found lost all the same
            self._resource = new_resource(LivesOfOpener(self._hooks.run, declared._name), declared._name, Options())

    def __del__(self) -> None:
        # The manager is gone. Runs inside the garbage collector, so look, queue, and nothing else.
        leases = [lease for lease in vars(self).get("_leases", {}).values() if lease.held]  # `__init__` may have failed
        if leases:
            clocks.thread.lost(partial(_give_back, leases, self._declared))

    @property
    def held(self) -> tuple[V] | None:
        """The value of the demand's resource, while that is open."""
        return self._hooks.held

    def put(self, instance: T, demanding: bool) -> None:
        """Let `instance` demand or not; when that is so already, nothing happens, without waiting for others.

        Raises:
            Exception: What a hook or the resource raised. `instance` does not demand then.
        """
        try:
            if demanding:
                self._join(instance)
            else:
                self._leave(instance)
        except Exception as error:
            self._declared._note(error, instance)
            raise

    def welcome(self) -> None:
        """Let those demand who wait for the resource, which is open now: `acquire` finds them among the members."""
        self._members.update(self._joining)

    def dismiss(self) -> None:
        """Let nobody demand after a failed start, nor those who came inside its hooks."""
        self._members.clear()
        for key, (thread, _) in self._guests.copy().items():
            if thread == get_ident():
                self._guests.pop(key, None)
                self._joining.pop(key, None)

    def guests(self) -> list[T]:
        """Return who came inside a hook that this thread has run. They get their leases when they are put once more."""
        if not self._guests or self._hooks.thread == get_ident():  # none, or the hook still runs
            return []
        return [guest for thread, guest in self._guests.copy().values() if thread in (get_ident(), ANY_THREAD)]

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child: the leases are the parent's, and whoever comes next brings the others along."""
        self._set_up()
        self._guests.update({key: (ANY_THREAD, member) for key, member in self._members.items()})

    def _join(self, instance: T) -> None:
        key, hooks, joining = id(instance), self._hooks, self._joining
        lease = self._leases.get(key)
        if lease is not None and lease.held:
            return
        if hooks.thread == get_ident():  # it waits until the hook that this thread runs is over
            (self._members if hooks.open else joining)[key] = instance
            self._guests[key] = get_ident(), instance
            return
        self._leases[key] = lease = self._resource()  # before it is entered, so that no interrupt loses it
        joining[key] = instance
        try:
            lease.__enter__()
            self._members[key] = instance
            self._guests.pop(key, None)
            if self._changes is not None:
                self._tell(self._changes, instance, True)
        except BaseException:
            try:
                self._leave(instance)
            except Exception as error:
                report(error, f"undoing a change of {self._declared._name}")
            raise
        finally:
            joining.pop(key, None)

    def _leave(self, instance: T) -> None:
        key = id(instance)
        for table in (self._members, self._joining, self._guests):
            table.pop(key, None)
        try:
            if self._changes is not None:
                self._tell(self._changes, instance, False)
        finally:
            lease = self._leases.get(key)
            if lease is not None:
                try:
                    lease.release()
                finally:
                    if not lease.held:
                        self._leases.pop(key, None)

    def _tell(self, changes: Changes[T], instance: T, demanding: bool) -> None:
        """Tell the `changed` hook; those whom it has refused to have added itself demand no more."""
        errors, refused = changes.tell(instance, demanding)
        for guest in refused:
            try:
                self._leave(guest)
            except BaseException as error:
                errors.append(error)
        raise_worst(errors, f"the changed hook of {self._declared._name}")


class LateLeases(Generic[T, V]):
    """Those leases, made when an instance comes to demand: most managers have demands of which that never happens."""

    __slots__ = ("_declared", "_made", "_manager", "_members")

    for_tasks: Literal[False] = False

    def __init__(self, declared: demand[Any, V], manager: object, members: dict[int, T]) -> None:
        self._declared = declared
        self._made: dict[None, DemandLeases[T, V]] = {}
        self._manager = ref(manager)
        self._members = members

    def find(self) -> DemandLeases[T, V] | None:
        """Return the leases if they are made."""
        return self._made.get(None)

    def put(self, instance: T, demanding: bool) -> None:
        """Let `instance` demand or not, as `DemandLeases.put` does."""
        leases = self._made.get(None)
        if leases is None and demanding:
            fresh = DemandLeases(self._declared, self._manager, self._members)
            leases = self._made.setdefault(None, fresh)  # one step, so that all threads get the same
        if leases is not None:
            leases.put(instance, demanding)


def _give_back(leases: list[Lease[Any]], declared: demand[Any, Any]) -> None:
    """Release what was held for a manager that is gone."""
    for lease in leases:
        lease.release()
    if _is_shared(declared._opener):
        lost = f"a lease of {declared._opener.name} was never released"
        why = f"{declared._name} was demanded when its manager was lost"
        warnings.warn(f"{lost}: {why}", ResourceWarning, stacklevel=1)


def _is_shared(resource: object) -> TypeGuard[SharedResource[Any]]:
    return isinstance(resource, SharedResource)


class Turn(Generic[T]):
    """One thread's turn to tell the hook.

    Attributes:
        later: The changes that the hook itself has made, which it is told when it has returned.
        over: Set when the turn is over.
        thread: The thread.
    """

    __slots__ = ("later", "over", "thread")

    def __init__(self) -> None:
        self.later: list[tuple[T, bool]] = []
        self.over = Event()
        self.thread: int = get_ident()


class Changes(Generic[T]):
    """Tells a hook who demands. No lock is held while it runs: other threads wait for its end, and it may change more.

    Args:
        hook: Called with the manager and all who demand.
        manager: The manager, which must not be kept.
    """

    __slots__ = ("_hook", "_manager", "_told", "_turns")

    def __init__(self, hook: Callable[[Any, Any], object], manager: ref[object]) -> None:
        self._hook = hook
        self._manager = manager
        self._told: dict[int, T] = {}
        self._turns: dict[None, Turn[T]] = {}

    def tell(self, instance: T, demanding: bool) -> tuple[list[BaseException], list[T]]:
        """Tell that `instance` demands, or does not any more; and then what the hook has changed meanwhile.

        Returns:
            What the hook has raised; and those whom it has added itself, and then refused by raising.
        """
        running = self._turns.get(None)
        if (id(instance) in self._told) is demanding and (running is None or running.thread != get_ident()):
            return [], []  # nothing changes; what the hook itself has changed may not be told yet
        mine: Turn[T] = Turn()
        try:
            running = self._take(mine)
            if running is not mine:
                running.later.append((instance, demanding))
                return [], []
            errors = self._tell(instance, demanding)
            refused = self._tell_later(mine, errors)
        finally:
            try:
                self._end(mine)
            except BaseException:
                self._end(mine)  # an interrupt may have cut it short; what is done is not done again
                raise
        return errors, refused

    def _take(self, mine: Turn[T]) -> Turn[T]:
        """Wait for a turn and return it, or that of the same thread, if the hook runs further up."""
        while (other := self._turns.setdefault(None, mine)).thread != mine.thread:
            other.over.wait()
        return other

    def _end(self, mine: Turn[T]) -> None:
        if self._turns.get(None) is mine:
            del self._turns[None]
        mine.over.set()

    def _tell(self, instance: T, demanding: bool) -> list[BaseException]:
        key, now, manager = id(instance), self._told.copy(), self._manager()
        if (key in now) is demanding or manager is None:
            return []
        if demanding:
            now[key] = instance
        else:
            del now[key]
            self._told = now  # whatever the hook says to that
        try:
            self._hook(manager, tuple(now.values()))
        except BaseException as error:
            return [error]
        self._told = now
        return []

    def _tell_later(self, mine: Turn[T], errors: list[BaseException]) -> list[T]:
        refused: list[T] = []
        while mine.later:
            instance, demanding = mine.later.pop(0)
            failures = self._tell(instance, demanding)
            if failures and demanding:
                refused.append(instance)
            errors += failures
        return refused
