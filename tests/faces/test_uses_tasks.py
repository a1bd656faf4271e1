"""`uses` on coroutine functions and asynchronous generator functions: resources for tasks, and for threads."""

import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

import anyio
import pytest

from refcount import (
    AsyncSharedResource,
    SharedResource,
    State,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
    uses,
)
from tests.helpers.loops import Job, Run, checkpoint, error_of, run, until
from tests.helpers.programs import run_program

__all__ = ["run"]

untyped = cast("Callable[..., Callable[..., Any]]", uses)
"""For what the type checkers refuse and the run time has to refuse as well."""


def messages(group: Any) -> list[str]:
    """Return what the errors of a group say."""
    return [str(error) for error in group.exceptions]


class Log:
    """What started and stopped, in order, and resources of both kinds that write it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.threads: set[int] = set()

    def for_tasks(self, name: str, *, fails: str = "") -> AsyncSharedResource[str]:
        """Return a resource for tasks whose value is its name, and whose start or stop may fail."""

        @asynccontextmanager
        async def opened() -> AsyncGenerator[str]:
            await checkpoint()
            self._start(name, fails)
            yield name
            await checkpoint()
            self._stop(name, fails)

        return AsyncSharedResource(opened, name=name)

    def for_threads(self, name: str, *, fails: str = "") -> SharedResource[str]:
        """Return the same for threads."""

        @contextmanager
        def opened() -> Generator[str]:
            self.threads.add(threading.get_ident())
            self._start(name, fails)
            yield name
            self.threads.add(threading.get_ident())
            self._stop(name, fails)

        return SharedResource(opened, name=name)

    def balanced(self) -> bool:
        """Say whether as many have stopped as have started."""
        return sum(it.startswith("start") for it in self.lines) == sum(it.startswith("stop") for it in self.lines)

    def _start(self, name: str, fails: str) -> None:
        if fails == "start":
            raise OSError(f"{name} does not start")
        self.lines.append(f"start {name}")

    def _stop(self, name: str, fails: str) -> None:
        self.lines.append(f"stop {name}")
        if fails == "stop":
            raise OSError(f"{name} does not stop")


class TestCoroutines:
    """A coroutine holds its leases from its first await to its end."""

    def test_values_come_first_and_leases_go_in_reverse_order(self, run: Run) -> None:
        """Of both kinds, mixed, and of what gives a lease when it is called."""
        log = Log()
        a, b, c = log.for_tasks("a"), log.for_threads("b"), log.for_tasks("c")

        @uses(a, b, lambda: c())
        async def coroutine(first: str, second: str, third: str, x: int, *, flag: bool = False) -> object:
            await checkpoint()
            return first, second, third, x, flag, a.usecount, b.usecount, c.usecount

        async def body() -> None:
            assert inspect.iscoroutinefunction(coroutine)
            assert list(inspect.signature(coroutine).parameters) == ["x", "flag"]
            never = coroutine(0)
            never.close()
            assert log.lines == []
            assert await coroutine(1, flag=True) == ("a", "b", "c", 1, True, 1, 1, 1)
            assert log.lines == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]
            assert threading.get_ident() not in log.threads

        run(body)

    def test_many_tasks_share_what_it_uses(self, run: Run) -> None:
        """Their calls overlap, and so one start serves all."""
        log = Log()
        a, b = log.for_tasks("a"), log.for_threads("b")

        async def body() -> None:
            gate = anyio.Event()

            @uses(a, b)
            async def coroutine(_a: str, _b: str) -> None:
                await gate.wait()

            jobs = [Job(coroutine) for _ in range(10)]
            await until(lambda: (a.usecount, b.usecount) == (10, 10))
            gate.set()
            for job in jobs:
                await job.result()
            assert log.lines == ["start a", "start b", "stop b", "stop a"]

        run(body)

    @pytest.mark.parametrize("second", ["for_tasks", "for_threads"])
    def test_a_second_that_does_not_start_gives_the_first_back(self, run: Run, second: str) -> None:
        """The function does not run."""
        log = Log()

        @untyped(log.for_threads("a"), log.for_tasks("b"), getattr(log, second)("c", fails="start"))
        async def coroutine(_a: str, _b: str, _c: str) -> None:
            log.lines.append("ran")

        async def body() -> None:
            assert str(await error_of(coroutine())) == "c does not start"
            assert log.lines == ["start a", "start b", "stop b", "stop a"]

        run(body)

    def test_a_stop_that_raises_keeps_no_other_lease_held(self, run: Run) -> None:
        """Its error goes to the caller."""
        log = Log()

        @uses(log.for_threads("a"), log.for_tasks("b", fails="stop"), log.for_threads("c", fails="stop"))
        async def coroutine(_a: str, _b: str, _c: str) -> None: ...

        async def body() -> None:
            assert str(await error_of(coroutine())) == "b does not stop"
            assert log.lines[3:] == ["stop c", "stop b", "stop a"]

        run(body)

    def test_the_coroutine_s_error_is_its_own(self, run: Run) -> None:
        """It reaches the caller as the same object, after the leases are given back."""
        log = Log()
        error = LookupError("mine")

        @uses(log.for_threads("a"), log.for_tasks("b"))
        async def coroutine(_a: str, _b: str) -> None:
            raise error

        async def body() -> None:
            assert await error_of(coroutine()) is error
            assert log.balanced()

        run(body)

    def test_cancelled_at_every_turn(self, run: Run) -> None:
        """Nothing is held afterwards, wherever it falls."""
        log = Log()
        a, b, c = log.for_tasks("a"), log.for_threads("b"), log.for_tasks("c")

        @uses(a, b, c)
        async def coroutine(_a: str, _b: str, _c: str) -> None:
            await checkpoint(3)

        async def body() -> None:
            for turns in range(60):
                job = Job(coroutine)
                await checkpoint(turns)
                job.cancel()
                await job.wait()
                await until(lambda: all(resource.idle for resource in (a, b, c)))
                assert log.balanced()
            await coroutine()

        run(body)

    def test_a_failure_that_cancels_its_holders(self, run: Run) -> None:
        """With `on_failure="cancel"` the coroutine is cancelled, and its caller gets what has failed."""
        log = Log()

        @asynccontextmanager
        async def opened() -> AsyncGenerator[anyio.Event]:
            failing = anyio.Event()

            async def fail() -> None:
                await failing.wait()
                raise OSError("broken")

            async with anyio.create_task_group() as group:
                group.start_soon(fail)
                yield failing

        @uses(log.for_threads("a"), AsyncSharedResource(opened, on_failure="cancel"), log.for_tasks("c"))
        async def coroutine(_a: str, failing: anyio.Event, _c: str) -> None:
            failing.set()
            await anyio.sleep_forever()

        async def body() -> None:
            assert messages(await error_of(coroutine())) == ["broken"]
            assert log.balanced()

        run(body)

    def test_wrong_arguments_start_nothing(self, run: Run) -> None:
        """A call that the function refuses is refused when it is awaited, before anything starts."""
        log = Log()

        @untyped(log.for_tasks("a"))
        async def coroutine(_a: str, x: int) -> int:
            return x

        async def body() -> None:
            assert "too many" in str(await error_of(coroutine(1, 2)))
            assert log.lines == []

        run(body)

    def test_decorated_functions_and_methods(self, run: Run) -> None:
        """As they are, behind a call, to be called each time; and a method of the same class, or a subclass."""

        @refcounted_resource
        async def letter(which: str = "a") -> AsyncGenerator[str]:
            yield which

        class Owner:
            @refcounted_method
            async def mine(self) -> AsyncGenerator[str]:
                yield "mine"

            @refcounted_method
            def plain(self) -> Generator[str]:
                yield "plain"

            @refcounted_attribute
            async def own(self) -> AsyncGenerator[str]:
                yield "own"

            @uses(mine, letter, plain, own)
            async def method(self, first: str, second: str, third: str, fourth: str, x: int) -> str:
                return f"{first}{second}{third}{fourth}{x}{self.mine.resource().usecount}"

        class Other(Owner):
            @refcounted_method
            async def mine(self) -> AsyncGenerator[str]:
                yield "other"

        owner = Owner()

        @uses(letter.resource("b"), partial(letter, "c"), owner.mine)
        async def coroutine(first: str, second: str, third: str) -> str:
            return first + second + third

        async def body() -> None:
            async with owner.mine():
                assert await coroutine() == "bcmine"
                assert await owner.method(1) == "mineaplainown12"
            assert await Other().method(1) == "otheraplainown11"
            assert letter.resources() == ()

        run(body)


class TestGenerators:
    """An asynchronous generator holds its leases from its first step to its end."""

    def make(self, log: Log) -> Callable[[int], AsyncGenerator[str, str]]:
        """Return an asynchronous generator function that writes down what it gets."""

        @uses(log.for_tasks("a"), log.for_threads("b"))
        async def generator(a: str, b: str, n: int) -> AsyncGenerator[str, str]:
            try:
                for done in range(n):
                    try:
                        got = yield f"{a}{b}{done}"
                    except KeyError as error:
                        got = f"caught {error}"
                    log.lines.append(f"got {got}")
            finally:
                await checkpoint()
                log.lines.append("closed")

        return generator

    def test_to_the_end(self, run: Run) -> None:
        """Nothing starts before the first step; what is sent and thrown arrives."""
        log = Log()

        async def body() -> None:
            assert inspect.isasyncgenfunction(self.make(log))
            generator = self.make(log)(2)
            assert log.lines == []
            assert await anext(generator) == "ab0"
            assert log.lines == ["start a", "start b"]
            assert await generator.asend("x") == "ab1"
            with pytest.raises(StopAsyncIteration):
                await generator.athrow(KeyError("k"))
            assert log.lines[2:] == ["got x", "got caught 'k'", "closed", "stop b", "stop a"]

        run(body)

    def test_closed_early(self, run: Run) -> None:
        """`aclose` gives the leases back, after the generator's own `finally`, and returns when all has stopped."""
        log = Log()

        async def body() -> None:
            generator = self.make(log)(2)
            async for _ in generator:
                break
            await generator.aclose()
            assert log.lines[2:] == ["closed", "stop b", "stop a"]

        run(body)

    def test_cancelled_at_every_turn(self, run: Run) -> None:
        """Its consumer is cancelled, and closes it: nothing is held afterwards."""
        log = Log()

        async def consume() -> None:
            generator = self.make(log)(3)
            try:
                async for _ in generator:
                    await checkpoint()
            finally:
                with anyio.CancelScope(shield=True):
                    await generator.aclose()

        async def body() -> None:
            for turns in range(50):
                job = Job(consume)
                await checkpoint(turns)
                job.cancel()
                await job.wait()
                await until(log.balanced)

        run(body)

    def test_as_an_opener(self, run: Run) -> None:
        """Below `@asynccontextmanager` it makes a resource that needs others."""
        log = Log()

        @asynccontextmanager
        @uses(log.for_tasks("a"), log.for_threads("b"))
        async def opened(a: str, b: str) -> AsyncGenerator[str]:
            log.lines.append(f"start {a}{b}")
            yield a + b
            log.lines.append(f"stop {a}{b}")

        resource = AsyncSharedResource(opened)

        async def body() -> None:
            async with resource() as first, resource() as second:
                assert (first, second) == ("ab", "ab")
            assert log.lines == ["start a", "start b", "start ab", "stop ab", "stop b", "stop a"]

        run(body)


