"""The house: which module may know which, read from the source."""

import ast
from pathlib import Path

from tests.helpers.tracing import PACKAGE

WINGS = ("_support", "_core", "_faces")
"""Each wing uses only those before it; `_errors` and the counter stand between the first two."""

FLOORS = 9

MODULES = 86
"""How many there are: one for each noun. Who adds one looks first where it belongs."""


def modules() -> dict[str, Path]:
    """Return the modules by their dotted names, less the packages themselves, which are tables of contents."""
    found: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "__init__.py":
            found[".".join(("refcount", *path.relative_to(PACKAGE).with_suffix("").parts))] = path
    return found


def imports(tree: ast.Module) -> set[str]:
    """Return what a module imports of the package when it is run, late imports of its functions included.

    What stands under `if TYPE_CHECKING` is not imported at all.
    """
    names: set[str] = set()
    for node in ast.walk(_without_checking(tree)):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("refcount"):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _without_checking(tree: ast.Module) -> ast.Module:
    kept = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))]
    return ast.Module(body=kept, type_ignores=[])


def graph() -> dict[str, set[str]]:
    """Return which module imports which."""
    known = modules()
    return {
        name: imports(ast.parse(path.read_text(encoding="utf-8"))) & known.keys() - {name}
        for name, path in known.items()
    }


def wing(name: str) -> int:
    """Return the wing of a module; what stands in none is between support and core."""
    part = name.split(".")[1]
    return WINGS.index(part) * 2 if part in WINGS else 1


def test_no_wing_uses_one_above_it() -> None:
    """Support knows no resource, the core no face."""
    upward = {
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in others
        if wing(other) > wing(name) and name != "refcount.testing"
    }
    assert not upward


def test_no_circles_and_few_floors() -> None:
    """Every module stands above all that it imports, on at most nine floors."""
    floors: dict[str, int] = {}
    rest = graph()
    while rest:
        ready = {name for name, others in rest.items() if others <= floors.keys()}
        assert ready, f"these import each other: {sorted(rest)}"
        for name in ready:
            floors[name] = 1 + max((floors[other] for other in rest[name]), default=0)
            del rest[name]
    assert max(floors.values()) <= FLOORS, sorted(floors.items(), key=lambda item: item[1])


def test_there_are_few_modules() -> None:
    """As many as the house has today, and no more."""
    assert len(modules()) <= MODULES


def test_no_module_is_long() -> None:
    """A module is one noun, of at most 400 lines, and no function is longer than 40 lines without its docstring."""
    for path in modules().values():
        source = path.read_text(encoding="utf-8")
        assert source.count("\n") <= 400, path.name
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                assert lines <= 40, f"{path.name}: {node.name} has {lines} lines"
