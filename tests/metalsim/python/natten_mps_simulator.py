# SPDX-License-Identifier: MIT
"""The simulated Metal as natten_mps's carrier: tensors in host memory stand in for MPS tensors.

NATTEN_MPS_SIMULATOR names the library and METALSIM_TORCH the version of torch that it plays; see
metalsim.h for both.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_ERROR = 4096
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "metalsim_set": (
        ctypes.c_int,
        (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t),
    ),
    "metalsim_findings": (ctypes.c_size_t, (ctypes.c_char_p, ctypes.c_size_t)),
    "metalsim_report": (ctypes.c_size_t, (ctypes.c_char_p, ctypes.c_size_t)),
    "metalsim_clear": (None, ()),
    "metalsim_stat": (ctypes.c_uint64, (ctypes.c_char_p,)),
    "metalsim_live": (ctypes.c_uint64, (ctypes.c_char_p,)),
    "metalsim_unfinished": (ctypes.c_uint64, ()),
    "metalsim_register": (ctypes.c_uint64, (ctypes.c_void_p, ctypes.c_size_t)),
    "metalsim_undefined": (None, (ctypes.c_uint64,)),
    "metalsim_allocate": (ctypes.c_uint64, (ctypes.c_size_t,)),
    "metalsim_free": (None, (ctypes.c_uint64,)),
    "metalsim_address": (ctypes.c_void_p, (ctypes.c_uint64,)),
    "metalsim_stream_read": (
        None,
        (
            ctypes.c_int,
            ctypes.c_uint64,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_size_t,
        ),
    ),
    "metalsim_stream_use": (None, (ctypes.c_int,)),
    "metalsim_stream_current": (ctypes.c_int, ()),
    "metalsim_stream_synchronize": (None, (ctypes.c_int,)),
    "metalsim_stream_fill": (
        None,
        (ctypes.c_int, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint8),
    ),
    "metalsim_stream_write": (
        None,
        (ctypes.c_int, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t),
    ),
    "metalsim_stream_copy": (
        None,
        (
            ctypes.c_int,
            ctypes.c_uint64,
            ctypes.c_size_t,
            ctypes.c_uint64,
            ctypes.c_size_t,
            ctypes.c_size_t,
        ),
    ),
    "metalsim_shader": (ctypes.c_uint64, (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)),
    "metalsim_shader_threads": (ctypes.c_uint64, (ctypes.c_uint64, ctypes.c_char_p)),
    "metalsim_shader_launch": (
        ctypes.c_int,
        (
            ctypes.c_uint64,
            ctypes.c_char_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_size_t,
        ),
    ),
}


class _Argument(ctypes.Structure):
    """metalsim_argument."""

    _fields_ = (
        ("buffer", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("bytes", ctypes.c_void_p),
        ("length", ctypes.c_uint64),
    )


@cache
def library() -> ctypes.CDLL:
    """The simulator that NATTEN_MPS_SIMULATOR names."""
    lib = ctypes.CDLL(os.environ["NATTEN_MPS_SIMULATOR"])
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def set_option(name: str, value: str | int) -> None:
    """Change a setting of metalsim.h; ValueError with the reason."""
    error = ctypes.create_string_buffer(_ERROR)
    if library().metalsim_set(name.encode(), str(value).encode(), error, len(error)):
        raise ValueError(error.value.decode())


def _text(function: Callable[[Any, int], int]) -> str:
    length = function(None, 0)
    text = ctypes.create_string_buffer(length + 1)
    function(text, len(text))
    return text.value.decode()


def findings() -> list[str]:
    """The faults seen so far."""
    return _text(library().metalsim_findings).splitlines()


def report() -> str:
    """Findings, live objects, work nobody waited for, and counters."""
    return _text(library().metalsim_report)


def clear() -> None:
    """Forget findings and zero the counters."""
    library().metalsim_clear()


def stat(name: str) -> int:
    """A counter."""
    value: int = library().metalsim_stat(name.encode())
    if value == 2**64 - 1:
        raise ValueError(f"no counter is called {name}")
    return value


def live(name: str) -> int:
    """How many objects of a class there are."""
    return int(library().metalsim_live(name.encode()))


#: Storages that encoded work may use, until somebody waits: torch's MPS allocator gives memory to
#: later work of the stream only, the host's would give it to anybody.
_in_flight: list[torch.UntypedStorage] = []


def locate(tensor: Tensor) -> tuple[int, int]:
    """The MTLBuffer that a tensor's storage plays, and the tensor's offset in bytes."""
    storage = tensor.untyped_storage()
    _in_flight.append(storage)
    handle = library().metalsim_register(storage.data_ptr(), storage.nbytes())
    return handle, tensor.storage_offset() * tensor.element_size()


class PrivateTensor:
    """A tensor in memory that only the GPU reaches, as torch's allocator gives it out.

    The host faults where it touches the elements; after `free` the next tensor of the size gets
    the same memory, whatever work the stream has still to do with it.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values.contiguous()
        self._bytes = values.numel() * values.element_size()
        self._handle = library().metalsim_allocate(self._bytes)
        address = library().metalsim_address(self._handle)
        memory = (ctypes.c_char * self._bytes).from_address(address)
        self.tensor = torch.frombuffer(memory, dtype=values.dtype).view(values.shape)
        self.address = address
        library().metalsim_stream_write(0, self._handle, 0, self._values.data_ptr(), self._bytes)

    def free(self) -> None:
        """Free the memory."""
        library().metalsim_free(self._handle)

    def read(self) -> Tensor:
        """Wait for the elements and copy them."""
        out = torch.empty_like(self._values)
        library().metalsim_stream_read(0, self._handle, 0, out.data_ptr(), self._bytes)
        return out


