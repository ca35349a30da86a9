"""The options of maps, and what there is to say of an executor."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sized
from types import ModuleType
from typing import Any, Callable, NamedTuple

from ._errors import UsageError

#: Options of a map that count for each task: blocks have one item then.
OF_A_TASK = ("retries", "retry_delay", "task_timeout", "keep_going", "costs", "journal")

#: Further options of a map, which are named.
OF_A_MAP = frozenset(
    (
        "unordered",
        "label",
        "seed",
        "progress",
        "cost",
        "journal",
        "retry_failed",
        "retry_delay",
        "time_limit",
    )
)


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
    """The name of a function, if that says what it does.

    >>> name_of(sorted)
    'sorted'
    """
    found: Any = function
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    name = str(getattr(found, "__qualname__", None) or getattr(found, "__name__", ""))
    owner = getattr(found, "__self__", None)
    is_bound = owner is not None and not isinstance(owner, (type, ModuleType))
    if not name or "<lambda>" in name or is_bound or getattr(found, "__closure__", None):
        raise UsageError(
            "journal: a lambda, a closure, a method or a partial is not told from others by its name: "
            "give the map a label, another one for each function"
        )
    return name


def length(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many items there are, where that is known."""
    lengths = [len(items) for items in iterables if isinstance(items, Sized)]
    return min(lengths) if len(lengths) == len(iterables) else None


def common(options: dict[str, Any]) -> dict[str, Any]:
    """Takes the options out that are of every map."""
    names = ("timeout", "chunksize", "buffersize", "retries", "task_timeout")
    common = {name: options.pop(name, None) for name in names}
    unknown = options.keys() - OF_A_MAP
    if unknown:
        raise TypeError(f"unexpected keyword argument: {', '.join(sorted(unknown))}")
    return common


def checked(
    retries: int | None,
    task_timeout: float | None,
    retry_delay: float | None = None,
    time_limit: float | None = None,
) -> dict[str, Any]:
    """The options of tasks that are set."""
    if retries is not None and not 0 <= integer("retries", retries) < 1 << 16:
        raise UsageError(f"retries must be 0 or more, and below 65,536, not {retries}")
    options = {
        "retries": retries,
        "task_timeout": seconds("task_timeout", task_timeout),
        "retry_delay": seconds("retry_delay", retry_delay, zero_too=True),
        "time_limit": seconds("time_limit", time_limit),
    }
    return {name: value for name, value in options.items() if value is not None}


def integer(name: str, value: Any) -> int:
    """A number without a fraction, of whatever type."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None


def positive(name: str, value: Any) -> int | None:
    if value is None:
        return None
    number = integer(name, value)
    if number < 1:
        raise UsageError(f"{name} must be 1 or more, not {value}")
    return number


def seconds(name: str, value: Any, zero_too: bool = False) -> float | None:
    """A number of seconds. A limit may be infinite."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}") from None
    if zero_too and not 0 <= number < math.inf:
        raise UsageError(f"{name} must be a number of seconds, 0 or more, not {value}")
    if not zero_too and not number > 0:
        raise UsageError(f"{name} must be a positive number of seconds, not {value}")
    return number
