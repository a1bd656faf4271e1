"""`InstanceManager`: a manager that does something only while a managed instance needs it."""
# pyright: reportPrivateUsage=false
# What a demand has of its manager is private because users have managers in their hands.

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Never, Self, TypeVar

from refcount._faces.declarations import Manages, declared_by, demand
from refcount._faces.demands import Demand, new_demand
from refcount._faces.instances import ManagedInstances, hooked
from refcount._support.checks import no_name
from refcount._support.naming import public, short
from refcount._support.reporting import raise_worst, report

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
        self._instances = ManagedInstances(
            [
                hooked(declaration, self) if declaration.hooked else (declaration, {}, None)
                for declaration in declared_by(type(self))
            ]
        )
        try:
            for instance in instances:
                self.add_instance(instance)
        except BaseException:
            for error in self._remove_all():
                report(error, f"removing an instance from {self!r}")
            raise

    def __enter__(self) -> Self:
        """Return the manager itself."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Manage nobody any more, as `clear` does."""
        self.clear()

    def _managed(self) -> ManagedInstances[T]:
        if self._instances is None:
            raise RuntimeError(f"{type(self).__qualname__}.__init__ has not called super().__init__() yet")
        return self._instances

    def _find(self, declared: demand[Any, V]) -> Demand[T, V]:
        """Return what `declared` is on this manager."""
        for declaration, members, leases in self._managed().demands:
            if declaration is declared._declaration:
                # Each of the two is one step, so that all threads get the same object.
                demands: dict[demand[Any, Any], Demand[T, Any]] = vars(self).setdefault("_demands", {})
                return demands.setdefault(declared, new_demand(declaration.name, members, leases))
        if not declared._named:
            raise no_name(declared)
        raise TypeError(f"{declared!r} was assigned to its class after {self!r} was made")

    def __reduce__(self) -> Never:  # what `copy` and `pickle` ask
        raise TypeError(
            f"{self!r} cannot be copied or pickled, for what its demands hold would be shared or lost: "
            "make another one for the same instances"
        )

    def __repr__(self) -> str:
        number = 0 if self._instances is None else len(self._instances.managed)
        return f"<{type(self).__qualname__} of {number} instances>"

    @property
    def instances(self) -> tuple[T, ...]:
        """What is managed at this moment, in the order in which it was added.

        Example:
            >>> from refcount import InstanceManager
            >>> InstanceManager(["a", "b"]).instances
            ('a', 'b')
        """
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
            >>> from refcount import InstanceManager
            >>> manager = InstanceManager(["a"])
            >>> manager.add_instance("b")
            >>> manager.instances
            ('a', 'b')
        """
        if not (self._instances or self._managed()).add(instance):
            raise ValueError(f"{short(instance)} is managed by {type(self).__qualname__} already")

    def remove_instance(self, instance: T) -> None:
        """Manage `instance` no longer, and end what it demanded.

        Inside a hook that runs on account of this very instance, its demands end when that hook is done.

        Raises:
            ValueError: It is not managed.
            Exception: What a hook or the resource of a demand raised; the instance is removed all the same.

        Example:
            >>> from refcount import InstanceManager
            >>> manager = InstanceManager(["a", "b"])
            >>> manager.remove_instance("a")
            >>> manager.instances
            ('b',)
        """
        if not (self._instances or self._managed()).update(instance, remove=True):
            raise ValueError(f"{short(instance)} is not managed by {type(self).__qualname__}")

    def clear(self) -> None:
        """Manage nobody any more, and end all demands; a manager does so at the end of its with-statement.

        The last one that was added goes first.

        Raises:
            Exception: What a hook or the resource of a demand raised, the first of them; all are removed all the same.

        Example:
            >>> from refcount import InstanceManager
            >>> with InstanceManager(["a", "b"]) as manager:
            ...     len(manager)
            2
            >>> manager.instances
            ()
        """
        raise_worst(self._remove_all(), f"removing an instance from {self!r}")

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
            >>> from refcount import InstanceManager, demand
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
            raise ValueError(f"{short(instance)} is not managed by {type(self).__qualname__}")
