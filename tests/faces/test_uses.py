"""`uses`: functions of every kind that hold leases while they run."""

import asyncio
import functools
import gc
import inspect
import itertools
import typing
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import pytest

from refcount import Lease, SharedResource, State, refcounted_attribute, refcounted_method, refcounted_resource, uses
from tests.helpers.interrupting import Every, interrupt_everywhere
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.watched import until

untyped = cast("Callable[..., Callable[..., Any]]", uses)
"""For what the type checkers refuse and the run time has to refuse as well."""


class Log:
    """What started and stopped, in order, and resources that write it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def resource(self, name: str, *, fails: str = "") -> SharedResource[str]:
        """Return a resource whose value is its name, and whose start or stop may fail."""

        @contextmanager
        def opened() -> Generator[str]:
            if fails == "start":
                raise OSError(f"{name} does not start")
            self.lines.append(f"start {name}")
            yield name
            self.lines.append(f"stop {name}")
            if fails == "stop":
                raise OSError(f"{name} does not stop")

        return SharedResource(opened, name=name)


def is_idle(resource: SharedResource[str]) -> bool:
    """Say whether nothing of it runs."""
    return resource.state is State.IDLE


def upper(text: str) -> str:
    """Return it in capitals."""
    return text.upper()


class TestFunctions:
    """The values come first, the rest is as the caller gave it."""

    def test_values_come_first_and_leases_go_in_reverse_order(self) -> None:
        """Two resources are held while the function runs, and given back the last one first."""
        log = Log()
        a, b = log.resource("a"), log.resource("b")

        @uses(a, b)
        def function(first: str, second: str, /, x: int, *rest: int, flag: bool = False, **more: int) -> object:
            return first, second, x, rest, flag, more, a.usecount, b.usecount

        assert function(1, 2, flag=True, y=3) == ("a", "b", 1, (2,), True, {"y": 3}, 1, 1)
        assert log.lines == ["start a", "start b", "stop b", "stop a"]

    def test_five_resources(self) -> None:
        """Five are the most, and all five arrive in order."""
        log = Log()
        a, b, c, d, e = (log.resource(name) for name in "abcde")

        @uses(a, b, c, d, e)
        def function(a: str, b: str, c: str, d: str, e: str) -> str:
            return a + b + c + d + e

        assert function() == "abcde"
        assert log.lines[5:] == ["stop e", "stop d", "stop c", "stop b", "stop a"]

    def test_a_running_resource_is_shared(self) -> None:
        """A function gets the value that others hold already, and leaves it to them."""
        log = Log()
        resource = log.resource("a")
        function = uses(resource)(upper)
        with resource():
            assert function() == "A"
            assert resource.usecount == 1
        assert log.lines == ["start a", "stop a"]

    def test_anything_that_gives_leases_without_arguments(self) -> None:
        """A function that returns a lease will do, and is asked at each call."""
        resource = Log().resource("a")
        asked: list[int] = []

        def lease() -> Lease[str]:
            asked.append(1)
            return resource()

        function = uses(lease)(upper)
        assert (function(), function()) == ("A", "A")
        assert asked == [1, 1]

    def test_calls_that_are_made_each_time(self) -> None:
        """A partial, and a lambda, stand for a call with arguments."""

        @refcounted_resource
        def letter(which: str) -> Generator[str]:
            yield which

        @uses(functools.partial(letter, "a"), lambda: letter("b"))
        def function(first: str, second: str, third: str) -> tuple[str, list[str]]:
            return first + second + third, sorted(resource.name for resource in letter.resources())

        assert function("c") == ("abc", ["letter('a')", "letter('b')"])

    def test_decorated_functions_and_methods(self) -> None:
        """A decorated function, one behind a call, and a method of an instance; shared with all other consumers."""

        @refcounted_resource
        def letter(which: str = "a") -> Generator[str]:
            yield which

        class Owner:
            @refcounted_method
            def mine(self) -> Generator[str]:
                yield "mine"

        owner = Owner()

        @uses(letter.resource("b"), owner.mine)
        def function(first: str, second: str) -> tuple[str, str, int]:
            return first, second, owner.mine.resource().usecount

        with owner.mine():
            assert function() == ("b", "mine", 2)
        assert uses(letter)(upper)() == "A"
        assert letter.resources() == ()

    def test_the_function_s_error_is_its_own(self) -> None:
        """An error of the function reaches the caller as the same object, after the leases are given back."""
        log = Log()
        error = LookupError("mine")

        @uses(log.resource("a"), log.resource("b"))
        def function(_a: str, _b: str) -> None:
            raise error

        with pytest.raises(LookupError) as caught:
            function()
        assert caught.value is error
        assert log.lines == ["start a", "start b", "stop b", "stop a"]

    def test_a_second_that_does_not_start_gives_the_first_back(self) -> None:
        """When the second resource does not start, the first is given back and the function does not run."""
        log = Log()

        @uses(log.resource("a"), log.resource("b", fails="start"))
        def function(_a: str, _b: str) -> None:
            log.lines.append("ran")

        with pytest.raises(OSError, match="b does not start"):
            function()
        assert log.lines == ["start a", "stop a"]

    def test_a_stop_that_raises_keeps_no_other_lease_held(self) -> None:
        """The error of one stop goes to the caller, and all other leases are given back all the same."""
        log = Log()
        a, b, c = log.resource("a"), log.resource("b", fails="stop"), log.resource("c")

        @uses(a, b, c)
        def function(_a: str, _b: str, _c: str) -> None: ...

        with pytest.raises(OSError, match="b does not stop"):
            function()
        assert log.lines[3:] == ["stop c", "stop b", "stop a"]
        assert (a.usecount, b.usecount, c.usecount) == (0, 0, 0)

    def test_stacked(self) -> None:
        """The values of the outer decorator follow those of the inner one, as the signature says."""
        log = Log()

        @uses(log.resource("outer"))
        @uses(log.resource("inner"))
        def function(inner: str, outer: str, x: int) -> tuple[str, str, int]:
            return inner, outer, x

        assert function(1) == ("inner", "outer", 1)
        assert str(inspect.signature(function)) == "(x: int) -> tuple[str, str, int]"
        assert log.lines == ["start outer", "start inner", "stop inner", "stop outer"]

    def test_recursion(self) -> None:
        """A function that calls itself holds one lease for each call, and starts nothing anew."""
        log = Log()
        resource = log.resource("a")

        @uses(resource)
        def depth(_a: str, n: int) -> int:
            return depth(n - 1) if n else resource.usecount

        assert depth(3) == 4
        assert log.lines == ["start a", "stop a"]

    def test_wrong_arguments_start_nothing(self) -> None:
        """A call that the function refuses, or that gives what is given already, is refused before anything starts."""
        log = Log()
        resource = log.resource("a")

        @uses(resource)
        def function(_a: str, x: int) -> int:
            return x

        for arguments, keywords in (((), {}), ((1, 2), {}), ((1,), {"_a": "b"})):
            with pytest.raises(TypeError, match=r"function\(\) .*(missing|too many|unexpected)"):
                cast("Callable[..., int]", function)(*arguments, **keywords)
        assert log.lines == []

    def test_every_right_call_is_let_through(self) -> None:
        """However a call is spelled, what Python takes is taken, and what it does not is not."""

        def function(_a: str, x: int, /, y: int = 2, *rest: int, z: int, w: int = 4, **more: int) -> object:
            return x, y, rest, z, w, more

        def no_keywords(_a: str, x: int, y: int = 2) -> object:
            return x, y

        log = Log()
        resource = log.resource("a")
        for plain in (function, no_keywords):
            used = untyped(resource)(plain)
            for number, keywords in itertools.product(range(5), ({}, {"y": 7}, {"z": 8}, {"z": 8, "v": 9}, {"x": 1})):
                args: tuple[Any, ...] = (*range(number),)
                try:
                    expected = cast("Any", plain)("a", *args, **keywords)
                except TypeError:
                    log.lines.clear()
                    with pytest.raises(TypeError):
                        used(*args, **keywords)
                    assert log.lines == []
                else:
                    assert used(*args, **keywords) == expected

    def test_context_managers(self) -> None:
        """Below `@contextmanager`, the leases are held as long as the with-body runs."""
        log = Log()

        @contextmanager
        @uses(log.resource("a"))
        def manager(a: str) -> Generator[str]:
            yield a.upper()

        with manager() as value:
            assert (value, log.lines) == ("A", ["start a"])
        assert log.lines == ["start a", "stop a"]

    def test_shaken_threads_share_one_start_at_a_time(self) -> None:
        """Eight threads that call all the time, shaken: every start has its stop, and they alternate."""
        log = Log()
        resource = log.resource("a")
        function = uses(resource)(upper)

        def call() -> None:
            for _ in range(10):
                assert function() == "A"

        with shaken(seed=5):
            run_threads(*[call] * 8)
        assert resource.usecount == 0
        assert log.lines == ["start a", "stop a"] * (len(log.lines) // 2)

    @pytest.mark.filterwarnings("ignore:a lease of:ResourceWarning")
    def test_interrupted_anywhere(self, every: Every) -> None:
        """A KeyboardInterrupt anywhere leaves nothing running; at worst a lease is lost, and then given back."""
        log = Log()
        resources: list[SharedResource[str]] = []

        def scenario() -> None:
            pair = log.resource("a"), log.resource("b")
            resources.extend(pair)

            @uses(*pair)
            def function(_a: str, _b: str) -> None: ...

            try:
                function()
            except KeyboardInterrupt as interrupt:
                # Its traceback would keep the lost lease: a running resource's frame knows the tracer, and that this.
                raise interrupt.with_traceback(None) from None

        interruptions = list(interrupt_everywhere(scenario, step=every(4)))
        assert all(interruption.propagated for interruption in interruptions)
        gc.collect()
        for resource in resources:
            until(functools.partial(is_idle, resource), f"the end of {resource}")
        assert log.lines.count("start a") == log.lines.count("stop a") >= 10
        assert log.lines.count("start b") == log.lines.count("stop b") >= 10


class TestGenerators:
    """A generator holds its leases from its first step to its end."""

    def make(self, log: Log) -> Callable[[int], Generator[str, str, int]]:
        """Return a generator function that answers what it is sent, and returns how often it was."""

        @uses(log.resource("a"))
        def generator(a: str, n: int) -> Generator[str, str, int]:
            for done in range(n):
                try:
                    got = yield f"{a}{done}"
                except KeyError as error:
                    got = f"caught {error}"
                log.lines.append(f"got {got}")
            return n

        return generator

    def test_holds_from_the_first_next_to_the_end(self) -> None:
        """Nothing starts before the first `next`, and the stop comes with the end, whose value is kept."""
        log = Log()
        generator = self.make(log)(1)
        assert log.lines == []
        assert next(generator) == "a0"
        assert log.lines == ["start a"]
        with pytest.raises(StopIteration) as caught:
            generator.send("x")
        assert caught.value.value == 1
        assert log.lines == ["start a", "got x", "stop a"]

    def test_never_started_never_acquires(self) -> None:
        """A generator that is closed or dropped before its first step acquires nothing."""
        log = Log()
        generator = self.make(log)(1)
        generator.close()
        del generator
        assert log.lines == []

    def test_throw_and_close_reach_the_generator(self) -> None:
        """What is thrown in arrives inside, and `close` gives the lease back."""
        log = Log()
        generator = self.make(log)(2)
        next(generator)
        assert generator.throw(KeyError("k")) == "a1"
        generator.close()
        assert log.lines == ["start a", "got caught 'k'", "stop a"]

    def test_an_error_inside_gives_the_lease_back(self) -> None:
        """An error that the generator does not catch is the caller's, after the lease is given back."""
        log = Log()
        generator = self.make(log)(1)
        next(generator)
        error = OSError("mine")
        with pytest.raises(OSError, match="mine") as caught:
            generator.throw(error)
        assert caught.value is error
        assert log.lines == ["start a", "stop a"]


