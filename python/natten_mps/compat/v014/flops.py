# SPDX-License-Identifier: MIT
"""Operation counts of the 0.14 operations for fvcore."""

from typing import Any

from .._common.flops import add_handles, av_macs, count, qk_macs

qk_1d_rpb_flop = qk_rpb_flop = qk_macs
av_1d_flop = av_flop = av_macs

_HANDLES = {
    "NATTEN1DQKRPBFunction": qk_1d_rpb_flop,
    "NATTEN1DAVFunction": av_1d_flop,
    "NATTEN2DQKRPBFunction": qk_rpb_flop,
    "NATTEN2DAVFunction": av_flop,
}


def add_natten_handle(flop_ctr: Any) -> Any:
    """Lets an fvcore FlopCountAnalysis count neighborhood attention; returns it."""
    return add_handles(flop_ctr, _HANDLES)


def get_flops(model: Any, input: Any, disable_warnings: bool = False) -> float:
    """Multiply-accumulates of ``model(input)``."""
    return count(model, input, _HANDLES, disable_warnings)
