"""Events as Kafka gets them: the spec's fields, no more and no fewer."""

import json
import re
from datetime import UTC, datetime
from uuid import UUID

import pytest

from gobbler.reporting import events
from gobbler.reporting.events import Event, rfc3339
from gobbler.reporting.metrics import REASONS
from tests.system.server import ROOT

PAGE = (ROOT / "docs" / "kafka.md").read_text(encoding="utf-8")

ID = UUID("01234567-89ab-4cde-8f01-23456789abcd")

PUSH = events.push(
    topic="/news",
    status=events.SUCCESS,
    error_text="",
    user_id="marvin",
    device_id="d1",
    notification_body="Don't panic",
    notification_title="News",
    deep_link="app://news",
)
SUBSCRIPTION = events.subscription(
    service="fcm", topic="/news", device_id="d1", user_id="marvin", action="subscribe"
)
SMS = events.sms(
    order_id="o1",
    message_id="m1",
    text="42",
    request_time="2026-05-01T12:34:56.789Z",
    response_time="2026-05-01T12:34:57.000Z",
    mobile_number="491701234567",
    delivery_status="delivered",
)


@pytest.mark.parametrize(
    ("event", "type", "payload"),
    [
        (
            PUSH,
            "push_notification_information",
            {
                "topic": "/news",
                "status": "Success",
                "error_text": "",
                "user_id": "marvin",
                "device_id": "d1",
                "notification_body": "Don't panic",
                "notification_title": "News",
                "deep_link": "app://news",
            },
        ),
        (
            SUBSCRIPTION,
            "push_subscription_information",
            {
                "service": "fcm",
                "topic": "/news",
                "device_id": "d1",
                "user_id": "marvin",
                "action": "subscribe",
            },
        ),
        (
            SMS,
            "sms_delivery_information",
            {
                "order_id": "o1",
                "message_id": "m1",
                "text": "42",
                "request_time": "2026-05-01T12:34:56.789Z",
                "response_time": "2026-05-01T12:34:57.000Z",
                "mobile_number": "491701234567",
                "delivery_status": "delivered",
            },
        ),
    ],
)
def test_every_kind_has_the_fields_of_the_spec(event: Event, type: str, payload: dict[str, str]) -> None:
    assert json.loads(event.encode(ID, 1_777_638_896.789)) == {
        "id": "01234567-89ab-4cde-8f01-23456789abcd",
        "time": "2026-05-01T12:34:56.789Z",
        "type": type,
        "payload": payload,
    }


@pytest.mark.parametrize("seconds", [0.0, 1_777_638_896.0, 1_777_638_896.789, 4_102_444_800.5])
def test_the_time_is_rfc_3339_in_utc(seconds: float) -> None:
    text = json.loads(SMS.encode(ID, seconds))["time"]
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == datetime.fromtimestamp(seconds, UTC)


def test_a_time_is_cut_to_its_millisecond() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1577880000.9876) == "2020-01-01T12:00:00.987Z"


def test_text_is_utf_8_and_what_is_no_text_a_question_mark() -> None:
    event = events.subscription(service="fcm", topic="/ä\ud83d", device_id='"\n\0', user_id="💬", action="")
    encoded = event.encode(ID, 0)
    assert json.loads(encoded.decode())["payload"] == {
        "service": "fcm",
        "topic": "/ä?",
        "device_id": '"\n\0',
        "user_id": "💬",
        "action": "",
    }
    assert "💬".encode() in encoded


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes"):
        Event("x", {"body": b"bytes"}).encode(ID, 0)  # type: ignore[dict-item]


def test_an_event_does_not_change_any_more() -> None:
    payload = {"a": "b"}
    event = Event("x", payload)
    with pytest.raises(AttributeError):
        event.type = "y"  # type: ignore[misc]


def rows(head: str) -> list[str]:
    """The names in the first column of a table of the documentation, whose head begins with `head`."""
    table = PAGE.split(f"\n| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [name for row in table for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


@pytest.mark.parametrize("event", [PUSH, SUBSCRIPTION, SMS], ids=lambda event: event.type)
def test_the_documentation_has_the_same_fields(event: Event) -> None:
    assert sorted(rows(f"`{event.type}`")) == sorted(event.payload)


def test_the_documentation_has_the_reasons_and_the_metrics() -> None:
    assert sorted(rows("reason")) == sorted(REASONS)
    assert rows("metric") == [
        f"gobbler_events_{name}" for name in ("reported_total", "dropped_total", "queued")
    ]
