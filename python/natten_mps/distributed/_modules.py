# SPDX-License-Identifier: MIT
"""Models whose inputs are DTensors with sharded positions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import tensor as torch_tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard
from torch.func import functional_call

from ._dtensor import dense

#: Modules of torch with layers `[B, C, *S]` that DTensor hardly supports with sharded positions.
_GATHERED = {f"torch.nn.modules.{name}" for name in ("conv", "pooling", "upsampling")}


def distribute_module(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Replicate a model's parameters over a mesh, for inputs whose positions are sharded.

    torch has a function of the same name. After this one two kinds of layers behave differently.
    `nn.Linear` computes the tokens that each process has, however many these are; DTensor itself
    wants parts of equal size. Convolutions, pooling and upsampling, of which DTensor supports few
    with sharded positions, gather their input, compute all of it in every process, and keep this
    process's part of the output.

    Args:
        module: a model; it is changed.
        mesh: the mesh of the inputs.

    Returns:
        The same model.
    """
    torch_tensor.distribute_module(module, mesh)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.forward = partial(by_token, layer, layer.forward)  # type: ignore[method-assign]
        elif any(base.__module__ in _GATHERED for base in type(layer).__mro__):
            layer.forward = partial(_gathered, layer, layer.forward)
    return module


def by_token(layer: nn.Module, forward: Callable[..., Tensor], input: Tensor) -> Tensor:
    """A linear layer on this process's tokens, if it has whole tokens and all parameters."""
    x = input  # torch's name, by which callers may pass it
    if not isinstance(x, DTensor) or not _is_replicated(layer):
        return forward(x)
    last = x.dim() - 1
    whole = (type(p) is Shard and p.dim % x.dim() != last for p in x.placements)
    kept = [p if w else Replicate() for p, w in zip(x.placements, whole, strict=True)]
    out = _locally(layer, x.redistribute(placements=kept).to_local(), kept)
    return _joined(out, x, kept, (*x.shape[:-1], out.shape[-1]))


def _gathered(
    layer: nn.Module, forward: Callable[..., Tensor], input: Tensor, *arguments: Any, **options: Any
) -> Tensor:
    """A layer `[B, C, *S]` whose positions are gathered before and sharded after."""
    x = input  # torch's name, by which callers may pass it
    if not isinstance(x, DTensor) or not _is_replicated(layer):
        return forward(x, *arguments, **options)
    batch = (type(p) is Shard and p.dim % x.dim() == 0 for p in x.placements)
    whole = [p if b else Replicate() for p, b in zip(x.placements, batch, strict=True)]
    out = _locally(layer, x.redistribute(placements=whole).to_local(), whole, *arguments, **options)
    found = _joined(out, x, whole, (x.shape[0], *out.shape[1:]))
    # A dimension that pooling reduces to 1 is not worth sharding.
    again = (type(p) is Shard and out.shape[p.dim] > 1 for p in x.placements)
    pairs = zip(x.placements, whole, again, strict=True)
    return found.redistribute(placements=[p if a else w for p, w, a in pairs])


def _is_replicated(layer: nn.Module) -> bool:
    return all(
        isinstance(p, DTensor) and all(q.is_replicate() for q in p.placements)
        for p in layer.parameters()
    )


def _locally(
    layer: nn.Module, x: Tensor, placements: Sequence[Placement], *arguments: Any, **options: Any
) -> Tensor:
    """Apply a layer to a local tensor; where that is a part, gradients of parameters are, too."""
    grads: list[Placement] = [Partial() if p.is_shard() else Replicate() for p in placements]
    state = (*layer.named_parameters(), *layer.named_buffers())
    own = {n: t.to_local(grad_placements=grads) for n, t in state if isinstance(t, DTensor)}
    found: Tensor = functional_call(layer, own, (x, *arguments), options)
    return found


def _joined(
    local: Tensor, like: DTensor, placements: Sequence[Placement], shape: Sequence[int]
) -> DTensor:
    """The DTensor of which every process has computed its part."""
    size, mesh = torch.Size(shape), like.device_mesh
    strides = dense(size)
    return DTensor.from_local(
        local.contiguous(), mesh, placements, run_check=False, shape=size, stride=strides
    )
