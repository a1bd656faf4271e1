"""`Limits`: how much of a family may be up at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from refcount._support.checks import check_amount, check_integer


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a family may be up at once.

    Args:
        capacity: How many keys may be not idle at once, 1 or more, or how much they may weigh together; None for any.
        when_full: Whether a newcomer waits or gets `CapacityError` when those in use leave no room.
        weighed: Whether the keys have weights, so that the capacity need not be a whole number.

    Raises:
        TypeError: The capacity is no number, or no integer though nothing is weighed.
        ValueError: One of them has no meaning, or no effect without a capacity.
    """

    capacity: float | None = None
    when_full: Literal["wait", "raise"] = "wait"
    weighed: bool = False

    def __post_init__(self) -> None:
        if self.when_full not in ("wait", "raise"):
            raise ValueError(f"when_full must be 'wait' or 'raise', not {self.when_full!r}")
        if self.capacity is None:
            for option, given in (("weight", self.weighed), ("when_full", self.when_full != "wait")):
                if given:
                    raise ValueError(f"{option} has no effect without capacity: give both, or neither")
        elif self.weighed:
            check_amount("capacity", self.capacity)
        else:
            check_integer("capacity", self.capacity, least=1)
