# SPDX-License-Identifier: MIT
"""The host side on the simulated Metal: no fault of use, nothing left behind, and the order of our
work with torch's. NATTEN_MPS_TIER chooses the tier; the order matters in tier 1 and 2."""

import itertools
import math
import os

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

if not os.environ.get("NATTEN_MPS_SIMULATOR"):
    pytest.skip("NATTEN_MPS_SIMULATOR names no simulator", allow_module_level=True)

import natten_mps_simulator as sim

from natten_mps import backend, ops, pure
from natten_mps._mps import tiers
from natten_mps.utils.window import Window

SHAPE = (1, 9, 7, 2, 8)
WINDOW = Window((3, 3), (1, 1), (1, 1), (1, 1), (False, False))
TIER = os.environ.get("NATTEN_MPS_TIER", "1-block")
IN_STREAM = TIER.startswith("1")
#: Plans are kept by problem, with the way they run; a scale of its own makes a test's plan new.
_scales = itertools.count(1)


@pytest.fixture(autouse=True)
def _on_metal(monkeypatch):
    monkeypatch.setattr(backend, "choice", "metal")
    sim.clear()
    yield
    sim.set_option("fail", "")
    sim.library().metalsim_stream_use(0)
    tiers.forget()


def _inputs(n=3):
    torch.manual_seed(1)
    return [torch.rand(SHAPE) for _ in range(n)]


def _train_step():
    q, k, v = (t.requires_grad_() for t in _inputs())
    out, _ = ops.attn(q, k, v, window=WINDOW)
    return torch.autograd.grad(out.square().sum(), (q, k, v))


def test_training_leaves_no_finding_and_nothing_behind():
    classes = ["SimCommandBuffer", "SimComputeCommandEncoder", "NSString", "NSError", "SimLibrary"]
    classes += ["SimFunction", "MTLCompileOptions", "SimCommandQueue", "SimComputePipelineState"]
    _train_step()
    before = {name: sim.live(name) for name in classes}
    dispatches = sim.stat("dispatches")
    buffers = sim.stat("buffers")
    for _ in range(5):
        _train_step()
    assert sim.findings() == []
    assert {name: sim.live(name) for name in classes} == before
    assert sim.stat("dispatches") > dispatches
    assert sim.stat("buffers") == buffers, "scratch memory is used again"


