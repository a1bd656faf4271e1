"""`StoppableThread` ends when asked to; a `WorkerGroup` has as many of them as its usecount asks for."""

import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from refcount import RefcountedExecutor, State, StoppableThread, WorkerGroup
from refcount._core.clock import monotonic
from refcount._core.parking import Parker
from refcount._faces import workers as _workers
from refcount.testing import ManualClock
from tests.helpers.interrupting import Every, Interruptions
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.watched import WAIT, until


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts of the errors that are reported because nobody will catch them."""
    texts: list[str] = []

    def note(unraisable: "sys.UnraisableHookArgs") -> None:
        texts.append(str(unraisable.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", note)
    return texts


# --- StoppableThread ---


def test_target_is_handed_the_event_that_stop_sets() -> None:
    """The target gets `stopping`, runs until `stop`, and has ended when that returns; again is harmless."""
    handed: list[threading.Event] = []

    def target(stopping: threading.Event) -> None:
        handed.append(stopping)
        assert stopping.wait(WAIT)

    thread = StoppableThread(target, name="producer")
    assert thread.daemon
    assert thread.name == "producer"
    thread.start()
    assert not thread.stopping.is_set()
    thread.stop()
    assert not thread.is_alive()
    assert handed == [thread.stopping]
    thread.stop(timeout=0)


def test_subclass_looks_at_stopping() -> None:
    """A subclass may override `run()` instead."""

    class Ticker(StoppableThread):
        stopped = False

        def run(self) -> None:
            self.stopped = self.stopping.wait(WAIT)

    ticker = Ticker(daemon=False)
    assert not ticker.daemon
    ticker.start()
    ticker.stop()
    assert ticker.stopped


def test_without_a_target_it_has_nothing_to_do() -> None:
    """It ends at once, as any thread would."""
    thread = StoppableThread()
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_stop_before_start() -> None:
    """It is harmless; a thread that is started all the same finds that it is to end."""
    seen: list[bool] = []
    thread = StoppableThread(lambda stopping: seen.append(stopping.is_set()))
    thread.stop()
    thread.start()
    thread.join(WAIT)
    assert seen == [True]


def test_interrupted_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts it never sees it run, and so never stops it: it is asked to end."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    thread = StoppableThread(lambda stopping: stopping.wait(WAIT))
    with pytest.raises(KeyboardInterrupt):
        thread.start()
    assert thread.stopping.is_set()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_stop_from_inside_the_thread() -> None:
    """It only asks, and does not wait for itself."""
    thread = StoppableThread(lambda stopping: thread.stop())
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_stop_with_a_timeout() -> None:
    """A thread that does not end in time gives `TimeoutError` that names it; it has been asked nevertheless."""
    go = threading.Event()
    thread = StoppableThread(lambda stopping: go.wait(WAIT), name="stubborn")
    thread.start()
    with pytest.raises(TimeoutError, match=r"stubborn still ran 0\.01 s after it was asked to end"):
        thread.stop(timeout=0.01)
    assert thread.stopping.is_set()
    go.set()
    thread.stop(timeout=float("inf"))
    assert not thread.is_alive()


def wait_for(event: threading.Event, timeout: float | None) -> bool:
    """Wait by the event's own method."""
    return event.wait(timeout)


@pytest.mark.parametrize("wait", [wait_for, threading.Event.wait])
def test_event_is_one_as_any_other(wait: Callable[[threading.Event, float | None], bool]) -> None:
    """It can be set, cleared and waited for as documented, by a method of its own or of its class."""
    event = StoppableThread().stopping
    assert not wait(event, 0)
    assert not wait(event, -1)
    assert not wait(event, 0.01)
    event.set()
    assert event.is_set()
    assert wait(event, 0)
    assert wait(event, None)
    event.clear()
    assert not wait(event, 0)
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(wait(event, None))) for _ in range(3)]
    for thread in threads:
        thread.start()
    whole: Any = event
    until(lambda: len(whole._cond._parkers) == 3)
    event.set()
    for thread in threads:
        thread.join(WAIT)
    assert woken == [True] * 3
    assert not whole._cond._parkers


