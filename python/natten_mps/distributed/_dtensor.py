# SPDX-License-Identifier: MIT
"""The operations on DTensors.

Each mesh dimension splits the batch, the heads, an axis of positions, or nothing. Splitting batch
or heads needs no communication; splitting positions needs an exchange among those processes.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard
from torch.utils._python_dispatch import _disable_current_modes

from .. import ops
from .._layout import (
    Layout,
    UnsupportedMisfit,
    ValueMisfit,
    check_kinds,
    check_scale,
    layout,
    lse_dtype,
    output_shapes,
    outputs_of,
)
from .._operation import OPERATIONS, Operation
from ..pure import to_heads_first, to_heads_last
from ..utils.window import Window
from ._attend import attend, in_graph
from ._geometry import Partition, Ranges, chunks
from ._groups import group_of

Tensors = tuple[Tensor | None, ...]
#: What a mesh dimension splits: "batch", "heads", the number of an axis, or None.
Cut = str | int | None

#: Tensors with positions, tensors of keys and values, and tensors with a batch.
_PLACED = ("query", "key", "value", "attn")
_OF_KEYS = ("key", "value", "extra_key", "extra_value")
_BATCHED = (*_PLACED, *_OF_KEYS)


def call(
    op: Operation,
    inputs: Tensors,
    window: Window,
    scale: Any,
    sizes: Tensor | None,
    heads_first: bool,
) -> Any:
    """The outputs, as DTensors, of an operation with at least one DTensor among its inputs."""
    plain = (*window[:6], window.ranges)
    return _in_graph(op.name, plain, scale, sizes is not None, heads_first, *inputs)


@in_graph  # a compiler must not trace the planning of the exchange
def _in_graph(
    name: str,
    plain: tuple[Any, ...],
    scale: Any,
    ragged: bool,
    heads_first: bool,
    *inputs: Tensor | None,
) -> Any:
    op, window = OPERATIONS[name], Window(*plain)
    if ragged or window.ranges is not None:
        what = "sizes of its samples" if ragged else "a range of positions"
        text = f"{op.inputs[0]} is a DTensor with {what} (want a plain tensor, or whole axes)"
        raise UnsupportedMisfit("carrier", text, {"name": op.inputs[0], "got": "a DTensor"})
    check_kinds(op, inputs)
    check_scale(scale)
    given = {n: t for n, t in zip(op.inputs, inputs, strict=True) if t is not None}
    found = layout(op, {n: t.shape for n, t in given.items()}, window, heads_first)
    return _Call(op, given, window, scale, heads_first, found).outputs()


class _Call:
    """One call."""

    def __init__(
        self,
        op: Operation,
        given: dict[str, Tensor],
        window: Window,
        scale: Any,
        heads_first: bool,
        found: Layout,
    ) -> None:
        self.op, self.given, self.window, self.scale = op, given, window, scale
        self.heads_first, self.found, self.rank = heads_first, found, len(window.kernel)
        self.mesh: DeviceMesh = next(
            t.device_mesh for t in given.values() if isinstance(t, DTensor)
        )
        _check_meshes(self.mesh, given)
        self.cuts = [self._cut(i) for i in range(self.mesh.ndim)]
        across = self._across("heads")
        #: Whether all heads of a process use one key head, which several processes then share.
        self.shared = bool(found.kv_heads % across) and across % found.kv_heads == 0
        if found.heads % across or (found.kv_heads % across and not self.shared):
            self.cuts = [None if cut == "heads" else cut for cut in self.cuts]
            self.shared = False

    def _cut(self, dim: int) -> Cut:
        """What a mesh dimension splits, according to the first tensor that it splits."""
        for name, tensor in self.given.items():
            if name not in _PLACED or not isinstance(tensor, DTensor):
                continue
            placement = tensor.placements[dim]
            if type(placement) is not Shard:
                continue
            at, heads = placement.dim % tensor.dim(), self._heads_of(name)
            if at == 0:
                return "batch"
            if at == heads:
                return "heads"
            if at != tensor.dim() - 1:
                return at - (2 if self.heads_first else 1)
        return None

    def _heads_of(self, name: str) -> int:
        """The heads dimension of a tensor."""
        if name == "rpb":
            return 0
        if self.heads_first:
            return 1
        return 2 if name.startswith("extra") else self.rank + 1

    def _across(self, what: Cut) -> int:
        """Number of parts into which `what` is split."""
        return prod(self.mesh.size(i) for i, cut in enumerate(self.cuts) if cut == what)

    def _placements(self, name: str) -> list[Placement]:
        return [self._placement(name, cut) for cut in self.cuts]

    def _placement(self, name: str, cut: Cut) -> Placement:
        if cut == "batch" and name in _BATCHED:
            return Shard(0)
        if cut == "heads" and not (self.shared and name in _OF_KEYS):
            return Shard(self._heads_of(name))
        if isinstance(cut, int) and name in _PLACED:
            return Shard(cut + (2 if self.heads_first else 1))
        return Replicate()

    def _local(self, name: str) -> Tensor:
        """This process's part of a tensor; gradients of a replicated tensor are partial sums."""
        tensor, mesh = self.given[name], self.mesh
        if not isinstance(tensor, DTensor):
            tensor = DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)
        placements = self._placements(name)
        grads = [
            Partial() if cut is not None and placement.is_replicate() else placement
            for cut, placement in zip(self.cuts, placements, strict=True)
        ]
        local: Tensor = tensor.redistribute(mesh, placements).to_local(grad_placements=grads)
        if self.shared and name in _OF_KEYS:
            each = self.found.heads // self._across("heads")
            first = self._index("heads") * each * self.found.kv_heads // self.found.heads
            local = local.narrow(self._heads_of(name), first, 1)
        return local

    def _index(self, what: Cut) -> int:
        """Index of this process's part of `what`."""
        place, index = self.mesh.get_coordinate(), 0
        assert place is not None
        for dim, cut in enumerate(self.cuts):
            if cut == what:
                index = index * self.mesh.size(dim) + place[dim]
        return index

    def outputs(self) -> Any:
        """Return output and lse, or the only output."""
        shapes = output_shapes(self.op, self.found, self.window, self.heads_first)
        sizes, placements = list(map(torch.Size, shapes)), self._placements("query")
        if self.mesh.get_coordinate() is None:
            several = self._absent(sizes, placements)
        else:
            several = tuple(
                DTensor.from_local(
                    out, self.mesh, placements, run_check=False, shape=size, stride=dense(size)
                )
                for out, size in zip(self._computed(), sizes, strict=True)
            )
        return several if len(several) > 1 else several[0]

    def _computed(self) -> tuple[Tensor, ...]:
        """This process's parts of the outputs."""
        locals_ = {name: self._local(name) for name in self.given}
        spatial = [i for i, cut in enumerate(self.cuts) if isinstance(cut, int)]
        inputs = tuple(locals_.get(name) for name in self.op.inputs)
        if spatial:
            return self._exchanged(inputs, spatial)
        found = ops.call(self.op, inputs, self.window, self.scale, None, self.heads_first)
        return found if isinstance(found, tuple) else (found,)

    def _absent(self, sizes: list[torch.Size], placements: list[Placement]) -> tuple[Tensor, ...]:
        """The outputs in a process outside the mesh: DTensors without contents, as those of every
        operation there, in a graph with the inputs."""
        none: Any = sum(t.sum() for t in self.given.values() if isinstance(t, DTensor))
        dtypes = (none.dtype, lse_dtype(none.dtype))
        return tuple(
            none.to(dtype).expand(size).redistribute(self.mesh, placements)
            for dtype, size in zip(dtypes, sizes, strict=False)
        )

    def _exchanged(self, inputs: Tensors, spatial: list[int]) -> tuple[Tensor, ...]:
        first = self.heads_first
        names = zip(self.op.inputs, inputs, strict=True)
        last = tuple(t if t is None or n == "rpb" else to_heads_last(t, first) for n, t in names)
        with _disable_current_modes():  # the mesh's own tensor is plain, also for a compiler
            group, places = group_of(self.mesh, spatial)
        sizes = tuple(map(int, self.found.lengths))  # fixed in a graph, since the plan is, too
        owners, outputs = (
            tuple(self._box(whole, place, spatial) for place in places)
            for whole in (sizes, outputs_of(sizes, self.window))
        )
        partition = Partition(self.window, sizes, owners, outputs)
        out, *lse = attend(self.op, last, partition, self.scale, group)
        if not first:
            return (out, *lse)
        return (to_heads_first(out, True), *(t.movedim(-1, 1).contiguous() for t in lse))

    def _box(self, sizes: Sequence[int], place: Sequence[int], spatial: list[int]) -> Ranges:
        """The positions of a process; mesh dimensions that split the same axis apply in order."""
        box = [range(n) for n in sizes]
        for dim, at in zip(spatial, place, strict=True):
            axis = self.cuts[dim]
            assert isinstance(axis, int)
            box[axis] = chunks(box[axis], self.mesh.size(dim))[at]
        return tuple(box)


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a contiguous tensor."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def _check_meshes(mesh: DeviceMesh, given: dict[str, Tensor]) -> None:
    for name, tensor in given.items():
        if isinstance(tensor, DTensor) and tensor.device_mesh != mesh:
            text = f"{name} is on mesh {tensor.device_mesh} but another tensor on {mesh}"
            raise ValueMisfit("mesh", text + " (want one mesh)", {"name": name})
