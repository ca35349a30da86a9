"""The ways to start a program of `programs/`, for the tests of the interfaces of other packages."""

from __future__ import annotations

from launching import TESTS, Ended, Run

#: How many ranks `mpiexec` starts, 0 without it, and variables of the environment.
WAYS: dict[str, tuple[int, dict[str, str]]] = {
    "serial": (0, {"RANKPOOL_MODE": "serial"}),
    "processes": (0, {"RANKPOOL_MODE": "processes", "RANKPOOL_WORKERS": "2"}),
    "alone": (0, {}),
    "one rank": (1, {}),
    "comm": (3, {}),
}


def run(program: str, way: str, limit: float = 60.0) -> Ended:
    """Run a program, which fails by an exception and prints `done` at its end; only rank 0 gets there."""
    world, env = WAYS[way]
    ended = Run(str(TESTS / "programs" / program), world=world, env=env).end(limit).expect(0)
    assert ended.stdout.splitlines().count("done") == 1, ended
    return ended
