"""`IdentitySet`: a set of objects that are told apart by identity, as what is managed is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import Generic, TypeVar

from refcount._support.naming import short

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class IdentitySet(Set[T_co], Generic[T_co]):
    """A set of objects, each under its `id`: they are told apart by identity, and need not be hashable."""

    __slots__ = ("_members",)

    def __init__(self, members: dict[int, T_co]) -> None:
        self._members = members

    @classmethod
    def _from_iterable(cls, iterable: Iterable[T]) -> IdentitySet[T]:
        # What `Set` makes of `&`, `|`, `-` and `^`.
        return IdentitySet({id(member): member for member in iterable})

    def __contains__(self, member: object) -> bool:
        return id(member) in self._members

    def __iter__(self) -> Iterator[T_co]:
        return iter(self._members.copy().values())  # members may come and go meanwhile

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {short(list(self))}>"
