"""The executors of ``mpi4py.futures``: change the import, and keep the program.

>>> from rankpool.futures import MPIPoolExecutor
>>> with MPIPoolExecutor() as executor:
...     list(executor.map(pow, [2, 3], [5, 6]))
[32, 729]

``mpiexec -n 4 python script.py`` is enough. What precedes the first executor runs on all ranks, what follows
it on rank 0. With ``mpiexec -n 4 python -m rankpool script.py`` rank 0 alone runs the script, as with ``-m
mpi4py.futures``.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Future,
    InvalidStateError,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    TimeoutError,
    as_completed,
    wait,
)
from typing import Any, TypeVar

import cloudpickle

from ._errors import Served, UsageError
from ._executor import Executor
from ._launched import places, warn
from ._rankpool import launched_ranks
from ._task import in_worker

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "MPICommExecutor",
    "MPIPoolExecutor",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "TimeoutError",
    "as_completed",
    "wait",
]

T = TypeVar("T")

#: Options of mpi4py.futures that are refused, and why.
REFUSED = {
    "python_exe": "workers run the interpreter of this program",
    "python_args": "workers run with the arguments that the interpreter of this program was started with",
    "mpi_info": "hints about where to spawn belong to the launcher",
    "globals": "workers have the globals of the program up to the executor; give others as arguments",
    "backoff": "rankpool finds out by itself how often it looks for messages",
    "service": "rankpool has no server of workers: launch the ranks with the program",
    "info": "rankpool has no server of workers: launch the ranks with the program",
    "timeout": "use start_timeout",
}


class MPIPoolExecutor(Executor):
    """An executor on MPI ranks, with the parameters of ``mpi4py.futures.MPIPoolExecutor``.

    With several ranks, ranks 1 and up are the workers. With one rank, workers are spawned by MPI when
    `max_workers` asks for them or the launcher has room. Without a launcher, tasks run in this process, which
    is told once.

    It has the methods of :class:`rankpool.Executor`: ``submit``, ``map`` and ``starmap`` (with ``timeout``,
    ``chunksize``, ``buffersize`` and ``unordered``), ``num_workers``, ``shutdown``. The chunk size is found
    out by rankpool where none is given.

    Parameters
    ----------
    max_workers : int, optional
        How many workers are spawned; by default as many as the launcher has room for. Ranks that were
        launched work all, whatever the number.
    initializer : callable, optional
        Called on each worker as ``initializer(*initargs)`` before its first task.
    initargs : tuple
        What `initializer` is called with.
    main : bool
        True: workers have the program's ``__main__``. False is refused, since workers run the program up to
        here.
    path : iterable of str, optional
        Appended to ``sys.path`` of the workers.
    wdir : path, optional
        The working directory of the workers. Where tasks run in this process, it is changed here.
    env : mapping, optional
        Variables of the environment of the workers.
    use_pkl5 : bool, optional
        Taken, and of no effect: buffers of arrays always travel beside their pickles.
    **options
        Options of :class:`rankpool.Executor`, such as ``mode``, ``retries`` or ``task_timeout``. Those of
        mpi4py that make no sense here are refused by name.

    Examples
    --------
    >>> with MPIPoolExecutor(env={"GREETING": "hello"}) as executor:
    ...     executor.submit(os.getenv, "GREETING").result()
    'hello'
    >>> MPIPoolExecutor(python_exe="python2")
    Traceback (most recent call last):
        ...
    rankpool._errors.UsageError: python_exe: workers run the interpreter of this program
    """

    def __init__(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        main: bool = True,
        path: Iterable[str] | None = None,
        wdir: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        use_pkl5: bool | None = None,
        mode: str | None = None,
        **options: Any,
    ) -> None:
        for name in options.keys() & REFUSED.keys():
            raise UsageError(f"{name}: {REFUSED[name]}")
        if not main:
            raise UsageError(
                "main=False: workers run the program up to its first executor, so they have its __main__"
            )
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        workers, mode = places("max_workers", max_workers, mode, otherwise="auto")
        if mode == "auto" and launched_ranks() is None:
            # Nobody starts workers.
            workers = None
        prepare = initializer, tuple(initargs)
        if path is not None or wdir is not None or env is not None:
            prepare = _Surroundings(path, wdir, env, initializer, tuple(initargs)), ()
        super().__init__(workers, mode=mode, initializer=prepare[0], initargs=prepare[1], **options)
        if mode == "auto" and self.mode == "serial":
            _say_serial()

    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        unordered: bool = False,
        **options: Any,
    ) -> Iterator[T]:
        """As :meth:`rankpool.Executor.starmap`, with mpi4py's parameters by their places.

        Parameters
        ----------
        fn, iterable
            As :meth:`rankpool.Executor.starmap` has them.
        timeout, chunksize, buffersize, unordered, **options
            As :meth:`rankpool.Executor.map` has them.

        Returns
        -------
        iterator
            The results.
        """
        return super().starmap(
            fn,
            iterable,
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            unordered=unordered,
            **options,
        )

    def bootup(self, wait: bool = True) -> MPIPoolExecutor:
        """Return the executor: its workers are up since it was made."""
        return self


class MPICommExecutor:
    """A context manager that gives an executor on the root, as ``mpi4py.futures.MPICommExecutor``.

    The other ranks are the workers. Where mpi4py has initialised MPI, they serve at the ``with`` statement,
    get ``None`` when the root has left it, and go on; else they end there with the program.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that take part; by default all.
    root : int
        The rank of `comm` that gives out the tasks.
    **options
        What :class:`MPIPoolExecutor` takes.

    Examples
    --------
    >>> with MPICommExecutor() as executor:
    ...     if executor is not None:
    ...         print(list(executor.map(abs, [-1, -2])))
    [1, 2]
    """

    def __init__(self, comm: Any = None, root: int = 0, **options: Any) -> None:
        self._comm = _communicator(comm, root)
        self._options = options
        self._executor: MPIPoolExecutor | None = None

    def __enter__(self) -> MPIPoolExecutor | None:
        """Return the executor on the root."""
        if self._executor is not None:
            raise RuntimeError("this MPICommExecutor is in use: make another one for a block within its own")
        try:
            self._executor = MPIPoolExecutor(comm=self._comm, **self._options)
        except Served:
            return None
        return self._executor

    def __exit__(self, *error: object) -> None:
        """Shut the executor down."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)


