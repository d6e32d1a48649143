# SPDX-License-Identifier: MIT
"""Neighborhood attention modules; parameters have the same names as in natten-mps 0.3."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import _doors, checks
from ._carriers import Unscriptable, is_distributed, is_foreign, one_node
from ._plain import kind_of
from .utils.params import (
    Bools,
    Ints,
    check_stride_vs_kernel,
    make_window,
    normalize_causal,
    normalize_kernel_size,
    normalize_positive,
)
from .utils.window import Window

_INPUTS = {1: "[B, L, C]", 2: "[B, H, W, C]", 3: "[B, D, H, W, C]"}


def _window(rank: int, rules: tuple[Any, ...], padded: bool) -> Window:
    """rules: kernel_size, dilation, stride, is_causal, window_stride."""
    kernel_size, dilation, stride, causal, shared = rules
    return make_window(rank, kernel_size, dilation, stride, causal, shared, not padded)


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a projection; of a DTensor, to the tokens that each process has. DTensor's own kernel
    requires parts of equal size and, in PyTorch 2.10, positions that are not sharded."""
    plain = torch.compiler.is_compiling() or not is_distributed(x)
    if plain or layer._forward_hooks or layer._forward_pre_hooks:  # which get DTensors
        found: Tensor = layer(x)
        return found
    from .distributed._modules import by_token

    return by_token(layer, layer, x)


#: For a compiler, which treats the attributes of a module as constants.
_constant_window = torch.compiler.assume_constant_result(_window)


