"""All feeds of a connector, and what is kept of them in the key-value store.

Two schemas: `<connector>.feeds` has the watermark of each partition, `<connector>.positions` what
devices have done ahead of it. Positions are durable before anything goes on; watermarks follow
within a second, and then the positions that they have passed are deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from gobbler.connectors.lane import Feed, Lane, Renamed
from gobbler.connectors.ledger import Ledger
from gobbler.connectors.position import Position
from gobbler.connectors.subscription import Device
from gobbler.errors import KVError
from gobbler.kvstore.base import KVStore

log = logging.getLogger(__name__)

_BATCH: Final = 1000


class Feeds:
    """The feeds of one connector that runs."""

    def __init__(self, name: str, kvstore: KVStore) -> None:
        """Take the connector's name."""
        self._schema = f"{name}.feeds"
        self._kvstore = kvstore
        self.positions = Ledger(kvstore, f"{name}.positions")
        self._feeds: dict[str, Feed] = {}
        self._moved: set[Feed] = set()

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<Feeds, {len(self._feeds)} partitions>"

    def __iter__(self) -> Iterator[Feed]:
        """Yield every feed."""
        return iter(list(self._feeds.values()))

    def get(self, partition: str) -> Feed | None:
        """Return the feed of a partition; None where nothing of it is wanted."""
        return self._feeds.get(partition)

    def begin(self, partition: str, watermark: int) -> Feed:
        """Return the feed of a partition; a new one begins behind the id `watermark`."""
        feed = self._feeds.get(partition)
        if feed is None:
            feed = self._feeds[partition] = Feed(partition, watermark)
            self._moved.add(feed)
        return feed

    def load(self, starts: Mapping[str, int | None], newest: Callable[[str], int]) -> list[Lane]:
        """Make the feeds of these partitions, and return the lanes that have tried something before.

        A partition that was never read begins behind the id that `starts` gives; None stands for
        the newest one, which is written down at once: it is another one later.

        Raises: KVError, StoreUnavailable.
        """
        known = {partition: int(value) for partition, value in self._kvstore.items(self._schema)}
        for partition, start in starts.items():
            if start is None and partition not in known:
                known[partition] = newest(partition)
                self._kvstore.put(self._schema, partition, b"%d" % known[partition])
            self._feeds[partition] = Feed(partition, max(known.get(partition, 0), start or 0))
        self._forget([partition for partition in known if partition not in starts])
        return self._load_positions()

    def _load_positions(self) -> list[Lane]:
        lanes, needless = [], []
        for key, value in self._kvstore.items(self.positions.schema):
            position = Position.decode(value)
            feed = self._feeds.get(position.partition)
            if feed is None:
                needless.append(key)
                continue
            feed.done[position.device] = position.done
            if position.trying:
                lanes.append(_restored(feed, position))
        self.positions.delete(needless)
        return lanes

    def record(self, position: Position) -> None:
        """Return when a position is durable; not of a device that is being given more to do."""
        feed = self._feeds.get(position.partition)
        if feed is None or position.device not in feed.handed_over:
            self.positions.write(position.key, position.encode())
        if feed is not None:
            feed.done[position.device] = position.done
            self._moved.add(feed)

    def read(self, feed: Feed, next_id: int) -> None:
        """Move a feed's cursor."""
        feed.read(next_id)
        self._moved.add(feed)

    def end(self, lane: Lane) -> None:
        """Forget a lane that has nothing unfinished."""
        lane.feed.end(lane)
        self._moved.add(lane.feed)

    @contextmanager
    def handing_over(self, old: Device, new: Device, joins: Mapping[str, bool]) -> Iterator[None]:
        """Keep what loses nothing while the subscriptions of a device become another's, in these partitions.

        To a device that is new somewhere goes the position of the old one. One that `joins` it there
        begins at the watermark: what it has done ahead of that, the other may not have. That would
        repeat a few things after a crash; until then, what is in memory counts.

        Raises: KVError.
        """
        feeds = [feed for feed in map(self._feeds.get, joins) if feed is not None]
        for feed in feeds:
            feed.handed_over.add(new)
        try:
            kept = [self._kept(partition, old) for partition, joined in joins.items() if not joined]
            given = [one._replace(device=new) for one in kept if one is not None]
            needless = [Position(partition, new, 0).key for partition in joins]
            self.positions.write_batch({one.key: one.encode() for one in given}, needless)
            yield
        finally:
            for feed in feeds:
                feed.handed_over.discard(new)

    def _kept(self, partition: str, device: Device) -> Position | None:
        value = self._kvstore.get(self.positions.schema, Position(partition, device, 0).key)
        return None if value is None else Position.decode(value)

    def rename(self, old: Device, new: Device, joins: Mapping[str, bool]) -> Iterator[Renamed]:
        """Give what a device has unfinished, and has done, to another, in the partitions of `joins`.

        They say whether the other was there before. What it means for the work is yielded.
        """
        for partition, joined in joins.items():
            feed = self._feeds.get(partition)
            if feed is None:
                continue
            yield feed.rename(old, new, joined)
            self._moved.add(feed)
            if new in feed.lanes:
                self._note(feed.lanes[new].position())
            elif new in feed.done:
                self._note(Position(feed.partition, new, feed.done[new]))

    def _note(self, position: Position) -> None:
        """Have a position written soon."""
        self.positions.put(position.key, position.encode())

    def save(self) -> None:
        """Write watermarks that have moved, and delete the positions they have passed. Raises: KVError."""
        moved, self._moved = self._moved, set()
        marks = {feed: feed.unfinished() - 1 for feed in moved}
        puts = {feed.partition: b"%d" % mark for feed, mark in marks.items()}
        if not puts:
            return
        try:
            self._kvstore.write_batch(self._schema, puts, ())
        except KVError:
            self._moved |= moved
            raise
        for feed, mark in marks.items():
            feed.watermark = mark
            self._delete(feed, feed.surpassed())

    def _delete(self, feed: Feed, devices: list[Device]) -> None:
        for device in devices:
            del feed.done[device]
        self.positions.delete([Position(feed.partition, device, 0).key for device in devices])

    def _forget(self, partitions: list[str]) -> None:
        """Delete the watermarks of partitions that nobody wants anything from any more."""
        for at in range(0, len(partitions), _BATCH):
            self._kvstore.write_batch(self._schema, {}, partitions[at : at + _BATCH])


def _restored(feed: Feed, position: Position) -> Lane:
    """Return the lane that a device had when the server stopped."""
    lane = feed.lanes[position.device] = Lane(feed, position.device, position.done)
    lane.rewind(position.trying)
    lane.attempts, lane.since = position.attempts, position.since
    lane.due, lane.sending = position.due, position.sending
    return lane
