# SPDX-License-Identifier: MIT
"""Causal neighborhood attention on tokens that arrive over time.

During generation there are few new queries, and the keys are mostly old. Only the last
`(kernel_size - 1) * dilation` old keys matter. A `Stream` keeps them for one layer, and a `Cache`
for all layers of a model: time and memory per token depend on the window, not on the number of
tokens so far. The first axis is the one along which tokens arrive (samples, or the frames of a
video) and must be causal; further axes are complete in every step.
"""

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from . import _doors, _young, pure
from ._layout import check_kinds, layout
from ._operation import ATTN
from ._types import Bools, Both, Ints, Result, Scale
from .modules import _NeighborhoodAttention
from .ops import autocast
from .utils.params import make_window
from .utils.window import Ranges, Window

__all__ = ["Cache", "Stream", "step"]

#: Minimum number of tokens for which a stream's buffer has room besides the window. The window is
#: moved to the front of the buffer once in so many tokens.
_ROOM = 64

Rows = Sequence[int] | Tensor | None


class Stream:
    """The state of one layer for a batch of streams: the keys and values of the last window.

    Examples:
        >>> import torch
        >>> from natten_mps import na1d
        >>> from natten_mps.streaming import Stream
        >>> x = torch.randn(2, 16, 4, 8)
        >>> stream = Stream()
        >>> parts = [stream.step(t, t, t, kernel_size=5) for t in x.split([7, 1, 1, 7], 1)]
        >>> torch.allclose(torch.cat(parts, 1), na1d(x, x, x, 5, is_causal=True), atol=1e-5)
        True
    """

    def __init__(self) -> None:
        self._window: Window | None = None
        self._kept: tuple[Tensor, Tensor] | None = None  # key and value, [B, room, *S, heads, dim]
        self._end = 0  # index after the last token written to them
        self._ages: list[int] = []
        self._delay: list[int] | int = 0
        self._owner: weakref.ref[Any] | None = None  # the module that steps

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_owner": None}  # copies may continue with copies of the module

    @property
    def ages(self) -> list[int]:
        """Number of tokens that each stream of the batch has had; negative before it begins.

        Returns:
            One number per stream; an empty list before the first step.
        """
        return list(self._ages)

    def reset(self, rows: Rows = None, delay: int | Sequence[int] | Tensor = 0) -> None:
        """Restart streams.

        Args:
            rows: indices `[n]` of the streams, or a `[B]` bool mask; None: all, and the next step
                may have another batch size and another window.
            delay: number of upcoming tokens, one value or one per row, that are not part of the
                stream: the left padding of prompts with different lengths. Their outputs are 0.
        """
        late = _entries(delay, "delay", "numbers of tokens")
        if min([late] if isinstance(late, int) else late, default=0) < 0:
            raise ValueError(f"delay is {delay} (want numbers of tokens from 0 on)")
        if rows is None:
            self._window, self._kept, self._ages, self._delay = None, None, [], late
            self._owner = None
            return
        chosen = _indices(rows, len(self._ages))
        each = [late] * len(chosen) if isinstance(late, int) else late
        if len(each) != len(chosen):
            raise ValueError(f"delay has {len(each)} entries (want one, or {len(chosen)})")
        for row, n in zip(chosen, each, strict=True):
            self._ages[row] = -n

    def reorder(self, rows: Sequence[int] | Tensor) -> None:
        """Rearrange the streams of the batch, as beam search does.

        Args:
            rows: `[n]`, the stream that each new one continues; n is the new batch size.
        """
        if self._kept is None:
            if isinstance(self._delay, list):
                self._delay = [self._delay[row] for row in _indices(rows, len(self._delay))]
            return
        chosen = _indices(rows, len(self._ages))
        history = self._history()
        begin = self._end - history
        index = torch.tensor(chosen, dtype=torch.int64, device=self._kept[0].device)
        moved = [t[:, begin : self._end].index_select(0, index) for t in self._kept]
        self._ages = [self._ages[row] for row in chosen]
        self._allocate(len(chosen), *self._kept)
        for kept, part in zip(self._kept, moved, strict=True):
            kept[:, :history] = part

    def step(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        return_lse: bool = False,
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        *,
        is_causal: Bools | None = None,
        rpb: Tensor | None = None,
        window_stride: Ints = 1,
    ) -> Result:
        """Attend from new tokens to earlier tokens and to themselves.

        Args:
            query: `[B, n, *S, heads, dim]`: n new tokens of each stream.
            key: `[B, n, *S, kv_heads, dim]`, where kv_heads divides heads.
            value: `[B, n, *S, kv_heads, value_dim]`.
            kernel_size: window size in keys; window parameters take one value or one per axis.
            dilation: step between neighboring keys of a window.
            scale: factor of the logits; None: `dim ** -0.5`.
            return_lse: also return the log-sum-exp of the logits.
            additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
            additional_values: `[B, N, kv_heads, value_dim]`, their values.
            is_causal: as for na1d, na2d and na3d; None: causal along the first axis only.
            rpb: `[heads, 2K - 1, ...]`, relative position bias, added to the scaled logits.
            window_stride: must be 1 along the first axis, where windows would otherwise depend on
                tokens that have not arrived yet.

        Constraints:
            As for na1d. Gradients flow to the new tokens, but not to those of earlier steps.

        Returns:
            `[B, n, *S, heads, value_dim]`, the outputs of these tokens in the whole sequence;
            with return_lse, also the log-sum-exp.

        Raises:
            ValueError: if tensors, window and streams do not match.
        """
        inputs = autocast((query, key, value, rpb, additional_keys, additional_values))
        check_kinds(ATTN, inputs)
        rank = min(max(query.dim() - 3, 1), 3)
        if is_causal is None:
            is_causal = (True, *(False,) * (rank - 1))
        window = make_window(rank, kernel_size, dilation, 1, is_causal, window_stride, True)
        self._accept(window, inputs)
        query, key, value, rpb, extra_key, extra_value = inputs  # type: ignore[assignment]
        options: Any = (scale, extra_key, extra_value, rpb)
        count, history = query.shape[1], self._history()
        apart = history + count > self._room() or _recorded(*inputs, scale)
        keys, values = self._copied(key, value) if apart else self._stored(key, value)
        parts, begin = [], 0
        for n, masked in self._plan(count):
            cut = slice(begin, begin + n + history)
            part = (query[:, begin : begin + n], keys[:, cut], values[:, cut])
            attend = self._masked if masked else self._fused
            parts.append(attend(*part, *options))
            begin += n
        self._advance((keys, values) if apart else None, count)
        out, lse = parts[0] if len(parts) == 1 else _joined(parts)
        return (out, lse) if return_lse else out

    def _history(self) -> int:
        assert self._window is not None
        return (self._window.kernel[0] - 1) * self._window.dilation[0]

    def _accept(self, window: Window, inputs: Sequence[Tensor | None]) -> None:
        """Refuse inputs that do not continue these streams; the first step creates the streams."""
        if not window.causal[0]:
            raise ValueError(f"is_causal is {window.causal} (want True along the first axis)")
        if window.stride[0] != 1:
            raise ValueError(f"window_stride is {window.stride} (want 1 along the first axis)")
        self._check_shapes(window, inputs)
        key, value = inputs[1:3]
        assert key is not None
        assert value is not None
        if self._kept is None:
            delay, batch = self._delay, key.shape[0]
            late = [delay] * batch if isinstance(delay, int) else delay
            if len(late) != batch:
                raise ValueError(f"delay has {len(late)} entries (want {batch}, the batch)")
            self._window, self._ages = window, [-n for n in late]
            self._allocate(batch, key, value)
        assert self._kept is not None
        for name, new, kept in zip(("key", "value"), (key, value), self._kept, strict=True):
            got, want = ((t.shape[0], *t.shape[2:], t.dtype, t.device) for t in (new, kept))
            if got != want:
                raise ValueError(
                    f"{name} has {got} but the stream {want} (want the same, or reset)"
                )
        if window != self._window:
            raise ValueError(f"window is {window} but was {self._window} (want the same, or reset)")

    def _check_shapes(self, window: Window, inputs: Sequence[Tensor | None]) -> None:
        """Check like a call with only the new tokens, on an axis that is long enough."""
        names = zip(ATTN.inputs, inputs, strict=True)
        shapes: dict[str, tuple[int, ...]] = {n: t.shape for n, t in names if t is not None}
        key = shapes["key"]
        if len(key) > 1 and key[1] == 0:
            raise ValueError("key has 0 tokens (want 1 or more per step)")
        none = (0,) * len(window.kernel)
        length = max(key[1] if len(key) > 1 else 0, window.kernel[0] * window.dilation[0])
        alone = window._replace(ranges=Ranges(none, none, (length, *key[2:-2])))
        layout(ATTN, shapes, alone, False)
        got, want = shapes["query"][1:-2], key[1:-2]
        if got != want:
            raise ValueError(f"query has positions {tuple(got)} (want key's, {tuple(want)})")

    def _allocate(self, batch: int, key: Tensor, value: Tensor) -> None:
        history = self._history()
        room = history + max(history, _ROOM)
        with torch.inference_mode(False):  # later steps may be outside it
            self._kept = tuple(  # type: ignore[assignment]
                torch.zeros((batch, room, *t.shape[2:]), dtype=t.dtype, device=t.device)
                for t in (key, value)
            )
        self._end = history

    def _room(self) -> int:
        assert self._kept is not None
        return self._kept[0].shape[1]

    def _copied(self, *new: Tensor) -> list[Tensor]:
        """The keys and values of the preceding window and of the new tokens, as new tensors."""
        assert self._kept is not None
        begin = self._end - self._history()
        pairs = zip(self._kept, new, strict=True)
        return [torch.cat([kept[:, begin : self._end], t], 1) for kept, t in pairs]

    def _stored(self, *new: Tensor) -> list[Tensor]:
        """The same, as views of the buffer, to whose end the new tokens are written."""
        assert self._kept is not None
        history, count = self._history(), new[0].shape[1]
        begin = self._end - history
        if self._end + count > self._room():
            for kept in self._kept:
                kept[:, :history] = kept[:, begin : self._end].clone()
            begin, self._end = 0, history
        for kept, t in zip(self._kept, new, strict=True):
            kept[:, self._end : self._end + count] = t.detach()
        return [kept[:, begin : self._end + count] for kept in self._kept]

    def _advance(self, copied: tuple[Tensor, Tensor] | None, count: int) -> None:
        """Make the new tokens part of the streams. A step that fails does not get here, so that
        it can be repeated."""
        assert self._kept is not None
        self._ages = [age + count for age in self._ages]
        if copied is None:
            self._end += count
            return
        self._end = self._history()
        for kept, t in zip(self._kept, copied, strict=True):
            kept[:, : self._end] = t[:, count:].detach()

    def _plan(self, count: int) -> list[tuple[int, bool]]:
        """Split the new tokens: the first ones need a mask while some stream is shorter than a
        window."""
        history = self._history()
        young = min(max(history - min(self._ages, default=history), 0), count)
        return [(n, masked) for n, masked in ((young, True), (count - young, False)) if n]

    def _placed(self, keys: Tensor, count: int) -> Window:
        """The window for new tokens placed right after the first window of an axis, whose length is
        irrelevant. All steps with the same number of tokens are then the same problem."""
        assert self._window is not None
        kernel, dilation = self._window.kernel[0], self._window.dilation[0]
        rest = tuple(keys.shape[2:-2])
        none = (0,) * len(rest)
        length = max(self._history() + count, kernel * dilation)
        ranges = Ranges((self._history(), *none), (0, *none), (length, *rest))
        return self._window._replace(ranges=ranges)

    def _fused(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        scale: Scale,
        extra_key: Tensor | None,
        extra_value: Tensor | None,
        rpb: Tensor | None,
    ) -> Both:
        window, name = self._placed(keys, query.shape[1]), "Stream.step"
        given = (query, keys, values, scale, True, extra_key, extra_value, rpb)
        return _doors.fused(name, window, *given)  # type: ignore[return-value]

    def _masked(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        scale: Scale,
        extra_key: Tensor | None,
        extra_value: Tensor | None,
        rpb: Tensor | None,
    ) -> Both:
        """Attention if some stream has fewer tokens than a window."""
        window, name = self._placed(keys, query.shape[1]), "Stream.step"
        query, keys, values = _young.cleared(self._ages, query, keys, values)
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        logits = _doors.qk(name, window, query, keys, factor, rpb, extra_key)
        count, slots = query.shape[1], logits.shape[-1]
        hidden = _young.hidden(self._ages, window, count, slots, query.device)
        hidden = hidden.reshape(*hidden.shape[:2], *(1,) * (query.dim() - 3), -1)
        weights, lse, _ = pure.softmax(pure.up(logits).masked_fill(hidden, -torch.inf))
        weights = weights.to(query.dtype)
        return _doors.av(name, window, weights, values, extra_value), lse


