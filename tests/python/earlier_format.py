"""Makes of a result file what programs of format 1, 2 or 3 wrote: python earlier_format.py FILE FORMAT"""

import sys

import h5py
import numpy as np


def options_into_lists(group):
    """Values and their mask become a group of the values that are there, and offsets."""
    for name, node in list(group.items()):
        if isinstance(node, h5py.Group):
            options_into_lists(node)
        elif f"{name}_present" in group:
            values, present = node[:], group[f"{name}_present"][:]
            del group[name], group[f"{name}_present"]
            offsets = np.concatenate([[0], np.cumsum(present)]).astype("u8")
            group.create_dataset(f"{name}/values", data=values[present])
            group.create_dataset(f"{name}/offsets", data=offsets)


wanted = int(sys.argv[2])
with h5py.File(sys.argv[1], "r+") as file:
    options_into_lists(file)
    if wanted < 3 and "inputs" in file:
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
