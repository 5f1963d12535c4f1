"""Notifications: what the server tells a client beside messages.

`#<kind> <text>` for what went well, `!<kind> <text>` for errors, and for some a
line feed and a JSON object.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from gobbler.errors import InvalidCommand

_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification as a client reads it; `json` is empty where there is none."""

    kind: str
    error: bool
    text: bytes
    json: bytes = b""


def parse(payload: bytes) -> Notification:
    """Decode a notification.

    Raises:
        InvalidCommand: these bytes are none.
    """
    line, _, rest = payload.partition(b"\n")
    kind, _, text = line[1:].partition(b" ")
    if line[:1] not in (b"#", b"!") or not kind.isascii() or not kind:
        raise InvalidCommand("not a notification")
    return Notification(kind.decode(), line[:1] == b"!", text, rest)


def connected(application_id: bytes, user_id: bytes, time: int) -> bytes:
    """Greet a client; `time` in unix seconds."""
    facts = {"ApplicationId": application_id.decode(), "UserId": user_id.decode(), "Time": str(time)}
    return b"#connected You are connected to the server.\n" + _json(facts)


def send_ok(message_id: bytes, path: bytes, id: int, time: int) -> bytes:
    """Acknowledge a message that is in the log."""
    return b"#send %b\n%b" % (message_id, _sent(message_id, path, str(id), time))


def send_ok_template(path: bytes, message_id: bytes) -> bytes:
    """Return `send_ok` with two `%d` in it, for the id and the time; other percent signs are doubled."""
    filled = send_ok(message_id, path, 0, 0).replace(b"%", b"%%")
    # The first and the last quoted zero: neither path nor message id can stand before or behind those.
    before, _, rest = filled.partition(b'{"sequenceId": "0"')
    middle, _, _ = rest.rpartition(b'"0"}')
    return b'%b{"sequenceId": "%%d"%b"%%d"}' % (before, middle)


def send_error(message_id: bytes, path: bytes, text: str, time: int) -> bytes:
    """Tell that a message was not stored."""
    head = b"!error-send %b %b" % (message_id, _line(text))
    return b"%b\n%b" % (head, _sent(message_id, path, "", time))


def fetch_start(path: bytes, count: int) -> bytes:
    """Announce `count` stored messages."""
    return b"#fetch-start %b %d" % (path, count)


def fetch_done(path: bytes) -> bytes:
    """Tell that all announced messages were sent."""
    return b"#fetch-done %b" % path


def subscribed_to(path: bytes) -> bytes:
    """Tell that live messages follow."""
    return b"#subscribed-to %b" % path


def canceled(path: bytes) -> bytes:
    """Tell that nothing of a path follows."""
    return b"#canceled %b" % path


def error_bad_request(text: str) -> bytes:
    """Tell that a command was not understood or not allowed."""
    return b"!error-bad-request " + _line(text)


def error_server_internal(text: str) -> bytes:
    """Tell that the server could not do its part."""
    return b"!error-server-internal " + _line(text)


def error_subscribed_to(path: bytes, text: str) -> bytes:
    """Tell that a subscription did not come about, or has ended."""
    return b"!error-subscribed-to %b %b" % (path, _line(text))


def error_gap(path: bytes, first: int, last: int) -> bytes:
    """Tell that the messages with the ids `first` to `last` cannot be had any more."""
    return b"!error-gap %b %d %d" % (path, first, last)


def _sent(message_id: bytes, path: bytes, id: str, time: int) -> bytes:
    return _json(
        {
            "sequenceId": id,
            "path": path.decode(),
            "publisherMessageId": message_id.decode(),
            "messagePublishingTime": str(time),
        }
    )


def _json(facts: dict[str, str]) -> bytes:
    return json.dumps(facts, ensure_ascii=False).encode()


def _line(text: str) -> bytes:
    """Return a text that stays on one line."""
    return _LINE_BREAKS.sub(" ", text).encode("utf-8", "replace")
