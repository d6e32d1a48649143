# SPDX-License-Identifier: MIT
"""Adapts one function to releases with different signatures, matching arguments by name."""

import ast
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, isclass, signature
from typing import Any

# Parameters that some releases call by another name.
_RENAMED = {
    "dim": "embed_dim",
    "rpb": "bias",
    "bias": "rpb",
    "token_layout": "token_layout_shape",
    "device": "device_index",
}
# Parameters of some releases that have no effect here.
_IGNORED = frozenset("try_fuse_additional_kv")
# One tensor in place of query, key and value, which later releases take.
_ALL = "input_tensor"
_REQUIRED = Parameter.empty
# Marks a default that is not a literal: use the default of the function here.
_OWN = object()


def parameters(text: str) -> dict[str, Any]:
    """Parses "(a, b=1)" into {name: default}."""
    listed = ast.parse(f"lambda {text.strip('()')}: 0", mode="eval").body
    assert isinstance(listed, ast.Lambda)
    names = [a.arg for a in listed.args.args]
    defaults = [
        ast.literal_eval(d) if isinstance(d, (ast.Constant, ast.UnaryOp)) else _OWN
        for d in listed.args.defaults
    ]
    return dict(zip(names, [_REQUIRED] * (len(names) - len(defaults)) + defaults, strict=True))


def to_signature(value: Any, name: str, what: str) -> Any:
    """Gives the function or class `value` the recorded signature `what`."""
    if what.startswith("apply("):
        return _function(value, what.removeprefix("apply"))
    if not what.startswith("(") or "*" in what:
        return value
    wanted = parameters(what)
    own = {p.name: p.default for p in signature(value).parameters.values()}
    wanted = {n: own.get(n) if d is _OWN else d for n, d in wanted.items()}
    if list(own.items()) == list(wanted.items()):
        return value
    if not isclass(value):
        return _renamed(value, wanted, name)
    body = {"__init__": _renamed(value.__init__, {"self": _REQUIRED} | wanted, "__init__")}
    make: Any = type(value)
    made = make(name, (value,), body | {"__module__": value.__module__})
    made.__doc__ = value.__doc__
    return made


def _function(value: Any, text: str) -> Any:
    """Returns an autograd function whose `apply` has the signature of the release."""
    compute = value.compute
    wanted = {n.removesuffix("_"): d for n, d in parameters(text).items()}
    own = list(signature(compute).parameters)
    if len(own) == len(wanted):
        return value
    return value.with_compute(_renamed(compute, wanted, value.__name__))


def _renamed(function: Callable[..., Any], wanted: dict[str, Any], name: str) -> Any:
    """Wraps `function` to take the parameters `wanted`; its other parameters are None."""
    own = signature(function).parameters
    target = {n: n if n in own else _RENAMED.get(n, n) for n in wanted}
    spread = ("query", "key", "value") if _ALL in wanted and _ALL not in own else ()
    strange = {t for n, t in target.items() if t not in own and n not in _IGNORED} - {_ALL}
    if strange:
        raise LookupError(f"{name} has no {sorted(strange)}")
    needed = {n for n, p in own.items() if p.default is _REQUIRED}
    absent = dict.fromkeys(needed - set(target.values()) - set(spread))
    names, defaults = tuple(wanted), {n: d for n, d in wanted.items() if d is not _REQUIRED}
    required = frozenset(names) - defaults.keys()

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) > len(names):
            raise TypeError(f"{name}() takes {len(names)} arguments, got {len(args)}")
        given = dict(zip(names, args, strict=False))
        for key in kwargs:
            if key in given or key not in target:
                what = "got multiple values for" if key in given else "got an unexpected"
                raise TypeError(f"{name}() {what} keyword argument {key!r}")
        given.update(kwargs)
        if not required <= given.keys():
            lacking = [n for n in names if n in required and n not in given]
            raise TypeError(f"{name}() missing required arguments: {lacking}")
        passed = {target[n]: v for n, v in (defaults | given).items() if target[n] in own}
        passed |= dict.fromkeys(spread, given.get(_ALL))
        return function(**absent, **passed)

    kind = Parameter.POSITIONAL_OR_KEYWORD
    call.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(n, kind, default=d) for n, d in wanted.items()]
    )
    call.__name__ = name
    return call
