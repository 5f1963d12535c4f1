"""What is unfinished: a lane for each device with messages on their way, a feed for each partition.

A feed reads its partition once, from its `cursor` on, and puts each message into the lanes of the
devices that it is for. A lane has one message on its way at a time, in the order of ids. It holds
a few of them in memory; what came after those, it reads from the log itself when it is their turn:

      finished | queue: a few, in memory | unread: in the log  | not handed out yet
    -----------+-------------------------+---------------------+-------------------> ids
          after^                    taken^              horizon^

A lane that waits for its next attempt holds nothing in memory. Everything up to a feed's
*watermark* is finished for all devices; a device that is ahead of it has a `Position`. Watermark
and positions are all that has to be kept: the log has the rest.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import Final, NamedTuple

from gobbler.connectors.position import Position
from gobbler.connectors.subscription import Device
from gobbler.protocol.message import Message

QUEUE_MESSAGES: Final = 16
"""How many messages a lane holds in memory."""

_OVERHEAD_BYTES: Final = 400  # of a message beside its body, measured roughly


class Lane:
    """The unfinished messages of a device in a partition. It is ready, served, or waits: one of these."""

    __slots__ = (
        "after",
        "attempts",
        "device",
        "dropped",
        "due",
        "feed",
        "queue",
        "rewinds",
        "sending",
        "since",
        "taken",
        "unread",
    )

    def __init__(self, feed: Feed, device: Device, after: int) -> None:
        """Everything up to the id `after` is finished."""
        self.feed = feed
        self.device = device
        self.after = after
        self.queue: deque[Message] = deque()
        self.taken = after  # the last id that was put into the queue, or passed over
        self.unread = 0  # the first id that may be in the log and is not in the queue; 0: there is none
        self.attempts = 0
        self.since = 0.0  # when the first message first failed, unix seconds
        self.due = 0.0
        self.sending = False
        self.dropped = False
        self.rewinds = 0  # how often it was sent back

    def __repr__(self) -> str:
        """Show where it stands; the device's token is nobody's business."""
        return f"<Lane of {self.feed.partition} after {self.after}, {len(self.queue)} queued>"

    @property
    def first(self) -> int:
        """Return the first id that may be unfinished."""
        return self.queue[0].id if self.queue else self.unread or self.after + 1

    def offer(self, message: Message) -> bool:
        """Take the feed's next message; return whether it is held in memory, else it is left in the log."""
        if self.unread or message.id <= self.taken:
            return False
        if len(self.queue) >= QUEUE_MESSAGES:
            self.unread = message.id
            return False
        self.queue.append(message)
        self.taken = message.id
        return True

    def take(self, messages: list[Message], next_id: int, more: bool) -> None:
        """Put messages that were read from the log into the queue; they are all up to before `next_id`.

        `more`: there may be more from there on.
        """
        self.queue.extend(messages)
        self.taken = next_id - 1
        self.unread = next_id if more else 0

    def release(self) -> int:
        """Leave everything in the log; return how many bytes of memory that gives back."""
        if not self.queue:
            return 0
        freed = self.weight
        self.rewind(self.queue[0].id)
        self.queue.clear()
        return freed

    def rewind(self, id: int) -> None:
        """Read again from an id on, when the queue is done with; no more is finished than up to there."""
        self.unread = id
        self.taken = id - 1
        self.after = min(self.after, id - 1)
        self.rewinds += 1

    def leave_rest(self) -> None:
        """Take no more from the feed: what comes behind the queue is to be read from the log."""
        self.unread = self.unread or self.taken + 1

    @property
    def weight(self) -> int:
        """Return about how many bytes of memory the queue takes."""
        return sum(map(weight, self.queue))

    def finish(self, id: int) -> None:
        """The first message, with this id, is finished, and so is everything before it.

        Where the lane was sent back meanwhile, no more is finished than up to there.
        """
        self.after = min(id, self.unread - 1) if self.unread else id
        self.attempts, self.since, self.due, self.sending = 0, 0.0, 0.0, False

    def position(self, *, sending: bool = False) -> Position:
        """Return the position to be kept; `sending`: the first message is about to be handed over."""
        trying = self.first if self.attempts or sending else 0
        return Position(
            self.feed.partition,
            self.device,
            self.after,
            trying,
            self.attempts,
            self.since,
            self.due,
            sending,
        )


