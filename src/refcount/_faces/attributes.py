"""`refcounted_attribute`: a descriptor that is a shared resource for each instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Never, Self, TypeVar, overload

from refcount._core.openers import Options, lives_of_hooks
from refcount._core.shared import SharedResource, new_resource
from refcount._support.checks import check_hooks, check_name
from refcount._support.naming import name_of, public
from refcount._support.weak import PerInstance

T = TypeVar("T")


@public
class refcounted_attribute(Generic[T]):  # read like `property`, which it resembles
    """An attribute that is a shared resource, one for each instance: the instance's first consumer starts it.

    On the class it is the descriptor itself. The resources are kept beside the instances, found by identity: an idle
    one keeps nothing alive, a copy or an unpickled instance has one of its own, and a class with `__slots__` needs
    `__weakref__` among them.

    Args:
        factory: Makes the value, once for each start.
        start: Called with the value then; if it raises, `stop` is called with it, so that nothing half-started is left
            behind.
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
        check_hooks("the factory of a refcounted_attribute", factory, start, stop)
        check_name("refcounted_attribute", name)
        self._options: Options[T] = Options(linger, check, overlap)
        self._lives = lives_of_hooks(factory, start, stop, self._full_name)
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
        return resources.get(instance, lambda: new_resource(self._lives, resources.name, self._options))

    def _full_name(self) -> str:
        return name_of(self._factory) if self._resources is None else self._resources.name

    # Being a data descriptor, it cannot be hidden by what is in the instance's `__dict__`.

    def __set__(self, instance: object, value: Never, /) -> Never:
        raise AttributeError(f"{self!r} of {instance!r} cannot be set to {value!r}: it is a shared resource")

    def __delete__(self, instance: object, /) -> Never:
        raise AttributeError(f"{self!r} of {instance!r} cannot be deleted: it is a shared resource")

    def __repr__(self) -> str:
        name = "" if self._resources is None else f" {self._resources.name}"
        return f"<{type(self).__name__}{name} of {name_of(self._factory)}>"
