"""A map under way: items go out in blocks, and results come back in blocks.

A block is as many items as a worker has done in about a millisecond, so that the work of sending them does
not show, and one item where it takes longer than that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Callable

from . import _pickling
from ._bar import Bar
from ._errors import Cancelled, PicklingError
from ._future import Failed, failure, unloadable
from ._rankpool import Map
from ._scatter import Scattered

#: The time that a block of several items is to take on its worker, in nanoseconds.
BLOCK_NANOS = 1_000_000
#: A block of several items is to have no more bytes than this.
BLOCK_BYTES = 1 << 18
#: And no more items: they are made, pickled and run several times as fast while they are in a CPU's cache.
BLOCK_ITEMS = 1 << 13
#: From one block to the next, the number of items grows by this at most.
GROWTH = 32
#: How long the call of a map waits to learn how long items take, and how long it sends items then, in
#: seconds.
LEARNING = 0.005
SENDING = 0.1
#: Blocks on their way at most, as the library has it.
WINDOW = 1 << 18


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
        self.items = iter(items)
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
        block: list[Any] = []
        try:
            block.extend(islice(self.items, self.size))
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
            block, parts = self._without_the_unsendable(block)
            if not block:
                return None
        first = self.next
        self.sent[self.count] = first, len(block), parts
        self.next += len(block)
        self.count += 1
        if not self.fixed and self.nanos is not None and self.size > 1:
            self.bytes = sum(len(part) for part in parts if isinstance(part, bytes)) / len(block)
        if self.left is not None:
            self.left -= len(block)
        return first, cost, parts

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


class Results(chain[Any]):
    """The results of a map one by one, taken out of their blocks without a step of Python's for each."""

    lists: Generator[list[Any], None, None]

    def close(self) -> None:
        """End the map, as a generator is ended: there are no more results then."""
        self.lists.close()
        deque(self, maxlen=0)


