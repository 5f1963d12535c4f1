"""A small echo server on the server's own connections, for the conformance cases.

`python -m tests.websocket.echo [PORT]` serves on loopback until it is ended, and prints its port.
"""

import _socket
import base64
import hashlib
import re
import sys

import gevent
from gevent.server import StreamServer
from gevent.socket import socket

from gobbler.websocket.connection import Connection, Flusher
from gobbler.websocket.frames import Event, encode

MAX_SIZE = 32 << 20  # the largest message of the cases has 16 MiB
BURST = 64 << 10


class Echo:
    """What is behind a connection: it sends every message back."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def received(self, messages: list[Event]) -> None:
        self.connection.push(b"".join([encode(payload, opcode) for opcode, payload in messages]))

    def finishing(self, code: int, reason: str = "") -> None:
        self.connection.close(code, reason)

    def lost(self) -> None:
        pass


def serve(port: int) -> None:
    """Accept WebSockets on 127.0.0.1, print the port once it listens, and serve for ever."""
    flusher = Flusher(gevent.get_hub().loop)
    server = StreamServer(("127.0.0.1", port), lambda sock, _address: _accept(sock, flusher))
    server.start()
    print(server.server_port, flush=True)  # noqa: T201 - it is what whoever started us waits for
    server.serve_forever()


def _accept(sock: socket, flusher: Flusher) -> None:
    """Upgrade, and leave the socket to a connection."""
    try:
        early = _upgrade(sock)
    except OSError:
        early = None  # the client is gone: the cases do that on purpose
    if early is None:
        sock.close()
        return
    native = _socket.socket(fileno=sock.detach())
    native.setblocking(False)
    connection = Connection(native, flusher, MAX_SIZE)  # type: ignore[arg-type]
    connection.start(Echo(connection), early)


def _upgrade(sock: socket) -> bytes | None:
    """Answer the opening handshake (section 4.2.2); return what came behind it, None when it is none."""
    request = b""
    while b"\r\n\r\n" not in request:
        data = sock.recv(BURST)
        if not data or len(request) > BURST:
            return None
        request += data
    head, early = request.split(b"\r\n\r\n", 1)
    key = re.search(rb"(?im)^sec-websocket-key:[ \t]*(\S+)", head)
    if key is None:
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        return None
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nServer: Gobbler\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return early


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
