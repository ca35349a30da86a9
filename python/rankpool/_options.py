"""The options of maps, and what there is to say of an executor."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from functools import partial
from typing import Any, Callable, NamedTuple

from ._errors import UsageError

#: Options of a map that count for each task: blocks have one item then.
OF_A_TASK = ("retries", "task_timeout", "keep_going", "costs", "journal")


class Worker(NamedTuple):
    """A worker of an executor."""

    rank: int
    host: str
    pid: int
    cpus: tuple[int, ...]
    children: tuple[tuple[int, tuple[int, ...]], ...]


class Progress(NamedTuple):
    """What an executor has done: tasks that ended well and that failed, workers that are busy, and that
    were lost."""

    done: int
    failed: int
    busy: int
    lost: int


class Count:
    """Tasks of an executor that have ended, well or not."""

    done = 0
    failed = 0

    def tell(self, done: int, failed: int) -> None:
        self.done += done
        self.failed += failed


def spread_cost(cost: Callable[..., float], arguments: Iterable[Any]) -> float:
    return cost(*arguments)


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function, as it stands in the program.

    >>> name_of(partial(sorted, reverse=True))
    'sorted'
    """
    while isinstance(function, partial):
        function = function.func
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name


def length(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many items there are, where that is known."""
    lengths = [len(items) for items in iterables if isinstance(items, Sized)]
    return min(lengths) if len(lengths) == len(iterables) else None


def common(options: dict[str, Any]) -> dict[str, Any]:
    """Takes the options out that are of every map."""
    names = ("timeout", "chunksize", "buffersize", "retries", "task_timeout")
    common = {name: options.pop(name, None) for name in names}
    unknown = options.keys() - {"unordered", "label", "seed", "progress", "cost", "journal", "retry_failed"}
    if unknown:
        raise TypeError(f"unexpected keyword argument: {', '.join(sorted(unknown))}")
    return common


def checked(retries: int | None, task_timeout: float | None) -> dict[str, Any]:
    """The options of tasks that are set."""
    if retries is not None and not 0 <= retries < 1 << 16:
        raise UsageError(f"retries must be 0 or more, and below 65,536, not {retries}")
    if task_timeout is not None and not task_timeout > 0:
        raise UsageError(f"task_timeout must be positive, not {task_timeout}")
    options = {"retries": retries, "task_timeout": task_timeout}
    return {name: value for name, value in options.items() if value is not None}


def positive(name: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise UsageError(f"{name} must be 1 or more, not {value}")
    return value
