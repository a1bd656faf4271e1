"""Decorated classes: the with-statement of each instance is shared by all who enter it."""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from functools import partial, update_wrapper, wraps
from threading import get_ident
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast
from weakref import ref

from refcount._core.lease import Lease
from refcount._core.openers import Options, asks_for_runner, runner_for_later
from refcount._core.shared import SharedResource, new_resource
from refcount._errors import RefcountError
from refcount._faces.decorators import SupportsEnter
from refcount._support.checks import check_function
from refcount._support.naming import name_of, named, public
from refcount._support.weak import NOBODY, PerInstance, made_once

if TYPE_CHECKING:
    from refcount._core.openers import Life

T = TypeVar("T")
C = TypeVar("C", bound=SupportsEnter[object])

# `Any` is what a class itself wrote: its methods, which are found by name, and what its `__enter__` gives, which no
# type can say of a `C`.

WHAT = "@refcounted_resource"

MARK = "__refcount_sharing__"
"""The attribute of a shared class that holds its `SharedClass`."""

METHODS = {"__enter__": ("the instance",), "__exit__": ("the instance", "None", "None", "None")}
"""What is shared, and what it is called with."""

HOOKS = {"start": ("the instance",), "stop": ("the instance",)}
"""The same of what they call in a `StartStop`."""

OWN = {method: f"__refcount_{method.strip('_')}__" for method in (*METHODS, "__init_subclass__")}
"""Where a class keeps what it wrote itself: among its attributes, for a decorator above that makes another class of
them (attrs does) looks there for functions whose `super()` it has to mend."""


class Entries(Generic[T]):
    """The resource of one instance, and who is inside its with-statement.

    While the resource is up, it refers to the instance, and it is its leases that keep it: so a lease that the instance
    itself keeps goes with it. While it is idle, it is kept here.

    Args:
        make: Makes the resource, which must not keep the instance alive while idle.
    """

    # Only C code touches the leases, each in one step, so that no lock is taken under which a finalizer that leaves the
    # same instance could come.

    __slots__ = ("_entered", "_make", "_weak", "kept", "life")

    def __init__(self, make: Callable[[], SharedResource[T]]) -> None:
        self._make = make
        self._weak: Callable[[], SharedResource[T] | None] = NOBODY
        self._entered: dict[Lease[T], object] = {}
        self.kept: SharedResource[T] | None = make()
        self.life: object = None
        """The newest of the lives for which the resource is left to its leases."""

    def resource(self) -> SharedResource[T]:
        """Return the resource of the instance."""
        found = self.kept or self._weak()
        if found is None:  # lost by others a moment ago, and not yet given back
            self.kept = found = self._make()
        return found

    def leave_to_leases(self, resource: SharedResource[T], life: object) -> None:
        """Keep `resource` no more, for as long as `life` lasts."""
        self._weak = ref(resource)
        self.life = life
        self.kept = None

    def enter(self) -> T:
        """Hold one more lease, for whoever calls."""
        lease = self.resource()()
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
    """How one class shares its instances.

    Args:
        options: What was said of their resources.
        name: What these are called: a text, a function of the instance, or None for the instance's class.
    """

    def __init__(self, options: Options[T], name: str | Callable[..., str] | None) -> None:
        self.options = options
        self.name = name
        self._instances = PerInstance[Entries[T]](WHAT)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...]]:
        return made_once(self, type(self)), (
            self.options,
            self.name,
        )  # for cloudpickle, which takes classes of `__main__` to pieces

    def entries(self, instance: object) -> Entries[T]:
        """Who is inside `instance`."""
        return self._instances.get(instance, lambda: Entries(partial(self._resource, ref(instance))))

    def own(self, instance: object, method: str) -> Callable[..., Any]:
        """What `instance` would do if its class were not shared: the class's own method, or the one it inherits."""
        return cast("Callable[..., Any]", self.written(type(instance), method).__get__(instance, type(instance)))

    def written(self, kind: type, method: str) -> Any:
        """Return what `kind` would find as `method` if the class that this is of were not shared."""
        order = iter(kind.__mro__)
        # By its mark, for `@dataclass(slots=True)` above the decorator makes another class with the same attributes.
        marked = next(cls for cls in order if vars(cls).get(MARK) is self)
        own = vars(marked).get(OWN[method])
        return next(vars(base)[method] for base in order if method in vars(base)) if own is None else own

    def _resource(self, weak: ref[object]) -> SharedResource[T]:
        kind, name = name_of(type(weak())), self.name
        full_name = named(name if name is None or isinstance(name, str) else partial(_ask, name, weak), kind)
        return new_resource(cast("Callable[[], Life[T]]", partial(self._life, weak, kind)), full_name, self.options)

    @asks_for_runner
    def _life(self, weak: ref[object], kind: str) -> Generator[T, None, None]:
        run_later = runner_for_later()
        instance = weak()  # from here to its end a generation keeps its instance alive
        if instance is None:
            raise ReferenceError(f"this resource's instance of {kind} is gone: keep it while you use it")
        enter, leave = self.own(instance, "__enter__"), self.own(instance, "__exit__")
        entries = self.entries(instance)
        resource = entries.resource()
        life = object()
        try:
            entries.leave_to_leases(resource, life)
            try:
                # As in `openers`: no signal is delivered where a `yield from` is resumed.
                yield from (enter(),)
            except GeneratorExit:
                # The garbage collector closes it, with the instance: a hook is not run inside of the collector.
                run_later(partial(leave, None, None, None))
                raise
            leave(None, None, None)
        finally:
            if entries.life is life:  # no call: an interrupt must not come before it is kept again
                entries.kept = resource


