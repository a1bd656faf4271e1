"""A short run of the stress program, and proof that it notices when something does not hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.interrupting import Every

ROOT = Path(__file__).parents[2]


def run(*arguments: str, source: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``python -m tests.stress`` or a program that changes it first."""
    program = ["-c", source] if source else ["-m", "tests.stress"]
    return subprocess.run(
        [sys.executable, *program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=55, check=False
    )


def test_a_short_run(every: Every) -> None:
    """A second or two of everything: no error, and a last line with the figures."""
    ended = run("--seconds", str(2 / every(2)), "--seed", "1", "--threads", "6")
    assert ended.returncode == 0, ended.stderr
    figures = dict(part.split()[:2] for part in ended.stdout.splitlines()[-1].split(", ")[:-1])
    assert list(figures) == ["holds", "starts", "stops", "failures", "invalidations", "lost", "errors"]
    assert figures["errors"] == "0"
    assert figures["starts"] == figures["stops"]
    assert all(int(figures[name]) > 10 for name in ("holds", "starts", "failures", "invalidations"))
    assert ended.stderr == ""


# A lock that is missing is not among them: under the GIL no thread is interrupted in a section without calls, unless it
# is shaken (`test_shaken`).
BROKEN = {
    "a stop that is forgotten": """
from refcount._core.stopping import Stoppable
Stoppable._end = lambda driver, life: None
""",
    "a promise to a waiter that is forgotten": """
from refcount._core.machine import Machine
from refcount._core.generation import WAIT
promise = Machine._promise
def forgetful(machine, hold, current, by):
    step = promise(machine, hold, current, by)
    if step is WAIT:
        current.count -= 1
        current.waiters -= 1
    return step
Machine._promise = forgetful
""",
    "a linger whose hold is forgotten": """
from refcount._core.machine import Machine
give_back = Machine.give_back
def forgetful(machine, hold, by, now, alarm):
    generation = hold._generation
    step = give_back(machine, hold, by, now, alarm)
    if alarm is not None and generation is not None and generation.lingers:
        generation.lingers = 0
        generation.count -= 1
    return step
Machine.give_back = forgetful
""",
    "an old timer that stops a newer hold": """
from refcount._core.machine import Machine
expire = Machine.expire
def hasty(machine, generation, now, by):
    current = machine.current
    if current is not None and machine.usecount and machine.expel(current, by):
        return current
    return expire(machine, generation, now, by)
Machine.expire = hasty
""",
    "a lost lease that stays lost": "from refcount import Lease; del Lease.__del__",
    "a capacity that does not count": """
from refcount._core.capacity import Slot
Slot.enter = lambda slot, generation, by, deadline: None
""",
    "a waiter for a slot whom nobody lets in": """
from refcount._core.room import Room
Room._settle = lambda room: None
""",
    "a slot that is not given back by a key that was closed": """
from refcount._core.capacity import Slot
leave = Slot.leave
def forgetful(slot, generation):
    if not slot.driver().closed:
        leave(slot, generation)
Slot.leave = forgetful
""",
    "a key that is stopped under its holders to make room": """
from threading import get_ident
from refcount._core.control import Controls
def evict(driver, generation):
    if driver._machine.expel(generation, get_ident()):
        driver._stop(generation, get_ident(), report_errors=True)
Controls.evict = evict
Controls.resting_since = lambda driver, generation: generation.left
""",
    "an observer of a family that is not told of all": """
from refcount._core.observers import Observers
add = Observers.add
def forgetful(observers, observer):
    return add(observers, lambda usecount: usecount != 1 and observer(usecount))
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
def test_what_is_broken_is_noticed(broken: str, every: Every) -> None:
    """With a guard taken out the run ends with a complaint and a status that is not 0.

    Most of the time goes by in waiting for what does not come, so that the quick form is sooner at an end with it.
    """
    start = f"import sys, tests.stress; tests.stress.STUCK = {3 / every(3)}; sys.exit(tests.stress.main())"
    tries = (  # on a busy machine little happens in a second
        run("--seconds", str(seconds), "--seed", "1", "--threads", "6", source=f"{BROKEN[broken]}\n{start}")
        for seconds in (1 / every(2), 3, 9)
    )
    assert any(ended.returncode != 0 and ended.stderr for ended in tries)
