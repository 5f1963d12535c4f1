r"""Messages, as clients get them.

    <path>,<id>,<user id>,<application id>,<publisher's message id>,<unix seconds>\n
    <application headers as one JSON object, or nothing>\n
    <body: any bytes>

Both line feeds are always there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gobbler.errors import InvalidMessage

MAX_ID: Final = 2**53 - 1
"""The largest integer that JavaScript holds exactly."""

MAX_FIELD_BYTES: Final = 256

PLAIN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:"
"""Bytes that may stand in any field and need no escape in JSON: what nearly all ids are made of."""
_FIELDS: Final = 6
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029,]")
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,15}")
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Message:
    """A published message. `time` is in unix seconds; `headers` is a JSON object or empty."""

    path: bytes
    id: int
    user_id: bytes
    application_id: bytes
    message_id: bytes
    time: int
    headers: bytes = b""
    body: bytes = b""

    def encode(self) -> bytes:
        """Return the message as it is on the wire."""
        return b"%b,%d,%b,%b,%b,%d\n%b\n%b" % (
            self.path,
            self.id,
            self.user_id,
            self.application_id,
            self.message_id,
            self.time,
            self.headers,
            self.body,
        )

    @classmethod
    def decode(cls, payload: bytes) -> Message:
        """Decode a message from the wire.

        It checks the structure. It does not check again what the server refuses at its door:
        the characters of the fields and what is inside the headers.

        Raises:
            InvalidMessage: these bytes are none.
        """
        head, _, rest = payload.partition(b"\n")
        headers, separator, body = rest.partition(b"\n")
        fields = head.split(b",")
        if len(fields) != _FIELDS or not separator:
            raise InvalidMessage("a message needs six fields and two line feeds")
        if not head.startswith(b"/"):
            raise InvalidMessage("a message must begin with a topic")
        if headers and not headers.startswith(b"{"):
            raise InvalidMessage("a message's headers must be a JSON object or empty")
        path, id, user_id, application_id, message_id, time = fields
        return cls(path, _number(id), user_id, application_id, message_id, _number(time), headers, body)


def _number(raw: bytes) -> int:
    if not _NUMBER.fullmatch(raw) or int(raw) > MAX_ID:
        raise InvalidMessage("a message's id and time must be whole numbers of at most 2^53-1")
    return int(raw)


def check_field(name: str, value: bytes) -> bytes:
    """Return a value that may stand in a message's first line.

    Raises:
        InvalidMessage: it may not; the text begins with `name`.
    """
    if len(value) > MAX_FIELD_BYTES:
        raise InvalidMessage(f"{name} is longer than {MAX_FIELD_BYTES} bytes")
    try:
        forbidden = _FORBIDDEN.search(value.decode())
    except UnicodeDecodeError:
        raise InvalidMessage(f"{name} is not valid UTF-8") from None
    if forbidden:
        what = "a comma" if forbidden.group() == "," else "a control character"
        raise InvalidMessage(f"{name} holds {what}")
    return value


def encode_headers(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return application headers as one compact JSON object; nothing where there are none.

    Values of a repeated name are joined with a comma, as in HTTP (RFC 9110, section 5.3).
    What is no Unicode character (a lone surrogate) becomes a question mark.

    Raises:
        InvalidMessage: a name is empty.
    """
    headers: dict[str, list[str]] = {}
    for name, value in pairs:
        headers.setdefault(name, []).append(value)
    if "" in headers:
        raise InvalidMessage("a header has no name")
    if not headers:
        return b""
    joined = {name: ", ".join(values) for name, values in headers.items()}
    return _to_json(joined).encode("utf-8", "replace")
