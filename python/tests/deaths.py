"""A program in which processes die, and one that ends in several ways.

deaths.py SETTING SCENARIO [ARGUMENT...]
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import signal
import sys
import threading
import time
from typing import Any

from behaviours import SETTINGS

import rankpool


def die(how: str) -> None:
    """Ends this process, as what goes wrong in an extension does."""
    if how == "exit":
        os._exit(3)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)


def mortal(n: int, folder: str, how: str) -> int:
    """A task that is the end of its process when it is run for the first time, at one of its items."""
    time.sleep(0.005)
    marker = pathlib.Path(folder, "died")
    if n == 13 and not marker.exists():
        marker.touch()
        die(how)
    return n * n


def deadly(n: int) -> int:
    if n == 3:
        die("kill")
    return n


def deadly_at(n: int, when: int) -> int:
    return deadly(3 if n == when else 0) + n


def nap(seconds: float) -> float:
    sys.stdout.write("napping\n")  # In one piece: several do so at a time.
    sys.stdout.flush()
    time.sleep(seconds)
    return seconds


def executor(**more: Any) -> rankpool.Executor:
    return rankpool.Executor(**{**SETTINGS[sys.argv[1]].options, **more})


def one_death(folder: str, how: str) -> None:
    """A worker dies during a map, and the map is complete all the same."""
    with executor(stall=2.0) as pool:
        results = list(pool.map(mortal, range(40), [folder] * 40, [how] * 40))
        assert results == [n * n for n in range(40)], results
        assert list(pool.map(nap, [0.0] * 4)) == [0.0] * 4
        assert pool.submit(abs, -2).result() == 2
    print("complete", flush=True)


def mortal_or_long(n: int, folder: str, how: str) -> int:
    """The item that is the end of its process has much behind it."""
    mortal(n, folder, how)
    if n > 13:
        time.sleep(60)
    return n


def a_death_in_a_long_map(folder: str, how: str) -> None:
    """A worker dies during a map that would go on for long."""
    with executor() as pool:
        list(pool.map(mortal_or_long, range(40), [folder] * 40, [how] * 40, chunksize=1))
    print("complete", flush=True)


def a_death_of_a_submitted_task(folder: str, how: str) -> None:
    with executor() as pool:
        futures = [pool.submit(mortal, n, folder, how) for n in range(11, 16)]
        assert [future.result() for future in futures] == [n * n for n in range(11, 16)]
    print("complete", flush=True)


def deadly_tasks() -> None:
    """A task that kills every worker is given up, and named; all others have their results."""
    with executor() as pool:
        outcomes = pool.outcomes(deadly, range(6))
        assert [outcome.ok for outcome in outcomes] == [n != 3 for n in range(6)], outcomes
        error = outcomes[3].error
        assert isinstance(error, rankpool.TaskLost) and error.index == 3, error
        try:
            list(pool.map(deadly, range(6)))
        except rankpool.TaskLost as lost:
            assert lost.index == 3, lost
        else:
            raise AssertionError("the map came to its end")
        # Of a block with a scattered value, too, one item is given up: the others are run again one by one.
        when = pool.scatter(4)
        try:
            list(pool.starmap(deadly_at, [(n, when) for n in range(6)], chunksize=6))
        except rankpool.TaskLost as lost:
            assert lost.index == 4, lost
        else:
            raise AssertionError("the map came to its end")
        assert list(pool.map(abs, [-1])) == [1]
    print("complete", flush=True)


def no_worker_is_left() -> None:
    with executor() as pool:
        try:
            list(pool.map(deadly, [3, 3, 3]))
        except rankpool.NoWorkers as error:
            print(f"no workers: {error}", flush=True)


def long_tasks() -> None:
    """Runs until it is interrupted."""
    with executor() as pool:
        list(pool.map(nap, [60.0] * 8, chunksize=1))


def an_interrupt_of_rank_0() -> None:
    """Interrupts itself, while workers run tasks."""
    with executor() as pool:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        list(pool.map(nap, [60.0] * 8, chunksize=1))


def a_long_result() -> None:
    executor().submit(nap, 60.0).result()


def an_error() -> None:
    """An error in the user's own part, with tasks that run."""
    pool = executor()
    pool.submit(nap, 60.0)
    time.sleep(0.3)
    raise LookupError("my own error")


def an_error_in_a_pool() -> None:
    """The tasks that a pool has given up are not waited for when the program ends by an error."""
    options = dict(SETTINGS[sys.argv[1]].options)
    with rankpool.Pool(options.pop("max_workers", None), **options) as pool:
        pool.apply_async(nap, (60.0,))
        time.sleep(0.3)
        raise LookupError("my own error")


def an_exit_code() -> None:
    with executor() as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
    sys.exit(7)


def nothing_is_shut_down(folder: str) -> None:
    """The end of the program waits for what was submitted."""
    pool = executor()
    for n in range(5):
        pool.submit(pathlib.Path(folder, str(n)).touch)


def an_executor_that_is_global() -> None:
    global kept
    kept = executor()
    assert list(kept.map(abs, [-1, -2])) == [1, 2]


def two_at_once() -> None:
    first = executor()
    assert first.submit(abs, -1).result() == 1
    try:
        second = executor()
    except rankpool.RankpoolError as error:
        print(f"refused: {error}", flush=True)
    else:
        assert second.submit(abs, -1).result() == 1
        second.shutdown()
        print("shared", flush=True)
    assert first.submit(abs, -3).result() == 3
    first.shutdown()


def progress() -> None:
    with executor() as pool:
        assert list(pool.map(nap, [0.01] * 20, progress=True)) == [0.01] * 20


if __name__ == "__main__":
    globals()[sys.argv[2]](*sys.argv[3:])
