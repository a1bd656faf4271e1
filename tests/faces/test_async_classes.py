"""`refcounted_resource` on classes that are entered by `async with`: the same bodies on every event loop."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, cast

import anyio
import pytest

from refcount import (
    AsyncSharedResource,
    RefcountError,
    SharedResource,
    StartStop,
    refcounted_resource,
    resource_of,
)
from tests.helpers.loops import Job, Run, checkpoint, error_of, run, settled, until

__all__ = ["run"]

untyped = cast("Callable[..., Any]", refcounted_resource)
"""For what the type checkers refuse and the run time has to refuse as well."""


class Logged:
    """Writes what happens."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def __aenter__(self) -> Self:
        await checkpoint()
        self.lines.append("enter")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await checkpoint()
        self.lines.append(f"exit {exc[0]}")


@refcounted_resource
class Client(Logged):
    """Is shared."""


@refcounted_resource(linger=60.0, name=lambda client: f"client of {len(client.lines)}")
class Lingering(Logged):
    """Lingers."""


def test_tasks_share_an_instance(run: Run) -> None:
    """The first entry runs the class's own `__aenter__`, the last exit its own `__aexit__`."""
    client = Client()

    async def consumer() -> None:
        async with client as entered:
            assert entered is client
            await settled()

    async def body() -> None:
        for job in [Job(consumer) for _ in range(5)]:
            await job.result()
        assert client.lines == ["enter", "exit None"]
        async with client, client:
            assert resource_of(client).usecount == 2
        assert client.lines == ["enter", "exit None"] * 2

    run(body)


def test_resource_of_an_instance(run: Run) -> None:
    """It is the same one, has its name, and does not keep the instance."""
    client = Client()
    resource = resource_of(client)
    assert isinstance(resource, AsyncSharedResource)
    assert resource is resource_of(client) is not resource_of(Client())
    assert resource.name.endswith("Client")
    assert resource_of(Lingering()).name == "client of 0"

    async def body() -> None:
        async with resource_of(client)() as value:
            assert value is client
        lingering = Lingering()
        async with lingering:
            pass
        assert lingering.lines == ["enter"]
        assert await resource_of(lingering).flush()
        gone = resource_of(Client())
        assert "keep it while you use it" in str(await error_of(gone.acquire()))

    run(body)


def test_an_error_of_the_body_is_its_own(run: Run) -> None:
    """The class's own `__aexit__` is not told, whoever leaves last."""
    client = Client()

    async def fail() -> None:
        async with client:
            raise OSError("mine")

    async def body() -> None:
        assert str(await error_of(fail())) == "mine"
        assert client.lines == ["enter", "exit None"]

    run(body)


def test_an_exit_gives_back_what_this_task_entered_last(run: Run) -> None:
    """What another task has entered stays, and is given back only where nothing of this one's own is left."""
    client = Client()
    entered, leave = anyio.Event, anyio.Event

    async def hold(inside: anyio.Event, go: anyio.Event) -> int | None:
        async with client:
            number = resource_of(client).generation
            inside.set()
            await go.wait()
        return number

    async def body() -> None:
        first, second = (entered(), leave()), (entered(), leave())
        one = Job(functools.partial(hold, *first))
        await first[0].wait()
        resource_of(client).invalidate()
        other = Job(functools.partial(hold, *second))
        await second[0].wait()
        assert resource_of(client).usecount == 2
        first[1].set()
        assert await one.result() == 1
        assert resource_of(client).generation == 2
        await client.__aexit__(None, None, None)  # nothing of this task's: the other one's goes
        assert resource_of(client).usecount == 0
        second[1].set()
        assert "left without having been entered" in str(await other.error())

    run(body)


def test_an_exit_too_much(run: Run) -> None:
    """Is an error that names the resource."""
    client = Client()

    async def body() -> None:
        error = await error_of(client.__aexit__(None, None, None))
        assert isinstance(error, RefcountError)
        assert "Client was left without having been entered" in str(error)

    run(body)


def test_a_cancelled_entry_leaves_nothing(run: Run) -> None:
    """The start is cancelled with its last waiter, and the next one starts anew."""
    let = [False]

    @refcounted_resource
    class Slow(Logged):
        async def __aenter__(self) -> Self:
            await until(lambda: let[0])
            return await super().__aenter__()

    slow = Slow()

    async def enter() -> None:
        async with slow:
            pass

    async def body() -> None:
        job = Job(enter)
        await settled()
        job.cancel()
        await job.wait()
        assert resource_of(slow).usecount == 0
        let[0] = True
        await enter()
        assert slow.lines == ["enter", "exit None"]

    run(body)


def test_failures_inside_cancel_the_blocks(run: Run) -> None:
    """With `on_failure="cancel"`, as for any resource; whoever leaves for another task gives its lease back."""

    @untyped(on_failure="cancel")
    class Fragile:
        def __init__(self) -> None:
            self.failing = anyio.Event()

        async def __aenter__(self) -> Self:
            self.group = anyio.create_task_group()
            await self.group.__aenter__()
            self.group.start_soon(self._fail)
            return self

        async def _fail(self) -> None:
            await self.failing.wait()
            raise OSError("unplugged")

        async def __aexit__(self, *exc: Any) -> Any:
            return await self.group.__aexit__(*exc)

    async def hold() -> None:
        async with Fragile() as fragile:
            fragile.failing.set()
            await anyio.sleep_forever()

    async def body() -> None:
        assert "unplugged" in repr(await error_of(hold()))

    run(body, cycles=True)


