"""What users hand in, looked at where it is handed in: each check names the thing and the value."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

from refcount._support.naming import name_of, short

if TYPE_CHECKING:
    from refcount._core.async_lease import AsyncLease

_F = TypeVar("_F", bound=Callable[..., object])


class GivesLeases:
    """What gives a lease when it is called: a factory of nothing else."""

    __slots__ = ()


class Member:
    """An attribute or a method of a class, as it is handed in in the body of that class.

    It is looked up by its name, so that a subclass may override it.

    Args:
        thing: What the class has.
        user: Who uses it, in errors.
    """

    __slots__ = ("_name", "_thing", "_user")

    def __init__(self, thing: object, user: str) -> None:
        self._name: str | None = None
        self._thing = thing
        self._user = user

    def on(self, instance: object) -> Any:  # which nobody can tell of a descriptor
        """Return what stands on `instance`.

        Raises:
            TypeError: The class of the instance, and all its bases, have it not.
        """
        if self._name is None:
            self._name = self._find(instance)
        return getattr(instance, self._name)

    def _find(self, instance: object) -> str:
        cls = instance if isinstance(instance, type) else type(instance)  # a class method is called on its class
        for base in cls.__mro__:
            for name, value in vars(base).items():
                if value is self._thing:
                    return name
        raise TypeError(f"{self._user} uses {short(self._thing)}, which {name_of(cls)} has not")


def is_member(thing: object) -> bool:
    """Return whether `thing` was made for a class, whose instances have something in its place."""
    kind = type(thing)
    if isinstance(thing, GivesLeases):  # a decorated function stays what it is, wherever it stands
        return False
    return kind is property or (hasattr(kind, "__get__") and hasattr(kind, "__set_name__"))


def no_name(thing: object) -> TypeError:
    """Return the error of a descriptor that is used, and whose class has not told it a name."""
    return TypeError(
        f"{thing!r} has no name, since it was assigned after its class was made: assign it in the class body, "
        "or call its __set_name__(owner, name) first"
    )


def code_of(function: object) -> object:
    """Return the code object of a Python function, or None for anything else."""
    return getattr(function, "__code__", None)


def _never_called() -> Generator[None, None, None]:
    yield


async def _never_called_either() -> AsyncGenerator[None, None]:
    yield


# The code object that all functions which `contextmanager` has wrapped share, and no others have; and its twin's.
_MANAGER_CODE = code_of(contextmanager(_never_called))
_ASYNC_MANAGER_CODE = code_of(asynccontextmanager(_never_called_either))


def function_of(source: object) -> Callable[..., object]:
    """Return the function behind partials and callable instances, which has the code and the annotations."""
    while isinstance(source, functools.partial):
        source = source.func
    function = source if inspect.isroutine(source) else type(source).__call__
    return cast("Callable[..., object]", function)


def is_manager_function(function: object) -> bool:
    """Return whether `contextmanager` or its asynchronous twin has made the function."""
    return code_of(function) in (_MANAGER_CODE, _ASYNC_MANAGER_CODE)


def is_decorated(thing: object) -> bool:
    """Return whether `refcounted_resource` or `refcounted_method` has made `thing` of a function."""
    wrapping = sys.modules.get("refcount._support.wrapping")  # without it (it imports wrapt, which is heavy) none is
    return wrapping is not None and isinstance(thing, wrapping.Decorated)


def is_asynchronous(function: Callable[..., object]) -> bool:
    """Return whether what a call of `function` gives is to be awaited, iterated or entered asynchronously."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return True
    return code_of(function) is _ASYNC_MANAGER_CODE


FOR_TASKS = {
    "refcount._core.async_shared": "AsyncSharedResource",
    "refcount._faces.async_resource_function": "TaskShared",
}
"""What gives leases for tasks, by its module: where that is not imported, there are none."""


