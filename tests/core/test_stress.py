"""A short run of the stress program, and proof that it notices when something does not hold."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str, source: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``python -m tests.stress`` or a program that changes it first."""
    program = ["-c", source] if source else ["-m", "tests.stress"]
    return subprocess.run(
        [sys.executable, *program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=55, check=False
    )


def test_a_short_run() -> None:
    """Two seconds of everything: no error, and a last line with the figures."""
    ended = run("--seconds", "2", "--seed", "1", "--threads", "6")
    assert ended.returncode == 0, ended.stderr
    figures = dict(part.split()[:2] for part in ended.stdout.splitlines()[-1].split(", ")[:-1])
    assert list(figures) == ["holds", "starts", "stops", "failures", "invalidations", "lost", "errors"]
    assert figures["errors"] == "0"
    assert figures["starts"] == figures["stops"]
    assert all(int(figures[name]) > 10 for name in ("holds", "starts", "failures", "invalidations"))
    assert ended.stderr == ""


BROKEN = {
    "a stop that is forgotten": "from refcount._core.life import Life; Life.end = lambda life: None",
    "a stale timer that stops what is held": """
from refcount._core.lifecycle import Lifecycle
def linger_over(machine, generation, now, by):
    if generation in machine.generations and generation.phase.name == "UP":
        machine._end(generation, by)
    machine.settle(by)
Lifecycle.linger_over = linger_over
""",
    "a lost lease that stays lost": "from refcount import Lease; del Lease.__del__",
    "a capacity that does not count": """
from refcount._core.capacity import Capacity
Capacity.enter = lambda capacity, slot, deadline: None
""",
    "a waiter for a slot whom nobody wakes": """
from refcount._core.capacity import Capacity
Capacity._ring = lambda capacity, slot: None
""",
    "a slot that is not given back by a key that was closed": """
from refcount._core.capacity import Slot
leave = Slot.leave
def forgetful(slot):
    if not slot._driver().closed:
        leave(slot)
Slot.leave = forgetful
""",
    "a key that is stopped under its holders to make room": """
from refcount._core.capacity import Slot
from refcount._core.driver import Driver
Slot.flush = lambda slot: slot._driver().do(slot._driver().machine.expel, hushed=True)
Driver._rests = property(lambda driver: driver.machine.current is not None and not driver.machine.detached)
""",
    "an observer of a family that is not told of all": """
from refcount._core.observers import Observers
add = Observers.add
def forgetful(observers, observer):
    add(observers, lambda usecount: usecount != 1 and observer(usecount))
Observers.add = forgetful
""",
    "a consumer who waits in vain": """
import tests.stress
from refcount import SharedResource
acquire = SharedResource.acquire
def slow(resource, timeout=None):
    if timeout == tests.stress.LONG:
        raise TimeoutError
    return acquire(resource, timeout)
SharedResource.acquire = slow
""",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_is_noticed(broken: str) -> None:
    """With a guard taken out the run ends with a complaint and a status that is not 0."""
    start = "import sys, tests.stress; tests.stress.STUCK = 3.0; sys.exit(tests.stress.main())"
    ended = run("--seconds", "1", "--seed", "1", "--threads", "6", source=f"{BROKEN[broken]}\n{start}")
    assert ended.returncode != 0
    assert ended.stderr
