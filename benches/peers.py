"""The peers on the work of throughput.rs: `peers.py local`, or `mpiexec -n 2 python -m mpi4py.futures peers.py mpi`."""

import json
import sys
import time


def same(value):
    return value


def rate(name, tasks, run):
    began = time.perf_counter()
    assert sum(run()) == tasks * (tasks - 1) // 2
    spent = time.perf_counter() - began
    print(json.dumps({"what": name, "tasks_per_s": round(tasks / spent)}), flush=True)


def mpi():
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        list(pool.map(same, range(100)))
        for tasks, chunk in ((5_000, 1), (300_000, 100), (1_000_000, 1000)):
            rate(f"mpi4py.futures chunk {chunk}", tasks, lambda: pool.map(same, range(tasks), chunksize=chunk))
        trips = []
        for value in range(1000):
            began = time.perf_counter()
            pool.submit(same, value).result()
            trips.append(1e6 * (time.perf_counter() - began))
        print(json.dumps({"what": "mpi4py.futures submit", "p50_us": round(sorted(trips)[500], 1)}))
        block = bytes(1 << 20)
        began = time.perf_counter()
        count = sum(1 for _ in pool.map(same, [block] * 200))
        print(json.dumps({"what": "mpi4py.futures 1 MiB", "MiB_per_s": round(2 * count / (time.perf_counter() - began))}))


def local():
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import Pool

    from joblib import Parallel, delayed

    with Pool(2) as pool:
        pool.map(same, range(100))
        rate("multiprocessing.Pool chunk 1", 100_000, lambda: pool.map(same, range(100_000), chunksize=1))
        rate("multiprocessing.Pool default", 3_000_000, lambda: pool.map(same, range(3_000_000)))
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(same, range(100)))
        rate("ProcessPoolExecutor chunk 1", 10_000, lambda: pool.map(same, range(10_000)))
    with Parallel(n_jobs=2) as pool:
        pool(delayed(same)(value) for value in range(100))
        rate("joblib.Parallel auto", 300_000, lambda: pool(delayed(same)(value) for value in range(300_000)))


if __name__ == "__main__":
    {"mpi": mpi, "local": local}[sys.argv[1]]()
