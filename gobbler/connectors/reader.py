"""Reading the log for a connector: a partition's news for everybody, and what one lane has left there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Final

from gobbler.connectors.audience import Audience
from gobbler.connectors.lane import QUEUE_MESSAGES, Lane
from gobbler.connectors.metrics import ConnectorMetrics
from gobbler.protocol import filters
from gobbler.protocol.block import Chunk
from gobbler.protocol.message import Message
from gobbler.protocol.selector import Selector, split_key
from gobbler.store.base import MessageStore, Page

log = logging.getLogger(__name__)

PAGE_BYTES: Final = 256 * 1024
LANE_PAGE_BYTES: Final = 16 * 1024

Keyed = tuple[Message, dict[str, str]]
"""A message, and its filters."""


class _Covered(Selector):
    """Whatever anybody is subscribed to in a partition: filters are looked at for each of them."""

    __slots__ = ("_audience",)

    def __init__(self, partition: str, audience: Audience) -> None:
        super().__init__((b"/" + partition.encode(),), {})
        self._audience = audience

    def _decide(self, key: bytes) -> bool:
        return self._audience.covered(split_key(key)[0])


class Reader:
    """Reads for one connector."""

    def __init__(self, store: MessageStore, audience: Audience, metrics: ConnectorMetrics) -> None:
        """Read from a store that others start and stop."""
        self._store = store
        self._audience = audience
        self._metrics = metrics

    def newest(self, partition: str) -> int:
        """Return the newest id. Raises: StoreUnavailable."""
        return self._store.bounds(partition).last

    def news(self, partition: str, first_id: int, last_id: int) -> Iterator[tuple[int, list[Keyed]]]:
        """Yield what anybody may want of the ids first_id..last_id, with the id to go on from, oldest first.

        Raises: StoreUnavailable.
        """
        selector = _Covered(partition, self._audience)
        for page in self._store.scan(partition, selector, first_id, last_id, PAGE_BYTES, keyed=True):
            self._lost(partition, page)
            yield page.next_id, list(_keyed(page)) if page.number else []

    def refill(self, lane: Lane) -> None:
        """Read a lane's next messages, so that its queue is empty only where there are none.

        Raises: StoreUnavailable.
        """
        # What was tried before a restart is there, even if the feed has not come so far again.
        tried = lane.unread if lane.attempts or lane.sending else 0
        while lane.unread and not lane.queue and not lane.dropped:
            end = max(lane.feed.horizon, tried)
            selector = self._audience.selector(lane.feed.partition, lane.device)
            if lane.unread > end or selector is None:
                lane.unread = 0
                return
            self._read(lane, selector, end)

    def _read(self, lane: Lane, selector: Selector, end: int) -> None:
        """Read one page into an empty queue."""
        partition, rewinds = lane.feed.partition, lane.rewinds
        page = next(self._store.scan(partition, selector, lane.unread, end, LANE_PAGE_BYTES))
        if lane.rewinds != rewinds:  # reading may have waited, and the lane was sent back meanwhile
            return
        self._lost(partition, page)
        messages = [] if page.gap else list(Chunk(0, page.number, page.frames).messages())
        next_id = messages[QUEUE_MESSAGES].id if len(messages) > QUEUE_MESSAGES else page.next_id
        wanted = [one for one in messages[:QUEUE_MESSAGES] if self._audience.wants(lane.device, one)]
        lane.take(wanted, next_id, more=True)

    def _lost(self, partition: str, page: Page) -> None:
        if page.gap:
            first, last = page.gap
            self._metrics.lost.inc(last - first + 1)
            log.error("the ids %d to %d of /%s are gone, and cannot be sent any more", first, last, partition)


def _keyed(page: Page) -> Iterator[Keyed]:
    """Pair the messages of a page with their filters."""
    wanted = ((filters.decode(split_key(key)[1]), count) for key, count in page.runs)
    expanded = chain.from_iterable(repeat(found, count) for found, count in wanted)
    return zip(Chunk(0, page.number, page.frames).messages(), expanded, strict=True)
