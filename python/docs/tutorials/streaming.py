# %% [markdown]
# # Generate with a streaming cache
#
# A model that generates tokens has one new query per step. With causal neighborhood attention, this
# query needs only the keys of its window, so time and memory per token do not grow with the number
# of earlier tokens. `natten_mps.streaming` stores these keys.

# %%
import statistics
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
# The same layers process all tokens at once, and then tokens as they arrive: a prompt of 40, then
# one at a time. The results are the same.


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
# The time per token is the same after a thousand tokens as after ten.

# %%
cache = Cache(LAYERS)
seconds = []
with torch.no_grad():
    for _ in range(1000):
        started = time.perf_counter()
        advance(tokens[:, :1], cache)
        seconds.append(time.perf_counter() - started)
early, late = statistics.median(seconds[10:200]), statistics.median(seconds[-200:])
print(f"median {1e6 * early:.0f} µs per token at first, {1e6 * late:.0f} µs at the end")

# %% [markdown]
# `Cache.reset` restarts some streams of a batch, and `Cache.reorder` replaces streams by others, as
# beam search needs. A video model streams frames in the same way: its first axis is causal, and
# each step has all positions of the other axes.
