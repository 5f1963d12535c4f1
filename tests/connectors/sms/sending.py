"""What the tests of this folder send with: an account, its options, deliveries, and what the fake tells."""

import json
import ssl
from http.client import HTTPSConnection
from typing import Any
from uuid import uuid4

from gobbler.config import Config
from gobbler.connectors.base import Delivery
from gobbler.connectors.sms.transport import Timeouts
from gobbler.protocol.message import Message
from tests.providers.process import Provider

KEY, SECRET, SIGNATURE_SECRET = "abcd1234", "an-api-secret-0123", "a-signature-secret"
PATIENT = Timeouts(connect=10.0, read=10.0, whole=30.0)
SOON = PATIENT._replace(read=0.5)
"""For answers that never come; on a busy machine, others may be as late."""

# As Vonage's reference of the SMS API shows one.
RECEIPT = {
    "msisdn": "447700900000",
    "to": "AcmeInc",
    "network-code": "12345",
    "messageId": "0A0000001234567B",
    "price": "0.03330000",
    "status": "delivered",
    "scts": "2001011400",
    "err-code": "0",
    "api-key": "abcd1234",
    "client-ref": "order 1",
    "message-timestamp": "2020-01-01 12:00:00",
}


def config(fake: Provider, **options: Any) -> Config:
    """The options of a sender that uses the fake; others may be given."""
    usual: dict[str, Any] = {
        "sms_api_key": KEY,
        "sms_api_secret": SECRET,
        "sms_endpoint": f"{fake.url}/sms/json",
        "sms_ca_file": fake.authority.file,
        "sms_from": "Gobbler",
        "sms_rate": 10_000,
        "sms_max_parts": 3,
    }
    return Config(**(usual | options))


def delivery(to: str, text: str = "hello", attempt: int = 0, **members: Any) -> Delivery:
    """A delivery of an SMS; `_` in the name of a member is `-`, and at its end nothing."""
    more = {name.rstrip("_").replace("_", "-"): value for name, value in members.items()}
    return raw_delivery(json.dumps({"to": to, "text": text} | more).encode(), attempt)


def raw_delivery(body: bytes, attempt: int = 0, headers: bytes = b"") -> Delivery:
    """A delivery of a message with this body."""
    message = Message(b"/sms", 1, b"", b"", b"", 1, headers, body)
    return Delivery(message, "", "", uuid4(), attempt)


def received(fake: Provider, to: str) -> list[dict[str, Any]]:
    """What the fake has decided about SMS to a number."""
    return [line for line in fake.received() if line.get("to") == to]


def statistics(fake: Provider) -> dict[str, int]:
    """The counters of the fake; to ask takes a connection of its own, which counts."""
    context = ssl.create_default_context(cafile=str(fake.authority.file))
    connection = HTTPSConnection("127.0.0.1", fake.port, timeout=20, context=context)
    try:
        connection.request("GET", "/stats")
        found: dict[str, int] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()
