"""Names: what a thing is called, whose text is made only when somebody asks for it, and is short and never fails."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TypeVar

Name = str | Callable[[], str]
"""A name, or what makes it when it is asked for."""

LENGTH = 80
"""How many characters of a name may come of what users bring: of arguments, or of a name that a function makes."""

_shortener = reprlib.Repr()
_shortener.maxlevel = 3
_shortener.maxstring = _shortener.maxlong = _shortener.maxother = LENGTH // 2


def name_of(thing: object) -> str:
    """Return what a reader would call `thing`: behind partials, and after its class if it has no name of its own.

    That is as its calls are written, `camera` or `Producer.feed`, wherever it was defined.
    """
    while isinstance(thing, partial):
        thing = thing.func
    name = getattr(thing, "__qualname__", None)
    if not isinstance(name, str):
        if not callable(thing):
            return short(thing)
        name = type(thing).__qualname__
    return name.rpartition("<locals>.")[2]


def short(value: object) -> str:
    """Return the `repr` of a value, or what comes near: on one line, short, and whatever its class does instead."""
    try:
        text = _shortener.repr(value)
    except Exception:  # `reprlib` goes by names, and takes a user's class called `list` for one
        text = f"<{type(value).__name__} object>"
    return one_line(text)


def one_line(text: str) -> str:
    """Return `text` on one line, with escapes, as Python writes them, for what no terminal should get."""
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else repr(it)[1:-1] for it in " ".join(text.split()))


def cut(text: str) -> str:
    """Return `text`, or its beginning if it is long."""
    return text if len(text) <= LENGTH else f"{text[: LENGTH - 3]}..."


def text_of(name: Name) -> str:
    """Return the text of a name, which may be made only now."""
    return name if isinstance(name, str) else name()


def named(
    name: str | Callable[..., str] | None,
    instead: Name,
    args: tuple[object, ...] = (),
    kwargs: Mapping[str, object] = MappingProxyType({}),
) -> Name:
    """Return what a thing is called to which the user gave `name`: a text, or a function of the arguments.

    Args:
        name: The user's; None for `instead`.
        instead: What it is called if the user said nothing, or nothing that can be used.
        args: What the function is called with.
        kwargs: The same by keyword.
    """
    if name is None:
        return instead
    return one_line(name) if isinstance(name, str) else partial(_told, name, instead, args, kwargs)


def _told(
    function: Callable[..., object], instead: Name, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> str:
    try:
        text = function(*args, **kwargs)
    except Exception:  # a name is asked for where something else has gone wrong already
        return text_of(instead)
    return cut(one_line(text)) if isinstance(text, str) else text_of(instead)


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
