# SPDX-License-Identifier: MIT
"""How releases up to 0.17.3 count: biases and softmax too."""

from . import flops

add_natten_handle, get_flops = flops.with_bias
