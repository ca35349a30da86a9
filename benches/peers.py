"""The peers on the work of `rankpool bench`, each at its best. Prints a JSON object.

peers.py multiprocessing | processes | joblib              two processes of this host
mpiexec -n 2 python -m mpi4py.futures peers.py futures     mpi4py.futures
mpiexec -n 2 python peers.py schwimmbad                    schwimmbad's MPIPool
"""

import json
import os
import sys
import time

BLOCK = 1 << 20


def same(value):
    return value


def rate(tasks, run):
    """Tasks a second; `run` gives the results of that many."""
    began = time.perf_counter()
    assert sum(run(tasks)) == tasks * (tasks - 1) // 2
    return round(tasks / (time.perf_counter() - began))


def best(tasks, chunks, run):
    """The best rate over chunk sizes, and the size."""
    rates = [(rate(tasks, lambda n: run(n, chunk)), chunk) for chunk in chunks]
    return dict(zip(("best", "best_chunk"), max(rates)))


def trips(submit, count=500):
    times = []
    for value in range(count):
        began = time.perf_counter()
        submit(value)
        times.append(1e6 * (time.perf_counter() - began))
    times.sort()
    return {"submit_p50_us": round(times[count // 2], 1), "submit_p99_us": round(times[count * 99 // 100], 1)}


def blocks(run, count=200):
    began = time.perf_counter()
    assert all(len(back) == BLOCK for back in run([bytes(BLOCK)] * count))
    return {"block_MiB_per_s": round(2 * count / (time.perf_counter() - began))}


def of_executor(name, pool, chunks):
    """What has the interface of concurrent.futures."""
    list(pool.map(same, range(100)))
    burst = lambda n: [future.result() for future in [pool.submit(same, value) for value in range(n)]]
    tell(
        name,
        chunk_1=rate(5_000, lambda n: pool.map(same, range(n))),
        **best(500_000, chunks, lambda n, chunk: pool.map(same, range(n), chunksize=chunk)),
        **trips(lambda value: pool.submit(same, value).result()),
        burst=rate(10_000, burst),
        **blocks(lambda items: pool.map(same, items)),
    )


def tell(name, **figures):
    print(json.dumps({"what": "peer", "name": name, **figures}), flush=True)


def futures():
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        backoff = os.environ.get("MPI4PY_FUTURES_BACKOFF")
        name = "mpi4py.futures" + ("" if backoff is None else f", back-off {backoff}")
        of_executor(name, pool, (100, 1000, 10_000))


def schwimmbad():
    from schwimmbad import MPIPool

    pool = MPIPool()
    if not pool.is_master():
        pool.wait()
        return
    pool.map(same, range(100))
    tell("schwimmbad.MPIPool", chunk_1=rate(50_000, lambda n: pool.map(same, list(range(n)))),
         **blocks(lambda items: pool.map(same, items)))
    pool.close()


def multiprocessing():
    from multiprocessing import Pool

    with Pool(2) as pool:
        pool.map(same, range(100))
        burst = lambda n: [result.get() for result in [pool.apply_async(same, (value,)) for value in range(n)]]
        tell(
            "multiprocessing.Pool",
            chunk_1=rate(50_000, lambda n: pool.map(same, range(n), chunksize=1)),
            **best(2_000_000, (1000, 10_000, None), lambda n, chunk: pool.map(same, range(n), chunksize=chunk)),
            **trips(lambda value: pool.apply(same, (value,))),
            burst=rate(20_000, burst),
            **blocks(lambda items: pool.map(same, items, chunksize=1)),
        )


def processes():
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        of_executor("ProcessPoolExecutor", pool, (1000, 10_000))


def joblib():
    from joblib import Parallel, delayed

    def run(pool, n):
        return pool(delayed(same)(value) for value in range(n))

    with Parallel(n_jobs=2, batch_size=1) as pool:
        run(pool, 100)
        chunk_1 = rate(5_000, lambda n: run(pool, n))
        moved = blocks(lambda items: pool(delayed(same)(item) for item in items))
    with Parallel(n_jobs=2) as pool:
        run(pool, 10_000)
        automatic = rate(200_000, lambda n: run(pool, n))
    tell("joblib.Parallel", chunk_1=chunk_1, best=automatic, best_chunk="auto", **moved)


if __name__ == "__main__":
    {
        "futures": futures,
        "schwimmbad": schwimmbad,
        "multiprocessing": multiprocessing,
        "processes": processes,
        "joblib": joblib,
    }[sys.argv[1]]()
