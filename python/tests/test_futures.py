"""`rankpool.futures` in the ways to start a program."""

from __future__ import annotations

import pytest
from shims import WAYS, run


@pytest.mark.parametrize("way", WAYS)
def test_methods(way: str) -> None:
    told = run("futures_methods.py", way).stdout
    assert ("one after another" in told) == (way in ("alone", "one rank")), told
