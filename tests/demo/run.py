# SPDX-License-Identifier: MIT
"""The demonstration: `./build.sh demo` runs all of it, `./build.sh demo digits` a part."""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

import denoise
import digits
import dinat
import natten_mps
from processor import describe_machine
from readme import PERFORMANCE, fill

PARTS = {
    "denoise": (denoise.run, "non-local means of a photograph with na2d"),
    "dinat": (dinat.run, "Hugging Face's DiNAT through natten 0.14's names"),
    "digits": (digits.run, "a tiny NAT learns handwritten digits"),
}


def sentences(figures: dict[str, Any]) -> str:
    """Return what performance.md says of a run of all parts."""
    denoised, dinat_run, trained = (figures[name] for name in PARTS)
    return (
        f"Measured by `./build.sh demo` on {figures['machine']}, load {figures['load']:.1f} at the "
        "start:\n\n"
        f"* Denoising: {denoised['psnr_noisy_db']:.2f} dB to "
        f"{denoised['psnr_denoised_db']:.2f} dB PSNR (scikit-image's own non-local means: "
        f"{denoised['psnr_scikit_image_db']:.2f} dB); 300 x 451 pixels, K = 21, in "
        f"{denoised['native_s']:.2f} s. On a 96 x 96 crop `native` takes "
        f"{denoised['native_crop_s'] * 1e3:.0f} ms and `pure` "
        f"{denoised['pure_crop_s'] * 1e3:.0f} ms.\n"
        "* DiNAT-Mini of Hugging Face's transformers, unmodified, random weights, on a 224 x 224 "
        f"photograph, forward and backward: `native` {dinat_run['native_s']:.2f} s, `pure` "
        f"{dinat_run['pure_s']:.2f} s; gradients differ by at most "
        f"{dinat_run['gradient_difference']:.0e} of their largest value.\n"
        f"* A NAT of three blocks reads {100 * trained['accuracy']:.1f} % of unseen handwritten "
        f"digits after {trained['training_s']:.0f} s of training."
    )


def main() -> None:
    """Run the chosen parts and write their pictures and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder of pictures")
    parser.add_argument("--readme", action="store_true", help="write figures into performance.md")
    options = parser.parse_args()
    if options.readme and options.parts:
        parser.error("--readme wants all parts")
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {unknown[0]!r} (want {', '.join(PARTS)})")
    options.out.mkdir(parents=True, exist_ok=True)
    names = options.parts or list(PARTS)
    figures: dict[str, Any] = {
        "machine": f"{describe_machine()}, {torch.get_num_threads()} threads",
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "natten_mps": natten_mps.__version__,
        "backend": natten_mps.get_backend(),
    }
    print(f"natten-mps {natten_mps.__version__}, torch {torch.__version__}, {figures['machine']}")
    started = time.perf_counter()
    for number, name in enumerate(names, 1):
        run, title = PARTS[name]
        print(f"[{number}/{len(names)}] {title}", flush=True)
        figures[name] = run(options.out)
    (options.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    pictures = " ".join(str(p) for p in sorted(options.out.glob("*.png")))
    if options.readme:
        fill("demo", sentences(figures), PERFORMANCE)
    print(f"done in {time.perf_counter() - started:.0f} s; pictures: {pictures}")


if __name__ == "__main__":
    main()
