# %% [markdown]
# # Generate with a streaming cache
#
# A model that generates has one new query per step and old keys. With causal neighborhood attention
# it needs only the keys of the last window, so time and memory per token do not grow with the
# number of tokens so far. `natten_mps.streaming` keeps them.

# %%
import time

import torch
from torch import nn

from natten_mps import NeighborhoodAttention1D
from natten_mps.streaming import Cache, step

torch.manual_seed(0)
LAYERS, WIDTH, WINDOW = 3, 32, 16
layers = nn.ModuleList(
    NeighborhoodAttention1D(WIDTH, 4, WINDOW, is_causal=True) for _ in range(LAYERS)
).eval()

# %% [markdown]
# ## Whole and step by step
#
# The same layers on all tokens at once, and on tokens as they come: first a prompt of 40, then one
# at a time. The results are the same.


# %%
def whole(x):
    """All tokens at once, [batch, tokens, WIDTH]."""
    for layer in layers:
        x = x + layer(x)
    return x


def advance(x, cache):
    """New tokens only; the cache has a stream for each layer."""
    for layer, stream in zip(layers, cache, strict=True):
        x = x + step(layer, x, stream)
    return x


tokens = torch.randn(2, 200, WIDTH)
with torch.no_grad():
    want = whole(tokens)
    cache = Cache(LAYERS)
    parts = [advance(t, cache) for t in tokens.split([40, *[1] * 160], dim=1)]
torch.testing.assert_close(torch.cat(parts, dim=1), want, rtol=1e-4, atol=1e-5)
print("equal")

# %% [markdown]
# ## Time per token
#
# It is the same after a thousand tokens as after ten.

# %%
cache = Cache(LAYERS)
seconds = []
with torch.no_grad():
    for _ in range(1000):
        started = time.perf_counter()
        advance(tokens[:, :1], cache)
        seconds.append(time.perf_counter() - started)
early, late = (1e6 * sorted(part)[len(part) // 2] for part in (seconds[10:200], seconds[-200:]))
print(f"median {early:.0f} µs per token at first, {late:.0f} µs at the end")

# %% [markdown]
# `Cache.reset` begins some of the streams of a batch again, and `Cache.reorder` continues with
# others, as beam search does. A video model streams frames in the same way: the first axis is
# causal, the others are whole in every step.
