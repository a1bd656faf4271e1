"""`Bound`: what makes a thing look like a bound method of an instance."""

from __future__ import annotations

import copy
from types import MethodType
from typing import TYPE_CHECKING

if TYPE_CHECKING:

    class Bound:
        """What any bound method has, besides all that its function has."""

else:

    class _Module(str):
        """The module of a class, while its instances show that of their function."""

        def __get__(self, instance, owner):
            return self if instance is None else instance.__func__.__module__

    class Bound:
        """What any bound method has, besides all that its function has."""

        __slots__ = ()

        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.__module__ = _Module(cls.__module__)

        __class__ = property(lambda self: MethodType)
        __wrapped__ = property(lambda self: MethodType(self.__func__, self.__self__))

        def __getattr__(self, name):
            if name == "__func__":
                raise AttributeError(name)  # it is not made yet
            try:
                return getattr(self.__func__, name)
            except AttributeError:
                if name.startswith("_"):
                    raise  # the repr would ask for the same, while it is being made
                raise self._self_missing(name) from None

        def __dir__(self):
            own = (name for name in dir(type(self)) if not name.startswith("_"))
            return sorted({*dir(self.__func__), "__func__", "__self__", "__wrapped__", *own})

        def __eq__(self, other, /):
            if not isinstance(other, Bound):
                return NotImplemented
            return self.__self__ is other.__self__ and self.__func__ is other.__func__

        def __hash__(self):
            return hash((id(self.__self__), self.__func__))

        def __deepcopy__(self, memo):
            return type(self)(self.__func__, copy.deepcopy(self.__self__, memo))

        def __reduce_ex__(self, protocol):
            return getattr, (self.__self__, self.__func__._self_attribute or self.__name__)
