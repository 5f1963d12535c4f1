r"""Commands: what a client sends.

    > <path> [<publisherMessageId>]\n [<header>\n]... \n <body>      Send
    + <path> [<startId>[(space or comma)<maxCount>]]                Receive
    - <path>                                                        Cancel

A command begins at the first byte, and white space follows its sign. Any white space
separates words, and may end a line: line ends may be CRLF.

Headers are `Name: value` lines, or one line that is a JSON object, and end with an empty
line. The empty line may be missing behind a JSON object, as old clients send it; a body
that itself begins with an empty line then loses that. Where it is missing behind anything
else the send is refused: a body must not be taken for headers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, NoReturn

from gobbler.errors import BadRequest, InvalidCommand, InvalidMessage, InvalidTopic
from gobbler.protocol.message import MAX_ID, check_field, encode_headers
from gobbler.protocol.topic import canonical

MAX_HEADER_LINES: Final = 100
MAX_HEADER_BYTES: Final = 16 * 1024
_ECHOED: Final = 40
_NUMBER = re.compile(rb"-?[0-9]{1,16}")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a header's name: RFC 9110, section 5.6.2
_LONG_HEADERS: Final = f"headers are longer than {MAX_HEADER_BYTES} bytes"
_NO_HEADERS: Final = "expected a header as 'Name: value' or one JSON object, then an empty line"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


# NaN and Infinity are Python's own; other JSON parsers do not take them.
_from_json = json.JSONDecoder(parse_constant=_refuse_constant).decode


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
    if first.isspace():
        raise InvalidCommand("a command must not begin with white space")
    raise InvalidCommand(f"unknown command {_quoted(payload.split(None, 1)[0])}")


def _quoted(raw: bytes) -> str:
    """Return the beginning of what a client sent, fit to be shown."""
    text = raw[:_ECHOED].decode(errors="replace")
    return f"'{''.join(c if c.isprintable() else '?' for c in text)}'"


def _words(payload: bytes, most: int, usage: str) -> list[bytes]:
    """Split what follows the sign: a path, and perhaps more in one piece."""
    words = payload[1:].split(None, 1)
    if payload[1:2] not in (b" ", b"\t") or not 1 <= len(words) <= most:
        raise InvalidCommand(f"expected: {usage}")
    return words


def _path(raw: bytes) -> bytes:
    try:
        return canonical(raw)
    except InvalidTopic as error:
        raise InvalidCommand(str(error)) from None


def _parse_receive(payload: bytes) -> Receive:
    usage = "+ <path> [<startId> [<maxCount>]]"
    path, *rest = _words(payload, 2, usage)
    numbers = _numbers(rest[0]) if rest else []
    if len(numbers) > 2:
        raise InvalidCommand(f"expected: {usage}")
    start = _number("start id", numbers[0]) if numbers else None
    count = _number("maximum count", numbers[1]) if len(numbers) > 1 else None
    if count is not None and count < 1:
        raise InvalidCommand("maximum count must be at least 1")
    return Receive(_path(path), start, count)


def _numbers(raw: bytes) -> list[bytes]:
    """Split at white space, or at a comma with a number on both sides."""
    start, comma, count = raw.partition(b",")
    return [start.strip(), count.strip()] if comma else raw.split()


def _number(name: str, raw: bytes) -> int:
    if not _NUMBER.fullmatch(raw) or abs(int(raw)) > MAX_ID:
        raise InvalidCommand(f"{name} is not a whole number of at most 2^53-1: {_quoted(raw)}")
    return int(raw)


def _parse_send(payload: bytes) -> Send:
    line, _, rest = payload.partition(b"\n")
    words = line[1:].split()
    path, message_id = b"", b""
    try:
        if line[1:2] not in (b" ", b"\t") or not 1 <= len(words) <= 2:
            raise InvalidMessage("expected: > <path> [<message id>]")
        path = canonical(words[0])
        message_id = check_field("message id", words[1]) if len(words) > 1 else b""
        headers, body = _split(rest)
    except BadRequest as error:
        path, message_id = path or _presentable(words[:1]), _presentable(words[1:2])
        raise SendRefused(str(error), path, message_id) from None
    return Send(path, message_id, headers, body)


def _presentable(words: list[bytes]) -> bytes:
    """Return the one word, or nothing where there is none or it is not fit to be repeated."""
    try:
        return check_field("", words[0]) if words else b""
    except InvalidMessage:
        return b""


def _split(rest: bytes) -> tuple[bytes, bytes]:
    """Separate headers and body; the headers as one JSON object."""
    if not rest or rest[:1] == b"\n":
        return b"", rest[1:]
    line, _, behind = rest.partition(b"\n")
    if line[:1] == b"{":
        # Old clients send a JSON header and the body directly behind it.
        return _json_header(line.removesuffix(b"\r")), _without_empty_line(behind)
    headers, end = _header_lines(rest)
    return encode_headers(headers), rest[end:]


def _without_empty_line(raw: bytes) -> bytes:
    if raw[:1] == b"\n":
        return raw[1:]
    return raw[2:] if raw[:2] == b"\r\n" else raw


def _json_header(line: bytes) -> bytes:
    if len(line) > MAX_HEADER_BYTES:
        raise InvalidMessage(_LONG_HEADERS)
    try:
        _from_json(line.decode())  # it begins with a brace: what is valid is an object
    except (ValueError, RecursionError):  # ValueError: not UTF-8, not JSON, or a number of too many digits
        raise InvalidMessage("header is not valid JSON") from None
    return line


def _header_lines(rest: bytes) -> tuple[list[tuple[str, str]], int]:
    """Return the headers and where the body begins, behind the empty line that ends them."""
    headers: list[tuple[str, str]] = []
    position = 0
    while True:
        end = rest.find(b"\n", position, MAX_HEADER_BYTES)
        if end < 0:
            raise InvalidMessage(_LONG_HEADERS if len(rest) > MAX_HEADER_BYTES else _NO_HEADERS)
        line = rest[position:end].removesuffix(b"\r")
        position = end + 1
        if not line:
            return headers, position
        if len(headers) == MAX_HEADER_LINES:
            raise InvalidMessage(f"more than {MAX_HEADER_LINES} header lines")
        headers.append(_header(line))


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    name = name.strip()
    if not colon or not _TOKEN.fullmatch(name):
        raise InvalidMessage(_NO_HEADERS)
    try:
        return name.decode(), value.strip().decode()
    except UnicodeDecodeError:
        raise InvalidMessage("header is not valid UTF-8") from None
