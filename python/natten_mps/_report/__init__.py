# SPDX-License-Identifier: MIT
"""Implements `python -m natten_mps.doctor --report FILE`: tests everything on this machine's GPU
and writes the results to FILE.

- `items`: the individual tests
- `worker`: a process that runs tests and updates FILE after each item
- `supervisor`: starts workers until everything is done or time is up; if a failed assertion in
  Metal kills a worker, or a worker hangs, one item is lost
- `summary`: the report as text
"""
