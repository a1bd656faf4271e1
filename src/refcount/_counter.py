"""The counter: the verbs of the Linux kernel's `refcount_t`, with two callbacks, and a value that one can guard.

A verb that meets an ordinary number, neither 0 before nor after, is one short section under the lock without a call in
it; everything else, and whoever comes while a callback runs, goes through `Usecount._change`. No verb calls another, so
that a subclass which overrides one of them sees the calls of that one only. `_usecount` says what may fall where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from refcount._errors import ReleasedError
from refcount._support.naming import public, short
from refcount._support.numbers import check_integer
from refcount._usecount import Usecount

T = TypeVar("T")

_FAST_MAX: Final = 2**30 - 1  # CPython compares numbers of more than 30 bits the slow way

_NOT_HELD: Final = "the value cannot be used at usecount 0"


class SupportsLock(Protocol):
    """What `Refcounter.dec_and_lock` needs of a lock: those of `threading` and `multiprocessing` have it."""

    def acquire(self) -> object: ...
    def release(self) -> object: ...


@public
class Refcounter(Usecount):
    """A thread-safe reference counter that can run a callback on the first acquire and on the last release.

    The verbs and their rules are those of the Linux kernel's `refcount_t`, as the `pyrefcount` package brought them to
    Python. When a verb returns, the callback of the transition that it saw has ended, whichever thread ran it: acquire
    and release callbacks of one counter alternate and never overlap, and while one runs, every verb of another thread
    waits. So a callback must not wait for another thread that uses the counter.

    A callback may use its own counter. Such a change of the number holds at once; if it calls for a callback in turn,
    that one runs after the running one, before the outermost verb returns. When a callback raises, the usecount is 0
    and the error goes to the caller of that verb. In a forked child the usecount stays as it is, and a callback that
    was running at the fork is forgotten, so that no verb waits for it.

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

    def inc(self) -> None:
        """Raise the usecount by 1; if it was 0, run the acquire callback.

        Unlike in the kernel, raising it from 0 is no error: what starts on demand starts from 0.

        Raises:
            OverflowException: The usecount is `USECOUNT_MAX`; it stays.

        Example:
            >>> users = Refcounter()
            >>> users.inc()
            >>> users.usecount
            2
        """
        with self._lock:
            if self._owed is None:
                count = self._usecount
                if count < _FAST_MAX and (count or self._acquire is None):
                    self._usecount = count + 1
                    return
        self._change(1)

    def inc_and_test(self) -> bool:
        """Raise the usecount by 1 and say whether this call left 0; if so, the acquire callback has run.

        Of any number of threads, exactly one is told that it was the first.

        Returns:
            Whether this call left 0, decided in the step that raised the usecount.

        Raises:
            OverflowException: The usecount is `USECOUNT_MAX`; it stays.

        Example:
            >>> users = Refcounter(usecount=0)
            >>> users.inc_and_test(), users.inc_and_test()
            (True, False)
        """
        return not Refcounter.inc_not_zero(self) and self._change(1) == 0

    def inc_not_zero(self) -> bool:
        """Raise the usecount by 1 unless it is 0: the kernel's way to take hold of what may be going away.

        Returns:
            Whether it was raised.

        Raises:
            OverflowException: The usecount is `USECOUNT_MAX`; it stays.

        Example:
            >>> Refcounter().inc_not_zero(), Refcounter(usecount=0).inc_not_zero()
            (True, False)
        """
        with self._lock:
            if self._owed is None:
                count = self._usecount
                if count and count < _FAST_MAX:
                    self._usecount = count + 1
                    return True
        return self._change(1, unless=0) != 0

    def add(self, value: int) -> None:
        """Raise the usecount by `value`, which is 0 or more; if that leaves 0, run the acquire callback.

        Raises:
            TypeError, ValueError: The amount is no integer, or negative.
            OverflowException: The sum is above `USECOUNT_MAX`; the usecount stays.

        Example:
            >>> users = Refcounter()
            >>> users.add(2)
            >>> users.usecount
            3
        """
        self._change(check_integer("amount", value))

    def add_not_zero(self, value: int) -> bool:
        """Raise the usecount by `value`, which is 0 or more, unless it is 0.

        Returns:
            Whether the usecount was not 0, and so was raised.

        Raises:
            TypeError, ValueError: The amount is no integer, or negative.
            OverflowException: The sum is above `USECOUNT_MAX`; the usecount stays.

        Example:
            >>> Refcounter().add_not_zero(2), Refcounter(usecount=0).add_not_zero(2)
            (True, False)
        """
        return self._change(check_integer("amount", value), unless=0) != 0

    def dec(self) -> None:
        """Lower the usecount by 1; if that reaches 0, run the release callback.

        Raises:
            UnderflowException: The usecount is 0; it stays.

        Example:
            >>> users = Refcounter(release=lambda: print("nobody left"))
            >>> users.dec()
            nobody left
        """
        with self._lock:
            if self._owed is None:
                count = self._usecount
                if count > 1 or (count and self._release is None):
                    self._usecount = count - 1
                    return
        self._change(-1)

    def dec_and_test(self) -> bool:
        """Lower the usecount by 1 and say whether this call reached 0; if so, the release callback has run.

        Of any number of threads, exactly one is told that it was the last.

        Returns:
            Whether this call reached 0, decided in the step that lowered the usecount.

        Raises:
            UnderflowException: The usecount is 0; it stays.

        Example:
            >>> users = Refcounter(usecount=2)
            >>> users.dec_and_test(), users.dec_and_test()
            (False, True)
        """
        with self._lock:
            if self._owed is None:
                count = self._usecount
                if count > 1 or (count and self._release is None):
                    self._usecount = count - 1
                    return count == 1
        return self._change(-1) == 1

    def dec_not_zero(self) -> bool:
        """Lower the usecount by 1 unless it is 0; if that reaches 0, run the release callback.

        Returns:
            Whether it was lowered.

        Example:
            >>> users = Refcounter()
            >>> users.dec_not_zero(), users.dec_not_zero()
            (True, False)
        """
        return self._change(-1, unless=0) != 0

    def dec_not_one(self) -> bool:
        """Lower the usecount by 1 unless it is 1: the cheap release, which leaves the last one to a careful path.

        Returns:
            Whether it was lowered.

        Raises:
            UnderflowException: The usecount is 0; it stays.

        Example:
            >>> users = Refcounter(usecount=2)
            >>> users.dec_not_one(), users.dec_not_one()
            (True, False)
        """
        with self._lock:
            if self._owed is None:
                count = self._usecount
                if count > 1:
                    self._usecount = count - 1
                    return True
        return self._change(-1, unless=1) != 1

    def dec_if_one(self) -> bool:
        """Lower the usecount to 0 if it is 1, and run the release callback; else leave it alone.

        Returns:
            Whether it was 1.

        Example:
            >>> users = Refcounter()
            >>> users.dec_if_one(), users.dec_if_one()
            (True, False)
        """
        return self._change(-1, only=1) == 1

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
            >>> table, users = threading.Lock(), Refcounter(usecount=2)
            >>> users.dec_and_lock(table), table.locked()
            (False, False)
            >>> users.dec_and_lock(table), table.locked()
            (True, True)
        """
        if not (hasattr(lock, "acquire") and hasattr(lock, "release")):
            raise TypeError(f"lock must have acquire() and release(), unlike {short(lock)}")
        if Refcounter.dec_not_one(self):
            return False
        last = False
        lock.acquire()
        try:
            last = self._change(-1) == 1
            return last
        finally:
            if not last:
                lock.release()

    def sub(self, value: int) -> None:
        """Lower the usecount by `value`, which is 0 or more; if that reaches 0, run the release callback.

        Raises:
            TypeError, ValueError: The amount is no integer, or negative.
            UnderflowException: The amount is more than the usecount; it stays.

        Example:
            >>> users = Refcounter(usecount=3)
            >>> users.sub(2)
            >>> users.usecount
            1
        """
        self._change(-check_integer("amount", value))

    def sub_and_test(self, value: int) -> bool:
        """Lower the usecount by `value`, which is 0 or more, and say whether this call reached 0.

        Returns:
            Whether this call reached 0. An amount of 0 never does.

        Raises:
            TypeError, ValueError: The amount is no integer, or negative.
            UnderflowException: The amount is more than the usecount; it stays.

        Example:
            >>> users = Refcounter(usecount=3)
            >>> users.sub_and_test(2), users.sub_and_test(1)
            (False, True)
        """
        amount = check_integer("amount", value)
        return self._change(-amount) == amount > 0


@public
class RefcountedValue(Refcounter, Generic[T]):
    """A value that can be used only while somebody holds it, and the counter that says so.

    Everything that `Refcounter` does, it does too; the idea is `pyrefcount`'s. The counter does not drop the value: if
    the usecount leaves 0 again, the same value is back.

    Args:
        value: The value to guard.
        usecount: As for `Refcounter`, and so are the callbacks and what is raised.
        acquire: Called without arguments after the usecount has left 0.
        release: Called without arguments after the usecount has reached 0.

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
            >>> page = RefcountedValue("draft")
            >>> page.value = "final"
            >>> page.value
            'final'
        """
        if self._usecount:
            return self._value
        raise ReleasedError(_NOT_HELD)

    @value.setter
    def value(self, value: T) -> None:
        with self._no_other_transition(), self._lock:
            count = self._usecount
            if count:
                _old = self._value  # outlives the lock, since its finalizer may use this very counter
                self._value = value
        if not count:
            raise ReleasedError(_NOT_HELD)
