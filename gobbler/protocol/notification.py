"""Notifications: what the server tells a client beside messages.

`#<kind> <text>` for what went well, `!<kind> <text>` for errors, and for some a
line feed and a JSON object.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from gobbler.errors import InvalidCommand

_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_to_json = json.JSONEncoder(ensure_ascii=False).encode


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
    ids = _string(application_id), _string(user_id)
    facts = b'{"ApplicationId": %b, "UserId": %b, "Time": "%d"}' % (*ids, time)
    return b"#connected You are connected to the server.\n" + facts


def send_ok(message_id: bytes, path: bytes, id: int, time: int) -> bytes:
    """Acknowledge a message that is in the log."""
    return b"#send %b\n%b" % (message_id, _sent(message_id, path, b"%d" % id, b"%d" % time))


@lru_cache(maxsize=1024)
def send_ok_template(path: bytes, message_id: bytes) -> bytes:
    """Return `send_ok` with two `%d` in it, for the id and the time; other percent signs are doubled."""
    # They may be doubled first: JSON leaves them as they are.
    path, message_id = path.replace(b"%", b"%%"), message_id.replace(b"%", b"%%")
    return b"#send %b\n%b" % (message_id, _sent(message_id, path, b"%d", b"%d"))


def send_error(message_id: bytes, path: bytes, text: str, time: int) -> bytes:
    """Tell that a message was not stored."""
    head = b"!error-send %b %b" % (message_id, _line(text))
    return b"%b\n%b" % (head, _sent(message_id, path, b"", b"%d" % time))


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


def _sent(message_id: bytes, path: bytes, id: bytes, time: bytes) -> bytes:
    return b'{"sequenceId": "%b", "path": %b, "publisherMessageId": %b, "messagePublishingTime": "%b"}' % (
        id,
        _string(path),
        _string(message_id),
        time,
    )


def _string(value: bytes) -> bytes:
    """Return a JSON string."""
    return _to_json(value.decode()).encode()


def _line(text: str) -> bytes:
    """Return a text that stays on one line."""
    return _LINE_BREAKS.sub(" ", text).encode("utf-8", "replace")
