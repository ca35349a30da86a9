"""What numpy finds in an npy file, as JSON: python load_npy.py FILE"""

import json
import sys

import numpy as np

array = np.load(sys.argv[1])


def plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.void):
        return [plain(value[name]) for name in value.dtype.names]
    return value.item()


print(json.dumps({"names": array.dtype.names, "values": [plain(row) for row in array]}))
