"""What type checkers infer and refuse for `Refcounter` and `RefcountedValue`. Checked, never run."""

import multiprocessing
import threading
from typing import Literal, assert_type

from refcount import USECOUNT_MAX, RefcountedValue, Refcounter


class Frame:
    """Something that is counted."""

    def recycle(self) -> bool:
        """Fit as a callback, once it is bound."""
        return True


def callback_with_argument(usecount: int) -> None:
    """Do not fit as a callback."""


def counters(users: Refcounter, frame: Frame) -> None:
    """Every verb says by its type whether it tells something."""
    assert_type(Refcounter(), Refcounter)
    Refcounter(0, print, frame.recycle)
    Refcounter(usecount=2, acquire=None, release=lambda: print("nobody left"))
    assert_type(users.usecount, int)
    users.usecount = 4
    users.inc()
    users.add(2)
    users.dec()
    users.sub(2)
    assert_type(users.inc_and_test(), bool)
    assert_type(users.inc_not_zero(), bool)
    assert_type(users.add_not_zero(2), bool)
    assert_type(users.dec_and_test(), bool)
    assert_type(users.sub_and_test(2), bool)
    assert_type(users.dec_not_zero(), bool)
    assert_type(users.dec_not_one(), bool)
    assert_type(users.dec_if_one(), bool)
    assert_type(users.dec_and_lock(threading.Lock()), bool)
    users.dec_and_lock(threading.RLock())
    users.dec_and_lock(threading.Condition())
    users.dec_and_lock(multiprocessing.Lock())
    biggest: int = USECOUNT_MAX
    users.add(biggest)


def values(frames: RefcountedValue[Frame]) -> None:
    """A counter with a value."""
    assert_type(RefcountedValue("page"), RefcountedValue[str])
    assert_type(RefcountedValue(Frame(), usecount=0, acquire=print, release=print), RefcountedValue[Frame])
    assert_type(frames.value, Frame)
    frames.value = Frame()
    assert_type(frames.dec_and_test(), bool)
    users: Refcounter = frames
    users.inc()


def refused_counters(users: Refcounter) -> None:
    """Mistakes with counters."""
    Refcounter("1")  # type: ignore[arg-type]  # a number
    Refcounter(acquire=callback_with_argument)  # type: ignore[arg-type]  # it is handed nothing
    Refcounter(release=3)  # type: ignore[arg-type]  # not callable
    Refcounter(relase=print)  # type: ignore[call-arg]  # a typo
    Refcounter(1, print, print, print)  # type: ignore[call-arg]  # one too many
    users.usecount = "4"  # type: ignore[assignment]  # a number
    users.usecount()  # type: ignore[operator]  # a property
    users.usecont  # type: ignore[attr-defined]  # a typo
    users.inc(2)  # type: ignore[call-arg]  # `add(2)`
    users.add()  # type: ignore[call-arg]  # the amount is missing
    users.add(1.5)  # type: ignore[arg-type]  # a whole number
    users.dec_and_lock()  # type: ignore[call-arg]  # the lock is missing
    users.inc_and_test(2)  # type: ignore[call-arg]  # there is no such verb for an amount
    users.dec_not_zero(2)  # type: ignore[call-arg]  # nor here
    users.dec_and_lock(threading.Event())  # type: ignore[arg-type]  # no lock
    with users:  # type: ignore[attr-defined]  # a counter is no context manager
        pass
    last: Literal[True] = users.dec_and_test()  # type: ignore[assignment]  # it may not be
    print(last)


def refused_values(frames: RefcountedValue[Frame]) -> None:
    """Mistakes with values."""
    RefcountedValue()  # type: ignore[call-arg]  # the value is missing
    RefcountedValue(Frame(), "1")  # type: ignore[arg-type]  # a number
    frames.value = "frame"  # type: ignore[assignment]  # of another type
    frames.value.recyle()  # type: ignore[attr-defined]  # a typo
    frames.vaule  # type: ignore[attr-defined]  # a typo
    other: RefcountedValue[object] = frames  # type: ignore[assignment]  # it could be set to anything
    print(other)
