# SPDX-License-Identifier: MIT
"""Runs before a frozen program. Only the program itself can serve as the child process of a tier's
self-test, so this hook makes it run the self-test instead (see _mps/verdict.py)."""

import os
import sys

if os.environ.pop("NATTEN_MPS_SELF_TEST", ""):
    from natten_mps._mps import selftest

    sys.exit(selftest.main())
vars(sys)["_natten_mps_self_test"] = True
