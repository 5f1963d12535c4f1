"""What a message's body says, in FCM's terms, whichever of its protocols is spoken. Pure.

A body in FCM's own format is passed on: a whole request (`{"message": {...}}`), the message alone, or
the older format. All other JSON objects become `data`; what is no JSON object becomes
`{"data": {"message": "<text>"}}`. The application headers are not sent.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from gobbler.errors import InvalidMessage, MessageTooLarge

Members = dict[str, Any]
"""A JSON object."""

MAX_BYTES: Final = 4096
"""What `notification` and `data` may have together, their keys and values counted, as FCM does."""

PARTS: Final = ("notification", "data", "android", "apns", "webpush", "fcm_options", "fcmOptions")
"""An object with at least one of these is in FCM's format."""

_TARGETS: Final = ("topic", "condition", "registration_ids")

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is reported of a notification; empty where it has none."""

    title: str = ""
    body: str = ""
    deep_link: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What a body says. `bare`: the message alone, so words of the older format may be among its own."""

    members: Members
    bare: bool = False
    dry_run: bool = False


def parse(body: bytes) -> Content:
    """Return what a body says; who gets it is not for the body to say.

    Raises:
        InvalidMessage: it is not UTF-8, or names other targets than a device.
    """
    try:
        content = _content(body.decode())
    except UnicodeDecodeError:
        raise InvalidMessage("the body is not valid UTF-8") from None
    members = content.members
    if others := [name for name in _TARGETS if members.get(name) is not None]:
        raise InvalidMessage(f"the body names a target of its own: {others[0]}")
    if str(members.get("to")).startswith("/topics/"):
        raise InvalidMessage("the body names a target of its own: a topic")
    for name in (*_TARGETS, "to", "token"):
        members.pop(name, None)
    return content


def part(members: Members, name: str) -> Members:
    """Return a copy of a member that has to be an object; an empty one where there is none.

    Raises:
        InvalidMessage: it is something else.
    """
    value = members.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidMessage(f"{name} is not an object")
    return dict(value)


def strings(data: Members) -> Members:
    """Return data with values that are all strings: what is none as JSON.

    Raises:
        InvalidMessage: a key is one that FCM keeps for itself.
    """
    for key in data:
        if key in ("from", "gcm") or key.startswith(("gcm.", "google")):
            raise InvalidMessage(f"data has a key that FCM keeps for itself: {key[:40]!r}")
    return {key: value if isinstance(value, str) else to_json(value) for key, value in data.items()}


def seconds(name: str, value: object) -> int:
    """Return a duration that is a number of seconds, perhaps written as text.

    Raises:
        InvalidMessage: it is none; the text begins with `name`.
    """
    if isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal()):
        return int(value)
    raise InvalidMessage(f"{name} is not a number of seconds")


def is_true(value: object) -> bool:
    """Tell whether a switch of the body is on."""
    return value in (True, "1", "true")


def check_size(members: Members) -> None:
    """Find out here what FCM would refuse for its size.

    Raises:
        MessageTooLarge: it is over MAX_BYTES.
    """
    shown = [*part(members, "notification").items(), *part(members, "data").items()]
    size = sum(len(encode(key)) + len(encode(value)) for key, value in shown)
    if size > MAX_BYTES:
        raise MessageTooLarge(f"notification and data have {size} bytes, FCM takes {MAX_BYTES}")


def facts_of(members: Members) -> Facts:
    """Return what is reported of a notification with these members."""
    notification, data = _object(members, "notification"), _object(members, "data")
    options = _object(_object(members, "webpush"), "fcm_options")
    return Facts(
        _first(notification.get("title"), data.get("notification_title"), data.get("title")),
        _first(notification.get("body"), data.get("notification_body"), data.get("message")),
        _first(data.get("deep_link"), data.get("link"), options.get("link")),
    )


def to_json(value: object) -> str:
    """Return compact JSON.

    Raises:
        InvalidMessage: the value is nested too deep.
    """
    try:
        return _encoder.encode(value)
    except RecursionError:
        raise InvalidMessage("the body is nested too deep") from None


def encode(value: object) -> bytes:
    """Return a text's bytes, or those of what is none as JSON.

    Raises:
        InvalidMessage: there is half a character in it (a lone surrogate), or it is nested too deep.
    """
    text = value if isinstance(value, str) else to_json(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidMessage("the body holds half a character (a lone surrogate)") from None


def _content(text: str) -> Content:
    try:
        value = json.loads(text, parse_constant=_number, parse_float=_number)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return Content({"data": {"message": text}})
    inner = value.get("message")
    if isinstance(inner, dict) and _has_parts(inner):
        return _whole(inner, value)
    if _has_parts(value):
        return Content(value, bare=True, dry_run=is_true(value.get("dry_run")))
    return Content({"data": value})


def _whole(message: Members, request: Members) -> Content:
    if beside := request.keys() - {"message", "validate_only", "validateOnly"}:
        raise InvalidMessage(f"there is something beside the message: {min(beside)[:40]!r}")
    return Content(
        message, dry_run=is_true(request.get("validate_only")) or is_true(request.get("validateOnly"))
    )


def _has_parts(members: Mapping[str, object]) -> bool:
    return any(name in members for name in PARTS)


def _number(text: str) -> float:
    """Read a number with a fraction; NaN and what is too large are no JSON that others understand."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number


def _object(members: Members, name: str) -> Members:
    value = members.get(name)
    return value if isinstance(value, dict) else {}


def _first(*candidates: object) -> str:
    return next((text for text in candidates if isinstance(text, str) and text), "")
