"""What of a message becomes a request to APNs: its payload and its headers. Pure.

Apple's pages: "Sending notification requests to APNs" (headers, topics, sizes)
and "Generating a remote notification" (the payload).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from gobbler.connectors.outcome import Refused
from gobbler.errors import InvalidMessage

MAX_BYTES: Final = 4096
"""The largest payload of a notification."""

MAX_VOIP_BYTES: Final = 5120
"""The largest payload of a VoIP notification."""

MAX_COLLAPSE_ID_BYTES: Final = 64

BACKGROUND: Final = "background"
_VOIP: Final = "voip"

_SUFFIXES: Final = {
    "complication": ".complication",
    "controls": ".push-type.controls",
    "fileprovider": ".pushkit.fileprovider",
    "liveactivity": ".push-type.liveactivity",
    "location": ".location-query",
    "pushtotalk": ".voip-ptt",
    _VOIP: ".voip",
    "widgets": ".push-type.widgets",
}
"""Push type -> what its topic has behind the app's bundle id."""

_REMEMBERED: Final = 128  # a message goes to many devices, one after the other
_VISIBLE: Final = frozenset({"alert", "badge", "sound"})
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Notification:
    """What all devices get of a message; the last three are the facts for its event.

    `headers` are those of the request that depend on the message, in their order.
    """

    payload: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    title: str
    body: str
    deep_link: str


def build(headers: bytes, body: bytes, app_topic: str) -> Notification | Refused:
    """Make a notification of a message's application headers (JSON or nothing) and of its body.

    `app_topic` is the app's bundle id. What APNs would refuse in any case is refused here.
    """
    if len(body) > MAX_VOIP_BYTES:  # nothing makes it smaller, and it is not worth remembering
        return Refused("PayloadTooLarge", _too_large(len(body), MAX_VOIP_BYTES))
    return _build(headers, body, app_topic)


class _Refusal(InvalidMessage):
    """A message that APNs would refuse; `reason` is Apple's word for it where there is one."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@lru_cache(_REMEMBERED)
def _build(headers: bytes, body: bytes, app_topic: str) -> Notification | Refused:
    try:
        wanted = _wanted(headers)
        document = _document(body)
        payload, document = _payload(body, document, wanted.get("apns-push-type"))
        push_type = wanted["apns-push-type"] = wanted.get("apns-push-type") or _push_type(document)
        limit = MAX_VOIP_BYTES if push_type == _VOIP else MAX_BYTES
        if len(payload) > limit:
            raise _Refusal("PayloadTooLarge", _too_large(len(payload), limit))
        _complete(wanted, push_type, app_topic)
    except _Refusal as refusal:
        return Refused(refusal.reason, str(refusal))
    fields = tuple((name.encode(), wanted[name].encode()) for name in _HEADERS if name in wanted)
    link = _text(document.get("deep_link")) or _text(document.get("link"))
    return Notification(payload, fields, *_shown(document), link)


def _too_large(size: int, limit: int) -> str:
    return f"the payload has {size} bytes, more than {limit}"


# The payload


def _payload(
    body: bytes, document: dict[str, Any] | None, push_type: str | None
) -> tuple[bytes, dict[str, Any]]:
    """Return the payload as bytes and as a document."""
    if document is None:
        document = {"aps": {"alert": _alert(body)}}
    elif "aps" in document:
        if not isinstance(document["aps"], dict):
            raise _Refusal("BadPayload", "aps is not an object")
        return body, document
    elif push_type not in (None, BACKGROUND):
        return body, document  # some types have payloads without aps, such as mdm and fileprovider
    else:
        # Data for the app: it is woken to take it. Without this, nobody would ever see any of it.
        document = {"aps": {"content-available": 1}, **document}
    return _encode(document), document


def _encode(document: dict[str, Any]) -> bytes:
    try:
        return _to_json(document).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold only as an escape
        return json.dumps(document, separators=(",", ":")).encode()


def _document(body: bytes) -> dict[str, Any] | None:
    """Return the body if it is a JSON object; None: it is something else."""
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        found = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have. Raises: ValueError."""
    raise ValueError(name)


