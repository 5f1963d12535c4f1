"""What the legacy protocol answers, and what has to be done about it. Pure.

With status 200, `results` has one member for our one device: the id of the message, and perhaps the
token that the device has now, or an error.

https://firebase.google.com/docs/cloud-messaging/http-server-ref (tables 5, 8 and 9)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gobbler.connectors.fcm.reply import QUOTA_SECONDS, Reply, by_status, dicts, printable, unreadable
from gobbler.connectors.fcm.retry_after import retry_after
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent

_GONE: Final = {
    "NotRegistered": "the app is no longer registered",
    "InvalidRegistration": "the token is none",
}
_REFUSED: Final = {
    "MissingRegistration": "the request had no token",
    "InvalidPackageName": "the token is of another app than restricted_package_name says",
    "MismatchSenderId": "the token is of another sender",
    "InvalidParameters": "a parameter has the wrong name or type",
    "MessageTooBig": "the message is too large",
    "InvalidDataKey": "data has a key that FCM keeps for itself",
    "InvalidTtl": "time_to_live is out of its bounds",
}
_OUTAGE: Final = {
    "Unavailable": "FCM could not do it in time",
    "InternalServerError": "FCM failed",
}
_RETRY: Final = {
    "DeviceMessageRateExceeded": "there are too many messages for the device",
    "TopicsMessageRateExceeded": "there are too many messages for the topic",
}
_PAUSE: Final = {"InvalidApnsCredential": "the project has no valid certificate for APNs"}

_HINTS: Final = {
    401: "the gateway does not accept the key: check --fcm-api-key",
    403: "the gateway does not let this key send: check --fcm-api-key",
    404: "there is no gateway: check --fcm-endpoint",
}


def legacy_outcome(reply: Reply, now: float, token: str, hidden: Iterable[str] = ()) -> Outcome:
    """Return what an answer means; `now` in unix seconds, `token` the device's that it was sent to.

    What is `hidden` does not stand in the text, even if the answer repeats it.
    """
    if not 200 <= reply.status < 300:
        said = printable(_said(reply), hidden) or f"the gateway answered {reply.status}"
        return by_status(reply, f"HTTP_{reply.status}", _HINTS.get(reply.status, said), now)
    result = _result(reply)
    error = result.get("error")
    if error:
        return _by_error(error, retry_after(reply.wait, now))
    if "message_id" not in result:
        return unreadable("the gateway")
    new = result.get("registration_id")
    return Sent(new) if isinstance(new, str) and new != token else Sent()


def _result(reply: Reply) -> dict[str, Any]:
    """Return what an answer says of our device; some gateways have only the counts, or no array."""
    members = reply.members() or {}
    if results := dicts(members.get("results")):
        return results[0]
    return {"message_id": ""} if members.get("success") == 1 else members


def _by_error(error: object, after: float | None) -> Outcome:
    code = error if isinstance(error, str) else ""
    if code in _GONE:
        return Gone(code, _GONE[code])
    if code in _OUTAGE:
        return Outage(code, _OUTAGE[code], after)
    if code in _RETRY:
        return Retry(code, _RETRY[code], after or QUOTA_SECONDS)
    if code in _PAUSE:
        return Pause(code, _PAUSE[code])
    if code in _REFUSED:
        return Refused(code, _REFUSED[code])
    return Refused("UNKNOWN_ERROR", "the gateway has an error that is not known")


def _said(reply: Reply) -> str:
    """Return what a refusal says in plain text; a page of HTML says nothing."""
    text = reply.body.decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else text
