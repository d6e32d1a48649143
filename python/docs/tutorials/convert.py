# %% [markdown]
# # Convert a NATTEN 0.17 model
#
# A model that was written for NATTEN 0.17 runs unchanged. This tutorial runs one, saves its
# weights, and then moves it to the functions of natten_mps step by step.
#
# ## 1. Run it unchanged
#
# After `activate`, `import natten` imports NATTEN 0.17.5 in this process. The command
# `python -m natten_mps.compat 0.17.5 train.py` does the same for a whole program, and
# `python -m natten_mps.compat scan FOLDER` says which version a project was written for.

# %%
import torch
from torch import nn

from natten_mps import compat

compat.activate("0.17.5")

import natten
from natten.functional import na2d_av, na2d_qk


class Attention(nn.Module):
    """Attention with the split functions of 0.17, which are heads-first."""

    def __init__(self, channels, heads, kernel_size, dilation):
        super().__init__()
        self.heads, self.rule = heads, (kernel_size, dilation)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        bias = torch.empty(heads, 2 * kernel_size - 1, 2 * kernel_size - 1)
        self.rpb = nn.Parameter(nn.init.trunc_normal_(bias, std=0.02))

    def forward(self, x):
        """[batch, height, width, channels]."""
        batch, height, width, channels = x.shape
        qkv = self.qkv(x).view(batch, height, width, 3, self.heads, -1)
        q, k, v = qkv.permute(3, 0, 4, 1, 2, 5)  # [batch, heads, height, width, head_dim]
        q = q * q.shape[-1] ** -0.5
        weights = na2d_qk(q, k, *self.rule, rpb=self.rpb).softmax(-1)
        out = na2d_av(weights, v, *self.rule).permute(0, 2, 3, 1, 4)
        return self.proj(out.reshape(batch, height, width, channels))


torch.manual_seed(0)
old = Attention(64, heads=4, kernel_size=7, dilation=2)
x = torch.randn(2, 24, 24, 64)
want = old(x)
print(natten.__version__, want.shape)

# %% [markdown]
# ## 2. Call natten_mps
#
# Three things change. The layout is heads-last, so the permutation goes away. The scale is an
# argument. One fused call, which adds the bias, replaces two, so no attention weights are stored.
# The parameters keep their names, so the state dict loads without changes.

# %%
from natten_mps import na2d


class FusedAttention(Attention):
    """The same attention in one fused call."""

    def forward(self, x):
        """[batch, height, width, channels]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(3)
        kernel_size, dilation = self.rule
        out = na2d(q, k, v, kernel_size, dilation=dilation, rpb=self.rpb)
        return self.proj(out.flatten(-2))


new = FusedAttention(64, heads=4, kernel_size=7, dilation=2)
new.load_state_dict(old.state_dict())
got = new(x)
torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
print(f"largest difference {float((got - want).detach().abs().max()):.1e}")

# %% [markdown]
# `dilation` is passed by name, because the fifth positional argument of `na2d` is `stride`.
#
# ## 3. Or use the module
#
# `NeighborhoodAttention2D` computes exactly this, and its parameters have the same names.

# %%
from natten_mps import NeighborhoodAttention2D

module = NeighborhoodAttention2D(64, 4, 7, dilation=2, rel_pos_bias=True)
module.load_state_dict(old.state_dict())
torch.testing.assert_close(module(x), want, rtol=1e-4, atol=1e-5)
print(sorted(module.state_dict()))

# %% [markdown]
# [Moving from NATTEN](../moving.html) describes the other generations, and
# [every public name](../moving-names.html) lists how each name behaves here.
