"""Functions and classes that workers do not have, pickled with their code."""

from __future__ import annotations

import io
import pickle
from types import FunctionType
from typing import Any, Callable

import cloudpickle

from ._pickling import is_shared


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """By value what workers do not have, by reference all else."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type)) and obj.__module__ == "__main__" and is_shared(obj):
            return NotImplemented
        return super().reducer_override(obj)


def dumps(value: Any, callback: Callable[[pickle.PickleBuffer], bool]) -> bytes:
    """Pickle an object; `callback` says of each of its buffers whether it is to be in the pickle."""
    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=callback).dump(value)
    return file.getvalue()
