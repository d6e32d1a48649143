# SPDX-License-Identifier: MIT
"""hdit's neighborhood layer under torch.compile(fullgraph=True), both branches, against itself.

One function of hdit is replaced for the compiled run: it rotates in place in an
autograd.Function that has a jvp, and torch.compile traces no such function.
"""

import natten
import torch
from hdit_block import axial_rope, block, layer

torch.set_num_threads(1)


def rotated(x, theta):
    """hdit's apply_rotary_emb_ out of place: pairs (x1, x2) turn by theta, the rest stays."""
    x1, x2, rest = x.tensor_split((theta.shape[-1], 2 * theta.shape[-1]), dim=-1)
    cos, sin = theta.cos(), theta.sin()
    return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin, rest], dim=-1)


def results(run, model, x, positions, condition):
    """Output, gradient of the input and of every parameter."""
    leaf = x.clone().requires_grad_()
    out = run(leaf, positions, condition)
    model.zero_grad()
    out.square().sum().backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return {"out": out.detach(), "input": leaf.grad, **gradients}


def compare():
    """Assert that the compiled layer is one graph and gives what the untouched one gives."""
    torch.manual_seed(0)
    model = layer()
    x, condition = torch.randn(2, 8, 9, 32), torch.linspace(-1, 1, 16).view(2, 8)
    positions = axial_rope.make_axial_pos(8, 9).view(8, 9, 2)
    want = results(model, model, x, positions, condition)
    own, block.apply_rotary_emb_ = block.apply_rotary_emb_, rotated
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(model, fullgraph=True)
    got = results(compiled, model, x, positions, condition)
    block.apply_rotary_emb_ = own
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
    assert got.keys() == want.keys()
    assert len(want) > 5
    for name, tensor in want.items():
        torch.testing.assert_close(
            got[name], tensor, rtol=1e-4, atol=1e-5 * tensor.abs().max().item()
        )
    print(f"{len(want)} tensors agree, compiled as one graph")


if __name__ == "__main__":
    # hdit switches this on at import; here a graph that cannot be compiled must fail the test.
    torch._dynamo.config.suppress_errors = False
    has_fused_na = natten.has_fused_na
    for answer in (has_fused_na, lambda: False):
        natten.has_fused_na = answer
        compare()