class _NeighborhoodAttention(Unscriptable, nn.Module):
    """The base module for any number of axes.

    Args:
        embed_dim: number of channels.
        num_heads: number of heads; must divide embed_dim.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        stride: compute only every `stride`-th query.
        dilation: step between neighboring keys of a window.
        is_causal: if true, a query does not see keys after its own position.
        num_kv_heads: number of key and value heads, a divisor of num_heads; None: num_heads.
        qkv_bias: whether the projections of query, key and value have a bias.
        qk_scale: factor of the logits; None: `head_dim ** -0.5`.
        attn_drop: dropout probability of the attention weights in training.
        proj_drop: dropout probability of the output in training.
        rel_pos_bias: whether to learn a relative position bias, `rpb`.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
    """

    rank: int
    window_stride: tuple[int, ...] | None = None  # of modules that were pickled without it

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        constructor = (_NeighborhoodAttention.__doc__ or "").split("\n", 1)[1]
        if cls.__doc__:
            cls.__doc__ = cls.__doc__.rstrip() + "\n" + constructor

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        kernel_size: Ints,
        stride: Ints | None = 1,
        dilation: Ints | None = 1,
        is_causal: Bools | None = False,
        num_kv_heads: int | None = None,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        *,
        rel_pos_bias: bool = False,
        window_stride: Ints = 1,
    ) -> None:
        super().__init__()
        kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        _check_numbers(embed_dim, num_heads, kv_heads, attn_drop, proj_drop)
        _check_heads(embed_dim, num_heads, kv_heads)
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.num_kv_heads = kv_heads
        self.kernel_size = normalize_kernel_size(kernel_size, self.rank)
        self.stride = normalize_positive(1 if stride is None else stride, self.rank, "stride")
        self.dilation = normalize_positive(
            1 if dilation is None else dilation, self.rank, "dilation"
        )
        self.window_stride = normalize_positive(window_stride, self.rank, "window_stride")
        check_stride_vs_kernel(self.window_stride, self.kernel_size, "window_stride")
        self.is_causal = normalize_causal(False if is_causal is None else is_causal, self.rank)
        self.scale = self.head_dim**-0.5 if qk_scale is None else qk_scale
        self._use_gqa = kv_heads != num_heads
        if self._use_gqa:
            self.q_proj = nn.Linear(embed_dim, embed_dim, bias=qkv_bias)
            self.kv_proj = nn.Linear(embed_dim, 2 * kv_heads * self.head_dim, bias=qkv_bias)
        else:
            self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_bias)
        if rel_pos_bias:
            shape = (2 * k - 1 for k in self.kernel_size)
            self.rpb = nn.Parameter(torch.empty(num_heads, *shape))
        else:
            self.register_parameter("rpb", None)
        self.attn_drop_p = attn_drop
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(proj_drop)
        self._reset_bias()

    def _reset_bias(self) -> None:
        if self.rpb is not None:
            nn.init.trunc_normal_(self.rpb, std=0.02, a=-2.0, b=2.0)

    def reset_parameters(self) -> None:
        """Reinitialize all parameters."""
        for module in self.children():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
        self._reset_bias()

    def extra_repr(self) -> str:
        """Return the constructor's arguments, for print(module).

        Returns:
            Text.
        """
        shown = (
            f"embed_dim={self.embed_dim}, num_heads={self.num_heads},"
            f" kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation},"
            f" is_causal={self.is_causal}"
        )
        if self.window_stride and max(self.window_stride) > 1:
            shown += f", window_stride={self.window_stride}"
        if self._use_gqa:
            shown += f", num_kv_heads={self.num_kv_heads}"
        if self.scale != self.head_dim**-0.5:
            shown += f", qk_scale={self.scale}"
        return shown + (", rel_pos_bias=True" if self.rpb is not None else "")

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return views of query, key and value, each [B, *S, heads, head_dim], without copies."""
        if self._use_gqa:
            query = linear(self.q_proj, x)
            key, value = linear(self.kv_proj, x).chunk(2, -1)
        else:
            query, key, value = linear(self.qkv, x).chunk(3, -1)
        heads, kv_heads = (self.num_heads, self.head_dim), (self.num_kv_heads, self.head_dim)
        return (
            query.unflatten(-1, heads),
            key.unflatten(-1, kv_heads),
            value.unflatten(-1, kv_heads),
        )

    def _check(self, x: Tensor) -> None:
        if not torch.compiler.is_compiling() and (kind_of(x) is None or not x.is_floating_point()):
            checks.tensors(type(self).__name__, x=x)
            checks.element(x)
        if x.dim() != self.rank + 2:
            name = type(self).__name__
            raise ValueError(f"{name} expects input shape {_INPUTS[self.rank]}.")
        if x.shape[-1] != self.embed_dim:
            hint = ""
            if x.shape[1] == self.embed_dim:
                hint = f" x looks like channels-first; the module takes {_INPUTS[self.rank]}."
            raise ValueError(
                f"Input channel dim ({x.shape[-1]}) must equal embed_dim ({self.embed_dim}).{hint}"
            )

    def _forward(self, x: Tensor, sizes: Tensor | None) -> Tensor:
        if not is_foreign(x):
            self._check(x)
        rules = (self.kernel_size, self.dilation, self.stride, self.is_causal, self.window_stride)
        dropout = self.attn_drop.p if self.training and self.attn_drop.training else 0.0
        out = _attend(*self._project(x), self.rpb, sizes, rules, self.scale, dropout)
        out = self.proj_drop(linear(self.proj, out.flatten(-2)))
        return _without_padding(out, sizes, self.stride)


@one_node
def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rpb: Tensor | None,
    sizes: Tensor | None,
    rules: tuple[Any, ...],
    scale: Any,
    dropout: float,
) -> Tensor:
    """Return [B, *S', heads, head_dim]; rules: kernel_size, dilation, stride, is_causal,
    window_stride."""
    rank, padded = len(rules[0]), sizes is not None
    name = f"na{rank}d_varlen" if padded else f"na{rank}d"
    make = _constant_window if torch.compiler.is_compiling() else _window
    window = make(rank, rules, padded)
    if sizes is not None:
        sizes = checks.sizes(name, sizes, query, window)
    if dropout > 0:
        logits = _doors.qk(name, window, query, key, scale, rpb, sizes=sizes)
        weights = functional.dropout(logits.softmax(-1), dropout)
        return _doors.av(name, window, weights, value, sizes=sizes)
    found = _doors.fused(name, window, query, key, value, scale, False, rpb=rpb, sizes=sizes)
    return cast("Tensor", found)


def _check_numbers(
    embed_dim: Any, num_heads: Any, num_kv_heads: Any, attn_drop: Any, proj_drop: Any
) -> None:
    counts = {"embed_dim": embed_dim, "num_heads": num_heads, "num_kv_heads": num_kv_heads}
    for name, value in counts.items():
        if not hasattr(value, "__index__"):
            raise TypeError(f"{name} is {value!r} (want an integer)")
    for name, value in {"attn_drop": attn_drop, "proj_drop": proj_drop}.items():
        if not hasattr(value, "__float__"):
            raise TypeError(f"{name} is {value!r} (want a number from 0 to 1)")
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value!r} (want a number from 0 to 1)")


def _check_heads(embed_dim: int, num_heads: int, kv_heads: int) -> None:
    if num_heads <= 0 or embed_dim % num_heads:
        raise ValueError("embed_dim must be divisible by num_heads")
    if isinstance(kv_heads, bool) or kv_heads <= 0 or num_heads % kv_heads:
        raise ValueError(f"num_heads ({num_heads}) must be divisible by num_kv_heads ({kv_heads})")


@one_node
def _without_padding(out: Tensor, sizes: Tensor | None, stride: tuple[int, ...]) -> Tensor:
    """Set padding to zero; the output projection would otherwise leave its bias there."""
    if sizes is None:
        return out
    for axis, step in enumerate(stride):
        kept = torch.arange(out.shape[1 + axis], device=out.device) * step
        padding = kept >= sizes.reshape(len(out), -1)[:, axis, None].to(out.device)
        shape = [out.shape[0]] + [1] * (out.dim() - 1)
        shape[1 + axis] = out.shape[1 + axis]
        out = out.masked_fill(padding.reshape(shape), 0)
    return out


class NeighborhoodAttention1D(_NeighborhoodAttention):
    """1-D neighborhood attention with input and output projections."""

    rank = 1

    def forward(self, x: Tensor, seq_lens: Tensor | None = None) -> Tensor:
        """Compute attention for a batch.

        Args:
            x: `[B, L, C]`.
            seq_lens: `[B]`, int32 or int64, the length of each sample in a padded batch.

        Returns:
            `[B, L', C]`, with fewer tokens than x if `stride` is not 1; 0 at padding.
        """
        return self._forward(x, seq_lens)


class NeighborhoodAttention2D(_NeighborhoodAttention):
    """2-D neighborhood attention with input and output projections."""

    rank = 2

    def forward(self, x: Tensor, spatial_sizes: Tensor | None = None) -> Tensor:
        """Compute attention for a batch.

        Args:
            x: `[B, H, W, C]`.
            spatial_sizes: `[B, 2]`, int32 or int64, the sizes of each sample in a padded batch.

        Returns:
            `[B, H', W', C]`, with fewer tokens than x if `stride` is not 1; 0 at padding.
        """
        return self._forward(x, spatial_sizes)


class NeighborhoodAttention3D(_NeighborhoodAttention):
    """3-D neighborhood attention with input and output projections."""

    rank = 3

    def forward(self, x: Tensor, spatial_sizes: Tensor | None = None) -> Tensor:
        """Compute attention for a batch.

        Args:
            x: `[B, D, H, W, C]`.
            spatial_sizes: `[B, 3]`, int32 or int64, the sizes of each sample in a padded batch.

        Returns:
            `[B, D', H', W', C]`, with fewer tokens than x if `stride` is not 1; 0 at padding.
        """
        return self._forward(x, spatial_sizes)
