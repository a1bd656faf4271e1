"""`Observers`: those who are told of every change of a usecount, outside every lock and in order."""

import inspect
from collections import deque
from collections.abc import Callable, Generator
from threading import get_ident

from refcount._support.reporting import report

Observer = Callable[[int], object]


class Observers:
    """The observers of one resource and the changes that they are still to be told of.

    Changes are noted under the resource's lock, which gives their order. One thread at a time tells them, for all
    threads; whoever comes meanwhile leaves its changes to that one, so that an observer which uses the resource does
    not call itself. Who tells is a generator, whose state the interpreter keeps: one that was interrupted does not run
    any more, and the next thread goes on where it was. What is taken out to be told is told in the same line, so that
    no interrupt in our own code can lose a change or tell it twice.

    Args:
        name: Names the resource in reports.
    """

    def __init__(self, name: str) -> None:
        self.noted: deque[int] = deque()
        """The usecounts not told yet; whoever notes one appends it, under the resource's lock."""
        self._name = name
        self._since: dict[Observer, int] = {}
        self._told = 0
        self._calls: deque[tuple[Observer, int]] = deque()
        self._round: tuple[int, Generator[None, None, None]] | None = None

    def __bool__(self) -> bool:
        return bool(self._since)

    @property
    def owed(self) -> bool:
        """Whether something is still to be told."""
        return bool(self.noted or self._calls)

    def add(self, observer: Observer) -> None:
        """Tell `observer` of what is noted from now on; under the resource's lock."""
        self._since[observer] = self._told + len(self.noted)

    def remove(self, observer: Observer) -> None:
        """Tell `observer` of nothing any more; under the resource's lock, harmless when repeated."""
        self._since.pop(observer, None)

    def begin_round(self) -> Generator[None, None, None] | None:
        """Return what tells all that has been noted, unless somebody is at it; under the resource's lock."""
        if not self.owed:
            return None
        if self._round is not None:
            by, running = self._round
            state = inspect.getgeneratorstate(running)
            if state == inspect.GEN_RUNNING or (state == inspect.GEN_CREATED and by != get_ident()):
                return None
        self._round = get_ident(), self._tell()
        return self._round[1]

    def renew(self) -> None:
        """Begin anew in a forked child: what the parent has noted is the parent's."""
        self.noted.clear()
        self._calls.clear()
        self._round = None

    def _tell(self) -> Generator[None, None, None]:
        while self._calls or self.noted:
            if not self._calls:
                usecount, told = self.noted[0], self._told + 1
                calls = deque((observer, usecount) for observer, since in self._since.copy().items() if since < told)
                del self.noted[0]; self._calls, self._told = calls, told  # fmt: skip # noqa: E702
            else:
                observer, usecount = self._calls[0]
                tell = observer if observer in self._since else _nobody
                try:
                    del self._calls[0]; tell(usecount)  # fmt: skip # noqa: E702
                except Exception as error:
                    report(error, f"an observer of {self._name}")
        yield


def _nobody(usecount: int) -> None:
    """Stands for an observer that is one no longer."""
