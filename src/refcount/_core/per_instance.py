"""`PerInstance`: something for each instance of a class, kept beside the instances and only as long as they live."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar
from weakref import ref

from refcount._core.process import process

V = TypeVar("V")


class Entry(Generic[V]):
    """What is kept for one instance."""

    __slots__ = ("instance", "value")

    def __init__(self, instance: ref[object], value: V) -> None:
        self.instance = instance
        self.value = value


class PerInstance(Generic[V]):
    """A weak store with a value for each instance, found by identity. Thread-safe.

    Nothing is kept in the instances, so that they may have `__slots__`, be unhashable, and be copied and pickled: a
    copy is another instance and gets a value of its own. A value must not refer to its instance, except weakly, or
    neither ever goes.

    Args:
        name: What the values are, in errors; `Camera.frames`, say.
    """

    # Only C code touches the entries of one key (`get`, `setdefault`, and `pop` when an instance goes), each in one
    # step, so that no lock is taken where a finalizer of the garbage collector may come in between.

    __slots__ = ("__weakref__", "_entries", "_stale", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._entries: dict[int, Entry[V]] = {}
        self._stale = threading.RLock()
        process.forkables.add(self)

    def get(self, instance: object, make: Callable[[], V]) -> V:
        """Return the value of `instance`, which `make` makes if there is none yet.

        Several threads that come first at once may each call `make`, but all get the same value; so it must do nothing
        that would have to be undone.

        Raises:
            TypeError: There can be no weak reference to the instance.
        """
        entry = self._entries.get(id(instance))
        if entry is not None and entry.instance() is instance:
            return entry.value
        return self._add(instance, make).value

    def find(self, instance: object) -> V | None:
        """Return the value of `instance` if there is one yet."""
        entry = self._entries.get(id(instance))
        return entry.value if entry is not None and entry.instance() is instance else None

    def _add(self, instance: object, make: Callable[[], V]) -> Entry[V]:
        key = id(instance)
        try:
            # Called with the dead reference, this is `pop(key, default)`.
            weak = ref(instance, partial(self._entries.pop, key))
        except TypeError:
            raise TypeError(
                f"{self.name} needs weak references to the instances of {type(instance).__qualname__}: "
                "add '__weakref__' to its __slots__"
            ) from None
        entry = Entry(weak, make())
        found = self._entries.setdefault(key, entry)
        if found.instance() is not instance:
            # An instance in a reference cycle was looked at by its own `__del__`: then its entry stays, since the
            # garbage collector calls no callback of a reference that is made so late, and the address is used again.
            with self._stale:
                stale = found = self._entries.setdefault(key, entry)
                if stale.instance() is not instance:
                    self._entries[key] = found = entry
        return found

    def renew(self) -> tuple[()]:
        """Begin anew in a forked child, where another thread's copy of the lock may be held for ever."""
        self._stale = threading.RLock()
        return ()
