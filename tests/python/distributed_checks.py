# SPDX-License-Identifier: MIT
"""What the processes of test_distributed.py do: compare their share with the whole problem."""

from functools import cache
from math import prod

import torch
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.utils._python_dispatch import TorchDispatchMode

import natten_mps
from natten_mps import distributed
from natten_mps.distributed._geometry import grid_boxes

EXCHANGE = torch.ops._c10d_functional.all_to_all_single.default


_groups = {}


def make_groups(rank, sizes):
    """Groups of the first processes, which all processes have to make."""
    for size in sizes:
        _groups[size] = dist.new_group(list(range(size)))


class Counted(TorchDispatchMode):
    """Counts what leaves this process in exchanges."""

    def __init__(self, rank):
        super().__init__()
        self.rank, self.bytes, self.messages, self.calls = rank, 0, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is EXCHANGE:
            others = [n for peer, n in enumerate(args[2]) if peer != self.rank]
            self.bytes += sum(others) * args[0].element_size()
            self.messages += sum(n > 0 for n in others)
            self.calls += 1
        return function(*args, **(kwargs or {}))


def tensors_of(problem):
    """The whole problem's tensors, the same in every process."""
    torch.manual_seed(problem["seed"])
    batch, lengths, dtype = problem["batch"], problem["lengths"], torch.float64
    heads, kv_heads, extra = problem["heads"], problem["kv_heads"], problem["extra"]

    def some(*shape):
        return torch.randn(*shape, dtype=dtype).requires_grad_()

    given = {
        "query": some(batch, *lengths, heads, 4),
        "key": some(batch, *lengths, kv_heads, 4),
        "value": some(batch, *lengths, kv_heads, problem["value_dim"]),
    }
    if problem["rpb"]:
        given["rpb"] = some(heads, *(2 * k - 1 for k in problem["kernel"]))
    if extra:
        given["additional_keys"] = some(batch, extra, kv_heads, 4)
        given["additional_values"] = some(batch, extra, kv_heads, problem["value_dim"])
    return given


def rules_of(problem):
    return {
        "kernel_size": problem["kernel"],
        "dilation": problem["dilation"],
        "stride": problem["step"],
        "window_stride": problem["stride"],
        "is_causal": problem["causal"],
        "scale": problem["scale"],
        "return_lse": True,
    }


def whole(problem, given):
    """Outputs, weights of a loss, and gradients of all tensors."""
    function = getattr(natten_mps, f"na{len(problem['lengths'])}d")
    outputs = function(**given, **rules_of(problem))
    weights = [torch.randn_like(o) for o in outputs]
    loss = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
    grads = torch.autograd.grad(loss, list(given.values()))
    return outputs, weights, dict(zip(given, grads, strict=True))


def part(box):
    return (slice(None), *(slice(p.start, p.stop) for p in box))


def near(found, want):
    torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-11)


def local_tensors(rank, problem, grid):
    """The function form; gives bytes and messages of the forward pass."""
    size = prod(grid)
    if rank >= size:
        return None
    group, given = _groups[size], tensors_of(problem)
    want, weights, want_grads = whole(problem, given)
    lengths = problem["lengths"]
    steps = zip(lengths, problem["step"], strict=True)
    own = part(grid_boxes(lengths, grid)[rank])
    outputs = part(grid_boxes([-(-n // s) for n, s in steps], grid)[rank])
    local = {
        name: (t[own] if name in ("query", "key", "value") else t).detach().clone().requires_grad_()
        for name, t in given.items()
    }
    function = getattr(distributed, f"na{len(lengths)}d")
    with Counted(rank) as counted:
        found = function(**local, **rules_of(problem), full_size=lengths, grid=grid, group=group)
    for got, wanted in zip(found, want, strict=True):
        near(got, wanted[outputs])
    loss = sum((o * w[outputs]).sum() for o, w in zip(found, weights, strict=True))
    with Counted(rank) as counted_back:
        grads = torch.autograd.grad(loss, list(local.values()))
    for (name, wanted), grad in zip(want_grads.items(), grads, strict=True):
        if name in ("query", "key", "value"):
            near(grad, wanted[own])
        else:
            grad = grad.clone()
            dist.all_reduce(grad, group=group)
            near(grad, wanted)
    received = torch.tensor(counted.bytes, dtype=torch.int64)
    returned = torch.tensor(counted_back.bytes, dtype=torch.int64)
    dist.all_reduce(received, group=group)
    dist.all_reduce(returned, group=group)
    assert received == returned
    assert counted.calls == counted_back.calls <= 1
    return counted.bytes, counted.messages


@cache
def mesh_of(shape):
    ranks = torch.arange(prod(shape)).reshape(shape)
    names = tuple(f"dim{i}" for i in range(len(shape)))
    return DeviceMesh("cpu", ranks, mesh_dim_names=names)


def dtensors(rank, problem, shape, cuts):
    """Plain functions on DTensors; cuts: "batch", "heads", an axis or None, by dimension."""
    mesh, given = mesh_of(tuple(shape)), tensors_of(problem)
    want, weights, want_grads = whole(problem, given)
    if rank >= prod(shape):
        return
    axes = len(problem["lengths"])

    def placed(name, whole_tensor):
        places = []
        for cut in cuts:
            dim = {"batch": 0, "heads": axes + 1}.get(cut, None if cut is None else cut)
            if isinstance(cut, int):
                dim = cut + 1
            placed_so = name in ("query", "key", "value", "out")
            places.append(Shard(dim) if dim is not None and placed_so else Replicate())
        return distribute_tensor(whole_tensor.detach(), mesh, places)

    local = {name: placed(name, t).requires_grad_() for name, t in given.items()}
    function = getattr(natten_mps, f"na{axes}d")
    found = function(**local, **rules_of(problem))
    for got, wanted in zip(found, want, strict=True):
        assert isinstance(got, DTensor)
        near(got.full_tensor(), wanted)
    loss = sum((o * placed("out", w)).sum() for o, w in zip(found, weights, strict=True))
    grads = torch.autograd.grad(loss, list(local.values()))
    for (name, wanted), grad in zip(want_grads.items(), grads, strict=True):
        near(grad.full_tensor(), wanted), name
