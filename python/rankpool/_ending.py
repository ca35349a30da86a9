"""How an executor ends: in order, by force, or without waiting for what runs."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import gc
import os
import signal
import sys
import threading
import weakref
from typing import Any

from . import _worker
from ._future import Future
from ._map import Mapping
from ._rankpool import Engine

#: How long tasks that run are waited for when they are given up, in seconds.
SOON = 0.1


class Ending(concurrent.futures.Executor):
    """What an executor has open, and the ways in which it ends."""

    mode: str
    _engine: Engine
    #: Also while it starts.
    _ended = True

    def __init__(self) -> None:
        #: Tasks that have not ended: they keep this executor, so one that is dropped ends when they have.
        self._pending: set[Future[Any]] = set()
        #: Maps that are not over: they run to their end, though nobody takes their results.
        self._maps: set[Mapping] = set()
        #: Held by who begins a map, and by who ends the executor.
        self._lock = threading.Lock()
        #: Waits for tasks that were given up.
        self._giving_up: threading.Thread | None = None

    def _started(self, engine: Engine) -> None:
        self._engine = engine
        self.mode = engine.mode
        self._ended = False
        _live.add(self)

    def _announce(self, mapping: Mapping) -> None:
        """A map begins: who ends the executor from now on knows of it."""
        with self._lock:
            if self._ended:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._maps.add(mapping)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the executor when all is done that it was asked for; results can be taken after that.

        Parameters
        ----------
        wait : bool
            Whether this call waits for that.
        cancel_futures : bool
            Whether what has not begun is cancelled.
        """
        if not self._claim_end():
            if wait and self._giving_up is not None:
                self._giving_up.join()
        elif wait:
            self._end(cancel_futures)
        else:
            threading.Thread(target=self._end, args=(cancel_futures,), name="rankpool-shutdown").start()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._abort()
        else:
            self.shutdown()
        return None

    def __del__(self) -> None:
        if not self._ended:
            self.shutdown()

    def _claim_end(self) -> bool:
        """Take no more tasks; says whether it is for the caller to end what there is."""
        with self._lock:
            ended, self._ended = self._ended, True
        return not ended

    def _open_maps(self) -> list[Mapping]:
        with self._lock:
            return list(self._maps)

    def _end(self, cancel: bool) -> None:
        try:
            for mapping in self._open_maps():
                if cancel:
                    mapping.cancel()
                else:
                    mapping.drain()
            # All are cancelled before one is waited for: meanwhile others would begin.
            left = [future for future in list(self._pending) if not (cancel and future.cancel())]
            for future in left:
                future._await(None)  # Ctrl-C is heard here.
        except KeyboardInterrupt:
            self._abort()
            raise
        except BaseException:
            self._engine.shutdown(True)
            raise
        self._engine.shutdown(cancel)

    def _abort(self) -> None:
        """End the executor now, whatever runs."""
        self._claim_end()
        for mapping in self._open_maps():
            mapping.cancel()
        _worker.interrupt()
        self._engine.abort()
        if self._giving_up is not None:
            self._giving_up.join()

    def _give_up(self) -> None:
        """End the executor at once: nobody waits for tasks that run.

        Processes that run some are killed, those below ranks too. A task on a rank or a thread goes on to its
        end, and its outcome is dropped.
        """
        if not self._claim_end():
            return
        for mapping in self._open_maps():
            mapping.cancel()
        if self.mode == "processes":
            self._engine.abort()
        elif self._engine.give_up(SOON):
            self._engine.shutdown(True)
        else:
            # An interpreter that ends waits for it, or ends the workers by force.
            self._giving_up = threading.Thread(target=self._end_when_free, name="rankpool-end", daemon=True)
            self._giving_up.start()

    def _end_when_free(self) -> None:
        """Let the workers go when they have come to the end of what they run."""
        # Who ends the executor by force meanwhile has it.
        with contextlib.suppress(RuntimeError):
            while not self._engine.give_up(SOON):
                pass
            self._engine.shutdown(True)


#: Executors that have not ended.
_live: weakref.WeakSet[Ending] = weakref.WeakSet()


def await_ranks() -> None:
    """Wait for ranks that are still at tasks of an executor that was given up, or that nobody holds."""
    if any(executor.mode in ("comm", "pool") for executor in list(_live)):
        # One that was dropped with a map that is not over is a part of a cycle.
        gc.collect()
    for executor in list(_live):
        if executor._giving_up is not None and executor.mode in ("comm", "pool"):
            executor._giving_up.join()


def _at_exit() -> None:
    """The interpreter ends: no thread of the library is to enter it any more."""
    # In an interactive interpreter the last error is an old one.
    interactive = hasattr(sys, "ps1") or sys.flags.interactive
    error = None if interactive else getattr(sys, "last_value", None)
    for executor in list(_live):
        if error is not None:
            executor._abort()
            continue
        try:
            executor.shutdown()
        except KeyboardInterrupt as interrupt:
            # It is too late to raise it: the program ends as Python ends by it.
            error = interrupt
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    if isinstance(error, KeyboardInterrupt) and error is not getattr(sys, "last_value", None):
        os.kill(os.getpid(), signal.SIGINT)


atexit.register(_at_exit)
