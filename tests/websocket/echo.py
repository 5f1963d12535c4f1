"""A small echo server on the frame code, for the conformance cases.

`python -m tests.websocket.echo [PORT]` serves on loopback until it is ended, and prints its port.
To test other code with the same cases, hand `serve` another handler of upgraded sockets.
"""

import base64
import hashlib
import re
import sys
from collections.abc import Callable

from gevent.server import StreamServer
from gevent.socket import SHUT_WR, socket

from gobbler.errors import FrameError
from gobbler.websocket.frames import CLOSE, PING, PONG, Parser, close_payload, encode, parse_close

MAX_SIZE = 32 << 20  # the largest message of the cases has 16 MiB
BURST = 64 << 10
LINGER = 5.0  # seconds for the client to end its side after ours

Handler = Callable[[socket, bytes], None]
"""Serves one upgraded socket; gets what the client sent behind its handshake. Closes nothing."""


def serve(port: int, handler: Handler | None = None) -> None:
    """Accept WebSockets on 127.0.0.1, print the port once it listens, and serve for ever."""
    run = handler or echo
    server = StreamServer(("127.0.0.1", port), lambda sock, _address: _connection(sock, run))
    server.start()
    print(server.server_port, flush=True)  # noqa: T201 - it is what whoever started us waits for
    server.serve_forever()


def _connection(sock: socket, handler: Handler) -> None:
    """Upgrade, serve, and end the connection as RFC 6455, section 7.1.1, wants it of a server."""
    try:
        early = _upgrade(sock)
        if early is not None:
            handler(sock, early)
            _linger(sock)
    except OSError:
        pass  # the client is gone, or does not go: the cases do both on purpose
    finally:
        sock.close()


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


def _linger(sock: socket) -> None:
    """Close first, but let the client read our last bytes: a reset would throw them away."""
    sock.shutdown(SHUT_WR)
    sock.settimeout(LINGER)
    while sock.recv(BURST):
        pass


def echo(sock: socket, early: bytes) -> None:
    """Send every message back, answer pings, and close as the client's frames ask for."""
    parser = Parser(MAX_SIZE)
    data = early or sock.recv(BURST)
    while data:
        answers = [answer for opcode, payload in parser.feed(data) if (answer := _answer(opcode, payload))]
        if parser.error is not None:
            answers.append(encode(close_payload(parser.error.close_code, parser.error.reason), CLOSE))
        if answers:
            sock.sendall(b"".join(answers))
        if parser.closed:
            return
        data = sock.recv(BURST)


def _answer(opcode: int, payload: bytes) -> bytes:
    """Return the frame that answers an event; no bytes for a pong, which nobody answers."""
    if opcode == CLOSE:
        return encode(_close_answer(payload), CLOSE)
    if opcode == PING:
        return encode(payload, PONG)
    return b"" if opcode == PONG else encode(payload, opcode)


def _close_answer(payload: bytes) -> bytes:
    """Return the client's code, or what is wrong with it (section 5.5.1)."""
    try:
        code, _reason = parse_close(payload)
    except FrameError as error:
        return close_payload(error.close_code, error.reason)
    return close_payload(code)


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
