"""`uses`: a function that holds leases while it runs, and gets their values as its first arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from refcount._core.lease import is_lease
from refcount._core.resource import Resource
from refcount._faces.injection import Injection, wrapper
from refcount._support.checks import (
    GivesLeases,
    check_callable,
    function_of,
    is_decorated,
    is_lease_for_tasks,
    is_manager_function,
    is_member,
    misfit,
    refuse_undecorated,
)
from refcount._support.naming import name_of, public, short

if TYPE_CHECKING:
    from refcount._core.async_lease import AsyncLease
    from refcount._core.async_shared import AsyncSharedResource
    from refcount._core.lease import Lease
    from refcount._faces.attributes import refcounted_attribute
    from refcount._faces.injectors import (
        AsyncUses1,
        AsyncUses2,
        AsyncUses3,
        AsyncUses4,
        AsyncUses5,
        Uses1,
        Uses2,
        Uses3,
        Uses4,
        Uses5,
    )
    from refcount._faces.methods import AsyncResourceMethod, ResourceMethod

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

MOST = 5
"""How many resources `uses` takes: each number needs a signature of its own."""

Function = Callable[..., Any]  # since it depends on its kind, which only `inspect` tells, how what it gives is used

if TYPE_CHECKING:
    Plain = Callable[[], Lease[A]] | refcounted_attribute[A] | ResourceMethod[[], A]
    OfClass = refcounted_attribute[A, AsyncSharedResource[A]] | AsyncResourceMethod[[], A]
    Source = Plain[A] | Callable[[], AsyncLease[A]] | OfClass[A]


@overload
def uses(a: Plain[A], /) -> Uses1[A]: ...
@overload
def uses(a: Plain[A], b: Plain[B], /) -> Uses2[A, B]: ...
@overload
def uses(a: Plain[A], b: Plain[B], c: Plain[C], /) -> Uses3[A, B, C]: ...
@overload
def uses(a: Plain[A], b: Plain[B], c: Plain[C], d: Plain[D], /) -> Uses4[A, B, C, D]: ...
@overload
def uses(a: Plain[A], b: Plain[B], c: Plain[C], d: Plain[D], e: Plain[E], /) -> Uses5[A, B, C, D, E]: ...
@overload
def uses(a: Source[A], /) -> AsyncUses1[A]: ...
@overload
def uses(a: Source[A], b: Source[B], /) -> AsyncUses2[A, B]: ...
@overload
def uses(a: Source[A], b: Source[B], c: Source[C], /) -> AsyncUses3[A, B, C]: ...
@overload
def uses(a: Source[A], b: Source[B], c: Source[C], d: Source[D], /) -> AsyncUses4[A, B, C, D]: ...
@overload
def uses(a: Source[A], b: Source[B], c: Source[C], d: Source[D], e: Source[E], /) -> AsyncUses5[A, B, C, D, E]: ...
@public
def uses(*resources: Source[Any], **misplaced: Never) -> Callable[[Function], Function]:
    """Decorate a function so that it holds leases while it runs, and gets their values as its first arguments.

    Callers do not pass these arguments, and the function's signature does not show them. What they do pass is looked at
    before anything starts. The leases are taken in order and given back in reverse order when the function ends,
    however it ends.

    - A method gets the values after its first parameter, which is what makes it one: it is called `self` or `cls`
      (or `_self`, `_cls`, `mcs`, `mcls`). Whatever else the first parameter is called, it gets the first value. Types
      cannot tell one from the other: checkers let the values come second in a function as well.
    - A method may use a `refcounted_attribute` or a `refcounted_method` of its class, written above it: by name, on the
      instance that it is called on, so that a subclass may override that.
    - `@staticmethod` and `@classmethod` go above `@uses(...)`, as do `@contextmanager` and `@refcounted_resource`.
    - A generator holds its leases from the first `next()` until it ends, raises or is closed, and takes none if it is
      never started. So does an asynchronous one; if it is left early, close it with `aclose()`, as any other.
    - A coroutine holds its leases from the first `await` to its end, wherever it is cancelled.
    - Coroutines and asynchronous generators may use resources for tasks, and for threads as well: these are held by way
      of `Lease.aio`, so that no event loop is kept waiting; what starts and stops them runs in another thread. Whatever
      else is not asynchronous cannot use resources for tasks.
    - Of a function with `**kwargs`, mypy wants to be told that the values come by position: write `conn, /, **kwargs`.

    Args:
        *resources: One to five shared resources, decorated functions that need no arguments, attributes or methods of
            the same class, or anything else that gives a lease when called. Of a function that needs some, give the
            resource behind a call, as in `camera.resource(0)`, or a call to be made each time, as in
            `functools.partial(camera, 0)`.
        **misplaced: Nothing comes by keyword, since the values come by position.

    Raises:
        TypeError: There are no resources, or more than five; one of them is no resource, or cannot be called without
            arguments; or, when it decorates, the function cannot take that many positional arguments, or is not
            asynchronous, as a resource for tasks wants it to be.
        ImportError: When it decorates: the function is asynchronous, and anyio is not installed; the extra `async`
            brings it.

    The idea is that of dependency injection, as in pytest's fixtures.

    Example:
        >>> from refcount import SharedResource, uses
        >>> basket = SharedResource.of(list, name="basket")
        >>> @uses(basket)
        ... def fill(content: list[str], fruit: str) -> int:
        ...     content.append(fruit)
        ...     return len(content)
        >>> fill("apple")
        1
    """
    if misplaced:
        raise TypeError(
            f"uses takes resources by position, not {', '.join(misplaced)}=: their values come by position too"
        )
    if not 1 <= len(resources) <= MOST:
        raise TypeError(f"uses takes one to {MOST} resources, not {len(resources)}")
    for resource in resources:
        _refuse_unfit(resource)

    def decorate(function: Function) -> Function:
        return _inject(function, resources)

    return decorate


def _inject(function: Function, resources: tuple[object, ...]) -> Function:
    """Return what calls `function` with the values of `resources`, and looks like it but for their parameters."""
    _refuse_no_function(function)
    injection = Injection(function, resources)
    injected = wraps(function)(wrapper(function, injection))
    vars(injected)["__signature__"] = injection.signature
    hints: dict[str, object] = getattr(function, "__annotations__", {})
    shown = {"return", *injection.signature.parameters}
    injected.__annotations__ = {name: hint for name, hint in hints.items() if name in shown}
    return injected


def _refuse_no_function(thing: object) -> None:
    kind = type(thing)
    if kind is staticmethod or kind is classmethod:
        raise TypeError(f"@{kind.__name__} must stand above @uses(...), not below it: {name_of(thing)}")
    if isinstance(thing, type):
        raise TypeError(f"what uses decorates must be a function, not {short(thing)}")
    check_callable("what uses decorates", thing)
    if is_manager_function(function_of(thing)):
        raise TypeError(
            f"@contextmanager must stand above @uses(...), not below it, since the leases would be over before the "
            f"with-body: {name_of(thing)}"
        )
    if is_decorated(thing):
        raise TypeError(
            f"@refcounted_resource or @refcounted_method must stand above @uses(...), not below it: {thing!r}"
        )


def _refuse_unfit(resource: object) -> None:
    """Raise `TypeError` unless `resource` can be called for a lease, as far as that can be seen without calling it."""
    if isinstance(resource, Resource):
        return
    if is_lease(resource) or is_lease_for_tasks(resource):
        called = resource.resource.name.replace("(", ".resource(", 1)
        raise TypeError(f"uses takes resources, not {short(resource)}, which is used once: write `{called}`")
    of_instance = is_member(resource)
    if isinstance(resource, type) or not (callable(resource) or of_instance):
        raise TypeError(f"uses takes resources, not {short(resource)}")
    if not of_instance and not isinstance(resource, GivesLeases):
        refuse_undecorated(resource)
    unfit = misfit(resource, ("self",) if of_instance else ())
    if unfit:
        raise TypeError(f"uses cannot call {name_of(resource)} without arguments: it takes {unfit}")