def _joined(parts: Sequence[Both]) -> Both:
    outs, lses = zip(*parts, strict=True)
    return torch.cat(outs, 1), torch.cat(lses, 1)


def _recorded(*values: Any) -> bool:
    """Whether autograd records what is computed from the values, and keeps it."""
    tensors = (v for v in values if isinstance(v, Tensor))
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _entries(value: Any, name: str, what: str) -> Any:
    """An integer, or a list of integers or bools, from a sequence, an array or a tensor."""
    given = value.tolist() if hasattr(value, "tolist") else value
    one = not isinstance(given, Sequence)
    entries = [v.item() if hasattr(v, "item") else v for v in ([given] if one else given)]
    if not all(isinstance(v, int) for v in entries):
        raise ValueError(f"{name} is {value} (want {what}, as integers)")
    return entries[0] if one else entries


def _indices(rows: Sequence[int] | Tensor, batch: int) -> list[int]:
    given = _entries(rows, "rows", "streams of the batch")
    given = given if isinstance(given, list) else [given]
    if given and all(isinstance(row, bool) for row in given):
        if len(given) != batch:
            raise ValueError(f"rows has {len(given)} bools (want {batch}, the batch)")
        return [i for i, row in enumerate(given) if row]
    for row in given:
        if not 0 <= row < batch:
            among = f"0 to {batch - 1}, streams of the batch" if batch else "None before a step"
            raise ValueError(f"rows has {row} (want {among})")
    return given


