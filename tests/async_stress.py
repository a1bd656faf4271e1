"""Everything at once, in tasks, for as long as one likes: ``python -m tests.async_stress --seconds 600 --loop trio``.

Tasks come and go on resources of every kind and on the keys of bounded families. They acquire with and without
timeouts, by leases and without, try, nest, lose leases, invalidate, flush, touch; they are cancelled at random, by the
loop's own means and by scopes, while hooks and checks fail or take their time. Then all of it is let go, and what must
hold is checked: each start has its one stop, nothing is alive, nobody holds anything, no task is left, and nothing
raised what it must not raise.

The last line has the figures. The exit status is not 0 when something did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import math
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import anyio

from refcount import AsyncSharedResource, CapacityError, ReentrantError, State
from refcount._core.async_family import AsyncFamily
from refcount._core.async_openers import AsyncOptions, LivesOfAsyncOpener
from refcount._core.openers import Limits
from tests.helpers.cameras import Camera, Maker
from tests.helpers.loops import WAIT, Job, checkpoint

FAIL = 0.03
"""How often a hook or a check fails."""

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"linger": 0.001},
    {"linger": math.inf},
    {"overlap": True},
    {"exclusive": True},
    {"on_failure": "cancel"},
    {"stop_timeout": 60.0},
)


class HookError(Exception):
    """What failing hooks raise."""


class Shaky(Maker):
    """An opener whose hooks take their time, and fail now and then.

    Attributes:
        unsure: Whether a stop was given up, so that two may be alive at once.
    """

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        self.unsure = False

    async def start(self) -> Camera:
        self.turns = self._dice.randrange(4)
        if self._dice.random() < FAIL:
            self.start_error = HookError()
        return await super().start()

    async def stop(self, camera: Camera) -> None:
        self.turns = self._dice.randrange(4)
        if self._dice.random() < FAIL:
            self.stop_error = HookError()
        await super().stop(camera)


class Stress:
    """All of it.

    Args:
        seconds: How long.
        seed: Of the dice.
        tasks: How many tasks come and go.
    """

    def __init__(self, seconds: float, seed: int, tasks: int = 20) -> None:
        self.dice = random.Random(seed)
        self.until = time.monotonic() + seconds
        self.tasks = tasks
        self.figures: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.makers: list[Shaky] = []
        self.plain = [self._resource(**options) for options in KINDS]
        self.plain += [self._resource(check=self._check, **options) for options in KINDS[:4]]
        self.families: list[AsyncFamily[Camera]] = []
        for options in KINDS[:4]:
            shared: AsyncOptions[Camera] = AsyncOptions(**options)
            self.families.append(AsyncFamily("family", shared, Limits(3)))
        self.keys: dict[tuple[int, int], Shaky] = {}

    def _maker(self) -> Shaky:
        self.makers.append(Shaky(self.dice))
        return self.makers[-1]

    def _resource(self, **options: Any) -> AsyncSharedResource[Camera]:
        return AsyncSharedResource(self._maker(), **options)

    async def _check(self, value: Camera) -> bool:
        await checkpoint(self.dice.randrange(3))
        if self.dice.random() < FAIL:
            raise HookError
        return self.dice.random() > FAIL

    def _any(self) -> AsyncSharedResource[Camera]:
        if self.dice.random() < 0.6:
            return self.dice.choice(self.plain)
        which, key = self.dice.randrange(len(self.families)), self.dice.randrange(6)
        maker = self.keys.get((which, key)) or self.keys.setdefault((which, key), self._maker())
        family = self.families[which]
        found = family.find(key)
        return found or family.make(key, LivesOfAsyncOpener(maker, "key"), f"key({key})")

    # What tasks do

    async def _hold(self, resource: AsyncSharedResource[Camera]) -> None:
        async with resource() as value:
            self.figures["holds"] += 1
            await checkpoint(self.dice.randrange(4))
            if not value.alive:
                self.complaints.append(f"{resource} was held and not alive")

    async def _by_hand(self, resource: AsyncSharedResource[Camera]) -> None:
        lease = await resource.acquire(timeout=self.dice.choice((None, 0.001, 10.0)))
        try:
            await checkpoint(self.dice.randrange(4))
        finally:
            await lease.release()

    async def _anonymously(self, resource: AsyncSharedResource[Camera]) -> None:
        await resource.inc()
        try:
            await checkpoint()
        finally:
            await resource.dec()

    async def _try(self, resource: AsyncSharedResource[Camera]) -> None:
        lease = await resource.try_acquire()
        if lease is not None:
            async with lease:
                await checkpoint()

    async def _nest(self, resource: AsyncSharedResource[Camera]) -> None:
        async with resource():
            await self._hold(self.plain[self.dice.choice((0, 1, 2, 3))])

    async def _lose(self, resource: AsyncSharedResource[Camera]) -> None:
        await resource.acquire(timeout=10.0)
        self.figures["lost"] += 1

    async def _intervene(self, resource: AsyncSharedResource[Camera]) -> None:
        self.figures["interventions"] += 1
        chance = self.dice.randrange(3)
        if chance == 0 and resource.state in (State.RUNNING, State.LINGERING):
            resource.invalidate()
        elif chance == 1:
            await resource.flush()
        else:
            resource.touch()

    async def _one(self) -> None:
        does: Callable[[AsyncSharedResource[Camera]], Awaitable[None]] = self.dice.choices(
            (self._hold, self._by_hand, self._anonymously, self._try, self._nest, self._lose, self._intervene),
            (8, 3, 1, 1, 2, 0.3, 1),
        )[0]
        try:
            if self.dice.random() < 0.2:
                with anyio.move_on_after(self.dice.choice((0, 0, 0.001))):
                    await does(self._any())
            else:
                await does(self._any())
        except (HookError, TimeoutError, ReentrantError, CapacityError):
            self.figures["failures"] += 1

    async def _often(self) -> None:
        while time.monotonic() < self.until:
            await self._one()
            await checkpoint(self.dice.randrange(2))

    # All of it

    async def main(self) -> None:
        """Let tasks come and go until the time is over, and see what is left."""
        jobs = [Job(self._often) for _ in range(self.tasks)]
        while time.monotonic() < self.until:
            await checkpoint(self.dice.randrange(30))
            victim = self.dice.randrange(self.tasks)
            self.figures["cancelled"] += 1
            while not jobs[victim].over:  # a stop that fails takes the place of a cancellation, as any `finally` can
                jobs[victim].cancel()
                await checkpoint(5)
            await jobs[victim].wait()
            self._look(jobs[victim])
            jobs[victim] = Job(self._often)
        for job in jobs:
            await job.wait()
            self._look(job)
        await self._end()

    def _look(self, job: Job[None]) -> None:
        for error in job.errors:
            self.complaints.append(f"a task raised {error!r}")

    async def _end(self) -> None:
        gc.collect()
        await checkpoint(20)
        for family in self.families:
            try:
                await family.close(timeout=WAIT)
            except (HookError, ExceptionGroup):
                self.figures["failures"] += 1
        for resource in self.plain:
            try:
                await resource.close(timeout=WAIT)
            except HookError:
                self.figures["failures"] += 1
            if resource.usecount or not resource.idle:
                self.complaints.append(f"{resource} is not idle")
        await checkpoint(20)
        for maker in self.makers:
            self.figures["starts"] += len(maker.made)
            if maker.alive:
                self.complaints.append(f"alive: {maker.alive[:5]} of {len(maker.made)}")
            if sum(entry.startswith("stop") for entry in maker.diary) != len(maker.made):
                self.complaints.append("starts and stops differ in number")


def stress(loop: str, seconds: float, seed: int) -> Stress:
    """Do it on one event loop, and return what came of it."""
    run, logger = Stress(seconds, seed), logging.getLogger("refcount")

    async def main() -> None:
        if loop != "trio":
            asyncio.get_running_loop().set_exception_handler(partial(_handle, run))
        await run.main()

    hook, sys.unraisablehook = sys.unraisablehook, partial(_take, run)
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # the hooks fail all the time
    try:
        _run(loop, main)
    finally:
        sys.unraisablehook = hook
        logger.setLevel(level)
    return run


def _run(loop: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        if loop == "trio":
            import trio

            trio.run(main)
        elif loop == "uvloop":
            import uvloop

            uvloop.run(main())
        else:
            asyncio.run(main())


def _handle(run: Stress, _: object, context: dict[str, Any]) -> None:
    _tell(run, context.get("exception") or RuntimeError(context["message"]))


def _take(run: Stress, unraisable: sys.UnraisableHookArgs) -> None:
    _tell(run, unraisable.exc_value)


def _tell(run: Stress, error: object) -> None:
    if isinstance(error, HookError):
        run.figures["reported"] += 1
    else:
        run.complaints.append(f"told to nobody: {error!r}")


def main() -> int:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "trio"), default="asyncio")
    arguments = parser.parse_args()
    run = stress(arguments.loop, arguments.seconds, arguments.seed)
    for complaint in run.complaints[:20]:
        print(complaint, file=sys.stderr)
    figures = ", ".join(f"{what} {number}" for what, number in sorted(run.figures.items()))
    print(f"seed {arguments.seed}: {figures}, complaints {len(run.complaints)}")
    return bool(run.complaints)


if __name__ == "__main__":
    sys.exit(main())
