"""What `import refcount` costs, and what it offers."""

import importlib.metadata
import subprocess
import sys

import pytest

import refcount


def run(program: str) -> str:
    """Run a program in a fresh interpreter, and return what it printed."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def test_import_is_light() -> None:
    """`import refcount` imports no event loop, no third-party package, and starts no thread."""
    heavy = run(
        "import sys, threading, refcount\n"
        "own = sys.stdlib_module_names | {'refcount', '__main__'}\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(name for name in loaded - own if not name.startswith(('_', 'sitecustomize', 'usercustomize'))))\n"
        "print('asyncio' in sys.modules, threading.active_count())"
    )
    assert heavy.splitlines() == ["[]", "False 1"]


@pytest.mark.parametrize("name", refcount.__all__)
def test_public_names(name: str) -> None:
    """Every public name is there, is listed by `dir`, and says that it is the package's."""
    found = getattr(refcount, name)
    assert name in dir(refcount)
    if callable(found):
        assert found.__module__ == "refcount"


def test_version() -> None:
    """It is the distribution's."""
    assert refcount.__version__ == importlib.metadata.version("refcounted")


def test_unknown_name() -> None:
    """A name that the package does not have is an ordinary AttributeError that names both."""
    with pytest.raises(AttributeError, match="module 'refcount' has no attribute 'refcounted'"):
        _ = getattr(refcount, "refcounted")  # noqa: B009  # a checker would refuse it as an attribute


def test_first_use_from_many_threads() -> None:
    """Names that are imported on first use may be used first by many threads at once."""
    program = (
        "import threading, refcount\n"
        "found, gate = [], threading.Barrier(8)\n"
        "def use():\n"
        "    gate.wait()\n"
        "    found.append(refcount.refcounted_resource)\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "print(len(found), len(set(map(id, found))))"
    )
    assert run(program) == "8 1"
