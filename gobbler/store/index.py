"""Where the messages of a segment are: by id, and by path.

A segment's blocks are numbered from 0. An index knows each block's offset, its
ids, and for every key (`Run.key`) the blocks that hold messages with it, so
that reading a subtopic costs in proportion to what it returns.

`LiveIndex` grows with the segment that is written to. `SealedIndex` is the
same facts as bytes that never change, so that a file can be mapped instead of
loaded. Layout, in the machine's byte order (an index is only a shortcut, and
is made again from the log wherever it cannot be used):

    head (see _HEAD) | offsets | ids | counts          one u32 a block each
    | key ends | entry ends                            one u32 a key each
    | entry blocks | entry counts                      one u32 an entry each
    | keys, sorted, one after another

Ids are relative to the segment's first. Entries of a key are in block order.
"""

from __future__ import annotations

import heapq
import struct
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple
from zlib import crc32

from sortedcontainers import SortedDict

from gobbler.errors import StoreCorrupt
from gobbler.protocol.block import Block
from gobbler.protocol.selector import Selector
from gobbler.protocol.topic import SEPARATOR

MAGIC: Final = 0x31584447  # "GDX1" where the low byte comes first
_HEAD = struct.Struct("=IIQQQQIIII")
_PER_BLOCK, _PER_KEY, _PER_ENTRY = 12, 8, 8
_STEP = 2000

Entry = tuple[int, int]
"""A block's number, and how many selected messages it holds."""


class Hole(NamedTuple):
    """Ids `first` to `last` that are not in the segment: their blocks were damaged."""

    first: int
    last: int


class Index(ABC):
    """What both kinds have in common. `base` is the segment's first id, `end` its size in bytes."""

    base: int
    end: int
    time: int
    """When the newest message was published, unix seconds."""
    filtered: int
    """How many of the keys have filters."""
    messages: int
    """How many messages there are."""
    offsets: Sequence[int]
    ids: Sequence[int]
    counts: Sequence[int]

    @abstractmethod
    def _keys_under(self, path: bytes) -> Iterator[bytes]:
        """Yield the keys of a path and of everything below it."""

    @abstractmethod
    def _entries(self, key: bytes) -> Iterator[Entry]:
        """Yield a key's entries, newest first; a block may have several."""

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.offsets)

    @property
    def next_id(self) -> int:
        """Return the id behind the last message."""
        return self.base + self.ids[-1] + self.counts[-1] if len(self.ids) else self.base

    def first_id(self, number: int) -> int:
        """Return the first id of a block."""
        return self.base + self.ids[number]

    def last_id(self, number: int) -> int:
        """Return the last id of a block."""
        return self.base + self.ids[number] + self.counts[number] - 1

    def find(self, id: int) -> int:
        """Return the number of the block that holds an id, or of the next one, or the number of blocks."""
        number = bisect_right(self.ids, id - self.base) - 1
        if number >= 0 and id <= self.last_id(number):
            return number
        return number + 1

    @property
    def whole(self) -> bool:
        """Say that no id between the segment's first and last is missing."""
        return self.messages == self.next_id - self.base

    def holes(self, low: int, high: int) -> list[Hole]:
        """Return the holes that begin with the ids low..high, in order."""
        if self.whole:
            return []
        found = []
        for number in range(self.find(low), min(self.find(high) + 1, len(self))):
            first = self.last_id(number - 1) + 1 if number else self.base
            if first < self.first_id(number):
                found.append(Hole(first, self.first_id(number) - 1))
        return found

    def selects_all(self, selector: Selector) -> bool:
        """Say whether the selector selects every message, as one for the whole partition mostly does."""
        return not self.filtered and any(path.count(SEPARATOR) == 1 for path in selector.paths)

    def newest_first(self, selector: Selector, high: int) -> Iterator[Entry]:
        """Yield the entries of what is selected in the blocks up to the number `high`, newest first."""
        if self.selects_all(selector):
            for number in range(high, -1, -1):
                yield number, self.counts[number]
            return
        keys = {key for path in selector.paths for key in self._keys_under(path) if selector.matches(key)}
        chains = [self._entries(key) for key in keys]
        merged = heapq.merge(*chains, key=itemgetter(0), reverse=True) if len(chains) != 1 else chains[0]
        for number, entries in groupby(merged, key=itemgetter(0)):
            if number <= high:
                yield number, sum(map(itemgetter(1), entries))

    def between(self, selector: Selector, low: int, high: int) -> list[Entry]:
        """Return the entries of what is selected in the blocks low..high, oldest first."""
        found: list[Entry] = []
        for entry in self.newest_first(selector, high):
            if entry[0] < low:
                break
            found.append(entry)
        found.reverse()
        return found


