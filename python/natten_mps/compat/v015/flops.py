# SPDX-License-Identifier: MIT
"""Operation counts of the 0.15 operations for fvcore."""

from typing import Any

from .._common.flops import add_handles, av_macs, count, qk_macs

qk_1d_rpb_flop = qk_2d_rpb_flop = qk_3d_rpb_flop = qk_macs
av_1d_flop = av_2d_flop = av_3d_flop = av_macs

_HANDLES = {
    "NeighborhoodAttention1DQKAutogradFunction": qk_1d_rpb_flop,
    "NeighborhoodAttention1DAVAutogradFunction": av_1d_flop,
    "NeighborhoodAttention2DQKAutogradFunction": qk_2d_rpb_flop,
    "NeighborhoodAttention2DAVAutogradFunction": av_2d_flop,
    "NeighborhoodAttention3DQKAutogradFunction": qk_3d_rpb_flop,
    "NeighborhoodAttention3DAVAutogradFunction": av_3d_flop,
}


def add_natten_handle(flop_ctr: Any) -> Any:
    """Lets an fvcore FlopCountAnalysis count neighborhood attention; returns it."""
    return add_handles(flop_ctr, _HANDLES)


def get_flops(model: Any, input: Any, disable_warnings: bool = False) -> float:
    """Multiply-accumulates of ``model(input)``."""
    return count(model, input, _HANDLES, disable_warnings)
