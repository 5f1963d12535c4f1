import pytest

from gobbler.connectors.fcm.payload import Facts
from gobbler.connectors.fcm.report import report
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent
from gobbler.reporting.events import PUSH, Event
from tests.connectors.fcm.deliveries import delivery

FACTS = Facts("T", "B", "app://x")


@pytest.mark.parametrize(
    ("outcome", "status", "error"),
    [
        (Sent(), "Success", ""),
        (Sent("new"), "Success", ""),
        (Refused("CODE", "text"), "Fail", "CODE: text"),
        (Gone("CODE"), "Fail", "CODE"),
    ],
)
def test_what_settles_a_delivery_is_reported(outcome: Outcome, status: str, error: str) -> None:
    assert report(delivery(), outcome, FACTS) == Event(
        PUSH,
        {
            "topic": "/foo/bar",
            "status": status,
            "error_text": error,
            "user_id": "trillian",
            "device_id": "device",
            "notification_body": "B",
            "notification_title": "T",
            "deep_link": "app://x",
        },
    )


@pytest.mark.parametrize("outcome", [Retry("CODE"), Outage("CODE"), Pause("CODE")])
def test_nothing_else_is(outcome: Outcome) -> None:
    assert report(delivery(), outcome, FACTS) is None