@refcounted_resource
class Both(Logged):
    """Has both pairs."""

    def __enter__(self) -> str:
        self.lines.append("plain enter")
        return "plain"

    def __exit__(self, *exc: object) -> None:
        self.lines.append(f"plain exit {exc[0]}")


def test_both_pairs_are_shared_each_on_its_own(run: Run) -> None:
    """There are two resources; the one for threads is the one that is shown."""
    both = Both()

    async def body() -> None:
        async with both as value, both:
            assert value is both
            with both as plain, both:
                assert plain == "plain"
                assert both.lines == ["enter", "plain enter"]
                assert resource_of(both).usecount == 2
        assert both.lines == ["enter", "plain enter", "plain exit None", "exit None"]

    run(body)
    assert isinstance(resource_of(both), SharedResource)


def test_options_of_both_pairs() -> None:
    """Each option is for the pair that it can be for."""

    class Fresh(Logged):
        def __enter__(self) -> None: ...

        def __exit__(self, *exc: object) -> None: ...

    assert untyped(own_thread=True, stop_timeout=1.0)(Fresh) is Fresh

    async def later(value: object) -> bool:
        return True

    with pytest.raises(TypeError, match="check must not be asynchronous"):
        untyped(check=later)(type("Another", (Fresh,), {"__module__": "nowhere"}))


@refcounted_resource
class Base(Logged):
    """Is shared, and so are its heirs."""

    made = "by hand"

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.made = "by the base"


class Heir(Base):
    """Writes one of the two."""

    async def __aenter__(self) -> Self:
        self.lines.append("heir")
        return await super().__aenter__()


class Plain(Base):
    """Writes none."""


def test_subclasses(run: Run) -> None:
    """Are shared as well, once; what they inherit does what was written there."""
    heir, plain = Heir(), Plain()
    assert Heir.made == "by the base"

    async def body() -> None:
        async with heir, heir, plain, plain:
            assert heir.lines == ["heir", "enter"]
            assert plain.lines == ["enter"]
            assert resource_of(heir).usecount == 2
        assert heir.lines == ["heir", "enter", "exit None"]

    run(body)


@refcounted_resource
@dataclass(eq=False)
class Data:
    """Is a dataclass."""

    lines: list[str] = field(default_factory=list[str])

    async def __aenter__(self) -> list[str]:
        self.lines.append("enter")
        return self.lines

    async def __aexit__(self, *exc: object) -> None:
        self.lines.append("exit")


def test_a_dataclass_gives_something_else(run: Run) -> None:
    """What its `__aenter__` returns is the value."""
    data = Data()

    async def body() -> None:
        async with data as lines, data as same:
            assert lines is same is data.lines
        assert data.lines == ["enter", "exit"]

    run(body)


def test_an_instance_that_nobody_has_is_gone(run: Run) -> None:
    """The with-statement keeps it, and nothing else does."""

    async def body() -> None:
        async with Client() as client:
            gc.collect()
            assert client.lines == ["enter"]
        weak = weakref.ref(client)
        del client
        await until(lambda: gc.collect() < 0 or weak() is None, "the instance to be gone")

    run(body, cycles=True)


class Steps(StartStop):
    """Has the wrong kind of hooks."""

    async def start(self) -> None: ...  # type: ignore[override]  # that is the mistake

    def stop(self) -> None: ...


class NoExit:
    """Cannot be left."""

    async def __aenter__(self) -> None: ...


class Wants:
    """Wants more than it gets."""

    async def __aenter__(self, more: int) -> None: ...

    async def __aexit__(self, *exc: object) -> None: ...


class Closed:
    """Allows no weak references."""

    __slots__ = ()

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *exc: object) -> None: ...


REFUSED: list[tuple[type, dict[str, Any], str]] = [
    (Steps, {}, "start of Steps must not be asynchronous, .*: what tasks share is entered by __aenter__"),
    (NoExit, {}, "NoExit has no __aexit__, so that its instances cannot be shared"),
    (Wants, {}, "__aenter__ of Wants is called with the instance, and .* takes"),
    (Closed, {}, "no weak references to instances of Closed, .*: add '__weakref__'"),
    (Logged, {}, "Logged exists already, and is not changed under the feet of its other users"),
    (type("New", (Logged,), {}), {"own_thread": True}, "own_thread has no effect on `New`, which is asynchronous"),
    (type("New", (Logged,), {}), {"key": lambda: 0}, "a class takes no key"),
]


@pytest.mark.parametrize(("cls", "options", "text"), REFUSED)
def test_what_cannot_be_shared_is_refused(cls: type, options: dict[str, Any], text: str) -> None:
    """With an error that names the class, and what to write."""
    with pytest.raises(TypeError, match=text):
        untyped(**options)(cls)