class TestAsync:
    """Coroutines and asynchronous generators hold sync resources while they run."""

    def test_coroutine(self) -> None:
        """A coroutine holds its lease across its awaits, from the first one, and none if it is never awaited."""
        log = Log()

        @uses(log.resource("a"))
        async def coroutine(a: str, x: int) -> tuple[str, int]:
            await asyncio.sleep(0)
            log.lines.append("ran")
            return a, x

        async def main() -> None:
            never = coroutine(0)
            never.close()
            pending = coroutine(1)
            assert log.lines == []
            assert await pending == ("a", 1)

        asyncio.run(main())
        assert log.lines == ["start a", "ran", "stop a"]

    def test_cancelled_coroutine(self) -> None:
        """A coroutine that is cancelled while it waits gives its lease back."""
        log = Log()
        resource = log.resource("a")

        @uses(resource)
        async def coroutine(_a: str, runs: asyncio.Event) -> None:
            runs.set()
            await asyncio.Event().wait()

        async def main() -> None:
            runs = asyncio.Event()
            task = asyncio.create_task(coroutine(runs))
            await runs.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert log.lines == ["start a", "stop a"]

    def make(self, log: Log) -> Callable[[int], AsyncGenerator[str, str]]:
        """Return an asynchronous generator function that writes down what it gets."""

        @uses(log.resource("a"))
        async def generator(a: str, n: int) -> AsyncGenerator[str, str]:
            try:
                for done in range(n):
                    try:
                        got = yield f"{a}{done}"
                    except KeyError as error:
                        got = f"caught {error}"
                    log.lines.append(f"got {got}")
            finally:
                await asyncio.sleep(0)
                log.lines.append("closed")

        return generator

    def test_async_generator(self) -> None:
        """It holds its lease from the first step to its end; what is sent and thrown arrives inside."""
        log = Log()

        async def main() -> None:
            generator = self.make(log)(3)
            assert log.lines == []
            assert await anext(generator) == "a0"
            assert await generator.asend("x") == "a1"
            assert await generator.athrow(KeyError("k")) == "a2"
            with pytest.raises(StopAsyncIteration):
                await generator.asend("y")

        asyncio.run(main())
        assert log.lines == ["start a", "got x", "got caught 'k'", "got y", "closed", "stop a"]

    def test_async_generator_closed_early(self) -> None:
        """`aclose` closes the generator first and gives the lease back then; unstarted, nothing was acquired."""
        log = Log()

        async def main() -> None:
            await self.make(log)(1).aclose()
            assert log.lines == []
            generator = self.make(log)(2)
            assert [await anext(generator)] == ["a0"]
            await generator.aclose()

        asyncio.run(main())
        assert log.lines == ["start a", "closed", "stop a"]

    def test_async_generator_that_raises(self) -> None:
        """An error that it does not catch is the caller's own, and it ends with the lease given back."""
        log = Log()
        error = OSError("mine")

        async def main() -> None:
            generator = self.make(log)(2)
            await anext(generator)
            with pytest.raises(OSError, match="mine") as caught:
                await generator.athrow(error)
            assert caught.value is error

        asyncio.run(main())
        assert log.lines == ["start a", "closed", "stop a"]


