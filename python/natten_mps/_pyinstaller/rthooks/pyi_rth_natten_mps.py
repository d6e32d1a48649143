# SPDX-License-Identifier: MIT
"""Runs before a frozen program. A process of its own for the self-test of a tier can only be the
program itself, which here is told to be that instead (see _mps/verdict.py)."""

import os
import sys

if os.environ.pop("NATTEN_MPS_SELF_TEST", ""):
    from natten_mps._mps import selftest

    selftest.main()
    sys.exit(0)
vars(sys)["_natten_mps_self_test"] = True
