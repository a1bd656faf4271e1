"""`Controls`: what a shared resource can be told by anybody, whether he holds it or not."""
# pyright: reportPrivateUsage=false
# What a resource has of its machine is private because users have resources in their hands.

from __future__ import annotations

from threading import get_ident
from typing import Generic, TypeVar

from refcount._core.clock import clocks
from refcount._core.generation import STOPPING, Generation
from refcount._core.parking import callers_of, deadline_after
from refcount._core.registry import registry
from refcount._core.stopping import Stoppable

T_co = TypeVar("T_co", covariant=True)


class Controls(Stoppable[T_co], Generic[T_co]):
    """A shared resource, less its leases."""

    __slots__ = ()

    def invalidate(self) -> None:
        """Detach the running generation: its holders keep it until they leave, the next consumer gets a fresh one.

        One that lingers is stopped now, as by `flush`. A start or stop that hangs is given up: its late end disturbs
        nobody.

        Raises:
            Exception: What the stop raised, if this call stopped it.

        Example:
            >>> resource = SharedResource.of(object)
            >>> with resource() as old:
            ...     resource.invalidate()
            ...     with resource() as new:
            ...         old is new
            False
        """
        by = self._by()
        current = self._machine.current
        if current is None:
            return
        if current.phase is not STOPPING:
            self._condemn(current, by, report_errors=False)
            return
        try:
            if self._machine.claim(current, by):
                self._stop(current, by, report_errors=False)
            else:
                self._forget(current)
        except BaseException:
            self._mend(current)
            raise

    def touch(self) -> None:
        """Begin the linger anew, if it lingers.

        Example:
            >>> from refcount.testing import ManualClock
            >>> with ManualClock() as clock:
            ...     resource = SharedResource.of(list, linger=10.0)
            ...     with resource():
            ...         pass
            ...     clock.advance(9.0)
            ...     resource.touch()
            ...     clock.advance(9.0)
            ...     print(resource.state.value)
            ...     clock.advance(1.0)
            ...     print(resource.state.value)
            lingering
            idle
        """
        self._by()
        self._machine.touch(clocks.clock.now())

    def flush(self) -> bool:
        """Stop it now if it lingers.

        Returns:
            Whether this call stopped it.

        Raises:
            Exception: What the stop raised.

        Example:
            >>> import math
            >>> resource = SharedResource.of(list, stop=lambda value: print("stop"), linger=math.inf)
            >>> with resource():
            ...     pass
            >>> resource.flush(), resource.flush()
            stop
            (True, False)
        """
        return self._flush()

    def abandon(self) -> None:
        """Forget what runs without stopping it: its leases become inert, and the next consumer starts anew.

        For what has ended by other means, or is to be left as it is. A start or stop that runs is left to itself. What
        it was started with is kept until the process ends, its own thread too if it has one, since to drop a generator
        would run its `finally`.

        Example:
            >>> lock = SharedResource.of(object, stop=lambda value: print("unlock"))
            >>> lease = lock.acquire()
            >>> lock.abandon()
            >>> lease.held, lease.release(), lock.state.value
            (False, False, 'idle')
        """
        self._by()
        for generation in self._machine.generations:
            registry.keep_for_ever(generation)  # first, so that no interrupt can come in between
            self._forget(generation)
        if self._observers is not None:
            self._observers.tell(self._machine.noted)

    def close(self, timeout: float | None = None, *, force: bool = False) -> None:
        """Refuse newcomers for good, wait for the holders to leave, and see it stopped.

        Harmless when called again. A start in flight is finished for the consumers who wait on it.

        Args:
            timeout: How many seconds to wait. After that it stays closed, and stops when its last holder leaves.
            force: Do not wait for the holders, stop under them. A start in flight is stopped as soon as it is done,
                and the consumers who wait on it get `ClosedError`.

        Raises:
            TimeoutError: It was still held, or had not stopped, after `timeout` seconds.
            ReentrantError: Called inside a hook of this resource.
            Exception: What the stop raised, if this call stopped it.

        Example:
            >>> resource = SharedResource.of(list, name="basket")
            >>> resource.close()
            >>> resource.acquire()
            Traceback (most recent call last):
            refcount.ClosedError: basket is closed
        """
        deadline = deadline_after(timeout)
        self._refuse_reentry("close", self._by())
        try:
            self._shut(force=force)
        except Exception:
            self._wait_quiet(deadline)  # it is closed all the same
            raise
        if not self._wait_quiet(deadline):
            raise self._still_running(timeout)

    def wait_stopped(self, timeout: float | None = None) -> None:
        """Return when nothing of it runs any more.

        Args:
            timeout: How many seconds to wait.

        Raises:
            TimeoutError: Something still ran after `timeout` seconds.
            ReentrantError: Called inside a hook of this resource.

        Example:
            >>> SharedResource.of(list).wait_stopped(timeout=1.0)
        """
        deadline = deadline_after(timeout)
        self._refuse_reentry("wait_stopped", self._by())
        if not self._wait_quiet(deadline):
            raise self._still_running(timeout)

    # What a bounded family asks

    def resting_since(self, generation: Generation[object]) -> float | None:
        """Return since when `generation` lingers; else who leaves it last tells the slot."""
        current = self._machine.current
        return self._machine.disarm(current) if current is not None and current is generation else None

    def evict(self, generation: Generation[object]) -> None:
        """Stop `generation` if it lingers, for another key."""
        if generation is self._machine.current:
            self._flush(report_errors=True)

    def works_here(self) -> bool:
        """Return whether this thread is inside a hook of the resource."""
        return self._is_inside(callers_of(get_ident()))

    def _wait_quiet(self, deadline: float | None) -> bool:
        """Wait until nothing runs, and say whether that came before `deadline`."""
        return self._wait_until(lambda: not self._machine.running, deadline)

    def _shut(self, *, force: bool) -> None:
        """Refuse newcomers for good, and wait for nobody."""
        by = self._by()
        machine = self._machine
        current = machine.current
        try:
            owed = machine.close(by, force=force)
            if force and self._slot is not None:
                self._slot.refuse()
            if machine.sleepers:
                self._wake_sleepers()
            if owed is not None:
                self._stop(owed, by, report_errors=False)
            elif current is not None and current.alarm is not None:
                current.alarm.cancel()
        except BaseException:
            self._mend_mine()
            raise
        finally:
            if force:
                self._expel(by)

    def _still_running(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"{self.name} still ran after {timeout} s, with usecount {self._seen().usecount}")