def interposed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as most decorators do: with a plain function that passes everything on."""

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return wrapper


SHARED = SharedResource.of(lambda: "a", name="shared")


class Owner:
    """A class whose methods use a resource, in every way that a method can be written."""

    base = 10

    @uses(SHARED)
    def method(self, a: str, x: int) -> tuple[str, int]:
        """Say what came."""
        return a, self.base + x

    @staticmethod
    @uses(SHARED)
    def static(a: str, x: int) -> tuple[str, int]:
        return a, x

    @classmethod
    @uses(SHARED)
    def cls_method(cls, a: str, x: int) -> tuple[str, int]:
        return a, cls.base + x

    @interposed
    @uses(SHARED)
    def decorated(self, a: str, x: int) -> tuple[str, int]:
        return a, self.base + x

    @uses(SHARED)
    def generator(self, a: str) -> Generator[str]:
        yield a


class Heir(Owner):
    """Inherits some, and overrides with `super()`."""

    base = 20

    def method(self, x: int) -> tuple[str, int]:
        return super().method(x + 1)


class TestMethods:
    """The values come after `self` or `cls`."""

    def test_every_kind(self) -> None:
        """Methods, static and class methods, by the instance and by the class, and under another decorator."""
        owner = Owner()
        assert owner.method(1) == Owner.method(owner, 1) == ("a", 11)
        assert owner.static(1) == Owner.static(1) == ("a", 1)
        assert owner.cls_method(1) == Owner.cls_method(1) == ("a", 11)
        assert owner.decorated(1) == Owner.decorated(owner, 1) == ("a", 11)
        assert list(owner.generator()) == ["a"]

    def test_inheritance(self) -> None:
        """A subclass inherits and overrides as with any method."""
        heir = Heir()
        assert heir.method(1) == ("a", 22)
        assert Heir.cls_method(1) == ("a", 21)

    def test_bound_method_of_a_resource_of_its_own(self) -> None:
        """Decorating a bound method, which shows no `self`, puts the values first."""
        assert untyped(SHARED)({"a": 1}.setdefault)(2) == 1


class Station:
    """A class whose methods use what each instance has of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[str] = []

    @refcounted_method
    def feed(self) -> Generator[str]:
        self.log.append("feed")
        yield f"feed of {self.name}"
        self.log.append("no feed")

    @refcounted_attribute
    def power(self) -> Generator[str]:
        self.log.append("power")
        yield f"power of {self.name}"
        self.log.append("no power")

    tape = refcounted_attribute(list[str])

    @functools.cached_property
    def cable(self) -> SharedResource[str]:
        """Be any other attribute that gives leases."""
        return SharedResource.of(lambda: f"cable of {self.name}")

    @uses(power, feed, tape, SHARED)
    def play(self, power: str, feed: str, tape: list[str], shared: str, title: str) -> tuple[str, ...]:
        self.log.append(title)
        assert tape == []
        return power, feed, shared

    @uses(power)
    def stream(self, power: str, length: int) -> Iterator[str]:
        for number in range(length):
            yield f"{number} {power}"

    @uses(feed)
    async def listen(self, feed: str) -> str:
        return feed

    @untyped(cable)
    def connect(self, cable: str) -> str:
        return cable


