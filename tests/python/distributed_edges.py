# SPDX-License-Identifier: MIT
"""What the processes of test_distributed.py do besides random problems: several calls and backward
passes, types, views, placements, groups, and what is refused."""

import copy
from functools import partial

import torch
from distributed_checks import Shapes, _groups, mesh_of, near, part
from torch import distributed as dist
from torch.distributed import tensor as torch_tensor
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.utils.checkpoint import checkpoint

import natten_mps
from natten_mps import compat, distributed
from natten_mps.distributed._geometry import grid_boxes


def _tensors(*spatial, dtype=torch.float64, heads=2):
    torch.manual_seed(8)
    return [torch.randn(1, *spatial, heads, 4, dtype=torch.float64).to(dtype) for _ in range(3)]


def _own(tensor, rank, length):
    return tensor.detach()[part(grid_boxes((length,), (4,))[rank])]


def _several(function, query, key, value):
    """Two calls whose results are one loss, the second one in a checkpoint."""
    first, lse = function(query, key, value, 3, dilation=2, return_lse=True)
    again = checkpoint(
        lambda q: function(q, key, value, 5, is_causal=True), first, use_reentrant=False
    )
    return again.square().sum() + lse.sin().sum()


def accumulated(rank, length):
    """Several backward passes through graphs with several calls; with a length of 6, the last of 4
    processes holds nothing."""
    leaves = [t.requires_grad_() for t in _tensors(length)]
    for _ in range(3):
        _several(natten_mps.na1d, *leaves).backward()
    if rank >= 4:
        return
    mine = [_own(t, rank, length).clone().requires_grad_() for t in leaves]
    local = partial(distributed.na1d, full_size=length, group=_groups[4])
    kept = _several(local, *mine)
    kept.backward(retain_graph=True)
    kept.backward()
    _several(local, *mine).backward()
    for got, wanted in zip(mine, leaves, strict=True):
        near(got.grad, _own(wanted.grad, rank, length))


def types(rank, dtype, bound):
    """Half precision; views of other tensors; autocast, which changes some tensors only."""
    if rank >= 4:
        return
    dtype = getattr(torch, dtype)
    local = partial(distributed.na1d, full_size=13, group=_groups[4])
    whole = [t.requires_grad_() for t in _tensors(13, dtype=dtype)]
    want = natten_mps.na1d(*whole, 5, dilation=2)
    weight = torch.randn_like(want)
    grads = torch.autograd.grad(want, whole, weight)
    mine = [_own(t, rank, 13).clone().requires_grad_() for t in whole]
    views = [torch.stack([t, t.detach()], 2).unbind(2)[0] for t in mine]
    found = local(*views, 5, dilation=2)
    close = partial(torch.testing.assert_close, rtol=bound, atol=bound)
    close(found, _own(want, rank, 13))
    for got, wanted in zip(
        torch.autograd.grad(found, mine, _own(weight, rank, 13)), grads, strict=True
    ):
        close(got, _own(wanted, rank, 13))
    single = [t.float() for t in whole]
    single[1] = single[1].bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        want = natten_mps.na1d(*single, 5)
        found = local(*(_own(t, rank, 13) for t in single), 5)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, _own(want, rank, 13), rtol=2e-2, atol=2e-2)


def split(rank):
    """The two halves of attention on DTensors, in both layouts, with a softmax between them."""
    mesh = mesh_of((2, 2))
    if rank >= 4:
        return
    q, k, v = (t.requires_grad_() for t in _tensors(9, 7))
    rpb = torch.randn(2, 5, 9, dtype=torch.float64, requires_grad=True)

    def loss(query, key, value, bias):
        logits = natten_mps.na2d_qk(query, key, (3, 5), dilation=(2, 1), rpb=bias)
        out = natten_mps.na2d_av(logits.softmax(-1), value, (3, 5), dilation=(2, 1))
        return out.square().sum()

    want = loss(q, k, v, rpb)
    grads = torch.autograd.grad(want, (q, k, v, rpb))
    for places in [Shard(1), Shard(2)], [Shard(-3), Shard(1)], [Shard(1), Shard(1)]:
        spread = [distribute_tensor(t.detach(), mesh, places).requires_grad_() for t in (q, k, v)]
        spread.append(distribute_tensor(rpb.detach(), mesh, [Replicate()] * 2).requires_grad_())
        found = loss(*spread)
        near(found.full_tensor(), want)
        for got, wanted in zip(torch.autograd.grad(found, spread), grads, strict=True):
            near(got.full_tensor(), wanted)


