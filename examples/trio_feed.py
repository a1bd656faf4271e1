"""The price feed on trio: tasks that listen share one subscription, which ends one second after the last of them.

The opener holds a nursery over its `yield`. It may, because each subscription lives in a task of its own, which runs
the opener from its begin to its end: whoever started it can leave first, or be cancelled, and takes nothing with him.

Run it: the exchange and its listeners are tasks, joined by memory channels, and it prints what the subscription did.
Another linger than one second may be given as its argument.
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import trio

from refcount import AsyncSharedResource

PRICES_PER_SECOND = 100

Listeners = set[trio.MemorySendChannel[int]]


@asynccontextmanager
async def subscribe() -> AsyncGenerator[Listeners]:
    """Subscribe at the exchange, and hand what comes from there to everybody in the set."""
    listeners: Listeners = set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange, listeners)
        print("  (subscribe)")
        yield listeners
        nursery.cancel_scope.cancel()
    print("  (unsubscribe)")


async def exchange(listeners: Listeners) -> None:
    for price in range(10_000):
        for listener in listeners:
            with suppress(trio.WouldBlock):  # whoever is slow misses some
                listener.send_nowait(price)
        await trio.sleep(1 / PRICES_PER_SECOND)


async def listen(feed: AsyncSharedResource[Listeners], number: int) -> None:
    """Listen for so many prices, and leave."""
    sending, receiving = trio.open_memory_channel[int](10)
    async with feed() as listeners:
        listeners.add(sending)
        try:
            for _ in range(number):
                await receiving.receive()
        finally:
            listeners.remove(sending)


async def show(linger: float) -> None:
    feed = AsyncSharedResource(subscribe, linger=linger)
    print("nobody listens:", feed.state.value)

    async with trio.open_nursery() as nursery:
        for number in (5, 10, 15):
            nursery.start_soon(listen, feed, number)
        await listen(feed, 1)
        print("listeners:", feed.usecount, "- subscription", feed.generation)
    print("all have seen what they wanted:", feed.state.value)

    with trio.move_on_after(0.1) as patience:
        await listen(feed, 10_000)
    left = trio.current_time()
    print("one is cancelled:", patience.cancelled_caught, "- subscription", feed.generation)
    await feed.wait_stopped(timeout=60)
    print(f"it has ended {trio.current_time() - left:.1f} s after the last one")

    await listen(feed, 5)
    print("much later another one has seen 5, of subscription", feed.generation)
    print("what lingers is stopped before `trio.run` is over")


if __name__ == "__main__":
    trio.run(show, float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
