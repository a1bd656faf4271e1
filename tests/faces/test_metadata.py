"""What `inspect`, `help()` and Sphinx see of decorated things is the truth, and is what the user wrote.

What a function says that it returns is what it yields from; decorated, it says that its calls return leases.
"""

from __future__ import annotations

import ast
import functools
import inspect
import pydoc
import threading
import typing
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from types import MethodType
from typing import Any, NamedTuple, cast

import pytest

from refcount import (
    InstanceManager,
    RefcountedExecutor,
    SharedResource,
    StoppableThread,
    WorkerGroup,
    demand,
    refcounted_attribute,
    refcounted_method,
    refcounted_resource,
    tracked,
    uses,
)
from refcount._faces import decorators

SHARED = SharedResource.of(str)


@refcounted_resource
def bare(index: int, size: int = 1, *, mode: str = "still") -> Generator[str]:
    """Open a camera."""
    yield f"{index} {size} {mode}"


@refcounted_resource(linger=1.0, capacity=2)
def optioned(index: int) -> Iterator[str]:
    """Open a camera with options."""
    yield f"{index}"


@refcounted_resource
@contextmanager
def managed(index: int) -> Generator[str]:
    """Open a camera as a context manager."""
    yield f"{index}"


@uses(SHARED)
def used(text: str, index: int, *, mode: str = "still") -> str:
    """Take a picture."""
    return f"{text}{index}{mode}"


@uses(SHARED)
def used_generator(text: str, index: int) -> Iterator[str]:
    """Take pictures."""
    yield f"{text}{index}"


@uses(SHARED)
async def used_coroutine(text: str, index: int) -> str:
    """Take a picture later."""
    return f"{text}{index}"


@uses(SHARED)
async def used_async_generator(text: str, index: int) -> AsyncGenerator[str]:
    """Take pictures later."""
    yield f"{text}{index}"


def needs_light(camera: object) -> bool:
    """Say whether it does."""
    return camera is not None


class Studio(InstanceManager[object]):
    """A studio has some of everything."""

    device = refcounted_attribute(dict[str, int], linger=1.0)
    thread = refcounted_attribute(StoppableThread, start=StoppableThread.start, stop=StoppableThread.stop)
    open = tracked[bool]()
    light = demand("dark")
    flash = demand(needs_light)

    @refcounted_method
    def feed(self, topic: str, *, limit: int = 3) -> Generator[str]:
        """Feed a topic."""
        yield f"{topic} {limit}"

    @uses(SHARED)
    def method(self, text: str, index: int) -> str:
        """Take a picture in the studio."""
        return f"{text}{index}"

    @classmethod
    @uses(SHARED)
    def cls_method(cls, text: str, index: int) -> str:
        """Take a picture in any studio."""
        return f"{text}{index}"

    @staticmethod
    @uses(SHARED)
    def static(text: str, index: int) -> str:
        """Take a picture anywhere."""
        return f"{text}{index}"


class Plain:
    """Something that is entered."""

    def __init__(self, index: int, *, size: int = 1) -> None:
        self.index = index
        self.size = size

    def __enter__(self) -> int:
        """Give the index."""
        return self.index

    def __exit__(self, *exc: object) -> None:
        """Leave."""

    def grow(self) -> None:
        """Grow by 1."""
        self.size += 1


@refcounted_resource
class Decorated(Plain):
    """Something that is entered."""

    def __enter__(self) -> int:
        """Give the index."""
        return super().__enter__()


class Truth(NamedTuple):
    """What shall be seen of a decorated thing."""

    thing: Callable[..., Any]
    name: str
    doc: str
    parameters: str
    kind: Callable[[object], bool] | None = None


STUDIO = Studio()
FEED: Any = Studio.feed  # no checker lets it be called

TRUTHS = [
    Truth(bare, "bare", "Open a camera.", "index, size, mode"),
    Truth(optioned, "optioned", "Open a camera with options.", "index"),
    Truth(managed, "managed", "Open a camera as a context manager.", "index"),
    Truth(FEED, "Studio.feed", "Feed a topic.", "self, topic, limit"),
    Truth(STUDIO.feed, "Studio.feed", "Feed a topic.", "topic, limit"),
    Truth(used, "used", "Take a picture.", "index, mode"),
    Truth(used_generator, "used_generator", "Take pictures.", "index", inspect.isgeneratorfunction),
    Truth(used_coroutine, "used_coroutine", "Take a picture later.", "index", inspect.iscoroutinefunction),
    Truth(used_async_generator, "used_async_generator", "Take pictures later.", "index", inspect.isasyncgenfunction),
    Truth(Studio.method, "Studio.method", "Take a picture in the studio.", "self, index"),
    Truth(STUDIO.method, "Studio.method", "Take a picture in the studio.", "index"),
    Truth(Studio.cls_method, "Studio.cls_method", "Take a picture in any studio.", "index"),
    Truth(Studio.static, "Studio.static", "Take a picture anywhere.", "index"),
]
KINDS = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)


def spelled(truth: Truth) -> str:
    """Return what names it in a report."""
    return f"{truth.name}({truth.parameters})"