def test_interrupt_in_the_middle_of_the_event() -> None:
    """It leaves no lock behind: the event can be set, and whoever waits for it is woken."""
    for interruption in Interruptions():
        thread = StoppableThread(threading.Event.wait)
        thread.start()
        interruption.run(thread.stopping.set)
        thread.stop(WAIT)
        assert not thread.is_alive()


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
def test_bad_timeouts(timeout: Any, error: type[Exception]) -> None:
    """They are refused by name, and nothing is asked."""
    thread = StoppableThread()
    with pytest.raises(error, match=f"timeout must be .* not {timeout!r}"):
        thread.stop(timeout=timeout)
    assert not thread.stopping.is_set()


def test_error_goes_to_the_excepthook(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the target is reported as that of any thread."""
    seen: list[BaseException | None] = []

    def hook(arguments: threading.ExceptHookArgs) -> None:
        seen.append(arguments.exc_value)

    monkeypatch.setattr(threading, "excepthook", hook)
    error = RuntimeError("target failed")

    def target(_stopping: threading.Event) -> None:
        raise error

    thread = StoppableThread(target)
    thread.start()
    thread.stop()
    assert seen == [error]


async def asynchronous(stopping: threading.Event) -> None:
    """Nobody would await it."""


def test_bad_targets() -> None:
    """What cannot be called with an event is refused by name where it is handed in, by the thread and by the group."""
    bad: list[tuple[Any, str]] = [
        ("target", "must be callable, not 'target'"),
        (lambda: None, r"is called with stopping, and `.*<lambda>` takes \(\)"),
        (wait_for, "is called with stopping, and .* missing a required argument: 'timeout'"),
        (asynchronous, "must not be asynchronous, since nobody would wait for it: `asynchronous` is"),
    ]
    for target, text in bad:
        with pytest.raises(TypeError, match=f"target of a StoppableThread {text}"):
            StoppableThread(target)
        with pytest.raises(TypeError, match=f"target of a WorkerGroup {text}"):
            WorkerGroup(target)


def test_arguments_for_the_target() -> None:
    """What other threads are told by `args` and `kwargs` is refused, with what to write; and that works."""
    thread: Any = StoppableThread
    group: Any = WorkerGroup
    text = r"takes no args: hand in functools.partial\(target, ...\), which is called with `stopping` after all else"
    with pytest.raises(TypeError, match=f"StoppableThread {text}"):
        thread(print, args=(1,))
    with pytest.raises(TypeError, match=f"WorkerGroup {text}"):
        group(print, args=(1,))
    with pytest.raises(TypeError, match="StoppableThread takes no kwargs: hand in "):
        thread(print, kwargs={"end": ""})
    with pytest.raises(TypeError, match="unexpected keyword argument 'dameon'"):
        thread(print, dameon=True)
    given: list[object] = []

    def target(number: int, stopping: threading.Event) -> None:
        given.extend((number, stopping))

    good = StoppableThread(partial(target, 1))
    good.start()
    good.stop()
    assert given == [1, good.stopping]


@pytest.mark.parametrize(
    ("workers", "error", "text"),
    [
        ("many", TypeError, "must be an integer, not 'many'"),
        (2.5, TypeError, "must be an integer, not 2.5"),
        (True, TypeError, "must be an integer, not True"),
        (None, TypeError, "must be an integer, not None"),
        (0, ValueError, "must be 1 or more, not 0"),
        (-1, ValueError, "must be 1 or more, not -1"),
        (lambda: 1, TypeError, r"workers is called with the usecount, and `.*<lambda>` takes \(\)"),
    ],
    ids=["text", "float", "bool", "none", "zero", "negative", "arity"],
)
def test_bad_workers(workers: Any, error: type[Exception], text: str) -> None:
    """What is neither a number of threads nor a function of the usecount is refused, by groups and by executors."""
    for make in (partial(WorkerGroup, threading.Event.wait), RefcountedExecutor):
        with pytest.raises(error, match=rf"workers.* {text}|{text}"):
            make(workers=workers)


def test_bad_options() -> None:
    """Names, checks and lingers are looked at where they are handed in."""
    group: Any = WorkerGroup
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"linger": -1}, ValueError, "linger must be .* not -1"),
        ({"check": lambda: True}, TypeError, r"check is called with the value, and `.*<lambda>` takes \(\)"),
        ({"name": 3}, TypeError, "the name of WorkerGroup must be a string, or a function that returns one, not 3"),
        ({"max_workers": 3}, TypeError, "WorkerGroup takes no max_workers: write workers=4, or a function of"),
        ({"exclusive": True}, TypeError, "unexpected keyword argument 'exclusive'"),
    ]
    for options, error, text in bad:
        with pytest.raises(error, match=text):
            group(threading.Event.wait, **options)


# --- WorkerGroup ---


def double(usecount: int) -> int:
    """Return two workers for each lease."""
    return 2 * usecount


def test_default_is_one_for_each_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `workers` there is a thread for each lease, up to the number of CPUs."""
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    group = WorkerGroup(threading.Event.wait)
    leases = [group.acquire() for _ in range(5)]
    assert group.threads == 3
    for lease in leases[:3]:
        lease.release()
    until(lambda: group.threads == 2)
    for lease in leases[3:]:
        lease.release()
    assert group.threads == 0


def test_threads_follow_the_usecount() -> None:
    """It grows at once, shrinks as workers end, has none left when the last release returns, and starts anew."""
    group = WorkerGroup(threading.Event.wait, workers=double, name="group")
    for _ in range(2):
        with group() as first, group() as second:
            assert first is second is group
            assert group.threads == 4
            names = {thread.name for thread in threading.enumerate() if thread.name.startswith("group-")}
            assert names == {"group-1", "group-2", "group-3", "group-4"}
        assert group.threads == 0
        assert group.state is State.IDLE


def test_a_number_of_workers() -> None:
    """There are as many as long as anybody has a lease, and no more for the second one."""
    group = WorkerGroup(threading.Event.wait, workers=3)
    with group():
        assert group.threads == 3
        with group():
            assert group.threads == 3
        assert group.threads == 3
    assert group.threads == 0


def test_names_and_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group is called after its class and what its target is; a name may be a text, or a function."""

    class Crew(WorkerGroup):
        pass

    class Work:
        def __call__(self, stopping: threading.Event) -> None:
            assert stopping.wait(WAIT)

    def fails() -> str:
        raise LookupError("no name")

    wait = threading.Event.wait
    assert repr(WorkerGroup(wait)) == "<WorkerGroup Event.wait, idle, usecount=0>"
    assert repr(Crew(partial(wait, timeout=WAIT))) == "<Crew Event.wait, idle, usecount=0>"
    assert WorkerGroup(Work()).name == "test_names_and_repr.<locals>.Work".rpartition(".")[2]
    assert WorkerGroup(wait, name=fails).name == "Event.wait"
    group = WorkerGroup(wait, workers=1, name=lambda: "crew\n" + "x" * 1000)
    assert len(group.name) == 80
    with group():
        assert f"{group.name}-1" in {thread.name for thread in threading.enumerate()}
        assert repr(group).startswith("<WorkerGroup crew x")


def test_check() -> None:
    """A newcomer of a group that is no good any more has new workers; the old ones stay with those who have them."""
    good = True
    group = WorkerGroup(threading.Event.wait, workers=1, check=lambda group: good)
    with group():
        with group():
            assert (group.generation, group.threads) == (1, 1)
        good = False
        with group():
            assert (group.generation, group.threads) == (2, 1)
            workers = [thread for thread in threading.enumerate() if isinstance(thread, StoppableThread)]
            assert len(workers) == 2


@pytest.mark.parametrize("overlap", [True, False])
def test_overlap(overlap: bool) -> None:
    """A newcomer has workers of its own while the old ones end; without, it waits, and there are never more."""
    begun, go = threading.Semaphore(0), threading.Event()
    running: list[str] = []
    most = 0

    def target(stopping: threading.Event) -> None:
        nonlocal most
        running.append(threading.current_thread().name)
        most = max(most, len(running))
        begun.release()
        assert stopping.wait(WAIT)
        assert go.wait(WAIT)
        running.pop()

    group = WorkerGroup(target, workers=1, overlap=overlap)
    first = group.acquire()
    assert begun.acquire(timeout=WAIT)
    ending = threading.Thread(target=first.release)
    ending.start()
    until(lambda: group.state is State.STOPPING)
    if overlap:
        with group():
            assert begun.acquire(timeout=WAIT)
            go.set()
    else:
        with pytest.raises(TimeoutError):
            group.acquire(timeout=0)
        go.set()
        with group():
            assert begun.acquire(timeout=WAIT)
    ending.join(WAIT)
    assert most == (2 if overlap else 1)


def test_workers_function_is_asked_once_for_each_change() -> None:
    """It is called with the usecount of each lease that comes or goes, but not when the last one does."""
    asked: list[int] = []

    def workers(usecount: int) -> int:
        asked.append(usecount)
        return 1

    group = WorkerGroup(threading.Event.wait, workers=workers)
    for _ in range(2):
        with group(), group():
            pass
    assert asked == [1, 2, 1, 1, 2, 1]


def test_worker_that_is_asked_to_end_finishes_what_it_does() -> None:
    """The release that makes the group smaller does not wait; the worker ends in its own time."""
    begun, go = threading.Semaphore(0), threading.Event()
    finished: list[bool] = []

    def target(stopping: threading.Event) -> None:
        begun.release()
        assert stopping.wait(WAIT)
        finished.append(go.wait(WAIT))

    group = WorkerGroup(target, workers=lambda usecount: usecount)
    stays, leaves = group.acquire(), group.acquire()
    assert begun.acquire(timeout=WAIT)
    assert begun.acquire(timeout=WAIT)
    leaves.release()
    assert finished == []
    assert group.threads == 2
    go.set()
    until(lambda: group.threads == 1)
    assert finished == [True]
    stays.release()
    assert group.threads == 0


def test_there_are_never_more_than_asked_for() -> None:
    """One that has not yet ended is asked to stay before another comes, and goes on even if it was about to leave."""
    begun, seen, go = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
    calls: list[str] = []

    def target(stopping: threading.Event) -> None:
        calls.append(threading.current_thread().name)
        begun.release()
        assert stopping.wait(WAIT)
        seen.release()
        assert go.wait(WAIT)

    group = WorkerGroup(target, workers=lambda usecount: usecount - 1, name="group")
    with group():
        with group():
            assert begun.acquire(timeout=WAIT)
        assert seen.acquire(timeout=WAIT)
        with group():
            assert group.threads == 1
            go.set()
            until(lambda: len(calls) == 2, "the second call")
            assert calls == ["group-1", "group-1"]
            assert group.threads == 1


def test_worker_that_is_asked_to_stay_before_it_has_looked_goes_on() -> None:
    """It was asked to end, and that was taken back: its target sees nothing of it."""
    begun, go = threading.Event(), threading.Event()
    seen: list[bool] = []

    def target(stopping: threading.Event) -> None:
        begun.set()
        assert go.wait(WAIT)
        seen.append(stopping.is_set())
        stopping.wait(WAIT)

    group = WorkerGroup(target, workers=lambda usecount: usecount - 1)
    with group():
        with group():
            assert begun.wait(WAIT)
        with group():
            go.set()
            until(lambda: seen)
            assert group.threads == 1
    assert seen == [False]


def test_worker_that_is_one_too_many_before_its_target_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told all the same: its event is made a moment after it was asked to end."""
    begun, go = threading.Event(), threading.Event()

    class LateRequest(_workers.StopRequest):
        def __init__(self) -> None:
            begun.set()
            assert go.wait(WAIT)
            super().__init__()

    monkeypatch.setattr(_workers, "StopRequest", LateRequest)
    group = WorkerGroup(threading.Event.wait, workers=lambda usecount: usecount - 1)
    with group():
        with group():
            assert begun.wait(WAIT)
        go.set()
        until(lambda: group.threads == 0)


def test_last_lease_that_ends_while_a_worker_is_asked_to_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """That worker is asked to end in the end, whoever has been slower."""
    begun, go = threading.Semaphore(0), threading.Event()
    clear = threading.Event.clear
    number = 2

    def clear_late(event: threading.Event) -> None:
        if isinstance(event, _workers.StopRequest):
            ending.start()
            until(lambda: group.state is State.STOPPING and all_asked(group))
        clear(event)

    def target(stopping: threading.Event) -> None:
        begun.release()
        assert go.wait(WAIT)
        assert stopping.wait(WAIT)

    monkeypatch.setattr(threading.Event, "clear", clear_late)
    group = WorkerGroup(target, workers=lambda usecount: number)
    first, second, third = (group.acquire() for _ in range(3))
    for _ in range(2):
        assert begun.acquire(timeout=WAIT)
    number = 1
    third.release()
    number = 2
    ending = threading.Thread(target=first.release)
    second.release()
    go.set()
    ending.join(WAIT)
    assert not ending.is_alive()
    assert group.threads == 0


def all_asked(group: WorkerGroup) -> bool:
    """Return whether the events of all workers are set; nothing public shows it."""
    whole: Any = group
    return all(request.is_set() for request in whole._pool._requests.copy().values())


def test_worker_that_dies_is_reported_and_replaced(reported: list[str]) -> None:
    """An error ends no worker for good while it is needed; with the last lease the replacing ends too."""
    deaths, alive = 3, threading.Event()
    calls = 0

    def target(stopping: threading.Event) -> None:
        nonlocal calls
        calls += 1
        if calls <= deaths:
            raise RuntimeError(f"death {calls}")
        alive.set()
        stopping.wait(WAIT)

    with WorkerGroup(target)() as group:
        assert alive.wait(WAIT)
        assert group.threads == 1
    assert reported == ["death 1", "death 2", "death 3"]
    assert calls == 4


def test_group_of_workers_that_only_die_can_be_stopped(reported: list[str]) -> None:
    """Replacing them does not keep the last lease from ending, nor spin."""

    def target(_stopping: threading.Event) -> None:
        raise RuntimeError("hopeless")

    with WorkerGroup(target)() as group:
        until(lambda: len(reported) >= 2)
    assert group.threads == 0
    assert 2 <= len(reported) < 10


def test_workers_that_die_at_once_are_tried_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch, reported: list[str]
) -> None:
    """The pause doubles, up to a minute; a worker that has lived for a while ends that, and is replaced at once."""
    pauses: list[float | None] = []
    enough = threading.Event()
    calls, now = 0, 0.0

    def wait(_request: threading.Event, timeout: float | None = None) -> bool:
        pauses.append(timeout)
        if len(pauses) == 20:
            enough.set()
        return len(pauses) >= 20 and threading.Event.wait(_request, WAIT)

    def target(_stopping: threading.Event) -> None:
        nonlocal calls, now
        calls += 1
        now += 2.0 if calls == 18 else 0.0
        raise RuntimeError("hopeless")

    monkeypatch.setattr(_workers.StopRequest, "wait", wait)
    monkeypatch.setattr(_workers, "monotonic", lambda: monotonic() + now)
    with WorkerGroup(target, workers=1)():
        assert enough.wait(WAIT)
    doubled = [0.01 * 2**number for number in range(13)]
    assert pauses == [*doubled, 60.0, 60.0, 60.0, 60.0, 0.01, 0.02, 0.04]
    assert len(reported) == 21


