"""What APNs answers, and what has to be done about it.

Apple's page: "Handling notification responses from APNs". The reason decides
where it is known, else the status.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent

TOKEN_UPDATES_PAUSE: Final = 300.0
"""How long to wait when APNs finds that the provider token changes too often; it may every 20 minutes."""

EXPIRED: Final = "ExpiredProviderToken"
SHUTDOWN: Final = "Shutdown"
WRONG_DEVICE: Final = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})
"""What is wrong with device after device when all are of another environment or another app."""

_REASON: Final = re.compile("[A-Z][A-Za-z]{1,39}")
"""What may be repeated to people: a word, so no device's token and no other secret."""

_LATEST: Final = 10**14
"""The year 5138 in milliseconds: what is beyond is no time."""

_SENT: Final = Sent()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of APNs as it came: `retry_after` is the value of that header, or nothing."""

    status: int
    body: bytes = b""
    retry_after: bytes = b""

    @property
    def reason(self) -> str:
        """APNs' word for what is wrong; empty where there is none."""
        return reason_of(self.body)


def reason_of(body: bytes) -> str:
    """Return the reason in the JSON of an answer or of a GOAWAY frame; empty where there is none."""
    found = _members(body).get("reason")
    return found if isinstance(found, str) and _REASON.fullmatch(found) else ""


def outcome_of(answer: Answer, now: float) -> Outcome:
    """Return what an answer means; `now` in unix seconds."""
    if 200 <= answer.status < 300:
        return _SENT
    reason = answer.reason
    known = _by_reason(answer, reason, now) if answer.status < 500 else None
    return known or _by_status(answer, reason, now)


def pause_of(reason: str) -> Pause | None:
    """Return the pause that a reason asks for, if it does: somebody has to mend the configuration."""
    if reason == "TooManyProviderTokenUpdates":
        text = "APNs finds that the provider token changes too often"
        return Pause(reason, text, TOKEN_UPDATES_PAUSE, alert=False)
    return Pause(reason, _CONFIGURATION[reason]) if reason in _CONFIGURATION else None


def _by_reason(answer: Answer, reason: str, now: float) -> Outcome | None:
    if reason in _GONE:
        return Gone(reason, "the device's token is no longer active", _since(answer))
    if reason in WRONG_DEVICE:
        return Gone(reason, "the device's token is none of this app in this environment")
    if reason in _FINAL:
        return Refused(reason, "APNs refuses the notification")
    if reason in _LATER:
        return Retry(reason, "APNs asks to try again later", _retry_after(answer, now))
    return pause_of(reason)


def _by_status(answer: Answer, reason: str, now: float) -> Outcome:
    status, text = answer.status, f"APNs answered {answer.status} {reason}".rstrip()
    code = reason if reason in _FAILURES else f"http-{status}"
    if status == 410:
        return Gone(code, text, _since(answer))
    if status in {401, 403}:
        return Pause(code, text)
    if status == 429:
        return Retry(code, text, _retry_after(answer, now))
    if 400 <= status < 500:
        return Refused(code, text)
    return Outage(code, text, _retry_after(answer, now))


_GONE: Final = frozenset({"Unregistered", "ExpiredToken"})
_LATER: Final = frozenset({"TooManyRequests", "IdleTimeout"})
_FINAL: Final = frozenset(
    {
        "BadCollapseId",
        "BadExpirationDate",
        "BadMessageId",
        "BadPath",
        "BadPriority",
        "BadTopic",
        "DuplicateHeaders",
        "InvalidPushType",
        "MethodNotAllowed",
        "MissingDeviceToken",
        "MissingTopic",
        "PayloadEmpty",
        "PayloadTooLarge",
    }
)
_FAILURES: Final = frozenset({"InternalServerError", "ServiceUnavailable", SHUTDOWN})

_KEY: Final = "the key, its id or the team is wrong: check --apns-key-file, --apns-key-id and --apns-team-id"
_ENVIRONMENT: Final = "the credentials are of the other environment: check --apns-production"
_CONFIGURATION: Final[Mapping[str, str]] = {
    "TopicDisallowed": "the credentials do not allow this topic: check --apns-app-topic",
    "BadCertificate": "APNs does not accept the certificate: check --apns-cert-file",
    "BadCertificateEnvironment": _ENVIRONMENT,
    "BadEnvironmentKeyIdInToken": _ENVIRONMENT,
    EXPIRED: "APNs finds a new provider token too old: check the machine's clock",
    "Forbidden": "APNs forbids this: check the credentials and --apns-app-topic",
    "InvalidProviderToken": _KEY,
    "MissingProviderToken": "APNs wants a provider token, or another certificate",
    "UnrelatedKeyIdInToken": _KEY,
}
"""Reason -> what has to be mended."""


def _members(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _since(answer: Answer) -> float | None:
    """Return since when the token is dead; APNs says so in milliseconds."""
    found = _members(answer.body).get("timestamp")
    return found / 1000 if type(found) is int and 0 <= found < _LATEST else None


def _retry_after(answer: Answer, now: float) -> float | None:
    """Return the seconds to wait: the header has them, or a date (RFC 9110, section 10.2.3)."""
    text = answer.retry_after.decode("latin-1").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
