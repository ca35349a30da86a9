"""Checks of `map` and what goes with it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from rankpool import Executor


def square(n: int) -> int:
    return n * n


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def add(left: int, right: int) -> int:
    return left + right


def fails_at_seven(n: int) -> int:
    if n == 7:
        raise KeyError("seven")
    return n


def results_have_the_order_of_the_items(pool: Executor) -> None:
    naps = [0.08, 0.04, 0.02, 0.0, 0.01, 0.0]
    assert list(pool.map(nap, naps)) == naps
    assert list(pool.map(nap, naps, chunksize=1)) == naps


def any_chunk_size_gives_the_same(pool: Executor) -> None:
    expected = [n * n for n in range(20)]
    for chunksize in (None, 1, 3, 19, 20, 21, 1000):
        assert list(pool.map(square, range(20), chunksize=chunksize)) == expected, chunksize


def many_items(pool: Executor) -> None:
    assert list(pool.map(square, range(20_000))) == [n * n for n in range(20_000)]


def no_items(pool: Executor) -> None:
    assert list(pool.map(square, [])) == []
    assert list(pool.starmap(add, [])) == []
    assert pool.outcomes(square, []) == []


def one_item(pool: Executor) -> None:
    assert list(pool.map(square, [3])) == [9]


def an_endless_iterator_is_pulled_no_further_than_the_buffer(pool: Executor) -> None:
    pulled = 0

    def endless() -> Iterator[int]:
        nonlocal pulled
        for n in itertools.count():
            pulled += 1
            yield n

    results = pool.map(square, endless(), buffersize=8)
    for taken in range(1, 41):
        assert next(results) == (taken - 1) ** 2
        assert pulled <= taken + 8, (pulled, taken)
    results.close()  # type: ignore[attr-defined]


def an_iterator_of_items_that_fails_fails_the_map(pool: Executor) -> None:
    def short() -> Iterator[int]:
        yield 1
        raise LookupError("no more items")

    with pytest.raises(LookupError, match="no more items"):
        list(pool.map(square, short()))
    assert list(pool.map(square, [2])) == [4]


def results_before_the_error_are_delivered(pool: Executor) -> None:
    for chunksize in (None, 1, 4, 100):
        results = pool.map(fails_at_seven, range(10), chunksize=chunksize)
        assert [next(results) for _ in range(7)] == list(range(7)), chunksize
        with pytest.raises(KeyError, match="seven"):
            next(results)


def a_map_after_a_failed_map(pool: Executor) -> None:
    with pytest.raises(KeyError):
        list(pool.map(fails_at_seven, range(1000)))
    assert list(pool.map(square, range(5))) == [0, 1, 4, 9, 16]


def unordered_gives_each_result_once(pool: Executor) -> None:
    results = pool.map(nap, [0.05, 0.0, 0.02, 0.01], unordered=True)
    assert sorted(results) == [0.0, 0.01, 0.02, 0.05]
    assert sorted(pool.map(square, range(3000), unordered=True)) == [n * n for n in range(3000)]


def chunk_size_0_is_refused(pool: Executor) -> None:
    for chunksize in (0, -1):
        with pytest.raises(ValueError, match="chunksize"):
            list(pool.map(square, range(3), chunksize=chunksize))


def several_iterables_end_with_the_shortest(pool: Executor) -> None:
    assert list(pool.map(add, range(5), range(10, 13))) == [10, 12, 14]
    assert list(pool.map(pow, [2, 3], [3, 2], [5, 5])) == [3, 4]


def starmap_unpacks(pool: Executor) -> None:
    assert list(pool.starmap(add, [(1, 2), (3, 4)])) == [3, 7]
    assert list(pool.starmap(add, zip(range(500), range(500)))) == [2 * n for n in range(500)]


def a_timeout_ends_the_waiting(pool: Executor) -> None:
    if pool.mode == "serial":
        return
    list(pool.map(square, range(8)))
    results = pool.map(nap, [0.0, 2.5], timeout=1.0, chunksize=1)
    began = time.monotonic()
    assert next(results) == 0.0
    with pytest.raises(TimeoutError):
        list(results)
    assert time.monotonic() - began < 2.0
    assert list(pool.map(square, [5])) == [25]


def two_maps_at_once(pool: Executor) -> None:
    first, second = pool.map(square, range(300)), pool.map(str, range(300))
    for n in range(300):
        assert next(first) == n * n
        assert next(second) == str(n)


def maps_from_two_threads(pool: Executor) -> None:
    found = {}

    def run(name: str) -> None:
        found[name] = list(pool.map(square, range(400), chunksize=7))

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["a"] == found["b"] == [n * n for n in range(400)]


def a_map_that_nobody_reads_hurts_nobody(pool: Executor) -> None:
    pool.map(nap, [0.01] * 20)
    left = pool.map(square, range(1000))
    assert next(left) == 0
    del left
    assert list(pool.map(square, range(3))) == [0, 1, 4]


def functions_travel_by_value(pool: Executor) -> None:
    base = 10

    def local(n: int) -> int:
        return base + n

    assert list(pool.map(local, range(3))) == [10, 11, 12]
    assert list(pool.map(lambda n: -n, range(3))) == [0, -1, -2]
    assert list(pool.map("{}!".format, ["a", "b"])) == ["a!", "b!"]


def outcomes_have_every_task(pool: Executor) -> None:
    outcomes = pool.outcomes(fails_at_seven, range(10))
    assert [outcome.index for outcome in outcomes] == list(range(10))
    assert [outcome.ok for outcome in outcomes] == [n != 7 for n in range(10)]
    assert [outcome.value for outcome in outcomes if outcome.ok] == [n for n in range(10) if n != 7]
    assert isinstance(outcomes[7].error, KeyError)
    with pytest.raises(KeyError):
        outcomes[7].get()


CHECKS = [
    results_have_the_order_of_the_items,
    any_chunk_size_gives_the_same,
    many_items,
    no_items,
    one_item,
    an_endless_iterator_is_pulled_no_further_than_the_buffer,
    an_iterator_of_items_that_fails_fails_the_map,
    results_before_the_error_are_delivered,
    a_map_after_a_failed_map,
    unordered_gives_each_result_once,
    chunk_size_0_is_refused,
    several_iterables_end_with_the_shortest,
    starmap_unpacks,
    a_timeout_ends_the_waiting,
    two_maps_at_once,
    maps_from_two_threads,
    a_map_that_nobody_reads_hurts_nobody,
    functions_travel_by_value,
    outcomes_have_every_task,
]
