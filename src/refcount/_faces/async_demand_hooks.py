"""What is done while instances demand something of tasks: the same as `demand_hooks`, with what has to be awaited.

Hooks are plain functions here too, and so nobody adds or removes an instance inside of them: that would be awaited.
"""
# pyright: reportPrivateUsage=false
# What a demand says is private because users have demands in their hands.

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from weakref import ref

from refcount._core.async_lease import AsyncLease
from refcount._core.async_openers import AsyncOptions, LivesOfAsyncOpener
from refcount._core.async_shared import AsyncSharedResource, new_async_resource
from refcount._faces.demand_hooks import Changes
from refcount._support.checks import is_lease_for_tasks
from refcount._support.naming import short
from refcount._support.reporting import raise_worst, report

if TYPE_CHECKING:
    from refcount._faces.demands import demand

T = TypeVar("T")
V = TypeVar("V")


class AsyncDemandHooks(Generic[T, V]):
    """What is done while instances demand: the resource is open, `acquire` has run, and `release` will.

    Args:
        declared: Says what is to be done.
        manager: The manager. It keeps the hooks, which must not keep it.
        leases: The leases on the shared resource whose opener is `run`. They must not be kept either.

    Attributes:
        held: The value of the demand's resource, while that is open.
    """

    def __init__(self, declared: demand[Any, V], manager: ref[object], leases: ref[AsyncDemandLeases[T, V]]) -> None:
        self.held: tuple[V] | None = None
        self._declared = declared
        self._leases = leases
        self._manager = manager
        self._resource: AsyncSharedResource[V] | None = None
        opener = declared._opener
        if isinstance(opener, AsyncSharedResource):
            self._resource = opener
        elif opener is not None:
            self._resource = AsyncSharedResource(opener, name=declared._name)

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[V]:
        """Open the resource and run `acquire`; after the yield run `release` and close the resource."""
        async with self._lease() as value:
            try:
                self._begin(value)
                yield value
                self._end()
            finally:
                self.held = None

    def _lease(self) -> AsyncLease[V]:
        """Return a lease of the demand's resource, not held yet."""
        member, manager = self._declared._member, self._manager()
        lease: object = None
        if member is not None:
            lease = member.on(manager)()
        elif self._resource is not None:
            lease = self._resource()
        if not is_lease_for_tasks(lease):
            raise TypeError(f"the resource of {self._declared._name} gave no lease for tasks, but {short(lease)}")
        return lease

    def _begin(self, value: V) -> None:
        self.held = (value,)
        leases, manager, acquire = self._leases(), self._manager(), self._declared._acquire
        if leases is not None:
            leases.welcome()
        try:
            if acquire is not None and manager is not None:
                acquire(manager)
        except BaseException:
            if leases is not None:
                leases.dismiss()
            raise

    def _end(self) -> None:
        manager, release = self._manager(), self._declared._release
        if release is not None and manager is not None:  # else it is gone, and none of its hooks can run
            release(manager)


class AsyncDemandLeases(Generic[T, V]):
    """The leases that instances hold on the hooks of a demand, as `DemandLeases` are for threads.

    Args:
        declared: What the demand says.
        manager: The manager, which keeps the leases.
        members: The instances that demand, each under its `id`.
    """

    def __init__(self, declared: demand[Any, V], manager: ref[object], members: dict[int, T]) -> None:
        self._declared = declared
        self._manager = manager
        self._members = members
        self._guests: dict[int, T] = {}  # who demanded in the parent process
        self._set_up()

    def _set_up(self) -> None:
        self._joining: dict[int, T] = {}  # who is about to demand
        self._leases: dict[int, AsyncLease[V]] = {}
        declared, told = self._declared, self._declared._changed
        self._changes: Changes[T] | None = None if told is None else Changes(told, self._manager)
        self._hooks: AsyncDemandHooks[T, V] = AsyncDemandHooks(declared, self._manager, ref(self))
        lives = LivesOfAsyncOpener(self._hooks.run, declared._name)
        self._resource = new_async_resource(lives, declared._name, AsyncOptions())

    @property
    def held(self) -> tuple[V] | None:
        """The value of the demand's resource, while that is open."""
        return self._hooks.held

    async def put(self, instance: T, demanding: bool) -> None:
        """Let `instance` demand or not; when that is so already, nothing happens.

        Raises:
            BaseException: What a hook or the resource raised, or a cancellation. `instance` does not demand then.
        """
        try:
            if demanding:
                await self._join(instance)
            else:
                await self._leave(instance)
        except Exception as error:
            self._declared._note(error, instance)
            raise

    def welcome(self) -> None:
        """Let those demand who wait for the resource, which is open now: `acquire` finds them among the members."""
        self._members.update(self._joining)

    def dismiss(self) -> None:
        """Let nobody demand after a failed start."""
        self._members.clear()

    def guests(self) -> list[T]:
        """Return who demanded in the parent process, and has no lease in this one."""
        return [*self._guests.values()]

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child: the leases are the parent's, and whoever comes next brings the others along."""
        self._set_up()
        self._guests.update(self._members)

    async def _join(self, instance: T) -> None:
        key = id(instance)
        lease = self._leases.get(key)
        if lease is not None and lease.held:
            return
        self._leases[key] = lease = self._resource()
        self._joining[key] = instance
        try:
            await lease.__aenter__()
            self._members[key] = instance
            self._guests.pop(key, None)
            if self._changes is not None:
                self._tell(self._changes, instance, True)
        except BaseException:
            try:
                await self._leave(instance)
            except Exception as error:
                report(error, f"undoing a change of {self._declared._name}")
            raise
        finally:
            self._joining.pop(key, None)

    async def _leave(self, instance: T) -> None:
        key = id(instance)
        for table in (self._members, self._joining, self._guests):
            table.pop(key, None)
        lease = self._leases.pop(key, None)
        try:
            if self._changes is not None:
                self._tell(self._changes, instance, False)
        finally:
            if lease is not None:
                await lease.release()

    def _tell(self, changes: Changes[T], instance: T, demanding: bool) -> None:
        raise_worst(changes.tell(instance, demanding)[0], f"the changed hook of {self._declared._name}")


class AsyncLateLeases(Generic[T, V]):
    """Those leases, made when an instance comes to demand."""

    __slots__ = ("_declared", "_made", "_manager", "_members")

    for_tasks: Literal[True] = True

    def __init__(self, declared: demand[Any, V], manager: object, members: dict[int, T]) -> None:
        self._declared = declared
        self._made: AsyncDemandLeases[T, V] | None = None
        self._manager = ref(manager)
        self._members = members

    def find(self) -> AsyncDemandLeases[T, V] | None:
        """Return the leases if they are made."""
        return self._made

    async def put(self, instance: T, demanding: bool) -> None:
        """Let `instance` demand or not, as `AsyncDemandLeases.put` does."""
        if self._made is None and demanding:
            self._made = AsyncDemandLeases(self._declared, self._manager, self._members)
        if self._made is not None:
            await self._made.put(instance, demanding)
