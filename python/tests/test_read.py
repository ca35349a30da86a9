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
    "perhaps": {"option": {"scalar": "f64"}},
    "flag": {"option": {"scalar": "bool"}},
    "corner": {"option": {"array": [{"scalar": "i64"}, 2]}},
    "sparse": {"list": {"option": {"scalar": "i64"}}},
    "note": {"option": "text"},
    "counts": {"list": {"struct": [["key", "text"], ["value", {"scalar": "u64"}]]}},
    "nested": {"list": {"list": {"scalar": "i64"}}},
    "place": {"struct": [["x", {"scalar": "f64"}], ["label", "text"]]},
    "phase": {"option": {"enum": ["gas", "solid"]}},
    "more": "record",
}


def ragged(parent: Any, name: str, offsets: list[int], values: Any = None) -> Any:
    group = parent.create_group(name)
    group["offsets"] = np.array(offsets, dtype="u8")
    if values is not None:
        group["values"] = values
    return group


def optional(parent: Any, name: str, values: Any, present: list[bool]) -> None:
    parent[name] = values
    parent[f"{name}_present"] = np.array(present)


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file of two tasks, laid out as docs/results.md says, the second of which failed."""
    path = tmp_path / "out.h5"
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs["rankpool_format"] = np.uint64(4)
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
        for name, values in {
            "maybe": [7, 0],
            "perhaps": [0.5, np.nan],
            "flag": [True, False],
            "corner": [[1, 2], [0, 0]],
        }.items():
            optional(rows, name, np.array(values), [True, False])
        optional(ragged(rows, "sparse", [0, 2, 2]), "values", np.array([0, 3]), [False, True])
        ragged(rows, "note", [0, 1, 1]).create_dataset("values", data=["n"], dtype=text)
        pairs = ragged(rows, "counts", [0, 2, 2]).create_group("values")
        pairs.create_dataset("key", data=["a", "b"], dtype=text)
        pairs["value"] = np.array([5, 6], dtype="u8")
        inner = ragged(rows, "nested", [0, 2, 2])
        ragged(inner, "values", [0, 1, 3], np.array([1, 2, 3]))
        phases = h5py.enum_dtype({"gas": 0, "solid": 1}, basetype="u4")
        optional(rows, "phase", np.array([1, 0], dtype=phases), [True, False])
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
    for name in ("maybe", "flag", "corner"):
        assert rows[name].mask.reshape(2, -1)[:, 0].tolist() == [False, True], name
    assert (rows["maybe"][0], rows["flag"][0], rows["corner"][0].tolist()) == (7, True, [1, 2])
    assert rows["perhaps"][0] == 0.5
    assert np.isnan(rows["perhaps"][1])
    assert not hasattr(rows["perhaps"], "mask")
    assert [row.tolist() for row in rows["sparse"]] == [[None, 3], []]
    assert rows["note"] == ["n", None]
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
    assert tasks["maybe"].dtype == "Int64", "a number that may be missing is no float"
    assert (tasks["maybe"][0], tasks["flag"][0]) == (7, True)
    assert all(pandas.isna(tasks[name][1]) for name in ("maybe", "perhaps", "flag"))
    assert not [name for name in tasks.columns if name.endswith("_present")], "masks are no columns"
    assert tasks["phase"].tolist() == ["solid", np.nan], "an enum has names"
    assert list(tasks["phase"].cat.categories) == ["gas", "solid"]
    assert out.to_pandas("errors")["message"].tolist() == ["it broke"]
    assert out.to_pandas("events")["event"].tolist() == ["worker_lost"]
    with pytest.raises(rankpool.UsageError, match="tasks, errors, trace or events"):
        out.to_pandas("nonsense")
    del out["events"]
    with pytest.raises(rankpool.UsageError, match="an earlier rankpool"):
        out.to_pandas("events")


@pytest.mark.parametrize("kind", ["i64", "f64"])
def test_results_that_are_options(tmp_path: pathlib.Path, kind: str) -> None:
    """Up to format 3 they are lists of none or one value, and read as the same."""
    pandas = pytest.importorskip("pandas")
    found = []
    for version in (3, 4):
        path = tmp_path / f"{version}.h5"
        with h5py.File(path, "w") as file:
            file.attrs["rankpool_format"] = np.uint64(version)
            file.attrs["row_type"] = json.dumps({"option": {"scalar": kind}})
            statuses = h5py.enum_dtype(STATUSES, basetype="u1")
            file.create_dataset("status", data=np.zeros(3, "u1"), dtype=statuses)
            values = np.array([0, 7, 8], kind[0] + "8")
            if version == 3:
                ragged(file, "results", [0, 0, 1, 2], values[1:])
            else:
                values[0] = np.nan if kind == "f64" else 0
                optional(file, "results", values, [False, True, True])
        out = rankpool.read(path)
        assert set(out) == {"status", "results"}
        assert out["results"][1:].tolist() == [7, 8]
        found.append(out.to_pandas())
        assert found[-1]["value"].isna().tolist() == [True, False, False]
    pandas.testing.assert_frame_equal(*found)
    pytest.importorskip("pyarrow")
    found[0].to_parquet(tmp_path / "out.parquet")
    kept = pandas.read_parquet(tmp_path / "out.parquet")
    assert kept["value"].isna().tolist() == [True, False, False]


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
