"""Checks of `submit` and of what waits for several futures."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import tempfile
import time
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    as_completed,
    wait,
)

import pytest

from rankpool import Executor

from .maps import add, nap, square


def fail(message: str) -> None:
    raise ZeroDivisionError(message)


def touch(path: str) -> None:
    time.sleep(0.05)
    with open(path, "w"):
        pass


def keywords(*args: int, scale: int = 1, **more: int) -> object:
    return scale * sum(args), more


def results_come_to_result(pool: Executor) -> None:
    future = pool.submit(square, 5)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=30) == 25
    assert future.done() and not future.running() and not future.cancelled()
    assert future.exception() is None


def arguments_by_position_and_by_name(pool: Executor) -> None:
    assert pool.submit(keywords, 1, 2, scale=10, other=3).result() == (30, {"other": 3})
    assert pool.submit(keywords).result() == (0, {})
    # The names of submit's own parameters are a task's, too.
    assert pool.submit(keywords, fn=1, self=2).result() == (0, {"fn": 1, "self": 2})


def exceptions_come_to_result_and_exception(pool: Executor) -> None:
    future = pool.submit(fail, "nothing left")
    with pytest.raises(ZeroDivisionError, match="nothing left"):
        future.result(timeout=30)
    assert isinstance(future.exception(), ZeroDivisionError)


def a_future_goes_from_pending_to_done(pool: Executor) -> None:
    if pool.mode == "serial":
        return
    future = pool.submit(nap, 0.3)
    seen = []
    while not future.done():
        seen.append("running" if future.running() else "pending")
        time.sleep(0.005)
    assert "running" in seen
    assert seen == sorted(seen), "pending comes before running, and never again"
    assert future.result() == 0.3


def what_is_pending_can_be_cancelled(pool: Executor) -> None:
    if pool.mode == "serial":
        return
    busy = [pool.submit(nap, 0.3) for _ in range(12)]
    last = pool.submit(square, 3)
    assert last.cancel() and last.cancelled() and last.done()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        last.result()
    assert time.monotonic() - began < 0.2, "a cancelled future answers at once"
    for future in busy[1:]:
        future.cancel()
    wait(busy)


def what_is_done_cannot_be_cancelled(pool: Executor) -> None:
    future = pool.submit(square, 3)
    assert future.result() == 9
    assert not future.cancel() and not future.cancelled()


def what_runs_cannot_be_cancelled(pool: Executor) -> None:
    if pool.mode == "serial":
        return
    future = pool.submit(nap, 0.4)
    until = time.monotonic() + 20
    while not future.running():
        assert time.monotonic() < until and not future.done()
        time.sleep(0.005)
    assert not future.cancel()
    assert future.result() == 0.4


def a_timeout_leaves_the_future_valid(pool: Executor) -> None:
    if pool.mode == "serial":
        return
    future = pool.submit(nap, 0.4)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.05)
    assert future.result(timeout=30) == 0.4


def callbacks_run_once_in_their_order(pool: Executor) -> None:
    called = []
    future = pool.submit(nap, 0.05)
    for name in "abc":
        future.add_done_callback(lambda done, name=name: called.append((name, done)))
    assert future.result() == 0.05
    until = time.monotonic() + 20
    while len(called) < 3 and time.monotonic() < until:
        time.sleep(0.005)
    future.add_done_callback(lambda done: called.append(("late", done)))
    assert called == [("a", future), ("b", future), ("c", future), ("late", future)]


def a_callback_that_raises_hurts_nobody(pool: Executor) -> None:
    future = pool.submit(nap, 0.02)
    called = []
    future.add_done_callback(lambda _: 1 // 0)
    future.add_done_callback(lambda _: called.append("after"))
    wait([future])
    until = time.monotonic() + 20
    while not called and time.monotonic() < until:
        time.sleep(0.005)
    assert called == ["after"]
    assert pool.submit(square, 2).result() == 4


def a_dropped_future_does_not_lose_its_task(pool: Executor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "here")
        pool.submit(touch, path)
        until = time.monotonic() + 20
        while not os.path.exists(path):
            assert time.monotonic() < until, "the task was not run"
            pool.submit(square, 1).result()


def fifty_at_once(pool: Executor) -> None:
    futures = [pool.submit(add, n, 1) for n in range(50)]
    assert [future.result() for future in futures] == [n + 1 for n in range(50)]


def wait_for_the_first(pool: Executor) -> None:
    already = pool.submit(square, 1)
    already.result()
    later = [pool.submit(nap, 0.3), pool.submit(nap, 0.3)]
    done, not_done = wait([already, *later], return_when=FIRST_COMPLETED)
    assert already in done
    assert done | not_done == {already, *later}
    wait(later)


def wait_for_the_first_error(pool: Executor) -> None:
    futures = [
        pool.submit(square, 2),
        pool.submit(fail, "first"),
        pool.submit(nap, 0.3),
        pool.submit(nap, 0.3),
    ]
    done, not_done = wait(futures, return_when=FIRST_EXCEPTION, timeout=30)
    assert futures[1] in done
    assert done | not_done == set(futures)
    wait(futures)
    failed = [future for future in futures if future.exception() is not None]
    assert failed == [futures[1]]


def wait_for_all(pool: Executor) -> None:
    futures = [pool.submit(square, n) for n in range(5)] + [pool.submit(fail, "one of six")]
    done, not_done = wait(futures, return_when=ALL_COMPLETED, timeout=30)
    assert done == set(futures) and not not_done


def a_timeout_splits_done_from_not_done(pool: Executor) -> None:
    if pool.mode == "serial":
        return
    ready = pool.submit(square, 3)
    ready.result()
    slow = pool.submit(nap, 0.6)
    done, not_done = wait([ready, slow], timeout=0.1)
    assert (done, not_done) == ({ready}, {slow})
    assert slow.result() == 0.6


def as_completed_yields_each_once(pool: Executor) -> None:
    futures = [pool.submit(nap, seconds) for seconds in (0.1, 0.0, 0.05)]
    futures[1].result()
    came = list(as_completed([*futures, futures[0]], timeout=30))
    assert len(came) == 3 and set(came) == set(futures)


def as_completed_honours_a_timeout_of_zero(pool: Executor) -> None:
    if pool.mode == "serial":
        return
    ready = pool.submit(square, 3)
    ready.result()
    slow = pool.submit(nap, 0.3)
    came = []
    with pytest.raises(concurrent.futures.TimeoutError):
        came.extend(as_completed([ready, slow], timeout=0))
    assert came == [ready]
    slow.result()


def asyncio_takes_the_futures(pool: Executor) -> None:
    async def both() -> list[int]:
        loop = asyncio.get_running_loop()
        wrapped = asyncio.wrap_future(pool.submit(square, 6))
        return await asyncio.gather(wrapped, loop.run_in_executor(pool, square, 7))

    assert asyncio.run(both()) == [36, 49]


CHECKS = [
    results_come_to_result,
    arguments_by_position_and_by_name,
    exceptions_come_to_result_and_exception,
    a_future_goes_from_pending_to_done,
    what_is_pending_can_be_cancelled,
    what_is_done_cannot_be_cancelled,
    what_runs_cannot_be_cancelled,
    a_timeout_leaves_the_future_valid,
    callbacks_run_once_in_their_order,
    a_callback_that_raises_hurts_nobody,
    a_dropped_future_does_not_lose_its_task,
    fifty_at_once,
    wait_for_the_first,
    wait_for_the_first_error,
    wait_for_all,
    a_timeout_splits_done_from_not_done,
    as_completed_yields_each_once,
    as_completed_honours_a_timeout_of_zero,
    asyncio_takes_the_futures,
]
