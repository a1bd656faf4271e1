"""`Wrapping`: what makes a decorated thing look like the function that it wraps. All of wrapt is behind it.

wrapt's proxies hand every attribute and operator on to what they wrap, and their stubs say so with `Any`. Checkers
shall see none of that: for them `Wrapping` is a small class of its own, so that a typo in an attribute is an error.
At run time it is a proxy, less what would be a lie: a decorated function is no function, and has no code of its own;
it is no context manager; and its annotations say what a call of it gives.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, ParamSpec

from refcount._support.naming import name_of

P = ParamSpec("P")


if TYPE_CHECKING:

    class Decorated(Generic[P]):
        """What has the name, the signature and the documentation of the function that it is made of."""

        __name__: str
        __qualname__: str
        __wrapped__: Callable[P, object]
        __signature__: inspect.Signature

    class Wrapping(Decorated[P]):
        """A callable that looks like the one that it wraps, in all that it has not of its own."""

        def __init__(self, wrapped: Callable[P, object]) -> None: ...

else:
    import wrapt

    class _Uncalled:
        """The mistake of entering what is to be called first, which checkers refuse by themselves."""

        __slots__ = ()

        def __enter__(self):
            name = self.__qualname__
            raise TypeError(f"{name} is no context manager, what it returns is: write `with {name}(...):`")

        def __aenter__(self):
            name = self.__qualname__
            raise TypeError(f"{name} is no context manager, what it returns is: write `async with {name}(...):`")

        __exit__ = __aexit__ = None  # so that `isinstance` says no to `AbstractContextManager` and its twin

        def __str__(self):
            return repr(self)

    class _Annotations(dict):
        """The annotations of a class, of which there are none, while its instances show those of their function."""

        def __get__(self, instance, owner):
            return self if instance is None else instance._self_annotations()

        def __set__(self, instance, annotations):  # as wrapt does where it is pure Python
            instance.__wrapped__.__annotations__ = annotations

    class _Signature(inspect.Signature):
        """The signature of a class that users do not call, while its instances show that of their function."""

        def __get__(self, instance, owner):
            return self if instance is None else instance._self_signature()

    class _Doc(str):
        """The documentation of a class, while `help()` shows of its instances what the face says of them.

        Whoever asks a proxy for its documentation gets the function's own. `pydoc` asks in another way, for what is not
        inherited from a class, and finds this, since it can be set.
        """

        def __get__(self, instance, owner):
            return self if instance is None else instance._self_help()

        def __set__(self, instance, text):
            instance.__wrapped__.__doc__ = text

    class Decorated(Generic[P], _Uncalled):
        """What has the name, the signature and the documentation of the function that it is made of."""

        # No annotations in the bodies of these classes. Whoever asks one for its own would leave an empty dict there,
        # which would hide those of the function from then on: so there is one already.

        __slots__ = ()
        __annotations__ = _Annotations()
        __signature__ = _Signature()

        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.__annotations__ = _Annotations()
            cls.__doc__ = _Doc(cls.__doc__ or "")

        # What the faces know of it

        def _self_gives(self):
            """Return what a call gives, as an annotation."""
            return inspect.Signature.empty

        def _self_source(self):
            """Return what was decorated."""
            return self.__wrapped__

        def _self_help(self):
            """Return what `help()` says of it."""
            return self.__wrapped__.__doc__

        def _self_hint(self, name):
            """Return what to say of an attribute that it has not."""
            return ""

        def _self_annotations(self):
            own = getattr(self.__wrapped__, "__annotations__", {})
            return {**own, "return": self._self_gives()}

        def _self_signature(self):
            try:
                return inspect.signature(self.__wrapped__).replace(return_annotation=self._self_gives())
            except ValueError:  # some builtins have none
                raise AttributeError("__signature__", name="__signature__", obj=self) from None

        def _self_missing(self, name):
            """Return the error of an attribute that it has not."""
            text = f"{self!r} has no attribute {name!r}{self._self_hint(name)}"
            return AttributeError(text, name=name, obj=self)

    class _Proxy(wrapt.BaseObjectProxy):
        """The part that differs at run time from what checkers see."""

        __class__ = property(type)

        # So that `isinstance` says no to `Sized`, `Container`, `Iterable` and their kin, at the price of what `len`
        # says.
        __len__ = __contains__ = __iter__ = None

        def __getattr__(self, name):
            try:
                if name == "__code__":
                    raise AttributeError(name, name=name, obj=self)
                return super().__getattr__(name)
            except AttributeError:
                if name in ("__name__", "__qualname__"):  # of partials and callable objects
                    return name_of(self.__wrapped__).rpartition("." if name == "__name__" else ">.")[2]
                if name.startswith("_"):
                    raise  # the repr would ask for the same, while the proxy is being made
                raise self._self_missing(name) from None

        def __dir__(self):
            own = (name for name in dir(type(self)) if not name.startswith("_"))
            return sorted({*dir(self.__wrapped__), *own} - {"__code__"})

        def __eq__(self, other, /):
            return self is other  # two decorated functions are two, though they may wrap one

        def __ne__(self, other, /):
            return not self == other

        def __hash__(self):
            return object.__hash__(self)

        def __copy__(self):
            return self

        def __deepcopy__(self, memo):
            return self

        def __reduce_ex__(self, protocol):
            # As a function does: pickle looks it up again, and sees that it is the same. cloudpickle sends functions
            # that others could not look up; nothing but its frame tells that it asks.
            asking = sys._getframe(1).f_globals.get("__name__", "")
            if "cloudpickle" in asking and not _is_found(self):
                return self._self_made_by(), (self._self_source(),)
            return self.__qualname__

    def _is_found(thing):
        """Return whether another process finds `thing` where it says that it is."""
        try:
            return (
                thing.__module__ != "__main__"
                and attrgetter(thing.__qualname__)(sys.modules[thing.__module__]) is thing
            )
        except (AttributeError, KeyError):
            return False

    class Wrapping(Decorated[P], _Proxy):
        """A callable that looks like the one that it wraps, in all that it has not of its own."""
