"""Who may connect, and what the others are told before anything is upgraded."""

from collections.abc import Iterator

import pytest

from gobbler import handler
from gobbler.errors import InvalidMessage
from gobbler.websocket.upgrade import user_of
from tests.websocket.rig import TIME, message, wait_until
from tests.websocket.served import ACCEPT, Served, request, served
from tests.websocket.wire import client as frame


@pytest.fixture
def door() -> Iterator[Served]:
    with served() as made:
        yield made


GOOD: list[tuple[str, bytes, str]] = [
    ("as in the RFC", request(), ""),
    ("without the slash", request("/stream"), ""),
    ("a user", request("/stream/user/marvin"), "marvin"),
    ("a user with a space and an umlaut", request("/stream/user/k%C3%A4the%20m"), "käthe m"),
    ("a query", request("/stream/?a=b"), ""),
    ("a browser", request(Connection="keep-alive, Upgrade", Origin="https://example.org"), ""),
    ("capitals", request(Upgrade="WebSocket", Connection="UPGRADE"), ""),
    ("small names", request().replace(b"Sec-Web", b"sec-web").replace(b"Upgrade:", b"upgrade:"), ""),
    ("an extension that is not taken", request(Sec_WebSocket_Extensions="permessage-deflate"), ""),
    ("a protocol that is not taken", request(Sec_WebSocket_Protocol="chat"), ""),
    ("a body of no bytes", request(Content_Length="0"), ""),
]  # fmt: skip


@pytest.mark.parametrize(("data", "user"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_who_may_connect(door: Served, data: bytes, user: str) -> None:
    answer, sock = door.ask(data)
    assert answer.status == 101
    assert {name.lower(): value for name, value in answer.headers.items()} == {
        "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": ACCEPT
    }  # fmt: skip
    greeting = answer.rest or sock.recv(65536)
    assert f'"UserId": "{user}", "Time": "{TIME}"'.encode() in greeting
    sock.close()


VERSION = "this server speaks version 13"
CLIENTS = "this is for WebSocket clients"
KEY = "Sec-WebSocket-Key must be 16 bytes in base64"
WHERE = "connect to /stream/ or /stream/user/<user id>"
METHOD = "a WebSocket begins with GET"
BAD: list[tuple[str, bytes, int, str]] = [
    ("no key", request(Sec_WebSocket_Key=None), 400, KEY),
    ("an empty key", request(Sec_WebSocket_Key=""), 400, KEY),
    ("a short key", request(Sec_WebSocket_Key="c2hvcnQ="), 400, KEY),
    ("a long key", request(Sec_WebSocket_Key="YSBrZXkgb2YgMjEgYnl0ZXMgLi4u"), 400, KEY),
    ("no base64", request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZ!=="), 400, KEY),
    ("version 8", request(Sec_WebSocket_Version="8"), 426, VERSION),
    ("no version", request(Sec_WebSocket_Version=None), 426, VERSION),
    ("no upgrade", request(Upgrade=None), 426, CLIENTS),
    ("another upgrade", request(Upgrade="h2c"), 426, CLIENTS),
    ("no connection", request(Connection=None), 426, CLIENTS),
    ("a connection that is kept", request(Connection="keep-alive"), 426, CLIENTS),
    ("a word that holds upgrade", request(Connection="no-upgrade"), 426, CLIENTS),
    ("HTTP/1.0", request(protocol="HTTP/1.0"), 400, "a WebSocket needs HTTP/1.1"),
    ("POST", request(method="POST"), 405, METHOD),
    ("a path below", request("/stream/foo"), 404, WHERE),
    ("no user", request("/stream/user/"), 404, WHERE),
    ("a user with a slash", request("/stream/user/a/b"), 404, WHERE),
    ("a user with an encoded slash", request("/stream/user/a%2Fb"), 404, WHERE),
    ("a user with a comma", request("/stream/user/a,b"), 400, "user id holds a comma"),
    ("a user with an encoded comma", request("/stream/user/a%2cb"), 400, "user id holds a comma"),
    ("a user with a line feed", request("/stream/user/a%0Ab"), 400, "user id holds a control character"),
    ("a user that is not UTF-8", request("/stream/user/%ff"), 400, "user id is not valid UTF-8"),
    ("a long user", request("/stream/user/" + "u" * 257), 400, "user id is longer than 256 bytes"),
    ("a body", request(Content_Length="1") + b"x", 400, "a WebSocket handshake has no body"),
]


@pytest.mark.parametrize(
    ("data", "status", "text"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_who_may_not_connect(door: Served, data: bytes, status: int, text: str) -> None:
    answer, sock = door.ask(data)
    assert (answer.status, answer.rest.decode().strip()) == (status, text)
    if status == 426:
        assert answer.headers["Upgrade"] == "websocket"
        assert answer.headers["Sec-WebSocket-Version"] == "13"
    if status == 405:
        assert answer.headers["Allow"] == "GET"
    sock.close()
    assert door.world.metric("sessions_opened_total") == 0


@pytest.mark.parametrize("target", ["/", "/streams/", "/other"])
def test_other_paths_are_none_of_its_business(door: Served, target: str) -> None:
    answer, sock = door.ask(request(target))
    assert answer.status == 404
    sock.close()


def test_websockets_that_are_turned_off() -> None:
    with served(ws=False) as door:
        answer, sock = door.ask(request())
        assert answer.status == 404
        sock.close()


def test_what_comes_with_the_handshake_is_not_lost(door: Served) -> None:
    commands = [b"> /a\n\n%d" % number for number in range(1, 501)] + [b"+ /a 0 500"]
    data = b"".join(frame(2, command) for command in commands)
    client = door.connect("/stream/user/u", data[:-3])
    client.raw(data[-3:])
    got = [client.receive() for _ in range(1 + 500 + 502)]
    assert got[0].startswith(b"#connected")
    assert all(each.startswith(b"#send") for each in got[1:501])
    app = got[0].split(b'"')[3]
    assert got[501:] == [
        b"#fetch-start /a 500",
        *(message(b"/a", number, b"%d" % number, b"u", app) for number in range(1, 501)),
        b"#fetch-done /a",
    ]


def test_a_handshake_that_takes_too_long(door: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "HEADER_SECONDS", 0.02)
    answer, sock = door.ask(request()[:-2])
    assert (answer.status, answer.headers["Connection"]) == (408, "close")
    assert sock.recv(1) == b""
    sock.close()


def test_half_a_handshake_and_then_the_end(door: Served) -> None:
    sock = door.dial()
    sock.sendall(request()[:40])
    sock.close()
    door.connect().sock.close()
    wait_until(lambda: not door.gateway._sessions)
    assert door.world.metric("sessions_opened_total") == 1


@pytest.mark.parametrize(
    ("path", "user"),
    [("/s/", ""), ("/s", ""), ("/s/user/u", "u"), ("/s/user", None), ("/s/u", None), ("/", None), ("", None)],
)
def test_users_of_paths(path: str, user: str | None) -> None:
    assert user_of(path, "/s/") == user


def test_a_prefix_that_is_the_root() -> None:
    assert user_of("/", "/") == ""
    assert user_of("/user/u", "/") == "u"
    with pytest.raises(InvalidMessage, match=r"^user id holds a comma$"):
        user_of("/user/u,v", "/")
