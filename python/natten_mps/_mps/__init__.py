# SPDX-License-Identifier: MIT
"""Passes tensors on torch's MPS device to the library.

- `device`: the device as the library sees it, where its buffers are, and its replacement in tests
- `tiers`: how the library's work is ordered with torch's own, decided once per process
- `launcher`: the tier in which torch launches the library's kernels
- `selftest`, `verdict`: test whether a tier computes correctly here, and store the result
"""
