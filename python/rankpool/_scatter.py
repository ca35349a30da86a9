"""Values that are sent once to each worker."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from . import _pickling
from ._rankpool import Handle

T = TypeVar("T")


class Scattered(Generic[T]):
    """A value that each worker has; :meth:`Executor.scatter` makes it.

    In the arguments of a task, or inside of them, it arrives as the value. All tasks of a worker have the
    same object, so they are not to change it: arrays of 64 KiB or more can only be read. Workers drop it
    when this handle is gone and the maps that use it have ended.
    """

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickling.meet(self._handle)
