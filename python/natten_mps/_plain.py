# SPDX-License-Identifier: MIT
"""What is positively known to be an ordinary eager call of ordinary tensors.

The test fails closed: of everything that torch may wrap around a tensor or a call, only what is
listed here may go straight to a backend. All else goes through the dispatcher (see _torch_ops).
"""

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet
from torch.nn import Parameter

_include = torch._C._dispatch_tls_local_include_set
_exclude = torch._C._dispatch_tls_local_exclude_set
_keys = torch._C._dispatch_keys


def _bits(*names: str) -> int:
    """Bits of dispatch keys, as far as this version of torch has them."""
    bits = 0
    for name in names:
        key = getattr(DispatchKey, name, None)
        if key is not None:
            bits |= DispatchKeySet(key).raw_repr()
    return bits


#: What torch includes for a thread that nothing traces, transforms or watches.
_CALM = _bits("BackendSelect", "ADInplaceOrView")
#: Excluded while autocast is off; the devices that the package's backends compute on.
_AUTOCAST = _bits("AutocastCPU", "AutocastMPS") & ~_bits("CPU", "MPS")
_DENSE = {_bits("CPU"): "cpu", _bits("MPS"): "mps"}
#: What a plain tensor has beside its backend, unless it was made in inference mode.
_USUAL = _bits("ADInplaceOrView", "AutocastCPU", "AutocastMPS", "AutogradCPU", "AutogradMPS")
_BACKENDS = _bits("AutogradCPU") & _bits("CPU") | _bits("AutogradMPS") & _bits("MPS")
_USUAL &= ~_BACKENDS

_known: dict[int, str | None] = {}


def is_calm() -> bool:
    """Whether nothing traces, transforms or watches this thread's calls of operations."""
    return (
        not _include().raw_repr() & ~_CALM
        and torch.autograd.forward_ad._current_level < 0
        and (not torch._C._len_torch_function_stack() or _only_default_devices())
    )


def _only_default_devices() -> bool:
    """Whether the modes that see calls of functions are those of torch.set_default_device, which
    matter only to functions that make tensors of nothing."""
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
