"""`World`: everything that can happen to a machine, one step at a time, done as `threads` and `lease` do it.

Each event is one step of the machine, with what follows from it and cannot be seen between. What the drivers look at
without the machine's lock may be looked at in one event and acted on in another. What an actor is at stands in its
frames, the innermost last:

    ask, try            is about to ask the machine, or to join what runs
    look                has looked at the current generation and chosen a step
    hot                 has read the hot generation, and is about to enter by its count
    asleep              waits until it is woken
    start, check, stop  runs a hook
    clock               has looked at the clock, and is about to leave
    return              is about to give its claim back, perhaps with an alarm
    resume              was interrupted, and looks for a stop that it owes
    retract, withdraw   was interrupted, and will clear up; withdraw: after a start
    tell                is to wake those who sleep; happens together with what came before
    touch, condemn, claim, forget, expel, quiet
                        intervenes
    expire, rearm       is the timer
"""
# pyright: reportPrivateUsage=false
# What a hold claims is private to users; here it is what is tested.

from __future__ import annotations

from typing import NamedTuple, cast

from refcount._core.generation import (
    AGAIN,
    CHECK,
    CLOSED,
    FAILURE,
    HELD,
    LINGER,
    START,
    STARTING,
    STOPPING,
    UP,
    WAIT,
    Generation,
    Hold,
    Next,
)
from refcount._core.machine import Machine
from tests.helpers.scene import Actor, Alarm, Frame, Gen, Scene

Answer = Next | Generation[int]

ASK, TRY, ASLEEP, TELL, RETRACT, WITHDRAW, QUIET = (
    Frame(kind) for kind in ("ask", "try", "asleep", "tell", "retract", "withdraw", "quiet")
)

LIFE = cast("Gen", object())


class Failed(Exception):
    """What a start raises."""


class Event(NamedTuple):
    """Something that can happen next.

    Attributes:
        name: What; the method of `World` with that name, and underscores for the spaces, makes it happen.
        actor: Who does it.
    """

    name: str
    actor: Actor

    def __str__(self) -> str:
        return f"{self.actor!r} {self.name}"


class Glance:
    """Stands in for a machine, so that `ask` says which step it would take, and does not take it."""

    def __init__(self, machine: Machine[int]) -> None:
        self.current = machine.current

    def _begin(self, _hold: Hold[int], _by: object) -> Frame:
        return Frame("look", None, step="_begin")

    def _promise(self, _hold: Hold[int], current: Gen, _by: object) -> Frame:
        return Frame("look", current, step="_promise")

    def join(self, _hold: Hold[int], current: Gen, _by: object) -> Frame:
        return Frame("look", current, step="join")

    def _await_stop(self, _hold: Hold[int], current: Gen, _by: object) -> Frame:
        return Frame("look", current, step="_await_stop")


class Driver(Scene):
    """What follows after a step, as the driver for threads has it."""

    def admit(self, actor: Actor, step: Answer) -> None:
        """Follow what the machine says to a consumer who comes."""
        door, token, model = actor.door, actor.token, self.model
        promised = door._promised
        again = (TRY if actor.trying else ASK,)
        if isinstance(step, Generation):
            model.stops(step.number, self.now)
            actor.frames = (*again, Frame("stop", step))
        elif step is HELD:
            actor.frames = ()
            model.got(token, self._held(door).value)
        elif step is START and promised is not None:
            model.begins(token, promised.number)
            actor.frames = (Frame("start", promised),)
        elif step is CHECK and promised is not None:
            model.checks(token, promised.number)
            actor.frames = (Frame("check", promised),)
        elif step is WAIT:
            model.waits(token)
            actor.frames = again if door.woken is None else (ASLEEP,)
            door.woken = False
        elif step is AGAIN:
            model.looks_again(token, left_behind=self.machine.current is None)
            actor.frames = again
        else:
            if step is CLOSED:
                model.refused(token)
            elif step is FAILURE and promised is not None:
                model.raised(token, promised.error)
            self.retract(actor)

    def retract(self, actor: Actor, *, gave_up: bool = False) -> None:
        """Leave nothing of an entry or a release that was cut short; others look if it gave up a start."""
        door = actor.door
        generation = door._promised or door._generation
        if generation is None:
            self.machine.sleepers.pop(door, None)
            actor.frames = ()
        else:
            tell = (TELL,) if gave_up else ()
            actor.frames = (*tell, Frame("return", generation))
        self.settle(actor)

    def settle(self, actor: Actor) -> None:
        """Go on to the next thing that can be seen."""
        while actor.frames:
            frame, generation = actor.frames[-1], actor.frames[-1].generation
            if frame.kind == "tell":
                self.tell()
            elif frame in (RETRACT, WITHDRAW):
                self.retract(actor, gave_up=frame is WITHDRAW)
                return
            elif frame.kind == "quiet" and not self.machine.running:
                self.machine.sleepers.pop(actor.door, None)
            elif frame.kind == "resume" and generation is not None and not self._abandoned(generation):
                self.tell()
            else:
                return
            actor.frames = actor.frames[:-1]
        if actor.door._generation is None:
            actor.door.woken, actor.trying = None, False

    def tell(self) -> None:
        """Wake all who sleep."""
        for hold in self.machine.sleepers:
            hold._wake()

    def pop(self, actor: Actor, *frames: Frame) -> None:
        """The innermost thing is done, and these come instead."""
        actor.frames = (*actor.frames[:-1], *frames)
        self.settle(actor)

    def owner(self, actor: Actor, _generation: Gen | None) -> int:
        """Who is to run the stop that somebody makes necessary: a thread does that itself."""
        return actor.token

    def stop(self, actor: Actor, owed: Gen | None, *, flushed: bool = False) -> None:
        """Run the stop that is owed, instead of the innermost frame, or only tell."""
        if owed is None:
            self.pop(actor, TELL)
        else:
            self.model.stops(owed.number, self.now, flushed=flushed)
            self.pop(actor, Frame("stop", owed))

    def set_alarm(self, generation: Gen, due: int) -> Alarm:
        return Alarm(self.alarms, generation, due)

    def cancel_alarm(self, generation: Gen) -> None:
        if generation.alarm is not None:
            generation.alarm.cancel()

    def _abandoned(self, generation: Gen) -> bool:
        """Whether its stop is to be had by anybody."""
        return generation.phase is STOPPING and generation not in self.machine.working

    def _held(self, door: Hold[int]) -> Gen:
        assert door._generation is not None
        return door._generation

    def top(self, actor: Actor) -> Gen:
        """Whose business the innermost frame is."""
        generation = actor.frames[-1].generation
        assert generation is not None
        return generation


