"""Stands in front of a broker: takes TLS, asks for a password, or only keeps clients waiting.

The broker of `tests.kafka.broker` can do neither by itself. The gate answers the two requests of a
login (SASL PLAIN) in its place and passes everything else on, byte for byte.
"""

import io
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

from kafka.errors import SaslAuthenticationFailedError, UnsupportedSaslMechanismError
from kafka.protocol.sasl import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from tests.providers.certificates import Pair
from tests.system.server import SECONDS

PLAIN = "PLAIN"


class Gate:
    """Listens on `port` and passes connections on to the broker on `target`; a context manager.

    Without a target it closes connections at once, as a load balancer does whose broker is away.

    `pair`: take TLS, with this certificate. `login`: the user and the password to ask for.
    """

    def __init__(self, pair: Pair | None = None, login: tuple[str, str] | None = None) -> None:
        self.login = login
        self.target = 0
        self.accepted = 0
        """How many connections there have been."""
        self.attempts = 0
        """How many have tried to log in."""
        self._tls = _tls(pair) if pair else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        _end(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(SECONDS)
        self._listener.close()

    @property
    def address(self) -> str:
        """`host:port`, as clients take it."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection."""
        for connection in list(self._connections):
            _end(connection)

    def settle(self) -> None:
        """Wait until every connection is closed; those too that nobody has accepted yet."""
        # They are accepted in their order: when this one has come to its end, all have been.
        with socket.create_connection(("127.0.0.1", self.port), SECONDS) as last:
            with suppress(OSError):  # it has come to its end already
                last.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while last.recv(1024):
                    pass
        _, *serving = self._threads
        for thread in serving:
            thread.join(SECONDS)
            assert not thread.is_alive(), "a connection stays open"

    def _spawn(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener has been closed
            while True:
                connection, _ = self._listener.accept()
                self.accepted += 1
                self._spawn(self._serve, connection)

    def _serve(self, raw: socket.socket) -> None:
        with (
            suppress(OSError),
            self._keep(raw),
            self._keep(self._secured(raw)) as client,
            self._keep(socket.create_connection(("127.0.0.1", self.target))) as broker,
        ):
            answers = threading.Thread(target=_pass_on, args=(broker.makefile("rb"), client))
            answers.start()
            requests = client.makefile("rb")
            if self.login is None or self._admit(requests, client, broker):
                _pass_on(requests, broker)
            _end(broker)
            answers.join(SECONDS)

    def _secured(self, raw: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(raw, server_side=True) if self._tls else raw

    def _admit(self, requests: io.BufferedReader, client: socket.socket, broker: socket.socket) -> bool:
        """Pass requests on until somebody has logged in; return whether they have, at the end."""
        while head := requests.read(8):
            size, key, version = struct.unpack(">ihh", head)
            request = head + requests.read(size - 4)
            if key == SaslHandshakeRequest.API_KEY:
                client.sendall(_choose(request, version))
            elif key == SaslAuthenticateRequest.API_KEY:
                self.attempts += 1
                admitted = self.login == _credentials(request, version)
                client.sendall(_answer(request, version, _verdict(admitted)))
                if admitted:
                    return True
            else:
                broker.sendall(request)
        return False

    @contextmanager
    def _keep(self, connection: socket.socket) -> Iterator[socket.socket]:
        self._connections.add(connection)
        try:
            yield connection
        finally:
            connection.close()
            self._connections.discard(connection)


def _tls(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def _end(connection: socket.socket) -> None:
    """Wake whoever waits for a socket; they close it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _pass_on(source: io.BufferedReader, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.read1():
            sink.sendall(data)
    _end(sink)


def _choose(request: bytes, version: int) -> bytes:
    chosen = SaslHandshakeRequest.decode(request, version=version, header=True, framed=True).mechanism
    error = 0 if chosen == PLAIN else UnsupportedSaslMechanismError.errno
    return _answer(request, version, SaslHandshakeResponse(error_code=error, mechanisms=[PLAIN]))


def _credentials(request: bytes, version: int) -> tuple[str, str]:
    token = SaslAuthenticateRequest.decode(request, version=version, header=True, framed=True).auth_bytes
    _, user, password = bytes(token).decode().split("\0")
    return user, password


def _verdict(admitted: bool) -> Any:
    if admitted:
        return SaslAuthenticateResponse(
            error_code=0, error_message=None, auth_bytes=b"", session_lifetime_ms=0
        )
    return SaslAuthenticateResponse(
        error_code=SaslAuthenticationFailedError.errno,
        error_message="wrong user or password",
        auth_bytes=b"",
        session_lifetime_ms=0,
    )


def _answer(request: bytes, version: int, response: Any) -> bytes:
    """Return a response to a request as it goes over the wire."""
    response.API_VERSION = version
    response.with_header(correlation_id=struct.unpack(">i", request[8:12])[0])
    return bytes(response.encode(header=True, framed=True))
