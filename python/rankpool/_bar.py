"""A bar that shows how far a map is."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from typing import Any

#: In a log, the first line comes after so many seconds, and the next ones ever later.
FIRST_LINE = 1.0
#: Each line comes at this many times the time of the one before, but no more than so many seconds after it.
LATER = 1.5
LONGEST = 600.0


class Bar:
    """In a terminal or a notebook by tqdm, if that is installed; else a line on stderr.

    In a terminal it changes no more than five times a second; in a log the lines come ever more seldom.

    Results do not depend on whether it can be written.
    """

    def __init__(self, total: int | None, label: str | None) -> None:
        self._total = total
        self._label = f"{label}: " if label else ""
        self._done = 0
        self._shown = 0.0
        self._began = time.monotonic()
        self._next = FIRST_LINE
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._tqdm: Any = None
        if self._terminal or "ipykernel" in sys.modules:
            with contextlib.suppress(ImportError, OSError):
                self._tqdm = importlib.import_module("tqdm.auto").tqdm(total=total, desc=label)

    def add(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if self._tqdm is not None:
            with contextlib.suppress(OSError, ValueError):
                self._tqdm.update(count)
        elif self._terminal:
            if time.monotonic() - self._shown > 0.2:
                self._shown = time.monotonic()
                self._show("")
        elif (passed := time.monotonic() - self._began) >= self._next:
            self._next = min(passed * LATER, passed + LONGEST)
            self._show("\n")

    def close(self) -> None:
        """The map has ended: the last line stays."""
        if self._tqdm is not None:
            with contextlib.suppress(OSError, ValueError):
                self._tqdm.close()
        else:
            self._show("\n")

    def _show(self, end: str) -> None:
        passed = max(time.monotonic() - self._began, 1e-9)
        rate = self._done / passed
        of, left = "", ""
        if self._total is not None:
            of = f"/{self._total}"
            missing = self._total - self._done
            left = f", ETA {_span(missing / rate)}" if self._done else ", ETA unknown"
        begin = "\r\x1b[K" if self._terminal else ""
        with contextlib.suppress(OSError, ValueError):
            line = f"{begin}{self._label}{self._done}{of} tasks, {rate:.1f} tasks/s{left}"
            print(line, end=end, file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    """A time as people say it."""
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if days > 0:
        return f"{days} d {hours % 24} h"
    if hours > 0:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {whole % 60} s" if minutes > 0 else f"{whole} s"
