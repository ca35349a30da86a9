"""A worker of a program that cannot be run again, such as a notebook: serves, and does nothing else."""

from __future__ import annotations

from ._executor import Executor

if __name__ == "__main__":
    Executor()
