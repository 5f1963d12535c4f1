"""Opening: handshakes, refusals, proxies, TLS, and servers that say nothing."""

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gobbler.client import Client, NotConnected, Receipt, Refused, Rest
from gobbler.client.opening import open_socket, proxy_of, proxy_parts
from gobbler.protocol import notification
from gobbler.websocket.frames import encode
from tests.client.scripted import Background, Scripted
from tests.providers.certificates import Authority

SECONDS = 20.0


def ws(url: str) -> str:
    return url.replace("http", "ws", 1) + "/stream/"


def opened(url: str, timeout: float = SECONDS, tls: ssl.SSLContext | None = None) -> bytes:
    """Open and close; return what came behind the handshake."""
    sock, data = open_socket(url, {"X-Token": "secret"}, tls, timeout)
    sock.close()
    return data


def test_a_real_server(url: str) -> None:
    sock, data = open_socket(ws(url), {}, None, SECONDS)
    sock.settimeout(SECONDS)
    while b'"ApplicationId"' not in data:
        data += sock.recv(65536)
    assert data[2:].startswith(b"#connected ") or data[4:].startswith(b"#connected ")
    sock.close()


def test_headers_are_sent_and_what_comes_behind_the_handshake_is_kept(scripted: Scripted) -> None:
    opening = Background(opened, ws(scripted.url))
    peer = scripted.accept(more=encode(b"early"))
    assert opening.result() == encode(b"early")
    assert b"\r\nX-Token: secret\r\n" in peer.head


def test_no_credentials_are_logged(scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        opening = Background(opened, ws(scripted.url))
        scripted.accept()
        opening.result()
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nwho goes?", 401, "who goes?"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 503, "Service Unavailable"),
        (b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n", 302, "Found"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end"),
    ],
)
def test_a_refusal(scripted: Scripted, answer: bytes, status: int, reason: str) -> None:
    opening = Background(opened, ws(scripted.url))
    with scripted.connection() as sock:
        sock.recv(65536)
        # Cut, as a network may do it.
        sock.sendall(answer[:30])
        sock.sendall(answer[30:])
    with pytest.raises(Refused) as refused:
        opening.result()
    assert (refused.value.status, refused.value.reason) == (status, reason)


def test_a_real_refusal(url: str) -> None:
    with pytest.raises(Refused) as refused:
        opened(ws(url) + "nobody/knows")
    assert refused.value.status == 404


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"x" * 200_000]
)
def test_who_does_not_speak_websocket(scripted: Scripted, answer: bytes) -> None:
    opening = Background(opened, ws(scripted.url))
    with scripted.connection() as sock:
        sock.recv(65536)
        with contextlib.suppress(OSError):  # it need not read to the end
            sock.sendall(answer)
            sock.shutdown(socket.SHUT_WR)
        with pytest.raises(NotConnected, match=r"does not speak WebSocket|cannot connect"):
            opening.result()


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NotConnected, match=rf"cannot connect to ws://127.0.0.1:{port}/.*refused"):
        opened(f"ws://127.0.0.1:{port}/")


def test_a_host_that_has_no_address() -> None:
    with pytest.raises(NotConnected, match=r"cannot connect to ws://nowhere\.invalid/"):
        opened("ws://nowhere.invalid/")


def test_a_server_that_says_nothing(scripted: Scripted) -> None:
    with pytest.raises(NotConnected, match=r"no answer within 0\.05 s"):
        opened(ws(scripted.url), timeout=0.05)


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path)

    @pytest.fixture
    def secure(self, authority: Authority) -> Iterator[Scripted]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*authority.pair())
        with Scripted(context) as running:
            yield running

    def test_a_certificate_that_is_trusted(self, secure: Scripted, authority: Authority) -> None:
        context = ssl.create_default_context(cafile=str(authority.file))
        opening = Background(opened, ws(secure.url), SECONDS, context)
        secure.accept(more=b"early")
        assert opening.result() == b"early"

    def test_a_whole_client(self, secure: Scripted, authority: Authority) -> None:
        context = ssl.create_default_context(cafile=str(authority.file))
        client = Client(secure.url, tls=context)
        publishing = Background(lambda: client.publish("/a", "x" * 100_000, message_id="m"))
        peer = secure.greeted()
        peer.hear(b"> /a m\n\n" + b"x" * 100_000)
        peer.say(notification.send_ok(b"m", b"/a", 7, 1))
        receipt = publishing.result()
        assert isinstance(receipt, Receipt)
        assert receipt.id == 7
        client.close(0)

    def test_a_certificate_that_is_not(self, secure: Scripted) -> None:
        opening = Background(opened, ws(secure.url))
        with pytest.raises(ssl.SSLError):
            secure.accept()
        with pytest.raises(NotConnected, match="CERTIFICATE_VERIFY_FAILED"):
            opening.result()


