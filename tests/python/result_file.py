"""What h5py finds in a result file, as JSON: python result_file.py FILE

{"attributes": {name: value}, "data": {path: {"shape": [..], "values": [..], "attributes": {..}, "dims": [..]}}}
"""

import json
import sys

import h5py
import numpy as np


def plain(value):
    """Any value of h5py's as JSON has it; what is not a finite number is text."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.void):
        return {name: plain(value[name]) for name in value.dtype.names}
    if isinstance(value, np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else str(value)
    if isinstance(value, h5py.Reference):
        return "reference"
    return value.item() if isinstance(value, np.generic) else value


data = {}


def visit(path, found):
    if isinstance(found, h5py.Dataset):
        names = h5py.check_enum_dtype(found.dtype)
        data[path] = {
            "shape": found.shape,
            "type": str(found.dtype),
            "names": names,
            "values": plain(found[()]),
            "filters": [found.compression, found.compression_opts],
            "attributes": {name: plain(value) for name, value in found.attrs.items()},
            "dims": [list(dimension.keys()) for dimension in found.dims],
        }


with h5py.File(sys.argv[1]) as file:
    file.visititems(visit)
    print(json.dumps({"attributes": {k: plain(v) for k, v in file.attrs.items()}, "data": data}))