def _ask(name: Callable[..., str], weak: ref[object]) -> str:
    """Return what the user calls the instance; an error, where another name is taken, if that is gone."""
    instance = weak()
    if instance is None:
        raise ReferenceError
    return name(instance)


def shared_class(cls: type[C], options: Options[Any], name: str | Callable[..., str] | None) -> type[C]:
    """Make the with-statement of each instance of `cls` shared; the class itself is changed and returned.

    So is that of the subclasses, with whatever `__enter__` and `__exit__` they write. The class nearest to an instance
    counts that was decorated, or wrote one of the two: in those above it they do what was written there, so that an
    instance has one resource, started and stopped once.

    With `own_thread`, `__enter__` and `__exit__` run in a thread of the resource's own. Nobody can see whether a class
    can do with that: one that must enter in its caller's thread, a lock say, must not ask for it.

    Raises:
        TypeError: The class cannot be entered, is asynchronous, exists under its name already, cannot be changed, or
            its instances cannot be referenced weakly.
    """
    _refuse_unfit(cls)
    _refuse_known(cls)
    if not isinstance(name, str | None):
        check_function(f"the name of {name_of(cls)}", name, ("the instance",))
    shared = _share(cls, options, name)

    def init_subclass(subclass: type, /, **kwargs: object) -> None:
        shared.written(subclass, "__init_subclass__").__get__(None, subclass)(**kwargs)
        _share_subclass(subclass)

    written: Any = getattr(shared.written(cls, "__init_subclass__"), "__func__", None)
    if written is not None:  # in Python, other than that of `object`
        update_wrapper(init_subclass, written)
    cast("Any", cls).__init_subclass__ = classmethod(init_subclass)
    return cls


def _share_subclass(cls: type[SupportsEnter[object]]) -> None:
    """Share a subclass of a shared class as well, if it writes or brings methods of its own."""
    _refuse_unfit(cls)
    shared = _sharing(cls)
    first = {method: next(base for base in cls.__mro__ if method in vars(base)) for method in METHODS}
    if shared is not None and any(vars(base).get(MARK) is not shared for base in first.values()):
        _share(cls, shared.options, shared.name)


def _share(
    cls: type[SupportsEnter[object]], options: Options[Any], name: str | Callable[..., str] | None
) -> SharedClass[object]:
    """Put the shared methods into `cls`, and its own ones aside."""
    shared = SharedClass[object](options, name)
    own = {} if MARK in vars(cls) else {key: vars(cls)[method] for method, key in OWN.items() if method in vars(cls)}
    enter, leave = _methods(cls, shared)
    try:
        setattr(cls, MARK, shared)
    except (TypeError, AttributeError):
        raise TypeError(f"{name_of(cls)} cannot be changed, and so not be shared: decorate a subclass") from None
    for attribute, value in (*own.items(), ("__enter__", enter), ("__exit__", leave)):
        setattr(cls, attribute, value)
    return shared


def _methods(
    cls: type[SupportsEnter[object]], shared: SharedClass[object]
) -> tuple[Callable[[object], object], Callable[[object, object, object, object], object]]:
    """Return the `__enter__` and the `__exit__` that a shared class gets."""

    @wraps(cls.__enter__)
    def enter(self: object) -> object:
        if _sharing(type(self)) is shared:
            return shared.entries(self).enter()
        return shared.own(self, "__enter__")()  # called by what a subclass wrote

    @wraps(cls.__exit__)
    def leave(self: object, exc_type: object, exc: object, traceback: object, /) -> object:
        if _sharing(type(self)) is not shared:
            return shared.own(self, "__exit__")(exc_type, exc, traceback)
        taken: list[Lease[object]] = []
        try:
            shared.entries(self).leave(taken)
        except BaseException:
            shared.entries(self).leave(taken)  # an interrupt may have come too early; else this finds nothing to do
            raise
        if not taken:
            raise RefcountError(f"{shared.entries(self).resource().name} was left without having been entered")
        return None

    return enter, leave


def _sharing(cls: type) -> SharedClass[Any] | None:
    """How the instances of `cls` are shared, if they are."""
    shared: SharedClass[Any] | None = getattr(cls, MARK, None)
    return shared


def _refuse_unfit(cls: type) -> None:
    """Raise `TypeError` if instances of `cls` cannot be shared."""
    for method, given in (METHODS | HOOKS if StartStop in cls.__mro__ else METHODS).items():
        found = getattr(cls, method, None)
        if found is None:
            raise TypeError(
                f"{name_of(cls)} has no {method}, so that its instances cannot be shared: "
                "write __enter__ and __exit__, or derive it from StartStop"
            )
        plain = isinstance(inspect.getattr_static(cls, method), FunctionType)
        check_function(f"{method} of {name_of(cls)}", found, given if plain else None)
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
    shared: SharedClass[T] | None = _sharing(type(instance))
    if shared is None:
        raise TypeError(f"the class {type(instance).__qualname__} is not decorated with {WHAT}")
    return shared.entries(instance).resource()


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
