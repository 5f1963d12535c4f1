"""Commands: golden bytes, every refusal with its words, and that nothing else can come of any bytes."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gobbler.errors import InvalidCommand, InvalidTopic
from gobbler.protocol.command import (
    MAX_HEADER_BYTES,
    MAX_HEADER_LINES,
    Cancel,
    Command,
    Receive,
    Send,
    SendRefused,
    parse,
)
from gobbler.protocol.message import MAX_ID, check_field
from gobbler.protocol.topic import canonical
from tests.protocol.alphabets import fields, nearly, topics
from tests.protocol.costs import expect_linear

FULL = b'{"a":"' + b"x" * (MAX_HEADER_BYTES - 8) + b'"}'

GOLDEN: list[tuple[bytes, Command]] = [
    # The body
    (b"> /foo\n\nHello World", Send(b"/foo", body=b"Hello World")),
    (b"> /foo\n\n", Send(b"/foo")),
    (b"> /foo\n", Send(b"/foo")),
    (b"> /foo", Send(b"/foo")),
    (b"> /foo\n\n\nx", Send(b"/foo", body=b"\nx")),
    (b"> /foo\n\n\r\n\0\xff,\n", Send(b"/foo", body=b"\r\n\0\xff,\n")),
    (b"> /foo\n\n> /bar\n\n", Send(b"/foo", body=b"> /bar\n\n")),
    # The first line
    (b"> /foo id123\n\nHello", Send(b"/foo", b"id123", body=b"Hello")),
    (b"> /foo id123", Send(b"/foo", b"id123")),
    (b">  /foo/bar/   id123  \n\nx", Send(b"/foo/bar", b"id123", body=b"x")),
    (b">\t/foo\tid123\n\nx", Send(b"/foo", b"id123", body=b"x")),
    ("> /grüße 日本\n\n".encode(), Send("/grüße".encode(), "日本".encode())),
    (b"> /.. %d\n\n%d", Send(b"/..", b"%d", body=b"%d")),
    # Headers as lines
    (b"> /foo\nA: b\n\nx", Send(b"/foo", b"", b'{"A":"b"}', b"x")),
    (b"> /foo\nA: b\n\n", Send(b"/foo", b"", b'{"A":"b"}')),
    (b"> /foo id\nA:b\nC:  d e\t\n\nx", Send(b"/foo", b"id", b'{"A":"b","C":"d e"}', b"x")),
    (b"> /foo\nA: 1\nB:\nA: 2\n\n", Send(b"/foo", b"", b'{"A":"1, 2","B":""}')),
    (b"> /foo\nTime: 12:30\n\n", Send(b"/foo", b"", b'{"Time":"12:30"}')),
    ("> /foo\nA: é\n\n".encode(), Send(b"/foo", b"", '{"A":"é"}'.encode())),
    (b"> /foo\nA: b\n\nC: d\n\n", Send(b"/foo", b"", b'{"A":"b"}', b"C: d\n\n")),
    # Headers as one JSON object
    (b'> /foo\n{"A": "b"}\n\nx', Send(b"/foo", b"", b'{"A": "b"}', b"x")),
    (b'> /foo\n{"A": [1, {"b": null}]} \n\n', Send(b"/foo", b"", b'{"A": [1, {"b": null}]} ')),
    (b"> /foo\n{}\n\nx", Send(b"/foo", b"", b"{}", b"x")),
    (b'> /foo\n{"A":"\\ud800\\n"}\n\n', Send(b"/foo", b"", b'{"A":"\\ud800\\n"}')),
    (b"> /foo\n%b\n\nx" % FULL, Send(b"/foo", b"", FULL, b"x")),
    # ... without an empty line, as old clients send it
    (b'> /foo\n{"A":"b"}\nHello', Send(b"/foo", b"", b'{"A":"b"}', b"Hello")),
    (b'> /foo\n{"A":"b"}\n{"C":"d"}', Send(b"/foo", b"", b'{"A":"b"}', b'{"C":"d"}')),
    (b'> /foo\n{"A":"b"}\nC: d\n\nx', Send(b"/foo", b"", b'{"A":"b"}', b"C: d\n\nx")),
    (b'> /foo\n{"A":"b"}\n', Send(b"/foo", b"", b'{"A":"b"}')),
    (b'> /foo\n{"A":"b"}', Send(b"/foo", b"", b'{"A":"b"}')),
    # CRLF
    (b"> /foo id\r\n\r\nx\r\n", Send(b"/foo", b"id", body=b"x\r\n")),
    (b"> /foo\r\nA: b\r\n\r\nx", Send(b"/foo", b"", b'{"A":"b"}', b"x")),
    (b'> /foo\r\n{"A":"b"}\r\n\r\nx', Send(b"/foo", b"", b'{"A":"b"}', b"x")),
    (b'> /foo\r\n{"A":"b"}\r\nx', Send(b"/foo", b"", b'{"A":"b"}', b"x")),
    (b"> /foo\r\n", Send(b"/foo")),
    # Receive
    (b"+ /foo", Receive(b"/foo")),
    (b"+ /foo/bar/", Receive(b"/foo/bar")),
    (b"+ /foo\n", Receive(b"/foo")),
    (b"+   /foo  \r\n", Receive(b"/foo")),
    (b"+ /foo 0", Receive(b"/foo", 0)),
    (b"+ /foo 42", Receive(b"/foo", 42)),
    (b"+ /foo -20", Receive(b"/foo", -20)),
    (b"+ /foo 007", Receive(b"/foo", 7)),
    (b"+ /foo 0 20", Receive(b"/foo", 0, 20)),
    (b"+ /foo 0,20", Receive(b"/foo", 0, 20)),
    (b"+ /foo 0, 20", Receive(b"/foo", 0, 20)),
    (b"+ /foo  -20 , 20 \n", Receive(b"/foo", -20, 20)),
    (b"+ /foo -20 20", Receive(b"/foo", -20, 20)),
    (b"+ /foo 0 1", Receive(b"/foo", 0, 1)),
    (b"+ /foo 9007199254740991 9007199254740991", Receive(b"/foo", MAX_ID, MAX_ID)),
    (b"+ /foo -9007199254740991", Receive(b"/foo", -MAX_ID)),
    # Cancel
    (b"- /foo", Cancel(b"/foo")),
    (b"-  /foo/bar/ \r\n", Cancel(b"/foo/bar")),
]


@pytest.mark.parametrize(("payload", "command"), GOLDEN)
def test_golden_bytes(payload: bytes, command: Command) -> None:
    assert parse(payload) == command


USAGE_SEND = "expected: > <path> [<message id>]"
NO_HEADERS = "expected a header as 'Name: value' or one JSON object, then an empty line"
NO_JSON = "header is not valid JSON"
LONG_HEADERS = "headers are longer than 16384 bytes"

# What is sent, the text, and the path and the message id that the answer repeats.
SENDS_REFUSED: list[tuple[bytes, str, bytes, bytes]] = [
    # The first line
    (b">", USAGE_SEND, b"", b""),
    (b"> ", USAGE_SEND, b"", b""),
    (b">\n\nHello", USAGE_SEND, b"", b""),
    (b">/foo\n\nHello", USAGE_SEND, b"/foo", b""),
    (b"> /foo id more\n\nHello", USAGE_SEND, b"/foo", b"id"),
    (b"> foo id\n\nHello", "topic must begin with '/'", b"foo", b"id"),
    (b"> / id\n\n", "topic has no segment", b"/", b"id"),
    (b"> /foo//bar id\n\n", "topic has an empty segment", b"/foo//bar", b"id"),
    (b"> /foo,bar id\n\n", "topic holds a comma", b"", b"id"),
    (b"> /foo\0 id\n\n", "topic holds a control character", b"", b"id"),
    ("> /foo\u00a0bar id\n\n".encode(), "topic holds white space", "/foo\u00a0bar".encode(), b"id"),
    (b"> /foo\xff id\n\n", "topic is not valid UTF-8", b"", b"id"),
    (b"> /%b id\n\n" % (b"a" * 1024), "topic is longer than 1024 bytes", b"", b"id"),
    (b"> /foo a,b\n\n", "message id holds a comma", b"/foo", b""),
    (b"> /foo/ a\0b\n\n", "message id holds a control character", b"/foo", b""),
    (b"> /foo \xff\n\n", "message id is not valid UTF-8", b"/foo", b""),
    (b"> /foo %b\n\n" % (b"a" * 257), "message id is longer than 256 bytes", b"/foo", b""),
    (b"> /foo,bar a,b\n\n", "topic holds a comma", b"", b""),
    # Headers as lines
    (b"> /foo id\nHello", NO_HEADERS, b"/foo", b"id"),
    (b"> /foo\nHello\n\nworld", NO_HEADERS, b"/foo", b""),
    (b"> /foo\nDear Bob: hello\n\n", NO_HEADERS, b"/foo", b""),
    (b"> /foo\nnote: this is my body", NO_HEADERS, b"/foo", b""),
    (b"> /foo\nA: b\n", NO_HEADERS, b"/foo", b""),
    (b"> /foo\nA: b\nHello", NO_HEADERS, b"/foo", b""),
    (b"> /foo\nA: b\nHello\n\n", NO_HEADERS, b"/foo", b""),
    (b"> /foo\n: b\n\n", NO_HEADERS, b"/foo", b""),
    (b"> /foo\n : b\n\n", NO_HEADERS, b"/foo", b""),
    ("> /foo\nStraße: b\n\n".encode(), NO_HEADERS, b"/foo", b""),
    (b"> /foo\n\xff: b\n\n", NO_HEADERS, b"/foo", b""),
    (b"> /foo\nA: \xff\n\n", "header is not valid UTF-8", b"/foo", b""),
    (b"> /foo\nA: b\n" + b'{"C":"d"}\n\nx', NO_HEADERS, b"/foo", b""),
    (b"> /foo/\n" + b"A: b\n" * 10_000 + b"\n", "more than 100 header lines", b"/foo", b""),
    (b"> /foo\nA: %b\n\n" % (b"b" * MAX_HEADER_BYTES), LONG_HEADERS, b"/foo", b""),
    (b"> /foo\n" + b"x" * (MAX_HEADER_BYTES + 1), LONG_HEADERS, b"/foo", b""),
    # Headers as JSON
    (b'> /foo id\n{"A"\n\nx', NO_JSON, b"/foo", b"id"),
    (b"> /foo\n{\n\n", NO_JSON, b"/foo", b""),
    (b'> /foo\n{"A":\n"b"}\n\n', NO_JSON, b"/foo", b""),
    (b'> /foo\n{"A":"b"} C: d\n\n', NO_JSON, b"/foo", b""),
    (b'> /foo\n{"A":"b"}{}\n\n', NO_JSON, b"/foo", b""),
    (b'> /foo\n{"A":"\0"}\n\n', NO_JSON, b"/foo", b""),
    (b'> /foo\n{"A":NaN}\n\n', NO_JSON, b"/foo", b""),
    (b'> /foo\n{"A":-Infinity}\n\n', NO_JSON, b"/foo", b""),
    (b'> /foo\n{"A":"\xff"}\n\n', NO_JSON, b"/foo", b""),
    (b'> /foo\n{"A":"\xed\xa0\x80"}\n\n', NO_JSON, b"/foo", b""),
    (b"> /foo\n" + '{"A":"b"}'.encode("utf-16-le") + b"\n\n", NO_JSON, b"/foo", b""),
    (b"> /foo\n" + b'{"a":' * 3000 + b"\n\n", NO_JSON, b"/foo", b""),
    (b'> /foo\n{"a":%b}\n\n' % (b"1" * 10_000), NO_JSON, b"/foo", b""),
    (b"> /foo\n[1]\n\n", NO_HEADERS, b"/foo", b""),
    (b'> /foo\n["A:b"]\n\n', NO_HEADERS, b"/foo", b""),
    (b'> /foo\n"A:b"\n\n', NO_HEADERS, b"/foo", b""),
    (b"> /foo\n%b \n\nx" % FULL, LONG_HEADERS, b"/foo", b""),
]


@pytest.mark.parametrize(("payload", "text", "path", "message_id"), SENDS_REFUSED)
def test_sends_that_are_refused(payload: bytes, text: str, path: bytes, message_id: bytes) -> None:
    with pytest.raises(SendRefused) as caught:
        parse(payload)
    assert (str(caught.value), caught.value.path, caught.value.message_id) == (text, path, message_id)


USAGE_RECEIVE = "expected: + <path> [<startId> [<maxCount>]]"
USAGE_CANCEL = "expected: - <path>"
NO_START = "start id is not a whole number of at most 2^53-1: "
NO_COUNT = "maximum count is not a whole number of at most 2^53-1: "

OTHERS_REFUSED: list[tuple[bytes, str]] = [
    (b"", "empty command"),
    (b"\n", "empty command"),
    (b" \r\n\t", "empty command"),
    (b" + /foo", "a command must not begin with white space"),
    (b"\n> /foo\n\nx", "a command must not begin with white space"),
    (b"sdcsd", "unknown command 'sdcsd'"),
    (b"sdcsd /foo\n\nx", "unknown command 'sdcsd'"),
    (b"? /foo", "unknown command '?'"),
    (b"x" * 41, f"unknown command '{'x' * 40}'"),
    (b"x" * 1_000_000, f"unknown command '{'x' * 40}'"),
    (b"\0\x1b[2J", "unknown command '??[2J'"),
    (b"\xff\xfe", "unknown command '\ufffd\ufffd'"),
    ("é\u0085\u200b".encode(), "unknown command 'é??'"),
    (b'{"a":1}', "unknown command '{\"a\":1}'"),
    (b"+", USAGE_RECEIVE),
    (b"+ ", USAGE_RECEIVE),
    (b"+/foo", USAGE_RECEIVE),
    (b"++ /foo", USAGE_RECEIVE),
    (b"+\n/foo", USAGE_RECEIVE),
    (b"+ /foo 0 20 30", USAGE_RECEIVE),
    (b"+ foo", "topic must begin with '/'"),
    (b"+ /", "topic has no segment"),
    (b"+ //", "topic has an empty segment"),
    (b"+ /foo,42", "topic holds a comma"),
    (b"+ /foo\xff", "topic is not valid UTF-8"),
    (b"+ /" + b"a" * 1024, "topic is longer than 1024 bytes"),
    (b"+ /foo x", NO_START + "'x'"),
    (b"+ /foo 1.5", NO_START + "'1.5'"),
    (b"+ /foo +1", NO_START + "'+1'"),
    (b"+ /foo --1", NO_START + "'--1'"),
    (b"+ /foo -", NO_START + "'-'"),
    (b"+ /foo 1_0", NO_START + "'1_0'"),
    (b"+ /foo 0x1", NO_START + "'0x1'"),
    ("+ /foo \u0661".encode(), NO_START + "'\u0661'"),
    (b"+ /foo \0\xff", NO_START + "'?\ufffd'"),
    (b"+ /foo ,20", NO_START + "''"),
    (b"+ /foo 0 5,20", NO_START + "'0 5'"),
    (b"+ /foo 9007199254740992", NO_START + "'9007199254740992'"),
    (b"+ /foo -9007199254740992", NO_START + "'-9007199254740992'"),
    (b"+ /foo " + b"9" * 10_000, NO_START + f"'{'9' * 40}'"),
    (b"+ /foo 0,", NO_COUNT + "''"),
    (b"+ /foo 0,,20", NO_COUNT + "',20'"),
    (b"+ /foo 0 x", NO_COUNT + "'x'"),
    (b"+ /foo 0 9007199254740992", NO_COUNT + "'9007199254740992'"),
    (b"+ /foo 0 0", "maximum count must be at least 1"),
    (b"+ /foo 0,-20", "maximum count must be at least 1"),
    (b"-", USAGE_CANCEL),
    (b"-/foo", USAGE_CANCEL),
    (b"- /foo /bar", USAGE_CANCEL),
    (b"- foo", "topic must begin with '/'"),
    (b"- /", "topic has no segment"),
    (b"- /foo\0", "topic holds a control character"),
]


@pytest.mark.parametrize(("payload", "text"), OTHERS_REFUSED)
def test_what_else_is_refused(payload: bytes, text: str) -> None:
    with pytest.raises(InvalidCommand) as caught:
        parse(payload)
    assert type(caught.value) is InvalidCommand
    assert str(caught.value) == text


def test_as_many_header_lines_as_allowed() -> None:
    lines = b"".join(b"N%d: v\n" % n for n in range(MAX_HEADER_LINES))
    command = parse(b"> /foo\n%b\nbody" % lines)
    assert isinstance(command, Send)
    assert len(json.loads(command.headers)) == MAX_HEADER_LINES
    assert command.body == b"body"
    with pytest.raises(SendRefused, match="more than 100 header lines"):
        parse(b"> /foo\n%bN: v\n\nbody" % lines)


def test_header_lines_as_long_as_allowed() -> None:
    line = b"A: " + b"b" * (MAX_HEADER_BYTES - 5) + b"\n"  # with the empty line: the limit
    assert parse(b"> /foo\n%b\n" % line) == Send(b"/foo", b"", b'{"A":"%b"}' % line[3:-1])
    with pytest.raises(SendRefused, match=LONG_HEADERS):
        parse(b"> /foo\nA%b\n" % line)


_numbers = st.integers(-MAX_ID, MAX_ID)
_message_ids = fields.filter(lambda value: len(value.split()) == 1 and value.split()[0] == value) | st.just(
    b""
)
_values = st.text(st.characters(exclude_characters="\n", codec="utf-8")).map(lambda v: v.strip("\t\v\f\r "))
_names = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1)


@given(topics, _message_ids, st.binary())
def test_a_plain_send_is_read_as_it_was_written(path: bytes, message_id: bytes, body: bytes) -> None:
    assert parse(b"> %b %b\n\n%b" % (path, message_id, body)) == Send(path, message_id, b"", body)


@given(
    topics,
    st.dictionaries(_names, _values, min_size=1, max_size=20),
    st.binary(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_header_lines_are_read_as_they_were_written(
    path: bytes, headers: dict[str, str], body: bytes, end: str
) -> None:
    lines = "".join(f"{name}: {value}{end}" for name, value in headers.items()).encode()
    command = parse(b"> %b\n%b%b%b" % (path, lines, end.encode(), body))
    assert isinstance(command, Send)
    assert (command.path, json.loads(command.headers), command.body) == (path, headers, body)


@given(topics, st.dictionaries(st.text(), st.none() | st.integers() | st.text()), st.binary())
def test_a_json_header_is_kept_to_the_byte(path: bytes, headers: dict[str, object], body: bytes) -> None:
    line = json.dumps(headers, ensure_ascii=False).encode()
    assert parse(b"> %b\n%b\n\n%b" % (path, line, body)) == Send(path, b"", line, body)
    if not body.startswith((b"\n", b"\r\n")):
        assert parse(b"> %b\n%b\n%b" % (path, line, body)) == Send(path, b"", line, body)


@given(
    topics, _numbers | st.none(), st.integers(1, MAX_ID) | st.none(), st.sampled_from([b" ", b",", b" , "])
)
def test_a_receive_is_read_as_it_was_written(
    path: bytes, start: int | None, count: int | None, separator: bytes
) -> None:
    if start is None:
        assert parse(b"+ %b" % path) == Receive(path)
    elif count is None:
        assert parse(b"+ %b %d" % (path, start)) == Receive(path, start)
    else:
        assert parse(b"+ %b %d%b%d" % (path, start, separator, count)) == Receive(path, start, count)


@given(topics)
def test_a_cancel_is_read_as_it_was_written(path: bytes) -> None:
    assert parse(b"- %b" % path) == Cancel(path)


def expect_valid(command: Command) -> None:
    """What a command holds can be stored and sent as it is."""
    assert canonical(command.path) == command.path
    if isinstance(command, Receive):
        assert abs(command.start or 0) <= MAX_ID
        assert command.count is None or (command.start is not None and 1 <= command.count <= MAX_ID)
    if isinstance(command, Send):
        check_field("message id", command.message_id)
        assert b"\n" not in command.headers
        assert not command.headers or isinstance(json.loads(command.headers.decode()), dict)


def expect_presentable(error: SendRefused) -> None:
    """What a refusal repeats can stand in an answer: a topic, or a word that a field could hold."""
    check_field("message id", error.message_id)
    try:
        canonical(error.path)
    except InvalidTopic:
        check_field("path", error.path)


_pieces = st.sampled_from(
    [
        b"> ",
        b"+ ",
        b"- ",
        b"/foo",
        b" ",
        b"\n",
        b"\n\n",
        b"\r\n",
        b"A: b\n",
        b"{}",
        b'{"a":1}',
        b"0",
        b"-20",
        b",",
        b"20",
    ]
)


@given(nearly | st.lists(_pieces | nearly, max_size=8).map(b"".join))
@example(b"> /foo/\n{}\n")
@example(b"> \xc2\x85")
def test_any_bytes_are_a_valid_command_or_refused(payload: bytes) -> None:
    try:
        expect_valid(parse(payload))
    except SendRefused as error:
        assert payload.startswith(b">")
        expect_presentable(error)
    except InvalidCommand:
        assert not payload.startswith(b">")


SHAPES = {  # what comes before, again and again, and after
    "body": (b"> /foo\n\n", b"x", b""),
    "line feeds": (b"> /foo\n", b"\n", b""),
    "words of a send": (b"> ", b"/a ", b""),
    "spaces of a send": (b"> ", b" ", b""),
    "a long topic": (b"> ", b"/a", b""),
    "header lines": (b"> /foo\n", b"A: b\n", b"\n"),
    "one header line": (b"> /foo\nA:", b" ", b"\n\n"),
    "header lines without an end": (b"> /foo\n", b"A", b""),
    "carriage returns": (b"> /foo\n", b"\r", b""),
    "JSON and body": (b"> /foo\n{}\n", b"x", b""),
    "long JSON": (b"> /foo\n{", b'"a":"b",', b""),
    "nested JSON": (b"> /foo\n", b'{"a":', b""),
    "words of a receive": (b"+ /foo", b" 1", b""),
    "spaces of a receive": (b"+ /foo", b" ", b"1"),
    "commas": (b"+ /foo 0", b",", b""),
    "digits": (b"+ /foo ", b"1", b""),
    "words of a cancel": (b"- ", b"/a ", b""),
    "an unknown command": (b"", b"x", b""),
    "unknown words": (b"", b"x ", b""),
    "white space": (b"", b" ", b""),
}


@pytest.mark.parametrize(("before", "again", "after"), SHAPES.values(), ids=SHAPES.keys())
def test_time_is_linear(before: bytes, again: bytes, after: bytes) -> None:
    expect_linear(parse, lambda n: before + again * n + after)
