# SPDX-License-Identifier: MIT
"""Plans of the compiled library, and a low-overhead way to run them on tensors."""

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor

from . import _abi, _lib
from ._mps import tiers
from ._signals import interruptible

DTYPES = {
    torch.float32: _abi.FLOAT32,
    torch.float16: _abi.FLOAT16,
    torch.bfloat16: _abi.BFLOAT16,
    torch.float64: _abi.FLOAT64,
}

#: Multiply-adds of a run that takes at least half a millisecond on one processor core.
LONG = 1 << 25

_TENSOR_BYTES = ctypes.sizeof(_abi.Tensor)
_ARGS_BYTES = ctypes.sizeof(_abi.Args)


class Problem(NamedTuple):
    """A hashable natten_mps_problem; `axes` holds (length, kernel, dilation, stride, query_step,
    causal) for each axis."""

    op: int
    dtype: torch.dtype
    memory: int
    batch: int
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    extra: int
    scale: float | None
    rpb: bool
    ragged: bool
    mask_first: bool
    axes: tuple[tuple[int, int, int, int, int, bool], ...]
    #: (first query, queries, first key, keys) of each axis; empty for whole axes.
    ranges: tuple[tuple[int, int, int, int], ...] = ()

    def struct(self) -> _abi.Problem:
        """The C struct."""
        flags = (
            (_abi.SCALE if self.scale is not None else 0)
            | (_abi.RPB if self.rpb else 0)
            | (_abi.RAGGED if self.ragged else 0)
            | (_abi.MASK_FIRST if self.mask_first else 0)
        )
        c = _abi.new(_abi.Problem)
        c.op, c.dtype, c.rank, c.flags = self.op, DTYPES[self.dtype], len(self.axes), flags
        c.memory, c.batch, c.heads, c.kv_heads = self.memory, self.batch, self.heads, self.kv_heads
        c.head_dim, c.value_dim, c.extra = self.head_dim, self.value_dim, self.extra
        c.scale = 0.0 if self.scale is None else self.scale
        for axis, values in zip(c.axes, self.axes, strict=False):
            (axis.length, axis.kernel, axis.dilation, axis.stride, axis.query_step) = values[:5]
            axis.causal = values[5]
        for held, numbers in zip(c.ranges, self.ranges, strict=False):
            held.query_first, held.query_count, held.key_first, held.key_count = numbers
        return c

    def is_long(self) -> bool:
        """Whether a run may take long enough for a user to interrupt it."""
        multiply_adds = self.batch * self.heads * (self.head_dim + self.value_dim)
        window = 1
        for i, (length, kernel, _, _, step, _) in enumerate(self.axes):
            queries = self.ranges[i][1] if self.ranges else 0
            multiply_adds *= (queries or length) // step + 1
            window *= kernel
        return multiply_adds * (window + self.extra) > LONG


def reasons_against(problem: Problem, backend: str) -> str | None:
    """Why a backend of the library does not support the problem; None if it does."""
    error = _abi.new(_abi.Error)
    status = _lib.library().natten_mps_supports(problem.struct(), backend.encode(), error)
    if status == _abi.UNSUPPORTED:
        return error.message.decode("utf-8", "replace")
    _lib.check(status, error)
    return None


#: Outputs of each operation.
_WRITES = {
    _abi.ATTN_FORWARD: ("out", "lse"),
    _abi.ATTN_BACKWARD: ("d_query", "d_key", "d_value", "d_rpb", "d_extra_key", "d_extra_value"),
    _abi.QK_FORWARD: ("attn",),
    _abi.QK_BACKWARD: ("d_query", "d_key", "d_rpb", "d_extra_key"),
    _abi.AV_FORWARD: ("out",),
    _abi.AV_BACKWARD: ("d_attn", "d_value", "d_extra_value"),
}

#: Largest error that CheckedPlan allows, relative to the largest value or to 1.
ALLOWED = {
    torch.float64: 1e-9,
    torch.float32: 2e-4,
    torch.float16: 1e-2,
    torch.bfloat16: 6e-2,
}


