"""A segment: one file of blocks, and its index."""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import gevent

from gobbler.errors import StoreCorrupt, StoreUnavailable
from gobbler.protocol.block import Block, decode
from gobbler.store.filelog.files import Files
from gobbler.store.filelog.layout import HEAD_LIMIT, Head, decode_head, encode_head, index_name, log_name
from gobbler.store.filelog.recovery import Damage, walk
from gobbler.store.index import Index, LiveIndex, SealedIndex
from gobbler.store.reading import Segment

log = logging.getLogger(__name__)

_PIECE: Final = 4 * 1024 * 1024


class FileSegment(Segment):
    """A file of blocks. The newest one of a partition is written to; the others are sealed.

    `end` is the size in bytes of what is committed; None until it is known.
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
        self.end: int | None = None
        self._files = files
        self._head: Head | None = None
        self._index: Index | None = None
        self._indexed = indexed
        self._unsavable = False

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
                raise StoreCorrupt(f"{self.path} holds the ids from {head.base} on")
            self._head = head
        return self._head

    def create(self, partition: str, salt: int) -> None:
        """Make the file and an empty index; the segment is then the one that is written to.

        Raises:
            StoreUnavailable: the file cannot be made.
        """
        raw = encode_head(partition, self.base, salt)
        self._files.create(self.path, raw)
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
        self.sealed = False
        size = self._files.size(self.path)
        index = LiveIndex(self.base, self.head.size)
        self._extend(index, lambda: size)
        if index.end < size:
            log.warning("%s: cut off a torn tail of %d bytes at %d", self.path, size - index.end, index.end)
            self._files.truncate(self.path, index.end)
        self.end = index.end
        self._keep(index)
        return index.next_id

    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        """Return the buffers that hold these blocks in this segment."""
        salt = self.head.salt
        return [part for block in blocks for part in block.encode(salt)]

    def add(self, blocks: Sequence[Block], sizes: Sequence[int]) -> None:
        """Commit blocks that have been written at `end`, of these sizes in bytes."""
        offset = self.end or 0
        for block, size in zip(blocks, sizes, strict=True):
            if isinstance(self._index, LiveIndex):
                self._index.add(block, offset, size)
            offset += size
        self.end = offset

    def index(self) -> Index:
        """Return the index: from memory, from its file, or made again from the log."""
        if self._index is None:
            self._index = self._mapped() if self.sealed else None
        if self._index is None:
            self._rebuild()
        self._indexed(self)
        assert self._index is not None
        return self._index

    def forget(self) -> None:
        """Let the index go; it can be had again."""
        self._index = None

    @property
    def memory(self) -> int:
        """Return about how many bytes of memory the index takes."""
        return self._index.memory if isinstance(self._index, LiveIndex) else 0

    @property
    def unsaved(self) -> bool:
        """Say whether the index will not change any more and is not in a file yet."""
        return self.sealed and isinstance(self._index, LiveIndex) and not self._unsavable

    def save_index(self) -> None:
        """Write the index of a sealed segment beside it, and use that one from now on.

        Raises:
            StoreUnavailable: it cannot be written; the segment stays readable without.
        """
        index = self.index()
        if not isinstance(index, LiveIndex):
            return
        self._unsavable = True  # unless it succeeds: a full disk is not tried again every second
        steps = index.seal()
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                self._files.replace(self.index_path, finished.value)
                break
            gevent.sleep(0)
        self._unsavable = False
        self._files.close(self.index_path)
        self._index = None

    def load(self, low: int, high: int) -> Iterator[Block | None]:
        """Yield the blocks low..high; a damaged one is reported and never served."""
        index = self.index()
        start = index.offsets[low]
        end = index.offsets[high + 1] if high + 1 < len(index) else index.end
        try:
            raw = memoryview(self._files.read(self.path, end - start, start))
        except StoreUnavailable as error:  # retention may have removed the file meanwhile
            log.warning(
                "cannot read the messages %d to %d: %s", index.first_id(low), index.last_id(high), error
            )
            raw = memoryview(b"")
        for number in range(low, high + 1):
            yield self._decode(raw, index, number, start)

    def _decode(self, raw: memoryview, index: Index, number: int, start: int) -> Block | None:
        offset = index.offsets[number]
        try:
            block, _ = decode(raw, offset - start, self.head.salt)
        except StoreCorrupt:
            log.error(
                "%s: the block at %d with the messages %d to %d is damaged and is left out",
                self.path,
                offset,
                index.first_id(number),
                index.last_id(number),
            )
            return None
        return block

    def _keep(self, index: Index) -> None:
        self._index = index
        self._indexed(self)

    def _mapped(self) -> Index | None:
        """Map the index file; None where there is none that can be used."""
        try:
            fd = os.open(self.index_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return SealedIndex(memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ)))
        except (StoreCorrupt, ValueError, OSError) as error:
            log.warning("%s: %s; it is made again", self.index_path, error)
            return None
        finally:
            os.close(fd)

    def _rebuild(self) -> None:
        if self.end is None:
            self.end = self._files.size(self.path)
        index = LiveIndex(self.base, self.head.size)
        self._extend(index, lambda: self.end or 0)
        self._index = index

    def _extend(self, index: LiveIndex, end: Callable[[], int]) -> None:
        """Enter what the file holds from the index's end up to `end()`, which may grow meanwhile.

        Between the last look at `end()` and the return nothing else can run.
        """
        size = _PIECE
        while index.end < end():
            piece = min(size, end() - index.end)
            raw = self._files.read(self.path, piece, index.end)
            last = index.end + len(raw) >= end()
            if self._enter(index, raw, last):
                size = _PIECE
                gevent.sleep(0)
            elif last:
                return
            else:
                size *= 2  # a block is larger than the piece

    def _enter(self, index: LiveIndex, raw: bytes, last: bool) -> bool:
        """Enter the blocks of a piece of the file; say whether there was one.

        What looks torn at the end of a piece is only torn at the end of the file.
        """
        start = index.end
        found = False
        for item in walk(raw, self.head.salt, index.next_id):
            if isinstance(item, Damage):
                if not item.tail:
                    log.error("%s: %d damaged bytes at %d", self.path, item.size, start + item.offset)
                continue
            index.add(item.block, start + item.offset, item.size)
            found = True
        return found