class Relay(Station):
    """Overrides what an inherited method uses."""

    @refcounted_attribute
    def power(self) -> Generator[str]:
        yield "other power"


class TestMembers:
    """What a method uses of its own class is its instance's."""

    def test_attributes_and_methods(self) -> None:
        """They are taken and given back in order, each instance's own, and shared with whoever holds them as well."""
        one, two = Station("one"), Station("two")
        assert one.play("song") == ("power of one", "feed of one", "a")
        assert one.log == ["power", "feed", "song", "no feed", "no power"]
        assert two.log == []
        with two.power() as power:
            assert two.play("song")[0] is power
        assert two.log == ["power", "feed", "song", "no feed", "no power"]

    def test_every_kind_of_function(self) -> None:
        """Generators hold them until they end, coroutines likewise; and any attribute will do that gives leases."""
        station = Station("one")
        assert [*station.stream(2)] == ["0 power of one", "1 power of one"]
        assert station.log == ["power", "no power"]
        assert asyncio.run(station.listen()) == "feed of one"
        assert station.connect() == "cable of one"
        assert Station.play(station, "song")[0] == "power of one"

    def test_a_subclass_overrides_what_is_used(self) -> None:
        """The name counts, as in any method."""
        assert Relay("relay").play("song")[0] == "other power"
        assert [*Relay("relay").stream(1)] == ["0 other power"]

    def test_of_another_class(self) -> None:
        """What the instance's class has not is refused at the call, by name, with nothing held."""
        log = Log()

        class Stranger:
            @uses(log.resource("a"), Station.power)
            def play(self, a: str, power: str) -> str:
                return a + power

        with pytest.raises(TypeError, match=r"play uses <.*Station\.power>, which .*Stranger has not"):
            Stranger().play()
        assert log.lines == []

    def test_where_there_is_no_instance(self) -> None:
        """A function, or a method that calls its instance something else, is told so when it is decorated."""
        for member in (Station.power, Station.feed):
            with pytest.raises(
                TypeError, match=r"upper cannot use <.* Station\..*>, which only an instance has: a method can"
            ):
                untyped(member)(upper)

    def test_that_needs_arguments(self) -> None:
        """A method that takes more than its instance is refused, by name."""

        class Needy:
            @refcounted_method
            def feed(self, topic: str) -> Generator[str]:
                yield topic

        with pytest.raises(TypeError, match=r"uses cannot call .*Needy\.feed without arguments: .*'topic'"):
            untyped(Needy.feed)

    def test_wrong_arguments_start_nothing(self) -> None:
        """Neither does a call without its instance."""
        station = Station("one")
        for arguments in ((), (station,), (station, "song", "more")):
            with pytest.raises(TypeError, match=r"Station\.play\(\) "):
                cast("Any", Station.play)(*arguments)
        assert station.log == []


