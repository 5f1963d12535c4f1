"""From the older format, which bodies still are in, to that of HTTP v1. Pure.

The older format has `priority`, `time_to_live` and others for all platforms, and in `notification`
members for single ones; v1 has a part for each platform. What a body says in v1's own parts wins.

https://firebase.google.com/docs/cloud-messaging/http-server-ref
https://firebase.google.com/docs/cloud-messaging/migrate-v1
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from gobbler.connectors.fcm.payload import Members, is_true, part, seconds
from gobbler.errors import InvalidMessage

WORDS: Final = frozenset(
    {
        "priority",
        "time_to_live",
        "collapse_key",
        "content_available",
        "mutable_content",
        "restricted_package_name",
        "dry_run",
        "delay_while_idle",
    }
)
"""Members of the older format that v1 does not have; the last has had no effect for years."""

ANDROID: Final[Mapping[str, str]] = {
    "icon": "icon",
    "sound": "sound",
    "tag": "tag",
    "color": "color",
    "click_action": "click_action",
    "android_channel_id": "channel_id",
    "body_loc_key": "body_loc_key",
    "body_loc_args": "body_loc_args",
    "title_loc_key": "title_loc_key",
    "title_loc_args": "title_loc_args",
}
"""Members of `notification` -> what they are in v1's `android.notification`."""

_APS: Final = {"sound": "sound", "badge": "badge", "click_action": "category"}
_ALERT: Final = {
    "subtitle": "subtitle",
    "body_loc_key": "loc-key",
    "body_loc_args": "loc-args",
    "title_loc_key": "title-loc-key",
    "title_loc_args": "title-loc-args",
}
_PLATFORMS: Final = frozenset({*ANDROID, *_APS, *_ALERT})

_COLLAPSE_ID_BYTES: Final = 64
"""What APNs takes."""


def to_v1(members: Members, time: int) -> Members:
    """Return the members that v1 has for these; `time`: when it was published, in unix seconds.

    Raises:
        InvalidMessage: a word has a value that it cannot have.
    """
    notification = part(members, "notification")
    v1 = {name: value for name, value in members.items() if name not in WORDS}
    if notification:
        v1["notification"] = {n: value for n, value in notification.items() if n not in _PLATFORMS}
    ways = {
        "android": _android(members, notification),
        "apns": _apns(members, notification, time),
        "webpush": _webpush(members, notification),
    }
    return v1 | {name: merged(way, part(members, name)) for name, way in ways.items() if way}


def merged(below: Members, above: Members) -> Members:
    """Return all members of both; where both have one, it is `above`'s, or merged if it is an object."""
    both = below | above
    for name in below.keys() & above.keys():
        if isinstance(below[name], dict) and isinstance(above[name], dict):
            both[name] = merged(below[name], above[name])
    return both


def _android(members: Members, notification: Members) -> Members:
    priority, ttl = _priority(members), _ttl(members)
    return _present(
        priority=priority and priority.upper(),
        ttl=None if ttl is None else f"{ttl}s",
        collapse_key=members.get("collapse_key"),
        restricted_package_name=members.get("restricted_package_name"),
        notification=_picked(notification, ANDROID) or None,
    )


def _apns(members: Members, notification: Members, time: int) -> Members:
    aps = _aps(members, notification)
    return _present(
        headers=_apns_headers(members, notification, time) or None,
        payload={"aps": aps} if aps else None,
    )


def _apns_headers(members: Members, notification: Members, time: int) -> Members:
    priority, ttl, key = _priority(members), _ttl(members), members.get("collapse_key")
    headers = {}
    if priority:
        # FCM refuses 10 for what shows nothing.
        headers["apns-priority"] = "10" if priority == "high" and notification else "5"
    if ttl is not None:
        headers["apns-expiration"] = str(time + ttl if ttl else 0)
    if isinstance(key, str) and len(key.encode("utf-8", "replace")) <= _COLLAPSE_ID_BYTES:
        headers["apns-collapse-id"] = key
    return headers


def _aps(members: Members, notification: Members) -> Members:
    aps = _picked(notification, _APS)
    if isinstance(badge := aps.get("badge"), str) and badge.isdecimal():
        aps["badge"] = int(badge)
    if alert := _picked(notification, _ALERT):
        # With an alert of its own, APNs is not given the title and body of the notification.
        aps["alert"] = _picked(notification, {"title": "title", "body": "body"}) | alert
    for name in ("content_available", "mutable_content"):
        if is_true(members.get(name)):
            aps[name.replace("_", "-")] = 1
    return aps


def _webpush(members: Members, notification: Members) -> Members:
    ttl, link = _ttl(members), notification.get("click_action")
    headers = _present(Urgency=_priority(members), TTL=None if ttl is None else str(ttl))
    opens = isinstance(link, str) and link.startswith("https://")
    return _present(
        headers=headers or None,
        notification=_picked(notification, {"icon": "icon"}) or None,
        fcm_options={"link": link} if opens else None,
    )


def _priority(members: Members) -> str | None:
    priority = members.get("priority")
    if priority is not None and priority not in ("high", "normal", "HIGH", "NORMAL"):
        raise InvalidMessage("priority is neither high nor normal")
    return priority and str(priority).lower()


def _ttl(members: Members) -> int | None:
    ttl = members.get("time_to_live")
    return None if ttl is None else seconds("time_to_live", ttl)


def _present(**members: object) -> Members:
    return {name: value for name, value in members.items() if value is not None}


def _picked(members: Members, names: Mapping[str, str]) -> Members:
    """Return those of `names` that are there, under their new names."""
    picked = {new: members[old] for old, new in names.items() if members.get(old) is not None}
    return {name: _arguments(value) if name.endswith("args") else value for name, value in picked.items()}


def _arguments(value: object) -> object:
    """The older format writes the list as JSON in a string."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value
