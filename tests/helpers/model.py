"""What a shared resource promises, said without its machine: who may start, hold, wait and stop, and when.

A `Model` is told what happens as those see it who use a resource: a start has begun, somebody got this value, a stop
has begun. It knows no counters, promises or locks. Each rule is a sentence of the design; one that does not hold raises
`Broken` with that sentence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from refcount._core.generation import State

NOBODY: frozenset[int] = frozenset()


class Broken(AssertionError):
    """A rule does not hold.

    Attributes:
        rule: Which one, in a few words.
    """

    def __init__(self, rule: str, detail: object = "") -> None:
        super().__init__(f"{rule}: {detail}" if detail != "" else rule)
        self.rule = rule


@dataclass(frozen=True)
class Config:
    """The options of a resource."""

    lingers: bool = False
    checked: bool = False
    overlap: bool = False
    exclusive: bool = False

    def __str__(self) -> str:
        words = [word for word in ("lingers", "checked", "overlap", "exclusive") if getattr(self, word)]
        return "+".join(words) or "plain"


class Life(NamedTuple):
    """One generation, as it is seen from outside.

    Attributes:
        number: What it is called.
        phase: starting, up, stopping, stopped, failed, or gone: what was abandoned.
        at_work: Whether somebody runs its start or its stop.
        holders: Who holds it.
        waiting: Who waits for its start, or has not looked yet what came of it.
        checking: Who asks the check about it.
        replaced: Whether newcomers get another one.
        aside: Whether they get it without waiting for this one.
        given_up: Whether nobody waits for the end of its start any more.
        forced: Whether it is stopped whoever holds it.
        left: When the last lease left, at the earliest.
        kept: When the last of all who kept it left, at the latest.
        error: What its start has raised.
    """

    number: int
    phase: str = "starting"
    at_work: bool = True
    holders: frozenset[int] = NOBODY
    waiting: frozenset[int] = NOBODY
    checking: frozenset[int] = NOBODY
    replaced: bool = False
    aside: bool = False
    given_up: bool = False
    forced: bool = False
    left: int = 0
    kept: int = 0
    error: Exception | None = None

    @property
    def alive(self) -> bool:
        return self.phase in ("starting", "up", "stopping")

    @property
    def resting(self) -> bool:
        return self.phase == "up" and not (self.holders or self.waiting or self.checking)


class Model:
    """One resource, as it is seen from outside.

    Attributes:
        lives: Its generations that are not over, or that somebody still holds or waits for, by their numbers.
        current: The number of the one that newcomers get, join or wait for.
        last: The highest number that there was.
        told: The usecount as observers know it.
    """

    def __init__(self, config: Config, linger: int) -> None:
        self.config, self.linger = config, linger if config.lingers else 0
        self.lives: dict[int, Life] = {}
        self.current: int | None = None
        self.last = self.told = 0
        self.closed = self.forced = self.observed = False

    @property
    def usecount(self) -> int:
        return sum([len(life.holders) for life in self.lives.values()])

    @property
    def running(self) -> int:
        return sum([life.alive and not life.given_up for life in self.lives.values()])

    @property
    def state(self) -> State:
        if self.closed:
            return State.CLOSED
        if self.current is None:
            return State.IDLE
        life = self.lives[self.current]
        if life.phase == "up":
            return State.LINGERING if life.resting else State.RUNNING
        return State.STARTING if life.phase == "starting" else State.STOPPING

    def require(self, rule: str, holds: object, detail: object = "") -> None:
        """Raise `Broken` unless the rule holds."""
        if not holds:
            raise Broken(rule, detail)

    def _set(self, life: Life) -> None:
        if life.alive or life.holders or life.waiting or life.checking:
            self.lives[life.number] = life
        else:
            del self.lives[life.number]

    def _awaited(self, who: int) -> Life | None:
        """What `who` waits for the start of, or has not looked at since."""
        for life in self.lives.values():
            if who in life.waiting:
                return life
        return None

    # Somebody comes

    def waits(self, who: int) -> None:
        """Somebody is told to wait."""
        awaited = self._awaited(who)
        current = None if self.current is None else self.lives[self.current]
        if awaited is None and current is not None and current.phase == "starting":
            self.require("a closed one lets nobody wait", not self.closed, who)
            awaited = current._replace(waiting=current.waiting | {who})
            self._set(awaited)
        reasons = [awaited is not None and awaited.phase == "starting" and awaited.at_work]
        if current is not None and not self.config.overlap:
            reasons += [current.phase == "stopping" and current.at_work, current.replaced and not current.aside]
        if self.config.exclusive:
            reasons.append(any(life.alive and not life.given_up for life in self.lives.values()))
        self.require("nobody waits without a reason", any(reasons), who)

    def looks_again(self, who: int, *, left_behind: bool) -> None:
        """Somebody is to look again, perhaps without what has been the current one."""
        awaited = self._awaited(who)
        if awaited is not None:
            over = awaited.phase in ("gone", "stopping", "stopped")
            self.require("who waited for a start gets what came of it", over, (who, awaited))
            self._set(awaited._replace(waiting=awaited.waiting - {who}))
        if left_behind and self.current is not None:
            current = self.lives[self.current]
            stops = current.phase == "stopping" or current.replaced
            self.require("what stops is left behind where stops overlap", self.config.overlap and stops, current)
            self._set(current._replace(aside=True))
            self.current = None

    def got(self, who: int, value: int) -> None:
        """Somebody is let in and gets this value."""
        life = self.lives.get(value)
        if life is None or life.phase != "up":
            raise Broken("a value is handed out while it is up", (who, value))
        self.require("after a close by force nobody gets in", not self.forced, who)
        if who not in life.waiting:
            self.require("a closed one refuses newcomers", not self.closed, who)
            self.require("newcomers get the current one", value == self.current and not life.replaced, value)
            self.require("a newcomer gets what was checked", not self.config.checked or who in life.checking, who)
        self._set(
            life._replace(holders=life.holders | {who}, waiting=life.waiting - {who}, checking=life.checking - {who})
        )

    def refused(self, who: int) -> None:
        """Somebody gets `ClosedError`."""
        self.require("only a closed one refuses", self.closed, who)
        awaited = self._awaited(who)
        served = awaited is not None and awaited.phase in ("starting", "up", "failed") and not self.forced
        self.require("who waited for a start is served though it closes", not served, who)

    def raised(self, who: int, error: BaseException) -> None:
        """Somebody gets the error of a start."""
        life = self._awaited(who)
        if life is None or life.phase != "failed":
            raise Broken("who gets an error has waited for that start", who)
        self.require("all who waited get the same error", error is life.error, who)
        self._set(life._replace(waiting=life.waiting - {who}))

    def gave_up(self, who: int, now: int) -> None:
        """Somebody does not come in any more: it was interrupted, or has had no more time, or its check said no."""
        for life in [*self.lives.values()]:
            if who in life.waiting or who in life.checking:
                mine = frozenset({who})
                self._set(life._replace(waiting=life.waiting - mine, checking=life.checking - mine, kept=now))

    def nothing_runs(self, who: int) -> None:
        """Somebody who would only join is told that there is nothing to join."""
        life = None if self.current is None else self.lives[self.current]
        runs = life is not None and life.phase == "up" and not life.replaced and not self.config.checked
        self.require("who would join what runs gets it", not runs, who)

    def checks(self, who: int, number: int) -> None:
        """Somebody asks the check."""
        life = self.lives.get(number)
        if life is None or life.phase != "up" or number != self.current or life.replaced or self.closed:
            raise Broken("what is checked is what newcomers get", number)
        self.require("only where there is a check", self.config.checked, number)
        self._set(life._replace(checking=life.checking | {who}))

    # Somebody leaves

    def left(self, who: int, number: int, moment: int, now: int) -> None:
        """Somebody has given its lease back; it looked at the clock at this moment."""
        life = self.lives.get(number)
        if life is not None and who in life.holders:
            holders, left = life.holders - {who}, max(life.left, moment)
            self._set(life._replace(holders=holders, left=left, kept=now))

    # Starts and stops

    def begins(self, who: int, number: int) -> None:
        """Somebody is to run a start: of a new generation, or one that another one has given up."""
        life = self.lives.get(number)
        if life is not None:
            self.require("a start is run by one", life.phase == "starting" and not life.at_work, number)
            self.require("nothing starts after a close by force", not self.forced, number)
            self._set(life._replace(at_work=True, waiting=life.waiting | {who}))
            return
        self.require("nothing new starts after a close", not self.closed, number)
        self.require("numbers grow with every start", number == self.last + 1, number)
        self.require("newcomers share what there is", self.current is None, self.current)
        for other in self.lives.values():
            beside = not other.alive or other.given_up or (other.aside and not self.config.exclusive)
            self.require("one generation at a time", beside, (number, other))
        self.current = self.last = number
        self.lives[number] = Life(number, waiting=frozenset({who}))

    def started(self, number: int) -> None:
        """A start is over, and the value is there."""
        life = self.lives.get(number)
        if life is not None and life.phase == "starting":
            self._set(life._replace(phase="up", at_work=False, given_up=False, forced=self.forced))

    def launched(self, number: int, now: int, *, to_stop: bool) -> None:
        """A start by one who waits for nothing is over; he was told whether to stop it at once."""
        life = self.lives.get(number)
        ordered = life is not None and life.phase == "stopping"
        comes_late = life is not None and life.phase == "starting" and self.forced
        self.require("what was started is kept up if it is wanted", to_stop == (ordered or comes_late), (life, to_stop))
        if ordered and life is not None:
            self._set(life._replace(given_up=False))
        self.started(number)
        if comes_late:
            self.stops(number, now)

    def failed(self, who: int, number: int, error: Exception) -> None:
        """A start has raised this error, for the one who ran it."""
        life = self.lives.get(number)
        if life is not None and life.phase == "starting":
            self._set(life._replace(phase="failed", at_work=False, waiting=life.waiting - {who}, error=error))
            if self.current == number:
                self.current = None
        self.gave_up(who, 0)

    def stops(self, number: int, now: int, *, flushed: bool = False) -> None:
        """Somebody is to stop it."""
        life = self.lives.get(number)
        if life is None or not life.alive:
            raise Broken("what stops has been there", number)
        if life.phase == "stopping":
            self.require("a stop is run by one", not life.at_work, number)
        elif not life.forced:
            self.require("what is held is not stopped", not life.holders, life)
            self.require("what is waited for is not stopped", not life.waiting, life)
            self.require("what is checked is not stopped", not life.checking, life)
            if self.may_linger(life) and not flushed:
                self.require("a linger does not end early", now >= life.left + self.linger, life)
        self._set(life._replace(phase="stopping", at_work=True))

    def stopped(self, number: int) -> None:
        """A stop is over."""
        life = self.lives.get(number)
        if life is not None and life.phase == "stopping":
            self._set(life._replace(phase="stopped", at_work=False))
            if self.current == number:
                self.current = None

    def interrupted(self, number: int) -> None:
        """A start or stop was interrupted, so that somebody else is to do it."""
        life = self.lives.get(number)
        if life is not None and life.phase != "gone":
            self._set(life._replace(at_work=False))

    def may_linger(self, life: Life) -> bool:
        wanted = not (life.replaced or self.closed)
        return self.linger > 0 and life.phase == "up" and life.number == self.current and wanted

    # What comes from outside

    def touched(self, moment: int, now: int, lingers: bool) -> None:
        """The linger was to begin anew; it said whether there is one."""
        life = None if self.current is None else self.lives[self.current]
        self.require("a touch says whether it lingers", lingers == (life is not None and life.resting), lingers)
        if lingers and life is not None:
            self._set(life._replace(left=max(life.left, moment), kept=now))

    def condemned(self, number: int) -> None:
        """It is to be replaced, if it is the current one."""
        life = self.lives.get(number)
        if life is None or number != self.current or life.phase == "stopping":
            return
        aside = bool(life.holders or life.waiting)
        self._set(life._replace(replaced=True, aside=aside, given_up=life.phase == "starting"))
        if aside:
            self.current = None

    def forgot(self, number: int) -> None:
        """It is abandoned: whoever holds it holds nothing any more."""
        life = self.lives.get(number)
        if life is None or life.phase == "failed":
            return
        self.told -= len(life.holders) if self.observed else 0
        self._set(life._replace(phase="gone", holders=NOBODY, at_work=False))
        if self.current == number:
            self.current = None

    def closes(self, *, force: bool) -> None:
        """It is closed, or closed again."""
        self.closed = True
        self.forced = self.forced or force

    def expels(self, number: int) -> None:
        """It is to be stopped whoever holds it."""
        self._set(self.lives[number]._replace(forced=True))

    def observes(self, observed: bool) -> None:
        """Somebody is told of each change from now on, or nobody."""
        if not self.observed:
            self.told = self.usecount
        self.observed = observed

    def hears(self, notes: Iterable[int]) -> None:
        """Observers are told of these changes."""
        for usecount in notes:
            self.require("observers are told each change", abs(usecount - self.told) == 1, (self.told, usecount))
            self.told = usecount
        if self.observed:
            self.require("observers know the usecount", self.told == self.usecount, (self.told, self.usecount))
