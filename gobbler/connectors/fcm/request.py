"""What is posted to FCM's HTTP v1 protocol for a message. Pure."""

from __future__ import annotations

from gobbler.connectors.fcm.older import to_v1
from gobbler.connectors.fcm.payload import (
    Members,
    check_size,
    encode,
    facts_of,
    parse,
    part,
    seconds,
    strings,
)
from gobbler.connectors.fcm.template import Template


def v1_template(body: bytes, time: int) -> Template:
    """Return the request for a message's body, published at `time` (unix seconds).

    Raises:
        InvalidMessage: it cannot be sent; the text says why.
        MessageTooLarge: nor can this one.
    """
    content = parse(body)
    members = _settled(to_v1(content.members, time) if content.bare else content.members)
    check_size(members)
    after = (b"," if members else b"") + encode(members)[1:]
    after += b',"validate_only":true}' if content.dry_run else b"}"
    return Template(b'{"message":{"token":', after, facts_of(members))


def _settled(members: Members) -> Members:
    """Return members whose values are what FCM takes: strings in data, durations such as "3600s"."""
    settled = {name: value for name, value in members.items() if value is not None}
    for name in ("notification", "android", "apns", "webpush"):
        if name in settled:
            settled[name] = part(settled, name)
    for holder in (settled, settled.get("android"), settled.get("webpush")):
        if holder and "data" in holder:
            holder["data"] = strings(part(holder, "data"))
    _settle_ttl(settled.get("android", {}))
    return settled


def _settle_ttl(android: Members) -> None:
    ttl = android.get("ttl")
    if ttl is not None and not str(ttl).endswith("s"):
        android["ttl"] = f"{seconds('android.ttl', ttl)}s"
