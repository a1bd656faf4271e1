"""Decorated classes: the with-statement of each instance is shared by all who enter it."""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from functools import partial, wraps
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast
from weakref import ref

from refcount._core.lease import Lease
from refcount._core.openers import Options
from refcount._core.shared import SharedResource, new_resource
from refcount._errors import RefcountError
from refcount._faces.signatures import SupportsEnter
from refcount._support.naming import public
from refcount._support.weak import PerInstance

if TYPE_CHECKING:
    from refcount._core.openers import Life

T = TypeVar("T")
C = TypeVar("C", bound=SupportsEnter[object])

# `Any` is what a class itself wrote: its methods, which are found by name, and what its `__enter__` gives, which no
# type can say of a `C`.

MARK = "__refcount_sharing__"
"""The attribute of a decorated class that holds its `SharedClass`."""

METHODS = ("__enter__", "__exit__")
HOOKS = ("start", "stop")
"""What they call in a `StartStop`."""


class Entries(Generic[T]):
    """Who is inside the with-statement of one instance.

    Args:
        resource: The resource of the instance, which it must not keep alive while idle.
    """

    # Only C code touches the entries, each in one step, so that no lock is taken under which a finalizer that leaves
    # the same instance could come.

    __slots__ = ("_entered", "resource")

    def __init__(self, resource: SharedResource[T]) -> None:
        self.resource = resource
        self._entered: dict[Lease[T], object] = {}

    def enter(self) -> T:
        """Hold one more lease, for whoever calls."""
        lease = self.resource()
        try:
            value = lease.__enter__()
            self._entered[lease] = current_owner()
            return value
        except BaseException:
            self._entered.pop(lease, None)
            lease.release()
            raise

    def leave(self, taken: list[Lease[T]]) -> None:
        """Give back what the caller entered last, or else any lease, and note it in `taken`; goes on from there."""
        if not taken:
            me, entered = current_owner(), self._entered.copy()
            candidates = sorted(entered, key=lambda lease: entered[lease] == me)  # the caller's last one stands last
            while candidates and not taken:
                lease = candidates.pop()
                if self._entered.pop(lease, None) is not None:
                    taken.append(lease)
        for lease in taken:
            lease.release()


class SharedClass(Generic[T]):
    """How one decorated class shares its instances.

    Args:
        cls: The class, with its own `__enter__` and `__exit__` still in place.
        name: What its resources are called.
        options: What else was said of them.
    """

    def __init__(self, cls: type[SupportsEnter[T]], name: str, options: Options[T]) -> None:
        self._name = name
        self._options = options
        self.written = _written(cls)
        self._instances = PerInstance[Entries[T]](f"@refcounted_resource on {cls.__qualname__}")

    def entries(self, instance: object) -> Entries[T]:
        """Who is inside `instance`."""
        return self._instances.get(instance, lambda: Entries(self._resource(instance)))

    def own(self, instance: object, method: str) -> Callable[..., Any]:
        """What `instance` would do if its class were not decorated: the class's own method, or the one it inherits."""
        own = self.written.get(method)
        if own is None:
            own = next(vars(base)[method] for base in self._bases(type(instance)) if method in vars(base))
        return cast("Callable[..., Any]", own.__get__(instance, type(instance)))

    def _bases(self, kind: type) -> Iterator[type]:
        """What follows the decorated class in the method resolution order of `kind`."""
        order = iter(kind.__mro__)
        # By its mark, for `@dataclass(slots=True)` above the decorator makes another class with the same attributes.
        next(cls for cls in order if vars(cls).get(MARK) is self)
        return order

    def _resource(self, instance: object) -> SharedResource[T]:
        return new_resource(
            cast("Callable[[], Life[T]]", partial(self._life, ref(instance))), self._name, self._options
        )

    def _life(self, weak: ref[object]) -> Generator[T, None, None]:
        instance = weak()  # from here to its end a generation keeps its instance alive
        if instance is None:
            raise ReferenceError(f"this resource's instance of {self._name} is gone: keep it while you use it")
        enter, leave = self.own(instance, "__enter__"), self.own(instance, "__exit__")
        # As in `openers`: no signal is delivered where a `yield from` is resumed.
        yield from (enter(),)
        leave(None, None, None)


