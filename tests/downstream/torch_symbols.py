# SPDX-License-Identifier: MIT
"""Which symbols of torch that metalrt looks up are in torch's wheels for macOS.

    pip install lief
    python tests/downstream/torch_symbols.py > tests/downstream/torch_symbols.txt

Downloads one wheel at a time (80 MB each) and deletes it. The names are read from metalrt/torch.go;
EXAMINED and FIRST_WITH of natten_mps/_mps/tiers.py are tested against the output.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import lief

VERSIONS = ("2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0", "2.14.1", "2.15.0")
ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "torch/lib/libtorch_cpu.dylib"


def names() -> list[str]:
    text = (ROOT / "metalrt" / "torch.go").read_text()
    return sorted(set(re.findall(r'"(_ZN\w+|aoti_torch_mps_\w+)"', text)))


def exports(version: str) -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        options = ("--no-deps", "--only-binary=:all:", "--platform", "macosx_14_0_arm64")
        command = [sys.executable, "-m", "pip", "download", "-q", *options]
        subprocess.run([*command, f"torch=={version}", "-d", folder], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(LIBRARY, folder)
        binary = lief.MachO.parse(str(Path(folder) / LIBRARY)).at(0)
        return {str(symbol.name).removeprefix("_") for symbol in binary.exported_symbols}


def main() -> None:
    wanted = names()
    print("Symbols of libtorch_cpu.dylib (macOS arm64), by version of torch")
    for version in VERSIONS:
        found = exports(version)
        for name in wanted:
            print(f"{version:<7} {'yes' if name in found else 'no ':<4} {name}", flush=True)


if __name__ == "__main__":
    main()
