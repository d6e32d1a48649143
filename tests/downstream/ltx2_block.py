# SPDX-License-Identifier: MIT
"""A block of diffusers' LTX-2 video decoder, unmodified, with NATTEN from the hub: no network, the
kernels package is led to natten_mps. Against the decoder's own attention, FlexAttention."""

import sys

import torch
from diffusers.models.autoencoders import ltx2_diffusion_decoder as ltx2
from kernels import has_kernel


def results(block, processor, hidden):
    block.attn.set_processor(processor)
    block.zero_grad()
    leaf = hidden.clone().requires_grad_()
    out = block(leaf)
    out.backward(torch.linspace(-1, 1, out.numel()).view_as(out))
    gradients = {name: p.grad.clone() for name, p in block.named_parameters()}
    return {"out": out.detach(), "input": leaf.grad} | gradients


def compare(kernel_size, shape):
    torch.manual_seed(3)
    block = ltx2.LTX2VideoVaeNABlock(64, kernel_size, head_dim=32)
    hidden = torch.randn(1, *shape, 64)
    mine = results(block, ltx2.LTX2VideoVaeNeighborhoodNattenProcessor(), hidden)
    wanted = results(block, Definition(), hidden)
    worst = max(
        (mine[name] - want).abs().max().item() / want.abs().max().clamp(min=1e-6).item()
        for name, want in wanted.items()
    )
    assert worst < 2e-5, worst
    with torch.no_grad():
        block.attn.set_processor(ltx2.LTX2VideoVaeNeighborhoodAttnProcessor())
        flex = block(hidden, block.attn.build_block_mask(hidden))
    assert torch.allclose(flex, mine["out"], atol=2e-5)
    return len(wanted), worst


class Definition:
    """Attention over all tokens with a mask of the windows, from the decoder's description."""

    def __call__(self, attention, hidden, block_mask=None):
        query, key, value = (t.flatten(1, 3).transpose(1, 2) for t in attention.project_qkv(hidden))
        axes = [window(n, k) for n, k in zip(hidden.shape[1:4], attention.kernel_size, strict=True)]
        a, b, c = axes
        seen = a[:, None, None, :, None, None] & b[None, :, None, None, :, None]
        seen = seen & c[None, None, :, None, None, :]
        tokens = query.shape[2]
        scores = query @ key.transpose(-1, -2)
        scores = scores.masked_fill(~seen.reshape(tokens, tokens), -torch.inf)
        out = scores.softmax(-1) @ value
        return attention.to_out[0](out.transpose(1, 2).reshape(hidden.shape))


def window(length, kernel):
    """[query, key]: whether the key is seen along an axis."""
    start = (torch.arange(length) - kernel // 2).clamp(0, length - kernel)
    key = torch.arange(length)
    return (key >= start[:, None]) & (key < start[:, None] + kernel)


if __name__ == "__main__":
    assert has_kernel("shi-labs/natten", version=1)
    assert "natten" not in sys.modules
    checked = [
        compare((3, 7, 7), (4, 8, 9)),
        compare((3, 5, 5), (3, 6, 7)),
        compare((11, 11, 11), (11, 11, 12)),
    ]
    assert "natten" not in sys.modules, "the decoder never imports natten"
    print(f"{checked[0][0]} tensors agree to {max(worst for _, worst in checked):.1e}")
