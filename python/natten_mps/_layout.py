# SPDX-License-Identifier: MIT
"""The only validator: reads the sizes of a problem off its tensors, or raises a Misfit that says
what is wrong.

Kinds of Misfit with their facts (`name` and `other` are names of tensors):

| kind | facts | what is wrong |
| --- | --- | --- |
| type | name, got | not a tensor |
| dims | name, got, want | the number of dimensions |
| batch, lengths, head_dim, kv_heads, tokens | name, got, other, want | two tensors differ |
| heads | heads, kv_heads | kv_heads does not divide heads |
| slots | name, got, want | number of weights per query |
| empty | name, got | the last dimension is empty |
| alone | name, other | extra_key without extra_value, or vice versa |
| rpb | got, want | shape of the bias |
| window | name, got | an entry of the window is less than 1 |
| kernel, span | axis, kernel, dilation, length | the window, or dilated window, exceeds the axis |
| stride | axis, stride, kernel | the stride exceeds the window |
| range | axis, name, got, length | a range is not within its axis |
| step | axis, got, step | a range starts at a query that is not computed |
| held | axis, queries, keys, held | queries of the range see keys that the tensors lack |
| dtype, device | name, got, other, want | tensors differ in dtype or device |
| element | name, got | unsupported dtype |
| scale | got | not a finite number |
| sizes | got, want | shape of the sample sizes |
| sizes_dtype | got | dtype of the sample sizes |
| size | sample, axis, got, least, most | size of one sample |

Every Misfit about shapes also has the facts `op` (operation name), `shapes` (by tensor name),
`window`, `heads_first` and `hint`, which is text and may be empty.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _plan
from ._operation import ATTN, AV, QK, Operation
from .pure import queries_of
from .utils.window import Ranges, Window, keys_of

Tensors = Sequence[Tensor | None]
Shape = tuple[int, ...]


class Misfit(Exception):  # noqa: N818 - base of the three below
    """Invalid arguments. `str()` describes them with the names that this package uses."""

    def __init__(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        super().__init__(text)
        self.kind = kind
        self.facts = facts


class ValueMisfit(Misfit, ValueError):  # noqa: N818
    """Inconsistent or invalid values or shapes."""


class TypeMisfit(Misfit, TypeError):  # noqa: N818
    """An argument that is not a tensor."""


class UnsupportedMisfit(Misfit, NotImplementedError):  # noqa: N818
    """An unsupported dtype or kind of tensor."""


class Layout(NamedTuple):
    """Sizes of a problem, read off the shapes of its tensors."""

    batch: int
    lengths: Shape  # of the whole axes
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    extra: int
    queries: Shape  # held by the tensors along each axis; the same for keys
    keys: Shape


class _Sizes(NamedTuple):
    """Sizes of one tensor: batch, positions along the axes, heads, last dimension."""

    batch: int
    lengths: Shape
    heads: int
    dim: int


def _split(shape: Shape, heads_first: bool) -> _Sizes:
    if heads_first:
        return _Sizes(shape[0], tuple(shape[2:-1]), shape[1], shape[-1])
    return _Sizes(shape[0], tuple(shape[1:-2]), shape[-2], shape[-1])


def outputs_of(lengths: Shape, window: Window) -> Shape:
    """Number of computed queries along each axis."""
    return tuple(-(-n // step) for n, step in zip(lengths, window.query_step, strict=True))


def must(good: bool, kind: str, text: Callable[[], str], **facts: Any) -> None:
    """Raise unless good. `text` is lazy because formatting would specialize traced sizes."""
    if not good:
        raise ValueMisfit(kind, text(), facts)


def _equal(kind: str, what: str, name: str, got: Any, other: str, want: Any) -> None:
    must(
        got == want,
        kind,
        lambda: f"{name} has {what} {got} but {other} has {want} (want the same)",
        name=name,
        got=got,
        other=other,
        want=want,
    )


def layout(op: Operation, shapes: Mapping[str, Shape], window: Window, heads_first: bool) -> Layout:
    """Read the sizes of a problem, and check that shapes match one another and the window."""
    try:
        return _layout(op, shapes, window, heads_first)
    except Misfit as misfit:
        given = {name: tuple(shape) for name, shape in shapes.items()}
        misfit.facts.update(op=op.name, shapes=given, window=window, heads_first=heads_first)
        misfit.facts["hint"] = hint = _other_order(op, shapes, window, heads_first)
        misfit.args = (misfit.args[0] + hint,)
        raise


def _other_order(
    op: Operation, shapes: Mapping[str, Shape], window: Window, heads_first: bool
) -> str:
    """A hint if mismatched shapes would match in the other order of heads and axes."""
    try:
        _layout(op, shapes, window, not heads_first)
    except (Misfit, IndexError):
        return ""
    axes = {1: "L", 2: "H, W", 3: "D, H, W"}[len(window.kernel)]
    orders = (f"heads-first [B, heads, {axes}, dim]", f"heads-last [B, {axes}, heads, dim]")
    got, want = orders if not heads_first else orders[::-1]
    move, who = ("(-2, 1)", "this function") if heads_first else ("(1, -2)", "natten_mps")
    return f" {op.inputs[0]} looks like {got}; {who} takes {want}: use .movedim{move}."


def _layout(
    op: Operation, shapes: Mapping[str, Shape], window: Window, heads_first: bool
) -> Layout:
    _dims(shapes, len(window.kernel))
    first, second = op.inputs[:2]
    q, k = _split(shapes[first], heads_first), _split(shapes[second], heads_first)
    value_dim = k.dim
    _equal("batch", "batch size", first, q.batch, second, k.batch)
    ranges = window.ranges
    if ranges is not None:
        wanted = q.lengths
    else:
        wanted = k.lengths if op is not AV else outputs_of(k.lengths, window)
    must(
        q.lengths == wanted,
        "lengths",
        lambda: (
            f"{first} has positions {q.lengths}, which do not fit {second}'s"
            f" {k.lengths} (want {wanted})"
        ),
        name=first,
        got=q.lengths,
        other=second,
        want=wanted,
    )
    if op is not AV:
        _equal("head_dim", "head dim", first, q.dim, second, k.dim)
    if op is ATTN:
        value_dim = _value(k, _split(shapes["value"], heads_first))
    must(
        k.heads >= 1 and q.heads >= 1 and q.heads % k.heads == 0,
        "heads",
        lambda: f"{first} has {q.heads} heads, which {k.heads} key/value heads do not divide",
        heads=q.heads,
        kv_heads=k.heads,
    )
    for name, dim in ((second, k.dim), ("value", value_dim)):
        must(
            dim >= 1,
            "empty",
            lambda name=name, dim=dim: (  # type: ignore[misc]
                f"{name} has {dim} entries in its last dimension (want at least 1)"
            ),
            name=name,
            got=dim,
        )
    extra = _extra(op, shapes, k, value_dim, heads_first)
    if op is AV:
        slots = prod(window.kernel) + extra
        must(
            q.dim == slots,
            "slots",
            lambda: f"{first} has {q.dim} weights a query (want {slots}, window and extra tokens)",
            name=first,
            got=q.dim,
            want=slots,
        )
    _rpb(shapes, q.heads, window)
    lengths, queries = (k.lengths, k.lengths) if ranges is None else (ranges.full, q.lengths)
    _check_window(window, lengths)
    if ranges is not None:
        if op is AV:
            queries = queries_of(queries, window)
        for axis in range(len(lengths)):
            _check_range(axis, window, ranges, queries[axis], k.lengths[axis])
    return Layout(k.batch, lengths, q.heads, k.heads, k.dim, value_dim, extra, queries, k.lengths)


def _dims(shapes: Mapping[str, Shape], rank: int) -> None:
    for name, shape in shapes.items():
        want = 4 if name.startswith("extra") else rank + (1 if name == "rpb" else 3)
        got = len(shape)
        must(
            got == want,
            "dims",
            lambda name=name, shape=shape, want=want: (  # type: ignore[misc]
                f"{name} has shape {tuple(shape)} (want {want} dimensions for a {rank}-D problem)"
            ),
            name=name,
            got=got,
            want=want,
        )


def _value(k: _Sizes, v: _Sizes) -> int:
    _equal("batch", "batch size", "value", v.batch, "key", k.batch)
    _equal("lengths", "token layout", "value", v.lengths, "key", k.lengths)
    _equal("kv_heads", "heads", "value", v.heads, "key", k.heads)
    return v.dim


def _extra(
    op: Operation, shapes: Mapping[str, Shape], k: _Sizes, value_dim: int, heads_first: bool
) -> int:
    """Number of extra tokens."""
    given = [name for name in ("extra_key", "extra_value") if name in shapes]
    if not given:
        return 0
    missing = "extra_value" if given[0] == "extra_key" else "extra_key"
    must(
        op is not ATTN or len(given) == 2,
        "alone",
        lambda: f"{given[0]} is given alone (want both or none)",
        name=given[0],
        other=missing,
    )
    split = {name: _split(shapes[name], heads_first) for name in given}
    tokens = split[given[0]].lengths[0]
    for name, own in split.items():
        of = "value" if name == "extra_value" else "key"
        _equal("batch", "batch size", name, own.batch, of, k.batch)
        _equal("tokens", "tokens", name, own.lengths[0], given[0], tokens)
        _equal("kv_heads", "heads", name, own.heads, of, k.heads)
        dim = value_dim if name == "extra_value" else k.dim
        _equal("head_dim", "head dim", name, own.dim, of, dim)
    return tokens


def _rpb(shapes: Mapping[str, Shape], heads: int, window: Window) -> None:
    if "rpb" not in shapes:
        return
    got, want = tuple(shapes["rpb"]), (heads, *(2 * k - 1 for k in window.kernel))
    must(
        got == want,
        "rpb",
        lambda: f"rpb has sizes {got}, which do not fit the window (want {want})",
        got=got,
        want=want,
    )


def _check_window(window: Window, lengths: Shape) -> None:
    kernel, dilation, stride, query_step, *_ = window
    rule = (kernel, dilation, stride, query_step)
    for name, values in zip(Window._fields[:4], rule, strict=True):
        must(
            min(values) >= 1,
            "window",
            lambda name=name, values=values: (  # type: ignore[misc]
                f"{name} is {values} (want >= 1 on every axis)"
            ),
            name=name,
            got=values,
        )
    for axis, sizes in enumerate(zip(kernel, dilation, stride, lengths, strict=True)):
        _check_axis(axis, *sizes)


def _check_axis(axis: int, kernel: int, dilation: int, stride: int, length: int) -> None:
    facts = {"axis": axis, "kernel": kernel, "dilation": dilation, "length": length}
    for kind, span in (("kernel", kernel), ("span", kernel * dilation)):
        must(
            span <= length,
            kind,
            lambda: (
                f"kernel {kernel} * dilation {dilation} exceeds length {length} on axis {axis}"
                " (want kernel * dilation <= length)"
            ),
            **facts,
        )
    must(
        stride <= kernel,
        "stride",
        lambda: f"stride {stride} exceeds kernel {kernel} on axis {axis} (want stride <= kernel)",
        axis=axis,
        stride=stride,
        kernel=kernel,
    )


def _check_range(axis: int, window: Window, ranges: Ranges, queries: int, keys: int) -> None:
    length, first, step = ranges.full[axis], ranges.query[axis], window.query_step[axis]
    for name, begin, count in (("query", first, queries), ("key", ranges.key[axis], keys)):
        must(
            begin >= 0 and count >= 1 and begin + count <= length,
            "range",
            lambda name=name, begin=begin, count=count: (  # type: ignore[misc]
                f"{name} range {begin} to {begin + count} is no part of axis {axis} of length"
                f" {length} (want 0 <= {name}_offset, at least one position, and the end within"
                " full_size)"
            ),
            axis=axis,
            name=name,
            got=(begin, count),
            length=length,
        )
    must(
        first % step == 0,
        "step",
        lambda: f"query_offset {first} on axis {axis} (want a multiple of the stride {step})",
        axis=axis,
        got=first,
        step=step,
    )


def check_held(sizes: Layout, window: Window, lengths: Shape | None = None) -> None:
    """Refuse a range whose queries see keys that the tensors lack; `lengths`: sizes of one sample.

    Separate from `layout`, because it would specialize traced offsets.
    """
    if window.ranges is None:
        return
    for axis, length in enumerate(lengths or sizes.lengths):
        first, begin = window.ranges.query[axis], window.ranges.key[axis]
        count, end = min(sizes.queries[axis], length - first), begin + sizes.keys[axis]
        if count <= 0:  # a sample that ends before the range
            continue
        seen = keys_of(window, axis, length, first, count)
        if begin <= seen[0] and seen[-1] < end:
            continue
        text = (
            f"keys {begin} to {end - 1} are held on axis {axis}, and queries {first} to"
            f" {first + count - 1} see others (want keys {seen[0]} to {seen[-1]})"
        )
        facts = {"axis": axis, "queries": (first, count), "keys": seen, "held": (begin, end)}
        raise ValueMisfit("held", text, facts)


def output_shapes(op: Operation, sizes: Layout, window: Window, heads_first: bool) -> list[Shape]:
    """Shapes of the outputs, in the layout of the inputs."""
    spatial = outputs_of(sizes.queries, window)
    last = sizes.value_dim if op is not QK else prod(window.kernel) + sizes.extra
    if heads_first:
        first = (sizes.batch, sizes.heads, *spatial)
    else:
        first = (sizes.batch, *spatial, sizes.heads)
    return [(*first, last), first] if op is ATTN else [(*first, last)]


def lse_dtype(dtype: torch.dtype) -> torch.dtype:
    """Dtype of lse and of accumulators."""
    return torch.float64 if dtype == torch.float64 else torch.float32


#: Inputs that may be None.
_OPTIONAL = {"rpb", "extra_key", "extra_value"}


def check_kinds(op: Operation, inputs: Tensors) -> None:
    """Refuse non-tensors and tensors of different or unsupported dtypes or devices."""
    pairs = zip(op.inputs, inputs, strict=True)
    given: list[tuple[str, Any]] = [(n, t) for n, t in pairs if t is not None or n not in _OPTIONAL]
    for name, t in given:
        if not isinstance(t, Tensor):
            text = f"{name} is {t!r} (want a tensor)"
            raise TypeMisfit("type", text, {"name": name, "got": type(t)})
    other, first = given[0]
    for name, t in given:
        for kind, verb, got, want in (
            ("dtype", "is", t.dtype, first.dtype),
            ("device", "is on", t.device, first.device),
        ):
            must(
                got == want,
                kind,
                lambda name=name, kind=kind, verb=verb, got=got, want=want: (  # type: ignore[misc]
                    f"{other} {verb} {want} but {name} {verb} {got} (want one {kind})"
                ),
                name=name,
                got=got,
                other=other,
                want=want,
            )
    if first.dtype not in _plan.DTYPES:
        known = ", ".join(str(d) for d in _plan.DTYPES)
        text = f"{other} is {first.dtype} (want one of {known})"
        raise UnsupportedMisfit("element", text, {"name": other, "got": first.dtype})


def check_scale(scale: float | None) -> None:
    """Refuse a scale that would make every logit NaN."""
    must(
        scale is None or isfinite(scale),
        "scale",
        lambda: f"scale is {scale} (want a finite number)",
        got=scale,
    )


def check_sizes(sizes: Tensor, want: Shape) -> None:
    """Refuse sample sizes that are not integers of shape `[B, rank]`."""
    got = tuple(sizes.shape)
    must(
        got == want,
        "sizes",
        lambda: f"sizes has sizes {got}, which do not fit batch and rank (want {want})",
        got=got,
        want=want,
    )
    must(
        not (sizes.is_floating_point() or sizes.is_complex()),
        "sizes_dtype",
        lambda: f"sizes is {sizes.dtype} (want integers)",
        got=sizes.dtype,
    )


def check_size(sample: int, axis: int, size: int, least: int, most: int) -> None:
    """Refuse a sample that is shorter than a window or longer than its padded length."""
    must(
        least <= size <= most,
        "size",
        lambda: (
            f"size {size} of sample {sample} on axis {axis} (want kernel * dilation ="
            f" {least} to length {most})"
        ),
        sample=sample,
        axis=axis,
        got=size,
        least=least,
        most=most,
    )
