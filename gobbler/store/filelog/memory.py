"""How much memory the indexes of all segments may take together."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from gobbler.store.filelog.segment import FileSegment

MAPPED_BYTES: Final = 16 * 1024
"""What a mapped index counts for: its pages are the kernel's, but maps are limited too."""


class IndexMemory:
    """Lets the least recently used indexes go when all of them get too large."""

    def __init__(self, limit: int) -> None:
        """Allow about `limit` bytes."""
        self._limit = limit
        self._sizes: OrderedDict[FileSegment, int] = OrderedDict()
        self._total = 0

    @property
    def total(self) -> int:
        """Return about how many bytes the indexes take."""
        return self._total

    def used(self, segment: FileSegment) -> None:
        """Note that a segment's index is in use now."""
        size = segment.memory or MAPPED_BYTES
        self._total += size - self._sizes.pop(segment, 0)
        self._sizes[segment] = size
        while self._total > self._limit and len(self._sizes) > 1:
            oldest, freed = self._sizes.popitem(last=False)
            oldest.forget()
            self._total -= freed

    def drop(self, segment: FileSegment) -> None:
        """Let a segment's index go at once."""
        self._total -= self._sizes.pop(segment, 0)
        segment.forget()

    def unsaved(self) -> list[FileSegment]:
        """Return the segments whose index is complete but not in a file yet."""
        return [segment for segment in self._sizes if segment.unsaved]

    def recount(self) -> None:
        """Look at what the indexes have grown to."""
        for segment in list(self._sizes):
            size = segment.memory or MAPPED_BYTES
            self._total += size - self._sizes[segment]
            self._sizes[segment] = size
        if self._sizes:
            self.used(next(reversed(self._sizes)))
