# SPDX-License-Identifier: MIT
"""One line of progress: redrawn in place on a terminal, every tenth of the way elsewhere."""

import sys
import time


class Progress:
    """A bar over a known number of steps."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, total, 0
        self.started = time.perf_counter()
        self.live = sys.stdout.isatty()
        self.shown = -1

    def step(self, note: str = "") -> None:
        """Count one step and show how far it is."""
        self.done += 1
        tenth = 10 * self.done // self.total
        if not self.live and tenth == self.shown:
            return
        self.shown = tenth
        filled = 24 * self.done // self.total
        bar = "#" * filled + "." * (24 - filled)
        seconds = time.perf_counter() - self.started
        end = "\r" if self.live and self.done < self.total else "\n"
        line = f"  {self.title} [{bar}] {self.done}/{self.total} {seconds:5.1f} s {note}"
        print(line.ljust(96), end=end, flush=True)
