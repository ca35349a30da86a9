"""`rankpool.parallel` in the ways to start a program, and the tutorial of elephant."""

from __future__ import annotations

import pytest
from shims import WAYS, run


@pytest.mark.parametrize("way", WAYS)
def test_methods(way: str) -> None:
    told = run("parallel_methods.py", way).stdout
    assert told.count("single [3, 6]") == 1, "no worker does what rank 0 does"


@pytest.mark.parametrize("way", ["alone", "one rank", "comm"])
def test_the_tutorial_of_elephant(way: str) -> None:
    pytest.importorskip("elephant")
    told = run("tutorial.py", way, limit=180).stdout
    assert told.count("rates of a single process: 8") == 1, told


def test_elephant_on_ranks_without_mpi4py() -> None:
    pytest.importorskip("elephant")
    run("surrogates.py", "comm", limit=180, mpi4py=False)
