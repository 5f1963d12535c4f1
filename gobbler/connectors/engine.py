"""A connector at work: reads the log, serves the lanes, keeps what is done. From one start to one stop.

    log --(pump)--> lanes --(workers)--> provider
                      ^         |
                      |         +--> position (durable), then the lane's next message
                      +--(time)-- delayed

An attempt holds its worker until its outcome is durable, so a crash repeats at most what was
under way. Nothing is handed over at a stop: whoever starts next finds everything in the
key-value store and the log, be it after a stop, a toggle or a crash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

import gevent
from gevent.event import Event

from gobbler.connectors.attempt import Attempts
from gobbler.connectors.audience import Audience
from gobbler.connectors.feeds import Feeds
from gobbler.connectors.lane import Feed, Lane, weight
from gobbler.connectors.reader import Reader
from gobbler.connectors.subscription import Device
from gobbler.connectors.workload import Workload
from gobbler.errors import KVError, StoreError
from gobbler.protocol.message import Message
from gobbler.service import end

log = logging.getLogger(__name__)

SAVE_SECONDS: Final = 1.0
"""How often watermarks are written."""

TURN_DEVICES: Final = 500
"""After so many devices of a message it is the others' turn: a message may be for a million of them."""

TROUBLE_SECONDS: Final = 1.0
"""How long to wait when the store cannot be read."""

END_SECONDS: Final = 1.0
"""How long a stop waits for greenlets that have been told to end."""


