"""What is kept weakly: `WeakValue`s of a dict, and `PerInstance`, something beside each instance of a class."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Hashable
from operator import methodcaller
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")


class WeakValue(weakref.ReferenceType[T]):
    """A weak reference that stands in a dict, made as `WeakValue(thing, methodcaller("discard", values, key))`.

    So when the thing is gone, its reference is removed, unless another one stands in its place by then. All of that is
    C code, and the removal one step, as in `weakref.WeakValueDictionary`: it may come in the middle of whatever a
    thread does, and neither waits for a lock nor is cut short by an interrupt.
    """

    __slots__ = ()

    # Private, and missing in its stub, but what the module itself stands on.
    discard: Final[Callable[[dict[Any, Any], Hashable], None]] = staticmethod(vars(weakref)["_remove_dead_weakref"])
    """`discard(values, key)` removes what is dead, and leaves alone what is not."""


def how_to_refer_weakly(cls: type) -> str:
    """Return what is to be done so that there can be weak references to the instances of a class, if anything is."""
    sized = [base for base in cls.__mro__ if base.__itemsize__]  # those take as much room as their value needs
    fixed = sized or ([] if cls.__flags__ & _HEAP_TYPE else [cls])
    if fixed:
        return f"instances of {fixed[-1].__qualname__} allow no weak references"
    how = ", by @dataclass(slots=True, weakref_slot=True)" if hasattr(cls, "__dataclass_fields__") else ""
    return f"add '__weakref__' to its __slots__{how}"


_HEAP_TYPE: Final = 1 << 9
"""The flag of a class that somebody wrote in Python, and whose `__slots__` can be changed."""


class _Gone:
    __slots__ = ("__weakref__",)


NOBODY: WeakValue[Any] = WeakValue(_Gone())
"""A reference that was dead before anybody could ask, for `values.get(key, NOBODY)()`."""


class _Once(Generic[T]):
    """Makes what was pickled, unless that is in this process already: then it gives that."""

    __slots__ = ("_make", "_token")

    def __init__(self, token: bytes, make: Callable[..., T]) -> None:
        self._token = token
        self._make = make

    def __call__(self, *args: object) -> T:
        found = _by_token.get(self._token)
        if found is None:
            found = _by_token[self._token] = self._make(*args)
            _tokens[found] = self._token
        return found


_tokens: weakref.WeakKeyDictionary[Any, bytes] = weakref.WeakKeyDictionary()
_by_token: weakref.WeakValueDictionary[bytes, Any] = weakref.WeakValueDictionary()
"""What was pickled or unpickled here."""


def made_once(thing: T, make: Callable[..., T]) -> Callable[..., T]:
    """Return, for the `__reduce__` of `thing`, what makes it with `make` in a process that has it not.

    cloudpickle does so with classes that it takes to pieces: in a process that has one already, it gives that, and sets
    its attributes anew. They had better be the same as before, for there may be instances in use.
    """
    token = _tokens.setdefault(thing, os.urandom(16))
    _by_token[token] = thing
    return _Once(token, make)


V = TypeVar("V")


class Entry(WeakValue[object], Generic[V]):
    """What is kept for one instance, which it refers to."""

    __slots__ = ("value",)

    value: V


class PerInstance(Generic[V]):
    """A weak store with a value for each instance, found by identity. Thread-safe.

    Nothing is kept in the instances, so that they may have `__slots__`, be unhashable, and be copied and pickled: a
    copy is another instance and gets a value of its own. A value must not refer to its instance, except weakly, or
    neither ever goes.

    Args:
        name: What the values are, in errors; `Camera.frames`, say.
        make: Makes a value where `get` is told of no other way to make it.

    Attributes:
        entries: What is kept, by the `id` of an instance that may be gone; to be looked at only.
    """

    # Only C code touches the entries, each time in one step, so that no lock is taken where a finalizer of the garbage
    # collector may come in between.

    __slots__ = ("__weakref__", "_make", "entries", "name")

    def __init__(self, name: str, make: Callable[[], V] | None = None) -> None:
        self.name: str = name
        self._make = make
        self.entries: dict[int, Entry[V]] = {}

    def __reduce__(self) -> tuple[Callable[..., PerInstance[V]], tuple[object, ...]]:
        return made_once(self, type(self)), (self.name, self._make)  # nobody's values go along

    def get(self, instance: object, make: Callable[[], V] | None = None) -> V:
        """Return the value of `instance`, which is made if there is none yet, by `make` if that is given.

        Several threads that come first at once may each call `make`, but all get the same value; so it must do nothing
        that would have to be undone.

        Raises:
            TypeError: There can be no weak reference to the instance.
        """
        entry = self.entries.get(id(instance))
        if entry is not None and entry() is instance:
            return entry.value
        return self._add(instance, make or self._make).value

    def find(self, instance: object) -> V | None:
        """Return the value of `instance` if there is one yet."""
        entry = self.entries.get(id(instance))
        return entry.value if entry is not None and entry() is instance else None

    def _add(self, instance: object, make: Callable[[], V] | None) -> Entry[V]:
        assert make is not None  # it is told here, or was when the store was made
        key = id(instance)
        try:
            entry: Entry[V] = Entry(instance, methodcaller("discard", self.entries, key))
        except TypeError:
            raise TypeError(
                f"{self.name} needs weak references to the instances of {type(instance).__qualname__}: "
                f"{how_to_refer_weakly(type(instance))}"
            ) from None
        entry.value = make()
        while (found := self.entries.setdefault(key, entry))() is not instance:
            # An instance in a reference cycle was looked at by its own `__del__`: then its entry stays, since the
            # garbage collector calls no callback of a reference that is made so late, and the address is used again.
            WeakValue.discard(self.entries, key)
        return found
