"""Surrogates of a spike train with elephant, a task for each, whose random numbers are those of the task."""

import random

import neo
import numpy as np
import quantities as pq
from elephant.spike_train_surrogates import surrogates

import rankpool
from rankpool.futures import MPIPoolExecutor
from rankpool.parallel import MPIPoolExecutor as Parallel

METHODS = ["shuffle_isis", "dither_spikes", "jitter_spikes"]


def surrogate(number, train):
    seed = int(rankpool.task().rng().integers(2**31))
    random.seed(seed)
    np.random.seed(seed)
    [made] = surrogates(train, n_surrogates=1, method=METHODS[number % len(METHODS)], dt=15 * pq.ms)
    return made


if __name__ == "__main__":
    times = np.sort(np.random.default_rng(1).uniform(0, 1000, 60))
    train = neo.SpikeTrain(times, units="ms", t_stop=1000, name="measured")
    made = Parallel().execute(surrogate, range(9), train=train)
    assert all(isinstance(each, neo.SpikeTrain) and each.t_stop == train.t_stop for each in made)
    assert all(len(each) <= len(train) and not np.array_equal(each.magnitude, times) for each in made)
    with MPIPoolExecutor() as executor:
        again = list(executor.starmap(surrogate, [(number, train) for number in range(9)], chunksize=1))
    assert len(made) == len(again)
    assert all(np.array_equal(one.magnitude, other.magnitude) for one, other in zip(made, again))
    print("done")
