# SPDX-License-Identifier: MIT
"""Layers whose pickles load both with this package and with only upstream installed."""

import importlib
import importlib.util
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from natten_mps._carriers import Unscriptable

_PACKAGE = __name__.rpartition("._common")[0]


class _Later:
    """Pickles as a function call that is made when the pickle is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def _named(module: str, name: str) -> _Later:
    """The class of that name in a generation's module or, without this package, in upstream's."""
    upstream = "natten" + module.removeprefix(_PACKAGE)[len(".v0NN") :]
    here = _Later(operator.truth, _Later(importlib.util.find_spec, _PACKAGE.split(".")[0]))
    chosen = _Later(operator.getitem, (upstream, module), here)
    return _Later(getattr, _Later(importlib.import_module, chosen), name)


class _Maker(_Later):
    """Makes an empty instance: of the given class now, of the class found when unpickled."""

    def __init__(self, own: type) -> None:
        super().__init__(partial, object.__new__, _named(own.__module__, own.__qualname__))
        self._own = own

    def __call__(self) -> Any:
        return object.__new__(self._own)


class Portable(Unscriptable):
    """A class loaded as ``natten`` pickles under that name. A class loaded from a generation's path
    pickles under both names, and unpickling uses the one that exists."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        own = type(self)
        usual = super().__reduce_ex__(protocol)
        if not own.__module__.startswith(_PACKAGE):
            return usual
        return _Maker(own), (), *usual[2:]
