# SPDX-License-Identifier: MIT
"""A backend may refuse kernels at a plan's first run, as a GPU can: then `pure` computes."""

import pytest
import torch

import natten_mps as nm
from natten_mps import _abi, _choose, _plan


def eager(loss, tensors, wanted):
    return torch.autograd.grad(loss(*tensors), [tensors[i] for i in wanted])


def compiled(loss, tensors, wanted):
    return eager(torch.compile(loss, backend="aot_eager", fullgraph=True), tensors, wanted)


def functional(loss, tensors, wanted):
    return torch.func.grad(loss, argnums=wanted)(*(t.detach() for t in tensors))


def batched(loss, tensors, wanted):
    leaves = [tensors[i] for i in wanted]
    found = torch.autograd.grad(loss(*tensors), leaves, torch.ones(2), is_grads_batched=True)
    return tuple(t[1] for t in found)


@pytest.mark.parametrize("refused", [_abi.ATTN_FORWARD, _abi.ATTN_BACKWARD])
@pytest.mark.parametrize("wanted", [(0, 1, 2), (2,)], ids=["all", "value"])
@pytest.mark.parametrize("way", [eager, compiled, functional, batched])
def test_refused_kernels_are_replaced(monkeypatch, way, wanted, refused):
    run, seen = _plan.Plan.run, []
    # Too large for the compiler's own form. The log-sum-exp does not depend on the value.
    tensors = [torch.randn(1, 20, 2, 64, requires_grad=i in wanted) for i in range(3)]

    def loss(query, key, value):
        out, lse = nm.na1d(query, key, value, 3, return_lse=True)
        return (out * out).sum() + lse.cos().sum()

    def refuse(self, tensors, sizes=None):
        if self.problem.op != refused:
            return run(self, tensors, sizes)
        seen.append(self)
        raise NotImplementedError("it is a test")

    with nm.use_backend("native"):
        want = eager(loss, tensors, wanted)
    monkeypatch.setattr(_plan.Plan, "run", refuse)
    monkeypatch.setattr(_choose, "_warned", set())
    with nm.use_backend("auto"), pytest.warns(UserWarning, match="cannot compute.*it is a test"):
        found = way(loss, tensors, wanted)
    assert seen
    torch.testing.assert_close(found, want)
