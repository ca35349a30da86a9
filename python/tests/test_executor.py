"""The executor's parts that need no workers, and what its maps do with items, functions and options."""

from __future__ import annotations

import pathlib
import pickle
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

from rankpool import (
    Executor,
    PicklingError,
    UsageError,
    _bar,
    _blocks,
    _launched,
    _pickling,
    _program,
    _script,
)


def blocks(items: list[Any], size: int | None = None, slots: int = 2) -> _blocks.Blocks:
    return _blocks.Blocks(items, len(items), size, slots)


def test_blocks_grow_while_items_are_quick_and_shrink_when_they_are_slow() -> None:
    cut = blocks(list(range(1_000_000)))
    assert cut.size == 1
    for _ in range(4):
        cut.learn(1000 * cut.size, cut.size)
    assert cut.size == _blocks.BLOCK_NANOS // 1000
    for _ in range(40):
        cut.learn(10_000_000 * cut.size, cut.size)
    assert cut.size == 1


def test_blocks_of_the_quickest_items_stay_in_a_cache_and_are_as_large_as_they_are_to_be() -> None:
    cut = blocks(list(range(1_000_000)))
    for _ in range(4):
        cut.learn(cut.size, cut.size)
    assert cut.size == _blocks.BLOCK_ITEMS
    assert not cut.grows


def test_a_map_that_is_closed_has_no_more_results() -> None:
    with Executor(mode="serial") as pool:
        results = pool.map(abs, range(100), chunksize=10)
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined]
        assert list(results) == []


def test_what_few_programs_need_is_not_imported_before_they_need_it() -> None:
    seldom = "{'cloudpickle', 'ctypes', 'h5py', 'json', 'multiprocessing', 'numpy', 'random', 'tqdm', 'uuid'}"
    code = f"import sys, rankpool; print(sorted({seldom} & set(sys.modules)), rankpool.Pool, rankpool.read)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert found.stdout.startswith("[] <class 'rankpool.pool.Pool'> <function read"), found.stdout


def test_the_last_blocks_leave_something_for_each_worker() -> None:
    cut = blocks(list(range(80)))
    cut.learn(1, 1)
    assert cut.size == 80 // (4 * 2)


def test_a_given_size_stays() -> None:
    cut = blocks(list(range(10)), size=4)
    cut.learn(1, 1)
    found = []
    while (block := cut()) is not None:
        first, _, parts = block
        found.append((first, _pickling.loads(parts)))
    assert found == [(0, [0, 1, 2, 3]), (4, [4, 5, 6, 7]), (8, [8, 9])]


def test_an_item_that_cannot_be_pickled_ends_the_blocks_behind_those_before_it() -> None:
    cut = blocks([1, 2, threading.Lock(), 4], size=4)
    block = cut()
    assert block is not None
    assert _pickling.loads(block[2]) == [1, 2]
    assert cut() is None
    assert isinstance(cut.error, PicklingError)
    assert "item 2" in str(cut.error) and "_thread.lock" in str(cut.error)


def test_large_arrays_lie_beside_the_pickle_and_can_be_written_to() -> None:
    array = numpy.arange(100_000.0)
    parts = _pickling.dumps([array, array[:3]])
    assert [len(part) > 1000 for part in parts] == [False, True]
    large, small = _pickling.loads([parts[0], bytearray(parts[1])])
    large[0] = small[0] = 7.0
    assert array[0] == 0.0 and large[1:].tolist() == array[1:].tolist()


def test_what_workers_have_of_the_main_module_goes_by_name_and_all_else_by_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main = types.ModuleType("__main__")
    exec("def early():\n    return 1\ndef late():\n    return 2\n", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(_pickling, "_shared_main", {"early": main.__dict__["early"]})
    early, late = (_pickling.dumps(main.__dict__[name]) for name in ("early", "late"))
    assert pickle.loads(early[0]) is main.__dict__["early"]
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    assert pickle.loads(late[0])() == 2
    with pytest.raises(AttributeError):
        pickle.loads(early[0])


def test_a_program_that_hosts_others_is_not_run_again_by_workers() -> None:
    assert not _program.runs_again()  # It is pytest.
    assert _program.worker_program()[1][-2:] == ["-m", "rankpool._serve"]


def test_options_that_make_no_sense_are_refused() -> None:
    with Executor(mode="serial") as pool:
        for options in ({"chunksize": 0}, {"buffersize": 0}, {"retries": -1}):
            with pytest.raises(UsageError):
                pool.map(abs, [1], **options)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="colour"):
            pool.starmap(pow, [(1, 2)], colour=3)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(abs, [1])


