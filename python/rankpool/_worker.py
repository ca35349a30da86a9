"""What runs on workers: blocks of items, and tasks that were submitted."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import traceback
from itertools import starmap
from time import perf_counter_ns
from typing import Any, Callable

from . import _pickling, _task
from ._errors import MadeAnew, PicklingError
from ._pickling import dumps, loads
from ._task import current

#: The outcome of a block: ``(True, nanoseconds, parts)`` or ``(False, message, details)``.
Outcome = tuple[bool, Any, Any]


def load(parts: list[Any]) -> Callable[..., Outcome]:
    """What runs the blocks of a map, whose function was sent so."""
    try:
        function, spread, initializer = loads(parts)
    except Exception as error:
        raised = error

        def refuse(first: int, parts: list[Any], attempt: int, rank: int, *place: int) -> Outcome:
            return _failed(_unloadable(raised, "the function", rank), [], 0)

        return refuse

    apply: Any = starmap if spread else map

    def run(first: int, parts: list[Any], attempt: int, rank: int, slot: int, seed: int) -> Outcome:
        if initializer is not None and (failed := initialize(rank, *initializer)):
            return failed
        try:
            items = iter(loads(parts))
        except Exception as error:
            return _failed(_unloadable(error, "an argument", rank), [], 0, of_the_block=True)
        if not current.known:
            _task.take_down()
        current.first, current.count = first, items.__length_hint__()
        current.place = (attempt, rank, slot, seed)
        current.items = items
        results: list[Any] = []
        begin = perf_counter_ns()
        try:
            results.extend(apply(function, items))
        except BaseException as error:
            return _failed(error, results, 1)
        finally:
            current.items = None
            sys.stdout.flush()
        if len(results) < current.count:
            # It is what ends an iterator, so no exception has come of it here.
            return _failed(RuntimeError("the task raised StopIteration"), results, 0)
        return _done(results, perf_counter_ns() - begin)

    return run


def initialize(rank: int, key: str, parts: list[bytes]) -> Outcome | None:
    """Run the initializer of an executor, once on each worker; its failure, if it fails."""
    thread = threading.get_ident()
    if _task.initialized.get(thread) == key:
        return None
    try:
        initializer, arguments = loads(parts)
    except Exception as error:
        return _failed(_unloadable(error, "the initializer", rank), [], 0, initializing=True)
    try:
        initializer(*arguments)
    except BaseException as error:
        return _failed(error, [], 1, initializing=True)
    _task.initialized[thread] = key
    return None


def run_submitted(index: int, parts: list[Any], attempt: int, rank: int, slot: int, seed: int) -> Outcome:
    """Run a task that was submitted with its function."""
    try:
        function, arguments, named, initializer = loads(parts)
    except Exception as error:
        return _failed(_unloadable(error, "the function or an argument", rank), [], 0)
    if initializer is not None and (failed := initialize(rank, *initializer)):
        return failed
    items = iter((arguments,))
    if not current.known:
        _task.take_down()
    current.first, current.count, current.place = index, 1, (attempt, rank, slot, seed)
    current.items = items
    begin = perf_counter_ns()
    try:
        result = function(*next(items), **named)
    except BaseException as error:
        return _failed(error, [], 1)
    finally:
        current.items = None
        sys.stdout.flush()
    return _done(result, perf_counter_ns() - begin, alone=True)


def interrupt() -> None:
    """Raise KeyboardInterrupt in the tasks that run in this very process."""
    import ctypes

    for thread in list(_task.running):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)
        )


def _done(results: Any, nanos: int, alone: bool = False) -> Outcome:
    try:
        return True, nanos, dumps(results)
    except Exception as error:
        if alone:
            return _failed(_unsendable(results, error), [], 0)
    for number, result in enumerate(results):
        try:
            dumps(result)
        except Exception as error:
            return _failed(_unsendable(result, error), results[:number], 0)
    return _failed(PicklingError("the results cannot be pickled together"), [], 0)


def _unsendable(result: Any, error: Exception) -> Exception:
    text = f"a result cannot be pickled: {_pickling.short(result)}: {type(error).__name__}: {error}"
    return PicklingError(text)


def _unloadable(error: Exception, what: str, rank: int) -> Exception:
    """Says which worker could not load it, and where it has looked."""
    where = f"{os.uname().nodename}, process {os.getpid()}, {sys.executable}"
    text = f"{what} cannot be loaded on rank {rank} ({where}): {error}"
    if isinstance(error, ImportError):
        text += f"; its sys.path is {sys.path}"
        made: Exception = type(error)(text, name=error.name, path=error.path)
    elif isinstance(error, AttributeError):
        made = AttributeError(text)
    else:
        made = PicklingError(text)
    made.__cause__ = error
    return made


def _failed(
    error: BaseException,
    results: list[Any],
    skip: int,
    initializing: bool = False,
    of_the_block: bool = False,
) -> Outcome:
    """The failure of the item behind these results, or of a block of which it is not known which item it was.

    So many frames of ours are left out of its traceback.
    """
    found = error.__traceback__
    for _ in range(skip):
        found = found.tb_next if found is not None else None
    text = "".join(traceback.format_exception(type(error), error, found)).rstrip()
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError) and not of_the_block:
        text += f"\nits sys.path is {sys.path}"
    pickled: list[bytes] | None = None
    # What would end rank 0 is told by its text, and so is an exception that cannot be sent or made anew.
    if not isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
        pickled = _sendable(error) or _sendable(MadeAnew(error))
    try:
        before = dumps(results)
    except Exception:
        before, results = dumps([]), []
    details = (len(results), before, pickled, initializing, text, of_the_block)
    return False, message, pickle.dumps(details, 5)


def _sendable(error: object) -> list[bytes] | None:
    """An exception as it is sent, if it can be made anew from that."""
    with contextlib.suppress(Exception):
        sent = dumps(error)
        _pickling.loads(sent)
        return sent
    return None
