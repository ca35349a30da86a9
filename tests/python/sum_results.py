"""How many results a file has, and their sum: python sum_results.py FILE"""

import sys

import h5py

with h5py.File(sys.argv[1]) as file:
    results = file["results"][:]
    print(len(results), round(float(results.sum()), 1))