def placements(rank):
    """Partial sums, tensors that only some are DTensors, and other placements for each tensor."""
    mesh = mesh_of((2, 2))
    if rank >= 4:
        return
    q, k, v = _tensors(9)
    want = natten_mps.na1d(q, k, v, 5)
    rows = [distribute_tensor(t, mesh, [Replicate(), Shard(1)]).to_local() for t in (q, k)]
    partial_ones = [
        DTensor.from_local(t / 2, mesh, [Partial(), Shard(1)], shape=q.shape, stride=q.stride())
        for t in rows
    ]
    near(natten_mps.na1d(*partial_ones, v, 5).full_tensor(), want)
    mixed = [
        distribute_tensor(q, mesh, [Shard(1), Replicate()]),
        distribute_tensor(k, mesh, [Shard(2), Shard(1)]),
        distribute_tensor(v, mesh, [Replicate(), Shard(0)]),
    ]
    with torch.no_grad():
        near(natten_mps.na1d(*mixed, 5).full_tensor(), want)
    scale = torch.tensor(0.3, dtype=torch.float64)
    found = natten_mps.na1d(*mixed, 5, scale=scale)
    near(found.full_tensor(), natten_mps.na1d(q, k, v, 5, scale=0.3))


def fewer(rank, shape):
    """A mesh of the first processes: the others have nothing, and later groups of all are made."""
    mesh = mesh_of(tuple(shape))
    q, k, v = _tensors(8, 8)
    places = [Shard(1), Shard(2)][: len(shape)]
    leaves = [distribute_tensor(t, mesh, places).requires_grad_() for t in (q, k, v)]
    out, lse = natten_mps.na2d(*leaves, 3, return_lse=True)
    assert out.shape == q.shape
    assert lse.shape == q.shape[:-1]
    (out.square().sum() + lse.sum()).backward()
    if mesh.get_coordinate() is None:
        assert out.to_local().numel() == leaves[0].grad.to_local().numel() == 0
    else:
        near(out.full_tensor(), natten_mps.na2d(q, k, v, 3))
    everyone = dist.new_group(list(range(dist.get_world_size())))
    count = torch.ones(1)
    dist.all_reduce(count, group=everyone)
    assert count == dist.get_world_size()


WRONG = [
    ({"full_size": 20}, r"query has shape .* \(want positions \(5,\), this process's part of"),
    ({"grid": 3}, r"grid is \(3,\) \(want a product of 4"),
    ({"scale": float("nan")}, "scale is nan"),
    ({"scale": "1"}, "scale is '1'"),
    ({"kernel_size": 9}, r"kernel_size\[0\]=9 cannot exceed input spatial size 6"),
    ({"rpb": torch.zeros(2, 4)}, "rpb has sizes"),
    ({"key": torch.zeros(1, 2, 2, 3)}, "Head dim must match"),
    ({"key": torch.zeros(1, 2, 2, 4).half()}, "query is torch.float32 but key"),
    ({"additional_keys": torch.zeros(1, 1, 2, 4)}, "must both be provided or both None"),
    ({"group": dist.GroupMember.NON_GROUP_MEMBER}, "want a group that has process"),
    ({"key": None}, "expects key to be a tensor, got NoneType"),
]


def refused(rank):
    """Every process gets the error, also the last one, which has no tokens; none is left waiting
    in an exchange."""
    if rank >= 4:
        return []
    texts = []
    for wrong, _ in WRONG:
        count = 2 if rank < 3 else 0
        x = torch.zeros(1, count, 2, 4)
        given = {"query": x, "key": x, "value": x, "kernel_size": 3} | wrong
        if isinstance(given["key"], torch.Tensor):
            given["key"] = given["key"][:, :count]
        options = {"full_size": 6, "group": _groups[4]} | {
            n: given.pop(n) for n in ("full_size", "group") if n in given
        }
        try:
            distributed.na1d(**given, **options)
            texts.append("no error")
        except (TypeError, ValueError) as error:
            texts.append(str(error))
    dist.barrier(group=_groups[4])
    return texts


def two_meshes(rank):
    mesh, other = mesh_of((2, 2)), mesh_of((4,))
    if rank >= 4:
        return None
    q, k, v = _tensors(8)
    spread = [distribute_tensor(t, m, [Shard(1)] * m.ndim) for t, m in ((q, mesh), (k, other))]
    try:
        natten_mps.na1d(*spread, v, 3)
    except ValueError as error:
        return str(error)
    return "no error"


