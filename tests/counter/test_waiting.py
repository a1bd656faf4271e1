"""What other threads meet while a callback runs, and `dec_and_lock`."""

from __future__ import annotations

import multiprocessing
import threading

import pytest

from refcount import RefcountedValue, Refcounter, UnderflowException
from tests.counter.counting import (
    WAIT,
    Recorder,
    RecordingLock,
    Task,
    Verb,
    WatchedLock,
    call,
    dec_and_lock,
    outcome,
    wait,
)

# --- Other threads while a callback runs ----------------------------------------------------------------------------


def set_to_five(counter: Refcounter) -> None:
    """Set the usecount, as a verb."""
    counter.usecount = 5


WAITING_VERBS: list[tuple[Verb, object, object]] = [
    # the verb, what it gives after an acquire that left 1, what it gives after a release that left 0
    (Refcounter.inc, None, None),
    (call("add", 2), None, None),
    (call("add", 0), None, None),
    (Refcounter.inc_not_zero, True, False),
    (call("add_not_zero", 2), True, False),
    (Refcounter.dec, None, UnderflowException),
    (call("sub", 1), None, UnderflowException),
    (Refcounter.dec_and_test, True, UnderflowException),
    (call("sub_and_test", 1), True, UnderflowException),
    (call("sub_and_test", 0), False, False),
    (Refcounter.dec_not_one, False, UnderflowException),
    (Refcounter.dec_if_one, True, False),
    (dec_and_lock, True, UnderflowException),
    (set_to_five, None, None),
]


@pytest.mark.parametrize(("verb", "after_acquire", "after_release"), WAITING_VERBS)
@pytest.mark.parametrize("transition", ["acquire", "release"])
def test_verbs_of_other_threads_wait(transition: str, verb: Verb, after_acquire: object, after_release: object) -> None:
    """While a callback runs every verb of another thread waits, then sees how it ended; a look does not wait."""
    log: list[str] = []
    inside, gate = threading.Event(), threading.Event()

    def callback() -> None:
        if not log:
            log.append("begins")
            inside.set()
            wait(gate)
            log.append("ends")

    counter = Refcounter(int(transition == "release"), callback, callback)
    lock = WatchedLock(counter)
    runner = Task(counter.inc if transition == "acquire" else counter.dec)
    wait(inside)

    def use() -> object:
        result = outcome(lambda: verb(counter))
        log.append("used")
        return result

    waiter = Task(use)
    lock.wait_for_waiters()
    assert counter.usecount == int(transition == "acquire")
    assert log == ["begins"]
    assert not waiter.done
    gate.set()
    runner.result()
    assert waiter.result() is (after_acquire if transition == "acquire" else after_release)
    assert log == ["begins", "ends", "used"]


def test_value_is_seen_while_a_callback_runs() -> None:
    """Reading the value does not wait; replacing it does."""
    inside, gate = threading.Event(), threading.Event()

    def acquire() -> None:
        inside.set()
        wait(gate)

    guarded = RefcountedValue("old", 0, acquire)
    lock = WatchedLock(guarded)
    runner = Task(guarded.inc)
    wait(inside)

    def replace() -> None:
        guarded.value = "new"

    replacing = Task(replace)
    lock.wait_for_waiters()
    assert guarded.value == "old"
    gate.set()
    runner.result()
    replacing.result()
    assert guarded.value == "new"


def test_inc_returns_when_the_acquire_of_another_thread_has_ended() -> None:
    """Of many first users one runs the callback, and none is through before it has ended."""
    ended: list[bool] = []
    inside, gate = threading.Event(), threading.Event()

    def acquire() -> None:
        inside.set()
        wait(gate)
        ended.append(True)

    counter = Refcounter(0, acquire)
    lock = WatchedLock(counter)

    def use() -> bool:
        counter.inc()
        return bool(ended)

    users = [Task(use) for _ in range(8)]
    wait(inside)
    lock.wait_for_waiters(7)
    gate.set()
    assert [user.result() for user in users] == [True] * 8
    assert (counter.usecount, len(ended)) == (8, 1)


def test_waiter_acquires_after_a_failed_acquire() -> None:
    """When the first acquire raises, only its caller gets the error; a waiter finds 0 and runs the callback itself."""
    threads: list[int] = []
    inside, gate = threading.Event(), threading.Event()

    def acquire() -> None:
        threads.append(threading.get_ident())
        if len(threads) == 1:
            inside.set()
            wait(gate)
            raise OSError("no camera")

    counter = Refcounter(0, acquire)
    lock = WatchedLock(counter)
    first = Task(counter.inc)
    wait(inside)

    def start_anew() -> int:
        counter.inc()
        return threading.get_ident()

    second = Task(start_anew)
    lock.wait_for_waiters()
    gate.set()
    with pytest.raises(OSError, match="no camera"):
        first.result()
    assert second.result() == threads[1] != threads[0]
    assert (counter.usecount, len(threads)) == (1, 2)