def is_bound(thing: object) -> bool:
    """Say whether it is a method as Python binds them, and so no proxy of ours."""
    return type(thing) is MethodType


everything = pytest.mark.parametrize("truth", TRUTHS, ids=spelled)


def shown(thing: object) -> str:
    """Return what `help(thing)` shows."""
    return pydoc.plain(pydoc.render_doc(thing))


@everything
def test_names(truth: Truth) -> None:
    """Name, qualified name, module and docstring are the user's own."""
    thing = truth.thing
    assert (thing.__name__, thing.__qualname__) == (truth.name.rpartition(".")[2], truth.name)
    assert thing.__module__ == __name__
    assert thing.__doc__ == inspect.getdoc(thing) == truth.doc


@everything
def test_signature(truth: Truth) -> None:
    """It shows the parameters that a caller gives, with their kinds, defaults and annotations, and no others."""
    signature = inspect.signature(truth.thing)
    assert ", ".join(signature.parameters) == truth.parameters
    if "index" in signature.parameters:
        assert signature.parameters["index"].annotation == "int"
    if "mode" in signature.parameters:
        assert str(signature.parameters["mode"]) == "mode: 'str' = 'still'"
        assert signature.parameters["mode"].kind is inspect.Parameter.KEYWORD_ONLY
    hints = typing.get_type_hints(truth.thing)
    assert [name for name in hints if name != "return"] == [name for name in signature.parameters if name != "self"]


@everything
def test_kind(truth: Truth) -> None:
    """It is a generator, coroutine or asynchronous generator function if what its call returns is one."""
    assert [kind for kind in KINDS if kind(truth.thing)] == ([] if truth.kind is None else [truth.kind])
    assert [kind for kind in KINDS if kind(functools.partial(truth.thing))] == [truth.kind][: truth.kind is not None]
    assert inspect.isroutine(truth.thing)
    assert not inspect.isclass(truth.thing)
    assert callable(truth.thing)


@everything
def test_wrapped(truth: Truth) -> None:
    """The way down leads to the function that the user wrote, and to its source."""
    function = inspect.unwrap(truth.thing)
    assert type(function) is type(shown)
    assert function.__qualname__ == truth.name
    assert function is not truth.thing
    assert truth.doc in inspect.getsource(truth.thing)


@pytest.mark.parametrize("truth", [truth for truth in TRUTHS if not is_bound(truth.thing)], ids=spelled)
def test_wraps_chain(truth: Truth) -> None:
    """`functools.wraps` over it hands all of that on.

    Left out are bound methods that use: whatever sets a signature, that is copied from the function, with `self`.
    """

    @functools.wraps(truth.thing)
    def once(*args: object, **kwargs: object) -> None: ...

    @functools.wraps(once)
    def twice(*args: object, **kwargs: object) -> None: ...

    assert (twice.__qualname__, twice.__doc__, twice.__module__) == (truth.name, truth.doc, __name__)
    assert inspect.signature(twice) == inspect.signature(truth.thing)
    assert inspect.unwrap(twice) is inspect.unwrap(truth.thing)


@everything
def test_help(truth: Truth) -> None:
    """`help()` shows it as the function or method that it is, with its signature and docstring."""
    page = shown(truth.thing)
    name, first = truth.name.rpartition(".")[2], truth.parameters.partition(",")[0]
    assert f"{name}({first}" in page
    assert truth.doc in page
    assert "Proxy" not in page


def test_help_on_a_class() -> None:
    """Everything that is declared in a class has its place there, and one line that says what it is."""
    page = shown(Studio)
    for truth in TRUTHS:
        if truth.name.startswith("Studio.") and truth.thing is not STUDIO.method:
            assert truth.doc in page
    assert "feed(self, topic: 'str', *, limit: 'int' = 3)" in page
    for name in ("device", "thread", "open", "light", "flash"):
        assert f"{name}\n |      {getattr(Studio, name).__doc__}\n" in page


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("device", "A shared resource, each instance's own, made by `dict`."),
        ("thread", "A shared resource, each instance's own, made by `StoppableThread`."),
        ("open", "A plain attribute whose changes are noticed"),
        ("light", "as `dark` tells"),
        ("flash", "as `needs_light` tells"),
    ],
)
def test_descriptors(name: str, words: str) -> None:
    """On the class a descriptor is itself, and documents what it is there for; its class keeps its own docstring."""
    descriptor = getattr(Studio, name)
    assert inspect.isdatadescriptor(descriptor)
    assert inspect.getattr_static(Studio, name) is descriptor
    doc = inspect.getdoc(descriptor)
    assert doc is not None
    assert words in doc
    assert "\n" not in doc
    assert ">>>" in (type(descriptor).__doc__ or "")
    assert type(descriptor).__module__ == "refcount"


def test_docstring_of_a_descriptor() -> None:
    """Whoever wants to say more of an attribute may set its docstring."""
    attribute = refcounted_attribute(dict[str, int])
    attribute.__doc__ = "The table of the house."
    house = type("House", (), {"table": attribute, "__module__": __name__})
    assert "table\n |      The table of the house." in shown(house)


