# SPDX-License-Identifier: MIT
"""Recognizes ordinary eager calls on ordinary tensors.

The test fails closed: of everything that torch may wrap around a tensor or a call, only what is
listed here goes straight to a backend. All other calls use the dispatcher (see _torch_ops).
"""

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet
from torch.nn import Parameter

_include = torch._C._dispatch_tls_local_include_set
_exclude = torch._C._dispatch_tls_local_exclude_set
_keys = torch._C._dispatch_keys


def _bits(*names: str) -> int:
    """Bits of the dispatch keys that this version of torch has."""
    bits = 0
    for name in names:
        key = getattr(DispatchKey, name, None)
        if key is not None:
            bits |= DispatchKeySet(key).raw_repr()
    return bits


#: Keys that torch includes for a thread without tracing, transforms or modes.
_CALM = _bits("BackendSelect", "ADInplaceOrView")
#: Keys that are excluded while autocast is off, on the devices that the backends support.
_AUTOCAST = _bits("AutocastCPU", "AutocastMPS") & ~_bits("CPU", "MPS")
_DENSE = {_bits("CPU"): "cpu", _bits("MPS"): "mps"}
#: Keys of a plain tensor besides its backend's, unless it was made in inference mode.
_USUAL = _bits("ADInplaceOrView", "AutocastCPU", "AutocastMPS", "AutogradCPU", "AutogradMPS")
_BACKENDS = _bits("AutogradCPU") & _bits("CPU") | _bits("AutogradMPS") & _bits("MPS")
_USUAL &= ~_BACKENDS

_known: dict[int, str | None] = {}


def is_calm() -> bool:
    """Whether no tracing, transform or mode sees the operations that this thread calls."""
    return (
        not _include().raw_repr() & ~_CALM
        and torch.autograd.forward_ad._current_level < 0
        and (not torch._C._len_torch_function_stack() or _only_default_devices())
    )


def _only_default_devices() -> bool:
    """Whether the only active function modes are those of torch.set_default_device, which affect
    only functions that create tensors."""
    from torch.overrides import _get_current_function_mode_stack
    from torch.utils._device import DeviceContext

    return all(type(mode) is DeviceContext for mode in _get_current_function_mode_stack())


def autocasts() -> bool:
    """Whether autocast may be on for the CPU or for MPS."""
    return _exclude().raw_repr() & _AUTOCAST != _AUTOCAST


def kind_of(tensor: Tensor) -> str | None:
    """`"cpu"` or `"mps"` for a plain, dense tensor of that device; None for anything else."""
    if type(tensor) is not Tensor and type(tensor) is not Parameter:
        return None
    bits = _keys(tensor).raw_repr()
    try:
        return _known[bits]
    except KeyError:
        kind = _known[bits] = _DENSE.get(bits & ~_USUAL)
        return kind
