"""Objects as bytes, and back.

A pickled object is a list: the pickle, and the large buffers that lie beside it, such as the memory of
numpy arrays.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
from typing import Any, Callable

from ._errors import PicklingError

#: Buffers of this size travel beside the pickle.
LARGE = 1 << 16

#: What the program's main module has on all ranks, by name: what was there when its first executor was
#: started.
#: ``None`` until then.
_shared_main: dict[str, Any] | None = None


#: Names of the main module that workers do not have all the same.
_hidden: set[str] = set()


def hide_from_workers(names: set[str]) -> None:
    """Functions and classes of these names in the main module are pickled by value."""
    _hidden.update(names)


def share_main(names: dict[str, Any] | None = None) -> None:
    """Take down what workers have of the main module: functions and classes that are pickled by reference."""
    global _shared_main
    if _shared_main is None:
        found = vars(sys.modules["__main__"]).items() if names is None else names.items()
        _shared_main = {name: value for name, value in found if name not in _hidden}


def is_shared(found: Any) -> bool:
    """Whether workers have this function or class of the main module."""
    place: Any = _shared_main or {}
    name: str = getattr(found, "__qualname__", "")
    first, *rest = name.split(".")
    place = place.get(first)
    for part in rest:
        place = getattr(place, part, None)
    return place is found


class _Local(threading.local):
    """The scattered values in what this thread pickles or unpickles."""

    met: list[Any] | None = None
    arrived: tuple[Any, ...] = ()


_local = _Local()


def meet(handle: Any) -> tuple[Any, ...]:
    """How a scattered value is pickled: by its place among those of the message."""
    if _local.met is None:
        raise PicklingError("a scattered value goes to tasks only, in their arguments and functions")
    if handle not in _local.met:
        _local.met.append(handle)
    return _arrived, (_local.met.index(handle),)


def _arrived(place: int) -> Any:
    return _local.arrived[place]


def dumps(value: Any, scattered: bool = False) -> list[Any]:
    """Pickle an object, with the handles of its scattered values behind it if there may be some.

    >>> loads(dumps([1, 2, 3]))
    [1, 2, 3]
    """
    buffers: list[bytes] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < LARGE:
            return True
        buffers.append(bytes(raw))
        return False

    outer, _local.met = _local.met, [] if scattered else None
    try:
        data = _dumps(value, keep, buffers)
        return [data, *buffers, *_local.met] if _local.met else [data, *buffers]
    finally:
        _local.met = outer


def _dumps(value: Any, keep: Callable[[pickle.PickleBuffer], bool], buffers: list[bytes]) -> bytes:
    try:
        data = pickle.dumps(value, 5, buffer_callback=keep)
        if b"__main__" not in data:
            return data
    except Exception:  # What C's pickle cannot do, the other one is asked to.
        pass
    # Most programs have no need of cloudpickle, and it takes a while to load.
    from . import _by_value

    buffers.clear()
    return _by_value.dumps(value, keep)


def loads(parts: list[Any]) -> Any:
    """Unpickle what :func:`dumps` has made."""
    if len(parts) == 1:
        return pickle.loads(parts[0])
    if isinstance(parts[-1], tuple):
        outer, _local.arrived = _local.arrived, parts.pop()
        try:
            return loads(parts)
        finally:
            _local.arrived = outer
    return pickle.loads(parts[0], buffers=parts[1:])


def dumps_named(value: Any, what: str, scattered: bool = True) -> list[Any]:
    """Pickle an object that goes by this name in the error, if it cannot be pickled."""
    try:
        return dumps(value, scattered=scattered)
    except Exception as error:
        raise PicklingError(
            f"{what} cannot be pickled: {short(value)}: {type(error).__name__}: {error}"
        ) from error


def dumps_function(fn: Callable[..., Any], others: tuple[Any, ...]) -> list[Any]:
    """Pickle a function and what goes with it; the error names the variable of it that cannot be pickled."""
    try:
        return dumps((fn, *others), scattered=True)
    except Exception:
        captured = getattr(fn, "__closure__", None) or ()
        names = getattr(getattr(fn, "__code__", None), "co_freevars", ())
        for name, cell in zip(names, captured):
            with contextlib.suppress(ValueError):  # It has no value yet.
                dumps_named(cell.cell_contents, f"the variable {name!r} of {fn.__qualname__}")
        dumps_named(fn, "the function")
        raise


def short(value: Any) -> str:
    """An object's type, and its text in no more than a line."""
    try:
        text = repr(value)
    except Exception:  # Its own __repr__ may do anything.
        text = "without a text"
    text = text if len(text) <= 120 else text[:117] + "..."
    return f"{text} ({type(value).__module__}.{type(value).__qualname__})"


def type_name(value: Any) -> str:
    """The name of an object's type; of a small tuple, the names of its parts.

    >>> type_name((1, "a", [2.0]))
    '(int, str, list)'
    """
    kind = type(value)
    if kind is tuple and 0 < len(value) <= 8:
        return f"({', '.join(map(type_name, value))})"
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