class Plan:
    """A prepared problem. It is destroyed with its last reference, so a plan that is evicted from
    the cache while another thread is about to run it stays alive."""

    def __init__(
        self, problem: Problem, backend: str, roles: Sequence[str], heads_first: bool
    ) -> None:
        """`roles` names the tensors that `run` gets, in this order; `heads_first` says how their
        dimensions are ordered."""
        library = _lib.library()
        handle, error = ctypes.c_uint64(), _abi.new(_abi.Error)
        status = library.natten_mps_plan_create(
            problem.struct(), backend.encode(), ctypes.byref(handle), error
        )
        _lib.check(status, error)
        self.problem = problem
        self.backend = backend
        self._handle = handle.value
        stream = tiers.stream() if problem.memory == _abi.METAL else None
        if stream is not None:
            self._run = stream.run
        elif problem.is_long():
            self._run = interruptible(library.natten_mps_run)
        else:
            self._run = library.natten_mps_run
        self._launch = None if stream is None else stream.launch
        self._locate = None if stream is None else stream.locate
        self._destroy = library.natten_mps_plan_destroy
        self._roles, self._heads_first = tuple(roles), heads_first
        #: In header order: position in `roles`, role, order of dimensions.
        self._fields = sorted(
            [
                (i, role, _order(role, len(problem.axes), heads_first))
                for i, role in enumerate(roles)
            ],
            key=lambda field: _abi.ROLES.index(field[1]),
        )
        self._packers: dict[int, Callable[..., bytes]] = {}

    def __del__(self) -> None:
        if getattr(self, "_handle", 0) and not _lib.forked:
            self._destroy(self._handle, None)

    @property
    def handle(self) -> int:
        """The library's handle of the plan."""
        return self._handle

    def info(self) -> dict[str, object]:
        """Backend, selected kernels and temporary memory."""
        info, error = _abi.new(_abi.PlanInfo), _abi.new(_abi.Error)
        _lib.check(_lib.library().natten_mps_plan_info_get(self._handle, info, error), error)
        return {
            "backend": info.backend.decode(),
            "variant": info.variant.decode(),
            "scratch_bytes": info.scratch_bytes,
        }

    def run(self, tensors: Sequence[Tensor | None], sizes: Tensor | None = None) -> None:
        """Call the library once, with the GIL released.

        `tensors` are in the order of the plan's roles; an optional tensor may be None. An input is
        copied only if its last dimension is not dense. `sizes` is a dense int64 tensor on the CPU.
        """
        if _lib.forked:
            _lib.library()  # raises
        address = 0 if sizes is None else sizes.data_ptr()
        values = [_ARGS_BYTES, torch.get_num_threads(), address]
        given, bit, used = 0, 1, {}
        for index, role, order in self._fields:
            tensor = tensors[index]
            if tensor is not None:
                given |= bit
                strides = tensor.stride()
                if strides[-1] != 1 and tensor.shape[-1] > 1:  # never an output; see Prepared
                    tensor = tensor.contiguous()
                    strides = tensor.stride()
                used[role] = tensor
                if self._locate is None:
                    values += (tensor.data_ptr(), 0)
                else:
                    values += self._locate(tensor)
                values += strides if order is None else [strides[i] for i in order]
            bit <<= 1
        pack = self._packers.get(given) or self._packer(given)
        error = _spare_errors.pop() if _spare_errors else _abi.new(_abi.Error)
        if self._launch is None:
            failed = self._run(self._handle, pack(*values), ctypes.addressof(error))
        else:
            failed = self._launch(self._handle, pack(*values), ctypes.addressof(error), used)
        if failed:
            if any(_unaligned(t) for t in tensors):
                return self.run([t.clone() if _unaligned(t) else t for t in tensors], sizes)
            _lib.raise_for(error)
        _spare_errors.append(error)
        return None

    def _packer(self, given: int) -> Callable[..., bytes]:
        """Build a function that packs the args struct for one set of given tensors: address, byte
        offset and strides at the fields' fixed places, zeros elsewhere."""
        fields = ["64x"] * len(_abi.ROLES)
        for i, (_, role, _) in enumerate(self._fields):
            if given >> i & 1:
                n = _dims(role, len(self.problem.axes))
                fields[_abi.ROLES.index(role)] = f"Qq{n}q{(6 - n) * 8}x"
        packer = struct.Struct("=Qi4xQ" + "".join(fields) + "16x")
        assert packer.size == _ARGS_BYTES
        self._packers[given] = packer.pack
        return packer.pack


class CheckedPlan(Plan):
    """A plan that compares every result with the reference, for NATTEN_MPS_VERIFY=always."""

    def run(self, tensors: Sequence[Tensor | None], sizes: Tensor | None = None) -> None:
        """Like Plan.run; raises ArithmeticError if a result is wrong."""
        super().run(tensors, sizes)
        problem = self.problem._replace(memory=_abi.HOST)
        reference = Plan(problem, "reference", self._roles, self._heads_first)
        written = [role in _WRITES[problem.op] for role in self._roles]
        hosts = [
            None if t is None else torch.empty_like(t, device="cpu") if w else t.detach().cpu()
            for t, w in zip(tensors, written, strict=True)
        ]
        reference.run(hosts, sizes)
        for role, found, want, w in zip(self._roles, tensors, hosts, written, strict=True):
            if w and found is not None and want is not None:
                self._compare(role, found.detach().cpu().double(), want.double())

    def _compare(self, role: str, found: Tensor, want: Tensor) -> None:
        finite = want.isfinite()
        if not finite.any():
            error, limit = 0.0, 0.0
        else:
            error = (found - want)[finite].abs().max().item()
            limit = ALLOWED[self.problem.dtype] * max(1.0, want[finite].abs().max().item())
        others = torch.allclose(found[~finite], want[~finite], equal_nan=True)
        if not error <= limit or not others:
            raise ArithmeticError(
                f"{self.info()['variant']} of {self.backend}: {role} differs from the reference by "
                f"{error:.2g} (want at most {limit:.2g}) in {self.problem}"
            )


_spare_errors: list[_abi.Error] = []


def _unaligned(tensor: Tensor | None) -> TypeGuard[Tensor]:
    """Whether a tensor is not aligned to its element size, as torch.frombuffer allows."""
    return tensor is not None and tensor.data_ptr() % tensor.element_size() != 0


def _dims(role: str, rank: int) -> int:
    name = role.removeprefix("d_")
    if name == "rpb":
        return 1 + rank
    if name in ("extra_key", "extra_value"):
        return 4
    return rank + (2 if name == "lse" else 3)


def _order(role: str, rank: int, heads_first: bool) -> tuple[int, ...] | None:
    """Permutation from our dimensions to the header's order for a role; None: same order."""
    name = role.removeprefix("d_")
    if not heads_first or name == "rpb":
        return None
    if name in ("extra_key", "extra_value"):
        return (0, 2, 1, 3)
    order = (0, *range(2, 2 + rank), 1)
    return order if name == "lse" else (*order, 2 + rank)
