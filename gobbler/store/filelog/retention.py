"""Retention: how long and how much of a partition is kept, by whole segments."""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

from gobbler.errors import StoreUnavailable
from gobbler.store.filelog.partition import Partition

log = logging.getLogger(__name__)


class Retention(NamedTuple):
    """What is kept: messages younger than `age` seconds, and `size` bytes a partition; None: no limit."""

    age: float | None = None
    size: int | None = None

    def enforce(self, partition: Partition, now: float) -> int:
        """Remove the segments of a partition that need not be kept; return how many.

        `now` is in unix seconds. A segment goes when its last write is too old. So that this
        comes to pass where little is written, the newest is sealed when its first message is.
        """
        removed = 0
        try:
            if not partition.pinned and self._began_long_ago(partition, now):
                partition.roll()
            while len(partition.segments) > 1 and self._goes(partition, now):
                last = partition.segments[1].base - 1
                log.info("partition %s: messages up to %d are no longer kept", partition.name, last)
                partition.drop_first()
                removed += 1
        except (StoreUnavailable, OSError) as error:
            log.error("cannot remove old messages of partition %s: %s", partition.name, error)
        return removed

    def _goes(self, partition: Partition, now: float) -> bool:
        return self._expired(partition, now) or self._exceeds(partition)

    def _began_long_ago(self, partition: Partition, now: float) -> bool:
        if self.age is None or not partition.segments:
            return False
        begun = partition.segments[-1].begun
        return bool(begun) and now - begun > self.age

    def _expired(self, partition: Partition, now: float) -> bool:
        return self.age is not None and now - os.stat(partition.segments[0].path).st_mtime > self.age

    def _exceeds(self, partition: Partition) -> bool:
        """Say whether the partition is large enough without its oldest segment."""
        if self.size is None:
            return False
        return sum(os.stat(segment.path).st_size for segment in partition.segments[1:]) >= self.size
