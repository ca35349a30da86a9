"""What `rankpool.Pool` has of `multiprocessing.Pool` and of schwimmbad's pools."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from concurrent.futures import CancelledError
from typing import Any

from rankpool import Pool, UsageError

READY: list[str] = []


def prepare(word: str) -> None:
    READY.append(word)


def prepared(_item: int) -> list[str]:
    return READY


def square(n: int) -> int:
    return n * n


def sum_of_part(part: tuple[tuple[int, int], list[int]]) -> tuple[int, int]:
    (begin, end), items = part
    assert end - begin == len(items)
    return begin, sum(items)


def inverse(n: int) -> float:
    return 1 / n


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def named(first: int, second: int = 0, *, third: int = 0) -> tuple[int, int, int]:
    return first, second, third


def refused(kind: type[BaseException], function: Any, *arguments: Any, **named: Any) -> str:
    try:
        function(*arguments, **named)
    except kind as error:
        return str(error)
    raise AssertionError(f"{function} took {arguments} {named}")


def maps(pool: Pool) -> None:
    assert pool.map(square, range(1000)) == [n * n for n in range(1000)]
    assert pool.map(square, range(10), 3) == [n * n for n in range(10)]
    assert pool.map(square, []) == []
    assert pool.map(square, iter([1, 2])) == [1, 4]
    assert pool.map(lambda n: n + 1, [1]) == [2]
    told: list[int] = []
    assert pool.map(worker=square, tasks=[1, 2], callback=told.append) == [1, 4] == told
    assert pool.batched_map(sum_of_part, range(4 * pool.size)) == [
        (4 * n, 16 * n + 6) for n in range(pool.size)
    ]
    assert pool.batched_map(sum_of_part, [5]) == [(0, 5)] and pool.batched_map(sum_of_part, []) == []
    assert "needs a function" in refused(TypeError, pool.map, square)
    assert pool.starmap(named, [(1, 2), (3,)]) == [(1, 2, 0), (3, 0, 0)]
    assert pool.apply(named, (1,), {"third": 3}) == (1, 0, 3)
    assert pool.map(prepared, range(4)) == [["initialised"]] * 4
    error = refused(ZeroDivisionError, pool.map, inverse, [1, 0, 2])
    assert "division" in error, error
    assert pool.map(square, [3]) == [9], "a failure ends its own call only"
    refused(ValueError, pool.map, square, [1], 0)
    refused(TypeError, pool.map, square, [1], print)


def iterators(pool: Pool) -> None:
    assert list(pool.imap(square, range(500))) == [n * n for n in range(500)]
    assert sorted(pool.imap_unordered(square, range(500), 7)) == [n * n for n in range(500)]
    endless = pool.imap(square, itertools.count())
    assert [next(endless) for _ in range(100)] == [n * n for n in range(100)]
    del endless
    failing = pool.imap(inverse, [1, 0, 2])
    assert next(failing) == 1
    try:
        next(failing)
    except ZeroDivisionError as error:
        assert "return 1 / n" in str(error.__cause__) and "task 1 on rank" in str(error.__cause__)
    else:
        raise AssertionError("no error")
    assert next(failing) == 0.5, "the iterator goes on after a failure"
    refused(StopIteration, next, failing)
    slow = pool.imap(nap, [0.5, 0])
    if pool.size > 1:
        refused(multiprocessing.TimeoutError, slow.next, timeout=0.05)
    assert slow.next(timeout=30) == 0.5
    assert list(slow) == [0]


def later(pool: Pool) -> None:
    seen: list[Any] = []
    result = pool.apply_async(named, (1,), {"second": 2}, callback=seen.append)
    assert result.get(30) == (1, 2, 0)
    assert result.ready() and result.successful() and seen == [(1, 2, 0)]
    mapped = pool.map_async(square, range(4), callback=seen.append)
    assert mapped.get(timeout=30) == [0, 1, 4, 9] == seen[1]
    assert pool.starmap_async(named, [(1, 2)], 1, seen.append).get(30) == [(1, 2, 0)] == seen[2]
    errors: list[BaseException] = []
    failed = pool.apply_async(inverse, (0,), callback=seen.append, error_callback=errors.append)
    failed.wait(30)
    assert failed.ready() and not failed.successful() and len(seen) == 3
    refused(ZeroDivisionError, failed.get)
    refused(ZeroDivisionError, pool.map_async(inverse, [1, 0], error_callback=errors.append).get, 30)
    assert [type(error) for error in errors] == [ZeroDivisionError] * 2
    if pool.size > 1:
        slow = pool.apply_async(nap, (0.5,))
        refused(multiprocessing.TimeoutError, slow.get, 0.05)
        refused(ValueError, slow.successful)
        assert slow.get(30) == 0.5
    several = [pool.map_async(square, range(n)) for n in range(8)]
    assert [len(each.get(30)) for each in several] == list(range(8))


def of_schwimmbad(pool: Pool) -> None:
    assert pool.is_master() and not pool.is_worker() and pool.rank == 0 and pool.size >= 1
    pool.wait()
    seen: list[tuple[int, bool]] = []
    here = threading.main_thread()
    told = pool.map(
        square, range(5), callback=lambda value: seen.append((value, threading.current_thread() is here))
    )
    assert told == [0, 1, 4, 9, 16] and seen == [(value, True) for value in told]


def ends() -> None:
    pool = Pool()
    results = pool.map_async(nap, [0.05] * 4)
    refused(ValueError, pool.join)
    pool.close()
    refused(ValueError, pool.map, square, [1])
    pool.join()
    assert results.ready() and results.get() == [0.05] * 4
    refused(NotImplementedError, pool.__reduce__)


def ends_at_once() -> None:
    # Processes that run nothing but tasks are killed.
    kills = os.environ.get("RANKPOOL_MODE") == "processes" or "RANKPOOL_PROCESSES_PER_WORKER" in os.environ
    long = 600.0 if kills else 3.0
    with Pool() as pool:
        mapped = pool.map_async(nap, [long] * 10)
        single = pool.apply_async(nap, (long,))
        iterated = pool.imap(nap, [long] * 10)
        time.sleep(0.3)  # Workers are at their first tasks.
        begun = time.monotonic()
    pool.join()
    for get in (mapped.get, single.get, iterated.next):
        refused(CancelledError, get, 10)
    assert time.monotonic() - begun < 2, "nobody waits for tasks that run"
    refused(ValueError, pool.apply, square, (1,))
    with Pool() as pool:
        assert pool.map(square, range(9)) == [n * n for n in range(9)], "the workers are there again"


def refusals() -> None:
    assert "maxtasksperchild" in refused(UsageError, Pool, maxtasksperchild=3)
    assert "context" in refused(UsageError, Pool, context=multiprocessing.get_context("spawn"))
    assert "colour" in refused(TypeError, Pool, colour=3)
    refused(TypeError, Pool, initializer=3)


if __name__ == "__main__":
    with Pool(initializer=prepare, initargs=("initialised",)) as pool:
        if not pool.is_master():
            pool.wait()
            raise SystemExit("a worker came back")
        maps(pool)
        iterators(pool)
        later(pool)
        of_schwimmbad(pool)
        pids = set(pool.map(lambda _: os.getpid(), range(64), 1))
        assert (os.getpid() in pids) == (os.environ.get("RANKPOOL_MODE") == "serial"), pids
    ends()
    ends_at_once()
    refusals()
    print("done")
