"""Messages: golden bytes, both ways; fields and headers, and what is refused of them."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gobbler.errors import InvalidMessage
from gobbler.protocol.message import MAX_FIELD_BYTES, MAX_ID, Message, check_field, encode_headers
from tests.protocol.alphabets import fields, nearly, topics
from tests.protocol.costs import expect_linear

GOLDEN: list[tuple[Message, bytes]] = [
    (
        Message(
            b"/foo/bar",
            42,
            b"user01",
            b"phone1",
            b"id123",
            1420110000,
            b'{"Content-Type": "text/plain", "Correlation-Id": "7sdks723ksgqn"}',
            b"Hello World",
        ),
        b"/foo/bar,42,user01,phone1,id123,1420110000\n"
        b'{"Content-Type": "text/plain", "Correlation-Id": "7sdks723ksgqn"}\n'
        b"Hello World",
    ),
    (
        Message(
            b"/foo/bar", 42, b"user01", b"54sdcj8sd7", b"id123", 1420110000, body=b"any\n\n,\xff\0data\n"
        ),
        b"/foo/bar,42,user01,54sdcj8sd7,id123,1420110000\n\nany\n\n,\xff\0data\n",
    ),
    (Message(b"/foo", 0, b"", b"", b"", 0), b"/foo,0,,,,0\n\n"),
    (
        Message("/grüße".encode(), MAX_ID, "%d é".encode(), b"%b", b"", MAX_ID, b"{}"),
        "/grüße,9007199254740991,%d é,%b,,9007199254740991\n{}\n".encode(),
    ),
]

NO_SHAPE = "a message needs six fields and two line feeds"
NO_NUMBER = "a message's id and time must be whole numbers of at most 2^53-1"

REFUSED: list[tuple[bytes, str]] = [
    (b"", NO_SHAPE),
    (b"/foo,1,u,a,m,2", NO_SHAPE),
    (b"/foo,1,u,a,m,2\n", NO_SHAPE),
    (b"/foo,1,u,a,m\n\n", NO_SHAPE),
    (b"/foo,1,u,a,m,2,3\n\n", NO_SHAPE),
    (b"\n\n/foo,1,u,a,m,2", NO_SHAPE),
    (b"#connected You are connected to the server.\n{}", NO_SHAPE),
    (b"foo,1,u,a,m,2\n\n", "a message must begin with a topic"),
    (b",1,u,a,m,2\n\n", "a message must begin with a topic"),
    (b"/foo,1,u,a,m,2\nbody\n", "a message's headers must be a JSON object or empty"),
    (b"/foo,1,u,a,m,2\n[]\n", "a message's headers must be a JSON object or empty"),
    (b"/foo,,u,a,m,2\n\n", NO_NUMBER),
    (b"/foo,-1,u,a,m,2\n\n", NO_NUMBER),
    (b"/foo,+1,u,a,m,2\n\n", NO_NUMBER),
    (b"/foo, 1,u,a,m,2\n\n", NO_NUMBER),
    (b"/foo,01,u,a,m,2\n\n", NO_NUMBER),
    (b"/foo,1_0,u,a,m,2\n\n", NO_NUMBER),
    (b"/foo,1.0,u,a,m,2\n\n", NO_NUMBER),
    ("/foo,\u0661,u,a,m,2\n\n".encode(), NO_NUMBER),
    (b"/foo,9007199254740992,u,a,m,2\n\n", NO_NUMBER),
    (b"/foo,%b,u,a,m,2\n\n" % (b"9" * 10_000), NO_NUMBER),
    (b"/foo,1,u,a,m,x\n\n", NO_NUMBER),
    (b"/foo,1,u,a,m,9007199254740992\n\n", NO_NUMBER),
    (b"/foo,1,u,a,m,2\r\n\n", NO_NUMBER),
]


@pytest.mark.parametrize(("message", "payload"), GOLDEN)
def test_golden_bytes(message: Message, payload: bytes) -> None:
    assert message.encode() == payload
    assert Message.decode(payload) == message


@pytest.mark.parametrize(("payload", "text"), REFUSED)
def test_what_is_refused(payload: bytes, text: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        Message.decode(payload)
    assert str(caught.value) == text


_numbers = st.integers(0, MAX_ID)
_headers = st.dictionaries(st.text(min_size=1), st.text()).map(lambda h: encode_headers(h.items()))
_messages = st.builds(Message, topics, _numbers, fields, fields, fields, _numbers, _headers, st.binary())


@given(_messages)
def test_decode_undoes_encode(message: Message) -> None:
    assert Message.decode(message.encode()) == message


@given(
    st.lists(nearly | st.sampled_from([b"/foo", b"1", b"0", b"{}", b"\n", b"\n\n"]), max_size=8).map(
        b",".join
    )
    | _messages.map(Message.encode)
)
@example(b"/a,1,,,,1\n\n\n")
def test_what_decodes_encodes_to_the_same_bytes(payload: bytes) -> None:
    try:
        message = Message.decode(payload)
    except InvalidMessage:
        return
    assert message.encode() == payload


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        GOLDEN[0][0].id = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "value",
    [b"", b"marvin", b"two words", "grüße 日本 𝄞".encode(), b"a/b:c;{}\"'%", b"x" * MAX_FIELD_BYTES],
)
def test_fields_that_are_taken(value: bytes) -> None:
    assert check_field("user id", value) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a,b", "user id holds a comma"),
        (b",", "user id holds a comma"),
        (b"a\nb", "user id holds a control character"),
        (b"a\rb", "user id holds a control character"),
        (b"a\tb", "user id holds a control character"),
        (b"\0", "user id holds a control character"),
        (b"\x1f", "user id holds a control character"),
        (b"\x7f", "user id holds a control character"),
        ("\u0080".encode(), "user id holds a control character"),
        ("\u0085".encode(), "user id holds a control character"),
        ("\u009f".encode(), "user id holds a control character"),
        ("\u2028".encode(), "user id holds a control character"),
        ("\u2029".encode(), "user id holds a control character"),
        (b"\xff", "user id is not valid UTF-8"),
        (b"\xed\xa0\x80", "user id is not valid UTF-8"),
        (b"x" * (MAX_FIELD_BYTES + 1), "user id is longer than 256 bytes"),
        ("é".encode() * 129, "user id is longer than 256 bytes"),
        (b"\n" * 1_000_000, "user id is longer than 256 bytes"),
    ],
)
def test_fields_that_are_refused(value: bytes, text: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        check_field("user id", value)
    assert str(caught.value) == text


@given(nearly | fields)
def test_a_field_that_is_taken_fits_into_a_message(value: bytes) -> None:
    try:
        check_field("message id", value)
    except InvalidMessage:
        return
    message = Message(b"/foo", 1, b"", b"", value, 1)
    assert Message.decode(message.encode()) == message
    assert message.encode().decode().splitlines()[0] == f"/foo,1,,,{value.decode()},1"


@pytest.mark.parametrize(
    ("pairs", "encoded"),
    [
        ([], b""),
        ([("Key", "Value")], b'{"Key":"Value"}'),
        ([("B", "1"), ("A", "")], b'{"B":"1","A":""}'),
        ([("A", "1"), ("B", "2"), ("A", "3")], b'{"A":"1, 3","B":"2"}'),
        ([("A", "1"), ("a", "2")], b'{"A":"1","a":"2"}'),
        ([('"', "\\\n\0\u00e9")], b'{"\\"":"\\\\\\n\\u0000\xc3\xa9"}'),
        ([("A", "x\ud800y")], b'{"A":"x?y"}'),
    ],
)
def test_headers(pairs: list[tuple[str, str]], encoded: bytes) -> None:
    assert encode_headers(pairs) == encoded


def test_a_header_needs_a_name() -> None:
    with pytest.raises(InvalidMessage) as caught:
        encode_headers([("A", "1"), ("", "2")])
    assert str(caught.value) == "a header has no name"


@given(st.lists(st.tuples(st.sampled_from("ABC") | st.text(min_size=1), st.text())))
def test_headers_are_one_line_of_json(pairs: list[tuple[str, str]]) -> None:
    encoded = encode_headers(pairs)
    expected = {name: ", ".join(v for n, v in pairs if n == name) for name, _ in pairs}
    assert b"\n" not in encoded
    assert b"\0" not in encoded
    assert (json.loads(encoded) if encoded else {}) == expected


@pytest.mark.parametrize("unit", [b",", b"\n", b"1", b"/foo,1,u,a,m,2\n\n", b"{", b"\xff"])
def test_time_is_linear(unit: bytes) -> None:
    expect_linear(Message.decode, lambda size: b"/foo," + unit * size)
    expect_linear(Message.decode, lambda size: b"/foo,1,u,a,m,2\n" + unit * size)


def test_repeated_headers_take_linear_time() -> None:
    def encode(values: bytes) -> bytes:
        return encode_headers(("A", chr(value)) for value in values)

    expect_linear(encode, lambda size: b"x" * size)
