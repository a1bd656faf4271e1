"""What is public says so: it reports the package as its module, and not the file that happens to hold it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Public = TypeVar("_Public", bound=Callable[..., object])


def public(obj: _Public) -> _Public:
    """Make a class or function report `refcount` as its module, in reprs, tracebacks, documentation and pickles.

    Pickle finds an object again by module and qualified name, so whatever is decorated must be importable from
    `refcount` under that name; what was pickled then survives that a private module is renamed.

    Two tools look a class up by its module and find the package: `doctest` (and `pytest --doctest-modules`) collects a
    public class from `refcount/__init__.py`, not from the file that holds it, and `inspect.getsource` does not find it.

    Args:
        obj: A class or a function at the top level of a module.

    Returns:
        The same object.
    """
    obj.__module__ = "refcount"
    return obj
