# SPDX-License-Identifier: MIT
"""For programs that leave PyTorch: the operations as standard ones."""

from collections.abc import Callable
from typing import Any

import torch

from . import _operation, _torch_ops


def decompositions() -> dict[Any, Callable[..., Any]]:
    """What each operation of `torch.ops.natten_mps` is in operations of PyTorch.

    Returns:
        A table for `torch.export.ExportedProgram.run_decompositions`, by itself or as part of
        another. torch.onnx.export finds the same by itself, and recorded traces (torch.jit.trace)
        need none.

    Example:
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
