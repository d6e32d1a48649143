# SPDX-License-Identifier: MIT
"""What `python -m natten_mps.doctor --report FILE` does: try everything on this machine's GPU, and
write down what came of it.

- `items`: what is tried, each thing on its own
- `worker`: the process that tries, and writes FILE after each item
- `supervisor`: starts workers until all is done or the time is over; one that a failed assertion
  of Metal ends, or that hangs, costs one item
- `summary`: the report for people
"""
