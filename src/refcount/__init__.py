"""Things that run only while somebody needs them: the first consumer starts them, the last one stops them."""

from refcount._counter import USECOUNT_MAX, RefcountedValue, Refcounter
from refcount._errors import (
    CapacityError,
    ClosedError,
    OverflowException,
    ReentrantError,
    RefcountError,
    ReleasedError,
    UnderflowException,
)
from refcount._lease import Lease
from refcount._lifecycle import State
from refcount._shared import SharedResource

__all__ = [
    "USECOUNT_MAX",
    "CapacityError",
    "ClosedError",
    "Lease",
    "OverflowException",
    "ReentrantError",
    "RefcountError",
    "RefcountedValue",
    "Refcounter",
    "ReleasedError",
    "SharedResource",
    "State",
    "UnderflowException",
]