def test_worker_that_is_told_to_end_while_it_pauses_is_not_called_again(
    monkeypatch: pytest.MonkeyPatch, reported: list[str]
) -> None:
    """Between two deaths it waits a while; the end of the last lease ends that wait and the worker."""
    pausing = threading.Event()

    def target(stopping: threading.Event) -> None:
        wait = stopping.wait

        def pause(timeout: float | None = None) -> bool:
            pausing.set()
            return wait(timeout)

        monkeypatch.setattr(stopping, "wait", pause)
        raise RuntimeError("death")

    monkeypatch.setattr(_workers, "FIRST_PAUSE", WAIT)
    monkeypatch.setattr(_workers, "LAST_PAUSE", WAIT)
    with WorkerGroup(target)() as group:
        assert pausing.wait(WAIT)
    assert group.threads == 0
    assert reported == ["death"]


def test_worker_that_comes_back_is_done() -> None:
    """It is not called again at once; its place is filled when the next lease comes."""
    calls: list[str] = []

    def target(stopping: threading.Event) -> None:
        calls.append(threading.current_thread().name)

    group = WorkerGroup(target, workers=lambda usecount: 1)
    with group():
        until(lambda: group.threads == 0)
        assert len(calls) == 1
        with group():
            until(lambda: len(calls) == 2 and group.threads == 0)


