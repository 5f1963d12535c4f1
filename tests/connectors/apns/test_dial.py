"""Connecting: addresses, trust, HTTP/2, and what takes too long; over real TLS."""

import socket as plain_socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import gevent
import gevent.ssl
import pytest
from gevent import socket

from gobbler.connectors.apns.connection import Connection, Timing
from gobbler.connectors.apns.dial import Peer, address_of, client_context, dial
from gobbler.connectors.apns.line import Dialled
from gobbler.connectors.outcome import Outage, Pause
from gobbler.errors import ConfigError
from tests.connectors.apns.conftest import NewFake
from tests.connectors.apns.fake import FakeApns
from tests.ports import refusing_port
from tests.providers.certificates import Authority

SOON = Timing(connect=0.2)


@pytest.fixture
def dialled() -> Iterator[list[Connection]]:
    made: list[Connection] = []
    yield made
    for connection in made:
        connection.end(Outage("stopped"))


def to(fake: FakeApns, context: ssl.SSLContext, host: str = "127.0.0.1") -> Dialled:
    return dial(Peer(host, fake.port, context, cautious=True), Timing())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_connection_is_http2_over_tls(fake: FakeApns, dialled: list[Connection], host: str) -> None:
    found = to(fake, client_context(fake.authority.file), host)
    assert isinstance(found, Connection)
    dialled.append(found)
    assert found.accepting
    assert isinstance(found._sock, gevent.ssl.SSLSocket)
    assert found._sock.selected_alpn_protocol() == "h2"
    assert found._sock.version() in {"TLSv1.2", "TLSv1.3"}
    assert found._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_tls_1_2_is_good_enough(new_fake: NewFake, dialled: list[Connection]) -> None:
    fake = new_fake("--tls12")
    found = to(fake, client_context(fake.authority.file))
    assert isinstance(found, Connection)
    dialled.append(found)
    assert found._sock.version() == "TLSv1.2"


def test_nothing_older_is() -> None:
    context = client_context(None)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_an_authority_that_is_not_trusted(fake: FakeApns, tmp_path: Path) -> None:
    found = to(fake, client_context(Authority(tmp_path).file))
    assert isinstance(found, Pause)
    assert (found.reason, found.alert) == ("untrusted-certificate", True)
    assert found.text.endswith("check --apns-ca-file")
    assert isinstance(to(fake, client_context(None)), Pause)


def test_a_certificate_for_another_name(fake: FakeApns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *more: [(2, 1, 6, "", ("127.0.0.1", fake.port))])
    found = to(fake, client_context(fake.authority.file), "api.push.apple.com")
    assert isinstance(found, Pause)
    assert "api.push.apple.com" in found.text


def test_a_server_without_http2(new_fake: NewFake) -> None:
    fake = new_fake("--no-http2")
    where = f"127.0.0.1:{fake.port}"
    assert to(fake, client_context(fake.authority.file)) == Pause(
        "no-http2", f"{where} does not speak HTTP/2: check --apns-endpoint"
    )


def test_nobody_there(fake: FakeApns) -> None:
    with refusing_port() as port:
        peer = Peer("127.0.0.1", port, client_context(fake.authority.file), cautious=True)
        assert dial(peer, Timing()) == Outage("unreachable", "Connection refused")


def test_a_name_that_is_none(fake: FakeApns, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*more: object) -> None:
        raise plain_socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert to(fake, client_context(None), "nowhere.invalid") == Outage(
        "unreachable", "Name or service not known"
    )


def test_what_takes_too_long() -> None:
    """Of all that belongs to connecting: here nobody says anything after TCP."""
    with plain_socket.create_server(("127.0.0.1", 0)) as silent:
        peer = Peer("127.0.0.1", silent.getsockname()[1], client_context(None), cautious=True)
        assert dial(peer, SOON) == Outage("unreachable", "it takes too long")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    yield sock
    sock.close()


def test_a_server_that_speaks_no_tls(listening: socket.socket) -> None:
    def speak() -> None:
        accepted, _ = listening.accept()
        accepted.sendall(b"220 hello\r\n")
        accepted.recv(1000)
        accepted.close()

    speaker = gevent.spawn(speak)
    peer = Peer("127.0.0.1", listening.getsockname()[1], client_context(None), cautious=True)
    assert dial(peer, Timing()) == Outage("unreachable", "TLS failed: WRONG_VERSION_NUMBER")
    speaker.get(timeout=10)


def test_a_server_that_sends_no_settings(listening: socket.socket, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.pair())
    context.set_alpn_protocols(["h2"])

    def serve() -> None:
        accepted = context.wrap_socket(listening.accept()[0], server_side=True)
        while accepted.recv(1000):
            pass
        accepted.close()

    server = gevent.spawn(serve)
    peer = Peer("127.0.0.1", listening.getsockname()[1], client_context(authority.file), cautious=True)
    # TLS has to be up by then, and both sides of it share this thread.
    assert dial(peer, Timing(connect=2.0)) == Outage("unreachable", "it takes too long")
    server.get(timeout=10)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("https://api.push.apple.com", ("api.push.apple.com", 443)),
        ("https://127.0.0.1:2197/", ("127.0.0.1", 2197)),
        ("https://[::1]:2197", ("::1", 2197)),
    ],
)
def test_addresses(endpoint: str, address: tuple[str, int]) -> None:
    assert address_of(endpoint) == address


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1",
        "https://",
        "https://host/3/device",
        "https://host?a=b",
        "host:443",
        "https://host:x",
        "https://host:99999",
        "https://user:secret@host",
        "https://host#a",
        "",
    ],
)
def test_what_is_no_address(endpoint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        address_of(endpoint)
    assert str(caught.value) == "APNs endpoint: it must be https://host or https://host:port"


def test_a_ca_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        client_context(tmp_path / "missing")
    assert str(caught.value) == f"APNs CA file {tmp_path}/missing: No such file or directory"
    (tmp_path / "empty").write_bytes(b"no certificates")
    with pytest.raises(ConfigError) as caught:
        client_context(tmp_path / "empty")
    assert str(caught.value) == f"APNs CA file {tmp_path}/empty: it holds no certificates"
