"""`RefcountedExecutor` behaves as `concurrent.futures` documents, follows the usecount, and loses no task."""

import gc
import itertools
import os
import signal
import sys
import threading
import warnings
import weakref
from concurrent.futures import CancelledError, Executor, Future, as_completed, wait
from functools import partial
from typing import Any

import pytest

from refcount import RefcountedExecutor, State
from refcount._core.registry import registry
from refcount.testing import ManualClock
from tests.helpers.interrupting import Every, Interruptions
from tests.helpers.programs import run_program
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.watched import WAIT, until


def constant(number: int) -> "RefcountedExecutor":
    """Return an executor with so many threads, however often it is leased."""
    return RefcountedExecutor(workers=lambda usecount: number, name="pool")


def threads() -> int:
    """Return how many threads all pools have."""
    return sum(thread.name.startswith(("pool-", "RefcountedExecutor-")) for thread in threading.enumerate())


def is_gone(thing: weakref.ref[Any]) -> bool:
    """Say whether nothing keeps what `thing` refers to alive."""
    return thing() is None


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts of the errors that are reported because nobody will catch them."""
    texts: list[str] = []

    def note(unraisable: "sys.UnraisableHookArgs") -> None:
        texts.append(str(unraisable.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", note)
    return texts


# --- as concurrent.futures documents ---


def test_submit() -> None:
    """A task gets its arguments in another thread, and its future what it returns."""

    def task(*args: object, **kwargs: object) -> object:
        return args, kwargs, threading.current_thread() is threading.main_thread()

    with constant(1)() as executor:
        assert isinstance(executor, Executor)
        assert executor.submit(task, 1, "two", fn=3).result(WAIT) == ((1, "two"), {"fn": 3}, False)


def test_exceptions_go_to_the_future() -> None:
    """What a task raises, be it no `Exception`, comes out of its future and ends no thread."""
    with constant(1)() as executor:
        for error in (ValueError("bad"), SystemExit(3), KeyboardInterrupt()):

            def task(error: BaseException = error) -> None:
                raise error

            assert executor.submit(task).exception(WAIT) is error
        assert executor.submit(int, "7").result(WAIT) == 7


def test_tasks_run_in_the_order_of_submission() -> None:
    """One thread does them one after the other."""
    done: list[int] = []
    with constant(1)() as executor:
        for number in range(100):
            executor.submit(done.append, number)
    assert done == list(range(100))


def test_what_cannot_be_called_goes_to_the_future() -> None:
    """As with the standard executors, `submit` itself does not look at what it is given."""
    no_function: Any = 5
    with constant(1)() as executor:
        assert isinstance(executor.submit(no_function).exception(WAIT), TypeError)


def test_cancelling() -> None:
    """What waits in line can be cancelled and is never run; what runs cannot."""
    go, running = threading.Event(), threading.Event()

    def block() -> bool:
        running.set()
        return go.wait(WAIT)

    with constant(1)() as executor:
        first, second = executor.submit(block), executor.submit(pytest.fail, "it was cancelled")
        assert running.wait(WAIT)
        assert second.cancel()
        assert not first.cancel()
        go.set()
        assert first.result(WAIT)
        with pytest.raises(CancelledError):
            second.result(WAIT)


def test_map_keeps_the_order_and_raises_in_its_place() -> None:
    """`map` gives results in the order of its arguments; an error comes when its turn has come."""
    first_may_end = threading.Event()

    def task(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(WAIT)
        if number == 2:
            raise ValueError("two")
        if number == 3:
            first_may_end.set()
        return number * 10

    with constant(2)() as executor:
        results = executor.map(task, range(4))
        assert next(results) == 0
        assert next(results) == 10
        with pytest.raises(ValueError, match="two"):
            next(results)


def test_map_with_a_timeout_cancels_the_rest() -> None:
    """A result that is not there in time raises `TimeoutError`, and what waits in line is cancelled."""
    go = threading.Event()
    done: list[int] = []

    def task(number: int) -> None:
        assert go.wait(WAIT)
        done.append(number)

    with constant(1)() as executor:
        with pytest.raises(TimeoutError):
            list(executor.map(task, range(5), timeout=0.01))
        go.set()
    assert done == [0]


def test_wait_and_as_completed() -> None:
    """The functions of `concurrent.futures` take its futures."""
    with constant(2)() as executor:
        futures = [executor.submit(abs, -number) for number in range(5)]
        assert {future.result() for future in as_completed(futures, WAIT)} == set(range(5))
        assert wait(futures, WAIT).not_done == set()


def test_results_are_not_kept() -> None:
    """An idle thread keeps neither the task nor its arguments, result or error alive; there is no reference cycle."""

    class Thing:
        pass

    def succeed(thing: object) -> list[object]:
        return [thing]

    def fail(thing: object) -> list[object]:
        raise ValueError(thing)

    with constant(1)() as executor:
        gc.disable()
        try:
            for task in (succeed, fail):
                thing = Thing()
                gone = weakref.ref(thing)
                assert wait([executor.submit(task, thing)], WAIT).done
                del thing
                until(partial(is_gone, gone), "letting go")
        finally:
            gc.enable()


def test_callback_that_exits_ends_no_thread(reported: list[str]) -> None:
    """What not even the future catches is reported, and the thread goes on."""

    def leave(_future: "Future[int]") -> None:
        raise SystemExit("left")

    go = threading.Event()
    with constant(1)() as executor:
        executor.submit(go.wait, WAIT)
        executor.submit(abs, -1).add_done_callback(leave)
        go.set()
        assert executor.submit(abs, -2).result(WAIT) == 2
    assert reported == ["left"]


# --- leases ---


def test_shutdown_is_not_a_consumers() -> None:
    """It raises and says so, also at the end of a with-statement on the executor itself; the pool goes on."""
    with constant(1)() as executor:
        with pytest.raises(RuntimeError, match="pool is shared: it is shut down by the end of its last lease"):
            executor.shutdown()
        with pytest.raises(RuntimeError, match="not by a consumer"):
            with executor:
                pass
        assert executor.submit(abs, -1).result(WAIT) == 1


def test_last_lease_finishes_what_was_submitted() -> None:
    """Its release returns when all is done; submitting later raises, and the next lease gives a new executor."""
    pool = constant(2)
    done: list[int] = []
    with pool() as executor:
        for number in range(50):
            executor.submit(done.append, number)
    assert sorted(done) == list(range(50))
    assert threads() == 0
    with pytest.raises(RuntimeError, match="pool takes no more tasks: its last lease has ended"):
        executor.submit(done.append, 50)
    with pool() as another:
        assert another is not executor
        assert another.submit(abs, -1).result(WAIT) == 1
        with pytest.raises(RuntimeError, match="takes no more tasks"):
            executor.map(abs, [1])


def test_threads_follow_the_usecount() -> None:
    """Every lease brings its threads at once, before anything is submitted; they go with it."""
    pool = RefcountedExecutor(workers=lambda usecount: 2 * usecount, name="pool")
    with pool() as first:
        assert threads() == 2
        with pool() as second:
            assert first is second
            assert threads() == 4
        until(lambda: threads() == 2)
    assert threads() == 0


def test_default_is_one_for_each_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `workers` there is a thread for each lease, up to the number of CPUs."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    pool = RefcountedExecutor()
    with pool():
        assert threads() == 1
        with pool(), pool():
            assert threads() == 2


def test_shrinking_loses_no_task() -> None:
    """A thread that is too many finishes its task and goes; what is in line is done by those that stay."""
    pool = RefcountedExecutor(workers=lambda usecount: usecount, name="pool")
    go, running = threading.Event(), threading.Semaphore(0)
    done: list[int] = []

    def block(number: int) -> None:
        running.release()
        assert go.wait(WAIT)
        done.append(number)

    with pool() as executor:
        second = pool.acquire()
        futures = [executor.submit(block, number) for number in range(10)]
        assert running.acquire(timeout=WAIT)
        assert running.acquire(timeout=WAIT)
        second.release()
        assert threads() == 2
        go.set()
        wait(futures, WAIT)
        until(lambda: threads() == 1)
    assert sorted(done) == list(range(10))


def test_thread_that_has_left_is_not_woken() -> None:
    """After the executor has grown and shrunk, a task finds the thread that is left, and nothing else is kept."""
    pool = RefcountedExecutor(workers=lambda usecount: usecount, name="pool")
    with pool() as executor:
        for _ in range(3):
            with pool(), pool():
                until(lambda: idle_threads(executor) == 3)
            until(lambda: idle_threads(executor) == threads() == 1)
            assert executor.submit(abs, -1).result(WAIT) == 1


def test_no_thread_at_all_loses_no_task() -> None:
    """Where `workers` wants none, tasks wait for some; the last release has what is left done by a thread."""
    pool = RefcountedExecutor(workers=lambda usecount: usecount - 1, name="pool")
    with pool() as executor:
        future = executor.submit(abs, -1)
        assert not future.done()
        with pool():
            assert future.result(WAIT) == 1
        until(lambda: threads() == 0)
        left = executor.submit(threading.current_thread)
        cancelled = executor.submit(abs, -2)
        assert cancelled.cancel()
    assert left.result(0) is not threading.current_thread()  # where an interrupt would end up in the future


def test_no_thread_to_be_had_loses_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of the process: whoever waits for the tasks that are left does them."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = constant(0)
    with pool() as executor:
        futures = [executor.submit(threading.current_thread) for _ in range(2)]
        monkeypatch.setattr(threading.Thread, "start", start)
    assert [future.result(0) for future in futures] == [threading.current_thread()] * 2
    assert not registry.unfinished


def test_task_that_ends_the_last_lease() -> None:
    """A task may release the last lease of its own executor: it does not wait for itself, and the rest is done."""
    pool = constant(1)
    lease = pool.acquire()
    executor = lease.value
    first, second = executor.submit(lease.release), executor.submit(abs, -1)
    assert first.result(WAIT)
    assert second.result(WAIT) == 1
    pool.wait_stopped(WAIT)
    until(lambda: threads() == 0)
    assert not registry.unfinished


def test_task_that_ends_the_last_lease_does_not_wait_for_others() -> None:
    """Its release returns while another thread is still at its task."""
    pool = constant(2)
    go = threading.Event()
    lease = pool.acquire()
    executor = lease.value
    other = executor.submit(go.wait, WAIT)
    assert executor.submit(lease.release).result(WAIT)
    assert not other.done()
    go.set()
    assert other.result(WAIT)
    until(lambda: threads() == 0)


ENDED_BY_A_TASK = """
import threading
from refcount import RefcountedExecutor

