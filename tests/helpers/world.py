"""`World`: consumers, one who intervenes, and a timer, with all that each of them can do next."""
# pyright: reportPrivateUsage=false
# What a hold claims is private to users; here it is what is tested.

from __future__ import annotations

from collections.abc import Iterator

from refcount._core.generation import FORGOTTEN, STOPPING, Generation
from tests.helpers.acting import QUIET, TELL, Consuming, Event
from tests.helpers.scene import Actor, Frame

COMING = ("reads hot", "asks", "looks", "tries", "looks whether it runs", "enters")

INTERVENTIONS = (
    *("invalidate", "looks to invalidate", "disarm", "flush", "touch", "looks at the clock to touch", "abandon"),
    *("expel", "waits until it has stopped", "close by force", "close", "observe", "observe no more"),
)

MOVES = {
    "ask": ("asks", "looks", "is interrupted"),
    "try": ("tries", "is interrupted"),
    "look": ("acts",),
    "hot": ("enters by the count",),
    "start": ("has started", "has started and is interrupted", "fails to start", "is interrupted"),
    "check": ("finds it good", "finds it bad", "is interrupted"),
    "stop": ("has stopped", "is interrupted in a stop", "is interrupted twice in a stop"),
    "clock": ("leaves",),
    "resume": ("resumes",),
    "touch": ("touches",),
    "condemn": ("condemns",),
    "claim": ("claims",),
    "forget": ("forgets",),
    "expel": ("expels",),
    "expire": ("looks at the linger",),
    "rearm": ("sets the alarm again",),
}
"""What comes next of what an actor is at, where that does not depend on anything else."""


class _Methods(dict[str, str]):
    def __missing__(self, name: str) -> str:
        self[name] = method = name.replace(" ", "_")
        return method


METHODS = _Methods()


