"""Openers around openers: each life is begun and ended in one thread of its own.

For what must be closed where it was opened. The thread runs in a copy of the first consumer's context, and does what it
is asked one after the other; who asks waits, and gets what the hook returns or raises as if it had run there. Between
start and stop the thread refers to nothing: what was started belongs to the generation, and goes with it.

An interrupt of a thread that waits is raised at once, and the hook runs on: a start that nobody waits for any more is
undone as soon as it is done, and the next one does not begin before that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread, get_ident
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import ref

from refcount._core.openers import OUR_CODE, begin, finish, own_threads
from refcount._core.parking import Errand
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
    """A thread that does one thing after the other, until it is told to end."""

    def __init__(self, name: Name) -> None:
        self.asked = False
        """Whether it was ever to do anything."""
        self.name = name
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.end: Callable[[], None] = partial(self._queue.put, None)
        """Lets the thread end when it has done all that; C code, so that no interrupt comes before."""

    def start(self) -> None:
        """Begin, in a copy of the caller's context."""
        context, queue = copy_context(), self._queue
        _NamedThread(self, lambda: context.run(_work, queue)).start()

    def run(self, function: Callable[[], R]) -> R:
        """Return what `function` returns in the thread, or raise what it raises there."""
        errand = Errand(function)
        self.asked = True
        try:
            self._queue.put(errand)
            return errand.wait()
        except BaseException:
            errand.caller = None
            raise
        finally:
            del errand  # it may refer to an error, and the error to this frame

    def submit(self, function: Callable[[], object]) -> None:
        """Run `function` in the thread, and do not wait for it; takes no lock, since finalizers call it."""
        self._queue.put(function)


def _work(queue: SimpleQueue[Callable[[], object] | None]) -> None:
    own_threads[get_ident()] = queue.put
    while (job := queue.get()) is not None:
        try:
            job()
        except BaseException as error:  # nobody waits for it
            report(error, "a thread of its own")
        del job
    del own_threads[get_ident()]


class LivesInThreads(Generic[T]):
    """Makes lives in threads of their own.

    Args:
        lives: Makes the lives that are begun and ended there.
        name: Names the threads.
        in_turn: Whether a start waits for what the thread before was interrupted in.
    """

    def __init__(self, lives: Callable[[], Life[T]], name: Name, *, in_turn: bool) -> None:
        self.name = name
        self._lives = lives
        self._in_turn = in_turn
        self.before: tuple[int, Errand[None]] | None = None
        """What a thread was left alone with, in which process."""

    def __call__(self) -> Life[T]:
        """Return a new life."""
        return _live(self)  # type: ignore[return-value]  # a generator function returns just that

    def fresh(self, before: tuple[int, Errand[None]] | None) -> Life[T]:
        """Return a new life, in the thread that is to begin it, when what was `before` is over."""
        if before is not None and before is self.before:
            self.before = None  # who comes later, since this was given up, does not wait
            if before[0] == registry.forks:
                before[1].finish()
        return self._lives()

    def leave(self, thread: OwnThread, task: _Task[T]) -> None:
        """Let `thread` go on alone, and others wait for it: the next start, and the end of the process."""
        last = Errand(task.undo)
        last.caller = None
        registry.unfinished[last] = None
        thread.submit(last)
        thread.submit(partial(registry.unfinished.pop, last, None))
        if self._in_turn:
            self.before = registry.forks, last


class _Task(Generic[T]):
    """One life, as its thread sees it."""

    life: Life[T] | None = None
    value: T

    def __init__(self, lives: LivesInThreads[T]) -> None:
        self._before = lives.before
        self._lives = lives

    def begin(self) -> None:
        """Start the resource."""
        self.life = life = self._lives.fresh(self._before)
        self.value = begin(life, self._lives.name)

    def end(self) -> None:
        """Stop it."""
        assert self.life is not None  # it was begun
        finish(self.life, self._lives.name)

    def undo(self) -> None:
        """Stop it if it is up, for nobody."""
        if self.life is not None and self.life.gi_suspended:
            try:
                self.end()
            except Exception as error:
                report(error, f"the stop of {text_of(self._lives.name)}")

    def close(self) -> None:
        """Drop what was started, as the garbage collector does."""
        if self.life is not None:
            self.life.close()


def _live(lives: LivesInThreads[T]) -> Generator[T, None, None]:
    thread = OwnThread(lives.name)
    task = _Task(lives)
    try:
        try:
            thread.start()
            thread.run(task.begin)
        except BaseException:  # it failed, or this thread was interrupted
            if thread.asked:
                lives.leave(thread, task)
            raise
        try:
            yield from (task.value,)
        except GeneratorExit:  # the garbage collector closes it, with all that it belongs to
            task.close()
            raise
        try:
            thread.run(task.end)
        except BaseException:
            lives.leave(thread, task)
            raise
    finally:
        thread.end()


OUR_CODE.add(_live.__code__)