def test_members_as_autodoc_lists_them() -> None:
    """Sphinx goes through `dir`, and documents what has a docstring and says that it is of this module."""
    found = {name: getattr(Studio, name) for name in dir(Studio) if name in vars(Studio) and not name.startswith("_")}
    assert found.keys() == {"device", "thread", "open", "light", "flash", "feed", "method", "cls_method", "static"}
    assert all(inspect.getdoc(member) for member in found.values())
    routines = {name for name, member in found.items() if inspect.isroutine(member)}
    assert routines == {"feed", "method", "cls_method", "static"}
    assert {found[name].__module__ for name in routines} == {__name__}


KEYED, THREADS, TASKS = (
    {"key", "capacity", "weight", "when_full"},
    {"own_thread"},
    {"stop_timeout", "on_failure", "per_loop"},
)
OPTIONS = {
    "ClassOptions": KEYED | TASKS,
    "AsyncClassOptions": KEYED | THREADS,
    "FunctionOptions": TASKS,
    "AsyncFunctionOptions": THREADS,
    "LaterOptions": THREADS | TASKS,
    "LaterThreadOptions": TASKS,
    "LaterTaskOptions": THREADS,
}
"""What says for checkers which options there are, and what has no place there."""


def option_types() -> dict[str, set[str]]:
    """Return the options that each of `OPTIONS` has; Python cannot make these classes yet, so that they are read."""
    tree = ast.parse(inspect.getsource(decorators))
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}

    def options(name: str) -> set[str]:
        bases = {base.id for base in classes[name].bases if isinstance(base, ast.Name)} & classes.keys()
        own = {ast.unparse(line.target) for line in classes[name].body if isinstance(line, ast.AnnAssign)}
        return own.union(*map(options, bases))

    return {name: options(name) for name in OPTIONS}


@pytest.mark.parametrize("decorator", [refcounted_resource, refcounted_method])
def test_options_are_those_that_checkers_know(decorator: Callable[..., object]) -> None:
    """A decorator shows all of them, with their defaults."""
    parameters = [*inspect.signature(decorator).parameters]
    assert parameters.pop(0) == "source"
    for name, options in option_types().items():
        assert options == {*parameters} - OPTIONS[name], name
    shown_options = shown(decorator)
    for option in parameters:
        assert f"{option}: " in shown_options


def test_names_are_strings() -> None:
    """Whatever is given a name refuses one that is none, and says of what."""
    three = cast("Any", 3)
    makers: dict[str, Callable[[], object]] = {
        "SharedResource": lambda: SharedResource(partial(Plain, 0), name=three),
        "WorkerGroup": lambda: WorkerGroup(threading.Event.wait, name=three),
        "RefcountedExecutor": lambda: RefcountedExecutor(name=three),
    }
    for what, make in makers.items():
        with pytest.raises(
            TypeError, match=f"the name of {what} must be a string, or a function that returns one, not 3"
        ):
            make()
    with pytest.raises(
        TypeError, match="the name of SharedResource must be a string, or a function that returns one, not 3"
    ):
        SharedResource.of(str, name=three)


def test_of_belongs_to_no_subclass() -> None:
    """What it makes is a plain resource, whatever class it is asked of; so it is a static method."""
    assert isinstance(inspect.getattr_static(SharedResource, "of"), staticmethod)
    assert type(WorkerGroup.of(str)) is SharedResource
    assert next(iter(inspect.signature(SharedResource.of).parameters)) == "factory"


def test_executor() -> None:
    """It says whose it is, and why it cannot be shut down, whatever the arguments."""
    with RefcountedExecutor(name="pool")() as executor:
        assert repr(executor) == "<executor of pool>"
        for arguments, options in (((), {}), ((True, True), {}), ((), {"cancel_futures": True, "now": 1})):
            with pytest.raises(RuntimeError, match="pool is shared: it is shut down by the end of its last lease"):
                cast("Any", executor).shutdown(*arguments, **options)


def test_decorated_class() -> None:
    """A decorated class is the class, with what is entered and left as the user wrote it."""
    assert inspect.isclass(Decorated)
    assert (Decorated.__name__, Decorated.__qualname__, Decorated.__module__) == ("Decorated", "Decorated", __name__)
    assert inspect.getdoc(Decorated) == "Something that is entered."
    assert inspect.signature(Decorated) == inspect.signature(Plain)
    assert "class Decorated(Plain):" in inspect.getsource(Decorated)
    assert Decorated.__mro__[1:] == Plain.__mro__
    page = shown(Decorated)
    assert "Decorated(index: 'int', *, size: 'int' = 1)" in page
    assert "Grow by 1." in page


@pytest.mark.parametrize("name", ["__enter__", "__exit__", "grow"])
def test_methods_of_a_decorated_class(name: str) -> None:
    """What is inherited or written looks as before, whoever put something in its place."""
    decorated, plain = getattr(Decorated, name), getattr(Plain, name)
    assert decorated.__name__ == name
    assert inspect.getdoc(decorated) == inspect.getdoc(plain)
    assert inspect.signature(decorated) == inspect.signature(plain)
    assert not any(kind(decorated) for kind in KINDS)
