# SPDX-License-Identifier: MIT
"""Tier 2: the library describes the launches, and torch.mps.compile_shader executes them."""

import ctypes
import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import _abi, _lib
from .device import Carrier

#: Number of constant arguments that stay cached as tensors: a problem has few, and each upload
#: costs as much as a launch. The oldest is dropped first.
CONSTANTS = 256
_FIRST_CAPACITY = 1 << 12


class Launcher:
    """Compiles and launches kernels on a device."""

    def __init__(self, device: Carrier) -> None:
        self._device = device
        self._kernels: dict[bytes, Any] = {}
        self._constants: dict[bytes, Tensor] = {}
        self._lock = threading.Lock()

    def launch(self, plan: int, args: bytes, error: int, tensors: Mapping[str, Tensor]) -> int:
        """Do what natten_mps_run does, and return the same kind of status."""
        library = _lib.library()
        dispatch = _abi.new(_abi.Dispatch)
        constants = ctypes.create_string_buffer(_FIRST_CAPACITY)
        scratch: dict[int, Tensor] = {}
        index = 0
        while True:
            dispatch.bytes, dispatch.bytes_capacity = ctypes.addressof(constants), len(constants)
            status = library.natten_mps_plan_launch(plan, args, index, dispatch, error)
            if dispatch.bytes_length > len(constants):
                constants = ctypes.create_string_buffer(dispatch.bytes_length)
                continue
            if status != _abi.OK or dispatch.count == 0:
                return int(status)
            self._launch_one(plan, dispatch, constants, tensors, scratch)
            index += 1
            if index == dispatch.count:
                return _abi.OK

    def _launch_one(
        self,
        plan: int,
        dispatch: _abi.Dispatch,
        constants: Any,
        tensors: Mapping[str, Tensor],
        scratch: dict[int, Tensor],
    ) -> None:
        arguments = []
        for binding in dispatch.bindings[: dispatch.bindings_count]:
            if binding.kind == _abi.BIND_TENSOR:
                tensor = tensors[_abi.ROLES[binding.index]]
                _check_inside(tensor)
                arguments.append(tensor)
            elif binding.kind == _abi.BIND_BYTES:
                end = binding.offset + binding.length
                arguments.append(self._constant(constants[binding.offset : end]))
            else:
                if binding.index not in scratch:
                    scratch[binding.index] = self._bytes(binding.length)
                arguments.append(scratch[binding.index])
        threads = [g * t for g, t in zip(dispatch.groups, dispatch.threads, strict=True)]
        kernel = self._kernel(plan, dispatch.function)
        kernel(*arguments, threads=threads, group_size=list(dispatch.threads))

    def _bytes(self, length: int) -> Tensor:
        return torch.empty(length, dtype=torch.uint8, device=self._device.device)

    def _constant(self, value: bytes) -> Tensor:
        with self._lock:
            found = self._constants.get(value)
            if found is None:
                while len(self._constants) >= CONSTANTS:
                    del self._constants[next(iter(self._constants))]
                host = torch.frombuffer(bytearray(value), dtype=torch.uint8)
                found = self._constants[value] = host.to(self._device.device)
            return found

    def _kernel(self, plan: int, function: bytes) -> Any:
        with self._lock:
            found = self._kernels.get(function)
            if found is None:
                compiled = self._device.compile_shader(source(plan, function))
                found = self._kernels[function] = getattr(compiled, function.decode())
            return found


def _check_inside(tensor: Tensor) -> None:
    """Raise ValueError if the storage is too short, as the library does in the other tiers."""
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    wanted = (tensor.storage_offset() + reach + 1) * tensor.element_size()
    held = tensor.untyped_storage().nbytes()
    if tensor.numel() and held < wanted:
        raise ValueError(f"the storage of a tensor has {held} bytes (want at least {wanted})")


def functions(plan: int, args: bytes) -> list[bytes]:
    """Names of the kernels that the plan would launch with these packed arguments."""
    library = _lib.library()
    dispatch, error = _abi.new(_abi.Dispatch), _abi.new(_abi.Error)
    constants = ctypes.create_string_buffer(_FIRST_CAPACITY)
    names: list[bytes] = []
    while True:
        dispatch.bytes, dispatch.bytes_capacity = ctypes.addressof(constants), len(constants)
        status = library.natten_mps_plan_launch(
            plan, args, len(names), dispatch, ctypes.addressof(error)
        )
        _lib.check(status, error)
        names.append(dispatch.function)
        if len(names) >= dispatch.count:
            return names


def source(plan: int, function: bytes) -> str:
    """The MSL source of a kernel that natten_mps_plan_launch returned."""
    library, error, length = _lib.library(), _abi.new(_abi.Error), ctypes.c_uint64()
    text, capacity = None, 0
    while True:
        status = library.natten_mps_plan_source(
            plan, function, text, capacity, ctypes.byref(length), error
        )
        _lib.check(status, error)
        if length.value < capacity:
            assert text is not None
            return text.value.decode()
        capacity = length.value + 1
        text = ctypes.create_string_buffer(capacity)