class World(Consuming):
    """A machine and all who use it."""

    # What comes from outside

    def touches(self, actor: Actor) -> None:
        moment = actor.frames[-1].moment
        assert moment is not None
        self.model.touched(moment, self.now, self.machine.touch(moment))
        self.pop(actor)

    def touch(self, actor: Actor) -> None:
        self.looks_at_the_clock_to_touch(actor)
        self.touches(actor)

    def looks_at_the_clock_to_touch(self, actor: Actor) -> None:
        actor.frames = (Frame("touch", None, self.now),)

    def flush(self, actor: Actor) -> None:
        owed = self.machine.flush(self.owner(actor, self.machine.current))
        current = self.model.current
        rests = current is not None and self.model.lives[current].resting
        self.model.require("a flush stops what lingers", (owed is not None) == rests, owed)
        if owed is not None:
            actor.frames = (TELL,)
            self.stop(actor, owed, flushed=True)

    def looks_to_invalidate(self, actor: Actor) -> None:
        current = self.machine.current
        if current is not None:
            actor.frames = (Frame("claim" if current.phase is STOPPING else "condemn", current),)

    def invalidate(self, actor: Actor) -> None:
        self.looks_to_invalidate(actor)
        if actor.frames and actor.frames[-1].kind == "condemn":
            self.condemns(actor)
        elif actor.frames:
            self.claims(actor)

    def condemns(self, actor: Actor) -> None:
        generation = self.top(actor)
        owed = self.machine.condemn(generation, self.owner(actor, generation))
        self.model.condemned(generation.number)
        self.cancel_alarm(generation)
        self.stop(actor, owed)

    def claims(self, actor: Actor) -> None:
        generation = self.top(actor)
        if self.machine.claim(generation, actor.token):
            self.stop(actor, generation)
        else:
            self.pop(actor, Frame("forget", generation))

    def forgets(self, actor: Actor) -> None:
        generation = self.top(actor)
        self.machine.forget(generation)
        self.model.forgot(generation.number)
        self.cancel_alarm(generation)
        self.pop(actor, TELL)

    def abandon(self, actor: Actor) -> None:
        actor.frames = tuple([Frame("forget", generation) for generation in reversed(self.machine.generations)])
        if actor.frames:
            self.forgets(actor)

    def close(self, actor: Actor) -> None:
        self._close(actor, force=False)

    def close_by_force(self, actor: Actor) -> None:
        self._close(actor, force=True)

    def _close(self, actor: Actor, *, force: bool) -> None:
        current = self.machine.current
        owed = self.machine.close(self.owner(actor, current), force=force)
        self.model.closes(force=force)
        self.tell()
        if owed is None and current is not None:
            self.cancel_alarm(current)
        if force:
            self.expel(actor)
        if owed is not None:
            actor.frames = (*actor.frames, TELL)
            self.stop(actor, owed)

    def expel(self, actor: Actor) -> None:
        actor.frames = tuple([Frame("expel", generation) for generation in reversed(self.machine.generations)])

    def expels(self, actor: Actor) -> None:
        generation = self.top(actor)
        if self.machine.expel(generation, self.owner(actor, generation)):
            self.model.expels(generation.number)
            self.stop(actor, generation)
        else:
            self.pop(actor)

    def observe(self, _actor: Actor) -> None:
        self.machine.observe(True)
        self.model.observes(True)

    def observe_no_more(self, _actor: Actor) -> None:
        self.machine.observe(False)
        self.model.observes(False)

    def disarm(self, _actor: Actor) -> None:
        """A bounded family looks whether it lingers."""
        current = self.machine.current
        if current is not None:
            rests = self.model.lives[current.number].resting
            since = self.machine.disarm(current)
            self.model.require("a bounded family learns whether it lingers", (since is not None) == rests, since)

    def waits_until_it_has_stopped(self, actor: Actor) -> None:
        actor.door.woken = False
        self.machine.sleepers[actor.door] = None
        actor.frames = (QUIET,)
        self.settle(actor)

    def looks_whether_it_has_stopped(self, actor: Actor) -> None:
        actor.door.woken = False
        self.settle(actor)

    def waits_no_more(self, actor: Actor) -> None:
        self.machine.sleepers.pop(actor.door, None)
        self.pop(actor)

    # Time

    def passes(self, _actor: Actor) -> None:
        self.now += 1

    def goes_off(self, actor: Actor) -> None:
        alarm = min(self.alarms, key=lambda alarm: alarm.due)
        alarm.cancel()
        alarm.fired = True
        actor.frames = (Frame("expire", alarm.generation),)

    def looks_at_the_linger(self, actor: Actor) -> None:
        generation = self.top(actor)
        owed = self.machine.expire(generation, self.now, self.owner(actor, generation))
        if isinstance(owed, Generation):
            self.stop(actor, owed)
        elif owed is None:
            self.pop(actor)
        else:
            self.pop(actor, Frame("rearm", generation, int(owed)))

    def sets_the_alarm_again(self, actor: Actor) -> None:
        frame, generation = actor.frames[-1], self.top(actor)
        assert frame.moment is not None
        generation.alarm = alarm = self.set_alarm(generation, frame.moment)
        if generation.phase.value != "up":
            alarm.cancel()
        self.pop(actor)

    def recovers(self, actor: Actor) -> None:
        """Do what was left to the timer."""
        *rest, generation = self.lost
        self.lost = (*rest,)
        actor.frames = (Frame("resume", generation),)
        self.settle(actor)

    # What can happen

    def happen(self, event: Event) -> None:
        """Let it happen, and see that the model and the machine agree afterwards."""
        getattr(self, METHODS[event.name])(event.actor)
        machine, model = self.machine, self.model
        notes = machine.notes
        numbers = [*notes]
        told = [*notes.values()]
        if numbers:
            notes.clear()
            expected = [*range(machine.noted - len(numbers) + 1, machine.noted + 1)]
            model.require("notes are numbered without a gap", numbers == expected, numbers)
        self._hear(event, told)
        model.require("the usecount is the leases", machine.usecount == model.usecount, machine.usecount)
        model.require("the state is what can be seen", machine.state is model.state, (machine.state, model.state))
        current = machine.current
        model.require("newcomers get the current one", (current and current.number) == model.current, model.current)
        model.require("idle means that nothing is left", machine.idle == self._nothing_left(), machine.idle)
        model.require("who waits for the end waits for all that runs", machine.running == model.running, model.running)
        self._check_rest()
        for actor in self.everybody:
            if actor.frames or machine.working:
                known = machine.works(actor.token)
                model.require("who is inside a hook is known", known or not works(actor), actor)
                model.require("who is at nothing is inside no hook", actor.frames or not known, actor)

    def _hear(self, event: Event, told: list[int]) -> None:
        """Observers are told of these changes."""
        if event.name in ("forgets", "abandon"):
            self.model.require("what is forgotten is one note", told in ([], [self.model.told]), told)
        else:
            self.model.hears(told)

    def _nothing_left(self) -> bool:
        """Nothing lives, and nothing that was stopped is still held."""
        return not any(life.alive or (life.holders or life.phase == "stopped") for life in self.model.lives.values())

    def _check_rest(self) -> None:
        """What nobody keeps has a reason to be up: that it lingers, and not for too long."""
        model = self.model
        idle = not self.timer.frames and not any(alarm.due <= self.now for alarm in self.alarms)
        for life in model.lives.values():
            if life.resting:
                model.require("only what may linger does", model.may_linger(life), life)
                over = self.now >= life.kept + model.linger
                model.require("a linger ends when it is over", not (idle and over), life)

    def events(self, *, interventions: bool = True) -> Iterator[Event]:
        """Everything that can happen next."""
        for actor in self.consumers:
            for name in self._moves(actor):
                yield Event(name, actor)
        for actor in (self.outsider, self.timer):
            if actor.frames:
                for name in self._next(actor):
                    yield Event(name, actor)
        if not self.timer.frames:
            if self.lost:
                yield Event("recovers", self.timer)
            if any(alarm.due <= self.now for alarm in self.alarms):
                yield Event("goes off", self.timer)
        if interventions and not self.outsider.frames:
            for name in self._interventions():
                yield Event(name, self.outsider)
        if self._can_pass():
            yield Event("passes", self.timer)

    def _can_pass(self) -> bool:
        """Whether it makes a difference that time passes."""
        if not self.model.linger:
            return False
        if any(alarm.due > self.now for alarm in self.alarms):
            return True
        return any(frame.moment == self.now for actor in self.everybody for frame in actor.frames)

    def _moves(self, actor: Actor) -> Iterator[str]:
        if actor.frames:
            yield from self._next(actor)
        elif actor.door._generation is not None:
            yield "leaves"
            if self.model.linger:
                yield "looks at the clock"
        elif self.machine.closed:
            yield "asks"
        else:
            yield from COMING[0 if self.machine.hot is not None else 1 : 5 if self.machine.current is not None else 3]

    def _next(self, actor: Actor) -> Iterator[str]:
        frame, woken = actor.frames[-1], actor.door.woken
        if frame.kind == "asleep":
            if woken:
                yield "asks"
                if actor.door._promised is None:
                    yield "looks"
            else:
                yield from ("times out", "is interrupted")
        elif frame.kind == "quiet":
            yield "looks whether it has stopped" if woken else "waits no more"
        elif frame.kind == "return":
            yield "gives back"
            if frame.alarm is not None:
                yield "is interrupted with an alarm"
        elif frame.kind == "stop" and actor.frames[0].kind in ("ask", "try"):
            yield from (*MOVES["stop"], "is interrupted before it stops")
        elif frame.kind == "ask" and actor.door._promised is not None:
            yield from ("asks", "is interrupted")
        else:
            yield from MOVES[frame.kind]

    def _interventions(self) -> Iterator[str]:
        machine = self.machine
        if machine.current is not None:
            yield from ("invalidate", "looks to invalidate", "disarm")
            if machine.linger:
                yield from ("flush", "touch", "looks at the clock to touch")
        if machine.generations:
            yield from ("abandon", "expel")
        if machine.running:
            yield "waits until it has stopped"
        if not machine.forced:
            yield "close by force"
            if not machine.closed:
                yield "close"
        yield "observe no more" if machine.observed else "observe"


def works(actor: Actor) -> bool:
    """Whether somebody is inside a hook of what was not abandoned."""
    for frame in actor.frames:
        if frame.kind == "check":
            return True
        if frame.kind in ("start", "stop") and frame.generation is not None:
            return frame.generation.phase is not FORGOTTEN
    return False
