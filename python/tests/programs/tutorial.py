"""The tutorial of `elephant.parallel` with its import changed: firing rates and time histograms."""

import warnings

import numpy as np
import quantities as pq
from elephant.spike_train_generation import homogeneous_poisson_process
from elephant.statistics import mean_firing_rate, time_histogram

from rankpool.parallel import MPICommExecutor, MPIPoolExecutor, ProcessPoolExecutor, SingleProcess

warnings.filterwarnings("ignore")

# Firing rates of 8 spike trains, in four ways.
rate = 10 * pq.Hz
spiketrains = [homogeneous_poisson_process(rate, t_stop=10 * pq.s) for _ in range(8)]

firing_rate0 = SingleProcess().execute(mean_firing_rate, spiketrains)
print("rates of a single process:", len(firing_rate0))
firing_rate1 = ProcessPoolExecutor().execute(mean_firing_rate, spiketrains)
firing_rate2 = MPIPoolExecutor().execute(mean_firing_rate, spiketrains)
firing_rate3 = MPICommExecutor().execute(mean_firing_rate, spiketrains)
for rates in (firing_rate1, firing_rate2, firing_rate3):
    assert rates == firing_rate0, (rates, firing_rate0)
    assert all(each.units == firing_rate0[0].units for each in rates)

# Time histograms over 8 bin sizes, by a function that finds the spike trains by their global name.
spiketrains = [homogeneous_poisson_process(rate, t_stop=10 * pq.s) for _ in range(8)]


def my_custom_function(bin_size):
    return time_histogram(spiketrains, bin_size, output="counts")


bin_sizes = np.linspace(0.1, 1, num=8) * pq.s
expected = SingleProcess().execute(my_custom_function, bin_sizes)
for executor in (ProcessPoolExecutor(), MPIPoolExecutor(), MPICommExecutor()):
    found = executor.execute(my_custom_function, bin_sizes)
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert (
            type(one) is type(other)
            and one.sampling_period == other.sampling_period
            and one.units == other.units
        )
        assert np.array_equal(one.magnitude, other.magnitude)
print(ProcessPoolExecutor(max_workers=2), MPIPoolExecutor())
print("done")
