"""A bar that shows how far a map is."""

from __future__ import annotations

import contextlib
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
        elif _terminal() and time.monotonic() - self._shown > 0.2:
            self._shown = time.monotonic()
            self._show("\r", "")

    def close(self) -> None:
        """The map has ended: the last line stays."""
        if self._tqdm is not None:
            self._tqdm.close()
        else:
            self._show("\r" if _terminal() else "", "\n")

    def _show(self, before: str, behind: str) -> None:
        of = "" if self._total is None else f" of {self._total} ({100 * self._done // max(1, self._total)} %)"
        # Results do not depend on whether there is somebody to see the bar.
        with contextlib.suppress(OSError, ValueError):
            print(f"{before}{self._label}{self._done}{of} done", end=behind, file=sys.stderr, flush=True)


def _terminal() -> bool:
    """Whether stderr is one, where there is a stderr at all."""
    return sys.stderr is not None and sys.stderr.isatty()
