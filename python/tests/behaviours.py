"""What an executor must do, written once and run in every mode.

    behaviours.py SETTING

runs every check of `checks` in that setting and prints a line for each. `test_behaviours.py` starts it behind
the launcher that the setting needs.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from checks import ends, failures, futures, maps, scattered, tasks

import rankpool


class Setting(NamedTuple):
    """An executor's options, and how many ranks `mpiexec` starts; 0 without a launcher."""

    world: int
    slots: int
    options: dict[str, Any]


SETTINGS = {
    "serial": Setting(0, 1, {"mode": "serial"}),
    "processes": Setting(0, 2, {"mode": "processes", "max_workers": 2}),
    "comm": Setting(3, 2, {"mode": "comm"}),
    "children": Setting(2, 4, {"mode": "comm", "processes_per_worker": 2}),
    "pool": Setting(1, 2, {"mode": "pool", "max_workers": 2, "oversubscribe": True}),
}

#: Seconds that a check may take.
LIMIT = 20

#: Checks of one executor that they share.
SHARED: list[Callable[[rankpool.Executor], None]] = [
    *maps.CHECKS,
    *scattered.CHECKS,
    *futures.CHECKS,
    *failures.CHECKS,
    *tasks.CHECKS,
]
#: Checks that end an executor, and are given what makes another one.
OWN: list[Callable[[Callable[..., rankpool.Executor]], None]] = ends.CHECKS


def too_long(*_: object) -> None:
    raise AssertionError("the check takes too long")


def tell(check: Callable[[Any], None], given: object) -> None:
    """Runs a check and prints its verdict in one line."""
    signal.alarm(LIMIT)
    try:
        check(given)
    except BaseException:
        verdict = traceback.format_exc().replace("\n", "\x1f")
    else:
        verdict = "ok"
    finally:
        signal.alarm(0)
    print(f"check {check.__name__}: {verdict}", flush=True)


def main() -> None:
    setting = SETTINGS[sys.argv[1]]
    signal.signal(signal.SIGALRM, too_long)

    def another(**more: Any) -> rankpool.Executor:
        return rankpool.Executor(**{"seed": 7, **setting.options, **more})

    with another() as pool:
        assert pool.mode == setting.options["mode"], pool.mode
        for check in SHARED:
            tell(check, pool)
    for check_own in OWN:
        tell(check_own, another)


if __name__ == "__main__":
    main()