class _Shader:
    """What torch.mps.compile_shader returns: a kernel by its name."""

    def __init__(self, source: str) -> None:
        error = ctypes.create_string_buffer(_ERROR)
        self._shader = library().metalsim_shader(source.encode(), error, len(error))
        if not self._shader:
            raise RuntimeError(error.value.decode())

    def __getattr__(self, kernel: str) -> Callable[..., None]:
        def launch(*arguments: Tensor, threads: Sequence[int], group_size: Sequence[int]) -> None:
            list_of = (_Argument * len(arguments))()
            for argument, tensor in zip(list_of, arguments, strict=True):
                argument.buffer, argument.offset = locate(tensor)
            error = ctypes.create_string_buffer(_ERROR)
            grid, group = (ctypes.c_uint64 * 3)(*threads), (ctypes.c_uint64 * 3)(*group_size)
            failed = library().metalsim_shader_launch(
                self._shader, kernel.encode(), list_of, len(list_of), grid, group, error, len(error)
            )
            if failed:
                raise RuntimeError(error.value.decode())
            synchronize()

        threads = library().metalsim_shader_threads(self._shader, kernel.encode())
        launch.max_threads_per_threadgroup = threads  # type: ignore[attr-defined]
        return launch


def synchronize() -> None:
    """Run what is encoded on the thread's current stream; RuntimeError for what went wrong."""
    before = len(findings())
    library().metalsim_stream_synchronize(library().metalsim_stream_current())
    if library().metalsim_unfinished() == 0:
        _in_flight.clear()
    new = findings()[before:]
    if new:
        raise RuntimeError("; ".join(new))


class Carrier:
    """Host memory in place of torch's MPS device."""

    device = "cpu"

    def why_not(self) -> str | None:
        """Why there is no device."""
        path = Path(os.environ["NATTEN_MPS_SIMULATOR"])
        return None if path.exists() else f"there is no simulator at {path}"

    def probe(self) -> str | None:
        """Every tensor leads to a buffer."""
        return None

    def locate(self, tensor: Tensor) -> tuple[int, int]:
        """The MTLBuffer that a tensor's storage plays, and the tensor's offset in bytes."""
        return locate(tensor)

    def synchronize(self) -> None:
        """Wait for the current stream."""
        synchronize()

    def settled(self, run: Callable[[int, bytes, int], int]) -> Callable[[int, bytes, int], int]:
        """`run`, and wait: torch's host operations do not know the stream."""

        def waited(plan: int, args: bytes, error: int) -> int:
            status = run(plan, args, error)
            synchronize()
            return status

        return waited

    def torch_version(self) -> tuple[int, int]:
        """The version that METALSIM_TORCH names, else this torch's."""
        version = os.environ.get("METALSIM_TORCH", torch.__version__)
        major, minor = version.split(".")[:2]
        return int(major), int(minor)

    def torch_library(self) -> str:
        """The simulator exports torch's streams."""
        return os.environ["NATTEN_MPS_SIMULATOR"]

    def has_shaders(self) -> bool:
        """Whether there is a compile_shader."""
        return self.torch_version() >= (2, 7)

    def compile_shader(self, source: str) -> Any:
        """Compile as torch.mps.compile_shader does."""
        return _Shader(source)

    def identity(self) -> str:
        """The simulator's content, by its folder, and what it plays."""
        settings = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("METALSIM_"))
        return " ".join([os.environ["NATTEN_MPS_SIMULATOR"], *settings])