def test_worker_that_a_user_stops_is_done() -> None:
    """A worker is a `StoppableThread`: one that its group has not asked to end is not called again either."""
    workers: list[StoppableThread] = []
    begun = threading.Semaphore(0)

    def target(stopping: threading.Event) -> None:
        worker = threading.current_thread()
        assert isinstance(worker, StoppableThread)
        assert worker.stopping is stopping
        workers.append(worker)
        begun.release()
        stopping.wait(WAIT)

    with WorkerGroup(target, workers=lambda usecount: 1)() as group:
        assert begun.acquire(timeout=WAIT)
        workers[0].stop(WAIT)
        assert group.threads == 0
        with group():
            assert begun.acquire(timeout=WAIT)
            assert group.threads == 1


def test_others_who_wait_for_the_event_are_told_when_the_call_is_over(reported: list[str]) -> None:
    """What a target has started may wait for the same event; it ends with that call, and the next call has another."""
    events: list[threading.Event] = []

    def target(stopping: threading.Event) -> None:
        events.append(stopping)
        if len(events) == 1:
            raise RuntimeError("death")
        stopping.wait(WAIT)

    with WorkerGroup(target)():
        until(lambda: len(events) == 2)
        assert events[0].wait(WAIT)
        assert not events[1].is_set()
    assert events[1].is_set()
    assert reported == ["death"]


