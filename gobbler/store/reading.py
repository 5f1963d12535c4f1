"""Reading a partition that lies in segments: counting, looking back, scanning.

These algorithms are the same whether a segment is a file or a piece of memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from gobbler.protocol.block import Block
from gobbler.protocol.selector import Selector
from gobbler.store.base import Page
from gobbler.store.index import Entry, Hole, Index


class Segment(ABC):
    """A stretch of a partition, with ids from `base` on."""

    base: int

    @abstractmethod
    def index(self) -> Index:
        """Return the index; may load or make it, and may wait.

        Raises:
            StoreUnavailable: the segment cannot be read now.
        """

    @abstractmethod
    def load(self, index: Index, low: int, high: int) -> Iterator[Block | None]:
        """Yield the blocks with the numbers low..high in this index; None for one that cannot be read."""


def count(segments: Sequence[Segment], selector: Selector, first_id: int, last_id: int) -> int:
    """Return how many messages are selected with ids in [first_id, last_id]."""
    return sum(
        _count(segment, selector, first_id, last_id) for segment in _overlapping(segments, first_id, last_id)
    )


def _count(segment: Segment, selector: Selector, first_id: int, last_id: int) -> int:
    index = segment.index()
    first_id, last_id = max(first_id, index.base), min(last_id, index.next_id - 1)
    if first_id > last_id:
        return 0
    if index.whole and index.selects_all(selector):
        return last_id - first_id + 1
    low, high = index.find(first_id), min(index.find(last_id), len(index) - 1)
    return sum(
        number
        if first_id <= index.first_id(block) and index.last_id(block) <= last_id
        else len(_selected_ids(segment, index, block, selector, first_id, last_id))
        for block, number in index.between(selector, low, high)
    )


def _selected_ids(
    segment: Segment, index: Index, number: int, selector: Selector, first_id: int, last_id: int
) -> list[int]:
    """Return the ids of what is selected in one block; none where it cannot be read."""
    block = next(segment.load(index, number, number))
    if block is None:
        return []
    return [
        block.first_id + ordinal
        for span in block.spans(selector, first_id, last_id)
        for ordinal in range(*span)
    ]


def newest(segments: Sequence[Segment], selector: Selector, number: int, last_id: int) -> int:
    """Return the id of the `number`-th newest selected message up to `last_id`; see `MessageStore.newest`."""
    oldest = last_id + 1
    for segment in reversed(_overlapping(segments, 0, last_id)):
        index = segment.index()
        last = min(last_id, index.next_id - 1)
        if last < index.base:
            continue
        if index.whole and index.selects_all(selector):
            found = max(index.base, last - number + 1)
            left = number - (last - found + 1)
        else:
            found, left = _newest(segment, index, selector, number, last)
        if left < number:
            oldest, number = found, left
        if number <= 0:
            break
    return oldest


def _newest(segment: Segment, index: Index, selector: Selector, number: int, last_id: int) -> tuple[int, int]:
    """Look back in one segment; return the oldest id found and how many messages are still wanted."""
    oldest = last_id + 1
    for block, selected in index.newest_first(selector, min(index.find(last_id), len(index) - 1)):
        if selected < number and index.last_id(block) <= last_id:
            number -= selected
            oldest = index.first_id(block)
            continue
        ids = _selected_ids(segment, index, block, selector, 0, last_id)[-number:]
        number -= len(ids)
        oldest = min([oldest, *ids[:1]])
        if number <= 0:
            break
    return oldest, number


def scan(
    segments: Sequence[Segment],
    selector: Selector,
    first_id: int,
    last_id: int,
    page_bytes: int,
    *,
    keyed: bool = False,
) -> Iterator[Page]:
    """Yield the pages of [first_id, last_id]; see `MessageStore.scan`."""
    position = first_id
    for segment in _overlapping(segments, first_id, last_id):
        if position < segment.base:  # this, or the one before it, lost its beginning or its end
            yield Page(segment.base, gap=(position, segment.base - 1))
            position = segment.base
        for page in _scan(segment, selector, position, last_id, page_bytes, keyed):
            yield page
            position = page.next_id
    if position <= last_id:
        yield Page(last_id + 1, gap=(position, last_id))


def _scan(
    segment: Segment, selector: Selector, first_id: int, last_id: int, page_bytes: int, keyed: bool
) -> Iterator[Page]:
    """Yield the pages of one segment; the last one ends where the segment or the range does."""
    index = segment.index()
    end_id = min(last_id + 1, index.next_id)
    if first_id >= end_id:
        return
    parts: list[bytes] = []
    runs: list[tuple[bytes, int]] = []
    number = size = 0
    for item in _items(segment, index, selector, first_id, end_id - 1, page_bytes):
        if isinstance(item, Hole):
            first, last = max(item.first, first_id), min(item.last, last_id)
            yield Page(first, number, b"".join(parts), runs=tuple(runs))  # a gap has a page of its own
            yield Page(last + 1, gap=(first, last))
            parts, runs, number, size = [], [], 0, 0
            continue
        selected, frames = item.select(selector, first_id, last_id)
        parts.append(frames)
        if keyed:
            runs += item.selected_runs(selector, first_id, last_id)
        number += selected
        size += len(frames)
        if size >= page_bytes:
            yield Page(min(item.last_id + 1, end_id), number, b"".join(parts), runs=tuple(runs))
            parts, runs, number, size = [], [], 0, 0
    yield Page(end_id, number, b"".join(parts), runs=tuple(runs))


def _items(
    segment: Segment, index: Index, selector: Selector, first_id: int, last_id: int, page_bytes: int
) -> Iterator[Block | Hole]:
    """Yield the blocks that hold something selected, and the holes, in the order of ids."""
    holes = index.holes(first_id, last_id)
    entries = index.between(selector, index.find(first_id), min(index.find(last_id), len(index) - 1))
    for low, high in _batches(index, entries, page_bytes):
        for number, block in enumerate(segment.load(index, low, high), low):
            while holes and holes[0].first < index.first_id(number):
                yield holes.pop(0)
            yield block or Hole(index.first_id(number), index.last_id(number))
    yield from holes


def _batches(index: Index, entries: Sequence[Entry], page_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield ranges (low, high) of neighbouring blocks that are read with one call, about a page each."""
    position = 0
    while position < len(entries):
        low = high = entries[position][0]
        limit = index.offsets[low] + page_bytes
        position += 1
        while (
            position < len(entries) and entries[position][0] == high + 1 and index.offsets[high + 1] < limit
        ):
            high += 1
            position += 1
        yield low, high


def _overlapping(segments: Sequence[Segment], first_id: int, last_id: int) -> list[Segment]:
    """Return the segments that can hold ids in [first_id, last_id]; `segments` are in order."""
    low = max(bisect_right(segments, first_id, key=_base) - 1, 0)
    high = bisect_right(segments, last_id, key=_base)
    return list(segments[low:high])


def _base(segment: Segment) -> int:
    return segment.base
