# SPDX-License-Identifier: MIT
"""Unusual carriers of a tensor's values, and every public function as a function of one tensor."""

import math
import warnings

import torch
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode

import natten_mps as nm
from natten_mps.compat import v014, v015, v017, v020, v021

LENGTHS = {1: (8,), 2: (5, 6), 3: (4, 3, 5)}
HEADS, DIM, KERNEL = 2, 8, 3


def last(rank):
    """Shape of a heads-last input."""
    return (2, *LENGTHS[rank], HEADS, DIM)


def first(rank):
    """Shape of a heads-first input."""
    return (2, HEADS, *LENGTHS[rank], DIM)


def _finite(out):
    return out.masked_fill(out == -math.inf, 0)


def _own(rank):
    name = f"na{rank}d"
    fused, qk, av = (getattr(nm, name + suffix) for suffix in ("", "_qk", "_av"))
    varlen = getattr(nm, name + "_varlen")
    rows = [[n] * rank for n in (3, 3)]
    sizes = torch.tensor([row[0] for row in rows] if rank == 1 else rows)
    module = getattr(nm, f"NeighborhoodAttention{rank}D")
    torch.manual_seed(0)
    net = module(HEADS * DIM, HEADS, KERNEL, rel_pos_bias=True).eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    causal = (True,) + (False,) * (rank - 1)
    weights = torch.rand(2, *LENGTHS[rank], HEADS, KERNEL**rank)
    return {
        name: (lambda x: fused(x, x, x, KERNEL, is_causal=causal), last(rank)),
        name + " lse": (lambda x: fused(x, x, x, KERNEL, return_lse=True)[1], last(rank)),
        name + "_qk": (lambda x: qk(x, x, KERNEL), last(rank)),
        name + "_av": (lambda x: av(weights, x, KERNEL), last(rank)),
        name + "_varlen": (lambda x: varlen(x, x, x, sizes, KERNEL), last(rank)),
        module.__name__: (net, (2, *LENGTHS[rank], HEADS * DIM)),
    }


def _split(version, rank, names):
    """Split operations of 0.14 to 0.17, heads first."""
    qk, av = (getattr(version.functional, name) for name in names)
    bias = torch.rand(HEADS, *(2 * KERNEL - 1,) * rank)
    weights = torch.rand(2, HEADS, *LENGTHS[rank], KERNEL**rank)
    tag = version.__name__[-3:]
    with_bias = (bias,) if "rpb" in names[0] else ()
    return {
        f"{tag} {names[0]}": (lambda x: qk(x, x, *with_bias, KERNEL, 1), first(rank)),
        f"{tag} {names[1]}": (lambda x: av(weights, x, KERNEL, 1), first(rank)),
    }


def _fused(version, rank):
    fused = getattr(version, f"na{rank}d", None) or getattr(version.functional, f"na{rank}d")
    return {f"{version.__name__[-3:]} na{rank}d": (lambda x: fused(x, x, x, KERNEL), last(rank))}


def functions():
    """Name -> function of one tensor, shape of the tensor."""
    ends, lses = torch.tensor([0, 4, 8]), list(torch.rand(2, *last(1)[:-1]))
    found = {
        "na1d_packed": (lambda x: nm.na1d_packed(x, x, x, ends, KERNEL), (8, HEADS, DIM)),
        "merge": (lambda x: nm.merge_attentions([x, x], lses)[0], last(1)),
        "v021 attention": (lambda x: v021.attention(x, x, x), last(1)),
        "v021 merge": (
            lambda x: v021.merge_attentions([x, x], lses)[0],
            last(1),
        ),
    }
    for rank in (1, 2, 3):
        found |= _own(rank)
        if rank < 3:
            names = (f"natten{rank}dqkrpb", f"natten{rank}dav")
            found |= _split(v014, rank, names) | _split(v015, rank, names)
        found |= _split(v017, rank, (f"na{rank}d_qk", f"na{rank}d_av"))
        for version in (v017, v020, v021):
            found |= _fused(version, rank)
    return found


class Named(torch.Tensor):
    """A subclass that behaves as a plain tensor."""


class Seen(TorchFunctionMode):
    """Sees every call of a function."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Watched(TorchDispatchMode):
    """Sees every operation."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def _recorded(call, x, grad=False):
    with warnings.catch_warnings(), torch.set_grad_enabled(grad):
        warnings.simplefilter("ignore")
        recorded = torch.jit.trace(call, (x.clone(),), check_trace=False)
        return recorded(x)


