"""Deliveries for the tests."""

import json
from uuid import UUID

from gobbler.connectors.base import Delivery
from gobbler.protocol.message import Message

TIME = 1420110000


def message(body: object = b"hello") -> Message:
    """A message with a body: bytes as they are, all else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(b"/foo/bar", 42, b"marvin", b"app", b"", TIME, b'{"Some":"header"}', raw)


def delivery(token: str = "device", body: object = b"hello") -> Delivery:
    return Delivery(message(body), token, "trillian", UUID(int=1))
