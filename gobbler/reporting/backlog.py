"""The events of one Kafka topic that are on their way, bounded in bytes. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RECORD_OVERHEAD: Final = 256
"""Bytes that a record takes beside its key and value: the objects around them."""


@dataclass(frozen=True, slots=True)
class Record:
    """An event as Kafka keeps it: its key, its value and its time in unix milliseconds."""

    key: bytes
    value: bytes
    milliseconds: int

    @property
    def size(self) -> int:
        """How many bytes of memory it takes."""
        return len(self.key) + len(self.value) + RECORD_OVERHEAD


class Backlog:
    """Keeps records in order until they are settled: delivered, or lost for good.

    One side adds, the other takes and settles. The sides may be threads: each counter is written by
    one of them only, and what both touch is a deque.
    """

    def __init__(self, max_bytes: int) -> None:
        """Begin without records; they may take `max_bytes` together."""
        self._max_bytes = max_bytes
        self._waiting: deque[Record] = deque()
        self._added = self._added_bytes = 0
        self._settled = self._settled_bytes = 0
        self._full_since = -1  # how many were settled when one did not fit

    def __len__(self) -> int:
        """How many records are not settled, whether taken or not."""
        return self._added - self._settled

    @property
    def size(self) -> int:
        """How many bytes they take."""
        return self._added_bytes - self._settled_bytes

    @property
    def is_full(self) -> bool:
        """Whether a record did not fit, and nothing has been settled since."""
        return self._full_since == self._settled

    def add(self, record: Record) -> bool:
        """Keep a record; return False, and do nothing, when it does not fit."""
        if self.size + record.size > self._max_bytes:
            # One that does not even fit alone says nothing about others.
            if len(self):
                self._full_since = self._settled
            return False
        # Counted first: the other side may have settled it before the next line.
        self._added += 1
        self._added_bytes += record.size
        self._waiting.append(record)
        return True

    @property
    def next(self) -> Record | None:
        """The record whose turn it is; None when none waits."""
        return self._waiting[0] if self._waiting else None

    def take(self) -> Record:
        """Take the next record; there is one."""
        return self._waiting.popleft()

    def give_back(self, records: Iterable[Record]) -> None:
        """Put records that were taken, and are not settled, back to the head, in their order."""
        self._waiting.extendleft(reversed(list(records)))

    def settle(self, record: Record) -> None:
        """Forget a record that was taken."""
        self._settled += 1
        self._settled_bytes += record.size
