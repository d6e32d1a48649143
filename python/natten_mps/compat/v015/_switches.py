# SPDX-License-Identifier: MIT
"""Switches between CUDA kernels, which change nothing here."""


def enable_tf32() -> bool:
    """Returns False: there are no TF32 kernels to enable."""
    return False


def disable_tf32() -> bool:
    """Returns False: TF32 is never in use."""
    return False


def enable_tiled_na() -> None:
    """Does nothing."""


def disable_tiled_na() -> None:
    """Does nothing."""


def enable_gemm_na() -> None:
    """Does nothing."""


def disable_gemm_na() -> None:
    """Does nothing."""
