"""A block: consecutive messages of one partition, the unit of the log.

One commit appends one block (or a few) to a partition. A block is what a
checksum covers, what an index points to, and what a reader decodes. The
messages inside are WebSocket frames, byte for byte as subscribers get them, so
that delivering and replaying a whole block is handing over one slice.

Layout, little-endian:

     0        4        8        12               20               28       32       36      40
    +--------+--------+--------+----------------+----------------+--------+--------+--------+
    | "GBLK" | head's | body's | first id       | unix seconds   | count  | runs   | frames |
    |        | crc-32 | crc-32 |                |                |        |        |        |
    +--------+--------+--------+----------------+----------------+--------+--------+--------+
    | runs: (count: u32, key length: u16, key) ...                          `runs` bytes    |
    | sizes: one u32 a message, the length of its frame                     4 * count bytes |
    | frames: one after another                                             `frames` bytes  |
    +---------------------------------------------------------------------------------------+

The head's checksum covers the rest of the head, the body's all from the first
id to the end. Both start from the segment's salt: bytes that a client published
can never pass for a block, even where a reader has to search for the next one
behind a damaged region, and looking at what only seems to be a head costs
little, however many of them were published to make that search slow.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final, NamedTuple
from zlib import crc32

from gobbler.errors import StoreCorrupt
from gobbler.protocol.message import Message
from gobbler.protocol.run import Run
from gobbler.protocol.selector import Selector
from gobbler.websocket.frames import Parser

MAGIC: Final = b"GBLK"
BLOCK_BYTES: Final = 64 * 1024
"""A block is closed once its frames reach this size; it may exceed it by one run."""

_HEAD = struct.Struct("<4sIIQQIII")
HEAD_BYTES: Final = _HEAD.size
_FIELDS = struct.Struct("<QQIII")  # the head behind the checksums
_HEAD_CHECKED_FROM, _CHECKED_FROM = 8, 12
_RUN = struct.Struct("<IH")
_SIZE_BYTES = 4
_LENGTH_16 = 126  # RFC 6455, section 5.2: the length follows in two bytes


class Chunk(NamedTuple):
    """Messages on their way to a reader: `number` frames, one after another, the first with `first_id`."""

    first_id: int
    number: int
    frames: bytes

    def messages(self) -> Iterator[Message]:
        """Decode the frames, for consumers that are not WebSockets.

        Raises:
            InvalidMessage: never for what the server itself encoded.
        """
        parser = Parser(max_size=len(self.frames) + 1, masked=False)
        for _, payload in parser.feed(self.frames):
            yield Message.decode(payload)


class Block:
    """Consecutive messages `first_id` .. `last_id`, published at `time` (unix seconds).

    `runs` pairs each key (`Run.key`) with the number of consecutive messages
    that have it; `sizes` is each frame's length; `frames` holds them all.
    """

    __slots__ = ("_ends", "first_id", "frames", "runs", "sizes", "time")

    def __init__(
        self,
        first_id: int,
        time: int,
        runs: tuple[tuple[bytes, int], ...],
        sizes: array[int],
        frames: bytes,
    ) -> None:
        """Take the parts as they are; nothing is checked or copied."""
        self.first_id = first_id
        self.time = time
        self.runs = runs
        self.sizes = sizes
        self.frames = frames
        self._ends: array[int] | None = None

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.sizes)

    def __repr__(self) -> str:
        """Show the range of ids and the size."""
        return f"<Block {self.first_id}-{self.last_id}, {len(self.frames)} bytes>"

    @property
    def last_id(self) -> int:
        """Return the id of the last message."""
        return self.first_id + len(self.sizes) - 1

    def encode(self, salt: int) -> tuple[bytes, bytes]:
        """Return the block as two buffers for one vectored write: all before the frames, and the frames."""
        runs = b"".join([_RUN.pack(count, len(key)) + key for key, count in self.runs])
        frames = self.frames
        fields = _FIELDS.pack(self.first_id, self.time, len(self.sizes), len(runs), len(frames))
        body = fields + runs + _little_endian(self.sizes).tobytes()
        body_check = crc32(frames, crc32(body, salt)).to_bytes(4, "little")
        head_check = crc32(body_check + fields, salt).to_bytes(4, "little")
        return MAGIC + head_check + body_check + body, frames

    def whole(self) -> Chunk:
        """Return all the messages."""
        return Chunk(self.first_id, len(self.sizes), self.frames)

    def cut(self, start: int, stop: int) -> Chunk:
        """Return the messages with the ordinals [start, stop) of this block."""
        if start == 0 and stop == len(self.sizes):
            return self.whole()
        ends = self._frame_ends()
        return Chunk(self.first_id + start, stop - start, self.frames[ends[start] : ends[stop]])

    def _frame_ends(self) -> array[int]:
        """Return where each frame begins, and where the last one ends; made once, for blocks that are cut."""
        if self._ends is None:
            self._ends = array("I", accumulate(self.sizes, initial=0))
        return self._ends

    def spans(self, selector: Selector, first_id: int, last_id: int) -> list[tuple[int, int]]:
        """Return the ordinals [start, stop) of what a selector selects with ids in [first_id, last_id]."""
        spans: list[tuple[int, int]] = []
        for _, start, stop in self._selected(selector, first_id, last_id):
            if spans and spans[-1][1] == start:
                start = spans.pop()[0]  # noqa: PLW2901 - one span with the one before
            spans.append((start, stop))
        return spans

    def selected_runs(self, selector: Selector, first_id: int, last_id: int) -> Iterator[tuple[bytes, int]]:
        """Yield the keys of what `select` returns, each with the number of consecutive messages."""
        for key, start, stop in self._selected(selector, first_id, last_id):
            yield key, stop - start

    def _selected(self, selector: Selector, first_id: int, last_id: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield (key, ordinals [start, stop)) of the runs, or parts of them, that a selector selects."""
        low = max(0, first_id - self.first_id)
        high = min(len(self.sizes), last_id - self.first_id + 1)
        position = 0
        for key, count in self.runs:
            start, stop = max(position, low), min(position + count, high)
            position += count
            if start < stop and selector.matches(key):
                yield key, start, stop

    def select(self, selector: Selector, first_id: int, last_id: int) -> tuple[int, bytes]:
        """Return how many messages a selector selects with ids in [first_id, last_id], and their frames."""
        chunks = [self.cut(*span) for span in self.spans(selector, first_id, last_id)]
        if len(chunks) == 1:
            return chunks[0].number, chunks[0].frames
        return sum(chunk.number for chunk in chunks), b"".join([chunk.frames for chunk in chunks])