class Engine:
    """One run of a connector."""

    def __init__(
        self,
        audience: Audience,
        feeds: Feeds,
        reader: Reader,
        attempts: Attempts,
        workers: int,
        clock: Callable[[], float],
    ) -> None:
        """`workers` is how many attempts may be under way at a time; `clock` gives unix seconds."""
        self.feeds = feeds
        self.workload = Workload(clock)
        self._audience = audience
        self._reader = reader
        self._attempts = attempts
        self._workers = workers
        self._clock = clock
        # What has news, in the order of arrival: a dict, because a feed stands in it once.
        self._news: dict[Feed, None] = {}
        self._wake = Event()
        self._greenlets: list[gevent.Greenlet[..., None]] = []
        self._stopping = False

    def __repr__(self) -> str:
        """Show the work."""
        return f"<Engine {self.workload!r}>"

    def start(self) -> None:
        """Take up what is unfinished, and begin. Raises: KVError, StoreUnavailable."""
        lanes = self.feeds.load(self._audience.starts(), self._reader.newest)
        self.feeds.positions.start()
        self.workload.start()
        for lane in lanes:
            self.workload.begun()
            self.workload.delay(lane)
        for feed in self.feeds:
            self._news[feed] = None
        self._wake.set()
        jobs = [self._pump, self._save_often, *[self._serve] * self._workers]
        self._greenlets = [gevent.spawn(job) for job in jobs]

    def stop(self, timeout: float) -> None:
        """Let attempts that are under way be finished, within `timeout` seconds."""
        self._stopping = True
        under_way = self._attempts.under_way
        end((one for one in self._greenlets if one not in under_way), END_SECONDS)
        self.workload.stop()
        gevent.joinall(self._greenlets, timeout)
        end(self._greenlets, END_SECONDS)
        self._save()
        self.feeds.positions.stop(1.0)

    # What is told from outside

    def committed(self, feed: Feed, first_id: int, last_id: int, wanted: bool) -> None:
        """Learn that a partition has new messages, of which some are `wanted`, or none."""
        if not wanted and feed.cursor == first_id:
            self.feeds.read(feed, last_id + 1)  # no need to look
            return
        self._news[feed] = None
        self._wake.set()

    def began(self, partition: str, from_id: int) -> None:
        """Learn that something is wanted from a partition, behind the id `from_id`."""
        self._news[self.feeds.begin(partition, from_id)] = None
        self._wake.set()

    def renamed(self, old: Device, new: Device, joins: Mapping[str, bool]) -> None:
        """Learn that a device is another now, in these partitions, and whether that was there before."""
        for freed, ended, begun in self.feeds.rename(old, new, joins):
            self.workload.hold(-freed)
            if ended:
                self.workload.ended()
            if begun is not None:
                self.workload.begun()
                self.workload.ready(begun)

    # The pump

    def _pump(self) -> None:
        while True:
            while not self._wake.wait(timeout=3600):
                pass
            self._wake.clear()
            while self._news:
                feed = next(iter(self._news))
                del self._news[feed]
                try:
                    self._read(feed)
                except StoreError as error:
                    log.error("/%s cannot be read, trying on: %s", feed.partition, error)
                    self._read_later(feed)
                except Exception:  # the top of this greenlet: the other partitions go on
                    log.exception("reading /%s failed", feed.partition)
                    self._read_later(feed)

    def _read_later(self, feed: Feed) -> None:
        gevent.sleep(TROUBLE_SECONDS)
        self._news[feed] = None

    def _read(self, feed: Feed) -> None:
        """Read a page of a feed, and have its next one read when it is its turn again."""
        last = self._reader.newest(feed.partition)
        if feed.cursor > last:
            return
        next_id, found = next(self._reader.news(feed.partition, feed.cursor, last))
        for message, wanted in found:
            feed.horizon = message.id
            self._hand_out(feed, message, wanted)
        self.feeds.read(feed, next_id)
        self._news[feed] = None
        gevent.sleep(0)

    def _hand_out(self, feed: Feed, message: Message, wanted: dict[str, str]) -> None:
        for number, device in enumerate(self._audience.reached(message, wanted), 1):
            if not self.workload.has_room:
                self.workload.wait_for_room()
            if not number % TURN_DEVICES:
                gevent.sleep(0)
            begins = device not in feed.lanes
            lane = feed.lane(device, message.id)
            if lane is None:
                continue
            if lane.offer(message):
                self.workload.hold(weight(message))
            if begins:
                self.workload.begun()
                self.workload.ready(lane)

    # The workers

    def _serve(self) -> None:
        while not self._stopping:
            lane = self.workload.next()
            try:
                again = self._next(lane)
            except Exception:  # the top of this greenlet: the lane gets another chance, the others go on
                log.exception("serving %r failed", lane)
                self._wait_a_moment(lane)
                continue
            if again:
                self.workload.ready(lane)

    def _wait_a_moment(self, lane: Lane) -> None:
        self.workload.hold(-lane.release())
        lane.due = self._clock() + TROUBLE_SECONDS
        self.workload.delay(lane)

    def _next(self, lane: Lane) -> bool:
        """Serve a lane's next message; return whether the lane is to be served again at once."""
        if not self._refill(lane):
            return False
        if lane.dropped:
            self.workload.hold(-lane.release())
            return False
        if not lane.queue:
            self.feeds.end(lane)
            self.workload.ended()
            return False
        message = lane.queue[0]
        settled = self._attempts.make(lane, message)
        if settled:
            if lane.queue and lane.queue[0] is message:
                lane.queue.popleft()
                self.workload.hold(-weight(message))
            return not lane.dropped
        self.workload.hold(-lane.release())
        self.workload.delay(lane)
        return False

    def _refill(self, lane: Lane) -> bool:
        """Have a lane's next messages read; return whether that could be done."""
        held = lane.weight
        try:
            self._reader.refill(lane)
        except StoreError as error:
            log.error("/%s cannot be read, trying on: %s", lane.feed.partition, error)
            self._wait_a_moment(lane)
            return False
        self.workload.hold(lane.weight - held)
        return True

    # Keeping

    def _save_often(self) -> None:
        while True:
            gevent.sleep(SAVE_SECONDS)
            self._save()

    def _save(self) -> None:
        try:
            self.feeds.save()
        except KVError as error:
            log.error("watermarks cannot be written, trying on: %s", error)
