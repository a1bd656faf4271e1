"""`demand`: what managed instances may need of their manager, declared on its class; `Demand`: who of them does."""
# pyright: reportPrivateUsage=false
# What a demand has of its manager, and its manager of it, is private because users have both in their hands.

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from types import MappingProxyType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Never,
    Protocol,
    Self,
    TypeGuard,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    overload,
)

from refcount._core.lease import is_lease
from refcount._errors import ReleasedError
from refcount._faces.tracked import WHO, check_tracked, needs_attribute, refuse_method
from refcount._support.checks import (
    Member,
    check_async_opener,
    check_function,
    check_opener,
    is_lease_for_tasks,
    is_member,
    misfit,
    opens_for_tasks,
)
from refcount._support.identity import IdentitySet
from refcount._support.naming import name_of, public, short
from refcount._support.reporting import note

if TYPE_CHECKING:
    import typing_extensions

    from refcount._core.async_shared import AsyncSharedResource
    from refcount._faces.async_demand_hooks import AsyncLateLeases
    from refcount._faces.attributes import refcounted_attribute
    from refcount._faces.demand_hooks import LateLeases
    from refcount._faces.managers import InstanceManager
    from refcount._faces.methods import AsyncResourceMethod, ResourceMethod

    I_contra = typing_extensions.TypeVar("I_contra", contravariant=True, default=object)
    V_co = typing_extensions.TypeVar("V_co", covariant=True, default=None)
else:
    I_contra = TypeVar("I_contra", contravariant=True)
    V_co = TypeVar("V_co", covariant=True)

T = TypeVar("T")
V = TypeVar("V")
N = TypeVar("N")
T_co = TypeVar("T_co", covariant=True)
W_co = TypeVar("W_co", covariant=True)

# A demand is declared on a class that its types do not know: `Any` is what that class and its subclasses manage, and
# in a hook the manager. For a predicate the first is what a lambda is inferred to be, the second what a function says.

Hook = Callable[[Any], object]
Changed = Callable[[Any, tuple[Any, ...]], object]
Predicate = Callable[[Any], bool] | Callable[[N], bool]

if TYPE_CHECKING:
    Plain = Callable[[], AbstractContextManager[V]] | refcounted_attribute[V] | ResourceMethod[[], V]
    OfClass = refcounted_attribute[V, AsyncSharedResource[V]] | AsyncResourceMethod[[], V]
    Opener = Plain[V] | Callable[[], AbstractAsyncContextManager[V]] | OfClass[V]


class Manages(Generic[T]):
    """The part of an `InstanceManager` that a `demand` knows; nothing else has any."""

    _declared: ClassVar[tuple[object, int, list[demand[Any, Any]]]] = None, 0, []
    """The class that was looked at, how many demands had a name then, and its own."""

    _demands: Mapping[demand[Any, Any], Demand[T, Any]] = MappingProxyType({})
    """The demands that were asked for on this manager."""

    def _find(self, declared: demand[Any, V]) -> Demand[T, V]:
        """Return what `declared` is on this manager."""
        raise NotImplementedError


class Managing(Protocol[T_co]):
    """A manager as `demand` looks at it: one whose instances a predicate must be able to take."""

    @property
    def instances(self) -> tuple[T_co, ...]: ...


_MANAGER, _CHANGE = ("the manager",), ("the manager", "the demanders")
"""What hooks are called with."""

_FOR_RESOURCE = ": what is to be held is given as resource="