def is_for_tasks(resource: object) -> bool:
    """Return whether it can be seen that what `resource` gives is entered by `async with`."""
    while isinstance(resource, functools.partial):
        resource = resource.func
    kinds = [getattr(sys.modules.get(module), name, None) for module, name in FOR_TASKS.items()]
    if any(kind is not None and isinstance(resource, kind) for kind in kinds):
        return True
    recipe = getattr(resource, "_recipe", None) if is_member(resource) else None  # a `refcounted_attribute` has one
    return getattr(recipe, "for_tasks", False) is True


def is_lease_for_tasks(thing: object) -> TypeGuard[AsyncLease[Any]]:
    """Return whether `thing` is a lease for tasks."""
    module = sys.modules.get("refcount._core.async_lease")
    return module is not None and isinstance(thing, module.AsyncLease)


def opens_for_tasks(resource: object) -> bool:
    """Return the same of what may be an opener as well."""
    if inspect.isclass(resource):
        return hasattr(resource, "__aenter__") and not hasattr(resource, "__enter__")
    return is_for_tasks(resource) or (callable(resource) and code_of(function_of(resource)) is _ASYNC_MANAGER_CODE)


def check_callable(what: str, thing: object) -> None:
    """Raise `TypeError`, naming `what` and `thing`, unless it can be called."""
    if not callable(thing):
        shown = short(thing)
        if isinstance(thing, Generator):
            raise TypeError(f"{what} must be callable, not the generator {shown}: pass the function that makes it")
        raise TypeError(f"{what} must be callable, not {shown}")


def check_call(what: str, thing: object, given: tuple[str, ...] | None = None, *, awaits: bool = False) -> None:
    """Raise `TypeError`, naming `what` and `thing`, unless it can be called, and nobody would have to await that.

    Args:
        what: What it is to the user; `check`, say.
        thing: What was handed in.
        given: What it is going to be called with, each by position; None if that is not known.
        awaits: Whether what it returns is awaited if it can be.
    """
    check_callable(what, thing)
    awaited = awaits and inspect.iscoroutinefunction(function_of(thing))
    if not inspect.isclass(thing) and not awaited and is_asynchronous(function_of(thing)):
        raise TypeError(f"{what} must not be asynchronous, since nobody would wait for it: `{name_of(thing)}` is")
    if given is not None:
        check_taken(what, thing, given)


def check_taken(what: str, thing: object, given: tuple[str, ...]) -> None:
    """Raise `TypeError`, naming `what` and `thing`, unless it can be called with so many arguments by position."""
    unfit = misfit(thing, given)
    if unfit:
        shown = " and ".join(given) or "nothing"
        raise TypeError(f"{what} is called with {shown}, and `{name_of(thing)}` takes {unfit}")


def check_function(
    what: str, thing: object, given: tuple[str, ...] | None = None, instead: str = "", *, awaits: bool = False
) -> None:
    """Raise `TypeError` as `check_call` does, and if a call of `thing` alone would run nothing of it.

    Args:
        what: What it is to the user; `check`, say.
        thing: What was handed in.
        given: What it is going to be called with, each by position; None if that is not known.
        instead: What the error says is to be written, after what is wrong.
        awaits: Whether what it returns is awaited if it can be.
    """
    check_callable(what, thing)
    kind = _kind_that_runs_nothing(thing)
    if kind:
        raise TypeError(f"{what} must be a plain function, and {kind}, of which a call alone runs nothing{instead}")
    check_call(what, thing, given, awaits=awaits)


def check_opener(what: str, thing: object, given: tuple[str, ...] = ()) -> None:
    """Raise `TypeError` as `check_call` does, and if what `thing` gives is seen to be no context manager."""
    check_callable(what, thing)
    if inspect.isgeneratorfunction(function_of(thing)):
        name = name_of(thing)
        raise TypeError(
            f"{what} must give a context manager, and `{name}` is a generator function: "
            f"write contextmanager({name}), or decorate it with @refcounted_resource"
        )
    if not inspect.isclass(thing) and is_asynchronous(function_of(thing)):
        asynchronous = f"since a plain `with` enters it, and `{name_of(thing)}` is"
        raise TypeError(f"{what} must not be asynchronous, {asynchronous}: {_for_tasks(thing)}")
    _refuse_asynchronous_class(what, thing, "a function that enters one in an event loop of its own, and yields it")
    check_call(what, thing, given)


