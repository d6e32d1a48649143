# SPDX-License-Identifier: MIT
"""The checks of Mach-O files in tests/packages, on a small signed file."""

import hashlib
import struct
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "packages"))

import check_wheels
import macho

PAGE = 4096
TEXT_SIZE = 2 * PAGE
CODE_SIZE = 3 * PAGE - 100  # the last page is short


def _segment(name, offset, size):
    body = struct.pack("<16sQQQQiiII", name.encode(), 0, size, offset, size, 5, 5, 0, 0)
    return struct.pack("<II", macho.LC_SEGMENT_64, 8 + len(body)) + body


def _directory(code, *, flags=macho.ADHOC, text=TEXT_SIZE, limit=None):
    pages = [code[i : i + PAGE] for i in range(0, len(code), PAGE)]
    hashes = 96
    head = struct.pack(
        ">9I4BI",
        macho.CODE_DIRECTORY,
        hashes + 32 * len(pages),
        macho.WITH_EXECUTABLE_SEGMENT,
        flags,
        hashes,
        88,
        0,
        len(pages),
        len(code) if limit is None else limit,
        32,
        macho.SHA256,
        0,
        PAGE.bit_length() - 1,
        0,
    )
    head = head.ljust(64, b"\0") + struct.pack(">QQQ", 0, text, 0)
    head = head.ljust(hashes, b"\0")
    return head + b"".join(hashlib.sha256(page).digest() for page in pages)


def _file(**changes):
    """A file with a __TEXT segment and a signature with the hashes of its pages."""
    commands = _segment("__TEXT", 0, TEXT_SIZE)
    size = 12 + 8 + len(_directory(bytes(CODE_SIZE)))
    commands += struct.pack("<IIII", macho.LC_CODE_SIGNATURE, 16, CODE_SIZE, size)
    header = struct.pack("<8I", 0xFEEDFACF, 0, 0, 6, 2, len(commands), 0, 0)
    code = (header + commands).ljust(CODE_SIZE, b"\7")
    blob = struct.pack(">5I", macho.EMBEDDED_SIGNATURE, size, 1, 0, 20)
    return bytearray(code + blob + _directory(code, **changes))


def test_a_signed_file_is_taken():
    assert macho.check_signature(bytes(_file())) == 3


@pytest.mark.parametrize("place", [600, PAGE, CODE_SIZE - 1])
def test_a_changed_byte_is_seen(place):
    data = _file()
    data[place] ^= 1
    with pytest.raises(macho.MachOError, match=rf"hashes of pages \[{place // PAGE}\]"):
        macho.check_signature(bytes(data))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"flags": 0}, "want an ad-hoc signature"),
        ({"text": PAGE}, "executable segment"),
        ({"limit": PAGE}, "the hashes cover"),
    ],
)
def test_a_signature_of_something_else_is_seen(changes, text):
    with pytest.raises(macho.MachOError, match=text):
        macho.check_signature(bytes(_file(**changes)))


def test_bytes_after_the_signature_are_seen():
    with pytest.raises(macho.MachOError, match="the file ends elsewhere"):
        macho.check_signature(bytes(_file() + b"\0"))


def test_a_file_without_a_signature_is_refused():
    data = _file()
    data[32 + 72 : 32 + 76] = struct.pack("<I", 0x26)
    with pytest.raises(macho.MachOError, match="no code signature"):
        macho.check_signature(bytes(data))


def test_an_import_that_macos_14_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(check_wheels, "tool", lambda name: name)
    monkeypatch.setattr(check_wheels, "output", lambda *_: "_malloc\n_of_macos_15\n")
    with pytest.raises(SystemExit, match=r"does not list: \['_of_macos_15'\]"):
        check_wheels.check_imports(Path("library"))
    monkeypatch.setattr(check_wheels, "output", lambda *_: "_malloc\n")
    assert check_wheels.check_imports(Path("library")) == 1
