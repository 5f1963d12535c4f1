"""Routes: which subscriptions of a client a message is for, on one connection.

A *wire* is what the server knows as a subscription: a path, once on a connection. The subscriptions of this
client to that path share it. Paths may contain each other; the server then sends what several of them match
once, and it is given to all of them here.

Each wire has the next id that it waits for, and this is what makes the promise of once and in order:

- It is always begun with that id (`+ <path> <id>`), anew on each connection. So nothing is lost between
  two connections, nor in the moment in which a subscription begins: "from now on" has an id, too, which is
  found out before.
- It counts from `#fetch-start` on, with which the server confirms. What matched the path before was sent for
  another wire; behind it, the server sends all that the path is to be given in the order of ids, together
  with older messages of other wires that have begun further back.
- Of what then comes, it takes ids that it has not had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from gobbler.client.errors import SubscribeFailed
from gobbler.client.inbox import MESSAGE_BYTES, Chunk, Inbox, Item
from gobbler.client.message import Gap, Message
from gobbler.client.subscription import Subscription
from gobbler.client.waiting import Backoff, Waker
from gobbler.protocol.topic import ancestors, partition_of

_REMEMBERED: Final = 4096


class Phase(IntEnum):
    """How far a wire is."""

    NEW = 0  # nothing has been asked on this connection
    ASKED = 1
    BEGUN = 2
    FAILED = 3  # the server cannot read the log now; it will be asked again
    ENDING = 4  # canceled, which has not been confirmed


class Fit(IntEnum):
    """Whether a connection can take a subscription."""

    FREE = 0
    BUSY = 1  # not now, but soon
    NO = 2


class Wire:
    """A path that is subscribed, and the subscriptions that share it."""

    __slots__ = ("backoff", "items", "members", "next_id", "path", "phase", "retry_at", "size")

    def __init__(self, path: bytes, next_id: int, backoff: Backoff) -> None:
        """Begin with what the first of its subscriptions begins with."""
        self.path = path
        self.next_id = next_id
        self.phase = Phase.NEW
        self.members: list[Subscription] = []
        self.items: list[Item] = []  # of this burst
        self.size = 0
        self.backoff = backoff
        self.retry_at = 0.0

    def waits_for(self, id: int) -> bool:
        """Say whether what has this id has not been had."""
        return id >= self.next_id and self.phase is Phase.BEGUN

    def give(self, waker: Waker) -> list[Inbox]:
        """Hand the burst to the subscriptions; return the inboxes that are full."""
        items, size = self.items, self.size
        self.items, self.size = [], 0
        full = []
        for member in self.members:
            # One that has joined late may wait for a later id.
            wanted = items if items[0].id >= member.next_id else [i for i in items if i.id >= member.next_id]
            if wanted:
                member.next_id = wanted[-1].id + 1
                if member.inbox.put(Chunk(member.handle, wanted, size), waker):
                    full.append(member.inbox)
        return full


class Routes:
    """The wires of one connection. Every call is made under the lock of the client's connections."""

    def __init__(self, delays: tuple[float, float]) -> None:
        """`delays` in seconds, first and longest: when to ask again for what the server could not begin."""
        self._delays = delays
        self._wires: dict[bytes, Wire] = {}
        self._table: dict[str, tuple[Wire, ...]] = {}
        self._partitions: Counter[str] = Counter()
        self._touched: list[Wire] = []
        self._failed: set[Wire] = set()

    def __len__(self) -> int:
        """Return the number of wires."""
        return len(self._wires)

    def uses(self, partition: str) -> bool:
        """Say whether messages of a partition are expected."""
        return self._partitions[partition] > 0

    def members(self, inbox: Inbox | None = None) -> list[Subscription]:
        """Return the subscriptions, all or those of an inbox."""
        found = (member for wire in self._wires.values() for member in wire.members)
        return [member for member in found if inbox is None or member.inbox is inbox]

    def fit(self, subscription: Subscription) -> Fit:
        """Say whether a subscription can be added."""
        wire = self._wires.get(subscription.path)
        if wire is None:
            return Fit.FREE
        if wire.phase is not Phase.BEGUN:
            return Fit.BUSY
        return Fit.FREE if subscription.live or subscription.next_id >= wire.next_id else Fit.NO

    def add(self, subscription: Subscription) -> bytes | None:
        """Add a subscription that fits; return the command that begins it, if it needs one."""
        wire = self._wires.get(subscription.path)
        if wire is not None:
            subscription.next_id = max(subscription.next_id, wire.next_id)
            subscription.begun = True
            wire.members.append(subscription)
            return None
        wire = Wire(subscription.path, subscription.next_id, Backoff(*self._delays))
        wire.members.append(subscription)
        self._wires[wire.path] = wire
        self._partitions[partition_of(wire.path)] += 1
        self._table.clear()
        return _begin(wire)

    def remove(self, subscription: Subscription, connected: bool) -> bytes | None:
        """Remove a subscription, if it is there; return the command that is needed for that."""
        wire = self._wires.get(subscription.path)
        if wire is None or subscription not in wire.members:
            return None
        wire.members.remove(subscription)
        if wire.members:
            return None
        if not connected or wire.phase in (Phase.NEW, Phase.FAILED):
            self._forget(wire)
            return None
        wire.phase = Phase.ENDING
        return b"- " + wire.path

    def _forget(self, wire: Wire) -> None:
        del self._wires[wire.path]
        self._partitions[partition_of(wire.path)] -= 1
        self._failed.discard(wire)
        self._table.clear()

    # A connection begins and ends

    def begin(self) -> list[bytes]:
        """Return the commands that set everything up on a new connection."""
        return [_begin(wire) for wire in self._wires.values()]

    def lost(self) -> None:
        """The connection has gone."""
        self._failed.clear()
        for wire in list(self._wires.values()):
            if wire.phase is Phase.ENDING:
                self._forget(wire)
            else:
                wire.phase = Phase.NEW

    # What the server sends

    def route(self, topic: str) -> Iterable[Wire]:
        """Return the wires that a topic may be for."""
        wires = self._table.get(topic)
        if wires is None:
            if len(self._table) >= _REMEMBERED:
                self._table.clear()
            known = (self._wires.get(path) for path in ancestors(topic.encode()))
            wires = self._table[topic] = tuple(wire for wire in known if wire is not None)
        return wires

    def message(self, message: Message, size: int) -> None:
        """Take a message of `size` bytes on the wire."""
        for wire in self.route(message.topic):
            if wire.waits_for(message.id):
                self._take(wire, message, size + MESSAGE_BYTES)

    def _take(self, wire: Wire, item: Item, size: int) -> None:
        if not wire.items:
            self._touched.append(wire)
        wire.next_id = item.id + 1
        wire.items.append(item)
        wire.size += size

    def started(self, path: bytes) -> None:
        """The server has confirmed a wire, or has begun to replay it again."""
        wire = self._wires.get(path)
        if wire is not None and wire.phase is Phase.ASKED:
            wire.phase = Phase.BEGUN
            wire.backoff.reset()
            for member in wire.members:
                member.begun = True

    def gap(self, path: bytes, first: int, last: int) -> None:
        """The server cannot send some messages of a wire."""
        wire = self._wires.get(path)
        if wire is not None and wire.waits_for(last):
            self._take(wire, Gap(path.decode(), max(first, wire.next_id), last), MESSAGE_BYTES)

    def canceled(self, path: bytes) -> None:
        """The server has ended a wire."""
        wire = self._wires.get(path)
        if wire is not None and wire.phase is Phase.ENDING:
            self._forget(wire)

    def failed(self, path: bytes, text: str, now: float) -> None:
        """The server could not begin a wire, or had to end it.

        Who has just subscribed is told; whoever was subscribed already goes on when the log can be read.
        """
        wire = self._wires.get(path)
        if wire is None:
            return
        for member in [member for member in wire.members if not member.begun]:
            member.error = SubscribeFailed(f"cannot subscribe to {member.topic}: {text}")
            wire.members.remove(member)
        if not wire.members:
            self._forget(wire)
            return
        wire.phase = Phase.FAILED
        wire.retry_at = now + wire.backoff.wait()
        self._failed.add(wire)

    def retry_at(self) -> float:
        """Return when to call `retries` next."""
        return min((wire.retry_at for wire in self._failed), default=float("inf"))

    def retries(self, now: float) -> list[bytes]:
        """Return the commands that begin again what had failed."""
        due = [wire for wire in self._failed if wire.retry_at <= now]
        self._failed.difference_update(due)
        return [_begin(wire) for wire in due]

    def give(self, waker: Waker) -> set[Inbox]:
        """Hand the burst to the subscriptions; return the inboxes that are full."""
        touched, self._touched = self._touched, []
        full: set[Inbox] = set()
        for wire in touched:
            full.update(wire.give(waker))
        return full


def _begin(wire: Wire) -> bytes:
    wire.phase = Phase.ASKED
    return b"+ %b %d" % (wire.path, wire.next_id)
