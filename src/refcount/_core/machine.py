"""`Machine`: the life of one shared resource: how consumers leave it, how it lingers, and what comes from outside.

`consumers` says what a step is.
"""
# pyright: reportPrivateUsage=false
# What a hold claims is written here and in `consumers` alone; it is private because users have leases in their hands.

from __future__ import annotations

from typing import TypeVar

from refcount._core.consumers import UNOBSERVED, ConsumerSteps
from refcount._core.generation import (
    FORGOTTEN,
    GONE,
    LEFT,
    LINGER,
    STARTING,
    STOPPED,
    STOPPING,
    UP,
    Alarm,
    Generation,
    Hold,
    Next,
)

T = TypeVar("T")


class Machine(ConsumerSteps[T]):
    """The states and steps of one resource: those of consumers, of the linger, and of those who intervene."""

    __slots__ = ()

    # A start by somebody who waits for nothing himself

    def launched(self, generation: Generation[T]) -> bool:
        """The start of `generation` is done; say whether who has done it is to stop it at once.

        He has no claim on it: those who wait look for themselves, and if all of them have left, nobody wants it.
        """
        with self.lock:
            if generation.given_up and generation.phase is not FORGOTTEN:
                self.running += 1
                generation.given_up = False
            if generation.phase is STARTING and self.forced:
                generation.phase = STOPPING
            if generation.phase is STOPPING:
                return True
            if generation in self.working:
                del self.working[generation]
            if generation.phase is STARTING:
                generation.phase = UP
                if generation is self.current:
                    generation.quick = not self.observed
            current = self.current
            if current is not None and current.quick and not (self.checked or self.closed or self.working):
                self.hot = current
            return False

    # A consumer goes

    def give_back(self, hold: Hold[T], by: object, now: float, alarm: Alarm | None) -> Next | Generation[T]:
        """Take back what `hold` claims, a lease or a promise; `LINGER` asks to do it again with an alarm.

        Args:
            hold: What claims it.
            by: Who is to stop a generation that nobody keeps any more.
            now: The time on the clock that lingers are measured on.
            alarm: Gets the hold on a generation that begins to linger; one that has fired says that none may linger,
                or that the linger was over before it could begin, unless others have come and left meanwhile.
        """
        with self.lock:
            if hold in self.sleepers:
                del self.sleepers[hold]
            generation = hold._promised if hold._generation is None else hold._generation
            if generation is None:
                return GONE
            unwanted = generation.condemned or self.closed or generation is not self.current
            lingers = generation.count == 1 and self.linger > 0 and generation.phase is UP and not unwanted
            if lingers and (alarm is None or (alarm.fired and generation.left > now)):
                return LINGER
            if hold._generation is None:
                hold._promised = None
                generation.checks -= hold in self.working
                generation.waiters -= hold not in self.working
                if hold in self.working:
                    del self.working[hold]
            else:
                hold._generation = None
                if generation.phase is FORGOTTEN:
                    return GONE
                if now > generation.left:
                    generation.left = now
                self._elsewhere -= generation is not self.current
                if self.observed:
                    self._seen -= 1
                    self.noted += 1
                    self.notes[self.noted] = self._seen
            if lingers and alarm is not None and not alarm.fired:
                generation.lingers, generation.alarm = 1, alarm
                return LEFT
            generation.count -= 1
            if not generation.count and (generation.phase is UP or generation.phase is STARTING):
                generation.phase = STOPPING
                generation.quick = False
                self.working[generation] = by
                self.hot = None
                return generation
            if not generation.count and generation.phase is STOPPED and generation in self.detached:
                del self.detached[generation]
            return LEFT

    def disown(self, generation: Generation[T], by: object) -> None:
        """Give up the start or stop that `by` was to run: whoever comes next may take it."""
        if generation in self.working and self.working[generation] == by:
            del self.working[generation]

    def pass_on(self, generation: Generation[T], by: object, to: object) -> bool:
        """Let `to` have the claim of `by`, if that has it; say whether it had."""
        with self.lock:
            if generation not in self.working or self.working[generation] != by:
                return False
            self.working[generation] = to
            return True

    def claim(self, generation: Generation[T], by: object) -> bool:
        """Take over the stop of `generation` if somebody has given it up; say whether it is to be run."""
        with self.lock:
            if generation.phase is not STOPPING or generation in self.working:
                return False
            self.working[generation] = by
            self.hot = None  # it may be an older one than the current
            return True

    # Lingers

    def expire(self, generation: Generation[T], now: float, by: object) -> float | Generation[T] | None:
        """An alarm is due: return when to look again, or the generation if it is to be stopped now.

        If somebody holds it, the alarm gives up its own hold, and who leaves last will set another one.
        """
        with self.lock:
            if not generation.lingers:
                return None
            if generation.count == 1:
                due = generation.left + self.linger
                if now < due:
                    return due
                generation.count = 0
                generation.phase = STOPPING
                generation.quick = False
                self.working[generation] = by
                self.hot = None
            else:
                generation.count -= 1
            generation.lingers = 0
            generation.alarm = None
            return None if generation.count else generation

    def disarm(self, generation: Generation[T]) -> float | None:
        """Return since when `generation` lingers; or take the alarm's hold, so that who leaves last sets another."""
        with self.lock:
            if not generation.lingers:
                return None
            if generation.count == 1:
                return generation.left
            generation.count -= 1
            generation.lingers = 0
            return None

    def touch(self, now: float) -> bool:
        """Let the linger begin anew, and say whether there is one."""
        with self.lock:
            current = self.current
            if current is None or not current.lingers or current.count > 1:
                return False
            if now > current.left:
                current.left = now
            return True

    def flush(self, by: object) -> Generation[T] | None:
        """Return the current generation, to be stopped now, if it lingers."""
        with self.lock:
            current = self.current
            if current is None or not current.lingers or current.count > 1:
                return None
            current.count = current.lingers = 0
            current.phase = STOPPING
            current.quick = False
            self.working[current] = by
            self.hot = None
            return current

    # What comes from outside

    def condemn(self, generation: Generation[T], by: object) -> Generation[T] | None:
        """Let no newcomer have `generation`; return it if it is to be stopped now.

        Its leases and those who wait for its start keep it. If there are none, newcomers wait until it has stopped.
        """
        with self.lock:
            if generation is not self.current or generation.phase is STOPPING:
                return None
            generation.condemned = True
            generation.quick = False
            self.hot = None
            if generation.phase is STARTING:
                generation.given_up = True
                self.running -= 1
            if generation.lingers:
                generation.lingers = 0
                generation.count -= 1
            if not generation.count:
                generation.phase = STOPPING
                self.working[generation] = by
                return generation
            if generation.count > generation.checks:
                self.current = None
                self.detached[generation] = None
                self._elsewhere += generation.count - generation.waiters - generation.checks
            return None

    def forget(self, generation: Generation[T]) -> bool:
        """Take `generation` for gone, and all claims on it for void, whatever becomes of it; say if it was here."""
        with self.lock:
            leases = generation.count - generation.waiters - generation.checks - generation.lingers
            if generation is self.current:
                self.current = None
                self.hot = None
            elif generation in self.detached:
                del self.detached[generation]
                self._elsewhere -= leases
            else:
                return False
            if generation in self.working:
                del self.working[generation]
            if generation.phase is not STOPPED and not generation.given_up:
                self.running -= 1
            generation.phase = FORGOTTEN
            generation.quick = False
            generation.lingers = 0
            current = self.current
            if current is not None and current.quick and not (self.checked or self.closed or self.working):
                self.hot = current
            if self.observed and leases:
                self._seen -= leases
                self.noted += 1
                self.notes[self.noted] = self._seen
            return True

    def close(self, by: object, *, force: bool) -> Generation[T] | None:
        """Refuse newcomers for good, with `force` also those who wait; return what lingered, to be stopped now."""
        with self.lock:
            self.closed = True
            self.forced = self.forced or force
            self.hot = None
            current = self.current
            if current is None or not current.lingers:
                return None
            current.lingers = 0
            current.count -= 1
            if current.count:
                return None
            current.phase = STOPPING
            current.quick = False
            self.working[current] = by
            return current

    def expel(self, generation: Generation[T], by: object) -> bool:
        """Say whether `generation` is to be stopped now, by `by`, under whoever holds it."""
        with self.lock:
            if generation.phase is not UP:
                return False
            generation.count -= generation.lingers
            generation.lingers = 0
            generation.phase = STOPPING
            generation.quick = False
            self.working[generation] = by
            self.hot = None
            return True

    def observe(self, observed: bool) -> None:
        """Note every change of the usecount from now on, or none any more. While observed, no path is hot."""
        notes: dict[int, int] = {}
        with self.lock:
            if self.notes is UNOBSERVED:
                self.notes = notes
            current = self.current
            self.hot = None
            if observed and not self.observed:
                self._seen = self._elsewhere
                if current is not None:
                    self._seen += current.count - current.waiters - current.checks - current.lingers
            self.observed = observed
            if current is not None and current.phase is UP and not current.condemned:
                current.quick = not observed
                if not (observed or self.checked or self.closed or self.working):
                    self.hot = current
