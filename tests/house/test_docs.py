"""The documentation is true: every public name is documented, and every example in a docstring or the README runs.

What runs is the installed package, wherever it was installed.
"""

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import refcount
from refcount.testing import ManualClock

README = Path(__file__).parents[2] / "README.md"


def public_modules() -> Iterator[ModuleType]:
    """Yield ``refcount`` and every module below it that has no underscore in front."""
    yield refcount
    for info in pkgutil.walk_packages(refcount.__path__, "refcount."):
        if "._" not in info.name:
            yield importlib.import_module(info.name)


def public_objects() -> dict[str, Any]:
    """Return every public name with what it stands for; what has two names is listed under the first."""
    found: dict[int, tuple[str, Any]] = {}
    for module in public_modules():
        for name in module.__all__:
            value = getattr(module, name)
            found.setdefault(id(value), (f"{module.__name__}.{name}", value))
    return dict(found.values())


PUBLIC = {name: value for name, value in public_objects().items() if inspect.isclass(value) or inspect.isroutine(value)}
CLASSES = [name for name, value in PUBLIC.items() if inspect.isclass(value)]


def docstring_examples() -> list[doctest.DocTest]:
    """Return the examples of all public docstrings; they need not import ``refcount``'s or their own module's names."""
    finder, parser = doctest.DocTestFinder(), doctest.DocTestParser()
    examples: list[doctest.DocTest] = []
    for module in public_modules():
        names: dict[str, Any] = {
            "__name__": "__main__",
            **{name: getattr(owner, name) for owner in (refcount, module) for name in owner.__all__},
        }
        examples.append(parser.get_doctest(module.__doc__ or "", dict(names), module.__name__, module.__file__, 0))
        for name in module.__all__:
            public_name = f"{module.__name__}.{name}"
            if public_name in PUBLIC:
                # module=False keeps what was defined in a private module and made public in this one.
                examples += finder.find(PUBLIC[public_name], public_name, module=False, globs=names)
    return [example for example in examples if example.examples]


def readme_example() -> doctest.DocTest:
    """Return all the README's code blocks as one session, with the line numbers they have in the README."""
    session: list[str] = []
    in_block = False
    for line in README.read_text(encoding="utf-8").splitlines(keepends=True):
        fence = line.startswith("```")
        in_block ^= fence
        session.append(line if in_block and not fence else "\n")
    return doctest.DocTestParser().get_doctest("".join(session), {"__name__": "__main__"}, "README", str(README), 0)


def readme_programs() -> list[str]:
    """Return the README's code blocks that are programs and no sessions."""
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(example: doctest.DocTest) -> None:
    """Run one example and fail with doctest's own report."""
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    if runner.run(example, out=report.append).failed:
        pytest.fail("".join(report), pytrace=False)


@pytest.mark.parametrize("example", docstring_examples(), ids=lambda example: example.name)
def test_docstring_example_runs(example: doctest.DocTest) -> None:
    """What a public docstring shows after ``>>>`` happens so."""
    run(example)


def test_readme_runs() -> None:
    """What the README shows after ``>>>`` happens so, read from top to bottom."""
    run(readme_example())


@pytest.mark.parametrize("program", readme_programs())
def test_readme_program_runs(program: str) -> None:
    """What the README shows as a program runs, lingers and all."""
    with ManualClock():
        exec(compile(program, str(README), "exec"), {"__name__": "__main__"})  # our own README


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_documented(name: str) -> None:
    """Every public class and function has a docstring of its own, with an example unless it is an exception."""
    value = PUBLIC[name]
    docstring: str | None = value.__doc__
    assert docstring, f"{name} has no docstring"
    if not (inspect.isclass(value) and issubclass(value, BaseException)):
        assert ">>>" in docstring, f"the docstring of {name} shows no example"


@pytest.mark.parametrize("name", CLASSES)
def test_public_members_are_documented(name: str) -> None:
    """Every public method and property of a public class has a docstring, its own or an inherited one."""
    bare = [
        member
        for member, value in vars(PUBLIC[name]).items()
        if not member.startswith("_")
        and (inspect.isroutine(value) or isinstance(value, property))
        and not inspect.getdoc(getattr(PUBLIC[name], member))
    ]
    assert not bare, f"{name} has members without docstring: {bare}"