class _Recorder(TorchDispatchMode):
    """Keeps the names of what torch is asked for."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def _moved_or_filled(names):
    words = ("copy", "clone", "contiguous", "zero", "fill", "full", "cat", "pad", "_to_")
    return [name for name in names if any(word in name for word in words)]


def test_one_launch_forward_and_two_backward_without_copies_or_fills():
    _train_step()
    leaves = [t.transpose(1, 2).requires_grad_() for t in _inputs()]
    gradient = torch.rand(SHAPE).transpose(1, 2)
    kept = ("fills", "copies", "writes")
    before = {name: sim.stat(name) for name in (*kept, "dispatches")}
    with _Recorder() as forward:
        out, _ = ops.attn(*leaves, window=WINDOW)
    assert sim.stat("dispatches") == before["dispatches"] + 1
    with _Recorder() as backward:
        torch.autograd.grad(out, leaves, gradient)
    assert sim.stat("dispatches") == before["dispatches"] + 3
    assert {name: sim.stat(name) for name in kept} == {name: before[name] for name in kept}
    assert forward.names
    assert backward.names
    assert _moved_or_filled(forward.names + backward.names) == []


@pytest.mark.skipif(TIER == "2", reason="torch keeps its libraries")
def test_compiling_leaves_pipelines_only():
    tiers.stream()  # each choice of a command block has a library
    libraries, pipelines = sim.live("SimLibrary"), sim.stat("pipelines")
    q, k, v = (torch.rand(1, 9, 7, 2, 52) for _ in range(3))  # no other test's kernel
    ops.attn(q, k, v, window=WINDOW)
    assert sim.stat("pipelines") == pipelines + 1
    assert sim.live("SimLibrary") == libraries
    assert sim.live("SimFunction") == 0
    assert sim.live("MTLCompileOptions") == 0
    assert sim.live("NSString") == 1, "the device's name"


def test_views_with_offsets():
    q, k, v = _inputs()
    expected, _ = pure.attn(q, k, v, window=WINDOW)
    moved = []
    for tensor in (q, k, v):
        storage = torch.full((tensor.numel() + 7,), torch.nan)
        moved.append(storage[4 : 4 + tensor.numel()].view(SHAPE).copy_(tensor))
    out, _ = ops.attn(*moved, window=WINDOW)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    assert sim.findings() == []


def test_gradients():
    q, k, v = _inputs()
    found = _train_step()
    leaves = [t.double().requires_grad_() for t in (q, k, v)]
    out, _ = pure.attn(*leaves, window=WINDOW)
    expected = torch.autograd.grad(out.square().sum(), leaves)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got.double(), want, atol=2e-5, rtol=1e-4)


def _enqueue(q, k, v, scale):
    out, _ = ops.attn(q, k, v, window=WINDOW, scale=scale)
    return out


def _expected(q, k, v, scale):
    return pure.attn(q, k, v, window=WINDOW, scale=scale)[0]


@pytest.fixture
def scale():
    return 0.3 + next(_scales) / 1000


def _in_order(monkeypatch, scale, synchronize_first):
    """Two launches with torch's write between them, nobody waiting before the end."""
    monkeypatch.setattr(sim.Carrier, "settled", lambda self, run: run)
    if not synchronize_first:
        monkeypatch.setattr(sim.Carrier, "synchronize", lambda self: None)
    tiers.forget()
    q, k, v = _inputs()
    fresh = torch.rand(SHAPE)
    expected = [_expected(t, k, v, scale) for t in (q, fresh)]
    buffer, offset = sim.locate(q)
    first = _enqueue(q, k, v, scale)
    sim.library().metalsim_stream_write(0, buffer, offset, fresh.data_ptr(), fresh.nbytes)
    second = _enqueue(q, k, v, scale)
    sim.synchronize()
    return all(
        torch.allclose(got, want, atol=1e-5)
        for got, want in zip((first, second), expected, strict=True)
    )


def test_torch_writes_between_launches(monkeypatch, scale):
    assert _in_order(monkeypatch, scale, synchronize_first=True)
    assert sim.findings() == []


@pytest.mark.skipif(TIER != "3", reason="only the own queue has to wait for torch")
def test_without_the_wait_the_order_is_lost(monkeypatch, scale):
    assert not _in_order(monkeypatch, scale, synchronize_first=False)


@pytest.mark.skipif(not IN_STREAM, reason="the other tiers wait")
def test_nothing_runs_before_torch_synchronizes(monkeypatch, scale):
    monkeypatch.setattr(sim.Carrier, "settled", lambda self, run: run)
    tiers.forget()
    waits = sim.stat("waits")
    out = _enqueue(*_inputs(), scale)
    assert sim.stat("waits") == waits
    assert sim.stat("commits") == 0
    sim.synchronize()
    assert torch.isfinite(out).all()


@pytest.mark.skipif(TIER != "1-block", reason="has the current stream's queue")
def test_the_current_stream_is_honoured(monkeypatch, scale):
    monkeypatch.setattr(sim.Carrier, "settled", lambda self, run: run)
    tiers.forget()
    q, k, v = _inputs()
    expected = _expected(q, k, v, scale)
    sim.library().metalsim_stream_use(7)
    out = _enqueue(q, k, v, scale)
    sim.library().metalsim_stream_synchronize(0)
    assert not torch.allclose(out, expected, atol=1e-5)
    sim.library().metalsim_stream_synchronize(7)
    assert torch.allclose(out, expected, atol=1e-5)
    assert sim.findings() == []


@pytest.mark.skipif(TIER != "3", reason="torch keeps the status of its own command buffers")
@pytest.mark.parametrize(
    ("fault", "text"),
    [("gpu", "Address Fault"), ("gpu_timeout", "Timeout"), ("gpu_memory", "Insufficient Memory")],
)
def test_a_fault_of_the_gpu_is_an_exception(fault, text, scale):
    _train_step()
    sim.set_option("fail", fault)
    with pytest.raises((RuntimeError, MemoryError), match=text):
        _enqueue(*_inputs(), scale)


