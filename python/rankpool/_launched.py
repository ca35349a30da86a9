"""What a program was launched as, for interfaces that give a number of workers whatever the launcher did."""

from __future__ import annotations

import os
import sys
import warnings

from ._rankpool import is_awaited, launched_ranks

__all__ = ["are_launched", "is_awaited", "launched_ranks", "places", "warn"]


def are_launched() -> bool:
    """Whether the program has several ranks, which are its workers then."""
    return (launched_ranks() or 1) > 1


def warn(text: str) -> None:
    """Warn of the line that called into this package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("rankpool."):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)


def places(name: str, workers: int | None, mode: str | None, otherwise: str) -> tuple[int | None, str]:
    """Find how many workers to ask for, and in which mode.

    Several ranks work all, whatever number was asked for: the launcher has decided. ``RANKPOOL_MODE`` comes
    before what the program says; with ``serial`` there, tasks run in this process, whatever number was asked
    for.

    Parameters
    ----------
    name : str
        What the number of workers is called.
    workers : int, optional
        How many were asked for.
    mode : str, optional
        The mode that was asked for.
    otherwise : str
        The mode where none was asked for, and there is one rank.

    Returns
    -------
    tuple
        The number, or None for all that there are, and the mode.
    """
    chosen = os.environ.get("RANKPOOL_MODE")
    if chosen == "serial":
        return None, chosen
    mode = chosen or mode or "auto"
    if mode in ("auto", "comm") and are_launched():
        there = (launched_ranks() or 1) - 1
        if workers is not None and workers != there:
            warn(f"{name}={workers}, but the launcher has started {there} workers: all of them work")
        return None, mode
    return workers, otherwise if mode == "auto" else mode
