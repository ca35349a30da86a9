"""Single tasks, and what became of the tasks of a map."""

from __future__ import annotations

import concurrent.futures
import pickle
import threading
from typing import Any, Callable, Generic, TypeVar

from . import _pickling
from ._errors import (
    InitializerError,
    NoWorkers,
    PicklingError,
    RankpoolError,
    RemoteTraceback,
    TaskError,
    _of_a_task,
)
from ._rankpool import Submitted

T = TypeVar("T")

#: What is known of a failed block: message, kind, index, rank, host, attempt, details.
Failed = tuple[str, str, int, "int | None", "str | None", int, "bytes | None"]


#: How the library's words for a task begin that was cancelled, or whose executor was shut down before it ran.
CANCELLED = ("it was cancelled", "the executor was shut down")


class Future(concurrent.futures.Future[T]):
    """A task that was submitted; :meth:`Executor.submit` makes it.

    It is a :class:`concurrent.futures.Future`: ``wait``, ``as_completed`` and ``asyncio.wrap_future`` take
    it.
    """

    _task: Submitted | None = None
    #: What is to be done when it has ended, with how many ended well and how many failed.
    _leave: Callable[[Future[Any], int, int], None] | None = None

    def __init__(self) -> None:
        super().__init__()
        #: Held by who sets the outcome: the thread that waits for it, or that for callbacks.
        self._setting = threading.Lock()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, at most `timeout` seconds, and return it.

        Parameters
        ----------
        timeout : float, optional
            For ever by default.

        Returns
        -------
        object

        Raises
        ------
        TimeoutError
            If the task has not ended in time.
        concurrent.futures.CancelledError
            If it was cancelled.
        Exception
            What the task raised.
        """
        self._await(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end of the task, at most `timeout` seconds, and return its exception.

        Parameters
        ----------
        timeout
            As :meth:`result` has it.

        Returns
        -------
        BaseException or None
            ``None`` if the task has ended well.
        """
        self._await(timeout)
        return super().exception(timeout)

    def _await(self, timeout: float | None) -> None:
        """Take the outcome on this thread, which is the shortest way."""
        task = self._task
        if task is not None and not self.done():
            outcome = task.wait(-1.0 if timeout is None else max(0.0, timeout))
            if outcome is not None:
                self._ended(outcome)

    def cancel(self) -> bool:
        """Cancel the task if no worker has it yet, and say whether it is cancelled."""
        task = self._task
        if task is not None and not self.done() and not task.cancel():
            return False
        if not self.done():
            self._let_go(0, 0)
        if not super().cancel():
            return False
        self._end_cancelled()
        return True

    def running(self) -> bool:
        """Whether a worker has the task, or has had it and it waits for another one."""
        task = self._task
        # When it has ended, its outcome is still to be taken.
        return task is not None and task.has_begun() and not self.done()

    def _end_cancelled(self) -> None:
        """Tell those who wait."""
        with self._condition:
            if self._state == "CANCELLED":
                self.set_running_or_notify_cancel()

    def _ended(self, outcome: Any) -> None:
        """Take the outcome, once."""
        if self.done() or not self._setting.acquire(blocking=False):
            return
        well = len(outcome) == 2
        failed = not well and not outcome[0].startswith(CANCELLED)
        # An executor that was dropped ends here: who has the result may start the next one.
        self._let_go(int(well), int(failed))
        self._set(outcome, well)

    def _let_go(self, done: int, failed: int) -> None:
        """Have the executor count this task, and forget it."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave(self, done, failed)

    def _set(self, outcome: Any, well: bool) -> None:
        if well:
            try:
                value = _pickling.loads(outcome[1])
            except Exception as error:
                self.set_exception(unloadable(error))
            else:
                self.set_result(value)
            return
        _, failed = failure(outcome, None)
        if not isinstance(failed, TaskError) or failed.kind != "NotDone":
            self.set_exception(failed)
        elif outcome[0].startswith(CANCELLED):
            super().cancel()
            self._end_cancelled()
        else:
            # What else keeps a task from being done is of the run.
            self.set_exception(NoWorkers(outcome[0]))


class Outcome(Generic[T]):
    """What became of one task of a map; :meth:`Executor.outcomes` gives them.

    Attributes
    ----------
    index : int
        The index of the task.
    ok : bool
        Whether it has a value.
    value : object
        Its value, ``None`` if it failed.
    error : BaseException or None
        Why it failed.
    """

    __slots__ = ("error", "index", "ok", "value")

    def __init__(self, index: int, value: T | None, error: BaseException | None = None) -> None:
        self.index = index
        self.ok = error is None
        self.value = value
        self.error = error

    def get(self) -> T:
        """The value; raises the error of a task that failed."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]

    def __repr__(self) -> str:
        what = f"value={self.value!r}" if self.ok else f"error={self.error!r}"
        return f"Outcome(index={self.index}, {what})"


def failure(failed: Failed, first: int | None) -> tuple[list[Any], BaseException]:
    """The results before the task that failed, and its error; the block began with task `first`."""
    message, kind, index, rank, host, attempt, details = failed
    first = index if first is None else first
    if details is None:
        error: BaseException = _of_a_task(message, kind, first, rank, host)
        return [], error
    count, before, pickled, initializing, text, _ = pickle.loads(details)
    try:
        results = _pickling.loads(before)
        error = _pickling.loads(pickled) if pickled else TaskError(message, first + count, rank, host)
    except Exception as raised:
        return [], unloadable(raised, first + count)
    tried = f" at attempt {attempt}" if attempt > 1 else ""
    place = f"task {first + count} on rank {rank} ({host}){tried}"
    cause = RemoteTraceback(f'\n"""\n{text}\n"""\n{place}')
    if initializing:
        error, cause.__cause__ = InitializerError(f"the initializer has failed: {message}"), error
    error.__cause__ = cause
    return results, error


def is_of_its_block(failed: Failed) -> bool:
    """Whether it is not known which item of the block has failed."""
    details = failed[6]
    return failed[1] == "Quarantined" or (details is not None and bool(pickle.loads(details)[5]))


def unloadable(error: Exception, index: int | None = None) -> RankpoolError:
    """What came of a task cannot be unpickled here."""
    whose = "a result" if index is None else f"the result of task {index}"
    made = PicklingError(f"{whose} cannot be loaded on rank 0: {type(error).__name__}: {error}")
    made.__cause__ = error
    return made
