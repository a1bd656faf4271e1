"""What type checkers infer and refuse for `WorkerGroup` and `RefcountedExecutor`. Checked, never run."""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import assert_type

from refcount import Lease, RefcountedExecutor, SharedResource, WorkerGroup


def work(stopping: threading.Event) -> None:
    """Fit as a target."""


def shout(text: str, *, times: int = 1) -> bytes:
    """Fit as a task."""
    return text.encode() * times


def half(usecount: int) -> float:
    """Give no integer."""
    return usecount / 2


# Groups.
group = WorkerGroup(work, workers=lambda usecount: 2 * usecount, name="group", linger=1.5)
assert_type(group, WorkerGroup)
assert_type(group(), Lease[WorkerGroup])
assert_type(group.threads, int)
assert_type(group.acquire(timeout=1.0).value, WorkerGroup)
resource: SharedResource[WorkerGroup] = group
with group() as workers:
    assert_type(workers, WorkerGroup)

# Executors.
pool = RefcountedExecutor(workers=lambda usecount: usecount, linger=1)
assert_type(pool(), Lease[Executor])
with pool() as executor:
    assert_type(executor, Executor)
    assert_type(executor.submit(shout, "x", times=2), Future[bytes])
    assert_type(executor.map(shout, ["x", "y"]), Iterator[bytes])

# Mistakes.
WorkerGroup()  # type: ignore[call-arg]  # no target
WorkerGroup(shout)  # type: ignore[arg-type]  # it is handed an event
WorkerGroup(work, half)  # type: ignore[call-arg, arg-type]  # keyword only
WorkerGroup(work, workers=half)  # type: ignore[arg-type]  # no integer
WorkerGroup(work, workers=3)  # type: ignore[arg-type]  # a number instead of a function
WorkerGroup(work, worker=half)  # type: ignore[call-arg]  # a typo
with group as workers:  # type: ignore[attr-defined]  # not called
    pass
with pool as executor:  # type: ignore[attr-defined]  # not called
    pass
group.thread  # type: ignore[attr-defined]  # a typo
RefcountedExecutor(4)  # type: ignore[call-arg, arg-type]  # keyword only
RefcountedExecutor(max_workers=4)  # type: ignore[call-arg]  # it takes a function
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
