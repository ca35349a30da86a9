"""The executor: a function over many items, on the workers of its mode."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Callable, TypeVar

from . import _pickling, _program
from ._bar import Bar
from ._blocks import Blocks
from ._ending import Ending, await_ranks
from ._errors import Served, UsageError
from ._future import Future, Outcome
from ._launched import are_launched
from ._map import Mapping
from ._options import (
    OF_A_TASK,
    Count,
    Progress,
    Worker,
    checked,
    common,
    length,
    name_of,
    positive,
    seconds,
    spread_cost,
)
from ._rankpool import HAS_MPI, Engine
from ._rankpool import Map as _Map
from ._scatter import Scattered

T = TypeVar("T")


class Executor(Ending):
    """Runs functions on the workers of a mode: MPI ranks, processes, threads, or this process alone.

    Under ``mpiexec -n 4 python script.py`` what precedes the executor runs on all ranks; ranks 1 to 3 serve
    inside of this call and end there, and what follows runs on rank 0.

    Parameters
    ----------
    max_workers : int, optional
        How many workers: a positive number, or -1 for as many as there are CPUs, -2 for one less. In ``comm``
        the launcher decides.
    mode : str
        ``"auto"``, ``"serial"``, ``"threads"``, ``"processes"``, ``"comm"`` or ``"pool"``. ``auto`` takes
        the ranks that a launcher has started, and without a launcher ``serial``. The variables
        ``RANKPOOL_MODE``, ``RANKPOOL_WORKERS`` and ``RANKPOOL_SEED`` come before what is given here.
    initializer : callable, optional
        Called once on each worker before its first task, with `initargs`.
    initargs : tuple
        The initializer's arguments.
    processes_per_worker : int, optional
        Makes each rank start so many interpreters on its node, which run the tasks: one that dies is
        replaced.
    cpus_per_task : int
        How many CPUs a task has, where workers are counted by CPUs.
    seed : int
        Of the tasks' random numbers.
    chunksize : int, optional
        How many items are sent together; found out from how long they take by default.
    retries : int
        How often a task that failed is tried again.
    task_timeout : float, optional
        Seconds that a task may take. One over its time fails, and its worker is replaced.
    oversubscribe : bool
        Mode ``pool``: start more workers than there are slots.
    start_timeout : float
        Seconds that workers may take to come up.
    stall : float or None
        Seconds after which a worker that does not answer is given up.
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that take part: its rank 0 goes on, the others serve until the executor ends, and leave by
        :class:`Served`, which ends their program in order where it is not caught.

    Examples
    --------
    >>> from rankpool import Executor
    >>> with Executor(mode="serial") as pool:
    ...     list(pool.map(pow, [2, 3], [5, 6]))
    [32, 729]
    """

    #: Whether the ranks of this launch are workers, of an executor or between two.
    _has_ranks = False

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        mode: str = "auto",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        processes_per_worker: int | None = None,
        cpus_per_task: int = 1,
        seed: int = 0,
        chunksize: int | None = None,
        retries: int = 0,
        task_timeout: float | None = None,
        oversubscribe: bool = False,
        start_timeout: float = 60.0,
        stall: float | None = 60.0,
        comm: Any = None,
    ) -> None:
        super().__init__()
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if comm is not None and not hasattr(comm, "py2f"):
            raise TypeError(f"comm must be a communicator of mpi4py, not {comm!r}")
        _program.share_main()
        if comm is not None and not HAS_MPI:
            raise UsageError("comm: this rankpool was built without MPI")
        settings: dict[str, Any] = {
            "max_workers": max_workers,
            "mode": mode,
            "processes_per_worker": processes_per_worker,
            "cpus_per_task": cpus_per_task,
            "seed": seed,
            "oversubscribe": oversubscribe,
            "start_timeout": seconds("start_timeout", start_timeout),
            "stall": seconds("stall", stall),
            "communicator": None if comm is None else comm.py2f(),
        }
        chosen = os.environ.get("RANKPOOL_MODE", mode)
        if chosen == "serial" and mode != "serial":
            # The program's number is of the mode that it has asked for.
            settings["max_workers"] = None
        if chosen == "auto":
            # Under a launcher of several ranks it is comm.
            chosen = "comm" if are_launched() else "processes"
        if processes_per_worker is not None or chosen in ("processes", "pool"):
            settings["program"] = _program.worker_program()
        self._chunksize = positive("chunksize", chunksize)
        self._options = checked(retries, task_timeout)
        self._initializer: tuple[str, list[bytes]] | None = None
        self._count = Count()
        await_ranks()
        engine = Engine.start(settings)
        if engine is None:
            raise Served
        self._started(engine)
        if comm is None and engine.mode in ("comm", "pool"):
            Executor._has_ranks = True
        if initializer is not None:
            sent = _pickling.dumps_named((initializer, initargs), "the initializer")
            self._initializer = os.urandom(16).hex(), sent
        workers = self._engine.workers()
        self._workers = [
            Worker(rank, host, pid, tuple(cpus), tuple((child, tuple(own)) for child, own in children))
            for rank, host, pid, cpus, children, _ in workers
        ]
        self._slots = max(1, sum(slots for *_, slots in workers))

    @property
    def num_workers(self) -> int:
        """The number of workers at the start."""
        return len(self._workers)

    def workers(self) -> list[Worker]:
        """The workers at the start: rank, host, process, CPUs, and the children that run a leader's tasks."""
        return list(self._workers)

    def progress(self) -> Progress:
        """What has been done so far, over all maps and submitted tasks."""
        busy, lost, children_lost = (0, 0, 0) if self._ended else self._engine.progress()
        return Progress(self._count.done, self._count.failed, busy, lost + children_lost)

    def scatter(self, value: T) -> Scattered[T]:
        """Send a value once to each worker, for any number of maps and tasks.

        Parameters
        ----------
        value : object
            What tasks are to read.

        Returns
        -------
        Scattered
            To be given to tasks in the place of the value, in their arguments.

        Examples
        --------
        >>> from rankpool import Executor
        >>> with Executor(mode="serial") as pool:
        ...     table = pool.scatter({"a": 1, "b": 2})
        ...     list(pool.starmap(dict.get, [(table, "b"), (table, "a")]))
        [2, 1]
        """
        sent = _pickling.dumps_named(value, "the scattered value", scattered=False)
        return Scattered(self._engine.scatter(sent))

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` on a worker.

        Parameters
        ----------
        fn : callable
            It may be a lambda or a closure.
        *args, **kwargs
            Its arguments.

        Returns
        -------
        Future

        Examples
        --------
        >>> from rankpool import Executor
        >>> with Executor(mode="serial") as pool:
        ...     pool.submit(pow, 2, 10).result()
        1024
        """
        future: Future[T] = Future()
        future._leave = self._leave
        parts = self._dumps_call(fn, args, kwargs)
        self._pending.add(future)
        try:
            future._task = self._engine.submit(parts, future._ended, self._options)
        except BaseException:
            self._pending.discard(future)
            raise
        return future

    def _leave(self, future: Future[Any], done: int, failed: int) -> None:
        """A task that was submitted has ended."""
        self._pending.discard(future)
        self._count.tell(done, failed)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        unordered: bool = False,
        retries: int | None = None,
        task_timeout: float | None = None,
        label: str | None = None,
        seed: int | None = None,
        progress: bool = False,
        cost: Callable[..., float] | None = None,
        journal: str | os.PathLike[str] | None = None,
        retry_failed: bool = False,
        retry_delay: float | None = None,
        time_limit: float | None = None,
    ) -> Iterator[T]:
        """Run `fn` over all items; results in the order of the items.

        Parameters
        ----------
        fn : callable
            Called with one item of each iterable. It is sent once to each worker.
        *iterables : iterable
            The items. They are taken as fast as the workers need them.
        timeout : float, optional
            Seconds from this call in which the next result has to be there when it is asked for.
        chunksize : int, optional
            How many items are sent together; by default found out from how long they take.
        buffersize : int, optional
            How many items are taken ahead of the results, at most.
        unordered : bool
            Results as they end.
        retries : int, optional
            How often a task that failed is tried again.
        task_timeout : float, optional
            Seconds that a task may take.
        label : str, optional
            A name for this map, in its progress and its journal; with a journal, the name of `fn` by default.
            A lambda, a closure, a method or a partial needs one there: its name does not say what it does.
        seed : int, optional
            Of the tasks' random numbers.
        progress : bool
            Shows on stderr how far it is: in a terminal a bar, by tqdm if that is there, in a log lines.
        cost : callable, optional
            Tells what an item costs beside others, called as `fn` is: the tasks that cost most begin first.
            Results come in the order of the items all the same.
        journal : path, optional
            A file that keeps what came of each task. The same map in a later run of the program runs only
            what is missing in it, and is refused if its label, its seed, the number of items or the type of
            the first one is another.
        retry_failed : bool
            Whether tasks whose failures the journal has are run again.
        retry_delay : float, optional
            Seconds that a task waits before it is tried again: so many the first time, and twice as many each
            further time, up to an hour if it is less than that.
        time_limit : float, optional
            Seconds that the whole map may take. Then it ends with a :class:`TimeLimitError`, and
            :meth:`outcomes` returns what is done.

        Returns
        -------
        iterator
            The results. The first exception of a task ends it.

        Examples
        --------
        >>> from rankpool import Executor
        >>> with Executor(mode="serial") as pool:
        ...     list(pool.map(abs, range(-2, 2)))
        [2, 1, 0, 1]
        """
        options: dict[str, Any] = {
            "unordered": unordered,
            "label": label,
            "seed": seed,
            "progress": progress,
            "cost": cost,
        }
        options.update({"journal": journal, "retry_failed": retry_failed})
        options.update({"retry_delay": retry_delay, "time_limit": time_limit})
        return iter(
            self._mapping(fn, iterables, timeout, chunksize, buffersize, retries, task_timeout, options)
        )

    def starmap(self, fn: Callable[..., T], iterable: Iterable[Iterable[Any]], **options: Any) -> Iterator[T]:
        """As :meth:`map`, with each item as the arguments of a call.

        Parameters
        ----------
        fn : callable
            Called with the arguments of each item.
        iterable : iterable
            The items: tuples of arguments.
        **options
            Those of :meth:`map`, by name.

        Returns
        -------
        iterator
            The results. The first exception of a task ends it.

        Examples
        --------
        >>> from rankpool import Executor
        >>> with Executor(mode="serial") as pool:
        ...     list(pool.starmap(pow, [(2, 5), (3, 2)]))
        [32, 9]
        """
        return iter(self._mapping(fn, (iterable,), **common(options), options=options, spread=True))

    def outcomes(self, fn: Callable[..., T], *iterables: Iterable[Any], **options: Any) -> list[Outcome[T]]:
        """As :meth:`map`, for all tasks, though some fail: what became of each.

        Parameters
        ----------
        fn : callable
            Called with one item of each iterable.
        *iterables : iterable
            The items.
        **options
            Those of :meth:`map`, by name. With `time_limit`, tasks that are not done in time have a
            :class:`TimeLimitError`.

        Returns
        -------
        list of Outcome
            In the order of the items.

        Examples
        --------
        >>> from rankpool import Executor
        >>> with Executor(mode="serial") as pool:
        ...     [outcome.ok for outcome in pool.outcomes(float, ["1", "x"])]
        [True, False]
        """
        every = common(options)
        # What is done before its turn is not to be lost when the time is over.
        options = {**options, "keep_going": True, "unordered": options.get("time_limit") is not None}
        mapping = self._mapping(fn, iterables, **every, options=options)
        outcomes: dict[int, Outcome[T]] = {}
        while (found := mapping.next()) is not None:
            first, results, error = found
            for index, result in enumerate(results, first):
                outcomes[index] = Outcome(index, result)
            if error is None:
                continue
            if error is mapping.late:
                for index in range(mapping.known_tasks):
                    outcomes.setdefault(index, Outcome(index, None, error))
            elif error is mapping.ended_by:  # The items have ended with an error of their own.
                raise error
            else:
                index = first + len(results)
                outcomes[index] = Outcome(index, None, error)
        return [outcomes[index] for index in sorted(outcomes)]

    def _mapping(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int | None,
        buffersize: int | None,
        retries: int | None,
        task_timeout: float | None,
        options: dict[str, Any],
        spread: bool = False,
        first: int = 0,
    ) -> Mapping:
        if not iterables:
            raise TypeError("map() needs at least one iterable")
        if self._ended:
            raise RuntimeError("cannot schedule new futures after shutdown")
        chunksize = self._chunksize if chunksize is None else positive("chunksize", chunksize)
        delay, limit = options.pop("retry_delay", None), options.pop("time_limit", None)
        options.update({**self._options, **checked(retries, task_timeout, delay, limit)})
        until = None if limit is None else time.monotonic() + limit
        if options.get("journal") is not None and options.get("label") is None:
            options["label"] = name_of(fn)
        # What counts for each task is counted by the library, whose task is one item then.
        cost = options.pop("cost", None)
        if cost is not None and buffersize is not None:
            raise UsageError("cost takes all items before the first task begins: leave buffersize out")
        options["costs"] = cost is not None
        alone = any(options.get(name) for name in OF_A_TASK)
        if not alone:
            options["chunk"] = 1
        elif chunksize is not None:
            options["chunk"], chunksize = chunksize, 1
        else:
            chunksize = 1
        items: Iterable[Any] = iterables[0]
        if len(iterables) > 1:
            items, spread = zip(*iterables), True
        if cost is not None and spread:
            cost = partial(spread_cost, cost)
        code = _pickling.dumps_function(fn, (spread, self._initializer))
        # Each worker is to have a block, and another one that waits.
        most = None if buffersize is None else max(1, buffersize // (2 * self._slots))
        total = length(iterables)
        if alone:
            options["total"] = total
        blocks = Blocks(items, total, chunksize, self._slots, first, most, cost)

        def start(blocks: Blocks) -> _Map:
            if options.get("journal") is not None:
                options["item_type"] = blocks.item_type()
            return self._engine.map(code, blocks, options)

        def again(items: list[Any], first: int) -> Iterator[Any]:
            left = {} if until is None else {"time_limit": max(1e-6, until - time.monotonic())}
            return iter(self._mapping(fn, (items,), None, 1, None, None, None, left, spread, first))

        mapping = Mapping(
            start,
            again,
            blocks,
            ordered=not options.get("unordered"),
            timeout=timeout,
            buffersize=positive("buffersize", buffersize),
            keep_going=bool(options.get("keep_going")),
            done=self._count.tell,
            bar=Bar(total, options.get("label")) if options.get("progress") else None,
            time_limit=limit,
        )
        mapping.begin(self._announce, self._maps.discard)
        return mapping

    def _dumps_call(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[bytes]:
        try:
            return _pickling.dumps((fn, args, kwargs, self._initializer), scattered=True)
        except Exception:
            _pickling.dumps_named(fn, "the function")
            for number, argument in enumerate(args):
                _pickling.dumps_named(argument, f"argument {number}")
            for name, argument in kwargs.items():
                _pickling.dumps_named(argument, f"argument {name}")
            raise
