# SPDX-License-Identifier: MIT
"""``merge_attentions`` with upstream's checks and error messages."""

from collections.abc import Sequence

from torch import Tensor

from natten_mps import merge


def merge_attentions(
    outputs: Sequence[Tensor], lse_tensors: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Output [B, S, H, D] and lse [B, S, H] of one softmax over the keys of all attentions.
    Gradients follow this formula, whichever inputs require them."""
    if len(outputs) < 2:
        raise ValueError("`merge_attentions` expects at least two tensors.")
    if len(outputs) != len(lse_tensors):
        raise ValueError(
            "`merge_attentions` expected number of outputs and LSE tensors to match, got "
            f"{len(outputs)=} != {len(lse_tensors)}."
        )
    shape = outputs[0].shape
    for i, (output, lse) in enumerate(zip(outputs, lse_tensors, strict=True)):
        if output.dim() != 4:
            raise ValueError(
                "Output tensors must be rank-4 tensors with (batch, seq, heads, dim), but got "
                f"output {i} with rank={output.dim()}."
            )
        if output.shape != shape:
            raise ValueError(
                f"Output tensors must match in shape, but got output {i} with shape={output.shape}."
            )
        if lse.dim() != 3:
            raise ValueError(
                "LSE tensors must be rank-3 tensors with (batch, seq, heads), but got LSE "
                f"{i} with rank={lse.dim()}."
            )
        if lse.shape != shape[:3]:
            raise ValueError(
                "LSE tensors must match outputs in shape except last dim "
                f"(shape={shape}), but got LSE {i} with shape={lse.shape}."
            )
    return merge.merge_attentions(outputs, lse_tensors)