class Cache:
    """The streams of all layers of a model."""

    def __init__(self, layers: int) -> None:
        """Create the streams for a number of layers."""
        self._streams = [Stream() for _ in range(layers)]

    def __len__(self) -> int:
        return len(self._streams)

    def __getitem__(self, layer: int) -> Stream:
        return self._streams[layer]

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams)

    def reset(self, rows: Rows = None, delay: int | Sequence[int] | Tensor = 0) -> None:
        """Restart streams in all layers.

        Args:
            rows: as for `Stream.reset`.
            delay: as for `Stream.reset`.
        """
        for stream in self._streams:
            stream.reset(rows, delay)

    def reorder(self, rows: Sequence[int] | Tensor) -> None:
        """Rearrange the streams of the batch in all layers.

        Args:
            rows: as for `Stream.reorder`.
        """
        for stream in self._streams:
            stream.reorder(rows)


def step(module: Any, x: Tensor, stream: Stream) -> Tensor:
    """Apply a module of this package to new tokens.

    Args:
        module: NeighborhoodAttention1D, 2D or 3D, causal along its first axis.
        x: `[B, n, *S, C]`: n new tokens of each stream.
        stream: the state of this module; use one stream per module.

    Returns:
        `[B, n, *S, C]`.

    Raises:
        ValueError: if the module skips queries (`stride`), or applies dropout to attention weights.
    """
    module = getattr(module, "_orig_mod", module)  # of torch.compile
    if not isinstance(module, _NeighborhoodAttention):
        raise TypeError(f"module is a {type(module).__name__} (want NeighborhoodAttention1D to 3D)")
    if max(module.stride) > 1:
        raise ValueError(f"module has stride {module.stride} (want 1)")
    if module.training and module.attn_drop.p > 0:
        raise ValueError("module draws dropout of attention weights (want module.eval())")
    owner = stream._owner and stream._owner()
    if owner is not None and owner is not module:
        raise ValueError("stream has tokens of another module (want one stream per module)")
    module._check(x)
    out = stream.step(
        *module._project(x),
        module.kernel_size,
        module.dilation,
        module.scale,
        is_causal=module.is_causal,
        rpb=module.rpb,
        window_stride=module.window_stride or 1,
    )
    assert isinstance(out, Tensor)
    stream._owner = weakref.ref(module)
    finished: Tensor = module.proj_drop(module.proj(out.flatten(-2)))
    return finished