def rest(number):
    main_is_over.wait()
    print("task", number, flush=True)

def first():
    submitted.wait()
    lease.release()
    ended.set()

submitted, ended, main_is_over = threading.Event(), threading.Event(), threading.Event()
threading._register_atexit(main_is_over.set)  # after the library's own, so called before it
pool = RefcountedExecutor(workers=lambda usecount: 1)
lease = pool.acquire()
lease.value.submit(first)
for number in range(3):
    lease.value.submit(rest, number)
submitted.set()
ended.wait()
print("main ends", flush=True)
"""


def test_process_ends_after_what_was_submitted() -> None:
    """Though nobody has waited for it, since a task ended the last lease: what is in line is done before the end."""
    ended = run_program(ENDED_BY_A_TASK)
    assert (ended.lines, ended.stderr, ended.returncode) == (["main ends", "task 0", "task 1", "task 2"], "", 0)


def test_interrupted_anywhere(every: Every) -> None:
    """An interrupt wherever CPython delivers one, in turn, leaves no thread and loses no task."""
    sweep = Interruptions(step=every(3))
    for interruption in sweep:
        visit = Visit(constant(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # a lease may be lost where its release is entered
            interruption.run(visit)
            if visit.pool.usecount:
                gc.collect()
            until(lambda: visit.pool.usecount == 0, f"the release after an interrupt at {interruption.place}")  # noqa: B023
        visit.pool.close(WAIT)
        until(lambda: threads() == 0, f"the end of the threads after an interrupt at {interruption.place}")
        assert len(visit.done) >= len(visit.submitted), interruption.place
    assert sweep.points > 50, "the sweep interrupted hardly anything"


class Visit:
    """One lease of an executor, and one task submitted while its threads sleep."""

    def __init__(self, pool: RefcountedExecutor) -> None:
        self.pool = pool
        self.submitted: list[Future[None]] = []
        self.done: list[int] = []

    def __call__(self) -> None:
        with self.pool() as executor:
            until(lambda: idle_threads(executor) == 2)
            self.submitted.append(executor.submit(self.done.append, 1))


def idle_threads(executor: Executor) -> int:
    """Return how many threads of the executor wait for a task; nothing public shows it."""
    whole: Any = executor
    return len(whole._pool._idle)


INTERRUPTED_RELEASE = """
import contextlib, os, signal, threading
from refcount import RefcountedExecutor

