"""A backend of joblib: ``Parallel`` loops, and scikit-learn's ``n_jobs``, over the workers of an executor.

>>> import joblib  # type: ignore[import-untyped]
>>> import rankpool.joblib
>>> rankpool.joblib.register()
>>> with joblib.parallel_config("rankpool", mode="processes", max_workers=2):
...     joblib.Parallel()(joblib.delayed(pow)(n, 2) for n in range(5))
[0, 1, 4, 9, 16]
>>> rankpool.joblib.shutdown()

Under ``mpiexec -n 4 python script.py`` the workers serve from where ``parallel_config`` is called, and what
follows runs on rank 0 alone.
"""

from __future__ import annotations

import collections
import io
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import cloudpickle
import joblib
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, register_parallel_backend

from ._errors import UsageError
from ._executor import Executor
from ._task import task

__all__ = ["RankpoolBackend", "register", "shutdown"]

#: Buffers of at least so many bytes travel beside the pickle, and are not copied into it.
APART = 1 << 16

Callback = Callable[[Future[Any]], Any]

_shared: tuple[dict[str, Any], Executor] | None = None


def register() -> None:
    """Make the backend known to joblib, under the name ``rankpool``. It needs joblib 1.3 or newer.

    ``joblib.parallel_config("rankpool", executor=executor)`` takes an executor that is there already. Without
    one, an executor is started with the other options, such as ``mode`` and ``max_workers``; it is kept for
    later ``parallel_config`` with the same options, until :func:`shutdown` or the end of the program.
    """
    version = tuple(int(part) for part in joblib.__version__.split(".")[:2])
    if version < (1, 3):
        raise ImportError(f"rankpool.joblib needs joblib 1.3 or newer, and this is {joblib.__version__}")
    register_parallel_backend("rankpool", RankpoolBackend)


def shutdown() -> None:
    """End the executor that the backend has started. The next ``parallel_config`` starts one again."""
    global _shared
    if _shared is not None:
        _shared[1].shutdown()
        _shared = None


def _executor(options: dict[str, Any]) -> Executor:
    """The executor that the backend keeps; another one takes its place if the options differ."""
    global _shared
    if _shared is None or _shared[0] != options:
        shutdown()
        _shared = options, Executor(**options)
    return _shared[1]


class RankpoolBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """What joblib calls, once :func:`register` has been called.

    Short tasks are put together by joblib's own automatic batches: measured, these are as fast as shorter
    ones, and several times as fast as tasks one by one. Arrays of ``max_nbytes`` (1 MiB) or more that several
    tasks of a ``Parallel`` call take, as the data of a ``GridSearchCV``, are sent once to each worker. As
    with joblib's other backends, tasks cannot write into such arrays; ``max_nbytes=None`` sends a copy to
    each task.

    Parallel loops inside of a task run in threads of its worker, and those inside of these one after the
    other.

    Parameters
    ----------
    executor : Executor, optional
        What runs the tasks; the caller shuts it down.
    nesting_level : int, optional
        Set by joblib.
    **options
        For the :class:`rankpool.Executor` that is started where there is none.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self, nesting_level: int | None = None, executor: Executor | None = None, **options: Any
    ) -> None:
        super().__init__(nesting_level=nesting_level)
        if executor is not None and options:
            raise UsageError(
                f"the executor is given, and these options are for a new one: {', '.join(options)}"
            )
        # What a task runs in parallel stays on its worker.
        self._executor = None if _inside_task() else executor or _executor(options)
        self._lock = threading.Lock()
        # How many batches may be with the executor, which are, and which wait for one of these to end.
        self._limit: int | None = None
        self._sent: set[Future[Any]] = set()
        self._waiting: collections.deque[tuple[Callable[[], Any], Callback]] = collections.deque()
        self._arrays: _Arrays | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many tasks run at a time."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if self._executor is None or n_jobs is None or _inside_task():
            return 1
        workers = self._executor.num_workers
        return min(n_jobs, workers) if n_jobs > 0 else max(workers + 1 + n_jobs, 1)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        max_nbytes: int | None = 1 << 20,
        mmap_mode: str | None = "r",
        **_: Any,
    ) -> int:
        """Prepare for a ``Parallel``, and tell how many tasks run at a time."""
        if mmap_mode in ("r+", "w+"):
            raise UsageError(
                f"mmap_mode={mmap_mode!r}: tasks on other ranks cannot write into an array of rank 0"
            )
        self.parallel = parallel
        self._large = max_nbytes if mmap_mode == "r" else None
        jobs = self.effective_n_jobs(n_jobs)
        # What is sent ahead keeps workers busy; fewer jobs than workers are kept to.
        self._limit = jobs if self._executor is not None and jobs < self._executor.num_workers else None
        return jobs

    def start_call(self) -> None:
        """A ``Parallel`` call begins: arrays may have been changed since the last one."""
        if self._executor is not None and self._large is not None:
            self._arrays = _Arrays(self._executor, self._large)

    def stop_call(self) -> None:
        """A ``Parallel`` call ends: workers need its arrays no more."""
        self._arrays = None

    def submit(self, func: Callable[[], Any], callback: Callback) -> None:
        """Run a batch on a worker; `callback` is told when it has ended."""
        with self._lock:
            if self._limit is not None and len(self._sent) >= self._limit:
                self._waiting.append((func, callback))
                return
            future = self._send(func)
            self._sent.add(future)
        future.add_done_callback(self._ended)
        future.add_done_callback(callback)

    apply_async = submit  # joblib 1.3 and 1.4 call it so

    def _send(self, batch: Callable[[], Any]) -> Future[Any]:
        """The future of a batch. One that cannot be pickled has failed, as any other may."""
        assert self._executor is not None, "without an executor joblib runs tasks itself"
        try:
            packed = _Packed(batch, self._arrays)
            return self._executor.submit(_run, packed.text, packed.buffers, *packed.shared)
        except Exception as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def _ended(self, future: Future[Any]) -> None:
        """A batch has ended: the next one that waits is sent."""
        with self._lock:
            self._sent.discard(future)
            waits = self._waiting.popleft() if self._waiting else None
        if waits is not None:
            self.submit(*waits)

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The results of a batch, or its exception."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Drop what has not begun: a task has failed, or nobody wants the results any more."""
        with self._lock:
            self._waiting.clear()
            sent = list(self._sent)
        for future in sent:
            future.cancel()

    def terminate(self) -> None:
        """A ``Parallel`` has ended. The workers stay for the next one."""
        self.reset_batch_stats()


