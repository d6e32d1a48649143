# SPDX-License-Identifier: MIT
"""What the processes of test_distributed.py do: compare their share with the whole problem."""

import os
import time
from functools import cache
from math import prod

import torch
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import (
    DTensor,
    Replicate,
    Shard,
    distribute_module,
    distribute_tensor,
)
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

import natten_mps
from natten_mps import compat, distributed
from natten_mps.distributed._geometry import grid_boxes

EXCHANGE = torch.ops._c10d_functional.all_to_all_single.default


_groups = {}


def make_groups(rank, sizes):
    """Groups of the first processes; all processes must create them."""
    for size in sizes:
        _groups[size] = dist.new_group(list(range(size)))


class Counted(TorchDispatchMode):
    """Counts what this process sends in exchanges."""

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
    """All processes must call this, including those outside the group."""
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
    for grad, wanted in zip(grads, want_grads.values(), strict=True):
        near(grad.full_tensor(), wanted)


def modules(rank, options, places, shape):
    """A module and its input, distributed but otherwise unchanged."""
    mesh = mesh_of(tuple(shape))
    if rank >= prod(shape):
        return
    torch.manual_seed(1)
    axes, version = options.pop("axes"), options.pop("version", None)
    home = compat.for_version(version) if version else natten_mps
    kind = getattr(home, f"NeighborhoodAttention{axes}D")
    module = kind(16, 4, **options).double()
    x = torch.randn(2, *(8, 12, 4)[:axes], 16, dtype=torch.float64, requires_grad=True)
    want = module(x)
    weight = torch.randn_like(want)
    want_grads = torch.autograd.grad((want * weight).sum(), [x, *module.parameters()])
    apart = distribute_module(module, mesh)
    placements = [Replicate() if p is None else Shard(p) for p in places]
    mine = distribute_tensor(x.detach(), mesh, placements).requires_grad_()
    out = apart(mine)
    near(out.full_tensor(), want)
    loss = (out * distribute_tensor(weight, mesh, placements)).sum()
    grads = torch.autograd.grad(loss, [mine, *apart.parameters()])
    for grad, wanted in zip(grads, want_grads, strict=True):
        near(grad.full_tensor(), wanted)


def tensor_parallel(rank, kv_heads):
    """The projections in a plan of ColwiseParallel and RowwiseParallel. Returns the number of
    heads that this process computes."""
    mesh = mesh_of((2,))
    if rank >= 2:
        return None
    torch.manual_seed(2)
    module = natten_mps.NeighborhoodAttention2D(16, 4, 3, num_kv_heads=kv_heads).double()
    x = torch.randn(2, 6, 7, 16, dtype=torch.float64)
    want = module(x)
    want_grads = torch.autograd.grad(want.square().sum(), list(module.parameters()))
    column = {"use_local_output": False}
    names = ["qkv"] if kv_heads is None else ["q_proj", "kv_proj"]
    plan = {name: ColwiseParallel(**column) for name in names}
    if kv_heads is not None:  # keys and values are the halves of kv_proj's output
        plan["kv_proj"] = ColwiseParallel(output_layouts=Replicate(), **column)
    plan["proj"] = RowwiseParallel(input_layouts=Shard(-1) if kv_heads else Replicate())
    parallelize_module(module, mesh, plan)
    with Shapes() as seen:
        out = module(x)
    near(out, want)
    grads = torch.autograd.grad(out.square().sum(), list(module.parameters()))
    for grad, wanted in zip(grads, want_grads, strict=True):
        near(grad.full_tensor(), wanted)
    return seen.heads


class Shapes(TorchDispatchMode):
    """Records how many heads and rows of keys the last attention has."""

    heads = rows = None

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.natten_mps.attn.default, torch.ops.natten_mps.qk.default):
            self.heads, self.rows = args[0].shape[-2], args[1].shape[1]
        return function(*args, **(kwargs or {}))


