"""Checks of what a task knows of itself and its worker, of retries and time limits."""

from __future__ import annotations

import functools
import os
import pathlib
import random
import signal
import socket
import tempfile
import threading
import time

import numpy
import pytest

import rankpool
from rankpool import Executor, TaskTimeout, TimeLimitError, UsageError

from .maps import nap, square


def itself(_: int) -> tuple[int, int, int, int, int]:
    task = rankpool.task()
    return task.index, task.rank, task.slot, task.attempt, os.getpid()


def numbers(_: int) -> tuple[float, int]:
    generator = rankpool.task().rng()
    assert isinstance(generator, numpy.random.Generator)
    return float(generator.random()), int(generator.integers(1 << 40))


def standard_numbers(_: int) -> float:
    generator = rankpool.task().random()
    assert isinstance(generator, random.Random)
    return generator.random()


def good_at_third(n: int) -> int:
    if n % 5 == 0 and rankpool.task().attempt < 3:
        raise ValueError(f"attempt {rankpool.task().attempt}")
    return n


def where(_: int) -> tuple[bool, bool]:
    return rankpool.in_worker(), threading.current_thread() is threading.main_thread()


def catches_a_signal(_: int) -> bool:
    caught = []
    before = signal.signal(signal.SIGUSR2, lambda *_: caught.append(True))
    os.kill(os.getpid(), signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, before)
    return caught == [True]


def noted(folder: str, n: int) -> int:
    (pathlib.Path(folder) / f"{n}-{os.getpid()}-{time.monotonic_ns()}").touch()
    return n


def a_task_knows_itself(pool: Executor) -> None:
    for chunksize in (None, 1, 5):
        found = list(pool.map(itself, range(23), chunksize=chunksize))
        assert [index for index, *_ in found] == list(range(23))
        ranks = {worker.rank for worker in pool.workers()}
        assert {rank for _, rank, *_ in found} <= ranks, (found, ranks)
        assert all(attempt == 1 for *_, attempt, _ in found)
    with pytest.raises(RuntimeError):
        rankpool.task()


def random_numbers_belong_to_run_and_task(pool: Executor) -> None:
    first = list(pool.map(numbers, range(12), seed=11))
    assert len(set(first)) == 12
    for chunksize in (1, 5, 12):
        assert list(pool.map(numbers, range(12), seed=11, chunksize=chunksize)) == first
    assert list(pool.map(numbers, range(12), seed=11, unordered=True)) != [] and first[0] != first[1]
    other = list(pool.map(numbers, range(12), seed=12))
    assert not set(other) & set(first)
    standard = list(pool.map(standard_numbers, range(12), seed=11))
    assert len(set(standard)) == 12
    assert list(pool.map(standard_numbers, range(12), seed=11, chunksize=4)) == standard
    # The same in every mode: what calls this compares the lines.
    print(f"numbers {first[0]} {first[11]} {standard[5]}", flush=True)


def retries_give_a_task_another_chance(pool: Executor) -> None:
    assert list(pool.map(good_at_third, range(12), retries=2)) == list(range(12))
    with pytest.raises(ValueError, match="attempt 2"):
        list(pool.map(good_at_third, range(12), retries=1))
    outcomes = pool.outcomes(good_at_third, range(6), retries=1)
    assert [outcome.ok for outcome in outcomes] == [False, True, True, True, True, False]


def a_retry_waits_its_delay(pool: Executor) -> None:
    began = time.monotonic()
    assert list(pool.map(good_at_third, [5], retries=2, retry_delay=0.1)) == [5]
    assert time.monotonic() - began > 0.3, "0.1 s, and then 0.2 s"


def a_time_limit_ends_a_map_and_gives_the_outcomes_that_there_are(pool: Executor) -> None:
    naps = [0.0] * 20
    if pool.mode != "serial":
        # What is done is there, though one before it is not.
        naps[0] = 4.0
    outcomes = pool.outcomes(nap, [*naps, *[0.2] * 200], time_limit=2.0)
    assert [outcome.index for outcome in outcomes] == list(range(220))
    found = [outcome.ok for outcome in outcomes[:20]]
    assert found[0] == (pool.mode == "serial") and any(found[1:]), found
    assert not outcomes[219].ok
    assert all(outcome.ok or isinstance(outcome.error, TimeLimitError) for outcome in outcomes)
    with pytest.raises(TimeoutError) as caught:
        list(pool.map(nap, [0.1] * 100, chunksize=1, time_limit=0.4))
    assert isinstance(caught.value, TimeLimitError) and "0.4 seconds" in str(caught.value)
    if pool.mode != "serial":
        time.sleep(2.0)  # Until the long one has ended.
    assert pool.submit(nap, 0.0).result() == 0.0


