"""A message store in memory: keeps the newest messages, up to a limit of bytes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gobbler.errors import KVError, StoreError, StoreUnavailable
from gobbler.kvstore.base import KVStore
from gobbler.protocol.block import Block, pack
from gobbler.protocol.selector import Selector
from gobbler.store import reading
from gobbler.store.base import Bounds, Committed, Group, Listener, MessageStore, Page
from gobbler.store.index import Index
from gobbler.store.live_index import LiveIndex
from gobbler.store.reading import Segment

SCHEMA: Final = "message-ids"
RESERVED: Final = 10_000
"""Ids are reserved so many at a time: after a crash a partition goes on behind the reserved ones."""

_SEGMENTS: Final = 64  # in which the limit is forgotten, piece by piece
# What a block takes beside its frames, its messages' sizes and its runs; measured with tracemalloc.
_BLOCK_BYTES: Final = 500
_MESSAGE_BYTES: Final = 8
_RUN_BYTES: Final = 120


class MemorySegment(Segment):
    """A few blocks and their index."""

    def __init__(self, base: int) -> None:
        """Begin with the id `base`."""
        self.base = base
        self._index = LiveIndex(base, 0)
        self._blocks: list[Block] = []
        self._bytes = 0

    @property
    def size(self) -> int:
        """Return about how many bytes of memory this takes."""
        return self._bytes + self._index.memory

    def add(self, block: Block) -> None:
        """Append a block."""
        size = len(block.frames)
        self._index.add(block, self._index.end, size)
        self._blocks.append(block)
        self._bytes += size + _BLOCK_BYTES + _MESSAGE_BYTES * len(block)
        self._bytes += sum(len(key) + _RUN_BYTES for key, _ in block.runs)

    def index(self) -> Index:
        """Return the index."""
        return self._index

    def load(self, index: Index, low: int, high: int) -> Iterator[Block | None]:
        """Yield the blocks low..high."""
        yield from self._blocks[low : high + 1]


class _Partition:
    """The segments that are still kept, and how far ids are used and reserved."""

    __slots__ = ("next_id", "reserved", "segments")

    def __init__(self, next_id: int) -> None:
        self.next_id = next_id
        self.reserved = next_id - 1
        self.segments: list[MemorySegment] = []

    @property
    def first_id(self) -> int:
        return self.segments[0].base if self.segments else self.next_id


class MemoryStore(MessageStore):
    """Partitions in memory. When all of them get too large, the oldest messages go first."""

    def __init__(self, limit: int, kvstore: KVStore, clock: Callable[[], float] = time.time) -> None:
        """Keep about `limit` bytes; keep the ids' state in `kvstore`, so that they go on after a restart."""
        self._limit = limit
        self._segment_bytes = max(1, limit // _SEGMENTS)
        self._kvstore = kvstore
        self._clock = clock
        self._size = 0
        self._partitions: dict[str, _Partition] = {}
        self._oldest: deque[tuple[_Partition, MemorySegment]] = deque()
        self._listener: Listener = lambda partition, blocks: None
        self._open = False

    def __repr__(self) -> str:
        """Show how much is kept."""
        return f"<MemoryStore {self._size} of {self._limit} bytes>"

    def listen(self, listener: Listener) -> None:
        """Have a function called with every commit."""
        self._listener = listener

    def start(self) -> None:
        """Begin to take messages."""
        self._open = True

    def stop(self, timeout: float) -> None:
        """Note the ids that were really used, and forget everything."""
        if not self._open:
            return
        self._open = False
        used = {name: b"%d" % (known.next_id - 1) for name, known in self._partitions.items()}
        self._partitions.clear()
        self._oldest.clear()
        self._size = 0
        if used:
            self._kvstore.write_batch(SCHEMA, used, ())

    def check(self) -> None:
        """Say that the store is open. Raises: StoreUnavailable."""
        if not self._open:
            raise StoreUnavailable("the message store is not open")

    def append(self, groups: Sequence[Group]) -> list[Committed | StoreError]:
        """Number the messages and keep them."""
        now = int(self._clock())
        return [self._append(group, now) for group in groups]

    def _append(self, group: Group, now: int) -> Committed | StoreError:
        try:
            self.check()
            partition = self._partition(group.partition)
            self._reserve(group.partition, partition, sum(map(len, group.runs)))
            self.check()  # reserving may have waited
        except KVError as error:
            return StoreUnavailable(f"cannot reserve ids: {error}")
        except StoreError as error:
            return error
        first_id = partition.next_id
        blocks = list(pack(group.runs, first_id, now))
        for block in blocks:
            self._keep(partition, block)
        self._forget()
        self._listener(group.partition, blocks)
        return Committed(first_id, now)

    def _partition(self, name: str) -> _Partition:
        partition = self._partitions.get(name)
        if partition is None:
            partition = self._partitions[name] = self._unused(name)
        return partition

    def _unused(self, name: str) -> _Partition:
        """Return a partition that nothing was appended to since the start."""
        return _Partition(int(self._kvstore.get(SCHEMA, name) or b"0") + 1)

    def _reserve(self, name: str, partition: _Partition, number: int) -> None:
        last = partition.next_id + number - 1
        if last > partition.reserved:
            self._kvstore.put(SCHEMA, name, b"%d" % (last + RESERVED))
            partition.reserved = last + RESERVED

    def _keep(self, partition: _Partition, block: Block) -> None:
        if not partition.segments or partition.segments[-1].size >= self._segment_bytes:
            segment = MemorySegment(block.first_id)
            partition.segments.append(segment)
            self._oldest.append((partition, segment))
            self._size += segment.size
        segment = partition.segments[-1]
        self._size -= segment.size
        segment.add(block)
        self._size += segment.size
        partition.next_id = block.last_id + 1

    def _forget(self) -> None:
        """Let whole segments go, whichever is oldest, but keep the newest of all."""
        while self._size > self._limit and len(self._oldest) > 1:
            partition, segment = self._oldest.popleft()
            # A new list: whoever is reading keeps the old one.
            partition.segments = [kept for kept in partition.segments if kept is not segment]
            self._size -= segment.size

    def bounds(self, partition: str) -> Bounds:
        """Return which ids a partition holds."""
        known = self._existing(partition)
        return Bounds(known.first_id, known.next_id - 1)

    def count(self, partition: str, selector: Selector, first_id: int, last_id: int) -> int:
        """Return exactly how many messages `scan` over the same range gives."""
        return reading.count(self._existing(partition).segments, selector, first_id, last_id)

    def newest(self, partition: str, selector: Selector, number: int, last_id: int) -> int:
        """Return the id of the `number`-th newest selected message up to `last_id`."""
        return reading.newest(self._existing(partition).segments, selector, number, last_id)

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
        segments = self._existing(partition).segments
        return reading.scan(segments, selector, first_id, last_id, page_bytes, keyed=keyed)

    def partitions(self) -> list[str]:
        """Return the names of the partitions that have ids: all that hold or held messages.

        Raises:
            StoreUnavailable: they cannot be read now.
        """
        self.check()
        try:
            return [name for name, _ in self._kvstore.items(SCHEMA)]
        except KVError as error:
            raise StoreUnavailable(f"cannot read the names: {error}") from error

    def size(self, partition: str) -> int:
        """Return about how many bytes of memory a partition takes."""
        self.check()
        known = self._partitions.get(partition)
        return sum(segment.size for segment in known.segments) if known else 0

    def _existing(self, name: str) -> _Partition:
        """Return a partition to read from; asking for one does not make it. Raises: StoreUnavailable."""
        self.check()
        known = self._partitions.get(name)
        if known is None:
            try:
                unused = self._unused(name)
            except KVError as error:
                raise StoreUnavailable(f"cannot read the ids: {error}") from error
            known = self._partitions.get(name, unused)  # asking may have waited; messages may have come
        return known