def _inside_task() -> bool:
    """True in a task, on whatever process and thread it runs."""
    try:
        task()
    except RuntimeError:
        return False
    return True


class _Arrays:
    """The large arrays of a ``Parallel`` call. One that is met a second time is scattered."""

    def __init__(self, executor: Executor, large: int) -> None:
        self.large = large
        self._executor = executor
        # An array is known by its place in memory, as long as what owns the memory lives.
        self._met: dict[Any, list[Any]] = {}

    def is_large(self, value: Any) -> bool:
        """Whether this is an array that tasks may share."""
        numpy = sys.modules.get("numpy")
        return (
            numpy is not None
            and type(value) is numpy.ndarray
            and value.nbytes >= self.large
            and not value.dtype.hasobject
        )

    def handle(self, array: Any) -> Any:
        """What stands for an array on the way, or None if this is the first time that it goes."""
        owner = array
        while type(owner.base) is type(array):
            owner = owner.base
        key = array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str
        met = self._met.get(key)
        if met is None or not hasattr(self._executor, "scatter"):
            forget = weakref.ref(owner, lambda _: self._met.pop(key, None))
            self._met[key] = [forget, None]
            return None
        if met[1] is None:
            met[1] = self._executor.scatter(array)
        return met[1]


class _Packed:
    """A batch as it is sent: a pickle, the buffers beside it, and the arrays that batches share."""

    def __init__(self, batch: Callable[[], Any], arrays: _Arrays | None) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        self.shared: list[Any] = []
        file = io.BytesIO()
        _Pickler(file, self, arrays).dump(batch)
        self.text = file.getvalue()

    def keep_apart(self, buffer: pickle.PickleBuffer) -> bool:
        """Takes a large buffer; true of a small one, which stays in the pickle."""
        if buffer.raw().nbytes < APART:
            return True
        self.buffers.append(buffer)
        return False


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles a batch, and puts marks in the place of shared arrays."""

    def __init__(self, file: io.BytesIO, packed: _Packed, arrays: _Arrays | None) -> None:
        super().__init__(file, protocol=5, buffer_callback=packed.keep_apart)
        self._packed = packed
        self._arrays = arrays
        self._own: list[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        arrays = self._arrays
        if arrays is None or not arrays.is_large(obj) or any(obj is own for own in self._own):
            return super().reducer_override(obj)
        handle = arrays.handle(obj)
        if handle is None:
            self._own.append(obj.view())
            return _read_only, (self._own[-1],)
        self._packed.shared.append(handle)
        return _take, (len(self._packed.shared) - 1,)


_here = threading.local()


def _run(text: bytes, buffers: list[Any], *shared: Any) -> Any:
    """Runs a batch on a worker."""
    _here.shared = shared
    try:
        batch = pickle.loads(text, buffers=buffers)
    finally:
        del _here.shared
    return batch()


def _take(index: int) -> Any:
    """The shared array in the place of a mark."""
    return _read_only(_here.shared[index])


def _read_only(array: Any) -> Any:
    """The array, which tasks after this one are going to read too."""
    view = array.view()
    view.flags.writeable = False
    return view
