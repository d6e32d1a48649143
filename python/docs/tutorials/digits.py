# %% [markdown]
# # Train a NAT on digits
#
# A Neighborhood Attention Transformer of three blocks learns to read the 8 x 8 handwritten digits
# of scikit-learn, in a few seconds on a CPU. This tutorial needs matplotlib and scikit-learn.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from natten_mps import NeighborhoodAttention2D, viz

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32)[..., None]  # [n, 8, 8, 1]
labels = torch.tensor(digits.target)
train_x, test_x, train_y, test_y = train_test_split(
    images, labels, test_size=0.2, random_state=0, stratify=labels
)
print(len(train_x), len(test_x))

# %% [markdown]
# ## The model
#
# A block is a transformer block in which neighborhood attention replaces full attention. Tensors
# are channels-last, `[batch, height, width, channels]`, as the module expects, so nothing is
# permuted between layers. The second block is dilated: its 3 x 3 keys are two positions apart.

# %%
WIDTH = 48


class Block(nn.Module):
    """Pre-norm transformer block on [batch, height, width, channels]."""

    def __init__(self, kernel_size, dilation):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = NeighborhoodAttention2D(
            WIDTH, num_heads=4, kernel_size=kernel_size, dilation=dilation
        )
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x):
        """Attention, then a perceptron, each with a residual connection."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class NAT(nn.Module):
    """[batch, 8, 8, 1] to ten logits."""

    def __init__(self):
        super().__init__()
        # Like NAT, embed with overlapping convolutions.
        self.embed = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.position = nn.Parameter(0.02 * torch.randn(8, 8, WIDTH))
        self.blocks = nn.Sequential(Block(3, 1), Block(3, 2), Block(5, 1))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, pixels):
        """Embed, attend, average, classify."""
        embedded = self.embed(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        features = self.norm(self.blocks(embedded + self.position))
        return self.head(features.mean(dim=(1, 2)))


model = NAT()
print(viz.report(model, train_x[:1]))

# %% [markdown]
# The first column of the report names each attention layer, and the sixth is the share of the
# tokens that one query sees. After two layers, the receptive field is nearly the whole digit.
#
# ## Training

# %%
EPOCHS, BATCH = 12, 64
steps = len(train_x) // BATCH
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, EPOCHS * steps)
losses = []
for _ in range(EPOCHS):
    for batch in torch.randperm(len(train_x))[: steps * BATCH].view(steps, BATCH):
        loss = F.cross_entropy(model(train_x[batch]), train_y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())

with torch.no_grad():
    accuracy = (model(test_x).argmax(-1) == test_y).float().mean().item()
assert accuracy > 0.95
print(f"{accuracy:.1%} of unseen digits are read correctly")

# %%
figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
axis.semilogy(losses, lw=0.8)
_ = axis.set(xlabel="step", ylabel="training loss")

# %% [markdown]
# Next: [deploy a model](deploy.html), or the [performance guide](../performance.html).