@public
class demand(Generic[I_contra, V_co]):  # read like `property`, which it resembles
    """What managed instances may need of their `InstanceManager`, declared on its class.

    On an instance of the class it is a `Demand`: a live, read-only set of the managed instances that need it, false
    when there are none. Whether an instance does is found out when it is added and remembered, so that an attribute
    which changes afterwards cannot unbalance anything; `InstanceManager.refresh` looks again.

    Args:
        needed_by: The name of an attribute, which demands when it exists and is true, but must be no method, which
            always is; or a predicate, called with the instance. A property that raises `AttributeError` is not taken
            for one that does not exist. A name that no instance has never demands.
        acquire: Called with the manager when the first instance comes to demand. If it raises, the instance is not
            added, nor are those that other threads would add to this demand meanwhile. Others that it has added itself
            stay managed, but do not demand until they are looked at again.
        release: Called with the manager when none demands any more. What it raises goes to the caller, and the demand
            is over all the same. `acquire` and `release` alternate and never overlap; while one runs, other threads
            that would add to this demand or take from it wait.
        changed: Called with the manager and a tuple of all who demand, after each change: in order, one at a time,
            after `acquire` and before `release`. If it raises when an instance has come, that one is not added; when
            one has gone, that goes to the caller. While it runs, others wait as above; what it changes itself it is
            told when it has returned.
        resource: A `SharedResource` (or anything else that gives a context manager when called), held from before
            `acquire` until after `release`; its value is the demand's `value`. An attribute or a method of the
            manager's own class that gives leases, written above, is looked up on the manager. An
            `AsyncSharedResource`, or whatever else gives an asynchronous one, is for managers whose instances are added
            and removed by `await manager.add_instance_async(...)` and the like; hooks are plain functions there too.

    Raises:
        TypeError: `needed_by` is neither a name nor callable, or a function cannot be called as it will be. When the
            class is made: it is no `InstanceManager`, or the attribute is a method of a class that it manages.
        ValueError: The name is no identifier.

    Example:
        >>> from refcount import InstanceManager, demand
        >>> class Worker:
        ...     def __init__(self, gpus: int = 0) -> None:
        ...         self.gpus = gpus
        >>> class Manager(InstanceManager[Worker]):
        ...     gpu = demand(
        ...         lambda worker: worker.gpus > 0,
        ...         acquire=lambda manager: print("GPU on"),
        ...         release=lambda manager: print("GPU off"),
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

    def __init__(
        self,
        needed_by: str | Predicate[I_contra],
        /,
        *,
        acquire: Hook | None = None,
        release: Hook | None = None,
        changed: Changed | None = None,
        resource: Opener[V_co] | None = None,
    ) -> None:
        self._attribute = needed_by if isinstance(needed_by, str) else None
        self._name: str = needed_by if isinstance(needed_by, str) else name_of(needed_by)
        self._needs: Callable[[Any], bool] = needs_attribute(needed_by) if isinstance(needed_by, str) else needed_by
        check_function(WHO, self._needs, ("the instance",), _FOR_RESOURCE)
        hooks = ("acquire", acquire, _MANAGER), ("release", release, _MANAGER), ("changed", changed, _CHANGE)
        for what, hook, given in hooks:
            if hook is not None:
                check_function(what, hook, given, _FOR_RESOURCE)
        self._for_tasks: bool = opens_for_tasks(resource)
        if resource is not None:
            _check_resource(resource)
        self._acquire = acquire
        self._release = release
        self._changed = changed
        self._member: Member | None = Member(resource, "a demand") if is_member(resource) else None
        self._opener: Any = resource if self._member is None else None
        self._hooked: bool = resource is not None or any(hook is not None for _, hook, _ in hooks)
        self._named = False
        self.__doc__ = f"The managed instances that demand it, as `{self._name}` tells: a live, read-only set."

    def __set_name__(self, owner: type[object], name: str) -> None:
        global _named
        full_name = f"{name_of(owner)}.{name}"
        if not issubclass(owner, Manages):
            raise TypeError(
                f"{full_name} is a demand, which only a manager can have: write "
                f"`class {owner.__name__}(InstanceManager[...])`"
            )
        if self._attribute is not None:
            for cls in _managed_by(cast("type", owner)):
                check_tracked(cls)
                refuse_method(cls, self._attribute)
        self._name = full_name
        self._named = True
        _named += 1

    def __bool__(self) -> Never:
        raise TypeError(f"{self!r} is no set of instances: that is what it is on a manager, in whose class it stands")

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
            return instance._demands[self]
        except KeyError:
            return instance._find(self)

    def __set__(self, instance: object, value: Never, /) -> Never:
        raise AttributeError(
            f"{self!r} of {short(instance)} cannot be set to {short(value)}: it follows the managed instances"
        )

    def __delete__(self, instance: object, /) -> Never:
        raise AttributeError(f"{self!r} of {short(instance)} cannot be deleted: it follows the managed instances")

    def __repr__(self) -> str:
        return f"<demand {self._name}>"

    def _note(self, error: Exception, instance: object) -> None:
        """Let `error` say on whose account it was raised: once, for several threads may share it."""
        mine = f"in {self._name}, on account of "
        # The shared resource behind the hooks is called like the demand, and is none that a reader has heard of.
        ours = f"while starting {self._name}, ", f"while stopping {self._name}, "
        with suppress(Exception):  # notes are a courtesy
            notes: list[str] = getattr(error, "__notes__", [])
            notes[:] = [text for text in notes if not text.startswith(ours)]
            if not any(text.startswith(mine) for text in notes):
                note(error, f"{mine}{short(instance)}")


# The demands of a class are found once, and once more when any demand has got a name since: it may be one of the class.

_named = 0
"""How many demands have got a name."""


def declared_by(manager: type[Manages[Any]]) -> list[demand[Any, Any]]:
    """Return the demands of a class, inherited ones first; what a subclass has overridden is none."""
    cls, named, found = manager._declared
    if cls is not manager or named != _named:
        owners = {name: owner for owner in reversed(manager.__mro__) for name in vars(owner)}
        values = [vars(owner)[name] for name, owner in owners.items()]
        found = [*dict.fromkeys(value for value in values if _is_demand(value) and value._named)]
        manager._declared = manager, _named, found
    return found


def _managed_by(manager: type) -> list[type]:
    """Return the classes whose instances a class says it manages, as in `InstanceManager[Plain | Picky]`."""
    bases = [base for owner in manager.__mro__ for base in vars(owner).get("__orig_bases__", ())]
    managers = [base for base in bases if isinstance(kind := get_origin(base), type) and issubclass(kind, Manages)]
    return [cls for base in managers for said in get_args(base) for cls in _classes(said)]


def _classes(said: object) -> list[type]:
    origin = get_origin(said)
    if origin is Union or origin is UnionType:
        return [cls for part in get_args(said) for cls in _classes(part)]
    cls = said if origin is None else origin
    return [cls] if isinstance(cls, type) else []


def _is_demand(value: object) -> TypeGuard[demand[Any, Any]]:
    return isinstance(value, demand)


def _check_resource(resource: object) -> None:
    """Raise `TypeError` unless it can be called for a context manager, as far as that can be seen without doing it."""
    if is_lease(resource) or is_lease_for_tasks(resource):
        raise TypeError(f"resource must be what gives leases, which are used once, not {short(resource)}")
    if is_member(resource):
        unfit = misfit(resource, ("the manager",))
        if unfit:
            raise TypeError(f"resource is called with the manager alone, and `{name_of(resource)}` takes {unfit}")
        return
    (check_async_opener if opens_for_tasks(resource) else check_opener)("resource", resource)


@public
class Demand(IdentitySet[T_co], Generic[T_co, W_co]):
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

    _leases: LateLeases[T_co, W_co] | AsyncLateLeases[T_co, W_co] | None
    _name: str

    def __init__(self, made_by_a_manager: Never, /) -> None:
        raise TypeError(
            f"a Demand is what a manager has: write demand({short(made_by_a_manager)}) in the body of its class"
        )

    def __reduce__(self) -> Never:  # what `copy` and `pickle` ask
        raise TypeError(f"{self!r} cannot be copied or pickled: it is its manager's, so make a list of it")

    @property
    def usecount(self) -> int:
        """How many managed instances demand."""
        return len(self)

    @property
    def value(self) -> W_co:
        """The value of the demand's resource; None for a demand that has no resource.

        Raises:
            ReleasedError: Nobody demands, so the resource is not held.

        Example:
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
        begun = None if self._leases is None else self._leases.find()
        held = begun.held if begun is not None else nothing if self and self._leases is None else None
        if held is None:
            why = "it was the parent process's, refresh an instance" if self else "no managed instance demands it"
            raise ReleasedError(f"{self._name} has no value: {why}")
        return held[0]

    def __repr__(self) -> str:
        return f"<Demand {self._name}, usecount={self.usecount}>"


def new_demand(
    name: str, members: dict[int, T], leases: LateLeases[T, V] | AsyncLateLeases[T, V] | None
) -> Demand[T, V]:
    """Make a `Demand`, which users do not; `leases` are those of its members, if anything is done meanwhile."""
    demand: Demand[T, V] = _new(Demand)
    demand._members, demand._name, demand._leases = members, name, leases
    return demand


_new: Callable[[type[Any]], Any] = object.__new__