class Mapping:
    """The results of a map, as they come."""

    def __init__(
        self,
        start: Callable[[Blocks], Map],
        again: Callable[[list[Any], int], Iterator[Any]],
        blocks: Blocks,
        ordered: bool,
        timeout: float | None = None,
        buffersize: int | None = None,
        keep_going: bool = False,
        done: Callable[[int, int], None] = lambda _done, _failed: None,
        bar: Bar | None = None,
    ) -> None:
        self._blocks = blocks
        self._again = again
        self._ordered = ordered
        self._timeout = timeout
        self._until = None if timeout is None else time.monotonic() + timeout
        self._buffersize = buffersize
        self._keep_going = keep_going
        self._tell = done
        self._bar = bar
        self._taken = 0
        #: Results that have come before they were asked for: first index, results, error.
        self._ready: deque[tuple[int, list[Any], BaseException | None]] = deque()
        self._lock = threading.RLock()
        self._map: Map | None = start(blocks)
        self._begin()

    def __iter__(self) -> Iterator[Any]:
        lists = self._lists()
        results = Results.from_iterable(lists)
        results.lists = lists
        return results

    def _lists(self) -> Generator[list[Any], None, None]:
        """The results of each block."""
        try:
            while (found := self.next()) is not None:
                _, results, error = found
                if self._bar is not None:
                    self._bar.add(len(results))
                yield results
                if error is not None:
                    raise error
        finally:
            self.close()

    def next(self) -> tuple[int, list[Any], BaseException | None] | None:
        """The next results: the index of the first one, and the error behind the last one; `None` at the
        end."""
        with self._lock:
            if self._ready:
                return self._ready.popleft()
            return self._poll(self._left())

    def drain(self) -> None:
        """Take all results that are to come: they are here then when they are asked for."""
        with self._lock:
            if self._buffersize is not None:
                self._blocks.over = True
            while self._map is not None and (found := self._poll(None)) is not None:
                self._ready.append(found)

    def cancel(self) -> None:
        """End the map; who asks for results is told so."""
        with self._lock:
            if self._map is not None:
                self.close()
                self._ready.append((0, [], Cancelled("the executor was shut down before the map was done")))

    def close(self) -> None:
        """End the map: what has not run does not run."""
        running, self._map = self._map, None
        if running is not None:
            running.close()
            if self._bar is not None:
                self._bar.close()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come, but for what is here already."""
        return self._map is None

    def _left(self) -> float | None:
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    def _begin(self) -> None:
        """Send the first items, learn how long they take, and send more."""
        blocks = self._blocks
        if self._buffersize is not None:
            self._take(self._poll(0.0, wait=False))
            return
        began = time.monotonic()
        while self._map is not None and not blocks.over and not blocks.fixed:
            left = began + LEARNING - time.monotonic()
            if left <= 0 or (blocks.nanos is not None and not blocks.grows):
                break
            self._take(self._poll(left, wait=False))
        while self._map is not None and not blocks.over and time.monotonic() < began + SENDING:
            sent = blocks.count
            self._take(self._poll(0.0, wait=False))
            if blocks.count == sent:
                break

    def _take(self, found: tuple[int, list[Any], BaseException | None] | None) -> None:
        if found is not None:
            self._ready.append(found)

    def _ahead(self) -> int:
        """How many blocks may be on their way."""
        blocks = self._blocks
        if self._buffersize is not None:
            return max(1, self._buffersize // blocks.size)
        if blocks.fixed or (blocks.nanos is not None and not blocks.grows):
            return WINDOW
        return (4 if blocks.grows else 16) * blocks.slots if blocks.nanos is not None else 1024 * blocks.slots

    def _poll(
        self, seconds: float | None, wait: bool = True
    ) -> tuple[int, list[Any], BaseException | None] | None:
        """What comes next within this time; without `wait` it need not come."""
        running = self._map
        if running is None:
            return None
        try:
            outcome = running.poll(self._ahead(), -1.0 if seconds is None else seconds)
        except BaseException:
            self.close()
            if self._blocks.error is not None:
                # Items that end too early are not what a journal has.
                raise self._blocks.error from None
            raise
        if outcome is None:
            if wait:
                self.close()
                raise TimeoutError(f"the next result has not come within {self._timeout} seconds of the call")
            return None
        if len(outcome) == 3:
            return self._done(*outcome)
        if len(outcome) == 0:
            return self._finished()
        return self._failed(outcome)

    def _block(self, number: int) -> tuple[int, int, list[Any]]:
        number = self._taken if self._ordered else number
        self._taken += 1
        return self._blocks.sent.pop(number)

    def _done(self, number: int, nanos: int, parts: list[Any]) -> tuple[int, list[Any], BaseException | None]:
        first, count, _ = self._block(number)
        self._blocks.learn(nanos, count)
        self._tell(count, 0)
        try:
            return first, _pickling.loads(parts), None
        except Exception as error:
            return self._stop(first, [], unloadable(error))

    def _failed(self, failed: Failed) -> tuple[int, list[Any], BaseException | None]:
        first, count, sent = self._block(failed[2])
        if count > 1 and failed[1] == "Quarantined":
            return self._one_by_one(first, sent)
        results, error = failure(failed, first)
        self._tell(len(results), 1)
        return self._stop(first, results, error)

    def _one_by_one(self, first: int, sent: list[Any]) -> tuple[int, list[Any], BaseException | None]:
        """Run the items of a block whose worker has died, so that one that kills workers is known by
        itself."""
        results: list[Any] = []
        try:
            results.extend(self._again(_items(sent), first))
        except Exception as error:
            return self._stop(first, results, error)
        return first, results, None

    def _stop(
        self, first: int, results: list[Any], error: BaseException
    ) -> tuple[int, list[Any], BaseException | None]:
        if not self._keep_going:
            self.close()
        return first, results, error

    def _finished(self) -> tuple[int, list[Any], BaseException | None] | None:
        self.close()
        error, self._blocks.error = self._blocks.error, None
        return None if error is None else (0, [], error)


def _items(sent: list[Any]) -> list[Any]:
    """The items of a block that was sent, with the handles of their scattered values."""
    pickled = [part for part in sent if isinstance(part, bytes)]
    handles = tuple(Scattered(part) for part in sent[len(pickled) :])
    items: list[Any] = _pickling.loads([*pickled, handles] if handles else pickled)
    return items
