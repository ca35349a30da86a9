"""`rankpool.Pool` in the ways to start a program, and under emcee."""

from __future__ import annotations

import pytest
from shims import WAYS, run


@pytest.mark.parametrize("way", WAYS)
def test_methods(way: str) -> None:
    run("pool_methods.py", way)


@pytest.mark.parametrize("way", ["processes", "comm"])
def test_emcee_samples_the_same_chain(way: str) -> None:
    pytest.importorskip("emcee")
    run("sampler.py", way)