class Picture(torch.nn.Module):
    """Patches by convolution, attention in a residual, and a convolution that halves the sizes."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.attention = natten_mps.NeighborhoodAttention2D(16, 4, 3, rel_pos_bias=True)
        self.feed = torch.nn.Sequential(torch.nn.LayerNorm(16), torch.nn.Linear(16, 16))
        self.less = torch.nn.Conv2d(16, 8, 3, stride=2, padding=1, bias=False)

    def forward(self, pixels):
        x = self.patches(pixels).permute(0, 2, 3, 1)
        x = x + self.attention(x)
        x = x + torch.nn.functional.gelu(self.feed(x))
        return self.less(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def whole_model(rank, shape, places):
    """A model, of which only its parameters and inputs are distributed, on uneven parts."""
    mesh = mesh_of(tuple(shape))
    if mesh.get_coordinate() is None:
        return None
    torch.manual_seed(9)
    model = Picture().double()
    pixels = torch.randn(2, 3, 22, 18, dtype=torch.float64, requires_grad=True)
    want = model(pixels)
    want_grads = torch.autograd.grad(want.square().sum(), [pixels, *model.parameters()])
    apart = copy.deepcopy(distributed.distribute_module(model, mesh))
    mine = distribute_tensor(pixels.detach(), mesh, [Shard(p) for p in places]).requires_grad_()
    with Shapes() as seen:
        out = apart(mine)
    assert [p.dim for p in out.placements] == [p - 1 for p in places]
    near(out.full_tensor(), want)
    grads = torch.autograd.grad(out.square().sum(), [mine, *apart.parameters()])
    for grad, wanted in zip(grads, want_grads, strict=True):
        near(grad.full_tensor(), wanted)
    return seen.rows


def keywords(rank):
    """Layers that are called with keywords, as those of torch may be."""
    mesh = mesh_of((dist.get_world_size(),))
    torch.manual_seed(11)
    larger = torch.nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1).double()
    linear = torch.nn.Linear(9, 5).double()
    pixels = torch.randn(2, 4, 8, 5, dtype=torch.float64)
    want = larger(input=pixels, output_size=(16, 9))
    last = linear(input=want)
    for layer in (larger, linear):
        distributed.distribute_module(layer, mesh)
    mine = distribute_tensor(pixels, mesh, [Shard(2)])
    found = larger(input=mine, output_size=(16, 9))
    near(found.full_tensor(), want)
    near(linear(input=found).full_tensor(), last)


def hooks(rank):
    """Those of projections, which styles of tensor parallelism use, get what the module got."""
    mesh, seen = mesh_of((2,)), []
    if rank >= 2:
        return
    module = natten_mps.NeighborhoodAttention1D(16, 4, 3)
    torch_tensor.distribute_module(module, mesh)
    module.qkv.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module.proj.register_forward_hook(lambda *given: seen.append(given[2]))
    module(distribute_tensor(torch.randn(2, 8, 16), mesh, [Shard(0)]))
    assert [type(t) for t in seen] == [DTensor, DTensor]


def dinat(rank):
    """DiNAT of transformers on images whose rows are divided."""
    compat.activate("0.14.6")
    from transformers import DinatConfig, DinatModel

    mesh = mesh_of((dist.get_world_size(),))
    torch.manual_seed(10)
    config = DinatConfig(
        embed_dim=16, depths=[1, 1], num_heads=[2, 4], kernel_size=3, dilations=[[2], [1]]
    )
    model = DinatModel(config).double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("rpb"):
            torch.nn.init.normal_(parameter)
    pixels = torch.randn(2, 3, 64, 40, dtype=torch.float64, requires_grad=True)

    def loss(given):
        found = model(given)
        return found.last_hidden_state.square().sum() + found.pooler_output.sin().sum()

    want = loss(pixels)
    want.backward()
    wanted = [p.grad for p in (pixels, *model.parameters())]
    model.zero_grad()
    distributed.distribute_module(model, mesh)
    mine = distribute_tensor(pixels.detach(), mesh, [Shard(2)]).requires_grad_()
    with Shapes() as seen:
        found = loss(mine)
    found.backward()
    near(found.full_tensor(), want)
    for parameter, grad in zip((mine, *model.parameters()), wanted, strict=True):
        assert (parameter.grad is None) == (grad is None)
        if grad is not None:
            near(parameter.grad.full_tensor(), grad)
    return seen.rows
