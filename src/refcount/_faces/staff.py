"""`Staffed`: a shared resource with a staff of threads, whose number follows the usecount through a function."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from refcount._core.shared import SharedResource
from refcount._support.checks import check_callable, check_integer

T_co = TypeVar("T_co", covariant=True)


class Staff(Protocol):
    """The threads of one generation."""

    def resize(self, number: int) -> None:
        """Let there be so many: more at once, fewer as they finish. Nothing happens after `dismiss`."""
        ...

    def dismiss(self) -> None:
        """Let all of them finish, and wait for nobody; harmless when repeated."""
        ...

    def finish(self) -> None:
        """Wait until all have finished, except one of them who asks."""
        ...


StaffT = TypeVar("StaffT", bound=Staff)


class Staffed(SharedResource[T_co]):
    """A shared resource that hires a staff when it starts, and dismisses it when it stops.

    Newcomers get a new staff at once while the old one finishes, since one of the old staff may be the newcomer: if it
    waited for the stop, the stop would wait for it.

    Args:
        hire: Gives a staff of nobody, once for each start.
        value: Gives what consumers get of that staff.
        workers: How many there are to be for a usecount of 1 or more.
        name: As in `SharedResource`.
        linger: As in `SharedResource`.
    """

    def __init__(
        self,
        hire: Callable[[], StaffT],
        value: Callable[[StaffT], T_co],
        *,
        workers: Callable[[int], int],
        name: str,
        linger: float,
    ) -> None:
        check_callable("workers", workers)
        self._workers = workers
        self._staff: Staff | None = None
        self._seen = 0

        @contextmanager
        def open_staff() -> Generator[T_co]:
            staff = hire()
            try:
                staff.resize(self._number_for(1))  # so that a failure is the first consumer's
                self._staff, self._seen = staff, 1
                yield value(staff)
            finally:
                try:
                    staff.dismiss()
                    staff.finish()
                except BaseException:
                    staff.dismiss()  # an interrupt may have come before they were
                    raise

        super().__init__(open_staff, name=name, linger=linger, overlap=True)
        self.observe(self._follow)

    def _follow(self, usecount: int) -> None:
        # The first lease was seen to by the start. At 0 the staff is dismissed, or stays as it is while it lingers.
        seen, self._seen = self._seen, usecount
        if usecount and usecount != seen and self._staff is not None:
            self._staff.resize(self._number_for(usecount))

    def _number_for(self, usecount: int) -> int:
        what = f"what workers of {self.name} returned for usecount {usecount}"
        return check_integer(what, self._workers(usecount))


def one_for_each(usecount: int) -> int:
    """Return one worker for each lease, but no more than the machine has CPUs."""
    return min(usecount, os.cpu_count() or 1)