class Consuming(Driver):
    """What consumers do."""

    def asks(self, actor: Actor) -> None:
        actor.door.woken = actor.door.woken and False
        self.admit(actor, self.machine.ask(actor.door, actor.token))

    def looks(self, actor: Actor) -> None:
        actor.door.woken = actor.door.woken and False
        frame: object = Machine[int].ask(cast("Machine[int]", Glance(self.machine)), actor.door, actor.token)
        actor.frames = (cast("Frame", frame),)

    def acts(self, actor: Actor) -> None:
        frame = actor.frames[-1]
        arguments = [actor.door, *([] if frame.generation is None else [frame.generation]), actor.token]
        self.admit(actor, getattr(self.machine, frame.step)(*arguments))

    def reads_hot(self, actor: Actor) -> None:
        actor.frames = (Frame("hot", self.machine.hot),)

    def enters_by_the_count(self, actor: Actor) -> None:
        machine, generation = self.machine, self.top(actor)
        with machine.lock:
            if generation is machine.hot:
                generation.count += 1
                actor.door._generation = generation
        actor.frames = (ASK,)
        if actor.door._generation is not None:
            self.admit(actor, HELD)

    def enters(self, actor: Actor) -> None:
        self.reads_hot(actor)
        self.enters_by_the_count(actor)

    def tries(self, actor: Actor) -> None:
        self.looks_whether_it_runs(actor)
        if actor.frames:
            self.acts(actor)

    def looks_whether_it_runs(self, actor: Actor) -> None:
        actor.trying = True
        current = self.machine.current
        if self.machine.closed:
            self.retract(actor)
        elif current is None or current.phase is not UP or current.condemned:
            self.model.nothing_runs(actor.token)
            self.retract(actor)
        else:
            actor.frames = (Frame("look", current, step="join"),)

    def times_out(self, actor: Actor) -> None:
        step = self.machine.ask(actor.door, actor.token)
        if step is WAIT:
            self.retract(actor)
        else:
            self.admit(actor, step)

    # Hooks

    def has_started(self, actor: Actor) -> None:
        generation = self._comes_up(actor)
        step = self.machine.started(actor.door, actor.token)
        self._came_up(actor, generation)
        self.tell()
        self.admit(actor, step)

    def has_started_and_is_interrupted(self, actor: Actor) -> None:
        generation = self._comes_up(actor)
        if generation.phase is not STARTING:  # it was forgotten
            self.retract(actor)
            return
        step = self.machine.started(actor.door, actor.token)
        self._came_up(actor, generation)
        self.admit(actor, step)
        actor.frames = (WITHDRAW, *actor.frames[1:])
        self.settle(actor)

    def _comes_up(self, actor: Actor) -> Gen:
        generation = self.top(actor)
        generation.life = LIFE  # type: ignore[assignment]  # something that is not None
        generation.value = generation.number
        return generation

    def _came_up(self, actor: Actor, generation: Gen) -> None:
        self.model.started(generation.number)
        if actor.door._generation is None:
            self.model.gave_up(actor.token, self.now)

    def fails_to_start(self, actor: Actor) -> None:
        generation, error = self.top(actor), Failed()
        self.model.failed(actor.token, generation.number, error)
        self.machine.failed(generation, error, None, actor.door)
        self.tell()
        self.retract(actor)

    def is_interrupted(self, actor: Actor) -> None:
        """Ctrl-C comes while it runs a start or a check, sleeps, or is about to ask."""
        frame, generation = actor.frames[-1], actor.frames[-1].generation
        starter = frame.kind == "start" and generation is not None and generation.phase is STARTING
        if starter:
            self.machine.disown(self.top(actor), actor.token)
            self.model.interrupted(self.top(actor).number)
        self.retract(actor, gave_up=starter)

    def finds_it_good(self, actor: Actor) -> None:
        generation = self.top(actor)
        if self.machine.accept(actor.door) is HELD:
            self.admit(actor, HELD)
        else:
            self._refuses(actor, generation)

    def finds_it_bad(self, actor: Actor) -> None:
        generation = self.top(actor)
        owed = self.machine.condemn(generation, actor.token)
        self.model.condemned(generation.number)
        self.cancel_alarm(generation)
        self._refuses(actor, generation)
        self.tell()
        if owed is not None:
            self.model.stops(owed.number, self.now)
            self.pop(actor, actor.frames[-1], Frame("stop", owed))

    def _refuses(self, actor: Actor, generation: Gen) -> None:
        actor.frames = (*(() if actor.trying else (ASK,)), Frame("return", generation))

    # Leaving

    def leaves(self, actor: Actor) -> None:
        """By the count if others stay, else as the machine says."""
        machine, door, generation = self.machine, actor.door, self._held(actor.door)
        moment = self.now if not actor.frames or actor.frames[-1].moment is None else actor.frames[-1].moment
        with machine.lock:
            if generation.quick and generation.count > 1:
                generation.count -= 1
                if moment > generation.left:
                    generation.left = moment
                door._generation = None
        actor.frames = (Frame("return", generation, moment),)
        if door._generation is None:
            self.model.left(actor.token, generation.number, moment, self.now)
            self.pop(actor)
        else:
            self.gives_back(actor)

    def looks_at_the_clock(self, actor: Actor) -> None:
        actor.frames = (*actor.frames, Frame("clock", None, self.now))

    def gives_back(self, actor: Actor) -> None:
        frame, door, token = actor.frames[-1], actor.door, actor.token
        generation, held = self.top(actor), door._generation is not None
        moment = self.now if frame.moment is None else frame.moment
        step = self.machine.give_back(door, token, moment, frame.alarm)
        if step is LINGER:
            alarm = self.set_alarm(generation, self.now + self.model.linger)
            actor.frames = (*actor.frames[:-1], Frame("return", generation, self.now, alarm))
            return
        if frame.alarm is not None and generation.alarm is not frame.alarm:
            frame.alarm.cancel()
        if held:
            self.model.left(token, generation.number, moment, self.now)
        else:
            self.model.gave_up(token, self.now)
        if isinstance(step, Generation):
            self.stop(actor, step)
        else:
            self.pop(actor)

    def is_interrupted_with_an_alarm(self, actor: Actor) -> None:
        """The alarm stays, and it gives back once more."""
        self.retract(actor)

    # Stops

    def has_stopped(self, actor: Actor) -> None:
        generation = self.top(actor)
        self.machine.stopped(generation)
        self.model.stopped(generation.number)
        self.cancel_alarm(generation)
        self.pop(actor, TELL)

    def is_interrupted_in_a_stop(self, actor: Actor) -> None:
        """It gives up its claim, and then looks whether somebody else has taken it."""
        generation = self._gives_up(actor)
        actor.frames = (*self._clears_up(actor), Frame("resume", generation))
        self.settle(actor)

    def is_interrupted_before_it_stops(self, actor: Actor) -> None:
        """It has claimed a stop and nothing else, and has not begun: it looks for what it claims."""
        self.machine.sleepers.pop(actor.door, None)
        claimed = [job for job, by in self.machine.working.items() if by == actor.token]
        actor.frames = tuple([Frame("stop", job) for job in claimed if isinstance(job, Generation)])

    def is_interrupted_twice_in_a_stop(self, actor: Actor) -> None:
        """It leaves it to the timer."""
        self.lost += (self._gives_up(actor),)
        actor.frames = self._clears_up(actor)
        self.settle(actor)

    def _gives_up(self, actor: Actor) -> Gen:
        generation = self.top(actor)
        self.machine.disown(generation, actor.token)
        self.model.interrupted(generation.number)
        return generation

    def _clears_up(self, actor: Actor) -> tuple[Frame, ...]:
        return (RETRACT,) if actor in self.consumers else ()

    def resumes(self, actor: Actor) -> None:
        generation = self.top(actor)
        claimed = self.machine.claim(generation, actor.token)
        self.stop(actor, generation if claimed else None)
