"""The index of a segment that is full, as bytes that never change.

They are read from a file and used as they are. Layout, in the machine's byte
order (an index is only a shortcut, and is made again from the log wherever it
cannot be used):

    head (see _HEAD) | offsets | ids | counts          one u32 a block each
    | key ends | entry ends                            one u32 a key each
    | entry blocks | entry counts                      one u32 an entry each
    | keys, sorted, one after another

Ids are relative to the segment's first. Entries of a key are in block order.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Generator, Iterator
from operator import itemgetter
from typing import Final
from zlib import crc32

from gobbler.errors import StoreCorrupt
from gobbler.protocol.topic import SEPARATOR
from gobbler.store.index import Entry, Index
from gobbler.store.live_index import LiveIndex

MAGIC: Final = 0x31584447  # "GDX1" where the low byte comes first
_HEAD = struct.Struct("=IIQQQQIIII")
_PER_BLOCK, _PER_KEY, _PER_ENTRY = 12, 8, 8
_STEP = 2000


def seal(index: LiveIndex) -> Generator[None, None, bytes]:
    """Return the bytes of a `SealedIndex` with the same facts; yields often, to let others run."""
    keys = index.keys()
    key_ends, entry_ends = array("I"), array("I")
    blocks, counts = array("I"), array("I")
    length = 0
    for done, key in enumerate(keys):
        entries = list(index.entries(key))
        entries.reverse()
        blocks.extend(map(itemgetter(0), entries))
        counts.extend(map(itemgetter(1), entries))
        length += len(key)
        key_ends.append(length)
        entry_ends.append(len(blocks))
        if done % _STEP == 0:
            yield
    arrays = (index.offsets, index.ids, index.counts, key_ends, entry_ends, blocks, counts)
    body = b"".join([*(part.tobytes() for part in arrays), *keys])
    sizes = (len(index.offsets), len(keys), len(blocks))
    head = _HEAD.pack(MAGIC, 0, index.base, index.end, index.time, index.messages, *sizes, index.filtered)
    return head[:4] + struct.pack("=I", crc32(body, crc32(head[8:]))) + head[8:] + body


class SealedIndex(Index):
    """An index that is read in place from the bytes that `seal` made."""

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
        self._size = len(raw)

    @property
    def memory(self) -> int:
        """Return about how many bytes of memory this takes."""
        return 1500 + self._size

    def _key(self, at: int) -> bytes:
        start = self._key_ends[at - 1] if at else 0
        return bytes(self._keys[start : self._key_ends[at]])

    def _find_key(self, key: bytes) -> int:
        return bisect_left(range(len(self._key_ends)), key, key=self._key)

    def keys_under(self, path: bytes) -> Iterator[bytes]:
        """Yield the keys of a path and of everything below it."""
        ranges = ((path, path + b"\1"), (path + SEPARATOR, path + b"0"))
        for low, high in ranges:
            for at in range(self._find_key(low), self._find_key(high)):
                yield self._key(at)

    def entries(self, key: bytes) -> Iterator[Entry]:
        """Yield a key's entries, newest first; a block may have several."""
        at = self._find_key(key)
        start = self._entry_ends[at - 1] if at else 0
        for entry in range(self._entry_ends[at] - 1, start - 1, -1):
            yield self._blocks[entry], self._numbers[entry]
