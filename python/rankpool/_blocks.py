"""The items of a map, cut into blocks that are sent.

A block is as many items as a worker has done in about a millisecond, so that the work of sending them does
not show, and one item where it takes longer than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, Callable

from . import _pickling
from ._errors import PicklingError

#: The time that a block of several items is to take on its worker, in nanoseconds.
BLOCK_NANOS = 1_000_000
#: A block of several items is to have no more bytes than this.
BLOCK_BYTES = 1 << 18
#: And no more items: they are made, pickled and run several times as fast while they are in a CPU's cache.
BLOCK_ITEMS = 1 << 13
#: A range of no more items than this is sent as a list.
FEW = 64
#: From one block to the next, the number of items grows by this at most.
GROWTH = 32


class Blocks:
    """Cuts the items of a map into blocks."""

    def __init__(
        self,
        items: Iterable[Any],
        total: int | None,
        size: int | None,
        slots: int,
        first: int = 0,
        most: int | None = None,
        cost: Callable[..., float] | None = None,
    ) -> None:
        self.cost = cost
        #: A range is cut into ranges, which are sent as three numbers.
        self.source: range | Iterator[Any] = items if type(items) is range else iter(items)
        self.slots = slots
        self.fixed = size is not None
        self.size = size or 1
        #: No block has more items.
        self.most = most
        self.next = first
        #: Items that are left, where that is known.
        self.left = total
        #: Blocks on their way, by number: the index of the first item, how many there are, and their pickle.
        #: The items themselves are not kept: their memory is used again for the next block, which is faster.
        self.sent: dict[int, tuple[int, int, list[Any]]] = {}
        self.count = 0
        #: Why there are no more blocks, if it is not the end of the items.
        self.error: BaseException | None = None
        self.over = False
        #: Nanoseconds that an item takes, once it is known.
        self.nanos: float | None = None
        self.bytes = 0.0

    def __call__(self) -> tuple[int, float, list[bytes]] | None:
        """The next block, for the library: the index of its first item, its cost, and its items."""
        if self.over:
            return None
        items: list[Any] = []
        block: list[Any] | range = items
        try:
            if isinstance(self.source, range):
                block, self.source = self.source[: self.size], self.source[self.size :]
                # A few numbers are pickled sooner than a range.
                block = block if len(block) > FEW else list(block)
            else:
                items.extend(islice(self.source, self.size))
            cost = 0.0 if self.cost is None else sum(map(float, map(self.cost, block)))
        except BaseException as error:
            self._end(error)
            cost = 0.0
        if len(block) < self.size:
            self.over = True
        if not block:
            return None
        try:
            parts = _pickling.dumps(block, scattered=True)
        except Exception:
            block, parts = self._without_the_unsendable(list(block))
            if not block:
                return None
        first = self.next
        self.sent[self.count] = first, len(block), parts
        self.next += len(block)
        self.count += 1
        if not self.fixed:
            self.bytes = sum(len(part) for part in parts if isinstance(part, bytes)) / len(block)
        if self.left is not None:
            self.left -= len(block)
        return first, cost, parts

    def item_type(self) -> str | None:
        """The name of the type of the first item, for which an iterator is asked; `None` without items."""
        try:
            first = list(islice(self.source, 1))
        except BaseException as error:
            self._end(error)
            return None
        if not isinstance(self.source, range):
            self.source = chain(first, self.source)
        return _pickling.type_name(first[0]) if first else None

    def _end(self, error: BaseException) -> None:
        self.error, self.over = error, True

    def _without_the_unsendable(self, block: list[Any]) -> tuple[list[Any], list[bytes]]:
        """The items before the first that cannot be pickled, which ends the map."""
        for number, item in enumerate(block):
            try:
                _pickling.dumps(item, scattered=True)
            except Exception as error:
                what = _pickling.short(item)
                text = f"item {self.next + number} cannot be pickled: {what}: {type(error).__name__}: {error}"
                self._end(PicklingError(text))
                return block[:number], _pickling.dumps(block[:number], scattered=True)
        self._end(PicklingError(f"items {self.next} and those behind it cannot be pickled together"))
        return [], []

    def learn(self, nanos: int, count: int) -> None:
        """A block of so many items has taken so long."""
        if self.fixed or not count:
            return
        measured = max(nanos / count, 1.0)
        # The first items may have loaded modules: what is faster is believed at once.
        old = self.nanos
        self.nanos = measured if old is None or measured < old else (3 * old + measured) / 4
        size = min(self._wanted, self.size * GROWTH)
        if self.left is not None:
            size = min(size, self.left / (4 * self.slots))
        if self.bytes:
            size = min(size, BLOCK_BYTES / self.bytes)
        if self.most is not None:
            size = min(size, self.most)
        self.size = max(1, int(size))

    @property
    def grows(self) -> bool:
        """Whether blocks are still smaller than they are to be."""
        return not self.fixed and self.nanos is not None and self.size < self._wanted / 2

    @property
    def _wanted(self) -> float:
        """How many items a block is to have by the time that they take."""
        return min(BLOCK_NANOS / (self.nanos or 1.0), BLOCK_ITEMS)
