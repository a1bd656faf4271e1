"""Decorated classes: the with-statement of each instance is shared by all who enter it."""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from functools import update_wrapper
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from refcount._faces.decorators import SupportsAsyncEnter, SupportsEnter
from refcount._faces.shared_classes import INIT_SUBCLASS, WHAT, SharedClass, own_name
from refcount._faces.thread_classes import ThreadClass
from refcount._support.checks import check_function, check_taken
from refcount._support.naming import name_of, public

if TYPE_CHECKING:
    from refcount._core.async_shared import AsyncSharedResource
    from refcount._core.shared import SharedResource
    from refcount._faces.terms import Terms

T = TypeVar("T")

# `Any` is what a class itself wrote: its methods, which are found by name, and what its `__enter__` gives, which no
# type can say of a class.

PAIRS = {"__enter__": "__exit__", "__aenter__": "__aexit__"}
"""What is shared, by threads and by tasks."""

MARKS = ("__refcount_sharing__", "__refcount_async_sharing__")
"""The attributes of a shared class that hold its `SharedClass`, for each pair."""

LEFT_WITH = ("None", "None", "None")
"""What the second of a pair is called with, besides the instance."""


def shared_class(cls: type[T], terms: Terms[Any]) -> type[T]:
    """Make the with-statement of each instance of `cls` shared; the class itself is changed and returned.

    So is that of the subclasses, with whatever `__enter__` and `__exit__` they write. The class nearest to an instance
    counts that was decorated, or wrote one of the two: in those above it they do what was written there, so that an
    instance has one resource, started and stopped once. The same holds for `__aenter__` and `__aexit__`, among tasks;
    a class that has both pairs has two resources for each instance, one for each pair.

    With `own_thread`, `__enter__` and `__exit__` run in a thread of the resource's own. Nobody can see whether a class
    can do with that: one that must enter in its caller's thread, a lock say, must not ask for it.

    Raises:
        TypeError: The class cannot be entered, exists under its name already, cannot be changed, or its instances
            cannot be referenced weakly; or an option has no effect on it.
    """
    pairs = _pairs_of(cls)
    for enter in pairs:
        _refuse_unfit(cls, enter)
    _refuse_known(cls)
    if not isinstance(terms.name, str | None):
        check_function(f"the name of {name_of(cls)}", terms.name, ("the instance",))
    sharings = [_sharing_by(cls, enter, terms, alone=len(pairs) == 1) for enter in pairs]
    for shared in sharings:
        _share(cls, shared)

    def init_subclass(subclass: type, /, **kwargs: object) -> None:
        sharings[0].written(subclass, INIT_SUBCLASS).__get__(None, subclass)(**kwargs)
        _share_subclass(subclass)

    written: Any = getattr(sharings[0].written(cls, INIT_SUBCLASS), "__func__", None)
    if written is not None:  # in Python, other than that of `object`
        update_wrapper(init_subclass, written)
    cast("Any", cls).__init_subclass__ = classmethod(init_subclass)
    return cls


def _pairs_of(cls: type) -> list[str]:
    """Return by what the instances of `cls` are entered: the first of each pair that it has."""
    found = [enter for enter, leave in PAIRS.items() if hasattr(cls, enter) or hasattr(cls, leave)]
    return found or ["__enter__"]


def _sharing_by(cls: type, enter: str, terms: Terms[Any], *, alone: bool) -> SharedClass[Any]:
    """Return how `cls` shares one of its pairs, which may be the only one."""
    name = name_of(cls)
    if enter == "__enter__":
        return ThreadClass(terms.for_threads(name, alone=alone), terms.name)
    from refcount._faces.async_classes import TaskClass  # not before it is needed: it stands on anyio

    return TaskClass(terms.for_tasks(name, alone=alone), terms.name)


def _share_subclass(cls: type) -> None:
    """Share a subclass of a shared class as well, if it writes or brings methods of its own."""
    for mark in MARKS:
        shared: SharedClass[Any] | None = getattr(cls, mark, None)
        if shared is not None:
            pair = shared.pair
            _refuse_unfit(cls, pair.enter)
            first = [next(base for base in cls.__mro__ if method in vars(base)) for method in (pair.enter, pair.leave)]
            if any(vars(base).get(mark) is not shared for base in first):
                _share(cls, type(shared)(shared.options, shared.name))