class HttpProxy:
    """Connects whoever asks (RFC 9110, section 9.3.6), and writes down how they asked."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> None:
        self.asked = b""
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(SECONDS)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "HttpProxy":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
        self._thread.join(SECONDS)

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            client.settimeout(SECONDS)
            while b"\r\n\r\n" not in self.asked:
                self.asked += client.recv(4096)
            client.sendall(self._answer)
            if b" 200 " not in self._answer:
                return
            host, port = self.asked.split()[1].decode().rsplit(":", 1)
            with socket.create_connection((host, int(port)), SECONDS) as server:
                back = threading.Thread(target=_copy, args=(server, client))
                back.start()
                _copy(client, server)
                back.join(SECONDS)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


class TestProxy:
    @pytest.fixture
    def through(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        return lambda proxy: monkeypatch.setenv("http_proxy", proxy)

    def test_the_environment_names_it(self, url: str, through: Callable[[str], None]) -> None:
        with HttpProxy() as proxy:
            through(f"http://ford:p%40ss@127.0.0.1:{proxy.port}")
            opened(ws(url))
        assert proxy.asked.startswith(b"CONNECT " + url.removeprefix("http://").encode() + b" HTTP/1.")
        assert b"\r\nProxy-Authorization: Basic Zm9yZDpwQHNz\r\n" in proxy.asked

    def test_it_may_refuse(self, url: str, through: Callable[[str], None]) -> None:
        with HttpProxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
            through(f"http://127.0.0.1:{proxy.port}")
            with pytest.raises(NotConnected, match="407"):
                opened(ws(url))

    def test_it_may_hang_up(self, url: str, through: Callable[[str], None]) -> None:
        with HttpProxy(b"") as proxy:
            through(f"http://127.0.0.1:{proxy.port}")
            with pytest.raises(NotConnected):
                opened(ws(url))

    def test_rest_goes_through_it_too(self, url: str, through: Callable[[str], None]) -> None:
        with HttpProxy(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as proxy:
            through(f"http://ford:p%40ss@127.0.0.1:{proxy.port}")
            rest = Rest(url)
            with pytest.raises(Refused, match="407"):
                rest.health()
            rest.close()
        assert proxy.asked.startswith(b"GET " + url.encode() + b"/admin/healthcheck HTTP/1.")
        assert b"\r\nproxy-authorization: basic zm9yzdpwqhnz\r\n" in proxy.asked.lower()

    @pytest.mark.parametrize("scheme", ["", "http://"])
    def test_its_scheme_may_be_left_out(self, scheme: str) -> None:
        assert proxy_parts(f"{scheme}proxy:3128/") == ("proxy", 3128, {})
        assert proxy_parts(f"{scheme}[::1]") == ("::1", 80, {})

    @pytest.mark.parametrize(
        "proxy", ["socks5://user:secret@127.0.0.1:1", "http://", "http://secret:99999", "http://[secret"]
    )
    def test_it_must_speak_http(self, url: str, through: Callable[[str], None], proxy: str) -> None:
        through(proxy)
        with pytest.raises(NotConnected, match="like http://host:port") as failed:
            opened(ws(url))
        assert "secret" not in str(failed.value)
        client = Client(url)
        with pytest.raises(NotConnected, match="like http://host:port") as failed:
            client.rest.health()
        assert "secret" not in str(failed.value)
        client.close()

    def test_hosts_can_be_left_out(
        self, through: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        through("http://proxy:3128")
        monkeypatch.setenv("https_proxy", "http://secure:3128")
        assert proxy_of("h", secure=False) == "http://proxy:3128"
        assert proxy_of("h", secure=True) == "http://secure:3128"
        monkeypatch.setenv("no_proxy", "h,.example.org")
        assert proxy_of("h", secure=False) is None
        assert proxy_of("a.example.org", secure=True) is None
