"""`rankpool.futures` in the ways to start a program."""

from __future__ import annotations

import pytest
from shims import WAYS, run


@pytest.mark.parametrize("way", WAYS)
def test_methods(way: str) -> None:
    told = run("futures_methods.py", way).stdout
    assert ("one after another" in told) == (way in ("alone", "one rank")), told


def test_executors_on_communicators_of_mpi4py() -> None:
    pytest.importorskip("mpi4py")
    told = run("communicators.py", "comm").stdout.splitlines()
    assert "root 1 [1, 2, 3]" in told
    assert {"half 0 comm [1, 2]", "half 1 serial [1, 2]", "world 0 comm [4]"} <= set(told), told