def shared_class(cls: type[C], options: Options[Any], name: str | None) -> type[C]:
    """Make the with-statement of each instance of `cls` shared; the class itself is changed and returned.

    The decoration nearest to an instance's class counts. In a base that is decorated as well, `__enter__` and
    `__exit__` do what the base itself wrote, so that an instance has one resource, started and stopped once.

    Raises:
        TypeError: The class cannot be entered, is asynchronous, cannot be changed, or its instances cannot be
            referenced weakly.
    """
    _refuse_unfit(cls)
    name = cls.__qualname__ if name is None else name
    shared = SharedClass[object](cls, name, options)
    enter, leave = _methods(cls, shared)
    try:
        setattr(cls, MARK, shared)
    except TypeError:
        raise TypeError(f"{cls!r} cannot be changed, and so not be shared: decorate a subclass") from None
    for method, function in zip(METHODS, (enter, leave), strict=True):
        setattr(cls, method, function)
    return cls


def _methods(
    cls: type[SupportsEnter[object]], shared: SharedClass[object]
) -> tuple[Callable[[object], object], Callable[[object, object, object, object], object]]:
    """Return the `__enter__` and the `__exit__` that a decorated class gets."""

    @wraps(cls.__enter__)
    def enter(self: object) -> object:
        if _shared_by(self) is shared:
            return shared.entries(self).enter()
        return shared.own(self, "__enter__")()  # called by what a decorated subclass wrote

    @wraps(cls.__exit__)
    def leave(self: object, exc_type: object, exc: object, traceback: object, /) -> object:
        if _shared_by(self) is not shared:
            return shared.own(self, "__exit__")(exc_type, exc, traceback)
        taken: list[Lease[object]] = []
        try:
            shared.entries(self).leave(taken)
        except BaseException:
            shared.entries(self).leave(taken)  # an interrupt may have come too early; else this finds nothing to do
            raise
        if not taken:
            raise RefcountError(f"{self!r} was left without having been entered")
        return None

    return enter, leave


def _written(cls: type) -> dict[str, Any]:
    """Return those of the two methods that `cls` itself wrote, even if it was decorated before."""
    before: SharedClass[Any] | None = vars(cls).get(MARK)
    return before.written if before else {method: vars(cls)[method] for method in METHODS if method in vars(cls)}


def _shared_by(instance: object) -> SharedClass[Any] | None:
    """How the class of `instance` shares it, if it is decorated."""
    shared: SharedClass[Any] | None = getattr(type(instance), MARK, None)
    return shared


def _refuse_unfit(cls: type) -> None:
    """Raise `TypeError` if instances of `cls` cannot be shared."""
    for method in METHODS:
        found = getattr(cls, method, None)
        if found is None:
            raise TypeError(
                f"{cls!r} has no {method}, so that its instances cannot be shared: "
                "write __enter__ and __exit__, or derive it from StartStop"
            )
        if getattr(found, "__isabstractmethod__", False):
            raise TypeError(f"{method} of {cls!r} is abstract: decorate the classes that write it")
    for method in (*METHODS, *HOOKS) if StartStop in cls.__mro__ else METHODS:
        if inspect.iscoroutinefunction(getattr(cls, method)):
            raise TypeError(f"{method} of {cls!r} is asynchronous: nobody would await it, so write a plain `def`")
    if not cls.__weakrefoffset__:
        raise TypeError(
            f"there are no weak references to instances of {cls!r}, so that they cannot be shared: "
            "add '__weakref__' to its __slots__"
        )


def current_owner() -> object:
    """Return what enters and leaves: the asyncio task that runs here, or else the thread."""
    asyncio: Any = sys.modules.get("asyncio")  # where nobody has imported it, no task runs
    # `current_task` alone would say by an error that no event loop runs, which costs more than all the rest.
    running_loop = getattr(asyncio, "_get_running_loop", None)  # absent while another thread is still importing
    if running_loop is None or running_loop() is None:
        return get_ident()
    return asyncio.current_task() or get_ident()


@public
def resource_of(instance: SupportsEnter[T]) -> SharedResource[T]:
    """Return the shared resource behind an instance of a class that is decorated with `@refcounted_resource`.

    Its value is what the decorated class's own `__enter__` returned. It does not keep the instance alive.

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
    shared: SharedClass[T] | None = _shared_by(instance)
    if shared is None:
        raise TypeError(f"the class of {instance!r} is not decorated with @refcounted_resource")
    return shared.entries(instance).resource


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
