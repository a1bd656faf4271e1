"""`SharedClass`: how one class shares its instances, whoever drives them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar, cast
from weakref import ref

from refcount._support.naming import Name, named
from refcount._support.weak import PerInstance, made_once

E = TypeVar("E")

# `Any` is what a class itself wrote: its methods, which are found by name.

WHAT = "@refcounted_resource"

INIT_SUBCLASS = "__init_subclass__"


class Pair(NamedTuple):
    """What is shared of a class: two methods, and the attribute that says how."""

    enter: str
    leave: str
    mark: str


def own_name(method: str) -> str:
    """Return where a class keeps what it wrote itself.

    It is among its attributes, for a decorator above that makes another class of them (attrs does) looks there for
    functions whose `super()` it has to mend.
    """
    return f"__refcount_{method.strip('_')}__"


class SharedClass(Generic[E]):
    """How one class shares its instances.

    Args:
        options: What was said of their resources.
        name: What these are called: a text, a function of the instance, or None for the instance's class.
    """

    pair: ClassVar[Pair]

    def __init__(self, options: Any, name: str | Callable[..., str] | None) -> None:  # those of threads, or of tasks
        self.options = options
        self.name = name
        self._instances = PerInstance[E](WHAT)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...]]:
        # For cloudpickle, which takes classes of `__main__` to pieces.
        return made_once(self, type(self)), (self.options, self.name)

    @abstractmethod
    def methods(self, cls: Any) -> tuple[Callable[..., object], Callable[..., object]]:
        """Return what a shared class gets in place of the pair."""

    @abstractmethod
    def resource(self, instance: Any) -> object:
        """Return the resource of an instance."""

    @abstractmethod
    def _entries(self, weak: ref[object]) -> E:
        """Return what is known of who is inside an instance: nobody yet."""

    def entries(self, instance: object) -> E:
        """Who is inside `instance`."""
        return self._instances.get(instance, lambda: self._entries(ref(instance)))

    def own(self, instance: object, method: str) -> Callable[..., Any]:
        """What `instance` would do if its class were not shared: the class's own method, or the one it inherits."""
        return cast("Callable[..., Any]", self.written(type(instance), method).__get__(instance, type(instance)))

    def written(self, kind: type, method: str) -> Any:
        """Return what `kind` would find as `method` if the class that this is of were not shared."""
        order = iter(kind.__mro__)
        # By its mark, for `@dataclass(slots=True)` above the decorator makes another class with the same attributes.
        marked = next(cls for cls in order if vars(cls).get(self.pair.mark) is self)
        own = vars(marked).get(own_name(method))
        return next(vars(base)[method] for base in order if method in vars(base)) if own is None else own

    def shares(self, instance: object) -> bool:
        """Return whether it is by this that `instance` is shared, and not by what a subclass wrote."""
        return getattr(type(instance), self.pair.mark, None) is self

    def _name(self, weak: ref[object], kind: str) -> Name:
        name = self.name
        return named(name if name is None or isinstance(name, str) else partial(_ask, name, weak), kind)


def _ask(name: Callable[..., str], weak: ref[object]) -> str:
    """Return what the user calls the instance; an error, where another name is taken, if that is gone."""
    instance = weak()
    if instance is None:
        raise ReferenceError
    return name(instance)


def alive(weak: ref[object], kind: str) -> object:
    """Return an instance that its resource is to be started with.

    Raises:
        ReferenceError: It is gone.
    """
    instance = weak()
    if instance is None:
        raise ReferenceError(f"this resource's instance of {kind} is gone: keep it while you use it")
    return instance
