# SPDX-License-Identifier: MIT
"""Pictures of natten_mps.viz for README.md and the guides; `python tests/demo/pictures.py`."""

from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from skimage.transform import resize

from denoise import patches
from natten_mps import NeighborhoodAttention3D, compat, viz

HERE = Path(__file__).parent
COLORS = 256  # per picture, which keeps its file small
# The map: the middle of the photograph of a cat, in SIDE x SIDE cells, with the query on the rim
# of an eye. STRENGTH is h^2 for each value of a patch; values are from 0 to 1.
SIDE, QUERY, KERNEL, STRENGTH = 80, (28, 33), 41, 0.03


def attention() -> object:
    """Patches of a photograph attend to those alike, as in denoise.py."""
    photograph = skimage.data.chelsea()[:, 75:375]
    small = resize(photograph, (SIDE, SIDE), anti_aliasing=True).astype(np.float32)
    patch = patches(torch.from_numpy(small))[0]
    h2 = STRENGTH * patch.shape[-1]
    scaled = patch * (2 / h2) ** 0.5
    query = torch.cat([scaled, torch.ones_like(scaled[..., :1])], dim=-1)
    key = torch.cat([scaled, -patch.square().sum(-1, keepdim=True) / h2], dim=-1)
    found = viz.attention_map(query, key, QUERY, KERNEL, scale=1.0)
    return viz.attention_over_image(photograph, found, QUERY)


def dinat() -> object:
    """The report on DiNAT-Mini, at its usual 224 x 224 pixels."""
    compat.activate("0.14.6")
    from transformers import DinatConfig, DinatForImageClassification

    model = DinatForImageClassification(DinatConfig())
    return viz.report(model, torch.zeros(1, 3, 224, 224)).figure


def video() -> object:
    """The report on four layers of a video model, two at half resolution."""
    near, far = (3, 5, 5), (5, 7, 7)
    fine = [NeighborhoodAttention3D(32, 4, near, dilation=d) for d in (1, (1, 2, 2))]
    coarse = [NeighborhoodAttention3D(32, 4, far, dilation=d) for d in (1, (1, 2, 2))]
    model = torch.nn.ModuleDict({"fine": torch.nn.Sequential(*fine)})
    model["coarse"] = torch.nn.Sequential(*coarse)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return model["coarse"](model["fine"](x)[:, :, ::2, ::2])

    model.forward = forward
    return viz.report(model, torch.zeros(1, 8, 32, 32, 32)).figure


def write(figure: object, name: str, dpi: int = 80) -> None:
    """Write a figure as a PNG of few colors."""
    path = HERE / f"{name}.png"
    figure.savefig(path, dpi=dpi)
    picture = Image.open(path).convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE)
    picture.save(path, optimize=True)
    print(f"{path.name}: {picture.width} x {picture.height}, {path.stat().st_size // 1024} KiB")


def main() -> None:
    """Write all pictures next to this file."""
    write(viz.comparison(), "window-comparison", dpi=150)
    write(viz.windows(9, 3), "window-plain")
    write(viz.windows(9, 3, dilation=3), "window-dilated")
    write(viz.windows(9, 3, is_causal=True), "window-causal")
    write(viz.windows(8, 4, stride=2), "window-stride")
    write(viz.windows(8, 4, stride=2, is_causal=True), "window-stride-causal")
    write(viz.windows((13, 15), (5, 7), dilation=(2, 1), query=(6, 12)), "window-dilation")
    write(attention(), "attention")
    write(video(), "report-video")
    write(dinat(), "report-dinat")


if __name__ == "__main__":
    main()
