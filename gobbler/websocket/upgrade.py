"""From an HTTP request to a WebSocket: who may connect, and taking over the socket.

`gevent-websocket` makes the upgrade (RFC 6455, section 4.2.2). Before it does,
`refusal` has its say; after it, `take_over` gets the bare socket, so that the
server's handler, its greenlet and its buffers are let go.
"""

from __future__ import annotations

import _socket
import base64
import binascii
import socket
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from gobbler.errors import InvalidMessage
from gobbler.protocol.message import check_field

VERSION: Final = "13"
_KEY_BYTES: Final = 16
_USER: Final = "user/"


class Refusal(NamedTuple):
    """Why a request does not become a WebSocket: an HTTP status, a text, and headers of the answer."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


def user_of(path: str, prefix: str) -> str | None:
    """Return the user that a path (as in PATH_INFO) names: "" for none, None where it is no WebSocket's.

    Raises:
        InvalidMessage: the user id is not allowed.
    """
    if path in (prefix, prefix.rstrip("/")):
        return ""
    if not path.startswith(prefix + _USER):
        return None
    # PATH_INFO holds the bytes of the path as characters (PEP 3333).
    user = path[len(prefix + _USER) :].encode("latin-1")
    return check_field("user id", user).decode() if user and b"/" not in user else None


def refusal(environ: Mapping[str, Any], prefix: str) -> Refusal | None:
    """Say why a request may not become a WebSocket; None where it may (RFC 6455, section 4.2.1)."""
    return _wrong_request(environ, prefix) or _wrong_handshake(environ)


def _wrong_request(environ: Mapping[str, Any], prefix: str) -> Refusal | None:
    try:
        if user_of(environ["PATH_INFO"], prefix) is None:
            return Refusal(404, f"connect to {prefix} or {prefix}{_USER}<user id>")
    except InvalidMessage as error:
        return Refusal(400, str(error))
    if environ["REQUEST_METHOD"] != "GET":
        return Refusal(405, "a WebSocket begins with GET", (("Allow", "GET"),))
    return None


def _wrong_handshake(environ: Mapping[str, Any]) -> Refusal | None:
    connection = [word.strip().lower() for word in environ.get("HTTP_CONNECTION", "").split(",")]
    if environ.get("HTTP_UPGRADE", "").lower() != "websocket" or "upgrade" not in connection:
        return Refusal(426, "this is for WebSocket clients", _UPGRADE)
    if environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        return Refusal(400, "a WebSocket needs HTTP/1.1")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        return Refusal(426, f"this server speaks version {VERSION}", _UPGRADE)
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        return Refusal(400, "a WebSocket handshake has no body")
    if not _is_key(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
        return Refusal(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    return None


_UPGRADE: Final = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", VERSION))


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text.strip(), validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def take_over(websocket: Any) -> tuple[socket.socket, bytes]:
    """Take the socket from gevent-websocket's handler; return it, non-blocking, with what was already read.

    The socket is the interpreter's native one: nothing waits on it, the event
    loop calls when there is something to do. The handler forgets it, and so
    neither closes it nor reads from it when the request ends.
    """
    handler = websocket.handler
    ours = handler.socket
    ours.setblocking(False)
    already_read = bytes(handler.rfile.peek())
    handler.socket = None
    websocket.stream = None
    websocket.closed = True
    sock = _socket.socket(fileno=ours.detach())
    sock.setblocking(False)
    if sock.family in (_socket.AF_INET, _socket.AF_INET6):  # gunicorn may listen on a Unix socket
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    return cast("socket.socket", sock), already_read
