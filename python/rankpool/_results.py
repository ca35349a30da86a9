"""Result files: what a run leaves by ``--output`` as arrays of numpy."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._errors import UsageError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Results", "read"]

#: The newest version of the format that is understood.
FORMAT = 4
#: Attributes of a file that are JSON.
JSON = ("parameters", "report", "row_type", "row_layout", "inputs_type")


class Results(dict[str, Any]):
    """What is in a result file, by the names that it has there.

    A column of equal rows is an array, whose first dimension is the tasks; rows of different lengths are a
    list with an array for each task. An option of a float is an array too, with NaN where there is no value;
    an option of an integer or a boolean is a masked array; any other option is a list with a value or None
    for each task. Where a row has fields, ``results["results"]["field"]`` is the column of a field, whatever
    the file keeps it as.

    ``results``, ``inputs`` and ``status`` have an entry for each task, ``errors`` one for each attempt that
    failed, ``trace`` one for each chunk, ``events`` one for each session, loss, join and drain. Axes, such as
    ``bin_size``, lie beside them.

    Attributes
    ----------
    attributes : dict
        What the file says of the run: job, parameters, seed, versions, times, the report.
    names : list of str
        What the numbers of ``status`` mean.
    """

    attributes: dict[str, Any]
    names: list[str]

    @property
    def ok(self) -> np.ndarray[Any, Any]:
        """Which tasks ended well: a boolean for each, to select rows by."""
        ok: np.ndarray[Any, Any] = self["status"] == self.names.index("ok")
        return ok

    @property
    def given(self) -> np.ndarray[Any, Any]:
        """Which rows are what a task gave; the others are filled."""
        given: np.ndarray[Any, Any] = self.get("given", self.ok)
        return given

    @property
    def statuses(self) -> list[str]:
        """How each task ended, in words: ok, failed, timed_out, quarantined, not_run."""
        return [self.names[status] for status in self["status"]]

    def to_pandas(self, table: str = "tasks") -> Any:
        """A table of the tasks, the errors, the trace or the events as a data frame.

        Parameters
        ----------
        table : {"tasks", "errors", "trace", "events"}
            ``tasks`` has a row for each task: its status, a column for each field of its input and of its
            result. A result that is missing is NaN or None; an option of an integer or a boolean has a
            nullable type of pandas, with NA where there is no value. What the input and the result both have
            is called ``input_`` and its name in the input.

        Returns
        -------
        pandas.DataFrame
        """
        pandas = _module("pandas", "a data frame")
        if table in ("errors", "trace", "events"):
            if table not in self:
                raise UsageError("the file has no table 'events': an earlier rankpool has written it")
            return pandas.DataFrame(dict(_flat("", self[table])))
        if table != "tasks":
            raise UsageError(f"there is no table {table!r}: name tasks, errors, trace or events")
        results = dict(_flat("value", self.get("results", {})))
        inputs = dict(_flat("input", self.get("inputs", {})))
        columns = {"status": pandas.Categorical(self.statuses, categories=self.names)}
        for name, column in inputs.items():
            series = _series(pandas, column)
            columns[f"input_{name}" if name in results or name == "status" else name] = series
        given = self.given
        for name, column in results.items():
            series = _series(pandas, column)
            columns[f"result_{name}" if name in columns else name] = (
                series if given.all() else series.where(given)
            )
        return pandas.DataFrame(columns, index=pandas.RangeIndex(len(self["status"]), name="task"))


def read(path: str | os.PathLike[str]) -> Results:
    """Read a result file, which ``rankpool run JOB --output out.h5`` leaves.

    It needs h5py: ``pip install 'rankpool[results]'``.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Results
        A dict of columns.

    Raises
    ------
    UsageError
        If this is no result file, or one of a later version.

    Examples
    --------
    >>> import rankpool
    >>> out = rankpool.read("histograms.h5")  # doctest: +SKIP
    >>> for bin_size, counts in zip(out["bin_size"], out["results"]):  # doctest: +SKIP
    ...     print(bin_size, counts.sum())
    >>> out.to_pandas("errors")  # doctest: +SKIP
    """
    h5py = _module("h5py", "a result file")
    if not os.path.exists(path):
        raise FileNotFoundError(2, os.strerror(2), os.fspath(path))
    if not h5py.is_hdf5(path):
        hint = (
            "; `python -m rankpool show` tells of a run that goes on"
            if str(path).endswith(".journal")
            else ""
        )
        raise UsageError(f"{os.fspath(path)}: is no HDF5 file{hint}")
    with h5py.File(path, "r") as file:
        attributes = {name: _attribute(name, value) for name, value in file.attrs.items()}
        version = attributes.get("rankpool_format")
        if version is None:
            raise UsageError(f"{os.fspath(path)}: is no result file of rankpool")
        if version > FORMAT:
            raise UsageError(
                f"{os.fspath(path)}: is of format {version}, and this rankpool reads up to {FORMAT}: "
                "take a newer one"
            )
        schemas = {"results": attributes.get("row_type"), "inputs": attributes.get("inputs_type")}
        masks = _masks(h5py, file, schemas)
        out = Results(
            (name, _column(h5py, file, name, schemas.get(name))) for name in file if name not in masks
        )
        out.attributes = attributes
        out.names = sorted(numbers := h5py.check_enum_dtype(file["status"].dtype), key=numbers.__getitem__)
    return out


def _module(name: str, what: str) -> Any:
    """A package that rankpool does without otherwise."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = "'rankpool[results]'" if name == "h5py" else name
        raise ImportError(
            f"{what} needs {name}, and it cannot be imported ({error}): pip install {extra}"
        ) from error


