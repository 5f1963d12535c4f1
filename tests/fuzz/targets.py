"""What is fuzzed: for each decoder some valid inputs to start from, and a check of what it makes of others.

A check raises nothing when the decoder behaved: it decoded, or it raised an error that it documents.
What it chooses at random it derives from the input, so that the input alone repeats a finding.
"""

import random
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from gobbler.errors import FrameError, InvalidCommand, InvalidMessage, StoreCorrupt
from gobbler.protocol import block, command, notification
from gobbler.protocol.message import Message
from gobbler.protocol.run import Run
from gobbler.websocket.frames import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Event,
    Parser,
    close_payload,
    encode,
    encode_masked,
    parse_close,
)

MAX_SIZE = 2000  # of a message; small, so that inputs reach it
MASK = b"\x12\x34\x56\x78"
SALT = 4711
BYTEWISE = 256  # inputs up to this size are also fed byte by byte


class Target(NamedTuple):
    """A decoder: valid inputs, what its inputs are made of, and the check."""

    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]
    check: Callable[[bytes], None]


def _feed(bursts: list[bytes], masked: bool) -> tuple[list[Event], str, bool, int]:
    """Return the events and how the parser stands then."""
    parser = Parser(MAX_SIZE, masked)
    events = [event for burst in bursts for event in parser.feed(burst)]
    return events, str(parser.error), parser.closed, parser.pending


