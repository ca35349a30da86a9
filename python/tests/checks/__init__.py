"""The checks: each is given an executor, in whatever mode, and leaves it usable."""
