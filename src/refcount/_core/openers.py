"""Openers: callables that return a context manager, which starts a resource when entered and stops it when left."""

import inspect
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Opener = Callable[[], AbstractContextManager[T]]


class Yielding(AbstractContextManager[T_co, None], Generic[T_co]):
    """A generator that yields once, as a context manager: up to the yield it starts a resource, after it it stops it.

    Unlike `contextlib.contextmanager` it never throws anything into the generator: what happens in one consumer's
    with-body is no business of a resource that others use.

    Args:
        generator: A fresh generator.
        name: Names it in errors.
    """

    def __init__(self, generator: Generator[T_co, None, object], name: str) -> None:
        self._generator = generator
        self._name = name

    @property
    def state(self) -> str:
        """Where the generator stands, in the words of `inspect.getgeneratorstate`."""
        return inspect.getgeneratorstate(self._generator)

    def __enter__(self) -> T_co:
        try:
            return next(self._generator)
        except StopIteration:
            raise RuntimeError(f"{self._name} yielded no value: a resource yields exactly once") from None

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        try:
            value = next(self._generator)
        except StopIteration:
            return
        self._generator.close()
        raise RuntimeError(f"{self._name} yielded a second value, {value!r}: a resource yields exactly once")


def made(
    factory: Callable[[], T],
    start: Callable[[T], object] | None,
    stop: Callable[[T], object] | None,
    name: str,
) -> Opener[T]:
    """Return the opener of a resource that `factory` makes and two hooks begin and end."""
    begin, end = start or _nothing, stop or _nothing

    def life() -> Generator[T, None, None]:
        thing = factory()
        # Where a plain `yield` is resumed signals are delivered, before the stop has begun; at a `yield from` none are.
        begin(thing); yield from (thing,); end(thing)  # fmt: skip # noqa: E702

    return lambda: Yielding(life(), name)


def _nothing(thing: object) -> None:
    """The hook of those who gave none."""


def open_checked(opener: Opener[T], name: str) -> AbstractContextManager[T]:
    """Call `opener`; raise `TypeError`, naming the resource and the value, if that gives no context manager."""
    manager = opener()
    generator = _generator_of(manager)
    if generator is not None:
        return Yielding(generator, name)
    if not _is_manager(manager):
        hint = "; wrap the function with contextlib.contextmanager" if isinstance(manager, Generator) else ""
        raise TypeError(f"the opener of {name} must return a context manager, not {manager!r}{hint}")
    return manager


@contextmanager
def _probe() -> Generator[None, None, None]:
    yield


# What a function decorated with `contextmanager` returns. Its generator is taken out and driven as one of ours: what
# goes wrong is named then, and nothing is in between that an interrupt could hit.
_GENERATOR_MANAGER: type[object] = type(_probe())


def _generator_of(manager: AbstractContextManager[T]) -> Generator[T, None, object] | None:
    generator: Generator[T, None, object] | None = None
    if isinstance(manager, _GENERATOR_MANAGER):
        generator = getattr(manager, "gen", None)
    return generator


def _is_manager(thing: object) -> bool:
    return isinstance(thing, AbstractContextManager)
