"""Subscriptions of devices, and how they are kept. Pure."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import NamedTuple

from gobbler.errors import KVError
from gobbler.protocol.topic import partition_of


class Device(NamedTuple):
    """Whom a notification is for: a device, and the user who has it.

    In one partition a device has one position, however many of its subscriptions match: it gets
    a message once, and in the order of ids.
    """

    token: str
    user_id: str


class Subscription:
    """A device's subscription to a topic and all below it.

    `from_id` is the partition's last id when it began: it concerns later messages. `registered`
    is when it was last asked for, in unix seconds.
    """

    __slots__ = ("device", "from_id", "registered", "topic")

    def __init__(self, device: Device, topic: bytes, from_id: int, registered: float) -> None:
        """Take a canonical topic."""
        self.device = device
        self.topic = topic
        self.from_id = from_id
        self.registered = registered

    def __repr__(self) -> str:
        """Show the topic; the device's token is nobody's business."""
        return f"<Subscription {self.topic.decode(errors='replace')}>"

    @property
    def partition(self) -> str:
        """Return the partition that the topic is in."""
        return partition_of(self.topic)

    @property
    def key(self) -> str:
        """Return the key in the key-value store: a hash, since a token may be longer than a key."""
        return hashed(*self.device, self.topic.decode())

    def encode(self) -> bytes:
        """Return the value in the key-value store."""
        fields = [*self.device, self.topic.decode(), self.from_id, self.registered]
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, value: bytes) -> Subscription:
        """Return what `encode` was given. Raises: KVError: these bytes are none of its."""
        try:
            token, user_id, topic, from_id, registered = json.loads(value.decode())
            return cls(Device(token, user_id), topic.encode(), int(from_id), float(registered))
        except (ValueError, TypeError, AttributeError):
            raise KVError("a push subscription in the key-value store cannot be read") from None


def hashed(*parts: str) -> str:
    """Return a key of fixed length for texts that hold no NUL."""
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
