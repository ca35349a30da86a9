"""Checks of values that all tasks share, and of arrays."""

from __future__ import annotations

import os

import numpy
import pytest

from rankpool import Executor, task

from .maps import square


class Counted:
    """Counts how often it has arrived in a process."""

    arrivals = 0

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def __getstate__(self) -> list[str]:
        return self.words

    def __setstate__(self, words: list[str]) -> None:
        Counted.arrivals += 1
        self.words = words


def arrivals(shared: Counted, k: int) -> tuple[int, int, int]:
    return os.getpid(), Counted.arrivals, len(shared.words[k % 2])


def length(shared: Counted, k: int) -> int:
    return len(shared.words[k])


def total(array: numpy.ndarray, factor: int) -> float:
    return float(array.sum()) * factor


def doubled(array: numpy.ndarray) -> numpy.ndarray:
    array *= 2  # What arrives may be written to, as what pickle gives.
    return array


def a_scattered_value_reaches_each_worker_once(pool: Executor) -> None:
    words = pool.scatter(Counted(["one", "three"]))
    tasks = 40
    found = list(pool.starmap(arrivals, [(words, k) for k in range(tasks)], chunksize=2))
    found += pool.map(arrivals, [words] * tasks, range(tasks), chunksize=1)
    assert [letters for _, _, letters in found] == [3, 5] * tasks
    assert all(count <= 1 for _, count, _ in found), found


def a_scattered_value_serves_several_calls(pool: Executor) -> None:
    words = pool.scatter(Counted(["one", "three"]))
    assert list(pool.map(length, [words, words], [1, 0])) == [5, 3]
    assert pool.submit(length, words, 1).result() == 5
    assert pool.submit(length, k=0, shared=words).result() == 3
    array = pool.scatter(numpy.arange(100_000.0))
    assert list(pool.map(total, [array] * 3, range(3))) == [0.0, 4999950000.0, 9999900000.0]
    with pytest.raises(ValueError, match="read-only"):
        list(pool.map(numpy.ndarray.fill, [array], [0.0]))
    assert pool.submit(total, array, 1).result() == 4999950000.0


kept: list[numpy.ndarray] = []


def spoiled(number: int, array: numpy.ndarray) -> tuple[float, bool, bool, bool]:
    found = float(array.sum())
    array[:] = -1
    if task().attempt == 1:
        raise ValueError(number)
    kept.append(array)  # Its memory is not used again for the next ones.
    whole = all(float(seen.sum()) == -seen.size for seen in kept)
    return found, whole, array.flags.aligned, stays(array)


def stays(array: numpy.ndarray) -> bool:
    """Whether an array lies where it arrived, and not in a copy."""
    owner: object = array
    while isinstance(owner, numpy.ndarray):
        owner = owner.base
    return isinstance(owner, memoryview) and isinstance(owner.obj, numpy.ndarray)


def what_a_task_does_to_its_arrays_is_seen_by_nobody_else(pool: Executor) -> None:
    for size in (1000, 10_000, 200_000):  # Inside the pickle, beside it, and many times its size.
        for chunksize in (1, 3):
            arrays = [numpy.full(size, float(number)) for number in range(12)]
            seen = list(pool.map(spoiled, range(12), arrays, retries=1, chunksize=chunksize))
            assert [found[0] for found in seen] == [float(size * number) for number in range(12)], size
            assert all(whole and aligned for _, whole, aligned, _ in seen), seen
            assert all(float(array[0]) == number for number, array in enumerate(arrays))
            if size == 200_000 and chunksize == 1 and pool.mode != "serial":
                assert all(stay for *_, stay in seen), seen


def numbers_are_added_up_in_the_same_order_wherever_they_lie(pool: Executor) -> None:
    array = numpy.random.default_rng(4).standard_normal(200_000)
    for chunksize in (1, 2):
        sums = list(pool.map(numpy.sum, [array] * 4, chunksize=chunksize))
        sums.append(pool.submit(numpy.sum, array).result())
        assert {total.hex() for total in map(float, sums)} == {float(array.sum()).hex()}


def arrays_come_back_with_the_same_bits(pool: Executor) -> None:
    generator = numpy.random.default_rng(5)
    arrays = [generator.standard_normal(size) for size in (0, 1, 7, 1000, 200_000)]
    arrays += [
        numpy.asfortranarray(generator.standard_normal((30, 40))),
        numpy.arange(12, dtype="u2").reshape(3, 4),
    ]
    back = list(pool.map(doubled, [array.copy() for array in arrays]))
    for array, result in zip(arrays, back):
        assert result.dtype == array.dtype and result.shape == array.shape
        assert numpy.array_equal(result, array * 2)
        result[...] = 0
    alone = list(pool.map(doubled, [arrays[4]] * 4, chunksize=1))
    for number, result in enumerate(alone):
        assert result.flags.aligned and (stays(result) or pool.mode == "serial"), number
        assert numpy.array_equal(result, arrays[4] * 2)
        result[...] = 0


def an_array_in_a_closure(pool: Executor) -> None:
    weights = numpy.arange(50_000.0)
    assert list(pool.map(lambda k: float(weights[k]), [3, 49_999])) == [3.0, 49_999.0]


def large_values(pool: Executor) -> None:
    block = os.urandom(3 << 20)
    assert list(pool.map(bytes, [block, block])) == [block, block]
    assert pool.submit(bytes, block).result() == block
    assert pool.submit(square, 2).result() == 4


CHECKS = [
    a_scattered_value_reaches_each_worker_once,
    a_scattered_value_serves_several_calls,
    arrays_come_back_with_the_same_bits,
    what_a_task_does_to_its_arrays_is_seen_by_nobody_else,
    numbers_are_added_up_in_the_same_order_wherever_they_lie,
    an_array_in_a_closure,
    large_values,
]
