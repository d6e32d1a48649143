# SPDX-License-Identifier: MIT
"""na1d, na2d and na3d on local tensors and a process group."""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor
from torch import distributed as dist
from torch.distributed import distributed_c10d

from .. import checks, ops
from .._layout import Misfit, check_kinds, check_scale, layout
from .._operation import ATTN
from .._types import Bools, Ints, Result, Scale
from ..utils.params import make_window, normalize_positive
from ..utils.window import Window
from ._attend import attend, in_graph
from ._geometry import Partition, grid_boxes


def partition_of(window: Window, sizes: Sequence[int], grid: Sequence[int]) -> Partition:
    """A problem split over a grid of processes as by torch.chunk."""
    plain = window._replace(ranges=None)
    outputs = [-(-n // step) for n, step in zip(sizes, window.query_step, strict=True)]
    return Partition(plain, tuple(sizes), grid_boxes(sizes, grid), grid_boxes(outputs, grid))


def fused(
    rank: int,
    tensors: tuple[Tensor, ...],
    rules: tuple[Ints, Ints, Ints, Bools, Ints],
    scale: Scale,
    return_lse: bool,
    additional: tuple[Tensor | None, Tensor | None],
    rpb: Tensor | None,
    full_size: Ints,
    grid: Ints | None,
    group: Any,
) -> Result:
    """Fused attention of a process's queries; rules: kernel_size, dilation, stride, is_causal,
    window_stride."""
    group = dist.group.WORLD if group is None else group
    if group is None:
        text = f"distributed.na{rank}d without a process group (want init_process_group before)"
        raise ValueError(text)
    if not isinstance(group, dist.ProcessGroup):  # torch has a number for groups of others
        text = f"group is {group!r} (want a group that has process {dist.get_rank()} in it)"
        raise ValueError(text)
    out, lse = _in_graph(
        rank, rules, scale, full_size, grid, group.group_name, *tensors, rpb, *additional
    )
    return (out, lse) if return_lse else out


@in_graph  # a compiler must not trace the planning of the exchange
def _in_graph(
    rank: int,
    rules: tuple[Any, ...],
    scale: Any,
    full_size: Any,
    grid: Any,
    group_name: Any,
    *inputs: Any,
) -> Any:
    kernel_size, dilation, stride, causal, shared = rules
    window = make_window(rank, kernel_size, dilation, stride, causal, shared, True)
    sizes = normalize_positive(full_size, rank, "full_size")
    group = distributed_c10d._resolve_process_group(group_name)  # type: ignore[attr-defined]
    processes = dist.get_world_size(group)
    cut = (processes,) + (1,) * (rank - 1)
    if grid is not None:
        cut = normalize_positive(grid, rank, "grid")
    if prod(cut) != processes:
        raise ValueError(f"grid is {cut} (want a product of {processes}, the group's processes)")
    partition = partition_of(window, sizes, cut)
    try:
        inputs = ops.autocast(inputs)
        if scale is not None:
            inputs, scale = ops.number(ATTN, inputs, scale)
        check_kinds(ATTN, inputs)
        check_scale(scale)
        _check_shapes(inputs, partition, cut, dist.get_rank(group))
        return attend(ATTN, inputs, partition, scale, group)
    except Misfit as misfit:
        raise checks.in_own_words(misfit, f"distributed.na{rank}d") from None


def _check_shapes(
    inputs: Sequence[Tensor | None], partition: Partition, grid: Sequence[int], rank: int
) -> None:
    """Refuse tensors before the exchange, in processes without queries, too."""
    own = tuple(len(part) for part in partition.owners[rank])
    named = zip(ATTN.inputs, inputs, strict=True)
    shapes: dict[str, tuple[int, ...]] = {n: t.shape for n, t in named if t is not None}
    for what in ("query", "key", "value"):
        shape = tuple(shapes[what])
        if len(shape) != len(own) + 3 or shape[1:-2] != own:
            raise ValueError(
                f"{what} has shape {shape} (want positions {own}, this process's part"
                f" of {partition.lengths} in a grid of {tuple(grid)})"
            )
        shapes[what] = (shape[0], *partition.lengths, *shape[-2:])
    layout(ATTN, shapes, partition.window, False)
