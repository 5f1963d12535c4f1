"""Delivery receipts: what became of an SMS that the provider had accepted. Pure.

Their parameters are described in Vonage's reference of the SMS API, under "Delivery Receipt". A text of
several parts has a receipt for each, with a message id of its own; a part may have several, one for
each status that it passes through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gobbler.errors import BadRequest
from gobbler.reporting import events
from gobbler.reporting.events import Event, rfc3339

STATUSES: Final = frozenset({"delivered", "expired", "failed", "rejected", "accepted", "buffered", "unknown"})

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER: Final = re.compile(r"\+?[0-9]{1,20}")
_MAX_REFERENCE: Final = 256


@dataclass(frozen=True, slots=True)
class Receipt:
    """`number` is whom the SMS went to, `reference` its `client-ref`, `time` as RFC 3339 has it."""

    message_id: str
    status: str
    number: str
    reference: str
    time: str

    def event(self) -> Event:
        """Return the event that reports it. Receipts do not repeat the text, nor when it was sent."""
        return events.sms(
            order_id=self.reference,
            message_id=self.message_id,
            text="",
            request_time="",
            response_time=self.time,
            mobile_number=self.number,
            delivery_status=self.status,
        )


def unite(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return parameters by name.

    Raises:
        BadRequest: one is given twice, so that nobody knows which of them is meant, or was signed.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise BadRequest("a parameter is given twice")
    return found


def from_json(body: bytes) -> dict[str, str]:
    """Return the members of a JSON object as the texts that they were signed as.

    Raises:
        BadRequest: it is none, or a member holds more than text, a number or a truth value.
    """
    try:
        # A number stays as it is written: 0.0330 is not 0.033 when it is signed.
        found = json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(found, dict):
        raise BadRequest("the body is not a JSON object")
    return {_whole(name): _text(value) for name, value in found.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise BadRequest("a member of the body is neither a string nor a number")
    return _whole(value)


def _whole(text: str) -> str:
    """Replace lone surrogates, which could be neither signed nor told on."""
    return text.encode("utf-8", "replace").decode()


def parse(parameters: Mapping[str, str], now: float) -> Receipt:
    """Return the receipt that parameters describe; `now`, in unix seconds, is for one without a time.

    Raises:
        BadRequest: what is wrong with them.
    """
    message_id = parameters.get("messageId", "")
    status = parameters.get("status", "").lower()
    number = parameters.get("msisdn", "")
    reference = parameters.get("client-ref", "")
    if not _ID.fullmatch(message_id):
        raise BadRequest("messageId is missing or is not the id of a message")
    if status not in STATUSES:
        raise BadRequest(f"status is none of {', '.join(sorted(STATUSES))}")
    if not _NUMBER.fullmatch(number):
        raise BadRequest("msisdn is missing or is not a number")
    if len(reference) > _MAX_REFERENCE:
        raise BadRequest("client-ref is too long")
    return Receipt(message_id, status, number, reference, _time(parameters, now))


def _time(parameters: Mapping[str, str], now: float) -> str:
    try:
        when = datetime.strptime(parameters.get("message-timestamp", ""), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return rfc3339(now)
    return rfc3339(when.replace(tzinfo=UTC).timestamp())
