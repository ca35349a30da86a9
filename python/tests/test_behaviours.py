"""Runs `behaviours.py` once in each setting, and reports each of its checks."""

from __future__ import annotations

import functools

import pytest
from behaviours import OWN, SETTINGS, SHARED
from launching import TESTS, Ended, Run

CHECKS = [check.__name__ for check in [*SHARED, *OWN]]


@functools.cache
def run(setting: str) -> Ended:
    return Run(str(TESTS / "behaviours.py"), setting, world=SETTINGS[setting].world).end(120)


def verdicts(setting: str) -> dict[str, str]:
    lines = [line[len("check ") :] for line in run(setting).stdout.splitlines() if line.startswith("check ")]
    return dict(line.split(": ", 1) for line in lines)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_behaviour(setting: str, check: str) -> None:
    verdict = verdicts(setting).get(check)
    assert verdict is not None, run(setting)
    assert verdict == "ok", verdict.replace("\x1f", "\n")


@pytest.mark.parametrize("setting", SETTINGS)
def test_it_ends_in_order(setting: str) -> None:
    run(setting).expect(0)


def test_random_numbers_are_the_same_in_all_modes() -> None:
    found = {
        line for name in SETTINGS for line in run(name).stdout.splitlines() if line.startswith("numbers ")
    }
    assert len(found) == 1, found