def _alert(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _Refusal("BadPayload", "the body is neither JSON nor text") from None
    if not text.strip():
        raise _Refusal("PayloadEmpty", "the message has no body")
    return text


def _push_type(document: Mapping[str, Any]) -> str:
    """Return the type of a payload whose message does not name one."""
    aps = document["aps"]
    silent = aps.get("content-available") == 1 and not _VISIBLE & aps.keys()
    return BACKGROUND if silent else "alert"


def _shown(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a device shows: title and body."""
    aps = document.get("aps", {})
    alert = aps.get("alert")
    if isinstance(alert, dict):
        return _text(alert.get("title")), _text(alert.get("body"))
    return "", _text(alert)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


# The headers


def _wanted(headers: bytes) -> dict[str, str]:
    """Return the headers for APNs that a message has, by their names in lower case, checked."""
    wanted: dict[str, str] = {}
    for name, value in _members(headers):
        key = name.lower()
        if key not in _HEADERS or value == "":
            continue
        if key in wanted:
            raise _Refusal("DuplicateHeaders", f"the message has {key} twice")
        wanted[key] = _HEADERS[key](value)
    return wanted


def _members(headers: bytes) -> Iterable[tuple[str, object]]:
    if not headers:
        return ()
    try:
        found = json.loads(headers)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _Refusal("BadHeaders", "the message's headers are no JSON object")
    return found.items()


def _matching(pattern: str, reason: str, what: str) -> Callable[[object], str]:
    """Make a check of a header's value, which may be a whole number too."""
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        """Return the value as text. Raises: _Refusal."""
        text = str(value) if type(value) is int else value
        if not isinstance(text, str) or not compiled.fullmatch(text):
            raise _Refusal(reason, what)
        return text

    return check


def _collapse_id(value: object) -> str:
    """Return an id that may stand in a header. Raises: _Refusal."""
    text = _COLLAPSIBLE(value)
    if len(text.encode()) > MAX_COLLAPSE_ID_BYTES:
        raise _Refusal("BadCollapseId", f"apns-collapse-id is longer than {MAX_COLLAPSE_ID_BYTES} bytes")
    return text


_COLLAPSIBLE = _matching(
    "[^\x00-\x20\x7f-\x9f\ud800-\udfff]([^\x00-\x1f\x7f-\x9f\ud800-\udfff]*[^\x00-\x20\x7f-\x9f\ud800-\udfff])?",
    "BadCollapseId",
    "apns-collapse-id holds a control character, or begins or ends with a space",
)

_HEADERS: Final[Mapping[str, Callable[[object], str]]] = {
    "apns-push-type": _matching(
        "[a-z][a-z0-9-]{0,63}", "InvalidPushType", "apns-push-type is not a word of small letters"
    ),
    "apns-topic": _matching("[A-Za-z0-9._-]{1,255}", "BadTopic", "apns-topic is not a bundle id"),
    "apns-priority": _matching("10|5|1", "BadPriority", "apns-priority is not 10, 5 or 1"),
    "apns-expiration": _matching(
        "[0-9]{1,11}", "BadExpirationDate", "apns-expiration is not a number of unix seconds"
    ),
    "apns-collapse-id": _collapse_id,
}
"""Every header that a message may choose, and what checks it."""


def _complete(wanted: dict[str, str], push_type: str, app_topic: str) -> None:
    """Add what a message does not say, and refuse what does not go together."""
    silent = push_type == BACKGROUND
    if wanted.setdefault("apns-priority", "5" if silent else "10") == "10" and silent:
        raise _Refusal("BadPriority", "a background notification cannot have priority 10")
    suffix = _SUFFIXES.get(push_type, "")
    wanted.setdefault("apns-topic", app_topic if app_topic.endswith(suffix) else app_topic + suffix)
