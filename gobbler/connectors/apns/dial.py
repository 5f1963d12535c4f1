"""Making a connection to APNs: name, TCP, TLS with HTTP/2, and the peer's first SETTINGS."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import gevent
from gevent import socket, ssl

from gobbler.connectors.apns.connection import Connection, Timing
from gobbler.connectors.apns.failure import failure_of
from gobbler.connectors.apns.streams import Streams
from gobbler.connectors.outcome import Outage, Pause
from gobbler.errors import ConfigError

_HTTP2: Final = "h2"


class Peer(NamedTuple):
    """Where APNs is and how to talk to it; what `cautious` means is told at `Streams`."""

    host: str
    port: int
    context: ssl.SSLContext
    cautious: bool


def address_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of an address. Raises: ConfigError: it is none, or not of HTTP/2 over TLS."""
    parts = urlsplit(endpoint)
    try:
        host, port = parts.hostname or "", parts.port or 443
    except ValueError:
        host, port = "", 0
    if endpoint.rstrip("/") != f"https://{parts.netloc}" or not host or "@" in parts.netloc:
        raise ConfigError("APNs endpoint: it must be https://host or https://host:port")
    return host, port


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return what TLS needs, without credentials of ours. Raises: ConfigError."""
    # gevent's class, which waits cooperatively; `ssl.create_default_context` makes one of Python's
    # unless the process is patched.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise ConfigError(f"APNs CA file {ca_file}: it holds no certificates") from None
    except OSError as error:
        raise ConfigError(f"APNs CA file {ca_file}: {error.strerror or 'cannot be read'}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION  # RFC 9113, section 9.2
    context.set_alpn_protocols([_HTTP2])
    return context


def dial(
    peer: Peer, timing: Timing, clock: Callable[[], float] = time.monotonic
) -> Connection | Outage | Pause:
    """Return a connection that takes requests, or why there is none."""
    try:
        with gevent.Timeout(timing.connect, TimeoutError("it takes too long")):
            return _settle(_secure(peer), peer, timing, clock)
    except OSError as error:
        return failure_of(error, "unreachable")


def _secure(peer: Peer) -> Any:
    """Return a socket on which TLS is up. Raises: OSError."""
    plain = socket.create_connection((peer.host, peer.port))
    try:
        # Small requests must not wait for the acknowledgement of those before.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secure = peer.context.wrap_socket(plain, server_hostname=peer.host, do_handshake_on_connect=False)
    except BaseException:
        plain.close()
        raise
    try:
        secure.do_handshake()
    except BaseException:
        secure.close()
        raise
    return secure


def _settle(sock: Any, peer: Peer, timing: Timing, clock: Callable[[], float]) -> Connection | Outage | Pause:
    """Begin HTTP/2 and wait for the SETTINGS: until then a client may not know that APNs refuses it."""
    connection = Connection(sock, Streams(cautious=peer.cautious), timing, clock)
    if sock.selected_alpn_protocol() != _HTTP2:
        where = f"{peer.host}:{peer.port}"
        connection.end(Pause("no-http2", f"{where} does not speak HTTP/2: check --apns-endpoint"))
    else:
        connection.start()
    try:
        return connection.wait_until_settled() or connection
    except BaseException:
        connection.end(Outage("unreachable", "it takes too long"))
        raise
