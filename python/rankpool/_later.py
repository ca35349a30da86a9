"""Results of a pool that are waited for later."""

from __future__ import annotations

import multiprocessing
import platform
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Generic, TypeVar

from ._errors import RemoteTraceback
from ._task import task

__all__ = ["AsyncResult", "Background", "Caught", "IMapIterator"]

T = TypeVar("T")
R = TypeVar("R")


class AsyncResult(Generic[R]):
    """The result of a call that was not waited for, as ``multiprocessing.pool.AsyncResult``."""

    def __init__(
        self,
        future: futures.Future[R],
        callback: Callable[[R], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._callback = callback
        self._error_callback = error_callback
        self._result: futures.Future[R] = futures.Future()
        future.add_done_callback(self._set)

    def ready(self) -> bool:
        """Whether the call has ended, and its callback too."""
        return self._result.done()

    def successful(self) -> bool:
        """Whether the call ended without an exception.

        Raises
        ------
        ValueError
            If the result is not ready.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._result.exception() is None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is ready, at most `timeout` seconds."""
        futures.wait([self._result], timeout)

    def get(self, timeout: float | None = None) -> R:
        """Wait for the result, at most `timeout` seconds, and return it.

        Raises
        ------
        multiprocessing.TimeoutError
            If it is not ready in time.
        Exception
            What the call raised.
        """
        self.wait(timeout)
        if not self.ready():
            raise multiprocessing.TimeoutError
        return self._result.result()

    def _set(self, future: futures.Future[R]) -> None:
        """The call has ended. Who waits for the result finds its callback done."""
        error: BaseException | None
        try:
            error = future.exception()
        except futures.CancelledError as cancelled:
            error = cancelled
        try:
            if error is not None:
                if self._error_callback is not None:
                    self._error_callback(error)
            elif self._callback is not None:
                self._callback(future.result())
        finally:
            if error is not None:
                self._result.set_exception(error)
            else:
                self._result.set_result(future.result())


class IMapIterator(Generic[R]):
    """Results as they come, as the iterator of ``multiprocessing.Pool.imap``."""

    def __init__(self, results: Iterator[R | Failure], background: Background) -> None:
        self._results = results
        self._background = background
        self._late: futures.Future[R | Failure] | None = None

    def __iter__(self) -> IMapIterator[R]:
        return self

    def __next__(self) -> R:
        return self.next()

    def next(self, timeout: float | None = None) -> R:
        """Wait for the next result, at most `timeout` seconds, and return it.

        Raises
        ------
        StopIteration
            If there are no more.
        multiprocessing.TimeoutError
            If it does not come in time; it can be asked for again.
        Exception
            What its task raised.
        """
        if self._late is None and timeout is None:
            return _value(next(self._results))
        if self._late is None:
            self._late = self._background.start(self._results.__next__)
        futures.wait([self._late], timeout)
        if not self._late.done():
            raise multiprocessing.TimeoutError
        late, self._late = self._late, None
        return _value(late.result())


class Background:
    """Threads of this process that wait for results."""

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()

    def start(self, function: Callable[[], R]) -> futures.Future[R]:
        """Call `function` on a thread."""
        future: futures.Future[R] = futures.Future()

        def run() -> None:
            try:
                result = function()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="rankpool.Pool", daemon=True)
        self._threads.add(thread)
        thread.start()
        return future

    def join(self) -> None:
        """Wait for all threads, but for the one that calls this from a callback."""
        for thread in self._threads - {threading.current_thread()}:
            thread.join()


class Caught(Generic[T, R]):
    """A function whose exceptions are results, so that an iterator can go on after them."""

    def __init__(self, func: Callable[[T], R]) -> None:
        self.func = func

    def __call__(self, item: T) -> R | Failure:
        try:
            return self.func(item)
        except Exception as error:
            now = task()
            frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
            text = "".join(traceback.format_exception(type(error), error, frames)).rstrip()
            return Failure(
                error, f'\n"""\n{text}\n"""\ntask {now.index} on rank {now.rank} ({platform.node()})'
            )


class Failure:
    """What a task raised, and its traceback on the worker."""

    def __init__(self, error: Exception, text: str) -> None:
        self.error = error
        self.text = text


def _value(result: R | Failure) -> R:
    if isinstance(result, Failure):
        raise result.error from RemoteTraceback(result.text)
    return result
