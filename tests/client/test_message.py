"""What a client is given: decoded from what the server encodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.client import BadAnswer, Gap, Message, Receipt
from gobbler.protocol import notification
from gobbler.protocol.message import Message as Wire
from tests.protocol.alphabets import fields, topics

ids = st.integers(0, 2**53 - 1)


@given(topics, ids, fields, fields, ids, st.binary())
def test_messages(topic: bytes, id: int, user: bytes, name: bytes, time: int, body: bytes) -> None:
    message = Message.decode(Wire(topic, id, user, b"app", name, time, b'{"a":1}', body).encode())
    assert (message.topic, message.id, message.time) == (topic.decode(), id, time)
    assert (message.user_id, message.application_id) == (user.decode(), "app")
    assert (message.message_id, message.body) == (name.decode(), body)
    assert message.headers == {"a": 1}


def test_a_message_without_headers() -> None:
    message = Message.decode(b"/a,1,,,,2\n\n\xff\n")
    assert message.headers == {}
    assert message.text == "\ufffd\n"


def test_a_message_shows_the_begin_of_its_body() -> None:
    assert repr(Message.decode(b"/a,1,,,,2\n\nhello")) == "<Message /a 1 b'hello'>"
    assert len(repr(Message.decode(b"/a,1,,,,2\n\n" + b"x" * 1000))) < 80


@pytest.mark.parametrize(
    "payload", [b"", b"/a,1,,,,2", b"/a,1,,,,2\n", b"/a,1,,,2\n\n", b"/a,x,,,,2\n\n", b"\xff,1,,,,2\n\n"]
)
def test_what_is_no_message(payload: bytes) -> None:
    with pytest.raises(BadAnswer):
        Message.decode(payload)


def test_receipts() -> None:
    answer = notification.send_ok('ü"'.encode(), b"/a", 7, 9)
    assert Receipt.decode(answer.partition(b"\n")[2]) == Receipt(7, "/a", 'ü"', 9)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"sequenceId": "", "path": "", "publisherMessageId": "", "messagePublishingTime": "1"}',
    ],
)
def test_what_is_no_receipt(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        Receipt.decode(raw)


def test_a_gap_stands_where_it_ends() -> None:
    assert Gap("/a", 3, 7).id == 7
