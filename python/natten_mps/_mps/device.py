# SPDX-License-Identifier: MIT
"""Torch's MPS device as the compiled library sees it, and its replacement in tests."""

import ctypes
import importlib
import os
import platform
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

#: natten_mps_run or a replacement: plan, packed args, address of an error struct -> status.
Run = Callable[[int, bytes, int], int]

#: Path of a simulated Metal; tests/metalsim has its Carrier, the module natten_mps_simulator.
SIMULATOR = "NATTEN_MPS_SIMULATOR"


class Carrier(Protocol):
    """A device whose tensors are in Metal memory."""

    #: Torch's name for the device.
    device: str

    def why_not(self) -> str | None:
        """Why there is no device; None if there is one."""

    def probe(self) -> str | None:
        """Why tensors do not lead to an MTLBuffer; None if they do. Call it before `locate`."""

    def locate(self, tensor: Tensor) -> tuple[int, int]:
        """The MTLBuffer of a tensor, and the tensor's offset in it in bytes."""

    def synchronize(self) -> None:
        """Wait for torch's work."""

    def settled(self, run: Run) -> Run:
        """`run`, or a wrapper that makes its results visible to torch."""

    def torch_version(self) -> tuple[int, int]:
        """Major and minor version."""

    def torch_library(self) -> str:
        """Path of libtorch_cpu, which contains the streams."""

    def has_shaders(self) -> bool:
        """Whether torch.mps.compile_shader exists."""

    def compile_shader(self, source: str) -> Any:
        """torch.mps.compile_shader."""

    def identity(self) -> str:
        """The system and machine for which a self-test's verdict is valid."""


class Device:
    """Torch's MPS device."""

    device = "mps"

    def __init__(self) -> None:
        self.locate = by_storage

    def why_not(self) -> str | None:
        """Why there is no device."""
        if sys.platform != "darwin":
            return f"Metal exists on macOS only, and this is {sys.platform}"
        if platform.machine() != "arm64":
            return f"this Python runs on {platform.machine()} (want arm64)"
        version = platform.mac_ver()[0]  # empty where a sandbox hides the file with the version
        if version and int(version.split(".")[0]) < 14:
            return f"this is macOS {version} (want 14 or newer)"
        if not torch.backends.mps.is_available():
            return f"torch {torch.__version__} has no MPS device here"
        return None

    def probe(self) -> str | None:
        """Find out where torch keeps the MTLBuffer.

        A buffer object is in memory from malloc; the address of a buffer's contents, which later
        versions of torch may return instead, is not. Only a fresh tensor is tested, because the
        pointer of a view does not lead to the buffer.
        """
        malloc_size = ctypes.CDLL("/usr/lib/libSystem.B.dylib").malloc_size
        malloc_size.argtypes, malloc_size.restype = (ctypes.c_void_p,), ctypes.c_size_t
        fresh = torch.empty(64, device=self.device)
        for locate in (by_storage, by_dlpack):
            handle, offset = locate(fresh)
            if offset == 0 and malloc_size(handle) > 0:
                self.locate = locate
                return None
        return f"torch {torch.__version__} does not tell the MTLBuffer of a tensor"

    def synchronize(self) -> None:
        """Wait for the current stream."""
        torch.mps.synchronize()

    def settled(self, run: Run) -> Run:
        """Return `run`: torch orders its work after ours, and waits when results are read."""
        return run

    def has_shaders(self) -> bool:
        """Whether torch is 2.7 or later."""
        return hasattr(torch.mps, "compile_shader")

    def torch_version(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = torch.__version__.split(".")[:2]
        return int(major), int(minor)

    def torch_library(self) -> str:
        """Path of libtorch_cpu."""
        return str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.dylib")

    def compile_shader(self, source: str) -> Any:
        """torch.mps.compile_shader."""
        return torch.mps.compile_shader(source)

    def identity(self) -> str:
        """Build of macOS and of the machine."""
        return f"{platform.platform()} {platform.version()}"


def by_storage(tensor: Tensor) -> tuple[int, int]:
    """In all versions so far, the storage's data pointer in torch is the MTLBuffer."""
    offset = int(tensor.storage_offset())
    return tensor.untyped_storage().data_ptr(), offset * tensor.element_size()


class _DLTensor(ctypes.Structure):
    """The first fields of DLManagedTensor in the DLPack standard."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 4),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


def by_dlpack(tensor: Tensor) -> tuple[int, int]:
    """By the DLPack standard, the data pointer of a Metal tensor is the MTLBuffer."""
    capsule = tensor.detach().__dlpack__()
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.argtypes, get.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
    head = _DLTensor.from_address(get(capsule, b"dltensor"))
    return head.data or 0, head.byte_offset


@cache
def carrier() -> Carrier:
    """Torch's MPS device or, if the environment names a simulator, the simulated device."""
    if os.environ.get(SIMULATOR) and sys.platform != "darwin":
        simulator: Carrier = importlib.import_module("natten_mps_simulator").Carrier()
        return simulator
    return Device()
