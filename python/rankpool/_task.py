"""What a task may know about itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    import numpy


class Task:
    """The task that runs on this thread; :func:`task` gives it.

    Attributes
    ----------
    index : int
        Its index in its map, from 0; of a submitted task its number in the order of submission.
    attempt : int
        Which attempt this is, from 1.
    rank : int
        The rank that runs it.
    slot : int
        The slot of that rank that runs it, from 0: tasks that run at a time have different ones.
    seed : int
        The seed of its call.
    """

    __slots__ = ("attempt", "index", "rank", "seed", "slot")

    def __init__(self, index: int, attempt: int, rank: int, slot: int, seed: int) -> None:
        self.index = index
        self.attempt = attempt
        self.rank = rank
        self.slot = slot
        self.seed = seed

    def __repr__(self) -> str:
        return f"Task(index={self.index}, attempt={self.attempt}, rank={self.rank}, slot={self.slot})"

    def rng(self) -> numpy.random.Generator:
        """The task's own random numbers, by numpy: of the seed and the index alone.

        They are the same at any number of workers, and each call begins anew.
        """
        import numpy

        return numpy.random.default_rng(numpy.random.SeedSequence(self.seed, spawn_key=(self.index,)))

    def random(self) -> random.Random:
        """As :meth:`rng`, by the standard library."""
        import random

        return random.Random(f"{self.seed} {self.index}")


#: The executor whose initializer has run, by thread: one that is not Python's own has new locals in each
#: chunk.
initialized: dict[int, str] = {}

#: The threads that have run tasks in this process.
running: set[int] = set()


class _Current(threading.local):
    """The block of items that runs on this thread."""

    #: The iterator that the items come from; ``None`` outside of a task.
    items: Any = None
    count: int = 0
    first: int = 0
    place: tuple[int, int, int, int] = (1, 0, 0, 0)
    #: The thread is among those that run tasks.
    known: bool = False


current = _Current()


def take_down() -> None:
    """This thread runs tasks."""
    running.add(threading.get_ident())
    current.known = True


def task() -> Task:
    """The task that runs on this thread.

    Raises
    ------
    RuntimeError
        Outside of a task.

    Examples
    --------
    >>> import rankpool
    >>> def index(item):
    ...     return rankpool.task().index
    >>> with rankpool.Executor(mode="serial") as pool:
    ...     list(pool.map(index, "abc"))
    [0, 1, 2]
    """
    if current.items is None:
        raise RuntimeError("task() is for code that rankpool runs as a task")
    done = current.count - current.items.__length_hint__()
    return Task(current.first + done - 1, *current.place)


def in_worker() -> bool:
    """Whether this code runs as a task.

    >>> in_worker()
    False
    """
    return current.items is not None
