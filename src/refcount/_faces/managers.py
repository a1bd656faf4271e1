"""`InstanceManager`: a manager that does something only while a managed instance needs it; and its instances."""
# pyright: reportPrivateUsage=false
# What a demand has of its manager, and its manager of it, is private because users have both in their hands.

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Never, Self, TypeVar

from refcount._faces.demand_hooks import LateLeases
from refcount._faces.demands import Demand, Manages, declared_by, demand, new_demand
from refcount._faces.managed import ManagedInstances
from refcount._support.checks import no_name
from refcount._support.naming import name_of, public, short
from refcount._support.reporting import raise_worst, report

if TYPE_CHECKING:
    from refcount._faces.async_demand_hooks import AsyncLateLeases
    from refcount._faces.managed import DemandState

T = TypeVar("T")
V = TypeVar("V")


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
            demands.append((declared, members, _late_leases(declared, self, members)))
        self._instances = ManagedInstances(demands)
        try:
            for instance in instances:
                self.add_instance(instance)
        except BaseException:
            for error in self._remove_all():
                report(error, f"removing an instance from {name_of(type(self))}")
            raise

    def __enter__(self) -> Self:
        self._for_threads("with", "async with")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Manage nobody any more, as `clear` does."""
        self.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Manage nobody any more, as `clear_async` does."""
        await self.clear_async()

    def _for_threads(self, method: str, instead: str) -> ManagedInstances[T]:
        """Return what is managed, for what awaits nothing.

        Raises:
            TypeError: A demand has a resource for tasks.
        """
        managed = self._instances or self._managed()
        if managed.for_tasks:
            name = next(declared._name for declared, _, leases in managed.demands if leases and leases.for_tasks)
            raise TypeError(f"{name} has a resource for tasks: write `{instead}` in place of `{method}`")
        return managed

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
        if not self._for_threads("add_instance(...)", "await manager.add_instance_async(...)").add(instance):
            raise ValueError(f"{short(instance)} is managed by {name_of(type(self))} already")

    def remove_instance(self, instance: T) -> None:
        """Manage `instance` no longer, and end what it demanded.

        Inside a hook that runs on account of this very instance, its demands end when that hook is done.

        Raises:
            ValueError: It is not managed.
            Exception: What a hook or the resource of a demand raised; the instance is removed all the same.
        """
        if not self._for_threads("remove_instance(...)", "await manager.remove_instance_async(...)").update(
            instance, remove=True
        ):
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
        self._for_threads("clear()", "await manager.clear_async()")
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
        if not self._for_threads("refresh(...)", "await manager.refresh_async(...)").update(instance):
            raise ValueError(f"{short(instance)} is not managed by {name_of(type(self))}")

    # For tasks

    async def add_instance_async(self, instance: T) -> None:
        """Manage `instance`, and meet what it demands: `add_instance` for demands of which a resource is for tasks.

        What else they want is done at once, as by `add_instance`. If anything of that fails, or is cancelled, the
        manager is as it was.

        Raises:
            ValueError: It is managed already, or is being added or removed at this moment.
            Exception: What a hook, a resource or a predicate of a demand raised.

        Example:
            >>> import asyncio
            >>> class Worker:
            ...     needs_gpu = True
            >>> class Manager(InstanceManager[Worker]):
            ...     gpu = demand("needs_gpu", resource=AsyncSharedResource.of(lambda: "GPU context"))
            >>> async def main():
            ...     async with Manager() as manager:
            ...         await manager.add_instance_async(Worker())
            ...         print(manager.gpu.value, len(manager.gpu))
            >>> asyncio.run(main())
            GPU context 1
        """
        if not await self._managed().add_async(instance):
            raise ValueError(f"{short(instance)} is managed by {name_of(type(self))} already")

    async def remove_instance_async(self, instance: T) -> None:
        """Manage `instance` no longer, and end what it demanded, as `remove_instance` does.

        It is removed before anything is awaited. If the waiting is cancelled, what its demands hold is given back all
        the same.

        Raises:
            ValueError: It is not managed.
            Exception: What a hook or the resource of a demand raised; the instance is removed all the same.
        """
        if not await self._managed().update_async(instance, remove=True):
            raise ValueError(f"{short(instance)} is not managed by {name_of(type(self))}")

    async def clear_async(self) -> None:
        """Manage nobody any more, and end all demands, as `clear` does; an `async with` ends with it.

        Raises:
            Exception: What a hook or the resource of a demand raised, the first of them; all are removed all the same.
        """
        errors: list[BaseException] = []
        managed = self._managed()
        for instance in reversed(self.instances):
            try:
                await managed.update_async(instance, remove=True)
            except BaseException as error:  # the others are to be removed as well
                errors.append(error)
        raise_worst(errors, f"removing an instance from {name_of(type(self))}")

    async def refresh_async(self, instance: T) -> None:
        """Look again at what `instance` demands, as `refresh` does.

        Raises:
            ValueError: It is not managed.
            Exception: What a hook, a resource or a predicate of a demand raised; a demand that could not be met counts
                as not demanded, one that could not be looked at stays as it was.
        """
        if not await self._managed().update_async(instance):
            raise ValueError(f"{short(instance)} is not managed by {name_of(type(self))}")


def _late_leases(
    declared: demand[Any, V], manager: object, members: dict[int, T]
) -> LateLeases[T, V] | AsyncLateLeases[T, V] | None:
    if not declared._hooked:
        return None
    if not declared._for_tasks:
        return LateLeases(declared, manager, members)
    from refcount._faces.async_demand_hooks import AsyncLateLeases  # with anyio, which whoever has such a resource has

    return AsyncLateLeases(declared, manager, members)
