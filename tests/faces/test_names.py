"""Names of the resources of functions and methods: made when somebody asks, short, and silent about what is secret."""

from __future__ import annotations

import gc
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, cast

import pytest

from refcount import refcounted_method, refcounted_resource
from tests.helpers.programs import run_program
from tests.helpers.watched import WAIT

SECRET = "hunter2"


def connection(host: str, *, password: str = "") -> Generator[str]:
    """Connect."""
    yield host


def shown(host: str, *, password: str) -> str:
    """Say what may be shown."""
    return f"connection to {host}"


def test_a_name_is_a_function_of_the_arguments() -> None:
    """It gets all of them, defaults included, however they are spelled; and only when somebody asks."""
    asked: list[tuple[object, object]] = []

    def name(host: str, *, password: str) -> str:
        asked.append((host, password))
        return f"to {host}"

    class Client:
        @refcounted_method(name=name)
        def connection(self, host: str, *, password: str = "") -> Generator[str]:
            yield host

    for family in (refcounted_resource(connection, name=name), Client().connection):
        with family("db"), family(password="", host="db"):
            assert not asked
            resource = family.resource(host="db")
        assert resource.name == "to db"
        assert asked.pop() == ("db", "")
        assert not asked


def fails(host: str, *, password: str) -> str:
    """Raise."""
    raise LookupError(password)


def gives_no_text(host: str, *, password: str) -> Any:
    """Return what is no text."""
    return [password]


@pytest.mark.parametrize("name", [fails, gives_no_text])
def test_a_name_that_cannot_be_had_is_the_functions(name: Callable[..., str]) -> None:
    """That is never fatal, and shows no arguments."""
    family = refcounted_resource(connection, name=name)
    with family("db", password=SECRET):
        assert [resource.name for resource in family.resources()] == ["connection"]


def test_a_long_name_is_short() -> None:
    """And on one line."""
    family = refcounted_resource(connection, name=lambda host, **_: f"{host}\n" * 1000)
    assert len(family.resource("db").name) <= 80
    assert "\n" not in family.resource("db").name


def test_a_text_is_followed_by_the_arguments() -> None:
    """As the function's own name is."""
    family = refcounted_resource(connection, name="conn")
    assert family.resource("db", password="x").name == "conn('db', password='x')"


class Unshown:
    """Must not be shown."""

    def __repr__(self) -> str:
        raise AssertionError("shown")


def test_a_key_is_shown_instead_of_the_arguments() -> None:
    """Whatever they are; it is shortened as they are."""

    def frame(table: Unshown, column: object) -> Generator[object]:
        yield column

    family = refcounted_resource(frame, key=lambda table, column: column)
    assert family.resource(Unshown(), "a").name == "frame('a')"
    assert family.resource(Unshown(), ("a", 1)).name == "frame(('a', 1))"
    assert len(family.resource(Unshown(), "a" * 1000).name) < 100
    assert refcounted_resource(frame, key=lambda table, column: None, name="x").resource(Unshown(), 1).name == "x(None)"


# --- Secrets --------------------------------------------------------------------------------------------------------


class Told:
    """Everything that the library says anywhere."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def raised(self, act: Callable[[], object]) -> None:
        """Note the error of `act`, with its notes."""
        with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever it is
            act()
        self.texts += [str(caught.value), repr(caught.value), *getattr(caught.value, "__notes__", ())]

    def unraisable(self, args: Any) -> None:
        """Note what nobody caught."""
        self.texts += [repr(args.object), repr(args.exc_value)]


def secretive(trouble: str = "") -> Any:
    """Return a family whose argument is a secret, and what goes wrong with it."""

    @refcounted_resource(name=lambda host, **_: f"connection to {host}", capacity=1, when_full="raise")
    def connection(host: str, password: object = "", **more: object) -> Generator[object]:
        if trouble == "start":
            raise OSError("refused")
        if trouble == "nothing":
            return
        yield host
        if trouble == "stop":
            raise OSError("lost")
        if trouble == "twice":
            yield host

    return connection


def test_secrets_stand_in_no_text(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors, notes, warnings, logs, reprs, names: of a life in which all goes wrong that can, with a `name`."""
    caplog.set_level(logging.DEBUG)
    told = Told()
    monkeypatch.setattr(sys, "unraisablehook", told.unraisable)

    for trouble in ("start", "nothing", "stop", "twice"):
        family = secretive(trouble)
        told.raised(partial(run, family("db", SECRET)))
    family = secretive()
    told.raised(lambda: family("db", [SECRET]))  # not hashable
    told.raised(lambda: family("db", SECRET, SECRET))
    told.raised(lambda: family(SECRET=SECRET))
    lease = family("db", SECRET)
    with lease:
        told.texts += [repr(lease), repr(family), repr(family.resources()), lease.resource.name]
        told.raised(lambda: family("other", SECRET).__enter__())
        told.raised(lambda: family.close(timeout=0))
        told.raised(lambda: family("third", SECRET))
        told.raised(lambda: family.resource("db", SECRET).acquire())
    told.raised(lambda: lease.value)
    told.raised(lambda: lease.__enter__())
    family = secretive()
    with warnings.catch_warnings(record=True) as lost:
        warnings.simplefilter("always")
        family.resource("db", SECRET).acquire()
        gc.collect()
        family.resource("db", SECRET).wait_stopped(WAIT)
    told.texts += [str(warning.message) for warning in lost]
    told.texts += [thread.name for thread in threading.enumerate()]
    told.texts += [record.getMessage() for record in caplog.records]
    everything = "\n".join(told.texts)
    assert "connection to db" in everything
    assert SECRET not in everything.replace("argument 'SECRET'", "")


