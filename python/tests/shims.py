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
    "children": (2, {"RANKPOOL_PROCESSES_PER_WORKER": "1"}),
}
#: Runs a program as if mpi4py were not installed.
WITHOUT_MPI4PY = "import runpy, sys; sys.modules['mpi4py'] = None; runpy.run_path({!r}, run_name='__main__')"


def run(program: str, way: str, limit: float = 60.0, mpi4py: bool = True) -> Ended:
    """Run a program, which fails by an exception and prints `done` at its end; only rank 0 gets there."""
    world, env = WAYS[way]
    path = str(TESTS / "programs" / program)
    arguments = [path] if mpi4py else ["-c", WITHOUT_MPI4PY.format(path)]
    ended = Run(*arguments, world=world, env=env).end(limit).expect(0)
    assert ended.stdout.splitlines().count("done") == 1, ended
    return ended
