# SPDX-License-Identifier: MIT
"""For exporting programs from PyTorch: the operations in terms of standard ones."""

from collections.abc import Callable
from typing import Any

import torch

from . import _operation, _torch_ops


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return a decomposition into PyTorch operations for each operation of `torch.ops.natten_mps`.

    Returns:
        A table for `torch.export.ExportedProgram.run_decompositions`, to use alone or merged into
        another. torch.onnx.export finds it automatically, and recorded traces (torch.jit.trace) do
        not need it.

    Examples:
        >>> import torch
        >>> from natten_mps import NeighborhoodAttention1D
        >>> from natten_mps.export import decompositions
        >>> program = torch.export.export(NeighborhoodAttention1D(8, 1, 3), (torch.rand(1, 9, 8),))
        >>> table = {**torch.export.default_decompositions(), **decompositions()}
        >>> program = program.run_decompositions(table)
        >>> [node.target for node in program.graph.nodes if "natten_mps" in str(node.target)]
        []
    """
    return {
        getattr(torch.ops.natten_mps, op.name).default: _torch_ops.decomposition(op)
        for op in (_operation.ATTN, _operation.QK, _operation.AV)
    }
