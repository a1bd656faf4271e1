"""A short run of the stress program, and proof that it notices when something does not hold."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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
    "a stop that is forgotten": "from refcount._life import Life; Life.end = lambda life: None",
    "a stale timer that stops what is held": """
from refcount._lifecycle import Lifecycle
def linger_over(machine, generation, now, by):
    if generation in machine.generations and generation.phase.name == "UP":
        machine._end(generation, by)
    machine.settle(by)
Lifecycle.linger_over = linger_over
""",
    "a lost lease that stays lost": "from refcount import Lease; del Lease.__del__",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_is_noticed(broken: str) -> None:
    """With a guard taken out the run ends with a complaint and a status that is not 0."""
    start = "import sys, tests.stress; tests.stress.STUCK = 3.0; sys.exit(tests.stress.main())"
    ended = run("--seconds", "1", "--seed", "1", source=f"{BROKEN[broken]}\n{start}")
    assert ended.returncode != 0
    assert ended.stderr
