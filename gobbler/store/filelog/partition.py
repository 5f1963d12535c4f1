"""A partition of the log: one sequence of ids, in segments of a bounded size."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress

from gobbler.errors import StoreCorrupt, StoreUnavailable
from gobbler.protocol.block import Block, pack
from gobbler.protocol.run import Run
from gobbler.store.filelog.files import Files
from gobbler.store.filelog.layout import base_of, folder_name
from gobbler.store.filelog.segment import FileSegment

log = logging.getLogger(__name__)


class Written:
    """Blocks that are in the file but not committed: nobody has seen them yet."""

    __slots__ = ("blocks", "partition", "segment", "sizes")

    def __init__(
        self, partition: Partition, segment: FileSegment, blocks: list[Block], sizes: list[int]
    ) -> None:
        """Remember what `Partition.write` wrote where; `sizes` in bytes, one a block."""
        self.partition = partition
        self.segment = segment
        self.blocks = blocks
        self.sizes = sizes

    def commit(self) -> None:
        """Make the blocks part of the partition."""
        self.segment.add(self.blocks, self.sizes)
        self.partition.next_id = self.blocks[-1].last_id + 1
        self.partition.uncommitted = False

    def revoke(self) -> None:
        """Take the blocks out of the file again."""
        self.partition.cut_back()
        self.partition.uncommitted = False


class Partition:
    """The segments of one partition, in order; messages are appended to the last.

    `next_id` is the id that the next message gets. While a write is
    `uncommitted` the partition must neither roll nor be let go.
    """

    def __init__(
        self,
        files: Files,
        root: str,
        name: str,
        segment_bytes: int,
        indexed: Callable[[FileSegment], None],
    ) -> None:
        """Name a partition; nothing is opened. `segment_bytes`: a segment is sealed when it gets larger."""
        self.name = name
        self.folder = os.path.join(root, folder_name(name))
        self.segments: list[FileSegment] = []
        self.next_id = 1
        self.uncommitted = False
        self._files = files
        self._segment_bytes = segment_bytes
        self._indexed = indexed
        self._uncut = False
        self._roll_next = False

    def __repr__(self) -> str:
        """Show the name and where its ids stand."""
        return f"<Partition {self.name}, next id {self.next_id}>"

    @property
    def first_id(self) -> int:
        """Return the id of the oldest message that is kept."""
        return self.segments[0].base if self.segments else self.next_id

    @property
    def last_id(self) -> int:
        """Return the id of the newest message, `first_id - 1` where none is kept."""
        return self.next_id - 1

    def open(self) -> bool:
        """Find the segments and recover the last one; say whether there was anything.

        Raises:
            StoreUnavailable: they cannot be read.
        """
        bases = [base for name in self._files.names(self.folder) if (base := base_of(name)) is not None]
        self.segments = [FileSegment(self._files, self.folder, base, self._indexed) for base in bases]
        while self.segments:
            try:
                self.next_id = self.segments[-1].recover()
                return True
            except StoreCorrupt as error:
                self._set_aside(self.segments.pop(), error)
        return False

    def _set_aside(self, segment: FileSegment, error: StoreCorrupt) -> None:
        """Rename a newest segment whose head is unreadable: a crash while it was being made."""
        log.error("%s is set aside as .damaged: %s", segment.path, error)
        self.next_id = segment.base
        self._files.close(segment.path)
        try:
            os.replace(segment.path, segment.path + ".damaged")
        except OSError as failure:
            raise StoreUnavailable(f"{segment.path}: {failure.strerror}") from failure

    def write(self, runs: Sequence[Run], time: int) -> Written:
        """Write messages behind the last committed one, with one call, and return what is to be committed.

        Raises:
            StoreUnavailable: they could not be written; the partition is as before.
        """
        segment = self._writable()
        blocks = list(pack(runs, self.next_id, time))
        buffers = segment.encode(blocks)
        assert segment.end is not None
        try:
            self._files.write(segment.path, buffers, segment.end)
        except StoreUnavailable:
            self.cut_back()
            raise
        sizes = [len(head) + len(frames) for head, frames in zip(buffers[::2], buffers[1::2], strict=True)]
        self.uncommitted = True
        return Written(self, segment, blocks, sizes)

    def cut_back(self) -> None:
        """Take out of the file what was written but not committed; at the latest before the next write."""
        segment = self.segments[-1]
        assert segment.end is not None
        self._uncut = True
        with suppress(StoreUnavailable):
            self._files.truncate(segment.path, segment.end)
            self._uncut = False

    def distrust(self) -> None:
        """Begin a new segment with the next write: syncing the current one failed."""
        self._roll_next = True

    def _writable(self) -> FileSegment:
        """Return the segment to write to: the last, or a new one when that is full."""
        if self._uncut:
            self.cut_back()
            if self._uncut:
                raise StoreUnavailable(f"{self.segments[-1].path} cannot be cut back to what is committed")
        if not self.segments:
            self._files.folder(self.folder)
        elif (self.segments[-1].end or 0) < self._segment_bytes and not self._roll_next:
            return self.segments[-1]
        return self.roll()

    def roll(self) -> FileSegment:
        """Seal the last segment and begin a new one; return it.

        Raises:
            StoreUnavailable: the new file cannot be made.
        """
        if self.segments and self.segments[-1].base == self.next_id:  # nothing in it: it is the new one
            self._roll_next = False
            return self.segments[-1]
        segment = FileSegment(self._files, self.folder, self.next_id, self._indexed)
        segment.create(self.name, secrets.randbits(32))
        if self.segments:
            self.segments[-1].sealed = True
        self.segments.append(segment)
        self._roll_next = False
        return segment

    def drop_first(self) -> None:
        """Remove the oldest segment and its index; never the last one.

        Raises:
            StoreUnavailable: it cannot be removed.
        """
        segment = self.segments[0]
        # The index goes first: a segment without an index is whole, an index without a segment is litter.
        with suppress(StoreUnavailable):
            self._files.remove(segment.index_path)
        self._files.remove(segment.path)
        self.segments = self.segments[1:]
