"""Executors on communicators of mpi4py, under `mpiexec -n 3`."""

from __future__ import annotations

from mpi4py import MPI

import rankpool
from rankpool.futures import MPICommExecutor

world = MPI.COMM_WORLD

with MPICommExecutor(world, root=1) as executor:
    if executor is not None:
        print("root", world.rank, list(executor.map(abs, [-1, -2, -3])), flush=True)
assert world.allreduce(1) == 3, "each rank goes on behind the block"

half = world.Split(world.rank % 2)
with MPICommExecutor(half) as executor:
    if executor is not None:
        print("half", world.rank, executor.mode, list(executor.map(abs, [-1, -2])), flush=True)
half.Free()
world.barrier()

pool = rankpool.Executor()  # Ranks 1 and 2 end with it.
print("world", world.rank, pool.mode, list(pool.map(abs, [-4])), flush=True)
print("done", flush=True)
