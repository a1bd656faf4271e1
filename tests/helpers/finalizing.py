"""Finalizers that no trace function sees, for sweeps that interrupt whatever a trace function sees.

Python swallows what a finalizer raises, so that there is nothing to learn from an interrupt there; and CPython 3.11 may
go on with a freed trace function after it.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from unittest.mock import patch

from refcount import Lease


@contextmanager
def unseen_finalizers() -> Generator[None]:
    """Let the finalizers of leases run untraced inside the block."""
    finalize: Callable[[Lease[object]], None] = getattr(Lease, "__del__")  # noqa: B009 # its type has no parameter

    def unseen(lease: Lease[object]) -> None:
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            finalize(lease)
        finally:
            sys.settrace(tracer)

    with patch.object(Lease, "__del__", unseen):
        yield
