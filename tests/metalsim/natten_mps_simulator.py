# SPDX-License-Identifier: MIT
"""CPU tensors that play MPS tensors on the simulated Metal, so that the package's own tests run the
whole way from Python to the shaders. natten_mps imports it where NATTEN_MPS_SIMULATOR is set."""

import ctypes
import os
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_size_t, c_uint64, c_void_p
from typing import Any

from torch import Tensor

FUNCTIONS = {
    "metalsim_set": (c_int, (c_char_p, c_char_p, c_char_p, c_size_t)),
    "metalsim_findings": (c_size_t, (c_char_p, c_size_t)),
    "metalsim_finding_count": (c_size_t, ()),
    "metalsim_clear": (None, ()),
    "metalsim_stat": (c_uint64, (c_char_p,)),
    "metalsim_live": (c_uint64, (c_char_p,)),
    "metalsim_register": (c_uint64, (c_void_p, c_size_t)),
    "metalsim_unregister": (None, (c_void_p,)),
    "metalsim_stream_use": (None, (c_int,)),
    "metalsim_stream_current": (c_int, ()),
    "metalsim_stream_synchronize": (None, (c_int,)),
    "metalsim_stream_fill": (None, (c_int, c_uint64, c_size_t, c_size_t, ctypes.c_uint8)),
    "metalsim_stream_write": (None, (c_int, c_uint64, c_size_t, c_void_p, c_size_t)),
    "metalsim_stream_copy": (None, (c_int, c_uint64, c_size_t, c_uint64, c_size_t, c_size_t)),
    "metalsim_shader": (c_uint64, (c_char_p, c_char_p, c_size_t)),
    "metalsim_shader_release": (None, (c_uint64,)),
    "metalsim_shader_launch": (
        c_int,
        (c_uint64, c_char_p, c_void_p, c_size_t, c_uint64 * 3, c_uint64 * 3, c_char_p, c_size_t),
    ),
}
TEXT = 1 << 16


class Argument(ctypes.Structure):
    _fields_ = (
        ("buffer", c_uint64),
        ("offset", c_uint64),
        ("bytes", c_void_p),
        ("length", c_uint64),
    )


def load() -> ctypes.CDLL:
    library = ctypes.CDLL(os.environ["NATTEN_MPS_SIMULATOR"])
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Carrier:
    """natten_mps._carrier.Carrier on the simulator. With `device` "none" CPU tensors are the host
    memory that they are on a Mac."""

    device = "cpu"

    def __init__(self) -> None:
        self.simulator = load()

    def why_not(self) -> str | None:
        return None

    def probe(self) -> str | None:
        return None

    def locate(self, tensor: Tensor) -> tuple[int, int]:
        storage = tensor.untyped_storage()
        handle = self.simulator.metalsim_register(storage.data_ptr(), storage.nbytes())
        return handle, tensor.storage_offset() * tensor.element_size()

    def synchronize(self) -> None:
        self.simulator.metalsim_stream_synchronize(self.simulator.metalsim_stream_current())

    def settled(self, run: Callable[..., int]) -> Callable[..., int]:
        """Torch's CPU operations wait for no stream, so every run does."""

        def waited(plan: int, args: bytes, error: int) -> int:
            status = run(plan, args, error)
            self.synchronize()
            return status

        return waited

    def torch_version(self) -> tuple[int, int]:
        major, minor = os.environ.get("METALSIM_TORCH", "2.15").split(".")
        return int(major), int(minor)

    def torch_library(self) -> str:
        return os.environ["NATTEN_MPS_SIMULATOR"]

    def has_shaders(self) -> bool:
        return True

    def compile_shader(self, source: str) -> "Shader":
        return Shader(self, source)

    def identity(self) -> str:
        path = os.environ["NATTEN_MPS_SIMULATOR"]
        return f"{path} {os.stat(path).st_mtime_ns}"

    def findings(self) -> str:
        """What the simulator has found fault with so far."""
        text = ctypes.create_string_buffer(TEXT)
        self.simulator.metalsim_findings(text, TEXT)
        return text.value.decode()


class Shader:
    """What torch.mps.compile_shader returns: kernels by name."""

    def __init__(self, carrier: Carrier, source: str) -> None:
        why = ctypes.create_string_buffer(TEXT)
        self._carrier = carrier
        self._shader = carrier.simulator.metalsim_shader(source.encode(), why, TEXT)
        if self._shader == 0:
            raise RuntimeError(f"Failed to create metal library, error: {why.value.decode()}")

    def __getattr__(self, kernel: str) -> Callable[..., None]:
        def launch(*tensors: Tensor, threads: list[int], group_size: list[int]) -> None:
            arguments = (Argument * len(tensors))()
            for argument, tensor in zip(arguments, tensors, strict=True):
                argument.buffer, argument.offset = self._carrier.locate(tensor)
            why: Any = ctypes.create_string_buffer(TEXT)
            sizes = [(c_uint64 * 3)(*size) for size in (threads, group_size)]
            simulator = self._carrier.simulator
            failed = simulator.metalsim_shader_launch(
                self._shader, kernel.encode(), arguments, len(tensors), *sizes, why, TEXT
            )
            if failed:
                raise RuntimeError(why.value.decode())
            self._carrier.synchronize()

        return launch