class Renamed(NamedTuple):
    """What it means for the work that a device is another now."""

    freed: int = 0
    """How many bytes of memory are held no more."""

    ended: bool = False
    """Whether there is a lane less: the two had one each."""

    begun: Lane | None = None
    """A lane that there was not before."""


class Feed:
    """A partition as a connector sees it.

    `cursor` is the next id to read; `horizon` the last one that may have been handed out to a lane,
    which is ahead of the cursor while a page is being handed out.
    """

    __slots__ = ("cursor", "done", "handed_over", "horizon", "lanes", "partition", "watermark")

    def __init__(self, partition: str, watermark: int) -> None:
        """Everything up to the id `watermark` is finished."""
        self.partition = partition
        self.watermark = watermark
        self.cursor = watermark + 1
        self.horizon = watermark
        self.lanes: dict[Device, Lane] = {}
        self.done: dict[Device, int] = {}
        """The devices that have a position in the key-value store, and the ids up to which they are done."""
        self.handed_over: set[Device] = set()
        """The devices that are being given the subscriptions of others."""

    def __repr__(self) -> str:
        """Show where it stands."""
        return f"<Feed {self.partition} at {self.cursor}, {len(self.lanes)} lanes>"

    def lane(self, device: Device, id: int) -> Lane | None:
        """Return a device's lane for a message; a new one where there is none; None where it is done."""
        lane = self.lanes.get(device)
        if lane is None and id > self.done.get(device, 0):
            lane = self.lanes[device] = Lane(self, device, id - 1)
        return lane

    def end(self, lane: Lane) -> None:
        """Forget a lane that has nothing unfinished."""
        lane.dropped = True
        if self.lanes.get(lane.device) is lane:
            del self.lanes[lane.device]

    def read(self, next_id: int) -> None:
        """Everything before an id was handed out."""
        self.cursor = next_id
        self.horizon = max(self.horizon, next_id - 1)

    def first(self, device: Device) -> int:
        """Return the first id that may be unfinished for a device."""
        lane = self.lanes.get(device)
        return lane.first if lane else max(self.done.get(device, 0) + 1, self.cursor)

    def rename(self, old: Device, new: Device, joins: bool) -> Renamed:
        """Give a device's lane, and what it is done with, to another.

        `joins`: the other one was subscribed here before. What the two have unfinished is finished
        for both from where the first of them stands: that may repeat something rather than lose it.
        """
        joins = joins or new in self.lanes or new in self.done
        firsts = {old: self.first(old)} | ({new: self.first(new)} if joins else {})
        first = min(firsts.values())
        if old in self.done or new in self.done:
            self.done[new] = first - 1
        lane, other = self.lanes.pop(old, None), self.lanes.get(new)
        freed = 0
        if lane and other:
            lane.dropped = True
            freed = lane.release() + other.release()
            other.rewind(first)
        elif kept := lane or other:
            without = firsts.get(new if lane else old, kept.taken + 1)
            kept.device = new
            self.lanes[new] = kept
            if kept.taken >= without:  # the one without a lane has not had all that this lane passed over
                freed = kept.release()
                kept.rewind(first)
        return Renamed(freed, bool(lane and other), self._catch_up(new, first))

    def _catch_up(self, device: Device, first: int) -> Lane | None:
        """Have a device read for itself what is being handed out just now; return its lane if it is new.

        The hand-out counts on who wanted a message before it began.
        """
        if self.horizon < self.cursor:
            return None
        known = self.lanes.get(device)
        lane = known or self.lanes.setdefault(device, Lane(self, device, first - 1))
        lane.leave_rest()
        return None if known else lane

    def unfinished(self) -> int:
        """Return the id before which everything is finished.

        After a restart, lanes with what was tried before it are ahead of the cursor.
        """
        return min(chain([self.cursor], (lane.first for lane in self.lanes.values())))

    def surpassed(self) -> list[Device]:
        """Return the devices whose positions the watermark has made needless."""
        return [
            device for device, id in self.done.items() if id <= self.watermark and device not in self.lanes
        ]


def weight(message: Message) -> int:
    """Return about how many bytes of memory a queued message takes."""
    return len(message.body) + _OVERHEAD_BYTES
