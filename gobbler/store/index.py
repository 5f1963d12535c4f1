"""Where the messages of a segment are: by id, and by path.

A segment's blocks are numbered from 0. An index knows each block's offset, its
ids, and for every key (`Run.key`) the blocks that hold messages with it, so
that reading a subtopic costs in proportion to what it returns.

`LiveIndex` (store/live_index.py) grows with the segment that is written to;
`SealedIndex` (store/sealed_index.py) is the same facts as bytes for a file.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from gobbler.protocol.selector import Selector
from gobbler.protocol.topic import SEPARATOR

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

    @property
    @abstractmethod
    def memory(self) -> int:
        """Return about how many bytes of memory this takes."""

    @abstractmethod
    def keys_under(self, path: bytes) -> Iterator[bytes]:
        """Yield the keys of a path and of everything below it."""

    @abstractmethod
    def entries(self, key: bytes) -> Iterator[Entry]:
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
        """Return the holes that hold any of the ids low..high, in order."""
        if self.whole:
            return []
        found = []
        for number in range(self.find(low), min(self.find(high) + 1, len(self))):
            hole = Hole(self.last_id(number - 1) + 1 if number else self.base, self.first_id(number) - 1)
            if hole.first <= hole.last and low <= hole.last:
                found.append(hole)
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
        keys = {key for path in selector.paths for key in self.keys_under(path) if selector.matches(key)}
        chains = [self.entries(key) for key in keys]
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
