"""`@refcounted_resource` on classes, `resource_of` and `StartStop`."""

import asyncio
import copy
import dataclasses
import gc
import os
import pickle
import sys
import tempfile
import threading
import types
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, cast

import pytest

from refcount import ClosedError, Lease, RefcountError, State
from refcount._faces.classes import StartStop, resource_of, shared_class
from refcount._faces.terms import Terms
from refcount.testing import ManualClock
from tests.helpers.interrupting import interrupt_everywhere
from tests.helpers.programs import run_program
from tests.helpers.shaking import run_threads, shaken
from tests.helpers.watched import WAIT, until

T = TypeVar("T")
C = TypeVar("C", bound=type)


def shared(
    *,
    linger: float = 0.0,
    check: Callable[[Any], bool] | None = None,
    overlap: bool = False,
    exclusive: bool = False,
    own_thread: bool = False,
    at_exit: Literal["stop", "leave"] = "stop",
    name: str | Callable[[Any], str] | None = None,
) -> Callable[[C], C]:
    """Decorate a class as `@refcounted_resource(...)` does."""

    def decorate(cls: C) -> C:
        terms: Terms[Any] = Terms(linger, check, overlap, exclusive, own_thread, at_exit, name=name)
        return cast("C", shared_class(cast("Any", cls), terms))

    return decorate