def run(lease: Any) -> None:
    """Enter and leave."""
    with lease:
        pass


# --- Same key, other arguments --------------------------------------------------------------------------------------

MISTAKEN = """
import sys, warnings
from refcount import refcounted_method, refcounted_resource

NAME = {name}

@refcounted_resource(key=lambda host, read_only: host, name=NAME)
def client(host, read_only=True):
    yield read_only

class Pool:
    @refcounted_method(key=lambda host, read_only: host, name=NAME)
    def client(self, host, read_only=True):
        yield read_only

class Odd:
    def __eq__(self, other):
        raise ValueError("ambiguous")

for shared in (client, Pool().client):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with shared("db", True):
            with shared("db"), shared(host="db", read_only=True):
                pass
            assert not caught, caught
            for _ in range(3):
                with shared("db", False) as value:
                    assert value is True
            shared.resource("db", read_only=False)
        with shared("odd", Odd()), shared("odd", Odd()):
            pass
        with shared("db", False):
            pass
    for warning in caught:
        print(warning.category.__name__, warning.message, warning.filename)
"""


def test_debug_mode_tells_of_other_arguments_with_the_same_key() -> None:
    """Once for each resource, with both calls, where the second one stands."""
    program = MISTAKEN.format(name="None")
    for ended in (
        run_program(program, options=("-X", "dev")),
        run_program(program, environment={"REFCOUNT_DEBUG": "1"}),
    ):
        assert ended.lines == [
            f"RuntimeWarning {name}('db', False) shares the resource of {name}('db', True), since their keys are equal "
            "<string>"
            for name in ("client", "Pool.client")
        ], ended.stderr


def test_nothing_is_told_outside_of_debug_mode() -> None:
    """Nor does anybody look."""
    ended = run_program(MISTAKEN.format(name="None"))
    assert (ended.lines, ended.returncode) == ([], 0), ended.stderr


def test_debug_mode_shows_no_secrets() -> None:
    """Where there is a name that is a function, that is all that is shown."""
    ended = run_program(MISTAKEN.format(name="lambda host, read_only: host"), options=("-X", "dev"))
    text = "RuntimeWarning db is asked for with another read_only than it was made with, since their keys are equal"
    assert ended.lines == [f"{text} <string>"] * 2, ended.stderr
    assert not re.search("True|False", ended.stdout)


def test_a_secret_is_no_weight_and_no_instance() -> None:
    """What should have been something else is named by its type."""

    @refcounted_resource(name=lambda host, **_: f"to {host}", capacity=2, weight=lambda host, password: password)
    def opened(host: str, password: Any) -> Generator[str]:
        yield host

    class Client:
        @refcounted_method(name=lambda password: "client")
        def login(self, password: str) -> Generator[str]:
            yield password

    told = Told()
    told.raised(lambda: opened("db", SECRET))
    told.raised(lambda: opened("db", [SECRET]))
    told.raised(lambda: cast("Any", Client.login)(SECRET))
    text = "\n".join(told.texts)
    assert "to db cannot be: a weight must be a number, and is of the type str" in text
    assert "of the type str, is no instance of its class" in text
    assert SECRET not in text
