"""A partition of the log: one sequence of ids, in segments of a bounded size."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress

from gobbler.errors import StoreCorrupt, StoreUnavailable
from gobbler.protocol.block import Block, pack
from gobbler.protocol.run import Run
from gobbler.store.filelog.files import Files
from gobbler.store.filelog.layout import base_of, folder_name
from gobbler.store.filelog.memory import IndexMemory
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

    `next_id` is the id that the next message gets. `uncommitted` says that a
    write waits for its commit.
    """

    def __init__(self, files: Files, root: str, name: str, segment_bytes: int, memory: IndexMemory) -> None:
        """Name a partition; nothing is opened. `segment_bytes`: a segment is sealed when it gets larger."""
        self.name = name
        self.folder = os.path.join(root, folder_name(name))
        self.segments: list[FileSegment] = []
        self.next_id = 1
        self.uncommitted = False
        self._files = files
        self._segment_bytes = segment_bytes
        self._memory = memory
        self._uncut = False
        self._distrusted = False

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

    @property
    def pinned(self) -> bool:
        """Say that the file holds more than is committed: it must neither be rolled nor opened again."""
        return self.uncommitted or self._uncut

    def open(self) -> None:
        """Find the segments and recover the last one.

        Raises:
            StoreUnavailable: they cannot be read.
        """
        bases = [base for name in self._files.names(self.folder) if (base := base_of(name)) is not None]
        self.segments = [self._segment(base) for base in bases]
        while self.segments:
            try:
                self.next_id = max(self.next_id, self.segments[-1].recover())
                return
            except StoreCorrupt as error:
                log.error("%s: %s", self.segments[-1].path, error)
            if self._passed_over(self.segments[-1]):
                return

    def _segment(self, base: int) -> FileSegment:
        return FileSegment(self._files, self.folder, base, self._memory.used)

    def _passed_over(self, segment: FileSegment) -> bool:
        """Deal with a newest segment whose head is damaged; say whether a newer one follows it now."""
        lost = segment.capacity(self.name)
        self.next_id = segment.base + lost
        if lost:
            # Its ids may be known to clients, and none must come again: go on behind any that it can hold.
            log.error("partition %s goes on with the id %d", self.name, self.next_id)
            self.roll()
            return True
        # There was no time to write anything into it: a crash while it was being made.
        log.error("%s is set aside as .damaged", segment.path)
        self._files.rename(segment.path, segment.path + ".damaged")
        self.segments = self.segments[:-1]
        return False

    def write(self, runs: Sequence[Run], time: int) -> Written:
        """Write messages behind the last committed one, with one call, and return what is to be committed.

        Raises:
            StoreUnavailable: they could not be written; the partition is as before.
        """
        segment = self._writable()
        blocks = list(pack(runs, self.next_id, time))
        buffers = segment.encode(blocks)
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
        self._uncut = True
        with suppress(StoreUnavailable):
            self._files.truncate(segment.path, segment.end)
            self._uncut = False

    def distrust(self) -> None:
        """Begin a new segment with the next write: syncing the current one failed."""
        self._distrusted = True

    def _writable(self) -> FileSegment:
        """Return the segment to write to: the last, or a new one when that is full."""
        if self._uncut:
            self.cut_back()
            if self._uncut:
                raise StoreUnavailable(f"{self.segments[-1].path} cannot be cut back to what is committed")
        if not self.segments:
            self._files.folder(self.folder)
        elif self.segments[-1].end < self._segment_bytes and not self._distrusted:
            return self.segments[-1]
        return self.roll()

    def roll(self) -> FileSegment:
        """Seal the last segment and begin a new one; return it.

        A last segment without messages is itself the new one, unless it is distrusted: then
        another takes its place.

        Raises:
            StoreUnavailable: the new file cannot be made; then all is as before.
        """
        empty = [segment for segment in self.segments[-1:] if segment.base == self.next_id]
        if empty and not self._distrusted:
            return empty[0]
        segment = self._segment(self.next_id)
        segment.create(self.name, secrets.randbits(32), anew=bool(empty))
        for replaced in empty:
            self._memory.drop(replaced)
        kept = self.segments[: len(self.segments) - len(empty)]
        if kept:
            kept[-1].sealed = True
        self.segments = [*kept, segment]
        self._distrusted = False
        return segment

    def drop_first(self) -> None:
        """Remove the oldest segment and its index; never the last one.

        Raises:
            StoreUnavailable: it cannot be removed.
        """
        segment, *kept = self.segments
        segment.remove()
        self._memory.drop(segment)
        self.segments = kept