class Logged(StartStop):
    """Writes down what it does; not decorated itself."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self) -> None:
        """Write it down."""
        self.lines.append("start")

    def stop(self) -> None:
        """Write it down."""
        self.lines.append("stop")


@shared()
class Camera(Logged):
    """A class that inherits all it does."""


@shared()
class Door:
    """A class that writes its own two methods, and tells what its `__exit__` gets."""

    def __init__(self) -> None:
        self.opened = 0
        self.exits: list[object] = []

    def __enter__(self) -> int:
        """Say how often it was opened."""
        self.opened += 1
        return self.opened

    def __exit__(self, *exc: object) -> bool:
        self.exits.append(exc)
        return True


class TestSharing:
    """The first entry enters, the last exit leaves, everyone in between shares."""

    def test_first_enters_and_last_leaves(self) -> None:
        """An instance is a reusable, reentrant context manager; all who are inside get the same value."""
        door = Door()
        with door as first, door as second:
            with door as third:
                assert (first, second, third) == (1, 1, 1)
            assert resource_of(door).usecount == 2
            assert door.exits == []
        assert door.exits == [(None, None, None)]
        with door as fourth:
            assert fourth == 2

    def test_the_class_stays_the_class(self) -> None:
        """Name, docstring, module and methods are what they were; the two methods keep their docstrings."""
        assert (Door.__name__, Door.__module__, isinstance(Door(), Door)) == ("Door", __name__, True)
        assert Door.__enter__.__doc__ == "Say how often it was opened."
        assert Door.__exit__.__qualname__ == "Door.__exit__"
        assert pickle.loads(pickle.dumps(Door)) is Door

    def test_each_instance_has_its_own(self) -> None:
        """Two instances know nothing of each other."""
        one, other = Camera(), Camera()
        with one:
            assert (one.lines, other.lines) == (["start"], [])
            assert resource_of(one) is not resource_of(other)
        assert resource_of(one) is resource_of(one)

    def test_the_body_s_error_stays_with_the_consumer(self) -> None:
        """What a body raises is not given to the class's own `__exit__`, not even if it would swallow it."""
        door = Door()
        with pytest.raises(LookupError, match="mine"), door:
            raise LookupError("mine")
        assert door.exits == [(None, None, None)]

    def test_a_failing_start_is_no_entry(self) -> None:
        """When `__enter__` raises, nobody is inside, and the next entry tries anew."""
        fails = [OSError("no film")]

        @shared()
        class Fragile(Logged):
            def start(self) -> None:
                super().start()
                if fails:
                    raise fails.pop()

        fragile = Fragile()
        with pytest.raises(OSError, match="no film"), fragile:
            pass
        assert resource_of(fragile).state is State.IDLE
        with pytest.raises(RefcountError, match="without having been entered"):
            fragile.__exit__(None, None, None)
        with fragile:
            assert fragile.lines == ["start", "start"]
        assert fragile.lines[2:] == ["stop"]

    def test_a_failing_stop_goes_to_the_last(self) -> None:
        """When the class's `__exit__` raises, the last one to leave gets that, and nobody is inside any more."""

        @shared()
        class Stuck(Logged):
            def stop(self) -> None:
                raise OSError("stuck")

        stuck = Stuck()
        with pytest.raises(OSError, match="stuck"), stuck, stuck:
            pass
        assert resource_of(stuck).usecount == 0

    def test_an_exit_too_many(self) -> None:
        """An exit without an entry is an error that names the resource, and changes nothing; no `repr` is asked for."""

        @shared()
        class Secret(Logged):
            def __repr__(self) -> str:
                raise LookupError("a secret")

        secret = Secret()
        with secret:
            pass
        with pytest.raises(RefcountError, match=r"^Secret was left without having been entered$"):
            secret.__exit__(None, None, None)
        with secret:
            assert resource_of(secret).usecount == 1

    def test_options(self) -> None:
        """Linger, check, overlap and name are those of the instances' resources."""
        good = [False, True]

        @shared(linger=5.0, check=lambda _camera: good.pop(), overlap=True, name="lens")
        class Lens(Logged):
            pass

        with ManualClock() as clock:
            lens = Lens()
            with lens:
                assert resource_of(lens).name == "lens"
            clock.advance(4.0)
            with lens:
                assert lens.lines == ["start"]
            with lens:
                assert lens.lines == ["start", "stop", "start"]
            assert resource_of(lens).state is State.LINGERING
            clock.advance(5.0)
            until(lambda: resource_of(lens).state is State.IDLE)
            assert lens.lines == ["start", "stop"] * 2

    def test_own_thread(self) -> None:
        """Start and stop of one life run in one thread of their own, with `super()` and all."""
        threads: list[threading.Thread] = []

        @shared(own_thread=True)
        class Lens(Logged):
            def start(self) -> None:
                threads.append(threading.current_thread())

            def stop(self) -> None:
                threads.append(threading.current_thread())

        class Wide(Lens):
            def __enter__(self) -> Self:
                threads.append(threading.current_thread())
                return super().__enter__()

        for lens, times in ((Lens(), 2), (Wide(), 3)):
            threads.clear()
            with lens as value, lens:
                assert value is lens
            assert threads == [threads[0]] * times
            assert threads[0] is not threading.current_thread()

    def test_exclusive(self) -> None:
        """Who comes after an invalidation waits until all have left the old life."""

        @shared(exclusive=True)
        class Lens(Logged):
            pass

        lens = Lens()
        with lens:
            resource_of(lens).invalidate()
            with pytest.raises(TimeoutError):
                resource_of(lens).acquire(timeout=0)
        with lens:
            assert lens.lines == ["start", "stop", "start"]

    def test_abandoned(self) -> None:
        """What was entered is left as it is; whoever leaves it changes nothing, and the next one enters anew."""
        camera = Camera()
        with camera:
            resource_of(camera).abandon()
            with camera:
                assert camera.lines == ["start", "start"]
            assert camera.lines == ["start", "start", "stop"]
        gc.collect()
        assert camera.lines == ["start", "start", "stop"]

    def test_left_at_exit(self) -> None:
        """What is held at the end of the process is left as it is, without a word, if that was said; else stopped."""
        source = """
import sys
from refcount import StartStop
from refcount._faces.classes import shared_class
from refcount._faces.terms import Terms
class Camera(StartStop):
    def start(self):
        print("start")
    def stop(self):
        print("stop")
camera = shared_class(type("Sub", (Camera,), {}), Terms(at_exit=sys.argv[1]))()
camera.__enter__()
"""
        stopped, left = (run_program(source, how, options=["-W", "default"]) for how in ("stop", "leave"))
        assert stopped.lines == ["start", "stop"]
        assert "Sub is still held at exit, by 1 lease" in stopped.stderr
        assert (left.lines, left.stderr) == (["start"], "")

    def test_name_of_the_instance(self) -> None:
        """A name may be a function of the instance: asked for when it is needed, short, and never fatal."""

        @shared(name=lambda lens: f"lens {lens.size}" if lens else "nobody")
        class Lens(Logged):
            size = 50

        lens, broken = Lens(), Lens()
        del Lens.size
        lens.size = 35
        for instance in (lens, broken):
            with instance:
                pass
        assert (resource_of(lens).name, resource_of(broken).name) == ("lens 35", "Lens")
        lens.size = cast("int", "x" * 1000)
        assert len(resource_of(lens).name) == 80
        resource = resource_of(lens)
        del lens, instance
        gc.collect()
        assert resource.name == "Lens"

    def test_resource_of(self) -> None:
        """The resource behind an instance leases, closes and counts together with its with-statement."""
        camera = Camera()
        resource = resource_of(camera)
        assert resource.name == "Camera"
        with resource.acquire() as value, camera as same:
            assert value is same is camera
            assert resource.usecount == 2
        resource.close()
        with pytest.raises(ClosedError, match="Camera is closed"), camera:
            pass

    def test_exit_stack(self) -> None:
        """`ExitStack` and friends find the methods where they look for them: on the class."""
        camera = Camera()
        with ExitStack() as stack:
            assert stack.enter_context(camera) is stack.enter_context(camera) is camera
            assert resource_of(camera).usecount == 2
        assert camera.lines == ["start", "stop"]