class TestMetadata:
    """The decorated function looks like the function, but for the parameters that are filled in."""

    def test_names_and_signature(self) -> None:
        """Name, docstring, module and signature are the function's own; `__wrapped__` is the function."""

        def function(a: str, x: int, *, flag: bool = False) -> str:
            """Say it."""
            return f"{a}{x}{flag}"

        used = cast("Any", uses(SHARED)(function))
        assert (used.__name__, used.__doc__, used.__module__) == ("function", "Say it.", __name__)
        assert used.__qualname__ == function.__qualname__
        assert used.__wrapped__ is function
        assert str(inspect.signature(used)) == "(x: int, *, flag: bool = False) -> str"
        assert typing.get_type_hints(used) == {"x": int, "flag": bool, "return": str}
        assert function.__annotations__.keys() == {"a", "x", "flag", "return"}

    def test_signatures_of_methods(self) -> None:
        """By the class a method shows `self`, on an instance it does not; the value shows nowhere."""
        assert list(inspect.signature(Owner.method).parameters) == ["self", "x"]
        assert list(inspect.signature(Owner().method).parameters) == ["x"]
        assert list(inspect.signature(Owner.static).parameters) == ["x"]
        assert list(inspect.signature(Owner.cls_method).parameters) == ["x"]
        assert Owner().method.__doc__ == "Say what came."

    def test_variadic_parameters_stay(self) -> None:
        """Values that go into `*args` take nothing from the signature."""

        def function(a: str, *rest: object) -> tuple[object, ...]:
            return (a, *rest)

        used = uses(SHARED, SHARED)(function)
        assert str(inspect.signature(used)) == "(*rest: object) -> tuple[object, ...]"
        assert used(1) == ("a", "a", 1)

    def test_kinds(self) -> None:
        """`inspect` tells generators, coroutines and asynchronous generators from functions."""

        def function(_a: str) -> None: ...
        def generator(_a: str) -> Generator[None]:
            yield

        async def coroutine(_a: str) -> None: ...
        async def async_generator(_a: str) -> AsyncGenerator[None]:
            yield

        questions = inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction
        for plain in (function, generator, coroutine, async_generator):
            used = untyped(SHARED)(plain)
            assert [question(used) for question in questions] == [question(plain) for question in questions]


