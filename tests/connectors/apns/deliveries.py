"""Deliveries for the tests, and what came of them."""

import json
from collections.abc import Iterable, Mapping
from itertools import count
from uuid import UUID

import gevent

from gobbler.connectors.apns.sender import ApnsSender
from gobbler.connectors.base import Delivery
from gobbler.connectors.outcome import Outcome
from gobbler.protocol.message import Message

APP = "com.example.app"
TIME = 1420110000
SECONDS = 30.0

_numbers = count(1)


def message(body: object = b"hello", headers: Mapping[str, object] | None = None) -> Message:
    """A message with a body: bytes as they are, all else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = b"" if headers is None else json.dumps(headers).encode()
    return Message(b"/foo/bar", 42, b"marvin", b"app", b"", TIME, fields, raw)


def delivery(
    token: str = "device", body: object = b"hello", headers: Mapping[str, object] | None = None
) -> Delivery:
    """A delivery with an id of its own."""
    return Delivery(message(body, headers), token, "trillian", UUID(int=next(_numbers)))


def send_all(sender: ApnsSender, deliveries: Iterable[Delivery]) -> list[Outcome]:
    """Send all of them at the same time."""
    greenlets = [gevent.spawn(sender.send, each) for each in deliveries]
    gevent.joinall(greenlets, timeout=SECONDS, raise_error=True)
    outcomes = [greenlet.value for greenlet in greenlets]
    assert None not in outcomes, "some are not done"
    return [outcome for outcome in outcomes if outcome is not None]
