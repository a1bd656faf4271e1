"""Openers around openers: each life is begun and ended in one thread of its own.

For what must be closed where it was opened. The thread runs in a copy of the first consumer's context, and does what it
is asked one after the other; who asks waits, and gets what the hook returns or raises as if it had run there. Between
start and stop the thread refers to nothing: what was started belongs to the generation, and goes with it.

An interrupt of a thread that waits is raised at once, and the hook runs on: a start that nobody waits for any more is
undone as soon as it is done, and the next one does not begin before that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread, get_ident
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import ref

from refcount._core.openers import ASKS_FOR_RUNNER, OUR_CODE, begin, finish, runners
from refcount._core.parking import Alone, Errand
from refcount._core.registry import registry
from refcount._support.naming import Name, text_of
from refcount._support.reporting import report

if TYPE_CHECKING:
    from collections.abc import Generator

    from refcount._core.openers import Life

R = TypeVar("R")
T = TypeVar("T")


class _NamedThread(Thread):
    """A thread whose name is made when somebody asks for it; it does not keep what makes it."""

    def __init__(self, handle: OwnThread, target: Callable[[], None]) -> None:
        # A daemon: what is still held when the main thread is over is stopped after it has waited for the others.
        super().__init__(name="refcount", target=target, daemon=True)
        self._owned_by = ref(handle)
        self._called: str | None = None

    @property
    def name(self) -> str:
        handle = self._owned_by()
        return self._called or ("refcount" if handle is None else text_of(handle.name))

    @name.setter  # typeshed has a plain attribute where `threading` has a property
    def name(self, name: str) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._called = name


class OwnThread:
    """A thread that does one thing after the other, until it is told to end.

    Attributes:
        name: Names it, when somebody asks.
        number: Its number, once it has begun.
        asked: Whether it was ever to do anything.
        submit: Has it do something, and does not wait for it. C code, so that finalizers may call it, and no interrupt
            comes before it is done.
        end: Lets it end when it has done all that; the same.
    """

    def __init__(self, name: Name) -> None:
        self.name = name
        self.number = 0
        self.asked = False
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.submit: Callable[[Callable[[], object]], object] = self._queue.put
        self.end: Callable[[], object] = partial(self._queue.put, None)

    def start(self) -> None:
        """Begin, in a copy of the caller's context."""
        context, queue = copy_context(), self._queue
        thread = _NamedThread(self, lambda: context.run(_work, queue))
        thread.start()
        self.number = thread.ident or 0

    def run(self, function: Callable[[], R]) -> R:
        """Return what `function` returns in the thread, or raise what it raises there."""
        errand = Errand(function)
        self.asked = True
        try:
            self.submit(errand)
            return errand.wait()
        except BaseException:
            errand.caller = None
            raise
        finally:
            del errand  # it may refer to an error, and the error to this frame


def _work(queue: SimpleQueue[Callable[[], object] | None]) -> None:
    forks = registry.forks
    while (job := queue.get()) is not None:
        try:
            job()
        except BaseException as error:  # nobody waits for it
            report(error, "a thread of its own")
        del job
        if forks != registry.forks:
            return  # a hook has forked, and this is the child


class LivesInThreads(Generic[T]):
    """Makes lives in threads of their own.

    Args:
        lives: Makes the lives that are begun and ended there.
        name: Names the threads.
        in_turn: Whether a start waits for what a thread was left alone with.

    Attributes:
        left: What a thread of its own was left alone with, by the thread that was interrupted.
        before: The last one of these, and in which process that was.
    """

    def __init__(self, lives: Callable[[], Life[T]], name: Name, *, in_turn: bool) -> None:
        self.name = name
        self.lives = lives
        self.in_turn = in_turn
        self.left: dict[int, Alone] = {}
        self.before: tuple[int, Alone] | None = None

    def __call__(self) -> Life[T]:
        """Return a new life."""
        return _live(self)  # type: ignore[return-value]  # a generator function returns just that


class _Task(Generic[T]):
    """One life, as its thread sees it.

    Attributes:
        over: Whether its start has failed, or its stop has run.
        error: What it has failed with.
    """

    life: Life[T] | None = None
    value: T
    over = False
    error: BaseException | None = None

    def __init__(self, lives: LivesInThreads[T], thread: OwnThread) -> None:
        self._lives = lives
        self._submit = thread.submit
        self._before = lives.before

    def begin(self) -> None:
        """Start the resource."""
        try:
            before = self._before
            if before is not None and before[0] == registry.forks and not before[1].given_up:
                before[1].wait()
            self.life = life = self._lives.lives()
            if life.gi_code in ASKS_FOR_RUNNER:
                runners[get_ident()] = self._submit
            self.value = begin(life, self._lives.name)
        except BaseException as error:
            self.error = error
            self.over = True
            raise

    def end(self) -> None:
        """Stop it."""
        assert self.life is not None  # it was begun
        try:
            finish(self.life, self._lives.name)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.over = True

    def undo(self) -> None:
        """Stop it if it is up, for nobody, and report what it has failed with."""
        if self.life is not None and self.life.gi_suspended:
            with suppress(BaseException):  # which `end` takes note of
                self.end()
        if self.error is not None:
            report(self.error, f"what {text_of(self._lives.name)} was left alone with")
            self.error = None

    def close(self) -> None:
        """Drop what was started, as the garbage collector does."""
        if self.life is not None:
            self.life.close()


def _live(lives: LivesInThreads[T]) -> Generator[T, None, None]:
    by, thread = get_ident(), OwnThread(lives.name)
    task = _Task(lives, thread)
    alone, forks = Alone(task.undo), registry.forks
    try:
        try:
            thread.start()
            thread.run(task.begin)
        except BaseException:
            if thread.asked and not task.over:  # interrupted: it goes on alone. No call comes before that is noted
                alone.thread = thread.number
                lives.left[by] = alone
                lives.before = (forks, alone) if lives.in_turn else None
                thread.submit(alone)
            else:
                task.error = None  # it refers to the task's frame
            raise
        try:
            yield from (task.value,)
        except GeneratorExit:  # the garbage collector closes it, with all that it belongs to
            task.close()
            raise
        by = 0
        try:
            by = get_ident()  # often another thread than the one that has started it
            thread.run(task.end)
        except BaseException:
            if not task.over:  # the same
                alone.thread = thread.number
                lives.left[by] = alone
                lives.before = (forks, alone) if lives.in_turn else None
                thread.submit(alone)
            else:
                task.error = None
            raise
    finally:
        thread.end()


OUR_CODE.add(_live.__code__)
