"""The backend of joblib in the ways to start a program, and under scikit-learn."""

from __future__ import annotations

import pytest
from shims import WAYS, run

pytest.importorskip("joblib")


@pytest.mark.parametrize("way", WAYS)
def test_loops(way: str) -> None:
    run("joblib_methods.py", way, 90)


@pytest.mark.parametrize("way", ["processes", "comm"])
def test_a_grid_search_finds_the_same(way: str) -> None:
    pytest.importorskip("sklearn")
    run("grid_search.py", way, 90)
