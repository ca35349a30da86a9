"""rankpool's Python package and its peers on the same work.

Each prints JSON lines, `table` makes a table of them. benches/python.sh says which are started, and how. The
function is `abs` on integers, but for arrays of 1 MiB, walkers of emcee and a grid search of scikit-learn.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

BLOCK = 1 << 20


def tell(name: str, **figures: float) -> None:
    print(json.dumps({"name": name, **figures}), flush=True)


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def rate(run: Callable[[Iterable[int]], Iterable[int]], tasks: int) -> int:
    """Tasks a second, the best of three; the first second is not counted."""

    def once() -> None:
        assert sum(run(range(-tasks, 0))) == tasks * (tasks + 1) // 2

    once()
    return round(tasks / min(seconds(once) for _ in range(3)))


def trip(submit: Callable[[int], int], count: int = 1000) -> float:
    """Microseconds from a submit to its result, the median."""
    times = sorted(seconds(lambda: submit(-5)) for _ in range(count))
    return round(1e6 * times[count // 2], 1)


def arrays(run: Callable[[list[Any]], Iterable[Any]], count: int = 200) -> int:
    """MiB a second of arrays of 1 MiB there and back, both ways counted."""
    import numpy

    items = [numpy.zeros(BLOCK // 8) for _ in range(count)]
    list(run(items[:10]))
    took = min(seconds(lambda: list(run(items))) for _ in range(3))
    return round(2 * count / took)


def same(value: Any) -> Any:
    return value


def one_worker(name: str, pool: Any) -> None:
    """An executor of one worker, with the interface of concurrent.futures."""
    tell(
        name,
        chunk_1=rate(lambda items: pool.map(abs, items, chunksize=1), 5_000),
        submit_us=trip(lambda value: pool.submit(abs, value).result()),
        arrays=arrays(lambda items: pool.map(same, items)),
    )


def rankpool_one() -> None:
    import rankpool

    with rankpool.Executor() as pool:
        one_worker("rankpool", pool)


def futures_one() -> None:
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        one_worker(f"mpi4py.futures, back-off {os.environ.get('MPI4PY_FUTURES_BACKOFF', 'default')}", pool)


def buffers() -> None:
    """What MPI itself does with arrays: Send and Recv of buffers by mpi4py."""
    import numpy
    from mpi4py import MPI

    comm, count = MPI.COMM_WORLD, 200
    here, there = numpy.zeros(BLOCK // 8), numpy.zeros(BLOCK // 8)

    def exchange() -> None:
        for _ in range(count):
            if comm.rank == 0:
                comm.Send(here, 1)
                comm.Recv(there, 1)
            else:
                comm.Recv(there, 0)
                comm.Send(there, 0)

    exchange()
    took = min(seconds(exchange) for _ in range(3))
    if comm.rank == 0:
        tell("mpi4py Send and Recv", arrays=round(2 * count / took))


def rankpool_two() -> None:
    import rankpool

    with rankpool.Executor() as pool:
        tell("rankpool", bulk=rate(lambda items: pool.map(abs, items), 500_000))


def futures_two() -> None:
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        for chunk in (100, 1000, 10_000):
            found = rate(lambda items, chunk=chunk: pool.map(abs, items, chunksize=chunk), 500_000)
            tell("mpi4py.futures", bulk=found, chunk=chunk)


def multiprocessing_two() -> None:
    from multiprocessing import Pool

    with Pool(2) as pool:
        tell("multiprocessing.Pool", bulk=rate(lambda items: pool.map(abs, items), 500_000))


def joblib_two() -> None:
    from joblib import Parallel, delayed

    with Parallel(n_jobs=2) as pool:
        tell("joblib, loky", bulk=rate(lambda items: pool(delayed(abs)(item) for item in items), 50_000))


def rankpool_start() -> None:
    import rankpool

    with rankpool.Executor() as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]


def futures_start() -> None:
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]


def likelihood(position: Any) -> float:
    """Takes a millisecond of CPU time."""
    until = time.process_time() + 1e-3
    while time.process_time() < until:
        pass
    return -0.5 * float((position**2).sum())


def walk(pool: Any) -> float:
    """Milliseconds a step of 64 walkers; 32 ms is what two workers can do at best."""
    import emcee
    import numpy

    begin = numpy.random.default_rng(1).standard_normal((64, 3))
    sampler = emcee.EnsembleSampler(64, 3, likelihood, pool=pool)
    sampler.run_mcmc(begin, 5)
    return round(1e3 * seconds(lambda: sampler.run_mcmc(None, 40)) / 40, 1)


def rankpool_emcee() -> None:
    import rankpool

    with rankpool.Pool() as pool:
        tell("rankpool", emcee_ms=walk(pool))


def schwimmbad_emcee() -> None:
    from schwimmbad import MPIPool

    with MPIPool() as pool:
        if not pool.is_master():
            pool.wait()
            sys.exit()
        tell("schwimmbad.MPIPool", emcee_ms=walk(pool))


def search() -> float:
    """Seconds of a grid search, the best of three."""
    from sklearn.datasets import make_classification
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    x, y = make_classification(1000, 20, random_state=1)
    grid = GridSearchCV(SVC(), {"C": [0.1, 0.3, 1, 3, 10], "gamma": [0.01, 0.03, 0.1, 0.3]}, n_jobs=-1)
    grid.fit(x, y)
    return round(min(seconds(lambda: grid.fit(x, y)) for _ in range(3)), 3)


def rankpool_search() -> None:
    import joblib

    import rankpool.joblib

    rankpool.joblib.register()
    with joblib.parallel_config("rankpool"):
        tell("rankpool", search_s=search())


def joblib_search() -> None:
    import joblib

    with joblib.parallel_config("loky", n_jobs=2):
        tell("joblib, loky", search_s=search())


def table() -> None:
    """A table of the lines on standard input: the best of all rounds, and how often as good rankpool is."""
    found: dict[tuple[str, str], float] = {}
    for line in sys.stdin:
        if not line.startswith("{"):
            continue  # Launchers write lines of their own among them.
        figures = json.loads(line)
        name = figures.pop("name")
        figures.pop("chunk", None)
        for figure, value in figures.items():
            better = min if figure.endswith(("_us", "_ms", "_s")) else max
            found[figure, name] = better(value, found.get((figure, name), value))
    print("| | rankpool | peer | | times as good |\n|---|---|---|---|---|")
    for figure, what in {
        "chunk_1": "tasks a second, chunk 1, one worker",
        "bulk": "tasks a second, default chunks, two workers (mpi4py.futures: its best chunk)",
        "submit_us": "submit to result, microseconds",
        "arrays": "arrays of 1 MiB there and back, MiB a second",
        "start_s": "import, start and two tasks, `mpiexec -n 3`, seconds",
        "emcee_ms": "emcee, 64 walkers of 1 ms, milliseconds a step",
        "search_s": "GridSearchCV of 100 fits, seconds",
    }.items():
        own = found.get((figure, "rankpool"))
        for (other, name), value in found.items():
            if other == figure and name != "rankpool" and own is not None:
                ratio = value / own if figure.endswith(("_us", "_ms", "_s")) else own / value
                print(f"| {what} | {own:,} | {name} | {value:,} | {ratio:.2f} |")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
