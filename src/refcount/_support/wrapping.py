"""`Wrapping`: what makes a decorated thing look like the function that it wraps. All of wrapt is behind it.

wrapt's proxies hand every attribute and operator on to what they wrap, and their stubs say so with `Any`. Checkers
shall see none of that: for them `Wrapping` is a small class of its own, so that a typo in an attribute is an error.
At run time it is a proxy, less what would be a lie: a decorated function is no generator function, and no context
manager.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, ParamSpec

P = ParamSpec("P")


if TYPE_CHECKING:

    class Decorated(Generic[P]):
        """What has the name, the signature and the documentation of the function that it is made of."""

        __name__: str
        __qualname__: str
        __wrapped__: Callable[P, object]

    class Wrapping(Decorated[P]):
        """A callable that looks like the one that it wraps, in all that it has not of its own."""

        def __init__(self, wrapped: Callable[P, object]) -> None: ...

else:
    import copy

    import wrapt

    _NOT_SO = inspect.CO_GENERATOR | inspect.CO_ITERABLE_COROUTINE

    class _Uncalled:
        """The mistake of entering what is to be called first, which checkers refuse by themselves."""

        __slots__ = ()

        def __enter__(self):
            name = self.__qualname__
            raise TypeError(f"{name} is no context manager, what it returns is: write `with {name}(...):`")

        __exit__ = __aexit__ = None  # so that `isinstance` says no to `AbstractContextManager` and its twin

        def __str__(self):
            return repr(self)

    class _Annotations(dict):
        """The annotations of a class, of which there are none, while its instances show those of their function."""

        def __get__(self, instance, owner):
            return self if instance is None else instance.__wrapped__.__annotations__

    class Decorated(Generic[P], _Uncalled):
        """What has the name, the signature and the documentation of the function that it is made of."""

        # No annotations in the bodies of these classes. Whoever asks one for its own would leave an empty dict there,
        # which would hide those of the function from then on: so there is one already.

        __slots__ = ()
        __annotations__ = _Annotations()

        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.__annotations__ = _Annotations()

    class _Proxy(wrapt.BaseObjectProxy):
        """The part that differs at run time from what checkers see."""

        @property
        def __code__(self):
            code = self.__wrapped__.__code__
            return code.replace(co_flags=code.co_flags & ~_NOT_SO)

        def __call__(self, *args, **kwargs):
            raise TypeError(f"{self.__qualname__} is a method: get it from an instance, and call that")

        # So that `isinstance` says no to `Sized`, `Container`, `Iterable` and their kin, at the price of what `len`
        # says.
        __len__ = __contains__ = __iter__ = None

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                if name.startswith("_"):
                    raise  # the repr would ask for the same, while the proxy is being made
                raise AttributeError(f"{self!r} has no attribute {name!r}", name=name, obj=self) from None

        def __dir__(self):
            own = (name for name in dir(type(self)) if not name.startswith("_"))
            return sorted({*dir(self.__wrapped__), *own})

        def __eq__(self, other, /):
            return self is other  # two decorated functions are two, though they may wrap one

        def __ne__(self, other, /):
            return not self == other

        def __hash__(self):
            return object.__hash__(self)

        def __copy__(self):
            return self

        def __deepcopy__(self, memo):
            place = self.__reduce_ex__(2)
            return self if isinstance(place, str) else place[0](*copy.deepcopy(place[1], memo))

        def __reduce_ex__(self, protocol):
            return self.__qualname__  # as a function does: pickle looks it up again, and sees that it is the same

    class Wrapping(Decorated[P], _Proxy):
        """A callable that looks like the one that it wraps, in all that it has not of its own."""

        def __init__(self, wrapped):
            _Proxy.__init__(self, wrapped)