def test_lingering_group_keeps_its_workers() -> None:
    """While it lingers the workers stay, and the next lease finds them."""
    group = WorkerGroup(threading.Event.wait, workers=double, linger=10.0)
    with ManualClock() as clock:
        with group():
            pass
        assert group.threads == 2
        before = [thread for thread in threading.enumerate() if isinstance(thread, StoppableThread)]
        with group():
            assert [thread for thread in threading.enumerate() if isinstance(thread, StoppableThread)] == before
        clock.advance(10.0)
        assert group.threads == 0


@pytest.mark.parametrize(("bad", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError), (None, TypeError)])
def test_workers_function_that_gives_no_number(bad: Any, error: type[Exception], reported: list[str]) -> None:
    """The first lease fails with an error that names the function and the value, and nothing is left of it."""
    group = WorkerGroup(threading.Event.wait, workers=lambda usecount: bad, name="group")
    text = rf"what workers of group returned for usecount 1 must be .* not {bad!r}"
    with pytest.raises(error, match=text):
        group.acquire()
    assert group.usecount == group.threads == 0
    assert group.state is State.IDLE
    assert reported == []


def test_workers_function_that_fails_later(reported: list[str]) -> None:
    """A failure is reported, the number of threads stays, and the usecount is right; afterwards it follows again."""

    def workers(usecount: int) -> int:
        if usecount == 2:
            raise RuntimeError("not two")
        return usecount

    group = WorkerGroup(threading.Event.wait, workers=workers)
    with group():
        with group():
            assert (group.usecount, group.threads) == (2, 1)
            with group():
                assert (group.usecount, group.threads) == (3, 3)
        assert group.usecount == 1
    assert (group.usecount, group.threads) == (0, 0)
    assert reported == ["not two", "not two"]


