"""How far one with-statement travels: how many calls it makes, and through how many of our modules.

Run it with the library installed::

    python benchmarks/distances.py
    python benchmarks/distances.py --trace alone    # the calls themselves, in order

A call is what `sys.setprofile` tells of: the call of a function in Python (to resume a generator is one, too) or in C.
The consumer's with-statement itself is none, nor is the call that ends the counting; the opener's own calls are
counted. Every statement is run some times before it is counted.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from types import FrameType, MethodType
from typing import NamedTuple, TypeVar

from measuring import Cell, Table, no_garbage_collection, parser, show, verdict
from peers import Empty, opened

from refcount import SharedResource, refcounted_resource

K = TypeVar("K")

PACKAGE = "refcount"


class Statement(NamedTuple):
    """A with-statement, and how far it may travel."""

    name: str
    title: str
    run: Callable[[], None]
    calls: int | None
    modules: int | None
    beyond: str | None = None
    """The statement that the limits are counted from."""


@dataclass
class Distance:
    """What one run of a statement has called."""

    calls: list[str] = field(default_factory=list[str])
    modules: set[str] = field(default_factory=set[str])


def entering(resource: Callable[[], AbstractContextManager[object]]) -> Callable[[], None]:
    """Return a function that is nothing but a with-statement."""

    def statement() -> None:
        with resource():
            pass

    return statement


def entering_key(function: Callable[[K], AbstractContextManager[object]], key: K) -> Callable[[], None]:
    """Return the same for what is called with one argument."""

    def statement() -> None:
        with function(key):
            pass

    return statement


@refcounted_resource
def camera(index: int) -> Generator[None]:
    """Start and stop nothing."""
    yield


@refcounted_resource(linger=10.0)
def lingering_camera(index: int) -> Generator[None]:
    """Start and stop nothing, and linger."""
    yield


@refcounted_resource
def empty(index: int) -> Empty:
    """Return an opener that is no generator."""
    return Empty()


def statements(held: ExitStack) -> list[Statement]:
    """Return all statements; what is to be held meanwhile is in `held`."""
    running, lingering = SharedResource(Empty), SharedResource(Empty, linger=10.0)
    held.enter_context(running())
    held.enter_context(camera(0))
    held.callback(lingering.flush)
    held.callback(lingering_camera.close)
    return [
        Statement("join", "joining what runs", entering(running), 15, 3),
        Statement("linger", "coming back within a linger", entering(lingering), 15, 3),
        Statement("alone", "first and last, empty opener", entering(SharedResource(Empty)), 60, 7),
        Statement("alone-generator", "first and last, generator", entering(SharedResource(opened)), None, None),
        Statement("function-join", "decorated: joining", entering_key(camera, 0), 12, 3, "join"),
        Statement("function-linger", "decorated: coming back", entering_key(lingering_camera, 0), 12, 3, "linger"),
        Statement("function-alone", "decorated: first and last, empty opener", entering_key(empty, 1), 20, 3, "alone"),
        Statement(
            "function-alone-generator",
            "decorated: first and last, generator",
            entering_key(camera, 1),
            20,
            3,
            "alone-generator",
        ),
    ]


def travel(statement: Callable[[], None]) -> Distance:
    """Run a statement some times, and then once more while its calls are counted."""
    distance = Distance()

    def profile(frame: FrameType, event: str, arg: object) -> None:
        module = str(frame.f_globals.get("__name__"))
        if event == "call":
            distance.calls.append(f"{module}: {frame.f_code.co_qualname}")
            if module.split(".")[0] == PACKAGE:
                distance.modules.add(module)
        elif event == "c_call" and arg is not sys.setprofile:
            distance.calls.append(f"{module}: in C {_name(arg)}")

    for _ in range(3):
        statement()
    with no_garbage_collection():
        sys.setprofile(profile)
        statement()
        sys.setprofile(None)
    del distance.calls[0]  # the call of the statement itself
    return distance


def _name(function: object) -> str:
    bound_to = getattr(function, "__self__", None)
    owner = "" if bound_to is None or isinstance(function, MethodType) else f"{type(bound_to).__name__}."
    return f"{owner}{getattr(function, '__name__', function)}"


def measure(found: list[Statement]) -> Table:
    """Count the calls and modules of each statement, and hold them against the limits."""
    distances = {statement.name: travel(statement.run) for statement in found}
    rows: list[tuple[Cell, ...]] = []
    for name, title, _, limit, module_limit, beyond in found:
        base = distances[beyond] if beyond else Distance()
        calls = len(distances[name].calls) - len(base.calls)
        modules = len(distances[name].modules) - len(base.modules)
        sign = "+" if beyond else ""
        verdicts = (verdict(calls, limit), verdict(modules, module_limit))
        cells = ((f"{sign}{calls}", limit, verdicts[0]), (f"{sign}{modules}", module_limit, verdicts[1]))
        rows.append((name, title, *cells[0], *cells[1]))
    columns = ("statement", "what happens", "calls", "calls at most", "calls verdict")
    modules_columns = ("modules", "modules at most", "modules verdict")
    note = "+: more than the plain statement of the same name makes"
    return Table("one with-statement", columns + modules_columns, rows, note)


def main() -> None:
    """Count and print."""
    with ExitStack() as held:
        found = statements(held)
        options = parser("How many calls one with-statement makes, and through how many modules.")
        names = [statement.name for statement in found]
        options.add_argument("--trace", choices=names, help="print the calls of this statement instead")
        given = options.parse_args()
        if given.trace is None:
            show([measure(found)], given.form)
        else:
            print(*travel(found[names.index(given.trace)].run).calls, sep="\n")


if __name__ == "__main__":
    main()