class TestWhoseLease:
    """An exit gives back what its thread or task entered last, or else any lease."""

    def generations(self, *steps: Callable[[Camera], object]) -> list[str]:
        """Enter old, invalidate, enter new; then run the steps in this thread and return what the camera wrote."""
        camera = Camera()
        for step in steps:
            step(camera)
        return camera.lines

    def test_the_last_of_this_thread(self) -> None:
        """With two generations open, this thread's exits give back its newer lease first, whoever came in between."""
        camera = Camera()
        resource = resource_of(camera)
        camera.__enter__()
        resource.invalidate()
        camera.__enter__()
        assert resource.generation == 2
        run_threads(lambda: camera.__enter__())
        camera.__exit__(None, None, None)  # this thread's second; the other thread holds the new generation
        assert camera.lines == ["start", "start"]
        camera.__exit__(None, None, None)  # this thread's first: the detached generation ends
        assert camera.lines == ["start", "start", "stop"]
        camera.__exit__(None, None, None)  # none of this thread's is left: the other thread's
        assert camera.lines == ["start", "start", "stop", "stop"]

    def test_the_last_of_this_task(self) -> None:
        """Two tasks of one thread: each gives back its own, though the other entered last."""
        camera = Camera()
        resource = resource_of(camera)

        async def consumer(entered: asyncio.Event, leave: asyncio.Event) -> int | None:
            with camera:
                number = resource.generation
                entered.set()
                await leave.wait()
            return number

        async def main() -> None:
            events = [asyncio.Event() for _ in range(4)]
            first = asyncio.create_task(consumer(*events[:2]))
            await events[0].wait()
            resource.invalidate()
            second = asyncio.create_task(consumer(*events[2:]))
            await events[2].wait()
            events[1].set()
            assert await first == 1
            assert camera.lines == ["start", "start", "stop"]
            assert resource.generation == 2  # the second's own generation is still up
            events[3].set()
            assert await second == 2

        asyncio.run(main())
        assert camera.lines == ["start", "start", "stop", "stop"]

    def test_another_thread_leaves(self) -> None:
        """What one thread entered, another may leave."""
        camera = Camera()
        camera.__enter__()
        run_threads(lambda: camera.__exit__(None, None, None))
        assert camera.lines == ["start", "stop"]


def leave(camera: "Slotted") -> None:
    """Leave once more, after an interrupt as that began; it may also have lost the lease, to the garbage collector."""
    while resource_of(camera).usecount:
        with suppress(RefcountError):
            camera.__exit__(None, None, None)
        gc.collect()


