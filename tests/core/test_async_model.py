"""`AsyncSharedResource` against a model: hypothesis makes up who comes, is cancelled and goes, and what hooks do.

Starts and stops are held up until a rule lets them on, so that everything can happen in the middle of them. The event
loop stands still between two rules.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from refcount import AsyncLease, AsyncSharedResource, State
from refcount.testing import ManualClock
from tests.helpers.cameras import Camera, Maker, waiting
from tests.helpers.interrupting import Every
from tests.helpers.loops import Job, settled

T = TypeVar("T")
LINGERS = (0.0, 4.0, math.inf)
OPTIONS = ("", "overlap", "exclusive")
TURNS = 20
"""How often the loop turns after each rule: more than anything takes that is not held up."""


class Tasks(RuleBasedStateMachine):
    """Tasks that come to one resource and go."""

    kind = "asyncio"

    @initialize(
        linger=st.sampled_from(LINGERS), options=st.sampled_from(["", "overlap", "exclusive"]), check=st.booleans()
    )
    def make(self, linger: float, options: str, check: bool) -> None:
        self.stack = ExitStack()
        self.clock = self.stack.enter_context(ManualClock())
        if self.kind == "trio":
            self.portal = self.stack.enter_context(start_blocking_portal("trio"))
        else:
            self.runner = self.stack.enter_context(asyncio.Runner(debug=True))
            self.call(self.listen)
        self.maker = Maker(turns=1)
        self.bad: set[int] = set()
        chosen: dict[str, Any] = {options: True} if options else {}
        self.camera: AsyncSharedResource[Camera] = AsyncSharedResource(
            self.maker, name="camera", linger=linger, check=self.check if check else None, **chosen
        )
        self.serial = options != "overlap"
        self.exclusive = options == "exclusive"
        self.checked = check
        self.invalidated = False
        self.comers: list[Job[AsyncLease[Camera]]] = []
        self.goers: list[Job[bool]] = []
        self.held: list[AsyncLease[Camera]] = []
        self.errors: list[BaseException] = []
        self.started = True

    def call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Let a function run in the loop, and then all that comes of it."""

        async def work() -> T:
            result = await function()
            await settled(TURNS)
            return result

        return self.portal.call(work) if self.kind == "trio" else self.runner.run(work())

    async def listen(self) -> None:
        def handle(loop: object, context: dict[str, Any]) -> None:
            self.errors.append(context.get("exception") or RuntimeError(context["message"]))

        asyncio.get_running_loop().set_exception_handler(handle)

    async def check(self, value: Camera) -> bool:
        await settled(1)
        return value.number not in self.bad

    # What happens

    @rule(number=st.integers(1, 3))
    def come(self, number: int) -> None:
        async def act() -> None:
            self.comers += [Job(self.camera.acquire) for _ in range(number)]

        self.call(act)

    @precondition(lambda self: self.comers)
    @rule(data=st.data())
    def cancel_who_comes(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.comers))

        async def act() -> None:
            job.cancel()

        self.call(act)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        lease = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))

        async def act() -> None:
            self.goers.append(Job(lease.release))

        self.call(act)
        assert not lease.held

    @precondition(lambda self: self.goers)
    @rule(data=st.data())
    def cancel_who_goes(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.goers))

        async def act() -> None:
            job.cancel()

        self.call(act)

    @rule(what=st.sampled_from(["starting", "stopping"]))
    def hold_up(self, what: str) -> None:
        getattr(self.maker, what).shut()

    @rule(what=st.sampled_from(["starting", "stopping"]))
    def let_on(self, what: str) -> None:
        async def act() -> None:
            getattr(self.maker, what).open()

        self.call(act)

    @rule(what=st.sampled_from(["start_error", "stop_error"]))
    def fail_next(self, what: str) -> None:
        setattr(self.maker, what, OSError(what))

    @precondition(lambda self: self.maker.alive)
    @rule()
    def go_bad(self) -> None:
        self.bad.update(self.maker.alive)

    @rule()
    def invalidate(self) -> None:
        async def act() -> None:
            self.camera.invalidate()

        self.invalidated = True
        self.call(act)

    @rule()
    def flush(self) -> None:
        async def act() -> None:
            Job(self.camera.flush)

        lingers = self.camera.state is State.LINGERING
        self.call(act)
        assert not lingers or self.camera.state is not State.LINGERING

    @rule(seconds=st.sampled_from([1.0, 4.0]))
    def pass_time(self, seconds: float) -> None:
        async def act() -> None:
            self.clock.advance(seconds)

        self.call(act)

    @rule()
    def try_it(self) -> None:
        state = self.camera.state

        async def act() -> Job[AsyncLease[Camera] | None]:
            return Job(self.camera.try_acquire)

        job = self.call(act)
        if job.over and not job.failed:
            lease = self.call(job.result)
            if lease is not None:
                self.held.append(lease)
            assert lease is None or state in (State.RUNNING, State.LINGERING)

    # What holds

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "started"):
            return
        for job in [job for job in self.comers if job.over]:
            self.comers.remove(job)
            if not job.cancelled and not job.failed:
                self.held.append(self.call(job.result))
        self.goers = [job for job in self.goers if not job.over]
        assert self.camera.usecount == len(self.held)
        assert all(lease.held and lease.value.alive for lease in self.held)
        if (self.exclusive and not self.invalidated) or (self.serial and not self.invalidated and not self.checked):
            assert len(self.maker.alive) <= 1
        at_hooks = self.maker.starting.waiting + self.maker.stopping.waiting
        if self.comers and not at_hooks:  # then nobody waits but for the holders of an old one
            assert self.exclusive
            assert self.held
        if not self.comers and not self.held and not self.goers and not at_hooks:
            assert self.camera.state in (State.IDLE, State.LINGERING)
        if not self.comers:
            assert waiting(self.camera) == 0

    def teardown(self) -> None:
        if not hasattr(self, "started"):
            return
        self.maker.starting.open()
        self.maker.stopping.open()
        self.maker.start_error = self.maker.stop_error = None
        rounds = 0
        while self.comers or self.held:
            self.call(settled)
            self.holds()
            while self.held:
                self.call(self.held.pop().release)
            rounds += 1
            assert rounds < 50, "somebody waits for ever"

        async def end() -> None:
            await self.camera.flush()
            await self.camera.wait_stopped(timeout=5.0)
            assert self.camera.state is State.IDLE
            lease = await self.camera.acquire()
            assert lease.value.alive
            await lease.release()
            await self.camera.close()
            await settled(TURNS)

        self.call(end)
        assert self.maker.alive == []
        assert self.camera.usecount == 0
        stops = [entry for entry in self.maker.diary if entry.startswith("stop")]
        assert len(stops) == len(set(stops)) == len(self.maker.made)
        assert all(isinstance(error, OSError) for error in self.errors), self.errors
        self.stack.close()


class TasksOfTrio(Tasks):
    """The same on trio."""

    kind = "trio"


def ignore(_: object) -> None:
    """Take note of nothing."""


@pytest.mark.parametrize("machine", [Tasks, TasksOfTrio])
def test_it_is_as_the_model_says(machine: type[Tasks], every: Every, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes in the middle of whatever."""
    monkeypatch.setattr("sys.unraisablehook", ignore)  # on trio it is told of stops that fail with nobody there
    examples = 20 if every(2) > 1 else 400
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None))