def give(a: str) -> Generator[str]:
    """Give what it gets."""
    yield a


class TestCallableObjects:
    """An instance with `__call__` is what its `__call__` is."""

    def test_generator(self) -> None:
        """The lease is held until the generator ends, and with `contextmanager` above until the with-body has."""

        class Giver:
            def __call__(self, a: str) -> Generator[str]:
                yield from give(a)

        resource = Log().resource("a")
        for giver in (Giver(), functools.partial(Giver())):
            used = untyped(resource)(giver)
            assert [(value, resource.usecount) for value in used()] == [("a", 1)]
            with contextmanager(used)() as value:
                assert (value, resource.usecount) == ("a", 1)
            assert resource.usecount == 0

    def test_coroutine(self) -> None:
        """The lease is held until the coroutine ends."""
        resource = Log().resource("a")

        class Runner:
            async def __call__(self, a: str) -> tuple[str, int]:
                return a, resource.usecount

        assert asyncio.run(untyped(resource)(Runner())()) == ("a", 1)
        assert resource.usecount == 0


class TestFirstParameter:
    """Its name tells a method from a function, since nothing else does."""

    @pytest.mark.parametrize("name", ["self", "cls", "_self", "_cls", "mcs", "mcls"])
    def test_an_owner(self, name: str) -> None:
        """What is called like one is left to the caller, and the values come next."""
        function = untyped(SHARED)(eval(f"lambda {name}, value, x: ({name}, value, x)"))
        assert function("owner", 1) == ("owner", "a", 1)
        assert str(inspect.signature(function)) == f"({name}, x)"

    @pytest.mark.parametrize("name", ["this", "klass", "value", "selfish", "_"])
    def test_anything_else(self, name: str) -> None:
        """It gets the first value, whatever comes second is called: for once the types are wrong."""
        function = untyped(SHARED)(eval(f"lambda {name}, shared: ({name}, shared)"))
        assert function("first") == ("a", "first")
        assert str(inspect.signature(function)) == "(shared)"

    def test_a_metaclass(self) -> None:
        """`mcs` is the owner of a method of classes."""

        class Meta(type):
            made_with = ""

            @uses(SHARED)
            def __new__(mcs, value: str, name: str, bases: tuple[type, ...], body: dict[str, object]) -> Any:
                made = super().__new__(mcs, name, bases, body)
                made.made_with = value
                return made

        assert Meta("Made", (), {}).made_with == "a"


