"""The index of the segment that is written to."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from sortedcontainers import SortedDict

from gobbler.protocol.block import Block
from gobbler.protocol.topic import SEPARATOR
from gobbler.store.index import Entry, Index


class LiveIndex(Index):
    """An index that grows. Entries of a key are chained from the newest to the oldest.

    `begun` is when the first message was published (unix seconds), 0 while there is none.
    """

    counts: array[int]
    ids: array[int]
    offsets: array[int]

    def __init__(self, base: int, end: int) -> None:
        """Begin an index for a segment of `end` bytes whose first id is `base` and that has no blocks yet."""
        self.base = base
        self.end = end
        self.begun = 0
        self.time = 0
        self.filtered = 0
        self.messages = 0
        self.offsets = array("I")
        self.ids = array("I")
        self.counts = array("I")
        self._heads: SortedDict[bytes, int] = SortedDict()
        self._blocks = array("I")
        self._numbers = array("I")
        self._previous = array("i")

    def add(self, block: Block, offset: int, size: int) -> None:
        """Enter a block of `size` bytes at `offset`."""
        number = len(self.offsets)
        self.offsets.append(offset)
        self.ids.append(block.first_id - self.base)
        self.counts.append(len(block))
        self.messages += len(block)
        self.end = offset + size
        self.begun = self.begun or block.time
        self.time = max(self.time, block.time)
        heads = self._heads
        for key, count in block.runs:
            previous = heads.get(key, -1)
            if previous < 0 and b"\0" in key:
                self.filtered += 1
            heads[key] = len(self._blocks)
            self._blocks.append(number)
            self._numbers.append(count)
            self._previous.append(previous)

    @property
    def memory(self) -> int:
        """Return about how many bytes of memory this takes (the constants: measured with tracemalloc)."""
        return 2500 + 12 * len(self.offsets) + 12 * len(self._blocks) + 250 * len(self._heads)

    def keys_under(self, path: bytes) -> Iterator[bytes]:
        """Yield the keys of a path and of everything below it."""
        heads = self._heads
        if path in heads:
            yield path
        yield from list(heads.irange(path + b"\0", path + b"\1", inclusive=(True, False)))
        yield from list(heads.irange(path + SEPARATOR, path + b"0", inclusive=(True, False)))

    def entries(self, key: bytes) -> Iterator[Entry]:
        """Yield a key's entries, newest first; a block may have several."""
        at = self._heads[key]
        while at >= 0:
            yield self._blocks[at], self._numbers[at]
            at = self._previous[at]

    def keys(self) -> list[bytes]:
        """Return all keys, sorted."""
        return list(self._heads)
