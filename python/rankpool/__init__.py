"""Run a function over many inputs on an MPI cluster: ordered, reproducible, alive when a worker dies.

>>> from rankpool import Executor
>>> with Executor(mode="serial") as pool:
...     list(pool.map(abs, [-1, 2, -3]))
[1, 2, 3]

Under ``mpiexec -n 4 python script.py`` the same lines run on three workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import (
    Cancelled,
    InitializerError,
    NoWorkers,
    PicklingError,
    RankpoolError,
    RemoteTraceback,
    Served,
    TaskError,
    TaskLost,
    TaskTimeout,
    TimeLimitError,
    UsageError,
)
from ._executor import Executor
from ._future import Future, Outcome
from ._options import Progress, Worker
from ._rankpool import VERSION as __version__
from ._scatter import Scattered
from ._task import Task, in_worker, task

if TYPE_CHECKING:
    from ._results import read
    from .pool import Pool

__all__ = [
    "Cancelled",
    "Executor",
    "Future",
    "InitializerError",
    "NoWorkers",
    "Outcome",
    "PicklingError",
    "Pool",
    "Progress",
    "RankpoolError",
    "RemoteTraceback",
    "Scattered",
    "Served",
    "Task",
    "TaskError",
    "TaskLost",
    "TaskTimeout",
    "TimeLimitError",
    "UsageError",
    "Worker",
    "__version__",
    "in_worker",
    "read",
    "task",
]


def __getattr__(name: str) -> Any:
    """What few programs use is imported when it is asked for: each rank waits for what is imported here."""
    if name == "Pool":
        from .pool import Pool

        return Pool
    if name == "read":
        from ._results import read

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
