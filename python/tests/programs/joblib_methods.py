"""Loops of joblib on rankpool's workers."""

import multiprocessing
import os
import tempfile
import time

import joblib
from joblib import Parallel, delayed

import rankpool
import rankpool.joblib

try:
    import numpy as np
except ImportError:
    np = None


def square(n):
    return n * n


def inner_threads(n):
    """A loop inside of a task: it is not given to other workers, which may all wait as this one does."""
    found = Parallel(n_jobs=2)(delayed(lambda: os.getpid())() for _ in range(4))
    return set(found) == {os.getpid()}, sum(Parallel(n_jobs=2)(delayed(square)(k) for k in range(n)))


def inner_backend(n):
    """The same, by the backend's own name."""
    rankpool.joblib.register()
    with joblib.parallel_config("rankpool"):
        return sum(Parallel()(delayed(square)(k) for k in range(n)))


def pid(seconds):
    time.sleep(seconds)
    return os.getpid()


def fail(n):
    if n == 3:
        raise KeyError("task 3")
    return n


class Unpicklable:
    def __reduce__(self):
        raise TypeError("this object stays here")


def seen(array):
    return os.getpid(), array.flags.writeable, array.ctypes.data, float(array.sum())


def running(folder, n):
    """How many tasks run beside each other at most, this one among them."""
    mark = os.path.join(folder, str(n))
    open(mark, "w").close()
    time.sleep(0.05)
    found = len(os.listdir(folder))
    os.remove(mark)
    return found


def raised(kind, loop, *wanted):
    try:
        loop()
    except kind as error:
        assert all(text in str(error) for text in wanted), error
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_loops(workers):
    assert Parallel()(delayed(square)(n) for n in range(1000)) == [n * n for n in range(1000)]
    assert Parallel()(delayed(lambda n: n + 1)(n) for n in range(5)) == [1, 2, 3, 4, 5]
    assert list(Parallel(return_as="generator")(delayed(square)(n) for n in range(9)))[8] == 64
    assert sorted(Parallel(return_as="generator_unordered")(delayed(square)(n) for n in range(4))) == [
        0,
        1,
        4,
        9,
    ]
    assert Parallel(n_jobs=1)(delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2
    if workers > 1:
        assert len(set(Parallel()(delayed(pid)(0.2) for _ in range(workers)))) == workers


def check_nested(workers):
    assert Parallel()(delayed(inner_threads)(n) for n in range(6)) == [
        (True, sum(map(square, range(n)))) for n in range(6)
    ]
    assert Parallel()(delayed(inner_backend)(n) for n in range(6)) == [
        sum(map(square, range(n))) for n in range(6)
    ]


def check_failures(workers):
    raised(KeyError, lambda: Parallel()(delayed(fail)(n) for n in range(9)), "task 3")
    if workers > 1:  # otherwise nothing is sent
        raised(TypeError, lambda: Parallel()(delayed(square)(Unpicklable()) for _ in range(9)), "stays here")
        raised(
            multiprocessing.TimeoutError, lambda: Parallel(timeout=0.2)(delayed(pid)(s) for s in (1, 0, 0))
        )
        lazily = (delayed(square)(n if n < 50 else Unpicklable()) for n in range(60))
        raised(TypeError, lambda: Parallel()(lazily), "stays here")
    raised(ValueError, lambda: Parallel(n_jobs=0)(delayed(square)(n) for n in range(9)), "n_jobs")
    raised(rankpool.UsageError, lambda: Parallel(mmap_mode="w+")(delayed(square)(1) for _ in range(9)), "w+")
    assert Parallel()(delayed(square)(n) for n in range(9))[8] == 64, "the next loop works"


def check_arrays(workers):
    array = np.ones(1 << 18)
    if workers > 1:
        found = Parallel()(delayed(seen)(array) for _ in range(40))
        assert {(writeable, total) for _, writeable, _, total in found} == {(False, float(1 << 18))}
        # Behind the first time it lies on a worker once, wherever its tasks find it.
        later = {(pid, place) for pid, _, place, _ in found[len(found) // 2 :]}
        assert len(later) <= workers, later
        assert all(
            writeable
            for _, writeable, _, _ in Parallel(max_nbytes=None)(delayed(seen)(array) for _ in range(9))
        )
        array[:] = 2  # between two loops
        assert {total for *_, total in Parallel()(delayed(seen)(array) for _ in range(9))} == {float(2 << 18)}
        parts = [array[k:] for k in range(4)] * 4
        assert [total for *_, total in Parallel()(delayed(seen)(part) for part in parts)] == [
            2.0 * len(part) for part in parts
        ]


def check_n_jobs(workers):
    if workers > 1:
        with tempfile.TemporaryDirectory() as folder:
            assert (
                max(Parallel(n_jobs=workers - 1)(delayed(running)(folder, n) for n in range(8)))
                <= workers - 1
            )


def main():
    rankpool.joblib.register()
    with joblib.parallel_config("rankpool") as config:
        workers = Parallel()._effective_n_jobs()
        for check in (
            check_loops,
            check_nested,
            check_failures,
            check_n_jobs,
            *([check_arrays] if np else []),
        ):
            check(workers)
    del config
    rankpool.joblib.shutdown()
    with rankpool.Executor() as executor, joblib.parallel_config("rankpool", executor=executor):
        assert Parallel()(delayed(square)(n) for n in range(5)) == [0, 1, 4, 9, 16]
        assert executor.submit(square, 5).result() == 25, "the executor is still its owner's"
    print("done")


main()
