"""What is reported of a notification that was sent or has finally failed. Pure."""

from __future__ import annotations

from gobbler.connectors.base import Delivery
from gobbler.connectors.fcm.payload import Facts
from gobbler.connectors.outcome import Gone, Outcome, Refused, Sent
from gobbler.reporting.events import FAIL, SUCCESS, Event, push


def report(delivery: Delivery, outcome: Outcome, facts: Facts) -> Event | None:
    """Return the event; None for an outcome that settles nothing."""
    if not isinstance(outcome, Sent | Refused | Gone):
        return None
    error = "" if isinstance(outcome, Sent) else ": ".join(filter(None, (outcome.reason, outcome.text)))
    return push(
        topic=delivery.message.path.decode(),
        status=FAIL if error else SUCCESS,
        error_text=error,
        user_id=delivery.user_id,
        device_id=delivery.device_token,
        notification_body=facts.body,
        notification_title=facts.title,
        deep_link=facts.deep_link,
    )
