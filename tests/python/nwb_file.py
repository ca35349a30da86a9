"""Writes an NWB file whose units are hard to count right: python nwb_file.py FILE"""

import sys
from datetime import datetime, timezone

import numpy as np
from pynwb import NWBHDF5IO, NWBFile

random = np.random.default_rng(20240)
edges = 0.1 * np.arange(101)  # 0 and 10 are the ends; 0.1 * 3 is a little more than 0.3.
inner = edges[1:-1]
units = [
    [],
    random.uniform(0, 9.75, 200),
    edges,
    np.concatenate([inner - 1e-10, inner + 1e-10]),  # within elephant's tolerance of an edge
    [],
    np.concatenate([inner - 1e-7, inner + 1e-7]),  # outside of it
    [2.5],
    np.cumsum(random.exponential(0.05, 150)),
    [],
]

file = NWBFile("units for tests", "rankpool", datetime(2024, 1, 1, tzinfo=timezone.utc))
for times in units:
    file.add_unit(spike_times=np.sort(np.asarray(times, dtype=float)))
with NWBHDF5IO(sys.argv[1], "w") as io:
    io.write(file)
