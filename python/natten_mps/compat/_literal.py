# SPDX-License-Identifier: MIT
"""Names and behavior of natten-mps 0.3.3 under the paths ``natten_mps.compat.v014`` to ``v020``.

These names extend upstream's. If both define a name, a call that only one of them accepts has that
one's meaning, and a call that both accept but interpret differently is an error. The exception is
`stride` in 0.20, for which the path keeps 0.3.3's meaning. ``import natten`` and ``for_version``
use only the additional names of this module.
"""

from collections.abc import Callable
from functools import cache, partial, wraps
from inspect import signature
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .. import functional, modules
from ..backend import has_mps

_Call = Callable[..., Any]

# Release behind the literal path of each generation, for messages.
_RELEASES = {"v014": "0.14", "v015": "0.15", "v017": "0.17", "v020": "0.20"}
_EARLY = ("v014", "v015", "v017")


def _no() -> bool:
    """Returns False: there are no CUDA kernels here."""
    return False


def _check_heads_first(name: str, rank: int, query: Tensor, key: Tensor) -> None:
    axes = {1: "L", 2: "Hh, Hw"}[rank]
    if query.dim() != rank + 3 or key.dim() != rank + 3:
        raise ValueError(f"{name} expects query/key shape [B, H, {axes}, D].")
    if query.shape != key.shape:
        raise ValueError("query and key must have identical shapes.")


def _qkrpb(rank: int) -> _Call:
    name = f"natten{rank}dqkrpb"

    def call(query: Tensor, key: Tensor, rpb: Tensor, kernel_size: Any, dilation: Any) -> Tensor:
        _check_heads_first(name, rank, query, key)
        sizes = (kernel_size,) * rank if isinstance(kernel_size, int) else tuple(kernel_size)
        wanted = [query.shape[1], *(2 * size - 1 for size in sizes)]
        if list(rpb.shape) != wanted:
            raise ValueError(f"rpb must have shape {wanted} for {rank}D.")
        qk = getattr(functional, f"na{rank}d_qk")
        query, key = query.movedim(1, -2), key.movedim(1, -2)
        logits: Tensor = qk(query, key, kernel_size, dilation, rpb=rpb)
        return logits.movedim(-2, 1)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "Logits of heads-first query and key `[B, H, *S, D]`, unscaled, with a bias."
    return call


def _av(rank: int) -> _Call:
    name = f"natten{rank}dav"

    def call(attn: Tensor, value: Tensor, kernel_size: Any, dilation: Any) -> Tensor:
        if attn.dim() != rank + 3 or value.dim() != rank + 3:
            axes = {1: "L", 2: "Hh,Hw"}[rank]
            raise ValueError(f"{name} expects attn [B,H,{axes},K] and value [B,H,{axes},D].")
        av = getattr(functional, f"na{rank}d_av")
        out: Tensor = av(attn.movedim(1, -2), value.movedim(1, -2), kernel_size, dilation)
        return out.movedim(-2, 1)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "Weighted values `[B, H, *S, D]` of heads-first weights and values."
    return call


def _fused(rank: int) -> _Call:
    attend = getattr(functional, f"na{rank}d")

    def call(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kernel_size: Any,
        dilation: Any = 1,
        is_causal: Any = False,
    ) -> Any:
        return attend(query, key, value, kernel_size, 1, dilation=dilation, is_causal=is_causal)

    call.__name__ = call.__qualname__ = f"na{rank}d"
    call.__doc__ = "Fused attention of heads-last tensors `[B, *S, heads, dim]`."
    return call


class _FlopHandler:
    """Counts nothing, as in 0.3.3; :mod:`natten.flops` has handles that count."""

    def __call__(self, *args: Any, **kwargs: Any) -> int:
        return 0


def _add_natten_handle(flop_counter: Any) -> Any:
    """Returns its argument, as in 0.3.3; ``natten.flops.add_natten_handle`` adds handles."""
    return flop_counter


@cache
def _additional(generation: str) -> dict[str, Any]:
    """Names that upstream's package root does not have. Made once, so that pickles find them."""
    names: dict[str, Any] = {"has_mps": has_mps, "has_fna": _no, "has_cuda": _no}
    if generation == "v014":
        names = {}
    if generation in _EARLY:
        made = [make(rank) for rank in (1, 2) for make in (_qkrpb, _av)]
        names |= {call.__name__: call for call in made}
        names |= {"_FlopHandler": _FlopHandler, "add_natten_handle": _add_natten_handle}
    if generation != "v014":
        split = [f"na{rank}d_{kind}" for rank in (1, 2, 3) for kind in ("qk", "av")]
        names |= {name: getattr(functional, name) for name in split}
    if generation == "v015":
        names |= {f"na{rank}d": _fused(rank) for rank in (1, 2, 3)}
    for value in names.values():
        if value.__module__ == __name__ and value.__name__ not in globals():
            value.__module__ = f"{__package__}.{generation}"  # where pickles look for it
    if generation == "v017":
        del names["has_fna"], names["has_cuda"]  # upstream has these
    return names


