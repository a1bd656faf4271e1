"""One thread samples this machine's CPU load, only while somebody watches; several watchers come and go."""

import queue
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil

from refcount import SharedResource, StoppableThread

SECONDS = 0.1
"""How long each sample takes."""


class Sampler(StoppableThread):
    """Measures the CPU load over and over, and hands each sample to everybody who watches."""

    def __init__(self) -> None:
        super().__init__(name="sampler")
        self._lock = threading.Lock()
        self._inboxes: list[queue.Queue[float]] = []

    def run(self) -> None:
        while not self.stopping.is_set():
            load = psutil.cpu_percent(interval=SECONDS)
            with self._lock:
                for inbox in self._inboxes:
                    inbox.put(load)

    @contextmanager
    def inbox(self) -> Generator[queue.Queue[float]]:
        """Give a queue in which every sample arrives from now on."""
        inbox: queue.Queue[float] = queue.Queue()
        with self._lock:
            self._inboxes.append(inbox)
        try:
            yield inbox
        finally:
            with self._lock:
                self._inboxes.remove(inbox)


def start(sampler: Sampler) -> None:
    print("Sampling starts")
    sampler.start()


def stop(sampler: Sampler) -> None:
    sampler.stop()
    print("Sampling stops")


cpu = SharedResource.of(Sampler, start=start, stop=stop, name="cpu")


def watch(samples: int, everybody: threading.Barrier) -> list[float]:
    """Wait until everybody watches, and go after so many samples."""
    with cpu() as sampler, sampler.inbox() as inbox:
        everybody.wait()  # all hold the resource now
        everybody.wait()  # the number of threads has been printed
        return [inbox.get() for _ in range(samples)]


def show(**watchers: int) -> None:
    """Let people of these names watch at the same time, each for so many samples."""
    everybody = threading.Barrier(len(watchers) + 1)
    with ThreadPoolExecutor(thread_name_prefix="watcher") as people:
        watching = {name: people.submit(watch, samples, everybody) for name, samples in watchers.items()}
        everybody.wait()
        print(f"During: usecount {cpu.usecount}, {threading.active_count()} threads: {thread_names()}")
        everybody.wait()
    for name, seen in watching.items():
        print(f"{name} saw", ", ".join(f"{load:.1f} %" for load in seen.result()))


def thread_names() -> str:
    return ", ".join(sorted(thread.name for thread in threading.enumerate()))


def main() -> None:
    print(f"Before: {threading.active_count()} thread")
    show(Ann=6, Bob=2, Cleo=4)
    print(f"In between: {threading.active_count()} thread")
    show(Dan=2)
    print(f"After: {threading.active_count()} thread")


if __name__ == "__main__":
    main()
