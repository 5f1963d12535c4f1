"""Opening a connection: TCP, perhaps through a proxy, perhaps TLS, and the WebSocket's handshake."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from gobbler.client.address import basic_authorization
from gobbler.client.errors import ClientError, NotConnected, Refused
from gobbler.client.waiting import Deadline

_READ_BYTES: Final = 64 * 1024

_END_OF_HEAD: Final = b"\r\n\r\n"

# At debug, websockets writes every header of the handshake, credentials too.
_quiet = logging.getLogger("gobbler.client.frames")
_quiet.setLevel(logging.INFO)


def open_socket(
    url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None, timeout: float
) -> tuple[socket.socket, bytes]:
    """Connect to a WebSocket URL; return the socket, and what came behind the handshake.

    `timeout` in seconds is for all of it. Proxies are those of the environment (`http_proxy`,
    `https_proxy`, `no_proxy`).

    Raises:
        Refused: the server answered with another status than 101.
        NotConnected: anything else.
    """
    deadline = Deadline(timeout)
    uri = parse_uri(url)
    try:
        sock = _connect(uri, deadline)
        try:
            if uri.secure:
                sock = _secure(sock, uri.host, tls, deadline)
            return sock, _handshake(sock, uri, headers, deadline)
        except BaseException:
            sock.close()
            raise
    # When the time is just up, a socket is given 0 s: it does not wait, and says that it would have to.
    except (TimeoutError, BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        raise NotConnected(f"cannot connect to {url}: no answer within {timeout:g} s") from None
    # ssl.SSLError is an OSError; a UnicodeError tells of a name that no host can have.
    except (OSError, HTTPException, UnicodeError) as error:
        raise NotConnected(f"cannot connect to {url}: {error}") from error


def proxy_of(host: str, secure: bool) -> str | None:
    """Return the URL of the proxy that the environment names for a host, or None."""
    return None if proxy_bypass(host) else getproxies().get("https" if secure else "http")


def proxy_parts(proxy: str) -> tuple[str, int, dict[str, str]]:
    """Return host and port of a proxy, and the headers that are for it: its URL may hold credentials.

    Raises:
        NotConnected: it is none that is spoken to over HTTP.
    """
    try:
        # As in curl, the scheme may be left out.
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "http":
        raise NotConnected("the environment names a proxy that is not like http://host:port")
    authorization = basic_authorization(parts)
    return host, port, {"Proxy-Authorization": authorization} if authorization else {}


def _connect(uri: WebSocketURI, deadline: Deadline) -> socket.socket:
    proxy = proxy_of(uri.host, uri.secure)
    if proxy is None:
        sock = socket.create_connection((uri.host, uri.port), deadline.left)
    else:
        sock = _through(proxy, uri, deadline)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _through(proxy: str, uri: WebSocketURI, deadline: Deadline) -> socket.socket:
    """Have an HTTP proxy connect us (RFC 9110, section 9.3.6)."""
    host, port, headers = proxy_parts(proxy)
    connection = HTTPConnection(host, port, timeout=deadline.left)
    connection.set_tunnel(uri.host, uri.port, headers)
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    sock: socket.socket = connection.sock
    return sock


def _secure(sock: socket.socket, host: str, tls: ssl.SSLContext | None, deadline: Deadline) -> socket.socket:
    sock.settimeout(deadline.left)
    return (tls or ssl.create_default_context()).wrap_socket(sock, server_hostname=host)


def _handshake(
    sock: socket.socket, uri: WebSocketURI, headers: Mapping[str, str], deadline: Deadline
) -> bytes:
    """Speak the opening handshake (RFC 6455, section 4.1); return what came behind it."""
    protocol = ClientProtocol(uri, logger=_quiet)
    request = protocol.connect()
    request.headers.update(headers)
    protocol.send_request(request)
    sock.settimeout(deadline.left)
    sock.sendall(b"".join(protocol.data_to_send()))
    head, end = b"", -1
    while end < 0:
        data = _read(sock, deadline)
        head += data
        end = head.find(_END_OF_HEAD, max(0, len(head) - len(data) - len(_END_OF_HEAD)))
        if not data or len(head) > _READ_BYTES:
            break
    # Only the head: the frames behind it are not for the protocol.
    end = len(head) if end < 0 else end + len(_END_OF_HEAD)
    protocol.receive_data(head[:end])
    if protocol.state is State.OPEN:
        return head[end:]
    raise _refusal(_rest(protocol, head[end:], sock, deadline))


def _rest(protocol: ClientProtocol, data: bytes, sock: socket.socket, deadline: Deadline) -> Exception | None:
    """Read a refusal to its end; return what the protocol makes of it."""
    while protocol.handshake_exc is None:
        if data:
            protocol.receive_data(data)
        if protocol.handshake_exc is None:
            data = _read(sock, deadline)
            if not data:
                protocol.receive_eof()
    return protocol.handshake_exc


def _read(sock: socket.socket, deadline: Deadline) -> bytes:
    sock.settimeout(deadline.left)
    return sock.recv(_READ_BYTES)


def _refusal(error: Exception | None) -> ClientError:
    if isinstance(error, InvalidStatus):
        response = error.response
        body = bytes(response.body or b"").decode(errors="replace").strip()
        return Refused(response.status_code, body or response.reason_phrase)
    return NotConnected(f"the server does not speak WebSocket: {error}")