def test_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, reported: list[str]) -> None:
    """When the system gives no thread, the first consumer is told and nothing is left; a later one is not bothered."""
    start = StoppableThread.start
    allowed = 1

    def start_some(thread: StoppableThread) -> None:
        nonlocal allowed
        if allowed == 0:
            raise RuntimeError("can't start new thread")
        allowed -= 1
        start(thread)

    monkeypatch.setattr(StoppableThread, "start", start_some)
    group = WorkerGroup(threading.Event.wait, workers=double)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        group.acquire()
    assert group.threads == group.usecount == 0
    allowed = 2
    with group(), group():
        assert group.threads == 2
    assert reported == ["can't start new thread"]


def test_worker_that_holds_its_own_group() -> None:
    """A worker may give back the last lease of its own group: it does not wait for itself."""
    released = threading.Event()

    def target(stopping: threading.Event) -> None:
        lease.release()
        released.set()

    group = WorkerGroup(target, workers=lambda usecount: usecount - 1)
    lease = group.acquire()
    second = group.acquire()
    assert released.wait(WAIT)
    second.release()
    until(lambda: group.threads == 0)


def test_worker_that_leases_its_own_group_while_the_last_lease_ends() -> None:
    """It gets a group with workers of its own instead of waiting for itself, and the last lease ends."""
    begun, ended = threading.Event(), threading.Event()

    def target(stopping: threading.Event) -> None:
        if begun.is_set():
            return
        begun.set()
        assert stopping.wait(WAIT)
        with group():
            ended.set()

    group = WorkerGroup(target, workers=lambda usecount: 1)
    with group():
        assert begun.wait(WAIT)
    assert ended.wait(WAIT)
    group.wait_stopped(WAIT)
    assert group.threads == group.usecount == 0


