"""A map under way: items go out in blocks, and results come back in blocks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from itertools import chain
from typing import Any, Callable, cast

from . import _pickling
from ._bar import Bar
from ._blocks import Blocks
from ._errors import Cancelled, TimeLimitError, Timeout
from ._future import Failed, failure, is_of_its_block, unloadable
from ._rankpool import Map
from ._scatter import Scattered

#: How long the call of a map waits to learn how long items take, and how long it sends items then, in
#: seconds.
LEARNING = 0.005
SENDING = 0.1
#: Blocks on their way at most, as the library has it.
WINDOW = 1 << 18


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
        time_limit: float | None = None,
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
        self._time_limit = time_limit
        #: Set when the map was not done within its time limit.
        self.late: TimeLimitError | None = None
        #: What has ended the map, if it is not its last result.
        self.ended_by: BaseException | None = None
        #: Called when the map is over.
        self._forget: Callable[[Mapping], None] = lambda _mapping: None
        self._taken = 0
        #: Results that have come before they were asked for: first index, results, error.
        self._ready: deque[tuple[int, list[Any], BaseException | None]] = deque()
        self._start = start
        #: Who asks for results is to be told that there are no more of them.
        self._cancelled = False
        self._over = False
        #: Held by who takes results, and until the map has begun.
        self._lock = threading.RLock()
        self._map: Map | None = None

    def __iter__(self) -> Iterator[Any]:
        lists = self._lists()
        results = cast(Results, Results.from_iterable(lists))
        results.lists = lists
        return results

    def _lists(self) -> Generator[list[Any], None, None]:
        """The results of each block."""
        try:
            while (found := self.next()) is not None:
                _, results, error = found
                yield results
                if error is not None:
                    raise error
        finally:
            self.close()

    def begin(
        self, announce: Callable[[Mapping], None], forget: Callable[[Mapping], None] = lambda _mapping: None
    ) -> None:
        """Start the map, which `announce` has told of before: who ends the executor meanwhile waits for the
        first results, or cancels it. `forget` is told when it is over."""
        with self._lock:
            self._forget = forget
            announce(self)
            try:
                self._map = self._start(self._blocks)
            except BaseException:
                self.close()
                raise
            if self._over:
                self.close()
            self._begin()

    def next(self) -> tuple[int, list[Any], BaseException | None] | None:
        """The next results: the index of the first one, and the error behind the last one; `None` at the
        end."""
        with self._lock:
            found = self._ready.popleft() if self._ready else self._poll(self._left())
        if found is not None and self._bar is not None:
            self._bar.add(len(found[1]) + (found[2] is not None))
        return found

    def drain(self) -> None:
        """Take all results that are to come: they are here then when they are asked for."""
        with self._lock:
            if self._buffersize is not None:
                self._blocks.over = True
            while self._map is not None and (found := self._poll(None)) is not None:
                self._ready.append(found)

    def cancel(self) -> None:
        """End the map, without waiting for who takes its results: they are told so."""
        if not self._over:
            self._cancelled = True
            self.close()

    def close(self) -> None:
        """End the map: what has not run does not run."""
        self._over = True
        running, self._map = self._map, None
        if running is not None:
            running.close()
            if self._bar is not None:
                self._bar.close()
        self._forget(self)

    @property
    def known_tasks(self) -> int:
        """How many tasks there are, as far as the items tell."""
        return self._blocks.next + (self._blocks.left or 0)

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
            return self._finished()
        try:
            outcome = running.poll(self._ahead(), -1.0 if seconds is None else seconds)
        except TimeLimitError:
            limit = f"{self._time_limit} seconds"
            self.late = TimeLimitError(f"the map was not done within its time_limit of {limit}")
            self._blocks.error = self._blocks.error or self.late
            return self._finished()
        except BaseException:
            self.close()
            if self._blocks.error is not None:
                # Items that end too early are not what a journal has.
                raise self._blocks.error from None
            raise
        if outcome is None:
            if wait:
                self.close()
                raise Timeout(f"the next result has not come within {self._timeout} seconds of the call")
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
        first, count, sent = self._block(number)
        self._blocks.learn(nanos, count)
        try:
            results = _pickling.loads(parts)
        except Exception as error:
            return self._one_by_one(first, count, sent, [], unloadable(error, first))
        self._tell(count, 0)
        return first, results, None

    def _failed(self, failed: Failed) -> tuple[int, list[Any], BaseException | None]:
        first, count, sent = self._block(failed[2])
        results, error = failure(failed, first)
        if is_of_its_block(failed):
            return self._one_by_one(first, count, sent, results, error)
        self._tell(len(results), 1)
        return self._stop(first, results, error)

    def _one_by_one(
        self, first: int, count: int, sent: list[Any], results: list[Any], error: BaseException
    ) -> tuple[int, list[Any], BaseException | None]:
        """Run the items of a block again, of which it is not known which one has failed.

        It may have killed its worker, or cannot be unpickled. What cannot be unpickled here either is told
        of the block's first item.
        """
        items: list[Any] = []
        if count > 1:
            with contextlib.suppress(Exception):
                items = _items(sent)
        if not items:
            self._tell(len(results), 1)
            return self._stop(first, results, error)
        results = []
        try:
            results.extend(self._again(items, first))
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
        if error is None and self._cancelled:
            error = Cancelled("the executor was shut down before the map was done")
        self._cancelled = False
        self.ended_by = self.ended_by or error
        return None if error is None else (0, [], error)


def _items(sent: list[Any]) -> list[Any]:
    """The items of a block that was sent, with the handles of their scattered values."""
    pickled = [part for part in sent if isinstance(part, bytes)]
    handles: tuple[Any, ...] = tuple(Scattered(part) for part in sent[len(pickled) :])
    items: list[Any] = _pickling.loads([*pickled, handles] if handles else pickled)
    return items
