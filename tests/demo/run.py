# SPDX-License-Identifier: MIT
"""The demonstration: `./build.sh demo` runs all of it, `./build.sh demo digits` a part."""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

import denoise
import digits
import dinat
import natten_mps

PARTS = {
    "denoise": (denoise.run, "non-local means of a photograph with na2d"),
    "dinat": (dinat.run, "Hugging Face's DiNAT through natten 0.14's names"),
    "digits": (digits.run, "a tiny NAT learns handwritten digits"),
}


def main() -> None:
    """Run the chosen parts and write their pictures and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder of pictures")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {unknown[0]!r} (want {', '.join(PARTS)})")
    options.out.mkdir(parents=True, exist_ok=True)
    names = options.parts or list(PARTS)
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
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
    print(f"done in {time.perf_counter() - started:.0f} s; pictures: {pictures}")


if __name__ == "__main__":
    main()
