# SPDX-License-Identifier: MIT
"""Hugging Face's DiNAT, unmodified, forward and backward on a photograph.

The model calls natten 0.14's functions. `natten_mps.compat.activate` serves
that generation, so the model's own `from natten.functional import ...` works.
"""

import time
from pathlib import Path

import skimage.data
import skimage.transform
import torch

import natten_mps
from natten_mps import compat
from progress import Progress

SIZE = 224


def photograph() -> torch.Tensor:
    """The astronaut of scikit-image as [1, 3, SIZE, SIZE], normalized."""
    picture = skimage.transform.resize(skimage.data.astronaut(), (SIZE, SIZE), anti_aliasing=True)
    pixels = torch.from_numpy(picture).float().permute(2, 0, 1)[None]
    return (pixels - pixels.mean()) / pixels.std()


def step(
    model: torch.nn.Module, pixels: torch.Tensor, backend: str
) -> tuple[float, torch.Tensor, list[torch.Tensor]]:
    """One forward and backward: seconds, logits, gradients of pixels and parameters."""
    natten_mps.set_backend(backend)
    leaves = [pixels, *model.parameters()]
    started = time.perf_counter()
    output = model(pixels, labels=torch.tensor([3]))
    gradients = torch.autograd.grad(output.loss, leaves)
    seconds = time.perf_counter() - started
    natten_mps.set_backend("auto")
    return seconds, output.logits.detach(), list(gradients)


def relative(got: list[torch.Tensor], want: list[torch.Tensor]) -> float:
    """Largest difference in units of each wanted tensor's largest value.

    The unit is at least a thousandth of the largest of all: the gradient of a key's bias is zero,
    since softmax ignores what all keys have in common, and what is left of it is rounding.
    """
    largest = [float(w.abs().max()) for w in want]
    floor = 1e-3 * max(largest)
    differences = [float((g - w).abs().max()) for g, w in zip(got, want, strict=True)]
    return max(d / max(unit, floor) for d, unit in zip(differences, largest, strict=True))


def run(out: Path) -> dict[str, float]:
    """Compare `native` with `pure` on DiNAT-Mini; returns the measured figures."""
    del out  # this part has no picture
    compat.activate("0.14.6")
    from transformers import DinatConfig, DinatForImageClassification

    torch.manual_seed(0)
    model = DinatForImageClassification(DinatConfig(num_labels=1000, drop_path_rate=0.0)).train()
    with torch.no_grad():
        # The bias starts at zero, where a wrong bias would have no effect.
        for name, parameter in model.named_parameters():
            if name.endswith("rpb"):
                parameter.normal_(std=0.5)
    pixels = photograph().requires_grad_()
    bar = Progress("DiNAT", 6)
    results = {}
    for backend in ("native", "pure"):
        runs = []
        for _ in range(3):
            runs.append(step(model, pixels, backend))
            bar.step(backend)
        results[backend] = (min(r[0] for r in runs), *runs[-1][1:])
    native_s, logits, gradients = results["native"]
    pure_s, want_logits, want_gradients = results["pure"]
    worst = relative(gradients, want_gradients)
    figures = {
        "native_s": native_s,
        "pure_s": pure_s,
        "logits_difference": relative([logits], [want_logits]),
        "gradient_difference": worst,
        "parameters": float(sum(p.numel() for p in model.parameters())),
    }
    print(
        f"  {figures['parameters'] / 1e6:.1f} M parameters, {SIZE} x {SIZE} pixels, "
        f"forward + backward: native {native_s:.2f} s, pure {pure_s:.2f} s\n"
        f"  largest relative difference: logits {figures['logits_difference']:.1e}, "
        f"gradients {worst:.1e}"
    )
    if figures["logits_difference"] > 1e-4 or worst > 1e-3:
        raise SystemExit("demo: native and pure disagree on DiNAT")
    return figures
