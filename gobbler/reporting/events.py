"""Events as they are reported (`docs/kafka.md`): an id, a time, a type and a payload. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

PUSH: Final = "push_notification_information"
SUBSCRIPTION: Final = "push_subscription_information"
SMS: Final = "sms_delivery_information"

_encode: Final = json.JSONEncoder(ensure_ascii=False).encode

SUCCESS: Final = "Success"
FAIL: Final = "Fail"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened: `type` is one of the three above, `payload` its facts, all text."""

    type: str
    payload: Mapping[str, str]

    def encode(self, id: UUID, time: float) -> bytes:
        """Return the event as JSON in UTF-8; `time` in unix seconds.

        What is no text (half of a surrogate pair) becomes a question mark.
        Raises: TypeError or ValueError when the payload holds what JSON cannot.
        """
        whole = {"id": str(id), "time": rfc3339(time), "type": self.type, "payload": dict(self.payload)}
        return _encode(whole).encode("utf-8", "replace")


def rfc3339(seconds: float) -> str:
    """Return a time, in unix seconds, as events have it (RFC 3339): UTC, milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def push(
    *,
    topic: str,
    status: str,
    error_text: str,
    user_id: str,
    device_id: str,
    notification_body: str,
    notification_title: str,
    deep_link: str,
) -> Event:
    """A notification was sent or has finally failed; `status` is SUCCESS or FAIL."""
    return Event(PUSH, dict(locals()))


def subscription(*, service: str, topic: str, device_id: str, user_id: str, action: str) -> Event:
    """A device was subscribed to a topic, or unsubscribed.

    `service` is the connector's name, `action` is `subscribe` or `unsubscribe`.
    """
    return Event(SUBSCRIPTION, dict(locals()))


def sms(
    *,
    order_id: str,
    message_id: str,
    text: str,
    request_time: str,
    response_time: str,
    mobile_number: str,
    delivery_status: str,
) -> Event:
    """An SMS was sent, has failed, or was delivered; times as `rfc3339` writes them."""
    return Event(SMS, dict(locals()))
