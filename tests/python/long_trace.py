"""Gives a result file the trace of a long run: `long_trace.py FILE CHUNKS SLOTS`."""

import sys

import h5py
import numpy as np

path, chunks, slots = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(1)
with h5py.File(path, "r+") as file:
    kind = file["trace"].dtype
    trace = np.zeros(chunks, kind)
    order = np.arange(chunks)
    trace["rank"] = 1 + order % slots
    trace["start"] = 3 * order
    trace["count"] = 3
    trace["host"] = [b"node%04d" % host for host in (order % slots) // 64]
    # Each slot runs its chunks one after the other, with a pause of a tenth.
    length = random.lognormal(sigma=0.8, size=chunks) * 600 * slots / chunks
    for slot in range(slots):
        ended = np.cumsum(1.1 * length[slot::slots])
        trace["ended"][slot::slots] = ended
        trace["started"][slot::slots] = ended - length[slot::slots]
        trace["dispatched"][slot::slots] = ended - 1.05 * length[slot::slots]
    trace["slowest_task"] = trace["start"] + 1
    trace["slowest_task_s"] = length / 2
    del file["trace"]
    file.create_dataset("trace", data=trace, chunks=True, maxshape=(None,), compression=1)
    for name, value in (("workers", slots), ("slots", slots), ("children", 0)):
        file.attrs.modify(name, np.uint64(value))
