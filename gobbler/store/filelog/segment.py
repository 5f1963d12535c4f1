"""A segment: one file of blocks, and its index."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import gevent

from gobbler.errors import StoreCorrupt, StoreUnavailable
from gobbler.protocol.block import Block, decode
from gobbler.store.filelog import indexing
from gobbler.store.filelog.files import Files
from gobbler.store.filelog.layout import HEAD_LIMIT, Head, decode_head, encode_head, index_name, log_name
from gobbler.store.index import Index
from gobbler.store.live_index import LiveIndex
from gobbler.store.reading import Segment
from gobbler.store.sealed_index import SealedIndex, seal

log = logging.getLogger(__name__)

_LEAST_MESSAGE: Final = 16  # bytes: 4 for its size, and a frame of a header, "/a,1,,,,0" and two line feeds


class FileSegment(Segment):
    """A file of blocks. The newest one of a partition is written to; the others are sealed.

    `end` is the size in bytes of what is committed, 0 until it is known; `begun`
    is when the first message was published, as far as the segment was written to
    or recovered by this object (unix seconds; 0: not known, or there is none).
    The index is kept only while there is memory for it (`forget`).
    """

    def __init__(self, files: Files, folder: str, base: int, indexed: Callable[[FileSegment], None]) -> None:
        """Name the segment of `folder` whose first id is `base`; nothing is opened.

        `indexed` is told whenever the segment holds an index in memory.
        """
        self.base = base
        self.path = os.path.join(folder, log_name(base))
        self.index_path = os.path.join(folder, index_name(base))
        self.sealed = True
        self.end = 0
        self.begun = 0
        self._files = files
        self._head: Head | None = None
        self._index: Index | None = None
        self._indexed = indexed
        self._unsavable = False
        self._removed = False
        self._reported: set[int] = set()

    def __repr__(self) -> str:
        """Show the file and its committed size."""
        return f"<FileSegment {self.path}, {self.end} bytes>"

    @property
    def head(self) -> Head:
        """Return the segment's head, from the file if need be.

        Raises:
            StoreCorrupt: the head is damaged.
            StoreUnavailable: it cannot be read.
        """
        if self._head is None:
            head = decode_head(self._files.read(self.path, HEAD_LIMIT, 0))
            if head.base != self.base:
                raise StoreCorrupt(f"a segment's head says that it begins with {head.base}")
            self._head = head
        return self._head

    def create(self, partition: str, salt: int, *, anew: bool = False) -> None:
        """Make the file and an empty index; the segment is then the one that is written to.

        `anew`: in place of a file with this name, which is let go only for a whole new one.

        Raises:
            StoreUnavailable: the file cannot be made.
        """
        raw = encode_head(partition, self.base, salt)
        (self._files.replace if anew else self._files.create)(self.path, raw)
        self._head = Head(partition, self.base, salt, len(raw))
        self.end = len(raw)
        self.sealed = False
        self._keep(LiveIndex(self.base, self.end))

    def recover(self) -> int:
        """Read the file as a crash may have left it, cut off a torn tail, and return the next id.

        Raises:
            StoreCorrupt: the head is damaged.
            StoreUnavailable: the file cannot be read or cut.
        """
        size = self._files.size(self.path)
        index = self._made(lambda: size)
        if index.end < size:
            log.warning("%s: cut off a torn tail of %d bytes at %d", self.path, size - index.end, index.end)
            self._files.truncate(self.path, index.end)
        with suppress(StoreUnavailable):  # this segment was the last but one, and will grow again
            self._files.remove(self.index_path)
        self.end, self.begun = index.end, index.begun
        self.sealed = False
        self._keep(index)
        return index.next_id

    def capacity(self, partition: str) -> int:
        """Return how many messages the file can hold at most, where its head cannot say.

        Raises:
            StoreUnavailable: the file is gone.
        """
        head = len(encode_head(partition, self.base, 0))
        return max(0, self._files.size(self.path) - head) // _LEAST_MESSAGE

    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        """Return the buffers that hold these blocks in this segment."""
        salt = self.head.salt
        return [part for block in blocks for part in block.encode(salt)]

    def add(self, blocks: Sequence[Block], sizes: Sequence[int]) -> None:
        """Commit blocks that have been written at `end`, of these sizes in bytes."""
        for block, size in zip(blocks, sizes, strict=True):
            if isinstance(self._index, LiveIndex):
                self._index.add(block, self.end, size)
            self.end += size
            self.begun = self.begun or block.time

    def index(self) -> Index:
        """Return the index: from memory, from its file, or made again from the log."""
        if self._removed:  # somebody began to read before that: there is nothing left
            return LiveIndex(self.base, 0)
        index = self._index
        if index is None and self.sealed:
            index = self._stored()
        if index is None:
            index = self._made_again()
        self._keep(index)
        return index

    def forget(self) -> None:
        """Let the index go; it can be had again."""
        self._index = None

    @property
    def memory(self) -> int:
        """Return about how many bytes of memory the index takes."""
        return self._index.memory if self._index is not None else 0

    @property
    def unsaved(self) -> bool:
        """Say whether the index will not change any more and is not in a file yet."""
        return self.sealed and isinstance(self._index, LiveIndex) and not self._unsavable

    def save_index(self) -> None:
        """Write the index of a sealed segment beside it.

        Raises:
            StoreUnavailable: it cannot be written; the segment stays readable without.
        """
        index = self.index()
        if not isinstance(index, LiveIndex):
            return
        self._unsavable = True  # unless it succeeds: a full disk is not tried again every second
        steps = seal(index)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                self._files.replace(self.index_path, finished.value)
                break
            gevent.sleep(0)
        self._unsavable = False
        self._files.close(self.index_path)

    def remove(self) -> None:
        """Remove the file and its index.

        Raises:
            StoreUnavailable: it cannot be removed.
        """
        # The index goes first: a segment without an index is whole, an index without a segment is litter.
        with suppress(StoreUnavailable):
            self._files.remove(self.index_path)
        self._files.remove(self.path)
        self._removed = True

    def load(self, index: Index, low: int, high: int) -> Iterator[Block | None]:
        """Yield the blocks low..high; one that is damaged or cannot be read is reported and never served."""
        start = index.offsets[low]
        end = index.offsets[high + 1] if high + 1 < len(index) else index.end
        try:
            raw = memoryview(self._files.read(self.path, end - start, start))
        except StoreUnavailable as error:
            if low == high:
                self._report(index, low, error)
                yield None
                return
            for number in range(low, high + 1):  # what cannot be read must not cost its neighbours
                yield from self.load(index, number, number)
            return
        for number in range(low, high + 1):
            yield self._decode(raw, index, number, start)

    def _decode(self, raw: memoryview, index: Index, number: int, start: int) -> Block | None:
        try:
            block, _ = decode(raw, index.offsets[number] - start, self.head.salt)
            if (block.first_id, block.last_id) != (index.first_id(number), index.last_id(number)):
                raise StoreCorrupt(f"it holds the messages {block.first_id} to {block.last_id}")
        except (StoreCorrupt, StoreUnavailable) as error:
            self._report(index, number, error)
            return None
        return block

    def _report(self, index: Index, number: int, error: Exception) -> None:
        """Log, once, that a block is left out; what retention has removed meanwhile needs no report."""
        offset = index.offsets[number]
        if self._removed or offset in self._reported:
            return
        self._reported.add(offset)
        log.error(
            "%s: the block at %d with the messages %d to %d is left out: %s",
            self.path,
            offset,
            index.first_id(number),
            index.last_id(number),
            error,
        )

    def _keep(self, index: Index) -> None:
        self._index = index
        self._indexed(self)

    def _stored(self) -> Index | None:
        """Return the index from its file; None where there is none that can be used."""
        try:
            raw = self._files.read(self.index_path, self._files.size(self.index_path), 0)
            index = SealedIndex(memoryview(raw))
        except StoreUnavailable:
            return None
        except StoreCorrupt as error:
            log.warning("%s: %s; it is made again", self.index_path, error)
            return None
        finally:
            self._files.close(self.index_path)
        return index if index.base == self.base else None

    def _made_again(self) -> Index:
        """Make the index from the log; an empty one where the head, and with it all, is damaged."""
        self.end = self.end or self._files.size(self.path)
        try:
            return self._made(lambda: self.end)
        except StoreCorrupt as error:
            log.error("%s: all messages from %d on are lost: %s", self.path, self.base, error)
            return LiveIndex(self.base, self.end)

    def _made(self, end: Callable[[], int]) -> LiveIndex:
        head = self.head
        index = LiveIndex(self.base, head.size)
        indexing.extend(
            index, lambda size, offset: self._files.read(self.path, size, offset), end, head.salt, self.path
        )
        return index
