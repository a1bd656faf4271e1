"""Small functions to be interrupted, between them with every instruction at which CPython may deliver a signal.

Each sets attributes of a `State`, so that what it has left behind when it is interrupted tells where that was, and
which of its handlers ran.
"""

import functools
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Self

LOCK = threading.Lock()
"""What some of them hold: whether they still do is part of what they leave behind."""


class State:
    """What a function has done so far: its attributes, which it sets without a call."""

    flag = True
    count = 0

    def __eq__(self, other: object) -> bool:
        self.compared = True
        return self is other

    __hash__ = object.__hash__

    @property
    def twice(self) -> int:
        """Give twice the count."""
        self.asked = True
        return self.count * 2


Sample = Callable[[State], object]


def arithmetic(s: Any) -> object:
    """Call nothing."""
    a = s.count + 1
    s.a = a
    b = a * 3 if s.flag else a - 1
    s.b = b
    return b


def locked(s: Any) -> None:
    """Hold a lock, twice."""
    s.before = True
    with LOCK:
        s.inside = True
        if s.flag:
            s.count = s.count + 1
        s.done = True
    s.after = True
    with LOCK:
        s.again = True


def returns_from_lock(s: Any) -> object:
    """Return while holding a lock."""
    with LOCK:
        s.inside = True
        return s.count


def returns_from_try(s: Any) -> object:
    """Return what a call gives, from a `try`: the instruction after the call is outside."""
    try:
        s.inside = True
        return s.count.bit_length()
    finally:
        s.cleaned = True


def caught(s: Any) -> None:
    """Catch what comes, and raise it again."""
    try:
        s.value = int("5")
    except BaseException:
        s.caught = True
        raise
    finally:
        s.cleaned = True
    try:
        [].pop()
    except IndexError:
        s.failed = True
    s.after = True


def c_calls(s: Any) -> None:
    """Call functions of C, some of which call Python again."""
    values = [3, 1, 2]
    s.sorted = len(sorted(values, key=lambda value: -value))
    s.greatest = max(values, key=negative)
    s.partial = functools.partial(negative, 3)()
    s.joined = "{}-{}".format(*values)
    s.keyed = dict(a=1, b=2)["a"]  # noqa: C408 # a call with keywords is the point


def negative(value: int) -> int:
    """Return it with the other sign."""
    return -value


def python_calls(s: Any) -> None:
    """Call Python functions, in each way."""
    helper(s, 1)
    s.first = True
    helper(s, number=2)
    helper(*(s, 3))
    s.last = helper(s, **{"number": 4})  # noqa: PIE804 # another instruction than the one for `number=4`


def helper(s: Any, number: int) -> int:
    """Be called."""
    s.helper = number
    return number


def for_loop(s: Any) -> None:
    """Go over numbers, in a `try`."""
    try:
        for number in range(3):
            if number == 1:
                continue
            s.number = number
        s.over = True
    finally:
        s.cleaned = True


def while_loops(s: Any) -> None:
    """Go on until a condition holds, of each kind."""
    try:
        while s.count < 3:
            s.count += 1
    finally:
        s.cleaned = True
    with LOCK:
        while True:
            s.count += 1
            if s.count > 5:
                break
    while s.count is not None:
        try:
            s.count = None if s.count > 7 else s.count + 1
        except BaseException:
            s.caught = True
            raise


def loops_in_lock(s: Any) -> None:
    """Hold a lock over a loop and nothing after it."""
    with LOCK:
        while s.count < 3:
            s.count += 1
    with LOCK:
        for number in (1, 2):
            s.number = number


def loop_begins_block(s: Any) -> None:
    """Begin a `try` with a loop that has no condition."""
    try:
        while True:
            s.count += 1
            if s.count > 3:
                break
        s.over = True
    finally:
        s.cleaned = True


def loop_recovers(s: Any) -> None:
    """Go on after an error: to CPython 3.12 the jump at the end of the handler is inside of the `try`."""
    while s.count < 3:
        try:
            [].pop()
        except KeyboardInterrupt:
            s.caught = True
            raise
        except IndexError:
            s.count += 1


def generators(s: Any) -> None:
    """Let generators go on, by a loop and by hand."""
    for number in numbers(s):
        s.got = number
    running = numbers(s)
    s.first = next(running)
    s.second = running.send(None)
    running.close()
    s.closed = True


def numbers(s: Any) -> Generator[int]:
    """Yield twice."""
    try:
        s.begun = True
        yield 1
        s.between = True
        yield 2
        s.ended = True
    finally:
        s.left = True


def delegates(s: Any) -> None:
    """Let a generator go on that delegates to another one."""
    whole = outer(s)
    s.first = next(whole)
    s.second = next(whole)
    with SuppressEnd(s):
        next(whole)


def outer(s: Any) -> Generator[int, None, int]:
    """Delegate."""
    try:
        result = yield from inner(s)
        s.result = result
    finally:
        s.left = True
    return result


def inner(s: Any) -> Generator[int, None, int]:
    """Yield twice and return."""
    s.begun = True
    yield 1
    s.between = True
    yield 2
    return 3


class SuppressEnd:
    """Suppresses the end of a generator; like `contextlib.suppress`, but in code that can be interrupted."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __enter__(self) -> Self:
        self.state.entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.state.exited = True
        return isinstance(error, StopIteration)


def managers(s: Any) -> None:
    """Enter a context manager in Python, and in it a lock."""
    with SuppressEnd(s) as manager:
        s.manager = manager.state is s
        with LOCK:
            s.locked = True
    s.after = True


def attributes(s: Any) -> None:
    """Reach Python code by operators, attributes and comprehensions."""
    s.count = 2
    s.double = s.twice
    s.same = s == s
    s.listed = [value + 1 for value in (1, 2)]
    s.summed = sum(value for value in (1, 2))


def texts(s: Any) -> None:
    """Format."""
    s.plain = f"{s.count}-{s.count:>3}"
    s.shown = f"{s.count!r}"
    s.old = "%s %r" % (s.count, s.flag)  # noqa: UP031 # it is formatted by another instruction


class Awaited:
    """Yields once when awaited."""

    def __await__(self) -> Generator[int]:
        yield 1


def coroutines(s: Any) -> None:
    """Let coroutines go on."""
    running = outer_task(s)
    s.first = running.send(None)
    try:
        running.send(None)
    except StopIteration:
        s.over = True


async def outer_task(s: Any) -> None:
    """Await."""
    try:
        s.got = await inner_task(s)
    finally:
        s.left = True


async def inner_task(s: Any) -> int:
    """Await what yields."""
    s.begun = True
    await Awaited()
    s.ended = True
    return 5


SAMPLES: list[Sample] = [
    arithmetic,
    locked,
    returns_from_lock,
    returns_from_try,
    caught,
    c_calls,
    python_calls,
    for_loop,
    while_loops,
    loops_in_lock,
    loop_begins_block,
    loop_recovers,
    generators,
    delegates,
    managers,
    attributes,
    texts,
    coroutines,
]
