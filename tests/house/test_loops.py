"""`run` finds what a test body leaves behind: each of these bodies leaves something."""

import asyncio
from collections.abc import Coroutine

import pytest

from refcount._core.generation import Generation
from tests.helpers.loops import Job, Run, checkpoint, error_of, until

KEPT: list[Coroutine[object, object, object]] = []


def test_what_is_fine_passes_and_its_result_comes_back(run: Run) -> None:
    """On each loop, with jobs that end well, badly, and by a cancellation."""

    async def fail() -> None:
        raise KeyError("mine")

    async def body() -> int:
        good, bad, cancelled = Job(three), Job(fail), Job(for_ever)
        await checkpoint()
        cancelled.cancel()
        await cancelled.wait()
        assert (cancelled.cancelled, cancelled.over) == (True, True)
        assert isinstance(await bad.error(), KeyError)
        assert isinstance(await error_of(fail()), KeyError)
        return await good.result()

    assert run(body) == 3


def test_a_task_that_is_left_is_found(run: Run) -> None:
    """One that would go on for ever."""

    async def body() -> None:
        Job(for_ever)

    with pytest.raises(AssertionError, match="tasks left"):
        run(body)


def test_a_coroutine_that_is_left_is_found(run: Run) -> None:
    """One that was begun, and that somebody keeps."""

    async def body() -> None:
        left = asyncio.sleep(0)
        left.send(None)
        KEPT.append(left)

    with pytest.raises(AssertionError, match=r"suspended: .*sleep"):
        run(body)
    KEPT.clear()


def test_a_cycle_with_something_of_ours_is_found(run: Run) -> None:
    """A generation that refers to itself, and an error that was raised in our code."""

    async def body() -> None:
        cycle: Generation[object] = Generation()
        cycle.value = cycle

    with pytest.raises(AssertionError, match=r"in reference cycles: .*Generation"):
        run(body)


def test_an_error_that_nobody_gets_is_found(run_asyncio: Run) -> None:
    """Of a callback, say; whoever asks for it has it."""

    async def body() -> None:
        asyncio.get_running_loop().call_soon(int, "x")
        await checkpoint(2)

    with pytest.raises(AssertionError, match=r"told to nobody: .*invalid literal"):
        run_asyncio(body)
    run_asyncio.told()


def test_what_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """`until` gives up, and says what for."""
    monkeypatch.setattr("tests.helpers.loops.WAIT", 0.0)

    async def body() -> None:
        await until(lambda: False, "the end of the world")

    with pytest.raises(TimeoutError, match="never: the end of the world"):
        run(body)


async def three() -> int:
    """Return 3, a little later."""
    await checkpoint()
    return 3


async def for_ever() -> None:
    """Never return."""
    while True:
        await checkpoint()
