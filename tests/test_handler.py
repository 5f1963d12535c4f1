"""One HTTP connection and its limits, in this process, on a listener of its own."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, cast

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from gobbler import handler
from gobbler.app import App
from gobbler.kinds import Address
from gobbler.listener import Listener

MIB = 1 << 20


class Fake:
    """An application that reads no body, waits where it is told to, and answers 200."""

    def __init__(self) -> None:
        self.entered = Event()
        self.go_on = Event()
        self.go_on.set()

    def pre_start_hook(self, handler: object) -> bool:
        return True

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.entered.set()
        self.go_on.wait(20)
        if environ["PATH_INFO"] == "/broken":
            raise ValueError("a bug")
        start_response("200 OK", [])
        return [b"fine"]


@pytest.fixture
def app() -> Fake:
    return Fake()


@pytest.fixture
def listener(app: Fake) -> Iterator[Listener]:
    made = Listener(cast(App, app), Address("127.0.0.1", 0))
    made.start()
    yield made
    made.stop(1)


def connect(listener: Listener) -> Any:
    return socket.create_connection(("127.0.0.1", listener.port), timeout=20)


def rest(connection: Any) -> bytes:
    """Return everything until the end."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


POST = b"POST / HTTP/1.1\r\nHost: h\r\n"


def test_a_slow_head_is_given_up(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "HEADER_SECONDS", 0.05)
    with connect(listener) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: ")
        with gevent.Timeout(10):
            assert client.recv(65536) == (
                b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            assert client.recv(1) == b""


def test_an_idle_connection_is_ended_in_silence(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "IDLE_SECONDS", 0.05)
    with connect(listener) as client:
        client.sendall(POST + b"\r\n")
        begun = time.monotonic()
        assert rest(client).endswith(b"\r\n\r\nfine")
        assert time.monotonic() - begun < 10


def test_a_body_that_nobody_read_is_discarded(listener: Listener, app: Fake) -> None:
    with connect(listener) as client:
        for _ in range(2):
            client.sendall(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        client.sendall(POST + b"Connection: close\r\n\r\n")
        assert rest(client).count(b"\r\n\r\nfine") == 4


@pytest.mark.parametrize(
    "head", [b"Content-Length: 100\r\n\r\nGET / HT", b"Transfer-Encoding: chunked\r\n\r\n9\r\nGET / HT"]
)
def test_a_body_that_does_not_come_ends_the_connection(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    """What has come of it must not be taken for the next request."""
    monkeypatch.setattr(handler, "DISCARD_SECONDS", 0.05)
    with connect(listener) as client:
        client.sendall(POST + head)
        assert rest(client).count(b"HTTP/1.1 ") == 1


def test_a_body_without_an_end_is_not_read_for_ever(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "DISCARD_BYTES", MIB)
    with connect(listener) as client:
        client.sendall(POST + b"Content-Length: 99999999999\r\n\r\n")
        sent = 0
        with suppress(ConnectionError):
            while sent < 64 * MIB:
                sent += client.send(b"x" * 65536)
        assert sent < 64 * MIB


def test_a_client_that_waits_for_100_continue_is_not_waited_for(listener: Listener, app: Fake) -> None:
    with connect(listener) as client:
        begun = time.monotonic()
        client.sendall(POST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        reply = rest(client)
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert time.monotonic() - begun < handler.DISCARD_SECONDS


def test_a_bug_is_logged_and_answered(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    with connect(listener) as client:
        client.sendall(b"GET /broken HTTP/1.0\r\n\r\n")
        assert rest(client).startswith(b"HTTP/1.1 500 ")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "a request failed")
    assert record.exc_info


def test_a_bad_request_is_no_error_of_ours(
    listener: Listener, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for nonsense in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n"):
        with connect(listener) as client:
            client.sendall(nonsense)
            assert rest(client).startswith(b"HTTP/1.1 4")
    assert [record for record in caplog.records if record.levelname != "INFO"] == []
    assert capfd.readouterr() == ("", "")


def test_stopping_waits_for_who_is_served(listener: Listener, app: Fake) -> None:
    with connect(listener) as busy, connect(listener) as idle:
        idle.sendall(POST + b"\r\n")
        assert idle.recv(65536)
        app.go_on.clear()
        app.entered.clear()
        busy.sendall(POST + b"\r\n" + POST + b"\r\n")
        app.entered.wait(20)
        stopping = gevent.spawn(listener.stop, 20)
        gevent.sleep(0)
        assert not stopping.ready()
        app.go_on.set()
        stopping.get(timeout=10)
        reply = rest(busy)
        assert reply.count(b"\r\n\r\nfine") == 1, "a request that was not begun is not answered"
        assert b"\r\nConnection: close\r\n" in reply
        rest(idle)


@pytest.mark.parametrize("sent", [b"\r\n", b"Content-Length: 5\r\n\r\nhe"], ids=["whole", "without its body"])
def test_stopping_ends_who_takes_too_long(
    listener: Listener, app: Fake, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(handler, "DISCARD_SECONDS", 20.0)
    app.go_on.clear()
    with connect(listener) as busy:
        busy.sendall(POST + sent)
        app.entered.wait(20)
        begun = time.monotonic()
        listener.stop(0.1)
        assert time.monotonic() - begun < 5
        assert b"fine" not in rest(busy)