class TestBadInput:
    """What cannot work is refused when it is decorated, by name."""

    def test_how_many(self) -> None:
        """No resource, and six."""
        with pytest.raises(TypeError, match="one to 5 resources, not 0"):
            untyped()
        with pytest.raises(TypeError, match="one to 5 resources, not 6"):
            untyped(*[SHARED] * 6)

    def test_what_is_no_resource(self) -> None:
        """Values, classes, undecorated generator functions, what is asynchronous, and what needs arguments."""

        def undecorated() -> Generator[str]:
            yield "a"

        async def coroutine() -> str:
            return "a"

        async def generate_later() -> AsyncGenerator[str]:
            yield "a"

        class Later:
            async def __call__(self) -> str:
                return "a"

        def undecorated_with_argument(index: int) -> Generator[int]:
            yield index

        def needy(index: int) -> Lease[str]:
            raise AssertionError(index)

        for thing in (3, None, "camera", SharedResource):
            with pytest.raises(TypeError, match=f"takes resources, not {thing!r}"):
                untyped(SHARED, thing)

        def method(self: object) -> Generator[object]:
            yield self

        with pytest.raises(TypeError, match=r"method is no resource: decorate it with @refcounted_method"):
            untyped(method)
        for function in (undecorated, functools.partial(undecorated_with_argument, 1), contextmanager(undecorated)):
            with pytest.raises(TypeError, match=r"undecorated.* is no resource: decorate it with @refcounted_resource"):
                untyped(function)
        for awaited in (coroutine, functools.partial(coroutine), Later()):
            with pytest.raises(TypeError, match=r"is no resource, but a coroutine function, which yields nothing"):
                untyped(awaited)
        managed = asynccontextmanager(generate_later)
        for generator, instead in ((generate_later, ""), (managed, " in place of @asynccontextmanager")):
            with pytest.raises(TypeError, match=f"is no resource: decorate it with @refcounted_resource{instead}"):
                untyped(generator)
        for callable_thing in (needy, refcounted_resource(undecorated_with_argument)):
            with pytest.raises(TypeError, match=r"cannot call .* without arguments: .*'index'"):
                untyped(callable_thing)

    def test_a_lease_is_no_resource(self) -> None:
        """It is used once: the error says what to write; and that keywords say nothing."""

        @refcounted_resource
        def numbered(index: int) -> Generator[int]:
            yield index

        with pytest.raises(TypeError, match=r"not <Lease of numbered\(3\), .*once: write `numbered\.resource\(3\)`"):
            untyped(numbered(3))
        with pytest.raises(TypeError, match=r"which is used once: write `shared`"):
            untyped(SharedResource.of(list, name="shared")())
        with pytest.raises(TypeError, match=r"uses takes resources by position, not camera=: their values"):
            untyped(camera=SHARED)

    def test_a_class_method_uses_a_class_method(self) -> None:
        """Of its class."""

        class Hub:
            @refcounted_method
            @classmethod
            def common(cls) -> Generator[str]:
                yield cls.__name__

            @classmethod
            @untyped(cast("Any", common))
            def shown(cls, name: str, more: int) -> tuple[str, int]:
                return name, more

        assert cast("Any", Hub).shown(1) == cast("Any", Hub()).shown(1) == ("Hub", 1)

    def test_what_gives_no_lease(self) -> None:
        """A function that returns something else is found out at the call, with nothing held."""
        resource = Log().resource("a")

        def three() -> int:
            return 3

        def pair(a: str, b: int) -> None: ...

        with pytest.raises(TypeError, match=r"pair uses .*three, which gave no lease but 3"):
            untyped(resource, three)(pair)()
        assert resource.usecount == 0

    def test_too_short_functions(self) -> None:
        """A function with too few positional parameters, by its name and that of the resource that finds no place."""
        other = Log().resource("other")

        def none() -> None: ...
        def one(a: str) -> None: ...
        def keyword(a: str, *, b: str) -> None: ...
        def method(self: object, a: str) -> None: ...

        for function in (one, keyword, method):
            with pytest.raises(TypeError, match=rf"{function.__name__} has no positional parameter for the .* other$"):
                untyped(SHARED, other)(function)
        with pytest.raises(TypeError, match=r"none has no positional parameter for the value of shared, other"):
            untyped(SHARED, other)(none)

    def test_what_is_no_function(self) -> None:
        """Values, classes, and the decorators that belong above."""
        for thing, what in ((3, "callable"), (int, "a function")):
            with pytest.raises(TypeError, match=f"what uses decorates must be {what}, not {thing!r}"):
                untyped(SHARED)(thing)
        with pytest.raises(TypeError, match=r"@staticmethod must stand above @uses\(...\), not below it: upper"):
            untyped(SHARED)(staticmethod(upper))
        with pytest.raises(TypeError, match=r"@classmethod must stand above @uses\(...\)"):
            untyped(SHARED)(classmethod(cast("Any", upper)))
        for decorator in (contextmanager, asynccontextmanager):
            with pytest.raises(TypeError, match=r"@contextmanager must stand above @uses\(...\), not below it.*: give"):
                untyped(SHARED)(decorator(cast("Any", give)))
        with pytest.raises(TypeError, match=r"must stand above @uses\(...\), not below it: <ResourceFunction give, "):
            untyped(SHARED)(refcounted_resource(give))
        with pytest.raises(TypeError, match=r"cannot see the parameters of dict\.update: decorate"):
            untyped(SHARED)(cast("Any", dict).update)