def test_costs_say_what_begins_first_and_nothing_else_changes() -> None:
    def begun(_: int) -> int:
        return time.monotonic_ns()

    with Executor(mode="threads", max_workers=1) as pool:
        one, three, two = pool.map(begun, [1, 3, 2], cost=lambda n: n)
        assert three < two < one
        assert list(pool.map(pow, [1, 2, 3], [2, 2, 2], cost=lambda n, _: n)) == [1, 4, 9]
        assert sorted(pool.map(abs, [5, 9, 7], cost=float, unordered=True)) == [5, 7, 9]


def test_functions_and_arguments_that_cannot_be_pickled_are_named() -> None:
    with Executor(mode="serial") as pool:
        with pytest.raises(PicklingError, match=r"argument 1 cannot be pickled.*_thread.lock"):
            pool.submit(pow, 2, threading.Lock())
        with pytest.raises(PicklingError, match="argument exp cannot be pickled"):
            pool.submit(pow, 2, exp=threading.Lock())
        with pytest.raises(PicklingError, match="the function cannot be pickled"):
            pool.map(sys.stdout.write, ["x"])


def test_a_map_that_begins_while_another_thread_shuts_down_is_known_to_it() -> None:
    """The thread looks at the open maps just when the first item of one is pulled."""
    looked = threading.Event()

    class Watched(set):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            found = list(super().__iter__())
            looked.set()
            return iter(found)

    pool = Executor(mode="serial")
    pool._maps = Watched()
    shutdown = threading.Thread(target=pool.shutdown, daemon=True)

    def items() -> Iterator[int]:
        shutdown.start()
        assert looked.wait(20)
        yield from range(100)

    results = pool.map(abs, items(), buffersize=2)
    shutdown.join(20)
    assert not shutdown.is_alive(), "the shutdown waits for a map that it does not drain"
    assert list(results)[:2] == [0, 1]


def test_a_warning_is_of_the_line_that_has_called_into_the_package() -> None:
    with pytest.warns(UserWarning, match="mind") as caught:
        _launched.warn("mind")
    assert caught[0].filename == __file__


def test_a_script_keeps_its_annotations() -> None:
    names: dict[str, Any] = {}
    exec(_script._compiled("def f(x: int) -> float: ...", "script.py"), names)
    assert names["f"].__annotations__ == {"x": int, "return": float}


def test_a_script_is_found_by_workers_when_the_program_has_left_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/there/scripts/run.py")
    monkeypatch.chdir(tmp_path)
    assert _program._found(["-u", "scripts/run.py", "7"]) == ["-u", "/there/scripts/run.py", "7"]


def test_the_mode_serial_in_the_environment_needs_no_other_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKPOOL_MODE", "serial")
    with Executor(4) as pool:
        assert pool.mode == "serial" and list(pool.map(abs, [-1])) == [1]


def test_progress_counts_items() -> None:
    with Executor(mode="serial") as pool:
        list(pool.map(abs, range(100)))
        pool.submit(abs, 1).result()
        assert [outcome.ok for outcome in pool.outcomes(float, ["1", "x"])] == [True, False]
        assert pool.progress()[:2] == (102, 1)


def test_lines_of_progress_tell_the_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(_bar.time, "monotonic", lambda: now)
    bar, endless = _bar.Bar(1000, "sweep"), _bar.Bar(None, None)
    now = 8.0
    bar.add(40)
    endless.add(4)
    bar.add(1)
    told = capsys.readouterr().err.splitlines()
    assert told == ["sweep: 40/1000 tasks, 5.0 tasks/s, ETA 3 min 12 s", "4 tasks, 0.5 tasks/s"]
