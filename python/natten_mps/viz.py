# SPDX-License-Identifier: MIT
"""Pictures of windows, of attention over images, and of benchmark tables. Needs matplotlib.

Each function returns a matplotlib figure, which notebooks show; `path` also writes it as PNG.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from . import ops
from .utils.params import Ints, normalize_causal, normalize_kernel_size, normalize_positive
from .utils.window import Window


def _figure(**options: Any) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "natten_mps.viz needs matplotlib, which is not installed: pip install matplotlib"
        ) from error
    return Figure(layout="constrained", **options)


def _finish(figure: Any, path: str | PathLike[str] | None) -> Any:
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def visible_keys(
    length: int | Sequence[int],
    kernel_size: Ints,
    dilation: Ints = 1,
    stride: Ints = 1,
    is_causal: bool | Sequence[bool] = False,
) -> Tensor:
    """Which keys each query sees: those that get weight where all logits are equal.

    Args:
        length: tokens, one value or one per axis.
        kernel_size: keys of a window; a window parameter is one value or one per axis.
        dilation: distance between the keys of a window.
        stride: queries that share one window (`window_stride` of the functions).
        is_causal: whether a query sees no key after its own position.

    Returns:
        bool `[*S, *S]`, queries first.

    Example:
        >>> from natten_mps import viz
        >>> viz.visible_keys(4, 3).int().tolist()
        [[1, 1, 1, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 1]]
    """
    lengths = (length,) if isinstance(length, int) else tuple(length)
    rank = len(lengths)
    window = Window(
        normalize_kernel_size(kernel_size, rank),
        normalize_positive(dilation, rank, "dilation"),
        normalize_positive(stride, rank, "stride"),
        (1,) * rank,
        normalize_causal(is_causal, rank),
    )
    count = torch.tensor(lengths).prod().item()
    value = torch.eye(int(count)).reshape(1, *lengths, 1, int(count))
    zero = torch.zeros(1, *lengths, 1, 1)
    weights, _ = ops.attn(zero, zero, value, window=window)
    return (weights > 0).reshape(*lengths, *lengths)


def windows(
    length: int | Sequence[int],
    kernel_size: Ints,
    dilation: Ints = 1,
    stride: Ints = 1,
    is_causal: bool | Sequence[bool] = False,
    *,
    query: Sequence[int] | None = None,
    path: str | PathLike[str] | None = None,
) -> Any:
    """A picture of the keys that queries see.

    1-D: a row per query. 2-D and 3-D: the window of one query, in 3-D a panel per slice of the
    first axis.

    Args:
        length: tokens, one value or one per axis.
        kernel_size: keys of a window; a window parameter is one value or one per axis.
        dilation: distance between the keys of a window.
        stride: queries that share one window (`window_stride` of the functions).
        is_causal: whether a query sees no key after its own position.
        query: indices of the query whose window is drawn; None: the middle one.
        path: file to write the picture to, as PNG.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the query is not in the layout.
    """
    seen = visible_keys(length, kernel_size, dilation, stride, is_causal)
    rank = seen.dim() // 2
    text = f"kernel {kernel_size}, dilation {dilation}, stride {stride}, causal {is_causal}"
    if rank == 1:
        figure = _figure(figsize=(4.5, 4.5))
        axes = figure.subplots()
        _grid(axes, seen, [(i, i) for i in range(len(seen))])
        axes.set(xlabel="key", ylabel="query", title=text)
        return _finish(figure, path)
    lengths = seen.shape[:rank]
    at = tuple(n // 2 for n in lengths) if query is None else tuple(query)
    if len(at) != rank or not all(0 <= i < n for i, n in zip(at, lengths, strict=True)):
        raise ValueError(f"query is {at} (want {rank} indices below {tuple(lengths)})")
    slices = seen[at] if rank == 3 else seen[at][None]
    figure = _figure(figsize=(3 * len(slices) + 1, 3.6))
    for depth, (axes, keys) in enumerate(
        zip(figure.subplots(1, len(slices), squeeze=False)[0], slices, strict=True)
    ):
        here = rank == 2 or depth == at[0]
        _grid(axes, keys, [at[-2:]] if here else [])
        if rank == 3:
            axes.set_title(f"slice {depth}", fontsize=9)
    figure.suptitle(f"query {at}\n{text}", fontsize=8)
    return _finish(figure, path)


def _grid(axes: Any, seen: Tensor, queries: Sequence[Sequence[int]]) -> None:
    """Cells of keys, dark where seen; a ring where the query itself is."""
    edges = [[i - 0.5 for i in range(n + 1)] for n in reversed(seen.shape)]
    style = {"cmap": "Blues", "vmin": 0, "vmax": 1.4, "edgecolors": "0.8", "lw": 0.5}
    axes.pcolormesh(*edges, seen.float().numpy(), **style)
    for row, column in queries:
        axes.plot(column, row, "o", ms=5, mfc="none", mec="tab:red")
    axes.set_aspect("equal")
    axes.invert_yaxis()


def attention_map(
    query: Tensor,
    key: Tensor,
    position: tuple[int, int],
    kernel_size: Ints,
    dilation: Ints = 1,
    is_causal: bool | Sequence[bool] = False,
    scale: float | None = None,
) -> Tensor:
    """Attention of one query over the whole layout, mean over heads, found by the operations.

    The values are unit vectors, one per row of the image, so that outputs are weights.

    Args:
        query: `[H, W, heads, dim]`.
        key: `[H, W, heads, dim]`.
        position: row and column of the query.
        kernel_size: keys of a window; a window parameter is one value or one per axis.
        dilation: distance between the keys of a window.
        is_causal: whether a query sees no key after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.

    Returns:
        `[H, W]`, 0 outside of the query's window.
    """
    height, width = key.shape[:2]
    window = Window(
        normalize_kernel_size(kernel_size, 2),
        normalize_positive(dilation, 2, "dilation"),
        (1, 1),
        (1, 1),
        normalize_causal(is_causal, 2),
    )
    rows = torch.eye(height, dtype=key.dtype, device=key.device)
    found = key.new_zeros(height, width)
    for column in range(width):
        value = key.new_zeros(1, height, width, key.shape[-2], height)
        value[0, :, column] = rows[:, None, :]
        out, _ = ops.attn(query[None], key[None], value, window=window, scale=scale)
        found[:, column] = out[0, position[0], position[1]].mean(0)
    return found


def attention_over_image(
    image: Any,
    attention: Tensor,
    position: tuple[int, int] | None = None,
    *,
    path: str | PathLike[str] | None = None,
) -> Any:
    """A picture of an attention map over an image.

    Args:
        image: `[H, W]` or `[H, W, 3]`, whatever matplotlib draws.
        attention: `[h, w]`, of any size.
        position: row and column of the query, in the map.
        path: file to write the picture to, as PNG.

    Returns:
        A matplotlib figure.
    """
    height, width = image.shape[:2]
    figure = _figure(figsize=(6, 6 * height / width + 0.4))
    axes = figure.subplots()
    box = (0, width, height, 0)
    axes.imshow(image, extent=box, cmap="gray")
    weights = attention.detach().float().cpu()
    alpha = (weights / weights.max().clamp(min=1e-30)).sqrt() * 0.85
    axes.imshow(weights.numpy(), extent=box, cmap="inferno", alpha=alpha.numpy())
    if position is not None:
        row, column = (
            (i + 0.5) * size / n
            for i, size, n in zip(position, (height, width), attention.shape, strict=True)
        )
        axes.plot(column, row, "o", ms=9, mfc="none", mec="cyan", mew=2)
    axes.set_axis_off()
    return _finish(figure, path)


def benchmark(report: dict[str, Any], *, path: str | PathLike[str] | None = None) -> Any:
    """Bars of the times in a report of `python -m natten_mps.bench --json`.

    Args:
        report: the report, as read from JSON.
        path: file to write the picture to, as PNG.

    Returns:
        A matplotlib figure.
    """
    rows = report["rows"]
    columns = [(b, p) for b, times in rows[0]["times_ms"].items() for p in times]
    figure = _figure(figsize=(8, 0.5 + 0.25 * len(rows) * (len(columns) + 1)))
    axes = figure.subplots()
    step = len(columns) + 1
    for i, (name, direction) in enumerate(columns):
        values = [row["times_ms"][name][direction] for row in rows]
        places = [n * step + i for n in range(len(rows))]
        bars = axes.barh(places, values, label=f"{name} {direction}")
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=7)
    axes.set_yticks([n * step + (step - 2) / 2 for n in range(len(rows))])
    axes.set_yticklabels([row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(f"ms ({report['machine']}, {report['device']}, {report['dtype']})")
    figure.legend(loc="outside upper right", ncols=len(columns), fontsize=8)
    return _finish(figure, path)
