# SPDX-License-Identifier: MIT
"""The layers of 0.14 and 0.15, which pad small inputs."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional

from natten_mps._carriers import one_node

from .modules import SplitAttentionModule, check_rank


def check_window(kernel_size: int, dilation: int) -> None:
    """The assertions of upstream's constructors."""
    if kernel_size <= 1 or kernel_size % 2 == 0:
        raise AssertionError(
            f"Kernel size must be an odd number greater than 1, got {kernel_size}."
        )
    if dilation < 1:
        raise AssertionError(f"Dilation must be greater than or equal to 1, got {dilation}.")


class PaddedModule(SplitAttentionModule):
    """Pads inputs that are smaller than the window with zeros before the projection. The padding
    therefore takes part in attention, with keys and values equal to the projection's bias."""

    _qk: ClassVar[Callable[..., Tensor]]
    _av: ClassVar[Callable[..., Tensor]]
    _bias_name: ClassVar[str]

    kernel_size: int
    dilation: int

    def _windows(self) -> tuple[int, ...]:
        """Kernel size times dilation, per axis."""
        raise NotImplementedError

    def _arguments(self) -> tuple[int, ...]:
        """Arguments of the split operations after the tensors."""
        return self.kernel_size, self.dilation

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, axes..., C] to the same shape."""
        check_rank(type(self).__name__, self._rank, x)
        arguments = self._arguments()
        out = self._attend(
            _pad(x, self._windows()),
            lambda query, key: self._qk(query, key, self.rpb, *arguments),
            lambda attn, value: self._av(attn, value, *arguments),
        )
        return self._finish(_without_padding(out, x))

    def _repr_fields(self) -> dict[str, Any]:
        return {
            "head_dim": self.head_dim,
            "num_heads": self.num_heads,
            "kernel_size": self.kernel_size,
            "dilation": self.dilation,
            self._bias_name: self.rpb is not None,
        }


class UniformModule(PaddedModule):
    """A layer with one kernel size and one dilation for all axes."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        kernel_size: int,
        dilation: int | None = 1,
        bias: bool = True,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        dilation = 1 if dilation is None else dilation
        check_window(kernel_size, dilation)
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.window_size = kernel_size * dilation
        rpb_shape = (2 * kernel_size - 1,) * self._rank if bias else None
        self._build(dim, num_heads, rpb_shape, qkv_bias, qk_scale, attn_drop, proj_drop)

    def _windows(self) -> tuple[int, ...]:
        return (self.window_size,) * self._rank


@one_node
def _without_padding(out: Tensor, x: Tensor) -> Tensor:
    """Crops out [B, axes..., heads, head_dim] to the size of x [B, axes..., C]."""
    for axis, length in enumerate(x.shape[1:-1], start=1):
        out = out.narrow(axis, 0, length)
    return out


@one_node
def _pad(x: Tensor, windows: tuple[int, ...]) -> Tensor:
    """Pads the axes of [B, axes..., C] that are shorter than their window with zeros at the end."""
    missing = [max(0, w - n) for w, n in zip(windows, x.shape[1:-1], strict=True)]
    if not any(missing):
        return x
    padding = [0, 0]
    for n in reversed(missing):
        padding += [0, n]
    return functional.pad(x, padding)
