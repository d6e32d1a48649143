# SPDX-License-Identifier: MIT
"""How tensors of torch's MPS device reach the library.

- `device`: the device as the library sees it: where its buffers are, or what tests put in its place
- `tiers`: in which order with torch's own work the library's runs, decided once a process
- `launcher`: the tier in which torch launches the library's kernels
- `selftest`, `verdict`: whether a tier computes rightly here, and the memory of it
"""
