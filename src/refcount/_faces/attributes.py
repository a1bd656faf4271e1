"""`refcounted_attribute`: a descriptor that is a shared resource for each instance."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from operator import methodcaller
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, Self, TypeVar, Unpack, cast, overload
from weakref import ref

from refcount._core.openers import Options, lives_of_hooks
from refcount._core.shared import SharedResource, new_resource
from refcount._support.checks import (
    check_call,
    check_factory,
    check_function,
    check_name,
    function_of,
    is_manager_function,
    is_member,
    misfit,
    no_name,
)
from refcount._support.naming import Name, name_of, named, one_line, public, short, text_of
from refcount._support.weak import NOBODY, PerInstance, WeakValue

if TYPE_CHECKING:
    import typing_extensions

    from refcount._core.openers import Life
    from refcount._faces.decorators import AttributeOptions, CheckFor, MethodGiving

    D = typing_extensions.TypeVar("D", default=object)
else:
    D = TypeVar("D")

T = TypeVar("T")
V = TypeVar("V")
W = TypeVar("W")
T_co = TypeVar("T_co", covariant=True)

# Elsewhere `Any` is the instance, of which no type can be known while its class is being made, and what a source or a
# hook is handed.

INSTANCE, VALUE = ("the instance",), ("the value",)
"""What the user's functions are handed, as errors call it."""

Part = tuple[Callable[..., Any] | None, bool]
"""What makes, starts or stops a value, and whether it is given the instance."""


