"""Writes points as dataset x of an HDF5 file and tells of their Gram matrix, as JSON:
python gram_matrix.py FILE GAMMA"""

import json
import sys

import h5py
import numpy as np
from scipy.spatial.distance import cdist

x = np.random.default_rng(7).normal(size=(53, 3))
with h5py.File(sys.argv[1], "w") as file:
    file["group/x"] = x
gram = np.exp(-cdist(x, x, "sqeuclidean") / (2 * float(sys.argv[2]) ** 2))
print(json.dumps({"trace": np.trace(gram), "norm": np.linalg.norm(gram), "mean": gram.mean()}))
