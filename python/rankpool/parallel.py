"""The executors of ``elephant.parallel``: change the import, and keep the program.

>>> from rankpool.parallel import MPIPoolExecutor, SingleProcess
>>> def scaled(value, factor):
...     return value * factor
>>> SingleProcess().execute(scaled, [1, 2, 3], factor=10)
[10, 20, 30]
>>> MPIPoolExecutor().execute(scaled, [1, 2, 3], factor=10)
[10, 20, 30]

``mpiexec -n 4 python script.py`` is enough. What precedes the first `execute` runs on all ranks; worker ranks
stay within it, whichever class it is of, and what follows runs on rank 0.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from . import _program, futures
from ._executor import Executor
from ._launched import is_awaited, places

__all__ = ["MPICommExecutor", "MPIPoolExecutor", "ProcessPoolExecutor", "SingleProcess"]

R = TypeVar("R")


class SingleProcess:
    """Runs all calls in this process, one after another.

    Examples
    --------
    >>> SingleProcess().execute(round, [1.234, 5.678], ndigits=1)
    [1.2, 5.7]
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._extra_repr()})"

    def execute(self, handler: Callable[..., R], args_iterate: Iterable[Any], **kwargs: Any) -> list[R]:
        """Call ``handler(arg, **kwargs)`` for each `arg`.

        Parameters
        ----------
        handler : callable
            Called with one of `args_iterate` and all `kwargs`.
        args_iterate : iterable
            The values of the first argument.
        **kwargs
            The other arguments, the same for all calls. They are sent once to each worker.

        Returns
        -------
        list
            What `handler` returned, in the order of `args_iterate`.
        """
        self._let_workers_stay()
        return [handler(arg, **kwargs) for arg in args_iterate]

    def _extra_repr(self) -> str:
        return ""

    def _let_workers_stay(self) -> None:
        """Have what rank 0 alone has to do done by rank 0 alone."""
        # Processes that are started later come to this place, and have of the program what is there by now.
        _program.share_main()
        if is_awaited():
            Executor().shutdown()


class ProcessPoolExecutor(SingleProcess):
    """Runs calls on processes of this host, which stay for the next `execute`.

    Under several ranks these are the processes: the launcher has decided how many there are.

    Parameters
    ----------
    max_workers : int, optional
        How many processes; by default as many as this process may use CPUs.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = max_workers

    def execute(self, handler: Callable[..., R], args_iterate: Iterable[Any], **kwargs: Any) -> list[R]:
        """Call ``handler(arg, **kwargs)`` for each `arg` on the workers.

        Parameters, result and errors are those of :meth:`SingleProcess.execute`.
        """
        with self._executor() as executor:
            if executor is None:
                return []
            return list(executor.map(functools.partial(handler, **kwargs), args_iterate))

    def _extra_repr(self) -> str:
        return f"max_workers={self.max_workers}"

    def _executor(self) -> AbstractContextManager[Executor | None]:
        workers, mode = places("max_workers", self.max_workers, None, otherwise="processes")
        return _processes(workers) if mode == "processes" else Executor(workers, mode=mode)


class MPIPoolExecutor(ProcessPoolExecutor):
    """Runs calls on MPI ranks, as :class:`rankpool.futures.MPIPoolExecutor` does.

    Parameters
    ----------
    max_workers : int, optional
        How many workers MPI spawns when the program was launched with one rank. Several ranks work all.
    """

    def _executor(self) -> AbstractContextManager[Executor | None]:
        return futures.MPIPoolExecutor(self.max_workers)


class MPICommExecutor(MPIPoolExecutor):
    """Runs calls on the ranks of a communicator.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that take part; by default all.
    root : int
        The rank of `comm` that gives out the calls.
    """

    def __init__(self, comm: Any = None, root: int = 0) -> None:
        super().__init__()
        self.comm = comm
        self.root = root

    def _executor(self) -> AbstractContextManager[Executor | None]:
        return futures.MPICommExecutor(self.comm, self.root)


#: The executors on processes, by their numbers of workers: starting processes takes as long as their imports.
_kept: dict[int | None, Executor] = {}


@contextlib.contextmanager
def _processes(max_workers: int | None) -> Iterator[Executor]:
    """Have processes that were there for an earlier call, or new ones."""
    executor = _kept.get(max_workers)
    if executor is None:
        executor = _kept[max_workers] = Executor(max_workers, mode="processes")
    try:
        yield executor
    except BrokenExecutor:
        del _kept[max_workers]
        raise