def _share(cls: type, shared: SharedClass[Any]) -> None:
    """Put the shared methods into `cls`, and its own ones aside."""
    pair, before = shared.pair, vars(cls)
    aside = [] if pair.mark in before else [pair.enter, pair.leave]
    if not any(mark in before for mark in MARKS):
        aside.append(INIT_SUBCLASS)
    own = {own_name(method): before[method] for method in aside if method in before}
    enter, leave = shared.methods(cls)
    try:
        setattr(cls, pair.mark, shared)
    except (TypeError, AttributeError):
        raise TypeError(f"{name_of(cls)} cannot be changed, and so not be shared: decorate a subclass") from None
    for attribute, value in (*own.items(), (pair.enter, enter), (pair.leave, leave)):
        setattr(cls, attribute, value)


def _refuse_unfit(cls: type, enter: str) -> None:
    """Raise `TypeError` if instances of `cls` cannot be shared as they are entered by `enter`."""
    hooks = {"start": (), "stop": ()} if enter == "__enter__" and StartStop in cls.__mro__ else {}
    for method, given in {enter: (), PAIRS[enter]: LEFT_WITH, **hooks}.items():
        found = getattr(cls, method, None)
        if found is None:
            raise TypeError(
                f"{name_of(cls)} has no {method}, so that its instances cannot be shared: "
                "write __enter__ and __exit__, or derive it from StartStop; or __aenter__ and __aexit__, for tasks"
            )
        plain = isinstance(inspect.getattr_static(cls, method), FunctionType)
        whole, what = ("the instance", *given) if plain else None, f"{method} of {name_of(cls)}"
        if enter == "__enter__":
            if inspect.iscoroutinefunction(found):
                raise TypeError(
                    f"{what} must not be asynchronous, since nobody would wait for it: "
                    "what tasks share is entered by __aenter__, and left by __aexit__"
                )
            check_function(what, found, whole)
        elif whole is not None:
            check_taken(what, found, whole)
    if not cls.__weakrefoffset__:
        raise TypeError(
            f"there are no weak references to instances of {name_of(cls)}, so that they cannot be shared: "
            "add '__weakref__' to its __slots__"
        )


def _refuse_known(cls: type) -> None:
    """Raise `TypeError` if `cls` is in use already: it has its name when it is made, and so after its decorators."""
    found: object = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    if found is cls:
        raise TypeError(
            f"{name_of(cls)} exists already, and is not changed under the feet of its other users: write {WHAT} above "
            f"its own `class` statement, or above `class Mine({cls.__name__}): ...`, or above a generator function "
            "that enters a new one"
        )


@overload
def resource_of(instance: SupportsEnter[T]) -> SharedResource[T]: ...
@overload
def resource_of(instance: SupportsAsyncEnter[T]) -> AsyncSharedResource[T]: ...
@public
def resource_of(instance: object) -> object:
    """Return the shared resource behind an instance of a class that is decorated with `@refcounted_resource`.

    Its value is what the decorated class's own `__enter__` returned. It does not keep the instance alive. Of a class
    that is entered by `async with` it is an `AsyncSharedResource`; of one that can be entered both ways, which has a
    resource for each of them, it is the one for threads.

    Raises:
        TypeError: The instance's class is not decorated.

    Example:
        >>> from refcount import StartStop, refcounted_resource, resource_of
        >>> @refcounted_resource
        ... class Camera(StartStop):
        ...     def start(self):
        ...         print("start")
        ...
        ...     def stop(self):
        ...         print("stop")
        >>> camera = Camera()
        >>> with camera, camera:
        ...     resource_of(camera).usecount
        start
        2
        stop
    """
    cls = type(instance)
    for mark in MARKS:
        shared: SharedClass[Any] | None = getattr(cls, mark, None)
        if shared is not None:
            return shared.resource(instance)
    raise TypeError(f"the class {cls.__qualname__} is not decorated with {WHAT}")


@public
class StartStop(ABC):
    """A base class for what has `start()` and `stop()`: entering it starts it and gives itself, leaving it stops it.

    If `start` raises, `stop` is not called. What a with-body raises goes on, and `stop` is not told of it. Nor is an
    `__exit__` that a class writes itself, once the class is decorated with `@refcounted_resource`: it always gets
    (None, None, None), and what it returns is ignored.

    Example:
        >>> from refcount import StartStop
        >>> class Motor(StartStop):
        ...     def start(self):
        ...         print("start")
        ...
        ...     def stop(self):
        ...         print("stop")
        >>> with Motor() as motor:
        ...     print("running")
        start
        running
        stop
    """

    __slots__ = ("__weakref__",)

    @abstractmethod
    def start(self) -> None:
        """Begin; whoever needs it waits for this to return."""

    @abstractmethod
    def stop(self) -> None:
        """End what `start` began."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.stop()