def _for_tasks(thing: object) -> str:
    """Return what is to be written for something asynchronous."""
    function, name = function_of(thing), name_of(thing)
    if inspect.iscoroutinefunction(function):
        return f"tasks share what AsyncSharedResource.of({name}) makes"
    opener = f"asynccontextmanager({name})" if inspect.isasyncgenfunction(function) else name
    return f"write AsyncSharedResource({opener}), or @refcounted_resource above it"


def check_async_opener(what: str, thing: object, given: tuple[str, ...] = ()) -> None:
    """Raise `TypeError` unless a call of `thing` may give an asynchronous context manager, as far as that is seen."""
    check_callable(what, thing)
    function, name = function_of(thing), name_of(thing)
    if inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{what} must give an asynchronous context manager, and `{name}` is an asynchronous generator function: "
            f"write asynccontextmanager({name}), or decorate it with @refcounted_resource"
        )
    plain = inspect.isgeneratorfunction(function) or code_of(function) is _MANAGER_CODE
    if plain or (inspect.isclass(thing) and hasattr(thing, "__enter__") and not hasattr(thing, "__aenter__")):
        raise TypeError(f"{what} is entered by `async with`, and `{name}` is for a plain `with`: use SharedResource")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{what} must give an asynchronous context manager, and `{name}` is a coroutine function")
    check_taken(what, thing, given)


def _kind_that_runs_nothing(thing: object) -> str:
    """Return what `thing` is, if a call of it gives something that is to be entered or iterated; nothing if not."""
    if isinstance(thing, GivesLeases) or is_decorated(thing):
        return f"{short(thing)} gives leases"
    if inspect.isclass(thing):
        return ""
    function = function_of(thing)
    if inspect.isgeneratorfunction(function):
        return f"`{name_of(thing)}` is a generator function"
    return f"`{name_of(thing)}` is wrapped by contextmanager" if code_of(function) is _MANAGER_CODE else ""


def _is_only_asynchronous(thing: object) -> bool:
    return inspect.isclass(thing) and hasattr(thing, "__aenter__") and not hasattr(thing, "__enter__")


def _refuse_asynchronous_class(what: str, thing: object, instead: str) -> None:
    if _is_only_asynchronous(thing):
        raise TypeError(
            f"{what} is entered by a plain `with`, if at all, and `{name_of(thing)}` is an asynchronous context "
            f"manager: write {instead}"
        )


def refuse_undecorated(source: object) -> None:
    """Raise `TypeError` if it can be seen that a call of `source` gives something else than a lease."""
    function = function_of(source)
    generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if is_asynchronous(function) and not generates and not is_manager_function(function):
        raise TypeError(f"{name_of(source)} is no resource, but a coroutine function, which yields nothing to share")
    if generates or is_manager_function(function):
        code = code_of(function)
        is_method = isinstance(code, CodeType) and code.co_varnames[:1] == ("self",) and source is function
        decorator = "refcounted_method" if is_method else "refcounted_resource"
        manager = "asynccontextmanager" if is_asynchronous(function) else "contextmanager"
        instead = f" in place of @{manager}" if is_manager_function(function) else ""
        raise TypeError(f"{name_of(source)} is no resource: decorate it with @{decorator}{instead}")


