"""What `python -m rankpool` runs: its main part on rank 0, all of it with the names of this file."""

import os
import sys

import rankpool

sys.stdout.write(f"imported as {__name__}\n")


class Point:
    def __init__(self, x):
        self.x = x


def move(point):
    return Point(point.x + 1)


def is_main(_):
    return __name__ == "__main__"


if __name__ == "__main__":

    def here(n):
        """A function that workers do not have by its name."""
        return n + len(sys.argv)

    kind = sys.argv[1] if len(sys.argv) > 1 else "map"
    if kind == "raise":
        raise LookupError("before the executor")
    if kind == "exit":
        sys.exit(3)
    if kind == "nothing":
        print("done")
        sys.exit()
    executor = rankpool.Executor()
    if kind == "raise later":
        executor.submit(pow, 2, 3).result()
        raise LookupError("beside an executor that is open")
    with executor:
        moved = list(executor.map(move, [Point(1), Point(2)]))
        assert [point.x for point in moved] == [2, 3]
        assert all(type(point) is Point for point in moved)
        assert list(executor.map(abs, range(-100, 0))) == list(range(100, 0, -1))
        assert list(executor.map(here, [1, 2])) == [1 + len(sys.argv), 2 + len(sys.argv)]
        assert list(executor.map(lambda n: -n, [1, 2])) == [-1, -2]
    with rankpool.Executor() as executor:
        assert executor.submit(pow, 2, 5).result() == 32
    assert sys.argv == [__file__, *sys.argv[1:]]
    assert __spec__ is not None or sys.path[0] == os.path.dirname(os.path.realpath(__file__))
    print("done")