def test_finalizer_that_ends_the_last_lease_while_the_group_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may run it in the middle of the growing: all workers end, and nobody waits for itself."""
    start = StoppableThread.start
    number = 1

    def start_and_collect(thread: StoppableThread) -> None:
        start(thread)
        if thread.name == "group-2":
            first.release()

    monkeypatch.setattr(StoppableThread, "start", start_and_collect)
    group = WorkerGroup(threading.Event.wait, workers=lambda usecount: number, name="group")
    first, second = group.acquire(), group.acquire()
    number = 3
    second.release()
    until(lambda: not group.usecount and not group.threads)
    group.wait_stopped(WAIT)


def test_finalizer_that_ends_the_last_lease_while_a_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may run it in the middle of the very event that a worker waits for: nobody waits for itself."""
    wake = Parker.wake
    collect = False
    number = 2

    def wake_and_collect(parker: Parker) -> None:
        nonlocal collect
        if collect:
            collect = False
            assert first.release()
            assert group.threads == 0
        wake(parker)

    monkeypatch.setattr(Parker, "wake", wake_and_collect)
    group = WorkerGroup(threading.Event.wait, workers=lambda usecount: number)
    first, second = group.acquire(), group.acquire()
    until(lambda: workers_asleep(group) == 2)
    number, collect = 1, True
    second.release()
    assert not collect
    assert group.state is State.IDLE


def workers_asleep(group: WorkerGroup) -> int:
    """Return how many workers wait for their event; nothing public shows it."""
    whole: Any = group
    return sum(len(request._cond._parkers) for request in whole._pool._requests.copy().values())


