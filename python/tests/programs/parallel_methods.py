"""What `rankpool.parallel` has of `elephant.parallel`, without elephant."""

from __future__ import annotations

import os
import warnings

from rankpool.parallel import MPICommExecutor, MPIPoolExecutor, ProcessPoolExecutor, SingleProcess

EXECUTORS = [
    SingleProcess(),
    ProcessPoolExecutor(),
    ProcessPoolExecutor(2),
    MPIPoolExecutor(),
    MPICommExecutor(None, 0),
]


def scaled(value: float, factor: float = 1, table: list[float] | None = None) -> float:
    return value * factor + sum(table or [])


def where(_item: int) -> int:
    return os.getpid()


def fails(item: int) -> float:
    return 1 / item


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("single", SingleProcess().execute(scaled, [1, 2], factor=3))
    offset = 0.5

    def of_the_program(value: float, by: float) -> float:
        return value * by + offset

    for executor in EXECUTORS:
        assert executor.execute(scaled, range(8), factor=10, table=[1, 2]) == [
            10 * n + 3 for n in range(8)
        ], executor
        assert executor.execute(of_the_program, (1, 2), by=2) == [2.5, 4.5], executor
        assert executor.execute(scaled, []) == []
        try:
            executor.execute(fails, [1, 0])
        except ZeroDivisionError:
            pass
        else:
            raise AssertionError(f"{executor}: no error")
        assert repr(executor).startswith(type(executor).__name__ + "("), executor
    here, there = SingleProcess().execute(where, [0]), ProcessPoolExecutor().execute(where, [0] * 8)
    assert here == [os.getpid()]
    if os.environ.get("RANKPOOL_MODE") != "serial":
        assert os.getpid() not in there
        kept = set(there) & set(ProcessPoolExecutor().execute(where, [0] * 8))
        assert kept or "RANKPOOL_MODE" not in os.environ or os.environ["RANKPOOL_MODE"] == "processes", "kept"
    print("done")
