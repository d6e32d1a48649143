# SPDX-License-Identifier: MIT
"""ctypes mirror of include/natten_mps.h: structs, constants and the table of functions."""

import ctypes
from ctypes import (
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_double,
    c_int32,
    c_int64,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import TypeVar

ABI_VERSION = 2

OK = 0
INVALID_ARGUMENT = 1
UNSUPPORTED = 2
BAD_HANDLE = 3
OUT_OF_MEMORY = 4
DEVICE_ERROR = 5
INTERNAL = 6
INTERRUPTED = 7

FLOAT32 = 1
FLOAT16 = 2
BFLOAT16 = 3
FLOAT64 = 4

ATTN_FORWARD = 1
ATTN_BACKWARD = 2
QK_FORWARD = 3
QK_BACKWARD = 4
AV_FORWARD = 5
AV_BACKWARD = 6

HOST = 0
METAL = 1

SCALE = 1
RPB = 2
RAGGED = 4
MASK_FIRST = 8

STREAM_OWN = 1
STREAM_TORCH = 2
STREAM_TORCH_QUEUE = 3

BIND_TENSOR = 1
BIND_BYTES = 2
BIND_SCRATCH = 3
MAX_BINDINGS = 31

#: Fields of `Args` that are tensors, in header order.
ROLES = (
    "query", "key", "value", "attn", "rpb", "extra_key", "extra_value", "out", "lse", "d_out",
    "d_lse", "d_attn", "d_query", "d_key", "d_value", "d_rpb", "d_extra_key", "d_extra_value",
)  # fmt: skip


class Error(Structure):
    """natten_mps_error."""

    _fields_ = (
        ("size", c_uint64),
        ("status", c_int32),
        ("reserved", c_int32),
        ("message", c_char * 2032),
    )


class Axis(Structure):
    """natten_mps_axis."""

    _fields_ = (
        ("length", c_int64),
        ("kernel", c_int64),
        ("dilation", c_int64),
        ("stride", c_int64),
        ("query_step", c_int64),
        ("causal", c_int32),
        ("reserved", c_int32),
    )


class Range(Structure):
    """natten_mps_range."""

    _fields_ = (
        ("query_first", c_int64),
        ("query_count", c_int64),
        ("key_first", c_int64),
        ("key_count", c_int64),
    )


class Problem(Structure):
    """natten_mps_problem."""

    _fields_ = (
        ("size", c_uint64),
        ("op", c_int32),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("flags", c_int32),
        ("memory", c_int32),
        ("reserved", c_int32),
        ("batch", c_int64),
        ("heads", c_int64),
        ("kv_heads", c_int64),
        ("head_dim", c_int64),
        ("value_dim", c_int64),
        ("extra", c_int64),
        ("scale", c_double),
        ("axes", Axis * 3),
        ("ranges", Range * 3),
    )


class Tensor(Structure):
    """natten_mps_tensor."""

    _fields_ = (("data", c_void_p), ("offset", c_int64), ("strides", c_int64 * 6))


class Args(Structure):
    """natten_mps_args."""

    _fields_ = (
        ("size", c_uint64),
        ("num_threads", c_int32),
        ("reserved", c_int32),
        ("sizes", c_void_p),
        *((role, Tensor) for role in ROLES),
        ("interrupt", c_void_p),
        ("interrupt_context", c_void_p),
    )


class BackendInfo(Structure):
    """natten_mps_backend_info."""

    _fields_ = (
        ("size", c_uint64),
        ("available", c_int32),
        ("reserved", c_int32),
        ("name", c_char * 16),
        ("details", c_char * 1000),
    )


class PlanInfo(Structure):
    """natten_mps_plan_info."""

    _fields_ = (
        ("size", c_uint64),
        ("scratch_bytes", c_int64),
        ("backend", c_char * 16),
        ("variant", c_char * 224),
    )


class WindowInfo(Structure):
    """natten_mps_window_info."""

    _fields_ = (
        ("size", c_uint64),
        ("first", c_int64),
        ("count", c_int64),
        ("step", c_int64),
        ("slot", c_int64),
    )


class StreamOptions(Structure):
    """natten_mps_stream_options."""

    _fields_ = (
        ("size", c_uint64),
        ("stream", c_int32),
        ("reserved", c_int32),
        ("torch_library", c_char_p),
    )


class Binding(Structure):
    """natten_mps_binding."""

    _fields_ = (
        ("kind", c_int32),
        ("index", c_int32),
        ("offset", c_int64),
        ("length", c_int64),
    )


class Dispatch(Structure):
    """natten_mps_dispatch."""

    _fields_ = (
        ("size", c_uint64),
        ("bytes", c_void_p),
        ("bytes_capacity", c_uint64),
        ("bytes_length", c_uint64),
        ("count", c_int32),
        ("bindings_count", c_int32),
        ("groups", c_int64 * 3),
        ("threads", c_int64 * 3),
        ("function", c_char * 256),
        ("bindings", Binding * MAX_BINDINGS),
    )


#: Name of each exported function -> (result, arguments). `args` and `error` of run are declared as
#: plain addresses because it is called with packed bytes (see _plan.py).
FUNCTIONS = {
    "natten_mps_version": (c_char_p, ()),
    "natten_mps_abi_version": (c_uint32, ()),
    "natten_mps_abi_minimum": (c_uint32, ()),
    "natten_mps_set_num_threads": (c_int32, (c_int32, POINTER(Error))),
    "natten_mps_get_num_threads": (c_int32, ()),
    "natten_mps_backend": (c_int32, (c_int32, POINTER(BackendInfo), POINTER(Error))),
    "natten_mps_supports": (c_int32, (POINTER(Problem), c_char_p, POINTER(Error))),
    "natten_mps_plan_create": (
        c_int32,
        (POINTER(Problem), c_char_p, POINTER(c_uint64), POINTER(Error)),
    ),
    "natten_mps_plan_info_get": (c_int32, (c_uint64, POINTER(PlanInfo), POINTER(Error))),
    "natten_mps_run": (c_int32, (c_uint64, c_void_p, c_void_p)),
    "natten_mps_plan_destroy": (c_int32, (c_uint64, POINTER(Error))),
    "natten_mps_stream_set": (c_int32, (POINTER(StreamOptions), POINTER(Error))),
    "natten_mps_plan_launch": (
        c_int32,
        (c_uint64, c_void_p, c_int32, POINTER(Dispatch), c_void_p),
    ),
    "natten_mps_plan_source": (
        c_int32,
        (c_uint64, c_char_p, c_char_p, c_uint64, POINTER(c_uint64), POINTER(Error)),
    ),
    "natten_mps_attention": (
        c_int32,
        (
            c_int32,
            c_int32,
            POINTER(c_int64),
            POINTER(c_int64),
            c_void_p,
            c_void_p,
            c_void_p,
            c_void_p,
            POINTER(Error),
        ),
    ),
    "natten_mps_window": (
        c_int32,
        (POINTER(Axis), c_int32, c_int64, POINTER(WindowInfo), POINTER(Error)),
    ),
    "natten_mps_window_range": (c_int32, (POINTER(Axis), POINTER(Range), POINTER(Error))),
}


def declare(library: ctypes.CDLL) -> None:
    """Set the types of all library functions; raise AttributeError if a function is missing."""
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


Kind = TypeVar("Kind", bound=Structure)


def new(kind: type[Kind]) -> Kind:
    """Return a zeroed struct with its size field set."""
    value = kind()
    value.size = ctypes.sizeof(kind)
    return value
