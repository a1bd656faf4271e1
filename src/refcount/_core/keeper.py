"""`Keeper`: the task that one generation lives in, from its start to its stop.

Start and stop run in one task, so that an opener may hold a task group or a cancel scope over its `yield`. The task is
made by the first consumer, in a copy of its context, and belongs to nobody's task group. It goes through these states:

- *starting*: the opener runs. When the last one who waited for it has left, the task is cancelled; whatever comes of
  that is nobody's, and a newcomer has waited for it.
- *up*: it sleeps. Each step of the machine that makes it owe a stop wakes it. A cancellation that reaches it here comes
  from inside of the opener (a task group's child has failed, say): then it is *broken*, no newcomer gets it, and it
  waits until its holders have left. Or the loop is about to end: then younger ones end first, and it is stopped, for
  whoever still holds it is not there any more.
- *stopping*: the opener goes on to its end, shielded. The cancellation that has come is not thrown into it: all that
  stands behind its `yield` runs, and a task group of its own raises what its child has failed with.

Between two of its awaits no other task runs, so that each of these is entered in one go. All it is told comes through
`order_stop`, `forgotten` and `ends`, which may be called at any time.
"""
# pyright: reportPrivateUsage=false
# A keeper, its driver and the machine are one thing; what they have of each other is private because users have
# resources in their hands.

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, TypeVar

from refcount._core.async_openers import Unseen, begin, finish
from refcount._core.generation import FORGOTTEN, STARTING, UP
from refcount._core.loop import CancelScope
from refcount._core.registry import registry
from refcount._errors import RefcountError

if TYPE_CHECKING:
    from refcount._core.async_openers import AsyncLife
    from refcount._core.generation import Generation
    from refcount._core.loop import Job, Loop, OwnTask, Sleeper, Timer
    from refcount._core.tasks import TaskDriver

T = TypeVar("T")


