"""Threads that lose the processor between any two bytecodes, so that races which need bad luck find it.

Under the GIL a thread runs thousands of bytecodes in one go, and a counter without a lock passes nearly every test.
Here a trace function stops at every bytecode of the package and, at random, lets the other threads go first::

    with shaken(seed=7):
        run_threads(*[consumer] * 8)

A seed fixes where each thread steps aside, not what the operating system does meanwhile: the same seed makes a failure
likely to come back, not certain.
"""

import inspect
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

import pytest

from tests.helpers.tracing import Tracer, ask_for_opcodes, followed

T = TypeVar("T")

_SWITCH_INTERVAL = 1e-6
_LONG_PAUSE = 1e-5


UNSHAKABLE = inspect.CO_GENERATOR if sys.version_info[:2] == (3, 12) else 0
"""CPython 3.12 crashes where a generator traced by bytecode goes on in a thread that has no tracer."""


def seeds(quick: int, slow: int) -> list[Any]:
    """Return the seeds of a test for `parametrize`: so many, and up to `slow` of them with ``--slow``."""
    return [*range(quick), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(quick, slow))]


@contextmanager
def shaken(seed: int, *, probability: float = 0.1, also: Iterable[Path | CodeType] = ()) -> Generator[None]:
    """Shake the calling thread and every thread started inside the block.

    Threads that already run are left alone, and so is code entered before the block. A debugger or coverage tracer is
    put aside meanwhile and comes back afterwards.

    Args:
        seed: With a thread's name, decides after which bytecodes that thread gives up the processor.
        probability: The chance of that after one bytecode, from 0 to 1.
        also: Files, folders or code objects to shake besides the package.
    """
    follow = followed(also)
    dice = threading.local()
    active = True

    def step(_frame: FrameType, event: str, _argument: object) -> Tracer:
        if active and event == "opcode":
            draw = _dice(dice, seed).random()
            if draw < probability:
                # Most pauses let one other thread run a little; some let it run far.
                time.sleep(_LONG_PAUSE if draw < probability / 8 else 0)
        return step

    def enter(frame: FrameType, _event: str, _argument: object) -> Tracer | None:
        if not active or not follow(frame.f_code) or frame.f_code.co_flags & UNSHAKABLE:
            return None
        frame.f_trace = step  # before f_trace_opcodes, or Python 3.13 skips the first call of each function
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return step

    tracer, threads_tracer, interval = sys.gettrace(), threading.gettrace(), sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    ask_for_opcodes()
    threading.settrace(enter)
    sys.settrace(enter)
    try:
        yield
    finally:
        active = False
        sys.settrace(tracer)
        threading.settrace(threads_tracer)
        sys.setswitchinterval(interval)


def run_threads(*work: Callable[[], T], timeout: float = 30.0) -> list[T]:
    """Run each callable in a thread of its own, all let go at once, and return what they returned, in order.

    If some of them fail, the error that came first is raised. The threads are daemons: one that hangs fails the test
    and does not keep the process.

    Args:
        work: What to run; ``*[consumer] * 8`` runs the same thing eight times.
        timeout: Seconds until all must have ended.

    Raises:
        TimeoutError: Threads still ran after ``timeout`` and none had failed; the text shows where each one stands.
    """
    barrier = threading.Barrier(len(work), timeout=timeout)
    results: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(index: int, do: Callable[[], T]) -> None:
        try:
            barrier.wait()
            results[index] = do()
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=item, name=f"shaken-{item[0]}", daemon=True) for item in enumerate(work)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    stuck = "\n".join(_whereabouts(thread) for thread in threads if thread.is_alive())
    if errors:
        if stuck:
            errors[0].add_note(f"Meanwhile still running:\n{stuck}")
        raise errors[0]
    if stuck:
        raise TimeoutError(f"still running after {timeout} s:\n{stuck}")
    return [results[index] for index in range(len(work))]


def _dice(local: threading.local, seed: int) -> random.Random:
    """Return this thread's own random numbers, which its name and the seed decide."""
    try:
        dice: random.Random = local.dice
    except AttributeError:
        dice = local.dice = random.Random(f"{seed}/{threading.current_thread().name}")
    return dice


def _whereabouts(thread: threading.Thread) -> str:
    """Return the thread's name and its stack."""
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # documented, whatever its name
    frame = frames.get(thread.ident or 0)
    return f"{thread.name}:\n{''.join(traceback.format_stack(frame)) if frame else '  just ended'}"
