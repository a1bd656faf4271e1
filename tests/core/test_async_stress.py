"""A short run of the stress program for tasks, on each loop; with ``--slow`` a longer one."""

import pytest

from tests.async_stress import stress
from tests.helpers.interrupting import Every


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_everything_at_once(loop: str, every: Every) -> None:
    """Nothing is left, and nothing raised what it must not raise."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    run = stress(loop, 1.0 if every(2) > 1 else 20.0, seed=7)
    assert run.complaints == []
    assert run.figures["holds"] > 100
    assert run.figures["starts"] > 100
