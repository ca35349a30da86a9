"""Makes of a result file what programs of format 1 or 2 wrote: python earlier_format.py FILE FORMAT"""

import sys

import h5py
import numpy as np

wanted = int(sys.argv[2])
with h5py.File(sys.argv[1], "r+") as file:
    if "inputs" in file:
        del file["inputs"]
        del file.attrs["inputs_type"]
    if "events" in file:
        del file["events"]
    if wanted == 1:
        trace, attributes = file["trace"][:], dict(file["trace"].attrs)
        # h5py keeps what it knows of texts in the types of the fields.
        fields = [(name, trace.dtype[name]) for name in trace.dtype.names if name not in ("slot", "pid")]
        rows = np.empty(len(trace), dtype=fields)
        for name, _ in fields:
            rows[name] = trace[name]
        del file["trace"]
        file.create_dataset("trace", data=rows, maxshape=(None,), chunks=(1024,))
        file["trace"].attrs.update(attributes)
        for name in ("children", "slots"):
            del file.attrs[name]
    file.attrs["rankpool_format"] = np.uint64(wanted)
