"""Showing a message once, however many subscriptions match it.

The server sends a message once to a client, which gives it to each of its subscriptions that matches. A
person wants to see it once. The copies come in the same burst, or, when a connection was lost, within what is
caught up, so it is enough to remember the latest.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gobbler.protocol.topic import covers, partition_of

REMEMBERED: Final = 20_000
"""Ids of a partition."""


class _Recent:
    """The ids that were shown last."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._ids: set[int] = set()

    def add(self, id: int) -> bool:
        """Say whether an id is new."""
        if id in self._ids:
            return False
        self._ids.add(id)
        self._order.append(id)
        if len(self._order) > REMEMBERED:
            self._ids.discard(self._order.popleft())
        return True


class Once:
    """What was shown in partitions where subscriptions overlap; elsewhere nothing comes twice."""

    def __init__(self) -> None:
        """Begin without subscriptions."""
        self._paths: set[bytes] = set()
        self._recent: dict[str, _Recent] = {}

    def add(self, path: str) -> None:
        """A subscription begins: what it replays may have been shown before, and is shown again."""
        self._paths.add(path.encode())
        self._compare(partition_of(path.encode()))

    def remove(self, path: str) -> None:
        """A subscription ends."""
        self._paths.discard(path.encode())
        self._compare(partition_of(path.encode()))

    def is_new(self, topic: str, id: int) -> bool:
        """Say whether to show a message; from then on it is not new."""
        recent = self._recent.get(partition_of(topic.encode()))
        return recent is None or recent.add(id)

    def _compare(self, partition: str) -> None:
        paths = [path for path in self._paths if partition_of(path) == partition]
        if any(one != other and covers(one, other) for one in paths for other in paths):
            self._recent[partition] = _Recent()
        else:
            self._recent.pop(partition, None)
