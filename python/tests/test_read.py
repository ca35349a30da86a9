"""`rankpool.read`: result files of the program's own runs, and each way in which a row can lie."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
from launching import Run

import rankpool

h5py = pytest.importorskip("h5py")
np = pytest.importorskip("numpy")

STATUSES = {"ok": 0, "failed": 1, "timed_out": 2, "quarantined": 3, "not_run": 4}
#: The schemas of a row's fields, as the attribute `row_type` has them.
FIELDS: dict[str, Any] = {
    "energy": {"scalar": "f64"},
    "name": "text",
    "spikes": {"list": {"scalar": "f64"}},
    "maybe": {"option": {"scalar": "i64"}},
    "counts": {"list": {"struct": [["key", "text"], ["value", {"scalar": "u64"}]]}},
    "nested": {"list": {"list": {"scalar": "i64"}}},
    "place": {"struct": [["x", {"scalar": "f64"}], ["label", "text"]]},
    "more": "record",
}


def ragged(parent: Any, name: str, offsets: list[int], values: Any = None) -> Any:
    group = parent.create_group(name)
    group["offsets"] = np.array(offsets, dtype="u8")
    if values is not None:
        group["values"] = values
    return group


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file of two tasks, laid out as docs/results.md says, the second of which failed."""
    path = tmp_path / "out.h5"
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs["rankpool_format"] = np.uint64(3)
        file.attrs["parameters"] = json.dumps({"n": 2})
        file.attrs["row_type"] = json.dumps({"struct": list(FIELDS.items())})
        file.attrs.create("hosts", ["n1", "n2"], dtype=text)
        file.create_dataset(
            "status", data=np.array([0, 1], "u1"), dtype=h5py.enum_dtype(STATUSES, basetype="u1")
        )
        rows = file.create_group("results")
        rows["energy"] = [1.5, np.nan]
        rows.create_dataset("name", data=["é", ""], dtype=text)
        ragged(rows, "spikes", [0, 3, 3], np.array([1.0, 2.0, 3.0]))
        ragged(rows, "maybe", [0, 1, 1], np.array([7]))
        pairs = ragged(rows, "counts", [0, 2, 2]).create_group("values")
        pairs.create_dataset("key", data=["a", "b"], dtype=text)
        pairs["value"] = np.array([5, 6], dtype="u8")
        inner = ragged(rows, "nested", [0, 2, 2])
        ragged(inner, "values", [0, 1, 3], np.array([1, 2, 3]))
        place = rows.create_group("place")
        place["x"] = [0.5, np.nan]
        place.create_dataset("label", data=["here", ""], dtype=text)
        rows["seen"] = np.array([[1, 2], [0, 0]])  # a column of the record
        file["inputs"] = np.array([(1, 2.0), (3, 4.0)], dtype=[("energy", "i8"), ("width", "f8")])
        errors = np.dtype([("task", "u8"), ("message", text)])
        file["errors"] = np.array([(1, "it broke")], dtype=errors)
        events = np.dtype([("t", "f8"), ("event", text)])
        file["events"] = np.array([(0.5, "worker_lost")], dtype=events)
    return path


def test_each_layout_of_a_row(file: pathlib.Path) -> None:
    out = rankpool.read(file)
    rows = out["results"]
    assert rows["energy"][0] == 1.5
    assert rows["name"].tolist() == ["é", ""]
    assert [row.tolist() for row in rows["spikes"]] == [[1, 2, 3], []]
    assert rows["maybe"] == [7, None]
    assert {key: value.tolist() for key, value in rows["counts"][0].items()} == {
        "key": ["a", "b"],
        "value": [5, 6],
    }
    assert [[list(of) for of in row] for row in rows["nested"]] == [[[1], [2, 3]], []]
    assert rows["place"]["label"].tolist() == ["here", ""]
    assert rows["seen"].tolist() == [[1, 2], [0, 0]]
    assert list(rows) == [*list(FIELDS)[:-1], "seen"], "in the order of the row's type"
    assert out["inputs"]["width"].tolist() == [2, 4]


def test_what_is_said_of_the_run(file: pathlib.Path) -> None:
    out = rankpool.read(str(file))
    assert out.names == list(STATUSES)
    assert out.statuses == ["ok", "failed"]
    assert out.ok.tolist() == out.given.tolist() == [True, False]
    assert out["errors"]["message"].tolist() == ["it broke"]
    assert out.attributes["parameters"] == {"n": 2}
    assert out.attributes["hosts"] == ["n1", "n2"]


def test_a_data_frame(file: pathlib.Path) -> None:
    pandas = pytest.importorskip("pandas")
    out = rankpool.read(file)
    tasks = out.to_pandas()
    assert tasks.index.name == "task"
    assert tasks["status"].tolist() == ["ok", "failed"]
    assert tasks["input_energy"].tolist() == [1, 3]
    assert tasks["energy"][0] == 1.5
    assert tasks["place.label"][0] == "here"
    assert pandas.isna(tasks["seen"][1]), "a task that failed has no result"
    assert out.to_pandas("errors")["message"].tolist() == ["it broke"]
    assert out.to_pandas("events")["event"].tolist() == ["worker_lost"]
    with pytest.raises(rankpool.UsageError, match="tasks, errors, trace or events"):
        out.to_pandas("nonsense")
    del out["events"]
    with pytest.raises(rankpool.UsageError, match="an earlier rankpool"):
        out.to_pandas("events")


def test_what_is_no_result_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        rankpool.read(tmp_path / "none.h5")
    other = tmp_path / "other.h5"
    other.write_text("no HDF5")
    with pytest.raises(rankpool.UsageError, match="no HDF5 file"):
        rankpool.read(other)
    h5py.File(other, "w").close()
    with pytest.raises(rankpool.UsageError, match="no result file of rankpool"):
        rankpool.read(other)
    with h5py.File(other, "w") as file:
        file.attrs["rankpool_format"] = np.uint64(99)
    with pytest.raises(rankpool.UsageError, match="format 99"):
        rankpool.read(other)


@pytest.mark.parametrize(("job", "world"), [("time-histogram --bins 0.5,1", 0), ("squares --n 9", 3)])
def test_files_of_runs(tmp_path: pathlib.Path, job: str, world: int) -> None:
    path = tmp_path / "out.h5"
    Run("-m", "rankpool", "run", *job.split(), "--output", str(path), world=world).end().expect(0)
    out = rankpool.read(path)
    assert out.ok.all()
    if job.startswith("squares"):
        assert out["results"].tolist() == [n * n for n in range(1, 10)]
    else:
        assert out["bin_size"].tolist() == [0.5, 1]
        assert out["results"][0].sum() == out["results"][1].sum()
    assert out.attributes["mode"] == ("comm" if world else "serial")