class Keeper(Generic[T]):
    """The task of one generation.

    Args:
        driver: The resource's.
        generation: What it is to start; promised to those who wait.
        loop: Where.

    Attributes:
        task: The task, as the event loop knows it.
        life: What it runs, once that is begun.
        up: Whether it runs.
        broken: Whether something inside of the opener has failed.
        disowned: Whether its generation was forgotten, so that nobody waits for it any more.
        then: What is called when it is over.
    """

    __slots__ = (
        "_awaited",
        "_begun",
        "_driver",
        "_ending",
        "_failure",
        "_generation",
        "_loop",
        "_number",
        "_owes",
        "_own",
        "_sleeper",
        "_starting",
        "_watch",
        "broken",
        "disowned",
        "life",
        "task",
        "then",
        "up",
    )

    def __init__(self, driver: TaskDriver[T], generation: Generation[T], loop: Loop) -> None:
        self._driver = driver
        self._generation = generation
        self._number = generation.number
        self._loop = loop
        self._sleeper = loop.sleeper()
        self._failure: BaseException | None = None
        self._awaited = 0
        self._begun = False
        self._owes = False
        self._starting = True
        self._ending = False
        self._watch: Timer | None = None
        self.broken: bool = False
        self.disowned: bool = False
        self.life: AsyncLife[T] | None = None
        self.up: bool = True
        self.then: list[Job] = []
        loop.keepers[self] = None
        try:
            self._own: OwnTask = loop.spawn(self._run, driver._name, copy_context())
        except BaseException as error:
            loop.keepers.pop(self, None)
            if isinstance(error, RuntimeError):  # trio's, when only generators are still to be closed
                raise RefcountError(f"{driver.name} cannot start: its event loop is over") from error
            raise
        self.task: object = self._own.known_as

    # What it is told

    def order_stop(self) -> None:
        """A stop is owed; whoever has made it so tells. It is run, even if the generation is forgotten before that."""
        self._owes = True
        if not self._starting:
            self._sleeper.wake()
        elif self._begun:
            self._own.interrupt()

    def forgotten(self) -> None:
        """The resource takes its generation for gone: what is up is left as it is, and a stop that hangs hangs on."""
        self.disowned = True
        self._own.expose()
        self._tell_waiters()
        if not self._starting:
            self._sleeper.wake()

    def expect(self) -> None:
        """Let the stop's error wait for somebody who will ask for the outcome, or `forgo` it."""
        self._awaited += 1

    def forgo(self) -> None:
        """Take that back; what nobody waits for any more is reported, if it is there."""
        self._awaited -= 1
        self._tell_failure()

    async def outcome(self) -> None:
        """Return when it is over or given up, for who has ordered the stop; level cancellation waits until then.

        Raises:
            BaseException: What the stop raised, or the cancellation of the waiting task; the stop goes on then.
        """
        self.expect()
        try:
            await self.ended()
        except BaseException:
            self.forgo()
            raise
        self.settle()

    async def ended(self) -> None:
        """Return when it is over or given up, whatever came of it; level cancellation waits until then."""
        sleeper = self._loop.sleeper()
        self.then.append(sleeper.wake)
        with CancelScope(shield=True):
            await self._sleep_until_over(sleeper)

    async def _sleep_until_over(self, sleeper: Sleeper) -> None:
        while self.up and not self.disowned:
            await sleeper.sleep()

    def settle(self) -> None:
        """Raise what the stop raised, if it did; for who has waited for it."""
        self._awaited -= 1
        failure = self._failure
        if not self._awaited:
            self._failure = None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure

    def _tell_failure(self) -> None:
        """Report what the stop has raised if nobody waits for it."""
        failure = self._failure
        if failure is not None and not self._awaited and not self.up:
            self._failure = None
            self._loop.report(failure, f"the stop of {self._driver.name}, generation {self._number}")

    def ends(self) -> None:
        """The event loop is about to end."""
        self._ending = self._loop.ending = True
        if self.disowned:
            self._own.interrupt()  # it must not keep the loop from ending
        self._sleeper.wake()

    # What it does

    async def _run(self) -> None:
        try:
            await self._live()
        finally:
            self._end_here()

    def _end_here(self) -> None:
        self.up = False
        self._loop.keepers.pop(self, None)
        self._generation.keeper = None
        del self._generation  # each has had the other
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._tell_waiters()
        self._tell_failure()

    def _tell_waiters(self) -> None:
        for job in self.then:
            job()

    async def _live(self) -> None:
        driver, generation = self._driver, self._generation
        self._begun = True
        try:
            if generation.phase is STARTING:
                self.life = life = driver._lives()
                generation.value = await Unseen(begin(life, driver._name))
        except BaseException as error:
            self._starting = False
            driver._start_failed(generation, error)
            del generation  # it has the error, and the error this frame
            return
        self._starting = False
        # It is younger now than what was started inside its own start.
        self._loop.keepers[self] = self._loop.keepers.pop(self, None)
        driver._started(generation)
        await self._wait_until_unwanted()
        if generation.phase is FORGOTTEN and not self._owes:
            registry.keep_for_ever(self)
        else:
            await self._stop()

    async def _wait_until_unwanted(self) -> None:
        """Return when the generation is to be stopped, or to be left."""
        generation = self._generation
        while generation.phase is UP:
            if self._ending:
                self._end()
            try:
                await self._sleep()
            except BaseException as error:  # of whichever kind: it goes on to its stop
                self._own.calm()
                if self._own.cancelled_by_loop():
                    self.ends()
                else:
                    self._break()
                if not self._loop.is_cancellation(error):
                    self._loop.report(error, f"the task of {self._driver.name}, generation {self._number}")

    async def _sleep(self) -> None:
        if self.broken or self._ending:
            with CancelScope(shield=True):  # else what was cancelled once is cancelled again and again
                await self._sleeper.sleep()
        else:
            await self._sleeper.sleep()

    def _break(self) -> None:
        """Something inside the opener has failed: let no newcomer have it."""
        if not self.broken:
            self.broken = True
            self._driver._broke(self._generation)
            if self._generation.phase is UP:
                self._watch = self._loop.watch_end(self.ends)

    def _end(self) -> None:
        """The loop ends: let no newcomer have it, and stop it if nobody is left who could leave it."""
        driver, generation = self._driver, self._generation
        if driver._options.at_exit == "stop":
            driver._condemn(generation)
        if generation.phase is UP and not self._loop.awaits_others(self, self._sleeper.wake):
            driver._end(generation)

    async def _stop(self) -> None:
        driver, generation = self._driver, self._generation
        timer = self._own.shield(driver._options.stop_timeout)
        try:
            if self.life is not None:
                await finish(self.life, driver._name)
        except BaseException as error:
            if not (self.disowned and self._loop.is_cancellation(error)):  # else it was cancelled since it was given up
                self._failure = driver._stop_failed(generation, error, late=self._own.ran_out())
        finally:
            timer.cancel()
            self._own.calm()
        driver._finished(generation)
