"""What type checkers infer and refuse for `WorkerGroup` and `RefcountedExecutor`. Checked, never run."""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from functools import partial
from typing import assert_type

from refcount import Lease, RefcountedExecutor, SharedResource, StoppableThread, WorkerGroup


def work(stopping: threading.Event) -> None:
    """Fit as a target."""


def shout(text: str, *, times: int = 1) -> bytes:
    """Fit as a task."""
    return text.encode() * times


def half(usecount: int) -> float:
    """Give no integer."""
    return usecount / 2


def no_arguments() -> int:
    """Take nothing."""
    return 1


def append(numbers: list[int], stopping: threading.Event) -> None:
    """Fit as a target, once the first one is given."""


# Groups.
group = WorkerGroup(work, workers=lambda usecount: 2 * usecount, name="group", linger=1.5)
assert_type(group, WorkerGroup)
assert_type(group(), Lease[WorkerGroup])
assert_type(group.threads, int)
assert_type(group.acquire(timeout=1.0).value, WorkerGroup)
resource: SharedResource[WorkerGroup] = group
with group() as workers:
    assert_type(workers, WorkerGroup)

# Options: a number of workers, a check that gets the group, a name that is made when it is asked for.
assert_type(WorkerGroup(work, workers=3, check=lambda group: group.threads > 0, overlap=False), WorkerGroup)
assert_type(WorkerGroup(work, name=lambda: "group"), WorkerGroup)
StoppableThread(partial(append, []))

# Executors.
pool = RefcountedExecutor(workers=lambda usecount: usecount, linger=1)
assert_type(pool(), Lease[Executor])
with pool() as executor:
    assert_type(executor, Executor)
    assert_type(executor.submit(shout, "x", times=2), Future[bytes])
    assert_type(executor.map(shout, ["x", "y"]), Iterator[bytes])
assert_type(RefcountedExecutor(4)(), Lease[Executor])
assert_type(RefcountedExecutor(workers=4, name=lambda: "pool", overlap=False)(), Lease[Executor])
RefcountedExecutor(check=lambda executor: executor.submit(shout, "x").result() == b"x")

# Mistakes.
WorkerGroup()  # type: ignore[call-arg]  # no target
WorkerGroup(shout)  # type: ignore[arg-type]  # it is handed an event
WorkerGroup(work, half)  # type: ignore[call-arg, arg-type]  # keyword only
WorkerGroup(work, workers=half)  # type: ignore[arg-type]  # no integer
WorkerGroup(work, workers=2.5)  # type: ignore[arg-type]  # half a thread
WorkerGroup(work, workers=no_arguments)  # type: ignore[arg-type]  # it is called with the usecount
WorkerGroup(work, check=half)  # type: ignore[arg-type]  # it is called with the group
WorkerGroup(work, exclusive=True)  # type: ignore[call-arg]  # means nothing to threads
WorkerGroup(no_arguments)  # type: ignore[arg-type]  # it is handed an event
WorkerGroup(print, args=(1,))  # type: ignore[call-arg]  # `functools.partial`
StoppableThread(print, args=(1,))  # type: ignore[call-arg]  # `functools.partial`
StoppableThread(no_arguments)  # type: ignore[arg-type]  # it is handed an event
WorkerGroup(work, worker=half)  # type: ignore[call-arg]  # a typo
with group as workers:  # type: ignore[attr-defined]  # not called
    pass
with pool as executor:  # type: ignore[attr-defined]  # not called
    pass
group.thread  # type: ignore[attr-defined]  # a typo
RefcountedExecutor(4, "pool")  # type: ignore[call-arg]  # only the number may come by position
RefcountedExecutor(max_workers=4)  # type: ignore[call-arg]  # `workers=4`
RefcountedExecutor(workers="4")  # type: ignore[arg-type]  # neither a number nor a function
pool.submit(shout, "x")  # type: ignore[attr-defined]  # not leased
with pool() as executor:
    executor.submit(shout)  # type: ignore[call-arg]  # an argument is missing
    executor.submit(shout, "x", time=2)  # type: ignore[call-arg]  # a typo
    executor.submit(shout, 3)  # type: ignore[arg-type]  # of another type


async def asynchronous() -> None:
    """What is for threads is not for tasks."""
    async with group():  # type: ignore[attr-defined]  # `with`
        pass
    async with pool():  # type: ignore[attr-defined]  # `with`
        pass