class TestThreads:
    """Entering and leaving from many threads, shaken and interrupted."""

    def test_shaken(self) -> None:
        """Eight shaken threads, some inside twice: starts and stops alternate and nobody is left inside."""
        camera = Camera()

        def consume() -> None:
            for _ in range(8):
                with camera as one:
                    with camera as two:
                        assert one is two
                    assert camera.lines[-1] == "start"

        with shaken(seed=11):
            run_threads(*[consume] * 8)
        assert resource_of(camera).usecount == 0
        assert camera.lines == ["start", "stop"] * (len(camera.lines) // 2)

    def test_racing_exits_give_back_one_lease_each(self) -> None:
        """Threads that leave what others entered never take the same lease twice."""
        for seed in range(5):
            camera = Camera()
            for _ in range(6):
                camera.__enter__()
            with shaken(seed=seed):
                run_threads(*[lambda camera=camera: camera.__exit__(None, None, None)] * 6)
            assert camera.lines == ["start", "stop"]

    @pytest.mark.filterwarnings("ignore:a lease of:ResourceWarning")
    def test_interrupted_on_the_way_in(self) -> None:
        """A KeyboardInterrupt anywhere before the body leaves nobody inside."""
        camera = Slotted()
        inside = threading.Event()

        def scenario() -> None:
            inside.clear()
            with camera:
                inside.set()

        checked = 0
        for interruption in interrupt_everywhere(scenario):
            if inside.is_set():
                leave(camera)
                continue
            checked += 1
            assert interruption.propagated
            assert resource_of(camera).usecount == 0, interruption
            assert camera.lines == ["start", "stop"] * (len(camera.lines) // 2), interruption
        assert checked > 20

    @pytest.mark.filterwarnings("ignore:a lease of:ResourceWarning")
    def test_interrupted_on_the_way_out(self) -> None:
        """A KeyboardInterrupt on the way out still gives the lease back; only its beginning cannot see to that."""
        camera = Slotted()
        inside = threading.Event()

        def scenario() -> None:
            inside.clear()
            with camera:
                inside.set()

        unguarded: set[str] = set()
        for interruption in interrupt_everywhere(scenario):
            if inside.is_set() and resource_of(camera).usecount:
                unguarded.add(interruption.function)
                leave(camera)
            assert camera.lines == ["start", "stop"] * (len(camera.lines) // 2), interruption
        assert unguarded <= {"ThreadClass.methods.<locals>.leave", "SharedClass.shares", "Entries.leave"}

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # pytest-timeout has a thread
    def test_a_forked_child_leaves_the_parent_s_alone(self) -> None:
        """In a forked child an inherited entry is left without a word and without a stop; a new one starts anew."""
        camera = Camera()
        with camera:
            child = os.fork()
            if not child:
                code = 1
                try:
                    camera.__exit__(None, None, None)
                    assert camera.lines == ["start"]
                    with camera:
                        assert camera.lines == ["start", "start"]
                    assert camera.lines == ["start", "start", "stop"]
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
            assert camera.lines == ["start"]
        assert camera.lines == ["start", "stop"]


class TestInheritance:
    """A subclass's own methods wrap around the shared ones; what is decorated nearest counts."""

    def test_subclass_without_methods(self) -> None:
        """A subclass shares as its base does."""

        class Small(Camera):
            pass

        small = Small()
        with small as value, small:
            assert value is small
        assert small.lines == ["start", "stop"]

    def test_subclass_that_overrides(self) -> None:
        """A subclass that writes the two itself is shared as well: they run once in each life, around `super()`."""

        class Wrapping(Camera):
            def __enter__(self) -> Self:
                self.lines.append("in")
                return super().__enter__()

            def __exit__(
                self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
            ) -> None:
                super().__exit__(exc_type, exc, trace)
                self.lines.append("out")

        class Farther(Wrapping):
            def __enter__(self) -> Self:
                self.lines.append("far")
                return super().__enter__()

        wrapping, farther = Wrapping(), Farther()
        for instance in (wrapping, farther):
            for _ in range(2):
                with instance as value, instance:
                    assert value is instance
                    assert resource_of(instance).usecount == 2
        assert wrapping.lines == ["in", "start", "stop", "out"] * 2
        assert farther.lines == ["far", "in", "start", "stop", "out"] * 2
        assert resource_of(farther).name == "Farther"

    def test_subclass_that_does_not_call_super(self) -> None:
        """What it writes takes the place of what its base does, and gives another value."""

        class Other(Door):
            def __enter__(self) -> int:
                self.opened += 10
                return self.opened

        other = Other()
        with other as first, other as second:
            assert (first, second) == (10, 10)
        assert other.exits == [(None, None, None)]

    def test_subclass_that_overrides_the_exit_only(self) -> None:
        """Its `__exit__` runs once, after the last has left, and is told of nobody's error."""

        class Slamming(Door):
            def __exit__(self, *exc: object) -> bool:
                self.opened = self.opened + 100
                return super().__exit__(*exc)

        slamming = Slamming()
        with pytest.raises(LookupError), slamming, slamming:
            raise LookupError
        assert (slamming.opened, slamming.exits) == (101, [(None, None, None)])

    def test_methods_of_a_mixin(self) -> None:
        """A class that stands before the shared one, and brings one of the two, changes nothing of the sharing."""
        lines: list[str] = []

        class Loud:
            def __enter__(self) -> Self:
                lines.append("loud")
                super().__enter__()  # type: ignore[misc]  # the next class has it
                return self

        class Both(Loud, Camera):
            pass

        both = Both()
        with both as value, both:
            assert value is both
        assert (lines, both.lines) == (["loud"], ["start", "stop"])

    def test_subclass_keeps_its_own_options_or_gets_the_base_s(self) -> None:
        """A subclass is shared with what was said of its base: linger, check, name."""

        @shared(linger=5.0, name=lambda lens: f"lens {lens.size}")
        class Lens(Logged):
            size = 50

        class Wide(Lens):
            size = 20

            def __enter__(self) -> Self:
                return super().__enter__()

        with ManualClock() as clock:
            wide = Wide()
            with wide:
                assert resource_of(wide).name == "lens 20"
            assert resource_of(wide).state is State.LINGERING
            clock.advance(5.0)
        assert wide.lines == ["start", "stop"]

    def test_abstract_base(self) -> None:
        """A class may leave the two to its subclasses, which are shared; it stays abstract."""

        @shared()
        class Device(ABC):
            @abstractmethod
            def __enter__(self) -> str: ...
            @abstractmethod
            def __exit__(self, *exc: object) -> None: ...

        class Half(Device):
            def __enter__(self) -> str:
                lines.append("enter")
                return "value"

        class Whole(Half):
            def __exit__(self, *exc: object) -> None:
                lines.append("exit")

        lines: list[str] = []
        for abstract in (Device, Half):
            with pytest.raises(TypeError, match="abstract"):
                cast("Callable[[], object]", abstract)()
        whole = Whole()
        with whole as first, whole as second:
            assert first == second == "value"
        assert lines == ["enter", "exit"]

    def test_init_subclass_of_its_own(self) -> None:
        """What a shared class, or its base, does with its subclasses is still done, with the keywords."""
        seen: list[object] = []

        class Registry:
            def __init_subclass__(cls, **kwargs: object) -> None:
                seen.append((cls.__name__, kwargs))
                super().__init_subclass__()

        @shared()
        class Base(Registry, Logged):
            def __init_subclass__(cls, *, colour: str, **kwargs: object) -> None:
                """Note the colour."""
                seen.append(colour)
                super().__init_subclass__(**kwargs)

        class Red(Base, colour="red", other=1):
            def __enter__(self) -> Self:
                return super().__enter__()

        assert seen == [("Base", {}), "red", ("Red", {"other": 1})]
        assert Base.__init_subclass__.__doc__ == "Note the colour."
        red = Red()
        with red, red:
            assert resource_of(red).usecount == 2
        assert red.lines == ["start", "stop"]

    def test_unfit_subclass(self) -> None:
        """A subclass whose methods cannot be shared is refused when it is made."""

        async def later(self: object) -> None: ...

        for base, method in ((Door, "__enter__"), (Door, "__exit__"), (Camera, "stop")):
            with pytest.raises(TypeError, match=rf"{method} of .*Later must not be asynchronous"):
                type("Later", (base,), {method: later})

    def test_decorated_again(self) -> None:
        """A decorated subclass has one resource, with its own options; what its base wrote runs once in each life."""

        @shared(linger=60.0)
        class Base(Logged):
            pass

        @shared(name="plain")
        class Plain(Base):
            pass

        @shared(name="wrapping")
        class Wrapping(Base):
            def __enter__(self) -> Self:
                self.lines.append("in")
                return super().__enter__()

            def __exit__(
                self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
            ) -> None:
                super().__exit__(exc_type, exc, trace)
                self.lines.append("out")

        for instance, lines in ((Plain(), ["start", "stop"]), (Wrapping(), ["in", "start", "stop", "out"])):
            for _ in range(2):
                with instance, instance:
                    assert resource_of(instance).usecount == 2
            assert instance.lines == lines * 2
            assert resource_of(instance).name == type(instance).__name__.lower()

    def test_decorated_twice(self) -> None:
        """Decorating the very same class twice: the later options count, and it is started once."""

        @shared(name="outer")
        @shared(name="inner", linger=60.0)
        class Twice(Logged):
            pass

        twice = Twice()
        with twice, twice:
            assert resource_of(twice).name == "outer"
        assert twice.lines == ["start", "stop"]

    def test_diamond(self) -> None:
        """With several decorated bases, all that `super()` reaches runs once, in Python's order."""
        lines: list[str] = []

        class Root:
            def __enter__(self) -> Self:
                lines.append("root")
                return self

            def __exit__(self, *exc: object) -> None:
                lines.append("end")

        @shared()
        class Left(Root):
            def __enter__(self) -> Self:
                lines.append("left")
                return super().__enter__()

        @shared()
        class Right(Root):
            def __enter__(self) -> Self:
                lines.append("right")
                return super().__enter__()

        class Both(Left, Right):
            pass

        both = Both()
        with both, both:
            pass
        assert lines == ["left", "right", "root", "end"]

    def test_generic_classes(self) -> None:
        """A generic class can be parametrised before and after."""

        @shared()
        class Box(Logged, Generic[T]):
            def __init__(self, content: T) -> None:
                super().__init__()
                self.content = content

        class Sub(Box[int]):
            pass

        for box in (Box[int](1), Box("a"), Sub(2)):
            with box as same, box:
                assert same is box
            assert box.lines == ["start", "stop"]


def made_again(cls: C) -> C:
    """Make another class of the attributes of `cls`, and have the `super()` of its functions know it, as attrs does."""
    attributes = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    again: Any = type(cls)(cls.__name__, cls.__bases__, attributes)
    for value in attributes.values():
        for cell in getattr(value, "__closure__", None) or ():
            if cell.cell_contents is cls:
                cell.cell_contents = again
    return cast("C", again)


class Outer:
    """Has a class that anybody may use."""

    class Inner(Logged):
        """As any other."""


@shared()
@dataclasses.dataclass
class Point(Logged):
    """Equal by value, and so unhashable."""

    x: int = 0
    lines: list[str] = dataclasses.field(default_factory=list[str], compare=False)


@shared()
class Slotted:
    """No `__dict__`, and the weak references that are needed."""

    __slots__ = ("__weakref__", "lines")

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        self.lines.append("start")
        return self

    def __exit__(self, *exc: object) -> None:
        self.lines.append("stop")


class TestInstances:
    """Instances of every build, their copies, and their end."""

    def test_equal_and_unhashable(self) -> None:
        """Instances are told apart by identity, however equal they are."""
        one, other = Point(1), Point(1)
        assert one == other
        with one:
            assert (one.lines, other.lines) == (["start"], [])

    def test_dataclass_that_makes_another_class(self) -> None:
        """`@dataclass(slots=True)` above makes a new class of the old one's attributes, which shares as well."""

        @dataclasses.dataclass(slots=True, weakref_slot=True)
        @shared()
        class Pixel:
            lines: list[str] = dataclasses.field(default_factory=list[str])

            def __enter__(self) -> Self:
                self.lines.append("start")
                return self

            def __exit__(self, *exc: object) -> None:
                self.lines.append("stop")

        pixel = Pixel()
        with pixel, pixel:
            assert resource_of(pixel).usecount == 2
        assert pixel.lines == ["start", "stop"]

    def test_a_class_that_is_made_again_with_its_super_mended(self) -> None:
        """As `attrs.define` above does: the `super()` of the class's own methods finds the class that there is."""

        @made_again
        @shared()
        class Pixel(Logged):
            def __enter__(self) -> Self:
                self.lines.append("pixel")
                return super().__enter__()

            def __exit__(
                self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
            ) -> None:
                super().__exit__(exc_type, exc, trace)

        @made_again
        class Small(Pixel):
            def __enter__(self) -> Self:
                self.lines.append("small")
                return super().__enter__()

        for instance, lines in ((Pixel(), ["pixel"]), (Small(), ["small", "pixel"])):
            with instance, instance:
                assert resource_of(instance).usecount == 2
            assert instance.lines == [*lines, "start", "stop"]

    def test_slots(self) -> None:
        """A class with `__slots__` works when `__weakref__` is among them."""
        slotted = Slotted()
        with slotted, slotted:
            pass
        assert slotted.lines == ["start", "stop"]

    @pytest.mark.parametrize("original", [Camera(), Point(), Slotted()], ids=lambda thing: type(thing).__name__)
    def test_copies_have_resources_of_their_own(self, original: Camera | Point | Slotted) -> None:
        """A copy or pickle of an instance that is in use is not in use, and starts for itself."""
        with original:
            copies = copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original))
            for twin in copies:
                assert resource_of(twin).state is State.IDLE
                with pytest.raises(RefcountError, match="without having been entered"):
                    twin.__exit__(None, None, None)
                twin.lines = []
                with twin:
                    assert twin.lines == ["start"]
            assert resource_of(original).usecount == 1

    def test_idle_instances_are_not_kept_alive(self) -> None:
        """An instance that was used and is idle again goes when its last reference goes."""
        camera = Camera()
        with camera, camera:
            pass
        resource = resource_of(camera)
        gone = weakref.ref(camera)
        del camera
        gc.collect()
        assert gone() is None
        with pytest.raises(ReferenceError, match="this resource's instance of Camera is gone"):
            resource.acquire()

    def test_instances_in_use_are_kept_alive(self) -> None:
        """A lease keeps the instance alive, so that it can be stopped."""
        camera = Camera()
        lines, lease = camera.lines, resource_of(camera).acquire()
        del camera
        gc.collect()
        assert lines == ["start"]
        lease.release()
        assert lines == ["start", "stop"]

    def test_a_lease_that_the_instance_keeps_goes_with_it(self) -> None:
        """Nothing of ours keeps an instance for such a lease: both are found lost, reported, and it is stopped."""
        lines: list[str] = []
        stopped = threading.Event()

        @shared()
        class Holder(Logged):
            lease: Lease[Any]

            def stop(self) -> None:
                lines.append("stop")
                stopped.set()

        for _ in range(2):
            holder = Holder()
            with holder:
                pass
            stopped.clear()
            holder.lease = resource_of(holder).acquire()
            gone = weakref.ref(holder)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                del holder
                gc.collect()
                assert stopped.wait(WAIT)
                until(lambda: caught, "the warning")
            until(lambda: gone() is None, "the end of the instance")  # noqa: B023
            assert str(caught[0].message).startswith("a lease of Holder was never released")
        assert lines == ["stop"] * 4

    def test_an_idle_resource_stays_with_its_instance(self) -> None:
        """What observes it, and that it was closed, is not forgotten between two lives."""
        camera = Camera()
        seen: list[int] = []
        resource_of(camera).observe(seen.append)
        for _ in range(2):
            with camera, camera:
                pass
            gc.collect()
        assert seen == [1, 2, 1, 0] * 2
        with camera:
            resource_of(camera).invalidate()
            with camera:
                assert resource_of(camera).generation == 4
        gc.collect()
        with camera:
            assert resource_of(camera).generation == 5
        resource_of(camera).close()
        gc.collect()
        with pytest.raises(ClosedError, match="Camera is closed"), camera:
            pass

    def test_cloudpickle(self) -> None:
        """A shared class of `__main__`, or of a function, can be sent elsewhere, also while it is in use."""
        cloudpickle: Any = pytest.importorskip("cloudpickle")

        @shared(name="sent")
        class Sent(Logged):
            def __enter__(self) -> Self:
                return super().__enter__()

        instance = Sent()
        with instance:
            data = cloudpickle.dumps((Sent, instance))
        ended = run_program(
            """
import pickle, sys
from refcount import resource_of
cls, instance = pickle.loads(bytes.fromhex(sys.argv[1]))
class Sub(cls):
    def __enter__(self):
        return super().__enter__()
for instance in (instance, cls(), Sub()):
    instance.lines = []
    with instance, instance:
        print(resource_of(instance))
    print(instance.lines)
""",
            data.hex(),
        )
        assert ended.stderr == ""
        assert ended.lines == ["<SharedResource sent, running, usecount=2>", "['start', 'stop']"] * 3

    def test_frozen(self) -> None:
        """Nothing is written into the instance."""

        @shared()
        @dataclasses.dataclass(frozen=True)
        class Frozen:
            x: int

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *exc: object) -> None: ...

        with Frozen(1) as frozen, frozen:
            assert vars(frozen) == {"x": 1}


