"""What type checkers infer and refuse for decorated classes, `resource_of` and `StartStop`. Checked, never run."""

from types import TracebackType
from typing import Generic, Self, TypeVar, assert_type

from refcount import Lease, ResourceFunction, SharedResource, StartStop, refcounted_resource, resource_of

T = TypeVar("T")


@refcounted_resource
class Camera:
    """Entering it gives itself."""

    def __init__(self, index: int, *, zoom: float = 1.0) -> None:
        self.index = index
        self.zoom = zoom

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


@refcounted_resource(linger=5.0, name="counter")
class Counter:
    """Entering it gives something else, and its `__exit__` is written the short way."""

    def __enter__(self) -> int:
        return 1

    def __exit__(self, *exc: object) -> None: ...


@refcounted_resource
class Box(StartStop, Generic[T]):
    """A generic one, with `start` and `stop`."""

    def __init__(self, content: T) -> None:
        self.content = content

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Zoom(Camera):
    """A subclass that is not decorated again."""


class Wide(Camera):
    """A subclass that overrides, and is shared as well."""

    def __enter__(self) -> Self:
        assert_type(super().__enter__(), Self)
        return self


@refcounted_resource
class Tele(Camera):
    """A subclass that is."""


class Unfit:
    """Neither enters nor leaves."""


def what_is_inferred() -> None:
    """The class stays the class, entering gives what it says, and the resource is typed by that."""
    assert_type(Camera(0, zoom=2.0), Camera)
    with Camera(0) as camera:
        assert_type(camera, Camera)
        assert_type(camera.zoom, float)
    with Counter() as number:
        assert_type(number, int)
    with Box("a") as box:
        assert_type(box, Box[str])
        assert_type(box.content, str)
    with Zoom(0) as zoom, Tele(1) as tele, Wide(2) as wide:
        assert_type(zoom, Zoom)
        assert_type(wide, Wide)
        assert_type(tele, Tele)
    assert_type(resource_of(Camera(0)), SharedResource[Camera])
    assert_type(resource_of(Counter()), SharedResource[int])
    assert_type(resource_of(Box(1)), SharedResource[Box[int]])
    assert_type(resource_of(Wide(1)), SharedResource[Wide])
    assert_type(resource_of(Counter()).acquire(), Lease[int])


def what_is_refused() -> None:
    """Each mistake is an error."""
    refcounted_resource(Unfit)  # type: ignore[type-var]  # it cannot be entered; for `@` see `contract_mypy.py`
    Camera("front")  # type: ignore[arg-type]  # the constructor is the class's own
    Camera()  # type: ignore[call-arg]  # an argument is missing
    Camera(0).zom  # type: ignore[attr-defined]  # a typo
    resource_of(Camera(0)).usecont  # type: ignore[attr-defined]  # a typo
    resource_of(Unfit())  # type: ignore[call-overload]  # it cannot be entered
    resource_of(Camera)  # type: ignore[call-overload]  # the class instead of an instance
    with resource_of(Counter()):  # type: ignore[attr-defined]  # a resource is called first
        pass
    with Camera:  # type: ignore[attr-defined]  # the class instead of an instance
        pass


def what_only_the_run_time_refuses() -> None:
    """A class takes no `capacity`, `key` or `when_full`; types cannot say so, since it is a callable as well."""
    assert_type(refcounted_resource(Counter, capacity=3), ResourceFunction[[], int])
    assert_type(refcounted_resource(capacity=3)(Counter), type[Counter])


def is_text(text: str) -> bool:
    """Check what no class here gives."""
    return bool(text)


class Plain:
    """Can be entered, and is not decorated."""

    def __enter__(self) -> int:
        return 1

    def __exit__(self, *exc: object) -> None: ...


@refcounted_resource(check=is_text)
class WrongCheck(Plain):
    """Gives no text; but no type says what the `__enter__` of a class gives, nor does the run time ask."""


@refcounted_resource
class Asynchronous:
    """Gives a coroutine, by its types; the run time refuses it."""

    async def __enter__(self) -> int:
        return 1

    async def __exit__(self, *exc: object) -> None: ...


@refcounted_resource
class Swallowing(Plain):
    """Would swallow what the body raises, which it is never told of once it is decorated."""

    def __exit__(self, *exc: object) -> bool:  # type: ignore[override]  # what it inherits swallows nothing
        return True


def known_holes() -> None:
    """What types accept, and the run time refuses, or does not do."""
    assert_type(WrongCheck(), WrongCheck)
    assert_type(refcounted_resource(Plain, check=is_text), type[Plain])
    assert_type(resource_of(Plain()), SharedResource[int])


def after_what_swallows() -> int:  # type: ignore[return]  # types still believe that it may swallow
    """Return, but for what the types say."""
    with Swallowing():
        return 1


async def asynchronous() -> None:
    """A class with a plain with-statement has no other."""
    async with Camera(0):  # type: ignore[attr-defined]  # not asynchronous
        pass


class Forgetful(StartStop):
    """Has no `stop`."""

    def start(self) -> None: ...


class WrongStop(StartStop):
    """Its `stop` wants more than it is given, and its `start` is asynchronous."""

    async def start(self) -> None: ...  # type: ignore[override]  # nobody would await it

    def stop(self, timeout: float) -> None: ...  # type: ignore[override]  # nobody would give it


Forgetful()  # type: ignore[abstract]  # `stop` is missing