def is_world(comm: Any) -> bool:
    """Whether a communicator of mpi4py has all ranks in their order; None has."""
    if comm is None:
        return True
    mpi = _mpi4py()
    if mpi is None or not isinstance(comm, mpi.Comm):
        raise TypeError(f"comm must be a communicator of mpi4py or None, not {type(comm).__name__}")
    if comm.Is_inter():
        raise UsageError("expecting an intracommunicator")
    return bool(mpi.Comm.Compare(comm, mpi.COMM_WORLD) in (mpi.IDENT, mpi.CONGRUENT))


def _mpi4py() -> Any:
    """mpi4py, if the program has MPI by it."""
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized() else None


def _communicator(comm: Any, root: int) -> Any:
    """The ranks of an executor, its root first; None for all, where MPI is rankpool's own."""
    mpi = _mpi4py()
    if is_world(comm) and (mpi is None or Executor._has_ranks or (launched_ranks() or 1) == 1):
        if root != 0:
            raise UsageError(f"root={root}: of ranks that serve already, and without mpi4py, it is rank 0")
        return None
    comm = mpi.COMM_WORLD if comm is None else comm
    if not 0 <= root < comm.size:
        raise ValueError(f"root={root}: the communicator has {comm.size} ranks")
    return comm if root == 0 else comm.Split(0, (comm.rank - root) % comm.size)


@functools.cache
def _say_serial() -> None:
    """Say once in a program that nothing is parallel."""
    if not in_worker():
        warn(
            "there are no MPI workers, so tasks run in this process one after another: start the program "
            "with `mpiexec -n 4 python ...`, or set RANKPOOL_MODE=processes"
        )


class _Surroundings:
    """What a worker has to set before the user's own initializer."""

    def __init__(
        self,
        path: Iterable[str] | None,
        wdir: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
    ) -> None:
        self.path = [os.fspath(folder) for folder in path or ()]
        self.wdir = None if wdir is None else os.fspath(wdir)
        self.env = dict(env or {})
        # Pickled by itself: its module may be found by the path only.
        self.initializer: bytes | None = (
            None if initializer is None else cloudpickle.dumps((initializer, initargs))
        )

    def __call__(self) -> None:
        sys.path.extend(self.path)
        os.environ.update(self.env)
        if self.wdir is not None:
            os.chdir(self.wdir)
        if self.initializer is not None:
            initializer, initargs = cloudpickle.loads(self.initializer)
            initializer(*initargs)


#: What mpi4py.futures has besides, and what there is instead.
_ELSEWHERE = {
    "get_comm_workers": "workers have no communicator of their own; Executor(comm=) names the ranks",
    "collect": "write [future.result() for future in futures]",
    "compose": "submit a function that calls both",
}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        raise AttributeError(f"rankpool.futures has no {name}: {_ELSEWHERE[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
