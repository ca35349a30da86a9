"""A script that workers cannot import."""

import rankpool

if __name__ != "__main__":
    raise ImportError("the module that is on rank 0 only")


class Here:
    pass


with rankpool.Executor() as executor:
    assert list(executor.map(abs, [-1, 2])) == [1, 2], "what needs nothing of the script works"
    try:
        list(executor.map(abs, [Here()]))
    except Exception as error:
        assert "the module that is on rank 0 only" in repr(error), repr(error)
    else:
        raise AssertionError("a class of the script is not known there")
print("done")
