"""How much memory the indexes of all segments may take together."""

from __future__ import annotations

from collections import OrderedDict

from gobbler.store.filelog.segment import FileSegment


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
        self._total += segment.memory - self._sizes.pop(segment, 0)
        self._sizes[segment] = segment.memory
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
        for segment in self._sizes:
            self._sizes[segment] = segment.memory
        self._total = sum(self._sizes.values())
        if self._sizes:
            self.used(next(reversed(self._sizes)))
