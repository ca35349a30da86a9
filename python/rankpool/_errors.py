"""What goes wrong, as exceptions."""

from __future__ import annotations

import concurrent.futures
import pickle
import sys
from typing import Any

if sys.version_info >= (3, 11):
    Timeout = TimeoutError
else:

    class Timeout(concurrent.futures.TimeoutError, TimeoutError):
        """Python has two of them before 3.11."""


class RankpoolError(Exception):
    """What went wrong with a run, a map or the executor itself.

    Attributes
    ----------
    kind : str
        The case: ``"Usage"``, ``"Launch"``, ``"Spawn"``, ``"Handshake"``, ``"NoWorkers"``, ``"Storage"``,
        ``"Internal"`` and others.
    exit_code : int
        What a program is to end with for this error: 1 a task failed, 2 usage, 70 everything else.
    """

    kind: str = "Internal"
    exit_code: int = 70


class UsageError(RankpoolError, ValueError):
    """An option or an input that cannot be honoured; the text says what to do."""

    kind = "Usage"
    exit_code = 2


class NoWorkers(RankpoolError, concurrent.futures.BrokenExecutor):
    """No worker is left to run the remaining tasks."""

    kind = "NoWorkers"


class InitializerError(RankpoolError, concurrent.futures.BrokenExecutor):
    """The initializer of an executor has failed on a worker."""

    kind = "Init"


class Cancelled(RankpoolError, concurrent.futures.CancelledError):
    """The call was cancelled, or the executor was shut down."""

    kind = "Cancelled"
    exit_code = 1


class TaskError(RankpoolError):
    """A task has no result, and that is not for an exception of its function.

    Attributes
    ----------
    index : int
        The task's index in its map; of a submitted task its number in the order of submission.
    rank : int or None
        The rank that ran it, if it ran at all.
    host : str or None
        The host that ran it.
    """

    kind = "Task"
    exit_code = 1

    def __init__(self, text: str, index: int = 0, rank: int | None = None, host: str | None = None) -> None:
        super().__init__(text)
        self.index = index
        self.rank = rank
        self.host = host

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.index, self.rank, self.host)


class TaskLost(TaskError):
    """The task was in flight on workers that died; it is not tried again."""

    kind = "Quarantined"


class TaskTimeout(TaskError, Timeout):
    """The task ran longer than its ``task_timeout``."""

    kind = "TimedOut"


class TimeLimitError(RankpoolError, Timeout):
    """The map was not done within its ``time_limit``."""

    kind = "Timeout"


class PicklingError(RankpoolError, pickle.PicklingError):
    """A function, an argument or a result cannot be sent; the text names it."""

    kind = "Codec"
    exit_code = 1


class Served(SystemExit):
    """This rank was a worker of an executor on a communicator, and the executor has ended.

    Where it is not caught, the program ends with code 0.
    """

    def __init__(self) -> None:
        super().__init__(0)


class RemoteTraceback(Exception):
    """The traceback of a task's exception on its worker: the cause of the exception on rank 0.

    >>> str(RemoteTraceback("task 3 on rank 1 (node7)"))
    'task 3 on rank 1 (node7)'
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


class MadeAnew:
    """An exception that is unpickled without its ``__init__``, which takes other arguments than ``args``."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_anew, (type(self.error), self.error.args, vars(self.error))


def _made_anew(made: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = made.__new__(made, *args)
    error.args = args
    vars(error).update(attributes)
    return error


_OF_KIND: dict[str, type[RankpoolError]] = {
    "Usage": UsageError,
    "NoWorkers": NoWorkers,
    "Cancelled": Cancelled,
    "Quarantined": TaskLost,
    "TimedOut": TaskTimeout,
    "Timeout": TimeLimitError,
    "Codec": PicklingError,
}


def _of_the_run(kind: str, text: str, exit_code: int) -> RankpoolError:
    """An error of the library that is of no task."""
    error = _OF_KIND.get(kind, RankpoolError)(text)
    error.kind = kind
    error.exit_code = exit_code
    return error


def _of_a_task(text: str, kind: str, index: int, rank: int | None, host: str | None) -> RankpoolError:
    """The error of a task whose function has raised nothing."""
    place = "" if rank is None else f" on rank {rank} ({host})"
    made = _OF_KIND.get(kind, TaskError)
    text = f"task {index}{place}: {text}"
    error = made(text, index, rank, host) if issubclass(made, TaskError) else made(text)
    error.kind = kind
    return error
