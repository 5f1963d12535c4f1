"""What is posted with the legacy protocol for a message. Pure.

A body in the older format is passed on as it is, but for the target and for values of `data` that are
no strings. Of v1's parts, `android` is mapped; the legacy protocol has no words for the others.
"""

from __future__ import annotations

from gobbler.connectors.fcm.older import ANDROID, merged
from gobbler.connectors.fcm.payload import Members, check_size, encode, facts_of, parse, part, strings
from gobbler.connectors.fcm.template import Template

_V1_ONLY = ("android", "apns", "webpush", "fcm_options", "fcmOptions")
_SAME = ("collapse_key", "restricted_package_name")


def legacy_template(body: bytes, _time: int = 0) -> Template:
    """Return the request for a message's body; when it was published makes no difference here.

    Raises:
        InvalidMessage: it cannot be sent; the text says why.
        MessageTooLarge: nor can this one.
    """
    content = parse(body)
    members = {n: value for n, value in content.members.items() if n not in _V1_ONLY and value is not None}
    members = merged(_from_android(part(content.members, "android")), members)
    if "data" in members:
        members["data"] = strings(part(members, "data"))
    if content.dry_run:
        members["dry_run"] = True
    check_size(members)
    after = (b"," if members else b"") + encode(members)[1:]
    return Template(b'{"to":', after, facts_of(members))


def _from_android(android: Members) -> Members:
    """Return the older format's words for v1's part for Android."""
    members = {name: android[name] for name in _SAME if android.get(name) is not None}
    if isinstance(priority := android.get("priority"), str):
        members["priority"] = priority.lower()
    ttl = str(android.get("ttl", "")).removesuffix("s")
    if ttl.isdecimal():
        members["time_to_live"] = int(ttl)
    shown = part(android, "notification")
    if notification := {old: shown[new] for old, new in ANDROID.items() if new in shown}:
        members["notification"] = notification
    if "data" in android:
        members["data"] = part(android, "data")
    return members