def gradients_of_gradients(rank):
    """gradcheck and gradgradcheck of everything between two replicated tensors."""
    mesh = mesh_of((2,))
    if rank >= 2:
        return
    torch.manual_seed(3)
    inputs = [torch.randn(1, 7, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    inputs.append(torch.randn(2, 5, dtype=torch.float64, requires_grad=True))

    def spread(query, key, value, rpb):
        parts = [
            DTensor.from_local(t, mesh, [Replicate()]).redistribute(mesh, [Shard(1)])
            for t in (query, key, value)
        ]
        out, lse = natten_mps.na1d(*parts, 3, dilation=2, return_lse=True, rpb=rpb)
        return out.full_tensor(), lse.full_tensor()

    assert torch.autograd.gradcheck(spread, inputs, check_undefined_grad=False)

    # Second order only for the functions: DTensor's own collectives support first order only.
    leaves = inputs[:3]
    whole_loss = natten_mps.na1d(*leaves, 3, dilation=2).square().sum()
    first = torch.autograd.grad(whole_loss, leaves, create_graph=True)
    want = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
    halves = slice(0, 4) if rank == 0 else slice(4, 7)
    own = [t.detach()[:, halves].clone().requires_grad_() for t in leaves]
    out = distributed.na1d(*own, 3, dilation=2, full_size=7, group=mesh.get_group())
    found = torch.autograd.grad(out.square().sum(), own, create_graph=True)
    again = torch.autograd.grad(sum(g.square().sum() for g in found), own)
    for got, wanted in zip(again, want, strict=True):
        near(got, wanted[:, halves])


def same_every_time(rank):
    """Gradients are equal bit for bit while one process after another is delayed."""
    torch.manual_seed(4)
    group = _groups[4]
    if rank >= 4:
        return
    q, k, v = (torch.randn(1, 8, 6, 2, 4) for _ in range(3))
    own = part(grid_boxes((32, 6), (4, 1))[0])
    seen = []
    for turn in range(6):
        leaves = [t[own].clone().requires_grad_() for t in (q, k, v)]
        time.sleep(0.05 * ((rank + turn) % 4))
        out = distributed.na2d(
            *leaves, 5, dilation=(2, 1), full_size=(32, 6), grid=(4, 1), group=group
        )
        time.sleep(0.05 * ((rank * 3 + turn) % 4))
        seen.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for others in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], others, strict=True))


def compiled(rank, dtensors, backend):
    """Compiles to one graph for each length, with the results of eager calls, forward and
    backward."""
    mesh = mesh_of((2,))
    if rank >= 2:
        return
    torch.manual_seed(5)

    def loss(query, key, value, length):
        if dtensors:
            return natten_mps.na1d(query, key, value, 5).square()
        options = {"full_size": length, "group": mesh.get_group()}
        return distributed.na1d(query, key, value, 5, **options).square()

    compiled_loss = torch.compile(loss, fullgraph=True, backend=backend)
    for batch, length in ((2, 12), (3, 16)):
        whole_ones = [torch.randn(batch, length, 2, 4, dtype=torch.float64) for _ in range(3)]
        if dtensors:
            tensors = [distribute_tensor(t, mesh, [Shard(1)]) for t in whole_ones]
        else:
            tensors = [t.chunk(2, 1)[rank].clone() for t in whole_ones]
        results = []
        for run in (loss, compiled_loss):
            leaves = [t.detach().clone().requires_grad_() for t in tensors]
            out = run(*leaves, length)
            results.append([out, *torch.autograd.grad(out.sum(), leaves)])
        for eager, one in zip(*results, strict=True):
            near(*(t.to_local() if isinstance(t, DTensor) else t for t in (one, eager)))


class Model(torch.nn.Module):
    """Attention with a residual, on tokens that are divided over a group."""

    def __init__(self, group, size):
        super().__init__()
        self.inner, self.group, self.size = torch.nn.Linear(8, 24), group, size
        self.outer = torch.nn.Linear(8, 8)

    def forward(self, x):
        parts = self.inner(x).unflatten(-1, (3, 2, 4)).unbind(-3)
        if self.group is None:
            out = natten_mps.na1d(*parts, 3)
        else:
            out = distributed.na1d(*parts, 3, full_size=self.size, group=self.group)
        return x + self.outer(out.flatten(-2))


def data_parallel(rank, kind):
    """FSDP2 or DDP over one dimension of a mesh, positions over the other."""
    mesh = mesh_of((2, 2))
    if rank >= 4:
        return
    torch.manual_seed(6)
    model = Model(None, 10).double()
    x = torch.randn(4, 10, 8, dtype=torch.float64)
    want = model(x)
    want_grads = torch.autograd.grad(want.square().sum() / 2, list(model.parameters()))
    model.group = mesh["dim1"].get_group()
    if kind == "fsdp":
        spread = fully_shard(model, mesh=mesh["dim0"])
    else:
        spread = DistributedDataParallel(model, process_group=mesh["dim0"].get_group())
    batch, half = mesh.get_coordinate()
    out = spread(x[2 * batch : 2 * batch + 2, 5 * half : 5 * half + 5])
    near(out, want[2 * batch : 2 * batch + 2, 5 * half : 5 * half + 5])
    out.square().sum().backward()
    for parameter, wanted in zip(model.parameters(), want_grads, strict=True):
        grad = parameter.grad
        grad = (grad.full_tensor() if isinstance(grad, DTensor) else grad).clone()
        dist.all_reduce(grad, group=model.group)  # each process has gradients of its positions
        near(grad, wanted)


def late(rank, seconds):
    """A process that comes after the others' timeout, or exits. Returns the error that they get."""
    if rank == 1:
        if seconds is None:
            os._exit(1)
        time.sleep(seconds)
        return None
    x = torch.randn(1, 8, 2, 4)
    try:
        distributed.na1d(x, x, x, 5, full_size=16)
    except RuntimeError as error:
        return str(error)
    return "no error"
