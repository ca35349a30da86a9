"""Checks of how executors begin and end: each makes its own, one after another."""

from __future__ import annotations

import gc
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import wait

import pytest

import rankpool
from rankpool import Executor

from .maps import nap, square

Another = Callable[..., Executor]

#: What an initializer has left in a worker.
STATE: list[str] = []


def prepare(word: str, other: str) -> None:
    STATE.append(word + other)


def state(_: int) -> tuple[int, list[str]]:
    return os.getpid(), STATE


def leave(folder: str, n: int) -> None:
    pathlib.Path(folder, str(n)).touch()


def cannot_prepare() -> None:
    raise FileNotFoundError("the data are not here")


def leaving_the_block_waits(another: Another) -> None:
    with another() as pool:
        futures = [pool.submit(nap, 0.02) for _ in range(20)]
    assert [future.done() for future in futures] == [True] * 20
    assert [future.result() for future in futures] == [0.02] * 20, "results stay readable"


def pending_tasks_are_cancelled_when_asked(another: Another) -> None:
    pool = another()
    futures = [pool.submit(nap, 0.1) for _ in range(60)]
    began = time.monotonic()
    pool.shutdown(wait=True, cancel_futures=True)
    _, not_done = wait(futures, timeout=0)
    assert not not_done
    if pool.mode != "serial":
        assert sum(future.cancelled() for future in futures) > 30
        assert time.monotonic() - began < 5


def shutting_down_twice_is_safe(another: Another) -> None:
    pool = another()
    assert pool.submit(square, 2).result() == 4
    pool.shutdown()
    pool.shutdown()
    pool.shutdown(wait=False)


def nothing_is_taken_after_the_end(another: Another) -> None:
    pool = another()
    pool.shutdown()
    with pytest.raises(RuntimeError, match=r"shut ?down"):
        pool.submit(square, 1)
    with pytest.raises(RuntimeError, match=r"shut ?down"):
        list(pool.map(square, [1]))


def an_error_in_the_block_comes_out_of_it(another: Another) -> None:
    with pytest.raises(LookupError, match="mine"), another() as pool:
        assert pool.submit(square, 3).result() == 9
        raise LookupError("mine")


def one_executor_after_another(another: Another) -> None:
    for n in range(4):
        with another() as pool:
            assert list(pool.map(square, range(n, n + 3))) == [k * k for k in range(n, n + 3)]


def an_executor_that_is_dropped_makes_room(another: Another) -> None:
    pool = another()
    assert pool.submit(square, 2).result() == 4
    del pool
    for n in range(10):
        pool = another()
        future = pool.submit(nap, 0.001)
        del pool
        assert future.result() == 0.001, n
        with another() as pool:
            assert pool.submit(square, 3).result() == 9
        pool = another()
        future = pool.submit(nap, 0.001)
        cancelled = pool.submit(square, 4)
        del pool
        assert cancelled.cancel() or cancelled.result() == 16
        assert future.result() == 0.001


def a_map_whose_results_nobody_takes_runs(another: Another) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with another() as pool:
            pool.map(leave, [folder] * 60, range(60), chunksize=1)
            pool.starmap(leave, [(folder, n) for n in range(60, 100)])
        assert len(os.listdir(folder)) == 100
        pool = another()
        shares_ranks = pool.mode in ("comm", "pool")
        pool.map(leave, [folder] * 50, range(100, 150), chunksize=1)
        del pool
        if not shares_ranks:
            gc.collect()
        with another() as pool:
            assert pool.submit(square, 3).result() == 9
        assert len(os.listdir(folder)) == 150, "the first executor has ended"


def a_time_limit_is_told_to_who_takes_the_results(another: Another) -> None:
    with another() as pool:
        results = pool.map(nap, [0.0, *[0.2] * 60], chunksize=1, time_limit=0.5)
    with pytest.raises(TimeoutError, match="time_limit"):
        list(results)
    with another() as pool:
        assert pool.submit(square, 3).result() == 9


def the_initializer_runs_once_on_each_worker(another: Another) -> None:
    with another(initializer=prepare, initargs=("a", "b")) as pool:
        found = list(pool.map(state, range(30), chunksize=1))
        found += [pool.submit(state, 0).result()]
    assert all(left == ["ab"] for _, left in found), found
    STATE.clear()


def an_initializer_that_fails_is_told(another: Another) -> None:
    with another(initializer=cannot_prepare) as pool:
        with pytest.raises(Exception) as caught:
            list(pool.map(square, range(3)))
        texts, error = "", caught.value
        while error is not None:
            texts += f"{type(error).__name__}: {error}\n"
            error = error.__cause__  # type: ignore[assignment]
        assert "the data are not here" in texts, texts
    with another() as pool:
        assert list(pool.map(square, range(3))) == [0, 1, 4]


def options_that_make_no_sense_are_refused(another: Another) -> None:
    taken = []
    for options, word in (
        ({"mode": "sideways"}, "sideways"),
        ({"max_workers": 0}, "worker"),
        ({"chunksize": 0}, "chunksize"),
        ({"chunksize": 1.5}, "chunksize"),
        ({"retries": -1}, "retries"),
        ({"retries": "a"}, "retries"),
        ({"task_timeout": -1.0}, "task_timeout"),
        ({"initializer": 3}, "initializer"),
        ({"seed": -1}, "seed"),
        ({"comm": 3}, "comm"),
        ({"start_timeout": float("nan")}, "start_timeout"),
        ({"stall": -1}, "stall"),
        ({"cpus_per_task": "two"}, "cpus_per_task"),
    ):
        try:
            another(**options).shutdown()
        except (ValueError, TypeError) as error:
            assert word in str(error), (options, error)
        else:
            taken.append(options)
    assert not taken, taken
    assert issubclass(rankpool.UsageError, ValueError)


CHECKS = [
    leaving_the_block_waits,
    pending_tasks_are_cancelled_when_asked,
    shutting_down_twice_is_safe,
    nothing_is_taken_after_the_end,
    an_error_in_the_block_comes_out_of_it,
    one_executor_after_another,
    an_executor_that_is_dropped_makes_room,
    a_map_whose_results_nobody_takes_runs,
    a_time_limit_is_told_to_who_takes_the_results,
    the_initializer_runs_once_on_each_worker,
    an_initializer_that_fails_is_told,
    options_that_make_no_sense_are_refused,
]
