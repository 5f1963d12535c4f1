"""The commit log as a message store: all partitions below one folder."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import gevent
from gevent.lock import RLock

from gobbler.errors import StoreError, StoreUnavailable
from gobbler.protocol.selector import Selector
from gobbler.store import reading
from gobbler.store.base import Bounds, Committed, Group, Listener, MessageStore, Page
from gobbler.store.filelog.files import Files
from gobbler.store.filelog.keeping import Keeper
from gobbler.store.filelog.layout import HEAD_LIMIT, base_of, decode_head, folder_name, partition_name
from gobbler.store.filelog.memory import IndexMemory
from gobbler.store.filelog.partition import Partition, Written
from gobbler.store.filelog.retention import Retention
from gobbler.store.filelog.segment import FileSegment

log = logging.getLogger(__name__)

OPEN_PARTITIONS: Final = 4096
"""How many partitions stay in memory; the others are opened again when they are used."""

INDEX_BYTES: Final = 64 * 1024 * 1024
SEGMENT_BYTES: Final = 16 * 1024 * 1024
_NAMES_A_TURN: Final = 1000  # a millisecond or two; others must not wait for 100,000 names


class FileStore(MessageStore):
    """A folder a partition, segments of blocks, one write a group."""

    def __init__(
        self,
        folder: str,
        *,
        sync_seconds: float | None = 1.0,
        segment_bytes: int = SEGMENT_BYTES,
        retention: Retention | None = None,
        files: Files | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep the log below `folder`, whose parent exists.

        `sync_seconds`: how often what was written is synced; 0: before every
        answer; None: never, that is left to the operating system.
        """
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._files = files or Files()
        self._sync_first = sync_seconds == 0
        self._memory = IndexMemory(INDEX_BYTES)
        self._partitions: OrderedDict[str, Partition] = OrderedDict()
        self._opening = RLock()
        self._listener: Listener = lambda partition, blocks: None
        self._open = False
        self._keeper = Keeper(self, self._files, sync_seconds, retention, self._memory)

    def __repr__(self) -> str:
        """Show the folder."""
        return f"<FileStore {self._folder}, {len(self._partitions)} partitions open>"

    def listen(self, listener: Listener) -> None:
        """Have a function called with every commit."""
        self._listener = listener

    def start(self) -> None:
        """Make the folder and begin syncing; partitions are opened when they are used.

        Raises:
            StoreUnavailable: the folder cannot be made.
        """
        self._files.folder(self._folder)
        self._open = True
        self._keeper.start()

    def stop(self, timeout: float) -> None:
        """Sync what was written and close every file."""
        if not self._open:
            return
        self._open = False
        self._keeper.stop(timeout)
        self._partitions.clear()
        self._files.close_all()

    def check(self) -> None:
        """Say that the store is open and that nothing failed to reach the disk."""
        self._require_open()
        self._keeper.check()

    def append(self, groups: Sequence[Group]) -> list[Committed | StoreError]:
        """Write every group with one call, sync if that comes first, then commit; see `MessageStore`."""
        now = int(self._clock())
        results: list[Written | StoreError] = [self._write(group, now) for group in groups]
        if self._sync_first:
            results = self._keeper.sync_written(results)
        return [self._commit(result) for result in results]

    def _write(self, group: Group, now: int) -> Written | StoreError:
        try:
            return self.partition(group.partition).write(group.runs, now)
        except StoreError as error:
            log.error("cannot write to partition %s: %s", group.partition, error)
            return error

    def _commit(self, written: Written | StoreError) -> Committed | StoreError:
        if isinstance(written, StoreError):
            return written
        written.commit()
        self._keeper.wrote(written)
        self._listener(written.partition.name, written.blocks)
        return Committed(written.blocks[0].first_id, written.blocks[0].time)

    def bounds(self, partition: str) -> Bounds:
        """Return which ids a partition holds."""
        known = self._existing(partition)
        return Bounds(known.first_id, known.last_id) if known else Bounds(1, 0)

    def count(self, partition: str, selector: Selector, first_id: int, last_id: int) -> int:
        """Return exactly how many messages `scan` over the same range gives."""
        return reading.count(self._segments(partition), selector, first_id, last_id)

    def newest(self, partition: str, selector: Selector, number: int, last_id: int) -> int:
        """Return the id of the `number`-th newest selected message up to `last_id`."""
        return reading.newest(self._segments(partition), selector, number, last_id)

    def scan(
        self,
        partition: str,
        selector: Selector,
        first_id: int,
        last_id: int,
        page_bytes: int,
        *,
        keyed: bool = False,
    ) -> Iterator[Page]:
        """Yield what is selected with ids in [first_id, last_id], oldest first."""
        segments = self._segments(partition)
        return reading.scan(segments, selector, first_id, last_id, page_bytes, keyed=keyed)

    def partitions(self) -> list[str]:
        """Return the names of all partitions."""
        self._require_open()
        names: list[str] = []
        for number, folder in enumerate(self._files.names(self._folder)):
            if number % _NAMES_A_TURN == _NAMES_A_TURN - 1:
                gevent.sleep(0)
            if name := self._name(folder):
                names.append(name)
        return names

    def size(self, partition: str) -> int:
        """Return how many bytes the files of a partition have."""
        self._require_open()
        return self._files.usage(os.path.join(self._folder, folder_name(partition)))

    def _name(self, folder: str) -> str | None:
        """Return the partition of a folder; long names are only in the segments' heads."""
        return partition_name(folder) or self._name_in_heads(os.path.join(self._folder, folder))

    def _name_in_heads(self, path: str) -> str | None:
        """Return the name in the first head that is sound; None for a folder that is no partition's."""
        if not os.path.isdir(path):
            return None
        for entry in self._files.names(path):
            if base_of(entry) is None:
                continue
            try:
                return decode_head(self._files.read(os.path.join(path, entry), HEAD_LIMIT, 0)).partition
            except StoreError as error:
                log.error("%s/%s: %s", path, entry, error)
        return None

    def _require_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("the message store is not open")

    def partition(self, name: str) -> Partition:
        """Return a partition, opened; a new one has no files yet.

        Raises:
            StoreUnavailable: the store is not open, or the partition cannot be read.
        """
        partition = self._partitions.get(name)
        if partition is None:
            partition = self._open_partition(name)
        self._partitions.move_to_end(name)
        return partition

    def loaded(self) -> list[Partition]:
        """Return the partitions that are open now."""
        return list(self._partitions.values())

    def _open_partition(self, name: str) -> Partition:
        with self._opening:  # opening waits for the disk; two greenlets must not make two partitions of one
            partition = self._partitions.get(name)
            if partition is not None:
                return partition
            self._require_open()
            partition = Partition(self._files, self._folder, name, self._segment_bytes, self._memory)
            partition.open()
            self._partitions[name] = partition
            self._make_room()
            return partition

    def _make_room(self) -> None:
        """Let the least recently used partitions go; all of each is in its files."""
        for _ in range(len(self._partitions) - OPEN_PARTITIONS):
            name, partition = next(iter(self._partitions.items()))
            if partition.pinned:
                self._partitions.move_to_end(name)
                continue
            del self._partitions[name]
            for segment in partition.segments:
                self._memory.drop(segment)

    def _existing(self, name: str) -> Partition | None:
        """Return a partition that has files; asking for one does not make it."""
        if name not in self._partitions and not os.path.isdir(os.path.join(self._folder, folder_name(name))):
            self._require_open()
            return None
        return self.partition(name)

    def _segments(self, name: str) -> Sequence[FileSegment]:
        partition = self._existing(name)
        return partition.segments if partition else ()
