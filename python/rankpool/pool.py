"""A pool with the methods of ``multiprocessing.Pool``, and those that programs use of ``schwimmbad``'s pools.

It runs on the ranks that the program was launched with. Without several ranks it runs on processes of this
host.

>>> from rankpool import Pool
>>> with Pool(mode="serial") as pool:
...     pool.map(abs, [-1, 2, -3])
[1, 2, 3]
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from ._errors import UsageError
from ._executor import Executor
from ._later import AsyncResult, Background, Caught, IMapIterator
from ._launched import places

__all__ = ["AsyncResult", "IMapIterator", "Pool"]

T = TypeVar("T")
R = TypeVar("R")

#: How many tasks of an ``imap`` are under way ahead of the result that is taken next.
AHEAD = 100_000


class Pool:
    """Workers that run functions, as ``multiprocessing.Pool`` has them.

    Under ``mpiexec -n N`` the ranks 1 to N-1 are the workers: they stay within this call and end there, so
    what follows it runs once. Otherwise the workers are processes of this host. ``schwimmbad`` users write
    this class for ``MPIPool``, ``MultiPool`` and ``SerialPool``, and may leave ``if not pool.is_master()`` in
    or out.

    Parameters
    ----------
    processes : int, optional
        How many workers; by default all ranks, or as many as this process may use CPUs. Negative numbers
        count from the end: -1 is all CPUs. The launcher decides about ranks, so a number that differs from
        theirs is told of, and all ranks work.
    initializer : callable, optional
        Called on each worker as ``initializer(*initargs)`` before its first task.
    initargs : tuple
        What `initializer` is called with.
    maxtasksperchild : None
        Refused, since ranks cannot be replaced. Workers live as long as the pool.
    context : None
        Refused, since workers are started by rankpool in one way only.
    mode : str, optional
        Where the workers come from, as :class:`rankpool.Executor` has it.
    **options
        Further options of :class:`rankpool.Executor`, such as ``retries`` or ``task_timeout``.

    Examples
    --------
    >>> def shifted(value, by):
    ...     return value + by
    >>> with Pool(mode="serial") as pool:
    ...     pool.starmap(shifted, [(1, 10), (2, 20)]), pool.apply(shifted, (1,), {"by": 5})
    ([11, 22], 6)
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        mode: str | None = None,
        **options: Any,
    ) -> None:
        if maxtasksperchild is not None:
            raise UsageError(
                "maxtasksperchild: a worker is not replaced after some tasks; leave it out, and free memory "
                "within the task"
            )
        if context is not None:
            raise UsageError(
                "context: workers are started by rankpool, not by multiprocessing; leave it out, or set mode"
            )
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        workers, mode = places("processes", processes, mode, otherwise="processes")
        self._executor = Executor(
            workers, mode=mode, initializer=initializer, initargs=tuple(initargs), **options
        )
        self._size = self._executor.num_workers
        self._open = True
        self._background = Background()
        self._end = weakref.finalize(self, _terminate, self._executor, self._background)

    # What multiprocessing has.

    def map(
        self,
        func: Callable[[T], R] | None = None,
        iterable: Iterable[T] | None = None,
        chunksize: int | None = None,
        *,
        callback: Callable[[R], object] | None = None,
        worker: Callable[[T], R] | None = None,
        tasks: Iterable[T] | None = None,
    ) -> list[R]:
        """Call `func` on each item, and return the results in the order of the items.

        Parameters
        ----------
        func : callable
            Called with one item. It may be a lambda or a closure.
        iterable : iterable
            The items.
        chunksize : int, optional
            How many items a worker gets at a time; by default rankpool finds it out.
        callback : callable, optional
            Called here with each result, in the order of the items, as results come: for instance to save
            them.
        worker, tasks
            What schwimmbad calls `func` and `iterable`.

        Returns
        -------
        list

        Raises
        ------
        Exception
            What `func` raised for the first item that failed.

        Examples
        --------
        >>> with Pool(mode="serial") as pool:
        ...     pool.map(abs, [-1, -2], callback=print)
        1
        2
        [1, 2]
        """
        self._check_open()
        if (func is None) == (worker is None) or (iterable is None) == (tasks is None):
            raise TypeError("map() needs a function and its items: func, or worker, and iterable, or tasks")
        func = worker if func is None else func
        iterable = tasks if iterable is None else iterable
        assert func is not None and iterable is not None
        results = self._executor.map(func, iterable, chunksize=_chunk(chunksize))
        return list(results) if callback is None else [_told(result, callback) for result in results]

    def starmap(
        self, func: Callable[..., R], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[R]:
        """Like :meth:`map`, for items that are the arguments of `func`.

        Parameters
        ----------
        func : callable
            Called on a worker; it may be a lambda or a closure.
        iterable : iterable
            The arguments of each call, as tuples.
        chunksize : int, optional
            How many items a worker gets at a time; by default rankpool finds it out.

        Returns
        -------
        list
        """
        self._check_open()
        return list(self._executor.starmap(func, iterable, chunksize=_chunk(chunksize)))

    def apply(
        self, func: Callable[..., R], args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None
    ) -> R:
        """Call ``func(*args, **kwds)`` on a worker, and return the result.

        Parameters
        ----------
        func : callable
            Called on a worker; it may be a lambda or a closure.
        args : iterable
            Its arguments.
        kwds : mapping, optional
            Its arguments by name.

        Returns
        -------
        object
        """
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]:
        """Like :meth:`apply`, without waiting.

        Parameters
        ----------
        func, args, kwds
            As :meth:`apply` has them.
        callback : callable, optional
            Called with the result, on a thread of this process, before it is ready.
        error_callback : callable, optional
            Called with the exception in its place.

        Returns
        -------
        AsyncResult

        Examples
        --------
        >>> with Pool(mode="serial") as pool:
        ...     pool.apply_async(abs, (-7,)).get(timeout=60)
        7
        """
        self._check_open()
        future = self._executor.submit(func, *args, **(kwds or {}))
        return AsyncResult(future, callback, error_callback)

    def map_async(
        self,
        func: Callable[[T], R],
        iterable: Iterable[T],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """Like :meth:`map`, without waiting.

        Parameters
        ----------
        func, iterable, chunksize
            As :meth:`map` has them. The items are taken at once.
        callback : callable, optional
            Called with the list of all results, on a thread of this process, before it is ready.
        error_callback : callable, optional
            Called with the exception in its place.

        Returns
        -------
        AsyncResult
        """
        self._check_open()
        results = self._executor.map(func, list(iterable), chunksize=_chunk(chunksize))
        return self._gathered(results, callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """Like :meth:`starmap`, without waiting.

        Parameters
        ----------
        func, iterable, chunksize
            As :meth:`starmap` has them. The items are taken at once.
        callback, error_callback
            As :meth:`map_async` has them.

        Returns
        -------
        AsyncResult
        """
        self._check_open()
        results = self._executor.starmap(func, list(iterable), chunksize=_chunk(chunksize))
        return self._gathered(results, callback, error_callback)

    def imap(
        self, func: Callable[[T], R], iterable: Iterable[T], chunksize: int | None = None
    ) -> IMapIterator[R]:
        """Like :meth:`map`, with an iterator that gives results as they come, in the order of the items.

        A result whose task failed raises its exception, and the iterator goes on after it. It takes items as
        there is room for them, so they may be endless.

        Parameters
        ----------
        func, iterable, chunksize
            As :meth:`map` has them.

        Returns
        -------
        IMapIterator

        Examples
        --------
        >>> import itertools
        >>> with Pool(mode="serial") as pool:
        ...     squares = pool.imap(lambda n: n * n, itertools.count())
        ...     [next(squares), next(squares), squares.next(timeout=60)]
        [0, 1, 4]
        """
        return self._imap(func, iterable, chunksize, unordered=False)

    def imap_unordered(
        self, func: Callable[[T], R], iterable: Iterable[T], chunksize: int | None = None
    ) -> IMapIterator[R]:
        """Like :meth:`imap`, with results in the order in which tasks end.

        Parameters
        ----------
        func, iterable, chunksize
            As :meth:`map` has them.

        Returns
        -------
        IMapIterator
        """
        return self._imap(func, iterable, chunksize, unordered=True)

    def close(self) -> None:
        """Take no more tasks; those that are under way go on."""
        self._open = False

    def terminate(self) -> None:
        """End the pool at once: who waits for results is told that there are none.

        Processes that run tasks are killed, those below ranks too. A task that a rank or a thread runs goes
        on to its end, and its result is dropped. A pool that needs these ranks, and the end of the program,
        wait for it.
        """
        self._open = False
        if self._end.detach() is not None:
            self._executor._give_up()
            self._background.join()

    def join(self) -> None:
        """Wait for all tasks of a pool that was closed, and let the workers go."""
        if self._open:
            raise ValueError("Pool is still running")
        if self._end.detach() is not None:
            self._background.join()
            self._executor.shutdown(wait=True)

    @property
    def executor(self) -> Executor:
        """The executor below, for what pools have not: ``scatter``, ``journal``, ``outcomes`` and others.

        Examples
        --------
        >>> with Pool(mode="serial") as pool:
        ...     data = pool.executor.scatter([3, 4])
        ...     pool.starmap(pow, [(2, 3)]), pool.apply(sum, (data,))
        ([8], 7)
        """
        return self._executor

    # What schwimmbad has.

    @staticmethod
    def enabled() -> bool:
        """Whether this pool can be used: always."""
        return True

    def batched_map(
        self,
        worker: Callable[[tuple[tuple[int, int], list[T]]], R],
        tasks: Iterable[T],
        callback: Callable[[R], object] | None = None,
        chunksize: int | None = 1,
    ) -> list[R]:
        """Call `worker` on parts of the tasks, one for each worker, as schwimmbad cuts them.

        Parameters
        ----------
        worker : callable
            Called with a part: where it begins and ends, and its tasks.
        tasks : iterable
            The tasks.
        callback : callable, optional
            Called here with the result of each part.
        chunksize : int, optional
            How many parts a worker gets at a time.

        Returns
        -------
        list
            A result for each part, in the order of the tasks.

        Examples
        --------
        >>> with Pool(2, mode="threads") as pool:
        ...     pool.batched_map(lambda part: (part[0], sum(part[1])), range(5))
        [((0, 3), 3), ((3, 5), 7)]
        """
        every = list(tasks)
        size, longer = divmod(len(every), self._size)
        # The first parts take one of those that are left over.
        ends = [number * size + min(number, longer) for number in range(self._size + 1)]
        cut = [((begin, end), every[begin:end]) for begin, end in zip(ends, ends[1:]) if begin < end]
        return self.map(worker, cut, chunksize, callback=callback)

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self._size

    @property
    def rank(self) -> int:
        """The rank of this process: 0, since the other ranks stay within ``Pool()``."""
        return 0

    def is_master(self) -> bool:
        """Whether this process gives out tasks: always, since workers stay within ``Pool()``."""
        return True

    def is_worker(self) -> bool:
        """Whether this process runs tasks: never, since workers stay within ``Pool()``."""
        return False

    def wait(self, callback: Callable[[], object] | None = None) -> None:
        """Return at once, as schwimmbad's does on rank 0. `callback` would be called on workers."""

    def __enter__(self) -> Pool:
        self._check_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._executor._abort()
        self.terminate()

    def __repr__(self) -> str:
        return (
            f"<rankpool.Pool mode={self._executor.mode} size={self._size}{'' if self._open else ' closed'}>"
        )

    def __reduce__(self) -> str:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def _imap(
        self, func: Callable[[T], R], iterable: Iterable[T], chunksize: int | None, unordered: bool
    ) -> IMapIterator[R]:
        self._check_open()
        results = self._executor.map(
            Caught(func), iterable, chunksize=_chunk(chunksize), buffersize=AHEAD, unordered=unordered
        )
        return IMapIterator(results, self._background)

    def _gathered(
        self,
        results: Iterator[R],
        callback: Callable[[list[R]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult[list[R]]:
        return AsyncResult(self._background.start(lambda: list(results)), callback, error_callback)

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("Pool not running")


def _told(result: R, callback: Callable[[R], object]) -> R:
    callback(result)
    return result


def _chunk(chunksize: int | None) -> int | None:
    if callable(chunksize):
        raise TypeError("the third argument is chunksize: give the callback by its name, callback=")
    if chunksize is not None and chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize}")
    return chunksize


def _terminate(executor: Executor, background: Background) -> None:
    executor.shutdown(wait=True, cancel_futures=True)
    background.join()
