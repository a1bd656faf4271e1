"""The counter: a number, two callbacks, and the rules of the Linux kernel's `refcount_t`.

States. A counter is *at rest*, or *in transition* while a callback that a change of its number called for has not ended
yet. Only a counter with callbacks is ever in transition.

Locks. Each counter has one lock, and whoever holds it may read and change the number.
- Without callbacks it is a plain lock, held for a compare and a store. CPython delivers signals and runs the garbage
  collector only at calls, function entry, backward jumps and (3.11) where containers are made. Between taking and
  freeing the lock there is none of these, so that neither an interrupt nor a finalizer that uses the same counter falls
  in between. That is why errors are raised after the lock is free.
- With callbacks it is a reentrant lock, held until the last callback of the transition has ended. Its owner *is* the
  memory of who runs the transition: other threads wait, the callback's own thread passes, and no exception can leave it
  held. A condition variable would have to say all that again, with an interrupt possible between any two steps. Since
  the lock is reentrant, a finalizer or a signal handler may use the counter wherever a call is made; so here too the
  number is read and changed without a call in between.

Transitions. The first change that calls for a callback runs it; changes that callbacks make queue theirs, and the first
one runs these too before it returns. What can go wrong:
- A callback raises, whatever it raises: the number becomes 0, the queue is dropped, the error goes to the first verb.
- An interrupt falls into our own lines, between two callbacks or between the number and its callback: what is owed is
  still run, then the interrupt goes on. Otherwise a release could be lost, and a start would follow a start.
- A second interrupt falls into that: nothing more is run, but the counter is at rest.

Nothing here relies on the GIL. Reading the number without the lock is one attribute load.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, cast

from refcount._errors import OverflowException, ReleasedError, UnderflowException
from refcount._support.checks import check_integer
from refcount._support.public import public

if TYPE_CHECKING:
    from threading import Lock, RLock

T = TypeVar("T")

USECOUNT_MAX: Final = 2**62 - 1
"""The highest usecount: what a signed 64-bit counter holds with one bit to spare, as for `refcount_t` in 32 bits."""


class SupportsLock(Protocol):
    """What `Refcounter.dec_and_lock` needs of a lock: those of `threading` and `multiprocessing` have it."""

    def acquire(self) -> object:
        """Wait for the lock, and take it."""
        ...

    def release(self) -> object:
        """Let it go."""
        ...


def _within_limit(value: int) -> int:
    number = check_integer("usecount", value)
    if number > USECOUNT_MAX:
        raise OverflowException(f"usecount cannot be {number}: the limit is {USECOUNT_MAX}")
    return number


def _out_of_range(count: int, delta: int) -> UnderflowException | OverflowException:
    if delta < 0:
        return UnderflowException(f"usecount {count} cannot be lowered by {-delta}")
    return OverflowException(f"usecount {count} cannot be raised by {delta}: the limit is {USECOUNT_MAX}")


def _without_own(attributes: dict[str, object]) -> dict[str, object]:
    """The attributes of a counter that its copies get."""
    return {name: value for name, value in attributes.items() if name not in ("_lock", "_running", "_queue")}


@public
class Refcounter:
    """A thread-safe reference counter that can run a callback on the first acquire and on the last release.

    The verbs and their rules are those of the Linux kernel's `refcount_t`, as the `pyrefcount` package brought them to
    Python. When a verb returns, the callback of the transition that it saw has ended, whichever thread ran it: acquire
    and release callbacks of one counter alternate and never overlap, and while one runs, every verb of another thread
    waits. So a callback must not wait for another thread that uses the counter.

    A callback may use its own counter. Such a change of the number holds at once; if it calls for a callback in turn,
    that one runs after the running one, before the outermost verb returns. When a callback raises, the usecount is 0
    and the error goes to the caller of that verb.

    Args:
        usecount: How often the counted thing is in use at first. No callback runs for that.
        acquire: Called without arguments after the usecount has left 0.
        release: Called without arguments after the usecount has reached 0.

    Raises:
        TypeError: The usecount is no integer, or a callback cannot be called.
        ValueError: The usecount is negative.
        OverflowException: The usecount is above `USECOUNT_MAX`.

    Example:
        >>> from refcount import Refcounter
        >>> users = Refcounter(usecount=0, acquire=lambda: print("start"), release=lambda: print("stop"))
        >>> users.inc()
        start
        >>> users.inc()
        >>> users.dec()
        >>> users.dec()
        stop
    """

    def __init__(
        self,
        usecount: int = 1,
        acquire: Callable[[], object] | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        for name, callback in (("acquire", acquire), ("release", release)):
            if callback is not None and not callable(callback):
                raise TypeError(f"{name} must be callable or None, not {callback!r}")
        self._usecount: int = _within_limit(usecount)
        self._acquire = acquire
        self._release = release
        self._rest()

    def _rest(self) -> None:
        has_callbacks = self._acquire is not None or self._release is not None
        self._lock: Lock | RLock = threading.RLock() if has_callbacks else threading.Lock()
        self._running: Callable[[], object] | None = None
        self._queue: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} usecount={self._usecount}>"

    def __getstate__(self) -> dict[str, object] | tuple[dict[str, object], dict[str, object]]:
        # As `object` has it: with the slots, if a subclass has any; less what only this very counter has.
        state = cast("dict[str, object] | tuple[dict[str, object], dict[str, object]]", object.__getstate__(self))
        if isinstance(state, tuple):
            return _without_own(state[0]), state[1]
        return _without_own(state)

    def __setstate__(self, state: dict[str, object] | tuple[dict[str, object], dict[str, object]]) -> None:
        attributes, slots = state if isinstance(state, tuple) else (state, {})
        self.__dict__.update(attributes)
        for name, value in slots.items():
            setattr(self, name, value)
        self._rest()

    @property
    def usecount(self) -> int:
        """The number, to look at; setting it runs no callback.

        Reading never waits, so that what was read may be over when it is used: decide on what a verb returns. Setting
        waits for a callback that another thread runs.

        Raises:
            TypeError: It is set to something that is no integer.
            ValueError: It is set below 0.
            OverflowException: It is set above `USECOUNT_MAX`.

        Example:
            >>> from refcount import Refcounter
            >>> users = Refcounter()
            >>> users.usecount = 4
            >>> users.usecount
            4
        """
        return self._usecount

    @usecount.setter
    def usecount(self, value: int) -> None:
        number = _within_limit(value)
        with self._lock:
            self._usecount = number

    def inc(self) -> None:
        """Raise the usecount by 1; if it was 0, run the acquire callback.

        Unlike in the kernel, raising it from 0 is no error: what starts on demand starts from 0.

        Raises:
            OverflowException: The usecount is `USECOUNT_MAX`; it stays.

        Example:
            >>> from refcount import Refcounter
            >>> users = Refcounter()
            >>> users.inc()
            >>> users.usecount
            2
        """
        with self._lock:
            count = self._usecount
            if count < USECOUNT_MAX and (count or self._acquire is None):
                self._usecount = count + 1
                return
        self._change(1)

    def add(self, value: int) -> None:
        """Raise the usecount by an amount; if it was 0 and the amount is not, run the acquire callback.

        Args:
            value: The amount, 0 or more.

        Raises:
            TypeError: The amount is no integer.
            ValueError: The amount is negative.
            OverflowException: The sum is above `USECOUNT_MAX`; the usecount stays.

        Example:
            >>> from refcount import Refcounter
            >>> users = Refcounter()
            >>> users.add(2)
            >>> users.usecount
            3
        """
        self._change(check_integer("amount", value))

    def inc_not_zero(self) -> bool:
        """Raise the usecount by 1 unless it is 0: the kernel's way to take hold of what may be going away.

        Returns:
            Whether it was raised.

        Raises:
            OverflowException: The usecount is `USECOUNT_MAX`; it stays.

        Example:
            >>> from refcount import Refcounter
            >>> Refcounter().inc_not_zero(), Refcounter(usecount=0).inc_not_zero()
            (True, False)
        """
        with self._lock:
            count = self._usecount
            if 0 < count < USECOUNT_MAX:
                self._usecount = count + 1
                return True
        if count:
            raise _out_of_range(count, 1)
        return False

    def add_not_zero(self, value: int) -> bool:
        """Raise the usecount by an amount unless it is 0.

        Args:
            value: The amount, 0 or more.

        Returns:
            Whether the usecount was not 0, and so was raised.

        Raises:
            TypeError: The amount is no integer.
            ValueError: The amount is negative.
            OverflowException: The sum is above `USECOUNT_MAX`; the usecount stays.

        Example:
            >>> from refcount import Refcounter
            >>> Refcounter().add_not_zero(2), Refcounter(usecount=0).add_not_zero(2)
            (True, False)
        """
        amount = check_integer("amount", value)
        with self._lock:
            count = self._usecount
            if count and count + amount <= USECOUNT_MAX:
                self._usecount = count + amount
                return True
        if count:
            raise _out_of_range(count, amount)
        return False

    def dec(self) -> None:
        """Lower the usecount by 1; if that reaches 0, run the release callback.

        Raises:
            UnderflowException: The usecount is 0; it stays.

        Example:
            >>> from refcount import Refcounter
            >>> users = Refcounter(release=lambda: print("nobody left"))
            >>> users.dec()
            nobody left
        """
        with self._lock:
            count = self._usecount
            if count > 1 or (count and self._release is None):
                self._usecount = count - 1
                return
        self._change(-1)

    def sub(self, value: int) -> None:
        """Lower the usecount by an amount; if that reaches 0 and the amount is not 0, run the release callback.

        Args:
            value: The amount, 0 or more.

        Raises:
            TypeError: The amount is no integer.
            ValueError: The amount is negative.
            UnderflowException: The amount is more than the usecount; it stays.

        Example:
            >>> from refcount import Refcounter
            >>> users = Refcounter(usecount=3)
            >>> users.sub(2)
            >>> users.usecount
            1
        """
        self._change(-check_integer("amount", value))

    def dec_and_test(self) -> bool:
        """Lower the usecount by 1 and say whether this call reached 0; if so, the release callback has run.

        Of any number of threads, exactly one is told that it was the last.

        Returns:
            Whether this call reached 0, decided in the step that lowered the usecount.

        Raises:
            UnderflowException: The usecount is 0; it stays.

        Example:
            >>> from refcount import Refcounter
            >>> users = Refcounter(usecount=2)
            >>> users.dec_and_test(), users.dec_and_test()
            (False, True)
        """
        with self._lock:
            count = self._usecount
            if count > 1 or (count and self._release is None):
                self._usecount = count - 1
                return count == 1
        return self._change(-1)

    def sub_and_test(self, value: int) -> bool:
        """Lower the usecount by an amount and say whether this call reached 0; if so, the release callback has run.

        Args:
            value: The amount, 0 or more.

        Returns:
            Whether this call reached 0. An amount of 0 never does.

        Raises:
            TypeError: The amount is no integer.
            ValueError: The amount is negative.
            UnderflowException: The amount is more than the usecount; it stays.

        Example:
            >>> from refcount import Refcounter
            >>> users = Refcounter(usecount=3)
            >>> users.sub_and_test(2), users.sub_and_test(1)
            (False, True)
        """
        return self._change(-check_integer("amount", value))

    def dec_not_one(self) -> bool:
        """Lower the usecount by 1 unless it is 1: the cheap release, which leaves the last one to a careful path.

        Returns:
            Whether it was lowered.

        Raises:
            UnderflowException: The usecount is 0; it stays.

        Example:
            >>> from refcount import Refcounter
            >>> users = Refcounter(usecount=2)
            >>> users.dec_not_one(), users.dec_not_one()
            (True, False)
        """
        with self._lock:
            count = self._usecount
            if count > 1:
                self._usecount = count - 1
                return True
        if count:
            return False
        raise _out_of_range(count, -1)

    def dec_if_one(self) -> bool:
        """Lower the usecount to 0 if it is 1, and run the release callback; else leave it alone.

        Returns:
            Whether it was 1.

        Example:
            >>> from refcount import Refcounter
            >>> users = Refcounter()
            >>> users.dec_if_one(), users.dec_if_one()
            (True, False)
        """
        return self._change(-1, only_from=1)

    def dec_and_lock(self, lock: SupportsLock) -> bool:
        """Lower the usecount by 1; on reaching 0, come back with the lock held.

        For teardown that a lookup under the same lock must not run into. As in the kernel, the lock is taken only when
        the usecount may reach 0. The release callback runs with it held; if that raises, the lock is freed. So neither
        callback of the counter may take the same lock, nor wait for a thread that does.

        Args:
            lock: Anything with `acquire()` and `release()`. An interrupt in the very step in which it was acquired
                can leave it held, as everywhere in Python where a lock is taken without a `with`.

        Returns:
            Whether this call reached 0. Only then is the lock held, and the caller must free it.

        Raises:
            UnderflowException: The usecount is 0; it stays, and the lock is not held.

        Example:
            >>> import threading
            >>> from refcount import Refcounter
            >>> table, users = threading.Lock(), Refcounter(usecount=2)
            >>> users.dec_and_lock(table), table.locked()
            (False, False)
            >>> users.dec_and_lock(table), table.locked()
            (True, True)
        """
        if self.dec_not_one():
            return False
        if not (hasattr(lock, "acquire") and hasattr(lock, "release")):
            raise TypeError(f"lock must have acquire() and release(), unlike {lock!r}")
        last = False
        lock.acquire()
        try:
            last = self.dec_and_test()
            return last
        finally:
            if not last:
                lock.release()

    def _change(self, delta: int, only_from: int | None = None) -> bool:
        """Change the number by the rules, unless it is not the one asked for; True if this step reached 0."""
        with self._lock:
            count = self._usecount
            after = count + delta
            if only_from is not None and count != only_from:
                return False
            if 0 <= after <= USECOUNT_MAX:
                callback = None if count and after else self._release if count else self._acquire
                if callback is None or not delta:
                    self._usecount = after
                elif self._running is not None or self._queue:
                    self._usecount = after
                    self._queue.append(callback)
                else:
                    try:
                        self._usecount, self._running = after, callback
                        self._settle()
                    except BaseException:
                        # A callback that raised has left nothing owed; an interrupt between two of them may have.
                        self._settle()
                        raise
                    finally:
                        self._running, self._queue = None, []
                return delta < 0 and not after
        raise _out_of_range(count, delta)

    def _settle(self) -> None:
        """Run the callbacks that are owed, and those that they queue; the lock is held."""
        while self._running is not None or self._queue:
            if self._running is None:
                self._running, *self._queue = self._queue
            self._run(self._running)

    def _run(self, callback: Callable[[], object]) -> None:
        begun = False
        try:
            # One statement: an interrupt comes before the callback has begun or when it is done with, so that every
            # error seen while `begun` is the callback's, and no callback runs twice.
            self._running = (begun := True, callback(), None)[-1]
        except BaseException:
            if begun:
                self._usecount, self._running, self._queue = 0, None, []
            raise


@public
class RefcountedValue(Refcounter, Generic[T]):
    """A value that can be used only while somebody holds it, and the counter that says so.

    Everything that `Refcounter` does, it does too; the idea is `pyrefcount`'s. The counter does not drop the value: if
    the usecount leaves 0 again, the same value is back.

    Args:
        value: The value to guard.
        usecount: How often it is in use at first. No callback runs for that.
        acquire: Called without arguments after the usecount has left 0.
        release: Called without arguments after the usecount has reached 0.

    Raises:
        TypeError: The usecount is no integer, or a callback cannot be called.
        ValueError: The usecount is negative.
        OverflowException: The usecount is above `USECOUNT_MAX`.

    Example:
        >>> from refcount import RefcountedValue
        >>> frame = RefcountedValue(b"pixels", release=lambda: print("recycled"))
        >>> frame.value
        b'pixels'
        >>> frame.dec()
        recycled
        >>> frame.value
        Traceback (most recent call last):
        refcount.ReleasedError: the value cannot be used at usecount 0
    """

    def __init__(
        self,
        value: T,
        usecount: int = 1,
        acquire: Callable[[], object] | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(usecount, acquire, release)
        self._value = value

    @property
    def value(self) -> T:
        """The value, while the usecount is not 0; it can be replaced just as long.

        Reading never waits: it is for those who hold the value. Setting waits for a callback of another thread.

        Raises:
            ReleasedError: The usecount is 0. It is a `NameError` too.

        Example:
            >>> from refcount import RefcountedValue
            >>> page = RefcountedValue("draft")
            >>> page.value = "final"
            >>> page.value
            'final'
        """
        if self._usecount:
            return self._value
        raise _released()

    @value.setter
    def value(self, value: T) -> None:
        with self._lock:
            if self._usecount:
                # The old value outlives the lock, since its finalizer may use this very counter.
                _old, self._value = self._value, value
                return
        raise _released()


def _released() -> ReleasedError:
    return ReleasedError("the value cannot be used at usecount 0")
