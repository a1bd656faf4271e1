"""The documentation is true: every public name is documented, and every example in a docstring or on a page runs.

What runs is the installed package, wherever it was installed.
"""

import doctest
import importlib
import inspect
import pkgutil
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import refcount
from refcount.testing import ManualClock

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTING = ROOT / "docs" / "testing.md"


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


def page_example(page: Path) -> doctest.DocTest:
    """Return all code blocks of a page as one session, with the line numbers they have there."""
    session: list[str] = []
    in_block = False
    for line in page.read_text(encoding="utf-8").splitlines(keepends=True):
        fence = line.startswith("```")
        in_block ^= fence
        session.append(line if in_block and not fence else "\n")
    return doctest.DocTestParser().get_doctest("".join(session), {"__name__": "__main__"}, page.name, str(page), 0)


def programs(page: Path) -> list[str]:
    """Return the code blocks of a page that are programs and no sessions."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links, as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs(page: Path) -> None:
    """What a page shows after ``>>>`` happens so, read from top to bottom."""
    run(page_example(page))


@pytest.fixture
def signal_handlers() -> Iterator[None]:
    """Put back the handlers that a page shows how to set."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("signal_handlers")
@pytest.mark.parametrize("page", [page for page in PAGES if page != TESTING], ids=lambda page: page.name)
def test_programs_of_page_run(page: Path) -> None:
    """What a page shows as a program runs, lingers and all."""
    for program in programs(page):
        with ManualClock():
            exec(compile(program, str(page), "exec"), {"__name__": "__main__"})  # a page of our own


def test_tests_of_page_pass(pytester: pytest.Pytester) -> None:
    """What the page about tests shows is one file of tests, and they pass."""
    (pytester.path / "test_page.py").write_text("\n".join(programs(TESTING)), encoding="utf-8")
    pytester.runpytest_subprocess("-W", "error", "-p", "no:asyncio").assert_outcomes(passed=10)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of ours, and to a heading in it, has a target."""
    for target in re.findall(r"\]\((?!https?:)([^)]*)\)", page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not heading or heading in anchors(linked), f"{page.name} links to {target}"


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
