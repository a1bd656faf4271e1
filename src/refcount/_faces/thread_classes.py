"""`ThreadClass`: how one class shares its instances among threads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from functools import partial, wraps
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import ref

from refcount._core.lease import Lease
from refcount._core.openers import asks_for_runner, runner_for_later
from refcount._core.shared import SharedResource, new_resource
from refcount._errors import RefcountError
from refcount._faces.shared_classes import Pair, SharedClass, alive
from refcount._support.naming import name_of
from refcount._support.weak import NOBODY

if TYPE_CHECKING:
    from refcount._core.openers import Life

T = TypeVar("T")


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


class ThreadClass(SharedClass[Entries[Any]]):
    """How one class shares its instances among threads: its `with`."""

    pair = Pair("__enter__", "__exit__", "__refcount_sharing__")

    def resource(self, instance: Any) -> SharedResource[Any]:
        """Return the resource of an instance."""
        return self.entries(instance).resource()

    def methods(self, cls: Any) -> tuple[Callable[..., object], Callable[..., object]]:
        """Return the `__enter__` and the `__exit__` that a shared class gets."""
        shared = self

        @wraps(cls.__enter__)
        def enter(self: object) -> object:
            if shared.shares(self):
                return shared.entries(self).enter()
            return shared.own(self, "__enter__")()  # called by what a subclass wrote

        @wraps(cls.__exit__)
        def leave(self: object, exc_type: object, exc: object, traceback: object, /) -> object:
            if not shared.shares(self):
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

    def _entries(self, weak: ref[object]) -> Entries[Any]:
        return Entries(partial(self._resource, weak))

    def _resource(self, weak: ref[object]) -> SharedResource[Any]:
        kind = name_of(type(weak()))
        lives = cast("Callable[[], Life[Any]]", partial(self._life, weak, kind))
        return new_resource(lives, self._name(weak, kind), self.options)

    @asks_for_runner
    def _life(self, weak: ref[object], kind: str) -> Generator[Any, None, None]:
        run_later = runner_for_later()
        instance = alive(weak, kind)  # from here to its end a generation keeps it
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


def current_owner() -> object:
    """Return what enters and leaves: the asyncio task that runs here, or else the thread."""
    asyncio: Any = sys.modules.get("asyncio")  # where nobody has imported it, no task runs
    # `current_task` alone would say by an error that no event loop runs, which costs more than all the rest.
    running_loop = getattr(asyncio, "_get_running_loop", None)  # absent while another thread is still importing
    if running_loop is None or running_loop() is None:
        return get_ident()
    return asyncio.current_task() or get_ident()
