"""`Demand`: the managed instances that need something of their manager, and what is done while there are any."""
# pyright: reportPrivateUsage=false
# What a demand has of its manager is private because users have demands in their hands.

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any, Generic, Never, TypeGuard, TypeVar
from weakref import ref

from refcount._core.clock import clocks
from refcount._core.lease import Lease, is_lease
from refcount._core.openers import LivesOfOpener, Options
from refcount._core.shared import SharedResource, new_resource
from refcount._errors import ReleasedError
from refcount._faces.changes import Changes
from refcount._faces.declarations import Declaration
from refcount._support.naming import public, short
from refcount._support.reporting import raise_worst, report

T = TypeVar("T")
V = TypeVar("V")
T_co = TypeVar("T_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)


ANY_THREAD = 0
"""Stands among the idents of threads for whichever comes first."""


class IdentitySet(Set[T_co], Generic[T_co]):
    """A set of objects that are told apart by identity, so that they need not be hashable.

    Args:
        members: The objects, each under its `id`.
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

    __slots__ = ("_leases", "_name")

    _leases: DemandLeases[T_co, V_co] | None
    _name: str

    def __init__(self, made_by_a_manager: Never, /) -> None:
        raise TypeError(f"a Demand is what a manager has: write demand({made_by_a_manager!r}) in the body of its class")

    def __reduce__(self) -> Never:  # what `copy` and `pickle` ask
        raise TypeError(f"{self!r} cannot be copied or pickled: it is its manager's, so make a list of it")

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
        nothing: tuple[Any] = (None,)
        held = self._leases.held if self._leases is not None else nothing if self else None
        if held is None:
            why = "it was the parent process's, refresh an instance" if self else "no managed instance demands it"
            raise ReleasedError(f"{self._name} has no value: {why}")
        return held[0]

    def __repr__(self) -> str:
        return f"<Demand {self._name}, usecount={self.usecount}>"


def new_demand(name: str, members: dict[int, T], leases: DemandLeases[T, V] | None) -> Demand[T, V]:
    """Make a `Demand`, which users do not.

    Args:
        name: Names it in errors.
        members: The instances that demand, each under its `id`.
        leases: Those of its members, if anything is done meanwhile.
    """
    demand: Demand[T, V] = _new(Demand)
    demand._members, demand._name, demand._leases = members, name, leases
    return demand


_new: Callable[[type[Any]], Any] = object.__new__


class DemandHooks(Generic[T, V]):
    """What is done while instances demand: the resource is open, `acquire` has run, and `release` will.

    `run` is the opener of a shared resource, which sees to it that one run follows the other.

    Args:
        declaration: What is to be done.
        manager: The manager. It keeps the hooks, which must not keep it.
        leases: The leases on that shared resource. They must not be kept either.

    Attributes:
        held: The value of the demand's resource, while that is open.
        open: Whether instances that come now demand at once: the resource is open, and `release` has not begun.
        thread: The thread that runs a hook, or opens or closes the resource.
    """

    def __init__(self, declaration: Declaration[T, V], manager: ref[object], leases: ref[DemandLeases[T, V]]) -> None:
        self.held: tuple[V] | None = None
        self.open = False
        self.thread: int | None = None
        self._begun = False
        self._declaration = declaration
        self._leases = leases
        self._manager = manager
        self._owes_release = False
        self._resource: SharedResource[V] | None = None
        if _is_shared(declaration.opener):
            self._resource = declaration.opener
        elif declaration.opener is not None:
            # A lease can be released twice, as after an interrupt, and tells the resource of no error of a hook.
            self._resource = SharedResource(declaration.opener, name=declaration.name)

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
        member, manager = self._declaration.member, self._manager()
        if member is None or manager is None:
            return None if self._resource is None else self._resource()
        lease: object = member.on(manager)()
        if not is_lease(lease):
            raise TypeError(f"the resource of {self._declaration.name} gave no lease, but {short(lease)}")
        return lease

    def _begin(self, lease: Lease[V] | None) -> tuple[V]:
        nothing: tuple[Any] = (None,)  # what a demand without a resource holds
        self._begun = False
        self.thread = get_ident()
        self.held = held = nothing if lease is None else (lease.__enter__(),)
        self.open = True
        leases, manager, acquire = self._leases(), self._manager(), self._declaration.acquire
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
            leases, manager, release = self._leases(), self._manager(), self._declaration.release
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
        declaration: What the demand says.
        manager: The manager, which keeps the leases.
        members: The instances that demand, each under its `id`.
    """

    def __init__(self, declaration: Declaration[T, V], manager: object, members: dict[int, T]) -> None:
        self._declaration = declaration
        self._manager = ref(manager)
        self._members = members
        self._set_up()

    def _set_up(self) -> None:
        self._guests: dict[int, tuple[int, T]] = {}  # who came inside a hook, with the thread that runs it
        self._joining: dict[int, T] = {}  # who is about to demand
        self._leases: dict[int, Lease[V]] = {}
        declaration = self._declaration
        told = declaration.changed
        self._changes: Changes[T] | None = None if told is None else Changes(told, self._manager)
        self._hooks: DemandHooks[T, V] = DemandHooks(declaration, self._manager, ref(self))
        if declaration.member is None:
            self._resource = SharedResource(self._hooks.run, name=declaration.name)
        else:  # what it holds may refer to the manager, which is to be found lost all the same
            self._resource = new_resource(LivesOfOpener(self._hooks.run, declaration.name), declaration.name, Options())

    def __del__(self) -> None:
        # The manager is gone. Runs inside the garbage collector, so look, queue, and nothing else.
        leases = [lease for lease in vars(self).get("_leases", {}).values() if lease.held]  # `__init__` may have failed
        if leases:
            clocks.thread.lost(partial(_give_back, leases, self._declaration))

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
            self._declaration.note(error, instance)
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
                report(error, f"undoing a change of {self._declaration.name}")
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
        raise_worst(errors, f"the changed hook of {self._declaration.name}")


def _give_back(leases: list[Lease[Any]], declaration: Declaration[Any, Any]) -> None:
    """Release what was held for a manager that is gone."""
    for lease in leases:
        lease.release()
    if _is_shared(declaration.opener):
        lost = f"a lease of {declaration.opener.name} was never released"
        why = f"{declaration.name} was demanded when its manager was lost"
        warnings.warn(f"{lost}: {why}", ResourceWarning, stacklevel=1)


def _is_shared(resource: object) -> TypeGuard[SharedResource[Any]]:
    return isinstance(resource, SharedResource)
