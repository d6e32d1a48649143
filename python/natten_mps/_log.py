# SPDX-License-Identifier: MIT
"""The package's logger; NATTEN_LOG_LEVEL (debug, info, warning, error, number) sets its level."""

import logging
import os
import sys

logger = logging.getLogger("natten_mps")


def _configure() -> None:
    wanted = os.environ.get("NATTEN_LOG_LEVEL", "").strip()
    if not wanted:
        return
    level = int(wanted) if wanted.isdigit() else logging.getLevelName(wanted.upper())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s: %(message)s"))
    logger.addHandler(handler)
    if isinstance(level, int):
        logger.setLevel(level)
    else:
        logger.warning(
            "NATTEN_LOG_LEVEL=%r is no level (want debug, info, warning, error or a number)",
            wanted,
        )


_configure()
