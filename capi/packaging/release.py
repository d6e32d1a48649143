# SPDX-License-Identifier: MIT
"""Writes what a release has besides wheels and source distribution, and lists all of it.

    python capi/packaging/release.py DIST EPOCH

DIST has the three wheels and the source distribution. It gets an xcframework, an SBOM, a
conda-forge recipe, a Homebrew formula, the release notes and SHA256SUMS. The same tree gives the
same bytes: times are EPOCH, the last commit's, in seconds.
"""

import gzip
import hashlib
import io
import json
import plistlib
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from importlib.metadata import requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
REPOSITORY = "https://github.com/natten-mps/natten-mps"
# Licenses of what is compiled into the library; a module that is not here stops the release.
LICENSES = {
    "github.com/ebitengine/purego": "Apache-2.0",
    "github.com/x448/float16": "MIT",
    "golang.org/x/sys": "BSD-3-Clause",
    "stdlib": "BSD-3-Clause",
}


def sha256(path: Path) -> str:
    """Return a file's digest."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def normalize(sdist: Path, epoch: int) -> None:
    """Rewrite a source distribution with one time, owner and order of its files."""
    plain = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=plain, mode="w") as new:
        for member in sorted(old.getmembers(), key=lambda m: m.name):
            data = old.extractfile(member) if member.isfile() else None
            member.mtime, member.uid, member.gid = epoch, 0, 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, data)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=epoch) as file:
        file.write(plain.getvalue())
    sdist.write_bytes(packed.getvalue())


def extract(wheel: Path, name: str) -> bytes:
    """Return a file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)


def xcframework(dist: Path, version: str, epoch: int) -> None:
    """Pack the macOS library and the headers as Xcode wants them."""
    (wheel,) = dist.glob("*macosx*.whl")
    slice_ = "macos-arm64"
    module = 'module CNattenMPS {\n  header "natten_mps.h"\n  export *\n}\n'
    info = {
        "CFBundlePackageType": "XFWK",
        "XCFrameworkFormatVersion": "1.0",
        "AvailableLibraries": [
            {
                "BinaryPath": "libnatten_mps.dylib",
                "HeadersPath": "Headers",
                "LibraryIdentifier": slice_,
                "LibraryPath": "libnatten_mps.dylib",
                "SupportedArchitectures": ["arm64"],
                "SupportedPlatform": "macos",
            }
        ],
    }
    files = {
        "Info.plist": plistlib.dumps(info),
        "LICENSE": (ROOT / "LICENSE").read_bytes(),
        f"{slice_}/Headers/module.modulemap": module.encode(),
        f"{slice_}/Headers/natten_mps.h": (ROOT / "include" / "natten_mps.h").read_bytes(),
        f"{slice_}/libnatten_mps.dylib": extract(wheel, "natten_mps/lib/libnatten_mps.dylib"),
    }
    stamp = time.gmtime(epoch)[:6]
    with zipfile.ZipFile(dist / f"CNattenMPS-{version}.xcframework.zip", "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"CNattenMPS.xcframework/{name}", stamp)
            entry.external_attr = (0o755 if name.endswith(".dylib") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])


def modules(library: bytes) -> dict[str, str]:
    """Return the Go modules, and Go itself, that a library is made of, with versions."""
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(library)
        file.flush()
        command = ["go", "version", "-m", file.name]
        text = subprocess.run(command, check=True, text=True, capture_output=True).stdout
    found = dict(re.findall(r"^\tdep\t(\S+)\t(\S+)", text, re.MULTILINE))
    return {**found, "stdlib": re.search(r": go(\S+)", text)[1]}


