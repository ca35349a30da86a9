"""A script without a guard: workers come as far as the executor."""

import rankpool


def double(n):
    return 2 * n


with rankpool.Executor() as executor:
    assert list(executor.map(double, range(5))) == [0, 2, 4, 6, 8]
print("done")
