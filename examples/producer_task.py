"""A producer task that runs only while somebody consumes: by hand on a `Refcounter`, and with `refcounted_attribute`.

`producer_consumer.py` for tasks: on asyncio, or on trio with `producer_task.py trio`. The hand-written form has a race
here as well: while the first consumer waits for its task to start, or the last one for its end, another one comes in
between. The second form has no such window.
"""

import sys
from collections.abc import AsyncGenerator

import anyio

from refcount import Refcounter, StoppableTask, refcounted_attribute


class Ticks:
    """What a producer task waits for at each iteration."""

    def __init__(self) -> None:
        self.wanted = anyio.Semaphore(0)
        self.done = anyio.Semaphore(0)

    async def wait_for(self, number: int) -> None:
        """Let the producer task iterate so many times, and wait until it has."""
        for _ in range(number):
            self.wanted.release()
        for _ in range(number):
            await self.done.acquire()


class ProducerTask(StoppableTask):
    def __init__(self, ticks: Ticks) -> None:
        super().__init__()
        self.ticks = ticks

    async def run(self) -> None:
        while not self.stopping.is_set():
            with anyio.move_on_after(0.01):
                await self.ticks.wanted.acquire()
                print("iter from producer task")
                self.ticks.done.release()


# --- by hand ---


class ProducerClass:
    def __init__(self) -> None:
        # No consumer yet, so not the default of 1. The first one is a special case of add_consumer().
        self.consumers = Refcounter(usecount=0)
        self.ticks = Ticks()
        self.task: ProducerTask | None = None

    async def add_consumer(self) -> None:
        print("Adding consumer, refcount before inc", self.consumers.usecount)
        if not self.consumers.inc_not_zero():
            self.consumers.inc()
            print("Starting producer task")
            self.task = ProducerTask(self.ticks)
            await self.task.start()

    async def del_consumer(self) -> None:
        print("Deleting consumer, refcount before dec", self.consumers.usecount)
        if self.consumers.dec_and_test():
            print("All consumers have exited, stopping producer task")
            if self.task is not None:
                await self.task.stop()  # Here is the race: another task can come in, and its task is lost below.
                self.task = None


async def by_hand() -> None:
    producer = ProducerClass()

    # A single consumer
    await producer.add_consumer()
    await producer.ticks.wait_for(2)
    await producer.del_consumer()

    # Several consumers
    await producer.add_consumer()
    await producer.add_consumer()
    await producer.del_consumer()
    await producer.del_consumer()


# --- with refcounted_attribute ---


class Producer:
    def __init__(self) -> None:
        self.ticks = Ticks()

    @refcounted_attribute
    async def task(self) -> AsyncGenerator[ProducerTask]:
        task = ProducerTask(self.ticks)
        await task.start()
        yield task
        await task.stop()


async def with_refcounted_attribute() -> None:
    producer = Producer()

    async with producer.task():
        await producer.ticks.wait_for(2)

    async with producer.task() as task, producer.task() as same_task:
        print("Consumers:", producer.task.usecount, "- one task:", task is same_task)
    print("Consumers:", producer.task.usecount, "- task alive:", task.is_alive())


async def main() -> None:
    await by_hand()
    print("\nThe same with refcounted_attribute:")
    await with_refcounted_attribute()


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "asyncio")
