"""The examples for tasks: each runs, with a short linger, and prints what it says."""

import re
import subprocess
import sys
from functools import partial
from typing import Any

import anyio
import pytest

from tests.helpers.watched import WAIT
from tests.house.test_examples import EXAMPLES, PRODUCER_CONSUMER, load_example

PRODUCER_TASK = PRODUCER_CONSUMER.replace("thread", "task")

PRICE_FEED = """\
nobody watches: idle
  (subscribe)
three clients at once see 5 5 5 prices by subscription 1
one reconnects and sees 5 more by subscription 1
  (unsubscribe)
it has ended SECONDS s after the last one
  (subscribe)
much later another one sees 5 by subscription 2
  (unsubscribe)
cut off: 1013 the exchange has hung up
  (subscribe)
one who tries again sees 5 by subscription 3
  (unsubscribe)
"""

TRIO_FEED = """\
nobody listens: idle
  (subscribe)
listeners: 3 - subscription 1
all have seen what they wanted: lingering
one is cancelled: True - subscription 1
  (unsubscribe)
it has ended SECONDS s after the last one
  (subscribe)
much later another one has seen 5, of subscription 2
what lingers is stopped before `trio.run` is over
  (unsubscribe)
"""

FASTAPI_APP = """\
nobody asks: idle
  (open)
three ask at once:
    Book 1, line 1
    Book 2, line 1
    Book 3, line 1
soon after one reads a stream, with client 1
    BOOK 4, LINE 1 - leases: 1
    BOOK 4, LINE 2 - leases: 1
    BOOK 4, LINE 3 - leases: 1
    BOOK 4, LINE 4 - leases: 1
    BOOK 4, LINE 5 - leases: 1
  (close)
  (open)
another goes away after BOOK 5, LINE 1
  (close)
"""


def run_example(name: str, *arguments: str) -> str:
    """Run an example in a process of its own, and return what it prints.

    What it does itself that is deprecated is told on stderr, as Python does by default; what the packages do that it
    uses is theirs.
    """
    command = [sys.executable, "-W", "error::ResourceWarning", "-W", "error::RuntimeWarning"]
    command += [str(EXAMPLES / f"{name}.py"), *arguments]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=WAIT, check=False)
    assert ended.stderr == ""
    assert ended.returncode == 0
    return ended.stdout


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_producer_task(library: str) -> None:
    """The founding example for tasks prints what that for threads does."""
    assert run_example("producer_task", library) == PRODUCER_TASK


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_race_of_the_hand_written_producer(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Who comes while the last one waits for the end of the task gets another one, which is lost; shared, it is not."""
    example = load_example("producer_task")

    async def by_hand() -> None:
        producer = example.ProducerClass()
        await producer.add_consumer()
        first = lost = producer.task
        async with anyio.create_task_group() as group:
            group.start_soon(producer.del_consumer)
            await first.stopping.wait()
            await producer.add_consumer()
            lost = producer.task
        assert (producer.consumers.usecount, producer.task, lost.is_alive()) == (1, None, True)
        await lost.stop()

    async def shared() -> None:
        producer = example.Producer()
        lease = await producer.task.acquire()
        task = lease.value
        async with anyio.create_task_group() as group:
            group.start_soon(lease.release)
            await lease.value.stopping.wait()
            async with producer.task() as task:
                assert task.is_alive()
        assert not task.is_alive()

    for form in (by_hand, shared):
        anyio.run(form, backend=library)
    assert capsys.readouterr().out.count("Starting producer task") == 2


@pytest.mark.parametrize(
    ("name", "needed", "text"), [("price_feed", "websockets", PRICE_FEED), ("trio_feed", "trio", TRIO_FEED)]
)
def test_feed(name: str, needed: str, text: str) -> None:
    """One subscription starts with the first consumer, and ends as long after the last one as it should."""
    pytest.importorskip(needed)
    output = run_example(name, "0.5")
    (seconds,) = re.findall(r"ended (\d+\.\d) s", output)
    assert float(seconds) >= 0.5
    assert output == text.replace("SECONDS", seconds)


def test_fastapi_app() -> None:
    """Served by uvicorn, all requests share one client, and a stream holds it until it has ended."""
    for needed in ("fastapi", "httpx", "uvicorn"):
        pytest.importorskip(needed)
    assert run_example("fastapi_app") == FASTAPI_APP


# --- the application in a test client ---


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import the application, and let its client ask the library without a network."""
    for needed in ("fastapi", "httpx", "uvicorn"):
        pytest.importorskip(needed)
    loaded = load_example("fastapi_app")
    httpx = loaded.httpx
    transport = httpx.ASGITransport(app=loaded.library)
    monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, transport=transport))
    monkeypatch.setenv("UPSTREAM", "http://library")
    return loaded


@pytest.fixture
def browser(example: Any) -> Any:
    """Return a test client, which is not entered yet."""
    from fastapi.testclient import TestClient

    return TestClient(example.app)


# Their warnings are shown in the summary, and are no errors of ours.
theirs = pytest.mark.filterwarnings("default:::(fastapi|starlette|httpx|anyio)")


@theirs
def test_app_in_one_loop(example: Any, browser: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The test client that is entered runs all requests in one loop: they share what lingers, and its end closes it."""
    with browser:
        assert browser.get("/titles/1").json() == "Book 1, line 1"
        assert browser.get("/texts/2").text.splitlines()[-1] == "BOOK 2, LINE 5"
        assert (example.client.resource().generation, example.client.usecount) == (1, 0)
    assert capsys.readouterr().out == "  (open)\n  (close)\n"


@theirs
def test_app_in_a_loop_for_each_request(browser: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The test client that is not entered has a loop for each request: so each has a client of its own."""
    assert [browser.get(f"/titles/{number}").json() for number in (1, 2)] == ["Book 1, line 1", "Book 2, line 1"]
    assert capsys.readouterr().out == "  (open)\n  (close)\n" * 2
