"""Commands: what a client writes is what the server's parser reads, and what it refuses is refused here."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.client import BadRequest, InvalidMessage, InvalidTopic, commands
from gobbler.protocol.command import MAX_HEADER_BYTES, Send, parse
from gobbler.protocol.filters import from_query
from gobbler.protocol.message import MAX_ID

unicode = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | unicode,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(unicode, values, max_size=3), st.binary(max_size=50))
def test_a_send_is_read_as_it_was_meant(headers: dict[str, Any], body: bytes) -> None:
    sent = parse(commands.send("/a/ü", "id-1", headers, body))
    assert isinstance(sent, Send)
    assert (sent.path, sent.message_id, sent.body) == ("/a/ü".encode(), b"id-1", body)
    assert (json.loads(sent.headers) if sent.headers else {}) == headers


@pytest.mark.parametrize("body", [bytearray(b"\0a"), memoryview(b"\0a")])
def test_a_body_that_is_like_bytes(body: Any) -> None:
    assert commands.encode_body(body) == b"\0a"


@pytest.mark.parametrize("body", [5, None, [1, 2]])
def test_a_body_that_is_neither_bytes_nor_text(body: Any) -> None:
    with pytest.raises(TypeError):
        commands.encode_body(body)


def test_a_body_of_text_is_utf_8() -> None:
    sent = parse(commands.send("/a/", "x", None, "größer\n\n"))
    assert sent == Send(b"/a", b"x", b"", "größer\n\n".encode())


@pytest.mark.parametrize("topic", ["", "a", "/", "/a//b", "/a,b", "/a b", "/\ud800", "/" + "x" * 1024])
def test_a_topic_that_is_not_allowed(topic: str) -> None:
    with pytest.raises(InvalidTopic):
        commands.path_of(topic)


@pytest.mark.parametrize("name", ["", " ", "a b", " a", "a\n", "a,b", "x" * 257, "\ud800"])
def test_a_message_id_that_is_not_allowed(name: str) -> None:
    with pytest.raises(InvalidMessage, match="message id"):
        commands.send("/a", name, None, b"")


@pytest.mark.parametrize(
    "headers",
    [{"a": float("nan")}, {"a": {1, 2}}, {"a": b"x"}, {"a": "x" * MAX_HEADER_BYTES}, {"a": "\ud800"}],
)
def test_headers_that_are_not_allowed(headers: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage, match="headers"):
        commands.send("/a", "x", headers, b"")


def test_a_body_that_is_no_unicode() -> None:
    with pytest.raises(InvalidMessage, match="body is not valid UTF-8"):
        commands.encode_body("\udfff")


@pytest.mark.parametrize("number", [MAX_ID + 1, -MAX_ID - 1])
def test_an_id_has_a_limit(number: int) -> None:
    assert commands.check_id(-MAX_ID) == -MAX_ID
    with pytest.raises(BadRequest, match="2\\^53"):
        commands.check_id(number)


@pytest.mark.parametrize("number", [0, -1, MAX_ID + 1])
def test_a_count_has_limits(number: int) -> None:
    assert commands.check_count(1) == 1
    with pytest.raises(BadRequest, match="count"):
        commands.check_count(number)


def test_a_topic_in_a_url() -> None:
    assert commands.url_path("/a/../b/./?&#%ü") == "/a/%2E%2E/b/%2E/%3F%26%23%25%C3%BC"


def test_filters_become_parameters_that_the_server_reads_back() -> None:
    filters = {"user_id": "a b", "device_token": "", "x": "ü"}
    assert from_query(commands.filter_parameters(filters).items()) == filters


@pytest.mark.parametrize("name", ["", "userId", "_a", "a_", "a__b", "user_2"])
def test_filters_that_have_no_parameter(name: str) -> None:
    with pytest.raises(InvalidMessage, match="lower case"):
        commands.filter_parameters({name: "x"})


def test_headers_of_http() -> None:
    assert commands.http_headers({"a-b": "ü"}) == {"X-Gobbler-a-b": "ü".encode().decode("latin-1")}


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "x"), ("a b", "x"), ("a:", "x"), ("a", "x\ny"), ("a", "\0"), ("a", 1), ("a", None), (1, "x")],
)
def test_headers_that_http_does_not_allow(name: Any, value: Any) -> None:
    with pytest.raises(InvalidMessage, match="cannot be sent over HTTP"):
        commands.http_headers({name: value})