def first_frames(frames: bytes, number: int) -> bytes:
    """Return the first `number` of the frames that stand one after another in `frames`."""
    end = 0
    for _ in range(number):
        length = frames[end + 1]
        if length < _LENGTH_16:
            end += 2 + length
        elif length == _LENGTH_16:
            end += 4 + int.from_bytes(frames[end + 2 : end + 4], "big")
        else:
            end += 10 + int.from_bytes(frames[end + 2 : end + 10], "big")
    return frames[:end]


def pack(runs: Iterable[Run], first_id: int, time: int) -> Iterator[Block]:
    """Number runs from `first_id` and yield them as blocks of about `BLOCK_BYTES`."""
    keys: list[tuple[bytes, int]] = []
    frames: list[bytes] = []
    size, next_id = 0, first_id
    for run in runs:
        added = run.frames(next_id, time)
        keys.append((run.key, len(added)))
        frames += added
        next_id += len(added)
        size += sum(map(len, added))
        if size >= BLOCK_BYTES:
            yield _block(next_id - len(frames), time, keys, frames)
            keys, frames, size = [], [], 0
    if frames:
        yield _block(next_id - len(frames), time, keys, frames)


def _block(first_id: int, time: int, keys: list[tuple[bytes, int]], frames: list[bytes]) -> Block:
    return Block(first_id, time, tuple(keys), array("I", map(len, frames)), b"".join(frames))


def size_at(buffer: memoryview | bytes, offset: int) -> int | None:
    """Return the length in bytes of the block that seems to begin at `offset`.

    None where no block begins there or its fixed head is not whole. No checksum
    is looked at: `decode` finds out whether the block is sound.
    """
    if len(buffer) - offset < HEAD_BYTES:
        return None
    magic, _, _, _, _, count, runs, frames = _HEAD.unpack_from(buffer, offset)
    if magic != MAGIC or not count:
        return None
    return HEAD_BYTES + int(runs) + _SIZE_BYTES * int(count) + int(frames)


def decode(buffer: memoryview, offset: int, salt: int) -> tuple[Block, int]:
    """Decode the block at `offset`; return it and the offset behind it.

    Raises:
        StoreCorrupt: no block begins there, it is not whole, or its checksums or contents are wrong.
    """
    size = size_at(buffer, offset)
    if size is None or len(buffer) - offset < size:
        raise StoreCorrupt("no whole block")
    _, head_check, check, first_id, time, count, runs_size, frames_size = _HEAD.unpack_from(buffer, offset)
    body_at, end = offset + HEAD_BYTES, offset + size
    if crc32(buffer[offset + _HEAD_CHECKED_FROM : body_at], salt) != head_check:
        raise StoreCorrupt("a block's head fails its checksum")
    if crc32(buffer[offset + _CHECKED_FROM : end], salt) != check:
        raise StoreCorrupt("a block fails its checksum")
    sizes_at = body_at + runs_size
    frames_at = end - frames_size
    sizes = array("I", bytes(buffer[sizes_at:frames_at]))
    runs = _decode_runs(buffer[body_at:sizes_at], count)
    return Block(first_id, time, runs, _little_endian(sizes), bytes(buffer[frames_at:end])), end


def _decode_runs(raw: memoryview, expected: int) -> tuple[tuple[bytes, int], ...]:
    """Decode the table of runs; a checksum was right, so what is wrong here was written wrong."""
    runs: list[tuple[bytes, int]] = []
    position = 0
    while position < len(raw):
        if len(raw) - position < _RUN.size:
            raise StoreCorrupt("a block's table of runs is cut")
        count, length = _RUN.unpack_from(raw, position)
        position += _RUN.size + length
        runs.append((bytes(raw[position - length : position]), count))
    if position != len(raw) or sum(count for _, count in runs) != expected:
        raise StoreCorrupt("a block's runs do not add up to its messages")
    return tuple(runs)


def _little_endian(sizes: array[int]) -> array[int]:
    """Return the sizes in the byte order of the file; the same object on nearly every machine."""
    if sys.byteorder == "big":
        sizes = array("I", sizes)
        sizes.byteswap()
    return sizes
