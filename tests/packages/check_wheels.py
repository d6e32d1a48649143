# SPDX-License-Identifier: MIT
"""Checks built wheels without installing them: tag, size, contents, and the library's own headers.

Usage: check_wheels.py dist/*.whl. Needs an LLVM objdump and readelf (Debian: llvm-19), and on Linux
the Python package auditwheel.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import macho

LARGEST = 8 * 2**20
# Symbols that the linkers of Go and of the system leave visible in a Mach-O file.
LINKER_SYMBOLS = {
    "_crosscall1",
    "_crosscall2",
    "__cgo_panic",
    "__cgo_topofstack",
    "___dso_handle",
    "__mh_dylib_header",
}
ELF_MACHINES = {"manylinux2014_x86_64": "EM_X86_64", "manylinux2014_aarch64": "EM_AARCH64"}
NEWEST_GLIBC = (2, 17)  # manylinux2014
SYMBOLS_OF_MACOS = Path(__file__).parent / "macos14_symbols.txt"


def tool(name: str) -> str:
    """Return LLVM's tool under the name it has here."""
    for candidate in (f"{name}-19", name):
        if shutil.which(candidate):
            return candidate
    raise SystemExit(f"check_wheels: {name} is needed")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise SystemExit(f"check_wheels: {message}")


def check_elf(library: Path, platform: str) -> str:
    """Check machine, exports, soname and the newest glibc that is needed."""
    text = output(tool("llvm-readelf"), "-h", "-d", "--dyn-syms", "-V", "--elf-output-style=LLVM",
                  str(library))  # fmt: skip
    expect(ELF_MACHINES[platform] in text, f"{library.name} is not for {platform}")
    expect("libnatten_mps.so" in text, "no soname")
    table = output(tool("llvm-nm"), "-D", "--defined-only", str(library)).splitlines()
    names = {line.split()[-1].split("@")[0] for line in table}
    expect(bool(names), "no exported symbol")
    strangers = {n for n in names if not n.startswith("natten_mps_")}
    expect(not strangers, f"strange exports: {sorted(strangers)}")
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_(\d+\.\d+)", text)}
    newest = max(versions, default=(0, 0))
    expect(newest <= NEWEST_GLIBC, f"needs glibc {newest}")
    return f"{len(names)} symbols, glibc {newest[0]}.{newest[1]}"


def audit(wheel: Path) -> str:
    """Ask auditwheel whether the wheel keeps what its manylinux tag promises."""
    text = " ".join(output(sys.executable, "-m", "auditwheel", "show", str(wheel)).split())
    tag = re.search(r'platform tag: "manylinux_(\d+)_(\d+)_\w+"', text)
    expect(tag is not None, f"auditwheel finds {wheel.name} to be no manylinux wheel: {text}")
    expect((int(tag[1]), int(tag[2])) <= NEWEST_GLIBC, f"auditwheel: {text}")
    expect("requires no external shared libraries" in text, f"auditwheel: {text}")
    return "auditwheel agrees"


def check_imports(library: Path) -> int:
    """Check that the oldest macOS has what the library imports; the number of symbols."""
    listed = SYMBOLS_OF_MACOS.read_text().splitlines()
    there = {line for line in listed if line and not line.startswith("#")}
    table = output(tool("llvm-nm"), "--undefined-only", str(library)).splitlines()
    wanted = {line.split()[-1] for line in table if line.strip()}
    expect(bool(wanted), "no imported symbol")
    unknown = wanted - there
    expect(not unknown, f"imports that {SYMBOLS_OF_MACOS.name} does not list: {sorted(unknown)}")
    return len(wanted)


def check_pages(library: Path) -> int:
    """Check the hash of every page; the number of pages."""
    try:
        return macho.check_signature(library.read_bytes())
    except macho.MachOError as error:
        raise SystemExit(f"check_wheels: {library.name}: {error}") from error


def check_macho(library: Path) -> str:
    """Check architecture, oldest macOS, id, dependencies, exports, imports and signature."""
    objdump = tool("llvm-objdump")
    headers = output(objdump, "--macho", "--private-headers", str(library))
    expect(re.search(r"MH_MAGIC_64\s+ARM64", headers) is not None, "not for arm64")
    expect(re.search(r"minos 14\.0", headers) is not None, "oldest macOS is not 14.0")
    expect("@rpath/libnatten_mps.dylib" in headers, "id is not @rpath/libnatten_mps.dylib")
    used = output(objdump, "--macho", "--dylibs-used", str(library)).splitlines()[2:]
    foreign = [x.split()[0] for x in used if not x.strip().startswith(("/usr/lib/", "/System/"))]
    expect(not foreign, f"depends on {foreign}")
    trie = output(objdump, "--macho", "--exports-trie", str(library))
    names = set(re.findall(r"^0x[0-9A-F]+\s+(\S+)", trie, re.MULTILINE))
    strangers = {n for n in names if not n.startswith("_natten_mps_")} - LINKER_SYMBOLS
    expect(not strangers, f"strange exports: {sorted(strangers)}")
    imports, pages = check_imports(library), check_pages(library)
    return f"{len(names)} symbols, {imports} imported, macOS 14.0, {pages} pages as signed"


def check(wheel: Path) -> None:
    """Check one wheel and print what it is."""
    platform = wheel.stem.split("-")[-1]
    expect("-py3-none-" in wheel.name, f"{wheel.name} is not tagged py3-none")
    expect(wheel.stat().st_size < LARGEST, f"{wheel.name} has {wheel.stat().st_size} bytes")
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = archive.namelist()
        libraries = [n for n in names if "/lib/" in n]
        expect(len(libraries) == 1, f"{wheel.name} has the libraries {libraries}")
        for name in ("py.typed", "compat/_startup/sitecustomize.py", "compat/_hub/metadata.json"):
            expect(f"natten_mps/{name}" in names, f"{name} is missing")
        outside = [n for n in names if not n.startswith(("natten_mps/", "natten_mps-"))]
        expect(not outside, f"{wheel.name} holds {outside}")
        library = Path(archive.extract(libraries[0], folder))
        mac = platform.startswith("macosx")
        facts = check_macho(library) if mac else check_elf(library, platform)
    if sys.platform == "linux" and not mac:
        facts += f", {audit(wheel)}"
    print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.1f} MiB, {facts}")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        check(Path(argument))