@public
class refcounted_attribute(Generic[T_co]):  # read like `property`, which it resembles
    """An attribute that is a shared resource, one for each instance: the instance's first consumer starts it.

    On a generator method it reads like `contextmanager`: what stands before the `yield` starts the resource, what
    stands after it stops it, and the method sees its instance. From a factory it is made with `start` and `stop`. What
    needs an argument is given the instance: a factory that cannot be called without one gets it, as a method of the
    class does; so does a hook that cannot be called with the value alone, and then gets the value second.

    On the class it is the descriptor itself. The resources are kept beside the instances, found by identity: an idle
    one keeps nothing alive, a copy or an unpickled instance has one of its own, and a class with `__slots__` needs
    `__weakref__` among them. One that is given its instance keeps it alive, and so is kept only while it is not idle or
    somebody refers to it; its observers and its generations' numbers go with it. A lease on it that the instance itself
    keeps goes with the instance and is reported; then a generator is closed, as any that is lost, so that only what
    stands in a `finally` is done.

    Args:
        source: A generator method; or a factory, which makes the value, once for each start. Left out, it decorates
            a generator method with the options that were given.
        start: Called with the value of a factory; if it raises, `stop` is called with it, so that nothing half-started
            is left behind.
        stop: Called with the value of a factory to stop it.
        linger: How many seconds the resource stays up after the last lease is gone.
        check, overlap, exclusive, own_thread, at_exit: As in `SharedResource`.
        name: Names the resources in errors, warnings and reprs: a text, or a function of the instance that is called
            when the name is needed. By default the class and the attribute.

    Raises:
        TypeError: The method, the factory or a hook cannot be called as it will be, or an option has the wrong type.
        ValueError: An option has no meaning, or `exclusive` is asked for together with `overlap`.

    The idea is `functools.cached_property`'s, for something that has an end as well as a beginning.

    Example:
        >>> from collections.abc import Generator
        >>> from refcount import StoppableThread, refcounted_attribute
        >>> class Producer:
        ...     def produce(self, stopping) -> None:
        ...         stopping.wait()
        ...
        ...     @refcounted_attribute
        ...     def thread(self) -> Generator[StoppableThread]:
        ...         thread = StoppableThread(self.produce)
        ...         thread.start()
        ...         yield thread
        ...         thread.stop()
        ...
        ...     ticker = refcounted_attribute(StoppableThread, start=StoppableThread.start, stop=StoppableThread.stop)
        >>> producer = Producer()
        >>> with producer.thread() as first, producer.thread() as second:
        ...     first is second, producer.thread.usecount
        (True, 2)
        >>> producer.thread
        <SharedResource Producer.thread, idle, usecount=0>
    """

    @overload
    def __init__(
        self: refcounted_attribute[CheckFor[D]],
        source: None = None,
        /,
        *,
        check: Callable[[Any], bool] | Callable[[D], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[], T_co],
        /,
        *,
        start: Callable[[T_co], object] | None = None,
        stop: Callable[[T_co], object] | None = None,
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[Any], Iterator[T_co]],
        /,
        *,
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[Any], T_co],
        /,
        *,
        start: Callable[[T_co], object] | None = None,
        stop: Callable[[T_co], object] | None = None,
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[Any], T_co],
        /,
        *,
        start: Callable[[Any, T_co], object] | Callable[[T_co], object] | None = None,
        stop: Callable[[Any, T_co], object],
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        source: Callable[[Any], T_co],
        /,
        *,
        start: Callable[[Any, T_co], object],
        stop: Callable[[T_co], object] | None = None,
        check: Callable[[T_co], bool] | None = None,
        **options: Unpack[AttributeOptions],
    ) -> None: ...
    def __init__(
        self,
        source: Callable[..., Any] | None = None,
        /,
        *,
        start: Callable[..., object] | None = None,
        stop: Callable[..., object] | None = None,
        linger: float = 0.0,
        check: Callable[[Any], bool] | None = None,
        overlap: bool = False,
        exclusive: bool = False,
        own_thread: bool = False,
        at_exit: Literal["stop", "leave"] = "stop",
        name: str | Callable[[Any], str] | None = None,
    ) -> None:
        check_name("refcounted_attribute", name, INSTANCE)
        self._options: Options[Any] = Options(linger, check, overlap, exclusive, own_thread, at_exit)
        self._name = one_line(name) if isinstance(name, str) else name
        self._places: PerInstance[Place[T_co] | SharedResource[T_co]] | None = None
        self._lives: Callable[[], Life[T_co]] | None = None
        if source is not None:
            self._recipe: Recipe[T_co] | None = Recipe(source, start, stop)
            self.__doc__ = self._recipe.doc
        elif start is None and stop is None:
            self._recipe = None
        else:
            raise TypeError("start and stop go with a factory, and this refcounted_attribute has none")

    @overload
    def __call__(
        self: refcounted_attribute[CheckFor[object]], source: Callable[[Any], Iterator[V]], /
    ) -> refcounted_attribute[V]: ...
    @overload
    def __call__(self: refcounted_attribute[CheckFor[W]], source: MethodGiving[W, V], /) -> refcounted_attribute[V]: ...
    def __call__(self: refcounted_attribute[Any], source: Callable[[Any], Any], /) -> refcounted_attribute[Any]:
        if self._recipe is not None:
            raise TypeError(f"{self!r} cannot be called: get it from an instance, and call that")
        made = copy.copy(self)
        made._recipe = Recipe(source, None, None)
        made.__doc__ = made._recipe.doc
        return made

    def __set_name__(self, owner: type[object], name: str) -> None:
        if self._recipe is None:
            raise TypeError(
                f"{name_of(owner)}.{name} has nothing to start: write `@refcounted_attribute(...)` above a "
                "generator method, or hand a factory in"
            )
        if self._places is None:  # a second name is another one for the same thing
            self._places = PerInstance(f"{name_of(owner)}.{name}")

    @overload
    def __get__(self, instance: None, owner: type[object], /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> SharedResource[T_co]: ...
    def __get__(self, instance: object, owner: type[object] | None = None, /) -> Self | SharedResource[T_co]:
        if instance is None:
            return self
        if self._places is None:
            raise no_name(self)
        place = self._places.get(instance, lambda: self._place(instance))
        return place if isinstance(place, SharedResource) else place.find() or self._make(place, instance)

    def _place(self, instance: object) -> Place[T_co] | SharedResource[T_co]:
        """Return where the resource of an instance is found: kept itself, unless it refers to the instance."""
        assert self._recipe is not None  # `__set_name__` has seen to it
        if self._recipe.sees_instance:
            return Place()
        if callable(self._name):
            name = self._name_of(instance)
            return new_resource(self._recipe.lives(instance, name), name, self._options)
        self._lives = self._lives or self._recipe.lives(instance, self._full_name)  # the same for all
        return new_resource(self._lives, self._full_name(), self._options)

    def _make(self, place: Place[T_co], instance: object) -> SharedResource[T_co]:
        assert self._recipe is not None
        name = self._name_of(instance)
        return place.keep(Own(place, self._recipe.lives(instance, name), name, self._options))

    def _name_of(self, instance: object) -> Name:
        if not callable(self._name):
            return self._full_name()
        weak = ref(instance)

        def called() -> str:
            found = weak()
            return self._full_name() if found is None else text_of(named(self._name, self._full_name, (found,)))

        return called

    def _full_name(self) -> str:
        if isinstance(self._name, str):
            return self._name
        return self._places.name if self._places is not None else self._source_name()

    def _source_name(self) -> str:
        return "nothing yet" if self._recipe is None else name_of(self._recipe.source)

    @property
    def __isabstractmethod__(self) -> bool:
        return self._recipe is not None and getattr(self._recipe.source, "__isabstractmethod__", False)

    # Being a data descriptor, it cannot be hidden by what is in the instance's `__dict__`.

    def __set__(self, instance: object, value: Never, /) -> Never:
        if value is self:  # which a dataclass takes for the default of the field
            raise AttributeError(f"{self!r} cannot be a field: leave out its annotation, or make that a ClassVar")
        raise AttributeError(f"{self!r} of {short(instance)} cannot be set to {short(value)}: it is a shared resource")

    def __delete__(self, instance: object, /) -> Never:
        raise AttributeError(f"{self!r} of {short(instance)} cannot be deleted: it is a shared resource")

    def __repr__(self) -> str:
        name = "" if self._places is None else f" {self._places.name}"
        return f"<{type(self).__name__}{name} of {self._source_name()}>"


class Recipe(Generic[T]):
    """What makes the value of an instance, starts it and stops it.

    Attributes:
        doc: What the attribute says of itself.
        sees_instance: Whether any of the three is given the instance.
    """

    __slots__ = ("_generates", "_parts", "doc", "sees_instance", "source")

    def __init__(
        self, source: Callable[..., Any], start: Callable[..., Any] | None, stop: Callable[..., Any] | None
    ) -> None:
        _refuse_unfit(source)
        self.source: Callable[..., Any] = source
        self._generates = inspect.isgeneratorfunction(function_of(source))
        if self._generates and (start is not None or stop is not None):
            raise TypeError(
                f"start and stop go with a factory, and `{name_of(source)}` is a generator function: "
                "what stands before its yield starts the resource, what stands after it stops it"
            )
        of_instance = self._generates or bool(misfit(source, ()))
        check, what = (check_call, "method") if self._generates else (check_factory, "factory")
        check(f"the {what} of a refcounted_attribute", source, INSTANCE if of_instance else ())
        self._parts: list[Part] = [(source, of_instance), _hook("start", start), _hook("stop", stop)]
        self.sees_instance: bool = any(sees for _, sees in self._parts)
        written = source.__doc__ if of_instance and inspect.isroutine(source) else None
        self.doc: str = written or f"A shared resource, each instance's own, made by `{name_of(source)}`."

    def lives(self, instance: object, name: Name) -> Callable[[], Life[T]]:
        """Return what makes the lives of the resource of `instance`, which is called `name`."""
        make, start, stop = [
            MethodType(function, instance) if sees and function is not None else function
            for function, sees in self._parts
        ]
        assert make is not None
        return cast("Callable[[], Life[T]]", make) if self._generates else lives_of_hooks(make, start, stop, name)


def _refuse_unfit(source: object) -> None:
    """Raise `TypeError` if no resource can be made of `source`, whatever it takes."""
    kind = type(source)
    if kind is staticmethod or kind is classmethod:
        raise TypeError(f"refcounted_attribute needs the function itself, not a {kind.__name__}: `{name_of(source)}`")
    if is_member(source):
        raise TypeError(
            f"the factory of a refcounted_attribute must make the value: {short(source)} is an attribute already"
        )
    if callable(source) and is_manager_function(function_of(source)):
        raise TypeError(
            f"refcounted_attribute takes the place of @contextmanager, so leave that out: `{name_of(source)}`"
        )


def _hook(what: str, function: Callable[..., Any] | None) -> Part:
    """Return a hook, and whether it is given the instance."""
    if function is None:
        return None, False
    of_instance = bool(misfit(function, VALUE)) and not misfit(function, INSTANCE + VALUE)
    check_function(what, function, INSTANCE + VALUE if of_instance else VALUE)
    return function, of_instance


class Place(Generic[T]):
    """Where the resource of one instance is found that refers to it: the instance would never go if it were kept.

    Attributes:
        closed: Whether it was closed, so that whatever comes in its place is to be closed as well.
    """

    __slots__ = ("_found", "closed")

    def __init__(self) -> None:
        self._found: dict[int, WeakValue[SharedResource[T]]] = {}
        self.closed: bool = False

    def find(self) -> SharedResource[T] | None:
        """Return the resource, if there is one."""
        return self._found.get(0, NOBODY)()

    def keep(self, fresh: SharedResource[T]) -> SharedResource[T]:
        """Keep a resource weakly, and return it, or that of a thread which was faster."""
        reference = WeakValue(fresh, methodcaller("discard", self._found, 0))
        while (found := self._found.setdefault(0, reference)()) is None:
            WeakValue.discard(self._found, 0)
        return found


class Own(SharedResource[T]):
    """A resource that refers to its instance, and so is forgotten while it is idle; but not that it was closed.

    Args:
        place: Where it is found.
        lives: Makes what starts and stops it.
        name: Its name.
        options: What else was said of it.
    """

    __slots__ = ("_place",)

    def __init__(self, place: Place[T], lives: Callable[[], Life[T]], name: Name, options: Options[T]) -> None:
        self._setup(lives, name, options, anchored=False)
        self._place = place
        if place.closed:
            super().close()

    def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Close it, and whatever comes in its place."""
        try:
            super().close(timeout, force=force)
        finally:
            self._place.closed = self._place.closed or self.closed