class LiveIndex(Index):
    """An index that grows. Entries of a key are chained from the newest to the oldest."""

    counts: array[int]
    ids: array[int]
    offsets: array[int]

    def __init__(self, base: int, end: int) -> None:
        """Begin an index for a segment of `end` bytes whose first id is `base` and that has no blocks yet."""
        self.base = base
        self.end = end
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
        """Return about how many bytes of memory this takes."""
        return 400 + _PER_BLOCK * len(self.offsets) + 12 * len(self._blocks) + 250 * len(self._heads)

    def _keys_under(self, path: bytes) -> Iterator[bytes]:
        heads = self._heads
        if path in heads:
            yield path
        yield from list(heads.irange(path + b"\0", path + b"\1", inclusive=(True, False)))
        yield from list(heads.irange(path + SEPARATOR, path + b"0", inclusive=(True, False)))

    def _entries(self, key: bytes) -> Iterator[Entry]:
        at = self._heads[key]
        while at >= 0:
            yield self._blocks[at], self._numbers[at]
            at = self._previous[at]

    def seal(self) -> Generator[None, None, bytes]:
        """Return the bytes of a `SealedIndex` with the same facts; yields often, to let others run."""
        keys = list(self._heads)
        key_ends, entry_ends = array("I"), array("I")
        blocks, counts = array("I"), array("I")
        length = 0
        for done, key in enumerate(keys):
            entries = list(self._entries(key))
            entries.reverse()
            blocks.extend(map(itemgetter(0), entries))
            counts.extend(map(itemgetter(1), entries))
            length += len(key)
            key_ends.append(length)
            entry_ends.append(len(blocks))
            if done % _STEP == 0:
                yield
        arrays = (self.offsets, self.ids, self.counts, key_ends, entry_ends, blocks, counts)
        body = b"".join([*(part.tobytes() for part in arrays), *keys])
        sizes = (len(self.offsets), len(keys), len(blocks))
        head = _HEAD.pack(MAGIC, 0, self.base, self.end, self.time, self.messages, *sizes, self.filtered)
        return head[:4] + struct.pack("=I", crc32(body, crc32(head[8:]))) + head[8:] + body


class SealedIndex(Index):
    """An index that is read in place from the bytes that `LiveIndex.seal` made."""

    def __init__(self, raw: memoryview) -> None:
        """Look into the bytes; they must stay as they are while the index is used.

        Raises:
            StoreCorrupt: these bytes are not a whole index, or one of another kind of machine.
        """
        if len(raw) < _HEAD.size:
            raise StoreCorrupt("an index is shorter than its head")
        magic, checksum, *facts = _HEAD.unpack_from(raw)
        self.base, self.end, self.time, self.messages, blocks, keys, entries, self.filtered = facts
        if magic != MAGIC or checksum != crc32(raw[_HEAD.size :], crc32(raw[8 : _HEAD.size])):
            raise StoreCorrupt("an index fails its checksum")
        bounds = _HEAD.size + _PER_BLOCK * blocks + _PER_KEY * keys + _PER_ENTRY * entries
        table = raw[_HEAD.size : bounds].cast("I")
        self.offsets = table[:blocks]
        self.ids = table[blocks : 2 * blocks]
        self.counts = table[2 * blocks : 3 * blocks]
        rest = table[3 * blocks :]
        self._key_ends = rest[:keys]
        self._entry_ends = rest[keys : 2 * keys]
        self._blocks = rest[2 * keys : 2 * keys + entries]
        self._numbers = rest[2 * keys + entries :]
        self._keys = raw[bounds:]

    def _key(self, at: int) -> bytes:
        start = self._key_ends[at - 1] if at else 0
        return bytes(self._keys[start : self._key_ends[at]])

    def _find_key(self, key: bytes) -> int:
        return bisect_left(range(len(self._key_ends)), key, key=self._key)

    def _keys_under(self, path: bytes) -> Iterator[bytes]:
        ranges = ((path, path + b"\1"), (path + SEPARATOR, path + b"0"))
        for low, high in ranges:
            for at in range(self._find_key(low), self._find_key(high)):
                yield self._key(at)

    def _entries(self, key: bytes) -> Iterator[Entry]:
        at = self._find_key(key)
        start = self._entry_ends[at - 1] if at else 0
        for entry in range(self._entry_ends[at] - 1, start - 1, -1):
            yield self._blocks[entry], self._numbers[entry]
