"""What a task pays, beside what people write by hand; each with its peer, in one run, in turns.

Run it with the library installed::

    python benchmarks/task_ratios.py                  # all rows
    python benchmarks/task_ratios.py --row held --rounds 300

On asyncio, whose own lock the first rows are compared with; and some of it on trio, which has no limits.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import NamedTuple

import trio
from measuring import SECONDS_PER_MEASUREMENT, Comparison, Table, comparison, parser, show, verdict
from task_peers import Counted, InNursery, InTasks, opened

from refcount import AsyncSharedResource, refcounted_resource

Body = Callable[[int], Awaitable[None]]
"""A coroutine function that does the measured thing so many times."""

FEW, MANY = 100, 10_000


class Row(NamedTuple):
    """One comparison, and what it may come to at most."""

    name: str
    title: str
    ours: Body
    peer: Body
    limit: float | None = None
    number: int | None = None
    """How often each is done in one measurement, for what takes long; else as often as there is time for."""


@refcounted_resource
async def camera(index: int) -> AsyncGenerator[int]:
    """Start and stop nothing."""
    yield index


def entering(entry: Callable[[], AbstractAsyncContextManager[object]]) -> Body:
    """Enter and leave what is called."""

    async def body(n: int) -> None:
        for _ in range(n):
            async with entry():
                pass

    return body


def entering_key(function: Callable[[int], AbstractAsyncContextManager[object]], key: int) -> Body:
    """Enter and leave what is called with one argument."""

    async def body(n: int) -> None:
        for _ in range(n):
            async with function(key):
                pass

    return body


def taking(lock: AbstractAsyncContextManager[object]) -> Body:
    """Take a lock and give it back."""

    async def body(n: int) -> None:
        for _ in range(n):
            async with lock:
                pass

    return body


def waiting(together: int) -> Body:
    """Let so many tasks come while the resource starts, until they have all come and gone."""

    async def body(n: int) -> None:
        for _ in range(n // together):
            door = asyncio.Event()
            resource = AsyncSharedResource.of(door.wait)

            async def come_and_go(resource: AsyncSharedResource[object] = resource) -> None:
                async with resource():
                    pass

            tasks = [asyncio.create_task(come_and_go()) for _ in range(together)]
            await asyncio.sleep(0)
            door.set()
            await asyncio.gather(*tasks)

    return body


def for_event(together: int) -> Body:
    """Let so many tasks wait for an event."""

    async def body(n: int) -> None:
        for _ in range(n // together):
            door = asyncio.Event()
            tasks = [asyncio.create_task(door.wait()) for _ in range(together)]
            await asyncio.sleep(0)
            door.set()
            await asyncio.gather(*tasks)

    return body


async def asyncio_rows(held: AsyncExitStack) -> list[Row]:
    """Return the rows of asyncio; what is to be held meanwhile is in `held`."""
    shared, lingering = AsyncSharedResource(opened), AsyncSharedResource(opened, linger=10.0)
    await held.enter_async_context(shared())
    held.push_async_callback(lingering.flush)
    counted, in_tasks = Counted(), InTasks()
    for sharing in (camera(0), counted.share(0), in_tasks.share(0)):
        await held.enter_async_context(sharing)
    lock, join, alone = taking(asyncio.Lock()), entering_key(camera, 0), entering_key(in_tasks.share, 1)
    return [
        Row("held", "join what is held / async with asyncio.Lock()", entering(shared), lock, 2.0),
        Row("linger", "come back within a linger / async with asyncio.Lock()", entering(lingering), lock, 2.0),
        Row("function", "join camera(0) / a dict and a count", join, entering_key(counted.share, 0), 0.8),
        Row("task", "join camera(0) / by hand, in a task", join, entering_key(in_tasks.share, 0)),
        Row("alone", "first and last / by hand, in a task", entering(AsyncSharedResource(opened)), alone, 3.0),
        Row("waiters", "each of 10,000 waiters for a start / of 100", waiting(MANY), waiting(FEW), 1.5, MANY),
        Row("events", "each of 10,000 waiters for an Event / of 100", for_event(MANY), for_event(FEW), None, MANY),
    ]


async def trio_rows(held: AsyncExitStack) -> list[Row]:
    """Return the rows of trio."""
    shared, lingering = AsyncSharedResource(opened), AsyncSharedResource(opened, linger=10.0)
    await held.enter_async_context(shared())
    held.push_async_callback(lingering.flush)
    nursery = await held.enter_async_context(trio.open_nursery())
    lock, alone = taking(trio.Lock()), entering_key(InNursery(nursery).share, 0)
    return [
        Row("held", "join what is held / async with trio.Lock()", entering(shared), lock),
        Row("linger", "come back within a linger / async with trio.Lock()", entering(lingering), lock),
        Row("alone", "first and last / by hand, in a nursery", entering(AsyncSharedResource(opened)), alone),
    ]


# --- measuring ---


async def seconds(body: Body, n: int) -> float:
    """Return how much CPU time it takes to do the measured thing `n` times."""
    begin = time.process_time()
    await body(n)
    return time.process_time() - begin


async def repetitions(body: Body) -> int:
    """Warm `body` up, and return how many repetitions take about as long as one measurement should."""
    n = 1
    await body(n)
    while (took := await seconds(body, n)) < SECONDS_PER_MEASUREMENT / 4:
        n *= 2
    return max(1, round(n * SECONDS_PER_MEASUREMENT / took))


async def compare(rows: list[Row], rounds: int) -> list[Comparison]:
    """Measure both of each row, one right after the other, once in every round, in a random order.

    Those that take long are measured in every tenth round.
    """
    numbers = [(row.number or await repetitions(row.ours), row.number or await repetitions(row.peer)) for row in rows]
    times: list[list[tuple[float, float]]] = [[] for _ in rows]
    order = list(range(len(rows)))
    for turn in range(rounds):
        random.shuffle(order)
        for index in order:
            row, took = rows[index], [0.0, 0.0]
            if row.number and turn % 10 and rounds >= 20:
                continue
            first = random.randrange(2)
            for which in (first, 1 - first):
                n = numbers[index][which]
                took[which] = await seconds((row.ours, row.peer)[which], n) / n * 1e9
            times[index].append((took[0], took[1]))
    return [comparison(each) for each in times]


async def measure(
    title: str, make: Callable[[AsyncExitStack], Awaitable[list[Row]]], chosen: list[str], rounds: int
) -> Table:
    """Measure the chosen ones of these rows in turns."""
    async with AsyncExitStack() as held:
        rows = [row for row in await make(held) if row.name in chosen]
        results = await compare(rows, rounds)
    return Table(
        title,
        ("row", "what / its peer", "ns", "peer ns", "ratio", "spread", "at most", "verdict"),
        [
            (row.name, row.title, *result, row.limit, verdict(result.ratio, row.limit))
            for row, result in zip(rows, results, strict=True)
        ],
    )


def tables(chosen: list[str], rounds: int) -> Iterator[Table]:
    """Measure the chosen rows on one event loop after the other."""
    yield asyncio.run(measure("asyncio: ratio to the peer", asyncio_rows, chosen, rounds))
    if set(chosen) & {"held", "linger", "alone"}:
        yield trio.run(measure, "trio: ratio to the peer", trio_rows, chosen, rounds)


def main() -> None:
    """Measure and print."""
    names = ["held", "linger", "function", "task", "alone", "waiters", "events"]
    options = parser("What a task pays, beside what people write by hand.")
    options.add_argument("--rounds", type=int, default=100, help="measurements of each row (default: %(default)s)")
    options.add_argument("--row", action="append", choices=names, help="measure only this row; may be repeated")
    given = options.parse_args()
    if given.rounds < 2:
        options.error(f"--rounds must be 2 or more, not {given.rounds}")
    show(tables(given.row or names, given.rounds), given.form)


if __name__ == "__main__":
    main()
