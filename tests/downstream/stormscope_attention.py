# SPDX-License-Identifier: MIT
"""The attention of physicsnemo's diffusion transformer, which earth2studio's StormScope runs,
unmodified. It refuses to start where natten cannot be imported."""

import definition
import torch
from physicsnemo.nn.module import dit_layers


def na2d(query, key, value, kernel_size, dilation=1, **others):
    """Heads-last attention from the definition."""
    assert not others
    query, key, value = (t.movedim(-2, 1) for t in (query, key, value))
    weights = definition.qk(query * query.shape[-1] ** -0.5, key, None, kernel_size, dilation)
    return definition.av(weights.softmax(-1), value, kernel_size, dilation).movedim(1, -2)


def patch():
    dit_layers._na2d_func = na2d


def compare(**options):
    dit_layers._na2d_func = theirs
    definition.compare(
        lambda: dit_layers.Natten2DSelfAttention(32, 4, **options),
        patch,
        torch.randn(2, 9 * 10, 32),
        lambda model, x: model(x, latent_hw=(9, 10)),
    )


theirs = dit_layers._na2d_func

if __name__ == "__main__":
    compare(attn_kernel=5)
    compare(attn_kernel=3, qk_norm=True, na2d_kwargs={"dilation": 2})
