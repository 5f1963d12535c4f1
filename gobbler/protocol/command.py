"""Commands: what a client sends.

> <path> [<publisherMessageId>]\\n [<header>\\n]... \\n <body>      Send
+ <path> [<startId>[(space or comma)<maxCount>]]                Receive
- <path>                                                        Cancel
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from gobbler.errors import BadRequest, InvalidCommand, InvalidMessage, InvalidTopic
from gobbler.protocol.message import MAX_ID, check_field, encode_headers
from gobbler.protocol.topic import canonical

MAX_HEADER_LINES: Final = 100
MAX_HEADER_BYTES: Final = 16 * 1024
_ECHOED: Final = 40
_NUMBER = re.compile(rb"-?[0-9]{1,16}")


class SendRefused(InvalidCommand):
    """A send that cannot be stored, with what is needed to tell its sender.

    `path` and `message_id` are empty where they are not fit to be repeated.
    """

    code = "send-refused"

    def __init__(self, text: str, path: bytes, message_id: bytes) -> None:
        """`text` says what is wrong."""
        super().__init__(text)
        self.path = path
        self.message_id = message_id


@dataclass(frozen=True, slots=True)
class Send:
    """Publish a message. `headers` is a JSON object or empty."""

    path: bytes
    message_id: bytes = b""
    headers: bytes = b""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Receive:
    """Subscribe (no start), replay and subscribe (a start), or fetch (a start and a count)."""

    path: bytes
    start: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a subscription and the fetches of a path."""

    path: bytes


Command = Send | Receive | Cancel


def parse(payload: bytes) -> Command:
    """Decode a command.

    Raises:
        SendRefused: a send with something wrong in it.
        InvalidCommand: anything else that is no command.
    """
    first = payload[:1]
    if first == b">":
        return _parse_send(payload)
    if first == b"+":
        return _parse_receive(payload)
    if first == b"-":
        return Cancel(_path(_words(payload, 1, "- <path>")[0]))
    if not payload.strip():
        raise InvalidCommand("empty command")
    word = payload.split(None, 1)[0][:_ECHOED].decode(errors="replace")
    raise InvalidCommand(f"unknown command '{''.join(c if c.isprintable() else '?' for c in word)}'")


def _words(payload: bytes, most: int, usage: str) -> list[bytes]:
    """Split what follows the first character; a comma separates like a space behind the path."""
    path, *numbers = payload[1:].split(None, 1) or [b""]
    words = [path, *(numbers[0].replace(b",", b" ", 1).split() if numbers else ())]
    if payload[1:2] not in (b" ", b"\t") or not path or len(words) > most:
        raise InvalidCommand(f"expected: {usage}")
    return words


def _path(raw: bytes) -> bytes:
    try:
        return canonical(raw)
    except InvalidTopic as error:
        raise InvalidCommand(str(error)) from None


def _parse_receive(payload: bytes) -> Receive:
    path, *numbers = _words(payload, 3, "+ <path> [<startId> [<maxCount>]]")
    start = _number("start id", numbers[0]) if numbers else None
    count = _number("maximum count", numbers[1]) if len(numbers) > 1 else None
    if count is not None and count < 1:
        raise InvalidCommand("maximum count must be at least 1")
    return Receive(_path(path), start, count)


def _number(name: str, raw: bytes) -> int:
    if not _NUMBER.fullmatch(raw) or abs(int(raw)) > MAX_ID:
        shown = raw[:_ECHOED].decode(errors="replace")
        raise InvalidCommand(f"{name} is not a whole number of at most 2^53-1: '{shown}'")
    return int(raw)


def _parse_send(payload: bytes) -> Send:
    line, _, rest = payload.partition(b"\n")
    words = line[1:].split()
    path, message_id = b"", b""
    try:
        if line[1:2] not in (b" ", b"\t") or not 1 <= len(words) <= 2:
            raise InvalidMessage("expected: > <path> [<message id>]")
        message_id = check_field("message id", words[1]) if len(words) > 1 else b""
        path = canonical(words[0])
        headers, body = _split(rest)
    except BadRequest as error:
        raise SendRefused(str(error), path, message_id) from None
    return Send(path, message_id, headers, body)


def _split(rest: bytes) -> tuple[bytes, bytes]:
    """Separate headers and body; the headers as one JSON object."""
    if not rest or rest[:1] == b"\n":
        return b"", rest[1:]
    if rest[:2] == b"\r\n":
        return b"", rest[2:]
    line, _, behind = rest.partition(b"\n")
    if line[:1] == b"{":
        # Old clients send a JSON header and the body directly behind it.
        return _json_header(line.rstrip(b"\r")), _without_empty_line(behind)
    lines, body = _header_lines(rest)
    return encode_headers(map(_header, lines)), body


def _without_empty_line(raw: bytes) -> bytes:
    if raw[:1] == b"\n":
        return raw[1:]
    return raw[2:] if raw[:2] == b"\r\n" else raw


def _json_header(line: bytes) -> bytes:
    if len(line) > MAX_HEADER_BYTES:
        raise InvalidMessage(f"headers are longer than {MAX_HEADER_BYTES} bytes")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidMessage("header is not valid JSON") from None
    if not isinstance(value, dict):
        raise InvalidMessage("header is not a JSON object")
    return line


def _header_lines(rest: bytes) -> tuple[list[bytes], bytes]:
    """Return the header lines and what follows the empty line that ends them."""
    lines: list[bytes] = []
    position = 0
    while True:
        end = rest.find(b"\n", position, MAX_HEADER_BYTES)
        if end < 0 and len(rest) > MAX_HEADER_BYTES:
            raise InvalidMessage(f"headers are longer than {MAX_HEADER_BYTES} bytes")
        line = (rest[position:end] if end >= 0 else rest[position:]).rstrip(b"\r")
        if not line:
            return lines, rest[end + 1 :] if end >= 0 else b""
        if len(lines) == MAX_HEADER_LINES:
            raise InvalidMessage(f"more than {MAX_HEADER_LINES} header lines")
        lines.append(line)
        if end < 0:
            return lines, b""
        position = end + 1


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    try:
        names = name.strip().decode(), value.strip().decode()
    except UnicodeDecodeError:
        raise InvalidMessage("header is not valid UTF-8") from None
    if not colon or not names[0]:
        raise InvalidMessage("expected a header as 'Name: value' or one JSON object, then an empty line")
    return names
