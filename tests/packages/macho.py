# SPDX-License-Identifier: MIT
"""What check_wheels.py reads of a Mach-O file itself: the code signature.

Sources: Apple's <mach-o/loader.h>, and cs_blobs.h of the XNU sources.
"""

import hashlib
import struct
from dataclasses import dataclass

LC_SEGMENT_64, LC_CODE_SIGNATURE = 0x19, 0x1D
EMBEDDED_SIGNATURE, CODE_DIRECTORY = 0xFADE0CC0, 0xFADE0C02
ADHOC = 0x2
SHA256 = 2
#: The first version of a code directory that says where the executable segment is.
WITH_EXECUTABLE_SEGMENT = 0x20400


class MachOError(ValueError):
    """A file that macOS would not load."""


@dataclass(frozen=True)
class Segment:
    """Where a segment's bytes are in the file."""

    offset: int
    size: int


@dataclass(frozen=True)
class LoadCommands:
    """The load commands that a signature depends on."""

    segments: dict[str, Segment]
    signature: Segment


def load_commands(data: bytes) -> LoadCommands:
    """Read the segments and the place of the signature."""
    count = struct.unpack_from("<I", data, 16)[0]
    segments: dict[str, Segment] = {}
    signature = None
    at = 32
    for _ in range(count):
        command, size = struct.unpack_from("<II", data, at)
        if command == LC_CODE_SIGNATURE:
            signature = Segment(*struct.unpack_from("<II", data, at + 8))
        elif command == LC_SEGMENT_64:
            name = data[at + 8 : at + 24].rstrip(b"\0").decode()
            segments[name] = Segment(*struct.unpack_from("<QQ", data, at + 40))
        at += size
    if signature is None:
        raise MachOError("no code signature")
    return LoadCommands(segments, signature)


def _blobs(data: bytes, start: int) -> dict[int, int]:
    """The signature's blobs: where each begins, by its magic number."""
    magic, _, count = struct.unpack_from(">III", data, start)
    if magic != EMBEDDED_SIGNATURE:
        raise MachOError(f"the signature begins with {magic:#x} (want {EMBEDDED_SIGNATURE:#x})")
    places = [start + struct.unpack_from(">II", data, start + 12 + 8 * i)[1] for i in range(count)]
    return {struct.unpack_from(">I", data, place)[0]: place for place in places}


def check_signature(data: bytes) -> int:
    """Compare the hash of every page with the signature's; the number of pages.

    macOS on arm64 kills a process that touches a page whose hash differs.
    """
    commands = load_commands(data)
    start = commands.signature.offset
    directory = _blobs(data, start).get(CODE_DIRECTORY)
    if directory is None:
        raise MachOError("the signature has no code directory")
    version, flags, hashes, _, _, pages, limit = struct.unpack_from(">7I", data, directory + 8)
    hash_size, hash_type, _, page_bits = struct.unpack_from("4B", data, directory + 36)
    if hash_type != SHA256 or hash_size != 32:
        raise MachOError(f"hashes of type {hash_type}, {hash_size} bytes (want SHA-256)")
    if not flags & ADHOC:
        raise MachOError(f"flags {flags:#x} (want an ad-hoc signature)")
    if limit != start or start + commands.signature.size != len(data):
        raise MachOError(
            f"the hashes cover {limit:#x} bytes of {start:#x}, the file ends elsewhere"
        )
    page = 1 << page_bits
    if pages != -(-limit // page):
        raise MachOError(f"{pages} hashes for {limit:#x} bytes in pages of {page}")
    _check_executable(data, directory, version, commands)
    bad = [
        number
        for number in range(pages)
        if hashlib.sha256(data[number * page : min((number + 1) * page, limit)]).digest()
        != data[directory + hashes + number * 32 : directory + hashes + (number + 1) * 32]
    ]
    if bad:
        raise MachOError(f"the hashes of pages {bad} are not those of the file")
    return int(pages)


def _check_executable(data: bytes, directory: int, version: int, commands: LoadCommands) -> None:
    """The executable segment is __TEXT, as a code directory of version 2.4 says."""
    if version < WITH_EXECUTABLE_SEGMENT:
        raise MachOError(f"code directory of version {version:#x}")
    base, size = struct.unpack_from(">QQ", data, directory + 64)
    text = commands.segments["__TEXT"]
    if (base, size) != (text.offset, text.size):
        raise MachOError(f"executable segment {base:#x}+{size:#x}, __TEXT is {text}")
