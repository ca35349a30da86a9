"""What elephant says of the units of an NWB file, as JSON: python elephant_results.py FILE ARGUMENTS

ARGUMENTS is {"t_start": number or null, "t_stop": number or null, "bins": [number, ..]}, in s.
"""

import json
import sys
import warnings

import numpy as np
import quantities as pq
from elephant.statistics import mean_firing_rate, time_histogram
from neo import SpikeTrain
from pynwb import NWBHDF5IO

warnings.simplefilter("ignore")  # of spikes that lie in no bin
arguments = json.loads(sys.argv[2])
t_start, t_stop = arguments["t_start"], arguments["t_stop"]
with NWBHDF5IO(sys.argv[1], "r") as io:
    trains = [np.array(times) for times in io.read().units["spike_times"][:]]

seconds = lambda number: None if number is None else number * pq.s
together = np.concatenate(trains)
first = min(0, together.min(), t_start or 0)
last = max(together.max(), t_stop or 0)
recorded = [SpikeTrain(times, t_start=first, t_stop=last, units="s") for times in trains]


def rate(times):
    """None where elephant has no rate: without spikes, or without time, and no t_stop to go by."""
    if len(times):
        rate = float(mean_firing_rate(times, t_start, t_stop))
        return rate if np.isfinite(rate) else None
    try:
        mean_firing_rate(times, t_start, t_stop)
    except ValueError:  # elephant refuses an empty array, but not an empty SpikeTrain
        if t_stop is None:
            return None
    train = SpikeTrain(times, t_start=t_start or 0, t_stop=t_stop, units="s")
    return float(mean_firing_rate(train).rescale("1/s").magnitude)


def counts(bin_size):
    histogram = time_histogram(recorded, bin_size * pq.s, seconds(t_start), seconds(t_stop))
    return histogram.magnitude.flatten().astype(int).tolist()


results = {
    "rates": [rate(times) for times in trains],
    "rate_of_all": float(mean_firing_rate(together, t_start, t_stop)),
    "counts": [counts(bin_size) for bin_size in arguments["bins"]],
}
print(json.dumps(results))
