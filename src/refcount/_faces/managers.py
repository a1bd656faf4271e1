"""`InstanceManager` and `demand`: a manager that does something only while a managed instance needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Never, Protocol, Self, TypeGuard, TypeVar, overload

from refcount._faces.declarations import Declaration
from refcount._faces.demands import Demand
from refcount._faces.instances import ManagedInstances, hooked
from refcount._support.naming import public
from refcount._support.reporting import report

T = TypeVar("T")
V = TypeVar("V")
T_co = TypeVar("T_co", covariant=True)
I_contra = TypeVar("I_contra", contravariant=True)
V_co = TypeVar("V_co", covariant=True)
ManagerT = TypeVar("ManagerT")
SameManagerT = TypeVar("SameManagerT")

# A demand is declared on a class that its types do not know: `Any` is what that class and its subclasses manage.

# The first is what a lambda is inferred to be, the second lets a method of the manager's own class be a hook.
Hook = Callable[["InstanceManager[Any]"], object] | Callable[[ManagerT], object]


class Managing(Protocol[T_co]):
    """A manager as `demand` looks at it: one whose instances a predicate must be able to take."""

    @property
    def instances(self) -> tuple[T_co, ...]: ...


@public
class demand(Generic[I_contra, V_co]):  # read like `property`, which it resembles
    """What managed instances may need of their `InstanceManager`, declared on its class.

    On an instance of the class it is a `Demand`: a live, read-only set of the managed instances that need it, false
    when there are none. Whether an instance does is found out when it is added and remembered, so that an attribute
    which changes afterwards cannot unbalance anything; `InstanceManager.refresh` looks again.

    Args:
        needed_by: The name of an attribute, which demands when it exists and is neither None nor False; or a predicate,
            called with the instance.
        acquire: Called with the manager when the first instance comes to demand. If it raises, the instance is not
            added, nor are those that other threads would add to this demand meanwhile. Others that it has added itself
            stay managed, but do not demand until they are looked at again.
        release: Called with the manager when none demands any more. What it raises goes to the caller, and the demand
            is over all the same. `acquire` and `release` alternate and never overlap; while one runs, other threads
            that would add to this demand or take from it wait.
        resource: A `SharedResource` (or anything else that gives a context manager when called), held from before
            `acquire` until after `release`; its value is the demand's `value`.

    Raises:
        TypeError: `needed_by` is neither a name nor callable, or a hook cannot be called.
        ValueError: The name is no identifier.

    Example:
        >>> from refcount import InstanceManager, demand
        >>> class Worker:
        ...     def __init__(self, gpus: int = 0) -> None:
        ...         self.gpus = gpus
        >>> def needs_gpu(worker: Worker) -> bool:
        ...     return worker.gpus > 0
        >>> class Manager(InstanceManager[Worker]):
        ...     gpu = demand(
        ...         needs_gpu, acquire=lambda manager: print("GPU on"), release=lambda manager: print("GPU off")
        ...     )
        >>> manager, worker = Manager(), Worker(gpus=2)
        >>> manager.add_instance(worker)
        GPU on
        >>> worker in manager.gpu, manager.gpu.usecount
        (True, 1)
        >>> manager.remove_instance(worker)
        GPU off
        >>> bool(manager.gpu)
        False
    """

    @overload
    def __init__(
        self: demand[object, None],
        needed_by: str,
        /,
        *,
        acquire: Hook[ManagerT] | None = None,
        release: Hook[SameManagerT] | None = None,
        resource: None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: demand[object, V],
        needed_by: str,
        /,
        *,
        acquire: Hook[ManagerT] | None = None,
        release: Hook[SameManagerT] | None = None,
        resource: Callable[[], AbstractContextManager[V]],
    ) -> None: ...
    @overload
    def __init__(
        # The class's own variable: only then is a lambda's parameter inferred from what is declared or expected.
        self: demand[I_contra, None],  # pyright: ignore[reportInvalidTypeVarUse]  # but it is what infers the lambda
        needed_by: Callable[[I_contra], bool],
        /,
        *,
        acquire: Hook[ManagerT] | None = None,
        release: Hook[SameManagerT] | None = None,
        resource: None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        needed_by: Callable[[I_contra], bool],
        /,
        *,
        acquire: Hook[ManagerT] | None = None,
        release: Hook[SameManagerT] | None = None,
        resource: Callable[[], AbstractContextManager[V_co]],
    ) -> None: ...
    def __init__(
        self,
        needed_by: str | Callable[[Any], bool],
        /,
        *,
        acquire: Callable[[Any], object] | None = None,
        release: Callable[[Any], object] | None = None,
        resource: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        self._declaration: Declaration[Any, Any] = Declaration(needed_by, acquire, release, resource)
        self.__doc__ = (
            f"The managed instances that demand it, as `{self._declaration.name}` tells: a live, read-only set."
        )
        self._named = False

    def __set_name__(self, owner: type[object], name: str) -> None:
        global _named
        self._declaration.name = f"{owner.__qualname__}.{name}"
        self._named = True
        _named += 1

    @overload
    def __get__(self, instance: None, owner: type[InstanceManager[Any]], /) -> Self: ...
    @overload
    def __get__(
        self, instance: InstanceManager[T], owner: type[Managing[I_contra]] | None = None, /
    ) -> Demand[T, V_co]: ...
    def __get__(
        self, instance: InstanceManager[Any] | None, owner: type[Managing[Any]] | None = None, /
    ) -> Self | Demand[Any, Any]:
        if instance is None:
            return self
        try:
            return instance._demands[self]  # pyright: ignore[reportPrivateUsage]  # the two classes are one thing
        except KeyError:
            return instance._find(self)  # pyright: ignore[reportPrivateUsage]  # the same

    def __set__(self, instance: object, value: Never, /) -> Never:
        raise AttributeError(f"{self!r} of {instance!r} cannot be set to {value!r}: it follows the managed instances")

    def __delete__(self, instance: object, /) -> Never:
        raise AttributeError(f"{self!r} of {instance!r} cannot be deleted: it follows the managed instances")

    def __repr__(self) -> str:
        return f"<demand {self._declaration.name}>"


@public
class InstanceManager(Generic[T]):
    """Manages instances in order, and knows which of them need what: each `demand` on its class tells.

    Instances are told apart by identity, so they need not be hashable. Adding and removing is safe from any thread and
    from inside the hooks of a demand. A demand that an instance has is met before the instance is among `instances`,
    and ended after it no longer is.

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

    _declared: ClassVar[tuple[object, int, list[Declaration[Any, Any]]]] = None, 0, []
    """The class that was looked at, how many demands had a name then, and what its own say."""

    _demands: Mapping[demand[Any, Any], Demand[T, Any]] = MappingProxyType({})
    """The demands that were asked for on this manager."""

    def __init__(self, instances: Iterable[T] = ()) -> None:
        self._instances = ManagedInstances(
            [
                hooked(declaration, self) if declaration.hooked else (declaration, {}, None)
                for declaration in _declared_by(type(self))
            ]
        )
        try:
            for instance in instances:
                self.add_instance(instance)
        except BaseException:
            for instance in reversed(self.instances):
                try:
                    self.remove_instance(instance)
                except Exception as error:
                    report(error, f"removing {instance!r} from {self!r}")
            raise

    def _managed(self) -> ManagedInstances[T]:
        if self._instances is None:
            raise RuntimeError(f"{type(self).__qualname__}.__init__ has not called super().__init__() yet")
        return self._instances

    def _find(self, declared: demand[Any, V]) -> Demand[T, V]:
        """Return what `declared` is on this manager."""
        for declaration, members, leases in self._managed().demands:
            if declaration is declared._declaration:  # pyright: ignore[reportPrivateUsage]  # the two are one thing
                # Each of the two is one step, so that all threads get the same object.
                demands: dict[demand[Any, Any], Demand[T, Any]] = vars(self).setdefault("_demands", {})
                return demands.setdefault(declared, Demand(declaration.name, members, leases))
        raise TypeError(
            f"{declared!r} was assigned to its class after {self!r} was made"
            if declared._named  # pyright: ignore[reportPrivateUsage]  # the two are one thing
            else f"{declared!r} has no name, since it was assigned after its class was made: assign it in the class "
            "body, or call its __set_name__(owner, name) first"
        )

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
            raise ValueError(f"{instance!r} is managed by {type(self).__qualname__} already")

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
            raise ValueError(f"{instance!r} is not managed by {type(self).__qualname__}")

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
            raise ValueError(f"{instance!r} is not managed by {type(self).__qualname__}")


# The demands of a class are found once, and once more when any demand has got a name since: it may be one of the class.

_named = 0
"""How many demands have got a name."""


def _declared_by(manager: type[InstanceManager[Any]]) -> list[Declaration[Any, Any]]:
    """Return what the demands of a class say, inherited ones first; what a subclass has overridden is none."""
    cls, named, declarations = manager._declared  # pyright: ignore[reportPrivateUsage]  # the two are one thing
    if cls is manager and named == _named:
        return declarations
    owners = {name: owner for owner in reversed(manager.__mro__) for name in vars(owner)}
    values = [vars(owner)[name] for name, owner in owners.items()]
    found = dict.fromkeys(value for value in values if _is_demand(value) and value._named)  # pyright: ignore[reportPrivateUsage]  # the same
    declarations = [it._declaration for it in found]  # pyright: ignore[reportPrivateUsage]  # the same
    manager._declared = manager, _named, declarations  # pyright: ignore[reportPrivateUsage]  # the same
    return declarations


def _is_demand(value: object) -> TypeGuard[demand[Any, Any]]:
    return isinstance(value, demand)