def _negative(x):
    """A view whose negation torch has recorded and not yet computed."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag


def _inference(x):
    with torch.inference_mode():
        return x.clone()


def _in(context, call, x):
    with context:
        return call(x)


def _dual(call, x):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(call(forward_ad.make_dual(x, torch.ones_like(x)))).primal


def _two(call, x):
    return call(TwoTensor(x, x.clone())).a


def _distributed(call, x):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, distribute_tensor

    mesh = init_device_mesh("cpu", (1,))
    return call(distribute_tensor(x, mesh, [Replicate()])).to_local()


def _quantized(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)


def _unaligned(x):
    """A tensor at an address that is not aligned to its elements, as in part of a file."""
    raw = bytearray(1 + 4 * x.numel())
    raw[1:] = x.numpy().tobytes()
    return torch.frombuffer(raw, dtype=torch.float32, offset=1).view(x.shape)


def _masked(x):
    from torch.masked import masked_tensor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return masked_tensor(x, x > 0)


def _nested(layout):
    def made(x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.nested.nested_tensor(list(x), layout=layout)

    return made


def _on_meta(call, x):
    return torch.empty_like(call(x.to("meta")), device="cpu")


def _fake(call, x):
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        out = call(mode.from_tensor(x))
    return torch.empty(out.shape, dtype=out.dtype)


def _faked(call):
    return make_fx(call, tracing_mode="fake", _allow_non_fake_inputs=True)


def _expanded(x):
    return x[:1].expand(x.shape)


#: Name -> the function run on the carrier of x: what it gives, as a plain tensor.
COMPUTED = {
    "recorded": _recorded,
    "recorded with gradients": lambda call, x: _recorded(call, x.requires_grad_(), True),
    "symbolically traced": lambda call, x: torch.fx.symbolic_trace(call)(x),
    "make_fx": lambda call, x: make_fx(call)(x)(x),
    "make_fx, fake": lambda call, x: make_fx(
        call, tracing_mode="fake", _allow_non_fake_inputs=True
    )(x)(x),
    "functionalised": lambda call, x: torch.func.functionalize(call)(x),
    "vmapped": lambda call, x: torch.func.vmap(call)(x[None])[0],
    "vmapped twice": lambda call, x: torch.func.vmap(torch.func.vmap(call))(x[None, None])[0, 0],
    "vjp": lambda call, x: torch.func.vjp(call, x)[0],
    "vmapped vjp": lambda call, x: torch.func.vmap(lambda y: torch.func.vjp(call, y)[0])(x[None])[
        0
    ],
    "jvp": lambda call, x: torch.func.jvp(call, (x,), (torch.ones_like(x),))[0],
    "dual": _dual,
    "watched": lambda call, x: _in(Watched(), call, x),
    "in a function mode": lambda call, x: _in(Seen(), call, x),
    "with a default device": lambda call, x: _in(torch.device("cpu"), call, x),
    "subclass": lambda call, x: call(x.as_subclass(Named)).as_subclass(torch.Tensor),
    "wrapper subclass": _two,
    "parameter": lambda call, x: call(torch.nn.Parameter(x)),
    "buffer": lambda call, x: call(torch.nn.Buffer(x)),
    "expanded": lambda call, x: call(_expanded(x)),
    "permuted": lambda call, x: call(x.movedim(0, -1).contiguous().movedim(-1, 0)),
    "negative": lambda call, x: call(_negative(x)),
    "lazily cloned": lambda call, x: call(torch._lazy_clone(x)),
    "requires_grad, no_grad": lambda call, x: _in(torch.no_grad(), call, x.requires_grad_()),
    "inference mode": lambda call, x: _in(torch.inference_mode(), call, x),
    "made in inference mode": lambda call, x: call(_inference(x)),
    "requires_grad": lambda call, x: call(x.requires_grad_()),
    "unaligned": lambda call, x: call(_unaligned(x)),
    "zero": lambda call, x: call(torch._efficientzerotensor(x.shape)),
}
#: Those of which only the shape is known.
SHAPES = {"meta": _on_meta, "fake": _fake}
_FLOATING = "want one|not support|found Float|but found|Float but|must match"
#: Name -> carrier of x, what the error calls it, and what it names as the way out.
REFUSED = {
    "nested": (_nested(torch.strided), "nested", "na1d_packed|not support|got a mix|[Ww]ant"),
    "jagged": (_nested(torch.jagged), "nested", "na1d_packed|not support|got a mix|[Ww]ant"),
    "sparse": (torch.Tensor.to_sparse, "sparse", "to_dense|not support"),
    "mkldnn": (torch.Tensor.to_mkldnn, "mkldnn|sparse", "to_dense|not support"),
    "quantized": (_quantized, "quantized|qint8", "dequantize|not supported"),
    "masked": (_masked, "masked", "to_tensor|not support"),
    "complex": (lambda x: torch.complex(x, x), "complex", _FLOATING),
    "conjugate": (lambda x: torch.complex(x, x).conj(), "complex", _FLOATING),
    "integers": (lambda x: x.to(torch.int64), "int64", _FLOATING),
    "array": (lambda x: x.numpy(), "ndarray", "tensor"),
    "list": (lambda x: x.tolist(), "list", "tensor"),
}
FUNCTIONS = functions()
