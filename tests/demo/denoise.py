# SPDX-License-Identifier: MIT
"""Non-local means is neighborhood attention: a photograph denoised with na2d.

Buades, Coll and Morel (2005) replace each pixel by a mean of the pixels j of a
search window, weighted by exp(-|P_i - P_j|^2 / h^2), where P_i is the patch
around pixel i. Since |P_i|^2 is the same for all j, softmax drops it, and

    softmax_j(2 P_i.P_j / h^2 - |P_j|^2 / h^2)

is attention with q = (sqrt(2) P / h, 1), k = (sqrt(2) P / h, -|P|^2 / h^2),
v = the pixels, and a window of K x K.
"""

import statistics
import time
from pathlib import Path

import matplotlib
import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_nl_means

import natten_mps
from progress import Progress

matplotlib.use("Agg")
import matplotlib.pyplot as plt

KERNEL, PATCH, NOISE = 21, 3, 0.10
# h^2 in units of the noise's variance per patch. On a quarter of this photograph, 0.25, 0.36, 0.5,
# 0.7 and 1.0 gave 21.1, 23.7, 26.8, 28.2 and 28.0 dB.
STRENGTH = 0.8
# scikit-image weights distances differently. Of the same values of h^2, and patch sizes 3 and 5,
# these gave its best result there.
PEER_STRENGTH, PEER_PATCH = 0.5, 5
CROP = 96  # side of the crop on which `pure` can be timed: it gathers K*K patches per pixel


def patches(image: torch.Tensor) -> torch.Tensor:
    """Turn [H, W, C] into the patch around each pixel, [1, H, W, 1, PATCH * PATCH * C]."""
    height, width, _ = image.shape
    half = PATCH // 2
    planes = F.pad(image.permute(2, 0, 1)[None], (half, half, half, half), mode="reflect")
    return F.unfold(planes, PATCH).transpose(1, 2).reshape(1, height, width, 1, -1)


def denoise(image: torch.Tensor) -> torch.Tensor:
    """Non-local means of [H, W, C] in one call of na2d."""
    patch = patches(image)
    h2 = STRENGTH * NOISE**2 * patch.shape[-1]
    scaled = patch * (2 / h2) ** 0.5
    query = torch.cat([scaled, torch.ones_like(scaled[..., :1])], dim=-1)
    key = torch.cat([scaled, -patch.square().sum(-1, keepdim=True) / h2], dim=-1)
    value = image[None, :, :, None, :]
    return natten_mps.na2d(query, key, value, kernel_size=KERNEL, scale=1.0)[0, :, :, 0, :]


def median_seconds(image: torch.Tensor, backend: str, bar: Progress) -> tuple[float, torch.Tensor]:
    """Median time of three runs of `denoise` after one to warm up, and its result."""
    natten_mps.set_backend(backend)
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        result = denoise(image)
        seconds.append(time.perf_counter() - started)
        bar.step(backend)
    natten_mps.set_backend("auto")
    return statistics.median(seconds[1:]), result


def draw(panels: dict[str, np.ndarray], path: Path) -> None:
    """Write the pictures side by side, with an enlarged detail below each."""
    figure, axes = plt.subplots(2, len(panels), figsize=(13.5, 6.2), layout="constrained")
    for (above, below), (title, picture) in zip(axes.T, panels.items(), strict=True):
        above.imshow(picture, interpolation="nearest")
        above.set_title(title)
        below.imshow(picture[75:165, 105:240], interpolation="nearest")
        above.axis("off")
        below.axis("off")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def run(out: Path) -> dict[str, float]:
    """Denoise scikit-image's photograph of a cat; returns the measured figures."""
    clean = skimage.data.chelsea().astype(np.float32) / 255
    rng = np.random.default_rng(0)
    noisy = clean + NOISE * rng.standard_normal(clean.shape, dtype=np.float32)
    image = torch.from_numpy(noisy)
    bar = Progress("denoise", 12)
    seconds, result = median_seconds(image, "native", bar)
    crop = image[:CROP, :CROP]
    native_crop, native_result = median_seconds(crop, "native", bar)
    pure_crop, pure_result = median_seconds(crop, "pure", bar)
    peer = denoise_nl_means(
        noisy, PEER_PATCH, KERNEL // 2, h=PEER_STRENGTH**0.5 * NOISE, channel_axis=-1
    )
    denoised = result.numpy()

    def psnr(picture: np.ndarray) -> float:
        return float(peak_signal_noise_ratio(clean, np.clip(picture, 0, 1), data_range=1))

    figures = {
        "psnr_noisy_db": psnr(noisy),
        "psnr_denoised_db": psnr(denoised),
        "psnr_scikit_image_db": psnr(peer),
        "native_s": seconds,
        "native_crop_s": native_crop,
        "pure_crop_s": pure_crop,
        "native_pure_difference": float((native_result - pure_result).abs().max()),
    }
    panels = {
        "photograph": clean,
        f"with noise, {figures['psnr_noisy_db']:.1f} dB": np.clip(noisy, 0, 1),
        f"na2d, K={KERNEL}, {figures['psnr_denoised_db']:.1f} dB": np.clip(denoised, 0, 1),
    }
    draw(panels, out / "denoise.png")
    print(
        f"  PSNR {figures['psnr_noisy_db']:.2f} -> {figures['psnr_denoised_db']:.2f} dB "
        f"(scikit-image's own non-local means: {figures['psnr_scikit_image_db']:.2f} dB)\n"
        f"  {clean.shape[0]} x {clean.shape[1]} pixels, K={KERNEL}: native {seconds:.3f} s\n"
        f"  {CROP} x {CROP} crop: native {native_crop * 1e3:.1f} ms, "
        f"pure {pure_crop * 1e3:.0f} ms ({pure_crop / native_crop:.0f} times); "
        f"largest difference {figures['native_pure_difference']:.1e}"
    )
    if figures["psnr_denoised_db"] < figures["psnr_noisy_db"] + 5:
        raise SystemExit("demo: denoising gained less than 5 dB")
    if figures["native_pure_difference"] > 1e-4:
        raise SystemExit("demo: native and pure differ by more than 1e-4")
    return figures