class TestStartStop:
    """`start` and `stop` as a with-statement."""

    def test_alone(self) -> None:
        """Undecorated, it is an ordinary context manager, which stops even when the body raises."""
        logged = Logged()
        with pytest.raises(LookupError), logged as same:
            assert same is logged
            raise LookupError
        assert logged.lines == ["start", "stop"]

    def test_both_must_be_written(self) -> None:
        """A class that forgets one of the two cannot be instantiated."""

        class Half(StartStop):
            def start(self) -> None: ...

        with pytest.raises(TypeError, match="stop"):
            cast("Callable[[], object]", Half)()

    def test_beside_other_bases(self) -> None:
        """It mixes with bases that bring the two methods, and with `__slots__`."""

        class Worker(threading.Thread, StartStop):
            def stop(self) -> None:
                self.join()

        class Small(StartStop):
            __slots__ = ("x",)

            def start(self) -> None: ...
            def stop(self) -> None: ...

        shared()(Small)
        shared()(Worker)
        with Worker() as worker, worker, Small() as small:
            assert worker.ident
            assert not hasattr(small, "__dict__")
        assert not worker.is_alive()


class TestBadInput:
    """Classes that are no fit, by name and when they are decorated."""

    def test_classes_that_cannot_be_entered(self) -> None:
        """A class without the two methods, or with one of them."""

        class Neither:
            pass

        class Enters:
            def __enter__(self) -> None: ...

        with pytest.raises(TypeError, match=r"Neither has no __enter__.*or derive it from StartStop"):
            shared()(Neither)
        with pytest.raises(TypeError, match=r"Enters has no __exit__"):
            shared()(Enters)

    def test_classes_that_exist_already(self) -> None:
        """A class that others have under its name is not changed under their feet; the error says what to write."""
        for cls in (tempfile.TemporaryDirectory, StartStop, Logged, Outer.Inner, memoryview):
            before = dict(vars(cls))
            text = (
                rf"{cls.__qualname__} exists already, and is not changed under the feet of its other users: write "
                rf"@refcounted_resource above its own `class` statement, or above `class Mine\({cls.__name__}\): ...`"
            )
            with pytest.raises(TypeError, match=text):
                shared()(cls)
            assert dict(vars(cls)) == before

    def test_subclass_of_a_class_that_exists_already(self) -> None:
        """That is what the error advises."""

        @shared()
        class Mine(tempfile.TemporaryDirectory[str]):
            pass

        with Mine() as first, Mine() as other:
            assert first != other
        mine = Mine()
        with mine as path, mine as same:
            assert path == same
            assert os.path.isdir(path)
        assert not os.path.isdir(path)

    def test_classes_that_are_made_again(self) -> None:
        """A module that is loaded again, or a cell of a notebook that is run again, decorates a new class."""
        source = """
@shared()
class Again(Logged):
    @shared()
    class Inner(Logged):
        pass
"""
        module = types.ModuleType("refcount_made_again")
        vars(module).update(shared=shared, Logged=Logged)
        sys.modules[module.__name__] = module
        try:
            made: list[type[Logged]] = []
            for _ in range(2):
                exec(source, vars(module))
                made += [module.Again, module.Again.Inner]
            assert [cls.__qualname__ for cls in made] == ["Again", "Again.Inner"] * 2
            for cls in made:
                instance = cls()
                with instance, instance:
                    pass
                assert instance.lines == ["start", "stop"]
            with pytest.raises(TypeError, match=r"Again\.Inner exists already"):
                shared()(module.Again.Inner)
        finally:
            del sys.modules[module.__name__]

    def test_asynchronous_methods(self) -> None:
        """A class whose methods nobody would await, however it is spelled."""

        class Enters:
            async def __enter__(self) -> Self:
                return self

            def __exit__(self, *exc: object) -> None: ...

        class Leaves:
            def __enter__(self) -> Self:
                return self

            async def __exit__(self, *exc: object) -> None: ...

        class Starts(StartStop):
            async def start(self) -> None: ...  # type: ignore[override]  # that is the mistake
            def stop(self) -> None: ...

        class Stops(Logged):
            async def stop(self) -> None: ...  # type: ignore[override]  # that is the mistake

        class Beside(Door):
            async def start(self) -> None: ...

        fits: list[tuple[type, str]] = [(Enters, "__enter__"), (Leaves, "__exit__"), (Starts, "start"), (Stops, "stop")]
        for cls, method in fits:
            with pytest.raises(TypeError, match=rf"{method} of .*{cls.__name__} must not be asynchronous"):
                shared()(cls)
        shared()(Beside)  # what it starts is its own affair

    def test_methods_that_want_more(self) -> None:
        """Methods that cannot take what a with-statement gives them."""

        class Enters(Logged):
            def __enter__(self, mode: str) -> Self:  # type: ignore[override]  # that is the mistake
                return self

        class Leaves(Logged):
            def __exit__(self) -> None: ...  # type: ignore[override]  # that is the mistake

        class Stops(Logged):
            def stop(self, timeout: float) -> None: ...  # type: ignore[override]  # that is the mistake

        fits: list[tuple[type, str]] = [(Enters, "__enter__"), (Leaves, "__exit__"), (Stops, "stop")]
        for cls, method in fits:
            with pytest.raises(TypeError, match=rf"{method} of .*{cls.__name__} is called with the instance.* takes"):
                shared()(cls)

    def test_no_weak_references(self) -> None:
        """A class whose instances cannot be referenced weakly, and what to do about it."""

        class Slots:
            __slots__ = ()

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *exc: object) -> None: ...

        with pytest.raises(TypeError, match=r"no weak references to instances of .*Slots.*add '__weakref__'"):
            shared()(Slots)
        assert Slots.__enter__.__name__ == "__enter__"
        with Slots():
            pass

    def test_classes_that_cannot_be_changed(self) -> None:
        """A class whose metaclass lets nobody change it is refused, and left as it is."""

        class Fixed(type):
            def __setattr__(cls, name: str, value: object) -> None:
                raise AttributeError("fixed")

        class Rock(metaclass=Fixed):
            def __enter__(self) -> Self:
                return self

            def __exit__(self, *exc: object) -> None: ...

        before = dict(vars(Rock))
        with pytest.raises(TypeError, match=r"Rock cannot be changed.*decorate a subclass"):
            shared()(Rock)
        assert dict(vars(Rock)) == before

    def test_options(self) -> None:
        """A bad linger or check is refused when the class is decorated, which is left as it was."""
        before = dict(vars(Logged))
        with pytest.raises(ValueError, match="linger"):
            shared(linger=-1.0)(Logged)
        with pytest.raises(TypeError, match="check"):
            shared(check=cast("Any", 3))(Logged)
        with pytest.raises(TypeError, match=r"name of .*Local is called with the instance, and .*takes \(\)"):

            @shared(name=cast("Any", lambda: "no instance"))
            class Local(Logged):
                pass

        assert dict(vars(Logged)) == before

    def test_resource_of_something_else(self) -> None:
        """An instance whose class is not decorated, and a class."""
        for thing in (Logged(), 3, Camera):
            with pytest.raises(TypeError, match=r"the class \w+ is not decorated with @refcounted_resource"):
                resource_of(cast("Any", thing))
