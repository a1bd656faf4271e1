"""`OwnResources`: the resources of an attribute, one for each instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from weakref import ref

from refcount._core.openers import Options
from refcount._core.shared import SharedResource, new_resource
from refcount._faces.places import Place
from refcount._support.naming import Name, name_of, named, text_of
from refcount._support.weak import PerInstance

if TYPE_CHECKING:
    from refcount._core.openers import Life
    from refcount._faces.recipes import Recipe
    from refcount._faces.terms import Terms


T = TypeVar("T")


class Own(SharedResource[T]):
    """A resource that refers to its instance, and so is forgotten while it is idle; but not that it was closed.

    Args:
        place: Where it is found.
        lives: Makes what starts and stops it.
        name: Its name.
        options: What else was said of it.
    """

    __slots__ = ("_place",)

    def __init__(self, place: Place[Any], lives: Callable[[], Life[T]], name: Name, options: Options[T]) -> None:
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


class Kind(NamedTuple):
    """What makes the resources of an attribute.

    Attributes:
        new: Makes one that does not refer to its instance.
        own: Makes one that does, and is found at a `Place`.
        options: What was said of them, to be handed in.
    """

    new: Callable[..., object]
    own: Callable[..., object]
    options: object


def kind_of(recipe: Recipe, terms: Terms[Any]) -> Kind:
    """Return what makes the resources of an attribute.

    Raises:
        TypeError: An option has no effect on them.
    """
    name = name_of(recipe.source)
    if not recipe.for_tasks:
        return Kind(new_resource, Own, terms.for_threads(name))
    from refcount._core.async_shared import new_async_resource  # not before it is needed: it stands on anyio
    from refcount._faces.async_own import AsyncOwn

    return Kind(new_async_resource, AsyncOwn, terms.for_tasks(name))


class OwnResources:
    """The resources of an attribute: where each instance's is found.

    Args:
        full_name: The class's name and the attribute's.
        name: What the user calls the resources: a text, a function of the instance, or None.
        recipe: What starts and stops them.
        kind: What makes them.
    """

    __slots__ = ("_kind", "_lives", "_name", "_places", "_recipe", "name")

    def __init__(self, full_name: str, name: str | Callable[[Any], str] | None, recipe: Recipe, kind: Kind) -> None:
        self.name: str = full_name
        self._name = name
        self._recipe = recipe
        self._kind = kind
        self._places = PerInstance[Any](full_name)  # a place, or the resource itself
        self._lives: Callable[[], Any] | None = None

    def resource(self, instance: object) -> object:
        """Return the resource of an instance."""
        found: Any = self._places.get(instance, lambda: self._place(instance))
        if type(found) is not Place:
            resource: object = found
            return resource
        place = cast("Place[object]", found)
        return place.find() or self._make(place, instance)

    def _place(self, instance: object) -> object:
        """Return where the resource of an instance is found: kept itself, unless it refers to the instance."""
        if self._recipe.sees_instance:
            return Place[Any]()
        if callable(self._name):
            name = self._name_of(instance)
            return self._kind.new(self._recipe.lives(instance, name), name, self._kind.options)
        self._lives = self._lives or self._recipe.lives(instance, self._full_name)  # the same for all
        return self._kind.new(self._lives, self._full_name(), self._kind.options)

    def _make(self, place: Place[Any], instance: object) -> object:
        name = self._name_of(instance)
        return place.keep(self._kind.own(place, self._recipe.lives(instance, name), name, self._kind.options))

    def _name_of(self, instance: object) -> Name:
        if not callable(self._name):
            return self._full_name()
        weak = ref(instance)

        def called() -> str:
            found = weak()
            return self._full_name() if found is None else text_of(named(self._name, self._full_name, (found,)))

        return called

    def _full_name(self) -> str:
        return self._name if isinstance(self._name, str) else self.name