class TestHandedIn:
    """What does not fit is refused when it decorates, or at the call where it cannot be seen before."""

    def test_a_plain_function_cannot_use_a_resource_for_tasks(self) -> None:
        """The error says what to write."""
        resource = Log().for_tasks("a")

        def function(_a: str) -> None: ...

        def generator(_a: str) -> Generator[None]:
            yield

        class Owner:
            def method(self, _a: str) -> None: ...

        for plain in (function, generator, Owner.method):
            with pytest.raises(TypeError, match=rf"a is entered by `async with`: write `async def {plain.__name__}`"):
                untyped(resource)(plain)
            with pytest.raises(TypeError, match="is no coroutine function, nor an asynchronous generator function"):
                untyped(partial(resource))(plain)

    def test_a_plain_function_cannot_use_what_was_decorated_for_tasks(self) -> None:
        """Nor can a plain method use such a method of its class."""

        @refcounted_resource
        async def letter(which: str = "a") -> AsyncGenerator[str]:
            yield which

        for resource in (letter, partial(letter, "a"), letter.resource("a")):
            with pytest.raises(TypeError, match="is entered by `async with`: write `async def function`"):

                @untyped(resource)
                def function(_a: str) -> None: ...

        class Owner:
            @refcounted_method
            async def mine(self) -> AsyncGenerator[str]:
                yield "mine"

            @refcounted_attribute
            async def own(self) -> AsyncGenerator[str]:
                yield "own"

            def method(self, _a: str) -> None: ...

        for member in (Owner.mine, Owner.own):
            with pytest.raises(TypeError, match="is entered by `async with`: write `async def method`"):
                untyped(member)(Owner.method)

    def test_a_plain_function_that_is_given_a_lease_for_tasks(self) -> None:
        """What a call gives is seen at the call, before anything is held."""
        log = Log()
        first, second = log.for_threads("a"), log.for_tasks("b")

        @untyped(first, lambda: second())
        def function(_a: str, _b: str) -> None: ...

        with pytest.raises(TypeError, match=r"what .* gave is entered by `async with`: write `async def function`"):
            function()
        assert log.lines == []

    def test_a_lease_in_place_of_the_resource(self) -> None:
        """It is used once."""
        with pytest.raises(TypeError, match="not <AsyncLease of a, not held>, which is used once: write `a`"):
            untyped(Log().for_tasks("a")())

    def test_what_gives_no_lease(self, run: Run) -> None:
        """Nor does a coroutine function that would have to be awaited for one."""

        async def give() -> object:
            return None

        with pytest.raises(TypeError, match="is no resource, but a coroutine function"):
            untyped(give)

        @untyped(lambda: 3)
        async def coroutine(_a: str) -> None: ...

        async def body() -> None:
            assert "gave no lease but 3" in str(await error_of(coroutine()))

        run(body)

    def test_without_anyio(self) -> None:
        """An asynchronous function is refused where it is decorated, and any other is not."""
        ended = run_program(
            """
import sys
sys.modules["anyio"] = None
from refcount import SharedResource, uses
resource = SharedResource.of(list)
@uses(resource)
def function(value): return value
print(function())
try:
    @uses(resource)
    async def coroutine(value): pass
except ImportError as error:
    print(error)
"""
        )
        assert ended.lines[0] == "[]"
        assert "need anyio, which is not installed: pip install 'refcounted[async]'" in ended.lines[1]

    def test_state_of_nothing(self) -> None:
        """To decorate starts nothing."""
        resource = Log().for_tasks("a")

        @uses(resource)
        async def coroutine(_a: str) -> None: ...

        assert callable(coroutine)
        assert resource.state is State.IDLE
