"""Addresses: from what a person gives."""

import base64

import pytest

from gobbler.client import BadRequest
from gobbler.client.address import parse


@pytest.mark.parametrize(
    ("url", "websocket", "rest"),
    [
        ("http://localhost:8080", "ws://localhost:8080/stream/", "http://localhost:8080"),
        ("http://localhost:8080/", "ws://localhost:8080/stream/", "http://localhost:8080"),
        ("https://example.org", "wss://example.org/stream/", "https://example.org"),
        ("ws://h", "ws://h/stream/", "http://h"),
        ("wss://h:9/bus/", "wss://h:9/bus/stream/", "https://h:9/bus"),
        ("HTTP://[::1]:8080", "ws://[::1]:8080/stream/", "http://[::1]:8080"),
    ],
)
def test_urls(url: str, websocket: str, rest: str) -> None:
    address = parse(url)
    assert (address.websocket, address.rest, address.authorization) == (websocket, rest, "")


def test_a_user_is_a_segment_of_the_url() -> None:
    assert parse("http://h", "a/b ü").websocket == "ws://h/stream/user/a%2Fb%20%C3%BC"


@pytest.mark.parametrize("prefix", ["/ws/", "ws", "/ws"])
def test_the_prefix_of_websockets_can_be_another(prefix: str) -> None:
    assert parse("http://h", "u", prefix).websocket == "ws://h/ws/user/u"


def test_credentials_become_a_header_and_are_not_shown() -> None:
    address = parse("https://ford:p%40ss%C3%A9@h/x")
    assert address.rest == "https://h/x"
    assert "ford" not in address.websocket
    assert base64.b64decode(address.authorization.removeprefix("Basic ")).decode() == "ford:p@ssé"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://h",
        "http://",
        "http://h:port",
        "http://h:0",
        "http://h/?a=b",
        "http://h/#a",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(BadRequest, match="not the address of a server"):
        parse(url)


def test_a_password_is_not_repeated_in_an_error() -> None:
    with pytest.raises(BadRequest) as refused:
        parse("http://user:secret@h:port")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("user", ["a,b", "a\nb", "x" * 257, "\ud800"])
def test_a_user_that_is_not_allowed(user: str) -> None:
    with pytest.raises(BadRequest, match="user id"):
        parse("http://h", user)
