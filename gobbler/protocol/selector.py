"""A selector: which messages of a partition a reader is given.

The router asks it for live messages and the store for stored ones, so that a
fetch returns exactly what a live subscription would have been given.
"""

from __future__ import annotations

from collections.abc import Mapping

from gobbler.protocol import filters
from gobbler.protocol.topic import covers

_REMEMBERED = 4096


def split_key(key: bytes) -> tuple[bytes, bytes]:
    """Return a key's path and its filters (canonical JSON or empty); see `Run.key`."""
    path, _, raw = key.partition(b"\0")
    return path, raw


class Selector:
    """Messages at or below any of some paths, whose filters the reader's parameters satisfy."""

    __slots__ = ("_known", "params", "paths")

    def __init__(self, paths: tuple[bytes, ...], params: Mapping[str, str]) -> None:
        """Take canonical paths of one partition, and the parameters of the reader's route."""
        self.paths = paths
        self.params = params
        self._known: dict[bytes, bool] = {}

    def matches(self, key: bytes) -> bool:
        """Say whether messages with this key are selected. Answers are remembered, a bounded number."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._decide(key)
        return known

    def _decide(self, key: bytes) -> bool:
        path, raw = split_key(key)
        if not any(covers(subscription, path) for subscription in self.paths):
            return False
        return not raw or filters.matches(filters.decode(raw), self.params)

    def __repr__(self) -> str:
        """Show the paths."""
        return f"<Selector {b' '.join(self.paths).decode(errors='replace')}>"