def _attribute(name: str, value: Any) -> Any:
    """An attribute of the file as plain Python."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [entry.decode() if isinstance(entry, bytes) else entry for entry in value]
    return json.loads(value) if name in JSON and value else value


def _kind(schema: Any) -> tuple[Any, Any]:
    """The kind of a type, and what it is of, as the file says them; None where it is not known."""
    return next(iter(schema.items())) if isinstance(schema, dict) else (schema, None)


def _column(h5py: Any, parent: Any, name: str, schema: Any) -> Any:
    """A dataset or a group in `parent` as a column; `schema` is the type of its rows, where it is known."""
    kind, of = _kind(schema)
    node = parent[name]
    if isinstance(node, h5py.Dataset):
        mask = _mask(h5py, parent, name, schema)
        return _array(h5py, node) if mask is None else _optional(node[:], parent[mask][:])
    if _is_ragged(h5py, node):
        offsets = node["offsets"][:]
        starts = offsets.tolist()
        values = _column(h5py, node, "values", of[0] if kind == "array" else of)
        if kind == "option" and getattr(getattr(values, "dtype", None), "kind", "O") in "biufV":
            return _spread(values, offsets[1:] > offsets[:-1])
        rows = [_cut(values, start, end) for start, end in zip(starts, starts[1:])]
        return [_only(row) for row in rows] if kind == "option" else rows
    fields = dict(of) if kind == "struct" else {}
    masks = _masks(h5py, node, fields)
    order = [field for field in fields if field in node]
    order += [field for field in node if field not in fields and field not in masks]
    return {field: _column(h5py, node, field, fields.get(field)) for field in order}


def _mask(h5py: Any, parent: Any, name: str, schema: Any) -> str | None:
    """The name of the dataset that says which values of the dataset `name` are there, if they are options."""
    mask = f"{name}_present"
    is_option = _kind(schema)[0] == "option" and isinstance(parent.get(name), h5py.Dataset)
    return mask if is_option and mask in parent else None


def _masks(h5py: Any, parent: Any, schemas: dict[str, Any]) -> set[str | None]:
    """The names of the masks of all columns in `parent`."""
    return {_mask(h5py, parent, name, schema) for name, schema in schemas.items()}


def _optional(values: Any, present: Any) -> Any:
    """Options, whose values are filled where there is none: with NaN, or, of anything but floats, masked."""
    if values.dtype.kind == "f":
        return values
    numpy = importlib.import_module("numpy")
    present = present.reshape(present.shape + (1,) * (values.ndim - 1))
    return numpy.ma.masked_array(values, numpy.broadcast_to(~present, values.shape))


def _spread(values: Any, present: Any) -> Any:
    """Options as earlier files have them, which keep only the values that are there."""
    numpy = importlib.import_module("numpy")
    filled = numpy.full(
        present.shape + values.shape[1:], numpy.nan if values.dtype.kind == "f" else 0, values.dtype
    )
    filled[present] = values
    return _optional(filled, present)


def _is_ragged(h5py: Any, group: Any) -> bool:
    """True of a list in each row, and not of a struct whose fields have the same names."""
    offsets = group.get("offsets")
    if set(group) - {"values_present"} != {"values", "offsets"} or not isinstance(offsets, h5py.Dataset):
        return False
    if offsets.ndim != 1 or offsets.dtype.kind != "u" or not len(offsets) or offsets[0] != 0:
        return False
    return int(offsets[-1]) == _length(h5py, group["values"])


def _length(h5py: Any, node: Any) -> int:
    """How many rows a column has."""
    if isinstance(node, h5py.Dataset):
        return len(node)
    if _is_ragged(h5py, node):
        return len(node["offsets"]) - 1
    return next((_length(h5py, node[name]) for name in node), 0)


def _array(h5py: Any, dataset: Any) -> Any:
    """A dataset as an array, texts as str."""
    values = dataset.asstr()[:] if h5py.check_string_dtype(dataset.dtype) else dataset[:]
    fields = values.dtype.fields
    if not fields or not any(h5py.check_string_dtype(of) for of, *_ in fields.values()):
        return values
    numpy = importlib.import_module("numpy")
    text = {name for name, (of, *_) in fields.items() if h5py.check_string_dtype(of)}
    plain = numpy.empty(
        values.shape, [(name, object if name in text else fields[name][0]) for name in fields]
    )
    for name in fields:
        decode = name in text
        plain[name] = [entry.decode() for entry in values[name]] if decode else values[name]
    return plain


def _cut(column: Any, start: int, end: int) -> Any:
    """Some rows of a column."""
    if isinstance(column, dict):
        return {name: _cut(part, start, end) for name, part in column.items()}
    return column[start:end]


def _only(row: Any) -> Any:
    """The value of an option, or None."""
    if isinstance(row, dict):
        parts = {name: _only(part) for name, part in row.items()}
        return None if all(part is None for part in parts.values()) else parts
    if len(row) == 0:
        return None
    return row[0].item() if hasattr(row[0], "item") and not getattr(row[0], "shape", ()) else row[0]


def _series(pandas: Any, column: Any) -> Any:
    """A column as pandas keeps it: masked numbers as a nullable type, which does not make floats of them."""
    enum = dict((getattr(getattr(column, "dtype", None), "metadata", None) or {}).get("enum", {}))
    if enum:
        numbers = sorted(enum.values())
        codes = [-1 if number is None else numbers.index(number) for number in column.tolist()]
        return pandas.Series(pandas.Categorical.from_codes(codes, sorted(enum, key=enum.__getitem__)))
    if not hasattr(column, "mask"):
        return pandas.Series(column)
    if column.dtype.kind == "f":
        return pandas.Series(column.filled(float("nan")))
    array = pandas.array(column.data)
    array[column.mask] = pandas.NA
    return pandas.Series(array)


def _flat(name: str, column: Any) -> Iterator[tuple[str, Any]]:
    """The columns of a frame that a column of the file becomes: one for each field, or `name`."""
    prefix = "" if name in ("", "value", "input") else f"{name}."
    fields: Mapping[str, Any] | None = getattr(getattr(column, "dtype", None), "fields", None)
    if isinstance(column, dict) or fields:
        for field in column if isinstance(column, dict) else fields or ():
            yield from _flat(prefix + field, column[field])
    else:
        yield name, list(column) if getattr(column, "ndim", 1) > 1 else column