def _pieces(data: bytes) -> list[bytes]:
    """Cut at random positions."""
    chance = random.Random(data)
    cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(1, 16)))
    return [data[i:j] for i, j in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _check_frames(data: bytes, masked: bool) -> None:
    """Fed whole and fed in pieces the outcome is the same, and no larger than what came in."""
    whole = _feed([data], masked)
    events, _error, _closed, pending = whole
    assert sum(len(payload) for _opcode, payload in events) + pending <= len(data)
    assert _feed(_pieces(data), masked) == whole
    if len(data) <= BYTEWISE:
        assert _feed([data[i : i + 1] for i in range(len(data))], masked) == whole


def check_client_frames(data: bytes) -> None:
    """Read the bytes as a client's."""
    _check_frames(data, masked=True)


def check_server_frames(data: bytes) -> None:
    """Read the bytes as a server's."""
    _check_frames(data, masked=False)


def check_close(data: bytes) -> None:
    """What is parsed can be written again, to the same bytes."""
    try:
        code, reason = parse_close(data[:125])
    except FrameError:
        return
    assert close_payload(code, reason) == data[:125]


def check_command(data: bytes) -> None:
    """A parsed send has kept every byte that belongs to it in the order it had."""
    try:
        parsed = command.parse(data)
    except InvalidCommand:
        return
    if isinstance(parsed, command.Send):
        assert data.endswith(parsed.body)
        assert parsed.path in data
        assert parsed.message_id in data


def check_message(data: bytes) -> None:
    """A decoded message is what it is after another round."""
    try:
        message = Message.decode(data)
    except InvalidMessage:
        return
    assert Message.decode(message.encode()) == message


def check_notification(data: bytes) -> None:
    """A parsed notification has kept its text."""
    try:
        parsed = notification.parse(data)
    except InvalidCommand:
        return
    assert parsed.text in data
    assert data.endswith(parsed.json)


def check_block(data: bytes) -> None:
    """A decoded block encodes to the bytes it came from; also behind a checksum that is right."""
    for candidate in (data, _signed(data)):
        try:
            decoded, end = block.decode(memoryview(candidate), 0, SALT)
        except StoreCorrupt:
            continue
        assert b"".join(decoded.encode(SALT)) == candidate[:end]


def _signed(data: bytes) -> bytes:
    """Put the right checksums into what has the size of a block, or else nothing gets past it."""
    size = block.size_at(data, 0)
    if size is None or size > len(data):
        return data
    body = crc32(data[12:size], SALT).to_bytes(4, "little")
    head = crc32(body + data[12:40], SALT).to_bytes(4, "little")
    return data[:4] + head + body + data[12:]


def _blocks() -> tuple[bytes, ...]:
    """Encode blocks of one run and of several."""
    plain = Run(b"/foo", b"marvin", b"app", [b"\nbody", b'{"a":"b"}\n'])
    named = Run(b"/foo/bar", b"", b"", [b"\n"], [b"id-1"], b'{"user_id":"marvin"}')
    groups = ([plain], [plain, named], [named] * 5)
    return tuple(b"".join(b.encode(SALT)) for runs in groups for b in block.pack(runs, 1, 1700000000))


_CONVERSATIONS: tuple[tuple[tuple[int, bytes, bool], ...], ...] = (
    ((TEXT, b"Hello", True), (BINARY, b"\xff\x00", True)),
    ((TEXT, "κόσμε".encode()[:3], False), (PING, b"?", True), (CONT, "κόσμε".encode()[3:], True)),
    ((BINARY, bytes(60), True), (BINARY, bytes(126), True), (BINARY, bytes(MAX_SIZE), True)),
    ((PONG, b"", True), (TEXT, "𝄞語ß".encode(), True), (CLOSE, close_payload(1000, "bye"), True)),
    ((BINARY, b"", False), (CONT, b"", False), (CONT, b"x", True), (CLOSE, b"", True)),
)
_HEADERS = (
    b"\x82\x80",
    b"\x82\xfe",
    b"\x82\xff",
    b"\x82\x7e",
    b"\x82\x7f",
    b"\x01\x80",
    b"\x80\x80",
    b"\x89\x80",
)
_SPECIAL = (
    b"\n",
    b"\r\n",
    b" ",
    b",",
    b":",
    b"/",
    b"\0",
    b"\xc3",
    b"\xed\xa0\x80",
    "\u2028".encode(),
    b"-1",
    b"9" * 17,
)

TARGETS = {
    "client frames": Target(
        tuple(b"".join(encode_masked(p, MASK, op, fin) for op, p, fin in talk) for talk in _CONVERSATIONS),
        (*_HEADERS, MASK, bytes(4), bytes(6), b"\xff" * 8),
        check_client_frames,
    ),
    "server frames": Target(
        tuple(b"".join(encode(p, op) for op, p, _fin in talk) for talk in _CONVERSATIONS),
        (*_HEADERS, b"\x01\x01", b"\x00\x01", b"\x80\x00", b"\xed\xa0\x80"),
        check_server_frames,
    ),
    "close": Target((b"", close_payload(1000), close_payload(4999, "zu groß")), (b"\x03\xed",), check_close),
    "command": Target(
        (
            b"> /foo id\n\nbody",
            b'> /foo/bar\n{"a": {"b": [1]}}\n\nbody',
            b"> /foo\nName: value\nName: other\r\n\r\nbody",
            b"> /foo",
            b"+ /foo",
            b"+ /foo -20 20",
            b"+ /foo/bar 0,20",
            b"- /foo",
        ),
        (*_SPECIAL, b"> ", b"+ ", b"- ", b"{", b"[", b'"', b"/foo", b"a:b\n"),
        check_command,
    ),
    "message": Target(
        (b"/foo,1,marvin,app,id,1700000000\n\nbody", b'/foo,42,,,,0\n{"a":"b"}\n'),
        _SPECIAL,
        check_message,
    ),
    "notification": Target(
        (
            notification.connected(b"app", b"marvin", 1700000000),
            notification.send_ok(b"id", b"/foo", 42, 1700000000),
            notification.send_error(b"id", b"/foo", "what is wrong", 1700000000),
            notification.fetch_start(b"/foo", 20),
            notification.error_gap(b"/foo", 1, 20),
        ),
        (*_SPECIAL, b"#", b"!"),
        check_notification,
    ),
    "block": Target(_blocks(), (block.MAGIC, bytes(4), b"\xff" * 4, b"\x01\0\0\0", b"\0\0"), check_block),
}