def test_waiters_are_let_go_after_a_failed_release() -> None:
    """When a release raises, a waiting thread finds 0 and starts anew."""
    inside, gate = threading.Event(), threading.Event()
    log: list[str] = []

    def release() -> None:
        inside.set()
        wait(gate)
        raise OSError("stuck")

    counter = Refcounter(1, lambda: log.append("acquire"), release)
    lock = WatchedLock(counter)
    last = Task(counter.dec)
    wait(inside)
    newcomer = Task(counter.inc)
    lock.wait_for_waiters()
    gate.set()
    with pytest.raises(OSError, match="stuck"):
        last.result()
    newcomer.result()
    assert (counter.usecount, log) == (1, ["acquire"])


def test_queued_callbacks_come_before_waiters() -> None:
    """A thread that waits is let in when the queued callbacks too have run."""
    log: list[str] = []
    inside, gate = threading.Event(), threading.Event()

    def acquire() -> None:
        log.append("acquire")
        if len(log) == 1:
            inside.set()
            wait(gate)
            counter.dec()

    counter = Refcounter(0, acquire, lambda: log.append("release"))
    lock = WatchedLock(counter)
    first = Task(counter.inc)
    wait(inside)
    second = Task(lambda: counter.inc_not_zero())
    lock.wait_for_waiters()
    gate.set()
    first.result()
    assert second.result() is False
    assert log == ["acquire", "release"]


# --- dec_and_lock ---------------------------------------------------------------------------------------------------


def test_dec_and_lock_leaves_the_lock_alone_when_others_remain() -> None:
    """Above 1 the lock is not even touched."""
    log: list[str] = []
    counter = Refcounter(2)
    assert counter.dec_and_lock(RecordingLock(log)) is False
    assert (counter.usecount, log) == (1, [])


def test_dec_and_lock_releases_with_the_lock_held() -> None:
    """On reaching 0 the callback runs under the lock, and the caller has it afterwards."""
    log: list[str] = []
    counter = Refcounter(release=lambda: log.append("release"))
    assert counter.dec_and_lock(RecordingLock(log)) is True
    assert log == ["lock", "release"]


def test_dec_and_lock_frees_the_lock_when_release_raises() -> None:
    """The error goes to the caller, the count is 0, and the lock is free."""

    def release() -> None:
        assert lock.locked()
        raise OSError("stuck")

    lock = threading.Lock()
    counter = Refcounter(release=release)
    with pytest.raises(OSError, match="stuck"):
        counter.dec_and_lock(lock)
    assert (counter.usecount, lock.locked()) == (0, False)


def test_dec_and_lock_at_zero_does_not_take_the_lock() -> None:
    """An underflow is found before the lock is asked for."""
    log: list[str] = []
    with pytest.raises(UnderflowException):
        Refcounter(0).dec_and_lock(RecordingLock(log))
    assert log == []


@pytest.mark.parametrize("by", [1, 2])
def test_dec_and_lock_looks_again_under_the_lock(by: int) -> None:
    """Whoever comes while the lock is waited for keeps the thing: the lock is given back and the answer is False."""
    log: list[str] = []
    counter = Refcounter(release=lambda: log.append("release"))
    lock = RecordingLock(log, meanwhile=lambda: Task(lambda: counter.add(by)).result())
    assert counter.dec_and_lock(lock) is False
    assert (counter.usecount, log) == (by, ["lock", "unlock"])


def test_dec_and_lock_frees_the_lock_on_a_late_underflow() -> None:
    """When somebody released too often while the lock was waited for, the error leaves the lock free."""
    log: list[str] = []
    counter = Refcounter()
    lock = RecordingLock(log, meanwhile=lambda: Task(counter.dec).result())
    with pytest.raises(UnderflowException):
        counter.dec_and_lock(lock)
    assert (counter.usecount, log) == (0, ["lock", "unlock"])


def test_dec_and_lock_when_the_lock_cannot_be_had() -> None:
    """What the lock raises is passed on, and the count is as before."""

    def refuse() -> None:
        raise InterruptedError

    log: list[str] = []
    counter = Refcounter()
    with pytest.raises(InterruptedError):
        counter.dec_and_lock(RecordingLock(log, meanwhile=refuse))
    assert (counter.usecount, log) == (1, [])


def test_dec_and_lock_waits_for_the_lock_with_the_counter_free() -> None:
    """While one thread waits for the user's lock, its holder can use the counter, and so can anyone."""
    table = threading.Lock()
    asked = threading.Event()
    log: list[str] = []

    class Table:
        def acquire(self) -> bool:
            asked.set()
            return table.acquire(timeout=WAIT)

        def release(self) -> None:
            table.release()

    recorder = Recorder(1)
    with table:
        last = Task(lambda: recorder.counter.dec_and_lock(Table()))
        wait(asked)
        recorder.counter.inc()
        log.append("looked up")
    assert last.result() is False
    assert (recorder.counter.usecount, recorder.log, log) == (1, [], ["looked up"])
    assert not table.locked()


def test_dec_and_lock_takes_any_lock() -> None:
    """Reentrant and multiprocessing locks do as well."""
    reentrant = threading.RLock()
    assert Refcounter().dec_and_lock(reentrant)
    assert not Task(lambda: reentrant.acquire(blocking=False)).result()
    reentrant.release()
    between_processes = multiprocessing.get_context("spawn").Lock()
    assert Refcounter().dec_and_lock(between_processes)
    assert not between_processes.acquire(block=False)
    between_processes.release()
