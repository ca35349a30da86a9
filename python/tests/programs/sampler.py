"""emcee with a pool, as programs of schwimmbad's pools have it."""

import sys

import emcee
import numpy as np

from rankpool import Pool

WALKERS, DIMENSIONS, STEPS = 16, 3, 12


def log_probability(x, scale):
    return -0.5 * scale * np.sum(x**2)


def chain(pool):
    start = np.random.default_rng(7).normal(size=(WALKERS, DIMENSIONS))
    sampler = emcee.EnsembleSampler(WALKERS, DIMENSIONS, log_probability, args=[2.0], pool=pool)
    np.random.seed(5)
    state = emcee.State(start, random_state=np.random.RandomState(3).get_state())
    sampler.run_mcmc(state, STEPS)
    return sampler.get_chain(), sampler.get_log_prob()


if __name__ == "__main__":
    with Pool() as pool:
        if not pool.is_master():
            pool.wait()
            sys.exit(0)
        values, probabilities = chain(pool)
    assert values.shape == (STEPS, WALKERS, DIMENSIONS)
    alone = chain(None)
    assert np.array_equal(values, alone[0]) and np.array_equal(probabilities, alone[1])
    print("done")
