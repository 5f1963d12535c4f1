"""Over real sockets: what was written and what was not, who is trusted, which connections are used again."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from gobbler.connectors.sms import transport as module
from gobbler.connectors.sms.answer import Reply
from gobbler.connectors.sms.transport import Failure, Timeouts, Transport
from gobbler.errors import ConfigError
from tests.connectors.sms.sending import KEY, PATIENT, SECRET, SOON, received, statistics
from tests.ports import refusing_port
from tests.providers.process import Provider

BROKEN = Failure(True, "the connection broke before the whole answer was there")
LATE = Failure(True, "there was no whole answer in time")
TOO_LATE = Failure(False, "no connection in time")


def form(to: str) -> bytes:
    fields = {"api_key": KEY, "api_secret": SECRET, "to": to, "from": "G", "text": "hello"}
    return urlencode(fields).encode()


def transport_to(url: str, ca_file: Path | None = None, timeouts: Timeouts = PATIENT) -> Transport:
    return Transport(url, ca_file, 2, timeouts)


@pytest.fixture
def timeouts() -> Timeouts:
    """Those of `transport`; a test may have others by its parameters."""
    return PATIENT


@pytest.fixture
def transport(fake: Provider, timeouts: Timeouts) -> Iterator[Transport]:
    made = transport_to(f"{fake.url}/sms/json", fake.authority.file, timeouts)
    yield made
    made.close()


class Peer:
    """Listens, and answers each connection in turn with what it is told to; None answers nothing."""

    def __init__(self, *answers: bytes | None, reads: bool = True) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answers = answers
        self._reads = reads
        self._kept: list[socket.socket] = []
        self._closed = threading.Semaphore(0)
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.port = int(self._listener.getsockname()[1])

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for connection in (*self._kept, self._listener):
            connection.close()

    def hung_up(self) -> None:
        """Wait until it has closed one more connection; over loopback, that is known at once."""
        assert self._closed.acquire(timeout=10)

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._reads:
                self.requests.append(connection.recv(65536))
            if answer is None:
                self._kept.append(connection)
            else:
                connection.sendall(answer)
                connection.close()
                self._closed.release()


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    """Peers to be closed in the end."""
    made: list[Peer] = []
    yield made
    for peer in made:
        peer.close()


def test_an_answer(transport: Transport) -> None:
    reply = transport.post(form("447700900010"))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.retry_after) == (200, "")
    assert b'"status": "0"' in reply.body


def test_an_error_is_not_read(transport: Transport) -> None:
    assert transport.post(form("9902429")) == Reply(429, b"", "7")
    assert transport.post(form("9902302")) == Reply(302, b"", "")


# Nothing was written


def test_nobody_listens() -> None:
    with refusing_port() as port:
        for scheme in ("http", "https"):
            assert transport_to(f"{scheme}://127.0.0.1:{port}").post(b"x") == Failure(
                False, "Connection refused"
            )


def test_a_name_that_nobody_can_have() -> None:
    assert transport_to(f"https://{'a' * 64}.example").post(b"x") == Failure(False, "no connection")


def test_a_handshake_that_does_not_come_about(peers: list[Peer]) -> None:
    """For requests, this is a ReadTimeout."""
    peers.append(Peer(None))
    url = f"https://127.0.0.1:{peers[0].port}"
    assert transport_to(url, timeouts=PATIENT._replace(connect=0.5)).post(b"x") == TOO_LATE


def test_a_handshake_that_is_broken_off(peers: list[Peer]) -> None:
    """For requests, this is what a broken answer is as well."""
    peers += [Peer(b""), Peer(b"", reads=False), Peer(b"HTTP/1.1 400 What?\r\n\r\n")]
    for peer in peers:
        failure = transport_to(f"https://127.0.0.1:{peer.port}").post(b"x")
        assert isinstance(failure, Failure)
        assert not failure.written


def test_a_certificate_of_somebody_else(fake: Provider) -> None:
    """Only the certificates of the file are trusted, and without one only the public ones."""
    failure = transport_to(f"{fake.url}/sms/json").post(form("447700900011"))
    assert failure == Failure(
        False, "the provider's certificate is not trusted: unable to get local issuer certificate"
    )
    assert received(fake, "447700900011") == []


def test_a_certificate_for_another_name(fake: Provider) -> None:
    other = transport_to(f"https://127.1:{fake.port}/sms/json", fake.authority.file)
    failure = other.post(form("447700900012"))
    assert isinstance(failure, Failure)
    assert not failure.written
    assert "Hostname mismatch" in failure.text
    assert received(fake, "447700900012") == []


# It was written


@pytest.mark.parametrize(
    ("to", "failure", "timeouts"),
    [
        ("99030", LATE, SOON),
        ("99031", BROKEN, PATIENT),
        ("99032", BROKEN, PATIENT),
        ("99033", BROKEN, PATIENT),
        ("99034", BROKEN, PATIENT),
        ("99035", LATE, SOON),
        ("99045", BROKEN, PATIENT),
    ],
)
def test_what_may_have_been_carried_out(transport: Transport, to: str, failure: Failure) -> None:
    assert transport.post(form(f"{to}00")) == failure


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
    ],
)
def test_answers_that_are_broken(peers: list[Peer], answer: bytes) -> None:
    peers.append(Peer(answer))
    assert transport_to(f"http://127.0.0.1:{peers[0].port}").post(b"a=b") == BROKEN
    assert peers[0].requests[0].startswith(b"POST / HTTP/1.1\r\n")


def test_a_long_answer_is_not_read_to_its_end(transport: Transport) -> None:
    reply = transport.post(form("9904600"))
    assert isinstance(reply, Reply)
    assert len(reply.body) == module.ANSWER_BYTES + 1


# Connections


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_a_connection_that_was_closed_is_not_used_again(peers: list[Peer]) -> None:
    """The server says nothing of it in its answer, as one that has grown tired of an idle connection."""
    peers.append(Peer(OK, OK))
    transport = transport_to(f"http://127.0.0.1:{peers[0].port}")
    assert transport.post(b"x") == Reply(200, b"{}")
    peers[0].hung_up()
    assert transport.post(b"x") == Reply(200, b"{}")
    transport.close()


def test_a_connection_is_used_again(
    fake: Provider, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 60.0)  # however slow the machine is
    before = statistics(fake)["connections"]
    for _ in range(5):
        transport.post(form("447700900013"))
    assert statistics(fake)["connections"] - before == 2  # one of them is that of asking


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    fake: Provider, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    before = statistics(fake)["connections"]
    for _ in range(5):
        transport.post(form("447700900014"))
    assert statistics(fake)["connections"] - before == 6


def test_what_is_sent(peers: list[Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment is used, and no cookie is kept."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    peers.append(Peer(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n"), OK))
    transport = transport_to(f"http://127.0.0.1:{peers[0].port}/path")
    transport.post(b"a=b")
    peers[0].hung_up()  # or the next is written into a connection that ends
    transport.post(b"a=c")
    transport.close()
    assert [sorted(request.split(b"\r\n")[:-2]) for request in peers[0].requests] == [
        [
            b"Accept-Encoding: identity",
            b"Accept: application/json",
            b"Content-Length: 3",
            b"Content-Type: application/x-www-form-urlencoded",
            b"Host: 127.0.0.1:%d" % peers[0].port,
            b"POST /path HTTP/1.1",
            b"User-Agent: Gobbler",
        ]
    ] * 2


# Options


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    empty, missing = tmp_path / "empty", tmp_path / "missing"
    empty.write_text("nothing")
    problems = {
        missing: "No such file or directory",
        empty: "it holds no certificates",
        tmp_path: "Is a directory",
    }
    for file, problem in problems.items():
        with pytest.raises(ConfigError) as caught:
            transport_to("https://127.0.0.1", file)
        assert str(caught.value) == f"--sms-ca-file: '{file}' cannot be used: {problem}"


def test_an_address_that_cannot_be_used() -> None:
    with pytest.raises(ConfigError, match="--sms-endpoint: is not an address that can be used"):
        transport_to("https://*.example")