def test_worker_that_is_started_when_the_last_lease_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not begin, and has ended when whoever has started it goes on; so have the others."""
    start, join = StoppableThread.start, StoppableThread.join
    calls: list[str] = []
    joined: list[str] = []
    number = 1

    def start_late(thread: StoppableThread) -> None:
        if thread.name == "group-2":
            assert first.release()
            assert group.threads == 0
        start(thread)

    def target(stopping: threading.Event) -> None:
        calls.append(threading.current_thread().name)
        stopping.wait(WAIT)

    def note_join(thread: StoppableThread, timeout: float | None = None) -> None:
        joined.append(thread.name)
        join(thread, timeout)

    monkeypatch.setattr(StoppableThread, "start", start_late)
    monkeypatch.setattr(StoppableThread, "join", note_join)
    group = WorkerGroup(target, workers=lambda usecount: number, name="group")
    first, second = group.acquire(), group.acquire()
    until(lambda: calls == ["group-1"])
    number = 3
    second.release()
    assert joined == ["group-1", "group-2"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("group-")]
    assert calls == ["group-1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child() -> None:
    """In a forked child the parent's group has no workers, and a new lease gives one that has."""
    group = WorkerGroup(threading.Event.wait, workers=double)
    with group():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(int(WAIT))
                before = group.threads
                with group():
                    status = 10 * before + group.threads
                status += 10 * group.threads
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
        assert group.threads == 2


@pytest.mark.parametrize("seed", range(3))
def test_many_consumers(seed: int) -> None:
    """However leases come and go, there are never more threads than were asked for, and none in the end."""
    most = 0
    running = 0
    lock = threading.Lock()

    def target(stopping: threading.Event) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        stopping.wait(WAIT)
        with lock:
            running -= 1

    group = WorkerGroup(target)

    def consumer() -> None:
        for _ in range(10):
            with group():
                pass

    with shaken(seed):
        run_threads(*[consumer] * 4)
    assert group.threads == running == group.usecount == 0
    assert most <= 4


class Visit:
    """One lease of a group of two."""

    def __init__(self) -> None:
        self.group = WorkerGroup(threading.Event.wait, workers=lambda usecount: 2, name="visited")

    def __call__(self) -> None:
        with self.group():
            pass


class GrowingVisit(Visit):
    """A lease, and another one that brings two workers and takes them along."""

    def __init__(self) -> None:
        self.group = WorkerGroup(threading.Event.wait, workers=lambda usecount: 2 * usecount - 1, name="visited")

    def __call__(self) -> None:
        with self.group():
            with self.group():
                pass
            until(lambda: self.group.threads == 1)


def workers_of_visits() -> int:
    """Return how many of their workers are alive."""
    return sum(thread.name.startswith("visited-") for thread in threading.enumerate())


@pytest.mark.parametrize("visit_once", [Visit, GrowingVisit])
def test_interrupted_anywhere(visit_once: type[Visit], every: Every) -> None:
    """An interrupt wherever CPython delivers one, in turn, leaves no worker, and no worker ends in an error."""
    sweep = Interruptions(step=every(3))
    for interruption in sweep:
        visit = visit_once()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # a lease may be lost where its release is entered
            interruption.run(visit)
            if visit.group.usecount:
                gc.collect()
            visit.group.close(WAIT)
        until(lambda: workers_of_visits() == 0, f"the end of the workers after an interrupt at {interruption.place}")
    assert sweep.points > 50, "the sweep interrupted hardly anything"


def test_interrupt_while_a_pool_shrinks() -> None:
    """As soon as the pool knows that it is to be smaller, those who are too many are asked to end."""
    for interruption in Interruptions():
        pool = _workers.WorkerPool(threading.Event.wait, "visited")
        pool.resize(3)
        interruption.run(partial(pool.resize, 1))
        whole: Any = pool
        until(lambda: pool.threads == whole._wanted, f"the end of the others after {interruption}")  # noqa: B023
        pool.shutdown()
        pool.join()
        assert workers_of_visits() == 0
