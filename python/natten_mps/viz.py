# SPDX-License-Identifier: MIT
"""Pictures of windows, attention maps, models and benchmarks. Needs matplotlib.

Each function returns a matplotlib figure, which notebooks display; `path` also saves it as PNG.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from . import _model_report, ops
from ._visible import visible_keys as visible_keys
from .utils.params import Ints, normalize_causal, normalize_kernel_size, normalize_positive
from .utils.window import Window

visible_keys.__module__ = __name__  # the public place, for pickles and help()


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
    """Draw the keys that queries see.

    1-D: one row per query. 2-D and 3-D: the window of one query, in 3-D with one panel per slice
    of the first axis.

    Args:
        length: number of tokens, one value or one per axis.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        stride: number of queries that share a window (`window_stride` of the functions).
        is_causal: if true, a query does not see keys after its own position.
        query: index of the query whose window is drawn; None: the middle one.
        path: PNG file to write the picture to.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the query is not in the layout.
    """
    seen = visible_keys(length, kernel_size, dilation, stride, is_causal)
    rank = seen.dim() // 2
    parts = [f"kernel {kernel_size}"]
    parts += [f"dilation {dilation}"] * (dilation != 1) + [f"stride {stride}"] * (stride != 1)
    if is_causal:
        parts.append("causal" if is_causal is True else f"causal {is_causal}")
    text = ", ".join(parts)
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
    """Draw keys as cells, dark if seen, and mark queries with a ring."""
    edges = [[i - 0.5 for i in range(n + 1)] for n in reversed(seen.shape)]
    style = {"cmap": "Blues", "vmin": 0, "vmax": 1.4, "edgecolors": "0.8", "lw": 0.5}
    axes.pcolormesh(*edges, seen.float().numpy(), **style)
    for row, column in queries:
        axes.plot(column, row, "o", ms=6, mfc="white", mec="tab:orange", mew=2)
    axes.set_aspect("equal")
    axes.invert_yaxis()


def comparison(
    length: int = 14,
    kernel_size: int = 5,
    dilation: int = 2,
    *,
    query: tuple[int, int] = (1, 5),
    path: str | PathLike[str] | None = None,
) -> Any:
    """Compare what one query of an image sees, and what it costs, with full attention.

    Four panels of `length x length` tokens (full attention; a sliding window, which loses keys at
    the edges; neighborhood attention, plain and dilated), and a plot of multiply-adds per channel
    and head against the side length of the image.

    Args:
        length: tokens along each side of the panels.
        kernel_size: window size along each axis.
        dilation: step between the keys of the window in the fourth panel.
        query: row and column of the query.
        path: PNG file to write the picture to.

    Returns:
        A matplotlib figure.
    """
    figure = _figure(figsize=(11, 2.6))
    *panels, curve = figure.subplots(1, 5, width_ratios=(1, 1, 1, 1, 1.5))
    square = (length, length)
    window = f"{kernel_size} x {kernel_size}"
    everything = torch.ones(square, dtype=torch.bool)
    sliding = everything.clone()
    for axis, place in enumerate(query):
        near = (torch.arange(length) - place).abs() <= kernel_size // 2
        sliding &= near.unsqueeze(1 - axis)
    views = {
        "full attention": everything,
        f"sliding window, {window}": sliding,
        f"neighborhood, {window}": visible_keys(square, kernel_size)[query],
        f"{window}, dilation {dilation}": visible_keys(square, kernel_size, dilation)[query],
    }
    for axes, (title, seen) in zip(panels, views.items(), strict=True):
        _grid(axes, seen, [query])
        axes.set(xticks=[], yticks=[], xlabel=f"{int(seen.sum())} keys")
        axes.set_title(title, fontsize=9)
    sides = torch.tensor([16, 32, 64, 128, 256, 512, 1024])
    full, local = sides.double() ** 4, sides.double() ** 2 * kernel_size**2
    curve.plot(sides, 2 * full, "o-", ms=3, color="0.45", label="full attention")
    curve.plot(sides, 2 * local, "o-", ms=3, color="tab:blue", label=f"neighborhood, {window}")
    curve.set(xscale="log", yscale="log", xlabel="side of the image, tokens")
    curve.set_xticks(sides[::2], [str(n) for n in sides[::2].tolist()], minor=False)
    curve.minorticks_off()
    curve.set_title("multiply-adds per channel and head", fontsize=9)
    curve.legend(fontsize=8, frameon=False)
    return _finish(figure, path)


class Report(NamedTuple):
    """The results of `report`; `print(report)` shows the table."""

    layers: list[_model_report.Layer]
    figure: Any

    def __str__(self) -> str:
        return _model_report.table(self.layers)


def report(
    model: nn.Module,
    inputs: Any,
    *,
    path: str | PathLike[str] | None = None,
) -> Report:
    """Report the attention layers of a model: what they see, their receptive field and their cost.

    Runs the model once, in evaluation mode and without gradients. Layers are calls of neighborhood
    attention from this package (modules, functions or `natten_mps.compat`), in the order in which
    the model makes them. The receptive field is that of the middle token after each layer, in
    tokens of the first layer. It accounts for attention only; a change in the number of tokens
    between layers is treated as pooling or repetition. Costs are the multiply-adds of the
    products of queries with keys and of weights with values.

    Args:
        model: any module whose neighborhood attention calls all have the same number of axes.
        inputs: what the model is called with: a tensor, a tuple of arguments, or a dict of them.
        path: PNG file to write the picture to.

    Returns:
        `layers`, `figure`, and the table as `str(report)`.

    Raises:
        ValueError: if the model calls no neighborhood attention.

    Examples:
        >>> import torch
        >>> from natten_mps import NeighborhoodAttention1D, viz
        >>> model = torch.nn.Sequential(*(NeighborhoodAttention1D(8, 2, 5) for _ in range(2)))
        >>> first, second = viz.report(model, torch.zeros(1, 32, 8)).layers
        >>> second.reach
        (9,)
    """
    layers = _model_report.layers(model, inputs)
    figure = _figure(figsize=(10, 1.2 + 0.34 * len(layers)))
    _model_report.draw(layers, figure)
    return Report(layers, _finish(figure, path))


def attention_map(
    query: Tensor,
    key: Tensor,
    position: tuple[int, int],
    kernel_size: Ints,
    dilation: Ints = 1,
    is_causal: bool | Sequence[bool] = False,
    scale: float | None = None,
) -> Tensor:
    """Return the attention of one query over the whole layout, averaged over heads.

    The operations themselves compute it: the values are one-hot vectors of the row, for one column
    of the image at a time, so the outputs are the weights.

    Args:
        query: `[H, W, heads, dim]`.
        key: `[H, W, heads, dim]`.
        position: row and column of the query.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.

    Returns:
        `[H, W]`, 0 outside the query's window.
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
    """Draw an attention map over an image.

    Args:
        image: `[H, W]` or `[H, W, 3]`, in any form that matplotlib can draw.
        attention: `[h, w]`, of any size.
        position: row and column of the query, in the map.
        path: PNG file to write the picture to.

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
    """Draw the times in a report of `python -m natten_mps.bench --json` as bars.

    Args:
        report: the report, as read from JSON.
        path: PNG file to write the picture to.

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