def a_task_over_its_time_is_ended(pool: Executor) -> None:
    if pool.mode == "serial":
        with pytest.raises(ValueError, match="time"):
            list(pool.map(nap, [0.0], task_timeout=0.5))
        return
    if pool.mode in ("comm", "pool") and not pool.workers()[0].children:
        return  # Its worker is a rank, whose loss would be the end of the others.
    outcomes = pool.outcomes(nap, [0.0, 60.0, 0.1], task_timeout=1.0)
    assert [outcome.ok for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, TaskTimeout) and isinstance(outcomes[1].error, TimeoutError)
    assert list(pool.map(square, range(3))) == [0, 1, 4]


def a_journal_keeps_what_is_done(pool: Executor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal, notes = os.path.join(folder, "map.journal"), os.path.join(folder, "notes")
        os.mkdir(notes)
        first = list(pool.map(noted, [notes] * 6, range(6), journal=journal, label="noted"))
        again = list(pool.map(noted, [notes] * 6, range(6), journal=journal, label="noted"))
        assert first == again == list(range(6))
        assert len(os.listdir(notes)) == 6, "no task ran twice"
        with pytest.raises(ValueError, match="another"):
            list(pool.map(noted, [notes] * 6, range(6), journal=journal, label="another"))
        with pytest.raises(
            ValueError, match=r"item type \(str, int\), and this call has item type \(str, float\)"
        ):
            list(pool.map(noted, [notes] * 6, map(float, range(6)), journal=journal, label="noted"))


def items_of_a_journal_may_be_an_iterator_that_fails(pool: Executor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = pool.map(square, (1 // n for n in (0,)), journal=os.path.join(folder, "map.journal"))
        with pytest.raises(ZeroDivisionError):
            list(results)
        results = pool.map(square, iter([]), journal=os.path.join(folder, "empty.journal"))
        assert list(results) == []


def a_journal_without_a_label_is_of_its_function(pool: Executor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = os.path.join(folder, "map.journal")
        assert list(pool.map(square, range(3), journal=journal)) == [0, 1, 4]
        with pytest.raises(ValueError, match=r"square.*itself"):
            list(pool.map(itself, range(3), journal=journal))
        # By its label it is the same map, whatever the function is called.
        assert list(pool.map(itself, range(3), journal=journal, label="square")) == [0, 1, 4]
        for nameless in (lambda n: n, functools.partial(pow, 2), [].append):
            with pytest.raises(UsageError, match="give the map a label"):
                pool.map(nameless, range(3), journal=os.path.join(folder, "other.journal"))


def tasks_run_on_the_main_thread_of_workers(pool: Executor) -> None:
    assert not rankpool.in_worker()
    if pool.mode == "serial":
        return  # The main thread is the program's own.
    assert set(pool.map(where, range(8))) == {(True, True)}
    assert all(pool.map(catches_a_signal, range(4)))


def workers_are_known(pool: Executor) -> None:
    workers = pool.workers()
    assert len(workers) == pool.num_workers
    assert all(worker.host == socket.gethostname() and worker.pid > 0 and worker.cpus for worker in workers)
    pids = {worker.pid for worker in workers}
    pids |= {pid for worker in workers for pid, _ in worker.children}
    assert {pid for *_, pid in pool.map(itself, range(30))} <= pids


def all_slots_work(pool: Executor) -> None:
    slots = sum(max(1, len(worker.children)) for worker in pool.workers())
    places = {pid for *_, pid in pool.map(slow_itself, range(4 * slots), chunksize=1)}
    assert len(places) == slots, (places, slots)


def slow_itself(n: int) -> tuple[int, int, int, int, int]:
    time.sleep(0.05)
    return itself(n)


CHECKS = [
    workers_are_known,
    all_slots_work,
    a_task_knows_itself,
    random_numbers_belong_to_run_and_task,
    retries_give_a_task_another_chance,
    a_retry_waits_its_delay,
    a_journal_keeps_what_is_done,
    items_of_a_journal_may_be_an_iterator_that_fails,
    a_journal_without_a_label_is_of_its_function,
    tasks_run_on_the_main_thread_of_workers,
    # All workers are there before the next one.
    a_time_limit_ends_a_map_and_gives_the_outcomes_that_there_are,
    a_task_over_its_time_is_ended,
]