def misfit(thing: object, given: tuple[str, ...]) -> str:
    """Return what is wrong with calling `thing` with so many arguments by position; nothing if all is well.

    Says what it takes, and what is wrong with that; nothing if nobody knows.
    """
    if _plainly_takes(thing, len(given)):
        return ""
    try:
        signature = inspect.signature(cast("Callable[..., object]", thing))
    except Exception:  # of some builtins nobody knows it, and some objects fail to say it
        return ""
    try:
        signature.bind(*given)
    except TypeError as error:
        return f"{signature}: {error}"
    return ""


def _plainly_takes(thing: object, number: int) -> bool:
    """Return whether it can be seen at once that `thing` can be called with so many arguments."""
    if type(thing) is not FunctionType or hasattr(thing, "__wrapped__"):
        return False
    code = thing.__code__
    least = code.co_argcount - len(thing.__defaults__ or ())
    return not code.co_kwonlyargcount and least <= number <= code.co_argcount


def advises(**instead: str) -> Callable[[_F], _F]:
    """Make a function refuse keywords that its users know from elsewhere, with an error that says what to write.

    Args:
        instead: By the keyword, what the error says after its name.
    """

    def decorate(function: _F) -> _F:
        @functools.wraps(function)
        def advising(*args: object, **kwargs: object) -> object:
            for keyword in instead.keys() & kwargs.keys():
                owner = function.__qualname__.removesuffix(".__init__")
                raise TypeError(f"{owner} takes no {keyword}: {instead[keyword]}")
            return function(*args, **kwargs)

        return cast("_F", advising)

    return decorate


def check_hooks(what: str, factory: object, start: object, stop: object, *, awaits: bool = False) -> None:
    """Raise `TypeError` unless the factory, which `what` names, and the hooks that are given can be called."""
    check_factory(what, factory, awaits=awaits, hooked=start is not None or stop is not None)
    for name, hook in (("start", start), ("stop", stop)):
        if hook is not None:
            check_function(name, hook, ("the value",), awaits=awaits)


def check_factory(
    what: str, factory: object, given: tuple[str, ...] = (), *, awaits: bool = False, hooked: bool = False
) -> None:
    """Raise `TypeError` unless a call of the factory, which `what` names, can make a value.

    Args:
        what: What it is to the user.
        factory: What was handed in.
        given: What it is going to be called with, each by position.
        awaits: Whether what it returns is awaited if it can be: tasks share the value.
        hooked: Whether there is a hook that starts or stops the value, so that nobody takes it for entered.
    """
    if isinstance(factory, GivesLeases):
        raise TypeError(f"{what} must make the value: {short(factory)} is shared already, and gives leases")
    name = name_of(factory)
    function = function_of(factory) if callable(factory) and not inspect.isclass(factory) else None
    if function is not None and is_asynchronous(function) and not (awaits and inspect.iscoroutinefunction(function)):
        raise TypeError(f"{what} must make the value, and `{name}` is asynchronous: {_for_tasks(factory)}")
    check_callable(what, factory)
    opener = f"contextmanager({name})" if inspect.isgeneratorfunction(function_of(factory)) else name
    resource = "AsyncSharedResource" if awaits else "SharedResource"
    check_function(
        what, factory, given, f": write {resource}({opener}), or @refcounted_resource above it", awaits=awaits
    )
    instead = f"`lambda: {name}()` if nobody is to enter it"
    if not awaits:
        _refuse_asynchronous_class(what, factory, instead)
    elif not hooked and _is_only_asynchronous(factory):
        raise TypeError(
            f"{what} only makes the value, and `{name}` is to be entered: write {resource}({name}), or {instead}"
        )


def check_name(what: str, name: object, given: tuple[str, ...] | None = None) -> None:
    """Raise `TypeError` unless `name`, the name of `what`, is a string, a function that returns one, or None.

    Args:
        what: What has the name.
        name: What was handed in.
        given: What a function is going to be called with; None if that is not known.
    """
    if name is not None and not isinstance(name, str):
        if not callable(name):
            raise TypeError(f"the name of {what} must be a string, or a function that returns one, not {short(name)}")
        check_function(f"the name of {what}", name, given)