def first():
    with contextlib.suppress(RuntimeError):  # raised as soon as the last release has come so far
        while True:
            executor.submit(int)
    os.kill(os.getpid(), signal.SIGINT)
    while not interrupted.wait(1.0):  # a signal in the step in which the main thread falls asleep does not wake it
        os.kill(os.getpid(), signal.SIGINT)

interrupted = threading.Event()
pool = RefcountedExecutor(workers=lambda usecount: 1)
try:
    with pool() as executor:
        executor.submit(first)
        for number in range(3):
            executor.submit(print, "task", number, flush=True)
except KeyboardInterrupt:
    print("interrupted", pool.usecount, flush=True)
    interrupted.set()
"""


def test_interrupted_release_loses_no_task() -> None:
    """Ctrl-C ends the wait of the last release, not what was submitted: it is done before the process ends."""
    ended = run_program(INTERRUPTED_RELEASE)
    assert (ended.lines, ended.stderr, ended.returncode) == (
        ["interrupted 0", "task 0", "task 1", "task 2"],
        "",
        0,
    )


def test_task_that_leases_its_own_executor_while_the_last_lease_ends() -> None:
    """It gets an executor with threads of its own instead of waiting for itself, and the last lease ends."""
    pool = constant(1)
    ending = threading.Event()

    def task() -> int:
        assert ending.wait(WAIT)
        until(lambda: pool.state in {State.STOPPING, State.IDLE}, "the stop")
        with pool() as inner:
            assert inner is not executor
            return inner.submit(abs, -1).result(WAIT)

    with pool() as executor:
        future = executor.submit(task)
        ending.set()
    assert future.result(0) == 1
    pool.wait_stopped(WAIT)
    assert threads() == 0


def test_finalizer_that_ends_the_last_lease_while_the_executor_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may run it in the middle of the growing: all threads end, and nobody waits for itself."""
    start = threading.Thread.start
    number = 1

    def start_and_collect(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "pool-2":
            first.release()

    monkeypatch.setattr(threading.Thread, "start", start_and_collect)
    pool = RefcountedExecutor(workers=lambda usecount: number, name="pool")
    first, second = pool.acquire(), pool.acquire()
    future = first.value.submit(abs, -1)
    number = 3
    second.release()
    until(lambda: not pool.usecount and not threads())
    assert future.result(0) == 1
    pool.wait_stopped(WAIT)


def test_finalizer_that_submits_while_a_thread_looks_for_tasks() -> None:
    """The collector may run it anywhere in the pool's own steps: its task is done."""
    done: list[int] = []

    def submit(number: int) -> None:
        executor.submit(done.append, number)

    with constant(1)() as executor:
        whole: Any = executor
        take = whole._pool._take
        numbers = itertools.count()

        def take_and_collect(parker: object) -> object:
            before = next(numbers)
            if before < 5:
                submit(2 * before)
            taken = take(parker)
            if before < 5:
                submit(2 * before + 1)
            return taken

        whole._pool._take = take_and_collect
        executor.submit(int)
        until(lambda: len(done) == 10)
    assert sorted(done) == list(range(10))


def test_lingering_executor_keeps_its_threads() -> None:
    """While it lingers, the next lease finds the same executor."""
    pool = RefcountedExecutor(linger=10.0)
    with ManualClock() as clock:
        with pool() as executor:
            pass
        assert threads() == 1
        with pool() as again:
            assert again is executor
        clock.advance(10.0)
        assert threads() == 0
        assert pool.state is State.IDLE


@pytest.mark.parametrize(("bad", "error"), [(-1, ValueError), (0.5, TypeError)])
def test_workers_function_that_gives_no_number(bad: Any, error: type[Exception]) -> None:
    """The first lease fails with an error that names function and value, and nothing is left of it."""
    pool = RefcountedExecutor(workers=lambda usecount: bad, name="pool")
    with pytest.raises(error, match=rf"what workers of pool returned for usecount 1 must be .* not {bad}"):
        pool.acquire()
    assert pool.usecount == threads() == 0


def test_as_other_executors_are_made() -> None:
    """The number may come first, as with others; by their keywords the error says what to write. More is not taken."""
    executor: Any = RefcountedExecutor
    with pytest.raises(
        TypeError, match="RefcountedExecutor takes no max_workers: write workers=4, or a function of the"
    ):
        executor(max_workers=4)
    with pytest.raises(TypeError, match="RefcountedExecutor takes no thread_name_prefix: write name="):
        executor(4, thread_name_prefix="pool")
    with pytest.raises(TypeError, match="positional argument"):
        executor(4, "pool")
    for pool in (RefcountedExecutor(3, name="pool"), RefcountedExecutor(workers=3, name="pool")):
        with pool():
            assert threads() == 3
            with pool():  # one pool for all who come
                assert threads() == 3
            assert threads() == 3
        assert threads() == 0


def test_names_and_repr() -> None:
    """An executor is called after its class; a name may be a text, or a function."""

    class Pool(RefcountedExecutor):
        pass

    assert repr(RefcountedExecutor()) == "<RefcountedExecutor, idle, usecount=0>"
    assert repr(Pool()) == "<Pool, idle, usecount=0>"
    pool = Pool(1, name=lambda: "pool")
    with pool() as executor:
        assert repr(pool) == "<Pool pool, running, usecount=1>"
        assert executor.submit(lambda: threading.current_thread().name).result(WAIT) == "pool-1"


def test_check() -> None:
    """It is asked about the executor that a newcomer would get; if that is no good, the newcomer gets another one."""
    asked: list[Executor] = []

    def works(executor: Executor) -> bool:
        asked.append(executor)
        return executor.submit(abs, -1).result(WAIT) == len(asked)

    pool = RefcountedExecutor(1, name="pool", check=works)
    with pool() as first:
        with pool() as second:
            assert second is first
        with pool() as third:
            assert third is not first
            assert first.submit(abs, -1).result(WAIT) == third.submit(abs, -1).result(WAIT)
    assert asked == [first, first]


@pytest.mark.parametrize("overlap", [True, False])
def test_overlap(overlap: bool) -> None:
    """A newcomer has threads at once while the old ones finish; without, it waits, and there are never more."""
    pool = RefcountedExecutor(1, name="pool", overlap=overlap)
    go = threading.Event()
    first = pool.acquire()
    first.value.submit(go.wait, WAIT)
    ending = threading.Thread(target=first.release)
    ending.start()
    until(lambda: pool.state is State.STOPPING)
    if overlap:
        with pool() as executor:
            assert threads() == 2
            assert executor.submit(abs, -1).result(WAIT) == 1
            go.set()
    else:
        with pytest.raises(TimeoutError):
            pool.acquire(timeout=0)
        go.set()
        with pool():
            assert threads() == 1
    ending.join(WAIT)
    assert threads() == 0


@pytest.mark.parametrize("seed", range(3))
def test_consumers_come_and_go(seed: int) -> None:
    """However leases and tasks come and go, every task is done once and no thread is left."""
    pool = RefcountedExecutor(name="pool")
    done: list[tuple[int, int]] = []

    def consumer(me: int) -> None:
        for number in range(8):
            with pool() as executor:
                executor.submit(done.append, (me, number))

    with shaken(seed):
        run_threads(*[lambda me=me: consumer(me) for me in range(4)])
    assert sorted(done) == [(me, number) for me in range(4) for number in range(8)]
    until(lambda: threads() == 0)  # one that was about to be started may end a little later, and does nothing


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child() -> None:
    """In a forked child the parent's executor takes no tasks, and a new lease gives one that works."""
    pool = constant(1)
    with pool() as executor:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(int(WAIT))
                with pytest.raises(RuntimeError, match="takes no more tasks"):
                    executor.submit(abs, -1)
                with pool() as own:
                    status = own.submit(abs, -7).result(WAIT)
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert executor.submit(abs, -1).result(WAIT) == 1
