"""The larger examples: each runs, and prints what it says; and the race that the hand-written producer has."""

import importlib.util
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from refcount import Refcounter
from tests.helpers.shaking import run_threads
from tests.helpers.watched import WAIT, until, waiting

EXAMPLES = Path(__file__).parents[2] / "examples"

PRODUCER_CONSUMER = """\
Adding consumer, refcount before inc 0
Starting producer thread
iter from producer thread
iter from producer thread
Deleting consumer, refcount before dec 1
All consumers have exited, stopping producer thread
Adding consumer, refcount before inc 0
Starting producer thread
Adding consumer, refcount before inc 1
Deleting consumer, refcount before dec 2
Deleting consumer, refcount before dec 1
All consumers have exited, stopping producer thread

The same with refcounted_attribute:
iter from producer thread
iter from producer thread
Consumers: 2 - one thread: True
Consumers: 0 - thread alive: False
"""

INSTANCE_MANAGER = """\
Manager not performing type conversion
Manager performing type conversion
2
Manager performing type conversion
1
Manager not performing type conversion
Manager performing type conversion
"""

LOAD = r"\d+\.\d %"

CPU_MONITOR = rf"""
Before: 1 thread
Sampling starts
During: usecount 3, 5 threads: MainThread, sampler, watcher_0, watcher_1, watcher_2
Sampling stops
Ann saw {LOAD}(, {LOAD}){{5}}
Bob saw {LOAD}, {LOAD}
Cleo saw {LOAD}(, {LOAD}){{3}}
In between: 1 thread
Sampling starts
During: usecount 1, 3 threads: MainThread, sampler, watcher_0
Sampling stops
Dan saw {LOAD}, {LOAD}
After: 1 thread
"""

DATAFRAMES = """\
1461 days in 16 batches
Nobody needs it: 0 conversions made, 6 avoided
Two share each one: 4 conversions made, 6 avoided
Nobody needs it any more: 4 conversions made, 12 avoided
623 rainy days, at most 34.4 degrees and 8.8 m/s
"""

WORKER_POOL = [
    r"2 consumers, 4 threads",
    r"photos: 60 files, \d+ KiB saved",
    r"letters: 60 files, \d+ KiB saved",
    r"photos  .* 100% .*",
    r"letters .* 100% .*",
    r"Afterwards: 0 consumers, 0 threads",
]


def run_example(name: str, *options: str) -> str:
    """Run an example in a process of its own, and return what it prints."""
    command = [sys.executable, *options, str(EXAMPLES / f"{name}.py")]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=WAIT, check=False)
    assert ended.stderr == ""
    assert ended.returncode == 0
    return ended.stdout


def load_example(name: str) -> Any:
    """Import an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "output"), [("producer_consumer", PRODUCER_CONSUMER), ("instance_manager", INSTANCE_MANAGER)]
)
def test_founding_examples(name: str, output: str) -> None:
    """Each prints the lines of its transcript, with every warning an error."""
    assert run_example(name, "-X", "dev", "-W", "error") == output


def test_cpu_monitor() -> None:
    """One thread samples while anybody watches, whoever comes and goes, and none while nobody does."""
    pytest.importorskip("psutil")
    assert re.fullmatch(CPU_MONITOR.lstrip(), run_example("cpu_monitor", "-X", "dev"))


def test_dataframes() -> None:
    """Batches are converted once for all who need that, and not at all while nobody does."""
    for needed in ("pandas", "pyarrow", "vega_datasets"):
        pytest.importorskip(needed)
    assert run_example("dataframes") == DATAFRAMES


def test_worker_pool() -> None:
    """Each consumer brings its threads, every file is compressed, and no thread is left."""
    pytest.importorskip("rich")
    output = run_example("worker_pool", "-X", "dev")
    for line in WORKER_POOL:
        assert re.search(rf"^{line}\s*$", output, re.MULTILINE), (line, output)


# --- the race ---


def producer_threads(example: Any) -> list[Any]:
    """Return the producer threads that run."""
    return [thread for thread in threading.enumerate() if isinstance(thread, example.ProducerThread)]


def test_race_of_the_hand_written_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Two first consumers both see zero: two threads are started, and one of them is never stopped."""
    example = load_example("producer_consumer")
    both_have_looked = threading.Barrier(2, timeout=WAIT)

    class Meeting(Refcounter):
        def inc_not_zero(self) -> bool:
            was_not_zero = super().inc_not_zero()
            both_have_looked.wait()
            return was_not_zero

    producer = example.ProducerClass()
    producer.consumers = Meeting(usecount=0)
    run_threads(producer.add_consumer, producer.add_consumer)
    assert producer.consumers.usecount == 2
    assert capsys.readouterr().out.count("Starting producer thread") == 2
    assert len(producer_threads(example)) == 2
    producer.del_consumer()
    producer.del_consumer()
    (lost,) = producer_threads(example)
    lost.stop()


def test_second_form_has_no_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first consumers who are both at the door before anything is started share one thread, which is stopped."""
    example = load_example("producer_consumer")
    producer = example.Producer()
    make = example.ProducerThread.__init__
    made: list[object] = []

    def make_when_both_wait(thread: object, ticks: object) -> None:
        until(lambda: waiting(producer.thread) == 2, "the second consumer at the door")
        made.append(thread)
        make(thread, ticks)

    monkeypatch.setattr(example.ProducerThread, "__init__", make_when_both_wait)
    one, other = run_threads(producer.thread.acquire, producer.thread.acquire)
    assert producer_threads(example) == made == [one.value] == [other.value]
    one.release()
    assert one.resource is producer.thread
    assert producer_threads(example) == made
    other.release()
    assert producer_threads(example) == []
