# SPDX-License-Identifier: MIT
"""A small Neighborhood Attention Transformer learns scikit-learn's handwritten digits."""

import time
from pathlib import Path

import matplotlib
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import natten_mps
from progress import Progress

matplotlib.use("Agg")
import matplotlib.pyplot as plt

EPOCHS, BATCH, WIDTH = 16, 64, 48


class Block(nn.Module):
    """Pre-norm transformer block with neighborhood attention, on [B, H, W, C]."""

    def __init__(self, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = natten_mps.NeighborhoodAttention2D(
            WIDTH, num_heads=4, kernel_size=kernel_size, dilation=dilation
        )
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TinyNAT(nn.Module):
    """8 x 8 gray pixels [B, 8, 8, 1] to ten logits [B, 10]."""

    def __init__(self) -> None:
        super().__init__()
        # Like NAT, embeds with overlapping convolutions.
        self.embed = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.position = nn.Parameter(0.02 * torch.randn(8, 8, WIDTH))
        self.blocks = nn.Sequential(Block(3, 1), Block(3, 2), Block(5, 1))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        embedded = self.embed(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = self.blocks(embedded + self.position)
        return self.head(self.norm(x).mean(dim=(1, 2)))


def draw(losses: list[float], accuracies: list[float], path: Path) -> None:
    """Write the loss of each step and the test accuracy of each epoch."""
    figure, left = plt.subplots(figsize=(7, 3.6), layout="constrained")
    left.plot(losses, color="tab:blue", linewidth=0.8)
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    right = left.twinx()
    steps = len(losses) // len(accuracies)
    right.plot(
        [steps * (i + 1) for i in range(len(accuracies))],
        [100 * a for a in accuracies],
        color="tab:orange",
    )
    right.set(ylabel="test accuracy, %", ylim=(0, 100))
    left.set_title(f"tiny NAT on digits: {100 * accuracies[-1]:.1f} % after {len(losses)} steps")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def run(out: Path) -> dict[str, float]:
    """Train on 80 % of the digits and test on the rest; returns the measured figures."""
    torch.manual_seed(0)
    digits = load_digits()
    split = train_test_split(
        torch.tensor(digits.images, dtype=torch.float32)[..., None] / 16,
        torch.tensor(digits.target),
        test_size=0.2,
        random_state=0,
        stratify=digits.target,
    )
    train_x, test_x, train_y, test_y = split
    model = TinyNAT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    steps = len(train_x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, EPOCHS * steps)
    losses: list[float] = []
    accuracies: list[float] = []
    bar = Progress("digits", EPOCHS)
    started = time.perf_counter()
    for _ in range(EPOCHS):
        order = torch.randperm(len(train_x))[: steps * BATCH].view(steps, BATCH)
        for batch in order:
            loss = F.cross_entropy(model(train_x[batch]), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        with torch.no_grad():
            accuracies.append((model(test_x).argmax(-1) == test_y).float().mean().item())
        bar.step(f"loss {losses[-1]:.3f}, test accuracy {100 * accuracies[-1]:.1f} %")
    seconds = time.perf_counter() - started
    draw(losses, accuracies, out / "digits.png")
    print(f"  test accuracy {100 * accuracies[-1]:.2f} % after {seconds:.0f} s of training")
    if accuracies[-1] <= 0.95:
        raise SystemExit("demo: test accuracy is not above 95 %")
    return {"accuracy": accuracies[-1], "training_s": seconds, "steps": len(losses)}
