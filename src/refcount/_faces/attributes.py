"""Descriptors: `refcounted_attribute` is a shared resource for each instance, `tracked` tells of its changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, Never, Protocol, Self, TypeVar, overload
from weakref import ref

from refcount._core.per_instance import PerInstance
from refcount._core.shared import SharedResource
from refcount._support.callables import name_of
from refcount._support.checks import check_name
from refcount._support.public import public

T = TypeVar("T")


@public
class refcounted_attribute(Generic[T]):  # read like `property`, which it resembles
    """An attribute that is a shared resource, one for each instance: the instance's first consumer starts it.

    On the class it is the descriptor itself. The resources are kept beside the instances, found by identity: an idle
    one keeps nothing alive, a copy or an unpickled instance has one of its own, and a class with `__slots__` needs
    `__weakref__` among them.

    Args:
        factory: Makes the value, once for each start.
        start: Called with the value then; if it raises, `stop` is not called.
        stop: Called with the value to stop it.
        linger: How many seconds the resource stays up after the last lease is gone.
        check: Asked before a value that is up is handed to a newcomer; if it returns False or raises, the newcomer gets
            a fresh one.
        overlap: Start a new generation at once while the old one still stops, instead of waiting for it.
        name: Names the resources in errors, warnings and reprs; by default the class and the attribute.

    Raises:
        TypeError: The factory or a hook cannot be called, or the linger is no number.
        ValueError: The linger is negative or NaN.

    The idea is `functools.cached_property`'s, for something that has an end as well as a beginning.

    Example:
        >>> from refcount import StoppableThread, refcounted_attribute
        >>> class Producer:
        ...     thread = refcounted_attribute(StoppableThread, start=StoppableThread.start, stop=StoppableThread.stop)
        >>> producer = Producer()
        >>> with producer.thread() as first, producer.thread() as second:
        ...     first is second, producer.thread.usecount
        (True, 2)
        >>> producer.thread
        <SharedResource Producer.thread, idle, usecount=0>
    """

    def __init__(
        self,
        factory: Callable[[], T],
        /,
        *,
        start: Callable[[T], object] | None = None,
        stop: Callable[[T], object] | None = None,
        linger: float = 0.0,
        check: Callable[[T], bool] | None = None,
        overlap: bool = False,
        name: str | None = None,
    ) -> None:
        self._make = partial(
            SharedResource.of, factory, start=start, stop=stop, linger=linger, check=check, overlap=overlap
        )
        check_name("refcounted_attribute", name)
        self._make()  # what is wrong with the arguments shows here, and not at the first access
        self.__doc__ = f"A shared resource, each instance's own, made by `{name_of(factory)}`."
        self._factory = factory
        self._name = name
        self._resources: PerInstance[SharedResource[T]] | None = None

    def __set_name__(self, owner: type[object], name: str) -> None:
        if self._resources is None:  # a second name is another one for the same thing
            self._resources = PerInstance(self._name or f"{owner.__qualname__}.{name}")

    @overload
    def __get__(self, instance: None, owner: type[object], /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> SharedResource[T]: ...
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> Self | SharedResource[T]:
        if instance is None:
            return self
        resources = self._resources
        if resources is None:
            raise TypeError(
                f"{self!r} has no name, since it was assigned after its class was made: assign it in the class body, "
                "or call its __set_name__(owner, name) first"
            )
        return resources.get(instance, lambda: self._make(name=resources.name))

    # Being a data descriptor, it cannot be hidden by what is in the instance's `__dict__`.

    def __set__(self, instance: object, value: Never, /) -> Never:
        raise AttributeError(f"{self!r} of {instance!r} cannot be set to {value!r}: it is a shared resource")

    def __delete__(self, instance: object, /) -> Never:
        raise AttributeError(f"{self!r} of {instance!r} cannot be deleted: it is a shared resource")

    def __repr__(self) -> str:
        name = "" if self._resources is None else f" {self._resources.name}"
        return f"<{type(self).__name__}{name} of {name_of(self._factory)}>"


class Watcher(Protocol):
    """Who wants to know of the tracked attributes of some instances."""

    def look_again(self, instance: object) -> None:
        """A tracked attribute of `instance` was set or deleted."""
        ...


_watchers: PerInstance[dict[int, ref[Watcher]]] = PerInstance("tracked")


@public
class tracked(Generic[T]):  # read like `property`, which it resembles
    """A plain attribute whose changes every `InstanceManager` of the instance notices by itself.

    When it is set or deleted, each manager looks again at what the instance demands, before the assignment returns.
    What a hook of the manager raises then comes out of the assignment, and the attribute is set all the same.

    The value is kept in the `__dict__` of the instance, so that it is copied and pickled like any other; a class that
    has `__slots__` needs `__dict__` and `__weakref__` among them.

    A dataclass may have it as a field, `needs_gpu: tracked[bool] = tracked()`, which may be left out when an instance
    is made. Then the attribute is missing until it is set; `repr` and `==` of a dataclass ask for it. It cannot be a
    field of a dataclass with `slots=True`, which makes a class without it.

    Raises:
        TypeError: When an instance is asked, and has no `__dict__`, or the attribute was assigned after its class was
            made, so that it has no name. Also when an `InstanceManager` gets an instance that has no `__weakref__`.
        AttributeError: When it is read or deleted while it is missing.

    Example:
        >>> from refcount import InstanceManager, demand, tracked
        >>> class Worker:
        ...     needs_gpu = tracked[bool]()
        >>> class Manager(InstanceManager[Worker]):
        ...     gpu = demand("needs_gpu")
        >>> worker = Worker()
        >>> manager = Manager([worker])
        >>> worker.needs_gpu = True
        >>> manager.gpu.usecount
        1
        >>> del worker.needs_gpu
        >>> manager.gpu.usecount
        0
    """

    _name: str | None = None
    _owner = ""

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.__doc__ = "A plain attribute whose changes are noticed by whoever manages the instance."
        self._name = name
        self._owner = owner.__qualname__

    @overload
    def __get__(self, instance: None, owner: type[object], /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> T: ...
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> Self | T:
        if instance is None:
            return self
        values, name = self._place(instance)
        try:
            return values[name]
        except KeyError:
            raise self._missing(instance, name) from None

    def __set__(self, instance: object, value: T, /) -> None:
        values, name = self._place(instance)
        if value is self:
            return  # the `__init__` of a dataclass takes what it finds on the class for the field's default
        values[name] = value
        _tell(instance)

    def __delete__(self, instance: object, /) -> None:
        values, name = self._place(instance)
        try:
            del values[name]
        except KeyError:
            raise self._missing(instance, name) from None
        _tell(instance)

    def __repr__(self) -> str:
        name = "" if self._name is None else f" {self._owner}.{self._name}"
        return f"<{type(self).__name__}{name}>"

    def _place(self, instance: object) -> tuple[dict[str, T], str]:
        """Return where the value of `instance` is kept, and under which name."""
        if self._name is None:
            raise TypeError(
                f"{self!r} has no name, since it was assigned after its class was made: assign it in the class body, "
                "or call its __set_name__(owner, name) first"
            )
        try:
            return vars(instance), self._name
        except TypeError:
            owner = type(instance).__qualname__
            raise TypeError(f"tracked {owner}.{self._name} is kept in __dict__: add it to the __slots__") from None

    def _missing(self, instance: object, name: str) -> AttributeError:
        return AttributeError(f"{type(instance).__name__!r} object has no attribute {name!r}", name=name, obj=instance)


def watch(instance: object, watcher: Watcher) -> None:
    """Tell `watcher` of the tracked attributes of `instance`, if it has any, as long as both live; harmless again."""
    if any(isinstance(value, tracked) for owner in type(instance).__mro__ for value in vars(owner).values()):
        watchers = _watchers.get(instance, dict)
        # Called with the dead reference, this is `pop(key, default)`.
        watchers[id(watcher)] = ref(watcher, partial(watchers.pop, id(watcher)))


def _tell(instance: object) -> None:
    watchers = _watchers.find(instance)
    if watchers:
        _tell_all([weak() for weak in watchers.copy().values()], instance)


def _tell_all(watchers: list[Watcher | None], instance: object) -> None:
    """Tell all of them, whichever raises."""
    if watchers:
        try:
            if watchers[0] is not None:
                watchers[0].look_again(instance)
        finally:
            _tell_all(watchers[1:], instance)
