"""`AsyncOwn`: a resource for tasks that refers to the instance whose attribute it is."""
# pyright: reportPrivateUsage=false
# What a resource has of each event loop is private because users have resources in their hands.

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from refcount._core.async_openers import AsyncOptions
from refcount._core.async_shared import AsyncSharedResource
from refcount._core.loops import here
from refcount._faces.places import Place
from refcount._support.naming import Name

if TYPE_CHECKING:
    from refcount._core.async_openers import AsyncLife

T = TypeVar("T")


class AsyncOwn(AsyncSharedResource[T]):
    """A resource that refers to its instance, and so is forgotten while it is idle; but not that it was closed.

    Args:
        place: Where it is found.
        lives: Makes what starts and stops it.
        name: Its name.
        options: What else was said of it.
    """

    __slots__ = ("_place",)

    def __init__(
        self, place: Place[Any], lives: Callable[[], AsyncLife[T]], name: Name, options: AsyncOptions[T]
    ) -> None:
        self._setup(lives, name, options)
        self._place = place
        if place.closed:
            self._machine.closed = True

    async def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Close it, and whatever comes in its place."""
        if self._options.per_loop and not self._machine.closed:
            self._own()
        try:
            await super().close(timeout, force=force)
        finally:
            self._place.closed = self._place.closed or self.closed

    def _own(self) -> Self:
        # That of an event loop is found at the same place: this one may be forgotten before it.
        if not self._options.per_loop:
            return self
        loop, place = here(), self._place
        own: AsyncOwn[T] = place.find(id(loop)) or place.keep(
            AsyncOwn(place, self._lives, self._name, self._options.for_one_loop()), id(loop)
        )
        own._machine.closed = own._machine.closed or self._machine.closed
        loop.owned[self] = own
        self._each.add(own)
        return cast("Self", own)
