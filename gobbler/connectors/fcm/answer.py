"""What FCM's HTTP v1 protocol answers, and what has to be done about it. Pure.

An error's `details` have FCM's own code; the status alone does not decide where there is one.

https://firebase.google.com/docs/cloud-messaging/error-codes
https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from gobbler.connectors.fcm.reply import QUOTA_SECONDS, Reply, by_status, dicts, printable, unreadable
from gobbler.connectors.fcm.retry_after import retry_after
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent

THIRD_PARTY: Final = "THIRD_PARTY_AUTH_ERROR"

_FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"
_QUOTA_FAILURE: Final = "type.googleapis.com/google.rpc.QuotaFailure"

_MALFORMED: Final = "The registration token is not a valid FCM registration token"
"""All that FCM says of a token that is none, by the example of its page on error codes: no field."""

_CODES: Final = frozenset(
    {
        "UNREGISTERED",
        "INVALID_ARGUMENT",
        "SENDER_ID_MISMATCH",
        THIRD_PARTY,
        "QUOTA_EXCEEDED",
        "UNAVAILABLE",
        "INTERNAL",
        "UNSPECIFIED_ERROR",
        # Google's general codes, where there is none of FCM's.
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
    }
)

_HINTS: Final = {
    401: "FCM does not accept the access token: check --fcm-service-account-file and the machine's clock",
    403: "the service account may not send: check its role, and that the project has the FCM API enabled",
    404: "there is no such project: check --fcm-project-id and --fcm-endpoint",
}
_SENT: Final = Sent()


def v1_outcome(reply: Reply, now: float, hidden: Iterable[str] = ()) -> Outcome:
    """Return what an answer means; `now` in unix seconds.

    What is `hidden` (tokens) does not stand in the text, even if the answer repeats it.
    """
    if 200 <= reply.status < 300:
        return unreadable("FCM") if reply.members() is None else _SENT
    error = _Error.of(reply)
    said = printable(error.message, hidden) or f"FCM answered {reply.status}"
    text = ": ".join(filter(None, [_hint(reply, error), said]))
    return _by_code(reply, error, text, now) or by_status(reply, error.reason, text, now)


def is_unauthenticated(reply: Reply) -> bool:
    """Tell whether FCM wants another access token."""
    return reply.status == 401 and _Error.of(reply).code != THIRD_PARTY


@dataclass(frozen=True, slots=True)
class _Error:
    """The `error` of an answer. `code` is FCM's own, else Google's general one; empty where it is new."""

    status: int
    code: str
    message: str
    details: list[dict[str, Any]]

    @classmethod
    def of(cls, reply: Reply) -> _Error:
        error = (reply.members() or {}).get("error")
        if not isinstance(error, dict):
            return cls(reply.status, "", "", [])
        details = dicts(error.get("details"))
        own = [detail.get("errorCode") for detail in details if detail.get("@type") == _FCM_ERROR]
        code = own[0] if own else error.get("status")
        message = error.get("message")
        return cls(
            reply.status,
            code if isinstance(code, str) and code in _CODES else "",
            message if isinstance(message, str) else "",
            details,
        )

    @property
    def reason(self) -> str:
        return self.code or f"HTTP_{self.status}"

    @property
    def is_about_token(self) -> bool:
        fields = [violation.get("field") for violation in self._violations(_BAD_REQUEST, "fieldViolations")]
        return "message.token" in fields or self.message.rstrip(".") == _MALFORMED

    @property
    def is_about_device(self) -> bool:
        """Whether a quota is that of one device; others then get theirs."""
        texts = [
            f"{violation.get('subject')} {violation.get('description')}"
            for violation in self._violations(_QUOTA_FAILURE, "violations")
        ]
        return any("device" in text.lower() for text in texts)

    def _violations(self, kind: str, name: str) -> list[dict[str, Any]]:
        found = [dicts(detail.get(name)) for detail in self.details if detail.get("@type") == kind]
        return [violation for violations in found for violation in violations]


def _by_code(reply: Reply, error: _Error, text: str, now: float) -> Outcome | None:
    code, after = error.code, retry_after(reply.wait, now)
    outcome: Outcome | None = None
    if code == "UNREGISTERED" or (code == "INVALID_ARGUMENT" and error.is_about_token):
        outcome = Gone(code, text)
    elif code in ("INVALID_ARGUMENT", "SENDER_ID_MISMATCH"):
        outcome = Refused(code, text)
    elif code == THIRD_PARTY:
        outcome = Pause(code, text)
    elif code in ("UNAVAILABLE", "INTERNAL"):
        outcome = Outage(code, text, after)
    elif code == "QUOTA_EXCEEDED" and error.is_about_device:
        outcome = Retry(code, text, after or QUOTA_SECONDS)
    elif code == "QUOTA_EXCEEDED":
        outcome = Pause(code, text, after or QUOTA_SECONDS, alert=False)
    return outcome


def _hint(reply: Reply, error: _Error) -> str:
    if error.code == THIRD_PARTY:
        return "the Firebase project has no valid key for APNs or web push"
    return _HINTS.get(reply.status, "") if error.code not in ("UNREGISTERED", "SENDER_ID_MISMATCH") else ""
