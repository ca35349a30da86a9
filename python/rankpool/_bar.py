"""A bar that shows how far a map is."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any


class Bar:
    """By tqdm if that is installed, else a line on stderr: in a terminal alone, no more than five times a
    second."""

    def __init__(self, total: int | None, label: str | None) -> None:
        self._total = total
        self._label = f"{label}: " if label else ""
        self._done = 0
        self._shown = 0.0
        self._tqdm: Any = None
        try:
            self._tqdm = importlib.import_module("tqdm.auto").tqdm(total=total, desc=label)
        except ImportError:
            return

    def add(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if self._tqdm is not None:
            self._tqdm.update(count)
        elif sys.stderr.isatty() and time.monotonic() - self._shown > 0.2:
            self._shown = time.monotonic()
            self._show("\r", "")

    def close(self) -> None:
        """The map has ended: the last line stays."""
        if self._tqdm is not None:
            self._tqdm.close()
        else:
            self._show("\r" if sys.stderr.isatty() else "", "\n")

    def _show(self, before: str, behind: str) -> None:
        of = "" if self._total is None else f" of {self._total} ({100 * self._done // max(1, self._total)} %)"
        print(f"{before}{self._label}{self._done}{of} done", end=behind, file=sys.stderr, flush=True)
