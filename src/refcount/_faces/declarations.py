"""`Declaration`: what a `demand` says: which instances have it, and what is done while there are any."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Generic, TypeVar

from refcount._faces.tracked import tracked
from refcount._support.checks import check_callable
from refcount._support.naming import name_of
from refcount._support.reporting import note

T = TypeVar("T")
V = TypeVar("V")


class Declaration(Generic[T, V]):
    """What a `demand` says: which instances have it, and what is done while there are any.

    Args:
        needed_by: The name of an attribute, or a predicate.
        acquire: Called with the manager when the first instance comes to demand.
        release: Called with the manager when none demands any more.
        resource: Opens what is held meanwhile.

    Attributes:
        hooked: Whether anything is done.
        name: Names it in errors.
        needs: Tells whether an instance demands.
    """

    __slots__ = ("acquire", "hooked", "name", "needs", "release", "resource")

    def __init__(
        self,
        needed_by: str | Callable[[T], bool],
        acquire: Callable[[Any], object] | None,
        release: Callable[[Any], object] | None,
        resource: Callable[[], AbstractContextManager[V]] | None,
    ) -> None:
        self.name: str = needed_by if isinstance(needed_by, str) else name_of(needed_by)
        self.needs: Callable[[T], bool] = needs_attribute(needed_by) if isinstance(needed_by, str) else needed_by
        check_callable("what tells whether an instance demands", self.needs)
        for what, hook in (("acquire", acquire), ("release", release), ("resource", resource)):
            if hook is not None:
                check_callable(what, hook)
        self.acquire: Callable[[Any], object] | None = acquire
        self.release: Callable[[Any], object] | None = release
        self.resource: Callable[[], AbstractContextManager[V]] | None = resource
        self.hooked: bool = acquire is not None or release is not None or resource is not None

    def note(self, error: Exception, instance: T) -> None:
        """Let `error` say on whose account it was raised: once, for several threads may share it."""
        mine = f"in {self.name}, on account of "
        # The shared resource behind the hooks is called like the demand, and is none that a reader has heard of.
        ours = f"while starting {self.name}, ", f"while stopping {self.name}, "
        with suppress(Exception):  # notes are a courtesy
            notes: list[str] = getattr(error, "__notes__", [])
            notes[:] = [text for text in notes if not text.startswith(ours)]
            if not any(text.startswith(mine) for text in notes):
                note(error, f"{mine}{instance!r}")


def needs_attribute(name: str) -> Callable[[object], bool]:
    """Return what tells whether an instance has an attribute of that name, and it is neither None nor False."""
    if not name.isidentifier():
        raise ValueError(f"what tells whether an instance demands must be the name of an attribute, not {name!r}")

    def needs(instance: object) -> bool:
        value: object = getattr(instance, name, None)
        if isinstance(value, tracked):
            raise TypeError(
                f"{value!r} of {instance!r} is no value: @dataclass(slots=True) has put a slot in the place of what "
                "tells of its changes, so leave slots=True out"
            )
        return value is not None and value is not False

    return needs
