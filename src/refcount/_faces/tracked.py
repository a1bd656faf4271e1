"""`tracked`: an attribute whose changes are noticed by those who watch the instance; and what tells by an attribute."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import cached_property, partial, partialmethod, singledispatchmethod
from typing import Generic, Never, Protocol, Self, TypeVar, cast, get_origin, overload
from weakref import ref

from refcount._support.checks import no_name
from refcount._support.naming import name_of, public, short
from refcount._support.reporting import raise_worst
from refcount._support.weak import PerInstance

T = TypeVar("T")


class Watcher(Protocol):
    """Someone who wants to know when a tracked attribute of an instance changes."""

    def look_again(self, instance: object) -> None:
        """Be told that a tracked attribute of `instance` was set or deleted."""
        ...


_watchers: PerInstance[dict[int, ref[Watcher]]] = PerInstance("tracked")

_classes: dict[int, tuple[bool, ref[type[object]]]] = {}
"""Of each class that was asked about, by its id: whether its instances have tracked attributes. A class need not be
hashable, and is not kept alive."""


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

    def __init__(self, *default: Never) -> None:
        if default:
            raise TypeError("tracked takes no default: write `= tracked[...]()`, and set the attribute in __init__")

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.__doc__ = "A plain attribute whose changes are noticed by whoever manages the instance."
        self._name = name
        self._owner = name_of(owner)
        _classes.clear()  # the class may exist already, if somebody calls this by hand
        check_tracked(owner)

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
            raise no_name(self)
        try:
            return vars(instance), self._name
        except TypeError:
            cls = type(instance)
            raise TypeError(
                f"tracked {name_of(cls)}.{self._name} is kept in __dict__, which instances have not: "
                f"{how_to_track(cls)}"
            ) from None

    def _missing(self, instance: object, name: str) -> AttributeError:
        return AttributeError(f"{type(instance).__name__!r} object has no attribute {name!r}", name=name, obj=instance)


def is_tracked(cls: type[object]) -> bool:
    """Say whether the instances of `cls` have tracked attributes.

    Raises:
        TypeError: It only says that it has, in an annotation.
    """
    key = id(cls)
    known = _classes.get(key)
    if known is None:
        check_tracked(cls)
        found = any(isinstance(value, tracked) for owner in cls.__mro__ for value in vars(owner).values())
        # Called with the dead reference, this is `pop(key, default)`.
        _classes[key] = known = found, ref(cls, partial(_classes.pop, key))
    return known[0]


def check_tracked(cls: type[object]) -> None:
    """Raise `TypeError` if a class, or a base of it, has an attribute that is tracked by its annotation alone."""
    for owner in cls.__mro__:
        for name, hint in inspect.get_annotations(owner).items():
            found = inspect.getattr_static(cls, name, None)
            if (found is None or inspect.ismemberdescriptor(found)) and _means_tracked(hint, owner):
                raise TypeError(
                    f"{name_of(owner)}.{name} is tracked by its annotation alone: {how_to_track(cls, name)}"
                )


def _means_tracked(hint: object, owner: type[object]) -> bool:
    """Say whether an annotation, which may be a text, is `tracked[...]`."""
    if isinstance(hint, str):
        head, _, rest = hint.partition("[")[0].partition(".")
        hint = getattr(sys.modules.get(owner.__module__), head, None)
        hint = getattr(hint, rest, None) if rest else hint
    return hint is tracked or get_origin(hint) is tracked


def how_to_track(cls: type[object], name: str = "") -> str:
    """Return what is to be done so that a class has a tracked attribute, whose name may be left out."""
    if hasattr(cls, "__attrs_attrs__"):
        return "write `@attrs.define(slots=False)`, and leave out its annotation, so that it is no field"
    if hasattr(cls, "__dataclass_fields__") and "__slots__" in vars(cls):
        return "leave slots=True out of @dataclass"
    return f"write `{name} = tracked[...]()`" if name else "add '__dict__' to the __slots__"


def watch(instance: object, watcher: Watcher) -> None:
    """Tell `watcher` of the tracked attributes of `instance`, as long as both live; calling it again is harmless.

    Raises:
        TypeError: There can be no weak reference to the instance.
    """
    watchers = _watchers.get(instance, dict)
    watchers[id(watcher)] = ref(watcher, partial(watchers.pop, id(watcher)))


def _tell(instance: object) -> None:
    """Tell every watcher of `instance`, whichever raises."""
    watchers = _watchers.find(instance)
    if watchers:
        errors: list[BaseException] = []
        for weak in watchers.copy().values():
            watcher = weak()
            try:
                if watcher is not None:
                    watcher.look_again(instance)
            except BaseException as error:
                errors.append(error)
        raise_worst(errors, "a manager of an instance of which a tracked attribute was changed")


# What tells by an attribute whether an instance demands

WHO = "what tells whether an instance demands"
"""What a name of an attribute is to the user, and a predicate."""

MISSING = object()
FAILING = property, cached_property
"""What raises an `AttributeError` of its own making, where others have no attribute."""


def needs_attribute(name: str) -> Callable[[object], bool]:
    """Return what tells whether an instance has an attribute of that name, and it is true."""
    if not name.isidentifier():
        raise ValueError(f"{WHO} must be the name of an attribute, not {short(name)}")

    return partial(_needs, name)


def _needs(name: str, instance: object) -> bool:
    value: object = getattr(instance, name, MISSING)
    if value is MISSING:
        # Of what computes it, the error is wanted that it has hidden.
        return isinstance(getattr(type(instance), name, None), FAILING) and bool(getattr(instance, name))
    if isinstance(value, tracked):
        cls = type(instance)
        raise TypeError(f"{value!r} of {name_of(cls)} is no value, but the default of a field: {how_to_track(cls)}")
    if callable(value):
        refuse_method(type(instance), name)
        if isinstance(value, partial) or inspect.isroutine(value):
            raise _always_true(f"{name} of {short(instance)} is the function `{name_of(cast('object', value))}`", name)
    return bool(value)


def _always_true(what: str, name: str) -> TypeError:
    return TypeError(
        f"{what}, which would always be true: write `demand(lambda instance: instance.{name}())`, "
        f"or `instance.{name} is not None` if that is what is meant"
    )


def refuse_method(cls: type, name: str) -> None:
    """Raise `TypeError` if what a class has under a name is a method."""
    found = inspect.getattr_static(cls, name, None)
    if isinstance(found, classmethod | partialmethod | singledispatchmethod) or (
        inspect.isroutine(found) and callable(found)
    ):
        raise _always_true(f"{name_of(cls)}.{name} is a method", name)