def _layer(rank: int) -> _Call:
    make = getattr(modules, f"NeighborhoodAttention{rank}D")

    def call(
        dim: int,
        kernel_size: Any,
        dilation: Any = 1,
        num_heads: int = 1,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> Any:
        return make(
            dim,
            num_heads,
            kernel_size,
            dilation=dilation,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            attn_drop=attn_drop,
            proj_drop=proj_drop,
        )

    return call


def _bound(call: _Call, args: Any, kwargs: Any) -> dict[str, Any] | None:
    """Maps a call's arguments to parameter names; None if they do not fit the signature."""
    try:
        read = dict(signature(call).bind(*args, **kwargs).arguments)
    except TypeError:
        return None
    extra = read.pop("kwargs", {})
    return {{"dim": "embed_dim"}.get(name, name): v for name, v in (read | extra).items()}


def _accepts(call: _Call, args: Any, kwargs: Any) -> bool:
    """Whether a layer can be constructed, tried on the meta device to leave the generator alone."""
    try:
        with torch.device("meta"):
            call(*args, **kwargs)
    except (TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError):
        return False
    return True


def _strides(read: dict[str, Any]) -> bool:
    stride = read.get("stride")
    return any(s != 1 for s in (stride if isinstance(stride, (tuple, list)) else (stride or 1,)))


def _chosen(
    generation: str, name: str, calls: tuple[_Call, _Call], args: Any, kwargs: Any
) -> _Call:
    """Selects upstream's call or 0.3.3's, by the arguments."""
    upstream, predecessor = calls
    new, old = (_bound(call, args, kwargs) for call in calls)
    if old is None or new is None:
        return upstream if old is None else predecessor
    if generation == "v020" and _strides(old):
        return predecessor
    fits, fitted = (_accepts(call, args, kwargs) for call in calls)
    if fits and fitted and new != old:
        given = ", ".join([*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())])
        theirs, ours = (
            ", ".join(f"{role}={value!r}" for role, value in read.items()) for read in (new, old)
        )
        raise TypeError(
            f"natten_mps.compat.{generation}.{name}({given}) means {theirs} in NATTEN "
            f"{_RELEASES[generation]} and {ours} in natten-mps 0.3.3; give all but the first "
            "argument by keyword"
        )
    return predecessor if fitted and not fits else upstream


class _Either(type):
    """The metaclass of a layer under the literal path: a call makes upstream's layer or 0.3.3's."""

    _choose: Any
    _calls: tuple[Any, type]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if "_calls" in vars(cls):
            return cls._choose(args, kwargs)(*args, **kwargs)
        return type.__call__(cls, *args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        if "_calls" in vars(cls):
            return isinstance(instance, cls._calls)
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if "_calls" in vars(cls):
            return issubclass(subclass, cls._calls)
        return super().__subclasscheck__(subclass)


def _either(generation: str, name: str, upstream: Any, predecessor: _Call) -> type:
    choose = partial(_chosen, generation, name, (upstream, predecessor))
    initialise_theirs: Any = upstream.__init__

    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        if choose(args, kwargs) is not upstream:
            raise TypeError(
                f"a subclass of natten_mps.compat.{generation}.{name} cannot be made as in "
                f"natten-mps 0.3.3; derive it from natten_mps.{name}"
            )
        initialise_theirs(self, *args, **kwargs)

    body = {
        "__doc__": upstream.__doc__,
        "__module__": f"{__package__}.{generation}",
        "__init__": wraps(initialise_theirs)(initialize),
        "_choose": staticmethod(choose),
        "_calls": (upstream, getattr(modules, name)),
    }
    return _Either(name, (upstream,), body)


def _either_function(name: str, upstream: _Call, predecessor: _Call) -> _Call:
    @wraps(upstream)
    def call(*args: Any, **kwargs: Any) -> Any:
        new, old = _bound(upstream, args, kwargs), _bound(predecessor, args, kwargs)
        # The ninth argument is return_lse in 0.3.3 and additional_keys in upstream.
        theirs = new is not None and not (len(args) > 8 and isinstance(args[8], bool))
        if old is None or (theirs and not _strides(old)):
            return upstream(*args, **kwargs)
        return predecessor(*args, **kwargs)

    call.__module__ = f"{__package__}.v020"  # where pickles look for it
    return call


def _contradicting(generation: str, upstream: Callable[[str], Any]) -> dict[str, Any]:
    """Names that upstream's package root also has."""
    names: dict[str, Any] = {}
    for rank in (1, 2, 3):
        name = f"NeighborhoodAttention{rank}D"
        if rank == 3 and generation == "v014":
            continue
        early = rank < 3 and generation in _EARLY
        predecessor = _layer(rank) if early else getattr(modules, name)
        names[name] = _either(generation, name, upstream(name), predecessor)
    if generation == "v020":
        for name in ("na1d", "na2d", "na3d"):
            names[name] = _either_function(name, upstream(name), getattr(functional, name))
    return names


def fill(generation: str, upstream: Callable[[str], Any], namespace: dict[str, Any]) -> None:
    """Adds what the literal path of a generation has in addition to, or instead of, upstream's
    names; `upstream` returns the value of a name in upstream's package root."""
    if generation in _RELEASES:
        namespace.update(_additional(generation))
        namespace.update(_contradicting(generation, upstream))


def extend(generation: str, namespace: dict[str, Any]) -> None:
    """Adds only 0.3.3's additional names."""
    if generation in _RELEASES:
        namespace.update(_additional(generation))


def make_callable(module: ModuleType, rank: int) -> None:
    """Makes a module of 0.17 callable, like the function with that name in 0.3.3."""
    body = {"__call__": staticmethod(_fused(rank)), "__doc__": _fused.__doc__}
    module.__class__ = type("CallableModule", (ModuleType,), body)
