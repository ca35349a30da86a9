"""What `rankpool.futures` has of `mpi4py.futures`."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from typing import Any

from rankpool import UsageError
from rankpool.futures import Executor, MPICommExecutor, MPIPoolExecutor, as_completed, wait

SEEN: list[str] = []


def prepare(word: str) -> None:
    SEEN.append(word)


def seen(_item: object) -> list[str]:
    return SEEN


def square(n: int) -> int:
    return n * n


def surroundings(_item: int) -> tuple[str, str, str | None]:
    return sys.path[-1], os.getcwd(), os.environ.get("OF_A_TEST")


def refused(kind: type[BaseException], *arguments: Any, **named: Any) -> str:
    try:
        MPIPoolExecutor(*arguments, **named)
    except kind as error:
        return str(error)
    raise AssertionError(f"taken: {arguments} {named}")


def methods() -> None:
    with MPIPoolExecutor(initializer=prepare, initargs=("initialised",)) as executor:
        assert isinstance(executor, Executor)
        assert executor.bootup() is executor and executor.num_workers >= 1
        assert list(executor.map(square, range(100))) == [n * n for n in range(100)]
        assert list(executor.map(pow, [2, 3], [5, 6], chunksize=2, timeout=60)) == [32, 729]
        assert list(executor.starmap(pow, [(2, 5), (3, 6)])) == [32, 729]
        assert sorted(executor.map(square, range(100), unordered=True)) == [n * n for n in range(100)]
        assert list(executor.map(square, range(100), buffersize=5)) == [n * n for n in range(100)]
        futures = [executor.submit(square, n) for n in range(8)]
        assert {future.result() for future in as_completed(futures)} == {n * n for n in range(8)}
        assert not wait([executor.submit(seen, 0)], timeout=60).not_done
        assert executor.submit(seen, 0).result() == ["initialised"]
    try:
        executor.submit(square, 1)
    except RuntimeError:
        pass
    else:
        raise AssertionError("taken after the shutdown")


def one_after_another() -> None:
    for count in range(5):
        with MPIPoolExecutor() as executor:
            assert list(executor.map(square, range(count))) == [n * n for n in range(count)]
    executor = MPIPoolExecutor()
    future = executor.submit(square, 3)
    executor.shutdown(wait=True)
    assert future.result() == 9


def settings_of_workers() -> None:
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.realpath(folder)
        with open(os.path.join(folder, "only_there.py"), "w") as module:
            module.write("import os\n\ndef setup(name):\n    os.environ['OF_A_TEST'] += name\n")
        sys.path.append(folder)
        import only_there  # type: ignore[import-not-found]

        sys.path.remove(folder)
        settings: dict[str, Any] = {
            "path": [folder],
            "wdir": folder,
            "env": {"OF_A_TEST": "set and "},
            "main": True,
        }
        with MPIPoolExecutor(
            initializer=only_there.setup, initargs=("there",), use_pkl5=True, **settings
        ) as executor:
            for found in executor.map(surroundings, range(8), chunksize=1):
                assert found == (folder, folder, "set and there"), found
        os.chdir(here)


def refusals() -> None:
    for name in ("python_exe", "python_args", "mpi_info", "globals", "backoff", "service"):
        assert name in refused(UsageError, **{name: "x"})
    assert "main" in refused(UsageError, main=False)
    assert "colour" in refused(TypeError, colour=3)
    refused(ValueError, 0)
    refused(TypeError, initializer=3)


def communicators() -> None:
    with MPICommExecutor() as executor:
        assert executor is not None
        assert list(executor.map(square, range(10))) == [n * n for n in range(10)]
    for wrong, kind in (({"root": 1}, UsageError), ({"comm": 3}, TypeError)):
        try:
            MPICommExecutor(**wrong)
        except kind:
            continue
        raise AssertionError(f"taken: {wrong}")


if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        methods()
        one_after_another()
        communicators()
    assert len({str(warning.message) for warning in told}) == len(told), [
        str(warning.message) for warning in told
    ]
    for warning in told:
        print(warning.message)
    settings_of_workers()
    refusals()
    print("done")
