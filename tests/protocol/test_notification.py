"""Notifications: golden bytes of every kind, and reading them again."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gobbler.errors import InvalidCommand
from gobbler.protocol import notification
from gobbler.protocol.message import MAX_ID
from gobbler.protocol.notification import Notification, parse, send_error, send_ok, send_ok_template
from tests.protocol.alphabets import fields, nearly, topics
from tests.protocol.costs import expect_linear

TIME = 1420110000
CONNECTED_JSON = b'{"ApplicationId": "phone1", "UserId": "user01", "Time": "1420110000"}'
SENT_JSON = (
    b'{"sequenceId": "42", "path": "/foo", '
    b'"publisherMessageId": "id123", "messagePublishingTime": "1420110000"}'
)
NOT_SENT_JSON = SENT_JSON.replace(b'"42"', b'""')

# The bytes, and what a client reads in them.
GOLDEN: list[tuple[bytes, bytes, Notification]] = [
    (
        notification.connected(b"phone1", b"user01", TIME),
        b"#connected You are connected to the server.\n" + CONNECTED_JSON,
        Notification("connected", False, b"You are connected to the server.", CONNECTED_JSON),
    ),
    (
        send_ok(b"id123", b"/foo", 42, TIME),
        b"#send id123\n" + SENT_JSON,
        Notification("send", False, b"id123", SENT_JSON),
    ),
    (
        send_ok(b"", b"/foo", 42, TIME),
        b"#send \n" + SENT_JSON.replace(b"id123", b""),
        Notification("send", False, b"", SENT_JSON.replace(b"id123", b"")),
    ),
    (
        send_error(b"id123", b"/foo", "it\nis\x00 \u0085full\u2028\u2029", TIME),
        b"!error-send id123 it is   full  \n" + NOT_SENT_JSON,
        Notification("error-send", True, b"id123 it is   full  ", NOT_SENT_JSON),
    ),
    (
        notification.fetch_start(b"/foo", 20),
        b"#fetch-start /foo 20",
        Notification("fetch-start", False, b"/foo 20"),
    ),
    (notification.fetch_done(b"/foo"), b"#fetch-done /foo", Notification("fetch-done", False, b"/foo")),
    (
        notification.subscribed_to(b"/foo"),
        b"#subscribed-to /foo",
        Notification("subscribed-to", False, b"/foo"),
    ),
    (notification.canceled(b"/foo/bar"), b"#canceled /foo/bar", Notification("canceled", False, b"/foo/bar")),
    (
        notification.error_bad_request("unknown command 'sdcsd'"),
        b"!error-bad-request unknown command 'sdcsd'",
        Notification("error-bad-request", True, b"unknown command 'sdcsd'"),
    ),
    (
        notification.error_server_internal("this computing node has problems"),
        b"!error-server-internal this computing node has problems",
        Notification("error-server-internal", True, b"this computing node has problems"),
    ),
    (
        notification.error_subscribed_to(b"/foo", "größer\r\nals \ud800"),
        "!error-subscribed-to /foo größer  als ?".encode(),
        Notification("error-subscribed-to", True, "/foo größer  als ?".encode()),
    ),
    (
        notification.error_gap(b"/foo", 3, 17),
        b"!error-gap /foo 3 17",
        Notification("error-gap", True, b"/foo 3 17"),
    ),
]


@pytest.mark.parametrize(("built", "payload", "read"), GOLDEN)
def test_golden_bytes(built: bytes, payload: bytes, read: Notification) -> None:
    assert built == payload
    assert parse(payload) == read


def test_json_is_escaped_where_it_must_be_and_nowhere_else() -> None:
    assert send_ok(b'a"\\', "/é%".encode(), 1, 2) == (
        '#send a"\\\n{"sequenceId": "1", "path": "/é%", '
        '"publisherMessageId": "a\\"\\\\", "messagePublishingTime": "2"}'.encode()
    )
    assert notification.connected("é".encode(), b'"', 1).endswith(
        '\n{"ApplicationId": "é", "UserId": "\\"", "Time": "1"}'.encode()
    )


_numbers = st.integers(0, MAX_ID)


@given(topics, fields, _numbers, _numbers)
@example(b"/foo", b'{"sequenceId": "0"', 1, 2)
@example(b"/%d", b"%d%%s", 1, 2)
@example(b"/foo", b'"0"}', 1, 2)
def test_the_template_makes_the_same_bytes(path: bytes, message_id: bytes, id: int, time: int) -> None:
    assert send_ok_template(path, message_id) % (id, time) == send_ok(message_id, path, id, time)


@given(topics, fields, _numbers, _numbers)
def test_what_is_acknowledged_can_be_read(path: bytes, message_id: bytes, id: int, time: int) -> None:
    read = parse(send_ok(message_id, path, id, time))
    assert (read.kind, read.error, read.text) == ("send", False, message_id)
    assert json.loads(read.json) == {
        "sequenceId": str(id),
        "path": path.decode(),
        "publisherMessageId": message_id.decode(),
        "messagePublishingTime": str(time),
    }


@given(topics | st.just(b""), fields, st.text(), _numbers)
def test_a_refusal_can_be_read_whatever_its_text(
    path: bytes, message_id: bytes, text: str, time: int
) -> None:
    read = parse(send_error(message_id, path, text, time))
    assert (read.kind, read.error) == ("error-send", True)
    assert read.text.startswith(message_id + b" ")
    assert len(read.text.decode()) == len(message_id.decode()) + 1 + len(text)
    assert json.loads(read.json)["sequenceId"] == ""
    assert json.loads(read.json)["path"] == path.decode()


@given(st.text() | nearly.map(lambda raw: raw.decode(errors="replace")))
def test_a_text_stays_on_its_line(text: str) -> None:
    payload = notification.error_bad_request(text)
    assert len((payload + b".").decode().splitlines()) == 1
    assert parse(payload).json == b""


@given(fields, fields, _numbers)
def test_a_greeting_can_be_read(application_id: bytes, user_id: bytes, time: int) -> None:
    assert json.loads(parse(notification.connected(application_id, user_id, time)).json) == {
        "ApplicationId": application_id.decode(),
        "UserId": user_id.decode(),
        "Time": str(time),
    }


@pytest.mark.parametrize(
    ("payload", "read"),
    [
        (b"#send", Notification("send", False, b"")),
        (b"#send\n{}", Notification("send", False, b"", b"{}")),
        (b"!new-kind  two  words\n\nx\n", Notification("new-kind", True, b" two  words", b"\nx\n")),
    ],
)
def test_what_other_servers_send(payload: bytes, read: Notification) -> None:
    assert parse(payload) == read


@pytest.mark.parametrize(
    "payload",
    [b"", b"#", b"!", b"# text", b"!\nx", b"/foo,1,,,,1\n\nbody", b"connected", b" #send", b"#\xc3\xa9 x"],
)
def test_what_is_no_notification(payload: bytes) -> None:
    with pytest.raises(InvalidCommand) as caught:
        parse(payload)
    assert str(caught.value) == "not a notification"


@given(nearly | nearly.map(lambda raw: b"#" + raw) | nearly.map(lambda raw: b"!send " + raw))
def test_any_bytes_are_read_whole_or_refused(payload: bytes) -> None:
    try:
        read = parse(payload)
    except InvalidCommand:
        return
    line, feed, rest = payload.partition(b"\n")
    assert read.json == rest
    sign = b"!" if read.error else b"#"
    assert b"%b%b %b%b" % (sign, read.kind.encode(), read.text, feed) in (line + feed, line + b" " + feed)


@pytest.mark.parametrize("unit", [b"x", b" ", b"\n", b"{", b"\xff"])
def test_time_is_linear(unit: bytes) -> None:
    expect_linear(parse, lambda size: b"#" + unit * size)
    expect_linear(parse, lambda size: b"#send " + unit * size)