def test_a_failing_compiler_is_named():
    sim.set_option("fail", "library")
    odd = Window((3, 3), (2, 1), (1, 1), (1, 1), (True, False))
    q, k, v = (torch.rand(1, 9, 7, 2, 60) for _ in range(3))  # no other test's kernel
    if TIER == "2":
        pytest.skip("torch's own compiler has no such fault here")
    with pytest.raises(RuntimeError, match="injected"):
        ops.attn(q, k, v, window=odd)


@pytest.mark.parametrize(("wrong", "text"), [(8, "is no Objective-C object"), (0, "has 4 bytes")])
@pytest.mark.skipif(TIER == "2", reason="torch's own launches take tensors")
def test_a_wrong_handle_is_named(monkeypatch, scale, wrong, text):
    q, k, v = _inputs()
    short = []  # one for each tensor, since outputs need memory of their own

    def locate(self, tensor):
        short.append(torch.zeros(1))
        handle, offset = sim.locate(short[-1] if wrong == 0 else tensor)
        return handle + wrong, offset

    monkeypatch.setattr(sim.Carrier, "locate", locate)
    tiers.forget()
    with pytest.raises(ValueError, match=text):
        _enqueue(q, k, v, scale)


@pytest.mark.skipif(TIER == "2", reason="torch allocates")
def test_no_memory_is_an_exception():
    q, k, v = (torch.rand(1, 96, 9, 2, 8).requires_grad_() for _ in range(3))  # larger than others
    out, _ = ops.attn(q, k, v, window=WINDOW)
    sim.set_option("fail", "buffer")
    with pytest.raises(MemoryError, match="no memory for"):
        torch.autograd.grad(out.sum(), (q, k, v))
    sim.set_option("fail", "")
    torch.autograd.grad(ops.attn(q, k, v, window=WINDOW)[0].sum(), (q, k, v))


def test_a_tensor_beyond_its_storage_is_named():
    q, k, v = _inputs()
    k.untyped_storage().resize_(k.untyped_storage().nbytes() - 4)
    with pytest.raises(ValueError, match=r"has \d+ bytes \(want at least \d+\)"):
        ops.attn(q, k, v, window=WINDOW)


@pytest.mark.skipif(TIER == "2", reason="torch compiles")
def test_a_refused_kernel_has_a_plainer_one():
    tiers.stream()  # chooses the tier, which compiles as well
    q, k, v = (torch.rand(1, 9, 7, 2, 44) for _ in range(3))  # no other test's kernel
    sim.set_option("fail", "pipeline@1")
    out, _ = ops.attn(q, k, v, window=WINDOW)
    torch.testing.assert_close(out, pure.attn(q, k, v, window=WINDOW)[0], atol=1e-5, rtol=0)
    assert "exceeds available temporary registers" in backend.details("metal")


def test_scaled_values_are_finite():
    q, k, v = _inputs()
    out, lse = ops.attn(q, k, v, window=WINDOW)
    assert torch.isfinite(out).all()
    assert lse.max().item() < math.log(9) + 8


def test_memory_that_the_host_cannot_read_and_torch_hands_out_again():
    # torch's allocator gives freed memory to the stream's next tensor while work on it is pending.
    sim.set_option("schedule", "random")
    try:
        wanted, got, addresses = [], [], set()
        for number in range(6):
            values = [t + number for t in _inputs()]
            wanted.append(pure.attn(*values, window=WINDOW)[0])
            tensors = [sim.PrivateTensor(v) for v in values]
            got.append(ops.attn(*(t.tensor for t in tensors), window=WINDOW)[0])
            addresses |= {t.address for t in tensors}
            for t in tensors:
                t.free()
        sim.synchronize()
    finally:
        sim.set_option("schedule", "lazy")
    assert len(addresses) == 3, "the same memory each time"
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    assert sim.findings() == []


def test_queues_overlap_in_any_order():
    sim.set_option("schedule", "random")
    try:
        values = _inputs()
        wanted, _ = pure.attn(*values, window=WINDOW)
        for seed in range(4):
            sim.set_option("seed", seed + 1)
            got, _ = ops.attn(*values, window=WINDOW)
            sim.synchronize()
            torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
        _train_step()
    finally:
        sim.set_option("schedule", "lazy")
    assert sim.findings() == []