def sbom(dist: Path, version: str, epoch: int) -> None:
    """Write what the package contains and requires, as CycloneDX."""
    (wheel,) = dist.glob("*manylinux2014_x86_64.whl")
    found = modules(extract(wheel, "natten_mps/lib/libnatten_mps.so"))
    unknown = sorted(found.keys() - LICENSES.keys())
    if unknown:
        raise SystemExit(
            f"release: no license is recorded for {', '.join(unknown)} (want LICENSES)"
        )
    needed = [text for text in requires("natten-mps") or () if "extra ==" not in text]
    names = [(re.match(r"[\w.-]+", text)[0], text) for text in needed]
    components = [
        {
            "type": "library",
            "name": name,
            "version": number,
            "purl": f"pkg:golang/{'std' if name == 'stdlib' else name}@{number}",
            "licenses": [{"license": {"id": LICENSES[name]}}],
            "scope": "required",
        }
        for name, number in sorted(found.items())
    ]
    components += [
        {
            "type": "library",
            "name": name,
            "description": f"required at run time: {text}",
            "purl": f"pkg:pypi/{name}",
            "scope": "required",
        }
        for name, text in names
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
            "component": {
                "type": "library",
                "name": "natten-mps",
                "version": version,
                "purl": f"pkg:pypi/natten-mps@{version}",
                "licenses": [{"license": {"id": "MIT"}}],
                "hashes": [{"alg": "SHA-256", "content": sha256(path)} for path in [wheel]],
            },
        },
        "components": components,
    }
    path = dist / f"natten_mps-{version}.cdx.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def template(dist: Path, name: str, version: str) -> None:
    """Fill in a recipe of capi/packaging/recipes."""
    sdist = dist / f"natten_mps-{version}.tar.gz"
    url = f"{REPOSITORY}/releases/download/v{version}/{sdist.name}"
    values = {"version": version, "url": url, "sha256": sha256(sdist)}
    text = (HERE / "recipes" / f"{name}.in").read_text(encoding="utf-8")
    filled = re.sub(r"@(\w+)@", lambda match: values[match[1]], text)
    (dist / name).write_text(filled, encoding="utf-8")


def changes(version: str) -> str:
    """Return the version's section of CHANGELOG.md."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## \[{re.escape(version)}\].*?\n(.*?)(?=^## \[|\Z)", text, re.M | re.S)
    if found is None:
        raise SystemExit(
            f"release: CHANGELOG.md has no section for {version} (want ## [{version}])"
        )
    return found[1].strip()


def artefacts(dist: Path) -> list[Path]:
    """Return the files to publish, without the notes and the checksums themselves."""
    own = {"RELEASE_NOTES.md", "SHA256SUMS"}
    return [path for path in sorted(dist.iterdir()) if path.name not in own]


def notes(dist: Path, version: str) -> None:
    """Write the release notes: changes, files with sizes and digests, what was not tried."""
    rows = [
        f"| `{path.name}` | {path.stat().st_size:,} | `{sha256(path)}` |"
        for path in artefacts(dist)
    ]
    text = f"""# natten-mps {version}

{changes(version)}

## Files

| file | bytes | SHA-256 |
| --- | ---: | --- |
{chr(10).join(rows)}

The Linux wheels and the source distribution are installed and used by the release's own tests. The
macOS wheel and the xcframework are cross-compiled: their files are checked, no Mac has loaded them.
The conda recipe and the Homebrew formula have not been built by conda-forge or Homebrew.
"""
    (dist / "RELEASE_NOTES.md").write_text(text, encoding="utf-8")


def main() -> None:
    """Write everything and print the list."""
    dist, epoch = Path(sys.argv[1]), int(sys.argv[2])
    versions = re.search(
        r'__version__ = "(.+)"', (ROOT / "python/natten_mps/version.py").read_text()
    )
    version = versions[1]
    xcframework(dist, version, epoch)
    sbom(dist, version, epoch)
    template(dist, "recipe.yaml", version)
    template(dist, "natten-mps.rb", version)
    notes(dist, version)
    listed = [*artefacts(dist), dist / "RELEASE_NOTES.md"]
    sums = "".join(f"{sha256(path)}  {path.name}\n" for path in listed)
    (dist / "SHA256SUMS").write_text(sums, encoding="utf-8")
    for path in [*listed, dist / "SHA256SUMS"]:
        print(f"{path.stat().st_size:>10,}  {path.name}")


if __name__ == "__main__":
    if sys.argv[1] == "normalize":
        normalize(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
