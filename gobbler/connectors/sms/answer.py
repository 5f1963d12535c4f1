"""What the provider's answers mean (https://developer.vonage.com/en/api-errors/sms). Pure.

An answer with HTTP status 200 is JSON with a message for each part of the text:

    {"message-count": "2", "messages": [{"status": "0", "message-id": "0A"}, {"status": "1"}]}

200 only says that the answer was made: what became of a part is its `status`. When one part was
accepted, sending again would send that part twice; only when none was, may the whole be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gobbler.connectors.outcome import Outage, Outcome, Pause, Refused, Retry, Sent

UNKNOWN: Final = "unknown"
"""The reason of what may have been sent: it is never repeated, since it costs money."""

INTERNAL_RETRIES: Final = 3
"""How often a message is tried again that the provider had an error of its own with (status 5)."""

ACCEPTED: Final = "0"
NO_CREDIT: Final = "9"
INTERNAL_ERROR: Final = "5"
BUSY: Final = frozenset({"1", "10"})

REASONS: Final = {
    "1": "throttled",
    "2": "missing-parameter",
    "3": "invalid-parameter",
    "4": "invalid-credentials",
    "5": "internal-error",
    "6": "invalid-message",
    "7": "number-barred",
    "8": "account-barred",
    "9": "no-credit",
    "10": "too-many-connections",
    "11": "account-without-http",
    "12": "too-long",
    "14": "invalid-signature",
    "15": "invalid-sender",
    "22": "invalid-network",
    "23": "invalid-callback",
    "29": "number-not-allowed",
    "32": "signature-and-secret",
    "33": "number-deactivated",
}
"""Status -> the reason of the outcome."""

LONGEST_WAIT: Final = 3600.0
"""Seconds: a Retry-After that asks for more is not believed."""

_HTTP_DATE: Final = "%a, %d %b %Y %H:%M:%S GMT"  # the one form that is still written
_OTHER: Final = "other-status"
_THROTTLED: Final = frozenset({420, 429})  # 420 is what some of Vonage's interfaces say for 429
_LATE: Final = 408
_CONFIGURED_WRONG: Final = frozenset({401, 402, 403, 404, 405, 407, 410})
"""HTTP statuses that no message is to blame for: the address, the credentials or the account is wrong."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; `retry_after` is that header or ""."""

    status: int
    body: bytes
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means; `message_ids` are the provider's, of the parts that it accepted."""

    outcome: Outcome
    message_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a part of a text."""

    status: str
    message_id: str
    error: str


def judge(reply: Reply, attempt: int, now: float, clean: Callable[[str], str]) -> Verdict:
    """Say what follows from an answer to the attempt of this number (from 0).

    `now` is in unix seconds; `clean` takes out of a text of the provider's what nobody may see.
    """
    if reply.status != 200:
        return Verdict(_judge_status(reply, now))
    parts = _parts(reply.body, clean)
    if not parts:
        text = "the provider's answer cannot be understood; the message may have been sent"
        return Verdict(Refused(UNKNOWN, text))
    ids = tuple(part.message_id for part in parts if part.status == ACCEPTED and part.message_id)
    return Verdict(_judge_parts(parts, attempt), ids)


def _judge_status(reply: Reply, now: float) -> Outcome:
    reason, after = f"http-{reply.status}", retry_after(reply.retry_after, now)
    text = f"the provider answered with HTTP status {reply.status}"
    if reply.status >= 500 or reply.status in _THROTTLED or reply.status == _LATE:
        return Outage(reason, text, after)
    if 300 <= reply.status < 400 or reply.status in _CONFIGURED_WRONG:
        return Pause(reason, text)
    if 200 < reply.status < 300:
        return Refused(UNKNOWN, f"{text}; the message may have been sent")
    return Refused(reason, text)


def _judge_parts(parts: Sequence[Part], attempt: int) -> Outcome:
    failed = [part for part in parts if part.status != ACCEPTED]
    if not failed:
        return Sent()
    text = "; ".join(dict.fromkeys(map(_told, failed)))
    if len(failed) < len(parts):
        accepted = len(parts) - len(failed)
        return Refused(
            "partly-sent", f"{accepted} of {len(parts)} parts were accepted, not the others: {text}"
        )
    return _judge_failed([part.status for part in failed], text, attempt)


def _judge_failed(statuses: list[str], text: str, attempt: int) -> Outcome:
    """Say what follows when no part was accepted; what cannot be mended by waiting comes first."""
    passing = {NO_CREDIT, INTERNAL_ERROR, *BUSY}
    final = [status for status in statuses if status not in passing]
    if final:
        return Refused(REASONS.get(final[0], _OTHER), text)
    if NO_CREDIT in statuses:
        return Pause(REASONS[NO_CREDIT], text)
    if INTERNAL_ERROR in statuses and attempt >= INTERNAL_RETRIES:
        return Refused(REASONS[INTERNAL_ERROR], f"{text} (in {attempt + 1} attempts)")
    return Retry(REASONS[statuses[0]], text)


def _told(part: Part) -> str:
    reason = REASONS.get(part.status, "unheard of")
    return f"status {part.status}, {reason}" + (f" ({part.error})" if part.error else "")


def _parts(body: bytes, clean: Callable[[str], str]) -> list[Part]:
    """Return the parts; none when the answer cannot be understood."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return []
    messages = found.get("messages") if isinstance(found, dict) else None
    if not isinstance(messages, list):
        return []
    parts = [_part(message, clean) for message in messages]
    whole = [part for part in parts if part is not None]
    return whole if len(whole) == len(parts) else []


def _part(message: object, clean: Callable[[str], str]) -> Part | None:
    if not isinstance(message, dict):
        return None
    # Strings, says the documentation; gateways that pass for Vonage write numbers too.
    status = str(message.get("status", "")).strip()
    if not (status.isascii() and status.isdigit() and len(status) <= 4):
        return None
    message_id, error = message.get("message-id", ""), message.get("error-text", "")
    return Part(str(int(status)), clean(str(message_id)), clean(str(error)))


def retry_after(value: str, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, section 10.2.3); None: for none."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT)
    try:
        when = datetime.strptime(text, _HTTP_DATE)
    except ValueError:
        return None
    return min(max(when.replace(tzinfo=UTC).timestamp() - now, 0.0), LONGEST_WAIT)
