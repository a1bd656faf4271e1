"""A producer thread that runs only while somebody consumes: by hand on a `Refcounter`, and with `refcounted_attribute`.

The hand-written form is complete, and has a race: two first consumers can both see the usecount at zero, start a thread
each, and lose one of the two for ever. The second form has no such window, and a quarter of the code.
"""

import queue
from collections.abc import Generator

from refcount import Refcounter, StoppableThread, refcounted_attribute


class Ticks(queue.Queue[None]):
    """What a producer thread waits for at each iteration."""

    def wait_for(self, number: int) -> None:
        """Let the producer thread iterate so many times, and wait until it has."""
        for _ in range(number):
            self.put(None)
        self.join()


class ProducerThread(StoppableThread):
    def __init__(self, ticks: Ticks) -> None:
        super().__init__()
        self.ticks = ticks

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.ticks.get(timeout=0.01)
            except queue.Empty:
                continue
            print("iter from producer thread")
            self.ticks.task_done()


# --- by hand ---


class ProducerClass:
    def __init__(self) -> None:
        # No consumer yet, so not the default of 1. The first one is a special case of add_consumer().
        self.consumers = Refcounter(usecount=0)
        self.ticks = Ticks()
        self.thread: ProducerThread | None = None

    def add_consumer(self) -> None:
        print("Adding consumer, refcount before inc", self.consumers.usecount)
        if not self.consumers.inc_not_zero():
            # Here is the race: another thread can come this far before the next line has run.
            self.consumers.inc()
            print("Starting producer thread")
            self.thread = ProducerThread(self.ticks)
            self.thread.start()

    def del_consumer(self) -> None:
        print("Deleting consumer, refcount before dec", self.consumers.usecount)
        if self.consumers.dec_and_test():
            print("All consumers have exited, stopping producer thread")
            if self.thread is not None:
                self.thread.stop()
                self.thread = None


def by_hand() -> None:
    producer = ProducerClass()

    # A single consumer
    producer.add_consumer()
    producer.ticks.wait_for(2)
    producer.del_consumer()

    # Several consumers
    producer.add_consumer()
    producer.add_consumer()
    producer.del_consumer()
    producer.del_consumer()


# --- with refcounted_attribute ---


class Producer:
    def __init__(self) -> None:
        self.ticks = Ticks()

    @refcounted_attribute
    def thread(self) -> Generator[ProducerThread]:
        thread = ProducerThread(self.ticks)
        thread.start()
        yield thread
        thread.stop()


def with_refcounted_attribute() -> None:
    producer = Producer()

    with producer.thread():
        producer.ticks.wait_for(2)

    with producer.thread() as thread, producer.thread() as same_thread:
        print("Consumers:", producer.thread.usecount, "- one thread:", thread is same_thread)
    print("Consumers:", producer.thread.usecount, "- thread alive:", thread.is_alive())


if __name__ == "__main__":
    by_hand()
    print("\nThe same with refcounted_attribute:")
    with_refcounted_attribute()
