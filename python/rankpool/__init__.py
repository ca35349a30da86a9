"""Run a function over many inputs on an MPI cluster: ordered, reproducible, alive when a worker dies.

>>> from rankpool import Executor
>>> with Executor(mode="serial") as pool:
...     list(pool.map(abs, [-1, 2, -3]))
[1, 2, 3]

Under ``mpiexec -n 4 python script.py`` the same lines run on three workers.
"""

from __future__ import annotations

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
    UsageError,
)
from ._executor import Executor
from ._future import Future, Outcome
from ._options import Progress, Worker
from ._rankpool import VERSION as __version__
from ._results import read
from ._scatter import Scattered
from ._task import Task, in_worker, task
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
    "UsageError",
    "Worker",
    "__version__",
    "in_worker",
    "read",
    "task",
]
